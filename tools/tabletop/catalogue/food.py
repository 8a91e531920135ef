"""Things to eat."""

import numpy as np

from ..shapes import (
    around,
    ball,
    box,
    cylinder,
    lathe,
    leaf,
    pillow,
    ring,
    rod,
    round_lathe,
    tube,
)


def _stalk(z, height, lean, radius=0.05):
    return tube(
        [(0, 0, z), (lean * 0.3, 0, z + height * 0.6), (lean, 0, z + height)],
        [radius, radius, radius * 1.6],
        n=10,
    )


def apple(rng):
    h = rng.uniform(1.65, 1.95)
    skin = round_lathe(
        [
            (0.02, 0.15),
            (0.35, 0),
            (0.85, h * 0.3),
            (1, h * 0.6),
            (0.75, h * 0.93),
            (0.4, h),
            (0.02, h - 0.28),
        ]
    )
    blade = leaf(rng.uniform(0.6, 0.8), 0.34, 0.3).turn("y", -25).move(0.08, 0, h + 0.1)
    return [
        skin,
        _stalk(h - 0.3, 0.62, 0.15).paint("accent"),
        blade.turn("z", rng.uniform(-60, 10)).paint("accent"),
    ]


def bananas(rng):
    n, angles = (
        int(rng.integers(2, 5)),
        np.radians(np.linspace(-58, 62, 10)) * rng.uniform(0.9, 1.1),
    )
    path = 1.7 * np.column_stack([np.sin(angles), -np.cos(angles), 0 * angles])
    fat = [0.09, 0.26, 0.34, 0.38, 0.39, 0.38, 0.33, 0.24, 0.12, 0.11]
    one = [tube(path, fat, section=6, n=30), ball(0.13).move(*path[0]).paint("accent")]
    stem = rod(path[-1], path[-1] + (0.12, 0.3, 0), 0.13).paint("accent")
    hand = []
    for i in range(n):
        hand += [p.move(*-path[-1]).turn("x", 20 * i).turn("z", 7 * i).move(*path[-1]) for p in one]
    return [p.turn("x", 32) for p in [*hand, stem]]


def carrot(rng):
    length, r = rng.uniform(2.6, 3.2), rng.uniform(0.42, 0.52)
    z = np.linspace(0, length, 24)
    radius = r * np.sqrt(np.clip(z / length, 0, 1)) * (1 + 0.04 * np.sin(9 * z)) + 0.02
    root = lathe(np.column_stack([radius, z])).paint("main")
    frond = leaf(rng.uniform(0.9, 1.2), 0.26, -0.25, 0.05).turn("y", -50).move(z=length - 0.05)
    whole = [
        root,
        ball(r, r, 0.14).move(z=length),
        *(p.paint("accent") for p in around(6, frond)),
        leaf(1.2, 0.2, 0, 0.05).turn("y", -90).move(z=length).paint("accent"),
    ]
    return [p.turn("y", 72).turn("z", rng.uniform(-15, 15)) for p in whole]


def mushroom(rng):
    h, r = rng.uniform(1.3, 1.7), rng.uniform(0.9, 1.1)
    stem = round_lathe([(0.45, 0), (0.4, 0.2), (0.3, h * 0.7), (0.34, h)])
    cap = round_lathe(
        [(0.3, h + 0.05), (r * 0.9, h - 0.1), (r, h + 0.05), (r * 0.75, h + 0.55), (0.03, h + 0.85)]
    )
    return [stem.paint("accent"), cap]


def doughnut(rng):
    fat = rng.uniform(0.4, 0.48)
    dough, icing = ring(1, fat).paint("accent"), ring(1, fat * 1.06, n=60)
    waves = int(rng.integers(6, 10))

    def melt(x, y, z):
        edge = 0.1 * np.sin(waves * np.arctan2(y, x))
        return x, y, np.maximum(z, edge * fat * 2)

    angles, reach = rng.uniform(0, 2 * np.pi, 26), rng.uniform(-0.75, 0.75, 26) * fat
    crumbs = [
        rod((-0.09, 0, 0), (0.09, 0, 0), 0.035, 8)
        .turn("z", a * 500)
        .move((1 + d) * np.cos(a), (1 + d) * np.sin(a), np.sqrt((1.06 * fat) ** 2 - d**2) + 0.01)
        for a, d in zip(angles, reach, strict=True)
    ]
    return [dough, icing.warp(melt), *(c.paint("accent") for c in crumbs)]


def ice_cream(rng):
    scoops, h = int(rng.integers(1, 4)), rng.uniform(1.7, 2.1)
    cone = lathe([(0.04, 0), (0.72, h), (0, h)]).paint("accent")
    rim = cylinder(0.76, 0.22, 0.8).move(z=h - 0.15).paint("accent")
    balls = [ball(0.74 - 0.08 * i).move(z=h + 0.4 + 0.82 * i) for i in range(scoops)]
    frill = [
        ball(0.2).move(0.62 * np.cos(a), 0.62 * np.sin(a), h + 0.12)
        for a in np.arange(0, 6.28, 0.5)
    ]
    return [cone, rim, *balls, *frill]


def cherries(rng):
    top = (0.3, 0, rng.uniform(2.2, 2.7))
    parts = []
    for x, y in ((-0.75, -0.1), (0.8, 0.1)):
        fruit = round_lathe(
            [(0.02, 0.03), (0.4, 0.02), (0.68, 0.6), (0.45, 1.18), (0.02, 1.1)]
        ).move(x, y)
        stem = tube([(x, y, 1.05), (x * 0.8, y, 1.6), top], 0.055, n=16).paint("accent")
        parts += [fruit, stem]
    blade = leaf(1.1, 0.55, 0.3, 0.03).turn("y", -10).turn("z", rng.uniform(-40, 0)).move(*top)
    return [*parts, ball(0.12).move(*top).paint("accent"), blade.paint("accent")]


def pumpkin(rng):
    ribs, squash = int(rng.integers(8, 13)), rng.uniform(0.68, 0.85)

    def furrow(x, y, z):
        swell = (
            1
            - 0.16 * np.abs(np.sin(ribs / 2 * np.arctan2(y, x))) ** 0.7 * 0
            - 0.14 * (1 - np.abs(np.sin(ribs / 2 * np.arctan2(y, x)))) ** 2
        )
        dimple = 0.25 * np.exp(-8 * (x**2 + y**2)) * np.sign(z)
        return x * swell, y * swell, (z - dimple) * squash

    stem = tube([(0, 0, 0.4), (0, 0, 0.85), (0.25, 0, 1.15)], [0.2, 0.13, 0.16], section=6, n=12)
    return [ball(1, segments=120).warp(furrow), stem.paint("accent")]


def pineapple(rng):
    h, rows = rng.uniform(1.2, 1.45), 8
    body = ball(0.78, 0.78, h).move(z=h)
    bumps = []
    for i in range(1, rows):
        z = h * (1 - np.cos(np.pi * (i + 0.2) / (rows + 0.4)))
        r = 0.78 * np.sqrt(max(1 - (z / h - 1) ** 2, 0))
        bumps += around(
            max(int(9 * r / 0.78), 4), ball(0.2, segments=8).move(r, 0, z), phase=20 * (i % 2)
        )
    blades = [
        leaf(length, 0.3, 0.1, 0.04)
        .turn("y", -tilt)
        .turn("z", phase + 360 * i / 6)
        .move(z=2 * h - 0.08)
        for tilt, length, phase in ((40, 0.8, 0), (62, 1.0, 30), (84, 1.1, 10))
        for i in range(6)
    ]
    return [body, *bumps, *(b.paint("accent") for b in blades)]


def cake(rng):
    r, h, tiers = 1.2, rng.uniform(0.7, 0.95), int(rng.integers(1, 3))
    parts = [cylinder(r + 0.25, 0.08).paint("accent"), cylinder(r, h).move(z=0.08)]
    top, size = 0.08 + h, r
    for x in np.arange(0, 2 * np.pi, 0.45):
        parts.append(ball(0.17).move(r * np.cos(x), r * np.sin(x), top).paint("accent"))
    if tiers == 2:
        size = 0.7
        parts += [cylinder(size, h * 0.8).move(z=top)]
        top += h * 0.8
    n = int(rng.integers(4, 8))
    candle = [
        cylinder(0.06, 0.55).move(size * 0.65, 0, top).paint("accent"),
        round_lathe([(0.02, 0), (0.08, 0.1), (0.01, 0.28)], 8, 12).move(size * 0.65, 0, top + 0.58),
    ]
    return parts + [p for part in candle for p in around(n, part)]


def burger(rng):
    r, frill = 1.1, int(rng.integers(8, 13))
    bottom = pillow(2 * r, 2 * r, 0.5, 0.6).move(z=0.25)
    bottom = round_lathe([(r * 0.9, 0), (r, 0.1), (r, 0.38), (r * 0.9, 0.45)])
    meat = round_lathe([(r, 0.45), (r * 1.06, 0.6), (r, 0.78)]).paint("accent")
    cheese = box(1.62, 1.62, 0.07).turn("z", rng.uniform(20, 60)).move(z=0.8)
    green = (
        cylinder(r * 1.12, 0.09, segments=90)
        .warp(
            lambda x, y, z: (
                x,
                y,
                z + 0.08 * np.hypot(x, y) ** 2 * np.sin(frill * np.arctan2(y, x)),
            )
        )
        .move(z=0.92)
        .paint("accent")
    )
    top = round_lathe(
        [(r * 0.95, 1.02), (r * 1.05, 1.15), (r * 0.85, 1.6), (r * 0.4, 1.85), (0.02, 1.9)]
    )
    seeds = [
        ball(0.08, 0.05, 0.04)
        .turn("z", a * 300)
        .move(d * np.cos(a), d * np.sin(a), 1.91 - 0.42 * d**2)
        for a, d in zip(rng.uniform(0, 6.28, 22), np.sqrt(rng.uniform(0, 0.45, 22)), strict=True)
    ]
    return [bottom, meat, cheese, green, top, *(s.paint("accent") for s in seeds)]
