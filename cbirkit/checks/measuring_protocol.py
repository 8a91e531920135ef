"""Checks of notebook 01, protocol: the query and junk deleted by id, a bootstrap interval over queries."""

import numpy as np

from cbirkit.checks._run import Case, Mistake, run_check


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
    cases = [
        Case((_ids("q a b c"), "q", ["b"]), "the query first and b junk"),
        Case(
            (_ids("a q b c"), "q", ["c"]),
            "a copy of the query, a, before the query itself, and c junk",
        ),
        Case((_ids("a b c d"), "q", ["a"]), "a query that is not among its results, and a junk"),
        Case((_ids("q a b"), "q", []), "no junk at all"),
        Case((_ids("a b q"), "q", ["a", "b"]), "nothing but junk and the query: nothing is left"),
        Case(
            (_ids("cat_1 cat_10 cat_2 cat_12"), "cat_1", ["cat_2"]),
            "the query cat_1 beside cat_10 and cat_12",
        ),
        Case(
            (_ids("cat_10 dog_12 Cat_1 dog"), "cat_1", ["dog_1"]),
            "ids that are like those to go, but others",
        ),
        Case((_ids("q"), "q", ["q"]), "the query alone, which is junk as well: nothing is left"),
        Case((_ids(""), "q", ["a"]), "no result at all"),
    ]
    random = np.random.RandomState(0)
    for n in random.randint(3, 25, size=20):
        ids = np.array([f"image_{i}" for i in random.permutation(n)], dtype=object)
        junk = [f"image_{i}" for i in random.permutation(n)[: random.randint(0, n)]]
        query = f"image_{random.randint(n + 2)}"
        cases.append(
            Case(
                (ids, query, junk),
                f"{n} results in random order, the query {query}, {len(junk)} junk",
            )
        )
    return cases


def _parts_of_junk(ranked_ids, query_id, junk_ids):
    kept = [i for i in ranked_ids if i != query_id and not any(junk in i for junk in junk_ids)]
    return np.array(kept, dtype=object)


COUNTED_MISTAKES = (
    Mistake(
        lambda ranked, query, junk: ranked[1:][~np.isin(ranked[1:], junk)],
        "You dropped whatever stands first, and that may be another image: compare ids.",
    ),
    Mistake(
        lambda ranked, query, junk: ranked[~np.isin(ranked, junk)],
        "The query itself is still among its own results.",
    ),
    Mistake(
        lambda ranked, query, junk: ranked[ranked != query],
        "The junk is still there, and pushes what counts to later ranks.",
    ),
    Mistake(
        lambda ranked, query, junk: np.array(
            sorted(_counted_results(ranked, query, junk)), dtype=object
        ),
        "The order is lost (a set has none): the results have to stay nearest first.",
    ),
    Mistake(
        lambda ranked, query, junk: np.array(
            [i for i in ranked if query not in i and i not in junk], dtype=object
        ),
        "`in` looks for a part of the text, and cat_1 is part of cat_10: compare whole ids.",
    ),
    Mistake(
        lambda ranked, query, junk: ranked[np.isin(ranked, [query, *junk])],
        "You kept what should go and dropped the rest.",
    ),
    Mistake(
        _parts_of_junk,
        "`in` looks for a part of the text, and dog_1 is part of dog_12: compare whole ids.",
    ),
)


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


def _interval(scores, draws, *, tails=(2.5, 97.5), over=np.mean, axis=1):
    scored = scores[~np.isnan(scores)]
    low, high = np.percentile(over(scored[draws], axis=axis), tails)
    return float(low), float(high)


def _bootstrap_interval(scores, draws):
    return _interval(scores, draws)


def _interval_cases():
    random, cases = np.random.RandomState(0), []
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
        cases.append(Case((scores, draws), f"{n} queries{without}, drawn {n_draws} times"))
    nothing = np.array([0.0, 0.5, np.nan, 0.0, 1.0, 0.75, 0.25, 1.0])
    draws = random.randint(0, 7, size=(300, 7))
    cases.append(
        Case((nothing, draws), "seven queries, two of which score 0, and one more without a score")
    )
    cases.append(Case((np.zeros(5), draws[:, :5] % 5), "five queries that all score 0"))
    return cases


def _wrapped_error(scores, draws, *, root):
    scored = scores[~np.isnan(scores)]
    spread = scored.std(ddof=1 if len(scored) > 1 else 0) / (np.sqrt(len(scored)) if root else 1)
    return float(scored.mean() - 1.96 * spread), float(scored.mean() + 1.96 * spread)


def _nan_as_zero(scores, draws):
    return _interval(np.nan_to_num(scores), draws)


def _only_found(scores, draws):
    scored = scores[~np.isnan(scores)]
    means = [one[one > 0].mean() if one.any() else 0.0 for one in scored[draws]]
    return tuple(np.percentile(means, (2.5, 97.5)).tolist())


def _one_of_the_means(scores, draws):
    means = np.sort(scores[~np.isnan(scores)][draws].mean(axis=1))
    return tuple(means[[int(0.025 * len(means)), int(0.975 * len(means))]].tolist())


def _ignored(scores, draws):
    return _interval(scores, np.arange(np.sum(~np.isnan(scores)))[:, None])


def _nan_kept(scores, draws):
    low, high = np.percentile(scores[draws].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


INTERVAL_MISTAKES = (
    Mistake(
        _ignored,
        "Those are percentiles of the scores: how far apart single queries are. Take the mean of each draw first.",
    ),
    Mistake(
        lambda scores, draws: _interval(scores, draws, axis=0),
        "You took the mean over the draws; take it over the queries of each draw, axis=1.",
    ),
    Mistake(
        lambda scores, draws: _interval(scores, draws, tails=(5, 95)),
        "That is a 90 % interval: 95 % leaves 2.5 % on either side.",
    ),
    Mistake(
        lambda scores, draws: _interval(scores, draws, over=np.median),
        "That is the interval of the median; mAP is a mean.",
    ),
    Mistake(
        lambda scores, draws: _interval(scores, draws)[::-1],
        "The ends are swapped: low comes first.",
    ),
    Mistake(
        lambda scores, draws: _wrapped_error(scores, draws, root=True),
        "That is the normal approximation, mean and standard error: use the draws.",
    ),
    Mistake(
        lambda scores, draws: _wrapped_error(scores, draws, root=False),
        "That is the spread of single queries, not of their mean: use the draws.",
    ),
    Mistake(
        _nan_kept,
        "A query without positives is NaN: leave it out before you draw; the positions in `draws` are of the others.",
    ),
    Mistake(
        _nan_as_zero,
        "NaN is not 0: a query without positives is left out, not scored as a failure.",
    ),
    Mistake(
        lambda scores, draws: _interval(scores, draws, tails=(0.025, 0.975)),
        "np.percentile counts in per cent: 2.5 and 97.5, not 0.025 and 0.975.",
    ),
    Mistake(
        _one_of_the_means,
        "You took two of the sorted means; np.percentile interpolates between neighbours.",
    ),
    Mistake(
        lambda scores, draws: _interval(np.where(scores == 0, np.nan, scores), draws),
        "You left out the queries that score 0, too: they have positives and found none, and count; only NaN is left out.",
    ),
    Mistake(
        _only_found,
        "A query that scores 0 has positives and found none: it counts in every mean; only NaN is left out.",
    ),
)
