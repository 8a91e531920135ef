"""Where data sets are kept, how much room there is, and that only one process writes there."""

import contextlib
import errno
import os
import shutil
from pathlib import Path

from cbirkit._atomic import expanded

_SPARE = 64 * 2**20  # bytes left free for everything else


def data_root(root=None):
    """Folder that data sets are kept in.

    Parameters
    ----------
    root : path-like, optional
        Default: the environment variable ``CBIRKIT_DATA``, else ``~/.cache/cbirkit``.

    Returns
    -------
    pathlib.Path
        Not made here.

    Examples
    --------
    >>> data_root("here").name
    'here'
    """
    return expanded(root or os.environ.get("CBIRKIT_DATA") or Path.home() / ".cache" / "cbirkit")


def free_bytes(folder):
    """Free bytes on the disk of a folder, which need not exist yet."""
    folder = Path(folder).absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_free(folder, need, what):
    """Raise an OSError that says so if the disk of `folder` has no room for `need` bytes (and a little
    more)."""
    free = free_bytes(folder)
    if need > 0 and free < need + _SPARE:
        error = OSError(
            f"{what} needs about {need / 1e6:,.0f} MB and the disk of {str(folder)!r} has "
            f"{free / 1e6:,.0f} MB free; make room, or choose another folder with root= or the environment variable CBIRKIT_DATA"
        )
        # Said already: _atomic.plain_errors leaves it alone.
        error.errno, error.plain = errno.ENOSPC, True
        raise error


@contextlib.contextmanager
def only_one(folder):
    """Hold the folder for this process; OSError if another one is downloading into it.

    The lock goes when the process ends, however it ends.

    Yields
    ------
    bool
        False where the file system knows no locks, so that nothing is locked.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "ab") as file:
        try:
            if os.name == "nt":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        except (BlockingIOError, PermissionError) as error:
            raise OSError(
                f"another process is downloading into {str(folder)!r}; wait until it is done, and run this again"
            ) from error
        except OSError:
            locked = False
        yield locked
