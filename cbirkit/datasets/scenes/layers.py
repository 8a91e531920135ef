"""Shapes placed in images, as arrays: one row an image, one column a layer."""

from dataclasses import dataclass, fields

import numpy as np

from .classes import rim
from .fields import sample_points

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
    wobble: (
        np.ndarray
    )  # (..., 4): cosine and sine of the second harmonic of the radius, then of the third
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
    a, b, d = (
        wide,
        layers.shear,
        1 / wide,
    )  # [[a, b], [0, d]], then the turn [[cos, sin], [-sin, cos]]
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
