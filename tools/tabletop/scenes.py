"""Parameters of the part `scenes`: several objects in a place, with relations and captions. Nothing here needs Blender."""

import numpy as np
from PIL import Image, ImageDraw

from .camera import SENSOR, Camera, enclosing_circle
from .catalogue import CATEGORIES, GROUP_OF, GROUPS
from .parameters import draw_light, draw_look, draw_surroundings, generator, mesh_of

WIDTH, HEIGHT = 192, 144
FINER = 4  # outlines are drawn larger, for a drawn polygon is half a pixel too wide
N_SCENES = 420
SIZES = {
    "small": (0.045, 0.075),
    "medium": (0.085, 0.12),
    "large": (0.135, 0.19),
}  # radius, fractions of the width
FLAT, HOLLOW = (
    ("table", "stool", "die", "bookcase"),
    ("bowl", "bucket", "pan"),
)  # what others stand on and in
# place: preposition, grounds, backdrops, groups at home there
CONTEXTS = {
    "kitchen table": (
        "on",
        ("gingham", "oak", "marble"),
        ("tiled wall", "wallpaper"),
        ("kitchenware", "food"),
    ),
    "desk": ("on", ("walnut", "paper"), ("plain wall", "wallpaper"), ("desk",)),
    "nursery floor": (
        "on",
        ("carpet", "tiles"),
        ("dotted wall", "plain wall"),
        ("toys", "furniture"),
    ),
    "workbench": ("on", ("concrete", "oak"), ("brick wall", "planks"), ("tools",)),
    "garden": ("in", ("lawn", "pebbles"), ("hedge", "dusk"), ("plants",)),
}
HOME_SHARE = 0.85  # of the objects of a "correlated" scene come from the groups at home there
SYNONYMS = {
    "mug": "cup", "bottle": "flask", "pan": "frying pan", "jug": "pitcher", "bananas": "bunch of bananas",
    "mushroom": "toadstool", "doughnut": "donut", "ice cream": "ice cream cone", "cherries": "pair of cherries",
    "pumpkin": "squash", "cake": "birthday cake", "burger": "hamburger", "table lamp": "lamp", "bookcase": "bookshelf",
    "sofa": "couch", "ladder": "stepladder", "car": "automobile", "locomotive": "steam engine", "aeroplane": "plane",
    "sailing boat": "sailboat", "rocket": "space rocket", "teddy bear": "teddy", "spanner": "wrench", "bucket": "pail",
    "paintbrush": "brush", "padlock": "lock", "umbrella": "parasol", "alarm clock": "clock", "hand bell": "bell", "spectacles": "pair of glasses", "pot plant": "houseplant", "conifer": "fir tree",
    "palm": "palm tree", "saw": "handsaw", "hourglass": "sand timer", "scissors": "pair of scissors",
}  # fmt: skip
TEMPLATES = (
    "{A} and {b} {place}.",
    "{Number} things {place}: {all}.",
    "{A} {relation}.",
    "There is {colour_a} {place}, {relation}.",
    "A photograph of {material_a} near {b}.",
    "{Place} one can see {all}.",
    "{Size_a} {relation}, {place}.",
)
N_CAPTIONS = 3


def keys():
    """Names of the scenes."""
    return [f"scene_{i:03d}" for i in range(N_SCENES)]


def _categories(rng, context, correlated, n):
    """What stands there: n different categories; where a pair is wanted, the bearer comes first."""
    home = [name for group in CONTEXTS[context][3] for name in GROUPS[group]]
    names = []
    bearer = str(rng.choice(["none", "on", "inside"], p=[0.4, 0.35, 0.25]))
    if bearer != "none":
        names.append(str(rng.choice(FLAT if bearer == "on" else HOLLOW)))
    while len(names) < n:
        name = str(
            rng.choice(home if correlated and rng.random() < HOME_SHARE else list(CATEGORIES))
        )
        if name not in names:
            names.append(name)
    return names, bearer


def _camera(rng):
    """A camera that sees 10 units at the middle of the table."""
    elevation, lens = rng.uniform(26, 48), rng.uniform(38, 60)
    distance = 10 * lens / SENSOR
    backwards = -Camera((0, 0, 0), elevation, lens).axes[2]
    return Camera(
        tuple(np.round(distance * backwards, 4).tolist()), round(elevation, 1), round(lens, 1)
    )


def _on_ground(camera, x, y):
    """Point of the ground that is seen at image coordinates (x, y)."""
    right, up, forward = camera.axes
    ray = forward + SENSOR / camera.lens * (x * right + y * up)
    position = np.asarray(camera.position)
    return position - ray * position[2] / ray[2]


def _placed(thing):
    """Vertices of an object where it stands."""
    vertices = mesh_of(thing["category"], thing["shape_seed"])[0]
    cosine, sine = np.cos(np.radians(thing["turn"])), np.sin(np.radians(thing["turn"]))
    turned = vertices @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    return thing["scale"] * turned + (thing["x"], thing["y"], thing["z"])


def _stand(rng, camera, thing, others):
    """Give the object a place on the ground and the scale for its size; False where there is no room."""
    wanted = rng.uniform(*SIZES[thing["size"]])
    limit = 0.485 - wanted
    x, y = rng.uniform(-limit, limit), rng.uniform(-0.75, 0.4) * (limit - 0.125)
    point = _on_ground(camera, x, y - wanted * 0.5)
    thing |= {
        "x": round(float(point[0]), 3),
        "y": round(float(point[1]), 3),
        "z": 0.0,
        "scale": 1.0,
    }
    for _ in range(3):
        centre, seen = enclosing_circle(camera.project(_placed(thing)), steps=60)
        thing["scale"] = round(float(thing["scale"] * wanted / seen), 4)
    inside = abs(centre[0]) + wanted < 0.495 and abs(centre[1]) + wanted < 0.495 * HEIGHT / WIDTH
    free = all(
        np.hypot(thing["x"] - o["x"], thing["y"] - o["y"]) > 0.85 * (thing["scale"] + o["scale"])
        for o in others
    )
    return inside and free


def _bear(thing, bearer, relation):
    """Put a thing on top of the bearer or into it."""
    vertices = _placed(bearer)
    height = vertices[:, 2].max()
    width = np.hypot(vertices[:, 0] - bearer["x"], vertices[:, 1] - bearer["y"]).max()
    thing |= {"x": bearer["x"], "y": bearer["y"]}
    if relation == "on":
        thing |= {"z": round(float(height), 4), "scale": round(0.5 * bearer["scale"], 4)}
    else:
        share = {"bowl": 0.25, "bucket": 0.45, "pan": 0.18}[bearer["category"]]
        thing |= {
            "z": round(float(share * height), 4),
            "scale": round(float(0.62 * min(width, bearer["scale"])), 4),
        }


def silhouette(camera, vertices, faces):
    """Mask (FINER * HEIGHT, FINER * WIDTH) of an object as if nothing stood before it."""
    points = FINER * (camera.project(vertices) * WIDTH * (1, -1) + (WIDTH / 2, HEIGHT / 2))
    paper = Image.new("1", (FINER * WIDTH, FINER * HEIGHT))
    pen = ImageDraw.Draw(paper)
    for face in faces:
        pen.polygon([tuple(points[i]) for i in face], fill=1)
    return np.asarray(paper)


def _areas(camera, things):
    """Area of each object in pixels, and the share of it that nearer ones leave free (about)."""
    outlines = [
        silhouette(camera, _placed(t), mesh_of(t["category"], t["shape_seed"])[1]) for t in things
    ]
    distance = [
        np.linalg.norm(np.array((t["x"], t["y"] - 0.01 * t["z"], t["z"])) - camera.position)
        for t in things
    ]
    for thing, outline, away in zip(things, outlines, distance, strict=True):
        nearer = [o for o, d in zip(outlines, distance, strict=True) if d < away]
        free = outline & ~np.any(nearer, axis=0) if nearer else outline
        thing["area"] = round(float(outline.sum()) / FINER**2, 1)
        thing["free"] = float(free.sum() / max(outline.sum(), 1))


def _arrange(rng, camera, names, bearer):
    """Objects with place and scale, or None where they do not fit."""
    things = []
    for i, name in enumerate(names):
        size = str(rng.choice(list(SIZES))) if i or bearer == "none" else "large"
        thing = {
            "category": name,
            "group": GROUP_OF[name],
            "size": size,
            "shape_seed": int(rng.integers(2**31)),
        }
        thing |= draw_look(rng) | {
            "turn": round(float(rng.uniform(-60, 60)), 1),
            "bearer": -1,
            "relation": "",
        }
        things.append(thing)
        if i == 1 and bearer != "none":
            _bear(thing, things[0], bearer)
            radius = enclosing_circle(camera.project(_placed(thing)), steps=60)[1]
            thing |= {
                "bearer": 0,
                "relation": bearer,
                "size": min(SIZES, key=lambda s: abs(np.mean(SIZES[s]) - radius)),
            }
        elif not any(
            _stand(rng, camera, thing, [t for t in things[:-1] if t["bearer"] < 0])
            for _ in range(40)
        ):
            return None
    _areas(camera, things)
    return things if min(t.pop("free") for t in things) > 0.35 else None


def relations(things):
    """Triples (i, relation, j) that are beyond doubt: on, inside, left of, in front of."""
    found = [(i, t["relation"], t["bearer"]) for i, t in enumerate(things) if t["bearer"] >= 0]
    for i, a in enumerate(things):
        for j, b in enumerate(things):
            right, back = b["x"] - a["x"], b["y"] - a["y"]
            if i == j or a["bearer"] == j or b["bearer"] == i:
                continue
            if right > 1.5 * abs(back) and right > 0.5:
                found.append((i, "left of", j))
            elif back > 1.5 * abs(right) and back > 0.5:
                found.append((i, "in front of", j))
    return [list(triple) for triple in found]


def _with_article(words):
    if (
        words.endswith(("bananas", "cherries", "scissors", "spectacles", "rings"))
        and " of " not in words
    ):
        return words
    return ("an " if words[0] in "aeiou" else "a ") + words


def captions(rng, things, context, found):
    """Different sentences about a scene, from different templates."""

    def name(thing):
        word = thing["category"]
        return SYNONYMS[word] if word in SYNONYMS and rng.random() < 0.4 else word

    sentences = []
    place = f"{CONTEXTS[context][0]} a {context}"
    for template in rng.permutation(TEMPLATES)[:N_CAPTIONS]:
        i, relation, j = found[int(rng.integers(len(found)))]
        a, b = things[i], things[j]
        listed = [_with_article(name(t)) for t in things]
        words = {
            "a": _with_article(name(a)), "b": _with_article(name(b)), "place": place,
            "relation": f"{relation} {_with_article(name(b))}",
            "colour_a": _with_article(f"{a['colour']} {name(a)}"),
            "material_a": _with_article(f"{a['material']} {name(a)}"),
            "size_a": _with_article(f"{a['size']} {a['colour']} {name(a)}"),
            "number": ("three", "four", "five", "six", "seven")[len(things) - 3],
            "all": ", ".join(listed[:-1]) + " and " + listed[-1],
        }  # fmt: skip
        words |= {key.capitalize(): value[0].upper() + value[1:] for key, value in words.items()}
        sentences.append(template.format(**words))
    return sentences


def row(key):
    """One picture of the part `scenes`; `objects`, `relations` and `captions` are lists."""
    number = int(key.rpartition("_")[2])
    correlated = number % 2 == 0
    context = list(CONTEXTS)[number // 2 % len(CONTEXTS)]
    for attempt in range(200):
        rng = generator("scene", key, attempt)
        names, bearer = _categories(rng, context, correlated, 3 + number // 10 % 5)
        camera = _camera(rng)
        things = _arrange(rng, camera, names, bearer)
        if things and (found := relations(things)):
            break
    else:
        raise RuntimeError(f"{key}: no arrangement found in 200 attempts; change the seed")
    result = {
        "picture": key,
        "split": "correlated" if correlated else "independent",
        "context": context,
    }
    result |= {"elevation": camera.elevation, "lens": camera.lens}
    result |= dict(zip(("camera_x", "camera_y", "camera_z"), camera.position, strict=True))
    result |= draw_surroundings(rng, *CONTEXTS[context][1:3]) | draw_light(rng)
    return result | {
        "objects": things, "relations": found, "captions": captions(rng, things, context, found),
    }  # fmt: skip
