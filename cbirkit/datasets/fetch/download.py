"""Get one file once: from any of several addresses, resumed, verified; or say how to get it by hand."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from .checksums import confirm, describe, matches
from .disk import check_free
from .unfinished import notes_file

log = logging.getLogger(__name__)


class DownloadFailed(OSError):
    """A file could not be had; the message says which one to download by hand, from where, and where to put
    it."""


@dataclass(frozen=True)
class Download:
    """One file: its name, where it is, and how it is known to be the right one.

    Parameters
    ----------
    name : str
        Name of the file in the folder of its data set.
    urls : tuple of str
        Addresses (http, https, ftp), tried in this order.
    megabytes : float
        About how large it is: checked against the free disk, and a file of more than twice the size is
        refused.
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
        """Bytes after which a sender is not believed."""
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
    path = folder / item.name
    if path.is_file():
        _check_present(item, path)
        return path
    if not online:
        raise DownloadFailed(
            f"{str(path)!r} is not there and download=False; {by_hand(item, folder)}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    reasons = []
    for url in item.urls:
        reason = _from(url, item, folder, progress)
        if reason is None:
            return path
        log.warning("%s: %s", url, reason)
        reasons.append(f"{_host(url)}: {reason}")
    raise DownloadFailed(
        f"cannot download {item.name} ({'; '.join(reasons)}); {by_hand(item, folder)}"
    )


def by_hand(item, folder):
    """Half a sentence: what to download by hand, from where, its checksum, and where to put it."""
    size = f"{item.megabytes:,.{0 if item.megabytes >= 1 else 2}f} MB"
    checksum = (
        f"its {item.checksum.replace(':', ' is ', 1)}"
        if item.checksum
        else "no checksum of it is published"
    )
    return (
        f"download it by hand from {' or '.join(item.urls)} (about {size}, {checksum}), "
        f"put it into the folder {str(folder)!r} as {item.name!r}, and run this again"
    )


def _host(url):
    return url.split("/")[2]


def _check_present(item, path):
    difference = confirm(path, item.checksum, origin="by hand")
    if difference:
        raise DownloadFailed(
            f"{str(path)!r} is not the file that is expected: {difference}; delete it and run this again, or "
            f"{by_hand(item, path.parent)}"
        )


def _from(url, item, folder, progress):
    """Download from one address; None when the file is there, verified, else why not."""
    from .transfer import transfer
    from .unfinished import Gone

    part = folder / f"{item.name}.part"
    for fresh in (False, True):
        resumed = part.exists() and not fresh
        if fresh:
            _forget(part)
        check_free(
            folder, int(item.megabytes * 1e6) - (part.stat().st_size if resumed else 0), item.name
        )
        try:
            resumed |= transfer(
                url,
                part,
                limit=item.most_bytes,
                trusting=item.checksum is not None,
                progress=progress,
            )
        except Gone as gone:
            return str(gone)
        if item.checksum is None or matches(part, item.checksum):
            break
        if not resumed:
            reason = f"sent another file, {describe(part, item.checksum)}"
            _forget(part)
            return reason
    difference = confirm(part, item.checksum, origin=url, name=item.name)
    if difference:
        _forget(part)
        return f"sent another file, {difference}"
    os.replace(part, folder / item.name)
    _forget(part)
    return None


def _forget(part):
    for path in (part, notes_file(part)):
        path.unlink(missing_ok=True)
