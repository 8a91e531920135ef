"""Which pixels show which object: visible masks, whole masks, and visible fractions."""

import numpy as np

from .compose import boxes
from .fields import distance_field, sample
from .layers import inner_points, matrix, placed, swell
from .paint import card_cover, footprint
from .rosters import N_OBJECTS


def visible_mask(scenes, i, size):
    """Number of the object seen at each pixel of image `i`: int64 (size, size), 0 where none is.

    Objects count from 1 in the order of the columns ``classes`` and ``boxes``.
    """
    out = np.zeros((size, size), dtype=np.int64)
    for layer, number in _layers(scenes, i):
        shape = footprint(layer, size)
        if shape is not None:
            out[shape.window][shape.depth > 0] = number
    if scenes.cards.there[i]:
        out[card_cover(scenes.cards, i, size) >= 0.5] = 0
    return out


def whole_masks(scenes, i, size):
    """Pixels of each object of image `i`, hidden or not: bool (n_objects, size, size)."""
    out = np.zeros((scenes.n_objects[i], size, size), dtype=bool)
    for layer, number in _layers(scenes, i):
        shape = footprint(layer, size) if number else None
        if shape is not None:
            out[number - 1][shape.window] = shape.depth > 0
    return out


def _layers(scenes, i):
    """Layers of an image, lowest first, each with the number of its object, 0 for clutter."""
    there = np.flatnonzero(scenes.layers.shape[i] >= 0)[::-1]
    numbers = [int(j) + 1 if j < scenes.n_objects[i] else 0 for j in there]
    return zip(scenes.layers.row(i), numbers, strict=True)


def visible_fractions(scenes):
    """Share of each object's area that is inside the image and hidden by nothing.

    Returns
    -------
    ndarray of shape (n_images, N_OBJECTS), float64
        In steps of 1/128, for it is measured on 128 points of each object; NaN where there is none.
    """
    n = len(scenes)
    out = np.full((n, N_OBJECTS), np.nan)
    frames = boxes(scenes)
    for j in range(N_OBJECTS):
        rows = np.flatnonzero(scenes.roster.shape[:, j] >= 0)
        if not len(rows):
            continue
        points = placed(
            _some(scenes.layers, rows, j), inner_points(scenes.layers.shape[rows, j])
        )  # (rows, p, 2)
        seen = (np.abs(points) < 1).all(axis=2)
        there = scenes.cards.there[rows]
        card = _some(scenes.cards, rows[there])
        depth = card.depth(
            slice(None),
            points[there].transpose(1, 2, 0)[:, 0],
            points[there].transpose(1, 2, 0)[:, 1],
        )
        seen[there] &= ~(depth > 0).T
        for above in range(j):
            meet = _overlap(frames[rows, j], frames[rows, above])
            for k in np.flatnonzero(meet):
                seen[k] &= ~_within(points[k], _some(scenes.layers, rows[k], above))
        out[rows, j] = seen.mean(axis=1)
    return out


def _overlap(a, b):
    """Which of the boxes a and b (n, 4) have area in common; NaN has none."""
    with np.errstate(invalid="ignore"):
        return (np.minimum(a[:, 2:], b[:, 2:]) > np.maximum(a[:, :2], b[:, :2])).all(axis=1)


def _within(points, layer):
    """Which points (p, 2) of the image lie inside one layer."""
    offsets = (points - [layer.x, layer.y]) @ np.linalg.inv(matrix(layer)).T
    local = (offsets / swell(offsets, layer.wobble)[:, None]).astype(np.float32)
    return sample(distance_field(int(layer.shape)), local[:, 0], local[:, 1]) > 0


def _some(arrays, *where):
    return type(arrays)(**{name: value[where] for name, value in vars(arrays).items()})
