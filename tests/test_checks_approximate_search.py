"""The checks of notebook 12: right answers pass, wrong ones get the sentence that names the mistake."""

import numpy as np

from cbirkit import checks


def solved_recall(found, true):
    return np.array(
        [len(set(f) & set(t)) / len(t) for f, t in zip(found.tolist(), true.tolist(), strict=True)]
    )


def solved_nprobe(search, true, target, n_lists):
    low, high = 1, n_lists  # by halving
    while low < high:
        middle = (low + high) // 2
        low, high = (
            (low, middle)
            if solved_recall(search(middle), true).mean() >= target
            else (middle + 1, high)
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
    "recall_of_neighbours": (
        checks.check_neighbour_recall,
        solved_recall,
    ),
    "choose_nprobe": (
        checks.check_choose_nprobe,
        solved_nprobe,
    ),
    "graph_search": (checks.check_graph_search, solved_walk),
}


def forgets_what_it_saw(vectors, links, query, entry, ef):
    far, waiting = np.linalg.norm(vectors - query, axis=1), [entry]
    while waiting:
        waiting += links[waiting.pop(0)].tolist()
    return far.argsort()[:ef]


def sorts_the_links_of_the_entry(vectors, links, query, entry, ef):
    near = np.unique(np.append(links[entry], entry))
    return near[np.linalg.norm(vectors[near] - query, axis=1).argsort()[:ef]]


def by_isin(found, true):
    return [np.isin(t, f).mean() for f, t in zip(found, true, strict=True)]


def by_looking_up(found, true):
    out = np.zeros(len(true))
    for i in range(len(true)):
        for key in true[i]:
            out[i] += key in found[i]
    return out / true.shape[1]


def one_by_one(search, true, target, n_lists):
    for nprobe in range(1, n_lists):
        if np.mean(by_isin(search(nprobe), true)) >= target:
            return nprobe
    return n_lists


def by_searchsorted(search, true, target, n_lists):
    recalls = np.array([np.mean(by_looking_up(search(p), true)) for p in range(1, n_lists + 1)])
    return min(np.searchsorted(recalls, target) + 1, n_lists)


def squared_gaps(vectors, links, query, entry, ef):
    far = ((vectors - query) ** 2).sum(axis=1)
    met, visited = [entry], []
    while True:
        met.sort(key=lambda row: far[row])
        ahead = [row for row in met[:ef] if row not in visited]
        if not ahead:
            return met[:ef]
        visited.append(ahead[0])
        met += [row for row in dict.fromkeys(links[ahead[0]]) if row not in met]


def two_rounds(vectors, links, query, entry, ef):
    met = {entry, *links[entry].tolist()}
    met |= {other for row in met for other in links[row].tolist()}
    return sorted(met, key=lambda row: np.linalg.norm(vectors[row] - query))[:ef]


def by_dot_product(vectors, links, query, entry, ef):
    return solved_walk(
        vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9),
        links,
        query,
        entry,
        ef,
    )


RIGHT = {
    "recall_of_neighbours": (
        by_isin,
        by_looking_up,
        lambda f, t: tuple(by_isin(f, t)),
        lambda f, t: np.float32(by_isin(f, t)),
    ),
    "choose_nprobe": (
        one_by_one,
        by_searchsorted,
        lambda *a: float(one_by_one(*a)),
        lambda *a: np.array(one_by_one(*a)),
    ),
    "graph_search": (
        squared_gaps,
        lambda *a: np.array(squared_gaps(*a), dtype=np.int32),
        lambda *a: tuple(squared_gaps(*a)),
        lambda *a: solved_walk(*a).astype(float),
    ),
}

WRONG = {
    "recall_of_neighbours": (
        lambda found, true: np.isin(found, true).mean(axis=1),
        lambda found, true: np.full(len(true), solved_recall(found, true).mean()),
        lambda found, true: 1 - solved_recall(found, true),
        (
            "three times",
            lambda found, true: [
                np.isin(f, t).sum() / len(t) for f, t in zip(found, true, strict=True)
            ],
        ),
        lambda found, true: [
            len(set(f) & set(t)) / max(len(set(f) | set(t)), 1)
            for f, t in zip(found, true, strict=True)
        ],
        lambda found, true: [
            len(set(f) & set(t)) / len(f) for f, t in zip(found, true, strict=True)
        ],
        lambda found, true: [
            len(set(f) & set(t)) / min(max(len(f), 1), len(t))
            for f, t in zip(found, true, strict=True)
        ],
        lambda found, true: [
            len(set(f) & set(t)) / max(np.sum(f >= 0), 1) for f, t in zip(found, true, strict=True)
        ],
        lambda found, true: [
            len(set(f) & set(t)) // len(t) for f, t in zip(found, true, strict=True)
        ],
        lambda found, true: (found[:, :, None] == true[:, None]).any(axis=1).mean(axis=0),
        lambda found, true: [float(t[0] in f) for f, t in zip(found, true, strict=True)],
        (
            "length 0",
            lambda found, true: [
                np.isin(t, f).mean() if len(f) else np.nan for f, t in zip(found, true, strict=True)
            ],
        ),
    ),
    "choose_nprobe": (
        lambda search, true, target, n: solved_recall(
            search(solved_nprobe(search, true, target, n)), true
        ).mean(),
        lambda search, true, target, n: min(n, int(np.ceil(target * n))),
        lambda search, true, target, n: solved_nprobe(search, true[:1], target, n),
        lambda search, true, target, n: one_by_one(search, true[:, :1], target, n),
        lambda search, true, target, n: one_by_one(search, true, target, n - 1),
        lambda search, true, target, n: one_by_one(search, true, target + 0.05, n),
        lambda search, true, target, n: next(
            p for p in range(2, n + 1) if np.mean(by_isin(search(p), true)) >= target
        ),
        lambda search, true, target, n: next(
            (p for p in range(1, n + 1) if np.mean(by_isin(search(p), true)) >= target), -1
        ),
        lambda search, true, target, n: max(
            p for p in range(1, n + 1) if np.mean(by_isin(search(p), true)) <= target or p == 1
        ),
        lambda search, true, target, n: sum(
            np.mean(by_isin(search(p), true)) < target for p in range(1, n + 1)
        ),
        lambda search, true, target, n: next(
            (p for p in range(1, n + 1) if np.median(by_isin(search(p), true)) >= target), n
        ),
    ),
    "graph_search": (
        sorts_the_links_of_the_entry,
        two_rounds,
        by_dot_product,
        lambda v, links, q, entry, ef: solved_walk(v, links, q, entry, 2 * ef),
        lambda v, links, q, entry, ef: solved_walk(v, links, q, entry, ef)[:-1],
        lambda v, links, q, entry, ef: solved_walk(v, links, q, entry, 2 * ef)[:ef],
        (
            "ef + 1 best",
            lambda v, links, q, entry, ef: solved_walk(v, links, q, entry, ef + 1)[:ef],
        ),
        lambda v, links, q, entry, ef: solved_walk(v, links, q, entry, max(ef, 2))[:ef],
        lambda v, links, q, entry, ef: solved_walk(v, links[:, :1], q, entry, ef),
        lambda v, links, q, entry, ef: solved_walk(v, links[:, 1:], q, entry, ef),
        lambda v, links, q, entry, ef: np.sort(solved_walk(v, links, q, entry, ef)),
        lambda v, links, q, entry, ef: v[solved_walk(v, links, q, entry, ef)],
        lambda v, links, q, entry, ef: np.unique(solved_walk(v, links, q, entry, 1).repeat(ef)),
        lambda v, links, q, entry, ef: np.resize(solved_walk(v, links, q, entry, ef), ef),
    ),
}


def test_an_endless_walk_is_stopped(monkeypatch):
    monkeypatch.setitem(checks.run_check.__kwdefaults__, "seconds", 0.5)
    verdict = checks.check_graph_search(forgets_what_it_saw)
    assert verdict.status == "not yet" and "never stops" in verdict.message
