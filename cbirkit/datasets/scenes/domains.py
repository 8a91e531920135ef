"""The other domains of the same scenes: sketch, thermal, icon."""

import numpy as np
from scipy.ndimage import gaussian_filter

from .appearance import hsv_to_rgb
from .backgrounds import TILE, crop, tile
from .classes import scene_classes
from .draws import bell_noise, uniforms
from .paint import card_cover, column, finished, footprint, halved
from .render import ground_noise, photo
from .textures import pattern

_DOMAIN_STREAM = 30


def sketch(scenes, i, size):
    """Pencil on paper: warped, broken outlines; edges inside objects for six instances in ten.

    Parameters and returns as for `photo`.
    """
    side = 2 * size
    u = uniforms(12, *scenes.key(i), _DOMAIN_STREAM)
    warp = [_wavy(u[k : k + 2], side, 1.1) * np.float32(0.09) for k in (0, 2)]
    pressure = np.clip(_wavy(u[4:6], side, 3.0) * np.float32(2.6) + np.float32(1.25), 0.05, 1.0)
    paper = column(hsv_to_rgb(40, 0.03 + 0.07 * u[6], 0.93 + 0.06 * u[7]))
    pencil = column(hsv_to_rgb(220, 0.1, 0.12 + 0.2 * u[8]))
    grain = 1 - np.float32(0.05) * crop(tile("sand", 0), side, u[9:11], 1.0)
    ink = np.zeros((side, side), dtype=np.float32)
    for layer in scenes.layers.row(i):
        shape = footprint(layer, side, margin=6, warp=warp)
        if shape is None:
            continue
        inside = shape.cover()
        view = ink[shape.window]
        view *= 1 - inside
        if scenes.inner_edges[i]:
            np.maximum(
                view, np.float32(0.55) * inside * _edges(pattern(layer, shape.x, shape.y)), out=view
            )
        width = np.float32(0.011 * side + 0.4)
        line = np.clip(width + np.float32(0.5) - np.abs(shape.depth), 0, 1) * pressure[shape.window]
        np.maximum(view, line, out=view)
    if scenes.cards.there[i]:
        cover = card_cover(scenes.cards, i, side)
        ink *= 1 - cover
        np.maximum(
            ink,
            np.float32(0.8) * (card_cover(scenes.cards, i, side, grow=1.6) - cover) * pressure,
            out=ink,
        )
    canvas = paper * grain
    canvas = halved(canvas + (pencil - canvas) * (np.float32(0.9) * ink))
    return finished(
        canvas + np.float32(0.012) * bell_noise(canvas.shape, *scenes.key(i), _DOMAIN_STREAM + 1)
    )


def _wavy(corner, side, zoom):
    """Smooth noise of mean about 0, in [-0.5, 0.5]: `zoom` times as fine as that of clouds."""
    return crop(tile("cloud", 1), side, corner, 0.25 * TILE * zoom / side) - np.float32(0.5)


def _edges(share):
    """Where a pattern changes, in [0, 1]."""
    if np.ndim(share) == 0:
        return np.float32(0)
    out = np.zeros_like(share)
    out[1:] = np.abs(share[1:] - share[:-1])
    out[:, 1:] += np.abs(share[:, 1:] - share[:, :-1])
    return np.clip(4 * out - np.float32(0.35), 0, 1)


def thermal(scenes, i, size):
    """A thermal camera: each instance has its heat; blurred, without colour, with hot spots that mean nothing.

    Parameters and returns as for `photo`.
    """
    side = 2 * size
    u = uniforms(16, *scenes.key(i), _DOMAIN_STREAM + 2)
    canvas = np.float32(0.24 + 0.14 * u[0]) + np.float32(0.2) * (
        ground_noise(scenes, i, side) - np.float32(0.5)
    )
    at = ((np.arange(side) + 0.5) * (2 / side) - 1).astype(np.float32)
    for k in range(int(3 * u[1])):  # up to two hot spots
        x, y, width = (
            1.9 * u[4 + 3 * k] - 0.95,
            1.9 * u[5 + 3 * k] - 0.95,
            0.06 + 0.1 * u[6 + 3 * k],
        )
        spot = np.exp(-(((at[None, :] - x) / width) ** 2)) * np.exp(
            -(((at[:, None] - y) / width) ** 2)
        )
        canvas += np.float32(0.45) * spot.astype(np.float32)
    for layer in scenes.layers.row(i):
        shape = footprint(layer, side)
        if shape is None:
            continue
        heat = (
            0.04 + 0.1 * layer.heat if layer.heat < 0.2 else 0.55 + 0.4 * (layer.heat - 0.2) / 0.8
        )
        inner = np.clip(shape.depth * np.float32(5 / (layer.scale * side)), 0, 1)  # edges cool down
        warmth = np.float32(heat) * (np.float32(0.85) + np.float32(0.15) * inner)
        warmth = warmth - np.float32(0.1) * (pattern(layer, shape.x, shape.y) - np.float32(0.5))
        view = canvas[shape.window]
        view += shape.cover() * (warmth - view)
    if scenes.cards.there[i]:
        canvas += card_cover(scenes.cards, i, side) * (np.float32(0.2 + 0.3 * u[2]) - canvas)
    canvas = halved(gaussian_filter(canvas, 0.016 * side + 0.4, truncate=2.5))
    columns = bell_noise((1, size), *scenes.key(i), _DOMAIN_STREAM + 3)  # a camera's fixed pattern
    canvas = canvas + np.float32(0.012) * columns
    canvas += np.float32(0.022) * bell_noise(canvas.shape, *scenes.key(i), _DOMAIN_STREAM + 4)
    return finished(np.broadcast_to(canvas, (3, size, size)))


def icon(scenes, i, size):
    """A flat pictogram: one colour and a dark outline on a plain ground, no light, no noise.

    Parameters and returns as for `photo`.
    """
    side = 2 * size
    mean = (scenes.ground["low"][i] + scenes.ground["high"][i]) / 2
    ground = 0.86 + 0.14 * mean if mean.sum() > 1.2 else 0.62 * mean + 0.1
    canvas = np.empty((3, side, side), dtype=np.float32)
    canvas[:] = column(ground)
    layers = scenes.layers.row(i)
    for layer in layers:
        shape = footprint(layer, side, margin=6)
        if shape is None:
            continue
        flat = (
            layer.first
            if scene_classes()[int(layer.shape)].group != "clutter"
            else 0.75 * ground + 0.25 * layer.first
        )
        view = canvas[:, shape.rows, shape.columns]
        view += shape.cover(grow=0.012 * side) * (column(0.32 * flat) - view)
        view += shape.cover(grow=-0.012 * side) * (column(flat) - view)
    if scenes.cards.there[i]:
        canvas += card_cover(scenes.cards, i, side) * (
            column(0.5 * scenes.cards.color[i] + 0.5 * ground) - canvas
        )
    return finished(halved(canvas))


DOMAINS = {"photo": photo, "sketch": sketch, "thermal": thermal, "icon": icon}
