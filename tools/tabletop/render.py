"""Render pictures and masks of the tabletop world with Blender's path tracer, Cycles, on the CPU.

    pip install "bpy==4.5.*" numpy pillow                # Python 3.11, 0.9 GB; an environment of its own
    PYTHONPATH=tools python -m tabletop.render objects FOLDER --share 1/2 &       # and 2/2: one process a core
    PYTHONPATH=tools python -m tabletop.render scenes FOLDER

Each picture of a part (`tabletop.tables`) becomes FOLDER/part/NAME.webp and its mask NAME.png: 0 the surroundings, 1 the
object and from 2 on distractors; in scenes 1 + the number of the object. Interrupted, the same command goes on.
"""

import argparse
import os
from pathlib import Path

import numpy as np
from PIL import Image

from . import scenes, stage
from .camera import Camera
from .grounds import add_ground
from .materials import clay, object_material
from .parameters import SOLIDS, generator, mesh_of
from .shapes import join
from .tables import PARTS

NIGHT = {"lamp_kelvin": 2500, "lamp_strength": 0.5, "fill": 0.015}
GRAIN = 11.0  # standard deviation in grey levels, at night


def _camera(row):
    position = tuple(row[f"camera_{axis}"] for axis in "xyz")
    return Camera(
        position, row["elevation"], row["lens"], (row.get("shift_x", 0.0), row.get("shift_y", 0.0))
    )


def _materials(thing):
    """Materials of the surfaces of an object, in the order of `shapes.SURFACES`."""
    material, colour, accent, seed = (
        thing[name] for name in ("material", "colour", "accent", "shape_seed")
    )
    plain = [object_material(material, "plain", one, one, seed) for one in (accent, colour)]
    return [object_material(material, thing["pattern"], colour, accent, seed), *plain]


def render_object(row, size=128, samples=stage.SAMPLES):
    """Picture and mask of a row of `objects` or `domains`."""
    domain = row.get("domain")
    stage.start(size, size, row["ground_seed"], samples)
    surfaces = [clay()] if domain == "clay" else _materials(row)
    stage.add_mesh(mesh_of(row["category"], row["shape_seed"]), surfaces, 1, turn=row["azimuth"])
    stage.add_camera(_camera(row), row["aperture"] if domain is None else None)
    if domain == "drawing":
        stage.draw_lines()
        return stage.take()
    for i, solid in enumerate(row["distractors"]):
        look = [clay()] if domain == "clay" else _materials(solid)[:1]
        place = (solid["x"], solid["y"], 0)
        stage.add_mesh(
            join(SOLIDS[solid["solid"]]()), look, 2 + i, solid["turn"], place, solid["scale"]
        )
    add_ground(row, clay() if domain == "clay" else None)
    stage.add_light(row | NIGHT if domain == "night" else row)
    picture, mask = stage.take()
    if domain == "night":
        grain = generator("grain", row["picture"]).normal(0, GRAIN, picture.shape)
        picture = np.clip(picture + grain, 0, 255).round().astype(np.uint8)
    return picture, mask


def render_scene(row, samples=stage.SAMPLES):
    """Picture and mask of a row of `scenes`."""
    stage.start(scenes.WIDTH, scenes.HEIGHT, row["ground_seed"], samples)
    for i, thing in enumerate(row["objects"]):
        place = (thing["x"], thing["y"], thing["z"])
        mesh = mesh_of(thing["category"], thing["shape_seed"])
        stage.add_mesh(mesh, _materials(thing), 1 + i, thing["turn"], place, thing["scale"])
    stage.add_camera(_camera(row))
    add_ground(row)
    stage.add_light(row, scale=2.0)
    return stage.take()


RENDERERS = {"objects": render_object, "scenes": render_scene, "domains": render_object}


def save(path, picture, mask):
    """Write both files; the mask, last, gets its name when it is whole, so a picture with a mask is done."""
    Image.fromarray(picture).save(path.with_suffix(".webp"), quality=80, method=6)
    unfinished = path.with_suffix(".unfinished")
    Image.fromarray(mask).save(unfinished, format="png", optimize=True)
    os.replace(unfinished, path.with_suffix(".png"))


def render(part, key, folder):
    """Render one picture of a part unless it is there; returns its path."""
    path = Path(folder) / part / f"{key}.webp"
    if not path.with_suffix(".png").exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, *RENDERERS[part](PARTS[part][1](key)))
    return path


def main():
    parser = argparse.ArgumentParser(
        prog="python -m tabletop.render", description=__doc__.splitlines()[0]
    )
    parser.add_argument("part", choices=sorted(PARTS))
    parser.add_argument("folder")
    parser.add_argument(
        "--share", default="1/1", metavar="I/N", help="every N-th picture from the I-th on"
    )
    parser.add_argument("--limit", type=int, help="only the first so many pictures")
    asked = parser.parse_args()
    first, step = map(int, asked.share.split("/"))
    for key in PARTS[asked.part][0]()[first - 1 : asked.limit : step]:
        render(asked.part, key, asked.folder)


if __name__ == "__main__":
    main()
