"""Tools of the house, the garden and the workshop."""

import numpy as np

from ..shapes import ball, box, curve, cylinder, lathe, pillow, ring, rod, slab, tube, vessel


def _propped(parts, turn=30, lean=28):
    """A flat tool, drawn in x and y, turned and raised towards the viewer."""
    return [p.turn("z", turn).turn("x", lean) for p in parts]


def hammer(rng):
    length, head = rng.uniform(2, 2.6), rng.uniform(0.22, 0.27)
    handle = lathe(
        [(0.1, -0.25), (0.1, -length * 0.5), (0.15, -length * 0.75), (0.12, -length), (0, -length)][
            ::-1
        ]
    )
    handle = handle.turn("x", -90)
    parts = [
        box(0.5, 0.42, 0.42).move(z=-0.21),
        cylinder(head, 0.3).turn("y", -90).move(-0.35),
        rod((-0.4, 0, 0), (0, 0, 0), 0.15),
    ]
    claw = [
        tube(
            [(0.2, 0, s * 0.1), (0.5, -0.03, s * 0.14), (0.75, -0.24, s * 0.2)],
            [0.17, 0.12, 0.04],
            n=14,
            section=4,
        )
        for s in (-1, 1)
    ]
    return _propped([handle.paint("accent").turn("z", 180).move(y=0), *parts, *claw], 215)


def key(rng):
    length, bow = rng.uniform(1.5, 1.9), rng.uniform(0.42, 0.52)
    style = int(rng.integers(0, 2))
    if style:
        head = [ring(bow, 0.12)]
    else:
        head = [
            ring(bow * 0.55, 0.11).move(bow * 0.62 * np.cos(a), bow * 0.62 * np.sin(a))
            for a in np.radians((90, 210, 330))
        ]
    start = bow if style else bow * 0.9
    shaft = [
        rod((start, 0, 0), (start + length, 0, 0), 0.11),
        ring(0.1, 0.09).turn("y", 90).move(start + 0.2).paint("accent"),
    ]
    teeth = [
        box(0.15, rng.uniform(0.3, 0.5), 0.12).move(start + length - 0.12 - 0.26 * i, -0.25, -0.06)
        for i in range(int(rng.integers(2, 4)))
    ]
    return _propped([*head, *shaft, *teeth], -35)


def scissors(rng):
    spread, length = rng.uniform(14, 24), rng.uniform(1.4, 1.8)
    parts = [cylinder(0.1, 0.22).move(z=-0.04)]
    for side in (-1, 1):
        blade = slab([(-0.12, -0.3), (0.1, -0.3), (0.14, 0.2), (0.02, length), (-0.12, 0.3)], 0.08)
        arm = tube([(0, -0.2, 0.04), (-0.05, -0.6, 0.04), (-0.25, -0.85, 0.04)], 0.1, n=10)
        grip = ring(0.34, 0.11).stretch(y=1.3).move(-0.33, -1.25, 0.04).paint("accent")
        one = [blade, arm.paint("accent"), grip]
        parts += [
            p.warp(lambda x, y, z, s=side: (x * s, y, z + 0.07 * (s > 0))).turn(
                "z", -spread * side * 0.9
            )
            for p in one
        ]
    return _propped(parts, 28)


def spanner(rng):
    length, jaw = rng.uniform(1.8, 2.3), rng.uniform(0.4, 0.48)
    angles = np.radians(np.linspace(128, 412, 30))
    gap = jaw * 0.45
    mouth = [(gap, jaw * 1.0), (gap, 0.05), (0, -0.12), (-gap, 0.05), (-gap, jaw * 1.0)]
    head = slab(
        [(jaw * 1.15 * np.cos(a), jaw * 1.15 * np.sin(a)) for a in angles] + mouth, 0.2
    ).turn("z", 14)
    eye = tube(
        [
            (0.36 * np.cos(a), -length + 0.36 * np.sin(a), 0.1)
            for a in np.arange(0, 6.28, 2 * np.pi / 30)
        ],
        0.14,
        closed=True,
        section=8,
    )
    handle = pillow(0.32, length - 0.5, 0.16, 0.3).move(0, -length / 2 + 0.02, 0.1)
    groove = box(0.14, length * 0.45, 0.04).move(0, -length / 2, 0.165).paint("accent")
    return _propped([head, eye, handle, groove], -30)


def paintbrush(rng):
    w, length = rng.uniform(0.65, 0.85), rng.uniform(1.3, 1.7)
    bristles = slab(
        [(-w / 2, 0), (w / 2, 0), (w * 0.55, 0.75), (0.1, 0.95), (-w * 0.5, 0.85)], 0.24
    ).paint("accent")
    ferrule = box(w * 1.08, 0.4, 0.3).move(0, -0.15, -0.03)
    outline = curve(
        [
            (w * 0.45, -0.3),
            (w * 0.3, -0.6),
            (0.12, -0.95),
            (0.2, -length),
            (0.12, -length - 0.35),
            (-0.12, -length - 0.35),
            (-0.2, -length),
            (-0.12, -0.95),
            (-w * 0.3, -0.6),
            (-w * 0.45, -0.3),
        ],
        50,
    )
    handle = slab(outline[::-1], 0.2).move(z=0.02)
    return _propped([bristles, ferrule, handle.paint("accent")], 35)


def padlock(rng):
    w, h, open_ = rng.uniform(1.2, 1.5), rng.uniform(0.95, 1.2), rng.random() < 0.4
    body = pillow(w, 0.55, h, 0.25).move(z=h / 2)
    r, top = w * 0.31, h + rng.uniform(0.15, 0.4)
    path = [(-r, 0, h - 0.15), (-r, 0, top)] + [
        (-r * np.cos(a), 0, top + r * np.sin(a)) for a in np.linspace(0.3, np.pi - 0.3, 8)
    ]
    path += [(r, 0, top), (r, 0, h - 0.15 + 0.25 * open_)]
    shackle = tube(path, 0.12, n=50).move(z=0.2 * open_)
    hole = [
        cylinder(0.13, 0.1).turn("x", 90).move(0, -0.22, h * 0.55),
        box(0.11, 0.1, 0.32).move(0, -0.27, h * 0.25),
    ]
    return [body, *(p.paint("accent") for p in [shackle, *hole])]


def saw(rng):
    length, teeth = rng.uniform(2.1, 2.5), int(rng.integers(10, 14))
    edge = [(length * i / teeth / 2, -0.14 * (i % 2)) for i in range(2 * teeth + 1)]
    blade = slab([*edge, (length, 0.35), (0, 0.85)], 0.06)
    grip = tube(
        [
            (0.1, 0.02, 0),
            (-0.3, -0.1, 0),
            (-0.62, 0.1, 0),
            (-0.55, 0.45, 0),
            (-0.7, 0.85, 0),
            (-0.3, 1.0, 0),
            (0.1, 0.88, 0),
        ],
        0.13,
        n=40,
    )
    bar = box(0.26, 1.0, 0.2).move(0.08, 0.44, -0.07)
    return _propped([blade, grip.move(z=0.03).paint("accent"), bar.paint("accent")], 10, 50)


def bucket(rng):
    r, h = rng.uniform(0.8, 0.95), rng.uniform(1.3, 1.6)
    body = vessel([(r * 0.72, 0), (r, h)], 0.06)
    rim = ring(r * 1.0, 0.05).move(z=h).paint("accent")
    tilt = rng.uniform(20, 60)
    arch = tube(
        [(r * np.cos(a), 0, r * 1.15 * np.sin(a)) for a in np.linspace(0, np.pi, 24)], 0.045
    )
    grip = rod((-0.25, 0, r * 1.15), (0.25, 0, r * 1.15), 0.1)
    hold = [p.turn("x", tilt).move(z=h - 0.1).turn("z", 20).paint("accent") for p in (arch, grip)]
    return [body, rim, *hold]


def umbrella(rng):
    ribs, h = int(rng.integers(6, 9)), rng.uniform(1.6, 2)
    angles = np.linspace(0.02, 1.25, 14)
    outer = np.column_stack([1.35 * np.sin(angles), 0.9 * np.cos(angles)])
    dome = lathe(np.concatenate([outer, outer[::-1] * 0.97]), 8 * ribs)

    def panels(x, y, z):
        return x, y, z + 0.12 * np.abs(np.sin(ribs / 2 * np.arctan2(y, x))) * np.hypot(x, y) ** 2

    hook = [
        (0, 0, -h),
        (0.02, 0, -h - 0.25),
        (0.2, 0, -h - 0.42),
        (0.4, 0, -h - 0.25),
        (0.42, 0, -h - 0.05),
    ]
    pole = tube([(0, 0, 1.1), (0, 0, 0), *hook], [0.05, 0.05, 0.06, 0.09, 0.09, 0.09, 0.09], n=50)
    parts = [dome.warp(panels), pole.paint("accent"), ball(0.09).move(z=1.12).paint("accent")]
    return [p.turn("y", 20).turn("z", 20) for p in parts]


def watering_can(rng):
    r, h = rng.uniform(0.7, 0.85), rng.uniform(1.1, 1.4)
    body = lathe([(0, 0), (r, 0), (r * 0.95, h), (r * 0.55, h + 0.12), (0, h + 0.12)])
    spout = tube(
        [(-r * 0.9, 0, h * 0.2), (-r - 0.5, 0, h * 0.55), (-r - 1, 0, h + 0.3)],
        [0.2, 0.13, 0.1],
        n=16,
    )
    rose = (
        lathe([(0.1, 0), (0.34, 0.28), (0, 0.34)])
        .turn("y", -50)
        .move(-r - 0.95, 0, h + 0.25)
        .paint("accent")
    )
    handle = tube(
        [
            (-r * 0.3, 0, h + 0.08),
            (0.1, 0, h + 0.65),
            (r + 0.35, 0, h + 0.3),
            (r + 0.35, 0, h * 0.5),
            (r * 0.95, 0, h * 0.3),
        ],
        0.09,
        n=30,
    )
    return [body, spout, rose, handle.paint("accent")]
