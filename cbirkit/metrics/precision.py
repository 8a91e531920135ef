"""Average precision, in the variants that published code uses under one name."""

import numpy as np

from .hits import Hits, check_k


def average_precision(relevant, n_positives=None, estimator="step"):
    r"""Average precision: the mean, over the R positives of a query, of the precision at their ranks.

    .. math:: AP = \frac{1}{R} \sum_{k: \text{relevant}} P(k), \qquad P(k) = \frac{\text{hits in the first }
    k}{k}

    A positive that is not in the ranking adds 0. Junk must have been deleted; ties count in the order given.

    Parameters
    ----------
    relevant : array-like of bool, shape (..., k)
        Ranked, nearest first.
    n_positives : int or array-like of int, shape (...), optional
        R; by default the number of relevant items in the ranking, which is right for a full ranking only.
    estimator : {"step", "trapezoid"}, default="step"
        "step" is the definition above, "trapezoid" takes the mean of the precision before and after each
        relevant rank, as the official code of Oxford, Paris and their revisited versions does. P(0) is 1.

    Returns
    -------
    float or ndarray of float64, shape (...)
        In [0, 1]; NaN where R is 0.

    Raises
    ------
    ValueError
        Values other than 0 and 1, an R smaller than the hits, or an unknown estimator.

    References
    ----------
    Radenovic et al., Revisiting Oxford and Paris, CVPR 2018, arXiv:1803.11285 (trapezoid).

    Examples
    --------
    >>> ranked = [0, 1, 0, 1, 0, 0, 0, 1]
    >>> round(average_precision(ranked), 6)
    0.458333
    >>> round(average_precision(ranked, estimator="trapezoid"), 6)
    0.332341
    """
    hits = Hits.of(relevant, n_positives)
    return hits.finish(hits.total(_precisions(hits, estimator)), hits.n_positives)


def average_precision_at_k(relevant, k, n_positives=None, normalize="min(k, R)"):
    """Average precision over the first k ranks.

    Parameters
    ----------
    relevant : array-like of bool, shape (..., n_ranks)
        Ranked, nearest first. Fewer than k ranks are taken as they are.
    k : int
    n_positives : int or array-like of int, shape (...), optional
        R; by default the number of relevant items in the whole of `relevant`.
    normalize : {"min(k, R)", "R", "hits"}, default="min(k, R)"
        What the sum of precisions is divided by. "R" cannot reach 1 where R > k. "hits" (the relevant items
        found in the first k) rewards finding less and is here to match others' numbers; it gives 0 where
        nothing is found.

    Returns
    -------
    float or ndarray of float64, shape (...)
        In [0, 1]; NaN where R is 0.

    Raises
    ------
    ValueError
        As `average_precision`, or an unknown `normalize`.

    Examples
    --------
    >>> ranked = [1, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    >>> [round(average_precision_at_k(ranked, 10, 20, normalize=n), 3) for n in ("hits", "min(k, R)", "R")]
    [0.75, 0.15, 0.075]
    """
    k, hits = check_k(k), Hits.of(relevant, n_positives)
    keep = hits.rank <= k
    total = hits.total(_precisions(hits, "step"), keep)
    if normalize == "min(k, R)":
        return hits.finish(total, np.minimum(k, hits.n_positives))
    if normalize == "R":
        return hits.finish(total, hits.n_positives)
    if normalize == "hits":
        return hits.finish(total, np.maximum(hits.total(keep=keep), 1))
    raise ValueError(f'normalize={normalize!r} is unknown; use "min(k, R)", "R" or "hits"')


def map_at_r(relevant, n_positives=None):
    """MAP@R of each query: the sum of the precisions at the relevant ranks up to R, divided by R.

    Parameters
    ----------
    relevant : array-like of bool, shape (..., k)
        Ranked, nearest first; k should be at least R.
    n_positives : int or array-like of int, shape (...), optional
        R; by default the number of relevant items in the ranking.

    Returns
    -------
    float or ndarray of float64, shape (...)
        In [0, 1]; NaN where R is 0.

    References
    ----------
    Musgrave, Belongie and Lim, A Metric Learning Reality Check, ECCV 2020, arXiv:2003.08505.

    Examples
    --------
    >>> round(map_at_r([1, 0, 1, 1, 0, 0, 1], 4), 6)
    0.604167
    """
    hits = Hits.of(relevant, n_positives)
    total = hits.total(_precisions(hits, "step"), hits.rank <= hits.n_positives[hits.row])
    return hits.finish(total, hits.n_positives)


def _precisions(hits, estimator):
    """Precision at each hit, or its mean with the precision one rank earlier."""
    after = hits.number / hits.rank
    if estimator == "step":
        return after
    if estimator == "trapezoid":
        earlier = hits.rank - 1
        before = np.where(earlier > 0, (hits.number - 1) / np.maximum(earlier, 1), 1.0)
        return (before + after) / 2
    raise ValueError(f'estimator={estimator!r} is unknown; use "step" or "trapezoid"')
