"""The shapes of the world: outlines, the 48 classes in 6 families, 32 generic ones and 6 pieces of clutter, and
fields of the distance to their edges, from which they are drawn smoothly.

All that is random here is the same on every platform and with every NumPy: NumPy promises the bits of a seeded bit
generator, not what its distributions make of them; so only the bits are used.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.spatial import cKDTree


def uniforms(n, *key):
    """`n` numbers in [0, 1), float64, for a key of whole numbers >= 0.

    Examples
    --------
    >>> uniforms(2, 0, 7).round(4).tolist()
    [0.0389, 0.7771]
    """
    bits = np.random.PCG64(np.random.SeedSequence(key)).random_raw(n)
    return (bits >> np.uint64(11)) * 2.0**-53


def bell_noise(shape, *key):
    """Noise of mean 0 and standard deviation 1, float32: sums of four bytes, so never beyond 3.5."""
    n = int(np.prod(shape))
    bits = np.random.PCG64(np.random.SeedSequence(key)).random_raw((n + 1) // 2)
    # Eight bytes a number of 64 bits.
    parts = bits.astype("<u8", copy=False).view(np.uint8)[: 4 * n].reshape(4, n)
    total = parts[0].astype(np.int16) + parts[1] + parts[2] + parts[3]
    return ((total - 510) * np.float32(1 / 147.8)).astype(np.float32).reshape(shape)


def between(u, low, high):
    """Take numbers in [0, 1) to [low, high)."""
    return low + (high - low) * u


def pick(u, n):
    """Take numbers in [0, 1) to whole numbers 0 to n - 1, int64; `n` may be an array."""
    return np.minimum((u * n).astype(np.int64), np.asarray(n) - 1)


# ---------------------------------------------------------------------- outlines

# 240 has the divisors 3, 4, 5, 6 and 8: corners are hit exactly.
_ANGLES = np.arange(240) * (2 * np.pi / 240)
LONG = 1.5  # aspect of the long classes


def _polar(radius, angles=_ANGLES):
    """Points (n, 2) at a distance from the middle; the first is at the top."""
    return np.stack([radius * np.sin(angles), -radius * np.cos(angles)], axis=1)


def _circle(x=0.0, y=0.0, radius=1.0):
    return _polar(radius) + [x, y]


def _from_top(n):
    """Angle from the nearest of `n` axes, one of which points up: in [-pi / n, pi / n]."""
    step = 2 * np.pi / n
    return (_ANGLES + step / 2) % step - step / 2


def blob(n):
    """A smooth outline with `n` lobes."""
    # Two lobes lie side by side, so that the long one is longer.
    turn = np.pi / 2 if n == 2 else 0.0
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
    """Points of an arc; `start` and `stop` in degrees, clockwise on the screen."""
    turns = np.linspace(start, stop, n) * np.pi / 180
    return np.stack([x + radius * np.cos(turns), y + radius * np.sin(turns)], axis=1)


def _heart():
    t = _ANGLES
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([16 * np.sin(t) ** 3, y], axis=1)


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


# ---------------------------------------------------------------------- classes

_FAMILIES = {  # family: the numbers n of its classes
    "blob": (2, 3, 4, 5),
    "polygon": (3, 4, 5, 6),
    "star": (4, 5, 6, 8),
    "flower": (4, 5, 6, 8),
    "ringed": (1, 2, 3, 4),
    "limbed": (3, 4, 5, 6),
}
_SIGNS = ("arrow", "house", "angle", "tee", "zed", "bolt", "chevron", "plus",
          "stairs", "cup", "hourglass", "kite", "heart", "moon", "drop", "bar")  # fmt: skip
_GEARS = (5, 7, 9, 10, 11, 12, 13, 15)
_CLUTTER = ("disc", "half disc", "quarter", "lens", "pill", "bar")
FAMILIES = tuple(_FAMILIES)
_OUTLINES = {f.__name__: f for f in (blob, polygon, star, flower, ringed, limbed, gear, doodle)}
GROUPS = ("seen", "unseen", "generic")


@dataclass(frozen=True)
class SceneClass:
    """One shape: `name` is its label, `group` seen, unseen, generic or clutter."""

    index: int
    name: str
    family: str
    group: str
    n: int | str
    aspect: float = 1.0


@cache
def scene_classes():
    """All shapes, by index: the 48 classes family by family, then the generic ones, then clutter.

    Returns
    -------
    tuple of SceneClass

    Examples
    --------
    >>> from collections import Counter
    >>> dict(Counter(c.group for c in scene_classes()))
    {'seen': 32, 'unseen': 16, 'generic': 32, 'clutter': 6}
    """
    rows = []
    for code, (family, numbers) in enumerate(_FAMILIES.items()):
        # Three unseen classes in four of the families and two in the others, drawn once and for all.
        unseen = np.argsort(uniforms(8, 1, code), kind="stable")[: 3 if code not in (1, 4) else 2]
        for member, (n, aspect) in enumerate((n, a) for n in numbers for a in (1.0, LONG)):
            name = f"{family}{n}{'-long' * (aspect > 1)}"
            rows.append((name, family, "unseen" if member in unseen else "seen", n, aspect))
    rows += [(name, "sign", "generic", name) for name in _SIGNS]
    rows += [(f"gear{n}", "gear", "generic", n) for n in _GEARS]
    rows += [(f"doodle{n}", "doodle", "generic", n) for n in range(1, 9)]
    rows += [(f"clutter {name}", "clutter", "clutter", name) for name in _CLUTTER]
    return tuple(SceneClass(i, *row) for i, row in enumerate(rows))


def classes_of(group):
    """The classes of a group, ``"all"`` (seen and unseen), or a list of names, as a list of `SceneClass`.

    Raises
    ------
    ValueError
        An unknown group or name.
    """
    known = [c for c in scene_classes() if c.group in GROUPS]
    if isinstance(group, str):
        if group not in (*GROUPS, "all"):
            raise ValueError(
                f"classes must be all, {', '.join(GROUPS)} or a list of class names, got {group!r}"
            )
        return [c for c in known if c.group in (GROUPS[:2] if group == "all" else [group])]
    names, wanted = {c.name: c for c in known}, list(group)
    unknown = [name for name in wanted if name not in names]
    if unknown or not wanted or len(set(wanted)) < len(wanted):
        raise ValueError(
            f"classes must be known names, each once, and at least one; got {unknown or wanted}; "
            f"names are such as {', '.join(list(names)[:48:9])}"
        )
    return [names[name] for name in wanted]


@cache
def outline(index):
    """Loops of a shape, of area pi and centred: list of float64 (n, 2), x to the right, y down."""
    shape = scene_classes()[index]
    drawn = _OUTLINES.get(shape.family, sign)(shape.n)
    # Made wider than high, the area kept.
    loops = [loop * [np.sqrt(shape.aspect), 1 / np.sqrt(shape.aspect)] for loop in drawn]
    # Inner loops are holes.
    signs = [1] + [-1] * (len(loops) - 1)
    signed = [
        [k * v for v in _area_and_moments(loop)] for k, loop in zip(signs, loops, strict=True)
    ]
    area, x, y = (sum(column) for column in zip(*signed, strict=True))
    return [(loop - [x / area, y / area]) * np.sqrt(np.pi / area) for loop in loops]


def _area_and_moments(loop):
    """Area and first moments of a loop, as if it ran in the positive sense."""
    x, y = loop.T
    u, v = np.roll(x, -1), np.roll(y, -1)
    cross = x * v - u * y
    moments = cross.sum() / 2, ((x + u) * cross).sum() / 6, ((y + v) * cross).sum() / 6
    return tuple(np.sign(cross.sum()) * moment for moment in moments)


@cache
def rim(index, n=120):
    """`n` points on the outer loop of a shape, with all corners if it has few: float64 (n, 2)."""
    loop = outline(index)[0]
    if len(loop) > n:
        return loop[np.arange(n) * len(loop) // n]
    each, more = divmod(n, len(loop))
    parts = each + (np.arange(len(loop)) < more)
    ends = np.roll(loop, -1, axis=0)
    pieces = zip(loop, ends, parts, strict=True)
    return np.concatenate([a + (b - a) * (np.arange(k) / k)[:, None] for a, b, k in pieces])


# ---------------------------------------------------------------------- distance fields

HALF = 2.4  # fields cover [-HALF, HALF] both ways; a disc of the same area has the radius 1
CELLS = 192
REACH = 0.5  # distances beyond are cut off
_STEP = 2 * HALF / CELLS


def _grid(cells):
    centres = (np.arange(cells) + 0.5) * (2 * HALF / cells) - HALF
    return np.stack(np.meshgrid(centres, centres), axis=-1)  # (cells, cells, 2) x, y


def filled(loops, cells):
    """Which centres of a grid over [-HALF, HALF] lie inside loops, by the even-odd rule: bool (cells, cells)."""
    step = 2 * HALF / cells
    y = ((np.arange(cells) + 0.5) * step - HALF)[:, None]  # (cells, 1)
    turns = np.zeros((cells, cells + 1), dtype=np.int64)
    for loop in loops:
        (x0, y0), (x1, y1) = loop.T, np.roll(loop, -1, axis=0).T  # (m,)
        row, edge = np.nonzero((y0 > y) != (y1 > y))
        at = x0[edge] + (y[row, 0] - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
        beyond = np.clip(np.ceil((at + HALF) / step - 0.5), 0, cells).astype(np.int64)
        np.add.at(turns, (row, beyond), 1)
    return (np.cumsum(turns[:, :cells], axis=1) % 2).astype(bool)


@cache
def distance_field(index):
    """Distance to the edge of a shape, positive inside, cut off at `REACH`.

    Returns
    -------
    ndarray of shape (CELLS, CELLS), float32
        At the centres of square cells that cover [-HALF, HALF].
    """
    loops = outline(index)
    grid = _grid(CELLS).reshape(-1, 2)
    dense = np.concatenate([_resampled(loop) for loop in loops])
    reach = np.abs(dense).max(axis=0) + REACH
    near = (np.abs(grid) < reach).all(axis=1)
    distance = np.full(len(grid), REACH)
    found = cKDTree(dense).query(grid[near], distance_upper_bound=REACH)[0]
    distance[near] = np.minimum(found, REACH)
    distance = distance.reshape(CELLS, CELLS).astype(np.float32)
    return np.where(filled(loops, CELLS), distance, -distance)


def _resampled(loop, spacing=0.006):
    """Points on a loop, at most `spacing` apart."""
    ahead = np.roll(loop, -1, axis=0) - loop
    counts = np.ceil(np.hypot(*ahead.T) / spacing).astype(int)
    which = np.repeat(np.arange(len(loop)), counts)
    part = (np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)) / counts[which]
    return loop[which] + ahead[which] * part[:, None]


def sample(field, x, y):
    """Values of a field at `x`, `y` (float32, same shape), interpolated linearly; at the border, for those beyond."""
    half, cells, last = np.float32(HALF), np.float32(1 / _STEP), np.float32(CELLS - 1.001)
    x, y = (np.clip((v + half) * cells - np.float32(0.5), 0, last) for v in (x, y))
    column, row = x.astype(np.int32), y.astype(np.int32)
    x -= column
    y -= row
    at = row * CELLS + column
    flat = field.ravel()
    top = flat[at]
    top += x * (flat[at + 1] - top)
    low = flat[at + CELLS]
    low += x * (flat[at + CELLS + 1] - low)
    low -= top
    low *= y
    low += top
    return low


@cache
def sample_points(index, n=128):
    """`n` points spread evenly over the inside of a shape: float64 (n, 2)."""
    points = _grid(96)[filled(outline(index), 96)]
    # a walk along the grid in strides of the golden ratio visits the shape evenly
    order = np.argsort((np.arange(len(points)) * 0.6180339887498949) % 1.0, kind="stable")
    return points[np.sort(order[:n])]
