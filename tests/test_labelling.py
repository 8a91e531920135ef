"""`cbirkit.labelling`: what to label next and which labels to doubt, against the definitions written as loops."""

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from cbirkit import labelling
from cbirkit.labelling import STRATEGIES, probabilities, propose, suspects

UNCERTAIN = ("margin", "entropy", "badge")


def blobs(seed=0, n=60, n_classes=3, n_dims=6, spread=0.4):
    random = np.random.RandomState(seed)
    centres = np.eye(n_dims)[:n_classes] * 2
    y = np.arange(n) % n_classes
    return centres[y] + random.normal(0, spread, (n, n_dims)), np.array(["a", "b", "c", "d"])[y]


def unit(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("start", [0, 1, 2, 9])
def test_what_is_proposed(strategy, start):
    X, y = blobs()
    labelled = np.arange(start) * 4
    got = propose(X, labelled, y[labelled], 7, strategy=strategy, random_state=3)
    assert got.shape == (7,) and got.dtype == np.int64
    assert len(set(got.tolist())) == 7 and not set(got.tolist()) & set(labelled.tolist())
    again = propose(X, labelled, y[labelled], 7, strategy=strategy, random_state=3)
    assert np.array_equal(got, again)
    everything = propose(X, labelled, y[labelled], 60 - start, strategy=strategy)
    assert sorted([*everything, *labelled]) == list(range(60))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_masks_lists_numbers_and_lengths(strategy):
    X, y = blobs()
    labelled = [40, 3, 17, 8]
    expected = propose(X, labelled, y[labelled], 5, strategy=strategy)
    numbers = {"a": 5, "b": 7, "c": 11}
    assert np.array_equal(
        propose((9 * X).tolist(), labelled, [numbers[one] for one in y[labelled]], 5, strategy=strategy),
        expected,
    )  # fmt: skip
    mask = np.isin(np.arange(60), labelled)
    assert np.array_equal(propose(X, mask, y[mask], 5, strategy=strategy), expected)


@pytest.mark.parametrize("strategy", UNCERTAIN)
@pytest.mark.parametrize("labelled", [[], [0, 3]])
def test_cold_start_is_typiclust(strategy, labelled):
    X, y = blobs()
    expected = propose(X, labelled, y[labelled], 6, strategy="typiclust", random_state=1)
    assert np.array_equal(
        propose(X, labelled, y[labelled], 6, strategy=strategy, random_state=1), expected
    )


def test_margin_and_entropy_by_hand():
    X, y = blobs(spread=0.9)
    labelled = np.arange(12)
    p = probabilities(X[labelled], y[labelled], X)
    margins, entropies = {}, {}
    for i in range(12, 60):
        best, second = sorted(p[i], reverse=True)[:2]
        margins[i] = best - second
        entropies[i] = -sum(q * math.log(q) for q in p[i])
    least = sorted(margins, key=lambda i: margins[i])[:8]
    most = sorted(entropies, key=lambda i: -entropies[i])[:8]
    assert propose(X, labelled, y[labelled], 8, strategy="margin").tolist() == least
    assert propose(X, labelled, y[labelled], 8, strategy="entropy").tolist() == most


@pytest.mark.parametrize("strategy", ["margin", "entropy", "core_set"])
def test_equal_scores_go_by_position(strategy):
    X = np.array([[1.0, 0], [0, 1], [1, 1], [1, 0.2], [1, 1], [2, 2]])
    assert propose(X, [0, 1], ["a", "b"], 3, strategy=strategy).tolist()[0] == 2
    if strategy != "core_set":
        assert propose(X, [0, 1], ["a", "b"], 3, strategy=strategy).tolist() == [2, 4, 5]


def test_core_set_by_loop():
    X, y = blobs(2)
    chosen, rows = [5, 30], unit(X)
    for _ in range(6):
        away = [min(np.linalg.norm(rows[i] - rows[j]) for j in chosen) for i in range(60)]
        chosen.append(int(np.argmax(away)))
    assert propose(X, [5, 30], y[[5, 30]], 6, strategy="core_set").tolist() == chosen[2:]
    middle = int(np.argmin(np.linalg.norm(rows - rows.mean(axis=0), axis=1)))
    assert propose(X, [], [], 1, strategy="core_set").tolist() == [middle]


def test_badge_draws_from_the_gradients():
    """The products of the factors are those of the gradients, written out; the first is the longest."""
    X, y = blobs(1, spread=0.8)
    labelled = np.arange(9)
    p = probabilities(X[labelled], y[labelled], X[9:])
    a = p.copy()
    a[np.arange(51), p.argmax(axis=1)] -= 1
    gradients = np.einsum("ic,id->icd", a, unit(X)[9:]).reshape(51, -1)
    random, chosen = (
        np.random.RandomState(4),
        [int(np.argmax(np.linalg.norm(gradients, axis=1)))],
    )
    while len(chosen) < 6:
        away = np.min([((gradients - gradients[j]) ** 2).sum(axis=1) for j in chosen], axis=0)
        away = np.maximum(away, 1e-15)
        away[chosen] = 0
        chosen.append(int(random.choice(51, p=away / away.sum())))
    got = propose(X, labelled, y[labelled], 6, strategy="badge", random_state=4)
    assert (got - 9).tolist() == chosen


def test_typiclust_takes_the_middle_of_each_cluster():
    """Three far clusters: the first three are one of each, each with the nearest neighbours, largest cluster first."""
    random = np.random.RandomState(0)
    sizes, rows, of = (30, 20, 10), [], []
    for number, size in enumerate(sizes):
        rows.append(np.eye(4)[number] + random.normal(0, 0.05, (size, 4)))
        of += [number] * size
    X, of = np.vstack(rows), np.array(of)
    got = propose(X, [], [], 3, strategy="typiclust")
    assert of[got].tolist() == [0, 1, 2]
    for one in got:
        mates = np.flatnonzero(of == of[one])
        apart = np.linalg.norm(unit(X)[mates][:, None] - unit(X)[mates], axis=2)
        mean = np.sort(apart, axis=1)[:, 1:21].mean(axis=1)
        assert one == mates[mean.argmin()]
    known = [int(np.flatnonzero(of == 0)[0])]
    more = propose(X, known, ["x"], 2, strategy="typiclust")
    assert set(of[more]) == {1, 2}
    assert len(set(of[propose(X, [], [], 3, strategy="clusters", random_state=2)])) == 3


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_images_that_are_all_equal(strategy):
    X = np.ones((8, 3))
    assert len(set(propose(X, [1, 2], ["a", "b"], 6, strategy=strategy).tolist())) == 6
    assert len(set(propose(X, [], [], 8, strategy=strategy).tolist())) == 8


def test_probabilities_are_those_of_the_strength_that_folds_choose():
    X, y = blobs(spread=0.7)
    classes, numbers = np.unique(y[:30], return_inverse=True)
    rows, scores = unit(X[:30]), {}
    place = {name: 0 for name in classes}
    folds, turn = np.zeros(30, int), 0
    for name in classes:  # by class, the folds in turn
        for i in np.flatnonzero(y[:30] == name):
            folds[i], turn = turn % 3, turn + 1
            place[name] += 1
    for strength in labelling.STRENGTHS:
        scores[strength] = 0.0
        for fold in range(3):
            learned = LogisticRegression(C=strength, tol=1e-3, max_iter=300)
            learned.fit(rows[folds != fold], numbers[folds != fold])
            logs = learned.predict_log_proba(rows[folds == fold])
            scores[strength] += logs[np.arange(len(logs)), numbers[folds == fold]].sum()
    best = LogisticRegression(C=max(scores, key=scores.get), tol=1e-3, max_iter=300)
    expected = best.fit(rows, numbers).predict_proba(unit(X[30:]))
    assert np.allclose(probabilities(X[:30], y[:30], X[30:]), expected, atol=1e-9)


def test_one_label_of_each_class():
    p = probabilities(np.eye(3), ["x", "y", "z"], np.eye(3))
    assert np.allclose(p.sum(axis=1), 1) and p.argmax(axis=1).tolist() == [0, 1, 2]


def test_suspects_are_the_wrong_labels():
    X, y = blobs(n=90, spread=0.15)
    wrong = [4, 31, 77]
    given = y.copy()
    given[wrong] = ["c", "c", "a"]
    assert (given != y).sum() == 3
    table = suspects(X, given)
    assert sorted(table["image"]) == wrong
    assert table["image"].dtype == np.int64 and (np.diff(table["margin"]) >= 0).all()
    assert (table["label"] == given[table["image"]]).all()
    assert (table["expected"] == y[table["image"]]).all()
    assert suspects(X, given, 2).equals(table.head(2))
    assert suspects(X, given).equals(table)
    assert suspects(X, y).empty


def test_suspects_by_the_definition():
    X, y = blobs(3, n=80, n_classes=4, spread=1.2)
    classes, numbers = np.unique(y, return_inverse=True)
    folds = labelling._folds(numbers, 5, np.random.RandomState(7))
    rows, strength = unit(X), labelling._strength(unit(X), numbers)
    p = np.zeros((80, 4))
    for fold in range(5):
        learned = LogisticRegression(C=strength, tol=1e-3, max_iter=300)
        learned.fit(rows[folds != fold], numbers[folds != fold])
        p[folds == fold] = learned.predict_proba(rows[folds == fold])
    expected = {}
    for i in range(80):
        reach = [k for k in range(4) if p[i, k] >= p[numbers == k, k].mean()]
        if reach and (best := max(reach, key=lambda k: p[i, k])) != numbers[i]:
            expected[i] = (classes[best], p[i, numbers[i]] - p[i, best])
    table = suspects(X, y, random_state=7)
    assert len(expected) > 5 and {*table["image"]} == {*expected}
    for row in table.itertuples():
        assert expected[row.image][0] == row.expected
        assert row.margin == pytest.approx(expected[row.image][1])


def test_suspects_with_rare_classes():
    X, y = blobs(n=40)
    rare = y.copy()
    rare[7] = "only one"
    assert 7 in suspects(X, rare)["image"].tolist()
    assert suspects(X[:3], ["a", "b", "b"]).shape[1] == 4


X, Y = blobs()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"strategy": "best"}, "strategy must be one of"),
        ({"n": 0}, "n must be a whole number >= 1"),
        ({"n": 59}, "n=59 exceeds the 57 images without a label; use n <= 57"),
        ({"embeddings": X[:, 0]}, "embeddings must be a table"),
        ({"embeddings": np.full((60, 2), np.nan)}, "finite numbers"),
        ({"embeddings": np.zeros((0, 4))}, "embeddings must be a table"),
        ({"labelled": [0, 1, 60]}, "labelled must hold positions from 0 to 59"),
        ({"labelled": [0, 1, -1]}, "labelled must hold positions"),
        ({"labelled": [0, 1, 1]}, "each once"),
        ({"labelled": [0.0, 1.0, 2.5]}, "labelled must hold positions"),
        ({"labelled": np.ones(3, bool)}, "labelled must hold positions"),
        ({"labels": ["a", "b"]}, "got 2 labels for 3 images"),
        ({"labels": ["a", None, "b"]}, "label"),
        ({"labelled": []}, "got 3 labels for 0 images"),
    ],
)
def test_wrong_input(change, words):
    given = {"embeddings": X, "labelled": [0, 1, 2], "labels": Y[:3], "n": 2} | change
    with pytest.raises(ValueError, match=words):
        propose(**given)


def test_wrong_input_of_suspects():
    with pytest.raises(ValueError, match="at least two classes"):
        suspects(X, ["a"] * 60)
    with pytest.raises(ValueError, match="got 2 labels for 60"):
        suspects(X, ["a", "b"])
    with pytest.raises(ValueError, match="n must be"):
        suspects(X, Y, 0)
    for p in (np.zeros((60, 9)), np.full((len(X), len(np.unique(Y))), np.nan)):
        with pytest.raises(ValueError, match="p must hold finite numbers"):
            suspects(X, Y, p=p)


def test_suspects_of_given_probabilities_are_those_that_the_formula_names():
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
    found = suspects(np.eye(5), ["a", "a", "a", "b", "b"], p=p)  # thresholds 0.6 and 0.75
    assert found["image"].tolist() == [2] and found["margin"].round(6).tolist() == [-0.8]


def test_margin_and_entropy_agree_with_scikit_activeml():
    pool = pytest.importorskip("skactiveml.pool", reason="scikit-activeml is not installed")
    X, y = blobs(spread=0.9)
    p = probabilities(X[:12], y[:12], X[12:])
    for strategy, method in (("margin", "margin_sampling"), ("entropy", "entropy")):
        scores = pool.uncertainty_scores(p, method=method)
        expected = 12 + np.argsort(-scores, kind="stable")[:6]
        assert propose(X, np.arange(12), y[:12], 6, strategy=strategy).tolist() == expected.tolist()
