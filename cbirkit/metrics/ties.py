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
    ranked, shape = as_rankings(relevant)
    near = _check_distances(distances, np.shape(relevant)).reshape(ranked.shape)
    hits = Hits(relevant, n_positives)
    n_rows, k = ranked.shape
    if ranked.size == 0:
        empty = hits.finish(np.zeros(n_rows), hits.n_positives)
        return empty, empty, empty
    start = np.ones(ranked.shape, dtype=bool)  # where a group of ties begins; always at the start of a row
    start[:, 1:] = near[:, 1:] != near[:, :-1]
    group_start = np.flatnonzero(start)
    size = np.diff(group_start, append=ranked.size)
    found = np.add.reduceat(ranked.reshape(-1).astype(np.int64), group_start)
    group = np.repeat(np.arange(len(size)), size)  # (n_rows * k,): the group each item is in
    offset = np.arange(ranked.size) - group_start[group]
    row_of_group, before = np.divmod(group_start, k)
    earlier = np.cumsum(found) - found  # hits in all groups before, over all rows ...
    earlier -= earlier[np.searchsorted(row_of_group, np.arange(n_rows))][row_of_group]  # ... and in this row
    slope = np.divide(found - 1, size - 1, out=np.zeros(len(size)), where=size > 1)
    terms = (
        (found / size)[group] * (earlier[group] + 1 + offset * slope[group]) / (before[group] + offset + 1)
    )
    expected = hits.finish(terms.reshape(ranked.shape).sum(axis=1), hits.n_positives)
    worst = (offset >= (size - found)[group]).reshape(ranked.shape)
    best = (offset < found[group]).reshape(ranked.shape)
    extremes = (average_precision(order, hits.n_positives) for order in (worst, best))
    return expected, *(restore(values, shape) for values in extremes)


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
