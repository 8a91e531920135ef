"""The domain "photo": objects with shading and shadow on textured ground, under coloured light, with noise."""

import numpy as np

from .backgrounds import CONTEXTS, TILE, crop, tile
from .draws import bell_noise
from .paint import card_cover, column, finished, footprint, halved
from .textures import pattern

NOISE = 0.03
SHADOW = 0.42


def photo(scenes, i, size):
    """Render image `i` as a photograph.

    Parameters
    ----------
    scenes : Scenes
    i : int
    size : int
        Pixels a side; painted at twice that and averaged over 2 x 2 pixels.

    Returns
    -------
    ndarray of shape (size, size, 3), uint8
    """
    side = 2 * size
    noise = ground_noise(scenes, i, side)
    low, high = column(scenes.ground["low"][i]), column(scenes.ground["high"][i])
    canvas = low + (high - low) * noise  # (3, side, side)
    for layer in scenes.layers.row(i):
        _paint(canvas, layer, side)
    if scenes.cards.there[i]:
        cover = card_cover(scenes.cards, i, side)
        canvas *= 1 - np.float32(0.3) * card_cover(scenes.cards, i, side, grow=0.02 * side)
        canvas += cover * (column(scenes.cards.color[i]) - canvas)
    canvas = halved(canvas)
    canvas *= _light(scenes.light, i, size)
    canvas += np.float32(NOISE) * bell_noise(canvas.shape, *scenes.key(i))
    return finished(canvas)


def ground_noise(scenes, i, side):
    """The noise of the ground of image `i`, (side, side) in [0, 1]."""
    ground = scenes.ground
    noise = tile(CONTEXTS[scenes.context[i]], int(ground["tile"][i]))
    return crop(noise, side, ground["corner"][i], 0.5 * TILE * ground["zoom"][i] / side)


def _paint(canvas, layer, side):
    soft = 0.05 * side
    shape = footprint(layer, side, margin=int(soft))
    if shape is None:
        return
    _cast_shadow(canvas, shape, soft, round(0.022 * side))
    share = pattern(layer, shape.x, shape.y)
    first, second = column(layer.first), column(layer.second)
    colour = first + (second - first) * share
    radius = np.float32(layer.scale * side / 2)
    rim = np.clip(shape.depth * (4 / radius), 0, 1)  # the edge falls off into shade
    lit = np.float32(0.78) + np.float32(0.27) * rim - np.float32(0.035) * (_sideways(shape, layer))
    view = canvas[:, shape.rows, shape.columns]
    view += shape.cover() * (colour * lit - view)


def _sideways(shape, layer):
    """Offset of each pixel towards the bottom right, away from the light, in radii of the layer."""
    cos, sin = np.float32(np.cos(layer.turn)), np.float32(np.sin(layer.turn))
    return shape.x * (cos - sin) + shape.y * (sin + cos)


def _cast_shadow(canvas, shape, soft, shift):
    """Darken the canvas below and to the right of a shape."""
    side = canvas.shape[1]
    rows = slice(shape.rows.start + shift, min(shape.rows.stop + shift, side))
    columns = slice(shape.columns.start + shift, min(shape.columns.stop + shift, side))
    depth = shape.depth[: max(rows.stop - rows.start, 0), : max(columns.stop - columns.start, 0)]
    if depth.size:
        canvas[:, rows, columns] *= 1 - np.float32(SHADOW) * np.clip(
            depth * (1 / soft) + np.float32(0.6), 0, 1
        )


def _light(light, i, size):
    """Gain of each pixel and channel: (3, size, size)."""
    at = (np.arange(size) + 0.5) * (2 / size) - 1
    angle = np.deg2rad(light["ramp_angle"][i])
    ramp = 1 + light["ramp"][i] * (np.cos(angle) * at[None, :] + np.sin(angle) * at[:, None])
    return column([light["gain_r"][i], light["gain_g"][i], light["gain_b"][i]]) * ramp.astype(
        np.float32
    )
