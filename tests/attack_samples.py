"""What the tests of attacks share: a small differentiable model, pixels and an objective for them."""

import numpy as np
import torch

from cbirkit import attacks


class Small(torch.nn.Module):
    """Pixels to unit vectors of 6 numbers: a sum over places of smooth functions, the same in any batch."""

    def __init__(self, seed=0, side=6):
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.weights = torch.randn(6, 3, side, side, generator=draw) / side
        self.requires_grad_(False)

    def forward(self, pixels):
        """(n, 3, side, side) -> (n, 6)."""
        sums = torch.stack([(pixels * w).flatten(1).sum(dim=1) for w in self.weights], dim=1)
        return torch.nn.functional.normalize(torch.tanh(sums) + 0.3)


def pixels_of(n=5, side=6, seed=0):
    """Pixels as of files, some of them black and white."""
    levels = np.random.default_rng(seed).integers(0, 256, (n, side, side, 3)).astype(np.uint8)
    levels[:, 0, 0], levels[:, 0, 1] = 0, 255
    return attacks.to_pixels(levels)


def misranking(model, n=5, seed=1):
    """`Misrank` of n images against a database of 12, one in three right."""
    database = attacks.embed_pixels(model, pixels_of(12, seed=seed))
    gains = (np.arange(12)[None] + np.arange(n)[:, None]) % 3 == 0
    return attacks.Misrank(database, gains)
