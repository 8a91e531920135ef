"""Move the bytes of one address into a file: resumed over HTTP and FTP, retried, with time-outs and a limit."""

import logging
import time
import urllib.parse
import urllib.request

from tqdm.auto import tqdm

from .over_ftp import attempt_ftp
from .over_http import attempt_http
from .unfinished import Gone, Interrupted, Part, size_of

log = logging.getLogger(__name__)

_WAIT = 1.0  # before the second attempt; doubled each time
_LONGEST_WAIT = 30.0
_IDLE_ATTEMPTS = 5  # in a row that bring nothing
_ATTEMPTS = 200  # in all


def transfer(url, part, *, limit, trusting=False, progress=True):
    """Bring the file at `url` into `part`, going on where `part` ends if the server can.

    Parameters
    ----------
    url : str
        http, https or ftp.
    part : pathlib.Path
        Beside it, ``NAME.part.json`` notes address, validator (ETag or date) and size of what it is a part
        of.
    limit : int
        More bytes than this are refused.
    trusting : bool
        Whether what another address, or a server without validators, sent may be continued: only where a
        checksum will tell.
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
            before, target = size_of(part), Part(part, url, limit, bar)
            try:
                _attempt(url, target, trusting)
                return resumed or target.resumed
            except Interrupted as interruption:
                failure = interruption
            resumed, reason = resumed or target.resumed, str(failure)
            idle = 0 if size_of(part) > before else idle + failure.weight
            if idle >= _IDLE_ATTEMPTS:
                break
            log.info("%s: %s; attempt %d follows", url, reason, attempt + 2)
            time.sleep(min(max(failure.wait, _WAIT * 2**idle), _LONGEST_WAIT))
    raise Gone(reason)


def _attempt(url, part, trusting):
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in ("http", "https", "ftp"):
        raise Gone(f"addresses are http, https or ftp, not {scheme!r}")
    if scheme == "ftp" and "ftp" not in urllib.request.getproxies():
        attempt_ftp(url, part, part.offset(trusting))
    else:
        attempt_http(url, part, part.offset(trusting))
    part.finish()
