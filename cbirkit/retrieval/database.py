"""What a retriever knows of the images it has indexed, in step with the keys of its index.

Its collections compare files with what was indexed before they are shown, and may be made of several.
"""

import logging
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from cbirkit.images import ImageCollection, ImageProblem
from cbirkit.images.tables import as_on_disk, text_of
from cbirkit.ranking.codes import composed, positions_of
from cbirkit.store import contents_key, is_settled, stamp_of

logger = logging.getLogger(__name__)

# of files that are read at once to see whether they are those that were indexed; others are when they are shown
_MOST_BYTES = 1 << 28
_SAVED = str | int | float | list | tuple | set | frozenset | dict | np.ndarray  # else as text
_SILENT = "its embedding is zero, as of an image without key points: it stays searchable, equally far from all images"
_MOST_COMPARED = 100  # results of a query
_OF_EACH = ("ids", "keys", "embeddings", "digests", "stamps")  # arrays of a database


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
    table : DataFrame indexed by id
    images : ImageCollection or None
        None where the images are not at hand.
    problems : DataFrame with the columns ``name`` and ``reason``
    stamps : ndarray of shape (n_images,), object
        Of the files when they were read, see `cbirkit.store.Embedded`.
    refused : dict of id to the same
        Of files that could not be used.
    """

    ids: np.ndarray
    keys: np.ndarray
    embeddings: np.ndarray
    digests: np.ndarray
    table: pd.DataFrame
    images: ImageCollection | None
    problems: pd.DataFrame
    stamps: np.ndarray
    refused: dict

    @classmethod
    def of(cls, images, embedded, keys):
        """The images of a collection that could be embedded."""
        every = dict(zip(map(str, images.ids), embedded.stamps, strict=True))
        refused = {name: every.get(name) for name in embedded.problems["name"]}
        stamps = objects([embedded.stamps[position] for position in embedded.positions])
        images = images.subset(embedded.positions)
        silent = {"name": images.ids[embedded.silent], "reason": _SILENT}
        found = [images.problems, embedded.problems, pd.DataFrame(silent, dtype=object)]
        return cls(
            ids=images.ids,
            keys=keys,
            embeddings=embedded.embeddings,
            digests=embedded.digests,
            table=images.table,
            images=as_indexed(images, embedded.digests, stamps),
            problems=pd.concat(found, ignore_index=True),
            stamps=stamps,
            refused=refused,
        )

    @classmethod
    def of_state(cls, state):
        """The database, without images, that gave a `state`; ValueError if its parts do not fit one another."""
        ids, digests = (np.array(state[name], dtype=object) for name in ("ids", "digests"))
        keys, embeddings, files = state["keys"], state["embeddings"], state["files"]
        n, stamps, columns = len(ids), state["stamps"], state["table"]
        if not n == len(set(ids)) == len(digests) == len(stamps) == len(keys) == len(embeddings):
            raise ValueError("its ids, keys, embeddings and digests differ in number")
        if keys.dtype != np.int64 or keys.ndim != 1 or keys[0] < 0 or (np.diff(keys) <= 0).any():
            raise ValueError("its keys are not ascending")
        if embeddings.ndim != 2 or not all(isinstance(name, str) for name in ids):
            raise ValueError("its embeddings are no table, or its ids no text")
        if files is not None:
            names = list(map(Path, files["names"]))
            if len(names) != n or any(".." in one.parts or one.is_absolute() for one in names):
                raise ValueError("its files are not below one folder")
            columns["path"] = [os.path.join(files["root"], name) for name in names]
        table = pd.DataFrame(columns, index=pd.Index(ids, dtype=object))
        problems = pd.DataFrame(state["problems"], columns=["name", "reason"], dtype=object)
        refused = dict(state["refused"])
        return cls(ids, keys, embeddings, digests, table, None, problems, objects(stamps), refused)

    def state(self, path):
        """All but the images, as plain values that can be saved at `path`; of images in files, where these are."""
        files = self._files(os.path.dirname(os.path.abspath(path)))
        columns = {str(name): _column(self.table[name]) for name in self.table}
        if files is not None:
            columns["path"] = None  # here to keep its place
        return {
            "ids": self.ids.tolist(),
            "keys": self.keys,
            "embeddings": np.asarray(self.embeddings),
            "digests": self.digests.tolist(),
            "table": columns,
            "problems": self.problems.astype(str).to_numpy(dtype=object).tolist(),
            "stamps": self.stamps.tolist() if files is not None else [None] * len(self),
            "refused": self.refused,
            "files": files,
        }

    def _files(self, folder):
        """Where the image files are: below one root, given absolutely and from a folder; None where they are not."""
        images = self.images
        paths = [] if images is None else [images.path(row) for row in range(len(images))]
        if not paths or None in paths:
            return None
        try:
            root = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
            near = Path(os.path.relpath(root, folder)).as_posix()
        except ValueError:  # several drives of Windows
            return None
        names = [Path(os.path.relpath(path, root)).as_posix() for path in paths]
        return {"root": root, "from_here": near, "names": names, "called": images.name}

    def with_files(self, files, path):
        """The database with the image files that moved along with what was saved at `path`, or are where they were.

        Only where these are the files that were indexed: of several places the one where fewest changed since; else without images.
        """
        here = os.path.join(os.path.dirname(os.path.abspath(path)), files["from_here"])
        places = []
        for root in dict.fromkeys(map(Path, (os.path.normpath(here), files["root"]))):
            paths = [root / name for name in files["names"]]
            if root.is_dir() and all(path.is_file() for path in paths):
                how = {"ids": self.ids, "root": root, "name": files["called"]}
                shown = self.shown_by(ImageCollection.from_files(paths, self.table, **how))
                others = changed(shown.images, range(len(shown)), most_bytes=_MOST_BYTES)
                places.append((len(others), str(root), others, shown))
                if not others:
                    break
        if places and min(places)[0] < len(self):
            n, root, others, shown = min(places)
            if n:
                logger.warning(
                    "%d of the %d image files below %s changed since they were indexed, the first is %s: they are found by what they "
                    "were, and not shown; index again",
                    n,
                    len(self),
                    root,
                    self.ids[others[0]],
                )
            return shown
        logger.warning(
            "the %d image files are not (all) below %s any more%s; searching works, showing does not: "
            "load(path, images=ImageCollection.from_folder(…)) mends that",
            len(self),
            files["root"],
            ", where others lie now" * bool(places),
        )
        return self

    def __len__(self):
        return len(self.ids)

    @cached_property
    def _by_id(self):
        exact = {name: position for position, name in enumerate(self.ids)}
        return {composed(name): position for name, position in exact.items()} | exact

    @cached_property
    def _by_digest(self):
        found = {}
        for position, digest in enumerate(self.digests):
            found.setdefault(digest, []).append(position)
        return found

    def position(self, name):
        """Position of an id, -1 if it is not indexed."""
        return self._by_id.get(name, self._by_id.get(composed(name), -1))

    def positions(self, names):
        """Positions (int64) of ids; ValueError names the first that is not indexed."""
        found = np.array([self.position(name) for name in names], dtype=np.int64)
        if (found < 0).any():
            unknown = names[int(np.argmax(found < 0))]
            raise ValueError(f"no indexed image is called {unknown!r}; the ids are in .ids")
        return found

    def positions_of_keys(self, keys):
        """Positions (int64, any shape) of keys of the index; -1 stays -1."""
        return np.where(keys < 0, -1, np.searchsorted(self.keys, keys))

    def find(self, names, digests, images):
        """Which queries are images of the database: those of the same contents and the same id, or the same file.

        Parameters
        ----------
        names : list of str or None
        digests : sequence of str
        images : ImageCollection of the queries

        Returns
        -------
        own : ndarray of shape (n,), int64
            Position in the database, -1 for none.
        namesakes : int
            How many share an id, but not the contents, with an image of the database.
        """
        own, namesakes = np.full(len(names), -1, dtype=np.int64), 0
        for number, (name, digest) in enumerate(zip(names, digests, strict=True)):
            same = self._by_digest.get(digest, [])
            called = self.position(name)
            shown = called >= 0 and self.images is not None
            if called in same or (shown and images._shows(number, self.images, called)):
                own[number] = called
                continue
            own[number] = next((p for p in same if self._is_file(p, images.path(number))), -1)
            namesakes += called >= 0
        return own, namesakes

    def _is_file(self, position, path):
        mine = None if path is None or self.images is None else self.images.path(position)
        return mine is not None and os.path.realpath(mine) == os.path.realpath(path)

    def check_new(self, ids):
        """Raise ValueError if one of `ids` is indexed already."""
        clash = next((name for name in ids if name in self._by_id), None)
        if clash is not None:
            raise ValueError(f"the id {clash!r} is indexed already; remove it, or use another id")

    def added(self, other):
        """This database followed by another."""
        both = {name: [getattr(self, name), getattr(other, name)] for name in _OF_EACH}
        arrays = {name: np.concatenate(parts) for name, parts in both.items()}
        lost = self.images is None or other.images is None
        return Database(
            **arrays,
            table=pd.concat([self.table, other.table]),
            images=None if lost else join(self.images, other.images),
            problems=pd.concat([self.problems, other.problems], ignore_index=True),
            refused=self.refused | other.refused,
        )

    def without(self, positions):
        """This database without the images at `positions`."""
        keep = np.ones(len(self), dtype=bool)
        keep[positions] = False
        kept = {name: getattr(self, name)[keep] for name in (*_OF_EACH, "table")}
        images = None if self.images is None else self.images.subset(keep)
        return replace(self, **kept, images=images)

    def shown_by(self, images):
        """This database with images that were indexed, taken from a collection that holds them; ValueError names one that it lacks."""
        images = as_indexed(indexed_among(images, self.ids), self.digests, self.stamps)
        return replace(self, table=images.table, images=images)

    def tell_changed(self, indices):
        """Warn of images among the queries and first results (n_queries, 1 + k) that are not those that were indexed, once of each."""
        rows = np.unique(indices[:, :_MOST_COMPARED])
        others = changed(self.images, rows[rows >= 0], most_bytes=_MOST_BYTES)
        news = [row for row in others if row not in self._told]
        self._told.update(news)
        if news:
            logger.warning(
                "%d of the images found or asked for by id changed since they were indexed, the first is %s: they are "
                "found by what they were, and not shown; index again",
                len(news),
                self.ids[news[0]],
            )

    @cached_property
    def _told(self):
        return set()


def objects(values):
    """An array of objects, one for each of the values, whatever they are."""
    return np.fromiter(values, dtype=object, count=len(values))


def as_collection(images):
    """A collection of what was given: itself, a folder, or a sequence of images."""
    if isinstance(images, ImageCollection):
        return images
    if isinstance(images, str | os.PathLike):
        return ImageCollection.from_folder(images)
    return ImageCollection.from_arrays(images)


def _column(column):
    """Values of a column as an array of numbers or dates, or of plain objects; what is neither is kept as text."""
    values = column.to_numpy(copy=True)
    if values.dtype.kind not in "biufmM":
        for row, value in enumerate(values):
            values[row] = value if value is None or isinstance(value, _SAVED) else text_of(value)
    return values


def join(first, second):
    """The images of `first`, then those of `second`; ids must differ."""
    source, rows = first._source, first._rows
    if type(source) is not _Joined:
        source, rows = _Joined([first]), np.arange(len(first))
    joined = _Joined([*source.parts, second])
    rows = np.concatenate([rows, joined.starts[-1] + np.arange(len(second))])
    problems = pd.concat([first.problems, second.problems], ignore_index=True)
    table = pd.concat([first.table, second.table])
    return ImageCollection(joined, table, rows=rows, problems=problems, name=first.name)


def indexed_among(images, ids):
    """The images of a collection that were indexed, in their order; ValueError names one that it lacks."""
    found = positions_of(ids, images.ids)
    if (found < 0).any():
        missing = f"{(found < 0).sum()} of the {len(ids)} indexed images, the first is"
        first = ids[int(np.argmax(found < 0))]
        raise ValueError(f"{images.name!r} lacks {missing} {first!r}; give all, or none")
    return images.subset(found)


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
    source = _Indexed(images, list(digests), list(stamps))
    return ImageCollection(source, images.table, problems=images.problems, name=images.name)


def contents_of(images, position):
    """What `as_indexed` has to know of one image, before it is read: digest and stamp."""
    stamp = stamp_of(images.path(position))
    digest = contents_key(images, position, stamp).hex()
    return digest, () if stamp and not is_settled(stamp) else stamp


def changed(images, positions, *, cache=None, most_bytes=None):
    """Positions of images whose files hold something else than when they were indexed.

    Parameters
    ----------
    images : ImageCollection
        Made by `as_indexed`, `join` or as a part of one; of others none has changed.
    positions : iterable of int
    cache : connection, optional
        See `cbirkit.store.digests`.
    most_bytes : int, optional
        Read no more than these to compare contents; what is left is compared when it is shown.
    """
    found = []
    for position in positions if hasattr(getattr(images, "_source", None), "is_other") else ():
        other, n_read = images._source.is_other(images._rows[position], cache)
        if other:
            found.append(int(position))
        if most_bytes is not None and (most_bytes := most_bytes - n_read) < 0:
            break
    return found


class _Joined:
    """A source (as `Source` in `cbirkit.images.collection`) whose rows are those of its parts, one part after the other."""

    def __init__(self, parts):
        self.parts = parts
        self.starts = np.cumsum([0, *map(len, parts)])[:-1]
        roots = {part.root for part in parts}
        self.root = roots.pop() if len(roots) == 1 else None

    def _find(self, row):
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.parts[number], int(row - self.starts[number])

    def is_other(self, row, cache):
        part, position = self._find(row)
        other = getattr(part._source, "is_other", None)
        return (False, 0) if other is None else other(part._rows[position], cache)

    def _asked(name):
        def ask(self, row, *args):
            part, position = self._find(row)
            return getattr(part, name)(position, *args)

        return ask

    read, thumbnail, digest = map(_asked, ("__getitem__", "thumbnail", "digest"))
    path, make_mask = map(_asked, ("path", "mask"))

    def read_mask(self, path):
        there = [p for p in self.parts if p.root is not None and as_on_disk(p.root / path)]
        return (there or self.parts)[0]._source.read_mask(path)


class _Indexed(_Joined):
    """A source of one part, which compares its files with what was indexed before it reads them."""

    def __init__(self, images, digests, stamps):
        super().__init__([images])
        self.digests, self.stamps, self._paths = digests, stamps, {}

    def path(self, row):
        if row not in self._paths:  # made once: a search for one query should not wait for them
            self._paths[row] = super().path(row)
        return self._paths[row]

    def is_other(self, row, cache):
        """Whether the file holds something else now, and how many bytes were read to know it."""
        path = self.path(row)
        if path is None or self.stamps[row] is None:
            return False, 0
        try:
            now = stamp_of(path)
            if now == self.stamps[row]:
                return False, 0
            if contents_key(self.parts[0], int(row), now, cache).hex() != self.digests[row]:
                return True, now[0]
        except (OSError, ImageProblem):
            return True, 0
        if is_settled(now):
            self.stamps[row] = now
        return False, now[0]

    def read(self, row):
        return super().read(self._checked(row))

    def thumbnail(self, row, size):
        return super().thumbnail(self._checked(row), size)

    def _checked(self, row):
        if self.is_other(row, None)[0] and self.path(row).exists():
            raise ImageProblem(self.parts[0].ids[row], "changed since it was indexed; index again")
        return row
