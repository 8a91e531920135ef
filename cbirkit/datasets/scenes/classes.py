"""The shapes of the world: 48 classes in 6 families, 32 generic classes for pretraining, 6 pieces of clutter."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from . import contours
from .draws import uniforms

_WORDS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 8: "eight"}
_POLYGONS = {3: "triangle", 4: "square", 5: "pentagon", 6: "hexagon"}
_PHRASES = {"long square": "rectangle"}
_FAMILIES = {  # family: the numbers n of its classes, and what to call one
    "blob": ((2, 3, 4, 5), lambda n: f"{_WORDS[n]}-lobed blob"),
    "polygon": ((3, 4, 5, 6), _POLYGONS.get),
    "star": ((4, 5, 6, 8), lambda n: f"{_WORDS[n]}-pointed star"),
    "flower": ((4, 5, 6, 8), lambda n: f"{_WORDS[n]}-petalled flower"),
    "ringed": ((1, 2, 3, 4), lambda n: f"disc with {_WORDS[n]} hole{'s' * (n > 1)}"),
    "limbed": ((3, 4, 5, 6), lambda n: f"{_WORDS[n]}-limbed figure"),
}
_SIGNS = ("arrow", "house", "angle", "tee", "zed", "bolt", "chevron", "plus",
          "stairs", "cup", "hourglass", "kite", "heart", "moon", "drop", "bar")  # fmt: skip
_GEARS = (5, 7, 9, 10, 11, 12, 13, 15)
_CLUTTER = ("disc", "half disc", "quarter", "lens", "pill", "bar")
FAMILIES = tuple(_FAMILIES)
GROUPS = ("seen", "unseen", "generic")


@dataclass(frozen=True)
class SceneClass:
    """One shape: `name` is its label, `phrase` what captions call it, `group` seen, unseen, generic or clutter."""

    index: int
    name: str
    family: str
    group: str
    phrase: str
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
    for code, (family, (numbers, phrase)) in enumerate(_FAMILIES.items()):
        # three unseen classes in four of the families and two in the others, drawn once and for all
        unseen = np.argsort(uniforms(8, 1, code), kind="stable")[: 3 if code not in (1, 4) else 2]
        for member, (n, aspect) in enumerate((n, a) for n in numbers for a in (1.0, contours.LONG)):
            long = aspect > 1
            group = "unseen" if member in unseen else "seen"
            words = "long " * long + phrase(n)
            rows.append(
                (
                    f"{family}{n}{'-long' * long}",
                    family,
                    group,
                    _PHRASES.get(words, words),
                    n,
                    aspect,
                )
            )
    rows += [(name, "sign", "generic", name, name) for name in _SIGNS]
    rows += [(f"gear{n}", "gear", "generic", f"gear with {n} teeth", n) for n in _GEARS]
    rows += [(f"doodle{n}", "doodle", "generic", f"doodle {n}", n) for n in range(1, 9)]
    rows += [(f"clutter {name}", "clutter", "clutter", name, name) for name in _CLUTTER]
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
        if group == "all":
            return [c for c in known if c.group != "generic"]
        if group not in GROUPS:
            raise ValueError(
                f"classes must be all, {', '.join(GROUPS)} or a list of class names, got {group!r}"
            )
        return [c for c in known if c.group == group]
    names = {c.name: c for c in known}
    wanted = list(group)
    unknown = [name for name in wanted if name not in names]
    if unknown or not wanted or len(set(wanted)) < len(wanted):
        problem = (
            f"does not know {unknown[0]!r}"
            if unknown
            else "needs each class once, and at least one"
        )
        raise ValueError(f"classes {problem}; names are such as {', '.join(list(names)[:48:9])}")
    return [names[name] for name in wanted]


@cache
def outline(index):
    """Loops of a shape, of area pi and centred: list of float64 (n, 2), x to the right, y down."""
    shape = scene_classes()[index]
    if shape.family in FAMILIES or shape.family in ("gear", "doodle"):
        loops = contours.stretched(getattr(contours, shape.family)(shape.n), shape.aspect)
    else:
        loops = contours.sign(shape.n)
    signed = [_area_and_moments(loop) for loop in loops]
    signed = [signed[0]] + [
        tuple(-v for v in moments) for moments in signed[1:]
    ]  # inner loops are holes
    area, x, y = (sum(column) for column in zip(*signed, strict=True))
    return [(loop - [x / area, y / area]) * np.sqrt(np.pi / area) for loop in loops]


def _area_and_moments(loop):
    """Area and first moments of a loop, as if it ran in the positive sense."""
    x, y = loop.T
    u, v = np.roll(x, -1), np.roll(y, -1)
    cross = x * v - u * y
    sense = np.sign(cross.sum())
    return tuple(
        sense * m
        for m in (cross.sum() / 2, ((x + u) * cross).sum() / 6, ((y + v) * cross).sum() / 6)
    )


@cache
def rim(index, n=120):
    """`n` points on the outer loop of a shape, with all corners if it has few: float64 (n, 2)."""
    loop = outline(index)[0]
    if len(loop) > n:
        return loop[np.arange(n) * len(loop) // n]
    each, more = divmod(n, len(loop))
    parts = each + (np.arange(len(loop)) < more)
    ends = np.roll(loop, -1, axis=0)
    return np.concatenate(
        [
            a + (b - a) * (np.arange(k) / k)[:, None]
            for a, b, k in zip(loop, ends, parts, strict=True)
        ]
    )
