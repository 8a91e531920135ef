"""Where a layer meets pixels: its window, the distance to its edge, coordinates in the shape."""

from dataclasses import dataclass

import numpy as np

from .classes import rim
from .fields import distance_field, sample
from .layers import matrix, placed


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

    def cover(self, grow=0.0):
        """Share of each pixel that lies inside, in [0, 1], of the shape grown by some pixels."""
        return np.clip(self.depth + np.float32(0.5 + grow), 0, 1)


def footprint(layer, side, margin=2, warp=None):
    """The footprint of a layer in an image of `side` pixels, or None where it lies outside.

    Parameters
    ----------
    layer : Layers
        One layer.
    side : int
    margin : int
        Pixels around the box of the layer that belong to the window.
    warp : tuple of two ndarrays (side, side), optional
        Added to x and y of all pixels, in halves of the image.
    """
    corners = (placed(layer, rim(int(layer.shape))) + 1) * (side / 2)
    x0, y0 = np.clip(np.floor(corners.min(axis=0)) - margin, 0, side).astype(int)
    x1, y1 = np.clip(np.ceil(corners.max(axis=0)) + margin, 0, side).astype(int)
    if x0 >= x1 or y0 >= y1:
        return None
    rows, columns = slice(y0, y1), slice(x0, x1)
    x = ((np.arange(x0, x1) + 0.5) * (2 / side) - 1 - layer.x).astype(np.float32)[None, :]
    y = ((np.arange(y0, y1) + 0.5) * (2 / side) - 1 - layer.y).astype(np.float32)[:, None]
    if warp is not None:
        x, y = x + warp[0][rows, columns], y + warp[1][rows, columns]
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
