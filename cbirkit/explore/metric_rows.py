"""The numbers of the Metric Lab: every definition computed by `cbirkit.metrics`, and how each comes about."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from .. import metrics
from .metric_terms import (
    any_terms,
    count_terms,
    expected_terms,
    extreme_terms,
    first_terms,
    ndcg_terms,
    step_terms,
    trapezoid_terms,
)

_WHOLE = ("ukbench", "first_rank")  # metrics that count


@dataclass(frozen=True)
class Definition:
    """One metric: its name here, its formula, how to compute it, and the terms that lead there.

    Attributes
    ----------
    key, name, group, text : str
        What `evaluate` calls it, a name to show, who uses it, the formula in words; ``{k}`` is the cut-off.
    value : callable
        From a `Listing` to a float, by `cbirkit.metrics`; NaN where it is not defined.
    explain : callable
        From a `Listing` to (terms, formula): a text for each item that counts, and one to calculate with.
    """

    key: str
    name: str
    group: str
    text: str
    value: Callable
    explain: Callable


def _found(one):
    return max(int(one.relevant[: one.k].sum()), 1)


def _ap_at(normalize):
    return lambda one: metrics.average_precision_at_k(
        one.relevant, one.k, one.n_positives, normalize
    )


def _tied(which):
    return lambda one: metrics.expected_average_precision(
        one.distances, one.relevant, one.n_positives
    )[which]


def _ukbench(one):
    return metrics.ukbench_score(one.relevant) if one.n_positives == 4 else math.nan


R, K = (lambda one: one.n_positives), (lambda one: one.k)
PUBLISHED, _CUT, _TO_R, TIES = (
    'published as "AP" or "mAP"',
    "of the first k",
    "of the first R",
    "AP where distances tie",
)
DEFINITIONS = (
    Definition("map", "AP", PUBLISHED, "sum of the precisions at the relevant ranks / R",
               lambda one: metrics.average_precision(one.relevant, one.n_positives), step_terms(R)),
    Definition("trapezoid_map", "AP, trapezoid", PUBLISHED,
               "sum of the mean precision before and after each relevant rank / R",
               lambda one: metrics.average_precision(one.relevant, one.n_positives, "trapezoid"), trapezoid_terms),
    Definition("map@{k}", "AP@{k}", PUBLISHED, "the sum over the first {k} ranks / min({k}, R)",
               _ap_at("min(k, R)"), step_terms(lambda one: min(one.k, one.n_positives), K)),
    Definition("map@{k}/R", "AP@{k} over R", PUBLISHED, "the sum over the first {k} ranks / R",
               _ap_at("R"), step_terms(R, K)),
    Definition("map@{k}/hits", "AP@{k} over hits", PUBLISHED,
               "the sum over the first {k} ranks / hits among them", _ap_at("hits"), step_terms(_found, K)),
    Definition("map@r", "MAP@R", PUBLISHED, "the sum over the first R ranks / R",
               lambda one: metrics.map_at_r(one.relevant, one.n_positives), step_terms(R, R)),
    Definition("expected_map", "AP, expected", TIES, "mean over all orders within the ties", _tied(0), expected_terms),
    Definition("worst_map", "AP, worst", TIES, "positives last within each tie", _tied(1), extreme_terms(False)),
    Definition("best_map", "AP, best", TIES, "positives first within each tie", _tied(2), extreme_terms(True)),
    Definition("p@{k}", "P@{k}", _CUT, "hits in the first {k} ranks / {k}",
               lambda one: metrics.precision_at_k(one.relevant, one.k, one.n_positives), count_terms(K, K)),
    Definition("recall@{k}", "Recall@{k}", _CUT, "hits in the first {k} ranks / R",
               lambda one: metrics.recall_at_k(one.relevant, one.k, one.n_positives), count_terms(R, K)),
    Definition("hit_rate@{k}", "Hit rate@{k}", _CUT,
               '1 if any of the first {k} is a hit: "Recall@{k}" of metric learning',
               lambda one: metrics.hit_rate_at_k(one.relevant, one.k, one.n_positives), any_terms),
    Definition("ndcg@{k}", "nDCG@{k}", _CUT, "sum of (2^gain - 1) / log2(rank + 1), over that of the best list",
               lambda one: metrics.ndcg_at_k(one.gains, one.k, one.ideal), ndcg_terms("exponential")),
    Definition("ndcg_linear@{k}", "nDCG@{k}, linear", _CUT,
               "sum of gain / log2(rank + 1), over that of the best list",
               lambda one: metrics.ndcg_at_k(one.gains, one.k, one.ideal, "linear"), ndcg_terms("linear")),
    Definition("r_precision", "R-precision", _TO_R, "hits in the first R ranks / R",
               lambda one: metrics.r_precision(one.relevant, one.n_positives), count_terms(R, R)),
    Definition("ukbench", "UKBench score", _TO_R,
               "hits in the first 4, the query itself included, 0 to 4; only where R = 4",
               _ukbench, count_terms(lambda one: 1, lambda one: 4)),
    Definition("first_rank", "First positive", _TO_R, "rank of the first relevant result",
               lambda one: metrics.first_positive_rank(one.relevant, one.n_positives), first_terms),
)  # fmt: skip


def row(definition, listing):
    """What the lab shows of one definition, as a dict of texts and the value (None where not defined).

    Examples
    --------
    >>> from cbirkit.explore.metric_listing import Listing
    >>> shown = row(DEFINITIONS[0], Listing((0, 1, 0, 1, 0, 0, 0, 1)))
    >>> shown["shown"], shown["line"]
    ('0.458', '(1/2 + 2/4 + 3/8) / 3 = 0.458333')
    """
    with_k = lambda text: text.replace("{k}", str(listing.k))
    value = float(definition.value(listing)) if len(listing.relevant) else math.nan
    terms, line = [""] * len(listing.relevant), why_not(definition, listing)
    if not math.isnan(value):
        terms, formula = definition.explain(listing)
        line = f"{formula} = {number(value, 0 if definition.key in _WHOLE else 6)}"
    return {
        "key": with_k(definition.key),
        "name": with_k(definition.name),
        "group": definition.group,
        "text": with_k(definition.text),
        "value": None if math.isnan(value) else value,
        "shown": "not defined"
        if math.isnan(value)
        else number(value, 0 if definition.key in _WHOLE else 3),
        "terms": terms,
        "line": line,
    }


def number(value, digits):
    """A value as text, with so many decimals."""
    return "none found" if math.isinf(value) else f"{value:.{digits}f}"


def why_not(definition, listing):
    """The sentence on why a value is not defined."""
    if listing.n_positives == 0:
        return "not defined: the query has no positives (R = 0); it is left out of the mean, and counted"
    if definition.key == "ukbench":
        return f"not defined: UKBench has R = 4, the query and three others; here R = {listing.n_positives}"
    return "not defined: nothing is left to rank once the junk is deleted"
