"""Toys."""

import numpy as np

from ..shapes import (
    around,
    ball,
    box,
    curve,
    cylinder,
    lathe,
    mirrored,
    ring,
    rod,
    round_lathe,
    slab,
    tube,
)


def _wheel(x, y, radius, width=0.2):
    """Wheel with a hub, its axle along y."""
    parts = [
        cylinder(radius, width).paint("accent"),
        cylinder(radius * 0.45, width * 1.3).move(z=-width * 0.15),
    ]
    return [p.move(z=-width / 2).turn("x", 90).move(x, y, radius) for p in parts]


def car(rng):
    length, r = rng.uniform(2.4, 2.9), rng.uniform(0.32, 0.4)
    roof, bonnet = rng.uniform(0.65, 0.8), rng.uniform(0.2, 0.3)
    side = curve(
        [
            (-0.5, 0),
            (0.5, 0),
            (0.52, 0.3),
            (bonnet, 0.42),
            (0.12, roof),
            (-0.27, roof),
            (-0.4, 0.45),
            (-0.52, 0.4),
        ],
        60,
        closed=True,
    ) * (length, 1.25)
    body = slab(side, 1.15).turn("x", 90).move(y=0.575, z=r * 0.8)
    glass = slab(
        np.array([(0.155, 0.5), (0.085, roof - 0.06), (-0.24, roof - 0.06), (-0.33, 0.5)])
        * (length, 1.25),
        1.22,
    )
    pane = glass.turn("x", 90).move(y=0.61, z=r * 0.8)
    cabin = slab(
        np.array([(0.2, 0.44), (0.11, roof), (-0.27, roof), (-0.38, 0.44)]) * (length, 1.25), 1.16
    )
    cabin = cabin.turn("x", 90).move(y=0.58, z=r * 0.8).paint("plain")
    screen = box(0.07, 0.95, 0.42).turn("y", -38).move(0.19 * length, 0, 0.6 + r * 0.8)
    wheels = [p for x in (-0.3, 0.3) for y in (-0.55, 0.55) for p in _wheel(x * length, y, r)]
    lights = [
        ball(0.12).move(length * 0.51, y, 0.3 + r * 0.8).paint("accent") for y in (-0.35, 0.35)
    ]
    return [
        p.turn("z", 215)
        for p in [body, cabin, pane.paint("accent"), screen.paint("accent"), *wheels, *lights]
    ]


def locomotive(rng):
    length, r = rng.uniform(1.5, 1.9), rng.uniform(0.42, 0.5)
    parts = [box(length + 1, 1, 0.2).move(0.5 - 0.5, 0, 0.4)]
    boiler = cylinder(r, length).turn("y", 90).move(-0.35 + 0.15 - length / 2 + 0.3, 0, 0.6 + r)
    nose = cylinder(r * 1.08, 0.12).turn("y", 90).move(0.1 + length / 2, 0, 0.6 + r).paint("accent")
    cab = [
        box(0.75, 1, 1.25).move(-length / 2 - 0.1, 0, 0.55),
        box(1, 1.2, 0.12).move(-length / 2 - 0.1, 0, 1.8).paint("accent"),
        box(0.4, 1.04, 0.4).move(-length / 2 - 0.1, 0, 1.25).paint("accent"),
    ]
    funnel = (
        lathe([(0.14, 0), (0.14, 0.4), (0.27, 0.62), (0, 0.62)])
        .move(length / 2 - 0.2, 0, 0.55 + 2 * r)
        .paint("accent")
    )
    dome = ball(0.2).move(-0.1, 0, 0.6 + 2 * r).paint("accent")
    plough = (
        slab([(0, -0.45), (0.45, 0), (0, 0.45)], 0.3)
        .move(length / 2 + 0.45, 0, 0.12)
        .paint("accent")
    )
    wheels = [
        p
        for x in (-0.95, -0.2, 0.4)
        for y in (-0.5, 0.5)
        for p in _wheel(x * length / 1.6, y, 0.33, 0.16)
    ]
    return [p.turn("z", 215) for p in [*parts, boiler, nose, *cab, funnel, dome, plough, *wheels]]


def sailing_boat(rng):
    length, mast = rng.uniform(1.9, 2.3), rng.uniform(2, 2.5)

    def hull(x, y, z):
        t = x / (length / 2)
        return (
            x * (1 + 0.18 * z),
            y * (1 - np.clip(t, 0, 1) ** 2) * (0.55 + 0.45 * z / 0.5),
            z + 0.15 * t**2 * (z > 0.3),
        )

    xs = np.linspace(-1, 1, 15) * length / 2
    outline = [(x, -0.5) for x in xs] + [(x, 0.5) for x in xs[::-1]]
    body = slab(outline, 0.5).warp(hull)
    pole = rod((0.1, 0, 0.3), (0.1, 0, mast + 0.5), 0.05)
    belly = rng.uniform(0.1, 0.25)

    def sail(points):
        return (
            slab(points, 0.04)
            .turn("x", 90)
            .warp(lambda x, y, z: (x, y - belly * np.abs(x - 0.1), z))
        )

    big = sail([(0.02, 0.75), (0.02, mast + 0.4), (-length * 0.46, 0.75)][::-1])
    small = sail([(0.18, mast + 0.2), (0.18, 0.7), (length * 0.5, 0.7)])
    boom = rod((0.1, 0, 0.68), (-length * 0.45, -belly, 0.68), 0.04)
    return [
        p.turn("z", -10) for p in [body, pole, boom, big.paint("accent"), small.paint("accent")]
    ]


def aeroplane(rng):
    length, span = rng.uniform(2.5, 3), rng.uniform(2.6, 3.2)
    body = round_lathe(
        [(0.02, -0.5), (0.16, -0.47), (0.23, -0.3), (0.23, 0.1), (0.1, 0.42), (0.03, 0.5)], 40
    )
    body = body.stretch(1, 1, length).turn("y", -90)
    sweep = rng.uniform(0.2, 0.6)
    wing = slab(
        [(-0.35, 0), (0.45, 0), (0.3 + sweep, span / 2), (-0.05 + sweep, span / 2)][::1], 0.07
    )
    tail = slab([(0, 0), (0.35, 0), (0.42, 0.6), (0.2, 0.6)], 0.06)
    fin = (
        slab([(0, 0), (0.4, 0), (0.5, 0.6), (0.28, 0.6)], 0.07)
        .turn("x", 90)
        .move(length * 0.38, 0.035, 0.05)
    )
    wings = [
        p
        for s in (0, 1)
        for p in (
            wing.warp(lambda x, y, z, s=s: (x, y * (-1) ** s, z)),
            tail.warp(lambda x, y, z, s=s: (x + length * 0.38, y * (-1) ** s, z + 0.03)),
        )
    ]
    engines = [
        cylinder(0.13, 0.5).turn("y", 90).move(-0.15 + sweep * 0.4, s * span * 0.22, -0.13)
        for s in (-1, 1)
    ]
    parts = [
        body,
        *(p.paint("accent") for p in [*wings, fin]),
        *(e.paint("plain") for e in engines),
    ]
    stand = [rod((0, 0, -0.1), (0, 0, -0.9), 0.05), cylinder(0.45, 0.08).move(z=-0.95)]
    return [
        p.turn("z", 55)
        for p in [q.turn("y", 14) for q in parts] + [s.paint("accent") for s in stand]
    ]


def rocket(rng):
    h, r = rng.uniform(2, 2.6), rng.uniform(0.42, 0.52)
    body = round_lathe(
        [(r * 0.6, 0.35), (r, h * 0.35), (r * 0.95, h * 0.6), (r * 0.62, h * 0.85)], 30
    )
    nose = round_lathe([(r * 0.64, h * 0.84), (r * 0.35, h * 0.98), (0.02, h * 1.12)]).paint(
        "accent"
    )
    nozzle = cylinder(r * 0.7, 0.25, r * 0.5).move(z=0.12).paint("accent")
    fin = slab(
        curve([(r * 0.7, 1.0), (r * 0.7, 0.45), (r * 2.1, 0), (r * 1.9, 0.55)], 30, closed=True),
        0.1,
    )
    fins = around(
        int(rng.integers(3, 5)), fin.turn("x", 90).move(y=0.05).paint("accent"), phase=-60
    )
    window = [
        cylinder(0.24, 0.1).turn("x", 90).move(0, -r + 0.04, h * z).paint("accent") for z in (0.62,)
    ]
    pane = [cylinder(0.16, 0.14).turn("x", 90).move(0, -r + 0.04, h * 0.62)]
    return [body, nose, nozzle, *fins, *window, *pane]


def duck(rng):
    fat = rng.uniform(0.75, 0.9)
    body = ball(1.1, 0.8, 0.72 * fat).warp(
        lambda x, y, z: (
            x,
            y * (1 - 0.25 * np.clip(x, 0, 1)),
            z + 0.35 * np.clip(x - 0.2, 0, 1) ** 1.5,
        )
    )
    head = ball(0.52).move(-0.6, 0, 1.05)
    bill = ball(0.34, 0.28, 0.1).move(-1.12, 0, 0.98).paint("accent")
    bill2 = ball(0.26, 0.22, 0.07).turn("y", -14).move(-1.06, 0, 0.86).paint("accent")
    eyes = [ball(0.09).move(-0.95, s * 0.3, 1.22).paint("accent") for s in (-1, 1)]
    wing = ball(0.6, 0.12, 0.36).turn("y", -15)
    wings = [
        wing.turn("x", s * -12).move(0.2, s * 0.74 * 0.95, 0.12).paint("accent") for s in (-1, 1)
    ]
    return [p.turn("z", 35) for p in [body, head, bill, bill2, *eyes, *wings]]


def teddy_bear(rng):
    fat, ear = rng.uniform(0.62, 0.75), rng.uniform(0.19, 0.25)
    parts = [
        ball(fat, fat * 0.85, 0.75).move(z=0.7),
        ball(fat * 0.62, 0.2, 0.45).move(y=-fat * 0.72, z=0.65).paint("accent"),
        ball(0.55, 0.5, 0.5).move(z=1.75),
        ball(0.25, 0.22, 0.19).move(0, -0.45, 1.63).paint("accent"),
    ]
    parts += mirrored(ball(ear, 0.12, ear).move(0.43, 0, 2.15))
    parts += [
        p.paint("accent") for p in mirrored(ball(ear * 0.6, 0.06, ear * 0.6).move(0.43, -0.1, 2.15))
    ]
    parts += [p.paint("accent") for p in mirrored(ball(0.075).move(0.2, -0.45, 1.88))]
    parts += mirrored(
        ball(0.22, 0.22, 0.5).turn("y", -38).turn("x", -35).move(fat + 0.12, -0.15, 0.95)
    )
    parts += mirrored(ball(0.27, 0.55, 0.27).turn("z", 25).move(0.45, -0.65, 0.27))
    return parts + [
        p.paint("accent") for p in mirrored(ball(0.22, 0.08, 0.24).move(0.68, -1.12, 0.28))
    ]


def snowman(rng):
    r = rng.uniform(0.75, 0.85)
    parts = [
        ball(r).move(z=r * 0.9),
        ball(r * 0.72).move(z=r * 2.25),
        ball(r * 0.5).move(z=r * 3.25),
    ]
    nose = lathe([(0.1, 0), (0.01, 0.5)], 16).turn("x", 90).move(0, -r * 0.45, r * 3.25)
    hat = [
        cylinder(r * 0.66, 0.07).move(z=r * 3.62),
        cylinder(r * 0.42, rng.uniform(0.4, 0.6)).move(z=r * 3.62),
    ]
    eyes = [ball(0.065).move(s * 0.15, -r * 0.43, r * 3.42) for s in (-1, 1)]
    buttons = [
        ball(0.075).move(0, -r * 0.72 + 0.3 * r * k * k, r * (2.2 + 0.32 * k)) for k in (-1, 0, 1)
    ]
    arms = [
        tube([(s * 0.4, 0, r * 2.3), (s * 1.0, -0.1, r * 2.6), (s * 1.3, -0.1, r * 3)], 0.05, n=10)
        for s in (-1, 1)
    ]
    scarf = ring(r * 0.5, 0.12).move(z=r * 2.85)
    return parts + [p.paint("accent") for p in [nose, *hat, *eyes, *buttons, *arms, scarf]]


def robot(rng):
    w, h = rng.uniform(0.9, 1.1), rng.uniform(0.9, 1.1)
    parts = [
        box(w, 0.6, h).move(z=0.75),
        box(w * 0.7, 0.5, 0.55).move(z=0.9 + h).paint("plain"),
        cylinder(0.14, 0.2).move(z=0.72 + h),
    ]
    parts += [rod((s * 0.2, 0, 1.4 + h), (s * 0.28, 0, 1.75 + h), 0.03) for s in (-1, 1)]
    extra = [ball(0.08).move(s * 0.28, 0, 1.78 + h) for s in (-1, 1)]
    extra += [
        cylinder(0.11, 0.06).turn("x", 90).move(s * 0.16 * w, -0.24, 1.24 + h) for s in (-1, 1)
    ]
    extra += [
        box(w * 0.4, 0.05, 0.08).move(0, -0.25, 0.98 + h),
        box(w * 0.65, 0.05, h * 0.45).move(0, -0.3, 0.75 + h * 0.35),
    ]
    extra += [box(0.34, 0.55, 0.16).move(s * w * 0.28, -0.08) for s in (-1, 1)]
    parts += [box(0.24, 0.26, 0.65).move(s * w * 0.28, 0, 0.14) for s in (-1, 1)]
    raised = rng.uniform(-30, 60)
    for s in (-1, 1):
        arm = [
            box(0.2, 0.22, h * 0.85).move(z=-h * 0.85),
            ball(0.15).move(z=-h * 0.88).paint("accent"),
        ]
        parts += [
            p.turn("x", -raised * (s > 0) - 10).move(s * (w / 2 + 0.14), 0, 0.7 + h) for p in arm
        ]
    return parts + [p.paint("accent") for p in extra]


def stacking_rings(rng):
    n, fat = int(rng.integers(3, 6)), rng.uniform(0.21, 0.25)
    parts = [
        cylinder(1.15, 0.16).paint("accent"),
        cylinder(0.13, 0.75 + n * fat * 1.8).paint("plain"),
    ]
    for i in range(n):
        parts.append(
            ring(0.8 - 0.4 * i / (n - 1), fat, section=20)
            .move(z=0.16 + fat * (1.8 * i + 1))
            .paint(("main", "accent")[i % 2])
        )
    return [*parts, ball(0.2).move(z=0.8 + n * fat * 1.8).paint("plain")]
