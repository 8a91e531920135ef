"""`Ranking` and `Relevance`."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbirkit import Ranking, Relevance

DB = ["a", "b", "c", "d"]


def make(indices=((1, 0, 3),), distances=((0.1, 0.2, 0.2),), queries=("q",), database=DB):
    return Ranking(
        list(queries), list(database), [list(r) for r in indices], [list(r) for r in distances]
    )


def test_fields_and_access():
    ranking = make([[1, 0, 3], [2, -1, -1]], [[0, 1, 1], [4, 9, 0]], ["q", "r"])
    assert (len(ranking), ranking.k, ranking.indices.dtype) == (2, 3, np.int64)
    assert ranking.distances.dtype == np.float64
    assert ranking.ids.tolist() == [["b", "a", "d"], ["c", None, None]]
    assert np.isinf(ranking.distances[1, 1:]).all()  # padding, whatever distance was given for it
    assert ranking[0].values.tolist() == [[1, "b", 0.0], [2, "a", 1.0], [3, "d", 1.0]]
    assert ranking[1].to_dict("list") == {"rank": [1], "id": ["c"], "distance": [4.0]}
    assert ranking.top(1).ids.tolist() == [["b"], ["c"]]
    assert ranking.select([1]).query_ids.tolist() == ["r"]
    assert ranking.select(np.array([True, False])).query_ids.tolist() == ["q"]
    assert "2 queries" in repr(ranking)


def test_float32_stays_and_arrays_are_read_only():
    given_indices, near = np.array([[0, 1]]), np.array([[0, 1]], dtype=np.float32)
    ranking = Ranking(["q"], DB, given_indices, near, protocol="x")
    assert ranking.distances.dtype == np.float32
    for array in (ranking.indices, ranking.distances, ranking.query_ids, ranking.database_ids):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[0]
    given_indices[0, 0] = 3  # what the caller passed in stays the caller's to write
    with pytest.raises(AttributeError):
        ranking.protocol = "y"
    assert ranking.top(1).protocol == ranking.select([0]).protocol == "x"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"indices": [[0, 4, 1]]}, "'q'.*outside the 4 database items"),
        ({"indices": [[0, -2, 1]]}, "'q'.*outside"),
        ({"indices": [[0, 1, 0]]}, "'q'.*ranked twice"),
        ({"indices": [[0, -1, 1]]}, "'q'.*padding"),
        ({"distances": [[0, 2, 1]]}, "'q'.*descend"),
        ({"distances": [[0, np.nan, 1]]}, "'q'.*NaN"),
        ({"distances": [[0, 1]]}, r"\(1, 3\).*\(1, 2\)"),
        ({"queries": ["q", "r"]}, "2 queries"),
        ({"database": ["a", "a", "b", "c"]}, "database_ids has the id 'a' more than once"),
        ({"database": ["a", None, "b", "c"]}, "missing id"),
        ({"database": ["a", float("nan"), "b", "c"]}, "missing id"),
        ({"indices": [[0.0, 1.0, 2.0]]}, "integer positions"),
        ({"distances": [["x", "y", "z"]]}, "real numbers"),
    ],
)
def test_bad_rankings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_the_error_names_the_right_query_in_a_large_ranking():
    n = 2500
    indices = np.tile(np.arange(1000), (n, 1))
    distances = np.tile(np.arange(1000.0), (n, 1))
    distances[2345, 7] = -1
    with pytest.raises(ValueError, match="'2345'"):
        Ranking([str(i) for i in range(n)], range(1000), indices, distances)


def test_bad_requests():
    ranking = make()
    with pytest.raises(ValueError, match="k=4 is outside the 3 ranks"):
        ranking.top(4)
    with pytest.raises(TypeError, match="single string"):
        Ranking("q", DB, [[0]], [[0.0]])


def test_empty_rankings():
    for indices in (np.empty((0, 3), int), np.empty((1, 0), int)):
        ranking = Ranking(["q"][: len(indices)], DB, indices, indices.astype(float))
        assert ranking.ids.shape == indices.shape
    assert Ranking.from_distances(np.empty((2, 0))).k == 0


def test_from_distances_breaks_ties_by_position():
    ranking = Ranking.from_distances([[2, 1, 2, 1, 0]], k=3)
    assert ranking.indices.tolist() == [[4, 1, 3]]
    assert ranking.query_ids.tolist() == ["q0"]
    assert ranking.database_ids.tolist() == list("01234")


def test_from_distances_excludes_the_query_by_id_not_by_rank():
    distances = np.zeros((2, 3))  # all tie: "drop the first column" would drop the wrong item
    ranking = Ranking.from_distances(distances, ["c", "x"], ["a", "b", "c"], exclude_self=True)
    assert ranking.ids.tolist() == [["a", "b", None], ["a", "b", "c"]]
    same = Ranking.from_distances(np.zeros((3, 3)), exclude_self=True)
    assert same.ids.tolist() == [["1", "2"], ["0", "2"], ["0", "1"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1, np.nan]],), "'q0'.*NaN"),
        (([1, 2],), "table of real numbers"),
        (([[1, 2, "x"]],), "distances are <U.*real numbers"),
        (([[1, None]],), "object.*real numbers"),
        (([[1j, 2]],), "complex.*real numbers"),
        (([[1, 2]], ["q", "r"]), r"query_ids are \(2,\)"),
        (([[1, 2]], ["q"], ["a"]), r"database_ids are \(1,\)"),
    ],
)
def test_from_distances_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        Ranking.from_distances(*arguments)


def test_from_distances_k_beyond_the_database():
    with pytest.raises(ValueError, match="k=4 exceeds the 3"):
        Ranking.from_distances(np.zeros((1, 3)), k=4)
    with pytest.raises(ValueError, match="k=3 exceeds the 2"):
        Ranking.from_distances(np.zeros((3, 3)), k=3, exclude_self=True)
    assert Ranking.from_distances(np.zeros((1, 3)), k=3).k == 3


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_from_distances_is_a_stable_sort(data):
    n, m = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 9))
    table = np.array(
        data.draw(
            st.lists(st.lists(st.integers(0, 3), min_size=m, max_size=m), min_size=n, max_size=n)
        )
    )
    k = data.draw(st.integers(0, m))
    ranking = Ranking.from_distances(table, k=k)
    expected = [sorted(range(m), key=lambda i: (row[i], i))[:k] for row in table]
    assert ranking.indices.tolist() == expected


def naive_relevance(relevance, query_labels, database_labels):
    """(gain, junk) tables by the definition."""
    gain = np.zeros((len(relevance.query_ids), len(relevance.database_ids)))
    junk = np.zeros(gain.shape, dtype=bool)
    for i, query in enumerate(relevance.query_ids):
        for j, item in enumerate(relevance.database_ids):
            same = query_labels[i] is not None and query_labels[i] == database_labels[j]
            junk[i, j] = query == item and not relevance.keep_self
            gain[i, j] = same and not junk[i, j]
    return gain, junk


@settings(max_examples=60, deadline=None)
@given(st.data(), st.booleans())
def test_from_labels_against_a_naive_table(data, keep_self):
    label = st.sampled_from(["x", "y", "z", None])
    queries = data.draw(st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1, max_size=6))
    database = data.draw(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=6))
    ql = data.draw(st.lists(label, min_size=len(queries), max_size=len(queries)))
    dl = data.draw(st.lists(label, min_size=len(database), max_size=len(database)))
    relevance = Relevance.from_labels(queries, database, ql, dl, keep_self=keep_self)
    gain, junk = naive_relevance(relevance, ql, dl)
    everything = np.tile(np.append(np.arange(len(database)), -1), (len(queries), 1))
    check(relevance, everything, gain, junk)
    rows = data.draw(st.lists(st.integers(0, len(queries) - 1), unique=True, min_size=1))
    check(relevance.select(rows), everything[rows], gain[rows], junk[rows])
    sets = [list(np.flatnonzero(g)) for g in gain]
    lists = Relevance.from_sets(
        queries, database, sets, [list(np.flatnonzero(j)) for j in junk], keep_self=keep_self
    )
    check(lists, everything, gain, junk)
    check(lists.select(rows), everything[rows], gain[rows], junk[rows])


def check(relevance, everything, gain, junk):
    zeros = np.zeros((len(gain), 1))  # what padding gives
    assert relevance.gains(everything).dtype == np.float32
    assert relevance.gains(everything).tolist() == np.hstack([gain, zeros]).tolist()
    assert relevance.relevant(everything).tolist() == (np.hstack([gain, zeros]) > 0).tolist()
    assert relevance.junk(everything).tolist() == np.hstack([junk, zeros > 0]).tolist()
    assert relevance.n_positives.tolist() == (gain > 0).sum(axis=1).tolist()
    assert relevance.n_junk.tolist() == junk.sum(axis=1).tolist()
    best = -np.sort(-np.hstack([gain, np.zeros((len(gain), 3))]), axis=1)[:, :3]
    assert relevance.ideal_gains(3).tolist() == best.tolist()


def test_sets_by_id_by_position_and_by_dict_agree():
    as_ids = Relevance.from_sets(["p", "q"], DB, [["a", "c"], []], [["b"], []])
    as_positions = Relevance.from_sets(["p", "q"], DB, [np.array([2, 0]), []], [[1], []])
    as_dict = Relevance.from_sets(["p", "q"], DB, {"p": ["c", "a"]}, {"p": ["b"]})
    for relevance in (as_ids, as_positions, as_dict):
        assert relevance.n_positives.tolist() == [2, 0]
        assert relevance.gains([[0, 1, 2, 3], [0, 1, 2, 3]]).tolist() == [
            [1, 0, 1, 0],
            [0, 0, 0, 0],
        ]
        assert relevance.junk([[0, 1], [0, 1]]).tolist() == [[False, True], [False, False]]


def test_integer_ids_are_ids_not_positions():
    relevance = Relevance.from_sets([9], [10, 11, 0], [[0]])
    assert relevance.gains([[0, 1, 2]]).tolist() == [[0, 0, 1]]


def test_grades():
    grades = {"p": {"a": 3, "b": 0, "d": 0.5}}
    relevance = Relevance.from_sets(["p", "q"], DB, [["c"], ["a"]], grades=grades)
    assert relevance.gains([[0, 1, 2, 3], [0, 1, 2, 3]]).tolist() == [[3, 0, 1, 0.5], [1, 0, 0, 0]]
    assert relevance.ideal_gains(2).tolist() == [[3, 1], [1, 0]]
    assert relevance.n_positives.tolist() == [3, 1]
    assert Relevance.from_sets(["p"], DB, None, grades=grades).n_positives.tolist() == [2]


def test_the_query_itself_is_junk_even_where_listed():
    removed = Relevance.from_sets(["a"], DB, [["a", "b"]])
    assert (removed.n_positives.tolist(), removed.junk([[0, 1]]).tolist()) == ([1], [[True, False]])
    kept = Relevance.from_sets(["a"], DB, [["a", "b"]], keep_self=True)
    assert (kept.n_positives.tolist(), kept.junk([[0, 1]]).tolist()) == ([2], [[False, False]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["q"], DB, [["nobody"]]), "'nobody', which is not in the database"),
        ((["q"], DB, [[4]]), "4, which is not in the database"),
        ((["q"], DB, [["a"], ["b"]]), "2 positives for 1 items"),
        ((["q"], DB, {"r": ["a"]}), "'r', which is not in query_ids"),
        ((["q"], DB, [["a"]], [["a"]]), "both positive and junk"),
        ((["q"], DB, [[]], None, {"q": {"a": -1}}), "grades of query 'q'"),
        ((["q"], DB, [[]], None, {"q": {"a": np.nan}}), "grades of query 'q'"),
        ((["q", "q"], DB, [[], []]), "'q' more than once"),
    ],
)
def test_bad_sets_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Relevance.from_sets(*arguments)
    with pytest.raises(TypeError, match="give a list"):
        Relevance.from_sets(["q"], DB, ["a"])


def test_bad_labels_and_indices_are_refused():
    with pytest.raises(ValueError, match="got 2 query_labels for 1 items"):
        Relevance.from_labels(["q"], DB, [1, 2], [1, 2, 3, 4])
    with pytest.raises(ValueError, match="^labels must be text or numbers"):
        Relevance.from_labels(["q"], DB, [[1]], [1, 2, 3, 4])
    relevance = Relevance.from_labels(["q"], DB, [1], [1, 2, 3, 4])
    for indices in ([[0], [1]], [[4]], [[-2]]):
        with pytest.raises(ValueError, match="from -1 to 3"):
            relevance.gains(indices)


# ------------------------------------------------------------------ groups: other views of the query's own object, or of its camera, are junk

VALUES = st.sampled_from(["a", "b", "c", None])
ITEMS = st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=8)


@settings(max_examples=80, deadline=None)
@given(queries=ITEMS, database=ITEMS, shared=st.integers(0, 4))
def test_groups_against_a_naive_loop(queries, database, shared):
    """`shared` queries have the id of the database item of the same number, be it alike or not."""
    database_ids = [f"d{i}" for i in range(len(database))]
    query_ids = [
        f"d{i}" if i < min(shared, len(database)) else f"q{i}" for i in range(len(queries))
    ]
    relevance = Relevance.from_labels(
        query_ids, database_ids, [q[0] for q in queries], [d[0] for d in database],
        groups=([q[1] for q in queries], [d[1] for d in database]),
    )  # fmt: skip
    padding = [-1]
    everything = np.array([list(range(len(database))) + padding] * len(queries))
    relevant, junk = relevance.relevant(everything), relevance.junk(everything)
    for q, (label, group) in enumerate(queries):
        for d, (its_label, its_group) in enumerate(database):
            is_junk = (group is not None and group == its_group) or query_ids[q] == database_ids[d]
            assert junk[q, d] == is_junk
            assert relevant[q, d] == (label is not None and label == its_label and not is_junk)
    assert not relevant[:, -1].any() and not junk[:, -1].any()
    assert relevance.n_positives.tolist() == relevant.sum(axis=1).tolist()
    assert relevance.n_junk.tolist() == junk.sum(axis=1).tolist()
    part = relevance.select(np.arange(len(queries)) % 2 == 0)
    assert np.array_equal(part.junk(everything[::2]), junk[::2])
    assert part.n_positives.tolist() == relevance.n_positives[::2].tolist()
    assert np.array_equal(part.ideal_gains(3).sum(axis=1), np.minimum(part.n_positives, 3))


def test_no_table_of_queries_and_items_is_made():
    """100,000 queries against 100,000 items would be a table of 10 GB."""
    n = 100_000
    labels, groups = np.arange(n) % 1000, np.arange(n) % 20_000
    relevance = Relevance.from_labels(None, None, labels, labels, groups=(groups, groups))
    assert set(relevance.n_positives) == {95} and set(relevance.n_junk) == {5}


def test_bad_groups():
    with pytest.raises(ValueError, match="1 groups for 2 items"):
        Relevance.from_labels(["p", "q"], ["a"], [1, 1], [1], groups=([1], [1]))
    with pytest.raises(ValueError, match="contradict"):
        Relevance.from_labels(["q"], ["a"], [1], [1], groups=([1], [1]), keep_self=True)
