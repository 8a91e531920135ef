"""One attempt over HTTP: resumed where the server can, and nothing but the file taken for it."""

import contextlib
import http.client
import re
import urllib.error
import urllib.request

from . import unfinished
from .unfinished import Gone, Interrupted, reason_of, weight_of

_BUSY = {408, 425, 429, 500, 502, 503, 504}  # try again


def attempt_http(url, part, offset):
    """Send what is missing of `part` from byte `offset` on; `Gone` or `Interrupted` if it cannot be had."""
    with _open_http(url, part, offset) as response:
        if response is None:  # nothing is left to send
            return
        if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
            raise Gone("answered with a web page in place of the file")
        start, total = _range(response)
        if start not in (0, offset) or (start and part.notes.get("total") not in (None, total)):
            part.path.unlink(missing_ok=True)  # another file by now
            raise Interrupted("the server sent another part than was asked for")
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
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=unfinished.SECONDS
        )
    except urllib.error.HTTPError as error:
        with error:
            yield _complete(error, part, offset)
        return
    except (OSError, http.client.HTTPException) as error:
        raise Interrupted(reason_of(error), weight=weight_of(error)) from error
    with response:
        yield response


def _complete(error, part, offset):
    """None if an HTTP error only says that the part is complete; else the error is raised in our words."""
    if error.code == 416 and offset:
        total = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range") or "")
        if total and int(total[1]) == offset:
            return
        part.path.unlink(missing_ok=True)
        raise Interrupted("the server has a shorter file than what is here") from error
    if error.code in _BUSY:
        raise Interrupted(
            f"the server answered {error.code} {error.reason}", _retry_after(error.headers)
        ) from error
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
        return response.read1(
            unfinished.BLOCK
        )  # what is there, so that little is lost with a connection
    except (
        OSError,
        http.client.HTTPException,
        ValueError,
    ) as error:  # ValueError: a chunk of no size
        raise Interrupted(reason_of(error)) from error
