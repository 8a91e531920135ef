"""A Blender scene with one camera, one lamp and objects on a table, and the picture and mask that it gives."""

import contextlib
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from .blender import bpy, mathutils

SAMPLES = 8


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
    mesh.polygons.foreach_set(
        "material_index", np.minimum(surfaces, len(materials) - 1).astype(np.int32)
    )
    mesh.shade_smooth()
    mesh.set_sharp_from_angle(angle=np.radians(38))
    thing = bpy.data.objects.new("thing", mesh)
    thing.pass_index = index
    thing.rotation_euler, thing.location, thing.scale = (0, 0, np.radians(turn)), at, (size,) * 3
    bevel = thing.modifiers.new("bevel", "BEVEL")
    bevel.width, bevel.segments, bevel.limit_method, bevel.angle_limit = (
        0.012,
        2,
        "ANGLE",
        np.radians(50),
    )
    bpy.context.scene.collection.objects.link(thing)
    return thing


def add_camera(camera, aperture=None):
    """Make this the scene's camera; with an aperture (f-number) what is far from the middle blurs."""
    right, up, forward = camera.axes
    data = bpy.data.cameras.new("camera")
    data.lens, (data.shift_x, data.shift_y) = camera.lens, camera.shift
    if aperture is not None:
        data.dof.use_dof, data.dof.aperture_fstop = True, aperture
        data.dof.focus_distance = float(np.linalg.norm(np.array(camera.position) - (0, 0, 0.6)))
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


def add_light(row, scale=1.0):
    """One lamp above the table and an even light from all sides; `scale` times as large and as far away."""
    data = bpy.data.lights.new("lamp", "AREA")
    data.energy = 1000 * scale**2 * row["lamp_strength"]
    data.color, data.size = warm(row["lamp_kelvin"]), 2.5 * scale
    thing = bpy.data.objects.new("lamp", data)
    a, e = np.radians(row["lamp_azimuth"]), np.radians(row["lamp_elevation"])
    thing.location = (
        6 * scale * np.array([np.sin(a) * np.cos(e), -np.cos(a) * np.cos(e), np.sin(e)])
    )
    thing.rotation_euler = (np.pi / 2 - e, 0, a)
    bpy.context.scene.collection.objects.link(thing)
    even_light((0.85, 0.92, 1.0), row["fill"])


def even_light(colour, strength):
    """Light of one colour (linear RGB) from all sides."""
    world = bpy.data.worlds.new("world")
    bpy.context.scene.world = world
    world.use_nodes = True
    background = world.node_tree.nodes["Background"]
    background.inputs["Color"].default_value = (*colour, 1.0)
    background.inputs["Strength"].default_value = strength


def draw_lines(width=1.3):
    """Show outlines and edges in black on white, by Freestyle, in place of light and colour."""
    scene = bpy.context.scene
    scene.view_settings.view_transform, scene.view_settings.look = "Standard", "None"
    scene.render.use_freestyle = True
    even_light((1, 1, 1), 1.0)
    white = bpy.data.materials.new("white")
    white.use_nodes = True
    nodes = white.node_tree.nodes
    glow = nodes.new("ShaderNodeEmission")
    white.node_tree.links.new(glow.outputs["Emission"], nodes["Material Output"].inputs["Surface"])
    layer = scene.view_layers[0]
    layer.material_override = white
    sets = layer.freestyle_settings.linesets
    lines = sets[0] if sets else sets.new("lines")
    lines.select_silhouette = lines.select_border = lines.select_crease = True
    lines.linestyle = bpy.data.linestyles.new("pen")
    lines.linestyle.color, lines.linestyle.thickness = (0, 0, 0), width


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
    tree.nodes.clear()
    layers = tree.nodes.new("CompositorNodeRLayers")
    tree.links.new(
        layers.outputs["Image"], tree.nodes.new("CompositorNodeComposite").inputs["Image"]
    )
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
