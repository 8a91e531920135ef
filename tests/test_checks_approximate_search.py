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


def solved_filter(search, allowed, k):
    """By loops, on plain lists."""
    m = k
    while True:
        m = min(m, len(allowed))
        kept = [int(key) for key in search(m) if key >= 0 and allowed[key]]
        if len(kept) >= k or m == len(allowed):
            return np.array(kept[:k], dtype=np.int64)
        m *= 2


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
    "filtered_search": (checks.check_filtered_search, solved_filter),
    "choose_nprobe": (
        checks.check_choose_nprobe,
        solved_nprobe,
    ),
    "graph_search": (checks.check_graph_search, solved_walk),
}


def filter_that_wraps(search, allowed, k):
    m = min(k, len(allowed))
    while len(kept := search(m)[allowed[search(m)]]) < k and m < len(allowed):
        m = min(2 * m, len(allowed))
    return kept[:k]


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


def filter_with_isin(search, allowed, k):
    good, m = np.flatnonzero(allowed), min(k, len(allowed))
    keys = search(m)
    while np.isin(keys, good).sum() < k and m < len(allowed):
        m = min(2 * m, len(allowed))
        keys = search(m)
    return keys[np.isin(keys, good)][:k]


def filter_by_powers(search, allowed, k):
    for power in range(64):
        m = min(k * 2**power, len(allowed))
        keys = np.array([key for key in search(m) if key != -1], dtype=int)
        kept = keys[allowed[keys]]
        if kept.size >= k or m == len(allowed):
            return list(kept[:k])


def filter_recursively(search, allowed, k, m=None):
    m = min(m or k, len(allowed))
    kept = [key for key in search(m).tolist() if key in set(np.flatnonzero(allowed).tolist())]
    if len(kept) < k and m < len(allowed):
        return filter_recursively(search, allowed, k, 2 * m)
    return tuple(kept[:k])


def filter_with_a_last_place(search, allowed, k):
    marked = np.append(allowed, False)  # so that -1 is not allowed
    m = min(k, len(allowed))
    while marked[search(m)].sum() < k and m < len(allowed):
        m = min(2 * m, len(allowed))
    keys = search(m)
    return keys[marked[keys]][:k]


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
    "filtered_search": (
        filter_with_isin,
        filter_by_powers,
        filter_recursively,
        filter_with_a_last_place,
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
    "filtered_search": (
        lambda search, allowed, k: search(min(k, len(allowed))),
        (
            "first k only",
            lambda search, allowed, k: [
                i for i in search(min(k, len(allowed))) if i >= 0 and allowed[i]
            ],
        ),
        (
            "not needed",
            lambda search, allowed, k: solved_filter(lambda m: search(len(allowed)), allowed, k),
        ),
        ("ask for at least 1 and at most all", lambda search, allowed, k: search(2 * len(allowed))),
        (
            "not needed",
            lambda search, allowed, k: solved_filter(
                lambda m: search(min(8 * m, len(allowed))), allowed, k
            ),
        ),
        ("last vector", filter_that_wraps),
        lambda search, allowed, k: solved_filter(search, ~allowed, k),
        lambda search, allowed, k: solved_filter(search, allowed, k)[: k - 1],
        lambda search, allowed, k: np.flatnonzero(allowed)[:k],
        lambda search, allowed, k: np.sort(solved_filter(search, allowed, k)),
        lambda search, allowed, k: solved_filter(search, allowed, k)[::-1],
        lambda search, allowed, k: np.resize(solved_filter(search, allowed, k), k),
        (
            "-1",
            lambda search, allowed, k: [
                *(kept := solved_filter(search, allowed, k)),
                *[-1] * (k - len(kept)),
            ],
        ),
        lambda search, allowed, k: len(solved_filter(search, allowed, k)),
        lambda search, allowed, k: allowed[solved_filter(search, allowed, k)],
        lambda search, allowed, k: None,
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
