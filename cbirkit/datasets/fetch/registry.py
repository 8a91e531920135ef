"""The data sets that can be fetched, and the way from the files of one to its ready folder: once, whole or not at all.

To add a set: describe it in ``data_sets.toml`` (keys: `DataSet`, `Download`), write a function with the decorator
`register` beside its like, import it in ``datasets/__init__.py``, and add the line to ``data/README.md`` that the test
of the list asks for.
"""

import json
import os
import re
import shutil
import tomllib
import uuid
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from cbirkit._atomic import plain_errors

from .disk import check_free, data_root, only_one
from .download import Download, DownloadFailed, by_hand, forget, get
from .unpack import BadArchive, unpack

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
    keep : str
        Regular expression of the members of its archives that are kept; the first group is their new name.
    into : str
        Folder below the ready one that they are kept in.
    needs : tuple of str
        Files without which it is refused.
    """

    name: str
    title: str
    n_images: int
    downloads: tuple
    unpacked_megabytes: float
    page: str
    terms: str
    keep: str = "(.+)"
    into: str = "."
    needs: tuple = ()

    def unpack(self, files, folder, progress):
        """Unpack what is kept of the archives into a folder; other files are copied there."""
        for name, path in files.items():
            if path.suffix in (".zip", ".tgz", ".gz"):
                unpack(path, folder, place=self.place, progress=progress)
            else:
                (folder / self.into).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, folder / self.into / name)

    def place(self, name):
        """Where a member of an archive is kept, below the ready folder; None: it is not."""
        match = re.fullmatch(self.keep, name)
        return f"{self.into}/{match[1]}" if match else None


def _data_sets():
    known = tomllib.loads(Path(__file__).with_name("data_sets.toml").read_text("utf-8"))
    for facts in known.values():
        facts["downloads"] = tuple(Download(**item) for item in facts["downloads"])
    return {name: DataSet(name, **facts) for name, facts in known.items()}


DATA_SETS = _data_sets()  # by name
_FETCH = {}  # name: the function that fetches it, with its arguments


def register(name, /, **arguments):
    """Decorator of the function that fetches a data set of ``data_sets.toml``, with these arguments."""

    def enter(function):
        _FETCH[name] = partial(function, **arguments)
        return function

    return enter


def fetch_by_name(name, **options):
    """Fetch a data set by its name in `fetchable`.

    Parameters
    ----------
    name : str
    **options
        ``root``, ``download``, ``progress``.

    Returns
    -------
    ImageCollection or Benchmark

    Raises
    ------
    ValueError
        No such data set.
    """
    if name not in DATA_SETS:
        raise ValueError(f"no data set {name!r}; there are: {', '.join(DATA_SETS)}")
    return _FETCH[name](**options)


def fetchable(root=None):
    """The data sets that can be fetched, and which of them are here.

    Parameters
    ----------
    root : path-like, optional
        See `data_root`.

    Returns
    -------
    DataFrame indexed by name
        ``title``, ``n_images``, ``megabytes`` (about, to download), ``unpacked_megabytes`` (about, on the
        disk), ``here`` (bool), ``folder``, ``page``, ``terms``.

    Examples
    --------
    >>> int(fetchable().loc["cub200", "n_images"])
    11788
    """
    columns = ("title", "n_images", "unpacked_megabytes", "page", "terms")
    rows = {}
    for name, data_set in DATA_SETS.items():
        rows[name] = {column: getattr(data_set, column) for column in columns}
        rows[name]["megabytes"] = sum(item.megabytes for item in data_set.downloads)
        folder, here = _ready(name, root)
        rows[name] |= {"folder": str(folder.parent), "here": here}
    return pd.DataFrame.from_dict(rows, orient="index")


def _ready(name, root):
    """The folder that is there, whole, once the set is ready; and whether it is."""
    folder = data_root(root) / name / "ready"
    return folder, (folder / _MARK).is_file()


def make(data_set, files, folder, progress):
    """Unpack a data set into an empty folder; ValueError unless all that it needs, and all images, are there."""
    data_set.unpack(files, folder, progress)
    missing = [name for name in data_set.needs if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    suffixes = [path.suffix.lower() for path in folder.rglob("*")]
    expect(suffixes.count(".jpg") + suffixes.count(".tif"), data_set.n_images, "images")


def expect(found, wanted, what):
    """Raise `BadArchive` unless the count is right."""
    if found != wanted:
        raise BadArchive(f"there are {found:,} {what}, not {wanted:,}")


def prepare(name, make=make, *, root=None, download=True, progress=True):
    """The folder with a data set, made if it is not there.

    Parameters
    ----------
    name : str
    make : callable, optional
        ``make(data_set, files, folder, progress)`` fills an empty folder from the verified files (dict of name to
        path). It raises ValueError where they are not what they should be. Default: unpack and count the images.
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
    data_set, (ready, here) = DATA_SETS[name], _ready(name, root)
    if here:
        return ready
    folder = ready.parent
    if not download and not any((folder / item.name).is_file() for item in data_set.downloads):
        raise DownloadFailed(
            f"{data_set.title} is not in {str(folder)!r} and download=False; "
            f"run `cbirkit prefetch {name}` while online, or {by_hand(data_set.downloads[0], folder)}"
        )
    with plain_errors(folder), only_one(folder) as alone:
        if _ready(name, root)[1]:  # made by the process that was waited for
            return ready
        if alone:  # what is there was left by killed processes: ours, and pooch's
            for left in [*folder.glob(".ready.*.partial"), *folder.glob("tmp*")]:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        options = {"online": download, "progress": progress}
        files = {item.name: get(item, folder, **options) for item in data_set.downloads}
        check_free(folder, int(data_set.unpacked_megabytes * 1e6), data_set.title)
        _build(data_set, make, files, ready, progress)
        for path in [*files.values(), *folder.glob("*.part*")]:
            path.unlink(missing_ok=True)
    return ready


def _build(data_set, make, files, ready, progress):
    partial = ready.parent / f".ready.{os.getpid()}-{uuid.uuid4().hex[:8]}.partial"
    partial.mkdir()
    try:
        make(data_set, files, partial, progress)
        (partial / _MARK).write_text(json.dumps({"layout": 1, "files": list(files)}), "utf-8")
        # All is on the disk before the new name is: cheaper than once for each of 100,000 files.
        if hasattr(os, "sync"):
            os.sync()
        if ready.exists():  # without its mark
            shutil.rmtree(ready)
        os.replace(partial, ready)
    except ValueError as error:
        advice = _reject(data_set, ready.parent)
        raise DownloadFailed(f"{data_set.title} is refused: {error}; {advice}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _reject(data_set, folder):
    """Set files without a published checksum aside, which may be to blame, and say what to do."""
    doubtful = [item for item in data_set.downloads if item.checksum is None]
    for item in doubtful:
        forget(folder, item.name)
        os.replace(folder / item.name, folder / f"{item.name}.rejected")
    if doubtful:
        advice = by_hand(doubtful[0], folder)
        return f"the file was renamed to end in .rejected: run this again, or {advice}"
    return f"is there a newer cbirkit? See {data_set.page}"
