"""Run a backbone over prepared images and pool what it gives."""

import math

import torch
from torch import nn

from .devices import mixed_precision
from .pooling import POOLINGS, gem_pool


class Extractor:
    """A backbone on a device.

    Parameters
    ----------
    backbone : Backbone
        Its network is moved and kept; nobody else should change it.
    device : torch.device
    name : str
        For errors.
    """

    def __init__(self, backbone, device, name):
        order = torch.channels_last if backbone.layout == "nchw" else torch.preserve_format  # quicker for convolutions
        self.network = backbone.network.to(device, memory_format=order).requires_grad_(False)
        self.backbone = backbone
        self.device = device
        self.name = name

    def output(self, images, precision="float32"):
        """Last map or token sequence, float32, of a tensor of images (n, 3, h, w)."""
        try:
            with torch.inference_mode(), mixed_precision(self.device, precision):
                return self.network(images.to(self.device, non_blocking=True)).float()
        except (AssertionError, RuntimeError) as error:
            size = tuple(images.shape[-2:])
            if size == self.backbone.preprocessing.shape or isinstance(error, torch.OutOfMemoryError):
                raise
            raise ValueError(
                f"{self.name!r} cannot take images of {size[0]} x {size[1]} pixels ({str(error).splitlines()[0]}); "
                f"use the size {self.backbone.preprocessing.shape} it was made for, and scales=(1.0,)"
            ) from error

    def maps(self, output, shape):
        """Feature maps (n, c, h, w) in what the network gave for images of `shape` (height, width); a view."""
        if output.ndim == 3:
            patches = output[:, self.backbone.n_prefix :]  # (n, n_patches, c)
            height, width = _grid(patches.shape[1], *shape)
            return patches.transpose(1, 2).unflatten(2, (height, width))
        return output.permute(0, 3, 1, 2) if self.backbone.layout == "nhwc" else output

    def pool(self, output, shape, pooling, p):
        """Vectors (n, c) from what the network gave."""
        has_class_token = output.ndim == 3 and self.backbone.n_prefix > 0
        if pooling == "cls" and not has_class_token:
            raise ValueError(f'{self.name!r} gives maps without a class token; use pooling="average", "gem", "max" or "rmac"')
        if pooling == "cls" or (pooling == "default" and has_class_token):
            return output[:, 0]
        maps = self.maps(output, shape)
        if pooling == "gem":
            return gem_pool(maps, p)
        return POOLINGS["average" if pooling == "default" else pooling](maps)

    def vectors(self, scaled, recipe):
        """Embeddings (n, c), float32 on the CPU, of the same images at one or several scales.

        Parameters
        ----------
        scaled : list of tensors (n, 3, h_s, w_s)
        recipe : object with pooling, p, precision and normalise
        """
        vectors = []
        with torch.inference_mode():
            for images in scaled:
                output = self.output(images, recipe.precision)
                vectors.append(self.pool(output, images.shape[-2:], recipe.pooling, recipe.p))
            if len(vectors) > 1:
                vectors = [torch.stack([nn.functional.normalize(v) for v in vectors]).mean(dim=0)]
            vector = nn.functional.normalize(vectors[0]) if recipe.normalise else vectors[0]
            return vector.cpu()


def _grid(n, height, width):
    """Rows and columns of n patches of an image: of its aspect ratio if that comes out even, else as square as can be."""
    rows = round(math.sqrt(n * height / width))
    if rows and n % rows == 0:
        return rows, n // rows
    rows = next(r for r in range(math.isqrt(n), 0, -1) if n % r == 0)
    return rows, n // rows
