"""The exact indexes against naive loops: distances, order, ties, extremes."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_oracles import make, naive_distances, naive_neighbours, vectors
from sklearn.neighbors import NearestNeighbors

from cbirkit.indexes import HNSW, IVF, IVFPQ, Annoy, Exact, Hamming

FLOAT = [Exact, Annoy, HNSW, IVF, IVFPQ]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("d", [1, 2, 7, 8, 33])
def test_exact_agrees_with_naive_loops(metric, d):
    X, Q = vectors(50, d, 1), vectors(9, d, 2)
    distances, keys = Exact(metric).fit(X).kneighbors(Q, 50)
    truth = naive_distances(X, Q, metric)
    assert distances.dtype == np.float32 and keys.dtype == np.int64
    assert (np.sort(keys, axis=1) == np.arange(50)).all()
    assert (np.diff(distances, axis=1) >= 0).all()
    np.testing.assert_allclose(
        distances, np.take_along_axis(truth, keys, axis=1), rtol=1e-6, atol=2e-7
    )


@given(data=st.data(), k=st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_exact_euclidean_ties_go_to_the_smaller_key(data, k):
    n = data.draw(st.integers(k, 40))
    points = st.tuples(st.integers(-2, 2), st.integers(-2, 2))
    X = np.array(data.draw(st.lists(points, min_size=n, max_size=n)), float)
    Q = np.array(data.draw(st.lists(points, min_size=1, max_size=5)), float)
    distances, keys = Exact("euclidean").fit(X).kneighbors(Q, k)
    for q, row_d, row_k in zip(Q, distances, keys, strict=True):
        assert list(zip(row_d, row_k, strict=True)) == naive_neighbours(
            dict(enumerate(X)), q, k, "euclidean"
        )


@given(
    data=st.data(),
    k=st.integers(1, 12),
    n_bytes=st.sampled_from([1, 3, 8, 9]),
)
@settings(max_examples=60, deadline=None)
def test_hamming_agrees_with_naive_loops_and_ties_go_to_the_smaller_key(data, k, n_bytes):
    n = data.draw(st.integers(k, 40))
    X = np.frombuffer(
        data.draw(st.binary(min_size=n * n_bytes, max_size=n * n_bytes)), np.uint8
    ).reshape(n, -1)
    Q = np.frombuffer(
        data.draw(st.binary(min_size=3 * n_bytes, max_size=3 * n_bytes)), np.uint8
    ).reshape(3, -1)
    distances, keys = Hamming().fit(X).kneighbors(Q, k)
    assert distances.dtype == np.float32
    for q, row_d, row_k in zip(Q, distances, keys, strict=True):
        assert list(zip(row_d, row_k, strict=True)) == naive_neighbours(
            dict(enumerate(X)), q, k, "hamming"
        )


def test_hamming_of_all_bits_of_long_codes():
    X = np.vstack(
        [np.zeros(9000, np.uint8), np.full(9000, 255, np.uint8)]
    )  # more than 16 bits count to
    distances, keys = Hamming().fit(X).kneighbors(X[:1], 2)
    assert distances.tolist() == [[0, 72000]] and keys.tolist() == [[0, 1]]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_exact_in_small_blocks_gives_the_same(metric, monkeypatch):
    X, Q = vectors(5000, 8, 3), vectors(70, 8, 4)
    X[2000:2500] = X[:500]  # duplicates in other blocks
    distances, keys = Exact(metric).fit(X).kneighbors(Q, 20)
    monkeypatch.setattr("cbirkit.indexes.exact._N_SCORES", 1)
    for n_queries, width in ((1, 7), (50, 100), (70, 1000)):
        monkeypatch.setattr(Exact, "_queries_at_once", n_queries)
        monkeypatch.setattr(Exact, "_width", width)
        found = Exact(metric).fit(X).kneighbors(Q, 20)
        assert np.array_equal(found[0], distances) and np.array_equal(found[1], keys)


def test_exact_euclidean_far_from_the_origin_loses_nothing_to_cancellation():
    X = (1000 + vectors(300, 16, 5)).astype(np.float32)
    distances, keys = Exact("euclidean").fit(X).kneighbors(X[:20], 10)
    truth = naive_distances(X, X[:20], "euclidean")
    np.testing.assert_allclose(distances, np.sort(truth, axis=1)[:, :10], rtol=1e-6)
    np.testing.assert_array_equal(keys, np.argsort(truth, axis=1, kind="stable")[:, :10])
    assert (distances[:, 0] == 0).all()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1, 1e6, 1e15])
def test_exact_at_any_scale(metric, scale):
    X = (vectors(40, 8, 6) * scale).astype(np.float32)
    distances, keys = Exact(metric).fit(X).kneighbors(X, 5)
    truth = naive_distances(X, X, metric)
    np.testing.assert_array_equal(keys, np.argsort(truth, axis=1)[:, :5])
    np.testing.assert_allclose(
        distances[:, 1:],
        np.sort(truth, axis=1)[:, 1:5],
        rtol=1e-5,
        atol=1e-7 * (metric == "cosine"),
    )
    assert (distances[:, 0] == 0).all()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_exact_agrees_with_scikit_learn(metric):
    X, Q = vectors(400, 16, 7), vectors(30, 16, 8)
    peer = NearestNeighbors(metric=metric, algorithm="brute").fit(X.astype(float))
    for queries in (Q, None):
        expected = peer.kneighbors(None if queries is None else queries.astype(float), 12)
        distances, keys = Exact(metric).fit(X).kneighbors(queries, 12)
        np.testing.assert_array_equal(keys, expected[1])
        np.testing.assert_allclose(distances, expected[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", FLOAT)
def test_cosine_lies_in_0_to_2(kind):
    X = vectors(30, 5, 9)
    index = make(kind).fit(np.vstack([X, -X, 7 * X]))
    distances, keys = index.kneighbors(X, 90)
    assert distances.min() >= 0 and distances.max() <= 2
    np.testing.assert_allclose(distances[:, -1], 2, atol=1e-6)
    assert (np.sort(keys[:, :2], axis=1) == np.arange(30)[:, None] + [0, 60]).all()


@pytest.mark.parametrize("kind", FLOAT)
@pytest.mark.parametrize("n", [10, 700])
def test_zero_vectors_are_at_cosine_distance_1_from_all(kind, n):
    X = np.abs(vectors(n, 6, 10))  # all other distances are below 1
    X[[3, 7]] = 0
    index = make(kind).fit(X)
    distances, keys = index.kneighbors(X[:3], n)
    assert (
        {3, 7} == set(keys[0, -2:])
        and (distances[:, -2:] == 1).all()
        and distances[:, -3].max() < 1
    )
    assert (index.kneighbors(X[3:4], n)[0] == 1).all()
    if kind is IVFPQ:
        distances, keys = make(kind, rerank=0).fit(X).kneighbors(X[:3], n)
        assert all({3, 7} == set(row) for row in keys[:, -2:])
        assert (index.kneighbors(X[3:4], n)[0] == 1).all()


def test_search_memory_is_bounded():
    X = vectors(30_000, 32, 13)
    index = Exact("euclidean").fit(X)
    tracemalloc.start()
    try:
        index.kneighbors(X[:5000], 10)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40e6  # all distances at once would be 600 MB
