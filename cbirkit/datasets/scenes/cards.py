"""Cards that hide a part of an object."""

from dataclasses import dataclass

import numpy as np

from .appearance import hsv_to_rgb
from .draws import between


@dataclass
class Cards:
    """Rectangles, one an image: arrays (n_images,); a rectangle is u0 <= u <= u1, v0 <= v <= v1 along (cos, sin)."""

    there: np.ndarray  # bool
    cos: np.ndarray
    sin: np.ndarray
    u0: np.ndarray
    u1: np.ndarray
    v0: np.ndarray
    v1: np.ndarray
    color: np.ndarray  # (n_images, 3)
    share: np.ndarray  # of the object's area that is hidden

    def depth(self, i, x, y):
        """How far points (x, y) lie inside the card of image `i`; negative outside."""
        u, v = x * self.cos[i] + y * self.sin[i], y * self.cos[i] - x * self.sin[i]
        return np.minimum(
            np.minimum(u - self.u0[i], self.u1[i] - u), np.minimum(v - self.v0[i], self.v1[i] - v)
        )


def draw_cards(u, points, occlusion):
    """Cards that come from one side and hide a tenth to four tenths of an object.

    Parameters
    ----------
    u : ndarray of shape (n_images, 7)
    points : ndarray of shape (n_images, p, 2)
        Spread evenly over the object, in the image.
    occlusion : float in [0, 1)
        Chance of a card.

    Returns
    -------
    Cards
    """
    n_points = points.shape[1]
    hidden = np.floor(between(u[:, 6], 0.1, 0.4) * n_points).astype(np.int64)
    cos, sin = np.cos(2 * np.pi * u[:, 1]), np.sin(2 * np.pi * u[:, 1])
    along = points[..., 0] * cos[:, None] + points[..., 1] * sin[:, None]
    across = points[..., 1] * cos[:, None] - points[..., 0] * sin[:, None]
    ranked = np.sort(along, axis=1)
    at = np.clip(n_points - hidden, 1, n_points - 1)
    edge = np.take_along_axis(ranked, np.stack([at - 1, at], axis=1), axis=1).mean(axis=1)
    margin = between(u[:, 2], 0.12, 0.3)
    middle, half = (across.max(axis=1) + across.min(axis=1)) / 2, np.ptp(across, axis=1) / 2
    return Cards(
        there=u[:, 0] < occlusion,
        cos=cos,
        sin=sin,
        u0=edge,
        u1=ranked[:, -1] + margin,
        v0=middle - half - 0.6 * margin,
        v1=middle + half + 0.6 * margin,
        color=hsv_to_rgb(360 * u[:, 3], between(u[:, 4], 0.02, 0.2), between(u[:, 5], 0.25, 0.95)),
        share=hidden / n_points,
    )
