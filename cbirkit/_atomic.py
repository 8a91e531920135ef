"""Write files and folders so that a kill, a crash or a full disk never leaves half of one.

``write_folder`` and ``write_bytes`` write to a temporary name beside the target, flush it to the disk and rename it. A folder carries
``manifest.json``: its kind and the size and SHA-256 of every file and of itself, which ``verify_manifest`` checks before anything is
read from it.
"""

import contextlib
import errno
import glob
import os
import shutil
import time
import uuid
from pathlib import Path

from ._manifest import MANIFEST, describe, encode, read, verify

_LITTER = {
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
}  # what desktops put into folders that were looked at
_DAY = 86400.0  # temporary names older than this were left by a killed process

_MENDS = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    getattr(
        errno, "EDQUOT", None
    ): "the disk quota is used up; free some space or choose another folder",
    errno.EACCES: "no permission to write there; choose a folder of your own or change its permissions",
    errno.EPERM: "no permission to write there; choose a folder of your own or change its permissions",
    errno.EROFS: "that disk is read-only; choose a folder that can be written",
    errno.EFBIG: "a file would be larger than is allowed there; choose another folder or raise the limit",
    errno.EBUSY: "that folder is in use, or a disk of its own; choose a folder inside it",
    errno.EEXIST: "a file stands where a folder is needed; choose another name",
    errno.ENOTDIR: "a file stands where a folder is needed; choose another name",
    errno.EISDIR: "a folder stands where a file is needed; move it away",
    errno.ENAMETOOLONG: "that name is too long; choose a shorter one",
}


def expanded(path):
    """A Path; "~" and "~/…" begin in the home folder, "./~" is a file of that name."""
    text = os.fspath(path)
    return Path(os.path.expanduser(text) if text == "~" or text.startswith("~/") else text)


@contextlib.contextmanager
def plain_errors(path, verb="write"):
    """Turn an ``OSError`` met inside the block (full disk, no permission, …) into one that says what, where and how to mend."""
    try:
        yield
    except OSError as error:
        # numpy's tofile says how many items it wrote, and drops the number of the error
        number = (
            errno.ENOSPC if error.errno is None and "requested and" in str(error) else error.errno
        )
        if number is None or number not in _MENDS or getattr(error, "plain", False):
            raise
        told = type(error)(f"cannot {verb} {str(path)!r}: {_MENDS[number]}")
        told.errno, told.plain = number, True
        raise told from error


def _partial(target):
    return target.with_name(f".{target.name[:50]}.{os.getpid()}-{uuid.uuid4().hex[:8]}.partial")


def _backup(target):
    return target.with_name(f".{target.name}.replaced")


def _fsync_folder(folder):
    if os.name != "posix":  # Windows cannot open a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
    data : bytes or buffer or sequence of buffers

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
        file.writelines(data if isinstance(data, (list, tuple)) else [data])


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
    partial = _partial(path)
    with plain_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, f".{path.name[:50]}.")
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
        _fsync_folder(path.parent)


@contextlib.contextmanager
def write_folder(target, *, kind="folder", about=None, sealed=False):
    """Give a temporary folder to fill; at the end of the block it becomes `target` in one step, with a manifest.

    Where `target` exists it is replaced only if an earlier ``write_folder`` made it, for the same kind, and every file in it is in its
    manifest (or it is empty), so a folder of photographs is never lost. If the block raises, or writing fails, the older version stays
    as it was. The folder that `target` is in must be writable too.

    Parameters
    ----------
    target : path-like
    kind : str
        What is saved, such as ``"retriever"``; ``verify_manifest`` compares it.
    about : dict, optional
        Plain values kept in the manifest.
    sealed : bool
        Whether the manifest says that this user wrote it on this machine.

    Yields
    ------
    pathlib.Path
        Write files here. Do not keep them open (or mapped) beyond the block.

    Raises
    ------
    FileExistsError
        `target` holds something else, or is the folder the process works in.
    OSError
        Full disk, no permission, read-only: one sentence.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "thing"
    >>> with write_folder(target, kind="thing") as folder:
    ...     _ = (folder / "a.txt").write_text("one")
    >>> verify_manifest(target, kind="thing")["kind"]
    'thing'
    """
    target = _place(target)
    recover(target)
    _refuse_foreign(target, kind)
    partial = _partial(target)
    with plain_errors(target):
        if target.exists() and not os.access(target, os.W_OK):  # renaming would pass over it
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent, f".{target.name[:50]}.")
        partial.mkdir()
        try:
            yield partial
            write_manifest(partial, kind=kind, about=about, sealed=sealed)
            _swap(partial, target)
        except BaseException as error:
            shutil.rmtree(partial, ignore_errors=True)
            if hasattr(error, "plain") and partial.name in str(error):
                error.plain = False  # to be told again, of `target`
            raise


def _swap(partial, target, attempts=20):
    backup = _backup(target)
    for attempt in range(attempts):  # another process may be replacing the same folder
        try:
            if target.exists():
                shutil.rmtree(backup, ignore_errors=True)
                os.rename(target, backup)
            os.rename(partial, target)
            break
        except OSError:
            recover(target)
            if attempt == attempts - 1 or not partial.exists():
                raise
            time.sleep(0.05)
    _fsync_folder(target.parent)
    shutil.rmtree(backup, ignore_errors=True)


def _place(target):
    """Where `target` is: what it points to, if it is a link, so that the link stays one."""
    target = os.path.abspath(target)
    return Path(os.path.realpath(target) if os.path.islink(target) else target)


def recover(target):
    """Put the older version back if a process was killed in the instant between the two renames of a replacement."""
    target = _place(target)
    backup = _backup(target)
    if backup.is_dir() and not target.exists():
        with contextlib.suppress(OSError):
            os.rename(backup, target)


def _refuse_foreign(target, kind):
    if not target.exists():
        return
    told = repr(str(target))
    if not target.is_dir():
        raise FileExistsError(
            f"{told} is a file, and a folder is to be written there; choose another name"
        )
    if _works_in(target):
        raise FileExistsError(
            f"{told} would be replaced, and this process works in it; choose a new folder"
        )
    manifest = {"kind": kind, "files": {}}
    with contextlib.suppress(FileNotFoundError):
        try:
            manifest = read(target / MANIFEST)
        except ValueError as error:
            raise FileExistsError(
                f"{told} is not replaced: {error}; choose a new folder"
            ) from error
        manifest["files"][MANIFEST] = None
    found = {path.relative_to(target).as_posix() for path in target.rglob("*") if not path.is_dir()}
    foreign = sorted(
        name for name in found - {*manifest["files"]} if Path(name).name not in _LITTER
    )
    if foreign:
        raise FileExistsError(
            f"{told} holds {foreign[0]!r}, which cbirkit did not save there and would be lost; "
            "choose a new folder, or move that file away"
        )
    if manifest["kind"] != kind:
        raise FileExistsError(
            f"{told} holds a saved {manifest['kind']}, which a saved {kind} would replace; choose a new folder"
        )


def _works_in(folder):
    try:
        return Path.cwd().is_relative_to(os.path.realpath(folder))
    except FileNotFoundError:  # the folder it worked in is gone
        return False


def write_manifest(folder, *, kind="folder", about=None, sealed=False):
    """Flush every file of `folder` to the disk and write ``manifest.json``: its kind, their sizes and SHA-256 sums."""
    folder = Path(folder)
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            _fsync_folder(path)
        elif path != folder / MANIFEST:
            with open(path, "r+b") as file:
                os.fsync(file.fileno())
                files[path.relative_to(folder).as_posix()] = describe(file)
    write_bytes(folder / MANIFEST, encode(kind, files, about=about, sealed=sealed))


def verify_manifest(folder, *, kind=None):
    """Check every file of a folder made by ``write_folder`` against its manifest, and return the manifest.

    Parameters
    ----------
    folder : path-like
    kind : str, optional
        The kind that is expected.

    Returns
    -------
    dict
        ``{"format": 1, "kind": …, "files": {relative posix path: {"sha256": …, "bytes": …}}, "sealed": …}``

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    ValueError
        It is something else, or a file is missing or damaged.
    """
    folder = Path(folder)
    recover(folder)
    what = kind or "folder"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no folder {str(folder)!r}; give the folder that the {what} was saved to"
        )
    try:
        manifest = read(folder / MANIFEST)
    except FileNotFoundError:
        raise ValueError(
            f"{str(folder)!r} is not a saved {what}: it has no {MANIFEST}; give the folder it was saved to"
        ) from None
    except ValueError as error:
        raise ValueError(f"{error}; save the {what} again or restore a copy") from error
    if kind is not None and manifest["kind"] != kind:
        raise ValueError(
            f"{str(folder)!r} holds a saved {manifest['kind']}, and a saved {kind} is wanted; give the folder it was saved to"
        )
    for name, expected in manifest["files"].items():
        verify(folder, name, expected, what)
    return manifest
