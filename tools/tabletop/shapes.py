"""Solids that the catalogue is built from, as plain NumPy meshes: nothing here needs Blender.

A `Part` is a mesh with one surface; an object is a list of parts. z is up, the front faces -y, and the unit is free:
`join` scales every object to the same size.
"""

from dataclasses import dataclass, replace

import numpy as np

SURFACES = ("main", "accent", "plain")


@dataclass(frozen=True)
class Part:
    """A mesh and the surface that it shows: "main" carries the pattern, "plain" the first colour, "accent" the second.

    vertices : (n, 3) float; faces : list of tuples of vertex numbers, counter-clockwise seen from outside.
    """

    vertices: np.ndarray
    faces: list
    surface: str = "main"

    def move(self, x=0.0, y=0.0, z=0.0):
        return replace(self, vertices=self.vertices + (x, y, z))

    def stretch(self, x=1.0, y=1.0, z=1.0):
        return replace(self, vertices=self.vertices * (x, y, z))

    def turn(self, axis, degrees):
        """Rotate about the axis "x", "y" or "z" through the origin."""
        cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
        vertices = self.vertices.copy()
        vertices[:, i] = cosine * self.vertices[:, i] - sine * self.vertices[:, j]
        vertices[:, j] = sine * self.vertices[:, i] + cosine * self.vertices[:, j]
        return replace(self, vertices=vertices)

    def warp(self, function):
        """Replace the coordinates by ``function(x, y, z)``, three arrays in and three out."""
        return replace(
            self, vertices=np.stack(np.broadcast_arrays(*function(*self.vertices.T)), axis=1)
        )

    def paint(self, surface):
        return replace(self, surface=surface)


def curve(points, n=24, closed=False):
    """Catmull-Rom curve through control points, (k, d) -> (n, d)."""
    points = np.asarray(points, float)
    if closed:
        points = np.concatenate([points[-1:], points, points[:2]])
    else:
        points = np.concatenate(
            [2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]]
        )
    where = np.linspace(0, len(points) - 3, n, endpoint=not closed)
    i = np.minimum(where.astype(int), len(points) - 4)
    t = (where - i)[:, None]
    a, b, c, d = (points[i + k] for k in range(4))
    return b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))


def _grid_faces(rows, columns, wrap_rows=False):
    """Quads between rings of points; the ring closes, the rows only if asked."""
    faces = []
    for i in range(rows if wrap_rows else rows - 1):
        a, b = i * columns, (i + 1) % rows * columns
        faces += [
            (a + j, a + (j + 1) % columns, b + (j + 1) % columns, b + j) for j in range(columns)
        ]
    return faces


def lathe(profile, segments=40, caps=True):
    """Surface of revolution about z of a profile [(radius, height), ...], from the bottom outside to the end.

    Where the profile does not begin or end on the axis, that end is closed by a flat cap unless `caps` is False.
    """
    profile = np.maximum(np.asarray(profile, float), (1e-4, -np.inf))
    angles = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    vertices = np.concatenate(
        [np.column_stack([r * ring, np.full(segments, z)]) for r, z in profile]
    )  # (len(profile) * segments, 3)
    faces = _grid_faces(len(profile), segments)
    last = (len(profile) - 1) * segments
    if caps:
        faces += [tuple(range(segments))[::-1], tuple(range(last, last + segments))]
    return Part(vertices, faces)


def round_lathe(profile, n=32, segments=40):
    """`lathe` of the smooth curve through the profile."""
    return lathe(curve(profile, n), segments)


def cylinder(radius, height, top=None, segments=40):
    """Upright cylinder, or frustum with another `top` radius, standing on z = 0."""
    return lathe([(radius, 0), (radius if top is None else top, height)], segments)


def vessel(profile, wall, n=None, floor=None):
    """Open vessel: the outer profile, and the same one `wall` further inside."""
    outer = np.asarray(profile, float) if n is None else curve(profile, n)
    inner = outer[::-1] - (wall, 0)
    inner = inner[inner[:, 1] > outer[0, 1] + (wall if floor is None else floor)]
    bottom = [(0, outer[0, 1] + (wall if floor is None else floor))]
    return lathe(np.concatenate([[(0, outer[0, 1])], outer, inner, bottom]))


def ball(x=1.0, y=None, z=None, segments=32):
    """Ellipsoid about the origin with the half axes x, y and z (one number: a sphere)."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 1)
    sphere = lathe(np.column_stack([np.cos(angles), np.sin(angles)]), segments)
    return sphere.stretch(x, x if y is None else y, x if z is None else z)


def box(x, y, z):
    """Box of these full sizes, standing on z = 0 about the origin."""
    corners = [(i, j, k) for k in (0, 1) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]
    faces = [(0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]
    return Part((np.array(corners) - (0.5, 0.5, 0)) * (x, y, z), faces)


def pillow(x, y, z, roundness=0.35, segments=32):
    """Box with soft edges (a superellipsoid) about the origin; the smaller `roundness`, the sharper."""

    def power(values):
        return np.sign(values) * np.abs(values) ** roundness

    v = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 1)
    u = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    radius, height = power(np.cos(v)), power(np.sin(v))
    vertices = np.concatenate(
        [
            np.column_stack([r * power(np.cos(u)), r * power(np.sin(u)), np.full(segments, h)])
            for r, h in zip(radius, height, strict=True)
        ]
    )
    return Part(vertices * (x / 2, y / 2, z / 2), _grid_faces(len(v), segments))


def tube(points, radius, section=14, closed=False, n=None, flat=1.0):
    """Tube along a path: through `n` points of the smooth curve if given; radius a number or one a control point.

    `flat` scales the section along the second direction: 0.3 gives a strap. Open ends are closed by caps.
    """
    points = np.asarray(points, float)
    radius = np.broadcast_to(np.asarray(radius, float), len(points))
    if n is not None:
        both = curve(np.column_stack([points, radius]), n, closed)
        points, radius = both[:, :3], np.maximum(both[:, 3], 1e-4)
    count = len(points)
    if closed:
        tangents = np.roll(points, -1, axis=0) - np.roll(points, 1, axis=0)
    else:
        tangents = np.gradient(points, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    normal = np.eye(3)[np.argmin(np.abs(tangents[0]))]
    angles = np.linspace(0, 2 * np.pi, section, endpoint=False)
    rings = []
    for point, tangent, r in zip(points, tangents, radius, strict=True):
        normal = normal - tangent * (normal @ tangent)
        normal /= np.linalg.norm(normal)
        other = np.cross(tangent, normal)
        rings.append(
            point + r * (np.outer(np.cos(angles), normal) + flat * np.outer(np.sin(angles), other))
        )
    faces = _grid_faces(count, section, wrap_rows=closed)
    if not closed:
        last = (count - 1) * section
        faces += [tuple(range(section))[::-1], tuple(range(last, last + section))]
    return Part(np.concatenate(rings), faces)


def rod(start, end, radius, section=14):
    """Straight tube from point to point; two radii make it taper."""
    return tube([start, end], radius, section)


def ring(radius, thickness, n=40, section=16):
    """Torus about z through the origin: radius of its core, radius of its section."""
    angles = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return tube(
        np.column_stack([radius * np.cos(angles), radius * np.sin(angles), 0 * angles]),
        thickness,
        section,
        closed=True,
    )


def slab(outline, thickness):
    """Flat plate: a polygon in x and y, counter-clockwise, raised from z = 0 to `thickness`."""
    outline = np.asarray(outline, float)
    n = len(outline)
    vertices = np.concatenate([np.column_stack([outline, np.full(n, z)]) for z in (0, thickness)])
    faces = _grid_faces(2, n) + [tuple(range(n))[::-1], tuple(range(n, 2 * n))]
    return Part(vertices, faces)


def leaf(length, width, bend=0.0, thickness=0.02):
    """Pointed leaf from the origin along +x; `bend` lowers its tip (in lengths)."""
    flat = ball(length / 2, width / 2, thickness).move(x=length / 2)
    return flat.warp(
        lambda x, y, z: (
            x,
            y * np.sqrt(np.clip(1.15 - x / length, 0.02, 1)),
            z - bend * length * (x / length) ** 2,
        )
    )


def around(n, part, phase=0.0):
    """Copies of a part, turned about z in equal steps."""
    return [part.turn("z", phase + 360 * i / n) for i in range(n)]


def mirrored(part):
    """The part and its mirror image at x = 0."""
    return [part, replace(part.stretch(x=-1), faces=[face[::-1] for face in part.faces])]


def join(parts):
    """One mesh standing on z = 0 above the origin, scaled to reach 1 from the middle of its bounding box.

    Returns vertices (n, 3), faces (tuples), and for each face the number of its surface in `SURFACES`.
    """
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts])
    vertices = np.concatenate([part.vertices for part in parts])
    faces = [
        tuple(int(v) + int(o) for v in face)
        for part, o in zip(parts, offsets, strict=False)
        for face in part.faces
    ]
    surfaces = [SURFACES.index(part.surface) for part in parts for _ in part.faces]
    middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    vertices = (vertices - middle) / np.linalg.norm(vertices - middle, axis=1).max()
    vertices[:, 2] -= vertices[:, 2].min()
    return vertices, faces, surfaces
