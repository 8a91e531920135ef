"""Shapes placed in images, as arrays: one row an image, one column a layer; and where a layer meets pixels."""

from dataclasses import dataclass, fields

import numpy as np

from .shapes import distance_field, rim, sample, sample_points

EXTENT = 1.4  # half-extent of the average class whose area is that of a disc of radius 1


@dataclass
class Layers:
    """Arrays (n_images, n_layers); coordinates are -1 to 1 across the image, x right, y down.

    A layer of a lower number lies above one of a higher number.
    """

    shape: np.ndarray  # int64, index of the shape, -1: nothing
    x: np.ndarray
    y: np.ndarray
    scale: np.ndarray  # radius of the disc of the same area
    turn: np.ndarray  # radians, anticlockwise on the screen
    shear: np.ndarray
    aspect: np.ndarray
    # (..., 4): cosine and sine of the second harmonic of the radius, then of the third.
    wobble: np.ndarray
    first: np.ndarray  # (..., 3) RGB in [0, 1]
    second: np.ndarray
    texture: np.ndarray  # int64
    frequency: np.ndarray
    phase: np.ndarray
    lean: np.ndarray  # direction of the texture, radians
    heat: np.ndarray
    color: np.ndarray  # int64, number of the name of the first colour

    def row(self, i):
        """The layers of one image that hold something, lowest first: list of `Layers` without dimensions."""
        return [
            Layers(**{f.name: getattr(self, f.name)[i, j] for f in fields(self)})
            for j in reversed(range(self.shape.shape[1]))
            if self.shape[i, j] >= 0
        ]


def matrix(layers):
    """The area-keeping matrices (..., 2, 2) that take points of the (wobbled) shape to offsets in the image."""
    wide = np.sqrt(layers.aspect)
    cos, sin = np.cos(layers.turn), np.sin(layers.turn)
    # [[a, b], [0, d]], then the turn [[cos, sin], [-sin, cos]].
    a, b, d = wide, layers.shear, 1 / wide
    rows = [cos * a, cos * b + sin * d, -sin * a, -sin * b + cos * d]
    return np.stack(rows, axis=-1).reshape(*layers.turn.shape, 2, 2) * layers.scale[..., None, None]


def swell(points, wobble):
    """By how much the radius grows at points (..., p, 2) under a wobble (..., 4): (..., p)."""
    x, y = points[..., 0], points[..., 1]
    inverse = 1 / np.sqrt(x * x + y * y + 1e-12)
    c, s = x * inverse, y * inverse
    c2, s2 = c * c - s * s, 2 * c * s
    w = np.moveaxis(wobble, -1, 0)[..., None]
    return 1 + w[0] * c2 + w[1] * s2 + w[2] * (c2 * c - s2 * s) + w[3] * (s2 * c + c2 * s)


def placed(layers, points):
    """Points (..., p, 2) of the shapes of layers, where they come to lie in the image: (..., p, 2)."""
    grown = points * swell(points, layers.wobble)[..., None]
    offsets = grown @ np.swapaxes(matrix(layers), -1, -2)
    return offsets + np.stack([layers.x, layers.y], axis=-1)[..., None, :]


def equal_area(shape, wobble):
    """Factor (...) on the scale that gives a wobbled shape the area of the plain one."""
    return 1 / np.sqrt((swell(inner_points(shape), wobble) ** 2).mean(axis=-1))


def inner_points(shape):
    """Points spread evenly over the inside of shapes (...): (..., p, 2); those of shape 0 where there is none."""
    return _stack(shape, sample_points)


def outer_points(shape):
    """Points along the outlines of shapes (...): (..., p, 2)."""
    return _stack(shape, rim)


def _stack(shape, points_of):
    known = np.unique(np.maximum(shape, 0))
    table = np.stack([points_of(int(k)) for k in known])  # (n_known, p, 2)
    return table[np.searchsorted(known, np.maximum(shape, 0))]


# ---------------------------------------------------------------------- pixels


@dataclass
class Footprint:
    """A layer seen in a window of the image, float32."""

    rows: slice
    columns: slice
    depth: np.ndarray  # (h, w) pixels from the edge, positive inside
    x: np.ndarray  # (h, w) coordinates in the shape
    y: np.ndarray

    @property
    def window(self):
        return self.rows, self.columns

    def cover(self):
        """Share of each pixel that lies inside, in [0, 1]."""
        return np.clip(self.depth + np.float32(0.5), 0, 1)


def footprint(layer, side, margin=2):
    """The footprint of a layer in an image of `side` pixels, or None where it lies outside.

    Parameters
    ----------
    layer : Layers
        One layer.
    side : int
    margin : int
        Pixels around the box of the layer that belong to the window.
    """
    corners = (placed(layer, rim(int(layer.shape))) + 1) * (side / 2)
    x0, y0 = np.clip(np.floor(corners.min(axis=0)) - margin, 0, side).astype(int)
    x1, y1 = np.clip(np.ceil(corners.max(axis=0)) + margin, 0, side).astype(int)
    if x0 >= x1 or y0 >= y1:
        return None
    rows, columns = slice(y0, y1), slice(x0, x1)
    x = ((np.arange(x0, x1) + 0.5) * (2 / side) - 1 - layer.x).astype(np.float32)[None, :]
    y = ((np.arange(y0, y1) + 0.5) * (2 / side) - 1 - layer.y).astype(np.float32)[:, None]
    (a, b), (c, d) = np.linalg.inv(matrix(layer)).astype(np.float32)
    x, y = a * x + b * y, c * x + d * y  # (h, w)
    if layer.wobble.any():
        shrink = 1 / _swell(x, y, layer.wobble.astype(np.float32))
        x, y = x * shrink, y * shrink
    depth = sample(distance_field(int(layer.shape)), x, y) * np.float32(layer.scale * side / 2)
    return Footprint(rows, columns, depth, x, y)


def _swell(x, y, w):
    """`layers.swell` for many points of one layer, in few operations."""
    inverse = 1 / np.sqrt(x * x + y * y + np.float32(1e-12))
    c, s = x * inverse, y * inverse
    c2, s2 = c * c - s * s, 2 * c * s
    return 1 + c2 * (w[0] + w[2] * c + w[3] * s) + s2 * (w[1] - w[2] * s + w[3] * c)


def halved(canvas):
    """Means of 2 x 2 pixels of a canvas (..., 2 h, 2 w)."""
    tall = canvas[..., 0::2, :] + canvas[..., 1::2, :]
    return (tall[..., 0::2] + tall[..., 1::2]) * np.float32(0.25)


def finished(canvas):
    """A canvas (3, h, w) in [0, 1] as an image (h, w, 3) uint8."""
    levels = np.clip(canvas * np.float32(255) + np.float32(0.5), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(1, 2, 0))


def column(values):
    """A colour (3,) as float32 (3, 1, 1)."""
    return np.asarray(values, dtype=np.float32)[:, None, None]


def card_cover(cards, i, side, grow=0.0):
    """Share of each pixel (side, side) that the card of image `i` covers."""
    at = ((np.arange(side) + 0.5) * (2 / side) - 1).astype(np.float32)
    depth = cards.depth(i, at[None, :], at[:, None]).astype(np.float32)
    return np.clip(depth * np.float32(side / 2) + np.float32(0.5 + grow), 0, 1)
