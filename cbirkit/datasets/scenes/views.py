"""Kinds and levels of scenes: how objects are turned, sized, placed and lit in a view."""

from dataclasses import dataclass

import numpy as np

from .draws import between, pick
from .layers import EXTENT

RELATIONS = ("left of", "right of", "above", "below")
SIZES = ("small", "medium", "large")
N_POSE, N_PLACES, N_LIGHT = 4, 12, 6
GAP = 0.04  # between layers, in halves of the image


@dataclass(frozen=True)
class Level:
    """Strength of what differs between views; half-extents and shifts in halves of the image's side."""

    rotation: float  # degrees, to both sides
    extent: tuple  # half-extent of the average class; the area is what all classes share
    shift: float
    clutter: tuple  # pieces
    occlusion: float  # chance of a card that hides a part of the object
    contrast: float  # least distance between the first colours of objects and the ground


LEVELS = {
    "easy": Level(15, (0.55, 0.68), 0.08, (0, 1), 0.0, 0.3),
    "std": Level(60, (0.52, 0.68), 0.10, (0, 1), 0.05, 0.3),
    "medium": Level(26, (0.48, 0.66), 0.16, (0, 3), 0.15, 0.2),
    "hard": Level(46, (0.38, 0.58), 0.30, (2, 5), 0.35, 0.0),
}


@dataclass(frozen=True)
class Kind:
    """A sort of scene; None leaves the choice to the level."""

    size: int  # pixels a side
    n_instances: int  # of each class
    n_views: int
    bins: tuple = ()  # half-extents of the sizes in SIZES
    shift: float | None = None
    clutter: tuple | None = None
    debris: tuple = (0.15, 0.26)  # half-extents of clutter
    contrast: float = 1.0  # at most so much is asked for, whatever the level


KINDS = {
    "objects": Kind(64, 20, 2),
    "clutter": Kind(
        64, 20, 2, ((0.28, 0.31), (0.31, 0.33), (0.33, 0.36)), 0.55, (3, 5), (0.16, 0.28)
    ),
    "multi": Kind(
        96, 10, 1, ((0.12, 0.16), (0.20, 0.26), (0.34, 0.42)), None, (0, 0), contrast=0.2
    ),
    "relations": Kind(
        96, 5, 1, ((0.24, 0.26), (0.26, 0.28), (0.28, 0.30)), None, (0, 0), contrast=0.2
    ),
    "context": Kind(64, 20, 2),
}


def size_bins(kind, level):
    """Half-extents (3, 2) of small, medium and large objects: thirds of the range with gaps between."""
    if KINDS[kind].bins:
        return np.array(KINDS[kind].bins)
    low, high = LEVELS[level].extent
    return low + (high - low) * np.array([(0.0, 0.24), (0.38, 0.62), (0.76, 1.0)])


def draw_poses(u, level, extents):
    """Turn, scale, shear and aspect of layers from draws `u` (n, m, N_POSE) and half-extents (n, m, 2)."""
    limit = np.deg2rad(LEVELS[level].rotation)
    return {
        "turn": between(u[..., 0], -limit, limit),
        "scale": between(u[..., 1], extents[..., 0], extents[..., 1]) / EXTENT,
        "shear": between(u[..., 2], -0.12, 0.12),
        "aspect": np.exp(between(u[..., 3], -0.12, 0.12)),
    }


def spread_out(u, radius, taken, reach):
    """Places for layers, one after the other, each clear of those before: of the candidates the first, or the best.

    Parameters
    ----------
    u : ndarray of shape (n, m, N_PLACES, 2)
        Candidates for each place.
    radius : ndarray of shape (n, m)
        Radii of the layers; negative for layers that take no room.
    taken : tuple of (x, y, radius), arrays (n, k)
        What lies there already.
    reach : float
        Centres plus radii stay within this distance from the middle, in each direction.

    Returns
    -------
    x, y : ndarray of shape (n, m)
    """
    xs, ys, radii = (list(part.T) for part in taken)
    first = len(xs)
    for j in range(radius.shape[1]):
        room = np.maximum(reach - np.abs(radius[:, j]), 0.0)[:, None]
        x, y = (
            between(u[:, j, :, 0], -room, room),
            between(u[:, j, :, 1], -room, room),
        )  # (n, candidates)
        gap = np.full(x.shape, 9.0)
        for x0, y0, r0 in zip(xs, ys, radii, strict=True):
            apart = (
                np.hypot(x - x0[:, None], y - y0[:, None])
                - r0[:, None]
                - np.abs(radius[:, j])[:, None]
            )
            gap = np.where(r0[:, None] > 0, np.minimum(gap, apart), gap)
        clear = gap > GAP
        best = np.where(clear.any(axis=1), clear.argmax(axis=1), gap.round(9).argmax(axis=1))
        xs.append(np.take_along_axis(x, best[:, None], 1)[:, 0])
        ys.append(np.take_along_axis(y, best[:, None], 1)[:, 0])
        radii.append(radius[:, j])
    return np.stack(xs[first:], axis=1), np.stack(ys[first:], axis=1)


def place_pair(u, relation):
    """Places x, y (n, 2) of two objects in a relation (n,), given as its number in RELATIONS."""
    half = between(u[:, 0], 0.40, 0.50)
    across = between(u[:, 1], -0.14, 0.14)
    middle_x, middle_y = between(u[:, 2], -0.08, 0.08), between(u[:, 3], -0.08, 0.08)
    sign = np.where(
        (relation == 0) | (relation == 2), -1.0, 1.0
    )  # left and above: towards smaller x and y
    level = relation < 2
    dx, dy = np.where(level, sign * half, across), np.where(level, across, sign * half)
    x = np.stack([middle_x + dx, middle_x - dx], axis=1)
    y = np.stack([middle_y + dy, middle_y - dy], axis=1)
    return x, y


def n_clutter(u, kind, level):
    """Number of pieces of clutter (n,)."""
    low, high = LEVELS[level].clutter if KINDS[kind].clutter is None else KINDS[kind].clutter
    return low + pick(u, high - low + 1)


def draw_light(u):
    """Light of each image from draws `u` (n, N_LIGHT): gains of the channels, and a ramp across the image."""
    brightness = between(u[:, 0], 0.84, 1.12)
    gains = brightness[:, None] * between(u[:, 1:4], 0.91, 1.09)
    return {
        "gain_r": gains[:, 0],
        "gain_g": gains[:, 1],
        "gain_b": gains[:, 2],
        "ramp": between(u[:, 4], 0.0, 0.18),
        "ramp_angle": 360 * u[:, 5],
    }
