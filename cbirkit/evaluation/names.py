"""Metric names such as ``map@10``: what each computes, which ranks it needs and how the protocol words it."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .. import metrics

KNOWN = (
    "map, map@K (map@K/R and map@K/hits divide otherwise), trapezoid_map, map@r, r_precision, p@K, "
    "p@K/last, recall@K, hit_rate@K (also cmc@K), ndcg, ndcg@K, ndcg_linear, ndcg_linear@K, ukbench, "
    "expected_map, worst_map, best_map, first_rank, median_rank"
)


@dataclass(frozen=True)
class Metric:
    """One metric by name.

    Attributes
    ----------
    name : str
    score : callable
        From a `cbirkit.evaluation.judge.Block` to one float64 a query.
    needs : int, "R", "all", "first" or "ties"
        The ranks it looks at: the first so many, the first R, all, up to the first positive, all with their
        ties.
    text : str
        Definition, for the protocol.
    average : {"mean", "median"}
    expected : callable or None
        As `score`, expected over all orders of items at equal distances, where there is a closed form.
    """

    name: str
    score: Callable
    needs: int | str
    text: str
    average: str = "mean"
    expected: Callable | None = None

    def in_expectation(self):
        """The same metric, expected over all orders of equal distances; ValueError where there is no closed form."""
        if self.needs == "ties":
            return self
        if self.expected is None:
            raise ValueError(
                f'{self.name} has no closed form in expectation over ties; leave it out, or use ties="order"'
            )
        return replace(
            self, score=self.expected, text=f"{self.text}, expected over the orders of ties"
        )


def _map_at(k, divide):
    normalize = {None: "min(k, R)", "R": "R", "hits": "hits"}[divide]
    divisor = {None: f"min({k}, R)", "R": "R", "hits": f"the hits in the first {k}"}[divide]
    return (
        lambda b: metrics.average_precision_at_k(b.hits, k, None, normalize),
        k,
        f"average precision (step) over the first {k} ranks, divided by {divisor}",
    )


def _precision_at(k, divide):
    if divide == "last":
        text = f"hits / ranks, over the first {k} ranks or up to the last positive found if that comes earlier"
        return lambda b: metrics.precision_at_k(b.hits, k, None, "last positive"), k, text
    return (
        lambda b: metrics.precision_at_k(b.hits, k),
        k,
        f"hits in the first {k} ranks / {k}",
    )


def _ndcg(k, kind):
    def score(block):
        ideal = block.relevance.ideal_gains(k or int(block.n_positives.max(initial=1)) or 1)
        return metrics.ndcg_at_k(block.gains, k, ideal, kind)

    where = f"the first {k} ranks" if k else "the whole ranking"
    return score, k or "all", f"normalised discounted cumulative gain over {where}, {kind} gains"


def _tied(which, text):
    def score(block):
        return metrics.expected_average_precision(
            block.distances, block.relevant, block.n_positives
        )[which]

    return (
        score,
        "ties",
        f"average precision (step) over the whole ranking, {text} items of equal distance",
    )


_PLAIN = {
    "map": (
        lambda b: metrics.average_precision(b.hits),
        "all",
        "average precision (step) over the whole ranking, divided by R",
    ),
    "trapezoid_map": (
        lambda b: metrics.average_precision(b.hits, estimator="trapezoid"),
        "all",
        "average precision (trapezoid, as Oxford and Paris) over the whole ranking, divided by R",
    ),
    "map@r": (
        lambda b: metrics.map_at_r(b.hits),
        "R",
        "average precision (step) over the first R ranks of each query, divided by R",
    ),
    "r_precision": (
        lambda b: metrics.r_precision(b.hits),
        "R",
        "hits in the first R ranks of each query / R",
    ),
    "ukbench": (
        lambda b: np.where(b.n_positives > 0, metrics.ukbench_score(b.hits), np.nan),
        4,
        "hits in the first 4 ranks, the query itself included; 0 to 4",
    ),
    "ndcg": _ndcg(None, "exponential"),
    "ndcg_linear": _ndcg(None, "linear"),
    "expected_map": _tied(0, "in expectation over all orders within"),
    "worst_map": _tied(1, "positives last among"),
    "best_map": _tied(2, "positives first among"),
    "first_rank": (
        lambda b: metrics.first_positive_rank(b.hits),
        "first",
        "rank of the first positive, mean over queries; inf where none is ranked",
    ),
    "median_rank": (
        lambda b: metrics.first_positive_rank(b.hits),
        "first",
        "rank of the first positive, median over queries; inf where none is ranked",
        "median",
    ),
}

_CUT = {  # name before the @: (k, what stands after the slash) -> parts of a Metric
    "map": (_map_at, (None, "R", "hits")),
    "p": (_precision_at, (None, "last")),
    "recall": (
        lambda k, _: (
            lambda b: metrics.recall_at_k(b.hits, k),
            k,
            f"hits in the first {k} ranks / R",
        ),
        (None,),
    ),
    "hit_rate": (
        lambda k, _: (
            lambda b: metrics.hit_rate_at_k(b.hits, k),
            k,
            f'1 if any of the first {k} ranks is a hit (CMC; "Recall@{k}" of metric learning)',
        ),
        (None,),
    ),
    "ndcg": (lambda k, _: _ndcg(k, "exponential"), (None,)),
    "ndcg_linear": (lambda k, _: _ndcg(k, "linear"), (None,)),
}

_ALIASES = {"mean_rank": "first_rank", "precision": "p", "cmc": "hit_rate"}


_TERMS = dict.fromkeys(("p", "recall", "r_precision", "ukbench"), "chances")
_TERMS |= {
    "map": "precisions",
    "map@r": "precisions",
    "hit_rate": "first_hits",
    "first_rank": "first_hits",
}


def _in_expectation(base, k=None, divide=None):
    """How to compute a metric in expectation over ties, or None."""
    if base not in _TERMS or divide in ("hits", "last"):
        return None

    def score(block):
        terms, R = getattr(block.ties, _TERMS[base]), block.n_positives  # (n, k)
        ranks, limit = (
            np.arange(1, terms.shape[1] + 1),
            R if base in ("map@r", "r_precision") else k,
        )
        limit = 4 if base == "ukbench" else limit
        total = terms if limit is None else np.where(ranks <= np.reshape(limit, (-1, 1)), terms, 0)
        if base == "first_rank":
            total = np.where(terms.any(axis=1, keepdims=True), terms * ranks, np.inf)
        divisor = {"p": k, "ukbench": 1, "hit_rate": 1, "first_rank": 1}.get(base, R)
        if base == "map" and k is not None and divide is None:
            divisor = np.minimum(k, R)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(R > 0, total.sum(axis=1) / divisor, np.nan)

    return score


def find_metric(name):
    """The `Metric` called `name`.

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
    >>> find_metric("p@10").text
    'hits in the first 10 ranks / 10'
    """
    key = str(name).strip().lower()
    key = _ALIASES.get(key, key)
    if key in _PLAIN:
        return Metric(str(name), *(*_PLAIN[key], "mean")[:4], _in_expectation(key))
    match = re.fullmatch(r"([a-z_]+)@([1-9]\d{0,8})(?:/(r|hits|last))?", key)
    if match:
        base, cut, divide = match.groups()
        make, allowed = _CUT.get(_ALIASES.get(base, base), (None, ()))
        divide = "R" if divide == "r" else divide
        if make and divide in allowed:
            expected = _in_expectation(_ALIASES.get(base, base), int(cut), divide)
            return Metric(str(name), *make(int(cut), divide), expected=expected)
    raise ValueError(f"no metric is called {name!r}; known are {KNOWN} (K is a whole number >= 1)")
