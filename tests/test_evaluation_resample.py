"""The bootstrap, the sign-flip test and Holm's correction, against loops and scipy."""

import itertools

import numpy as np
import pytest

from cbirkit.evaluation.resample import bootstrap_means, draw_counts, holm, interval, sign_flip_test
from cbirkit.ranking import codes


def test_sign_flip_test_against_all_patterns():
    rng = np.random.RandomState(0)
    differences = rng.randn(8) + 0.4
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product([1, -1], repeat=8)]
    exact = np.mean(np.array(sums) >= abs(differences.sum()) - 1e-12)
    assert sign_flip_test(differences, np.arange(8)) == pytest.approx(exact)
    drawn = sign_flip_test(
        differences, np.arange(8), n_draws=255, random_state=0
    )  # too few for all 256 patterns
    assert drawn != exact and drawn == pytest.approx(exact, abs=0.08)


def test_sign_flip_test_is_uniform_where_nothing_differs():
    rng = np.random.RandomState(0)
    p_values = [sign_flip_test(rng.randn(30), np.arange(30), 400, rng) for _ in range(200)]
    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.09 and 0.42 < np.mean(p_values) < 0.58


def test_sign_flip_test_agrees_with_scipy():
    from scipy.stats import permutation_test

    differences = np.random.RandomState(1).randn(10) + 0.3
    theirs = permutation_test(
        (differences, np.zeros(10)), lambda a, b: np.mean(a - b), permutation_type="samples"
    )
    assert sign_flip_test(differences, np.arange(10)) == pytest.approx(theirs.pvalue)


def test_bootstrap_agrees_with_scipy_and_with_a_loop():
    from scipy.stats import bootstrap

    values = np.random.RandomState(0).rand(80) ** 2
    low, high = interval(bootstrap_means(values[:, None], np.arange(80), 9999, 0)[:, 0])
    theirs = bootstrap(
        (values,), np.mean, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=4e-3)
    codes = np.repeat(np.arange(5), 16)
    (counts,) = draw_counts(5, 7, 3)
    loop = [
        np.mean(np.concatenate([values[codes == g] for g in range(5) for _ in range(int(row[g]))]))
        for row in counts
    ]
    assert bootstrap_means(values[:, None], codes, 7, 3)[:, 0] == pytest.approx(loop)


def test_draws_come_in_blocks_of_n(monkeypatch):
    monkeypatch.setattr(codes, "_BLOCK", 30)
    blocks = list(draw_counts(10, 8, 0))
    assert [len(counts) for counts in blocks] == [3, 3, 2]
    assert all((counts.sum(axis=1) == 10).all() for counts in blocks)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1, 1]
