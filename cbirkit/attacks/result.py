"""What an attack gives back, and what all attacks share."""

import dataclasses

import numpy as np

from .._optional import require
from .bounds import lengths
from .pixels import to_images


@dataclasses.dataclass(frozen=True, eq=False)
class Attacked:
    """Images after an attack.

    Attributes
    ----------
    pixels : tensor (n, 3, h, w), float32 in [0, 1]
    clean : tensor (n, 3, h, w)
        Before it.
    before, after : ndarray (n,), float32
        The objective.
    calls : int
        Times that the model was asked about each image, gradients included.
    """

    pixels: object
    clean: object
    before: np.ndarray
    after: np.ndarray
    calls: int

    @property
    def perturbation(self):
        """What was added: tensor (n, 3, h, w)."""
        return self.pixels - self.clean

    @property
    def largest(self):
        """Largest change of a pixel of each image, (n,)."""
        return self.perturbation.abs().flatten(1).amax(dim=1).numpy()

    @property
    def length(self):
        """L2 length of each image's change, (n,)."""
        return lengths(self.perturbation).flatten().numpy()

    @property
    def images(self):
        """As a file would hold them: RGB uint8 (n, h, w, 3)."""
        return to_images(self.pixels)

    def __repr__(self):
        means = f"{self.before.mean():.3f} to {self.after.mean():.3f}"
        return f"Attacked({len(self.before)} images, objective {means}, largest change {255 * self.largest.max():.1f}/255)"


def embed_pixels(model, pixels, batch_size=64):
    """Embeddings (n, d), float32 array, of pixels (n, 3, h, w); without gradients."""
    torch = require("torch")
    with torch.no_grad():
        parts = [model(chunk).float().cpu() for chunk in pixels.split(batch_size)]
    return torch.cat(parts).numpy()


def in_batches(attack, pixels, objective, batch_size=32):
    """Run ``attack(pixels, objective) -> (pixels, before, after, calls)`` a batch at a time: an `Attacked`."""
    torch = require("torch")
    n = len(pixels)
    if len(objective) not in (1, n):
        raise ValueError(
            f"the objective is for {len(objective)} images, got {n}; give one row an image, or one for all"
        )
    parts = []
    for start in range(0, n, batch_size):
        which = slice(start, min(start + batch_size, n))
        parts.append(
            attack(pixels[which], objective.rows(which) if len(objective) == n else objective)
        )
    moved, before, after, calls = zip(*parts, strict=True)
    before, after = (torch.cat(part).cpu().numpy().astype(np.float32) for part in (before, after))
    return Attacked(torch.cat(moved), pixels, before, after, max(calls))
