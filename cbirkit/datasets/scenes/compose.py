"""Draw the scene graph of every image of a set: everything that is true of it, before any pixel."""

from dataclasses import dataclass

import numpy as np

from . import views
from .layers import EXTENT, Layers, equal_area, inner_points, outer_points, placed
from .shapes import pick, scene_classes, uniforms
from .surfaces import CONTEXTS, N_DRAWS, N_TILES, Cards, draw_appearance, draw_cards, draw_ground
from .views import N_OBJECTS, N_SLOTS


@dataclass
class Scenes:
    """The scene graphs of a set; arrays over images."""

    kind: str
    level: str
    seed: int
    roster: object
    layers: Layers
    n_objects: np.ndarray
    sizes: np.ndarray  # (n, N_OBJECTS) number in SIZES
    context: np.ndarray
    ground: dict  # low, high (n, 3), tile, corner (n, 2), zoom, contrast
    light: dict
    cards: Cards

    def __len__(self):
        return len(self.roster.view)

    def key(self, i):
        """Whole numbers that name image `i`, for its noise."""
        roster = self.roster
        return self.seed, 20, int(roster.entry[i]), int(roster.number[i]), int(roster.view[i])


def compose(kind, level, roster, seed):
    """Draw the scene graphs of a roster.

    Parameters
    ----------
    kind, level : str
    roster : Roster
    seed : int

    Returns
    -------
    Scenes
    """
    view = _view_draws(roster, seed)
    shape, looks = _looks(kind, level, roster, view, seed)
    sizes, extents = _extents(kind, level, roster, view, shape)
    poses = views.draw_poses(view["pose"], level, extents)
    poses["scale"] = poses["scale"] * equal_area(shape, looks["wobble"])
    x, y = _places(kind, level, roster, view, shape, poses["scale"])
    layers = Layers(shape=shape, x=x, y=y, **poses, **looks)
    context = pick(view["ground"][:, 0], len(CONTEXTS))
    objects = roster.shape >= 0
    there = objects[..., None]
    colors = (np.where(there, looks[k][:, :N_OBJECTS], np.nan) for k in ("first", "second"))
    least = min(views.LEVELS[level].contrast, views.KINDS[kind].contrast)
    low, high, contrast = draw_ground(view["ground"][:, 8:], context, *colors, least)
    ground = {"low": low, "high": high, "contrast": contrast, "corner": view["ground"][:, 2:4]}
    ground["tile"] = pick(view["ground"][:, 4], N_TILES)
    ground["zoom"] = 0.75 + 0.5 * view["ground"][:, 5]
    points = placed(_column(layers, 0), inner_points(shape[:, 0]))
    occlusion = views.LEVELS[level].occlusion
    return Scenes(
        kind,
        level,
        seed,
        roster,
        layers,
        objects.sum(axis=1),
        sizes,
        context,
        ground,
        views.draw_light(view["light"]),
        draw_cards(view["card"], points, occlusion),
    )


def _view_draws(roster, seed):
    """All numbers drawn for each view, (n, …) by name. The level plays no part: only the strength is its own."""
    parts = {
        "pose": (N_SLOTS, views.N_POSE),
        "place": (N_SLOTS, views.N_PLACES, 2),
        "pair": (4,),
        "size": (N_OBJECTS,),
        "clutter": (1 + N_SLOTS,),
        "debris": (N_SLOTS, N_DRAWS),
        "ground": (8 + 36,),
        "light": (views.N_LIGHT,),
        "card": (7,),
    }
    lengths = [int(np.prod(shape)) for shape in parts.values()]
    keys = zip(roster.entry.tolist(), roster.number.tolist(), roster.view.tolist(), strict=True)
    u = np.stack([uniforms(sum(lengths), seed, 11, *key) for key in keys])
    split = np.split(u, np.cumsum(lengths)[:-1], axis=1)
    pairs = zip(parts.items(), split, strict=True)
    return {name: part.reshape(len(u), *shape) for (name, shape), part in pairs}


def _looks(kind, level, roster, view, seed):
    """Shapes (n, N_SLOTS) and appearances: of objects by instance, of clutter by view."""
    pairs = np.stack([np.maximum(roster.shape, 0), roster.instance], axis=-1).reshape(-1, 2)
    known, back = np.unique(pairs, axis=0, return_inverse=True)
    drawn = np.stack([uniforms(N_DRAWS + 1, seed, 12, int(a), int(b)) for a, b in known])
    drawn = drawn[back.ravel()].reshape(*roster.shape.shape, N_DRAWS + 1)  # (n, N_OBJECTS, draws)
    u = view["debris"].copy()
    shape = np.full(u.shape[:2], -1)
    shape[:, :N_OBJECTS] = roster.shape
    objects = shape >= 0
    u[objects] = drawn[..., :N_DRAWS][objects[:, :N_OBJECTS]]
    clutter = np.array([c.index for c in scene_classes() if c.group == "clutter"])
    count = views.n_clutter(view["clutter"][:, 0], kind, level)[:, None]
    rank = np.cumsum(~objects, axis=1)  # 1 for the first free layer
    pieces = clutter[pick(view["clutter"][:, 1:], len(clutter))]
    shape = np.where(~objects & (rank <= count), pieces, shape)
    return shape, draw_appearance(u)


def _extents(kind, level, roster, view, shape):
    """Size of each object (n, N_OBJECTS), and half-extents (n, N_SLOTS, 2) of all layers."""
    sizes = pick(view["size"], 3)
    if kind == "multi":
        sizes[:, 0] = roster.number % 3  # every class in every size
        one_large = sizes[:, 0] == 2  # at most
        sizes[:, 1] = np.where(one_large, np.minimum(sizes[:, 1], 1), sizes[:, 1])
        sizes[:, 2:] = np.minimum(sizes[:, 2:], 1)
    extents = np.empty((*shape.shape, 2))
    extents[:] = views.KINDS[kind].debris
    objects = roster.shape >= 0
    extents[:, :N_OBJECTS][objects] = views.size_bins(kind, level)[sizes[objects]]
    return sizes, extents


def _places(kind, level, roster, view, shape, scale):
    """Places x, y (n, N_SLOTS) of all layers."""
    radius = np.where(shape >= 0, scale * EXTENT, -1.0)
    if kind == "multi":
        return views.spread_out(view["place"], radius, np.empty((3, len(shape), 0)), 0.98)
    shift = views.KINDS[kind].shift or views.LEVELS[level].shift
    x, y = (shift * (2 * view["pair"][:, k : k + 1] - 1) for k in (0, 1))
    others = view["place"][:, 1:], radius[:, 1:]
    more = views.spread_out(*others, (x, y, radius[:, :1]), 1.08)
    return np.concatenate([x, more[0]], axis=1), np.concatenate([y, more[1]], axis=1)


def _column(layers, j):
    return Layers(**{name: value[:, j] for name, value in vars(layers).items()})


def boxes(scenes):
    """Boxes of all objects, whole, as if nothing hid them and the image had no borders.

    Returns
    -------
    ndarray of shape (n_images, N_OBJECTS, 4), float64
        x0, y0, x1, y1 in [-1, 1] coordinates; NaN where there is no object.
    """
    out = np.full((len(scenes), N_OBJECTS, 4), np.nan)
    for j in range(N_OBJECTS):
        rows = np.flatnonzero(scenes.roster.shape[:, j] >= 0)
        if len(rows):
            column = Layers(**{name: value[rows, j] for name, value in vars(scenes.layers).items()})
            points = placed(column, outer_points(column.shape))
            out[rows, j, :2], out[rows, j, 2:] = points.min(axis=1), points.max(axis=1)
    return out
