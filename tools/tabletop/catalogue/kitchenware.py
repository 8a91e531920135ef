"""Things of the kitchen."""

import numpy as np

from ..shapes import (
    ball,
    cylinder,
    lathe,
    pillow,
    ring,
    rod,
    tube,
    vessel,
)


def _ear(x, low, high, reach, radius, flat=1.0):
    """Handle beside a vessel, between two heights, standing out to the right."""
    path = [
        (x, 0, high),
        (x + reach * 0.75, 0, high),
        (x + reach, 0, (high * 0.6 + low * 0.4)),
        (x + reach * 0.6, 0, low + 0.05 * (high - low)),
        (x, 0, low),
    ]
    return tube(path, radius, n=24, flat=flat)


def mug(rng):
    r, h, top = rng.uniform(0.75, 1), rng.uniform(1.5, 2.2), rng.uniform(0.95, 1.15)
    body = vessel([(r * 0.9, 0), (r, 0.1), (r * top, h)], 0.1)
    handle = _ear(r * 0.98, h * 0.2, h * 0.8, rng.uniform(0.6, 0.8), rng.uniform(0.1, 0.14))
    return [body, handle.paint(rng.choice(["main", "accent"])).turn("z", -35)]


def bowl(rng):
    r, h = rng.uniform(1.3, 1.6), rng.uniform(0.75, 1.1)
    wall = [(0.5, 0), (0.52, 0.15), (r * 0.72, h * 0.45), (r * 0.95, h * 0.8), (r, h)]
    return [vessel(wall, 0.09, n=24, floor=0.2), ring(r - 0.04, 0.07).move(z=h).paint("accent")]


def plate(rng):
    r, h, well = 1.6, rng.uniform(0.22, 0.34), rng.uniform(0.9, 1.05)
    dish = lathe(
        [
            (0, 0),
            (well, 0),
            (r, h),
            (r, h + 0.06),
            (well + 0.05, 0.1),
            (well - 0.1, 0.06),
            (0, 0.06),
        ]
    )

    def band(start, end):
        inner, outer = (well + 0.05 + t * (r - well - 0.05) for t in (start, end))
        z = np.interp([inner, outer], [well + 0.05, r], [0.1, h + 0.06])
        return lathe(
            [
                (outer, z[1] - 0.02),
                (outer, z[1] + 0.015),
                (inner, z[0] + 0.015),
                (inner, z[0] - 0.02),
            ],
            caps=False,
        )

    rims = [band(0.7, 1.005), band(0.0, 0.15)]
    return [p.turn("x", 12) for p in [dish, *(b.paint("accent") for b in rims)]]


def bottle(rng):
    r, h, neck = rng.uniform(0.5, 0.68), rng.uniform(1.3, 1.9), rng.uniform(0.16, 0.22)
    top = h + rng.uniform(0.8, 1.3)
    body = [
        (r * 0.9, 0),
        (r, 0.1),
        (r, h * 0.8),
        (r * 0.93, h),
        (neck * 1.3, h + 0.45),
        (neck, h + 0.6),
        (neck, top),
    ]
    cork = cylinder(neck * 1.25, 0.28).move(z=top - 0.05)
    label = cylinder(r * 1.01, h * 0.4).move(z=h * 0.22)
    return [
        lathe(np.concatenate([[(0, 0)], body, [(0, top)]])),
        cork.paint("accent"),
        label.paint("accent"),
    ]


def teapot(rng):
    r, squash = 1.0, rng.uniform(0.72, 0.92)
    h = 2 * r * squash
    body = ball(r, r, r * squash).move(z=r * squash)
    foot = cylinder(0.55, 0.12)
    lid = ball(0.5, 0.5, 0.2).move(z=h * 0.94)
    knob = ball(0.15).move(z=h + 0.22)
    spout = tube(
        [(-0.8, 0, h * 0.3), (-1.15, 0, h * 0.42), (-1.3, 0, h * 0.75), (-1.6, 0, h * 0.95)],
        [0.3, 0.24, 0.15, 0.11],
        n=20,
    )
    handle = _ear(0.88, h * 0.25, h * 0.8, rng.uniform(0.65, 0.8), 0.1)
    return [body, foot, lid.paint("accent"), knob.paint("accent"), spout, handle]


def wine_glass(rng):
    r, stem, cup = rng.uniform(0.55, 0.75), rng.uniform(1, 1.5), rng.uniform(1, 1.4)
    foot = lathe(
        [(0, 0), (0.62, 0), (0.62, 0.05), (0.1, 0.14), (0.07, 0.3), (0.07, stem), (0, stem)]
    )
    wall = [(0.08, 0), (r * 0.75, cup * 0.2), (r, cup * 0.5), (r * 0.93, cup * 0.8), (r * 0.8, cup)]
    return [foot.paint("accent"), vessel(wall, 0.05, n=24).move(z=stem - 0.02)]


def pan(rng):
    r, h = rng.uniform(1, 1.15), rng.uniform(0.35, 0.5)
    body = vessel([(r * 0.85, 0), (r * 0.95, h * 0.4), (r, h)], 0.08)
    length = rng.uniform(1.3, 1.7)
    handle = tube(
        [(r * 0.95, 0, h * 0.8), (r + 0.3, 0, h + 0.1), (r + length, 0, h + 0.25)],
        [0.1, 0.11, 0.15],
        n=16,
        flat=0.55,
    )
    return [part.turn("z", -35) for part in (body, handle.paint("accent"))]


def jug(rng):
    r, h = rng.uniform(0.75, 0.95), rng.uniform(2, 2.5)
    wall = [(r * 0.75, 0), (r, h * 0.25), (r * 0.95, h * 0.5), (r * 0.62, h * 0.8), (r * 0.78, h)]

    def lip(x, y, z):
        beak = np.clip((z / h - 0.78) / 0.22, 0, 1) ** 2 * np.clip(-x / r, 0, 1) ** 3
        return x * (1 + 0.9 * beak), y * (1 - 0.4 * beak), z + 0.12 * h * beak

    handle = _ear(r * 0.62, h * 0.28, h * 0.9, rng.uniform(0.7, 0.85), 0.11)
    return [vessel(wall, 0.07, n=28).warp(lip), handle.paint(rng.choice(["main", "accent"]))]


def fork(rng):
    tines, width = int(rng.integers(3, 5)), rng.uniform(0.42, 0.52)
    xs = np.linspace(-1, 1, tines) * (width - 0.07)
    parts = [rod((x, 0.5, 0), (x, 1.75, 0), (0.075, 0.05)) for x in xs]
    parts += [
        pillow(2 * width, 0.5, 0.16, 0.5).move(y=0.42),
        rod((0, 0.3, 0), (0, -1, 0), (0.09, 0.09)),
    ]
    grip = tube([(0, -0.7, 0), (0, -1.2, 0), (0, -2.2, 0)], (0.1, 0.15, 0.2), n=16, flat=0.5).paint(
        "accent"
    )
    bent = [
        p.warp(lambda x, y, z: (x, y, z + 0.22 * np.clip(y - 0.2, 0, 2) * (1.5 - y) + 0.2))
        for p in [*parts, grip]
    ]
    return [p.turn("z", 35).turn("x", 24) for p in bent]


def whisk(rng):
    wires, fat = int(rng.integers(4, 6)), rng.uniform(0.5, 0.65)
    loop = [
        (0.06, 0, 1.6),
        (fat * 0.8, 0, 0.9),
        (fat, 0, 0.45),
        (0, 0, 0),
        (-fat, 0, 0.45),
        (-fat * 0.8, 0, 0.9),
        (-0.06, 0, 1.6),
    ]
    wire = tube(loop, 0.035, section=8, n=40)
    handle = lathe([(0, 1.5), (0.12, 1.5), (0.15, 1.8), (0.12, 2.4), (0.16, 2.9), (0, 2.95)])
    return [wire.turn("z", 180 * i / wires) for i in range(wires)] + [handle.paint("accent")]
