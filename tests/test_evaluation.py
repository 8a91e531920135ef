"""`evaluate`: junk, self matches, skipped queries, cut rankings, alignment, intervals, protocol."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbirkit import Ranking, Relevance, compare, evaluate
from cbirkit.evaluation.evaluate import DEFAULT
from cbirkit.indexes import Exact
from cbirkit.metrics import METRICS, find_metric
from cbirkit.ranking import codes

EVERY = [m.at(3).name for m in METRICS if m.name != "ukbench"]


def case(n_queries=12, n_database=30, n_labels=4, seed=0, k=None):
    rng = np.random.RandomState(seed)
    queries, database = [f"q{i}" for i in range(n_queries)], [f"d{i}" for i in range(n_database)]
    ranking = Ranking.from_distances(rng.rand(n_queries, n_database), queries, database, k=k)
    labels = rng.randint(0, n_labels, n_queries), rng.randint(0, n_labels, n_database)
    return ranking, Relevance.from_labels(queries, database, *labels)


def naive_ap(ids, positives, junk):
    ids = [i for i in ids if i not in junk]
    hits = [rank for rank, i in enumerate(ids, start=1) if i in positives]
    return (
        sum(n / rank for n, rank in enumerate(hits, start=1)) / len(positives)
        if positives
        else np.nan
    )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_average_precision_with_junk_and_self_against_a_loop(data):
    database = [f"i{n}" for n in range(7)]
    queries = data.draw(
        st.lists(st.sampled_from([*database, "new"]), unique=True, min_size=1, max_size=4)
    )
    kinds = [data.draw(st.lists(st.sampled_from("+-j"), min_size=7, max_size=7)) for _ in queries]
    listed = {
        c: [[i for i, kind in zip(database, row, strict=True) if kind == c] for row in kinds]
        for c in "+j"
    }
    table = np.array([data.draw(st.permutations(range(7))) for _ in queries], dtype=float)
    ranking = Ranking.from_distances(table, queries, database)
    relevance = Relevance.from_sets(queries, database, listed["+"], listed["j"])
    expected = [
        naive_ap(ranking[n].id, set(p) - {q}, {*j, q})
        for n, (q, p, j) in enumerate(zip(queries, listed["+"], listed["j"], strict=True))
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no query has a positive
        result = evaluate(ranking, relevance, metrics="map", n_bootstrap=5)
    assert result.per_query["map"].tolist() == pytest.approx(expected, nan_ok=True)
    assert result["map"] == pytest.approx(
        np.nanmean(expected) if np.isfinite(expected).any() else np.nan, nan_ok=True
    )
    assert result.summary.n_skipped["map"] == np.isnan(expected).sum()


def test_junk_is_deleted_before_ranks_are_counted():
    ranking = Ranking(["q"], list("abcd"), [[0, 1, 2, 3]], [[0, 1, 2, 3]])
    relevance = Relevance.from_sets(["q"], list("abcd"), [["c"]], junk=[["a"]])
    result = evaluate(
        ranking, relevance, metrics=["map", "p@2", "first_rank", "ndcg@2", "expected_map"]
    )
    assert result.per_query.loc["q"].tolist() == pytest.approx(
        [0.5, 0.5, 2, 1 / np.log2(3), 0.5, 1]
    )
    assert "junk: 1 items over all queries, deleted before ranks are counted" in result.protocol


def test_the_query_is_removed_by_id_not_by_rank():
    """A duplicate ties at distance 0 and comes first: dropping the first column would drop the positive."""
    ranking = Ranking(["b"], list("abc"), [[0, 1, 2]], [[0, 0, 1]])
    relevance = Relevance.from_labels(["b"], list("abc"), ["x"], ["x", "x", "y"])
    result = evaluate(ranking, relevance, metrics=["map", "p@1"])
    assert (result["map"], result["p@1"]) == (1, 1)
    assert "the query itself, by its id, is deleted" in result.protocol
    kept = evaluate(
        ranking, Relevance.from_labels(["b"], list("abc"), ["x"], ["x", "x", "y"], keep_self=True)
    )
    assert (
        kept.per_query.n_positives.tolist() == [2]
        and "stays in the ranking and counts" in kept.protocol
    )


def test_a_query_left_in_the_database_lifts_a_random_embedding_to_one():
    rng = np.random.RandomState(0)
    x, labels, ids = rng.rand(60, 4), rng.randint(0, 12, 60), [str(i) for i in range(60)]
    distances = ((x[:, None] - x) ** 2).sum(axis=2)
    ranking = Ranking.from_distances(distances, ids, ids)
    score = {
        keep: evaluate(
            ranking, Relevance.from_labels(ids, ids, labels, labels, keep_self=keep), metrics="p@1"
        )["p@1"]
        for keep in (False, True)
    }
    assert score[True] == 1 and score[False] < 0.3


def test_queries_without_positives_are_nan_left_out_and_counted():
    ranking = Ranking(["p", "q"], list("ab"), [[0, 1], [0, 1]], [[0, 1], [0, 1]])
    relevance = Relevance.from_sets(["p", "q"], list("ab"), [["b"], []])
    names = [name for name in EVERY if "3" not in name] + [
        "p@2",
        "recall@2",
        "hit_rate@2",
        "ndcg@2",
        "map@2",
    ]
    result = evaluate(ranking, relevance, metrics=names)
    assert result.per_query.loc["q", names].isna().all()
    assert result.per_query.loc["p", names].notna().all()
    assert (
        result["map"] == 0.5
        and (result.summary.n_scored == 1).all()
        and (result.summary.n_skipped == 1).all()
    )
    assert "queries: 1 scored, 1 skipped (no positives)" in result.protocol


def test_no_positives_at_all_warns():
    ranking = Ranking(["q"], ["a"], [[0]], [[0]])
    with pytest.warns(UserWarning, match="no query has a positive"):
        result = evaluate(ranking, Relevance.from_sets(["q"], ["a"], [[]]), metrics=EVERY)
    assert result.summary["mean"].isna().all() and (result.summary.n_skipped == 1).all()


def test_labels_that_say_nothing_are_told():
    ids = list("abcd")
    ranking = Ranking.from_distances(1 - np.eye(4)[::-1], ids, ids, exclude_self=True)
    for labels, nothing in (
        (["x"] * 4, True),
        (["x", "x", "x", None], False),
        (["x", "x", "x", "y"], False),
    ):
        for relevance in (
            Relevance.from_labels(ids, ids, labels, labels),
            Relevance.from_sets(ids, ids, [ids] * 4),
        ):
            expected = nothing or not hasattr(relevance, "_labels")
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                protocols = [
                    evaluate(ranking, relevance, n_bootstrap=0).protocol,
                    compare({"a": ranking, "b": ranking}, relevance).protocol,
                ]
            assert any("are the labels right" in str(one.message) for one in caught) == expected
            assert ["any ranking is perfect" in protocol for protocol in protocols] == [
                expected
            ] * 2


def test_empty_ranking():
    ranking = Ranking([], ["a"], np.empty((0, 1), int), np.empty((0, 1)))
    with pytest.warns(UserWarning, match="no query has a positive"):
        result = evaluate(ranking, Relevance.from_sets([], ["a"], []))
    assert len(result.per_query) == 0 and np.isnan(result["map"])


def test_every_metric_has_a_definition_in_the_protocol():
    ranking, relevance = case()
    result = evaluate(ranking, relevance, metrics=EVERY, n_bootstrap=20)
    assert list(result.summary.index) == EVERY
    for name in EVERY:
        assert f"{name}: {find_metric(name).formula}" in result.protocol
        assert result.summary.low[name] <= result[name] <= result.summary.high[name]
    for rule in (
        "ranking: whole database",
        "self: no query",
        "junk: none",
        "ties: in the order",
        "12 scored, 0 skip",
    ):
        assert rule in result.protocol
    noted = Ranking(
        *(getattr(ranking, f) for f in ("query_ids", "database_ids", "indices", "distances")),
        "HOG; test",
    )
    assert "ranking: whole database; HOG; test" in evaluate(noted, relevance).protocol


def test_blocks_do_not_change_the_scores(monkeypatch):
    ranking, relevance = case()
    whole = evaluate(ranking, relevance, metrics=EVERY, n_bootstrap=0).per_query
    monkeypatch.setattr(codes, "_BLOCK", 60)
    pd.testing.assert_frame_equal(
        whole, evaluate(ranking, relevance, metrics=EVERY, n_bootstrap=0).per_query
    )


def test_the_order_of_queries_and_database_does_not_matter():
    ranking, relevance = case()
    rng = np.random.RandomState(1)
    rows, columns = rng.permutation(len(ranking)), rng.permutation(len(ranking.database_ids))
    where = np.argsort(columns)
    moved = Ranking(
        ranking.query_ids[rows],
        ranking.database_ids[columns],
        where[ranking.indices[rows]],
        ranking.distances[rows],
    )
    one, other = (
        evaluate(r, relevance, metrics=EVERY, n_bootstrap=0).per_query for r in (ranking, moved)
    )
    pd.testing.assert_frame_equal(one, other.loc[one.index])


def test_unknown_ids_are_refused_and_missing_ones_told():
    ranking, relevance = case()
    other = Relevance.from_labels(["x"], ranking.database_ids, [0], [0] * 30)
    with pytest.raises(ValueError, match="12 of the 12 query ids, such as 'q0'"):
        evaluate(ranking, other)
    other = Relevance.from_labels(ranking.query_ids, ["x"], [0] * 12, [0])
    with pytest.raises(ValueError, match="30 of the 30 database ids"):
        evaluate(ranking, other)
    assert (
        "2 queries of the relevance are not in the ranking"
        in evaluate(ranking.select(slice(10)), relevance).protocol
    )


def test_a_smaller_database_counts_the_missing_positives_as_not_found():
    relevance = Relevance.from_sets(["q"], ["a", "b", "c"], [["a", "b"]])
    ranking = Ranking(["q"], ["c", "a"], [[1, 0]], [[0, 1]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is hidden beyond the end: the ranking is whole
        result = evaluate(ranking, relevance, metrics=["map", "recall@2"])
    assert (result["map"], result["recall@2"]) == (0.5, 0.5)
    assert "1 database items of the relevance are not in the ranking's" in result.protocol


def test_ukbench():
    ids, objects = [f"{i}" for i in range(8)], [0, 0, 0, 0, 1, 1, 1, 1]
    relevance = Relevance.from_labels(ids, ids, objects, objects, keep_self=True)
    distances = np.abs(np.subtract.outer(range(8), range(8)))
    ranking = Ranking.from_distances(distances, ids, ids)
    loop = [sum(objects[int(i)] == objects[q] for i in ranking.ids[q, :4]) for q in range(8)]
    result = evaluate(ranking.top(4), relevance, metrics="ukbench")
    assert result.per_query.ukbench.tolist() == loop and result["ukbench"] == np.mean(loop) < 4
    with pytest.raises(ValueError, match="keep_self=True"):
        evaluate(ranking, Relevance.from_labels(ids, ids, objects, objects), metrics="ukbench")
    without = Ranking.from_distances(distances, ids, ids, exclude_self=True)
    with pytest.raises(ValueError, match="exclude_self=False"):
        evaluate(without, relevance, metrics="ukbench")


def test_graded_gains_reach_ndcg():
    ranking = Ranking(["q"], list("abcde"), [[0, 1, 2, 3, 4]], [[0, 1, 2, 3, 4]])
    grades = {"q": dict(zip("abcde", [3, 2, 0, 1, 2], strict=True))}
    relevance = Relevance.from_sets(["q"], list("abcde"), None, grades=grades)
    result = evaluate(ranking, relevance, metrics=["ndcg", "ndcg_linear"])
    assert result.summary["mean"].tolist() == pytest.approx([0.968638, 0.960247], abs=5e-7)


TIED = [
    "map",
    "map@3",
    "map@3/R",
    "map@r",
    "r_precision",
    "p@1",
    "p@3",
    "recall@3",
    "hit_rate@3",
    "first_rank",
]


@pytest.mark.parametrize("seed", range(4))
def test_expected_over_ties_is_the_mean_over_all_orders(seed):
    rng = np.random.RandomState(seed)
    distances, wanted = (
        np.sort(rng.randint(0, 3, (3, 6))),
        [rng.choice(6, rng.randint(1, 4), replace=False) for _ in "pqr"],
    )
    relevance = Relevance.from_sets(
        list("pqr"), list("abcdef"), [["abcdef"[i] for i in some] for some in wanted]
    )
    found = evaluate(
        Ranking(list("pqr"), list("abcdef"), [range(6)] * 3, distances),
        relevance,
        metrics=TIED,
        ties="expected",
    )
    for row, far in enumerate(distances):
        orders = [
            order
            for order in itertools.permutations(range(6))
            if (np.diff(far[list(order)]) >= 0).all()
        ]
        every = Ranking(
            [f"{i}" for i in range(len(orders))],
            list("abcdef"),
            orders,
            np.tile(np.arange(6), (len(orders), 1)),
        )
        same = Relevance.from_sets(
            every.query_ids, list("abcdef"), [["abcdef"[i] for i in wanted[row]]] * len(orders)
        )
        expected = evaluate(every, same, metrics=TIED, n_bootstrap=0).summary["mean"]
        np.testing.assert_allclose(found.per_query.iloc[row][TIED], expected, rtol=1e-12)


def _zeros_by_class(n=20):
    """A ranking of images in folders by class, a quarter of them without key points."""
    rng, labels = np.random.RandomState(0), np.repeat(list("ab"), n)
    rows = rng.randn(2 * n, 4) * (rng.rand(2 * n, 1) > 0.25)
    distances, near = Exact().fit(rows).kneighbors(n_neighbors=2 * n - 1)
    ids = [f"{i:02}" for i in range(2 * n)]
    return Ranking(ids, ids, near, distances), Relevance.from_labels(ids, ids, labels, labels), rows


def test_ties_that_matter_are_told():
    ranking, relevance, rows = _zeros_by_class()
    with pytest.warns(
        UserWarning, match="queries the order of right and wrong items at equal distances matters"
    ) as told:
        plain = evaluate(ranking, relevance, metrics=["map", "ndcg@5"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = evaluate(ranking, relevance, metrics=["map"], ties="expected")
        evaluate(ranking, relevance, metrics=["map", "expected_map"])
    assert (
        f"for {len(rows)} of {len(rows)}" in plain.protocol
        and len(told) == 1
        and "map from" in plain.protocol
    )
    assert expected["map"] == pytest.approx(
        evaluate(ranking, relevance, metrics="expected_map")["expected_map"]
    )
    assert expected["map"] < plain["map"] and "ties: expected over all orders" in expected.protocol
    with pytest.warns(UserWarning, match="zeros: ties"):
        compare({"zeros": ranking, "same": ranking}, relevance)
    same = compare({"zeros": ranking, "same": ranking}, relevance, ties="expected")
    assert same.summary["mean"].iloc[0] == pytest.approx(expected["map"])


def test_ties_of_equally_right_items_are_not_told():
    ids = list("abcd")
    ranking = Ranking(["q"], ids, [range(4)], [[0, 0, 1, 1]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (
            "matter"
            not in evaluate(ranking, Relevance.from_sets(["q"], ids, [["a", "b"]])).protocol
        )
    graded = Relevance.from_sets(["q"], ids, None, grades={"q": {"a": 2, "b": 1}})
    with pytest.warns(UserWarning, match="ndcg from"):
        evaluate(ranking, graded, metrics=["ndcg"])
    for metric in ("median_rank", "trapezoid_map", "ndcg", "map@3/hits", "p@3/last"):
        with pytest.raises(ValueError, match="no closed form"):
            evaluate(ranking, graded, metrics=[metric], ties="expected")
    with pytest.raises(ValueError, match="ties='random'"):
        evaluate(ranking, graded, ties="random")


def test_first_ranks():
    relevance = Relevance.from_sets(["p", "q", "r"], list("abc"), [["a"], ["b"], ["c"]])
    ranking = Ranking(["p", "q", "r"], list("abc"), [[0, 1]] * 3, [[0, 1]] * 3)
    with pytest.warns(UserWarning, match="1 of 3 queries"):
        result = evaluate(ranking, relevance, metrics=["first_rank", "median_rank"])
    assert result.per_query.first_rank.tolist() == [1, 2, np.inf]
    assert result["median_rank"] == 2 and result["first_rank"] == np.inf
    assert result.summary.low["first_rank"] >= 1 and result.summary.high["first_rank"] == np.inf


@pytest.mark.parametrize(
    "name", ["mapp", "map@0", "map@-1", "map@3/n", "recall@3/R", "p", "ukbench@4", "map@1.5", ""]
)
def test_unknown_metrics(name):
    with pytest.raises(ValueError, match="known are map, .*map@K"):
        evaluate(*case(), metrics=[name])


def test_bad_requests():
    ranking, relevance = case()
    for names in (["map", "map"], []):
        with pytest.raises(ValueError, match="none twice"):
            evaluate(ranking, relevance, metrics=names)
    with pytest.raises(ValueError, match="2 groups for 12 items"):
        evaluate(ranking, relevance, groups=[1, 2])
    with pytest.raises(ValueError, match="missing values"):
        evaluate(ranking, relevance, groups=[None] * 12)
    with pytest.raises(ValueError, match="^groups must be text or numbers"):
        evaluate(ranking, relevance, groups=[["x"]] * 12)
    with pytest.raises(KeyError, match="ndcg"):
        evaluate(ranking, relevance)["ndcg"]


def test_repr_and_html_are_escaped():
    ranking, relevance = case()
    hostile = Ranking(
        ranking.query_ids,
        ranking.database_ids,
        ranking.indices,
        ranking.distances,
        "<script>x</script>",
    )
    result = evaluate(hostile, relevance)
    assert "map" in repr(result) and "junk: none" in repr(result)
    two = compare({"<script>one": hostile, "two": ranking}, relevance, n_draws=20)
    assert "<script>one" in repr(two) and "sign-flip" in repr(two)
    for markup in (result._repr_html_(), two._repr_html_()):
        assert "<script>" not in markup and "&lt;script&gt;" in markup and "<table" in markup


# ------------------------------------------------------------------ rankings that end early, and intervals


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
    with pytest.raises(ValueError, match="p@6: the ranking has 5 ranks; search with k >= 6"):
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


# ------------------------------------------------------------------ compare


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
        pytest.warns(UserWarning, match="s0: first_rank"),
        pytest.raises(ValueError, match="infinite for a query"),
    ):
        compare(cut, relevance, metric="first_rank", n_draws=10)
    with pytest.warns(UserWarning, match="s1: map: computed over the first 1 of 30"):
        result = compare(cut, relevance, n_draws=10)
    assert "computed over the first 1 of 30" in result.protocol


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
