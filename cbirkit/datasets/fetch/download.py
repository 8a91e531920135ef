"""Get one file once: from any of several addresses, resumed, verified; or say how to get it by hand."""

import datetime
import json
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests
import urllib3
from tqdm.auto import tqdm

from cbirkit._atomic import plain_errors, write_bytes

from .disk import check_free

log = logging.getLogger(__name__)

RECORD = "checksums.json"
_SECONDS = 30.0  # without a byte
_WAIT = 1.0  # before the second attempt; doubled each time
_IDLE_ATTEMPTS = 4  # in a row that bring nothing
_ATTEMPTS = 200  # in all


class DownloadFailed(OSError):
    """A file could not be had; the message says which one to download by hand, from where, and where to put it."""


@dataclass(frozen=True)
class Download:
    """One file: its name, where it is, and how it is known to be the right one.

    Parameters
    ----------
    name : str
        Name of the file in the folder of its data set.
    urls : tuple of str
        Addresses (http, https), tried in this order.
    megabytes : float
        About how large it is: checked against the free disk, and a file of more than twice the size is refused.
    checksum : str, optional
        ``"md5:…"`` or ``"sha256:…"`` where one is published. Without one, the SHA-256 of the first file that
        arrives is recorded in ``checksums.json`` beside it, and later ones must match (trust on first use).

    Examples
    --------
    >>> Download("a.zip", ("https://example.org/a.zip",), 1.5).checksum is None
    True
    """

    name: str
    urls: tuple
    megabytes: float
    checksum: str | None = None

    @property
    def most_bytes(self):
        """Maximum size accepted, in bytes."""
        return int(2e6 * self.megabytes) + 2**24


def get(item, folder, *, online=True, progress=True):
    """The verified file `item` in `folder`, downloaded if it is not there.

    A file that was put there by hand is verified and used. What an interrupted download left (``NAME.part``)
    is continued where the server can do that, also in a later run.

    Parameters
    ----------
    item : Download
    folder : path-like
    online : bool, default=True
        False: never connect.
    progress : bool, default=True
        Show a progress bar.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    DownloadFailed
        It is not there and cannot be downloaded, or the file there is another one.
    OSError
        Too little free disk, no permission.
    """
    folder = Path(folder)
    path, known, told = folder / item.name, item.checksum, ""
    if known is None and item.name in recorded(folder):
        known = f"sha256:{recorded(folder)[item.name]['sha256']}"
        told = f", which {RECORD} recorded when it first arrived (delete that entry to accept a new version)"
    if path.is_file():
        origin, size = "by hand", path.stat().st_size
        kind, _, wanted = (known or "sha256:").partition(":")
        found = pooch.file_hash(str(path), kind)
        if not size or (known and found != wanted):
            raise DownloadFailed(
                f"{str(path)!r} is not the file that is expected: {size:,} bytes with the {kind} {found} in place of "
                f"{wanted or 'any'}{told}; delete it and run this again, or {by_hand(item, folder)}"
            )
    elif online:
        origin = _download(item, known, told, folder, progress)
    else:
        what = f"{str(path)!r} is not there and download=False"
        raise DownloadFailed(f"{what}; {by_hand(item, folder)}")
    if known is None:
        digest, date = pooch.file_hash(str(path)), datetime.date.today().isoformat()
        entry = {"sha256": digest, "bytes": path.stat().st_size, "from": origin, "date": date}
        _write_record(folder, recorded(folder) | {item.name: entry})
    return path


def by_hand(item, folder):
    """Half a sentence: what to download by hand, from where, its checksum, and where to put it."""
    size, checksum = f"{item.megabytes:,g} MB", item.checksum or "none is published"
    return (
        f"download it by hand from {' or '.join(item.urls)} (about {size}, checksum: {checksum}), "
        f"put it into the folder {str(folder)!r} as {item.name!r}, and run this again"
    )


def recorded(folder):
    """The checksums recorded in a folder: dict of name to sha256, bytes, from, date; damaged entries are left out."""
    try:
        entries = json.loads((Path(folder) / RECORD).read_text("utf-8"))
        return {name: entry for name, entry in entries.items() if {"sha256", "date"} <= set(entry)}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def forget(folder, name):
    """Take a file out of the record."""
    _write_record(folder, {n: entry for n, entry in recorded(folder).items() if n != name})


def _write_record(folder, entries):
    write_bytes(Path(folder) / RECORD, json.dumps(entries, indent=1).encode())


def _download(item, known, told, folder, progress):
    """The address that gave the file, which is in its place then, verified."""
    pooch.get_logger().setLevel(logging.WARNING)  # it prints
    folder.mkdir(parents=True, exist_ok=True)
    reasons, part = [], folder / f"{item.name}.part"
    for url in item.urls:
        for _ in range(2):  # a wrong file that was sent in pieces is fetched once more, in one
            downloader = ResumingDownloader(part, item.most_bytes, known is not None, progress)
            check_free(folder, int(item.megabytes * 1e6) - _size(part), item.name)
            try:
                pooch.retrieve(url, known, item.name, folder, downloader=downloader)
                reason = None
            except (_Gone, requests.RequestException) as error:
                reason = str(error)
                break
            except ValueError as error:  # pooch says both checksums
                reason = f"sent another file: {str(error).split('. ')[0]}{told}"
            for left in (part, _notes_file(part)):
                left.unlink(missing_ok=True)
            if reason is None:
                return url
            if not downloader.resumed:
                break
        log.warning("%s: %s", url, reason)
        reasons.append(f"{url.split('/')[2]}: {reason}")
    tried = "; ".join(reasons)
    raise DownloadFailed(f"cannot download {item.name} ({tried}); {by_hand(item, folder)}")


class _Gone(Exception):
    """This address will not give the file; its text says why."""


class ResumingDownloader:
    """Downloader for pooch: resumed over HTTP, also in a later process, retried, with time-outs and a limit.

    Parameters
    ----------
    part : pathlib.Path
        The unfinished file; ``NAME.part.json`` beside it notes address and validator (ETag or date) of what it is
        a part of.
    limit : int
        Maximum size accepted, in bytes.
    trusting : bool
        Whether what another address, or a server without validators, sent may be continued: only where a
        checksum will tell.
    progress : bool

    Attributes
    ----------
    resumed : bool
        Whether any of it was continued and not sent in one piece.
    """

    def __init__(self, part, limit, trusting, progress):
        self.part, self.limit, self.trusting, self.progress = part, limit, trusting, progress
        self.resumed = False

    def __call__(self, url, output_file, pooch=None):
        broken = (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError)
        idle, name = 0, self.part.stem
        with tqdm(desc=name, unit="B", unit_scale=True, disable=not self.progress) as bar:
            for attempt in range(1, _ATTEMPTS + 1):
                before = _size(self.part)
                try:
                    failure = self._attempt(url, bar)
                except broken as error:
                    failure = (
                        f"no connection ({type(error).__name__}); is there one to the internet?"
                    )
                if failure is None:
                    break
                idle = 0 if _size(self.part) > before else idle + 1
                if idle == _IDLE_ATTEMPTS or attempt == _ATTEMPTS:
                    raise _Gone(failure)
                log.info("%s: %s; attempt %d follows", url, failure, attempt + 1)
                time.sleep(_WAIT * 2 ** max(idle - 1, 0))
        os.unlink(output_file)
        try:  # the part stays until the checksum is known to be right
            os.link(self.part, output_file)
        except OSError:  # no hard links on this disk
            os.replace(self.part, output_file)

    def _attempt(self, url, bar):
        """Receive what is missing; None if that was all, else why it must be asked for again."""
        try:
            validator = json.loads(_notes_file(self.part).read_text("utf-8"))[url]
        except (OSError, ValueError, KeyError, TypeError):
            validator = None
        offset = _size(self.part) if self.trusting or validator else 0
        headers = {"User-Agent": "cbirkit", "Accept-Encoding": "identity"}
        if offset:  # If-Range: another file by now is sent from its beginning
            headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
        with requests.get(url, headers=headers, stream=True, timeout=_SECONDS) as response:
            told, status = response.headers, response.status_code
            if offset and status == 416 and told.get("Content-Range") == f"bytes */{offset}":
                self.resumed = True
                return None
            right = told.get("Content-Range", "").startswith(f"bytes {offset}-")
            if offset and (status == 416 or (status == 206 and not right)):
                self.part.unlink()
                return "the server sent another part than was asked for"
            answer = f"the server answered {status} {response.reason}"
            if status in (408, 425, 429, 500, 502, 503, 504):  # it is busy
                return answer
            if status not in (200, 206):
                raise _Gone(answer)
            if "html" in told.get("Content-Type", ""):
                raise _Gone("answered with a web page in place of the file")
            self.resumed = status == 206
            start, length = offset if self.resumed else 0, told.get("Content-Length", "")
            total = start + int(length) if length.isdigit() else None
            self._check_size(total)
            bar.reset(total=total)
            bar.update(start)
            with plain_errors(self.part):
                if not start:
                    self.part.unlink(missing_ok=True)
                    tag = told.get("ETag", "W/")
                    validator = told.get("Last-Modified") if tag.startswith("W/") else tag
                    write_bytes(_notes_file(self.part), json.dumps({url: validator}).encode())
                with open(self.part, "ab") as file:
                    for block in response.raw.stream(2**16, decode_content=False):
                        file.write(block)
                        bar.update(len(block))
                        self._check_size(file.tell())
                    self._check_size(file.tell())
        return None

    def _check_size(self, n_bytes):
        if n_bytes == 0:
            raise _Gone("the file is empty there")
        if n_bytes and n_bytes > self.limit:
            raise _Gone(f"sends more than the {self.limit / 1e6:,.0f} MB that are expected")


def _size(part):
    return part.stat().st_size if part.exists() else 0


def _notes_file(part):
    return part.with_name(part.name + ".json")
