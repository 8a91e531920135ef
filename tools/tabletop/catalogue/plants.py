"""Plants."""

import numpy as np

from ..shapes import around, ball, cylinder, lathe, leaf, ring, round_lathe, tube, vessel


def _flowerpot(r=0.6, h=0.9):
    soil = cylinder(r * 0.86, 0.1).move(z=h * 0.82)
    return [
        vessel(
            [(r * 0.72, 0), (r * 0.95, h * 0.75), (r * 1.08, h * 0.75), (r * 1.1, h)], 0.08
        ).paint("accent"),
        ring(r * 1.02, 0.08).move(z=h * 0.95).paint("accent"),
        soil,
    ]


def pot_plant(rng):
    h, leaves = rng.uniform(0.8, 1), int(rng.integers(11, 17))
    parts = _flowerpot(0.6, h)
    for i in range(leaves):
        steep, length = rng.uniform(15, 80), rng.uniform(0.9, 1.3)
        blade = leaf(length, rng.uniform(0.36, 0.5), rng.uniform(0.2, 0.5), 0.03)
        parts.append(blade.turn("y", -steep).turn("z", i * 137.5).move(z=h * 0.9))
    return parts


def cactus(rng):
    h, r, ribs = rng.uniform(1.4, 1.8), rng.uniform(0.3, 0.36), int(rng.integers(9, 13))

    def ribbed(x, y, z):
        wave = 1 + 0.09 * np.cos(ribs * np.arctan2(y, x))
        return x * wave, y * wave, z

    trunk = round_lathe(
        [(r, 0), (r, h * 0.8), (r * 0.75, h * 0.97), (0.02, h + 0.08)], 24, ribs * 8
    ).warp(ribbed)
    parts = [*_flowerpot(0.55, 0.75), trunk.move(z=0.6)]
    for side, z in ((1, rng.uniform(0.3, 0.45)), (-1, rng.uniform(0.45, 0.62)))[
        : int(rng.integers(1, 3))
    ]:
        top, base = rng.uniform(0.5, 0.75), 0.6 + z * h
        arm = tube(
            [
                (0, 0, base),
                (side * 0.5, 0, base),
                (side * 0.68, 0, base + 0.22),
                (side * 0.68, 0, base + top),
            ],
            r * 0.58,
            n=24,
        )
        parts += [arm, ball(r * 0.58).move(side * 0.68, 0, base + top)]
    return [*parts, ball(0.14, 0.14, 0.1).move(z=h + 0.68).paint("accent")]


def tulip(rng):
    h = rng.uniform(1.7, 2.2)
    stem = tube([(0, 0, 0), (0.06, 0, h * 0.5), (0, 0, h)], 0.065, n=16)
    petal = (
        ball(0.3, 0.16, 0.52)
        .warp(lambda x, y, z: (x * (1 - 0.35 * z), y - 0.18 * z**2, z))
        .move(0, 0.24, h + 0.42)
    )
    flower = [
        *around(3, petal),
        *around(3, petal.stretch(0.95, 0.9, 1), 60),
        ball(0.3, 0.3, 0.25).move(z=h + 0.1),
    ]
    blade = (
        leaf(rng.uniform(1.2, 1.5), 0.34, 0.25, 0.03)
        .turn("y", -rng.uniform(62, 74))
        .move(0.03, 0, 0.02)
    )
    leaves = [blade.turn("z", a) for a in (10, 170)] + [blade.stretch(0.8, 0.8, 0.7).turn("z", 270)]
    foot = cylinder(0.4, 0.05)
    return [*flower, *(p.paint("accent") for p in [stem, *leaves, foot])]


def conifer(rng):
    tiers, wide = int(rng.integers(3, 6)), rng.uniform(0.85, 1.05)
    trunk = cylinder(0.16, 0.6).paint("accent")
    parts, points = [trunk], int(rng.integers(9, 14))
    for i in range(tiers):
        r, z = wide * (1 - 0.75 * i / tiers), 0.45 + i * 1.9 / tiers
        cone = lathe(
            [(r * 0.3, 0.12), (r, 0), (r * 0.5, 0.45), (0.03, 2.2 / tiers + 0.25)], points * 6
        )
        parts.append(
            cone.warp(
                lambda x, y, z: (
                    x * (1 + 0.1 * np.cos(points * np.arctan2(y, x))),
                    y * (1 + 0.1 * np.cos(points * np.arctan2(y, x))),
                    z,
                )
            ).move(z=z)
        )
    return parts


def palm(rng):
    h, fronds, lean = rng.uniform(1.6, 2.1), int(rng.integers(7, 10)), rng.uniform(0.2, 0.6)
    parts = [cylinder(0.6, 0.12).paint("accent")]
    for i in range(9):
        t = i / 9
        parts.append(
            cylinder(0.16 - 0.06 * t, h / 9 + 0.02, 0.2 - 0.07 * t)
            .move(lean * t**2, 0, 0.1 + h * t)
            .paint("accent")
        )
    blade = leaf(1.35, 0.42, 0.75, 0.03).turn("y", -28)
    crown = around(fronds, blade) + around(5, leaf(1, 0.36, 0.4, 0.03).turn("y", -55), 20)
    parts += [p.move(lean, 0, h + 0.08) for p in crown]
    return parts + [
        ball(0.15).move(lean + 0.16 * np.cos(a), 0.16 * np.sin(a), h).paint("accent")
        for a in (3.6, 4.8, 5.9)
    ]


def sunflower(rng):
    h, petals = rng.uniform(1.7, 2.1), int(rng.integers(14, 20))
    disc = [ball(0.42, 0.42, 0.14).paint("accent")]
    for row, reach in ((0, 0.95), (1, 0.85)):
        disc += around(
            petals,
            leaf(reach - 0.3, 0.24, 0.1 - 0.2 * row, 0.03).move(0.32, 0, 0.03 * row),
            180 / petals * row,
        )
    head = [p.turn("x", 62).move(0, -0.12, h) for p in disc]
    stem = tube([(0, 0.1, 0), (0, 0.12, h * 0.6), (0, 0.05, h - 0.05)], 0.075, n=16)
    blade = leaf(0.85, 0.5, 0.3, 0.03).turn("y", -30)
    leaves = [blade.turn("z", a).move(0, 0.1, h * z) for a, z in ((-15, 0.3), (195, 0.45))]
    return [*head, *(p.paint("accent") for p in [stem, *leaves, cylinder(0.45, 0.06).move(y=0.1)])]
