"""Official weights of torchvision: from the cache, or downloaded once."""

import contextlib
import http.client
import re
import socket
import sys
from pathlib import Path

import torch

from .names import sha256

_SECONDS = 30.0  # without an answer; a connection that is swallowed would hang for ever
_HASH = re.compile(
    r"-([0-9a-f]{8,})\."
)  # torchvision's names carry the first digits of the SHA-256


def official_file(url, backbone):
    """Path of the official weights, which are downloaded (with a progress bar) if they are not in torch's cache.

    Parameters
    ----------
    url : str
    backbone : str
        For the error.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ConnectionError
        The file is not in the cache and cannot be downloaded; the message says what to do.
    ValueError
        The file's contents do not match the checksum in its name.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not path.exists():
        _download(url, path, backbone)
    wanted = _HASH.search(path.name)
    if wanted and not sha256(path, path.stat().st_mtime_ns).startswith(wanted.group(1)):
        raise ValueError(
            f"{str(path)!r} is damaged (its checksum does not match its name); delete it and run this again"
        )
    return path


def _download(url, path, backbone):
    path.parent.mkdir(parents=True, exist_ok=True)
    wanted = _HASH.search(path.name)
    try:
        with _impatient():
            torch.hub.download_url_to_file(
                url, path, wanted and wanted.group(1), progress=sys.stderr is not None
            )
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        if (
            isinstance(error, FileNotFoundError | PermissionError)
            or getattr(error, "errno", None) == 28
        ):
            raise  # the disk, not the network
        raise unreachable(backbone, error, f"put {url} there by hand as {str(path)!r}") from error
    except RuntimeError as error:  # torch's word for a wrong checksum
        raise ValueError(f"the download of {url} is damaged ({error}); run this again") from error


def unreachable(backbone, error, by_hand):
    """The error that says what to do where official weights cannot be had."""
    reason = (
        getattr(error, "reason", None) or (str(error).splitlines() or [type(error).__name__])[0]
    )
    return ConnectionError(
        f"the official weights of {backbone!r} are not on this machine and cannot be downloaded ({reason}); "
        f"run `cbirkit prefetch {backbone}` while online, or {by_hand}, "
        'or pass weights=PATH of a file of yours, or use "lite0" or "tiny", which need no download'
    )


@contextlib.contextmanager
def _impatient():
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(before or _SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
