"""`Relevance`: which database items answer a query, which are junk, and how well they answer."""

import copy
from numbers import Integral

import numpy as np
import scipy.sparse as sp

from . import codes


class Relevance:
    """What should be found: the gain of every database item for every query, and what is junk.

    Make one with `from_labels` (an item answers a query of the same label) or `from_sets` (lists for each
    query). Junk is neither right nor wrong: it is deleted from a ranking before ranks are counted. The query
    itself, known by its **id** unless `own` says otherwise, is junk unless ``keep_self=True``.

    Attributes
    ----------
    query_ids, database_ids : ndarray of object
    n_positives : ndarray of int64, shape (n_queries,)
        Items with a gain above zero, junk left out.
    n_junk : ndarray of int64, shape (n_queries,)
    keep_self : bool
    own : ndarray of int64, shape (n_queries,)
        Where in the database each query itself is; -1 for those that are not.
    by_id : bool
        Whether that was told by the ids alone.

    Notes
    -----
    No table of queries x database is ever made: labels are kept as one integer for each item, sets as sorted
    lists.

    Examples
    --------
    >>> relevance = Relevance.from_labels(["a", "b"], ["a", "b", "c"], ["x", "y"], ["x", "y", "x"])
    >>> relevance.n_positives.tolist()
    [1, 0]
    >>> relevance.gains([[0, 2], [0, 1]]).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    >>> relevance.junk([[0, 2], [0, 1]]).tolist()
    [[True, False], [False, True]]
    """

    _per_query = ("query_ids", "own", "n_positives", "n_junk")

    def __init__(self, query_ids, database_ids, keep_self, own):
        self.query_ids, self.database_ids, self.keep_self = query_ids, database_ids, bool(keep_self)
        self.by_id, self.own = own is None, codes.own_positions(own, query_ids, database_ids)

    @staticmethod
    def from_labels(
        query_ids,
        database_ids,
        query_labels,
        database_labels,
        *,
        keep_self=False,
        groups=None,
        own=None,
    ):
        """Positives are the items of the query's label; a missing label (None, NaN) equals none.

        Parameters
        ----------
        query_ids, database_ids : sequence of unique ids, or None
            None numbers them as `Ranking.from_distances` does.
        query_labels : array-like, shape (n_queries,)
        database_labels : array-like, shape (n_database,)
        keep_self : bool, default=False
            Count the query's own image, found by id, as a positive (UKBench) instead of as junk.
        groups : tuple of two array-likes, shapes (n_queries,) and (n_database,), optional
            Items of the query's group are junk, whatever their label: other views of the same object where
            the label is its class, other pictures by the same camera. A missing group equals none.
        own : array-like of int, shape (n_queries,), optional
            Position of the query itself in the database, -1 where it is not there. Default: the item of the same id, so
            that ids must not name different pictures.

        Returns
        -------
        Relevance

        Raises
        ------
        ValueError
            Labels or groups that are not one for each id; groups together with ``keep_self=True``.

        Examples
        --------
        >>> Relevance.from_labels(["q"], ["a", "b"], [1], [1, None]).n_positives.tolist()
        [1]
        """
        query_labels = codes.as_labels(query_labels, query_ids, "query_labels")
        database_labels = codes.as_labels(database_labels, database_ids, "database_labels")
        query_ids = codes.as_ids(query_ids, "query_ids", len(query_labels), prefix="q")
        database_ids = codes.as_ids(database_ids, "database_ids", len(database_labels))
        labels = codes.label_codes(query_labels, database_labels)
        if groups is None:
            return _LabelRelevance(query_ids, database_ids, keep_self, own, labels)
        if keep_self:
            raise ValueError("keep_self=True and groups contradict each other; give one of them")
        ids = query_ids, database_ids
        groups = [codes.as_labels(some, of, "groups") for some, of in zip(groups, ids, strict=True)]
        return _LabelRelevance(*ids, False, own, labels, codes.label_codes(*groups))

    @staticmethod
    def from_sets(
        query_ids, database_ids, positives, junk=None, grades=None, *, keep_self=False, own=None
    ):
        """Positives, junk and grades listed for each query.

        Parameters
        ----------
        query_ids, database_ids : sequence of unique ids
        positives : list (one entry for each query) or dict (by query id) of lists, or None
            Database ids; integers are positions unless the database ids are integers. A query that the dict
            leaves out has none. None: those of `grades`.
        junk : like `positives`, optional
            What to delete before ranks are counted.
        grades : dict of dict, optional
            ``{query_id: {database_id: gain}}`` with gains >= 0; a positive that has no grade has the gain 1.
        keep_self : bool, default=False
            Let the lists decide about the query's own image; otherwise it is junk, even where it is listed.
        own : as for `from_labels`

        Returns
        -------
        Relevance

        Raises
        ------
        ValueError
            Unknown ids or queries, an item both positive and junk, a negative or NaN gain.

        Examples
        --------
        >>> grades = {"q": {"b": 2.0}}
        >>> relevance = Relevance.from_sets(["q"], ["a", "b", "c"], [["a"]], junk=[["c"]], grades=grades)
        >>> relevance.gains([[1, 0, 2]]).tolist()
        [[2.0, 1.0, 0.0]]
        """
        query_ids = codes.as_ids(query_ids, "query_ids")
        database_ids = codes.as_ids(database_ids, "database_ids")
        lists = {"positives": positives, "junk": junk, "grades": grades}
        lists = {what: _by_query(given, query_ids, what) for what, given in lists.items()}
        return _SetRelevance(query_ids, database_ids, keep_self, own, **lists)

    def __len__(self):
        return len(self.query_ids)

    def select(self, queries):
        """The queries at the positions (or under the boolean mask) `queries`, as a new `Relevance`."""
        queries, part = codes.selection(queries, self.query_ids), copy.copy(self)
        vars(part).update({name: getattr(self, name)[queries] for name in self._per_query})
        return part

    def relevant(self, indices):
        """Whether each item has a gain above zero: bool, shape (n_queries, k)."""
        return self.gains(indices) > 0

    def _positions(self, indices):
        """`indices` as an array (n_queries, k), checked."""
        indices, n = np.asarray(indices), len(self.database_ids)
        fits = indices.ndim == 2 and len(indices) == len(self)
        if not fits or (indices.size and (indices.min() < -1 or indices.max() >= n)):
            raise ValueError(f"indices {indices.shape} must be (n_queries, k), from -1 to {n - 1}")
        return indices

    def __repr__(self):
        text = f"{len(self)} queries, {len(self.database_ids)} database items"
        return f"Relevance({text}, {self.n_positives.sum()} positives, {self.n_junk.sum()} junk)"


class _LabelRelevance(Relevance):
    """Equal labels, less what is of the query's own group; `labels` and `groups` are int32 codes of queries and of database items."""

    _per_query = (*Relevance._per_query, "_labels", "_groups", "_self")

    def __init__(self, query_ids, database_ids, keep_self, own, labels, groups=None):
        super().__init__(query_ids, database_ids, keep_self, own)
        # without groups, some that match nothing; padding, -1, reads the last
        self._grouped, padding = groups is not None, np.int32(codes.PADDING)
        nothing = np.full(len(self), -1, np.int32), np.array([], np.int32)
        self._groups, of_items = groups or nothing
        self._labels = labels[0]
        self._database_labels = np.append(labels[1], padding)
        self._database_groups = np.append(of_items, padding)
        # the position of the query itself where it is junk; -2 equals none, nor -1 at padding
        self._self = np.where((self.own < 0) | self.keep_self, -2, self.own)
        self.n_positives, self.n_junk = codes.count_equal(*labels), np.zeros(len(self), np.int64)
        itself, at = self._self >= 0, np.maximum(self._self, 0)
        if self._grouped:
            self.n_junk += codes.count_equal(*groups)
            self.n_positives -= codes.count_equal(*_pairs(labels, groups))
            # not twice, if it is of its own group
            itself &= self._database_groups[at] != self._groups
        self.n_junk += itself
        self.n_positives -= itself & (self._database_labels[at] == self._labels)

    def gains(self, indices):
        """Gain of the items at `indices`: float32, shape (n_queries, k); 0 for junk and padding."""
        junk = self.junk(indices)  # which checks the indices
        same = self._database_labels[indices] == self._labels[:, None]
        return (same & ~junk).astype(np.float32)

    def junk(self, indices):
        """Whether the items at `indices` are junk: bool, shape (n_queries, k)."""
        indices = self._positions(indices)
        junk = np.zeros(indices.shape, dtype=bool)
        if (self._self >= 0).any():
            junk |= indices == self._self[:, None]
        if self._grouped:
            junk |= self._database_groups[indices] == self._groups[:, None]
        return junk

    def ideal_gains(self, k):
        """The k largest gains of each query, descending: float32, shape (n_queries, k)."""
        return (np.arange(k) < self.n_positives[:, None]).astype(np.float32)


def _pairs(labels, groups):
    """Codes of (label, group), of queries and of database items; negative where either is missing."""
    of_labels, of_groups = np.concatenate(labels).astype(np.int64), np.concatenate(groups)
    both = of_labels * (of_groups.max(initial=0) + 1) + of_groups
    pairs = np.where((of_labels < 0) | (of_groups < 0), -1, np.unique(both, return_inverse=True)[1])
    return np.split(pairs, [len(labels[0])])


class _SetRelevance(Relevance):
    """Positives, junk and grades are listed for each query."""

    _per_query = (*Relevance._per_query, "_gains", "_junk")

    def __init__(self, query_ids, database_ids, keep_self, own, positives, junk, grades):
        super().__init__(query_ids, database_ids, keep_self, own)
        n = len(database_ids)
        grades = [dict(row) for row in grades]
        gains = np.array([gain for row in grades for gain in row.values()], dtype=np.float32)
        graded, plain = self._keys("grades", grades), self._keys("positives", positives)
        junk = self._keys("junk", junk)
        for at in np.flatnonzero(~(np.isfinite(gains) & (gains >= 0)))[:1]:
            query = query_ids[graded[at] // n]
            raise ValueError(f"grades of query {query!r} must be finite and >= 0, got {gains[at]}")
        # of an item that is listed twice the first counts, its grade
        right, first = np.unique(np.append(graded, plain), return_index=True)
        gains = np.append(gains, np.ones(len(plain), dtype=np.float32))[first]
        right, gains = right[gains > 0], gains[gains > 0]
        for both in np.intersect1d(right, junk)[:1]:
            query, item = query_ids[both // n], database_ids[both % n]
            raise ValueError(f"query {query!r}: {item!r} is both positive and junk")
        if not keep_self:
            itself = (np.arange(len(self)) * n + self.own)[self.own >= 0]
            kept, junk = ~np.isin(right, itself), np.append(junk, itself)
            right, gains = right[kept], gains[kept]
        junk, shape = np.unique(junk), (len(self), n + 1)  # the last column answers for padding, -1
        self._gains = sp.csr_matrix((gains, np.divmod(right, n)), shape)
        self._junk = sp.csr_matrix((np.ones(len(junk), bool), np.divmod(junk, n)), shape)
        counts = (one.getnnz(axis=1).astype(np.int64) for one in (self._gains, self._junk))
        self.n_positives, self.n_junk = counts

    def _keys(self, what, lists):
        """One whole number for each listed item: that of its query times the size of the database, and its position."""
        for query, row in zip(self.query_ids, lists, strict=True):
            if isinstance(row, (str, bytes)):
                raise TypeError(f"{what} of query {query!r} are one string {row!r}; give a list")
        items, n = [item for row in lists for item in row], len(self.database_ids)
        rows = np.repeat(np.arange(len(lists)), [len(row) for row in lists])
        whole = [isinstance(item, Integral) for item in items]
        if all(whole) and not any(isinstance(name, Integral) for name in self.database_ids):
            found = np.array(items, dtype=np.int64)
        else:
            found = codes.positions_of(items, self.database_ids)
        for at in np.flatnonzero((found < 0) | (found >= n))[:1]:
            query, item = self.query_ids[rows[at]], items[at]
            raise ValueError(f"{what} of {query!r} name {item!r}, which is not in the database")
        return rows * n + found

    def gains(self, indices):
        """Gain of the items at `indices`: float32, shape (n_queries, k); 0 for junk and padding."""
        return self._gains[np.arange(len(self))[:, None], self._positions(indices)].toarray()

    def junk(self, indices):
        """Whether the items at `indices` are junk: bool, shape (n_queries, k)."""
        return self._junk[np.arange(len(self))[:, None], self._positions(indices)].toarray()

    def ideal_gains(self, k):
        """The k largest gains of each query, descending: float32, shape (n_queries, k)."""
        out = np.zeros((len(self), k), dtype=np.float32)
        for row, gains in zip(
            out, np.split(self._gains.data, self._gains.indptr[1:]), strict=False
        ):
            best = np.sort(gains)[::-1][:k]
            row[: len(best)] = best
        return out


def _by_query(given, query_ids, what):
    """One entry for each query, from a list or a dict; () where there is nothing."""
    given = {} if given is None else given
    if isinstance(given, dict):
        names, entries = list(given), [*given.values(), ()]
        for at in np.flatnonzero(codes.positions_of(names, query_ids, "query_ids") < 0)[:1]:
            raise ValueError(f"{what} name the query {names[at]!r}, which is not in query_ids")
        return [entries[at] for at in codes.positions_of(query_ids, names)]
    return list(codes.aligned(given, query_ids, what))
