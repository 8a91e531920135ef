"""Checks of notebook 01: average precision, and a faulty one mended; the query and junk left out by id; a bootstrap interval."""

import math
from functools import partial

import numpy as np

from cbirkit import metrics

from .running import run_check


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

AVERAGE_PRECISION_MISTAKES = {
    _HITS_SENTENCE: partial(_loop, divide="hits"),
    _NAN_SENTENCE: partial(_loop, empty=0.0),
    "The precision counts only at relevant ranks; you added it at every rank.": partial(
        _loop, at_all_ranks=True
    ),
    "That is the mean of the precision over all ranks: take it at the relevant ranks only, and divide by R.": partial(
        _loop, at_all_ranks=True, divide="n"
    ),
    "That is the sum of the precisions: divide it by R, n_positives.": partial(
        _loop, divide="none"
    ),
    "Ranks start at 1: the first result stands at rank 1, not 2.": lambda r, n: _loop(
        np.append(False, r), n
    ),
    "You divided by the length of the list: divide by R, n_positives.": partial(_loop, divide="n"),
    "That is the trapezoid of the Oxford and Paris code: take the precision at the rank, not a mean of two.": lambda r, n: (
        metrics.average_precision(r, n, "trapezoid")
    ),
    "You cut the list at R; average precision looks at every rank.": lambda r, n: _loop(r[:n], n),
    "You divided by min(R, length of the list): divide by R, which holds the positives that were not found, too.": lambda r, n: (
        _loop(r, min(n, len(r))) if n else math.nan
    ),
}


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


def check_counted_results(answer):
    """Check ``counted_results(ranked_ids, query_id, junk_ids)``: the results that count, the query and junk deleted.

    Parameters
    ----------
    answer : callable
        Takes `ranked_ids` (n,) array of str, nearest first, `query_id`, str, and `junk_ids`, a list of str;
        returns an array of the ids that count, in their order.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_counted_results(lambda ranked_ids, query_id, junk_ids: ranked_ids[1:]).passed
    False
    """
    return run_check(answer, _counted_results, _counted_cases(), mistakes=COUNTED_MISTAKES)


def _counted_results(ranked_ids, query_id, junk_ids):
    return ranked_ids[~np.isin(ranked_ids, [query_id, *junk_ids])]


def _ids(text):
    return np.array(text.split(), dtype=object)


def _counted_cases():
    yield from [
        ("the query first and b junk", _ids("q a b c"), "q", ["b"]),
        (
            "a copy of the query, a, before the query itself, and c junk",
            _ids("a q b c"),
            "q",
            ["c"],
        ),
        ("a query that is not among its results, and a junk", _ids("a b c d"), "q", ["a"]),
        ("no junk at all", _ids("q a b"), "q", []),
        ("nothing but junk and the query: nothing is left", _ids("a b q"), "q", ["a", "b"]),
        (
            "the query cat_1 beside cat_10 and cat_12",
            _ids("cat_1 cat_10 cat_2 cat_12"),
            "cat_1",
            ["cat_2"],
        ),
        (
            "ids that are like those to go, but others",
            _ids("cat_10 dog_12 Cat_1 dog"),
            "cat_1",
            ["dog_1"],
        ),
        ("the query alone, which is junk as well: nothing is left", _ids("q"), "q", ["q"]),
        ("no result at all", _ids(""), "q", ["a"]),
    ]
    random = np.random.RandomState(0)
    for n in random.randint(3, 25, size=20):
        ids = np.array([f"image_{i}" for i in random.permutation(n)], dtype=object)
        junk = [f"image_{i}" for i in random.permutation(n)[: random.randint(0, n)]]
        query = f"image_{random.randint(n + 2)}"
        yield f"{n} results in random order, the query {query}, {len(junk)} junk", ids, query, junk


def _parts_of_junk(ranked_ids, query_id, junk_ids):
    kept = [i for i in ranked_ids if i != query_id and not any(junk in i for junk in junk_ids)]
    return np.array(kept, dtype=object)


COUNTED_MISTAKES = {
    "You dropped whatever stands first, and that may be another image: compare ids.": lambda ranked, query, junk: (
        ranked[1:][~np.isin(ranked[1:], junk)]
    ),
    "The query itself is still among its own results.": lambda ranked, query, junk: ranked[
        ~np.isin(ranked, junk)
    ],
    "The junk is still there, and pushes what counts to later ranks.": lambda ranked, query, junk: (
        ranked[ranked != query]
    ),
    "The order is lost (a set has none): the results have to stay nearest first.": lambda ranked, query, junk: (
        np.array(sorted(_counted_results(ranked, query, junk)), dtype=object)
    ),
    "`in` looks for a part of the text, and cat_1 is part of cat_10: compare whole ids.": lambda ranked, query, junk: (
        np.array([i for i in ranked if query not in i and i not in junk], dtype=object)
    ),
    "You kept what should go and dropped the rest.": lambda ranked, query, junk: ranked[
        np.isin(ranked, [query, *junk])
    ],
    "`in` looks for a part of the text, and dog_1 is part of dog_12: compare whole ids.": _parts_of_junk,
}


def check_bootstrap_interval(answer):
    """Check ``bootstrap_interval(scores, draws)``: the 95 % percentile interval of the mean over queries.

    Parameters
    ----------
    answer : callable
        Takes `scores` (n_queries,) float, NaN for a query without positives, and `draws` (n_draws, n) int:
        positions among the n queries that have a score; returns (low, high).

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_bootstrap_interval(lambda scores, draws: (0.0, 1.0)).passed
    False
    """
    return run_check(answer, _bootstrap_interval, _interval_cases(), mistakes=INTERVAL_MISTAKES)


def _bootstrap_interval(scores, draws, *, tails=(2.5, 97.5), over=np.mean, axis=1):
    scored = scores[~np.isnan(scores)]
    low, high = np.percentile(over(scored[draws], axis=axis), tails)
    return float(low), float(high)


def _interval_cases():
    random = np.random.RandomState(0)
    for n, n_nan, n_draws in (
        (12, 0, 400),
        (12, 3, 400),
        (40, 0, 200),
        (5, 1, 300),
        (25, 4, 250),
        (1, 0, 50),
    ):
        scores = random.beta(2, 1, size=n + n_nan).round(3)
        scores[random.permutation(n + n_nan)[:n_nan]] = np.nan
        draws = random.randint(0, n, size=(n_draws, n))
        without = f", {n_nan} more without a score" if n_nan else ""
        yield f"{n} queries{without}, drawn {n_draws} times", scores, draws
    nothing = np.array([0.0, 0.5, np.nan, 0.0, 1.0, 0.75, 0.25, 1.0])
    draws = random.randint(0, 7, size=(300, 7))
    yield "seven queries, two of which score 0, and one more without a score", nothing, draws
    yield "five queries that all score 0", np.zeros(5), draws[:, :5] % 5


def _wrapped_error(scores, draws, *, root):
    scored = scores[~np.isnan(scores)]
    spread = scored.std(ddof=1 if len(scored) > 1 else 0) / (np.sqrt(len(scored)) if root else 1)
    return float(scored.mean() - 1.96 * spread), float(scored.mean() + 1.96 * spread)


def _nan_as_zero(scores, draws):
    return _bootstrap_interval(np.nan_to_num(scores), draws)


def _only_found(scores, draws):
    scored = scores[~np.isnan(scores)]
    means = [one[one > 0].mean() if one.any() else 0.0 for one in scored[draws]]
    return tuple(np.percentile(means, (2.5, 97.5)).tolist())


def _one_of_the_means(scores, draws):
    means = np.sort(scores[~np.isnan(scores)][draws].mean(axis=1))
    return tuple(means[[int(0.025 * len(means)), int(0.975 * len(means))]].tolist())


def _ignored(scores, draws):
    return _bootstrap_interval(scores, np.arange(np.sum(~np.isnan(scores)))[:, None])


def _nan_kept(scores, draws):
    low, high = np.percentile(scores[draws].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


INTERVAL_MISTAKES = {
    "Those are percentiles of the scores: how far apart single queries are. Take the mean of each draw first.": _ignored,
    "You took the mean over the draws; take it over the queries of each draw, axis=1.": partial(
        _bootstrap_interval, axis=0
    ),
    "That is a 90 % interval: 95 % leaves 2.5 % on either side.": partial(
        _bootstrap_interval, tails=(5, 95)
    ),
    "That is the interval of the median; mAP is a mean.": partial(
        _bootstrap_interval, over=np.median
    ),
    "The ends are swapped: low comes first.": lambda scores, draws: _bootstrap_interval(
        scores, draws
    )[::-1],
    "That is the normal approximation, mean and standard error: use the draws.": partial(
        _wrapped_error, root=True
    ),
    "That is the spread of single queries, not of their mean: use the draws.": partial(
        _wrapped_error, root=False
    ),
    "A query without positives is NaN: leave it out before you draw; the positions in `draws` are of the others.": _nan_kept,
    "NaN is not 0: a query without positives is left out, not scored as a failure.": _nan_as_zero,
    "np.percentile counts in per cent: 2.5 and 97.5, not 0.025 and 0.975.": partial(
        _bootstrap_interval, tails=(0.025, 0.975)
    ),
    "You took two of the sorted means; np.percentile interpolates between neighbours.": _one_of_the_means,
    "You left out the queries that score 0, too: they have positives and found none, and count; only NaN is left out.": lambda scores, draws: (
        _bootstrap_interval(np.where(scores == 0, np.nan, scores), draws)
    ),
    "A query that scores 0 has positives and found none: it counts in every mean; only NaN is left out.": _only_found,
}
