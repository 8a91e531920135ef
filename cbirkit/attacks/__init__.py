"""Attacks on retrieval and what helps against them: perturbations of an image, bounded in pixels of [0, 1]."""

from .black_box import Noise, Square
from .defences import bit_depth, jpeg, neighbour_stability, preprocessed, smoothed
from .gradient import FGSM, PGD, Universal, perturbed
from .model import attackable, queryable
from .objectives import Away, Misrank, Towards
from .pixels import to_images, to_pixels
from .result import Attacked, embed_pixels
from .training import adversarial_loss

__all__ = [
    "FGSM",
    "PGD",
    "Attacked",
    "Away",
    "Misrank",
    "Noise",
    "Square",
    "Towards",
    "Universal",
    "adversarial_loss",
    "attackable",
    "bit_depth",
    "embed_pixels",
    "jpeg",
    "neighbour_stability",
    "perturbed",
    "preprocessed",
    "queryable",
    "smoothed",
    "to_images",
    "to_pixels",
]
