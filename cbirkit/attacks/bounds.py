"""What a perturbation may be: balls around images, steps inside them, random starts."""

import zlib

import numpy as np

from .._optional import require

_SHRINK = 1 - 1e-5  # float32 sums of squares round; the bound must hold all the same


class Ball:
    """All images within `epsilon` of given ones, and with pixels in [0, 1].

    Parameters
    ----------
    pixels : tensor (n, 3, h, w)
    epsilon : float
    norm : {"linf", "l2"}
        Largest change of one number; length of the whole change of an image.

    Examples
    --------
    >>> torch = require("torch")
    >>> Ball(torch.full((1, 3, 1, 1), 0.9), 0.25, "linf").project(torch.ones(1, 3, 1, 1) * 2).flatten()
    tensor([1., 1., 1.])
    """

    def __init__(self, pixels, epsilon, norm):
        self.pixels, self.epsilon, self.norm = pixels, float(epsilon), norm
        if norm == "linf":
            self._low, self._high = (_inward(pixels, sign * self.epsilon) for sign in (-1, 1))

    def project(self, moved):
        """The images (n, 3, h, w) that were moved, brought back.

        In L-inf the nearest point. In L2 the nearest of the ball, then cut to [0, 1], which can only shorten the
        change: it is inside both, though not always the nearest such point.
        """
        if self.norm == "linf":
            return moved.clamp(self._low, self._high)
        change = moved - self.pixels
        length = lengths(change)
        scale = (_SHRINK * self.epsilon / length.clamp(min=1e-12)).clamp(max=1)
        kept = self.pixels + change * scale.where(length > _SHRINK * self.epsilon, 1.0)
        return kept.clamp(0, 1)

    def step(self, at, gradient, size):
        """One step of `size` uphill from `at`, projected: along the sign of the gradient, or its unit vector."""
        if self.norm == "linf":
            way = gradient.sign()
        else:
            way = gradient / lengths(gradient).clamp(min=1e-12)
        return self.project(at + size * way)

    def random(self, seed):
        """One random image of each ball: uniform in the cube, or of random direction and length; see `noise_of`."""
        torch = require("torch")
        draws = noise_of(self.pixels, seed)
        if self.norm == "linf":
            return self.project(self.pixels + self.epsilon * (2 * draws - 1))
        normal = torch.special.ndtri(draws.clamp(1e-6, 1 - 1e-6))
        share = draws[:, :1, :1, :1]
        return self.project(self.pixels + self.epsilon * share * normal / lengths(normal))

    def corner(self, seed):
        """One random image as far away as the ball allows: random signs, or a random direction."""
        far = noise_of(self.pixels, seed) - 0.5
        return self.project(
            self.pixels + self.epsilon * (far.sign() if self.norm == "linf" else far / lengths(far))
        )


def lengths(change):
    """L2 length of each image's change, (n, 1, 1, 1)."""
    return change.flatten(1).double().norm(dim=1).to(change.dtype).view(-1, 1, 1, 1)


def seeds_of(pixels, random_state):
    """One number an image, from `random_state` and the image itself, so that it is the same in any batch."""
    return [
        np.random.SeedSequence(
            [int(random_state), zlib.crc32(np.ascontiguousarray(one.cpu().numpy()))]
        )
        for one in pixels
    ]


def noise_of(pixels, random_state):
    """Uniform numbers in [0, 1), one a pixel, drawn for each image by `seeds_of`."""
    torch = require("torch")
    drawn = [
        np.random.default_rng(s).random(pixels.shape[1:], dtype=np.float32)
        for s in seeds_of(pixels, random_state)
    ]
    return torch.from_numpy(np.stack(drawn)).to(pixels)


def _inward(pixels, change):
    """pixels + change in [0, 1], rounded towards pixels, so that the difference is never more than `change`."""
    torch = require("torch")
    exact = pixels.double() + change
    rounded = exact.to(pixels.dtype)
    over = (rounded.double() - exact) * np.sign(change) > 0
    return torch.where(over, torch.nextafter(rounded, pixels), rounded).clamp(0, 1)
