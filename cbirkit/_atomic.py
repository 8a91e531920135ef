"""Write files so that a kill, a crash or a full disk never leaves half of one, and tell what is wrong in plain words."""

import contextlib
import errno
import glob
import os
import shutil
import time
import uuid
from pathlib import Path

_DAY = 86400.0  # temporary names older than this were left by a killed process

_OWN = "no permission to write there; choose a folder of your own or change its permissions"
_FILE = "a file stands where a folder is needed; choose another name"
_MENDS = {
    "ENOSPC": "the disk is full; free some space or choose another folder",
    "EDQUOT": "the disk quota is used up; free some space or choose another folder",
    "EACCES": _OWN,
    "EPERM": _OWN,
    "EIO": "a disk error, or no file of the kind that is needed; choose another folder",
    "EROFS": "that disk is read-only; choose a folder that can be written",
    "EFBIG": "a file would be larger than is allowed there; choose another folder or raise the limit",
    "EEXIST": _FILE,
    "ENOTDIR": _FILE,
    "EISDIR": "a folder stands where a file is needed; move it away",
    "ENAMETOOLONG": "that name is too long; choose a shorter one",
}


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
        mend = _MENDS.get(errno.errorcode.get(error.errno))
        if mend is None or getattr(error, "plain", False):
            raise
        told = type(error)(f"cannot write {str(path)!r}: {mend}")
        told.errno, told.plain = error.errno, True
        raise told from error


def sweep(folder, prefix="."):
    """Remove the temporary files and folders that killed processes left in `folder` more than a day ago."""
    with contextlib.suppress(OSError):
        for path in Path(folder).glob(f"{glob.escape(prefix)}*.partial"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _DAY:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


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
    """Give a new file to fill; at the end of the block it becomes `path` in one step, and stays on the disk.

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
    partial = path.with_name(f"{name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.partial")
    with plain_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, f"{name}.")
        try:
            with open(partial, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise
        if os.name == "posix":  # Windows cannot open a folder
            handle = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def reason_of(error):
    """An error in a few words, without the numbers and paths of the system."""
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
