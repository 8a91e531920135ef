"""The checks of notebook 05: right answers pass, wrong ones get the sentence that names the mistake."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import RidgeClassifier, RidgeClassifierCV
from sklearn.model_selection import LeaveOneOut
from sklearn.preprocessing import normalize

from cbirkit import checks
from cbirkit.checks import transfer_learning


def solved_mean(embeddings, labels, queries):
    centres = pd.DataFrame(embeddings).groupby(labels).mean()
    return centres.index.to_numpy()[(normalize(queries) @ normalize(centres.to_numpy()).T).argmax(axis=1)]


def solved_strength(embeddings, labels, strengths):
    strengths = sorted(strengths, reverse=True)
    right = np.zeros(len(strengths))
    for learn, test in LeaveOneOut().split(embeddings):
        for number, strength in enumerate(strengths):
            right[number] += RidgeClassifier(strength).fit(embeddings[learn], labels[learn]).predict(embeddings[test])[0] == labels[test][0]
    return strengths[int(right.argmax())]


CHECKS = {
    "nearest_class_mean": (checks.check_nearest_class_mean, transfer_learning.MEAN_MISTAKES, solved_mean),
    "choose_strength": (checks.check_choose_strength, transfer_learning.STRENGTH_MISTAKES, solved_strength),
}


@pytest.mark.parametrize("check", [checks.check_nearest_class_mean, checks.check_choose_strength, checks.check_better_probe])
@pytest.mark.parametrize("answer", [lambda *a: None, lambda *a: a[0], lambda: 1, lambda *a: a[99], 7])
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
        parts.append([(X[name] - (X[name].mean(axis=0) if own_mean else centre)) / spread for X in (known, queries)])
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
