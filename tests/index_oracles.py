"""What the tests of the indexes share: naive loops, and indexes that build the same each time."""

import numpy as np
import pytest

from cbirkit.indexes import HNSW, IVF, IVFPQ, Annoy


def make(kind, *args, **params):
    """Return an index, or skip the test where its library is missing."""
    if kind is Annoy:
        pytest.importorskip("annoy")
    if kind in (HNSW, IVF, IVFPQ):
        # one thread: the same graph each time, and no waiting for threads on a busy machine
        pytest.importorskip("faiss").omp_set_num_threads(1)
    return kind(*args, **params)


def vectors(n=60, d=8, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def naive_distance(a, b, metric):
    a, b = [float(x) for x in a], [float(x) for x in b]
    if metric == "hamming":
        return sum((int(x) ^ int(y)).bit_count() for x, y in zip(a, b, strict=True))
    if metric == "euclidean":
        return sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5
    lengths = sum(x * x for x in a) ** 0.5 * sum(y * y for y in b) ** 0.5
    return 1 - sum(x * y for x, y in zip(a, b, strict=True)) / lengths if lengths else 1.0


def naive_neighbours(items, query, k, metric):
    """Return the k nearest (distance, key) of a dict {key: vector}; ties by key."""
    return sorted(
        (np.float32(naive_distance(query, item, metric)), key) for key, item in items.items()
    )[:k]


def naive_distances(X, Q, metric):
    return np.array([[naive_distance(q, x, metric) for x in X] for q in Q])
