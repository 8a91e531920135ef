"""Checks of notebook 14: masked pooling and non-maximum suppression."""

from functools import partial

import numpy as np

from .running import run_check


def check_masked_pooling(answer):
    """Check ``masked_pooling(feature_map, mask)``: the mean of a feature map under a mask, of length 1.

    Parameters
    ----------
    answer : callable
        Takes `feature_map` (c, h, w) and `mask` (h * s, w * t), bool, not empty; returns (c,): cells weighted by the share of their
        pixels that the mask covers.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_masked_pooling(lambda feature_map, mask: feature_map.mean(axis=(1, 2))).passed
    False
    """
    return run_check(answer, _masked_pooling, _pooling_cases(), mistakes=POOLING_MISTAKES)


def _shares(feature_map, mask):
    """Share of each cell that the mask covers: (h, w)."""
    (h, w), (tall, wide) = feature_map.shape[1:], mask.shape
    return mask.reshape(h, tall // h, w, wide // w).mean(axis=(1, 3))


def _unit(vector):
    return vector / np.linalg.norm(vector)


def _masked_pooling(feature_map, mask):
    weights = _shares(feature_map, mask)
    return _unit((feature_map * weights).sum(axis=(1, 2)) / weights.sum())


def _pooling_cases():
    random = np.random.RandomState(0)
    cells = np.zeros((8, 8), bool)
    cells[:4, 4:] = True
    corner = np.zeros((8, 8), bool)
    corner[3:6, 2:7] = True
    dot = np.zeros((12, 20), bool)
    dot[7, 13] = True
    yield from [
        ("a mask that is exactly one of four cells", random.rand(3, 2, 2), cells),
        ("a mask that covers its cells in part", random.rand(3, 2, 2), corner),
        ("a mask of one pixel, smaller than a cell", random.rand(4, 3, 5), dot),
        (
            "a scattered mask, and a map with values below 0",
            random.rand(5, 3, 4) - 0.5,
            random.rand(9, 12) < 0.3,
        ),
        ("a mask of the whole image", random.rand(6, 4, 4), np.ones((16, 16), bool)),
        (
            "a mask twice as tall and four times as wide as the map",
            random.rand(3, 3, 5),
            random.rand(6, 20) < 0.4,
        ),
        ("a mask of the size of the map", random.rand(4, 3, 3), random.rand(3, 3) < 0.5),
        ("a map of one cell", random.rand(2, 1, 1), dot),
        (
            "cells of 1024 pixels, more than a byte can count",
            random.rand(3, 2, 2),
            random.rand(64, 64) < 0.7,
        ),
    ]


def _any_cell(feature_map, mask):
    return _unit(feature_map[:, _shares(feature_map, mask) > 0].mean(axis=1))


def _nearest_cell(feature_map, mask):
    step = mask.shape[0] // feature_map.shape[1]
    inside = mask[::step, ::step]
    return (
        _unit(feature_map[:, inside].mean(axis=1)) if inside.any() else np.zeros(len(feature_map))
    )


def _square_cells(feature_map, mask):
    side = mask.shape[0] // feature_map.shape[1]
    h, w = (min(n, size // side) for n, size in zip(feature_map.shape[1:], mask.shape, strict=True))
    return _masked_pooling(feature_map[:, :h, :w], mask[: h * side, : w * side])


POOLING_MISTAKES = {
    "This is the mean of the whole map: the mask is not used.": lambda f, m: _unit(
        f.mean(axis=(1, 2))
    ),
    "A cell that the mask only touches counts as much as one that it fills: weight cells by the covered share.": _any_cell,
    "The mask is sampled at one pixel a cell, so small things vanish: take the share of each cell.": _nearest_cell,
    "The vector is not of length 1: divide it by its norm.": lambda f, m: (
        (f * _shares(f, m)).sum(axis=(1, 2)) / _shares(f, m).sum()
    ),
    "This is the largest value under the mask, not the mean.": lambda f, m: _unit(
        (f * _shares(f, m)).max(axis=(1, 2))
    ),
    "This pools what lies around the mask.": lambda f, m: (
        _unit((_shares(f, ~m) * f).sum(axis=(1, 2))) if not m.all() else np.zeros(len(f))
    ),
    "Height and width may be different multiples of the map's: divide each by its own.": _square_cells,
    "You scaled every cell to length 1 before the mean; scale the vector after it.": lambda f, m: (
        _unit((f / np.maximum(np.linalg.norm(f, axis=0), 1e-12) * _shares(f, m)).sum(axis=(1, 2)))
    ),
    "You cut values below 0 away: a map may hold some.": lambda f, m: _unit(
        np.maximum((f * _shares(f, m)).sum(axis=(1, 2)), 0)
    ),
    "The absolute values sum to 1 (L1): divide by the L2 norm.": lambda f, m: (
        (f * _shares(f, m)).sum(axis=(1, 2)) / np.abs((f * _shares(f, m)).sum(axis=(1, 2))).sum()
    ),
}


def check_suppressed(answer):
    """Check ``suppressed(boxes, scores, iou)``: non-maximum suppression.

    Parameters
    ----------
    answer : callable
        Takes `boxes` (n, 4) as x0, y0, x1, y1, `scores` (n,), all different, and `iou`; returns the positions kept, best first,
        (n_kept,): of two boxes that overlap by more than `iou` the better one.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_suppressed(lambda boxes, scores, iou: np.argsort(-scores)).passed
    False
    """
    return run_check(answer, _suppressed, _suppression_cases(), mistakes=SUPPRESSION_MISTAKES)


def _overlap(a, b, by="union", least=0, pixel=0):
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    common = np.maximum(high - low + pixel, least).prod()
    sizes = [(box[2:] - box[:2] + pixel).prod() for box in (a, b)]
    return common / {"union": sum(sizes) - common, "smaller": min(sizes), "both": sum(sizes)}[by]


def _suppressed(boxes, scores, iou, *, against="kept", sign=-1, near=np.less_equal, **settings):
    order, kept = np.argsort(sign * scores), []
    for number, i in enumerate(order):
        others = {"kept": kept, "all": order[:number], "last": kept[-1:]}[against]
        if all(near(_overlap(boxes[i], boxes[j], **settings), iou) for j in others):
            kept.append(int(i))
    return np.array(kept, dtype=np.int64)


def _suppression_cases():
    random = np.random.RandomState(2)
    chain = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], float)
    nested = np.array([[0, 0, 20, 20], [5, 5, 9, 9], [40, 0, 50, 10]], float)
    yield from [
        ("two boxes that overlap, the better one second", chain[:2], np.array([0.4, 0.9]), 0.3),
        (
            "a chain: the second overlaps both others, which do not overlap by much",
            chain,
            np.array([0.9, 0.8, 0.7]),
            0.3,
        ),
        (
            "a small box inside a large one: their union is large",
            nested,
            np.array([0.9, 0.8, 0.7]),
            0.3,
        ),
        (
            "a box, another far away, and the first again",
            nested[[0, 2, 0]],
            np.array([0.9, 0.8, 0.7]),
            0.5,
        ),
        ("no boxes", np.empty((0, 4)), np.empty(0), 0.5),
        ("a single box", chain[:1], np.array([0.3]), 0.5),
        (
            "an overlap of exactly 0.5, and iou 0.5",
            np.array([[0, 0, 2, 2], [0, 0, 2, 1]], float),
            np.array([0.9, 0.8]),
            0.5,
        ),
        (
            "two boxes that touch, and iou 0",
            np.array([[0, 0, 4, 4], [4, 0, 8, 4]], float),
            np.array([0.8, 0.9]),
            0.0,
        ),
        (
            "two boxes far apart in x and y",
            np.array([[0, 0, 4, 4], [9, 9, 14, 14]], float),
            np.array([0.8, 0.9]),
            0.1,
        ),
        ("coordinates and scores below 0", chain - 20, np.array([-3.0, -1.0, -2.0]), 0.3),
    ]
    for iou in (0.2, 0.5):
        low = random.rand(15, 2) * 20
        boxes = np.concatenate([low, low + 4 + random.rand(15, 2) * 12], axis=1)
        yield f"15 random boxes, iou {iou}", boxes, random.permutation(15) / 15, iou


SUPPRESSION_MISTAKES = {
    "Nothing is dropped: this is the order by score alone.": lambda b, s, iou: np.argsort(-s),
    "A box that was dropped drops others: compare with the kept ones only.": partial(
        _suppressed, against="all"
    ),
    "A box is compared with the last one kept only: compare with all.": partial(
        _suppressed, against="last"
    ),
    "The worst box is kept first: sort by descending score.": partial(_suppressed, sign=1),
    "The common area is divided by the smaller box: divide by the union.": partial(
        _suppressed, by="smaller"
    ),
    "An overlap of exactly `iou` is not more than `iou`: such a box stays.": partial(
        _suppressed, near=np.less
    ),
    "Where boxes lie apart in x and in y, minus times minus is plus: cut width and height of the common area at 0.": partial(
        _suppressed, least=-np.inf
    ),
    "A box from x0 to x1 is x1 - x0 wide, not x1 - x0 + 1.": partial(_suppressed, pixel=1),
    "The union counts the common area once: subtract it from the sum of both areas.": partial(
        _suppressed, by="both"
    ),
    "The positions come best first, in the order in which the boxes were kept, not sorted.": lambda b, s, iou: (
        np.sort(_suppressed(b, s, iou))
    ),
}
