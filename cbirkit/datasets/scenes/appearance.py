"""What an instance looks like, whatever its class: wobble, two colours, texture, heat."""

import numpy as np

from .draws import between, pick
from .textures import TEXTURES

COLORS = ("red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink")
_HUES = np.array(
    [2.0, 27.0, 50.0, 118.0, 174.0, 216.0, 273.0, 326.0]
)  # degrees, apart enough to be named
_VIVID = np.array([0.80, 0.86, 0.80, 0.62, 0.72, 0.74, 0.60, 0.55])  # saturation that suits the hue
_LIGHT = np.array([0.84, 0.95, 0.96, 0.66, 0.74, 0.86, 0.72, 0.95])
N_DRAWS = 16


def hsv_to_rgb(hue, saturation, value):
    """RGB in [0, 1], shape (..., 3), of hue in degrees, saturation and value in [0, 1].

    Examples
    --------
    >>> hsv_to_rgb(120.0, 1.0, 0.5).tolist()
    [0.0, 0.5, 0.0]
    """
    hue, saturation, value = np.broadcast_arrays(hue, saturation, value)
    channels = []
    for offset in (5, 3, 1):
        k = (offset + hue / 60) % 6
        channels.append(value - value * saturation * np.clip(np.minimum(k, 4 - k), 0, 1))
    return np.stack(channels, axis=-1)


def draw_appearance(u):
    """Appearances from draws `u` (..., N_DRAWS): a dict of arrays (...), named as in `Layers`."""
    color = pick(u[..., 0], len(COLORS))
    hue = _HUES[color] + between(u[..., 1], -7, 7)
    vivid = np.clip(_VIVID[color] + between(u[..., 2], -0.12, 0.12), 0, 1)
    light = np.clip(_LIGHT[color] + between(u[..., 3], -0.10, 0.06), 0, 1)
    size2, turn2 = between(u[..., 4], 0, 0.06), 2 * np.pi * u[..., 5]
    size3, turn3 = between(u[..., 6], 0, 0.05), 2 * np.pi * u[..., 7]
    wobble = [
        size2 * np.cos(turn2),
        size2 * np.sin(turn2),
        size3 * np.cos(turn3),
        size3 * np.sin(turn3),
    ]
    return {
        "color": color,
        "first": hsv_to_rgb(hue, vivid, light),
        "second": _second(u[..., 8], u[..., 9], hue, vivid, light),
        "wobble": np.stack(wobble, axis=-1),
        "texture": pick(u[..., 10], len(TEXTURES)),
        "frequency": between(u[..., 11], 5.0, 9.0),
        "phase": 2 * np.pi * u[..., 12],
        "lean": np.pi * u[..., 13],
        "heat": u[..., 14],
    }


def _second(kind, amount, hue, vivid, light):
    """A tint, a shade or a neighbour of the first colour, so that the object holds together."""
    which = pick(kind, 3)
    tint = hsv_to_rgb(hue, vivid * between(amount, 0.12, 0.3), np.maximum(light, 0.93))
    shade = hsv_to_rgb(hue, np.minimum(vivid + 0.1, 1), light * between(amount, 0.4, 0.55))
    side = np.where(amount < 0.5, -1, 1) * between(amount, 32, 48)
    other = hsv_to_rgb(hue + side, vivid * 0.8, np.where(light > 0.8, light * 0.68, light * 1.3))
    return np.choose(which[..., None], [tint, shade, other])
