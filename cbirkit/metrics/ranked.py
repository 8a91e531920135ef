"""Metrics of ranked lists, and `METRICS`: the one table of them that `evaluate`, the Metric Lab and the documentation read."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np


class Hits:
    """The relevant ranks of a stack of rankings, as flat arrays: work grows with the hits only.

    Parameters
    ----------
    relevant : array-like of bool, shape (..., k)
        True (or 1) where the item at that rank is relevant, nearest first.
    n_positives : array-like of int, broadcastable to (...), optional
        R, the positives each query has, found or not. By default those in `relevant`.

    Attributes
    ----------
    shape : tuple
        The leading axes ``(...)``.
    row : ndarray of int64, shape (n_hits,)
        The ranking each hit is in.
    rank : ndarray of int64, shape (n_hits,)
        Its rank, from 1.
    number : ndarray of int64, shape (n_hits,)
        1 for the first hit of its ranking, 2 for the second, and so on.
    n_positives : ndarray of int64, shape (n_rankings,)
    given : bool
        Whether R was given: only then is a ranking without hits known to be of a query without positives.

    Raises
    ------
    ValueError
        `relevant` has no axis or holds anything but 0 and 1; `n_positives` is smaller than the hits.
    """

    def __init__(self, relevant, n_positives=None):
        flat, self.shape = as_rankings(relevant)
        self.n, k = flat.shape
        where = np.flatnonzero(flat)
        self.row, column = np.divmod(where, max(k, 1))
        self.rank = column + 1
        self.counts = np.bincount(self.row, minlength=self.n)
        before = np.cumsum(self.counts) - self.counts
        self.number = np.arange(1, len(where) + 1) - np.repeat(before, self.counts)
        self.given = n_positives is not None
        self.n_positives = self._positives(n_positives) if self.given else self.counts

    @classmethod
    def of(cls, relevant, n_positives=None):
        """The `Hits` of `relevant`, or `relevant` if it is one already (metrics share the work)."""
        return relevant if isinstance(relevant, cls) else cls(relevant, n_positives)

    def _positives(self, given):
        given = np.asarray(given)
        if given.dtype.kind not in "iu" or given.shape not in ((), self.shape):
            raise ValueError(f"n_positives {given.dtype} {given.shape}; give a whole number each")
        given = np.broadcast_to(given, self.shape).reshape(-1)
        for row in np.flatnonzero(given < self.counts)[:1]:
            counts = f"{self.counts[row]} relevant items, n_positives says {given[row]}"
            raise ValueError(f"ranking {row} holds {counts}; count all positives of the query")
        return given

    def total(self, weights=None, keep=slice(None)):
        """Sum of `weights` (1 by default) over the hits of each ranking, only those under the mask `keep`."""
        weights = None if weights is None else weights[keep]
        return np.bincount(self.row[keep], weights=weights, minlength=self.n).astype(np.float64)

    def finish(self, total, divisor=1):
        """``total / divisor`` in the shape of the rankings; NaN for a query that is known to have no positives."""
        if self.given or np.ndim(divisor):
            total = np.where(self.n_positives > 0, total, np.nan)
        return restore(total / np.where(np.equal(divisor, 0), 1, divisor), self.shape)


def as_rankings(relevant):
    """`relevant` as a bool array (n_rankings, k), and its leading shape."""
    array = np.asarray(relevant)
    if array.ndim == 0:
        raise ValueError("relevant is a single value; give one value for each rank, nearest first")
    if array.dtype != bool and not np.isin(array, (0, 1)).all():
        raise ValueError("relevant is not of 0 and 1 only; give booleans, or use ndcg_at_k")
    shape = array.shape[:-1]
    return array.astype(bool, copy=False).reshape(int(np.prod(shape)), array.shape[-1]), shape


def check_k(k):
    """Return the cut-off `k`, or raise unless it is a whole number of at least 1."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f"k={k!r} is not a cut-off; use a whole number >= 1")
    return int(k)


def restore(values, shape):
    """One value for each ranking, in the leading shape; a float for a single ranking."""
    return values.reshape(shape) if shape else float(values[0])


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
    keep, R = hits.rank <= k, hits.n_positives
    divisors = {"min(k, R)": np.minimum(k, R), "R": R, "hits": hits.total(keep=keep)}
    if normalize not in divisors:
        raise ValueError(f"normalize={normalize!r} is unknown; use one of {', '.join(divisors)}")
    return hits.finish(hits.total(_precisions(hits, "step"), keep), divisors[normalize])


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
    if estimator not in ("step", "trapezoid"):
        raise ValueError(f'estimator={estimator!r} is unknown; use "step" or "trapezoid"')
    after = hits.number / hits.rank
    before = np.where(hits.rank > 1, (hits.number - 1) / np.maximum(hits.rank - 1, 1), 1.0)
    return after if estimator == "step" else (before + after) / 2


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
    found = hits.total(keep=hits.rank <= k)
    if normalize == "k":
        return hits.finish(found / k)
    if normalize != "last positive":
        raise ValueError(f'normalize={normalize!r} is unknown; use "k" or "last positive"')
    # rank of the last positive; 0 where that lies beyond the end of the ranking
    last = hits.total(hits.rank, hits.number == hits.n_positives[hits.row])
    return hits.finish(found / np.where(last > 0, np.minimum(k, last), k))


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
    return hits.finish(hits.total(keep=(hits.rank <= k) & (hits.number == 1)))


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
    return hits.finish(hits.total(keep=hits.rank <= 4))


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
    ranks = hits.total(hits.rank, hits.number == 1)
    return hits.finish(np.where(ranks > 0, ranks, np.inf))


def dcg_at_k(gains, k=None, *, gain="exponential"):
    r"""Discounted cumulative gain of the first k ranks, :math:`\sum_i g_i / \log_2(i + 1)`.

    Parameters
    ----------
    gains : array-like of float, shape (..., n_ranks)
        Gains >= 0, ranked, nearest first.
    k : int, optional
        Cut-off; by default all ranks.
    gain : {"exponential", "linear"}, default="exponential"
        Take a gain g as :math:`2^g - 1` or as it is; the same for 0 and 1.

    Returns
    -------
    float or ndarray of float64, shape (...)

    Raises
    ------
    ValueError
        A gain that is negative or not finite, or an unknown `gain`.

    References
    ----------
    Jarvelin and Kekalainen, TOIS 2002, doi:10.1145/582415.582418 (linear); Burges et al., ICML 2005,
    doi:10.1145/1102351.1102363 (exponential).

    Examples
    --------
    >>> round(dcg_at_k([3, 2, 0, 1, 2], gain="linear"), 6)
    5.466242
    """
    array = np.asarray(gains, dtype=np.float64)
    if not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError("gains must be finite and >= 0")
    if gain not in ("exponential", "linear"):
        raise ValueError(f'gain={gain!r} is unknown; use "exponential" or "linear"')
    array = array[..., : None if k is None else check_k(k)]
    array = np.exp2(array) - 1 if gain == "exponential" else array
    total = array @ (1 / np.log2(np.arange(2, array.shape[-1] + 2)))
    return total if total.ndim else float(total)


def ndcg_at_k(gains, k=None, ideal=None, gain="exponential"):
    """Discounted cumulative gain of the first k ranks, divided by that of the best possible ranking.

    Parameters
    ----------
    gains : array-like of float, shape (..., n_ranks)
        Gains >= 0, ranked, nearest first; junk deleted.
    k : int, optional
        Cut-off; by default all ranks.
    ideal : array-like of float, shape (..., n), optional
        All gains of the query (or its k largest), in any order. By default `gains` itself, which is right for
        a full ranking only.
    gain : {"exponential", "linear"}, default="exponential"
        See `dcg_at_k`.

    Returns
    -------
    float or ndarray of float64, shape (...)
        In [0, 1]; NaN where the query has no item with a gain.

    Raises
    ------
    ValueError
        A gain that is negative or not finite, an unknown `gain`, or an `ideal` that the ranking beats.

    Examples
    --------
    >>> round(ndcg_at_k([3, 2, 0, 1, 2]), 6), round(ndcg_at_k([3, 2, 0, 1, 2], gain="linear"), 6)
    (0.968638, 0.960247)
    """
    best = -np.sort(-np.asarray(gains if ideal is None else ideal, dtype=np.float64), axis=-1)
    found, best = np.broadcast_arrays(dcg_at_k(gains, k, gain=gain), dcg_at_k(best, k, gain=gain))
    if (found > best * (1 + 1e-6) + 1e-12).any():
        raise ValueError("gains beat the ideal ranking; ideal must hold all gains of the query")
    values = found / np.where(best > 0, best, np.nan)
    return restore(values.reshape(-1), values.shape)


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
    values = [hits.finish(ties.precisions.sum(axis=1), hits.n_positives)]
    for order in (ties.worst, ties.best):
        values.append(restore(average_precision(order, hits.n_positives), hits.shape))
    return tuple(values)


class Ties:
    """Groups of equal distance in a stack of rankings, and what is expected over all orders within them.

    Parameters
    ----------
    distances, relevant
        As for `expected_average_precision`.

    Attributes
    ----------
    size, found, offset, earlier : ndarray of int64, shape (n_rankings, k)
        Of each item: how many are in its group, and how many of these are relevant; its place in that, from 0; and how
        many relevant items of its ranking come before the group.
    chances : ndarray of float64, shape (n_rankings, k)
        How likely each rank holds a relevant item.
    worst, best : ndarray of bool, shape (n_rankings, k)
        `relevant` with the relevant items last, or first, in each group.
    """

    def __init__(self, distances, relevant):
        ranked, _ = as_rankings(relevant)
        distances = np.asarray(distances, dtype=np.float64)
        if distances.shape != np.shape(relevant):
            raise ValueError(f"distances {distances.shape} for relevant {np.shape(relevant)}")
        if np.isnan(distances).any() or (distances[..., 1:] < distances[..., :-1]).any():
            raise ValueError("distances must ascend in each ranking and hold no NaN; sort them")
        near, shape, n = distances.reshape(ranked.shape), ranked.shape, ranked.size
        # where a group of ties begins: always at the start of a row
        start = np.ones(shape, dtype=bool)
        start[:, 1:] = near[:, 1:] != near[:, :-1]
        first = np.flatnonzero(start)
        found = np.add.reduceat(ranked.reshape(-1).astype(np.int64), first) if n else first
        earlier = (np.cumsum(ranked, axis=1) - ranked).reshape(-1)[first]
        size = np.diff(first, append=n)
        groups = np.repeat([size, found, earlier, first], size, axis=1).reshape(4, *shape)
        self.size, self.found, self.earlier, first = groups
        self.offset = np.arange(n).reshape(shape) - first
        self.chances = self.found / self.size
        self.worst, self.best = self.offset >= self.size - self.found, self.offset < self.found

    @property
    def precisions(self):
        """Expected precision at each rank where it holds a relevant item, 0 where not, float64 (n_rankings, k)."""
        rest = (self.found - 1) / np.maximum(self.size - 1, 1)
        hits = self.earlier + 1 + self.offset * rest
        return self.chances * hits / np.arange(1, hits.shape[1] + 1)

    @property
    def first_hits(self):
        """How likely each rank holds the first relevant item, float64 (n_rankings, k)."""
        from scipy.special import gammaln

        item, size, found = self.offset, self.size, self.found
        # none of the relevant items is among those of the group before this one
        nothing = gammaln(size - item) - gammaln(size - item - found + 1)
        nothing -= gammaln(size + 1) - gammaln(size - found + 1)
        there = (found > 0) & (self.earlier == 0) & (item <= size - found)
        return np.where(there, found * np.exp(np.where(there, nothing, 0)), 0)

    @property
    def first_ranks(self):
        """What each rank adds to the expected rank of the first relevant item; inf where there is none."""
        chances = self.first_hits
        ranks = chances * np.arange(1, chances.shape[1] + 1)
        return np.where(chances.any(axis=1, keepdims=True), ranks, np.inf)


PUBLISHED, TIES = 'published as "AP" or "mAP"', "AP where distances tie"
_CUT, _TO_R = "of the first k", "of the first R"
_ALIASES = {"mean_rank": "first_rank", "precision": "p", "cmc": "hit_rate"}


@dataclass(frozen=True, eq=False)
class Metric:
    """One line of `METRICS`: what a metric is called, its formula, and the function that computes it.

    Attributes
    ----------
    name : str
        What `evaluate` calls it; ``{k}`` stands for the cut-off.
    title : str
        What the Metric Lab calls it.
    formula : str
        How it is computed, for the protocol of an evaluation and for the lab.
    function : callable
        ``function(hits, [k], **options)``, or as `takes` says.
    group : str
        Heading in the lab, which leaves out a metric without one.
    last : None, "k", "R", "first" or int
        The ranks it looks at: all, the first k, R or so many, or those up to the first positive.
    terms : str
        What the hits on those add, for the arithmetic of the lab and for ties: "precisions", "trapezoids", "chances"
        (1 each), "first_hits" or "first_ranks". Without it the lab shows the value and the formula.
    over : "R", "k", "min(k, R)", "hits", "last" or int
        What their sum is divided by; "last" is the rank of the last positive, if that is less than k.
    takes : {"hits", "gains", "ties"}
        Whether `function` takes `Hits`, or gains, cut-off and ideal gains, or distances, relevance and R; in
        the last case `terms` is "expected", "worst" or "best".
    options : dict
        Keyword arguments of `function`.
    average : {"mean", "median"}
    k : int or None
        The cut-off, once it is known.
    """

    name: str
    title: str
    formula: str
    function: Callable
    group: str = ""
    last: int | str | None = None
    terms: str = ""
    over: int | str = "R"
    takes: str = "hits"
    options: dict = field(default_factory=dict)
    average: str = "mean"
    k: int | None = None

    def at(self, k):
        """The same metric at the cut-off `k`."""
        texts = (text.replace("{k}", str(k)) for text in (self.name, self.title, self.formula))
        return replace(self, **dict(zip(("name", "title", "formula"), texts, strict=True)), k=k)

    @property
    def needs(self):
        """The ranks it looks at: "all", "first", "R", "ties" (all, and what follows at equal distance) or how many."""
        last = {None: "all", "k": self.k}.get(self.last, self.last)
        return "ties" if self.takes == "ties" else last

    @property
    def has_expectation(self):
        """Whether there is a closed form in expectation over ties."""
        closed = self.terms in ("precisions", "chances", "first_hits", "first_ranks")
        hidden = self.over in ("hits", "last") or self.average == "median"
        return self.takes == "ties" or closed and not hidden

    def score(self, lists, ties="order"):
        """One float64 for each list; NaN where it has no positives.

        Parameters
        ----------
        lists : object with the attributes ``hits``, ``gains``, ``distances``, ``relevant``, ``n_positives``, ``ties``, ``ideal(k)``
        ties : {"order", "expected"}
            Take items at equal distances as they stand, or all of their orders.
        """
        if self.takes == "ties":
            three = self.function(lists.distances, lists.relevant, lists.n_positives)
            return three[("expected", "worst", "best").index(self.terms)]
        if ties == "expected":
            return self._expected(lists)
        if self.takes == "gains":
            return self.function(lists.gains, self.k, lists.ideal(self.k), **self.options)
        return self.function(lists.hits, *([self.k] if self.last == "k" else []), **self.options)

    def _expected(self, lists):
        terms, R = getattr(lists.ties, self.terms), lists.n_positives
        last = {None: np.inf, "first": np.inf, "k": self.k, "R": R[:, None]}
        keep = np.arange(terms.shape[1]) < last.get(self.last, self.last)
        total = np.where(keep, terms, 0).sum(axis=1)
        divisor = {"R": R, "k": self.k, "min(k, R)": np.minimum(self.k or 0, R)}
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(R > 0, total / divisor.get(self.over, self.over), np.nan)


_P, _FIRST, _ALL = "sum of the precisions at the hits", "the first {k} ranks", "the whole ranking"
_R = "the first R ranks of each query"


def _ndcg(gain, where):
    return f"sum of {gain} / log2(rank + 1) over {where} / that of the best order"


METRICS = (
    Metric("map", "AP", f"{_P} / R", average_precision, PUBLISHED, terms="precisions"),
    Metric("trapezoid_map", "AP, trapezoid", "sum of the mean precision before and after each hit / R",
           average_precision, PUBLISHED, terms="trapezoids", options={"estimator": "trapezoid"}),
    Metric("map@{k}", "AP@{k}", f"{_P} in {_FIRST} / min({{k}}, R)",
           average_precision_at_k, PUBLISHED, "k", "precisions", "min(k, R)"),
    Metric("map@{k}/R", "AP@{k} over R", f"{_P} in {_FIRST} / R",
           average_precision_at_k, PUBLISHED, "k", "precisions", options={"normalize": "R"}),
    Metric("map@{k}/hits", "AP@{k} over hits", f"{_P} in {_FIRST} / hits there",
           average_precision_at_k, PUBLISHED, "k", "precisions", "hits", options={"normalize": "hits"}),
    Metric("map@r", "MAP@R", f"{_P} in {_R} / R", map_at_r, PUBLISHED, "R", "precisions"),
    Metric("expected_map", "AP, expected", "AP, mean over all orders within ties",
           expected_average_precision, TIES, terms="expected", takes="ties"),
    Metric("worst_map", "AP, worst", "AP with the positives last within each tie",
           expected_average_precision, TIES, terms="worst", takes="ties"),
    Metric("best_map", "AP, best", "AP with the positives first within each tie",
           expected_average_precision, TIES, terms="best", takes="ties"),
    Metric("p@{k}", "P@{k}", f"hits in {_FIRST} / {{k}}", precision_at_k, _CUT, "k", "chances", "k"),
    Metric("p@{k}/last", "P@{k} to the last",
           f"hits / ranks, over {_FIRST} or up to the last positive if that comes earlier",
           precision_at_k, "", "k", "chances", "last", options={"normalize": "last positive"}),
    Metric("recall@{k}", "Recall@{k}", f"hits in {_FIRST} / R", recall_at_k, _CUT, "k", "chances"),
    Metric("hit_rate@{k}", "Hit rate@{k}",
           f'1 if any of {_FIRST} is a hit (CMC; "Recall@{{k}}" of metric learning)',
           hit_rate_at_k, _CUT, "k", "first_hits", 1),
    Metric("ndcg@{k}", "nDCG@{k}", _ndcg("(2^gain - 1)", _FIRST), ndcg_at_k, _CUT, "k", takes="gains"),
    Metric("ndcg_linear@{k}", "nDCG@{k}, linear", _ndcg("gain", _FIRST),
           ndcg_at_k, _CUT, "k", takes="gains", options={"gain": "linear"}),
    Metric("ndcg", "nDCG", _ndcg("(2^gain - 1)", _ALL), ndcg_at_k, takes="gains"),
    Metric("ndcg_linear", "nDCG, linear", _ndcg("gain", _ALL),
           ndcg_at_k, takes="gains", options={"gain": "linear"}),
    Metric("r_precision", "R-precision", f"hits in {_R} / R", r_precision, _TO_R, "R", "chances"),
    Metric("ukbench", "UKBench score", "hits in the first 4 ranks, the query itself included; 0 to 4",
           ukbench_score, _TO_R, 4, "chances", 1),
    Metric("first_rank", "First positive",
           "rank of the first positive, mean over queries; inf where none is ranked",
           first_positive_rank, _TO_R, "first", "first_ranks", 1),
    Metric("median_rank", "First positive, median",
           "rank of the first positive, median over queries; inf where none is ranked",
           first_positive_rank, "", "first", "first_ranks", 1, average="median"),
)  # fmt: skip


def find_metric(name):
    """The `Metric` called `name`, at its cut-off.

    Parameters
    ----------
    name : str
        ``"map"``, ``"p@10"``, ``"map@10/hits"``, ...

    Raises
    ------
    ValueError
        Unknown name or cut-off; the message lists the known ones.

    Examples
    --------
    >>> find_metric("p@10").formula
    'hits in the first 10 ranks / 10'
    """
    base, at, cut = str(name).strip().lower().partition("@")
    for metric in METRICS:
        form = metric.name.lower().replace("{k}", r"([1-9]\d{0,8})")
        if found := re.fullmatch(form, _ALIASES.get(base, base) + at + cut):
            return replace(metric.at(int(found[1])) if found.groups() else metric, name=str(name))
    known = ", ".join(metric.name.replace("{k}", "K") for metric in METRICS)
    raise ValueError(f"no metric is called {name!r}; known are {known} (K is a whole number >= 1)")
