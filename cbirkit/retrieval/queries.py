"""What may be asked: collections, files, pixels, ids of indexed images, and lists of these."""

import itertools
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cbirkit.images import ImageCollection, ImageProblem, read_image
from cbirkit.store import embed
from cbirkit.text import is_words


class Queries(NamedTuple):
    """Queries made ready for an index.

    Attributes
    ----------
    ids : list of str, unique
    embeddings : ndarray of shape (n_queries, n_dims)
    own : ndarray of shape (n_queries,), int64
        Position in the database of the query itself, -1 where it is not there.
    unreadable : int
        Images of a collection that could not be read.
    """

    ids: list
    embeddings: np.ndarray
    own: np.ndarray
    unreadable: int = 0


def as_queries(queries, encoder, database, *, store=None, progress=True):
    """Read, identify and encode queries.

    Parameters
    ----------
    queries : ImageCollection, id, path, bytes, PIL image, array (h, w[, 3 or 4]) or (n, h, w, 3), or a list of these
    encoder : estimator
    database : Database
        What is indexed.
    store : EmbeddingStore, optional
        Used for collections only: single queries are not worth keeping.

    Returns
    -------
    Queries

    Raises
    ------
    TypeError, ValueError
        Something else, an unknown id, no query, or an image that cannot be read (`ImageProblem`).
    """
    if isinstance(queries, ImageCollection):
        done = embed(encoder, queries, store, progress=progress)
        ids = queries.ids[done.positions].tolist()
        own = database.find(ids, done.digests, queries.subset(done.positions))
        return Queries(ids, done.embeddings, own, len(done.problems))
    several = isinstance(queries, list | tuple | pd.Series | pd.Index)
    several |= isinstance(queries, np.ndarray) and queries.ndim in (0, 1, 4)
    items = list(queries) if several else [queries]
    if not items:
        raise ValueError("there is no query: the list is empty; give at least one image or id")
    kinds = np.array([_kind(item, database) for item in items])
    named = enumerate(zip(items, kinds, strict=True))
    names = [f"query-{n}" if kind == "pixels" else os.fspath(item) for n, (item, kind) in named]
    names, own, vectors = unique(names), np.full(len(items), -1, dtype=np.int64), {}
    for kind in np.unique(kinds):
        rows = np.flatnonzero(kinds == kind)
        mine = [items[row] for row in rows]
        if kind == "id":
            own[rows] = database.positions(mine)
            found = database.embeddings[own[rows]]
        else:
            found, own[rows] = _encode(mine, [names[row] for row in rows], encoder, database)
        vectors |= zip(rows.tolist(), found, strict=True)
    return Queries(names, np.stack([vectors[row] for row in range(len(items))]), own)


def as_words(queries, database):
    """The sentences among queries, if all of them are sentences, else an empty list: strings that name no image and no file."""
    items = [queries] if isinstance(queries, str) else queries
    if not isinstance(items, list | tuple) or not all(map(is_words, items)):
        return []
    return [] if any(database.position(i) >= 0 or Path(i).exists() for i in items) else list(items)


def _kind(item, database):
    """ "id", "file" or "pixels"."""
    if isinstance(item, str) and database.position(item) >= 0:
        return "id"
    if isinstance(item, str | os.PathLike):
        if Path(item).is_dir():
            raise ValueError(f"{str(item)!r} is a folder; use ImageCollection.from_folder of it")
        if isinstance(item, str) and not Path(item).exists():
            told = "words are searched for alone, or in a list of words" * is_words(item)
            raise ValueError(
                f"no indexed image and no file is called {item!r}; {told or 'see .ids'}"
            )
        return "file"
    return "pixels"


def _encode(items, names, encoder, database):
    """Embeddings (n, n_dims) of files or pixels, and where the database holds the very same files."""
    if isinstance(items[0], str | os.PathLike):
        images = ImageCollection.from_files(items, ids=names)
    else:
        images = ImageCollection.from_arrays([read_image(item) for item in items], ids=names)
    done = embed(encoder, images, progress=False)
    if len(done.problems):
        raise ImageProblem(*done.problems.iloc[0])
    return done.embeddings, database.find([None] * len(items), done.digests, images)


def unique(names):
    """Names made unique: the second ``a`` becomes ``a (2)``."""
    taken = {}
    for name in names:
        new = (f"{name} ({number})" if number > 1 else name for number in itertools.count(1))
        taken[next(one for one in new if one not in taken)] = None
    return list(taken)
