"""Metrics of the first ranks: precision, recall, hit rate, R-precision, UKBench score, first positive."""

import numpy as np

from .hits import Hits, check_k, restore


def precision_at_k(relevant, k, n_positives=None, normalize="k"):
    """Hits in the first k ranks, divided by k (also where the ranking is shorter than k).

    Parameters
    ----------
    relevant : array-like of bool, shape (..., n_ranks)
        Ranked, nearest first.
    k : int
    n_positives : int or array-like of int, shape (...), optional
        R. If given, a query with R = 0 gives NaN; otherwise a ranking without hits gives 0.
    normalize : {"k", "last positive"}, default="k"
        "last positive" counts up to, and divides by, k or the rank of the last relevant item, whichever is
        smaller, as the official code of revisited Oxford and Paris does; 0 where nothing is found.

    Returns
    -------
    float or ndarray of float64, shape (...)
        In [0, 1].

    Raises
    ------
    ValueError
        Values other than 0 and 1, a `k` below 1, or an unknown `normalize`.

    Examples
    --------
    >>> precision_at_k([1, 0, 1, 0], 4), precision_at_k([1, 0, 1, 0], 8)
    (0.5, 0.25)
    >>> round(precision_at_k([1, 0, 1, 0], 4, normalize="last positive"), 3)
    0.667
    """
    k, hits = check_k(k), Hits.of(relevant, n_positives)
    divisor = np.full(hits.n, k)
    if normalize == "last positive":
        last = np.zeros(hits.n, dtype=np.int64)
        np.maximum.at(last, hits.row, hits.rank)
        last[hits.counts < hits.n_positives] = (
            k  # the last positive lies beyond the end of the ranking
        )
        divisor = np.minimum(k, np.where(last > 0, last, k))
    elif normalize != "k":
        raise ValueError(f'normalize={normalize!r} is unknown; use "k" or "last positive"')
    return _finish(hits, hits.total(keep=hits.rank <= k) / divisor)


def recall_at_k(relevant, k, n_positives=None):
    """Hits in the first k ranks, divided by R (the recall of metric learning is `hit_rate_at_k`).

    Parameters
    ----------
    relevant : array-like of bool, shape (..., n_ranks)
        Ranked, nearest first.
    k : int
    n_positives : int or array-like of int, shape (...), optional
        R; by default the number of relevant items in `relevant`.

    Returns
    -------
    float or ndarray of float64, shape (...)
        In [0, 1]; NaN where R is 0.

    Examples
    --------
    >>> recall_at_k([1, 0, 1, 0], 2, 4)
    0.25
    """
    k, hits = check_k(k), Hits.of(relevant, n_positives)
    return hits.finish(hits.total(keep=hits.rank <= k), hits.n_positives)


def hit_rate_at_k(relevant, k, n_positives=None):
    """1 if any of the first k items is relevant, else 0: CMC, and the "Recall@k" of metric learning.

    Parameters
    ----------
    relevant : array-like of bool, shape (..., n_ranks)
        Ranked, nearest first.
    k : int
    n_positives : int or array-like of int, shape (...), optional
        R. If given, a query with R = 0 gives NaN; otherwise a ranking without hits gives 0.

    Returns
    -------
    float or ndarray of float64, shape (...)

    References
    ----------
    Jegou, Douze and Schmid, Product quantization for nearest neighbor search, TPAMI 2011,
    doi:10.1109/TPAMI.2010.57.

    Examples
    --------
    >>> hit_rate_at_k([[0, 1, 1], [0, 0, 1]], 2).tolist()
    [1.0, 0.0]
    """
    k, hits = check_k(k), Hits.of(relevant, n_positives)
    return _finish(hits, hits.total(keep=(hits.rank <= k) & (hits.number == 1)))


def r_precision(relevant, n_positives=None):
    """Hits in the first R ranks, divided by R.

    Parameters
    ----------
    relevant : array-like of bool, shape (..., k)
        Ranked, nearest first; k should be at least R.
    n_positives : int or array-like of int, shape (...), optional
        R; by default the number of relevant items in `relevant`.

    Returns
    -------
    float or ndarray of float64, shape (...)
        In [0, 1]; NaN where R is 0.

    References
    ----------
    Musgrave, Belongie and Lim, A Metric Learning Reality Check, ECCV 2020, arXiv:2003.08505.

    Examples
    --------
    >>> r_precision([1, 0, 1, 1, 0, 0, 1], 4)
    0.75
    """
    hits = Hits.of(relevant, n_positives)
    return hits.finish(hits.total(keep=hits.rank <= hits.n_positives[hits.row]), hits.n_positives)


def ukbench_score(relevant):
    """Hits in the first four ranks, the query itself included: 0 to 4 for each query.

    The query must be in the database and count as relevant (``relevance(..., keep_self=True)``, a search with
    ``exclude_self=False``); its own hit is one of the four.

    Parameters
    ----------
    relevant : array-like of bool, shape (..., k)
        Ranked, nearest first.

    Returns
    -------
    float or ndarray of float64, shape (...)

    References
    ----------
    Nister and Stewenius, Scalable Recognition with a Vocabulary Tree, CVPR 2006, doi:10.1109/CVPR.2006.264.

    Examples
    --------
    >>> ukbench_score([1, 1, 0, 1, 1])
    3.0
    """
    hits = Hits.of(relevant)
    return restore(hits.total(keep=hits.rank <= 4), hits.shape)


def first_positive_rank(relevant, n_positives=None):
    """Rank, from 1, of the first relevant item; inf where the ranking holds none.

    Parameters
    ----------
    relevant : array-like of bool, shape (..., k)
        Ranked, nearest first.
    n_positives : int or array-like of int, shape (...), optional
        R. If given, a query with R = 0 gives NaN.

    Returns
    -------
    float or ndarray of float64, shape (...)
        At least 1.

    Examples
    --------
    >>> first_positive_rank([[0, 1, 1], [0, 0, 0]]).tolist()
    [2.0, inf]
    """
    hits = Hits.of(relevant, n_positives)
    ranks = np.full(hits.n, np.inf)
    first = hits.number == 1
    ranks[hits.row[first]] = hits.rank[first]
    return _finish(hits, ranks)


def _finish(hits, values):
    """NaN where R is known to be 0."""
    if hits.given:
        values = np.where(hits.n_positives > 0, values, np.nan)
    return restore(values, hits.shape)
