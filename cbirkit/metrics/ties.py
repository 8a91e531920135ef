"""Average precision where distances tie: expected over the orders within ties, worst and best."""

import numpy as np

from .hits import Hits, as_rankings, restore
from .precision import average_precision


def expected_average_precision(distances, relevant, n_positives=None):
    r"""Average precision expected over all orders within groups of equal distance, and its extremes.

    In a group of n items, r of them relevant, that follows c items with h hits, the item at rank c + i is
    relevant with probability r/n, and if it is, (i - 1)(r - 1)/(n - 1) of the i - 1 items before it in the
    group are relevant on average, so that the group adds

    .. math:: \frac{1}{R} \cdot \frac{r}{n} \sum_{i=1}^{n} \frac{h + 1 + (i - 1) \frac{r - 1}{n - 1}}{c + i}.

    Parameters
    ----------
    distances : array-like of float, shape (..., k)
        Ascending; items of exactly equal distance tie (Hamming distances do; round others first if they
        should).
    relevant : array-like of bool, shape (..., k)
    n_positives : int or array-like of int, shape (...), optional
        R; by default the number of relevant items in the ranking. A ranking cut inside a tie hides items of
        that tie: give a full ranking.

    Returns
    -------
    expected, worst, best : float or ndarray of float64, shape (...)
        In [0, 1]; NaN where R is 0. `worst` has the relevant items last in each tie, `best` has them first.

    Raises
    ------
    ValueError
        Shapes that differ, distances that descend or are NaN.

    References
    ----------
    McSherry and Najork, Computing Information Retrieval Performance Measures Efficiently in the Presence of
    Tied Scores, ECIR 2008, doi:10.1007/978-3-540-78646-7_38.

    Examples
    --------
    >>> distances, relevant = [1, 1, 2, 2, 2, 3, 3, 3, 3], [1, 0, 1, 0, 0, 1, 1, 0, 0]
    >>> [round(value, 6) for value in expected_average_precision(distances, relevant)]
    [0.552927, 0.429861, 0.684524]
    """
    ties, hits = Ties(distances, relevant), Hits(relevant, n_positives)
    expected = hits.finish(ties.precisions.sum(axis=1), hits.n_positives)
    extremes = (average_precision(order, hits.n_positives) for order in (ties.worst, ties.best))
    return expected, *(restore(np.reshape(values, -1), hits.shape) for values in extremes)


class Ties:
    """Groups of equal distance in a stack of rankings, and what is expected over all orders within them.

    Parameters
    ----------
    distances, relevant
        As for `expected_average_precision`.

    Attributes
    ----------
    size, found : ndarray of int64, shape (n_groups,)
        Items and relevant items of each group.
    group, offset : ndarray of int64, shape (n_rankings * k,)
        The group of each item, and its place in that, from 0.
    before : ndarray of int64, shape (n_groups,)
        Ranks before each group, in its ranking.
    earlier : ndarray of int64, shape (n_groups,)
        Relevant items on those.
    """

    def __init__(self, distances, relevant):
        ranked, _ = as_rankings(relevant)
        near = _check_distances(distances, np.shape(relevant)).reshape(ranked.shape)
        self.shape, n = ranked.shape, ranked.size
        start = np.ones(
            ranked.shape, dtype=bool
        )  # where a group of ties begins; always at the start of a row
        start[:, 1:] = near[:, 1:] != near[:, :-1]
        first = np.flatnonzero(start)
        self.size = np.diff(first, append=n)
        self.found = np.add.reduceat(ranked.reshape(-1).astype(np.int64), first) if n else first
        self.group = np.repeat(np.arange(len(first)), self.size)
        self.offset = np.arange(n) - first[self.group]
        row, self.before = np.divmod(first, max(1, ranked.shape[1]))
        earlier = np.cumsum(self.found) - self.found  # over all rows before, and in this row
        self.earlier = earlier - earlier[np.searchsorted(row, row)]

    @property
    def chances(self):
        """How likely each rank holds a relevant item, float64 (n_rankings, k)."""
        return (self.found / self.size)[self.group].reshape(self.shape)

    @property
    def precisions(self):
        """Expected precision at each rank where it holds a relevant item, 0 where not, float64 (n_rankings, k)."""
        rest = np.divide(
            self.found - 1, self.size - 1, out=np.zeros(len(self.size)), where=self.size > 1
        )
        hits = self.earlier[self.group] + 1 + self.offset * rest[self.group]
        return self.chances * (hits / (self.before[self.group] + self.offset + 1)).reshape(
            self.shape
        )

    @property
    def first_hits(self):
        """How likely each rank holds the first relevant item, float64 (n_rankings, k)."""
        from scipy.special import gammaln

        item, size, found = self.offset, self.size[self.group], self.found[self.group]
        nothing = gammaln(size - item) - gammaln(
            size - item - found + 1
        )  # of found among the items from here on
        nothing -= gammaln(size + 1) - gammaln(size - found + 1)
        there = (found > 0) & (self.earlier[self.group] == 0) & (item <= size - found)
        return np.where(there, found * np.exp(np.where(there, nothing, 0)), 0).reshape(self.shape)

    @property
    def worst(self):
        """`relevant` with the relevant items last in each group, bool (n_rankings, k)."""
        return (self.offset >= (self.size - self.found)[self.group]).reshape(self.shape)

    @property
    def best(self):
        """`relevant` with the relevant items first in each group, bool (n_rankings, k)."""
        return (self.offset < self.found[self.group]).reshape(self.shape)


def _check_distances(distances, shape):
    distances = np.asarray(distances, dtype=np.float64)
    if distances.shape != shape:
        raise ValueError(
            f"distances have the shape {distances.shape} and relevant {shape}; give one for each item"
        )
    if np.isnan(distances).any() or (distances[..., 1:] < distances[..., :-1]).any():
        raise ValueError(
            "distances must ascend along the last axis and hold no NaN; sort each ranking, nearest first"
        )
    return distances
