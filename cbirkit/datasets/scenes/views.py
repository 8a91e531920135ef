"""Kinds and levels of scenes: which instances a set holds; how they are turned, sized, placed and lit in a view."""

from dataclasses import dataclass

import numpy as np

from .layers import EXTENT
from .shapes import between, pick, uniforms

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
        x, y = (between(u[:, j, :, k], -room, room) for k in (0, 1))  # (n, candidates)
        gap = np.full(x.shape, 9.0)
        for x0, y0, r0 in zip(xs, ys, radii, strict=True):
            apart = np.hypot(x - x0[:, None], y - y0[:, None]) - r0[:, None]
            apart = apart - np.abs(radius[:, j])[:, None]
            gap = np.where(r0[:, None] > 0, np.minimum(gap, apart), gap)
        clear = gap > GAP
        best = np.where(clear.any(axis=1), clear.argmax(axis=1), gap.round(9).argmax(axis=1))
        xs.append(np.take_along_axis(x, best[:, None], 1)[:, 0])
        ys.append(np.take_along_axis(y, best[:, None], 1)[:, 0])
        radii.append(radius[:, j])
    return np.stack(xs[first:], axis=1), np.stack(ys[first:], axis=1)


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


# ---------------------------------------------------------------------- what a set holds

N_SLOTS = 6  # layers of an image, the objects first
N_OBJECTS = 4  # of which at most so many are objects


@dataclass
class Roster:
    """Which classes, instances and views a set holds: arrays over images."""

    shape: np.ndarray  # (n, N_OBJECTS) int64 index of the class of each object, -1: none
    instance: np.ndarray  # (n, N_OBJECTS) number of the instance in its class
    number: np.ndarray  # (n,) number of the instance, or scene, in its label
    view: np.ndarray  # (n,)
    label: list  # of str
    entry: np.ndarray  # (n,) number that, with `number` and `view`, names the image


def draw_roster(kind, classes, n_instances, n_views, seed):
    """The roster of a set of `classes` (list of `SceneClass`)."""
    each = n_instances * n_views
    number = np.tile(np.repeat(np.arange(n_instances), n_views), len(classes))
    view = np.tile(np.arange(n_views), len(classes) * n_instances)
    first = np.repeat([c.index for c in classes], each)
    shape = np.full((len(number), N_OBJECTS), -1)
    instance = np.tile(number[:, None], (1, N_OBJECTS))
    shape[:, 0] = first
    entry = first * 2**18 + list(KINDS).index(kind)
    labels = list(np.repeat([c.name for c in classes], each))
    roster = Roster(shape, instance, number, view, labels, entry)
    if kind == "multi":  # scenes of seen classes hold no unseen ones
        for group in dict.fromkeys(c.group for c in classes):
            known = np.array([c.index for c in classes if c.group == group])
            _add_company(roster, np.flatnonzero(np.isin(first, known)), known, n_instances, seed)
    return roster


def _add_company(roster, rows, known, n_instances, seed):
    """Give the scenes `rows` one to three further objects, all of different classes of `known`."""
    keys = [(int(roster.entry[i]), int(roster.number[i])) for i in rows]
    u = np.stack([uniforms(16, seed, 10, *key) for key in keys])
    count = np.minimum(1 + pick(u[:, 0], N_OBJECTS - 1), len(known) - 1)
    for j in range(1, N_OBJECTS):
        parts = np.modf(np.outer(u[:, j], 7919.0 * (known + 1)))[0]
        rank = np.argsort(parts, axis=1, kind="stable")
        free = (known[rank][:, :, None] != roster.shape[rows, None, :]).all(axis=2)  # (n, n_known)
        choice = np.take_along_axis(known[rank], free.argmax(axis=1)[:, None], axis=1)[:, 0]
        roster.shape[rows, j] = np.where(j <= count, choice, -1)
        roster.instance[rows, j] = pick(u[:, 8 + j], n_instances)
