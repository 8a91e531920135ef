"""What a search returns (`Ranking`) and what it should have returned (`Relevance`)."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from .codes import aligned, as_ids, index_of, own_positions, positions_of, row_blocks, selection
from .relevance import Relevance

__all__ = ["Ranking", "Relevance"]


@dataclass(frozen=True, eq=False, repr=False)
class Ranking:
    """The first k database items of each query, nearest first.

    Parameters
    ----------
    query_ids : sequence of n_queries unique ids
    database_ids : sequence of n_database unique ids
    indices : array-like of int, shape (n_queries, k)
        Positions in `database_ids`. -1 pads a row that has fewer than k results, at its end only.
    distances : array-like of float, shape (n_queries, k)
        Ascending in each row; kept as float32 or float64. Padding becomes inf.
    protocol : str, default=""
        How the ranking came about (encoder, index, split); `evaluate` repeats it.
    own : array-like of int, shape (n_queries,), optional
        Position of the query itself in the database, -1 where it is not there. Default: the item of the same id.

    Raises
    ------
    ValueError
        Shapes that do not fit, ids that are missing or not unique, a position outside the database, a
        database item twice in one row, padding before a result, NaN, or distances that descend. The message
        names the query.

    Notes
    -----
    The arrays are read-only views: what was passed in is not copied unless its type has to change.

    Examples
    --------
    >>> ranking = Ranking(["q"], ["a", "b", "c"], [[2, 0]], [[0.1, 0.5]])
    >>> ranking.ids.tolist()
    [['c', 'a']]
    >>> len(ranking), ranking.k
    (1, 2)
    """

    query_ids: np.ndarray
    database_ids: np.ndarray
    indices: np.ndarray
    distances: np.ndarray
    protocol: str = ""
    own: np.ndarray | None = None

    def __post_init__(self):
        query_ids = as_ids(self.query_ids, "query_ids")
        database_ids = as_ids(self.database_ids, "database_ids")
        indices, distances = _as_table(self.indices, self.distances, len(query_ids))
        if (indices < 0).any():
            distances = np.where(indices < 0, np.inf, distances).astype(distances.dtype, copy=False)
        for rows in row_blocks(*indices.shape):
            _check_rows(indices[rows], distances[rows], query_ids[rows], len(database_ids))
        indices, distances = indices.view(), distances.view()
        indices.flags.writeable = distances.flags.writeable = False
        own = None if self.own is None else own_positions(self.own, query_ids, database_ids)
        vars(self).update(query_ids=query_ids, database_ids=database_ids, own=own)
        vars(self).update(indices=indices, distances=distances)

    @classmethod
    def from_distances(
        cls, distances, query_ids=None, database_ids=None, *, k=None, exclude_self=False
    ):
        """Rank the database by a full table of distances; equal distances keep the order of the database.

        Parameters
        ----------
        distances : array-like of float, shape (n_queries, n_database)
            Rows and columns of a DataFrame are matched with the ids by name.
        query_ids : sequence of ids, optional
            By default ``"q0"``, ``"q1"``, ...; with `exclude_self`, the ids of the database.
        database_ids : sequence of ids, optional
            By default ``"0"``, ``"1"``, ...
        k : int, optional
            Results for each query; by default all.
        exclude_self : bool, default=False
            Leave out of each row the database item that has the query's own id.

        Returns
        -------
        Ranking

        Raises
        ------
        ValueError
            NaN in `distances`, ids that do not fit its shape, or a `k` beyond the number of items to rank.

        Examples
        --------
        >>> Ranking.from_distances([[0.3, 0.1, 0.3]], k=2).ids.tolist()
        [['1', '0']]
        """
        if index_of(distances) is not None:
            rows = aligned(distances, query_ids, "distances")
            distances = aligned(rows.T, database_ids, "the columns of distances").T
        table = np.asarray(distances)
        if table.dtype.kind not in "biuf" or table.ndim != 2:
            raise ValueError(f"distances are {table.dtype} {table.shape}, no table of real numbers")
        database_ids = as_ids(database_ids, "database_ids", table.shape[1])
        query_ids = database_ids if query_ids is None and exclude_self else query_ids
        query_ids = as_ids(query_ids, "query_ids", table.shape[0], prefix="q")
        for query in query_ids[np.isnan(table).any(axis=1)][:1]:
            raise ValueError(f"distances of query {query!r} hold NaN; mend them first")
        own = np.where(exclude_self, positions_of(query_ids, database_ids), -1)
        most = int((len(database_ids) - (own >= 0)).max(initial=0))
        k = most if k is None else k
        if not 0 <= k <= most:
            raise ValueError(f"k={k} exceeds the {most} database items to rank; use k <= {most}")
        ranked = np.full((len(query_ids), k), -1, dtype=np.int64)
        for row, line in enumerate(table):
            found = _nearest(line, k, own[row])
            ranked[row, : len(found)] = found
        return cls(query_ids, database_ids, ranked, np.take_along_axis(table, ranked, axis=1))

    def __len__(self):
        return len(self.query_ids)

    @property
    def k(self):
        """Ranks kept for each query."""
        return self.indices.shape[1]

    @property
    def ids(self):
        """Database ids, shape (n_queries, k), dtype object; None at padding."""
        return np.append(self.database_ids, None)[self.indices]

    def __getitem__(self, position):
        """The results of the query at `position`: a DataFrame of rank (from 1), id and distance."""
        n = int((self.indices[position] >= 0).sum())
        ids, distances = self.database_ids[self.indices[position, :n]], self.distances[position, :n]
        return pd.DataFrame({"rank": np.arange(1, n + 1), "id": ids, "distance": distances})

    def top(self, k):
        """The first `k` ranks of every query, as a new `Ranking`."""
        if not 0 < k <= self.k:
            raise ValueError(f"k={k} is outside the {self.k} ranks kept; use less or search deeper")
        return replace(self, indices=self.indices[:, :k], distances=self.distances[:, :k])

    def select(self, queries):
        """The rows at the positions (or under the boolean mask) `queries`, as a new `Ranking`."""
        queries = selection(queries, self.query_ids)
        names = ["query_ids", "indices", "distances", *(["own"] if self.own is not None else [])]
        return replace(self, **{name: getattr(self, name)[queries] for name in names})

    def __repr__(self):
        how = f", protocol={self.protocol!r}" if self.protocol else ""
        return f"Ranking({len(self)} queries, {len(self.database_ids)} database items, k={self.k}{how})"


def _as_table(indices, distances, n_queries):
    """Both arrays, two-dimensional, of one shape, int64 and float."""
    indices, distances = np.asarray(indices), np.asarray(distances)
    if (indices.size and indices.dtype.kind not in "iu") or distances.dtype.kind not in "biuf":
        kinds = f"indices are {indices.dtype}, distances are {distances.dtype}"
        raise ValueError(f"{kinds}; give integer positions in database_ids and real numbers")
    if indices.ndim != 2 or indices.shape != distances.shape or len(indices) != n_queries:
        shapes = f"indices are {indices.shape}, distances {distances.shape}"
        raise ValueError(f"{shapes}; both must be (n_queries, k) with {n_queries} queries")
    if distances.dtype not in (np.float32, np.float64):
        distances = distances.astype(np.float64)
    return indices.astype(np.int64, copy=False), distances


def _check_rows(indices, distances, query_ids, n_database):
    """Raise for the first bad row of a block."""
    kept = np.sort(indices.astype(np.int32) if n_database < 1 << 31 else indices, axis=1)
    padding, outside = indices < 0, (indices < -1) | (indices >= n_database)
    problems = {
        f"a position lies outside the {n_database} database items": outside,
        "padding (-1) stands before a result": padding[:, :-1] & ~padding[:, 1:],
        "a distance is NaN; mend the embedding it came from": np.isnan(distances),
        "distances descend; sort each row, nearest first": distances[:, 1:] < distances[:, :-1],
        "a database item is ranked twice": (kept[:, 1:] == kept[:, :-1]) & (kept[:, 1:] >= 0),
    }
    for problem, bad in problems.items():
        if bad.any():
            raise ValueError(f"query {query_ids[bad.any(axis=1).argmax()]!r}: {problem}")


def _nearest(line, k, own):
    """Positions of the k smallest of `line` without `own` (unless -1); ties in order of position."""
    candidates = np.arange(len(line))
    if k + 1 < len(line):
        # everything up to the (k + 1)-th smallest holds the answer, with all of its ties
        candidates = np.flatnonzero(line <= np.partition(line, k)[k])
    candidates = candidates[candidates != own]
    return candidates[np.argsort(line[candidates], kind="stable")][:k]
