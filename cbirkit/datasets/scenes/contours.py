"""Outlines: every shape is a list of closed loops, filled by the even-odd rule, so that inner loops are holes."""

import numpy as np

from .draws import uniforms

_ANGLES = np.arange(240) * (
    2 * np.pi / 240
)  # 240 has the divisors 3, 4, 5, 6 and 8: corners are hit exactly
LONG = 1.5  # aspect of the long classes


def _polar(radius, angles=_ANGLES):
    return np.stack(
        [radius * np.sin(angles), -radius * np.cos(angles)], axis=1
    )  # the first point is at the top


def _circle(x=0.0, y=0.0, radius=1.0):
    return _polar(radius) + [x, y]


def _from_top(n):
    """Angle from the nearest of `n` axes, one of which points up: in [-pi / n, pi / n]."""
    step = 2 * np.pi / n
    return (_ANGLES + step / 2) % step - step / 2


def blob(n):
    """A smooth outline with `n` lobes."""
    turn = (
        np.pi / 2 if n == 2 else 0.0
    )  # two lobes lie side by side, so that the long one is longer
    return [_polar(1 + {2: 0.34, 3: 0.26, 4: 0.22}.get(n, 0.19) * np.cos(n * (_ANGLES - turn)))]


def polygon(n):
    """A regular polygon of `n` sides; a square stands on a side, the others on a side or a corner."""
    away = np.pi / n - np.abs(_from_top(n)) if n == 4 else np.abs(_from_top(n))
    return [_polar(np.cos(np.pi / n) / np.cos(np.pi / n - away))]


def star(n):
    """A star of `n` points with straight flanks."""
    inner = {4: 0.42, 5: 0.45, 6: 0.52}.get(n, 0.62)
    turn = np.pi / n
    away = np.abs(_from_top(n))  # 0 at a point of the star, `turn` between two
    return [_polar(inner * np.sin(turn) / (np.sin(away) + inner * np.sin(turn - away)))]


def flower(n):
    """`n` round petals that meet in notches."""
    return [_polar(0.42 + 0.58 * np.sqrt(np.abs(np.cos(n * _ANGLES / 2))))]


def ringed(n):
    """A disc with `n` holes."""
    radius, far = {1: (0.44, 0.0), 2: (0.28, 0.46), 3: (0.25, 0.49)}.get(n, (0.215, 0.53))
    turns = 2 * np.pi * np.arange(n) / n + (np.pi / 2 if n == 2 else 0.0)
    return [_circle()] + [_circle(far * np.sin(t), -far * np.cos(t), radius) for t in turns]


def limbed(n):
    """A round body with `n` blunt limbs."""
    wide = {3: 0.30, 4: 0.27, 5: 0.24}.get(n, 0.21)
    return [_polar(0.52 + 0.6 * np.exp(-((_from_top(n) / wide) ** 4)))]


def stretched(loops, aspect):
    """Loops made `aspect` times as wide as high, their area kept."""
    return [loop * [np.sqrt(aspect), 1 / np.sqrt(aspect)] for loop in loops]


# ------------------------------------------------------------------ shapes of other kinds, for pretraining and clutter


def gear(n):
    """A wheel with `n` blunt teeth."""
    return [_polar(1 + 0.15 * np.tanh(5 * np.cos(n * _ANGLES)))]


def doodle(n):
    """A closed scrawl: its first seven harmonics are drawn once and for all from the number `n`."""
    u = uniforms(14, 3, n)
    radius = 1 + sum(
        0.5 / (k**0.5) * (u[k - 1] - 0.3) * np.cos(k * _ANGLES + 2 * np.pi * u[6 + k])
        for k in range(1, 8)
    )
    return [_polar(np.maximum(radius, 0.25))]


def _arc(x, y, radius, start, stop, n=40):
    turns = np.linspace(start, stop, n) * np.pi / 180
    return np.stack(
        [x + radius * np.cos(turns), y + radius * np.sin(turns)], axis=1
    )  # degrees, clockwise on screen


def _heart():
    t = _ANGLES
    return np.stack(
        [
            16 * np.sin(t) ** 3,
            -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)),
        ],
        1,
    )


_CORNERS = {
    "arrow": [(-1, -0.35), (0.15, -0.35), (0.15, -0.85), (1.1, 0), (0.15, 0.85), (0.15, 0.35), (-1, 0.35)],
    "house": [(-0.8, 0.9), (-0.8, -0.15), (0, -1), (0.8, -0.15), (0.8, 0.9)],
    "angle": [(-0.9, -0.9), (-0.2, -0.9), (-0.2, 0.25), (0.9, 0.25), (0.9, 0.9), (-0.9, 0.9)],
    "tee": [(-1, -0.9), (1, -0.9), (1, -0.3), (0.33, -0.3), (0.33, 1), (-0.33, 1), (-0.33, -0.3), (-1, -0.3)],
    "zed": [(-1, -0.65), (0.35, -0.65), (0.35, 0), (1, 0), (1, 0.65), (-0.35, 0.65), (-0.35, 0), (-1, 0)],
    "bolt": [(0.3, -1.2), (-0.7, 0.2), (-0.1, 0.2), (-0.4, 1.2), (0.75, -0.3), (0.1, -0.3)],
    "chevron": [(-0.9, -0.8), (0, -0.25), (0.9, -0.8), (0.9, 0.25), (0, 0.8), (-0.9, 0.25)],
    "plus": [(-0.35, -1), (0.35, -1), (0.35, -0.35), (1, -0.35), (1, 0.35), (0.35, 0.35),
             (0.35, 1), (-0.35, 1), (-0.35, 0.35), (-1, 0.35), (-1, -0.35), (-0.35, -0.35)],
    "stairs": [(-0.9, 0.9), (-0.9, 0.3), (-0.3, 0.3), (-0.3, -0.3), (0.3, -0.3), (0.3, -0.9), (0.9, -0.9), (0.9, 0.9)],
    "cup": [(-0.9, -0.8), (-0.4, -0.8), (-0.4, 0.3), (0.4, 0.3), (0.4, -0.8), (0.9, -0.8), (0.9, 0.85), (-0.9, 0.85)],
    "hourglass": [(-0.85, -1), (0.85, -1), (0.2, 0), (0.85, 1), (-0.85, 1), (-0.2, 0)],
    "kite": [(0, -1), (0.7, -0.35), (0, 1.2), (-0.7, -0.35)],
    "bar": [(-1.35, -0.42), (1.35, -0.42), (1.35, 0.42), (-1.35, 0.42)],
}  # fmt: skip
_CURVES = {
    "heart": [_heart()],
    "moon": [np.concatenate([_arc(0, 0, 1, 50, 310), _arc(0.5, 0, 0.78, 280, 80)])],
    "drop": [np.concatenate([[(0.0, -1.35)], _arc(0, 0.2, 0.8, -30, 210)])],
    "disc": [_circle()],
    "half disc": [_arc(0, 0, 1, 0, 180)],
    "quarter": [np.concatenate([[(0.0, 0.0)], _arc(0, 0, 1, 0, 90)])],
    "lens": [np.concatenate([_arc(0, 0.6, 1, 217, 323), _arc(0, -0.6, 1, 37, 143)])],
    "pill": [np.concatenate([_arc(0.6, 0, 0.55, -90, 90), _arc(-0.6, 0, 0.55, 90, 270)])],
}


def sign(name):
    """A shape by name: arrow, house, heart …"""
    return [np.array(_CORNERS[name], dtype=float)] if name in _CORNERS else _CURVES[name]
