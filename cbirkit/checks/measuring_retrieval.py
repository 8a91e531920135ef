"""Checks of notebook 01, metrics: average precision, and a faulty one mended."""

import math

import numpy as np

from cbirkit import metrics
from cbirkit.checks._run import Case, Mistake, run_check


def check_average_precision(answer):
    """Check ``average_precision(relevant, n_positives)``: the precisions at the relevant ranks, summed, over R.

    Parameters
    ----------
    answer : callable
        Takes `relevant` (n,) bool, nearest first, and `n_positives`, R; returns a float, NaN where R is 0.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_average_precision(metrics.average_precision).passed
    True
    """
    return run_check(answer, _average_precision, _ap_cases(), mistakes=AVERAGE_PRECISION_MISTAKES)


def check_mended_average_precision(answer):
    """Check ``mended_average_precision(relevant, n_positives)``: the faulty loop of notebook 01, made right.

    Parameters
    ----------
    answer : callable
        As in `check_average_precision`.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_mended_average_precision(metrics.average_precision).passed
    True
    """
    return run_check(answer, _mended_average_precision, _ap_cases(), mistakes=MENDED_MISTAKES)


def _average_precision(relevant, n_positives):
    return metrics.average_precision(relevant, n_positives)


def _mended_average_precision(relevant, n_positives):
    return metrics.average_precision(relevant, n_positives)


def _ap_cases():
    worked = np.array([False, True, False, True, False, False, False, True])
    cases = [
        Case((worked, 3), "hits at ranks 2, 4 and 8, and R = 3"),
        Case((np.array([True, False, False, True]), 20), "hits at ranks 1 and 4, and R = 20"),
        Case((np.ones(4, dtype=bool), 4), "four results, all relevant, and R = 4"),
        Case((np.zeros(5, dtype=bool), 2), "a query that finds none of its two positives"),
        Case((np.array([False, False, True]), 1), "a single positive, at rank 3"),
        Case((np.zeros(5, dtype=bool), 0), "a query without positives (R = 0): the answer is NaN"),
        Case((np.ones(1, dtype=bool), 1), "one result, which is relevant, and R = 1"),
        Case((np.zeros(0, dtype=bool), 2), "no result at all and R = 2: the answer is 0"),
        Case((np.zeros(0, dtype=bool), 0), "no result at all and R = 0: the answer is NaN"),
    ]
    random = np.random.RandomState(0)
    for _ in range(30):
        n = random.randint(1, 30)
        relevant = random.rand(n) < random.rand()
        n_positives = int(
            relevant.sum() + random.randint(1, 4) * random.randint(2) + (not relevant.any())
        )
        cases.append(Case((relevant, n_positives), f"{n} random results and R = {n_positives}"))
    return cases


def _loop(
    relevant, n_positives, *, count_first=True, divide="R", at_all_ranks=False, empty=math.nan
):
    """Average precision and, by its switches, what goes wrong with it."""
    if n_positives == 0:
        return empty
    hits, total = 0, 0.0
    for rank, good in enumerate(relevant, start=1):
        hits += bool(good) and count_first
        if good or at_all_ranks:
            total += hits / rank
        hits += bool(good) and not count_first
    divisor = {
        "R": n_positives,
        "hits": max(int(np.sum(relevant)), 1),
        "n": len(relevant),
        "none": 1,
    }[divide]
    return total / divisor


_NAN_SENTENCE = "A query without positives has no average precision: return float('nan'), so that it can be left out."
_HITS_SENTENCE = "The sum is divided by the number of hits, so that finding less scores more: divide by R, n_positives."

AVERAGE_PRECISION_MISTAKES = (
    Mistake(lambda r, n: _loop(r, n, divide="hits"), _HITS_SENTENCE),
    Mistake(lambda r, n: _loop(r, n, empty=0.0), _NAN_SENTENCE),
    Mistake(
        lambda r, n: _loop(r, n, at_all_ranks=True),
        "The precision counts only at relevant ranks; you added it at every rank.",
    ),
    Mistake(
        lambda r, n: _loop(r, n, at_all_ranks=True, divide="n"),
        "That is the mean of the precision over all ranks: take it at the relevant ranks only, and divide by R.",
    ),
    Mistake(
        lambda r, n: _loop(r, n, divide="none"),
        "That is the sum of the precisions: divide it by R, n_positives.",
    ),
    Mistake(
        lambda r, n: _loop(np.append(False, r), n),
        "Ranks start at 1: the first result stands at rank 1, not 2.",
    ),
    Mistake(
        lambda r, n: _loop(r, n, divide="n"),
        "You divided by the length of the list: divide by R, n_positives.",
    ),
    Mistake(
        lambda r, n: metrics.average_precision(r, n, "trapezoid"),
        "That is the trapezoid of the Oxford and Paris code: take the precision at the rank, not a mean of two.",
    ),
    Mistake(
        lambda r, n: _loop(r[:n], n),
        "You cut the list at R; average precision looks at every rank.",
    ),
    Mistake(
        lambda r, n: _loop(r, min(n, len(r))) if n else math.nan,
        "You divided by min(R, length of the list): divide by R, which holds the positives that were not found, too.",
    ),
)


def _faulty(relevant, n_positives):
    return _loop(relevant, n_positives, count_first=False, divide="hits", empty=0.0)


MENDED_MISTAKES = (
    Mistake(
        _faulty,
        "That is the faulty function as it stood: score hits at ranks 2, 4 and 8 by hand first.",
    ),
    Mistake(
        lambda r, n: _loop(r, n, count_first=False, empty=0.0),
        "The divisor is right now. But a hit has to be counted before the precision at its rank is taken.",
        worth=1 / 3,
    ),
    Mistake(
        lambda r, n: _loop(r, n, count_first=False),
        "The divisor and the empty query are right now. But a hit has to be counted before the precision at "
        "its rank is taken.",
        worth=2 / 3,
    ),
    Mistake(
        lambda r, n: _loop(r, n, divide="hits", empty=0.0),
        "The count is right now. But " + _HITS_SENTENCE[0].lower() + _HITS_SENTENCE[1:],
        worth=1 / 3,
    ),
    Mistake(
        lambda r, n: _loop(r, n, divide="hits"),
        "The count and the empty query are right now. But "
        + _HITS_SENTENCE[0].lower()
        + _HITS_SENTENCE[1:],
        worth=2 / 3,
    ),
    Mistake(lambda r, n: _loop(r, n, empty=0.0), _NAN_SENTENCE, worth=2 / 3),
)
