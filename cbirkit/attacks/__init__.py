"""Attacks on retrieval and what helps against them: perturbations of an image, bounded in pixels of [0, 1]."""

from .defences import adversarial_loss, bit_depth, jpeg, neighbour_stability, preprocessed, smoothed
from .objectives import Away, Misrank, Towards
from .perturbations import FGSM, PGD, AttackedImages, Noise, Square, Universal, perturbed
from .pixels import attackable, embed_pixels, queryable, to_images, to_pixels

__all__ = [
    "FGSM", "PGD", "AttackedImages", "Away", "Misrank", "Noise", "Square", "Towards", "Universal",
    "adversarial_loss", "attackable", "bit_depth", "embed_pixels", "jpeg", "neighbour_stability",
    "perturbed", "preprocessed", "queryable", "smoothed", "to_images", "to_pixels",
]  # fmt: skip
