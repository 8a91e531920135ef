"""The checks of notebook 01: right answers pass, wrong ones get the sentence that names the mistake."""

import math

import numpy as np

from cbirkit import checks


def plain_average_precision(relevant, n_positives):
    """Written down from the definition, another way than in the check."""
    if n_positives == 0:
        return math.nan
    return sum(relevant[: i + 1].mean() for i in np.flatnonzero(relevant)) / n_positives


def plain_interval(scores, groups, draws):
    means = []
    for draw in draws:
        drawn = [score for one in draw for score in scores[groups == one]]
        means.append(sum(drawn) / len(drawn))
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


CHECKS = {
    "mended_average_precision": (
        checks.check_mended_average_precision,
        plain_average_precision,
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


def by_table(scores, groups, draws):
    """One row per group: its sum and its size."""
    table = np.stack([np.bincount(groups, scores), np.bincount(groups)], axis=1)
    drawn = table[draws].sum(axis=1)
    return np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])


def by_counts(scores, groups, draws):
    times = np.array([np.bincount(draw, minlength=groups.max() + 1) for draw in draws])
    weights = times[:, groups]
    return np.quantile(weights @ scores / weights.sum(axis=1), [0.025, 0.975]).tolist()


def drawn_queries(scores, groups, draws, of=np.mean):
    lists = [np.concatenate([scores[groups == one] for one in draw]) for draw in draws]
    return [of(one) for one in lists]


def formula(differences, groups, gain, errors=2.8):
    means = np.bincount(groups, differences) / np.bincount(groups)
    return math.ceil((errors * means.std(ddof=1) / gain) ** 2)


def by_drawing(differences, groups, gain):
    """The smallest number of groups, in steps of 3, of which 80 of 100 bootstrap tests find the gain."""
    means = np.bincount(groups, differences) / np.bincount(groups)
    means = means - means.mean() + gain
    random = np.random.RandomState(0)
    for n in range(10, 400, 3):
        tests = means[random.randint(0, len(means), (600, n))]
        half = 1.96 * tests.std(axis=1, ddof=1) / math.sqrt(n)
        if (tests.mean(axis=1) > half).mean() >= 0.8:
            return n
    return n


RIGHT = {
    "mended_average_precision": AP_RIGHT,
    "bootstrap_interval": (
        by_table,
        by_counts,
        lambda s, g, d: tuple(np.percentile(drawn_queries(s, g, d), q) for q in (2.5, 97.5)),
        lambda s, g, d: tuple(np.float32(x) for x in plain_interval(s, g, d)),
    ),
    "groups_needed": (
        formula,
        by_drawing,
        lambda d, g, gain: float(formula(d, g, gain)),
        lambda d, g, gain: np.int64(formula(d, g, gain, 2.85)),
        lambda d, g, gain: formula(d, g, gain) + 1,
    ),
}

WRONG = {
    "mended_average_precision": AP_WRONG,
    "bootstrap_interval": (
        lambda s, g, d: (float(s.min()), float(s.max())),
        lambda s, g, d: tuple(x + 0.001 for x in plain_interval(s, g, d)),
        ("numbers of groups", lambda s, g, d: np.percentile(s[d].mean(axis=1), [2.5, 97.5])),
        (
            "same weight",
            lambda s, g, d: np.percentile(
                [np.mean([s[g == one].mean() for one in draw]) for draw in d], [2.5, 97.5]
            ),
        ),
        (
            "counts twice",
            lambda s, g, d: np.percentile([s[np.isin(g, draw)].mean() for draw in d], [2.5, 97.5]),
        ),
        ("90 %", lambda s, g, d: np.quantile(drawn_queries(s, g, d), [0.05, 0.95])),
        ("per cent", lambda s, g, d: np.percentile(drawn_queries(s, g, d), [0.025, 0.975])),
        ("swapped", lambda s, g, d: plain_interval(s, g, d)[::-1]),
        (
            "median",
            lambda s, g, d: np.percentile(drawn_queries(s, g, d, np.median), [2.5, 97.5]),
        ),
        ("the sum", lambda s, g, d: np.percentile(drawn_queries(s, g, d, np.sum), [2.5, 97.5])),
        (
            "all queries",
            lambda s, g, d: np.percentile(
                np.array(drawn_queries(s, g, d, np.sum)) / len(s), [2.5, 97.5]
            ),
        ),
        lambda s, g, d: plain_interval(s, g, d[1:]),
        lambda s, g, d: plain_interval(s, g, d[:, :-1]) if d.shape[1] > 1 else (0.0, 1.0),
        lambda s, g, d: plain_interval(s[::-1], g, d),
        lambda s, g, d: np.percentile(drawn_queries(s, g, d), [0, 100]),
        ("expected tuple", lambda s, g, d: plain_interval(s, g, d)[0]),
        ("expected 2 values", lambda s, g, d: (*plain_interval(s, g, d), 0.0)),
    ),
    "groups_needed": (
        ("of 100", lambda d, g, gain: formula(d, g, gain, 1.96)),
        ("of 100", lambda d, g, gain: formula(d, g, gain, 1.96 + 1.645)),
        ("of 100", lambda d, g, gain: math.ceil((2.8 * d.std(ddof=1) / gain) ** 2)),
        (
            "of 100",
            lambda d, g, gain: math.ceil((2.8 * d.std() / gain) ** 2 * (g.max() + 1) / len(d)),
        ),
        ("of 100", lambda d, g, gain: formula(d, g, gain) * len(d) // (g.max() + 1)),
        ("of 100", lambda d, g, gain: formula(d, g, abs(d.mean()))),
        ("of 100", lambda d, g, gain: formula(d, g, gain / 2)),
        ("of 100", lambda d, g, gain: math.ceil((2.8 * np.abs(d).mean() / gain) ** 2)),
        ("of 100", lambda d, g, gain: 100),
        ("of 100", lambda d, g, gain: math.ceil(2.8 * d.std() / gain) + 1),
        ("at least 2", lambda d, g, gain: 1),
        ("number of groups", lambda d, g, gain: math.nan),
        ("number of groups", lambda d, g, gain: math.inf),
        ("number of groups", lambda d, g, gain: np.arange(3)),
        ("number of groups", lambda d, g, gain: None),
        ("raised", lambda d, g, gain: d[gain]),
        ("changes what it is given", lambda d, g, gain: d.sort() or formula(d, g, gain)),
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
