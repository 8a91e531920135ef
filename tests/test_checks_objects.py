"""The checks of notebook 14: right answers pass, wrong ones get the sentence that names the mistake."""

import numpy as np
import torch
from torchvision.ops import nms

from cbirkit import checks
from cbirkit.objects import Region, box_iou, non_maximum_suppression, pool_regions


def solved_pooling(feature_map, mask):
    return pool_regions(feature_map, [Region.from_mask(mask)])[0]


CHECKS = {
    "masked_pooling": (checks.check_masked_pooling, solved_pooling),
    "suppressed": (checks.check_suppressed, non_maximum_suppression),
}


def by_enlarging(feature_map, mask):
    """The map at the size of the mask, its pixels averaged under the mask."""
    tall, wide = (
        size // cells for size, cells in zip(mask.shape, feature_map.shape[1:], strict=True)
    )
    total = feature_map.repeat(tall, axis=1).repeat(wide, axis=2)[:, mask].sum(axis=1)
    return total / np.sqrt((total**2).sum())


def by_loops(feature_map, mask):
    c, h, w = feature_map.shape
    total = np.zeros(c)
    for y, x in np.argwhere(mask):
        total += feature_map[:, y * h // mask.shape[0], x * w // mask.shape[1]]
    return (total / np.linalg.norm(total)).tolist()


def by_area(feature_map, mask):
    pooled = torch.nn.functional.adaptive_avg_pool2d(
        torch.from_numpy(mask).double()[None], feature_map.shape[1:]
    )[0].numpy()
    total = np.einsum("chw,hw->c", feature_map, pooled)
    return total / np.linalg.norm(total)


def by_torchvision(boxes, scores, iou):
    return nms(torch.from_numpy(boxes).double().reshape(-1, 4), torch.from_numpy(scores), iou)


def by_greedy(boxes, scores, iou):
    left, kept = list(np.argsort(scores)[::-1]), []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [one for one in left if iou_of(boxes[best], boxes[one]) <= iou]
    return kept


def by_hint(boxes, scores, iou):
    overlaps, kept = box_iou(boxes, boxes), []
    for i in np.argsort(-scores):
        if (overlaps[i, kept] <= iou).all():
            kept.append(i)
    return kept


def iou_of(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(w, 0) * max(h, 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def block_sums(feature_map, mask, dtype=None):
    (h, w), (tall, wide) = feature_map.shape[1:], mask.shape
    return mask.reshape(h, tall // h, w, wide // w).sum(axis=(1, 3), dtype=dtype)


def by_share(feature_map, mask):
    return block_sums(feature_map, mask) * feature_map[0].size / mask.size


def unit(vector):
    return vector / np.linalg.norm(vector)


RIGHT = {
    "masked_pooling": (
        by_enlarging,
        by_loops,
        by_area,
        lambda *a: by_enlarging(*a).astype(np.float32),
        lambda *a: torch.from_numpy(by_area(*a)),
    ),
    "suppressed": (
        by_torchvision,
        by_greedy,
        by_hint,
        lambda *a: tuple(map(int, by_greedy(*a))),
        lambda *a: np.array(by_greedy(*a), dtype=float),
    ),
}

WRONG = {
    "masked_pooling": (
        lambda f, m: solved_pooling(f, m) ** 2,
        lambda f, m: unit(f.mean(axis=(1, 2))) * m.mean(),
        lambda f, m: solved_pooling(f, m.T) if m.shape[0] == m.shape[1] else solved_pooling(f, m),
        lambda f, m: solved_pooling(f, m[::-1]),
        lambda f, m: (
            unit((f * (by_share(f, m) >= 0.5)).sum(axis=(1, 2)))
            if (by_share(f, m) >= 0.5).any()
            else f[:, 0, 0]
        ),
        lambda f, m: unit((f * by_share(f, m) ** 2).sum(axis=(1, 2))),
        lambda f, m: unit((f * np.sqrt(by_share(f, m))).sum(axis=(1, 2))),
        lambda f, m: solved_pooling(f, m) / np.abs(solved_pooling(f, m)).max(),
        lambda f, m: unit(np.abs(solved_pooling(f, m))),
        lambda f, m: unit(
            (f * block_sums(f, m, np.uint8)).sum(axis=(1, 2))
        ),  # 255 pixels a cell at most
        lambda f, m: unit(f[:, by_share(f, m) == by_share(f, m).max()].mean(axis=1)),
        lambda f, m: unit(solved_pooling(f, m) - solved_pooling(f, m).mean()),
    ),
    "suppressed": (
        lambda b, s, iou: np.sort(non_maximum_suppression(b, s, iou)),
        lambda b, s, iou: non_maximum_suppression(b, s, 0.5),
        lambda b, s, iou: non_maximum_suppression(b, s, iou)[:1],
        lambda b, s, iou: non_maximum_suppression(b, s, max(iou - 1e-9, 0)),
        lambda b, s, iou: non_maximum_suppression(b, -s, iou),
        lambda b, s, iou: non_maximum_suppression(b, np.abs(s), iou),
        lambda b, s, iou: b[non_maximum_suppression(b, s, iou)],
        lambda b, s, iou: np.isin(np.arange(len(b)), non_maximum_suppression(b, s, iou)),
        lambda b, s, iou: non_maximum_suppression(b, s, iou)[::-1],
        lambda b, s, iou: [
            i
            for i in np.argsort(-s)
            if all(iou_of(b[i], b[j]) <= iou for j in range(len(b)) if s[j] > s[i])
        ],
        lambda b, s, iou: by_greedy(b[:, [1, 0, 2, 3]], s, iou),
        lambda b, s, iou: by_greedy(np.c_[b[:, :2], b[:, 2:] + b[:, :2]], s, iou),
        lambda b, s, iou: by_greedy(b, s, iou) if len(b) != 1 else [],
        lambda b, s, iou: np.argsort(-s)[: len(by_greedy(b, s, iou))],
    ),
}
