"""Images and encoders that the tests of deep encoders share."""

import numpy as np


def pictures(n=5, side=40, seed=0):
    """RGB images of different sizes, smooth enough that networks tell them apart."""
    random = np.random.default_rng(seed)
    shapes = [(side + 3 * i, side + 20 - 2 * i) for i in range(n)]
    return [
        np.kron(random.integers(0, 256, (h // 8, w // 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        for h, w in shapes
    ]


def small(backbone="conv5", **parameters):
    """The network of the course with random weights, on images of 32 pixels."""
    from cbirkit.encoders import Deep

    return Deep(backbone, **{"weights": None, "size": 32, "device": "cpu", **parameters})
