"""Checks of notebook 12: recall of neighbours, choosing nprobe for a target."""

import functools

import numpy as np

from cbirkit.checks._run import Case, Mistake, run_check


def check_neighbour_recall(answer):
    """Check ``recall_of_neighbours(found, true)``: the share of the true neighbours of each query that were found.

    Parameters
    ----------
    answer : callable
        Takes `found` (n, m) and `true` (n, k), keys, in any order, -1 in `found` for none; returns floats (n,).

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_neighbour_recall(lambda found, true: (found == true).mean(axis=1)).status
    'not yet'
    """
    return run_check(answer, _recall_of_neighbours, _recall_cases(), mistakes=RECALL_MISTAKES)


def _recall_of_neighbours(found, true):
    return (found[:, :, None] == true[:, None]).any(axis=1).mean(axis=1)


def _recall_cases():
    random = np.random.RandomState(0)
    cases = [
        Case((np.array([[4, 7, 9]]), np.array([[4, 7, 8]])), "found 4, 7, 9 and true 4, 7, 8"),
        Case((np.array([[3, 2, 1]]), np.array([[1, 2, 3]])), "all three found, in another order"),
        Case(
            (np.array([[1, 2], [3, 4]]), np.array([[3, 4], [1, 2]])),
            "two queries that found each other's neighbours",
        ),
        Case(
            (np.array([[5, -1, -1, -1]]), np.array([[5, 6, 7, 8]])),
            "one found and nothing else, which is -1",
        ),
        Case(
            (np.array([[9, 8, 7, 6, 5, 4]]), np.array([[4, 5]])),
            "six found, among them both true ones",
        ),
        Case((np.array([[1], [2]]), np.array([[1, 0], [5, 2]])), "one found for each, two true"),
        Case(
            (np.array([[5, 5, 5, 6]]), np.array([[5, 6, 7, 8]])),
            "a true neighbour found three times, which counts once",
        ),
        Case(
            (np.full((2, 3), -1), np.array([[1, 2], [0, 3]])),
            "an index that found nothing: -1 everywhere",
        ),
        Case((np.zeros((2, 0), int), np.array([[1, 2], [0, 3]])), "lists of length 0"),
    ]
    for n in (4, 9):
        true = np.stack([random.permutation(30)[:5] for _ in range(n)])
        found = np.stack([random.permutation(30)[:8] for _ in range(n)])
        cases.append(Case((found, true), f"{n} random lists of eight, five true ones each"))
    return cases


def _by_place(found, true):
    width = min(found.shape[1], true.shape[1])
    return (found[:, :width] == true[:, :width]).sum(axis=1) / true.shape[1]


RECALL_MISTAKES = (
    Mistake(
        _by_place, "You compared place by place; a neighbour counts at whatever place it is found."
    ),
    Mistake(
        lambda f, t: np.isin(t, f).mean(axis=1),
        "np.isin looked through the lists of all queries; each query has its own.",
    ),
    Mistake(
        lambda f, t: (f[:, :, None] == t[:, None]).any(axis=2).mean(axis=1),
        "You divided by how many were found, which is precision; divide by how many are true.",
    ),
    Mistake(
        lambda f, t: float(_recall_of_neighbours(f, t).mean()),
        "That is the mean over queries; return one number a query, (n,).",
    ),
    Mistake(
        lambda f, t: _recall_of_neighbours(f, t).astype(bool).astype(float),
        "That is 1 as soon as one is found (a hit rate); count the share of them.",
    ),
    Mistake(
        lambda f, t: (f[:, :, None] == t[:, None]).any(axis=1).sum(axis=1).astype(float),
        "You counted; divide by how many true neighbours there are.",
    ),
    Mistake(
        lambda f, t: (f[:, :, None] == t[:, None]).sum(axis=(1, 2)) / t.shape[1],
        "A neighbour that is found three times counts once: ask of each true one whether it was found.",
    ),
    Mistake(
        lambda f, t: _recall_of_neighbours(f[:, : t.shape[1]], t),
        "You cut `found` to the length of `true`; a neighbour counts at whatever place it is found.",
    ),
)


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


def _mean_recalls(search, true, n_lists):
    return np.array([_recall_of_neighbours(search(p), true).mean() for p in range(1, n_lists + 1)])


def _choose_nprobe(search, true, target, n_lists):
    reached = _mean_recalls(search, true, n_lists) >= target - 1e-12
    return int(np.argmax(reached)) + 1 if reached.any() else n_lists


def _searcher(needs):
    """A search whose query i finds its j-th neighbour once ``needs[i, j]`` lists are looked into, and the true keys."""
    n, k = needs.shape
    true = np.arange(n * k).reshape(n, k)
    return functools.partial(_found_with, needs, true), true


def _found_with(needs, true, nprobe):
    found = np.where(needs <= nprobe, true, 1_000_000 + true)
    return found[:, [1, 0, *range(2, true.shape[1])]]  # not quite in order


def _nprobe_cases():
    random = np.random.RandomState(1)
    spread = np.arange(1, 11)[None]
    uneven = np.array([[1, 1, 1, 1], [1, 1, 6, 6], [1, 3, 6, 9]])
    cases = [
        Case(
            (*_searcher(spread), 0.5, 16),
            "one more neighbour found with each list, target 0.5, which 5 lists reach exactly",
        ),
        Case(
            (*_searcher(spread), 0.91, 16), "the same, target 0.91, which takes all ten neighbours"
        ),
        Case((*_searcher(np.ones((3, 4), int)), 0.95, 8), "everything found in the first list"),
        Case((*_searcher(uneven), 0.0, 12), "target 0, which the first list reaches"),
        Case((*_searcher(np.full((2, 3), 5)), 0.9, 1), "one list in all, target 0.9: out of reach"),
        Case((*_searcher(spread), 1.0, 10), "all ten lists are needed, target 1"),
        Case(
            (*_searcher(uneven), 0.6, 12),
            "an easy query, a hard one and one between: the mean counts",
        ),
        Case(
            (*_searcher(np.where(spread > 9, 99, spread)), 0.95, 12),
            "a neighbour that no list holds, target 0.95: out of reach",
        ),
    ]
    for n_lists, target in ((32, 0.801), (32, 0.951), (100, 0.901)):
        needs = np.minimum(random.geometric(0.12, size=(40, 10)), n_lists)
        cases.append(
            Case(
                (*_searcher(needs), target, n_lists),
                f"random lists, {n_lists} of them, target {target}",
            )
        )
    return cases


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


NPROBE_MISTAKES = (
    Mistake(lambda s, t, target, n: n, "All lists always reach it; return the fewest that do."),
    Mistake(_strictly, "A recall equal to the target reaches it: >=, not >."),
    Mistake(
        _doubling,
        "You doubled and kept the first that is enough; fewer lists may do: look between it and the one before.",
    ),
    Mistake(
        lambda *a: _choose_nprobe(*a) - 1,
        "That is one too few: count lists from 1, and return the first that reaches the target.",
    ),
    Mistake(
        lambda s, t, target, n: int(_mean_recalls(s, t, n).argmax()) + 1,
        "That is where recall is highest; the target may be reached with fewer lists.",
    ),
    Mistake(
        lambda s, t, target, n: int(np.abs(_mean_recalls(s, t, n) - target).argmin()) + 1,
        "That is the recall nearest to the target, which may lie below it.",
    ),
    Mistake(
        _worst_query,
        "You asked that every query reaches the target; it is about the mean over queries.",
    ),
    Mistake(
        _best_query,
        "You stopped as soon as one query reaches the target; it is about the mean over queries.",
    ),
    Mistake(
        _by_places, "You compared place by place; a neighbour counts at whatever place it is found."
    ),
    Mistake(
        lambda s, t, target, n: _first(_mean_recalls(s, t, n) >= target - 1e-12, None),
        "Where no number of lists reaches the target, return n_lists.",
    ),
    Mistake(
        lambda *a: min(_choose_nprobe(*a) + 1, a[-1]),
        "That is one too many: return the first that reaches the target itself.",
    ),
)
