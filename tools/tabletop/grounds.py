"""Grounds that things stand on, and backdrops behind them."""

import numpy as np

from .blender import bpy
from .materials import Shader, linear

# name: pattern, its scale, two sRGB colours, roughness, depth of the relief
GROUNDS = {
    "oak": ("grain", 2.0, (196, 150, 98), (160, 112, 66), 0.45, 0.0),
    "walnut": ("grain", 1.7, (104, 70, 46), (62, 40, 28), 0.35, 0.0),
    "marble": ("marble", 0.5, (226, 224, 220), (150, 150, 154), 0.15, 0.0),
    "tiles": ("checker", 0.42, (214, 206, 190), (120, 132, 140), 0.25, 0.0),
    "gingham": ("gingham", 0.55, (236, 230, 222), (170, 60, 62), 0.95, 0.0),
    "carpet": ("speckle", 1.0, (92, 96, 128), (128, 130, 160), 1.0, 0.8),
    "concrete": ("noise", 1.6, (150, 148, 142), (128, 126, 122), 0.85, 0.15),
    "lawn": ("speckle", 0.8, (52, 88, 34), (118, 150, 62), 1.0, 1.0),
    "paper": ("plain", 1.0, (228, 222, 210), (228, 222, 210), 0.9, 0.0),
    "pebbles": ("pebbles", 1.0, (168, 158, 146), (84, 80, 76), 0.8, 0.6),
}
BACKDROPS = {
    "plain wall": ("plain", 1.0, (190, 192, 186), (190, 192, 186), 0.9, 0.0),
    "wallpaper": ("stripes", 0.5, (206, 196, 176), (168, 176, 168), 0.9, 0.0),
    "brick wall": ("bricks", 0.9, (150, 82, 64), (196, 190, 180), 0.9, 0.0),
    "tiled wall": ("checker", 0.5, (222, 226, 226), (176, 200, 206), 0.25, 0.0),
    "planks": ("grain", 1.2, (150, 116, 84), (112, 84, 60), 0.6, 0.0),
    "dotted wall": ("dots", 0.7, (176, 190, 206), (226, 222, 214), 0.9, 0.0),
    "hedge": ("noise", 1.0, (60, 92, 44), (112, 142, 74), 1.0, 0.0),
    "dusk": ("noise", 0.12, (74, 84, 116), (190, 150, 132), 1.0, 0.0),
}


def _shader(name, recipe, seed):
    pattern, scale, first, second, roughness, relief = recipe
    rng = np.random.default_rng(seed)
    turn = (0, 0, rng.uniform(-0.4, 0.4))
    scale_by = rng.uniform(0.85, 1.2) * np.array(
        (1, 0.2, 1) if pattern == "grain" else (1, 1, 1)
    )  # wood is long
    shader = Shader(name, turn=turn, offset=tuple(rng.uniform(-20, 20, 3)), scale=scale_by)
    tint = rng.uniform(0.86, 1.08, 3) * rng.uniform(0.8, 1.05)
    first, second = (
        linear(np.clip(np.asarray(colour) * tint, 0, 255)) for colour in (first, second)
    )
    shader.surface.inputs["Roughness"].default_value = roughness
    if pattern == "plain":
        factor = shader.texture("Noise", "Fac", Scale=0.6)
        second = tuple(0.85 * c for c in second)
    else:
        factor = shader.factor(pattern, scale)
    shader.link(shader.mix(factor, first, second), shader.surface.inputs["Base Color"])
    if relief:
        shader.bump(factor, relief, 0.1)
    return shader.material


def _plane(name, corners, material):
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(corners, [], [(0, 1, 2, 3)])
    mesh.materials.append(material)
    plane = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(plane)
    return plane


def add_ground(row, material=None, size=40.0):
    """The plane z = 0 and an upright one behind, as the row says, or both of one material."""
    square = [(-size, -size, 0), (size, -size, 0), (size, size, 0), (-size, size, 0)]
    ground, backdrop, seed = row["ground"], row["backdrop"], row["ground_seed"]
    _plane("ground", square, material or _shader(ground, GROUNDS[ground], seed))
    wall = _plane("backdrop", square, material or _shader(backdrop, BACKDROPS[backdrop], seed + 1))
    wall.rotation_euler = (np.pi / 2, 0, 0)
    wall.location = (0, row["backdrop_distance"], 0)
