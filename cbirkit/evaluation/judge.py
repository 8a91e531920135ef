"""Lay a `Ranking` over a `Relevance`: align ids, delete junk and the query itself, see how deep it goes."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..metrics.hits import Hits
from ..metrics.ties import Ties
from ..ranking.ids import positions_of

_BLOCK = 1 << 20  # ranks looked at together: temporary arrays stay near 8 MB each


@dataclass(frozen=True, eq=False)
class Block:
    """Some queries of a `Judged` ranking, as metrics want them: (n, k), junk deleted, rest moved up."""

    judged: "Judged"
    rows: slice

    @property
    def relevant(self):
        """bool (n, k)"""
        return self.judged.relevant[self.rows]

    @property
    def n_positives(self):
        """int64 (n,): R of each query"""
        return self.judged.n_positives[self.rows]

    @cached_property
    def hits(self):
        """The same and R, in the form that the metrics share."""
        return Hits(self.relevant, self.n_positives)

    @cached_property
    def relevance(self):
        """The `Relevance` of these queries."""
        return self.judged.relevance.select(self.rows)

    @cached_property
    def gains(self):
        """float32 (n, k), 0 after the end"""
        indices, keep = self.judged.look(self.rows, self.relevance)[:2]
        return close_gaps(self.relevance.gains(indices), keep, 0)

    @cached_property
    def distances(self):
        """float (n, k), inf after the end"""
        keep = self.judged.look(self.rows, self.relevance)[1]
        return close_gaps(self.judged.ranking.distances[self.rows], keep, np.inf)

    @cached_property
    def ties(self):
        """`Ties` of the distances."""
        return Ties(self.distances, self.relevant)

    def extremes(self, graded):
        """Two such blocks: right items last, and first, among those of equal distance; of gains too if `graded`."""
        for relevant, sign in ((self.ties.worst, 1), (self.ties.best, -1)):
            other = Block(self.judged, self.rows)
            vars(other)["hits"] = Hits(relevant, self.n_positives)
            if graded:
                order = np.lexsort((sign * self.gains, self.distances))
                vars(other)["gains"] = np.take_along_axis(self.gains, order, axis=1)
            yield other


class Judged:
    """A ranking with right and wrong marked.

    Parameters
    ----------
    ranking : Ranking
    relevance : Relevance
        Aligned with the ranking by id: other orders are fine, queries that are not ranked are left out.

    Attributes
    ----------
    relevant : ndarray of bool, shape (n_queries, k)
        Junk, the query itself and padding deleted, the rest moved up, False after the end.
    n_ranked : ndarray of int64, shape (n_queries,)
        Items left in each row.
    n_positives : ndarray of int64, shape (n_queries,)
    complete : ndarray of bool, shape (n_queries,)
        The row holds all of the database that is not junk.
    notes : list of str
        What the alignment left out.

    Raises
    ------
    ValueError
        A query or database id of the ranking that the relevance does not know.
    """

    def __init__(self, ranking, relevance):
        self.ranking, self.notes = ranking, []
        self.relevance = self._align_queries(relevance)
        self._moved = self._align_database()
        self._check_own()
        self.n_positives = self.relevance.n_positives
        self.relevant = np.zeros(ranking.indices.shape, dtype=bool)
        self.n_ranked = np.zeros(len(ranking), dtype=np.int64)
        self.n_seen = ranking.k - count_true(ranking.indices < 0)
        for rows in self._row_blocks():
            part = self.relevance.select(rows)
            indices, keep = self.look(rows, part)
            self.relevant[rows] = close_gaps(part.relevant(indices), keep, False)
            self.n_ranked[rows] = ranking.k - count_true(~keep)
        self.complete = self._find_complete()

    @cached_property
    def says_nothing(self):
        """Whether every database item that is not junk is relevant to every query, so that all rankings are perfect."""
        relevance, scored = self.relevance, self.n_positives > 0
        full = relevance.n_positives + relevance.n_junk >= len(relevance.database_ids)
        return bool(scored.any() and full[scored].all() and self.n_positives.max() > 1)

    @cached_property
    def n_missing(self):
        """Positives of each query that its row does not hold."""
        return self.n_positives - count_true(self.relevant)

    def scores(self, metrics):
        """For each metric one float64 for each query, by name; NaN where a query has no positives."""
        out = {metric.name: np.empty(len(self.ranking)) for metric in metrics}
        for rows in self._row_blocks():
            block = Block(self, rows)
            for metric in metrics:
                out[metric.name][rows] = metric.score(block)
        return out

    def extremes(self, metrics, scores):
        """Like `scores`, with right items last and first among those of equal distance: two dicts."""
        extremes = tuple(
            {metric.name: scores[metric.name].copy() for metric in metrics} for _ in range(2)
        )
        graded = any(metric.name.lower().startswith("ndcg") for metric in metrics)
        for rows in self._row_blocks() if metrics else ():
            block = Block(self, rows)
            worth, tied = (
                block.gains if graded else block.relevant,
                block.distances[:, 1:] == block.distances[:, :-1],
            )
            if not (tied & (worth[:, 1:] != worth[:, :-1])).any():
                continue
            for out, other in zip(extremes, block.extremes(graded), strict=True):
                for metric in metrics:
                    out[metric.name][rows] = metric.score(other)
        return extremes

    def uncertain(self, metric):
        """Mask of the queries whose score could change if the ranking went deeper."""
        open_end = ~self.complete & (self.n_missing > 0)
        if metric.needs == "ties":
            return ~self.complete & (self.n_positives > 0)
        if metric.needs == "first":
            return open_end & (self.n_missing == self.n_positives)
        if metric.needs == "R":
            return open_end & (self.n_ranked < self.n_positives)
        return open_end if metric.needs == "all" else open_end & (self.n_ranked < metric.needs)

    def look(self, rows, part):
        """Positions of these rows in the relevance's database, and what is neither junk nor padding."""
        indices = self.ranking.indices[rows]
        if self._moved is not None:
            indices = self._moved[indices]
        return indices, (indices >= 0) & ~part.junk(indices)

    def _row_blocks(self):
        step = max(1, _BLOCK // max(1, self.ranking.k))
        return [slice(start, start + step) for start in range(0, len(self.ranking), step)]

    def _align_queries(self, relevance):
        ids = self.ranking.query_ids
        if np.array_equal(ids, relevance.query_ids):
            return relevance
        found = positions_of(ids, relevance.query_ids, "query_ids")
        _refuse_unknown(ids[found < 0], ids, relevance.query_ids, "query")
        if len(ids) < len(relevance):
            self.notes.append(
                f"{len(relevance) - len(ids):,} queries of the relevance are not in the ranking"
            )
        return relevance.select(found)

    def _align_database(self):
        """The relevance's position of each database item, and -1 for padding; None if they are equal."""
        ids, known = self.ranking.database_ids, self.relevance.database_ids
        if np.array_equal(ids, known):
            return None
        found = positions_of(ids, known)
        _refuse_unknown(ids[found < 0], ids, known, "database")
        if len(ids) < len(known):
            self.notes.append(
                f"{len(known) - len(ids):,} database items of the relevance are not in the ranking's; "
                "positives among them count as not found"
            )
        return np.append(found, -1)

    def _check_own(self):
        """Raise ValueError where the relevance takes another picture of the same id for the query itself."""
        if self.ranking.own is None or self.relevance.keep_self:
            return
        apart = (self.relevance.own >= 0) & (self.ranking.own < 0)
        if apart.any():
            raise ValueError(
                f"{apart.sum()} queries, such as {self.ranking.query_ids[apart.argmax()]!r}, share their id with a database image of "
                "other contents, which this relevance takes for the query itself; build it with images.relevance(queries, database) of what was searched"
            )

    def _find_complete(self):
        n = len(self.ranking.database_ids)
        if self._moved is None or n == len(self.relevance.database_ids):
            n_junk = self.relevance.n_junk
        else:  # how much of the junk is in this smaller database is known of the query itself only
            own = np.isin(self.relevance.own, self._moved) & (self.relevance.own >= 0)
            n_junk = own & (not self.relevance.keep_self)
        return (self.n_seen >= n) | (self.n_ranked >= n - n_junk)


def count_true(mask):
    """True values in each row of a bool array (n, k), quickly where they are few: int64 (n,)."""
    n, k = mask.shape
    return np.bincount(np.flatnonzero(mask) // max(k, 1), minlength=n)


def close_gaps(values, keep, fill):
    """Move the values under `keep` to the front of each row, in order, and put `fill` behind them."""
    if keep.all():
        return values
    out = np.full(values.shape, fill, dtype=values.dtype)
    out[np.arange(values.shape[1]) < keep.sum(axis=1)[:, None]] = values[keep]
    return out


def _refuse_unknown(unknown, ids, known, what):
    if len(unknown):
        raise ValueError(
            f"{len(unknown)} of the {len(ids)} {what} ids of the ranking are unknown to the relevance, "
            f"such as {unknown[0]!r} (it has {known[0]!r}, ...); build both from the same collections"
            if len(known)
            else f"the relevance has no {what} ids; build it from the collections that were searched"
        )
