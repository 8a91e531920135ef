"""The checks of notebook 07: right answers pass, wrong ones get the sentence that names the mistake."""

import itertools

import numpy as np
import torch
from sklearn.preprocessing import normalize

from cbirkit import checks, metrics


def solved_map(relevant):
    return float(metrics.map_at_r(relevant))


def solved_semi_hard(distances, labels, margin):
    n = len(labels)
    chosen = np.zeros((n, n, n), dtype=bool)
    for a, p, q in itertools.product(range(n), repeat=3):
        if a != p and labels[a] == labels[p] and labels[a] != labels[q]:
            chosen[a, p, q] = distances[a, p] < distances[a, q] <= distances[a, p] + margin
    return chosen


def solved_gradient(anchors, positives, negatives, margin):
    a, p, q = (torch.tensor(part) for part in (anchors, positives, negatives))
    a.requires_grad_(True)
    torch.relu((a - p).norm(dim=1) - (a - q).norm(dim=1) + margin).mean().backward()
    return a.grad.numpy()


CHECKS = {
    "map_at_r": (checks.check_map_at_r, solved_map),
    "semi_hard": (checks.check_semi_hard, solved_semi_hard),
    "triplet_gradient": (
        checks.check_triplet_gradient,
        solved_gradient,
    ),
}


def test_an_answer_that_changes_what_it_is_given_is_told():
    def changing(distances, labels, margin):
        right = solved_semi_hard(distances, labels, margin)
        np.fill_diagonal(distances, 9.0)
        return right

    assert "work on a copy" in checks.check_semi_hard(changing).message


def map_by_loop(relevant):
    R = int(np.count_nonzero(relevant))
    if not R:
        return float("nan")
    return sum(relevant[:k].mean() for k in range(1, R + 1) if relevant[k - 1]) / R


def map_of_nan(relevant):
    """0 / 0 is NaN, with a warning."""
    R = relevant.sum()
    return np.divide((np.cumsum(relevant)[:R] / np.arange(1, R + 1))[relevant[:R]].sum(), R)


def mined(distances, labels, margin):
    gap = distances[:, None, :] - distances[:, :, None]
    same = np.equal.outer(labels, labels)
    return (
        np.einsum("ap,an->apn", same ^ np.eye(len(same), dtype=bool), ~same)
        & (gap > 0)
        & (gap <= margin)
    )


def anchor_by_anchor(distances, labels, margin):
    cube = []
    for a, near in enumerate(distances):
        positive = (labels == labels[a]) & (np.arange(len(labels)) != a)
        cube.append(
            positive[:, None]
            & (labels != labels[a])
            & (near > near[:, None])
            & (near <= near[:, None] + margin)
        )
    return cube


def gradient_by_loop(anchors, positives, negatives, margin):
    rows = []
    for a, p, q in zip(anchors, positives, negatives, strict=True):
        near, far = np.linalg.norm(a - p), np.linalg.norm(a - q)
        rows.append((a - p) / near - (a - q) / far if near - far + margin > 0 else 0 * a)
    return np.array(rows) / len(rows)


def pairs(labels):
    same = labels[:, None] == labels
    return (same & ~np.eye(len(labels), dtype=bool))[:, :, None] & ~same[:, None, :]


def first_ranks(relevant, n, by):
    first = relevant[:n]
    return (
        (first.cumsum() / np.arange(1, len(first) + 1) * first).sum() / by if by else float("nan")
    )


RIGHT = {
    "map_at_r": (
        map_by_loop,
        map_of_nan,
        lambda r: np.array(map_of_nan(r)),
        lambda r: np.float32(map_by_loop(r)),
        lambda r: first_ranks(r, r.sum(), r.sum()),
    ),
    "semi_hard": (
        mined,
        anchor_by_anchor,
        lambda *a: mined(*a).tolist(),
        lambda *a: torch.from_numpy(mined(*a)),
    ),
    "triplet_gradient": (
        gradient_by_loop,
        lambda *a: torch.from_numpy(gradient_by_loop(*a)),
        lambda *a: gradient_by_loop(*a).tolist(),
        lambda *a: gradient_by_loop(*a).astype(np.float32),
    ),
}

WRONG = {
    "map_at_r": (
        ("R + 1", lambda r: first_ranks(r, r.sum() + 1, r.sum())),
        ("R + 1", lambda r: first_ranks(r, r.sum() + 1, r.any() * (r.sum() + 1))),
        lambda r: (
            first_ranks(r, r.sum() - 1, r.sum())
            if r.sum() > 1
            else float(r[0])
            if r.any()
            else np.nan
        ),
        lambda r: first_ranks(r, r.sum() - 1, r.sum()),
        lambda r: first_ranks(r[1:], r.sum(), r.sum()),
        lambda r: first_ranks(r, r.sum(), r[: r.sum()].sum()),
        lambda r: first_ranks(r, r.sum(), max(r.sum(), 1)),
        lambda r: first_ranks(r, 10, r.sum()),
        lambda r: map_by_loop(r[:50]),
        lambda r: first_ranks(r[::-1], r.sum(), r.sum()),
        lambda r: map_by_loop(r) if r[0] else np.nan,
        lambda r: float(r[: r.sum()].mean()) if r.any() else np.nan,
        lambda r: round(map_by_loop(r), 3),
        lambda r: (
            (
                r[: r.sum()].astype(np.uint8).cumsum(dtype=np.uint8)
                / np.arange(1, r.sum() + 1)
                * r[: r.sum()]
            ).sum()
            / r.sum()
        ),
    ),
    "semi_hard": (
        (
            "farther means >, not >=",
            lambda d, y, m: (
                solved_semi_hard(d, y, m) | ((d[:, None, :] == d[:, :, None]) & pairs(y))
            ),
        ),
        (
            "<=, not <",
            lambda d, y, m: solved_semi_hard(d, y, m) & (d[:, None, :] < d[:, :, None] + m),
        ),
        (
            "Both bounds",
            lambda d, y, m: (
                pairs(y) & (d[:, None, :] >= d[:, :, None]) & (d[:, None, :] < d[:, :, None] + m)
            ),
        ),
        ("copy", lambda d, y, m: solved_semi_hard(d, y, m) & (d > 0)[:, :, None]),
        lambda d, y, m: solved_semi_hard(d, y, m) & (d > 0)[:, None, :] & (d[:, :, None] > 0),
        lambda d, y, m: solved_semi_hard(d, y, m).any(axis=0),
        lambda d, y, m: solved_semi_hard(d, y, 2 * m),
        lambda d, y, m: solved_semi_hard(d**2, y, m),
        lambda d, y, m: solved_semi_hard(d, y, m).transpose(1, 0, 2),
        lambda d, y, m: (
            np.triu(np.ones_like(d, dtype=bool))[:, :, None] & solved_semi_hard(d, y, m)
        ),
        lambda d, y, m: np.argwhere(solved_semi_hard(d, y, m)),
        lambda d, y, m: solved_semi_hard(d, y, m) & (np.arange(len(y)) < len(y) - 1)[:, None, None],
        lambda d, y, m: pairs(y) & (np.abs(d[:, None, :] - d[:, :, None]) <= m),
        ("true/false", lambda d, y, m: solved_semi_hard(d, y, m).astype(int)),
    ),
    "triplet_gradient": (
        lambda a, p, q, m: gradient_by_loop(a, q, p, m),
        lambda a, p, q, m: gradient_by_loop(a, p, q, m) * len(a),
        lambda a, p, q, m: gradient_by_loop(p, a, q, m),
        lambda a, p, q, m: gradient_by_loop(a, p, q, -m),
        lambda a, p, q, m: gradient_by_loop(a, p, q, 1.0),
        lambda a, p, q, m: gradient_by_loop(a, p, q, m).mean(axis=0),
        lambda a, p, q, m: gradient_by_loop(a, p, q, m) / 2,
        lambda a, p, q, m: ((a - p) - (a - q)) / len(a),
        lambda a, p, q, m: (q - p) / np.linalg.norm(q - p, axis=1, keepdims=True) / len(a),
        lambda a, p, q, m: normalize(gradient_by_loop(a, p, q, m)),
        lambda a, p, q, m: gradient_by_loop(*(normalize(x + 1e-12) for x in (a, p, q)), m),
        lambda a, p, q, m: np.sign(gradient_by_loop(a, p, q, m)) / len(a),
        lambda a, p, q, m: (
            (a - p) / np.linalg.norm(a - p, axis=1) / len(a)
            - (a - q) / np.linalg.norm(a - q, axis=1) / len(a)
        ),
    ),
}
