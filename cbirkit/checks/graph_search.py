"""Checks of notebook 12: walking a graph of neighbours."""

import heapq

import numpy as np

from cbirkit.checks._run import Case, Mistake, run_check


def check_graph_search(answer):
    """Check ``graph_search(vectors, links, query, entry, ef)``: best-first search in a graph of neighbours.

    Parameters
    ----------
    answer : callable
        Takes `vectors` (n, d), `links` (n, m) whole numbers, `query` (d,), the row `entry` and `ef`; returns the rows of the
        at most `ef` nearest items met, nearest first, (<= ef,) int64.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_graph_search(lambda vectors, links, query, entry, ef: np.arange(ef)).passed
    False
    """
    return run_check(answer, _graph_search, _graph_cases(), mistakes=GRAPH_MISTAKES)


def _graph_search(vectors, links, query, entry, ef):
    return _switched_walk(vectors, links, query, entry, ef)


def _switched_walk(
    vectors, links, query, entry, ef, *, patience="worst", with_entry=True, ordered=True
):
    """The search and, by its switches, what goes wrong with it."""
    far = np.linalg.norm(vectors - query, axis=1)
    seen, waiting, best = (
        {entry},
        [(far[entry], entry)],
        [(-far[entry], entry)] if with_entry else [],
    )
    while waiting:
        gap, row = heapq.heappop(waiting)
        if best and patience == "worst" and len(best) >= ef and gap > -best[0][0]:
            break
        if best and patience == "best" and gap > min(-one for one, _ in best):
            break
        for other in links[row].tolist():
            if other not in seen:
                seen.add(other)
                heapq.heappush(waiting, (far[other], other))
                heapq.heappush(best, (-far[other], other))
                if len(best) > ef:
                    heapq.heappop(best)
    rows = [row for _, row in (sorted(best, reverse=True) if ordered else best)]
    return np.array(rows, dtype=np.int64)


def _graph_cases():
    random = np.random.RandomState(167)  # so that one more in the beam finds others
    line = np.arange(8.0)[:, None]
    chain = np.stack([np.maximum(np.arange(8) - 1, 0), np.minimum(np.arange(8) + 1, 7)], axis=1)
    islands = np.array([[1, 1], [0, 0], [3, 3], [2, 2]])
    cases = [
        Case(
            (line, chain, np.array([5.2]), 0, 1),
            "eight points on a line linked to the next, ef 1, from one end",
        ),
        Case((line, chain, np.array([5.2]), 0, 3), "the same with ef 3"),
        Case(
            (line, chain, np.array([0.1]), 0, 2),
            "a query beside the entry, which is an answer, too",
        ),
        Case(
            (line[:4], islands, np.array([3.0]), 0, 4),
            "two islands: nothing leads from the entry to the query's",
        ),
        Case(
            (line[:1], np.array([[0]]), np.array([3.0]), 0, 2), "a single point, linked to itself"
        ),
        Case((line, chain, np.array([5.2]), 0, 8), "eight points on a line and ef 8: all of them"),
        Case(
            (line, chain, np.array([2.9]), 3, 2),
            "a query beside the entry in the middle of the line",
        ),
    ]
    for n, m, ef in ((60, 3, 1), (60, 3, 5), (200, 4, 10), (200, 4, 30)):
        vectors = random.normal(size=(n, 6))
        near = np.linalg.norm(vectors[:, None] - vectors[None], axis=2).argsort(axis=1)
        links = np.concatenate([near[:, 1:m], random.randint(0, n, size=(n, 1))], axis=1)
        cases.append(
            Case(
                (vectors, links, random.normal(size=6), int(random.randint(n)), ef),
                f"{n} random points with {m} links, ef {ef}",
            )
        )
    return cases


def _greedy(vectors, links, query, entry, ef):
    far = np.linalg.norm(vectors - query, axis=1)
    while far[links[entry]].min() < far[entry]:
        entry = int(links[entry][far[links[entry]].argmin()])
    return np.array([entry], dtype=np.int64)


def _looks_at_all(vectors, links, query, entry, ef):
    return np.linalg.norm(vectors - query, axis=1).argsort()[:ef]


def _everything_reachable(vectors, links, query, entry, ef):
    return _switched_walk(vectors, links, query, entry, len(vectors))[:ef]


GRAPH_MISTAKES = (
    Mistake(
        _greedy,
        "You walk to the nearest and stop, which is ef = 1: keep the ef best met, and go on from those not yet visited.",
    ),
    Mistake(
        _looks_at_all,
        "You compared the query with all vectors; the point is to follow the links, and to miss what they do not reach.",
    ),
    Mistake(
        _everything_reachable,
        "You visited everything that can be reached: stop when the nearest item waiting is farther than the worst of the ef best.",
    ),
    Mistake(
        lambda *a: _switched_walk(*a, patience="best"),
        "You stop when the nearest item waiting is farther than the *best* met; compare with the worst of the ef best.",
    ),
    Mistake(
        lambda *a: _switched_walk(*a, with_entry=False),
        "The entry is an item, too: put it among the best.",
    ),
    Mistake(
        lambda *a: _switched_walk(*a, ordered=False),
        "That is the order of a heap; sort by distance before you return.",
    ),
    Mistake(
        lambda *a: _switched_walk(*a)[::-1].copy(),
        "That is farthest first; return the nearest first.",
    ),
    Mistake(
        lambda vectors, links, query, entry, ef: _switched_walk(
            vectors, links, query, entry, ef + 1
        ),
        "That is one row too many: at most `ef`.",
    ),
    Mistake(
        lambda vectors, links, query, entry, ef: _switched_walk(
            vectors, links, query, entry, ef + 1
        )[:ef],
        "You kept ef + 1 best on the way, so that the walk goes on for longer: keep ef.",
    ),
    Mistake(
        lambda vectors, links, query, entry, ef: _switched_walk(vectors, links, query, 0, ef),
        "The walk begins at `entry`, not at row 0.",
    ),
)
