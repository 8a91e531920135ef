"""Pixels of scenes: as a photograph, as a thermal camera sees them, and as masks of their objects."""

from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter

from .layers import card_cover, column, finished, footprint, halved
from .shapes import bell_noise, uniforms
from .surfaces import CONTEXTS, TILE, crop, pattern, tile

NOISE = 0.03
SHADOW = 0.42


def photo(scenes, i, size):
    """Render image `i` as a photograph.

    Parameters
    ----------
    scenes : Scenes
    i : int
    size : int
        Pixels a side; painted at twice that and averaged over 2 x 2 pixels.

    Returns
    -------
    ndarray of shape (size, size, 3), uint8
    """
    side = 2 * size
    noise = ground_noise(scenes, i, side)
    low, high = column(scenes.ground["low"][i]), column(scenes.ground["high"][i])
    canvas = low + (high - low) * noise  # (3, side, side)
    for layer in scenes.layers.row(i):
        _paint(canvas, layer, side)
    if scenes.cards.there[i]:
        cover = card_cover(scenes.cards, i, side)
        canvas *= 1 - np.float32(0.3) * card_cover(scenes.cards, i, side, grow=0.02 * side)
        canvas += cover * (column(scenes.cards.color[i]) - canvas)
    canvas = halved(canvas)
    canvas *= _light(scenes.light, i, size)
    canvas += np.float32(NOISE) * bell_noise(canvas.shape, *scenes.key(i))
    return finished(canvas)


def ground_noise(scenes, i, side):
    """The noise of the ground of image `i`, (side, side) in [0, 1]."""
    ground = scenes.ground
    noise = tile(CONTEXTS[scenes.context[i]], int(ground["tile"][i]))
    return crop(noise, side, ground["corner"][i], 0.5 * TILE * ground["zoom"][i] / side)


def _paint(canvas, layer, side):
    soft = 0.05 * side
    shape = footprint(layer, side, margin=int(soft))
    if shape is None:
        return
    _cast_shadow(canvas, shape, soft, round(0.022 * side))
    share = pattern(layer, shape.x, shape.y)
    first, second = column(layer.first), column(layer.second)
    colour = first + (second - first) * share
    radius = np.float32(layer.scale * side / 2)
    rim = np.clip(shape.depth * (4 / radius), 0, 1)  # the edge falls off into shade
    # Offset of each pixel towards the bottom right, away from the light, in radii of the layer.
    cos, sin = np.float32(np.cos(layer.turn)), np.float32(np.sin(layer.turn))
    sideways = shape.x * (cos - sin) + shape.y * (sin + cos)
    lit = np.float32(0.78) + np.float32(0.27) * rim - np.float32(0.035) * sideways
    view = canvas[:, shape.rows, shape.columns]
    view += shape.cover() * (colour * lit - view)


def _cast_shadow(canvas, shape, soft, shift):
    """Darken the canvas below and to the right of a shape."""
    side = canvas.shape[1]
    rows = slice(shape.rows.start + shift, min(shape.rows.stop + shift, side))
    columns = slice(shape.columns.start + shift, min(shape.columns.stop + shift, side))
    depth = shape.depth[: max(rows.stop - rows.start, 0), : max(columns.stop - columns.start, 0)]
    if depth.size:
        shade = np.clip(depth * (1 / soft) + np.float32(0.6), 0, 1)
        canvas[:, rows, columns] *= 1 - np.float32(SHADOW) * shade


def _light(light, i, size):
    """Gain of each pixel and channel: (3, size, size)."""
    at = (np.arange(size) + 0.5) * (2 / size) - 1
    angle = np.deg2rad(light["ramp_angle"][i])
    ramp = 1 + light["ramp"][i] * (np.cos(angle) * at[None, :] + np.sin(angle) * at[:, None])
    gains = [light[f"gain_{channel}"][i] for channel in "rgb"]
    return column(gains) * ramp.astype(np.float32)


_DOMAIN_STREAM = 30


def thermal(scenes, i, size):
    """A thermal camera: each instance has its heat; blurred, without colour, with hot spots that mean nothing.

    Parameters and returns as for `photo`.
    """
    side = 2 * size
    u = uniforms(16, *scenes.key(i), _DOMAIN_STREAM + 2)
    noise = ground_noise(scenes, i, side) - np.float32(0.5)
    canvas = np.float32(0.24 + 0.14 * u[0]) + np.float32(0.2) * noise
    at = ((np.arange(side) + 0.5) * (2 / side) - 1).astype(np.float32)
    for k in range(int(3 * u[1])):  # up to two hot spots
        x, y, width = u[4 + 3 * k : 7 + 3 * k] * [1.9, 1.9, 0.1] + [-0.95, -0.95, 0.06]
        right, down = (np.exp(-(((at - place) / width) ** 2)) for place in (x, y))
        canvas += np.float32(0.45) * (right[None, :] * down[:, None]).astype(np.float32)
    for layer in scenes.layers.row(i):
        shape = footprint(layer, side)
        if shape is None:
            continue
        cold = layer.heat < 0.2
        heat = 0.04 + 0.1 * layer.heat if cold else 0.55 + 0.4 * (layer.heat - 0.2) / 0.8
        inner = np.clip(shape.depth * np.float32(5 / (layer.scale * side)), 0, 1)  # edges cool down
        warmth = np.float32(heat) * (np.float32(0.85) + np.float32(0.15) * inner)
        warmth = warmth - np.float32(0.1) * (pattern(layer, shape.x, shape.y) - np.float32(0.5))
        view = canvas[shape.window]
        view += shape.cover() * (warmth - view)
    if scenes.cards.there[i]:
        canvas += card_cover(scenes.cards, i, side) * (np.float32(0.2 + 0.3 * u[2]) - canvas)
    canvas = halved(gaussian_filter(canvas, 0.016 * side + 0.4, truncate=2.5))
    columns = bell_noise((1, size), *scenes.key(i), _DOMAIN_STREAM + 3)  # a camera's fixed pattern
    canvas = canvas + np.float32(0.012) * columns
    canvas += np.float32(0.022) * bell_noise(canvas.shape, *scenes.key(i), _DOMAIN_STREAM + 4)
    return finished(np.broadcast_to(canvas, (3, size, size)))


DOMAINS = {"photo": photo, "thermal": thermal}


# ---------------------------------------------------------------------- masks


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


CACHE_BYTES = 128 * 2**20  # 10,900 images of 64 pixels a side, or 4,800 of 96


class Renderer:
    """Images, masks and scene graphs of the rows of a set.

    Parameters
    ----------
    scenes : Scenes
    domain : str
    size : int
        Pixels a side.
    """

    def __init__(self, scenes, domain, size):
        self.scenes, self.domain, self.size = scenes, domain, size
        self._cached = lru_cache(maxsize=max(CACHE_BYTES // (3 * size**2), 16))(self._render)

    def _render(self, row):
        return DOMAINS[self.domain](self.scenes, row, self.size)

    def __call__(self, row):
        return self._cached(row).copy()  # the caller may write into it

    def visible(self, row):
        return visible_mask(self.scenes, row, self.size)

    def whole(self, row):
        return whole_masks(self.scenes, row, self.size)

    def __getstate__(self):
        return {"scenes": self.scenes, "domain": self.domain, "size": self.size}

    def __setstate__(self, state):
        self.__init__(**state)


def full_masks(images, which):
    """The whole mask of each object of one image, also where it is hidden (amodal masks).

    ``images.mask(which)`` gives the visible part of all objects as one array of numbers.

    Parameters
    ----------
    images : ImageCollection
        From `load_scenes`, or a part of it.
    which : str or int
        Id or position.

    Returns
    -------
    ndarray of shape (n_objects, size, size), bool
        In the order of the columns ``classes`` and ``boxes``.

    Raises
    ------
    ValueError
        The collection is no set of scenes.

    Examples
    --------
    >>> from cbirkit.datasets import load_scenes
    >>> scenes = load_scenes("multi", classes=["star5", "blob3", "ringed1"], n_instances=2)
    >>> len(full_masks(scenes, 0)) == len(scenes.column("classes")[0])
    True
    """
    renderer = getattr(images._source, "function", None)
    if type(renderer) is not Renderer:
        raise ValueError(
            f"{images.name!r} holds no scenes, of which whole masks are known; use load_scenes()"
        )
    return renderer.whole(int(images._rows[images._position(which)]))
