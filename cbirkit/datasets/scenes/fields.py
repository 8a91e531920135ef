"""Distance fields of the shapes: how far inside or outside each point lies, from which edges are drawn smoothly."""

from functools import cache

import numpy as np
from scipy.spatial import cKDTree

from .classes import outline

HALF = (
    2.4  # fields cover [-HALF, HALF] in both directions; a disc of the same area has the radius 1
)
CELLS = 192
REACH = 0.5  # distances beyond are cut off
_STEP = 2 * HALF / CELLS


def _grid(cells):
    centres = (np.arange(cells) + 0.5) * (2 * HALF / cells) - HALF
    return np.stack(np.meshgrid(centres, centres), axis=-1)  # (cells, cells, 2) x, y


def filled(loops, cells):
    """Which centres of a grid over [-HALF, HALF] lie inside loops, by the even-odd rule: bool (cells, cells)."""
    step = 2 * HALF / cells
    y = ((np.arange(cells) + 0.5) * step - HALF)[:, None]  # (cells, 1)
    turns = np.zeros((cells, cells + 1), dtype=np.int64)
    for loop in loops:
        (x0, y0), (x1, y1) = loop.T, np.roll(loop, -1, axis=0).T  # (m,)
        row, edge = np.nonzero((y0 > y) != (y1 > y))
        at = x0[edge] + (y[row, 0] - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
        column = np.clip(np.ceil((at + HALF) / step - 0.5), 0, cells).astype(
            np.int64
        )  # the first centre beyond
        np.add.at(turns, (row, column), 1)
    return (np.cumsum(turns[:, :cells], axis=1) % 2).astype(bool)


@cache
def distance_field(index):
    """Distance to the edge of a shape, positive inside, cut off at `REACH`.

    Returns
    -------
    ndarray of shape (CELLS, CELLS), float32
        At the centres of square cells that cover [-HALF, HALF].
    """
    loops = outline(index)
    grid = _grid(CELLS).reshape(-1, 2)
    dense = np.concatenate([_resampled(loop) for loop in loops])
    reach = np.abs(dense).max(axis=0) + REACH
    near = (np.abs(grid) < reach).all(axis=1)
    distance = np.full(len(grid), REACH)
    distance[near] = np.minimum(
        cKDTree(dense).query(grid[near], distance_upper_bound=REACH)[0], REACH
    )
    distance = distance.reshape(CELLS, CELLS).astype(np.float32)
    return np.where(filled(loops, CELLS), distance, -distance)


def _resampled(loop, spacing=0.006):
    """Points on a loop, at most `spacing` apart."""
    ahead = np.roll(loop, -1, axis=0) - loop
    counts = np.ceil(np.hypot(*ahead.T) / spacing).astype(int)
    which = np.repeat(np.arange(len(loop)), counts)
    part = (np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)) / counts[which]
    return loop[which] + ahead[which] * part[:, None]


def sample(field, x, y):
    """Values of a field at `x`, `y` (float32, same shape), interpolated linearly; at the border, for those beyond."""
    x = np.clip(
        (x + np.float32(HALF)) * np.float32(1 / _STEP) - np.float32(0.5),
        0,
        np.float32(CELLS - 1.001),
    )
    y = np.clip(
        (y + np.float32(HALF)) * np.float32(1 / _STEP) - np.float32(0.5),
        0,
        np.float32(CELLS - 1.001),
    )
    column, row = x.astype(np.int32), y.astype(np.int32)
    x -= column
    y -= row
    at = row * CELLS + column
    flat = field.ravel()
    top = flat[at]
    top += x * (flat[at + 1] - top)
    low = flat[at + CELLS]
    low += x * (flat[at + CELLS + 1] - low)
    low -= top
    low *= y
    low += top
    return low


@cache
def sample_points(index, n=128):
    """`n` points spread evenly over the inside of a shape: float64 (n, 2)."""
    points = _grid(96)[filled(outline(index), 96)]
    # a walk along the grid in strides of the golden ratio visits the shape evenly
    order = np.argsort((np.arange(len(points)) * 0.6180339887498949) % 1.0, kind="stable")
    return points[np.sort(order[:n])]
