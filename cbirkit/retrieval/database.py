"""What a retriever knows of the images it has indexed, in step with the keys of its index."""

import logging
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from ..images import ImageCollection
from ..images.tables import text_of
from ..ranking.ids import composed
from .joined import as_indexed, changed, indexed_among, join

logger = logging.getLogger(__name__)

# of files that are read at once to see whether they are those that were indexed; others are when they are shown
_MOST_BYTES = 1 << 28
_SAVED = str | int | float | list | tuple | set | frozenset | dict | np.ndarray  # else as text
_SILENT = "its embedding is zero, as of an image without key points: it stays searchable, equally far from all images"
_MOST_COMPARED = 100  # results of a query


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
        images = (
            images if len(embedded.positions) == len(images) else images.subset(embedded.positions)
        )
        silent = pd.DataFrame(
            {"name": images.ids[embedded.silent], "reason": _SILENT}, dtype=object
        )
        problems = pd.concat([images.problems, embedded.problems, silent], ignore_index=True)
        digests, shown = embedded.digests, as_indexed(images, embedded.digests, stamps)
        return cls(
            images.ids,
            keys,
            embedded.embeddings,
            digests,
            images.table,
            shown,
            problems,
            stamps,
            refused,
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
                    "were, and not shown; index again", n, len(self), root, self.ids[others[0]],
                )  # fmt: skip
            return shown
        logger.warning(
            "the %d image files are not (all) below %s any more%s; searching works, showing does not: "
            "load(path, images=ImageCollection.from_folder(…)) mends that",
            len(self), files["root"], ", where others lie now" * bool(places),
        )  # fmt: skip
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
            raise ValueError(
                f"no indexed image is called {unknown!r} (of {len(self)}); the ids are in .ids"
            )
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
            if called in same or (
                called >= 0
                and self.images is not None
                and images._shows(number, self.images, called)
            ):
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
            raise ValueError(
                f"the id {clash!r} is indexed already; remove it first, or give the new images other ids"
            )

    def added(self, other):
        """This database followed by another."""
        lost = self.images is None or other.images is None
        return Database(
            np.concatenate([self.ids, other.ids]),
            np.concatenate([self.keys, other.keys]),
            np.concatenate([self.embeddings, other.embeddings]),
            np.concatenate([self.digests, other.digests]),
            pd.concat([self.table, other.table]),
            None if lost else join(self.images, other.images),
            pd.concat([self.problems, other.problems], ignore_index=True),
            np.concatenate([self.stamps, other.stamps]),
            self.refused | other.refused,
        )

    def without(self, positions):
        """This database without the images at `positions`."""
        keep = np.ones(len(self), dtype=bool)
        keep[positions] = False
        names = ("ids", "keys", "embeddings", "digests", "table", "stamps")
        kept = {name: getattr(self, name)[keep] for name in names}
        return replace(
            self, **kept, images=None if self.images is None else self.images.subset(keep)
        )

    def shown_by(self, images):
        """This database with images that were indexed, taken from a collection that holds them; ValueError names one that it lacks."""
        images = as_indexed(indexed_among(images, self.ids), self.digests, self.stamps)
        return replace(self, table=images.table, images=images)

    def tell_changed(self, indices):
        """Warn of images among the queries and first results (n_queries, 1 + k) that are not those that were indexed, once of each."""
        there = np.zeros(len(self) + 1, dtype=bool)  # the last stands for -1
        there[indices[:, :_MOST_COMPARED]] = True
        found = (
            []
            if self.images is None
            else changed(self.images, np.flatnonzero(there[:-1]), most_bytes=_MOST_BYTES)
        )
        news = [position for position in found if position not in self._told]
        self._told.update(news)
        if news:
            logger.warning(
                "%d of the images found or asked for by id changed since they were indexed, the first is %s: they are found by what they were, and not "
                "shown; index again", len(news), self.ids[news[0]],
            )  # fmt: skip

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
