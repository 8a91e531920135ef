"""What a retriever knows of the images it has indexed, in step with the keys of its index."""

import os
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from ..images import ImageCollection
from .joined import join


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
    """

    ids: np.ndarray
    keys: np.ndarray
    embeddings: np.ndarray
    digests: np.ndarray
    table: pd.DataFrame
    images: ImageCollection | None
    problems: pd.DataFrame

    @classmethod
    def of(cls, images, embedded, keys):
        """The images of a collection that could be embedded."""
        images = images if len(embedded.positions) == len(images) else images.subset(embedded.positions)
        problems = pd.concat([images.problems, embedded.problems], ignore_index=True)
        return cls(images.ids, keys, embedded.embeddings, embedded.digests, images.table, images, problems)

    def __len__(self):
        return len(self.ids)

    @cached_property
    def _by_id(self):
        return {name: position for position, name in enumerate(self.ids)}

    @cached_property
    def _by_digest(self):
        found = {}
        for position, digest in enumerate(self.digests):
            found.setdefault(digest, []).append(position)
        return found

    @cached_property
    def _by_key(self):
        table = np.full(
            int(self.keys.max(initial=-1)) + 2, -1, dtype=np.int64
        )  # its last entry is that of key -1
        table[self.keys] = np.arange(len(self.keys))
        return table

    def position(self, name):
        """Position of an id, -1 if it is not indexed."""
        return self._by_id.get(name, -1)

    def positions(self, names):
        """Positions (int64) of ids; ValueError names the first that is not indexed."""
        found = np.array([self.position(name) for name in names], dtype=np.int64)
        if (found < 0).any():
            unknown = names[int(np.argmax(found < 0))]
            raise ValueError(f"no indexed image is called {unknown!r} (of {len(self)}); the ids are in .ids")
        return found

    def positions_of_keys(self, keys):
        """Positions (int64, any shape) of keys of the index; -1 stays -1."""
        return self._by_key[keys]

    def find(self, names, digests, paths):
        """Which queries are images of the database: those of the same contents and the same id, or the same file.

        Parameters
        ----------
        names : list of str or None
        digests : sequence of str
        paths : list of Path or None

        Returns
        -------
        own : ndarray of shape (n,), int64
            Position in the database, -1 for none.
        namesakes : int
            How many share an id, but not the contents, with an image of the database.
        """
        own, namesakes = np.full(len(names), -1, dtype=np.int64), 0
        for number, (name, digest, path) in enumerate(zip(names, digests, paths, strict=True)):
            same = self._by_digest.get(digest, [])
            called = self.position(name)
            if called in same:
                own[number] = called
                continue
            own[number] = next((p for p in same if self._is_file(p, path)), -1)
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
        )

    def without(self, positions):
        """This database without the images at `positions`."""
        keep = np.ones(len(self), dtype=bool)
        keep[positions] = False
        names = ("ids", "keys", "embeddings", "digests", "table")
        kept = {name: getattr(self, name)[keep] for name in names}
        return replace(self, **kept, images=None if self.images is None else self.images.subset(keep))


def as_collection(images):
    """A collection of what was given: itself, a folder, or a sequence of images."""
    if isinstance(images, ImageCollection):
        return images
    if isinstance(images, str | os.PathLike):
        return ImageCollection.from_folder(images)
    return ImageCollection.from_arrays(images)
