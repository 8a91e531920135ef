"""The checks of notebook 01: right answers pass, wrong ones get the sentence that names the mistake."""

import math

import numpy as np

from cbirkit import checks


def plain_average_precision(relevant, n_positives):
    """Written down from the definition, another way than in the check."""
    if n_positives == 0:
        return math.nan
    return sum(relevant[: i + 1].mean() for i in np.flatnonzero(relevant)) / n_positives


def plain_interval(scores, draws):
    scored = [score for score in scores if not math.isnan(score)]
    means = sorted(sum(scored[i] for i in draw) / len(draw) for draw in draws)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


CHECKS = {
    "average_precision": (
        checks.check_average_precision,
        plain_average_precision,
    ),
    "mended_average_precision": (
        checks.check_mended_average_precision,
        plain_average_precision,
    ),
    "counted_results": (
        checks.check_counted_results,
        lambda ranked_ids, query_id, junk_ids: np.array(
            [one for one in ranked_ids if one != query_id and one not in junk_ids], dtype=object
        ),
    ),
    "bootstrap_interval": (
        checks.check_bootstrap_interval,
        plain_interval,
    ),
}


def by_loop(relevant, n_positives):
    hits, total = 0, 0.0
    for rank, good in enumerate(relevant, start=1):
        if good:
            hits += 1
            total += hits / rank
    return total / n_positives if n_positives else None if n_positives is None else math.nan


def unguarded(relevant, n_positives):
    """0 / 0 is NaN, with a warning."""
    precisions = np.cumsum(relevant) / np.arange(1, len(relevant) + 1)
    return (precisions * relevant).sum() / np.float64(n_positives)


def by_places(relevant, n_positives):
    places = np.flatnonzero(relevant) + 1
    return (
        np.sum(np.arange(1, len(places) + 1) / places) / n_positives
        if n_positives > 0
        else float("nan")
    )


def by_envelope(relevant, n_positives):
    """Interpolated: at each hit the best precision from there on."""
    if not n_positives:
        return math.nan
    precision = np.cumsum(relevant) / np.arange(1, len(relevant) + 1)
    return np.maximum.accumulate(precision[::-1])[::-1][relevant].sum() / n_positives


def to_the_last_but_one(relevant, n_positives):
    return by_loop(relevant[:-1], n_positives)


AP_RIGHT = (
    by_loop,
    unguarded,
    by_places,
    lambda r, n: np.array(by_places(r, n)),
    lambda r, n: np.float32(by_loop(r, n)),
)
AP_WRONG = (
    ("", lambda r, n: r.mean()),
    ("", lambda r, n: round(by_loop(r, n), 2)),
    ("", lambda r, n: by_loop(r[::-1], n)),
    ("", by_envelope),
    ("", to_the_last_but_one),
    ("R = 2: the answer is 0", lambda r, n: by_loop(r, n) if len(r) else math.nan),
    ("", lambda r, n: by_loop(r, n) if r.any() else 0.0),
    ("", lambda r, n: by_loop(r, n) if r.any() else math.nan),
    ("raised ZeroDivisionError", lambda r, n: sum(by_loop(r, 1) for _ in "a") / n),
    ("", lambda r, n: by_loop(r, max(n, 1))),
    ("", lambda r, n: by_loop(r, n + 1) if n else math.nan),
    ("got None", lambda r, n: by_loop(r, n) if n else None),
    ("", lambda r, n: by_loop(r, n) if n else "nan"),
    ("", lambda r, n: by_loop(r[:10], n)),
    (
        "",
        lambda r, n: (
            sum(np.cumsum(r)[i] // (i + 1) for i in np.flatnonzero(r)) / n if n else math.nan
        ),
    ),
)


def both_removed(ranked_ids, query_id, junk_ids):
    gone = {query_id, *junk_ids}
    return [one for one in ranked_ids if one not in gone]


def by_mean_of_each(scores, draws):
    scored = scores[np.isfinite(scores)]
    means = [scored[draw].mean() for draw in draws]
    return [np.quantile(means, 0.025), np.quantile(means, 0.975)]


def over_found(scores, draws):
    found = np.where(scores > 0, scores, np.nan)[~np.isnan(scores)]
    return tuple(np.nanpercentile(np.nanmean(found[draws], axis=1), [2.5, 97.5]))


RIGHT = {
    "average_precision": AP_RIGHT,
    "mended_average_precision": AP_RIGHT,
    "counted_results": (
        both_removed,
        lambda ranked, query, junk: np.setdiff1d(ranked, [query, *junk], assume_unique=True),
        lambda ranked, query, junk: tuple(both_removed(ranked, query, junk)),
        lambda ranked, query, junk: np.delete(
            ranked, [n for n, i in enumerate(ranked) if i == query or i in junk]
        ),
        lambda ranked, query, junk: np.array(
            list(filter(lambda i: i not in junk and i != query, ranked))
        ),
    ),
    "bootstrap_interval": (
        by_mean_of_each,
        lambda s, d: np.percentile(s[~np.isnan(s)][d].mean(axis=1), [2.5, 97.5]),
        lambda s, d: tuple(
            np.percentile(np.take(s[np.isfinite(s)], d).sum(axis=1) / d.shape[1], q)
            for q in (2.5, 97.5)
        ),
        lambda s, d: np.quantile(s[~np.isnan(s)][d].mean(axis=1), [0.025, 0.975]).tolist(),
        lambda s, d: tuple(np.float32(x) for x in plain_interval(s, d)),
    ),
}

WRONG = {
    "average_precision": AP_WRONG,
    "mended_average_precision": AP_WRONG,
    "counted_results": (
        lambda ranked, query, junk: np.unique(ranked),
        lambda ranked, query, junk: ranked[:0],
        lambda ranked, query, junk: np.setdiff1d(ranked, [query, *junk]),
        lambda ranked, query, junk: [i for i in ranked if i not in junk and i != query] or None,
        lambda ranked, query, junk: [i for i in ranked if i not in "".join(junk) + query],
        lambda ranked, query, junk: both_removed(ranked, query, junk[:1]),
        lambda ranked, query, junk: both_removed(ranked, query, junk[1:]),
        lambda ranked, query, junk: np.delete(ranked, ranked.tolist().index(query)),
        lambda ranked, query, junk: ~np.isin(ranked, [query, *junk]),
        lambda ranked, query, junk: np.where(np.isin(ranked, [query, *junk]), "", ranked),
        lambda ranked, query, junk: [
            i for i in ranked if not i.startswith(query) and i not in junk
        ],
        lambda ranked, query, junk: both_removed(ranked, query, junk)[
            : len(ranked) - 1 - len(junk)
        ],
        (
            "changed its input",
            lambda ranked, query, junk: junk.append(query) or both_removed(ranked, query, junk),
        ),
    ),
    "bootstrap_interval": (
        lambda s, d: (float(np.nanmin(s)), float(np.nanmax(s))),
        lambda s, d: tuple(x + 0.001 for x in plain_interval(s, d)),
        ("score 0", over_found),
        ("score 0", lambda s, d: np.percentile(s[s > 0][d].mean(axis=1), [2.5, 97.5])),
        (
            "scores 0",
            lambda s, d: np.percentile(
                [one[one > 0].mean() for one in s[~np.isnan(s)][d]], [2.5, 97.5]
            ),
        ),
        lambda s, d: plain_interval(s, d[1:]),
        lambda s, d: plain_interval(s, d[:, :-1]),
        lambda s, d: plain_interval(s[::-1], d),
        lambda s, d: np.percentile(s[~np.isnan(s)][d].ravel(), [2.5, 97.5]),
        lambda s, d: np.percentile(s[~np.isnan(s)][d].mean(axis=1), [0, 100]),
        lambda s, d: np.percentile(s[~np.isnan(s)][d].mean(axis=1), [1, 99]),
        lambda s, d: np.percentile(s[~np.isnan(s)][d].sum(axis=1), [2.5, 97.5]),
        lambda s, d: np.percentile(np.nanmean(s[d], axis=1), [2.5, 97.5]),
        ("expected tuple", lambda s, d: plain_interval(s, d)[0]),
        ("expected 2 values", lambda s, d: (*plain_interval(s, d), 0.0)),
    ),
}


def test_the_faulty_function_of_the_notebook_is_named_as_such():
    def faulty_average_precision(relevant, n_positives):
        hits, total = 0, 0.0
        for rank, is_relevant in enumerate(relevant, start=1):
            if is_relevant:
                total += hits / rank
                hits += 1
        return total / max(hits, 1)

    verdict = checks.check_mended_average_precision(faulty_average_precision)
    assert "as it stood" in verdict.message
