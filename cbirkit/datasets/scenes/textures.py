"""Surface patterns that stick to an object: how much of its second colour shows at each point."""

import numpy as np

TEXTURES = ("plain", "striped", "dotted", "checkered", "shaded", "ringed")


def pattern(layer, x, y):
    """Share of the second colour, in [0, 1], at points of the shape.

    Parameters
    ----------
    layer : Layers
        One layer.
    x, y : ndarray of float32, same shape
        Coordinates in the shape, where a disc of its area has the radius 1.

    Returns
    -------
    ndarray of float32, or 0.0 for a plain object
    """
    name = TEXTURES[layer.texture]
    if name == "plain":
        return np.float32(0)
    cos, sin = np.float32(np.cos(layer.lean)), np.float32(np.sin(layer.lean))
    f, phase = np.float32(layer.frequency), np.float32(layer.phase)
    u, v = x * cos + y * sin, y * cos - x * sin
    if name == "shaded":
        return np.clip(u * np.float32(0.5) + np.float32(0.5), 0, 1)
    if name == "striped":
        wave = np.sin(u * f + phase)
    elif name == "ringed":
        wave = np.sin(np.sqrt(x * x + y * y) * f + phase)
    elif name == "dotted":
        wave = np.sin(u * f + phase) + np.sin(v * f + phase) - np.float32(0.75)
    else:
        slow = np.float32(0.7) * f
        wave = np.float32(3) * np.sin(u * slow + phase) * np.sin(v * slow + phase)
    return np.clip(wave * np.float32(2.5) + np.float32(0.5), 0, 1)
