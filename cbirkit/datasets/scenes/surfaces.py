"""What things and grounds look like: instances, whatever their class; grounds of fractal noise; cards that hide a part."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from .shapes import between, pick, uniforms

TEXTURES = ("plain", "striped", "dotted", "checkered", "shaded", "ringed")
COLORS = ("red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink")
# Degrees, apart enough to be named.
_HUES = np.array([2.0, 27.0, 50.0, 118.0, 174.0, 216.0, 273.0, 326.0])
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
    second = [size2 * np.cos(turn2), size2 * np.sin(turn2)]
    third = [size3 * np.cos(turn3), size3 * np.sin(turn3)]
    return {
        "color": color,
        "first": hsv_to_rgb(hue, vivid, light),
        "second": _second(u[..., 8], u[..., 9], hue, vivid, light),
        "wobble": np.stack(second + third, axis=-1),
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


# ---------------------------------------------------------------------- textures


def pattern(layer, x, y):
    """Share of the second colour, in [0, 1], at points of the shape.

    Parameters
    ----------
    layer : Layers
        One layer.
    x, y : ndarray of float32, same shape
        Coordinates in the shape, where a disc of its area has the radius 1.

    Returns
    -------
    ndarray of float32, or 0.0 for a plain object
    """
    name = TEXTURES[layer.texture]
    if name == "plain":
        return np.float32(0)
    cos, sin = np.float32(np.cos(layer.lean)), np.float32(np.sin(layer.lean))
    f, phase = np.float32(layer.frequency), np.float32(layer.phase)
    u, v = x * cos + y * sin, y * cos - x * sin
    if name == "shaded":
        return np.clip(u * np.float32(0.5) + np.float32(0.5), 0, 1)
    if name == "striped":
        wave = np.sin(u * f + phase)
    elif name == "ringed":
        wave = np.sin(np.sqrt(x * x + y * y) * f + phase)
    elif name == "dotted":
        wave = np.sin(u * f + phase) + np.sin(v * f + phase) - np.float32(0.75)
    else:
        slow = np.float32(0.7) * f
        wave = np.float32(3) * np.sin(u * slow + phase) * np.sin(v * slow + phase)
    return np.clip(wave * np.float32(2.5) + np.float32(0.5), 0, 1)


# ---------------------------------------------------------------------- grounds

TILE = 256  # side of the noise tiles, which join with themselves
N_TILES = 3  # of each family


@dataclass(frozen=True)
class _Ground:
    hue: tuple  # degrees, low and high
    vivid: tuple
    light: tuple
    spread: float  # difference of lightness between the two colours
    turn: float  # difference of hue


GROUNDS = {
    "sand": _Ground((32, 44), (0.25, 0.45), (0.25, 0.94), 0.16, 6),
    "water": _Ground((184, 214), (0.35, 0.6), (0.16, 0.84), 0.22, 14),
    "grass": _Ground((78, 122), (0.35, 0.55), (0.15, 0.7), 0.24, 18),
    "wood": _Ground((16, 30), (0.35, 0.6), (0.17, 0.88), 0.22, 8),
    "stone": _Ground((0, 360), (0.02, 0.1), (0.17, 0.88), 0.24, 0),
    "cloud": _Ground((205, 250), (0.15, 0.4), (0.2, 0.9), 0.2, 10),
}
CONTEXTS = tuple(GROUNDS)
_N_CANDIDATES = 12


def _cloudy(key, slope, stretch=(1.0, 1.0)):
    """Periodic noise whose amplitude falls with frequency to the power `slope`, ranks in [0, 1]."""
    phase = 2 * np.pi * uniforms(TILE * TILE, 4, *key).reshape(TILE, TILE)
    frequency = np.fft.fftfreq(TILE)
    radius = np.hypot(frequency[:, None] * stretch[0], frequency * stretch[1]) * TILE
    spectrum = np.where(radius > 0, np.maximum(radius, 1.5) ** -slope, 0) * np.exp(1j * phase)
    noise = np.fft.ifft2(spectrum).real
    noise = (noise - noise.mean()) / noise.std()
    return 1 / (1 + np.exp(-1.7 * noise))  # near to the rank, were it Gaussian


def _sand(n):
    ripples = np.sin(2 * np.pi * 9 * np.arange(TILE)[:, None] / TILE + 5 * _cloudy((0, n, 1), 2.0))
    return 0.5 * _cloudy((0, n), 0.7) + 0.25 * (ripples + 1)


def _water(n):
    crests = 1 - np.abs(2 * _cloudy((1, n), 1.9, (0.32, 1.0)) - 1)
    return 0.75 * crests**2 + 0.25 * _cloudy((1, n, 1), 1.4, (0.4, 1.0))


def _grass(n):
    return 0.55 * _cloudy((2, n), 1.1, (1.0, 0.22)) + 0.45 * _cloudy((2, n, 1), 1.7)


def _wood(n):
    across = 6 * np.arange(TILE)[:, None] / TILE + 1.4 * _cloudy((3, n), 2.2, (0.5, 2.0))
    rings = np.sin(2 * np.pi * across)
    return 0.3 * (rings + 1) + 0.4 * _cloudy((3, n, 1), 1.0, (0.12, 1.0))


def _stone(n):
    """Slabs: distance to the second nearest of scattered points less that to the nearest."""
    points = uniforms(2 * 40, 5, n).reshape(-1, 1, 1, 2) * TILE
    at = np.stack(np.meshgrid(np.arange(TILE), np.arange(TILE)), axis=-1)
    apart = np.abs(at - points)
    apart = np.hypot(*np.moveaxis(np.minimum(apart, TILE - apart), -1, 0))
    first = apart.argmin(axis=0)[None]
    nearest = np.take_along_axis(apart, first, axis=0)[0]
    np.put_along_axis(apart, first, np.inf, axis=0)
    second = apart.min(axis=0)
    tone = uniforms(40, 5, n, 1)[first[0]]
    joint = np.clip((second - nearest) / 5, 0, 1)
    return joint * (0.3 + 0.4 * tone + 0.3 * _cloudy((4, n), 1.1))


def _cloud(n):
    return _cloudy((5, n), 1.9)


@cache
def tile(context, number):
    """A noise tile (TILE, TILE) float32 in [0, 1] that joins with itself at its borders."""
    return _NOISE[context](number).astype(np.float32)


_NOISE = dict(zip(CONTEXTS, (_sand, _water, _grass, _wood, _stone, _cloud), strict=True))


def crop(noise, size, corner, zoom):
    """A square of `size` x `size` points of a tile, from a corner (x, y) in tiles, `zoom` cells apart, float32."""
    out = noise
    for axis, start in ((0, corner[1]), (1, corner[0])):
        at = (start * TILE + np.arange(size) * zoom) % TILE
        low = at.astype(np.int64) % TILE
        part = (at - np.floor(at)).astype(np.float32)
        part = part[:, None] if axis == 0 else part
        below, above = np.take(out, low, axis=axis), np.take(out, (low + 1) % TILE, axis=axis)
        out = below + (above - below) * part
    return out


def draw_ground(u, context, first, second, contrast):
    """Two colours for each ground, of which the mean differs from the colours of all objects.

    Of twelve grounds drawn, the first is taken that is `contrast` away from all first colours and half that
    from all second ones; else the first that is away from the first colours; else the farthest. The last two
    are nearly black and nearly white.

    Parameters
    ----------
    u : ndarray of shape (n_images, 3 * _N_CANDIDATES)
    context : ndarray of int64, shape (n_images,)
    first, second : ndarray of shape (n_images, n_objects, 3)
        Colours of the objects; NaN where there is none.
    contrast : float
        Distance in RGB, where black and white are 1 apart.

    Returns
    -------
    low, high : ndarray of shape (n_images, 3)
    distance : ndarray of shape (n_images,)
        From the nearest first colour.
    """
    columns = ("hue", "vivid", "light", "spread", "turn")
    hues, vivids, lights, spread, turn = (
        np.array([np.atleast_1d(getattr(ground, column)) for ground in GROUNDS.values()])[context]
        for column in columns
    )
    u = u.reshape(len(u), 3, _N_CANDIDATES)
    hue = between(u[:, 0], hues[:, :1], hues[:, 1:])  # (n, candidates)
    vivid = between(u[:, 1], vivids[:, :1], vivids[:, 1:])
    light = between(u[:, 2], lights[:, :1], lights[:, 1:])
    light[:, -2:] = 0.07, 0.97  # if nothing else will do
    dark = np.maximum(light - spread / 2, 0.04)
    low = hsv_to_rgb(hue - turn / 2, np.minimum(vivid * 1.1, 1), dark)
    high = hsv_to_rgb(hue + turn / 2, vivid * 0.85, np.minimum(light + spread / 2, 1))
    mean = (low + high)[:, :, None] / 2
    near, near2 = (  # (n, candidates)
        np.nanmin(np.sqrt(((mean - colors[:, None]) ** 2).sum(axis=-1) / 3), axis=2).round(9)
        for colors in (first, second)
    )
    rating = (near >= contrast) * (1 + (near2 >= contrast / 2))
    best = rating.argmax(axis=1)  # the first of the best
    best = np.where(rating.max(axis=1) > 0, best, near.argmax(axis=1))
    rows = np.arange(len(u))
    return low[rows, best], high[rows, best], near[rows, best]


# ---------------------------------------------------------------------- cards


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
        inside_u = np.minimum(u - self.u0[i], self.u1[i] - u)
        return np.minimum(inside_u, np.minimum(v - self.v0[i], self.v1[i] - v))


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
