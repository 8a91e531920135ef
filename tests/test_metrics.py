"""Metrics: golden values, naive loops, properties, bad input."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbirkit import metrics
from cbirkit.metrics import average_precision, average_precision_at_k, expected_average_precision

ranked = st.lists(st.booleans(), min_size=1, max_size=12)


# ---------------------------------------------------------------- golden values of shared definitions
def test_average_precision_golden():
    relevant = np.isin(np.arange(1, 9), [2, 4, 8])
    assert average_precision(relevant) == pytest.approx(0.458333, abs=5e-7)
    assert average_precision(relevant, estimator="trapezoid") == pytest.approx(0.332341, abs=5e-7)


@pytest.mark.parametrize(
    ("normalize", "value"), [("hits", 0.75), ("min(k, R)", 0.15), ("R", 0.075)]
)
def test_average_precision_at_k_golden(normalize, value):
    relevant = np.isin(np.arange(1, 11), [1, 4])
    assert average_precision_at_k(relevant, 10, 20, normalize) == pytest.approx(value, abs=1e-12)


def test_dividing_by_hits_rewards_finding_less():
    less, more = [1, 0, 0, 0], [1, 1, 0, 1]
    assert average_precision_at_k(less, 4, 4, "hits") == 1
    assert average_precision_at_k(more, 4, 4, "hits") == pytest.approx(0.916667, abs=1e-6)
    assert average_precision_at_k(less, 4, 4) < average_precision_at_k(more, 4, 4)


def test_map_at_r_golden():
    relevant = [1, 0, 1, 1, 0, 0, 1]
    assert metrics.map_at_r(relevant, 4) == pytest.approx(0.604167, abs=5e-7)
    assert metrics.r_precision(relevant, 4) == 0.75


def test_ndcg_golden():
    gains = [3, 2, 0, 1, 2]
    assert metrics.ndcg_at_k(gains) == pytest.approx(0.968638, abs=5e-7)
    assert metrics.ndcg_at_k(gains, gain="linear") == pytest.approx(0.960247, abs=5e-7)


TIES = [
    ([(2, 1), (3, 1), (4, 2)], (0.552927, 0.429861, 0.684524)),
    ([(1, 0), (3, 2), (3, 1)], (0.503175, 0.420635, 0.588889)),
    ([(8, 3)], (0.528380, 0.275794, 1.0)),
]


def tied(blocks):
    distances = np.repeat(np.arange(len(blocks)), [size for size, _ in blocks])
    relevant = np.concatenate([np.arange(size) < found for size, found in blocks])
    return distances, relevant


@pytest.mark.parametrize(("blocks", "golden"), TIES)
def test_expected_average_precision_golden(blocks, golden):
    assert expected_average_precision(*tied(blocks)) == pytest.approx(golden, abs=5e-7)


# ---------------------------------------------------------------- naive loops
def naive_average_precision(relevant, n_positives, estimator="step"):
    if n_positives == 0:
        return math.nan
    total, hits = 0.0, 0
    for rank, hit in enumerate(relevant, start=1):
        if hit:
            before = 1.0 if rank == 1 else hits / (rank - 1)
            hits += 1
            after = hits / rank
            total += after if estimator == "step" else (before + after) / 2
    return total / n_positives


def same(value, expected):
    return value == pytest.approx(expected, abs=1e-12, nan_ok=True)


@settings(max_examples=150, deadline=None)
@given(ranked, st.integers(0, 5), st.integers(1, 15))
def test_all_metrics_against_loops(relevant, unseen, k):
    positives = sum(relevant) + unseen
    first = relevant[:k]
    nan = math.nan if positives == 0 else None
    for estimator in ("step", "trapezoid"):
        expected = naive_average_precision(relevant, positives, estimator)
        assert same(average_precision(relevant, positives, estimator), expected)
    total = naive_average_precision(first, 1)
    for name, divisor in (
        ("min(k, R)", min(k, positives)),
        ("R", positives),
        ("hits", max(1, sum(first))),
    ):
        expected = total / divisor if positives else math.nan
        assert same(average_precision_at_k(relevant, k, positives, name), expected)
    assert same(metrics.precision_at_k(relevant, k, positives), nan or sum(first) / k)
    assert same(
        metrics.recall_at_k(relevant, k, positives),
        nan or (sum(first) / positives if positives else 0),
    )
    assert same(metrics.hit_rate_at_k(relevant, k, positives), nan or float(any(first)))
    expected = naive_average_precision(relevant[:positives], positives)
    assert same(metrics.map_at_r(relevant, positives), expected)
    expected = nan or (sum(relevant[:positives]) / positives if positives else 0)
    assert same(metrics.r_precision(relevant, positives), expected)
    expected = nan or (relevant.index(True) + 1 if any(relevant) else math.inf)
    assert same(metrics.first_positive_rank(relevant, positives), expected)
    assert metrics.ukbench_score(relevant) == sum(relevant[:4])


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=9),
    st.integers(1, 10),
    st.sampled_from(["exponential", "linear"]),
)
def test_ndcg_against_a_loop(gains, k, gain):
    def dcg(values):
        take = (lambda g: 2**g - 1) if gain == "exponential" else float
        return sum(take(g) / math.log2(rank + 1) for rank, g in enumerate(values[:k], start=1))

    best = dcg(sorted(gains, reverse=True))
    assert same(metrics.dcg_at_k(gains, k, gain=gain), dcg(gains))
    assert same(metrics.ndcg_at_k(gains, k, gain=gain), dcg(gains) / best if best else math.nan)
    assert same(
        metrics.ndcg_at_k(gains[:1], k, gains, gain), dcg(gains[:1]) / best if best else math.nan
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6), st.integers(0, 2)
)
def test_expected_average_precision_is_the_mean_over_all_orders_within_ties(items, unseen):
    items = sorted(items, key=lambda item: item[0])
    positives = sum(hit for _, hit in items) + unseen
    groups = [
        [hit for d, hit in items if d == distance] for distance in sorted({d for d, _ in items})
    ]
    orders = itertools.product(*(list(itertools.permutations(group)) for group in groups))
    values = [
        naive_average_precision([hit for part in order for hit in part], positives)
        for order in orders
    ]
    found = expected_average_precision([d for d, _ in items], [hit for _, hit in items], positives)
    assert found == pytest.approx(
        (np.mean(values), min(values), max(values)), abs=1e-12, nan_ok=True
    )


def test_expected_average_precision_is_the_mean_over_many_shuffles():
    rng = np.random.RandomState(0)
    distances = np.sort(rng.randint(0, 9, 60))  # as short Hamming codes tie
    relevant = rng.rand(60) < 0.2
    keys = np.argsort(distances + rng.rand(20_000, 60) * 0.5, axis=1)  # shuffled within ties only
    values = average_precision(relevant[keys])
    expected, worst, best = expected_average_precision(distances, relevant)
    assert abs(values.mean() - expected) < 4 * values.std() / np.sqrt(len(values))
    assert worst <= values.min() < values.max() <= best


# ---------------------------------------------------------------- properties
@settings(max_examples=60, deadline=None)
@given(ranked, ranked)
def test_rows_are_independent_and_leading_axes_kept(first, second):
    k = min(len(first), len(second))
    stack = np.array([[first[:k], second[:k]]])  # (1, 2, k)
    functions = [
        average_precision,
        metrics.map_at_r,
        metrics.r_precision,
        metrics.first_positive_rank,
        metrics.ukbench_score,
        metrics.ndcg_at_k,
        *(
            lambda r, f=f: f(r, 3)
            for f in (average_precision_at_k, metrics.precision_at_k, metrics.recall_at_k)
        ),
        lambda r: metrics.hit_rate_at_k(r, 3),
        lambda r: expected_average_precision(np.broadcast_to(np.arange(k) // 3, np.shape(r)), r)[0],
    ]
    for function in functions:
        values = function(stack)
        assert values.shape == (1, 2)
        assert values[0] == pytest.approx([function(first[:k]), function(second[:k])], nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(ranked, st.data())
def test_a_better_order_never_scores_lower(relevant, data):
    swap = data.draw(st.integers(0, len(relevant) - 1))
    better = relevant.copy()
    if swap and better[swap] and not better[swap - 1]:
        better[swap - 1], better[swap] = True, False
    for function in (average_precision, metrics.map_at_r, metrics.r_precision, metrics.ndcg_at_k):
        low, high = function(relevant), function(better)
        assert (math.isnan(low) and math.isnan(high)) or high >= low - 1e-12


@settings(max_examples=40, deadline=None)
@given(ranked)
def test_without_ties_expected_is_average_precision(relevant):
    expected, worst, best = expected_average_precision(np.arange(len(relevant)), relevant)
    value = average_precision(relevant)
    assert same(expected, value) and same(worst, value) and same(best, value)


@settings(max_examples=40, deadline=None)
@given(ranked, st.randoms(use_true_random=False))
def test_expected_does_not_depend_on_the_order_within_ties(relevant, random):
    shuffled = relevant.copy()
    random.shuffle(shuffled)
    one = expected_average_precision(np.zeros(len(relevant)), relevant)
    assert same(list(one), list(expected_average_precision(np.zeros(len(relevant)), shuffled)))


def test_empty_and_perfect():
    assert math.isnan(average_precision([]))
    assert average_precision([], 3) == 0
    assert average_precision(np.empty((2, 0)), [0, 1]).tolist() == pytest.approx(
        [math.nan, 0], nan_ok=True
    )
    assert average_precision(np.empty((0, 5))).shape == (0,)
    assert expected_average_precision([], [], 2) == (0, 0, 0)
    assert average_precision([1, 1, 1]) == average_precision([1, 1, 1], estimator="trapezoid") == 1
    assert metrics.precision_at_k([1, 1], 4) == 0.5  # never divided by min(k, n)
    assert metrics.precision_at_k([0, 0], 2) == 0
    assert metrics.precision_at_k([1, 0, 0, 0], 4, 1, "last positive") == 1
    assert (
        metrics.precision_at_k([1, 0, 0, 0], 4, 2, "last positive") == 0.25
    )  # the other one is further down
    assert math.isnan(metrics.precision_at_k([0, 0], 2, 0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: average_precision([0, 2]), "not of 0 and 1"),
        (lambda: average_precision([0, np.nan]), "not of 0 and 1"),
        (lambda: average_precision(1), "single value"),
        (lambda: average_precision([1, 1], 1), "2 relevant items, n_positives says 1"),
        (lambda: average_precision([1, 1], [2, 2]), "a whole number each"),
        (lambda: average_precision([1, 1], 2.5), "a whole number each"),
        (lambda: average_precision([1], estimator="area"), "'area' is unknown"),
        (lambda: average_precision_at_k([1], 1, normalize="k"), "'k' is unknown"),
        (lambda: metrics.precision_at_k([1], 0), "k=0 is not a cut-off"),
        (lambda: metrics.precision_at_k([1], 1, normalize="n"), "'n' is unknown"),
        (lambda: metrics.recall_at_k([1], 1.5), "k=1.5 is not a cut-off"),
        (lambda: metrics.ndcg_at_k([1, -1]), "finite and >= 0"),
        (lambda: metrics.ndcg_at_k([1, np.nan]), "finite and >= 0"),
        (lambda: metrics.ndcg_at_k([2, 2], ideal=[1]), "beat the ideal"),
        (lambda: metrics.ndcg_at_k([1], gain="cubic"), "'cubic' is unknown"),
        (lambda: expected_average_precision([0, 1], [1]), r"\(2,\).*\(1,\)"),
        (lambda: expected_average_precision([1, 0], [1, 0]), "ascend"),
        (lambda: expected_average_precision([1, np.nan], [1, 0]), "ascend"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_nearly_equal_and_huge_embeddings_keep_their_geometry():
    rows = 1 + 1e-9 * np.random.RandomState(0).randn(30, 8)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    gaps = [
        np.square(a - b).sum() for i, a in enumerate(unit) for j, b in enumerate(unit) if i != j
    ]
    assert metrics.alignment(rows, [0] * 30) == pytest.approx(np.mean(gaps), rel=1e-3)
    wide = np.random.RandomState(0).randn(30, 8)
    assert metrics.uniformity(1e200 * wide) == pytest.approx(metrics.uniformity(wide))
    with pytest.raises(ValueError, match="NaN"):
        metrics.uniformity([[np.nan, 1], [1, 1]])
