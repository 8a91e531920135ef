"""Ask an index for positions in the database, the query itself left out."""

import numpy as np
from sklearn.base import clone

from ..indexes import as_index


def new_index(index):
    """An unfitted copy of `index`, or ``Exact("cosine")`` for None; TypeError if it is no index."""
    return clone(as_index(index), safe=False)


def check_k(k, n):
    """Raise ValueError unless k is None or a whole number from 1 to the n indexed images."""
    if k is None:
        return
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(
            f"k={k!r} is not a positive whole number; use k=10, say, or k=None for the whole database"
        )
    if k > n:
        raise ValueError(
            f"k={k} exceeds the {n} indexed images; use k <= {n}, or k=None for all of them"
        )


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
    indices = database.positions_of_keys(keys)
    itself = (indices == own[:, None]) & (own >= 0)[:, None]
    if itself.any():  # moved behind the others and turned into padding
        order = np.argsort(itself, axis=1, kind="stable")
        indices = np.take_along_axis(np.where(itself, -1, indices), order, axis=1)
        distances = np.where(itself, np.inf, distances).astype(distances.dtype)
        distances = np.take_along_axis(distances, order, axis=1)
    if k is None:
        k = max(1, int((indices >= 0).sum(axis=1).max()))
    return indices[:, :k], distances[:, :k]
