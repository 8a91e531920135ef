"""Alignment and uniformity against loops over pairs, at their bounds, and refusing what makes no sense."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbirkit.metrics import alignment, uniformity


def by_pairs(rows, labels, alpha, t):
    """Both numbers by loops, each as the paper defines it."""
    rows = [row / (np.linalg.norm(row) or 1) for row in np.asarray(rows, float)]
    together, potentials = [], []
    for i, first in enumerate(rows):
        for j, second in enumerate(rows):
            if i == j:
                continue
            distance = math.dist(first, second)
            potentials.append(math.exp(-t * distance**2))
            if labels[i] == labels[j]:
                together.append(distance**alpha)
    return np.mean(together) if together else math.nan, math.log(np.mean(potentials))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(2, 25),
    st.integers(1, 6),
    st.floats(0.5, 3),
    st.floats(0.5, 4),
)
def test_as_loops_over_pairs(seed, n, n_dims, alpha, t):
    random = np.random.RandomState(seed)
    rows, labels = random.normal(size=(n, n_dims)), random.randint(0, 4, n)
    expected = by_pairs(rows, labels, alpha, t)
    assert alignment(rows, labels, alpha) == pytest.approx(
        expected[0], rel=1e-6, abs=1e-6, nan_ok=True
    )
    assert uniformity(rows, t) == pytest.approx(expected[1], rel=1e-6, abs=1e-6)


def test_order_and_length_do_not_matter():
    random = np.random.RandomState(1)
    rows, labels = random.normal(size=(30, 5)), random.randint(0, 3, 30)
    order = random.permutation(30)
    longer = rows[order] * random.uniform(0.1, 9, (30, 1))
    assert alignment(longer, labels[order]) == pytest.approx(alignment(rows, labels))
    assert uniformity(longer) == pytest.approx(uniformity(rows))


def test_bounds():
    same = np.ones((6, 3))
    assert (
        alignment(same, list("aabbcc")) == 0 and uniformity(same) == 0
    )  # collapsed: aligned, and useless
    assert alignment([[1, 0], [-1, 0]], ["a", "a"]) == 4  # opposite
    assert uniformity(np.eye(8)) == pytest.approx(-4)
    spread = np.random.RandomState(0).normal(size=(500, 64))
    assert -4.1 < uniformity(spread) < -3.7


def test_without_a_pair_there_is_no_number():
    assert math.isnan(alignment([[1, 0], [0, 1]], ["a", "b"]))
    assert math.isnan(uniformity([[1, 0]]))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: alignment([[1, 0]], ["a", "b"]), "2 labels for 1 embeddings"),
        (lambda: alignment([[1, 0]], ["a"], 0), "alpha must be a number > 0"),
        (lambda: uniformity([[1, 0]], -1), "t must be a number > 0"),
        (lambda: uniformity(np.zeros((0, 3))), "0 sample"),
        (lambda: uniformity([1, 2]), "2D array"),
    ],
)
def test_errors(call, words):
    with pytest.raises(ValueError, match=words):
        call()
