"""Tables of parameters: every number of every picture follows from names and one seed. Nothing here needs Blender.

Material, pattern, colours, ground, light, size and position are drawn apart from the category, and the camera is set
so that the object fills a circle that was drawn before: only the shape tells what a picture shows.
"""

import functools
import hashlib

import numpy as np

from . import shapes
from .camera import frame
from .catalogue import CATEGORIES, GROUP_OF, GROUPS

SEED = 1
N_INSTANCES, N_SEEN_INSTANCES, N_VIEWS, N_QUERY_VIEWS = 6, 4, 8, 2
RADII = (
    0.18,
    0.46,
)  # of the circle around an object; so wide that the area of a thing tells little about what it is
MATERIALS = ("ceramic", "wood", "metal", "plastic", "glass", "fabric")
PATTERNS = ("plain", "stripes", "dots", "checker", "noise", "marble")
COLOURS = {
    "red": (196, 38, 40),
    "orange": (230, 120, 30),
    "yellow": (236, 196, 48),
    "lime": (150, 190, 50),
    "green": (38, 120, 60),
    "teal": (30, 130, 130),
    "sky blue": (110, 180, 225),
    "blue": (36, 70, 170),
    "purple": (110, 60, 150),
    "pink": (230, 140, 170),
    "brown": (110, 68, 40),
    "beige": (214, 190, 150),
    "white": (232, 232, 228),
    "grey": (128, 128, 128),
    "black": (46, 46, 50),
}  # sRGB
GROUNDS = (
    "oak",
    "walnut",
    "marble",
    "tiles",
    "gingham",
    "carpet",
    "concrete",
    "lawn",
    "paper",
    "pebbles",
)
BACKDROPS = (
    "plain wall",
    "wallpaper",
    "brick wall",
    "tiled wall",
    "planks",
    "dotted wall",
    "hedge",
    "dusk",
)
SOLIDS = {
    "ball": lambda: [shapes.ball(1)],
    "block": lambda: [shapes.box(1, 1, 0.8)],
    "cone": lambda: [shapes.cylinder(0.7, 1.4, 0.02)],
    "drum": lambda: [shapes.cylinder(0.7, 0.9)],
    "ring": lambda: [shapes.ring(1, 0.35)],
    "egg": lambda: [shapes.ball(0.7, 0.7, 1)],
}


def generator(*names):
    """Random generator that depends on the names and the seed alone."""
    text = "|".join(map(str, (SEED, *names)))
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))


def _number(rng, low, high, digits=2):
    return round(float(rng.uniform(low, high)), digits)


def draw_look(rng):
    """Material, pattern and two colours that differ in brightness."""
    brightness = {name: np.dot(rgb, (0.3, 0.59, 0.11)) for name, rgb in COLOURS.items()}
    colour = str(rng.choice(list(COLOURS)))
    others = [name for name in COLOURS if abs(brightness[name] - brightness[colour]) > 45]
    return {
        "material": str(rng.choice(MATERIALS)),
        "pattern": str(rng.choice(PATTERNS)),
        "colour": colour,
        "accent": str(rng.choice(others)),
    }


def draw_light(rng):
    """One lamp from above, in front or from the side, and the even light."""
    return {
        "lamp_azimuth": _number(rng, -110, 110, 1),
        "lamp_elevation": _number(rng, 30, 75, 1),
        "lamp_strength": _number(rng, 0.6, 1.5),
        "lamp_kelvin": int(rng.uniform(2900, 8000)),
        "fill": _number(rng, 0.35, 0.8),
    }


def draw_surroundings(rng, grounds=GROUNDS, backdrops=BACKDROPS):
    return {
        "ground": str(rng.choice(grounds)),
        "backdrop": str(rng.choice(backdrops)),
        "backdrop_distance": _number(rng, 3, 8),
        "ground_seed": int(rng.integers(2**31)),
    }


def draw_distractors(rng):
    """Up to two plain solids beside or behind the object."""
    found = []
    for side in rng.permutation([-1, 1])[: rng.integers(0, 3)]:
        size, y = _number(rng, 0.3, 0.6), _number(rng, -0.3, 2.5)
        x = round(float(side * rng.uniform(1.15 + size, 2.4 if y < 1 else 1.6 + size)), 2)
        solid = {"solid": str(rng.choice(list(SOLIDS))), "x": x, "y": y, "scale": size}
        found.append(
            solid
            | draw_look(rng)
            | {"turn": _number(rng, 0, 360, 0), "shape_seed": int(rng.integers(2**31))}
        )
    return found


def draw_view(rng, vertices, circle=None):
    """Turn of the object and the camera that sees it within a circle (x, y, radius), drawn whatever the object is."""
    azimuth, elevation, lens = (
        _number(rng, -60, 60, 1),
        _number(rng, 18, 50, 1),
        _number(rng, 40, 90, 1),
    )
    radius = round(float(np.exp(rng.uniform(*np.log(RADII)))), 3)
    drawn = (
        _number(rng, radius - 0.48, 0.48 - radius, 3),
        _number(rng, radius - 0.48, 0.48 - radius, 3),
        radius,
    )
    circle = circle or drawn
    camera = frame(shapes.Part(vertices, []).turn("z", azimuth).vertices, elevation, lens, circle)
    result = {"azimuth": azimuth, "elevation": elevation, "lens": lens}
    result |= dict(zip(("circle_x", "circle_y", "circle_radius"), circle, strict=True))
    result |= {
        f"camera_{axis}": round(float(value), 4)
        for axis, value in zip("xyz", camera.position, strict=True)
    }
    result |= {
        f"shift_{axis}": round(value, 4) for axis, value in zip("xy", camera.shift, strict=True)
    }
    return result | {"aperture": round(float(np.exp(rng.uniform(-1.2, 1))), 2)}


@functools.lru_cache(maxsize=32)
def mesh_of(category, shape_seed):
    """Vertices, faces and surfaces (`shapes.join`) of an instance."""
    return shapes.join(CATEGORIES[category](np.random.default_rng(int(shape_seed))))


def unseen_categories():
    """A quarter of each group, for tests on categories that nobody trained on."""
    return {
        str(name)
        for group, names in GROUPS.items()
        for name in generator("unseen", group).permutation(names)[: round(len(names) / 4)]
    }


def row(key, circle=None):
    """One picture of the part `objects`; `circle` (x, y, radius) in place of the drawn one."""
    category, instance, view = key.rsplit("_", 2)
    category, instance, view = category.replace("_", " "), int(instance), int(view)
    thing, rng = (
        generator("instance", category, instance),
        generator("view", category, instance, view),
    )
    splits = ["query"] * N_QUERY_VIEWS + ["database"] * (N_VIEWS - N_QUERY_VIEWS - 1) + ["aside"]
    result = {
        "picture": key,
        "group": GROUP_OF[category],
        "category": category,
        "instance": f"{category} {instance}",
        "view": view,
        "split": splits[view],
        "seen_category": int(category not in unseen_categories()),
        "seen_instance": int(instance < N_SEEN_INSTANCES),
        "shape_seed": int(thing.integers(2**31)),
    }
    result |= draw_look(thing)
    result |= draw_view(rng, mesh_of(category, result["shape_seed"])[0], circle)
    return (
        result | draw_surroundings(rng) | draw_light(rng) | {"distractors": draw_distractors(rng)}
    )


def keys(categories=CATEGORIES, instances=range(N_INSTANCES), views=range(N_VIEWS)):
    """Names of pictures of the part `objects`."""
    return [
        f"{name.replace(' ', '_')}_{i}_{view}"
        for name in categories
        for i in instances
        for view in views
    ]
