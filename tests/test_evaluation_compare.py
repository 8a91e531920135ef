"""`compare`, and the resampling it stands on."""

import itertools

import numpy as np
import pytest

from cbirkit import Ranking, Relevance, compare, evaluate
from cbirkit.evaluation.resample import bootstrap_means, draw_counts, holm, interval, sign_flip_test


def systems(n_queries=40, strengths=(0.0, 0.0, 1.5), seed=0):
    """Rankings of one set of queries; a larger strength is a better system."""
    rng = np.random.RandomState(seed)
    queries, database = [f"q{i}" for i in range(n_queries)], [f"d{i}" for i in range(30)]
    labels, database_labels = rng.randint(0, 3, n_queries), rng.randint(0, 3, 30)
    same = labels[:, None] == database_labels
    rankings = {
        f"s{n}": Ranking.from_distances(
            rng.randn(n_queries, 30) - strength * same, queries, database
        )
        for n, strength in enumerate(strengths)
    }
    return rankings, Relevance.from_labels(queries, database, labels, database_labels)


def test_a_better_system_is_found_and_equal_ones_are_not():
    rankings, relevance = systems(seed=1)
    result = compare(rankings, relevance, n_draws=2000)
    assert result.summary.index[0] == "s2" and result.metric == "map"
    for name, ranking in rankings.items():
        assert result.summary.loc[name, "mean"] == pytest.approx(
            evaluate(ranking, relevance)["map"]
        )
    pairs = result.pairs.set_index(result.pairs.a + ">" + result.pairs.b)
    assert (pairs.difference >= 0).all() and (pairs.p_holm >= pairs.p).all()
    equal = pairs[~pairs.index.str.startswith("s2")].iloc[0]
    assert equal.p > 0.05 and equal.low < 0 < equal.high
    better = pairs[pairs.index.str.startswith("s2")]
    assert (
        (better.p_holm < 0.01).all()
        and (better.low > 0).all()
        and (better.a_better > better.b_better).all()
    )
    assert (pairs.a_better + pairs.b_better + pairs.equal == 40).all()
    assert "p_holm corrects for 3 pairs" in result.protocol and "40 scored" in result.protocol


def test_a_ranking_against_itself():
    rankings, relevance = systems(strengths=(1.0,))
    row = compare(
        {"one": rankings["s0"], "two": rankings["s0"]}, relevance, n_draws=200
    ).pairs.iloc[0]
    assert (row.difference, row.low, row.high, row.p, row.p_holm, row.equal) == (0, 0, 0, 1, 1, 40)


def test_queries_in_another_order_are_matched_by_id():
    rankings, relevance = systems(strengths=(0.0, 0.5))
    rows = np.random.RandomState(0).permutation(40)
    moved = {"s0": rankings["s0"], "s1": rankings["s1"].select(rows)}
    one, other = (compare(r, relevance, n_draws=300) for r in (rankings, moved))
    assert one.pairs.equals(other.pairs) and one.per_query.equals(other.per_query)


def test_paired_intervals_are_narrower_than_those_of_each_system():
    """Queries differ in difficulty, which cancels in the difference on the same queries."""
    rng = np.random.RandomState(0)
    hard = rng.rand(60, 1) * 3
    queries, database = [f"q{i}" for i in range(60)], [f"d{i}" for i in range(20)]
    labels = np.arange(20) % 2
    noise = rng.randn(60, 20)
    rankings = {
        name: Ranking.from_distances(
            noise + 0.05 * rng.randn(60, 20) - hard * labels, queries, database
        )
        for name in "ab"
    }
    relevance = Relevance.from_labels(queries, database, [1] * 60, labels)
    result = compare(rankings, relevance, n_draws=500)
    widths = result.summary.high - result.summary.low
    assert result.pairs.high[0] - result.pairs.low[0] < 0.5 * widths.min()


def test_groups_change_sign_together():
    rankings, relevance = systems(n_queries=12, strengths=(0.0, 3.0))
    groups = ["a"] * 6 + ["b"] * 6
    alone, grouped = (
        compare(rankings, relevance, groups=g, n_draws=5000).pairs.p[0] for g in (None, groups)
    )
    assert alone < 0.01 and grouped == 0.5  # two groups: 2 of the 4 patterns are as extreme


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: {"s0": r["s0"]}, "at least two systems"),
        (lambda r: list(r.values()), "at least two systems"),
        (
            lambda r: {"s0": r["s0"], "s1": r["s1"].select(slice(30))},
            "do not rank the same queries: 'q3",
        ),
        (
            lambda r: {"s0": r["s0"], "s1": r["s1"].top(5)},
            r"deeper ranking \(s0: 30 ranks, s1: 5 ranks\).*top\(5\)",
        ),
    ],
)
def test_bad_comparisons(change, message):
    rankings, relevance = systems(strengths=(0.0, 0.5))
    with pytest.raises(ValueError, match=message):
        compare(change(rankings), relevance, n_draws=10)


@pytest.mark.filterwarnings("ignore:.*computed over the first 1 of 30")
def test_infinite_ranks_are_refused_and_cut_rankings_are_told():
    rankings, relevance = systems(strengths=(0.0, 0.5))
    cut = {name: ranking.top(1) for name, ranking in rankings.items()}
    with (
        pytest.warns(UserWarning, match="first_rank of s0"),
        pytest.raises(ValueError, match="infinite for a query"),
    ):
        compare(cut, relevance, metric="first_rank", n_draws=10)
    with pytest.warns(UserWarning, match="map of s1: computed over the first 1 of 30"):
        result = compare(cut, relevance, n_draws=10)
    assert "s1: computed over the first 1 of 30" in result.protocol


def test_skipped_queries_are_left_out_of_both():
    relevance = Relevance.from_sets(["p", "q"], ["a", "b"], [["a"], []])
    rankings = {
        name: Ranking(["p", "q"], ["a", "b"], [order, order], [[0, 1]] * 2)
        for name, order in [("x", [0, 1]), ("y", [1, 0])]
    }
    result = compare(rankings, relevance, n_draws=50)
    assert result.summary.n_scored.tolist() == [1, 1] and result.summary.n_skipped.tolist() == [
        1,
        1,
    ]
    assert result.pairs.difference[0] == 0.5 and result.per_query.loc["q"].isna().all()


def test_repr_and_html_are_escaped():
    rankings, relevance = systems(strengths=(0.0, 0.5))
    result = compare({"<b>one": rankings["s0"], "two": rankings["s1"]}, relevance, n_draws=20)
    assert "<b>one" in repr(result) and "sign-flip" in repr(result)
    assert "<b>" not in result._repr_html_() and "&lt;b&gt;one" in result._repr_html_()


# ---------------------------------------------------------------- resampling
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
    ((_, counts),) = draw_counts(5, 7, 3)
    loop = [
        np.mean(np.concatenate([values[codes == g] for g in range(5) for _ in range(int(row[g]))]))
        for row in counts
    ]
    assert bootstrap_means(values[:, None], codes, 7, 3)[:, 0] == pytest.approx(loop)


def test_draws_come_in_blocks_of_n(monkeypatch):
    from cbirkit.evaluation import resample

    monkeypatch.setattr(resample, "_BLOCK", 30)
    blocks = list(draw_counts(10, 8, 0))
    assert [rows for rows, _ in blocks] == [slice(0, 3), slice(3, 6), slice(6, 8)]
    assert all((counts.sum(axis=1) == 10).all() for _, counts in blocks)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1, 1]
