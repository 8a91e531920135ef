"""The checks of notebook 21: right answers pass, wrong ones get the sentence that names the mistake."""

from itertools import pairwise

import numpy as np
import torch

from cbirkit import checks, explain


def solved_occlusion(losses, corners, window, shape):
    y, x = np.indices(shape)
    inside = (
        (y[..., None] >= corners[:, 0])
        & (y[..., None] < corners[:, 0] + window[0])
        & (x[..., None] >= corners[:, 1])
        & (x[..., None] < corners[:, 1] + window[1])
    )  # (h, w, n)
    return (inside * losses).sum(axis=2) / np.maximum(inside.sum(axis=2), 1)


def solved_deletion(score, image, fill, saliency, steps, insert=False):
    order = np.argsort(-saliency.ravel())
    values = []
    for step in range(steps + 1):
        gone = np.zeros(saliency.size, bool)
        gone[order[: round(step / steps * saliency.size)]] = True
        gone = gone.reshape(saliency.shape)[..., None] != insert
        values.append(score(np.where(gone, fill, image)))
    return np.trapezoid(values, dx=1 / steps)


CHECKS = {
    "pointing_game": (checks.check_pointing_game, explain.pointing),
    "occlusion_map": (checks.check_occlusion_map, solved_occlusion),
    "deletion_score": (checks.check_deletion_score, solved_deletion),
}


def pointing_by_loop(saliency, mask):
    best = max(float(value) for value in np.ravel(saliency))
    hits = [bool(m) for s, m in zip(np.ravel(saliency), np.ravel(mask), strict=True) if s == best]
    return sum(hits) / len(hits) if mask.any() else float("nan")


def pointing_in_torch(saliency, mask):
    saliency, mask = torch.from_numpy(saliency), torch.from_numpy(mask)
    if not mask.any():
        return torch.tensor(float("nan"))
    return mask[saliency == saliency.max()].float().mean()


def occlusion_by_pixel(losses, corners, window, shape):
    out = [[0.0] * shape[1] for _ in range(shape[0])]
    for y in range(shape[0]):
        for x in range(shape[1]):
            mine = [
                loss
                for loss, (t, left) in zip(losses, corners, strict=True)
                if t <= y < t + window[0] and left <= x < left + window[1]
            ]
            out[y][x] = float(np.mean(mine)) if mine else 0.0
    return out


def occlusion_in_torch(losses, corners, window, shape):
    total, cover = torch.zeros(2, *shape, dtype=torch.float64)
    for loss, (top, left) in zip(losses, corners, strict=True):
        total[top : top + window[0], left : left + window[1]] += float(loss)
        cover[top : top + window[0], left : left + window[1]] += 1
    return total / cover.clamp(min=1)


def deletion_in_place(score, image, fill, saliency, steps):
    now, order = image.copy(), np.argsort(saliency, axis=None)[::-1]
    counts = np.linspace(0, saliency.size, steps + 1).round().astype(int)
    values = [score(now)]
    for low, high in pairwise(counts):
        at = np.unravel_index(order[low:high], saliency.shape)
        now[at] = fill[at]
        values.append(score(now))
    return sum((a + b) / 2 for a, b in pairwise(values)) / steps


def deletion_by_threshold(score, image, fill, saliency, steps):
    ranked = np.sort(saliency, axis=None)[::-1]
    values = [score(image)]
    for step in range(1, steps + 1):
        count = round(step * saliency.size / steps)
        lowest = ranked[count - 1] if count else np.inf
        values.append(score(np.where((saliency >= lowest)[..., None], fill, image)))
    return np.float32(np.trapezoid(values, np.linspace(0, 1, steps + 1)))


RIGHT = {
    "pointing_game": (
        pointing_by_loop,
        pointing_in_torch,
        lambda s, m: np.float32(pointing_by_loop(s, m)),
        lambda s, m: np.mean(m[s >= s.max()]) if m.sum() else np.nan,
    ),
    "occlusion_map": (
        occlusion_by_pixel,
        occlusion_in_torch,
        lambda *a: solved_occlusion(*a).astype(np.float32),
        lambda *a: tuple(map(tuple, solved_occlusion(*a))),
    ),
    "deletion_score": (
        deletion_in_place,
        deletion_by_threshold,
        lambda *a: torch.tensor(solved_deletion(*a)),
        lambda *a: np.array(deletion_in_place(*a)),
    ),
}

WRONG = {
    "pointing_game": (
        lambda s, m: explain.pointing(s, ~m),
        lambda s, m: explain.pointing(s, m) > 0.5,
        lambda s, m: np.nan_to_num(explain.pointing(s, m)),
        lambda s, m: 100 * explain.pointing(s, m),
        lambda s, m: explain.pointing(s.round(), m),
        lambda s, m: explain.pointing(s, m) if s.max() > 0 else 0.0,
        lambda s, m: float(m[s == s.max()].sum()) if m.any() else float("nan"),
        lambda s, m: explain.pointing(s[::-1], m),
        lambda s, m: explain.pointing(s, m[:, ::-1]),
        lambda s, m: explain.pointing(s.astype(int), m),
        lambda s, m: explain.mass_inside(s, m) if m.any() else float("nan"),
        lambda s, m: float(m[s == s.max()].mean() > 0) if m.any() else 0.0,
    ),
    "occlusion_map": (
        lambda lo, c, w, s: np.zeros(s),
        lambda lo, c, w, s: solved_occlusion(lo, c, w, s).T,
        lambda lo, c, w, s: solved_occlusion(lo, c, w, s[::-1]),
        lambda lo, c, w, s: np.abs(solved_occlusion(lo, c, w, s)),
        lambda lo, c, w, s: solved_occlusion(lo, c + 1, w, s),
        lambda lo, c, w, s: solved_occlusion(lo, c - np.array(w) // 2, w, s),
        lambda lo, c, w, s: (
            solved_occlusion(lo, c, w, s) / max(np.abs(solved_occlusion(lo, c, w, s)).max(), 1e-9)
        ),
        lambda lo, c, w, s: (
            solved_occlusion(lo, c, w, s) - (lo.mean() if len(lo) else 0) * (len(lo) > 1)
        ),
        lambda lo, c, w, s: np.where(
            solved_occlusion(np.ones(len(lo)), c, w, s) > 0, solved_occlusion(lo, c, w, s), np.nan
        ),
        lambda lo, c, w, s: solved_occlusion(np.sort(lo), c, w, s),
        lambda lo, c, w, s: solved_occlusion(lo[:-1], c[:-1], w, s) if len(lo) > 1 else np.zeros(s),
        lambda lo, c, w, s: solved_occlusion(lo, np.minimum(c, np.array(s) - np.array(w)), w, s),
    ),
    "deletion_score": (
        lambda *a: solved_deletion(*a, insert=True),
        lambda s, i, f, m, n: solved_deletion(s, i, f, -m, n),
        lambda s, i, f, m, n: solved_deletion(s, i, f, m.T.reshape(m.shape), n),
        lambda s, i, f, m, n: solved_deletion(s, i, f, m, n + 1),
        lambda s, i, f, m, n: solved_deletion(s, i, f, m, max(n - 1, 1)),
        lambda s, i, f, m, n: solved_deletion(s, i, f, np.abs(m), n),
        lambda s, i, f, m, n: solved_deletion(s, f, i, m, n),
        lambda s, i, f, m, n: solved_deletion(s, i, f, m, n) / s(i),
        lambda s, i, f, m, n: solved_deletion(s, i, np.full_like(f, 128), m, n),
        lambda s, i, f, m, n: solved_deletion(s, i / 255, f, m, n),
        lambda s, i, f, m, n: 1 - solved_deletion(s, i, f, m, n),
        lambda s, i, f, m, n: solved_deletion(s, i, f, m, n) * (n + 1) / n,
        ("changed its input", lambda s, i, f, m, n: deletion_into(s, i, f, m, n)),
    ),
}


def deletion_into(score, image, fill, saliency, steps):
    value = solved_deletion(score, image, fill, saliency, steps)
    image[:] = fill
    return value
