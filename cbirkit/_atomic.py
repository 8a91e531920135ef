"""Write files so that a kill, a crash or a full disk never leaves half of one, and tell what is wrong in plain words."""

import contextlib
import errno
import glob
import os
import time
from pathlib import Path

_OF_DISKS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}
_OF_DISKS |= {errno.EIO, errno.EEXIST, errno.ENOTDIR, errno.EISDIR}


def expanded(path):
    """A Path; "~" and "~/…" begin in the home folder, "./~" is a file of that name."""
    text = os.fspath(path)
    return Path(os.path.expanduser(text) if text == "~" or text.startswith("~/") else text)


@contextlib.contextmanager
def plain_errors(path):
    """Turn an ``OSError`` met inside the block (full disk, no permission, …) into one that says what, where and how to mend."""
    try:
        yield
    except OSError as error:
        if error.errno not in _OF_DISKS or error.strerror is None:  # told already
            raise
        mend = f"{error.strerror}; free space, or choose another place"
        told = type(error)(f"cannot write {str(path)!r}: {mend}")
        told.errno = error.errno
        raise told from error


def write_bytes(path, data):
    """Write `data` to `path`, all or nothing: an older file stays whole until the new one is on the disk.

    Parameters
    ----------
    path : path-like
        Its folder is made if need be.
    data : bytes or buffer

    Raises
    ------
    OSError
        Full disk, no permission, read-only: one sentence; the older file is untouched.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a" / "b.txt"
    >>> write_bytes(path, b"all of it")
    >>> path.read_text()
    'all of it'
    """
    with replacing(path) as file:
        file.write(data)


@contextlib.contextmanager
def replacing(path):
    """Give a new file to fill; at the end of the block, when all of it is on the disk, it becomes `path` in one step.

    Parameters
    ----------
    path : path-like
        Its folder is made if need be.

    Yields
    ------
    file
        Open for writing bytes.

    Raises
    ------
    OSError
        As for `write_bytes`.
    """
    path = Path(path)
    name = f".{path.name[:50]}"
    partial = path.with_name(f"{name}.{os.getpid()}-{time.time_ns()}.partial")
    with plain_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in path.parent.glob(f"{glob.escape(name)}.*.partial"):
            with contextlib.suppress(OSError):
                if time.time() - old.stat().st_mtime > 86400:  # of a process that was killed
                    old.unlink()
        try:
            with open(partial, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def reason_of(error):
    """An error in a few words, without the numbers and paths of the system, nor the name of an image."""
    told = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return " ".join(str(told).split()) or type(error).__name__
