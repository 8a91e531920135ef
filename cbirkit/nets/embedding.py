"""From pixels in [0, 1] to unit embeddings, differentiable all the way: what an attack needs of a network."""

import math

import torch
from torch import nn
from torch.nn import functional as F

_MODES = {"bilinear": "bilinear", "bicubic": "bicubic", "area": "area"}


class EmbeddingNet(nn.Module):
    """Resize, normalise, run a network, pool, scale to length 1.

    Resizing and normalisation are inside, so that a perturbation is measured in the pixels that a user would
    send, between 0 and 1.

    Parameters
    ----------
    network : Module
        Maps normalised images (n, 3, h, w) to its last map or tokens.
    preprocessing : Preprocessing
        "squash" or "crop"; Pillow's rounding to whole grey levels after resizing is left out.
    pool : callable, optional
        ``pool(output, shape)`` gives vectors (n, c); default the average over places.

    Raises
    ------
    ValueError
        The preprocessing pads.

    Examples
    --------
    >>> from .conv5 import CONV5_PREPROCESSING, Conv5
    >>> EmbeddingNet(Conv5(), CONV5_PREPROCESSING)(torch.rand(2, 3, 48, 80)).shape
    torch.Size([2, 96])
    """

    def __init__(self, network, preprocessing, pool=None):
        super().__init__()
        if preprocessing.resize == "pad":
            raise ValueError(
                'resize="pad" cannot be attacked here; use an encoder with resize="squash" or "crop"'
            )
        self.network = network
        self.preprocessing = preprocessing
        self._pool = _average if pool is None else pool
        for name in ("mean", "std"):
            values = torch.tensor(getattr(preprocessing, name), dtype=torch.float32).view(
                1, 3, 1, 1
            )
            self.register_buffer(name, values, persistent=False)

    def forward(self, pixels):
        """(n, 3, h, w) in [0, 1], on any device -> (n, c), rows of length 1, on the same."""
        images = (self._resized(pixels.to(self.mean.device)) - self.mean) / self.std
        output = self.network(images.contiguous(memory_format=torch.channels_last)).float()
        return F.normalize(self._pool(output, self.preprocessing.shape)).to(pixels.device)

    def _resized(self, pixels):
        height, width = self.preprocessing.shape
        if self.preprocessing.resize == "squash":
            return _resize(pixels, height, width, self.preprocessing.interpolation)
        ratio = self.preprocessing.crop_ratio
        if tuple(pixels.shape[-2:]) == (height, width) and ratio == 1:
            return pixels
        least_h, least_w = (max(side, math.floor(side / ratio + 1e-6)) for side in (height, width))
        h, w = pixels.shape[-2:]
        if least_h * w >= least_w * h:  # the height decides
            full_h, full_w = least_h, max(width, int(least_h * w / h))
        else:
            full_h, full_w = max(height, int(least_w * h / w)), least_w
        top, left = round((full_h - height) / 2), round((full_w - width) / 2)
        whole = _resize(pixels, full_h, full_w, self.preprocessing.interpolation)
        return whole[..., top : top + height, left : left + width]


class StraightThrough(nn.Module):
    """A function of pixels whose gradient is taken to be that of the identity, or none at all.

    Forward it is `function`; backward, with ``gradient="identity"``, as if it were not there: "backward pass
    differentiable approximation" (Athalye, Carlini and Wagner 2018, arXiv 1802.00420). With ``gradient="none"``
    no gradient passes, which is what a naive attacker of a rounding defence meets.

    Examples
    --------
    >>> pixels = torch.tensor([0.3], requires_grad=True)
    >>> StraightThrough(torch.round)(pixels).backward()
    >>> pixels.grad
    tensor([1.])
    """

    def __init__(self, function, gradient="identity"):
        super().__init__()
        self.function = function
        self.gradient = gradient

    def forward(self, pixels):
        """What `function` gives, of the same shape."""
        changed = self.function(pixels.detach())
        if self.gradient == "none":
            return changed + 0 * pixels
        return pixels + (changed - pixels).detach()


def _average(output, shape):
    return output.mean(dim=(-2, -1))


def _resize(pixels, height, width, interpolation):
    """Pillow's filters as torch has them: each averages what a pixel of the result covers."""
    if tuple(pixels.shape[-2:]) == (height, width):
        return pixels
    grows = height > pixels.shape[-2] or width > pixels.shape[-1]
    mode = "bilinear" if interpolation == "area" and grows else _MODES[interpolation]
    if mode == "area":
        return F.interpolate(pixels, (height, width), mode=mode)
    made = F.interpolate(pixels, (height, width), mode=mode, align_corners=False, antialias=True)
    return made.clamp(0, 1) if mode == "bicubic" else made
