"""Run a backbone over prepared images and pool what it gives."""

import concurrent.futures
import itertools
import math

import numpy as np
import torch
from torch import nn

from .devices import mixed_precision
from .fusing import fused
from .pooling import POOLINGS, gem_pool

_CHUNK_PIXELS = (
    6 * 224 * 224
)  # on a CPU: more fall out of its caches, and the allocator gives them back after every layer


class Extractor:
    """A backbone, ready to run on a device.

    Parameters
    ----------
    backbone : Backbone
        Kept as it is, on the CPU.
    device : torch.device
    name : str
        For errors.

    Attributes
    ----------
    backbone : Backbone
    device : torch.device
    """

    def __init__(self, backbone, device, name):
        self.backbone = backbone
        self.device = device
        self.name = name
        order = (
            torch.channels_last if backbone.layout == "nchw" else torch.preserve_format
        )  # quicker for convolutions
        example = torch.rand(
            1, 3, *backbone.preprocessing.shape, generator=torch.Generator().manual_seed(0)
        )
        self._running = (
            fused(backbone.network, example).to(device, memory_format=order).requires_grad_(False)
        )

    def output(self, images, precision="float32"):
        """Last map or token sequence, float32 on the device, of a tensor of images (n, 3, h, w)."""
        try:
            with torch.inference_mode(), mixed_precision(self.device, precision):
                return self._running(images.to(self.device)).float()
        except (AssertionError, RuntimeError) as error:
            size = tuple(images.shape[-2:])
            if size == self.backbone.preprocessing.shape or isinstance(
                error, torch.OutOfMemoryError
            ):
                raise
            raise ValueError(
                f"{self.name!r} cannot take images of {size[0]} x {size[1]} pixels ({str(error).splitlines()[0]}); "
                f"use the size {self.backbone.preprocessing.shape} it was made for, and scales=(1.0,)"
            ) from error

    def maps(self, output, shape):
        """Feature maps (n, c, h, w) in what the network gave for images of `shape` (height, width); a view."""
        if output.ndim == 3:
            patches = output[:, self.backbone.n_prefix :]  # (n, n_patches, c)
            return patches.transpose(1, 2).unflatten(2, _grid(patches.shape[1], *shape))
        return output.permute(0, 3, 1, 2) if self.backbone.layout == "nhwc" else output

    def pool(self, output, shape, pooling, p):
        """Vectors (n, c) from what the network gave."""
        has_class_token = output.ndim == 3 and self.backbone.n_prefix > 0
        if pooling == "cls" and not has_class_token:
            raise ValueError(
                f'{self.name!r} gives maps without a class token; use pooling="average", "gem", "max" or "rmac"'
            )
        if pooling == "cls" or (pooling == "default" and has_class_token):
            return output[:, 0]
        maps = self.maps(output, shape)
        if pooling == "gem":
            return gem_pool(maps, p)
        return POOLINGS["average" if pooling == "default" else pooling](maps)

    def vectors(self, images, scaled, recipe):
        """Embeddings (n, c) of images at one or several scales.

        Parameters
        ----------
        images : list of flat uint8 arrays
            The pixels of all scales, one after another.
        scaled : list of Preprocessing, one a scale
        recipe : object with pooling, p, precision, normalise and batch_size

        Returns
        -------
        ndarray (n, c), float32
        """
        with torch.inference_mode():
            vectors = [self._at_scale(images, *place, recipe) for place in _places(scaled)]
            if len(vectors) > 1:
                vectors = [torch.stack([nn.functional.normalize(v) for v in vectors]).mean(dim=0)]
            return (nn.functional.normalize(vectors[0]) if recipe.normalise else vectors[0]).numpy()

    def _at_scale(self, images, step, start, end, recipe):
        """Vectors (n, c) on the CPU of all images at one scale, batch by batch."""

        def run(batch):
            pixels = step.to_tensor(
                [flat[start:end].reshape(*step.shape, 3) for flat in batch], self.device
            )
            with torch.inference_mode():
                return self.pool(
                    self.output(pixels, recipe.precision), step.shape, recipe.pooling, recipe.p
                ).cpu()

        if self.device.type != "cpu":
            size = recipe.batch_size
            return torch.cat([run(images[i : i + size]) for i in range(0, len(images), size)])
        size = min(recipe.batch_size, max(1, _CHUNK_PIXELS // (step.shape[0] * step.shape[1])))
        return torch.cat(_on_threads(run, images, size))


def _on_threads(run, images, size):
    """Results of ``run(batch)`` for batches of at most `size` images; each batch on one core, as many at once as torch has threads.

    That is quicker than all cores on one batch, as they need not wait for one another after every layer.
    """
    threads = torch.get_num_threads()
    number = threads * math.ceil(
        len(images) / (threads * size)
    )  # so that all cores end at the same time
    bounds = [len(images) * i // number for i in range(number + 1)]
    batches = [images[i:j] for i, j in itertools.pairwise(bounds) if j > i]
    if threads == 1 or len(batches) == 1:
        return [run(batch) for batch in batches]

    def alone(batch):
        torch.set_num_threads(1)  # of this thread; torch's pool for others is set back below
        return run(batch)

    try:
        with concurrent.futures.ThreadPoolExecutor(threads, "cbirkit-forward") as pool:
            return list(pool.map(alone, batches))
    finally:
        torch.set_num_threads(threads)


def _places(scaled):
    """Each `Preprocessing` and where in a flat array its pixels begin and end."""
    ends = np.cumsum([step.shape[0] * step.shape[1] * 3 for step in scaled]).tolist()
    return list(zip(scaled, [0, *ends[:-1]], ends, strict=True))


def _grid(n, height, width):
    """Rows and columns of n patches of an image: of its aspect ratio if that comes out even, else as square as can be."""
    rows = round(math.sqrt(n * height / width))
    if rows and n % rows == 0:
        return rows, n // rows
    rows = next(r for r in range(math.isqrt(n), 0, -1) if n % r == 0)
    return rows, n // rows
