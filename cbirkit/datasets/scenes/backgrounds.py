"""Six families of ground, made of fractal noise, with colours that set the objects off."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from .appearance import hsv_to_rgb
from .draws import between, pick, uniforms

TILE = 256  # side of the noise tiles, which join with themselves
N_TILES = 3  # of each family


@dataclass(frozen=True)
class _Ground:
    phrase: str
    hue: tuple  # degrees, low and high
    vivid: tuple
    light: tuple
    spread: float  # difference of lightness between the two colours
    turn: float  # difference of hue


GROUNDS = {
    "sand": _Ground("on sand", (32, 44), (0.25, 0.45), (0.25, 0.94), 0.16, 6),
    "water": _Ground("on water", (184, 214), (0.35, 0.6), (0.16, 0.84), 0.22, 14),
    "grass": _Ground("in the grass", (78, 122), (0.35, 0.55), (0.15, 0.7), 0.24, 18),
    "wood": _Ground("on wood", (16, 30), (0.35, 0.6), (0.17, 0.88), 0.22, 8),
    "stone": _Ground("on stone", (0, 360), (0.02, 0.1), (0.17, 0.88), 0.24, 0),
    "cloud": _Ground("among clouds", (205, 250), (0.15, 0.4), (0.2, 0.9), 0.2, 10),
}
CONTEXTS = tuple(GROUNDS)
_N_CANDIDATES = 12


# ------------------------------------------------------------------ noise


def _cloudy(key, slope, stretch=(1.0, 1.0)):
    """Periodic noise whose amplitude falls with frequency to the power `slope`, ranks in [0, 1]."""
    phase = 2 * np.pi * uniforms(TILE * TILE, 4, *key).reshape(TILE, TILE)
    down, right = (
        np.fft.fftfreq(TILE)[:, None] * stretch[0],
        np.fft.fftfreq(TILE)[None, :] * stretch[1],
    )
    radius = np.hypot(down, right) * TILE
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
    rings = np.sin(
        2 * np.pi * (6 * np.arange(TILE)[:, None] / TILE + 1.4 * _cloudy((3, n), 2.2, (0.5, 2.0)))
    )
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
    return {
        "sand": _sand,
        "water": _water,
        "grass": _grass,
        "wood": _wood,
        "stone": _stone,
        "cloud": _cloud,
    }[context](number).astype(np.float32)


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


# ------------------------------------------------------------------ colours


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
    grounds = [GROUNDS[name] for name in CONTEXTS]
    hues, vivids, lights = (
        np.array([getattr(g, k) for g in grounds])[context] for k in ("hue", "vivid", "light")
    )
    spread, turn = (
        np.array([getattr(g, k) for g in grounds])[context][:, None] for k in ("spread", "turn")
    )
    u = u.reshape(len(u), 3, _N_CANDIDATES)
    hue = between(u[:, 0], hues[:, :1], hues[:, 1:])  # (n, candidates)
    vivid = between(u[:, 1], vivids[:, :1], vivids[:, 1:])
    light = between(u[:, 2], lights[:, :1], lights[:, 1:])
    light[:, -2:] = 0.07, 0.97  # if nothing else will do
    low = hsv_to_rgb(
        hue - turn / 2, np.minimum(vivid * 1.1, 1), np.maximum(light - spread / 2, 0.04)
    )
    high = hsv_to_rgb(hue + turn / 2, vivid * 0.85, np.minimum(light + spread / 2, 1))
    mean = (low + high)[:, :, None] / 2
    near, near2 = (
        np.nanmin(np.sqrt(((mean - colors[:, None]) ** 2).sum(axis=-1) / 3), axis=2).round(
            9
        )  # (n, candidates)
        for colors in (first, second)
    )
    rating = (near >= contrast) * (1 + (near2 >= contrast / 2))
    best = rating.argmax(axis=1)  # the first of the best
    best = np.where(rating.max(axis=1) > 0, best, near.argmax(axis=1))
    rows = np.arange(len(u))
    return low[rows, best], high[rows, best], near[rows, best]


def draw_context(u, usual=None, bias=0.0):
    """Number of the context of each image from draws (n, 2): `usual` (n,) with probability `bias`, else any."""
    context = pick(u[:, 0], len(CONTEXTS))
    return context if usual is None else np.where(u[:, 1] < bias, usual, context)
