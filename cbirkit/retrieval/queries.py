"""What may be asked: collections, files, pixels, ids of indexed images, and lists of these; and the asking of an index."""

import itertools
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cbirkit.images import ImageCollection, ImageProblem, read_image
from cbirkit.indexes import leave_out
from cbirkit.store import embed


def check_k(k, n):
    """Raise ValueError unless k is None or a whole number from 1 to the n indexed images."""
    if k is None:
        return
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(f"k={k!r} is not a positive whole number; k=None ranks the whole database")
    if k > n:
        raise ValueError(f"k={k} exceeds the {n} indexed images; use k <= {n}, or k=None for all")


@dataclass(frozen=True, eq=False)
class Queries:
    """Queries made ready for an index.

    Attributes
    ----------
    ids : list of str, unique
    embeddings : ndarray of shape (n_queries, n_dims)
    own : ndarray of shape (n_queries,), int64
        Position in the database of the query itself, -1 where it is not there.
    namesakes : int
        Queries that share the id, but not the contents, of a database image.
    unreadable : int
        Images of a collection that could not be read.
    """

    ids: list
    embeddings: np.ndarray
    own: np.ndarray
    namesakes: int = 0
    unreadable: int = 0


def as_queries(queries, encoder, database, k=None, *, store=None, progress=True):
    """Read, identify and encode queries.

    Parameters
    ----------
    queries : ImageCollection, id, path, bytes, PIL image, array (h, w[, 3 or 4]) or (n, h, w, 3), or a list of these
    encoder : estimator
    database : Database
        What is indexed.
    k : int or None
        Results wanted, checked once the queries are there and before they are encoded.
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
        check_k(k, len(database))
        done = embed(encoder, queries, store, progress=progress)
        ids = queries.ids[done.positions].tolist()
        own, namesakes = database.find(ids, done.digests, queries.subset(done.positions))
        return Queries(ids, done.embeddings, own, namesakes, len(done.problems))
    if not isinstance(queries, np.ndarray | list | tuple | pd.Series | pd.Index):
        queries = [queries]
    one = isinstance(queries, np.ndarray) and queries.ndim not in (0, 1, 4)
    items = [queries] if one else list(queries)
    if not items:
        raise ValueError("there is no query: the list is empty; give at least one image or id")
    kinds = np.array([_kind(item, database) for item in items])
    check_k(k, len(database))
    names = _unique([_name(item, number) for number, item in enumerate(items)])
    own = np.full(len(items), -1, dtype=np.int64)
    parts = []
    for kind in np.unique(kinds):
        rows = np.flatnonzero(kinds == kind)
        mine = [items[row] for row in rows]
        if kind == "id":
            own[rows] = database.positions(mine)
            parts.append((rows, database.embeddings[own[rows]]))
        else:
            done, own[rows] = _encode(mine, [names[row] for row in rows], encoder, database)
            parts.append((rows, done))
    embeddings = np.empty((len(items), parts[0][1].shape[1]), parts[0][1].dtype)
    for rows, part in parts:
        embeddings[rows] = part
    return Queries(names, embeddings, own)


def _kind(item, database):
    """ "id", "file" or "pixels"."""
    if isinstance(item, str) and database.position(item) >= 0:
        return "id"
    if isinstance(item, str | os.PathLike):
        if Path(item).is_dir():
            raise ValueError(f"{str(item)!r} is a folder; use ImageCollection.from_folder of it")
        if isinstance(item, str) and not Path(item).exists():
            raise ValueError(f"no indexed image and no file is called {item!r}; see .ids")
        if not Path(item).exists():
            raise ImageProblem(os.fspath(item), "No such file or directory")
        return "file"
    return "pixels"


def _name(item, number):
    return os.fspath(item) if isinstance(item, str | os.PathLike) else f"query-{number}"


def _encode(items, names, encoder, database):
    """Embeddings (n, n_dims) of files or pixels, and where the database holds the very same files."""
    if isinstance(items[0], str | os.PathLike):
        images = ImageCollection.from_files(items, ids=names)
    else:
        images = ImageCollection.from_arrays([_pixels(item) for item in items], ids=names)
    done = embed(encoder, images, progress=False)
    if len(done.problems):
        raise ImageProblem(*done.problems.iloc[0])
    return done.embeddings, database.find([None] * len(items), done.digests, images)[0]


def _pixels(item):
    if isinstance(item, np.ndarray) and item.ndim == 1:
        raise ValueError(f"a query is an array of shape {item.shape}; see search_embeddings")
    plain = isinstance(item, np.ndarray | bytes | bytearray | memoryview)
    if not plain and not hasattr(item, "read") and not hasattr(item, "convert"):
        raise TypeError(
            f"a query is a {type(item).__name__}; give an ImageCollection, an id, a path, bytes, a PIL image or an array"
        )
    return read_image(item)


def _unique(names):
    """Names made unique: the second ``a`` becomes ``a (2)``."""
    taken = {}
    for name in names:
        new = (f"{name} ({number})" if number > 1 else name for number in itertools.count(1))
        taken[next(one for one in new if one not in taken)] = None
    return list(taken)


def nearest(index, database, queries, k, *, exclude_self):
    """The k nearest database images of each query.

    Parameters
    ----------
    index : fitted index
        Its ``kneighbors`` gives keys.
    database : Database
    queries : Queries
    k : int or None
        None: as many as there are for any query.
    exclude_self : bool

    Returns
    -------
    indices : ndarray of shape (n_queries, k), int64
        Positions in the database; -1 pads rows that are short of one because the query itself was left out.
    distances : ndarray of shape (n_queries, k)
    """
    own = queries.own if exclude_self else np.full(len(queries.own), -1)
    n = len(database)
    deep = n if k is None else min(k + int((own >= 0).any()), n)
    distances, keys = index.kneighbors(queries.embeddings, n_neighbors=deep)
    k = max(1, deep - int((own >= 0).all())) if k is None else k
    distances, indices = leave_out(distances, database.positions_of_keys(keys), own, k)
    return indices, distances
