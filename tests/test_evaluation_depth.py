"""`evaluate`: rankings that end early, and the intervals."""

import warnings

import numpy as np
import pandas as pd
import pytest

from cbirkit import Ranking, Relevance, evaluate
from cbirkit.evaluation import DEFAULT


def case(n_queries=12, n_database=30, n_labels=4, seed=0, k=None):
    rng = np.random.RandomState(seed)
    queries, database = [f"q{i}" for i in range(n_queries)], [f"d{i}" for i in range(n_database)]
    ranking = Ranking.from_distances(rng.rand(n_queries, n_database), queries, database, k=k)
    labels = rng.randint(0, n_labels, n_queries), rng.randint(0, n_labels, n_database)
    return ranking, Relevance.from_labels(queries, database, *labels)


def test_a_cut_ranking_is_never_silent():
    ranking, relevance = case(k=5)
    with pytest.warns(
        UserWarning,
        match="^map, trapezoid_map: .*first 5 of 30 database items for 12 of 12 queries",
    ) as caught:
        result = evaluate(ranking, relevance, metrics=["map", "trapezoid_map", "p@5"])
    assert len(caught) == 1 and str(caught[0].message).startswith("map, trapezoid_map: computed")
    assert "[computed over the first 5 of 30 database items" in result.protocol.split("\n")[0]
    assert "[computed" not in result.protocol.split("\n")[2]
    full = evaluate(case()[0], relevance, metrics=["map@5/R", "p@5"])
    assert result["map"] == pytest.approx(full["map@5/R"]) and result["p@5"] == full["p@5"]


def test_the_default_metrics_fit_the_depth():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ranking, relevance = case(k=5)
        assert list(evaluate(ranking, relevance).summary.index) == [
            "map@5",
            "p@1",
            "p@5",
            "recall@5",
            "hit_rate@5",
        ]
        assert list(evaluate(*case()).summary.index) == list(DEFAULT)
        ids = [f"{i}" for i in range(20)]
        labels = np.arange(20) % 2
        with_self = Ranking.from_distances(
            np.abs(np.subtract.outer(range(20), range(20))), ids, ids, k=6
        )
        result = evaluate(with_self, Relevance.from_labels(ids, ids, labels, labels))
        assert "map@5" in result.summary.index  # one of the six is the query


def test_cutoffs_beyond_the_ranking():
    ranking, relevance = case(k=5)
    with pytest.raises(
        ValueError, match="p@6 needs 6 ranks, the ranking has 5; search with k >= 6"
    ):
        evaluate(ranking, relevance, metrics=["p@6"])
    whole, relevance = case(n_database=5)  # the whole database is there: p@6 is known
    positives = relevance.n_positives[relevance.n_positives > 0]
    assert evaluate(whole, relevance, metrics=["p@6"])["p@6"] == pytest.approx(positives.mean() / 6)


def test_padding_counts_as_nothing():
    relevance = Relevance.from_sets(["q"], list("abc"), [["a", "b"]])
    ranking = Ranking(["q"], list("abc"), [[0, -1]], [[1, 0]])
    with pytest.warns(UserWarning, match="first 1 of 3"):
        result = evaluate(ranking, relevance, metrics=["map", "p@2"])
    assert (result["map"], result["p@2"]) == (0.5, 0.5)


def test_deep_enough_is_not_called_cut():
    """All positives were found, so nothing beyond the end changes the score."""
    relevance = Relevance.from_sets(["q"], list("abc"), [["b"]])
    ranking = Ranking(["q"], list("abc"), [[0, 1]], [[0, 1]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (
            evaluate(ranking, relevance, metrics=["map", "recall@2", "ndcg", "first_rank"])["map"]
            == 0.5
        )
    with pytest.warns(UserWarning, match="ties may go on"):
        evaluate(ranking, relevance, metrics=["expected_map"])


def test_intervals_cover_the_truth_and_follow_the_seed():
    """95 % intervals of 60 draws from a known distribution contain its mean about 95 times in 100."""
    inside = 0
    for seed in range(100):
        ranking, relevance = coin_ranking(np.random.RandomState(seed).rand(60) < 0.3)
        row = evaluate(
            ranking, relevance, metrics="p@1", n_bootstrap=300, random_state=seed
        ).summary.loc["p@1"]
        inside += row.low <= 0.3 <= row.high
    assert 86 <= inside <= 100
    first, again, other = (evaluate(*case(), random_state=seed).summary for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)
    assert evaluate(*case(), n_bootstrap=0).summary.low.isna().all()


def coin_ranking(heads):
    queries = [str(i) for i in range(len(heads))]
    order = [[0, 1] if head else [1, 0] for head in heads]
    ranking = Ranking(queries, ["a", "b"], order, [[0, 1]] * len(heads))
    return ranking, Relevance.from_sets(queries, ["a", "b"], [["a"]] * len(heads))


def test_intervals_over_groups_are_wider_where_groups_agree():
    heads = np.repeat(
        np.random.RandomState(0).rand(10) < 0.5, 20
    )  # 10 objects of 20 queries that succeed or fail as one
    ranking, relevance = coin_ranking(heads)
    groups = [f"object {i // 20}" for i in range(200)]
    alone = evaluate(ranking, relevance, metrics="p@1").summary.loc["p@1"]
    together = evaluate(ranking, relevance, metrics="p@1", groups=groups)
    row = together.summary.loc["p@1"]
    assert row["mean"] == alone["mean"] and row.high - row.low > 3 * (alone.high - alone.low)
    assert "bootstrap over groups of queries" in together.protocol
