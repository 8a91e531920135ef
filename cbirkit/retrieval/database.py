"""What a retriever knows of the images it has indexed, in step with the keys of its index.

Its collections compare files with what was indexed before they are shown, and may be made of several.
"""

import contextlib
import logging
import math
import os
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from cbirkit.images import ImageCollection, ImageProblem
from cbirkit.images.collection import Source
from cbirkit.images.tables import text_of
from cbirkit.ranking.codes import composed
from cbirkit.store import contents_key, is_settled, stamp_of

logger = logging.getLogger(__name__)

# of files that are read at once to see whether they are those that were indexed; others are when they are shown
_MOST_BYTES = 1 << 28
_SAVED = str | int | float | list | tuple | set | frozenset | dict | np.ndarray  # else as text
_SILENT = "its embedding is zero, as of an image without key points: it stays searchable, equally far from all images"
_OF_EACH = ("ids", "keys", "embeddings", "digests", "stamps")  # arrays of a database, in this order


@dataclass(frozen=True, eq=False)
class Database:
    """Indexed images, in their order of arrival; `added` and `without` make new ones.

    Attributes
    ----------
    ids : ndarray of shape (n_images,), str
    keys : ndarray of shape (n_images,), int64, ascending
        The numbers by which the index calls them.
    embeddings : ndarray of shape (n_images, n_dims)
    digests : ndarray of shape (n_images,), str
        Identify the contents.
    stamps : ndarray of shape (n_images,), object
        Of the files when they were read, see `cbirkit.store.Embedded`.
    table : DataFrame indexed by id
    images : ImageCollection or None
        None where the images are not at hand.
    problems : DataFrame with the columns ``name`` and ``reason``
    refused : dict of id to the same
        Of files that could not be used.
    """

    ids: np.ndarray
    keys: np.ndarray
    embeddings: np.ndarray
    digests: np.ndarray
    stamps: np.ndarray
    table: pd.DataFrame
    images: ImageCollection | None
    problems: pd.DataFrame
    refused: dict
    told: set = field(default_factory=set)  # ids of images that changed since they were indexed

    @classmethod
    def of(cls, images, embedded, keys):
        """The images of a collection that could be embedded."""
        every = dict(zip(images.ids, embedded.stamps, strict=True))
        refused = {str(name): every.get(name) for name in embedded.problems["name"]}
        stamps = np.fromiter((embedded.stamps[at] for at in embedded.positions), dtype=object)
        shown = images.subset(embedded.positions)
        silent = {"name": shown.ids[embedded.silent], "reason": _SILENT}
        problems = [images.problems, embedded.problems, pd.DataFrame(silent, dtype=object)]
        problems = pd.concat(problems, ignore_index=True)
        shown = as_indexed(shown, embedded.digests, stamps)
        arrays = shown.ids, keys, embedded.embeddings, embedded.digests, stamps
        return cls(*arrays, shown.table, shown, problems, refused)

    @classmethod
    def of_state(cls, state):
        """The database, without images, that gave a `state`; ValueError if its parts do not fit one another."""
        arrays, files, columns = [state[name] for name in _OF_EACH], state["files"], state["table"]
        ids, keys, embeddings = arrays[:3]
        fits = {len(set(ids)), *map(len, arrays)} == {len(ids)} and embeddings.ndim == 2
        if not fits or (np.diff(keys, prepend=-1) <= 0).any() or {*map(type, ids)} != {str}:
            raise ValueError("its ids, keys, embeddings and digests do not fit one another")
        if files is not None:
            names = list(map(Path, files["names"]))
            if len(names) != len(ids) or any(".." in p.parts or p.is_absolute() for p in names):
                raise ValueError("its files are not below one folder")
            columns["path"] = [os.path.join(files["root"], name) for name in names]
        table = pd.DataFrame(columns, index=pd.Index(ids, dtype=object))
        problems = pd.DataFrame(state["problems"], columns=["name", "reason"], dtype=object)
        return cls(*arrays, table, None, problems, state["refused"])

    def state(self, path):
        """All but the images, as plain values that can be saved at `path`; of images in files, where these are."""
        files = self._files(os.path.dirname(os.path.abspath(path)))
        columns = {str(name): _column(self.table[name]) for name in self.table}
        if files is not None:
            columns["path"] = None  # here to keep its place
        problems = self.problems.astype(str).to_numpy(dtype=object)
        state = {"table": columns, "problems": problems, "files": files, "refused": self.refused}
        return state | {name: np.asarray(getattr(self, name)) for name in _OF_EACH}

    def _files(self, folder):
        """Where the image files are: below one root, given absolutely and from a folder; None where they are not."""
        paths = [] if self.images is None else map(self.images.path, range(len(self)))
        with contextlib.suppress(TypeError, ValueError):  # no files; on several drives of Windows
            paths = list(map(os.path.abspath, paths))
            root = os.path.commonpath(list(map(os.path.dirname, paths)))
            near = Path(os.path.relpath(root, folder)).as_posix()
            names = [Path(os.path.relpath(path, root)).as_posix() for path in paths]
            return {"root": root, "from_here": near, "names": names, "called": self.images.name}
        return None

    def with_files(self, files, path):
        """The database with the image files that moved along with what was saved at `path`, or are where they were.

        Only where not all of them changed since they were indexed; else without images.
        """
        here = os.path.join(os.path.dirname(os.path.abspath(path)), files["from_here"])
        for root in dict.fromkeys(map(Path, (os.path.normpath(here), files["root"]))):
            paths = [root / name for name in files["names"]]
            if all(path.is_file() for path in paths):
                how = {"ids": self.ids, "root": root, "name": files["called"]}
                shown = self.shown_by(ImageCollection.from_files(paths, self.table, **how))
                others = changed(shown.images, range(len(shown)), most_bytes=_MOST_BYTES)
                if len(others) < len(self):
                    shown.tell_changed(others)
                    return shown
        told = "the %d image files are not (all) below %s any more, or others are: searching works, showing does not; "
        told += "load(path, images=ImageCollection.from_folder(…)) mends that"
        logger.warning(told, len(self), files["root"])
        return self

    def __len__(self):
        return len(self.ids)

    @cached_property
    def _by_id(self):
        exact = {name: position for position, name in enumerate(self.ids)}
        return {composed(name): position for name, position in exact.items()} | exact

    @cached_property
    def _by_digest(self):
        return pd.RangeIndex(len(self)).groupby(self.digests)

    def position(self, name):
        """Position of an id, -1 if it is not indexed."""
        return self._by_id.get(name, self._by_id.get(composed(name), -1))

    def positions(self, names):
        """Positions (int64) of ids; ValueError names the first that is not indexed."""
        found = np.array([self.position(name) for name in names], dtype=np.int64)
        if (found < 0).any():
            unknown = names[int(found.argmin())]
            raise ValueError(f"no indexed image is called {unknown!r}; the ids are in .ids")
        return found

    def find(self, names, digests, images):
        """Which queries are images of the database: those of the same contents and the same id, or the same file.

        Parameters
        ----------
        names : list of str or None
            The log tells how many share an id, but not the contents, with an image of the database.
        digests : sequence of str
        images : ImageCollection of the queries

        Returns
        -------
        ndarray of shape (n,), int64
            Position in the database, -1 for none.
        """
        own, namesakes = np.full(len(names), -1, dtype=np.int64), 0
        for number, (name, digest) in enumerate(zip(names, digests, strict=True)):
            same = self._by_digest.get(digest, ())
            called = self.position(name)
            shown = called >= 0 and self.images is not None
            if called in same or (shown and images._shows(number, self.images, called)):
                own[number] = called
                continue
            own[number] = next((p for p in same if self._is_file(p, images.path(number))), -1)
            namesakes += called >= 0
        if namesakes:
            told = "%d queries share their id with an indexed image of other contents, which is ranked: build the relevance "
            logger.warning(told + "with images.relevance(queries, database)", namesakes)
        return own

    def _is_file(self, position, path):
        mine = None if path is None or self.images is None else self.images.path(position)
        return mine is not None and os.path.realpath(mine) == os.path.realpath(path)

    def added(self, other):
        """This database followed by another."""
        both = {n: np.concatenate([getattr(self, n), getattr(other, n)]) for n in _OF_EACH}
        both["table"] = pd.concat([self.table, other.table])
        both["problems"] = pd.concat([self.problems, other.problems], ignore_index=True)
        lost = self.images is None or other.images is None
        both["images"] = None if lost else joined(self.images, other.images)
        return replace(self, **both, refused=self.refused | other.refused)

    def without(self, positions):
        """This database without the images at `positions`."""
        keep = ~np.isin(np.arange(len(self)), positions)
        kept = {name: getattr(self, name)[keep] for name in (*_OF_EACH, "table")}
        images = None if self.images is None else self.images.subset(keep)
        return replace(self, **kept, images=images)

    def shown_by(self, images):
        """This database with images that were indexed, taken from a collection that holds them; ValueError names one that it lacks."""
        images = as_indexed(images.subset(self.ids), self.digests, self.stamps)
        return replace(self, table=images.table, images=images)

    def tell_changed(self, positions):
        """Warn of images at these positions (-1 for none) that are not those that were indexed, once of each."""
        rows = np.unique(np.asarray(positions, dtype=np.int64))
        others = changed(self.images, rows[rows >= 0], most_bytes=_MOST_BYTES)
        news = [self.ids[row] for row in others if self.ids[row] not in self.told]
        self.told.update(news)
        if news:
            told = "%d of the images found, asked for by id or loaded changed since they were indexed, the first is %s: they "
            told += "are found by what they were, and not shown; index again"
            logger.warning(told, len(news), news[0])


def _column(column):
    """Values of a column as an array of numbers or dates, or of plain objects; what is neither is kept as text."""
    values = column.to_numpy(copy=True)
    if values.dtype.kind not in "biufmM":
        for row, value in enumerate(values):
            values[row] = value if value is None or isinstance(value, _SAVED) else text_of(value)
    return values


def as_indexed(images, digests, stamps):
    """The same images, but one whose file holds something else than when it was indexed is refused when it is read.

    Parameters
    ----------
    images : ImageCollection
    digests : sequence of str
        Of the contents that were indexed.
    stamps : list
        Of the files then; see `cbirkit.store.Embedded`.
    """
    if all(stamp is None or images.path(row) is None for row, stamp in enumerate(stamps)):
        return images  # nothing that could change
    rows = [_Row(images, *one) for one in zip(range(len(images)), digests, stamps, strict=True)]
    return ImageCollection(_Indexed(rows), images.table, problems=images.problems, name=images.name)


def joined(first, second):
    """The images of `first`, then those of `second`; ids must differ."""
    table = pd.concat([first.table, second.table])
    problems = pd.concat([first.problems, second.problems], ignore_index=True)
    source = _Indexed([*_rows_of(first), *_rows_of(second)])
    return ImageCollection(source, table, problems=problems, name=first.name)


def changed(images, positions, *, cache=None, most_bytes=math.inf):
    """Positions of images whose files hold something else than when they were indexed.

    Parameters
    ----------
    images : ImageCollection
        Made by `as_indexed`, `joined` or as a part of one; of others none has changed.
    positions : iterable of int
    cache : connection, optional
        See `cbirkit.store.digests`.
    most_bytes : int, optional
        Read no more than these to compare contents; what is left is compared when it is shown.
    """
    found, source = [], getattr(images, "_source", None)
    for position in positions if isinstance(source, _Indexed) else ():
        other, n_read = source.rows[images._rows[position]].is_other(cache)
        found += [int(position)] * other
        most_bytes -= n_read
        if most_bytes < 0:
            break
    return found


@dataclass(slots=True)
class _Row:
    """One image of a collection; the digest of its contents and the stamp of its file when it was indexed, None for no file."""

    images: ImageCollection
    position: int
    digest: str = ""
    stamp: tuple | None = None

    def is_other(self, connection=None):
        """Whether the file holds something else now, and how many bytes were read to know it."""
        try:
            path = None if self.stamp is None else self.images.path(self.position)
            now = stamp_of(path)
            if now is None or now == self.stamp:
                return False, 0
            key = contents_key(self.images, self.position, path, now, connection)
        except (OSError, ImageProblem):
            return True, 0
        if key.hex() == self.digest and is_settled(now):
            self.stamp = now
        return key.hex() != self.digest, now[0]


class _Indexed(Source):
    """Images of one or several collections; one that is not what was indexed any more is refused when it is read."""

    def __init__(self, rows):
        roots = {row.images.root for row in rows}
        self.rows, self.root = rows, roots.pop() if len(roots) == 1 else None

    def _asked(name, is_shown=False):
        def ask(self, row, *args):
            images, position = self.rows[row].images, self.rows[row].position
            if is_shown and self.rows[row].is_other()[0] and images.path(position).exists():
                raise ImageProblem("the file", "changed since it was indexed; index again")
            return getattr(images, name)(position, *args)

        return ask

    read, thumbnail = _asked("__getitem__", True), _asked("thumbnail", True)
    digest, path, make_mask = map(_asked, ("digest", "path", "mask"))


def _rows_of(images):
    if isinstance(images._source, _Indexed):
        return [images._source.rows[row] for row in images._rows]
    return [_Row(images, position) for position in range(len(images))]
