"""The checks of notebook 12: right answers pass, wrong ones get the sentence that names the mistake."""

import numpy as np
import pytest

from cbirkit import checks
from cbirkit.checks import approximate_search, graph_search


def solved_recall(found, true):
    return np.array(
        [len(set(f) & set(t)) / len(t) for f, t in zip(found.tolist(), true.tolist(), strict=True)]
    )


def solved_nprobe(search, true, target, n_lists):
    low, high = 1, n_lists  # by halving
    while low < high:
        middle = (low + high) // 2
        low, high = (
            (low, middle) if solved_recall(search(middle), true).mean() >= target else (middle + 1, high)
        )
    return low


def solved_walk(vectors, links, query, entry, ef):
    """Without heaps: expand the nearest that was not expanded, among the ef best met."""
    far = [float(np.sqrt(((one - query) ** 2).sum())) for one in vectors]
    met, expanded = {entry}, set()
    while True:
        best = sorted(met, key=far.__getitem__)[:ef]
        ahead = [row for row in best if row not in expanded]
        if not ahead:
            return np.array(best)
        expanded.add(ahead[0])
        met |= set(links[ahead[0]].tolist())


CHECKS = {
    "recall_of_neighbours": (checks.check_neighbour_recall, approximate_search.RECALL_MISTAKES, solved_recall),
    "choose_nprobe": (checks.check_choose_nprobe, approximate_search.NPROBE_MISTAKES, solved_nprobe),
    "graph_search": (checks.check_graph_search, graph_search.GRAPH_MISTAKES, solved_walk),
}


def forgets_what_it_saw(vectors, links, query, entry, ef):
    far, waiting = np.linalg.norm(vectors - query, axis=1), [entry]
    while waiting:
        waiting += links[waiting.pop(0)].tolist()
    return far.argsort()[:ef]


def sorts_the_links_of_the_entry(vectors, links, query, entry, ef):
    near = np.unique(np.append(links[entry], entry))
    return near[np.linalg.norm(vectors[near] - query, axis=1).argsort()[:ef]]


MUTANTS = (
    ("recall_of_neighbours", lambda found, true: np.isin(found, true).mean(axis=1)),
    ("recall_of_neighbours", lambda found, true: np.full(len(true), solved_recall(found, true).mean())),
    ("recall_of_neighbours", lambda found, true: 1 - solved_recall(found, true)),
    ("recall_of_neighbours", lambda found, true: solved_recall(found[:, : true.shape[1]], true)),
    (
        "choose_nprobe",
        lambda search, true, target, n: solved_recall(
            search(solved_nprobe(search, true, target, n)), true
        ).mean(),
    ),
    ("choose_nprobe", lambda search, true, target, n: min(n, int(np.ceil(target * n)))),
    ("choose_nprobe", lambda search, true, target, n: solved_nprobe(search, true[:1], target, n)),
    ("graph_search", sorts_the_links_of_the_entry),
    ("graph_search", lambda v, links, q, entry, ef: solved_walk(v, links, q, 0, ef)),
    ("graph_search", lambda v, links, q, entry, ef: solved_walk(v, links, q, entry, 2 * ef)),
    ("graph_search", lambda v, links, q, entry, ef: solved_walk(v, links[:, :1], q, entry, ef)),
)


@pytest.mark.parametrize(("name", "answer"), MUTANTS)
def test_other_wrong_answers_are_rejected(name, answer):
    verdict = CHECKS[name][0](answer)
    assert verdict.status == "not yet", verdict


def test_an_endless_walk_is_stopped():
    verdict = checks.check_graph_search(forgets_what_it_saw)
    assert verdict.status == "not yet" and "never stops" in verdict.message
