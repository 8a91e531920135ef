"""`rerank.k_reciprocal` against a loop over sets, by hand, and with bad input."""

import numpy as np
import pytest
from sklearn.preprocessing import normalize

from cbirkit.rerank import k_reciprocal

RNG = np.random.default_rng(3)


def by_sets(queries, database, k1, k2, weight):
    """The definition, one pair of images at a time."""
    queries, database = normalize(queries), normalize(database)
    n = len(database)

    def distance(a, b):
        return max(1 - float(a @ b), 0)

    def nearest(vector, k, own=None):
        order = sorted(range(n), key=lambda j: (j != own) * (distance(vector, database[j]) + 1e-15))
        return order[: k + (own is not None)]

    def reach(j, k):
        return max(distance(database[j], database[i]) for i in nearest(database[j], k, j)) + 1e-12

    def mutual(vector, k, own=None):
        return {
            j
            for j in nearest(vector, k, own)
            if j == own or distance(vector, database[j]) <= reach(j, k)
        }

    def described(vector, own=None):
        first = mutual(vector, k1, own)
        whole = set(first)
        for j in first:
            half = mutual(database[j], max(round(k1 / 2), 1), j)
            if len(half & first) >= 2 / 3 * len(half):
                whole |= half
        row = np.zeros(n)
        for j in whole:
            row[j] = np.exp(-(0 if j == own else distance(vector, database[j])))
        return row / max(row.sum(), 1e-12)

    items = [described(vector, j) for j, vector in enumerate(database)]
    averaged = [
        np.mean([items[i] for i in nearest(vector, k2 - 1, j)], axis=0)
        for j, vector in enumerate(database)
    ]
    out = np.zeros((len(queries), n))
    for a, vector in enumerate(queries):
        row = np.mean([described(vector)] + [items[i] for i in nearest(vector, k2 - 1)], axis=0)
        for b in range(n):
            jaccard = 1 - np.minimum(row, averaged[b]).sum() / np.maximum(row, averaged[b]).sum()
            out[a, b] = weight * distance(vector, database[b]) + (1 - weight) * jaccard
    return out


@pytest.mark.parametrize(
    ("n", "k1", "k2", "weight"),
    [
        (12, 4, 1, 0.0),
        (20, 6, 3, 0.3),
        (15, 1, 2, 0.5),
        (9, 30, 4, 0.1),
        (8, 3, 20, 0.3),
        (1, 2, 2, 0.3),
    ],
)
def test_it_agrees_with_the_definition(n, k1, k2, weight):
    centres = RNG.normal(size=(3, 5))
    database = centres[RNG.integers(0, 3, n)] + 0.4 * RNG.normal(size=(n, 5))
    queries = centres + 0.4 * RNG.normal(size=(3, 5))
    found = k_reciprocal(queries, database, k1=k1, k2=k2, weight=weight)
    assert np.allclose(found, by_sets(queries, database, k1, k2, weight), atol=1e-9)


def test_the_plain_distance_alone_with_weight_1():
    X, Q = RNG.normal(size=(10, 4)), RNG.normal(size=(2, 4))
    plain = 1 - normalize(Q) @ normalize(X).T
    assert np.allclose(k_reciprocal(Q, X, weight=1), plain)


def test_queries_do_not_see_one_another_and_the_order_of_the_database_does_not_matter():
    X, Q = RNG.normal(size=(30, 4)), RNG.normal(size=(4, 4))
    together = k_reciprocal(Q, X, k1=6)
    assert np.allclose(together[2:3], k_reciprocal(Q[2:3], X, k1=6))
    order = RNG.permutation(30)
    assert np.allclose(together[:, order], k_reciprocal(Q, X[order], k1=6))


def test_a_neighbour_that_does_not_answer_falls_behind():
    angles = np.deg2rad([20, 25, 30, -18, -30, -28])
    database = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    query = np.array([[1.0, 0.0]])
    assert (1 - query @ database.T).argmin() == 3
    found = k_reciprocal(query, database, k1=2, k2=1, weight=0)
    assert set(found[0].argsort(kind="stable")[:1]) == {0}


def test_copies_and_zeros_are_ranked_without_nan():
    X = np.vstack([np.ones((5, 3)), np.zeros((1, 3)), np.eye(3)])
    assert np.isfinite(k_reciprocal(np.ones((1, 3)), X, k1=2)).all()


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"k1": 0}, "k1"),
        ({"k2": 0}, "k2"),
        ({"weight": 1.2}, "weight"),
        ({"weight": -0.1}, "weight"),
    ],
)
def test_bad_parameters_are_refused(kwargs, words):
    with pytest.raises(ValueError, match=words):
        k_reciprocal(np.eye(3), np.eye(3), **kwargs)


def test_bad_vectors_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        k_reciprocal([[np.nan, 1]], np.eye(2))
    with pytest.raises(ValueError, match="dimension"):
        k_reciprocal(np.eye(3), np.eye(2))
