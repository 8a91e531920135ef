"""Materials and patterns as Blender shaders, for objects and for grounds."""

import numpy as np

from .blender import bpy
from .parameters import COLOURS

_FINISH = {  # inputs of Blender's Principled BSDF: a value or a range
    "ceramic": {"Roughness": (0.12, 0.3), "Coat Weight": 0.5},
    "wood": {"Roughness": (0.5, 0.7)},
    "metal": {"Metallic": 1.0, "Roughness": (0.2, 0.42)},
    "plastic": {"Roughness": (0.3, 0.5)},
    "glass": {"Roughness": 0.06, "Transmission Weight": (0.6, 0.8), "IOR": 1.3},
    "fabric": {"Roughness": 1.0, "Specular IOR Level": 0.1},
}


def linear(rgb):
    """sRGB 0..255 -> linear RGBA of Blender."""
    value = np.asarray(rgb, float) / 255
    value = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return (*value.tolist(), 1.0)


class Shader:
    """A new material and short ways to add nodes to it."""

    def __init__(self, name, coordinates="Object", turn=(0, 0, 0), scale=1.0, offset=(0, 0, 0)):
        self.material = bpy.data.materials.new(name)
        self.material.use_nodes = True
        self.surface = self.material.node_tree.nodes["Principled BSDF"]
        mapping = self.node("Mapping")
        mapping.inputs["Rotation"].default_value = turn
        mapping.inputs["Scale"].default_value = np.broadcast_to(scale, 3).tolist()
        mapping.inputs["Location"].default_value = offset
        self.link(self.node("TexCoord").outputs[coordinates], mapping.inputs["Vector"])
        self.vector = mapping.outputs["Vector"]

    def node(self, kind, **inputs):
        node = self.material.node_tree.nodes.new("ShaderNode" + kind)
        for name, value in inputs.items():
            node.inputs[name].default_value = value
        return node

    def link(self, output, target):
        self.material.node_tree.links.new(output, target)

    def texture(self, kind, output, **inputs):
        node = self.node("Tex" + kind, **inputs)
        self.link(self.vector, node.inputs["Vector"])
        return node.outputs[output]

    def steps(self, value, edges):
        """Grey value as 0 below `edges[0]` and 1 above `edges[1]`, linear between."""
        node = self.node("MapRange", **{"From Min": edges[0], "From Max": edges[1]})
        self.link(value, node.inputs["Value"])
        return node.outputs["Result"]

    def mix(self, factor, first, second):
        """Colour between two; each a linear RGBA or an output."""
        node = self.node("Mix")
        node.data_type = "RGBA"
        self.link(factor, node.inputs["Factor"])
        for name, colour in (("A", first), ("B", second)):
            socket = next(s for s in node.inputs if s.name == name and s.type == "RGBA")
            if isinstance(colour, tuple):
                socket.default_value = colour
            else:
                self.link(colour, socket)
        return next(s for s in node.outputs if s.type == "RGBA")

    def bump(self, height, strength, distance=0.05):
        node = self.node("Bump", Strength=strength, Distance=distance)
        self.link(height, node.inputs["Height"])
        self.link(node.outputs["Normal"], self.surface.inputs["Normal"])

    def factor(self, pattern, scale):
        """0..1 of a pattern: where the second colour shows."""
        if pattern == "stripes":
            return self.steps(
                self.texture("Wave", "Fac", Scale=scale * 0.9, Distortion=0.0), (0.47, 0.53)
            )
        if pattern == "dots":
            cells = self.texture("Voronoi", "Distance", Scale=scale * 1.9, Randomness=0.25)
            return self.steps(cells, (0.4, 0.37))
        if pattern == "checker":
            return self.texture("Checker", "Fac", Scale=scale * 2.2)
        if pattern == "noise":
            return self.steps(
                self.texture("Noise", "Fac", Scale=scale * 2.2, Detail=3.0), (0.45, 0.57)
            )
        if pattern == "marble":
            return self.steps(
                self.texture("Wave", "Fac", Scale=scale * 0.5, Distortion=9.0, Detail=4.0),
                (0.1, 0.9),
            )
        if pattern == "grain":
            return self.texture(
                "Wave",
                "Fac",
                **{"Scale": scale * 0.6, "Distortion": 5.0, "Detail": 3.0, "Detail Scale": 0.6},
            )
        if pattern == "gingham":
            return self._gingham(scale)
        if pattern == "pebbles":
            return self.steps(self.texture("Voronoi", "Distance", Scale=scale * 2.5), (0.1, 0.7))
        if pattern == "bricks":
            return self.texture("Brick", "Fac", **{"Scale": scale, "Mortar Size": 0.02})
        if pattern == "speckle":
            return self.texture("Noise", "Fac", Scale=scale * 14, Detail=4.0)
        raise ValueError(f"unknown pattern {pattern!r}")

    def _gingham(self, scale):
        total = self.node("Math")
        for socket, direction in zip(total.inputs, ("X", "Y"), strict=False):
            wave = self.node("TexWave", Scale=scale)
            wave.bands_direction = direction
            self.link(self.vector, wave.inputs["Vector"])
            self.link(self.steps(wave.outputs["Fac"], (0.45, 0.55)), socket)
        return self.steps(total.outputs["Value"], (0.0, 2.0))


def object_material(material, pattern, colour, accent, seed):
    """Shader of an object's surface: `material` with a `pattern` of two colours (names from `COLOURS`)."""
    rng = np.random.default_rng(seed)
    shader = Shader(
        f"{material} {pattern}",
        turn=tuple(rng.uniform(0, 3.1, 3)),
        offset=tuple(rng.uniform(-9, 9, 3)),
    )
    first, second = linear(COLOURS[colour]), linear(COLOURS[accent])
    size = rng.uniform(1.0, 1.6)
    if pattern == "plain":
        blend = shader.texture("Noise", "Fac", Scale=1.0)
        tone = shader.mix(blend, tuple(0.94 * c for c in first), first)
    else:
        tone = shader.mix(shader.factor(pattern, size), first, second)
    for name, value in _FINISH[material].items():
        low, high = np.broadcast_to(value, 2)
        shader.surface.inputs[name].default_value = rng.uniform(low, high)
    if material == "wood":
        tone = _darkened(shader, tone, shader.factor("grain", 3.0), 0.55)
    elif material == "fabric":
        weave = shader.factor("speckle", 2.0)
        tone = _darkened(shader, tone, weave, 0.5)
        shader.bump(weave, 0.7)
    shader.link(tone, shader.surface.inputs["Base Color"])
    return shader.material


def _darkened(shader, tone, factor, share):
    """The colour, darker by up to `share` where factor is 0."""
    node = shader.node("Mix")
    node.data_type, node.blend_type = "RGBA", "MULTIPLY"
    grey = shader.mix(factor, (1 - share, 1 - share, 1 - share, 1.0), (1.0, 1.0, 1.0, 1.0))
    a, b = (next(s for s in node.inputs if s.name == n and s.type == "RGBA") for n in "AB")
    node.inputs["Factor"].default_value = 1.0
    shader.link(tone, a)
    shader.link(grey, b)
    return next(s for s in node.outputs if s.type == "RGBA")


def clay():
    """Unglazed clay, the same for everything."""
    shader = Shader("clay")
    shader.surface.inputs["Roughness"].default_value = 0.95
    shader.surface.inputs["Base Color"].default_value = linear((178, 150, 130))
    return shader.material
