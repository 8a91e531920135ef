"""Checks of notebook 12: nprobe for a target, a search with a filter, the walk through a graph."""

import heapq
from functools import partial

import numpy as np

from .running import run_check


def check_filtered_search(answer):
    """Check ``filtered_search(search, allowed, k)``: filter after an approximate search that is asked for more and more.

    Parameters
    ----------
    answer : callable
        Takes ``search(m) -> keys (m,)``, nearest first, -1 for none, which refuses an `m` above the number of vectors and one that is not
        needed; `allowed` (n,) of bool; and `k`. Asks for `k`, then twice as many each time; returns the at most `k` nearest allowed keys.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_filtered_search(lambda search, allowed, k: search(k)).passed
    False
    """
    return run_check(answer, _filtered_search, _filter_cases(), mistakes=FILTER_MISTAKES)


def _filtered_search(search, allowed, k, *, times=2, keep=None, most=None, enough=None):
    """The search and, by its settings, what goes wrong with it."""
    m, rounds = min(k, len(allowed)), 1
    while True:
        keys = np.asarray(search(m))
        keys = (keep or (lambda keys, allowed: keys[(keys >= 0) & allowed[keys]]))(keys, allowed)
        if len(keys) >= (enough or k) or m == len(allowed) or rounds == most:
            return keys[:k]
        m, rounds = min(times * m, len(allowed)), rounds + 1


def _found_first(order, needed, m):
    if not 0 < m <= len(order):
        raise ValueError(
            f"search({m}), of {len(order)} vectors: ask for at least 1 and at most all"
        )
    if m > needed:
        raise ValueError(f"search({m}) was not needed: half as many hold enough")
    return order[: int(m)].copy()


def _filter_cases():
    random = np.random.RandomState(2)
    for about, n, k, fraction, n_found in (
        ("40 vectors, one in four allowed", 40, 3, 0.25, 40),
        ("everything allowed", 12, 4, 1.0, 12),
        ("nothing allowed", 12, 4, 0.0, 12),
        ("400 vectors, one in a hundred allowed", 400, 2, 0.01, 400),
        ("fewer allowed than asked for", 30, 9, 0.1, 30),
        ("k larger than the database", 5, 8, 0.6, 5),
        ("k = 1", 50, 1, 0.1, 50),
        ("an index that finds 20 of 60, and then -1", 60, 6, 0.2, 20),
        ("an index that finds nothing", 8, 2, 0.5, 0),
    ):
        order, allowed = random.permutation(n), np.zeros(n, bool)
        allowed[random.permutation(n)[: round(fraction * n)]] = True
        allowed[-1] |= n_found < n  # what -1 points at
        order = np.where(np.arange(n) < n_found, order, -1)
        right = np.flatnonzero((order >= 0) & allowed[order])
        needed = max(k, 2 * right[k - 1] + 1) if len(right) >= k else n
        yield about, partial(_found_first, order, needed), allowed, k


FILTER_MISTAKES = {
    "You filtered the first k only: where too few of them are allowed, ask for more.": partial(_filtered_search, most=1),
    "-1 stands for nothing found; as an index, it points at the last vector.": partial(_filtered_search, keep=lambda keys, allowed: keys[allowed[keys]]),
    "You kept what is not allowed.": partial(_filtered_search, keep=lambda keys, allowed: keys[(keys >= 0) & ~allowed[keys]]),
    "Those are places in the list, not keys.": partial(_filtered_search, keep=lambda keys, allowed: np.flatnonzero((keys >= 0) & allowed[keys])),
    "You sorted by key: keep the order of the search, nearest first.": lambda *a: np.sort(_filtered_search(*a)),
    "You returned more than k, or cut nothing off.": lambda search, allowed, k: _filtered_search(search, allowed, 2 * k),
    "You stopped when one was left; go on until k are.": partial(_filtered_search, enough=1),
    "You asked twice; go on until k are left or everything was asked for.": partial(_filtered_search, most=2),
    "You filled up with -1: return only what there is.": lambda search, allowed, k: np.append(kept := _filtered_search(search, allowed, k), [-1] * (k - len(kept))),
    "That is farthest first; return the nearest first.": lambda *a: _filtered_search(*a)[::-1],
}  # fmt: skip


def check_choose_nprobe(answer):
    """Check ``choose_nprobe(search, true, target, n_lists)``: the fewest lists whose mean recall reaches a target.

    Parameters
    ----------
    answer : callable
        Takes ``search(nprobe) -> keys (n, k)``, `true` (n, k), a mean recall `target` and `n_lists`; returns the smallest
        whole number from 1 to `n_lists` that reaches the target, or `n_lists` if none does.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_choose_nprobe(lambda search, true, target, n_lists: n_lists).passed
    False
    """
    return run_check(answer, _choose_nprobe, _nprobe_cases(), mistakes=NPROBE_MISTAKES)


def _recall_of_neighbours(found, true):
    return (found[:, :, None] == true[:, None]).any(axis=1).mean(axis=1)


def _mean_recalls(search, true, n_lists):
    return np.array([_recall_of_neighbours(search(p), true).mean() for p in range(1, n_lists + 1)])


def _choose_nprobe(search, true, target, n_lists):
    reached = _mean_recalls(search, true, n_lists) >= target - 1e-12
    return int(np.argmax(reached)) + 1 if reached.any() else n_lists


def _searcher(needs):
    """A search whose query i finds its j-th neighbour once ``needs[i, j]`` lists are looked into, and the true keys."""
    n, k = needs.shape
    true = np.arange(n * k).reshape(n, k)
    return partial(_found_with, needs, true), true


def _found_with(needs, true, nprobe):
    found = np.where(needs <= nprobe, true, 1_000_000 + true)
    return found[:, [1, 0, *range(2, true.shape[1])]]  # not quite in order


def _nprobe_cases():
    random = np.random.RandomState(1)
    spread = np.arange(1, 11)[None]
    uneven = np.array([[1, 1, 1, 1], [1, 1, 6, 6], [1, 3, 6, 9]])
    yield from [
        (
            "one more neighbour found with each list, target 0.5, which 5 lists reach exactly",
            *_searcher(spread),
            0.5,
            16,
        ),
        ("the same, target 0.91, which takes all ten neighbours", *_searcher(spread), 0.91, 16),
        ("everything found in the first list", *_searcher(np.ones((3, 4), int)), 0.95, 8),
        ("target 0, which the first list reaches", *_searcher(uneven), 0.0, 12),
        ("one list in all, target 0.9: out of reach", *_searcher(np.full((2, 3), 5)), 0.9, 1),
        ("all ten lists are needed, target 1", *_searcher(spread), 1.0, 10),
        ("an easy query, a hard one and one between: the mean counts", *_searcher(uneven), 0.6, 12),
        (
            "a neighbour that no list holds, target 0.95: out of reach",
            *_searcher(np.where(spread > 9, 99, spread)),
            0.95,
            12,
        ),
    ]
    for n_lists, target in ((32, 0.801), (32, 0.951), (100, 0.901)):
        needs = np.minimum(random.geometric(0.12, size=(40, 10)), n_lists)
        yield (
            f"random lists, {n_lists} of them, target {target}",
            *_searcher(needs),
            target,
            n_lists,
        )


def _first(good, otherwise):
    return int(np.argmax(good)) + 1 if np.any(good) else otherwise


def _per_query(search, true, n_lists):
    return np.stack([_recall_of_neighbours(search(p), true) for p in range(1, n_lists + 1)])


def _doubling(search, true, target, n_lists):
    nprobe = 1
    while nprobe < n_lists and _recall_of_neighbours(search(nprobe), true).mean() < target - 1e-12:
        nprobe *= 2
    return min(nprobe, n_lists)


def _strictly(search, true, target, n_lists):
    return _first(_mean_recalls(search, true, n_lists) > target + 1e-12, n_lists)


def _worst_query(search, true, target, n_lists):
    return _first(_per_query(search, true, n_lists).min(axis=1) >= target - 1e-12, n_lists)


def _best_query(search, true, target, n_lists):
    return _first(_per_query(search, true, n_lists).max(axis=1) >= target - 1e-12, n_lists)


def _by_places(search, true, target, n_lists):
    return _first([(search(p) == true).mean() >= target for p in range(1, n_lists + 1)], n_lists)


NPROBE_MISTAKES = {
    "All lists always reach it; return the fewest that do.": lambda s, t, target, n: n,
    "A recall equal to the target reaches it: >=, not >.": _strictly,
    "You doubled and kept the first that is enough; fewer lists may do: look between it and the one before.": _doubling,
    "That is one too few: count lists from 1, and return the first that reaches the target.": lambda *a: (
        _choose_nprobe(*a) - 1
    ),
    "That is where recall is highest; the target may be reached with fewer lists.": lambda s, t, target, n: (
        int(_mean_recalls(s, t, n).argmax()) + 1
    ),
    "That is the recall nearest to the target, which may lie below it.": lambda s, t, target, n: (
        int(np.abs(_mean_recalls(s, t, n) - target).argmin()) + 1
    ),
    "You asked that every query reaches the target; it is about the mean over queries.": _worst_query,
    "You stopped as soon as one query reaches the target; it is about the mean over queries.": _best_query,
    "You compared place by place; a neighbour counts at whatever place it is found.": _by_places,
    "Where no number of lists reaches the target, return n_lists.": lambda s, t, target, n: _first(
        _mean_recalls(s, t, n) >= target - 1e-12, None
    ),
    "That is one too many: return the first that reaches the target itself.": lambda *a: min(
        _choose_nprobe(*a) + 1, a[-1]
    ),
}


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


def _graph_search(
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
    yield from [
        (
            "eight points on a line linked to the next, ef 1, from one end",
            line,
            chain,
            np.array([5.2]),
            0,
            1,
        ),
        ("the same with ef 3", line, chain, np.array([5.2]), 0, 3),
        ("a query beside the entry, which is an answer, too", line, chain, np.array([0.1]), 0, 2),
        (
            "two islands: nothing leads from the entry to the query's",
            line[:4],
            islands,
            np.array([3.0]),
            0,
            4,
        ),
        ("a single point, linked to itself", line[:1], np.array([[0]]), np.array([3.0]), 0, 2),
        ("eight points on a line and ef 8: all of them", line, chain, np.array([5.2]), 0, 8),
        ("a query beside the entry in the middle of the line", line, chain, np.array([2.9]), 3, 2),
    ]
    for n, m, ef in ((60, 3, 1), (60, 3, 5), (200, 4, 10), (200, 4, 30)):
        vectors = random.normal(size=(n, 6))
        near = np.linalg.norm(vectors[:, None] - vectors[None], axis=2).argsort(axis=1)
        links = np.concatenate([near[:, 1:m], random.randint(0, n, size=(n, 1))], axis=1)
        yield (
            f"{n} random points with {m} links, ef {ef}",
            vectors,
            links,
            random.normal(size=6),
            int(random.randint(n)),
            ef,
        )


def _greedy(vectors, links, query, entry, ef):
    far = np.linalg.norm(vectors - query, axis=1)
    while far[links[entry]].min() < far[entry]:
        entry = int(links[entry][far[links[entry]].argmin()])
    return np.array([entry], dtype=np.int64)


def _looks_at_all(vectors, links, query, entry, ef):
    return np.linalg.norm(vectors - query, axis=1).argsort()[:ef]


def _everything_reachable(vectors, links, query, entry, ef):
    return _graph_search(vectors, links, query, entry, len(vectors))[:ef]


GRAPH_MISTAKES = {
    "You walk to the nearest and stop, which is ef = 1: keep the ef best met, and go on from those not yet visited.": _greedy,
    "You compared the query with all vectors; the point is to follow the links, and to miss what they do not reach.": _looks_at_all,
    "You visited everything that can be reached: stop when the nearest item waiting is farther than the worst of the ef best.": _everything_reachable,
    "You stop when the nearest item waiting is farther than the *best* met; compare with the worst of the ef best.": partial(
        _graph_search, patience="best"
    ),
    "The entry is an item, too: put it among the best.": partial(_graph_search, with_entry=False),
    "That is the order of a heap; sort by distance before you return.": partial(
        _graph_search, ordered=False
    ),
    "That is farthest first; return the nearest first.": lambda *a: _graph_search(*a)[::-1].copy(),
    "That is one row too many: at most `ef`.": lambda vectors, links, query, entry, ef: (
        _graph_search(vectors, links, query, entry, ef + 1)
    ),
    "You kept ef + 1 best on the way, so that the walk goes on for longer: keep ef.": lambda vectors, links, query, entry, ef: (
        _graph_search(vectors, links, query, entry, ef + 1)[:ef]
    ),
    "The walk begins at `entry`, not at row 0.": lambda vectors, links, query, entry, ef: (
        _graph_search(vectors, links, query, 0, ef)
    ),
}
