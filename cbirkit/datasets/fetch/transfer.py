"""Move the bytes of one address into a file: resumed over HTTP and FTP, retried, with time-outs and a limit."""

import contextlib
import ftplib
import http.client
import json
import logging
import os
import re
import socket
import time
import urllib.error
import urllib.parse
import urllib.request

from tqdm.auto import tqdm

from ..._atomic import plain_errors, write_bytes
from .download import part_notes, read_notes

log = logging.getLogger(__name__)

_SECONDS = 30.0  # without a byte
_WAIT = 1.0  # before the second attempt; doubled each time
_LONGEST_WAIT = 30.0
_IDLE_ATTEMPTS = 5  # in a row that bring nothing
_ATTEMPTS = 200  # in all
_BLOCK = 2**18
_BUSY = {408, 425, 429, 500, 502, 503, 504}  # HTTP: try again


class Gone(Exception):
    """This address will not give the file; its text says why."""


class _Interrupted(Exception):
    """The connection failed; another attempt may go on. `wait`: seconds that the server asks for; `weight`: attempts it counts for."""

    def __init__(self, reason, wait=0.0, weight=1):
        super().__init__(reason)
        self.wait, self.weight = wait, weight


def transfer(url, part, *, limit, trusting=False, progress=True):
    """Bring the file at `url` into `part`, going on where `part` ends if the server can.

    Parameters
    ----------
    url : str
        http, https or ftp.
    part : pathlib.Path
        Beside it, ``NAME.part.json`` notes address, validator (ETag or date) and size of what it is a part of.
    limit : int
        More bytes than this are refused.
    trusting : bool
        Whether what another address, or a server without validators, sent may be continued: only where a checksum will tell.
    progress : bool

    Returns
    -------
    bool
        Whether any of it was continued and not sent in one piece.

    Raises
    ------
    Gone
        The address does not have the file, sends too much, or failed too often.
    OSError
        `part` cannot be written.
    """
    idle, reason, resumed = 0, "", False
    with tqdm(desc=part.stem, unit="B", unit_scale=True, disable=not progress) as bar:
        for attempt in range(_ATTEMPTS):
            before, target = _size(part), _Part(part, url, limit, bar)
            try:
                _attempt(url, target, trusting)
                return resumed or target.resumed
            except _Interrupted as interruption:
                failure = interruption
            resumed, reason = resumed or target.resumed, str(failure)
            idle = 0 if _size(part) > before else idle + failure.weight
            if idle >= _IDLE_ATTEMPTS:
                break
            log.info("%s: %s; attempt %d follows", url, reason, attempt + 2)
            time.sleep(min(max(failure.wait, _WAIT * 2**idle), _LONGEST_WAIT))
    raise Gone(reason)


def _size(part):
    return part.stat().st_size if part.exists() else 0


class _Part:
    """The unfinished file: where it ends, what it is a part of, and how bytes are added."""

    def __init__(self, path, url, limit, bar):
        self.path, self.url, self.limit, self.bar = path, url, limit, bar
        self.notes = read_notes(path)
        self.total, self.resumed = None, False

    def offset(self, trusting):
        """Where to go on: the size of the file, or 0 where what is there may be a part of something else."""
        if trusting or (self.notes.get("url") == self.url and self.notes.get("validator")):
            return _size(self.path)
        return 0

    def open(self, offset, total, validator):
        """The file, opened to write from `offset` on; `total` bytes are announced (or None)."""
        if total is not None and total > self.limit:
            raise Gone(f"would send {total / 1e6:,.0f} MB, and no more than {self.limit / 1e6:,.0f} MB are expected")
        if total == 0:
            raise Gone("the file is empty there")
        self.total, self.resumed = total, offset > 0
        with plain_errors(self.path):
            if offset == 0:
                self.path.unlink(missing_ok=True)
                notes = {"url": self.url, "validator": validator, "total": total}
                write_bytes(part_notes(self.path), json.dumps(notes).encode())
            file = open(self.path, "ab")  # noqa: SIM115  closed by its user
        self.bar.reset(total=total)
        self.bar.update(offset)
        return file

    def add(self, file, block):
        with plain_errors(self.path):
            file.write(block)
        self.bar.update(len(block))
        if file.tell() > self.limit:
            raise Gone(f"sends more than the {self.limit / 1e6:,.0f} MB that are expected")

    def finish(self):
        size = _size(self.path)
        if self.total is not None and size < self.total:
            raise _Interrupted(f"the connection ended after {size:,} of {self.total:,} bytes")
        if size == 0:
            raise Gone("the file is empty there")
        if self.total is not None and size > self.total:
            self.path.unlink()
            raise _Interrupted(f"{size:,} bytes came where {self.total:,} were announced")


def _attempt(url, part, trusting):
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in ("http", "https", "ftp"):
        raise Gone(f"addresses are http, https or ftp, not {scheme!r}")
    if scheme == "ftp" and "ftp" not in urllib.request.getproxies():
        _attempt_ftp(url, part, part.offset(trusting))
    else:
        _attempt_http(url, part, part.offset(trusting))
    part.finish()


# ---------------------------------------------------------------------- HTTP


def _attempt_http(url, part, offset):
    with _open_http(url, part, offset) as response:
        if response is None:  # nothing is left to send
            return
        if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
            raise Gone("answered with a web page in place of the file")
        start, total = _range(response)
        if start not in (0, offset) or (start and part.notes.get("total") not in (None, total)):
            part.path.unlink(missing_ok=True)  # another file by now
            raise _Interrupted("the server sent another part than was asked for")
        with part.open(start, total, _validator(response.headers)) as file:
            while block := _read(response):
                part.add(file, block)


@contextlib.contextmanager
def _open_http(url, part, offset):
    """The response, or None if the part is complete already."""
    headers = {"User-Agent": "cbirkit", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if part.notes.get("url") == url and part.notes.get("validator"):
            headers["If-Range"] = part.notes["validator"]  # another file by now: send all of it
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_SECONDS)
    except urllib.error.HTTPError as error:
        with error:
            yield _complete(error, part, offset)
        return
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(_reason(error), weight=_weight(error)) from error
    with response:
        yield response


def _complete(error, part, offset):
    """None if an HTTP error only says that the part is complete; else the error is raised in our words."""
    if error.code == 416 and offset:
        total = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range") or "")
        if total and int(total[1]) == offset:
            return
        part.path.unlink(missing_ok=True)
        raise _Interrupted("the server has a shorter file than what is here") from error
    if error.code in _BUSY:
        raise _Interrupted(f"the server answered {error.code} {error.reason}", _retry_after(error.headers)) from error
    raise Gone(f"the server answered {error.code} {error.reason}") from error


def _retry_after(headers):
    text = headers.get("Retry-After") or ""
    return float(text) if text.isdigit() else 0.0


def _range(response):
    """(start, total or None) of what the response carries; the start is 0 where the server cannot resume."""
    length = response.headers.get("Content-Length") or ""
    length = int(length) if length.isdigit() else None
    if response.status == 200:
        return 0, length
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range") or "")
    if response.status != 206 or not match:
        return -1, None
    start = int(match[1])
    return start, (int(match[2]) if match[2] != "*" else None if length is None else start + length)


def _validator(headers):
    tag = headers.get("ETag") or ""
    return headers.get("Last-Modified") if not tag or tag.startswith("W/") else tag


def _read(response):
    try:
        return response.read1(_BLOCK) if hasattr(response, "read1") else response.read(_BLOCK)
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a chunk of no size
        raise _Interrupted(_reason(error)) from error


def _reason(error):
    error = getattr(error, "reason", error)
    if isinstance(error, TimeoutError):
        return f"no answer within {_SECONDS:g} s"
    if isinstance(error, socket.gaierror):
        return "there is no such host, or no connection to the internet"
    return " ".join(str(error).split()) or type(error).__name__


def _weight(error):
    """Failures that a second attempt hardly mends count for more."""
    return 3 if isinstance(getattr(error, "reason", error), socket.gaierror | ConnectionRefusedError) else 1


# ---------------------------------------------------------------------- FTP


def _attempt_ftp(url, part, offset):
    address = urllib.parse.urlsplit(url)
    try:
        with ftplib.FTP(timeout=_SECONDS) as server:
            server.connect(address.hostname, address.port or ftplib.FTP_PORT)
            server.login()
            server.voidcmd("TYPE I")
            _retrieve(server, urllib.parse.unquote(address.path), part, offset)
    except ftplib.error_perm as error:
        raise Gone(f"the server answered {error}") from error
    except (ftplib.Error, EOFError) as error:
        raise _Interrupted(_reason(error)) from error
    except OSError as error:
        if getattr(error, "plain", False):  # of our own disk
            raise
        raise _Interrupted(_reason(error), weight=_weight(error)) from error


def _retrieve(server, path, part, offset):
    total = _ftp_size(server, path)
    modified = _modified(server, path)
    if offset and (offset > (total or offset) or part.notes.get("validator") not in (None, modified)):
        offset = 0
    if offset and offset == total:
        part.total = total
        return
    try:
        connection = server.transfercmd(f"RETR {path}", offset or None)
    except ftplib.error_perm as error:
        if not offset or not str(error).startswith("50"):  # 502: cannot resume
            raise
        offset, connection = 0, server.transfercmd(f"RETR {path}")
    with connection, part.open(offset, total, modified) as file:
        while block := connection.recv(_BLOCK):
            part.add(file, block)
    if total is None or os.path.getsize(part.path) >= total:
        server.voidresp()


def _ftp_size(server, path):
    try:
        return server.size(path)
    except ftplib.error_perm as error:
        if str(error).startswith("550"):  # there is no such file
            raise
        return None


def _modified(server, path):
    try:
        return server.voidcmd(f"MDTM {path}")
    except ftplib.Error:
        return None
