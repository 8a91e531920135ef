"""Furniture, as for a doll's house."""

import numpy as np

from ..shapes import box, lathe, pillow, ring, rod, round_lathe


def _legs(x, y, height, radius, splay=0.0, square=False):
    """Four legs under the corners (+-x, +-y)."""
    if square:
        return [
            box(2 * radius, 2 * radius, height).move(i * x, j * y) for i in (-1, 1) for j in (-1, 1)
        ]
    return [
        rod(
            (i * x * (1 + splay), j * y * (1 + splay), 0),
            (i * x, j * y, height),
            (radius * 0.8, radius),
        )
        for i in (-1, 1)
        for j in (-1, 1)
    ]


def chair(rng):
    w, seat, back = rng.uniform(0.85, 1.05), rng.uniform(0.9, 1.1), rng.uniform(1.1, 1.4)
    parts = [
        box(w, w, 0.12).move(z=seat),
        *_legs(w / 2 - 0.07, w / 2 - 0.07, seat, 0.065, square=True),
    ]
    posts = [
        box(0.12, 0.12, back).move(side * (w / 2 - 0.07), w / 2 - 0.07, seat) for side in (-1, 1)
    ]
    if rng.random() < 0.5:
        n = int(rng.integers(2, 4))
        rails = [
            box(w, 0.07, 0.22).move(0, w / 2 - 0.07, seat + back * (0.95 - 0.3 * i) - 0.1)
            for i in range(n)
        ]
    else:
        rails = [box(w, 0.08, 0.22).move(0, w / 2 - 0.07, seat + back - 0.15)]
        rails += [
            box(0.08, 0.05, back).move(x, w / 2 - 0.07, seat) for x in np.linspace(-w / 4, w / 4, 3)
        ]
    cushion = pillow(w * 0.92, w * 0.92, 0.16, 0.4).move(0, -0.03, seat + 0.16)
    return [*parts, *posts, *rails, cushion.paint("accent")]


def stool(rng):
    r, h, splay = rng.uniform(0.55, 0.7), rng.uniform(1.2, 1.7), rng.uniform(0.3, 0.6)
    seat = round_lathe(
        [(0.02, h), (r, h), (r * 1.04, h + 0.1), (r * 0.9, h + 0.2), (0.02, h + 0.2)]
    )
    legs = _legs(r * 0.5, r * 0.5, h + 0.05, 0.08, splay)
    bar = r * 0.5 * (1 + splay * 0.62)
    rungs = [rod((-bar, j * bar, h * 0.38), (bar, j * bar, h * 0.38), 0.045) for j in (-1, 1)]
    rungs += [rod((j * bar, -bar, h * 0.38), (j * bar, bar, h * 0.38), 0.045) for j in (-1, 1)]
    return [seat, *(part.paint("accent") for part in legs + rungs)]


def table(rng):
    w, d, h = rng.uniform(2, 2.6), rng.uniform(1.2, 1.5), rng.uniform(1, 1.25)
    top = box(w, d, 0.12).move(z=h)
    apron = box(w - 0.35, d - 0.35, 0.2).move(z=h - 0.18)
    return [
        top,
        apron.paint("accent"),
        *(
            p.paint("accent")
            for p in _legs(w / 2 - 0.14, d / 2 - 0.14, h, 0.085, square=rng.random() < 0.5)
        ),
    ]


def table_lamp(rng):
    h, r, top = rng.uniform(1.1, 1.5), rng.uniform(0.8, 1), rng.uniform(0.4, 0.6)
    if rng.random() < 0.5:
        body = round_lathe([(0.5, 0), (0.52, 0.1), (0.12, 0.25), (0.1, h * 0.6), (0.07, h)])
    else:
        body = round_lathe([(0.35, 0), (0.4, 0.1), (0.48, h * 0.4), (0.15, h * 0.75), (0.08, h)])
    shade = lathe([(r, h * 0.85), (top, h + 0.9), (top - 0.05, h + 0.9), (r - 0.05, h * 0.85)])
    return [body.paint("accent"), shade, ring(r - 0.02, 0.035).move(z=h * 0.85).paint("accent")]


def bookcase(rng):
    w, h, d, shelves = rng.uniform(1.4, 1.7), rng.uniform(2, 2.5), 0.55, int(rng.integers(3, 5))
    parts = [box(0.1, d, h).move(x=s * (w / 2 - 0.05)) for s in (-1, 1)] + [
        box(w, 0.05, h).move(y=d / 2 - 0.03)
    ]
    gap = (h - 0.1) / shelves
    for i in range(shelves + 1):
        parts.append(box(w, d, 0.09).move(z=i * gap))
    for i in range(shelves):
        x = -w / 2 + 0.12
        while x < w / 2 - 0.28:
            thick, tall = rng.uniform(0.09, 0.17), gap * rng.uniform(0.55, 0.82)
            surface = "main" if rng.random() < 0.25 else "accent"
            if rng.random() < 0.88:
                parts.append(
                    box(thick - 0.025, d * 0.75, tall)
                    .move(x + thick / 2, 0, i * gap + 0.08)
                    .paint(surface)
                )
            x += thick
    return parts


def bed(rng):
    w, length, head = rng.uniform(1.2, 1.6), 2.3, rng.uniform(1, 1.3)
    frame = [
        box(w, length, 0.22).move(z=0.25),
        *_legs(w / 2 - 0.08, length / 2 - 0.08, 0.3, 0.08, square=True),
    ]
    boards = [
        box(w + 0.1, 0.1, head).move(y=length / 2),
        box(w + 0.1, 0.1, head * 0.45).move(y=-length / 2),
    ]
    mattress = pillow(w * 0.97, length * 0.97, 0.36, 0.25).move(z=0.58)
    cover = pillow(w * 1.04, length * 0.66, 0.4, 0.25).move(0, -length * 0.15, 0.6).paint("accent")
    n = 2 if w > 1.4 else 1
    pillows = [
        pillow(w * 0.8 / n, 0.45, 0.24, 0.55).move(
            (i - (n - 1) / 2) * w * 0.45, length * 0.36, 0.82
        )
        for i in range(n)
    ]
    return [
        p.turn("z", -35)
        for p in [*frame, *boards, mattress, cover, *(p.paint("accent") for p in pillows)]
    ]


def sofa(rng):
    w, arm, back = rng.uniform(2, 2.7), rng.uniform(0.28, 0.36), rng.uniform(0.8, 1)
    parts = [box(w, 1, 0.35).move(z=0.15), *_legs(w / 2 - 0.15, 0.35, 0.18, 0.07)]
    parts += [pillow(arm, 1.05, 0.7, 0.4).move(s * (w / 2 - arm / 2), 0, 0.5) for s in (-1, 1)]
    parts.append(pillow(w, 0.34, back, 0.35).move(0, 0.42, 0.3 + back / 2))
    n, inside = int(rng.integers(2, 4)), w - 2 * arm
    for i in range(n):
        x = (i - (n - 1) / 2) * inside / n
        parts.append(pillow(inside / n * 0.98, 0.78, 0.28, 0.4).move(x, -0.1, 0.58).paint("accent"))
        parts.append(pillow(inside / n * 0.95, 0.24, 0.5, 0.45).move(x, 0.2, 0.88).paint("accent"))
    return parts


def ladder(rng):
    h, w, rungs = rng.uniform(2.4, 2.9), rng.uniform(0.8, 1), int(rng.integers(4, 7))
    parts = []
    for lean, steps in ((16, True), (-16, False)):
        side = [box(0.1, 0.12, h).move(x=s * w / 2) for s in (-1, 1)]
        side += [
            box(w, 0.25 if steps else 0.08, 0.07).move(z=h * (i + 1) / (rungs + 1))
            for i in (range(rungs) if steps else (0, rungs - 1))
        ]
        parts += [
            p.move(z=-h).turn("x", -lean).move(z=h).paint("main" if steps else "accent")
            for p in side
        ]
    return [*parts, box(w + 0.2, 0.4, 0.1).move(z=h - 0.03).paint("accent")]
