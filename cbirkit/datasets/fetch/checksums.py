"""Checksums of files: published ones, and those recorded when a file first arrived."""

import datetime
import hashlib
import json
from pathlib import Path

from ..._atomic import write_bytes

RECORD = "checksums.json"


def digest(path, kind="sha256"):
    """Hexadecimal checksum of a file.

    Parameters
    ----------
    path : path-like
    kind : "sha256" or "md5"

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a"
    >>> _ = path.write_bytes(b"")
    >>> digest(path, "md5")
    'd41d8cd98f00b204e9800998ecf8427e'
    """
    if kind not in ("sha256", "md5"):
        raise ValueError(f"checksums are md5 or sha256, got {kind!r}")
    with open(path, "rb") as file:
        return hashlib.file_digest(
            file, lambda: hashlib.new(kind, usedforsecurity=False)
        ).hexdigest()


def matches(path, checksum):
    """Whether a file has the checksum ``"md5:…"`` or ``"sha256:…"``."""
    kind, _, wanted = checksum.partition(":")
    return digest(path, kind) == wanted


def describe(path, checksum):
    """What a file is instead of what the checksum says, for a message."""
    kind, _, wanted = checksum.partition(":")
    return f"{Path(path).stat().st_size:,} bytes with the {kind} {digest(path, kind)} in place of {wanted}"


def confirm(path, checksum, *, origin, name=None):
    """Compare a file with its published checksum or, where there is none, with the one recorded; record it if
    it is the first.

    Parameters
    ----------
    path : path-like
    checksum : str or None
    origin : str
        Where the file came from, for the record.
    name : str, optional
        Name in the record; default: that of the file.

    Returns
    -------
    str or None
        None if all is well, else how the file differs.
    """
    path = Path(path)
    if checksum is not None:
        return None if matches(path, checksum) else describe(path, checksum)
    name, size = name or path.name, path.stat().st_size
    if size == 0:
        return "it is empty"
    known, found = recorded(path.parent), digest(path)
    if name not in known:
        known[name] = {
            "sha256": found,
            "bytes": size,
            "from": origin,
            "date": datetime.date.today().isoformat(),
        }
        write_bytes(path.parent / RECORD, json.dumps(known, indent=1).encode())
    elif known[name]["sha256"] != found:
        return (
            f"{size:,} bytes with the sha256 {found} in place of {known[name]['sha256']}, which {RECORD} "
            f"recorded when it first arrived on {known[name]['date']} (delete that entry to accept a new version)"
        )
    return None


def recorded(folder):
    """The checksums recorded in a folder: dict of name to sha256, bytes, from, date; entries that are damaged
    are left out."""
    try:
        entries = json.loads((Path(folder) / RECORD).read_text("utf-8"))
        return {name: entry for name, entry in entries.items() if {"sha256", "date"} <= set(entry)}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def forget(folder, name):
    """Take a file out of the record."""
    known = recorded(folder)
    if known.pop(name, None) is not None:
        write_bytes(Path(folder) / RECORD, json.dumps(known, indent=1).encode())
