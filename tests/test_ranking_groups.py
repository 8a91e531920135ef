"""`Relevance.from_labels(groups=...)`: other views of the query's own object, or of its camera, are junk."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbirkit import Relevance

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
    with pytest.raises(ValueError, match="1 and 1 groups for 2 queries and 1"):
        Relevance.from_labels(["p", "q"], ["a"], [1, 1], [1], groups=([1], [1]))
    with pytest.raises(ValueError, match="contradict"):
        Relevance.from_labels(["q"], ["a"], [1], [1], groups=([1], [1]), keep_self=True)
