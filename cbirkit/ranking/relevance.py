"""`Relevance`: which database items answer a query, which are junk, and how well they answer."""

import numpy as np

from .codes import PADDING, as_labels, count_equal, label_codes, selection
from .ids import as_ids, own_positions
from .sets import collect_sets

_NO_SELF = -2  # equals no position, nor -1 at padding


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
    n_self : int
        Queries that are in the database themselves.
    own : ndarray of int64, shape (n_queries,)
        Where; -1 for those that are not.
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

    def __init__(self, query_ids, database_ids, keep_self, own):
        self.query_ids, self.database_ids, self.keep_self = query_ids, database_ids, bool(keep_self)
        self.own, self.n_self, self.by_id = own, int((own >= 0).sum()), False

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
        query_labels = as_labels(query_labels, query_ids, "query_labels")
        database_labels = as_labels(database_labels, database_ids, "database_labels")
        query_ids = as_ids(query_ids, "query_ids", len(query_labels), prefix="q")
        database_ids = as_ids(database_ids, "database_ids", len(database_labels))
        codes = label_codes(query_labels, database_labels)
        by_id, own = own is None, own_positions(own, query_ids, database_ids)
        if groups is None:
            return _LabelRelevance(query_ids, database_ids, keep_self, *codes, own)._told(by_id)
        if keep_self:
            raise ValueError(
                "keep_self=True and groups contradict each other: an image is of its own group; give one"
            )
        query_groups, database_groups = map(
            as_labels, groups, (query_ids, database_ids), ("groups", "groups")
        )
        if (len(query_groups), len(database_groups)) != (len(query_ids), len(database_ids)):
            raise ValueError(
                f"got {len(query_groups)} and {len(database_groups)} groups for {len(query_ids)} queries and "
                f"{len(database_ids)} database items; give one for each"
            )
        codes_of_groups = label_codes(query_groups, database_groups)
        return _GroupRelevance(query_ids, database_ids, *codes, own, codes_of_groups)._told(by_id)

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
        query_ids, database_ids = (
            as_ids(query_ids, "query_ids"),
            as_ids(database_ids, "database_ids"),
        )
        by_id, own = own is None, own_positions(own, query_ids, database_ids)
        lists = collect_sets(query_ids, database_ids, positives, junk, grades)
        if not keep_self:
            lists = [
                _without_self(*entry, position) for entry, position in zip(lists, own, strict=True)
            ]
        return _SetRelevance(query_ids, database_ids, keep_self, lists, own)._told(by_id)

    def _told(self, by_id):
        self.by_id = by_id
        return self

    def __len__(self):
        return len(self.query_ids)

    def relevant(self, indices):
        """Whether each item has a gain above zero: bool, shape (n_queries, k)."""
        return self.gains(indices) > 0

    def _positions(self, indices):
        """`indices` as int array (n_queries, k), range checked."""
        indices = np.asarray(indices)
        if indices.ndim != 2 or len(indices) != len(self):
            raise ValueError(
                f"indices have the shape {indices.shape}; give ({len(self)}, k), one row for each query"
            )
        if indices.size and (indices.min() < -1 or indices.max() >= len(self.database_ids)):
            raise ValueError(
                f"indices leave the {len(self.database_ids)} database items; use positions, or -1 for none"
            )
        return indices

    def __repr__(self):
        return (
            f"Relevance({len(self)} queries, {len(self.database_ids)} database items, "
            f"{int(self.n_positives.sum())} positives, {int(self.n_junk.sum())} junk, "
            f"{int((self.n_positives == 0).sum())} queries without positives, keep_self={self.keep_self})"
        )


class _LabelRelevance(Relevance):
    """Equal labels; codes are int32, `own` is the position of each query in the database or negative."""

    def __init__(self, query_ids, database_ids, keep_self, query_codes, database_codes, own):
        super().__init__(query_ids, database_ids, keep_self, own)
        self._query_codes, self._database_codes = (
            query_codes,
            np.append(database_codes, np.int32(PADDING)),
        )
        self._own = np.where(own < 0, _NO_SELF, own)
        self.n_positives = count_equal(query_codes, database_codes)
        self.n_junk = np.zeros(len(query_ids), dtype=np.int64)
        if not self.keep_self:
            own_matches = (own >= 0) & (self._database_codes[np.maximum(own, -1)] == query_codes)
            self.n_positives -= own_matches
            self.n_junk += own >= 0

    def relevant(self, indices):
        indices = self._positions(indices)
        same = (
            self._database_codes[indices] == self._query_codes[:, None]
        )  # padding, -1, reads the last, PADDING
        return same if self.keep_self or not self.n_self else same & (indices != self._own[:, None])

    def gains(self, indices):
        """Gain of the items at `indices`: float32, shape (n_queries, k); 0 for junk and padding."""
        return self.relevant(indices).astype(np.float32)

    def junk(self, indices):
        """Whether the items at `indices` are junk: bool, shape (n_queries, k)."""
        indices = self._positions(indices)
        if self.keep_self or not self.n_self:
            return np.zeros(indices.shape, dtype=bool)
        return indices == self._own[:, None]

    def ideal_gains(self, k):
        """The k largest gains of each query, descending: float32, shape (n_queries, k)."""
        return (np.arange(k) < self.n_positives[:, None]).astype(np.float32)

    def select(self, queries):
        """The queries at the positions (or under the boolean mask) `queries`, as a new `Relevance`."""
        queries = selection(queries, self.query_ids)
        codes, own = self._query_codes[queries], self.own[queries]
        return _LabelRelevance(
            self.query_ids[queries],
            self.database_ids,
            self.keep_self,
            codes,
            self._database_codes[:-1],
            own,
        )._told(self.by_id)


class _GroupRelevance(_LabelRelevance):
    """Equal labels, less what is of the query's own group; `groups` are codes of queries and of database items."""

    def __init__(self, query_ids, database_ids, query_codes, database_codes, own, groups):
        super().__init__(query_ids, database_ids, False, query_codes, database_codes, own)
        self._query_groups, self._database_groups = (
            groups[0],
            np.append(groups[1], np.int32(PADDING)),
        )
        self.n_junk += count_equal(*groups)
        labels, teams = (
            np.concatenate([query_codes, database_codes]).astype(np.int64),
            np.concatenate(groups),
        )
        pairs = np.unique(labels * (teams.max(initial=0) + 1) + teams, return_inverse=True)[1]
        pairs[(labels < 0) | (teams < 0)] = -1
        self.n_positives -= count_equal(pairs[: len(query_ids)], pairs[len(query_ids) :])
        # the query itself was taken away already, as junk by its id: not twice, if it is of its own group and label
        at = np.maximum(own, 0)
        of_group = (own >= 0) & (self._database_groups[at] == groups[0])
        self.n_junk -= of_group
        self.n_positives += of_group & (self._database_codes[at] == query_codes)

    def junk(self, indices):
        """Whether the items at `indices` are junk: bool, shape (n_queries, k)."""
        indices = self._positions(indices)
        of_group = self._database_groups[indices] == self._query_groups[:, None]
        return of_group | (indices == self._own[:, None])

    def relevant(self, indices):
        indices = self._positions(indices)
        return (self._database_codes[indices] == self._query_codes[:, None]) & ~self.junk(indices)

    def select(self, queries):
        """The queries at the positions (or under the boolean mask) `queries`, as a new `Relevance`."""
        queries = selection(queries, self.query_ids)
        codes, own, groups = (
            self._query_codes[queries],
            self.own[queries],
            self._query_groups[queries],
        )
        return _GroupRelevance(
            self.query_ids[queries], self.database_ids, codes, self._database_codes[:-1], own,
            (groups, self._database_groups[:-1]),
        )._told(self.by_id)  # fmt: skip


class _SetRelevance(Relevance):
    """`lists` holds (positions of positives, their gains, positions of junk) for each query."""

    def __init__(self, query_ids, database_ids, keep_self, lists, own):
        super().__init__(query_ids, database_ids, keep_self, own)
        self._lists = lists
        self.n_positives = np.array([len(positives) for positives, _, _ in lists], dtype=np.int64)
        self.n_junk = np.array([len(junk) for _, _, junk in lists], dtype=np.int64)

    def _look_up(self, indices, which, dtype):
        """Value of each item, through one line as long as the database that is wiped after each row."""
        indices = self._positions(indices)
        out = np.empty(indices.shape, dtype=dtype)
        line = np.zeros(
            len(self.database_ids) + 1, dtype=dtype
        )  # the last one answers for padding, -1
        for row, entry in enumerate(self._lists):
            positions, values = which(entry)
            line[positions] = values
            out[row] = line[indices[row]]
            line[positions] = 0
        return out

    def gains(self, indices):
        """Gain of the items at `indices`: float32, shape (n_queries, k); 0 for junk and padding."""
        return self._look_up(indices, lambda entry: entry[:2], np.float32)

    def junk(self, indices):
        """Whether the items at `indices` are junk: bool, shape (n_queries, k)."""
        return self._look_up(indices, lambda entry: (entry[2], True), bool)

    def ideal_gains(self, k):
        """The k largest gains of each query, descending: float32, shape (n_queries, k)."""
        out = np.zeros((len(self), k), dtype=np.float32)
        for row, (_, gains, _) in enumerate(self._lists):
            best = np.sort(gains)[::-1][:k]
            out[row, : len(best)] = best
        return out

    def select(self, queries):
        """The queries at the positions (or under the boolean mask) `queries`, as a new `Relevance`."""
        queries = selection(queries, self.query_ids)
        rows = np.arange(len(self))[queries]
        lists = [self._lists[row] for row in rows]
        ids = self.query_ids[rows]
        return _SetRelevance(ids, self.database_ids, self.keep_self, lists, self.own[rows])._told(
            self.by_id
        )


def _without_self(positives, gains, junk, own):
    """Move the query itself, at position `own` unless that is negative, from the positives to the junk."""
    if own < 0:
        return positives, gains, junk
    keep = positives != own
    return positives[keep], gains[keep], np.union1d(junk, [own])
