"""Things on a desk or a mantelpiece."""

import numpy as np

from ..shapes import (
    around,
    ball,
    box,
    cylinder,
    lathe,
    mirrored,
    pillow,
    ring,
    rod,
    round_lathe,
    tube,
)


def book(rng):
    w, h, thick = rng.uniform(1.3, 1.5), 1.9, rng.uniform(0.3, 0.55)
    pages = box(w - 0.1, h - 0.14, thick - 0.12).move(0.02, 0, 0.06).paint("accent")
    covers = [
        box(w, h, 0.06),
        box(w, h, 0.06).move(z=thick - 0.06),
        box(0.07, h, thick).move(x=-w / 2),
    ]
    title = [
        box(w * 0.6, 0.18, 0.02).move(0, h * 0.22, thick),
        box(w * 0.4, 0.09, 0.02).move(0, h * 0.05, thick),
    ]
    lean = rng.uniform(12, 30)
    return [
        p.turn("x", lean).turn("z", 25)
        for p in [pages, *covers, *(t.paint("accent") for t in title)]
    ]


def pencil(rng):
    length, r = rng.uniform(1.9, 2.4), 0.24
    body = lathe([(0, 0.25), (r, 0.25), (r, length), (0, length)], 6)
    wood = lathe([(r * 0.98, length), (r * 0.3, length + 0.42), (0, length + 0.42)], 24).paint(
        "accent"
    )
    lead = lathe([(r * 0.33, length + 0.38), (0.01, length + 0.6)], 16)
    ferrule = lathe([(r * 1.06, 0.08), (r * 1.06, 0.34), (0, 0.34)], 24).paint("accent")
    rubber = ball(r, r, 0.14).move(z=0.06)
    tilt = rng.uniform(74, 82)
    return [p.turn("y", tilt).turn("z", -10) for p in (body, wood, lead, ferrule, rubber)]


def candle(rng):
    r, h = rng.uniform(0.24, 0.32), rng.uniform(1.4, 1.8)
    dish = lathe([(0, 0), (0.8, 0), (0.95, 0.2), (0.9, 0.2), (0.75, 0.08), (0, 0.08)])
    holder = cylinder(r * 1.35, 0.4, r * 1.2).move(z=0.05)
    loop = ring(0.25, 0.07).turn("x", 90).move(1.1, 0, 0.25)
    wax = round_lathe([(r, 0.3), (r, h), (r * 0.93, h + 0.12), (0.02, h + 0.1)]).paint("accent")
    drips = [
        ball(0.08, 0.08, rng.uniform(0.12, 0.3))
        .move(r * np.cos(a), r * np.sin(a), h - 0.05)
        .paint("accent")
        for a in rng.uniform(0, 6.28, 4)
    ]
    wick = rod((0, 0, h + 0.05), (0.02, 0, h + 0.3), 0.03)
    flame = round_lathe([(0.02, 0), (0.15, 0.18), (0.12, 0.33), (0.01, 0.62)], 16).move(z=h + 0.24)
    return [dish, holder, loop, wax, *drips, wick, flame]


def alarm_clock(rng):
    r = rng.uniform(0.85, 1)
    case = cylinder(r, 0.6).move(z=-0.3).turn("x", 90)
    face = cylinder(r * 0.86, 0.04).turn("x", 90).move(y=-0.3).paint("accent")
    rim = ring(r * 0.93, 0.09).turn("x", 90).move(y=-0.3)
    marks = [
        box(0.06, 0.05, 0.16).move(z=r * 0.62).turn("y", 30 * i).move(y=-0.35) for i in range(12)
    ]
    hands = [
        box(0.09, 0.05, long).turn("y", angle).move(y=-0.36)
        for long, angle in (
            (r * 0.45, 30 * rng.integers(0, 12)),
            (r * 0.68, 6 * rng.integers(0, 60)),
        )
    ]
    bells = [
        ball(0.36, 0.36, 0.26).turn("y", s * 35).move(s * r * 0.6, 0, r * 0.95).paint("accent")
        for s in (-1, 1)
    ]
    legs = [
        rod((s * r * 0.5, 0, -r * 0.8), (s * r * 0.78, 0, -r * 1.2), 0.09).paint("accent")
        for s in (-1, 1)
    ]
    arch = tube(
        [(-0.25, 0, r * 1.15), (-0.2, 0, r * 1.45), (0.2, 0, r * 1.45), (0.25, 0, r * 1.15)],
        0.06,
        n=16,
    )
    return [case, face, rim, *marks, *hands, *bells, *legs, arch.paint("accent")]


def die(rng):
    solid = pillow(2, 2, 2, rng.uniform(0.14, 0.26), segments=48)
    spots = {
        1: [(0, 0)],
        2: [(-1, -1), (1, 1)],
        3: [(-1, -1), (0, 0), (1, 1)],
        4: [(-1, -1), (1, 1), (-1, 1), (1, -1)],
    }
    spots[5], spots[6] = spots[4] + [(0, 0)], spots[4] + [(-1, 0), (1, 0)]
    up, front, right = rng.permutation([(1, 2, 3), (2, 3, 1), (3, 1, 2)][int(rng.integers(0, 3))])
    parts = [solid.paint("accent")]
    for number, turns in (
        (up, []),
        (7 - up, [("x", 180)]),
        (front, [("x", 90)]),
        (7 - front, [("x", -90)]),
        (right, [("y", 90)]),
        (7 - right, [("y", -90)]),
    ):
        for x, y in spots[int(number)]:
            spot = ball(0.22, 0.22, 0.05).move(0.54 * x, 0.54 * y, 1).paint("plain")
            for axis, degrees in turns:
                spot = spot.turn(axis, degrees)
            parts.append(spot)
    return [p.turn("z", 35) for p in parts]


def globe(rng):
    r = rng.uniform(0.85, 1)
    lands = []
    for _ in range(11):
        size = rng.uniform(0.25, 0.6)
        land = (
            ball(size, size * rng.uniform(0.5, 1), 0.1)
            .move(z=r * 0.985)
            .turn("z", rng.uniform(0, 360))
        )
        land = land.turn("y", rng.uniform(25, 155)).turn("z", rng.uniform(0, 360))
        lands.append(
            land.warp(
                lambda x, y, z: (
                    np.stack([x, y, z]) * np.minimum(r * 1.02 / np.sqrt(x**2 + y**2 + z**2), 1)
                )
            ).paint("accent")
        )
    arc = tube(
        [
            (1.17 * r * np.sin(a), 0, 1.17 * r * np.cos(a))
            for a in np.radians(np.linspace(-8, 188, 30))
        ],
        0.07,
    )
    pins = [rod((0, 0, s * r * 0.95), (0, 0, s * r * 1.18), 0.05) for s in (-1, 1)]
    parts = [
        p.turn("y", 23)
        for p in [ball(r, segments=48), *lands, *(q.paint("accent") for q in [arc, *pins])]
    ]
    foot = [
        rod((0.05, 0, -r * 1.2), (0.05, 0, -r * 1.55), 0.1),
        lathe([(0.75, 0), (0.7, 0.12), (0.15, 0.25), (0, 0.25)]).move(0.05, 0, -r * 1.7),
    ]
    return [*parts, *(p.paint("accent") for p in foot)]


def hourglass(rng):
    r, h = rng.uniform(0.55, 0.65), rng.uniform(0.95, 1.15)
    bulb = round_lathe(
        [
            (r * 0.6, -h),
            (r, -h * 0.7),
            (r * 0.75, -h * 0.3),
            (0.09, 0),
            (r * 0.75, h * 0.3),
            (r, h * 0.7),
            (r * 0.6, h),
        ],
        48,
    )
    boards = [cylinder(r * 1.45, 0.16).move(z=z) for z in (-h - 0.16, h)]
    posts = around(
        int(rng.integers(3, 5)),
        rod((r * 1.2, 0, -h), (r * 1.2, 0, h), 0.08),
        phase=rng.uniform(0, 90),
    )
    return [bulb, *(p.paint("accent") for p in boards + posts)]


def hand_bell(rng):
    h = rng.uniform(1.1, 1.35)
    cup = round_lathe([(0.95, 0), (0.85, 0.12), (0.58, h * 0.5), (0.45, h * 0.85), (0.02, h)])
    band = ring(0.92, 0.06).move(z=0.08).paint("accent")
    handle = lathe(
        [(0.1, 0), (0.08, 0.12), (0.17, 0.5), (0.15, 0.85), (0.19, 1.0), (0.12, 1.12), (0, 1.14)]
    ).move(z=h - 0.03)
    tilt = rng.uniform(0, 18)
    return [p.turn("y", -tilt) for p in (cup, band, handle.paint("accent"))]


def spectacles(rng):
    r, wide = rng.uniform(0.5, 0.58), rng.uniform(1, 1.25)
    rims = mirrored(ring(r, 0.07).stretch(x=wide).turn("x", 90).move(0.72 * wide, 0, 0.55))
    lens = mirrored(
        cylinder(r * 0.98, 0.03).stretch(x=wide).turn("x", 90).move(0.72 * wide, 0, 0.55)
    )
    bridge = tube([(-0.2 * wide, 0, 0.65), (0, -0.05, 0.76), (0.2 * wide, 0, 0.65)], 0.07, n=10)
    x = 0.72 * wide + r * wide
    arms = mirrored(
        tube([(x, 0, 0.7), (x + 0.05, 0.4, 0.7), (x, 1.6, 0.6), (x - 0.05, 2, 0.15)], 0.06, n=24)
    )
    return [p.turn("z", 25) for p in [*rims, bridge, *arms, *(q.paint("accent") for q in lens)]]
