"""Checks of notebook 01: a faulty average precision mended, an interval over groups, and the size of a test set (open)."""

import math
import numbers
from functools import partial

import numpy as np

from cbirkit import metrics

from .running import Verdict, describe, open_answer, run_check


def check_mended_average_precision(answer):
    """Check ``mended_average_precision(relevant, n_positives)``: the faulty loop of notebook 01, made right.

    Parameters
    ----------
    answer : callable
        Takes `relevant` (n,) bool, nearest first, and `n_positives`, R; returns a float, NaN where R is 0.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_mended_average_precision(metrics.average_precision).passed
    True
    """
    return run_check(answer, _mended_average_precision, _ap_cases(), mistakes=MENDED_MISTAKES)


def _mended_average_precision(relevant, n_positives):
    return metrics.average_precision(relevant, n_positives)


def _ap_cases():
    worked = np.array([False, True, False, True, False, False, False, True])
    yield from [
        ("hits at ranks 2, 4 and 8, and R = 3", worked, 3),
        ("hits at ranks 1 and 4, and R = 20", np.array([True, False, False, True]), 20),
        ("four results, all relevant, and R = 4", np.ones(4, dtype=bool), 4),
        ("a query that finds none of its two positives", np.zeros(5, dtype=bool), 2),
        ("a single positive, at rank 3", np.array([False, False, True]), 1),
        ("a query without positives (R = 0): the answer is NaN", np.zeros(5, dtype=bool), 0),
        ("one result, which is relevant, and R = 1", np.ones(1, dtype=bool), 1),
        ("no result at all and R = 2: the answer is 0", np.zeros(0, dtype=bool), 2),
        ("no result at all and R = 0: the answer is NaN", np.zeros(0, dtype=bool), 0),
    ]
    random = np.random.RandomState(0)
    for _ in range(30):
        n = random.randint(1, 30)
        relevant = random.rand(n) < random.rand()
        n_positives = int(
            relevant.sum() + random.randint(1, 4) * random.randint(2) + (not relevant.any())
        )
        yield f"{n} random results and R = {n_positives}", relevant, n_positives


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


def _faulty(relevant, n_positives):
    return _loop(relevant, n_positives, count_first=False, divide="hits", empty=0.0)


MENDED_MISTAKES = {
    "That is the faulty function as it stood: score hits at ranks 2, 4 and 8 by hand first.": _faulty,
    "The divisor is right now. But a hit has to be counted before the precision at its rank is taken.": (
        partial(_loop, count_first=False, empty=0.0),
        1 / 3,
    ),
    (
        "The divisor and the empty query are right now. But a hit has to be counted before the precision at "
        "its rank is taken."
    ): (partial(_loop, count_first=False), 2 / 3),
    "The count is right now. But " + _HITS_SENTENCE[0].lower() + _HITS_SENTENCE[1:]: (
        partial(_loop, divide="hits", empty=0.0),
        1 / 3,
    ),
    (
        "The count and the empty query are right now. But "
        + _HITS_SENTENCE[0].lower()
        + _HITS_SENTENCE[1:]
    ): (partial(_loop, divide="hits"), 2 / 3),
    _NAN_SENTENCE: (partial(_loop, empty=0.0), 2 / 3),
}


def check_bootstrap_interval(answer):
    """Check ``bootstrap_interval(scores, groups, draws)``: the 95 % percentile interval of a mean, groups drawn whole.

    Parameters
    ----------
    answer : callable
        Takes `scores` (n_queries,) float, `groups` (n_queries,) int, the group of each query from 0 on, and `draws` (n_draws, n) int:
        the groups of each draw; returns (low, high). The mean of a draw is over its queries, so that large groups weigh more.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_bootstrap_interval(lambda scores, groups, draws: (0.0, 1.0)).passed
    False
    """
    return run_check(answer, _bootstrap_interval, _interval_cases(), mistakes=INTERVAL_MISTAKES)


def _bootstrap_interval(scores, groups, draws, *, tails=(2.5, 97.5), mean=None, find=np.percentile):
    sums, sizes = np.bincount(groups, scores), np.bincount(groups)
    mean = mean or (lambda drawn: sums[drawn].sum() / sizes[drawn].sum())
    low, high = find([mean(drawn) for drawn in draws], tails)
    return float(low), float(high)


def _interval_cases():
    random = np.random.RandomState(0)
    for n_groups, largest, n_draws in (
        (12, 1, 400),
        (8, 4, 300),
        (20, 3, 200),
        (5, 12, 300),
        (1, 6, 50),
    ):
        groups = np.repeat(np.arange(n_groups), random.randint(1, largest + 1, n_groups))
        scores = (random.beta(2, 1, n_groups)[groups] * random.rand(len(groups))).round(3)
        order = random.permutation(len(groups))
        draws = random.randint(0, n_groups, (n_draws, n_groups))
        about = f"{len(groups)} queries in {n_groups} groups, drawn {n_draws} times"
        yield about, scores[order], groups[order], draws
    yield "groups that all score 0", np.zeros(6), np.arange(6) // 2, draws[:, :1] % 3


def _in_draw(scores, groups, of=np.mean, take=np.isin):
    return lambda drawn: of(scores[take(groups, drawn)])


def _queries_of(groups, drawn):
    return np.concatenate([np.flatnonzero(groups == one) for one in drawn])


def _group_means(scores, groups):
    return np.bincount(groups, scores) / np.bincount(groups)


def _one_of_the_means(means, tails):
    return np.sort(means)[[int(tail / 100 * len(means)) for tail in tails]]


def _normal(scores, groups, draws):
    means = _group_means(scores, groups)
    half = 1.96 * means.std(ddof=int(len(means) > 1)) / np.sqrt(len(means))
    return float(scores.mean() - half), float(scores.mean() + half)


INTERVAL_MISTAKES = {
    "You took the numbers of groups for positions of queries: a group is drawn whole, with all of its queries.": lambda s, g, d: _bootstrap_interval(s, g, d, mean=lambda drawn: s[drawn].mean()),
    "You gave each group the same weight: take the mean over all queries of the draw.": lambda s, g, d: _bootstrap_interval(s, g, d, mean=lambda drawn: _group_means(s, g)[drawn].mean()),
    "A group that is drawn twice counts twice; `np.isin` counts it once.": lambda s, g, d: _bootstrap_interval(s, g, d, mean=_in_draw(s, g)),
    "That is a 90 % interval: 95 % leaves 2.5 % on either side.": partial(_bootstrap_interval, tails=(5, 95)),
    "np.percentile counts in per cent: 2.5 and 97.5, not 0.025 and 0.975.": partial(_bootstrap_interval, tails=(0.025, 0.975)),
    "The ends are swapped: low comes first.": partial(_bootstrap_interval, tails=(97.5, 2.5)),
    "That is the interval of the median; mAP is a mean.": lambda s, g, d: _bootstrap_interval(s, g, d, mean=_in_draw(s, g, np.median, _queries_of)),
    "That is the sum of each draw: divide by the number of its queries.": lambda s, g, d: _bootstrap_interval(s, g, d, mean=_in_draw(s, g, np.sum, _queries_of)),
    "You divided by the number of all queries: a draw has its own number.": lambda s, g, d: _bootstrap_interval(s, g, d, mean=lambda drawn: s[_queries_of(g, drawn)].sum() / len(s)),
    "Those are percentiles of the groups' means: how far apart groups are. Take the mean of each draw first.": lambda s, g, d: _bootstrap_interval(s, g, np.arange(g.max() + 1)[:, None]),
    "That is the normal approximation, mean and standard error: use the draws.": _normal,
    "You took two of the sorted means; np.percentile interpolates between neighbours.": partial(_bootstrap_interval, find=_one_of_the_means),
}  # fmt: skip


def check_groups_needed(answer):
    """Check ``groups_needed(differences, groups, gain)``, an open exercise: how large must a test set be?

    Parameters
    ----------
    answer : callable
        Takes a pilot, the `differences` (n_queries,) of two methods and the `groups` (n_queries,) of the queries, and the smallest `gain`
        that matters; returns a number of groups, each with as many queries as in the pilot, such that the 95 % interval of a true
        difference of `gain` leaves out 0 in 80 of 100 test sets. Its result is judged: 75 to 85 of 100, on average over 20 pilots of 60 groups, and at least 50 after each.

    Returns
    -------
    Verdict
        The message tells how often the difference would be found.

    Examples
    --------
    >>> check_groups_needed(lambda differences, groups, gain: 10_000).status
    'not yet'
    """
    name, found = "groups_needed", []
    for *given, error in _pilots():
        n, ended = open_answer(name, answer, given, 10.0, _no_count)
        if ended:
            return ended
        found.append(_normal_cdf(given[-1] * math.sqrt(n) / error - 1.96))
    mean = np.mean(found)
    told = f"a true difference would be found in {100 * mean:.0f} of 100 test sets of your sizes (in {100 * min(found):.0f} after the worst pilot)"
    if 0.75 <= mean <= 0.85 and min(found) > 0.5:
        return Verdict(name, "passed", f"{told}.", 1.0)
    why = "80 are asked for: what varies from test set to test set, and how much must the gain exceed it?"
    return Verdict(name, "not yet", f"{told}; {why}")


def _normal_cdf(z):
    return (1 + math.erf(z / math.sqrt(2))) / 2


def _no_count(value):
    good = isinstance(value, numbers.Real) and 2 <= value < math.inf
    return None if good else f"expected a number of groups, at least 2, got {describe(value)}."


def _pilots():
    """Differences, groups, gain, and the standard deviation of a group's mean in the world that the pilot is drawn from."""
    for seed in range(60, 80):
        random, n, size = np.random.RandomState(seed), 60, (2, 4, 12)[seed % 3]
        between, within = (0.08, 0.1) if seed % 2 else (0.03, 0.15)
        error = math.hypot(between, within / math.sqrt(size))
        differences = 0.02 + between * random.randn(n, 1) + within * random.randn(n, size)
        order = random.permutation(n * size)
        groups = np.repeat(np.arange(n), size)[order]
        yield differences.ravel()[order], groups, (0.15, 0.3, 0.6)[seed % 3] * error, error
