"""From the files of a data set to its ready folder: once, whole or not at all."""

import json
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from ..._atomic import plain_errors, sweep
from . import checksums
from .disk import check_free, data_root, only_one
from .download import DownloadFailed, by_hand, get
from .unpack import DamagedArchive, UnsafeArchive, unpack

_MARK = "ready.json"


@dataclass(frozen=True)
class DataSet:
    """What is to be known of a data set before it is here.

    Parameters
    ----------
    name : str
        Also that of its folder.
    title : str
    n_images : int
    downloads : tuple of Download
    unpacked_megabytes : float
        About how much disk it takes in the end. The downloaded files are deleted once they are unpacked.
    page : str
        Where it is described.
    terms : str
        Licence or terms as its page states them.
    layout : int
        Goes up when what is kept on the disk changes.
    """

    name: str
    title: str
    n_images: int
    downloads: tuple
    unpacked_megabytes: float
    page: str
    terms: str
    layout: int = 1

    @property
    def megabytes(self):
        """About how much is downloaded."""
        return sum(item.megabytes for item in self.downloads)


def folder_of(data_set, root=None):
    """Where a data set is kept: files to be put by hand go here, what is ready is in ``ready``."""
    return data_root(root) / data_set.name


def is_ready(data_set, root=None):
    """Whether a data set is here, complete."""
    try:
        mark = json.loads((folder_of(data_set, root) / "ready" / _MARK).read_text("utf-8"))
        return mark["layout"] == data_set.layout
    except (OSError, ValueError, KeyError, TypeError):
        return False


def prepare(data_set, make, *, root=None, download=True, progress=True):
    """The folder with a data set, made if it is not there.

    Parameters
    ----------
    data_set : DataSet
    make : callable
        ``make(files, folder, progress)`` fills an empty folder from the verified files (dict of name to
        path). It raises ValueError where they are not what they should be.
    root : path-like, optional
        See `data_root`.
    download : bool, default=True
        False: never connect; use what is here.
    progress : bool, default=True

    Returns
    -------
    pathlib.Path

    Raises
    ------
    DownloadFailed
        A file could not be had, or is not what it should be; the message says what to do by hand.
    OSError
        No room, no permission, or another process is at it.
    """
    folder = folder_of(data_set, root)
    ready = folder / "ready"
    if is_ready(data_set, root):
        return ready
    if not download and not any((folder / item.name).is_file() for item in data_set.downloads):
        raise DownloadFailed(
            f"{data_set.title} is not in {str(folder)!r} and download=False; "
            f"run `cbirkit prefetch {data_set.name}` while online, or {by_hand(data_set.downloads[0], folder)}"
        )
    with plain_errors(folder), only_one(folder) as alone:
        if is_ready(data_set, root):  # made by the process that was waited for
            return ready
        _sweep(folder, alone)
        files = {
            item.name: get(item, folder, online=download, progress=progress)
            for item in data_set.downloads
        }
        check_free(folder, int(data_set.unpacked_megabytes * 1e6), data_set.title)
        _build(data_set, make, files, ready, progress)
        for path in files.values():
            path.unlink(missing_ok=True)
    return ready


def _sweep(folder, alone):
    """Remove what killed processes left: all of it if nobody else can be at work, else only what is old."""
    sweep(folder, ".ready.")
    if alone:
        for path in folder.glob(".ready.*.partial"):
            shutil.rmtree(path, ignore_errors=True)


def _build(data_set, make, files, ready, progress):
    partial = ready.parent / f".ready.{os.getpid()}-{uuid.uuid4().hex[:8]}.partial"
    partial.mkdir()
    try:
        make(files, partial, progress)
        (partial / _MARK).write_text(
            json.dumps({"layout": data_set.layout, "files": list(files)}), "utf-8"
        )
        if hasattr(
            os, "sync"
        ):  # all is on the disk before the new name is: cheaper than once for each of 100,000 files
            os.sync()
        if ready.exists():  # of an earlier layout
            shutil.rmtree(ready)
        os.replace(partial, ready)
    except UnsafeArchive as error:
        raise DownloadFailed(f"{data_set.title} is refused: {error}") from error
    except ValueError as error:
        raise DownloadFailed(_reject(data_set, files, error)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _reject(data_set, files, error):
    """Set files without a published checksum aside, which may be to blame, and say what to do."""
    rejected = []
    for item in data_set.downloads:
        if item.checksum is None:
            path = files[item.name]
            checksums.forget(path.parent, item.name)
            os.replace(path, path.with_name(item.name + ".rejected"))
            rejected.append(item)
    if not rejected:
        return f"{data_set.title} is not as expected: {error}; is there a newer cbirkit? See {data_set.page}"
    return (
        f"{data_set.title} is not as expected: {error}; "
        "the file was renamed to end in .rejected: run this again, or "
        f"{by_hand(rejected[0], next(iter(files.values())).parent)}"
    )


def expect(found, wanted, what):
    """Raise `DamagedArchive` unless the count is right."""
    if found != wanted:
        raise DamagedArchive(f"there are {found:,} {what}, not {wanted:,}")


def unpack_all(files, folder, progress, place=None):
    """Unpack every file into one folder."""
    for path in files.values():
        unpack(Path(path), folder, place=place, progress=progress)
