"""The checks of notebook 04: right answers pass, wrong ones get the sentence that names the mistake."""

import cv2
import numpy as np
import pandas as pd
import torch
from torch.nn.functional import avg_pool2d

from cbirkit import checks


def solved_pyramid(image, smallest):
    levels = [image.astype(np.float64)]
    while min(levels[-1].shape[:2]) // 2 >= smallest:
        x = levels[-1]
        h, w = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
        levels.append((x[0:h:2, 0:w:2] + x[1:h:2, 0:w:2] + x[0:h:2, 1:w:2] + x[1:h:2, 1:w:2]) / 4)
    return levels


def solved_precision(similarity):
    rows = []
    for row in similarity:
        best = sorted(row, reverse=True)
        tops = [sum(best[:k]) for k in range(1, len(row) + 1)]
        rows.append([sum(row[: k + 1]) / top if top else 0.0 for k, top in enumerate(tops)])
    return np.array(rows).reshape(similarity.shape)


def solved_cost(table):
    n = len(table)
    rows = [[min(table[i, i], table[j, j]) - table[i, j] for j in range(n)] for i in range(n)]
    return np.array(rows)


def solved_choice(scores, category, cost, budget):
    best, chosen = None, -1
    for i in np.argsort(cost, kind="stable"):
        if cost[i] > budget:
            continue
        means = [np.nanmean(scores[i][category == name]) for name in sorted(set(category))]
        if best is None or np.mean(means) > best + 1e-9:
            best, chosen = np.mean(means), int(i)
    return chosen


CHECKS = {
    "image_pyramid": (checks.check_image_pyramid, solved_pyramid),
    "hierarchical_precision": (checks.check_hierarchical_precision, solved_precision),
    "mismatch_cost": (checks.check_mismatch_cost, solved_cost),
    "choose_scales": (checks.check_choose_scales, solved_choice),
}


def by_torch(image, smallest):
    x, levels = torch.from_numpy(image).permute(2, 0, 1).double(), []
    while True:
        levels.append(x.permute(1, 2, 0))
        if min(x.shape[1:]) // 2 < smallest:
            return levels
        x = avg_pool2d(x, 2)


def by_opencv(image, smallest):
    levels = [image.astype(np.float32)]
    while min(levels[-1].shape[:2]) // 2 >= smallest:
        x = levels[-1]
        h, w = x.shape[0] // 2, x.shape[1] // 2
        small = cv2.resize(x[: 2 * h, : 2 * w], (w, h), interpolation=cv2.INTER_AREA)
        levels.append(small)
    return levels


def by_pandas(scores, category, cost, budget):
    means = pd.DataFrame(scores.T).groupby(category).mean().mean()
    table = pd.DataFrame({"mean": means.round(9), "cost": cost})
    table = table[table["cost"] <= budget].sort_values(["mean", "cost"], ascending=[False, True])
    return table.index[0] if len(table) else -1


RIGHT = {
    "image_pyramid": (
        by_torch,
        by_opencv,
        lambda *a: tuple(solved_pyramid(*a)),
        lambda *a: [level.tolist() for level in solved_pyramid(*a)],
    ),
    "hierarchical_precision": (
        lambda s: solved_precision(s).astype(np.float32),
        lambda s: torch.from_numpy(solved_precision(s)),
        lambda s: np.cumsum(s, 1) / np.maximum(np.cumsum(-np.sort(-s, 1), 1), 1e-12),
        lambda s: np.nan_to_num(np.cumsum(s, 1) / np.cumsum(-np.sort(-s, 1), 1)),
    ),
    "mismatch_cost": (
        lambda t: solved_cost(t).tolist(),
        lambda t: torch.from_numpy(solved_cost(t)),
        lambda t: solved_cost(t).astype(np.float32),
        lambda t: np.minimum.outer(np.diag(t), np.diag(t)) - t,
        lambda t: pd.DataFrame(solved_cost(t)),
    ),
    "choose_scales": (
        by_pandas,
        lambda *a: float(solved_choice(*a)),
        lambda *a: np.int64(solved_choice(*a)),
        lambda *a: torch.tensor(solved_choice(*a)),
    ),
}

WRONG = {
    "image_pyramid": (
        lambda i, s: solved_pyramid(i[::2, ::2], s),
        lambda i, s: solved_pyramid(i, s + 1),
        lambda i, s: solved_pyramid(i, s - 1 if s > 1 else s)[:-1],
        lambda i, s: solved_pyramid(i[..., ::-1], s),
        lambda i, s: solved_pyramid(i.transpose(1, 0, 2), s),
        lambda i, s: solved_pyramid(i.mean(axis=2, keepdims=True).repeat(3, axis=2), s),
        lambda i, s: np.concatenate([x.ravel() for x in solved_pyramid(i, s)]),
        lambda i, s: [x.mean() for x in solved_pyramid(i, s)],
        lambda i, s: [cv2.resize(x, i.shape[1::-1]) for x in solved_pyramid(i, s)],
        lambda i, s: [cv2.pyrDown(x) if n else x for n, x in enumerate(solved_pyramid(i, s))],
        lambda i, s: [np.rint(x) for x in solved_pyramid(i, s)],
        lambda i, s: [solved_pyramid(i, s)[0]] * len(solved_pyramid(i, s)),
        lambda i, s: [np.clip(x, 0, 127) for x in solved_pyramid(i, s)],
    ),
    "hierarchical_precision": (
        lambda s: solved_precision(s) ** 2,
        lambda s: solved_precision(np.sort(s, axis=1)),
        lambda s: np.maximum.accumulate(solved_precision(s), axis=1),
        lambda s: solved_precision(s.T).T,
        lambda s: solved_precision(s)[:, :1],
        lambda s: np.where(s.any(axis=1, keepdims=True), solved_precision(s), 1),
        lambda s: 1 - solved_precision(s),
        lambda s: solved_precision(np.round(s)),
        lambda s: np.cumsum(s, axis=1) / max(s.sum(), 1),
        lambda s: s.cumsum(axis=1) / (np.arange(s.shape[1]) + 1e-9 + 1),
        lambda s: np.ones(s.shape),
        lambda s: solved_precision(s).mean(axis=1),
    ),
    "mismatch_cost": (
        lambda t: solved_cost(t).T,
        lambda t: solved_cost(t)[::-1],
        lambda t: solved_cost(t).mean(),
        lambda t: solved_cost(t).mean(axis=1),
        lambda t: solved_cost(t)[np.triu_indices(len(t))],
        lambda t: np.triu(solved_cost(t)),
        lambda t: np.tril(solved_cost(t)),
        lambda t: solved_cost(t) + np.eye(len(t)),
        lambda t: solved_cost((t + t.T) / 2),
        lambda t: np.round(solved_cost(t)),
        lambda t: np.zeros(t.shape),
        lambda t: t.mean() - t,
        lambda t: np.sqrt(np.abs(np.outer(np.diag(t), np.diag(t)))) - t,
    ),
    "choose_scales": (
        lambda s, g, c, b: int(np.nanmean(s, axis=1).argmax()),
        lambda s, g, c, b: solved_choice(s, g, c, b) + 1,
        lambda s, g, c, b: solved_choice(s, g, c, b * 0.99),
        lambda s, g, c, b: solved_choice(s, g, c, b * 2),
        lambda s, g, c, b: solved_choice(s, g, -c, -b),
        lambda s, g, c, b: solved_choice(s, np.arange(s.shape[1]) % 2, c, b),
        lambda s, g, c, b: solved_choice(s[::-1], g, c[::-1], b),
        lambda s, g, c, b: solved_choice(np.nan_to_num(s, nan=1.0), g, c, b),
        lambda s, g, c, b: solved_choice(s[:, :3], g[:3], c, b),
        lambda s, g, c, b: [solved_choice(s, g, c, b)],
        lambda s, g, c, b: None if (c > b).all() else solved_choice(s, g, c, b),
        lambda s, g, c, b: 0,
        lambda s, g, c, b: -1,
    ),
}
