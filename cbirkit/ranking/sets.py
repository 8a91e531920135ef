"""Read the per-query lists given to `Relevance.from_sets`."""

import numpy as np

from .codes import aligned
from .ids import positions_of


def collect_sets(query_ids, database_ids, positives, junk, grades):
    """For each query: positions of its positives (sorted), their gains, positions of its junk (sorted).

    Parameters
    ----------
    query_ids, database_ids : ndarray of object
    positives, junk, grades
        As `Relevance.from_sets` takes them.

    Returns
    -------
    list of (int64 array, float32 array, int64 array)

    Raises
    ------
    ValueError
        Unknown ids or queries, wrong lengths, an item both positive and junk, a gain that is negative or not
        finite.
    """
    if positives is None and grades is None:
        raise ValueError(
            "neither positives nor grades are given; give one list of database ids for each query"
        )
    reader = _Reader(database_ids)
    positives = _by_query(positives, query_ids, "positives")
    junk = _by_query(junk, query_ids, "junk")
    grades = _by_query(grades, query_ids, "grades")
    return [
        _one_query(reader, query, *entry)
        for query, *entry in zip(query_ids, positives, junk, grades, strict=True)
    ]


def _by_query(given, query_ids, what):
    """One entry for each query, from a list or a dict; () where there is nothing."""
    if given is None:
        return [()] * len(query_ids)
    if isinstance(given, dict):
        entries, found = [()] * len(query_ids), positions_of(list(given), query_ids, "query_ids")
        for position, (query, entry) in zip(found, given.items(), strict=True):
            if position < 0:
                raise ValueError(f"{what} name the query {query!r}, which is not in query_ids")
            entries[position] = entry
        return entries
    given = aligned(given, query_ids, what)
    if len(given) != len(query_ids):
        raise ValueError(
            f"{what} have {len(given)} entries for {len(query_ids)} queries; give one for each query"
        )
    return list(given)


class _Reader:
    """Turns ids, or positions, into positions."""

    def __init__(self, database_ids):
        self.n, self.ids = len(database_ids), database_ids
        self.integer_ids = any(isinstance(value, (int, np.integer)) for value in database_ids)
        self.where = {value: position for position, value in enumerate(database_ids)}

    def __call__(self, items, query, what):
        if isinstance(items, (str, bytes)):
            raise TypeError(
                f"{what} of query {query!r} is the string {items!r}; give a list of ids"
            )
        items = items.tolist() if isinstance(items, np.ndarray) else list(items)
        if not self.integer_ids and all(isinstance(item, (int, np.integer)) for item in items):
            found = np.array(items, dtype=np.int64)
            bad = (found < 0) | (found >= self.n)
        else:
            found = np.array([self.where.get(item, -1) for item in items], dtype=np.int64)
            found = positions_of(items, self.ids) if (found < 0).any() else found
            bad = found < 0
        if bad.any():
            raise ValueError(
                f"{what} of query {query!r} name {items[int(bad.argmax())]!r}, which is not in the database"
            )
        return found


def _one_query(reader, query, positives, junk, grades):
    grades = dict(grades)
    gains = np.array(list(grades.values()), dtype=np.float32)
    if not (np.isfinite(gains) & (gains >= 0)).all():
        raise ValueError(
            f"grades of query {query!r} must be finite and >= 0, got {gains.min(initial=0)}"
        )
    plain, graded = reader(positives, query, "positives"), reader(list(grades), query, "grades")
    plain = plain[~np.isin(plain, graded)]
    items, first = np.unique(np.concatenate([plain, graded]), return_index=True)
    gains = np.concatenate([np.ones(len(plain), dtype=np.float32), gains])[first]
    items, gains = items[gains > 0], gains[gains > 0]
    junk = np.unique(reader(junk, query, "junk"))
    both = np.intersect1d(items, junk)
    if len(both):
        raise ValueError(
            f"query {query!r}: {reader.ids[both[0]]!r} is both positive and junk; list it once"
        )
    return items, gains, junk
