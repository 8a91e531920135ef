"""`Relevance`: which database items answer a query, which are junk, and how well they answer."""

import copy

import numpy as np

from .codes import (
    PADDING,
    aligned,
    as_ids,
    as_labels,
    count_equal,
    label_codes,
    own_positions,
    positions_of,
    selection,
)


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

    _per_query = ("query_ids", "own", "n_positives", "n_junk")

    def __init__(self, query_ids, database_ids, keep_self, own):
        self.query_ids, self.database_ids, self.keep_self = query_ids, database_ids, bool(keep_self)
        self.by_id, self.own = own is None, own_positions(own, query_ids, database_ids)

    @property
    def n_self(self):
        return int((self.own >= 0).sum())

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
        if groups is None:
            return _LabelRelevance(query_ids, database_ids, keep_self, own, codes)
        if keep_self:
            raise ValueError("keep_self=True and groups contradict each other; give one of them")
        ids = query_ids, database_ids
        groups = [as_labels(some, of, "groups") for some, of in zip(groups, ids, strict=True)]
        if [*map(len, groups)] != [*map(len, ids)]:
            raise ValueError(
                f"got {len(groups[0])} and {len(groups[1])} groups for {len(query_ids)} queries and "
                f"{len(database_ids)} database items; give one for each"
            )
        return _LabelRelevance(*ids, False, own, codes, label_codes(*groups))

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
        if positives is None and grades is None:
            raise ValueError("neither positives nor grades are given; give a list for each query")
        read, given = (
            _reader(database_ids),
            {"positives": positives, "junk": junk, "grades": grades},
        )
        columns = (_by_query(some, query_ids, what) for what, some in given.items())
        rows = zip(query_ids, *columns, strict=True)
        lists = [_one_query(read, database_ids, *row) for row in rows]
        return _SetRelevance(query_ids, database_ids, keep_self, own, lists)

    def __len__(self):
        return len(self.query_ids)

    def select(self, queries):
        """The queries at the positions (or under the boolean mask) `queries`, as a new `Relevance`."""
        queries, part = selection(queries, self.query_ids), copy.copy(self)
        vars(part).update({name: getattr(self, name)[queries] for name in self._per_query})
        return part

    def relevant(self, indices):
        """Whether each item has a gain above zero: bool, shape (n_queries, k)."""
        return self.gains(indices) > 0

    def _positions(self, indices):
        """`indices` as int array (n_queries, k), range checked."""
        indices = np.asarray(indices)
        if indices.ndim != 2 or len(indices) != len(self):
            raise ValueError(
                f"indices {indices.shape} for {len(self)} queries; give one row for each query"
            )
        if indices.size and (indices.min() < -1 or indices.max() >= len(self.database_ids)):
            raise ValueError(
                f"indices leave the {len(self.database_ids)} database items; -1 is none"
            )
        return indices

    def __repr__(self):
        return (
            f"Relevance({len(self)} queries, {len(self.database_ids)} database items, "
            f"{int(self.n_positives.sum())} positives, {int(self.n_junk.sum())} junk, "
            f"{int((self.n_positives == 0).sum())} queries without positives, keep_self={self.keep_self})"
        )


class _LabelRelevance(Relevance):
    """Equal labels, less what is of the query's own group; `codes` and `groups` are int32 of queries and of database items."""

    _per_query = (*Relevance._per_query, "_labels", "_groups", "_self")

    def __init__(self, query_ids, database_ids, keep_self, own, codes, groups=None):
        super().__init__(query_ids, database_ids, keep_self, own)
        grouped = groups is not None
        groups = groups if grouped else (np.full(len(query_ids), -1, np.int32), None)
        (self._labels, database_labels), (self._groups, database_groups) = codes, groups
        # padding, -1, reads the last
        self._database_labels = np.append(database_labels, np.int32(PADDING))
        self._database_groups = np.append(database_groups, np.int32(PADDING)) if grouped else None
        # the position of the query itself where it is junk; -2 equals none, nor -1 at padding
        self._self = np.where((self.own < 0) | self.keep_self, -2, self.own)
        itself, at = self._self >= 0, np.maximum(self._self, 0)
        self.n_positives = count_equal(*codes)
        self.n_junk = np.zeros(len(query_ids), dtype=np.int64)
        if grouped:
            self.n_junk += count_equal(*groups)
            self.n_positives -= count_equal(*_pairs(codes, groups))
            # not twice, if it is of its own group
            itself &= self._database_groups[at] != self._groups
        self.n_junk += itself
        self.n_positives -= itself & (self._database_labels[at] == self._labels)

    def relevant(self, indices):
        same = self._database_labels[self._positions(indices)] == self._labels[:, None]
        return same & ~self.junk(indices) if self._has_junk else same

    def gains(self, indices):
        """Gain of the items at `indices`: float32, shape (n_queries, k); 0 for junk and padding."""
        return self.relevant(indices).astype(np.float32)

    @property
    def _has_junk(self):
        return self._database_groups is not None or (self._self >= 0).any()

    def junk(self, indices):
        """Whether the items at `indices` are junk: bool, shape (n_queries, k)."""
        indices = self._positions(indices)
        if not self._has_junk:
            return np.zeros(indices.shape, dtype=bool)
        junk = indices == self._self[:, None]
        if self._database_groups is not None:
            junk |= self._database_groups[indices] == self._groups[:, None]
        return junk

    def ideal_gains(self, k):
        """The k largest gains of each query, descending: float32, shape (n_queries, k)."""
        return (np.arange(k) < self.n_positives[:, None]).astype(np.float32)


def _pairs(codes, groups):
    """Codes of (label, group), of queries and of database items; negative where either is missing."""
    labels, teams = np.concatenate(codes).astype(np.int64), np.concatenate(groups)
    pairs = np.unique(labels * (teams.max(initial=0) + 1) + teams, return_inverse=True)[1]
    pairs[(labels < 0) | (teams < 0)] = -1
    return np.split(pairs, [len(codes[0])])


class _SetRelevance(Relevance):
    """`lists` holds (positions of positives, their gains, positions of junk) for each query."""

    _per_query = (*Relevance._per_query, "_row")

    def __init__(self, query_ids, database_ids, keep_self, own, lists):
        super().__init__(query_ids, database_ids, keep_self, own)
        if not keep_self:
            lists = [_without_self(*one, at) for one, at in zip(lists, self.own, strict=True)]
        self._lists, self._row = lists, np.arange(len(lists))
        self.n_positives = np.array([len(positives) for positives, _, _ in lists], dtype=np.int64)
        self.n_junk = np.array([len(junk) for _, _, junk in lists], dtype=np.int64)

    def _look_up(self, indices, values_of, dtype):
        """Value of each item, through one line as long as the database that is wiped after each row."""
        indices = self._positions(indices)
        out = np.empty(indices.shape, dtype=dtype)
        # the last one answers for padding, -1
        line = np.zeros(len(self.database_ids) + 1, dtype=dtype)
        for row, at in enumerate(self._row):
            positions, values = values_of(*self._lists[at])
            line[positions] = values
            out[row] = line[indices[row]]
            line[positions] = 0
        return out

    def gains(self, indices):
        """Gain of the items at `indices`: float32, shape (n_queries, k); 0 for junk and padding."""
        return self._look_up(indices, lambda items, gains, junk: (items, gains), np.float32)

    def junk(self, indices):
        """Whether the items at `indices` are junk: bool, shape (n_queries, k)."""
        return self._look_up(indices, lambda items, gains, junk: (junk, True), bool)

    def ideal_gains(self, k):
        """The k largest gains of each query, descending: float32, shape (n_queries, k)."""
        out = np.zeros((len(self), k), dtype=np.float32)
        for row, at in enumerate(self._row):
            best = np.sort(self._lists[at][1])[::-1][:k]
            out[row, : len(best)] = best
        return out


def _without_self(positives, gains, junk, own):
    """Move the query itself, at position `own` unless that is negative, from the positives to the junk."""
    keep = positives != own
    return positives[keep], gains[keep], np.union1d(junk, [own]) if own >= 0 else junk


def _by_query(given, query_ids, what):
    """One entry for each query, from a list or a dict; () where there is nothing."""
    if given is None:
        return [()] * len(query_ids)
    if isinstance(given, dict):
        entries = [()] * len(query_ids)
        places = positions_of(list(given), query_ids, "query_ids")
        for position, (query, entry) in zip(places, given.items(), strict=True):
            if position < 0:
                raise ValueError(f"{what} name the query {query!r}, which is not in query_ids")
            entries[position] = entry
        return entries
    given = aligned(given, query_ids, what)
    if len(given) != len(query_ids):
        raise ValueError(
            f"got {len(given)} entries of {what} for {len(query_ids)} queries; give one each"
        )
    return list(given)


def _reader(database_ids):
    """A function from ids, or positions unless ids are integers themselves, to positions."""
    integer_ids = any(isinstance(value, (int, np.integer)) for value in database_ids)
    where = {value: position for position, value in enumerate(database_ids)}

    def read(items, query, what):
        if isinstance(items, (str, bytes)):
            raise TypeError(f"{what} of query {query!r} are one string {items!r}; give a list")
        items = items.tolist() if isinstance(items, np.ndarray) else list(items)
        if not integer_ids and all(isinstance(item, (int, np.integer)) for item in items):
            found = np.array(items, dtype=np.int64)
            found[found >= len(database_ids)] = -1
        else:
            found = np.array([where.get(item, -1) for item in items], dtype=np.int64)
            found = positions_of(items, database_ids) if (found < 0).any() else found
        if (found < 0).any():
            unknown = items[int((found < 0).argmax())]
            raise ValueError(f"{what} of {query!r} name {unknown!r}, which is not in the database")
        return found

    return read


def _one_query(read, database_ids, query, positives, junk, grades):
    """Positions of the positives of a query (sorted), their gains, positions of its junk (sorted)."""
    grades = dict(grades)
    gains = np.array(list(grades.values()), dtype=np.float32)
    if not (np.isfinite(gains) & (gains >= 0)).all():
        raise ValueError(f"grades of query {query!r} must be finite and >= 0, got {gains.min()}")
    plain, graded = read(positives, query, "positives"), read(list(grades), query, "grades")
    plain = plain[~np.isin(plain, graded)]
    items, first = np.unique(np.concatenate([plain, graded]), return_index=True)
    gains = np.concatenate([np.ones(len(plain), dtype=np.float32), gains])[first]
    items, gains = items[gains > 0], gains[gains > 0]
    junk = np.unique(read(junk, query, "junk"))
    for both in np.intersect1d(items, junk)[:1]:
        raise ValueError(f"query {query!r}: {database_ids[both]!r} is both positive and junk")
    return items, gains, junk
