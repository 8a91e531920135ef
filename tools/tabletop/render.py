"""Render pictures and masks of the tabletop world with Blender's path tracer, Cycles, on the CPU.

    pip install "bpy==4.5.*" numpy pillow                     # Python 3.11, 0.9 GB; an environment of its own
    PYTHONPATH=tools python -m tabletop.render objects FOLDER            # goes on where it was stopped
    PYTHONPATH=tools python -m tabletop.render objects FOLDER --share 1/2     # half of the pictures, beside 2/2

FOLDER/objects.csv tells all that is known of each picture (`tabletop.parameters`); FOLDER/objects/ takes the picture
(WebP) and the mask (PNG: 0 ground, 1 object, 2 and up distractors) of each row.
"""

import argparse
import contextlib
import csv
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

try:
    import bpy
    import mathutils
except ImportError:
    sys.exit(
        'Rendering needs Blender as a module: pip install "bpy==4.5.*" (Python 3.11), in an environment of its own.'
    )
from PIL import Image

from .camera import Camera
from .grounds import add_ground
from .materials import object_material
from .parameters import PARTS, SOLIDS, mesh_of
from .shapes import join

SAMPLES = 16  # denoised; 64 look the same


def start(width, height, seed, samples=SAMPLES):
    """An empty scene with Cycles set up."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.render.resolution_x, scene.render.resolution_y = width, height
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    cycles = scene.cycles
    cycles.device, cycles.samples, cycles.seed = "CPU", samples, seed % 2**31
    cycles.use_denoising, cycles.use_adaptive_sampling = True, False
    cycles.max_bounces, cycles.diffuse_bounces, cycles.transmission_bounces = 6, 2, 6
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 4.0
    scene.view_settings.view_transform = "AgX"
    scene.view_settings.look = "AgX - Medium High Contrast"
    scene.view_layers[0].use_pass_object_index = True
    return scene


def add_mesh(mesh, materials, index, turn=0.0, at=(0, 0, 0), size=1.0):
    """An object in the scene, from `shapes.join`: bevelled, smooth where it is round. Returns it."""
    vertices, faces, surfaces = mesh
    mesh = bpy.data.meshes.new("thing")
    mesh.from_pydata(vertices, [], faces)
    for material in materials:
        mesh.materials.append(material)
    mesh.polygons.foreach_set("material_index", np.minimum(surfaces, len(materials) - 1).astype(np.int32))
    mesh.shade_smooth()
    mesh.set_sharp_from_angle(angle=np.radians(38))
    thing = bpy.data.objects.new("thing", mesh)
    thing.pass_index = index
    thing.rotation_euler, thing.location, thing.scale = (0, 0, np.radians(turn)), at, (size,) * 3
    bevel = thing.modifiers.new("bevel", "BEVEL")
    bevel.width, bevel.segments, bevel.limit_method, bevel.angle_limit = 0.012, 2, "ANGLE", np.radians(50)
    bpy.context.scene.collection.objects.link(thing)
    return thing


def add_camera(camera, aperture=None, focus=None):
    right, up, forward = camera.axes
    data = bpy.data.cameras.new("camera")
    data.lens, (data.shift_x, data.shift_y) = camera.lens, camera.shift
    if aperture is not None:
        data.dof.use_dof, data.dof.aperture_fstop, data.dof.focus_distance = True, aperture, focus
    thing = bpy.data.objects.new("camera", data)
    matrix = np.eye(4)
    matrix[:3] = np.column_stack([right, up, -forward, camera.position])
    thing.matrix_world = mathutils.Matrix(matrix.tolist())
    bpy.context.scene.collection.objects.link(thing)
    bpy.context.scene.camera = thing


def warm(kelvin):
    """Colour of a lamp, linear RGB, about that of a black body between 2500 and 9000 K."""
    t = np.clip((np.log(kelvin) - np.log(2500)) / (np.log(9000) - np.log(2500)), 0, 1)
    return tuple(np.array([1.0, 0.62, 0.3]) * (1 - t) + np.array([0.78, 0.88, 1.0]) * t)


def add_light(azimuth, elevation, strength, kelvin, fill, size=2.5, at=(0, 0, 0)):
    """One lamp above the table and an even light from all sides."""
    data = bpy.data.lights.new("lamp", "AREA")
    data.energy, data.color, data.size = 1000 * strength, warm(kelvin), size
    thing = bpy.data.objects.new("lamp", data)
    a, e = np.radians(azimuth), np.radians(elevation)
    away = 6 * np.array([np.sin(a) * np.cos(e), -np.cos(a) * np.cos(e), np.sin(e)])
    thing.location = away + at
    thing.rotation_euler = (np.pi / 2 - e, 0, a)
    bpy.context.scene.collection.objects.link(thing)
    world = bpy.data.worlds.new("world")
    bpy.context.scene.world = world
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.85, 0.92, 1.0, 1.0)
    world.node_tree.nodes["Background"].inputs["Strength"].default_value = fill


@contextlib.contextmanager
def _silence():
    """Blender tells every step on the process's own output; nobody reads it."""
    sys.stdout.flush()
    kept = os.dup(1)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def take():
    """Render the scene: RGB uint8 (h, w, 3) and object numbers uint8 (h, w)."""
    scene = bpy.context.scene
    scene.use_nodes = True
    tree = scene.node_tree
    layers = (
        tree.nodes["Render Layers"]
        if "Render Layers" in tree.nodes
        else tree.nodes.new("CompositorNodeRLayers")
    )
    if not any(node.type == "COMPOSITE" for node in tree.nodes):
        tree.links.new(layers.outputs["Image"], tree.nodes.new("CompositorNodeComposite").inputs["Image"])
    with tempfile.TemporaryDirectory() as folder:
        numbers = tree.nodes.new("CompositorNodeOutputFile")
        numbers.base_path = folder
        numbers.format.file_format, numbers.format.color_depth = "OPEN_EXR", "32"
        numbers.file_slots[0].path = "index"
        tree.links.new(layers.outputs["IndexOB"], numbers.inputs[0])
        scene.render.filepath = os.path.join(folder, "picture.png")
        with _silence():
            bpy.ops.render.render(write_still=True)
        picture = np.asarray(Image.open(scene.render.filepath).convert("RGB"))
        image = bpy.data.images.load(str(next(Path(folder).glob("index*.exr"))))
        image.colorspace_settings.is_data = True
        values = np.empty(len(image.pixels), np.float32)
        image.pixels.foreach_get(values)
        mask = values.reshape(*picture.shape[:2], -1)[::-1, :, 0].round().astype(np.uint8)
    return picture, mask


def render_object(row, size=128, samples=SAMPLES):
    """Picture and mask of one row of `objects.csv`."""
    start(size, size, int(row["ground_seed"]), samples)
    surface = (row["material"], row["pattern"], row["colour"], row["accent"], int(row["shape_seed"]))
    materials = [object_material(*surface)]
    materials += [
        object_material(row["material"], "plain", row[c], row[c], surface[-1]) for c in ("accent", "colour")
    ]
    add_mesh(mesh_of(row["category"], row["shape_seed"]), materials, 1, turn=float(row["azimuth"]))
    for i, words in enumerate(filter(None, row["distractors"].split(";"))):
        solid, x, y, size_, turn, *look, seed = words.split(":")
        material = object_material(*look, int(seed))
        add_mesh(join(SOLIDS[solid]()), [material], 2 + i, float(turn), (float(x), float(y), 0), float(size_))
    add_ground(row["ground"], row["backdrop"], float(row["backdrop_distance"]), int(row["ground_seed"]))
    place = tuple(float(row[f"camera_{axis}"]) for axis in "xyz")
    camera = Camera(
        place, float(row["elevation"]), float(row["lens"]), (float(row["shift_x"]), float(row["shift_y"]))
    )
    add_camera(camera, float(row["aperture"]), float(np.linalg.norm(np.array(place) - (0, 0, 0.6))))
    add_light(
        *(float(row[f"lamp_{name}"]) for name in ("azimuth", "elevation", "strength", "kelvin")),
        float(row["fill"]),
    )
    return take()


RENDERERS = {"objects": render_object}


def save(path, picture, mask):
    """Both files, the mask last and under its name only when whole: a picture with a mask is done."""
    Image.fromarray(picture).save(path.with_suffix(".webp"), quality=80, method=6)
    unfinished = path.with_suffix(".unfinished")
    Image.fromarray(mask).save(unfinished, format="png", optimize=True)
    os.replace(unfinished, path.with_suffix(".png"))


def run(part, folder, share=(1, 1), limit=None):
    """Render those rows of a part that are not there yet."""
    folder = Path(folder)
    (folder / part).mkdir(parents=True, exist_ok=True)
    rows = PARTS[part]()
    with open(folder / f"{part}.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with open(folder / f"{part}.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[share[0] - 1 : limit : share[1]]:
        path = folder / part / row["picture"]
        if not path.with_suffix(".png").exists():
            save(path, *RENDERERS[part](row))


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m tabletop.render", description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=sorted(RENDERERS))
    parser.add_argument("folder")
    parser.add_argument("--share", default="1/1", help="i/n: every n-th picture from the i-th on")
    parser.add_argument("--limit", type=int, help="only the first so many rows")
    asked = parser.parse_args(arguments)
    run(asked.part, asked.folder, tuple(map(int, asked.share.split("/"))), asked.limit)


if __name__ == "__main__":
    main()
