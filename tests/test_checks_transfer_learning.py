"""The checks of notebook 05: right answers pass, wrong ones get the sentence that names the mistake."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from sklearn.linear_model import RidgeClassifier, RidgeClassifierCV
from sklearn.model_selection import LeaveOneOut
from sklearn.preprocessing import normalize

from cbirkit import checks


def solved_mean(embeddings, labels, queries):
    centres = pd.DataFrame(embeddings).groupby(labels).mean()
    return centres.index.to_numpy()[
        (normalize(queries) @ normalize(centres.to_numpy()).T).argmax(axis=1)
    ]


def solved_strength(embeddings, labels, strengths):
    strengths = sorted(strengths, reverse=True)
    right = np.zeros(len(strengths))
    for learn, test in LeaveOneOut().split(embeddings):
        for number, strength in enumerate(strengths):
            right[number] += (
                RidgeClassifier(strength)
                .fit(embeddings[learn], labels[learn])
                .predict(embeddings[test])[0]
                == labels[test][0]
            )
    return strengths[int(right.argmax())]


CHECKS = {
    "nearest_class_mean": (
        checks.check_nearest_class_mean,
        solved_mean,
    ),
    "choose_strength": (
        checks.check_choose_strength,
        solved_strength,
    ),
}


@pytest.mark.parametrize(
    "check",
    [checks.check_nearest_class_mean, checks.check_choose_strength, checks.check_better_probe],
)
@pytest.mark.parametrize(
    "answer", [lambda *a: None, lambda *a: a[0], lambda: 1, lambda *a: a[99], 7]
)
def test_nonsense_is_rejected_without_an_exception(check, answer):
    verdict = check(answer)
    assert verdict.status == "not yet" and verdict.message


def stub(known, labels, queries):
    raise NotImplementedError


def together(known, queries, *, own_mean=False):
    """Tables of several encoders side by side, each centred on, and scaled by, the known images (`own_mean`: by itself)."""
    parts = []
    for name in ("tiny", "colour", "VLAD"):
        centre = known[name].mean(axis=0)
        spread = np.linalg.norm(known[name] - centre, axis=1).mean()
        parts.append(
            [
                (X[name] - (X[name].mean(axis=0) if own_mean else centre)) / spread
                for X in (known, queries)
            ]
        )
    return (np.hstack(part) for part in zip(*parts, strict=True))


def joined(known, labels, queries):
    X, Q = together(known, queries)
    return RidgeClassifierCV(np.logspace(-2, 2, 9)).fit(X, labels).predict(Q)


def probe(known, labels, queries):
    return RidgeClassifierCV([0.01, 0.1, 1.0]).fit(known["tiny"], labels).predict(queries["tiny"])


def colour_alone(known, labels, queries):
    return RidgeClassifierCV([1000.0]).fit(known["colour"], labels).predict(queries["colour"])


def around(known, labels, queries):
    X, Q = together(known, queries, own_mean=True)
    return RidgeClassifierCV([0.1]).fit(X, labels).predict(Q)


def changing(known, labels, queries):
    known["tiny"] += 1
    return probe(known, labels, queries)


def test_several_encoders_beat_the_probe():
    verdict = checks.check_better_probe(joined)
    assert verdict.passed and "your accuracy is" in verdict.message, verdict


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (probe, "the probe again"),
        (colour_alone, "that is worse"),
        (around, "never from the queries"),
        (changing, "work on a copy"),
        (lambda known, labels, queries: probe(known, labels, queries)[:5], "one label for each"),
        (lambda known, labels, queries: np.full(len(queries["tiny"]), "cow"), "'cow' is no label"),
    ],
)
def test_answers_that_do_not_beat_the_probe_are_told_why(answer, words):
    verdict = checks.check_better_probe(answer)
    assert verdict.status == "not yet" and words in verdict.message, verdict


def test_a_stub_is_not_attempted():
    assert checks.check_better_probe(stub).status == "not attempted"


def mean_by_loop(embeddings, labels, queries):
    sums = {}
    for row, label in zip(embeddings, labels.tolist(), strict=True):
        sums.setdefault(label, []).append(row)
    found = []
    for query in queries:
        cosines = {
            c: np.dot(query, np.mean(rows, axis=0)) / np.linalg.norm(np.mean(rows, axis=0))
            for c, rows in sums.items()
        }
        found.append(max(cosines, key=cosines.get))
    return found


def mean_by_distance(embeddings, labels, queries):
    """Of vectors of length 1 the Euclidean distance gives the order of the cosine."""
    classes, numbers = np.unique(labels, return_inverse=True)
    means = normalize(np.eye(len(classes))[numbers].T @ embeddings)
    return classes[cdist(normalize(queries), means).argmin(axis=1)]


def median_of_class(embeddings, labels, queries):
    centres = pd.DataFrame(embeddings).groupby(labels).median()
    return centres.index.to_numpy()[
        (normalize(queries) @ normalize(centres.to_numpy()).T).argmax(axis=1)
    ]


def left_out_hits(embeddings, labels, strength, learn=lambda others: others, queries=None):
    """Hits of probes that each learn from `learn(others)` of the images."""
    n, hits = len(labels), 0
    for i in range(n):
        rows = learn(np.arange(n) != i)
        classes = np.unique(labels[rows])
        targets, X = np.where(labels[rows][:, None] == classes, 1.0, -1.0), embeddings[rows]
        centre = X.mean(axis=0)
        weights = np.linalg.solve(
            (X - centre).T @ (X - centre) + strength * np.eye(X.shape[1]), (X - centre).T @ targets
        )
        hits += (
            classes[((embeddings[i] - centre) @ weights + targets.mean(axis=0)).argmax()]
            == labels[i]
        )
    return hits


def best_of(strengths, score):
    """The largest of those with the highest score."""
    return max(strengths, key=lambda strength: (score(strength), strength))


def by_kernel(embeddings, labels, strengths):
    """Ridge in its dual form."""

    def hits(strength):
        right = 0
        for i in range(len(labels)):
            rows = np.delete(np.arange(len(labels)), i)
            classes = np.unique(labels[rows])
            targets, X = (
                np.where(labels[rows][:, None] == classes, 1.0, -1.0),
                embeddings[rows] - embeddings[rows].mean(axis=0),
            )
            duals = np.linalg.solve(
                X @ X.T + strength * np.eye(len(X)), targets - targets.mean(axis=0)
            )
            scores = (embeddings[i] - embeddings[rows].mean(axis=0)) @ X.T @ duals + targets.mean(
                axis=0
            )
            right += classes[scores.argmax()] == labels[i]
        return right

    return best_of(strengths, hits)


def loo(embeddings, labels, strengths):
    return best_of(strengths, lambda strength: left_out_hits(embeddings, labels, strength))


def half_known(known, labels, queries):
    return joined({name: X[::2] for name, X in known.items()}, labels[::2], queries)


RIGHT = {
    "nearest_class_mean": (
        mean_by_loop,
        mean_by_distance,
        lambda *a: tuple(mean_by_loop(*a)),
        lambda *a: pd.Series(mean_by_distance(*a)),
        lambda *a: mean_by_distance(*a).astype(object),
    ),
    "choose_strength": (
        loo,
        by_kernel,
        lambda *a: np.array(loo(*a)),
        lambda *a: np.float64(by_kernel(*a)),
    ),
    "better_probe": (
        joined,
        lambda *a: joined(*a).tolist(),
        lambda *a: tuple(joined(*a)),
        lambda *a: pd.Series(joined(*a)),
        lambda *a: joined(*a).astype(object),
    ),
}

WRONG = {
    "nearest_class_mean": (
        median_of_class,
        lambda e, labels, q: solved_mean(e - e.mean(axis=0), labels, q - e.mean(axis=0)),
        lambda e, labels, q: solved_mean(e, labels, q)[::-1],
        lambda e, labels, q: solved_mean(np.abs(e), labels, np.abs(q)),
        lambda e, labels, q: (
            solved_mean(e, labels, q).astype(str)
            if labels.dtype.kind == "i"
            else solved_mean(e, labels, q)
        ),
        lambda e, labels, q: solved_mean(e[:-1], labels[:-1], q),
        lambda e, labels, q: solved_mean(e[1:], labels[1:], q),
        lambda e, labels, q: labels[:1].repeat(len(q)),
        lambda e, labels, q: solved_mean(e, labels, q)[:, None],
        lambda e, labels, q: np.array(list(dict.fromkeys(labels)))[
            [list(np.unique(labels)).index(x) for x in solved_mean(e, labels, q)]
        ],
        lambda e, labels, q: solved_mean(e, labels, q.mean(axis=0, keepdims=True)).repeat(len(q)),
    ),
    "choose_strength": (
        lambda e, labels, s: RidgeClassifierCV(s).fit(e, labels).alpha_,
        lambda e, labels, s: best_of(s, lambda one: left_out_hits(e[:-1], labels[:-1], one)),
        lambda e, labels, s: best_of(s, lambda one: left_out_hits(e[1:], labels[1:], one)),
        lambda e, labels, s: best_of(
            s,
            lambda one: left_out_hits(e, labels, one, lambda others: np.flatnonzero(others)[:-1]),
        ),
        lambda e, labels, s: best_of(s, lambda one: left_out_hits(e, labels, 2 * one)),
        lambda e, labels, s: best_of(s, lambda one: left_out_hits(normalize(e), labels, one)),
        lambda e, labels, s: best_of(
            s, lambda one: left_out_hits(e, labels, one) / len(labels) - 0.001 * one
        ),
        lambda e, labels, s: loo(e, labels, sorted(s)[1:]),
        lambda e, labels, s: loo(e, labels, sorted(s)[:-1]),
        lambda e, labels, s: max(s),
        lambda e, labels, s: np.median(s),
        lambda e, labels, s: max(s, key=lambda one: left_out_hits(e, labels, one)),
        lambda e, labels, s: left_out_hits(e, labels, loo(e, labels, s)),
    ),
    "better_probe": (
        ("the probe again", probe),
        ("that is worse", colour_alone),
        ("never from the queries", around),
        ("work on a copy", changing),
        (
            "never from the queries",
            lambda known, labels, queries: np.sort(joined(known, labels, queries)),
        ),
        ("that is worse", lambda known, labels, queries: np.full(len(queries["tiny"]), labels[0])),
        (
            "that is worse",
            lambda known, labels, queries: solved_mean(known["HOG"], labels, queries["HOG"]),
        ),
        ("the probe", lambda known, labels, queries: half_known(known, labels, queries)),
        (
            "one label for each",
            lambda known, labels, queries: joined(known, labels, queries)[:, None],
        ),
        ("one label for each", lambda known, labels, queries: joined(known, labels, known)),
        ("one label for each", lambda known, labels, queries: set(joined(known, labels, queries))),
        (
            "is no label",
            lambda known, labels, queries: np.unique(labels, return_inverse=True)[1][:1].repeat(
                len(queries["tiny"])
            ),
        ),
        ("raised KeyError", lambda known, labels, queries: known["SIFT"]),
        ("got None", lambda known, labels, queries: None),
    ),
}
