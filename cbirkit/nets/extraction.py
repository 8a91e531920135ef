"""Run a backbone: on which device, how exactly, with batch normalisation folded, and pooled to embeddings."""

import concurrent.futures
import contextlib
import copy
import itertools
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from .backbone import module_calls
from .pooling import POOLINGS, gem_pool, spoc_pool

# Of the largest number of the last map.
_TOLERANCE = 1e-4
# On a CPU: more fall out of its caches, and the allocator gives them back after every layer.
_CHUNK_PIXELS = 6 * 224 * 224


def pick_device(device="auto"):
    """The torch device of a name; "auto" is the first there is of cuda, mps and cpu.

    Raises
    ------
    ValueError
        There is no such device here.

    Examples
    --------
    >>> pick_device("cpu")
    device(type='cpu')
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    here = {"cuda": cuda, "mps": mps, "cpu": True}
    found = [kind for kind, is_here in here.items() if is_here]
    with contextlib.suppress(RuntimeError, TypeError):
        picked = torch.device(found[0] if device == "auto" else device)
        if here.get(picked.type, True):
            return picked
    raise ValueError(f'device={device!r} is not there; use "auto", or one of {", ".join(found)}')


def mixed_precision(device, precision):
    """Context in which a network computes as `precision` says: "float32" as it is, else autocast.

    Raises
    ------
    ValueError
        float16 on a device other than cuda.
    """
    if precision == "float16" and device.type != "cuda":
        raise ValueError(
            f'precision="float16" needs a cuda device, got {device.type}; use "bfloat16" or "float32"'
        )
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, getattr(torch, precision))


def fused(network, images):
    """The network with every batch normalisation folded that follows a convolution, or the network itself if that changes what it gives.

    Parameters
    ----------
    network : Module
        In eval mode; not changed.
    images : tensor (n, 3, h, w)
        To find out in which order its modules run, and to compare.

    Returns
    -------
    Module
        A copy, or `network` where there is nothing to fold.

    Examples
    --------
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
    >>> fused(network, torch.ones(1, 3, 2, 2))
    Sequential(
      (0): Conv2d(3, 4, kernel_size=(1, 1), stride=(1, 1))
      (1): Identity()
    )
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        return network
    calls, before = module_calls(network, images, nn.Conv2d | nn.BatchNorm2d)
    other = copy.deepcopy(network)
    for convolution, norm in _followed(calls):
        _fold(other, convolution, norm)
    with torch.inference_mode():
        after = other(images)
    return other if (after - before).abs().max() <= _TOLERANCE * before.abs().max() else network


def _followed(calls):
    """Names of (convolution, batch normalisation) that run one after the other, once each, and where the network is not cut."""
    names = [name for name, *_ in calls]
    for (conv, first, _, output), (norm, second, (given, *_), _) in itertools.pairwise(calls):
        follows = type(first) is nn.Conv2d and isinstance(second, nn.BatchNorm2d)
        once = names.count(conv) == names.count(norm) == 1
        cut = first._forward_hooks or second._forward_hooks
        if follows and once and given is output and not cut:
            yield conv, norm


def _fold(network, convolution, norm):
    conv, bn = network.get_submodule(convolution), network.get_submodule(norm)
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    # timm's have an activation inside
    rest = nn.Identity() if type(bn) is nn.BatchNorm2d else getattr(bn, "act", bn)
    parent, _, own = norm.rpartition(".")
    setattr(network.get_submodule(parent), own, rest)


class Extractor:
    """A backbone, ready to run on a device.

    Parameters
    ----------
    backbone : Backbone
        Kept as it is, on the CPU.
    device : torch.device

    Attributes
    ----------
    backbone : Backbone
    device : torch.device
    """

    def __init__(self, backbone, device):
        self.backbone = backbone
        self.device = device
        shape = backbone.preprocessing.shape
        example = torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(0))
        # channels last is quicker for convolutions
        order = torch.channels_last if backbone.layout == "nchw" else torch.preserve_format
        running = fused(backbone.network, example).to(device, memory_format=order)
        self._running = running.requires_grad_(False)

    def output(self, images, precision="float32"):
        """Last map or token sequence, float32 on the device, of a tensor of images (n, 3, h, w)."""
        try:
            with torch.inference_mode(), mixed_precision(self.device, precision):
                return self._running(images.to(self.device)).float()
        except (AssertionError, RuntimeError) as error:
            (height, width), made_for = images.shape[-2:], self.backbone.preprocessing.shape
            if (height, width) == made_for or isinstance(error, torch.OutOfMemoryError):
                raise
            raise ValueError(
                f"{self.backbone.name!r} cannot take images of {height} x {width} pixels ({str(error).splitlines()[0]}); "
                f"use the size {made_for} it was made for, and scales=(1.0,)"
            ) from error

    def maps(self, output, shape):
        """Feature maps (n, c, h, w) in what the network gave for images of `shape` (height, width); a view."""
        if output.ndim == 3:
            patches = output[:, self.backbone.n_prefix :]  # (n, n_patches, c)
            return patches.transpose(1, 2).unflatten(2, _grid(patches.shape[1], *shape))
        return output.permute(0, 3, 1, 2) if self.backbone.layout == "nhwc" else output

    def pool(self, output, shape, pooling, p):
        """Vectors (n, c) from what the network gave for images of `shape`; `pooling` and `p` as for `cbirkit.encoders.Deep`."""
        has_class_token = output.ndim == 3 and self.backbone.n_prefix > 0
        if pooling == "cls" and not has_class_token:
            raise ValueError(
                f'{self.backbone.name!r} gives maps without a class token; use pooling="average", "gem", "max" or "rmac"'
            )
        if pooling == "cls" or (pooling == "default" and has_class_token):
            return output[:, 0]
        maps = self.maps(output, shape)
        if pooling == "gem":
            return gem_pool(maps, p)
        return POOLINGS["average" if pooling == "default" else pooling](maps)

    def vectors(self, images, scaled, encoder):
        """Embeddings (n, c) of images at one or several scales.

        Parameters
        ----------
        images : list of flat uint8 arrays
            The pixels of all scales, one after another.
        scaled : list of Preprocessing, one a scale
        encoder : object with pooling, p, precision, normalise and batch_size

        Returns
        -------
        ndarray (n, c), float32
        """
        ends = np.cumsum([0] + [step.shape[0] * step.shape[1] * 3 for step in scaled]).tolist()
        with torch.inference_mode():
            vectors = [
                self._at_scale([flat[start:end] for flat in images], step, encoder)
                for step, (start, end) in zip(scaled, itertools.pairwise(ends), strict=True)
            ]
            if len(vectors) > 1:
                vectors = [torch.stack([F.normalize(v) for v in vectors]).mean(dim=0)]
            return (F.normalize(vectors[0]) if encoder.normalise else vectors[0]).numpy()

    def _at_scale(self, images, step, encoder):
        """Vectors (n, c) on the CPU of all images at one scale, batch by batch."""

        def run(batch):
            pixels = step.to_tensor([flat.reshape(*step.shape, 3) for flat in batch], self.device)
            with torch.inference_mode():
                output = self.output(pixels, encoder.precision)
                return self.pool(output, step.shape, encoder.pooling, encoder.p).cpu()

        size = encoder.batch_size
        if self.device.type != "cpu":
            return torch.cat([run(images[i : i + size]) for i in range(0, len(images), size)])
        size = min(size, max(1, _CHUNK_PIXELS // math.prod(step.shape)))
        return torch.cat(_on_threads(run, images, size))


def _on_threads(run, images, size):
    """Results of ``run(batch)`` for batches of at most `size` images; each batch on one core, as many at once as torch has threads.

    That is quicker than all cores on one batch, as they need not wait for one another after every layer.
    """
    threads = torch.get_num_threads()
    # so that all cores end at the same time
    number = threads * math.ceil(len(images) / (threads * size))
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


def _grid(n, height, width):
    """Rows and columns of n patches of an image: of its aspect ratio if that comes out even, else as square as can be."""
    rows = round(math.sqrt(n * height / width))
    if not rows or n % rows:
        rows = next(r for r in range(math.isqrt(n), 0, -1) if n % r == 0)
    return rows, n // rows


class EmbeddingNet(nn.Module):
    """Resize, normalise, run a network, pool, scale to length 1: differentiable all the way, which is what an attack needs.

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
        self._pool = pool or (lambda output, shape: spoc_pool(output))
        for name in ("mean", "std"):
            values = torch.tensor(getattr(preprocessing, name), dtype=torch.float32)
            self.register_buffer(name, values.view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels):
        """(n, 3, h, w) in [0, 1], on any device -> (n, c), rows of length 1, on the same."""
        (height, width), how = self.preprocessing.shape, self.preprocessing.interpolation
        full_h, full_w, top, left = self.preprocessing.placed(*pixels.shape[-2:])
        whole = _resize(pixels.to(self.mean.device), full_h, full_w, how)
        images = (whole[..., top : top + height, left : left + width] - self.mean) / self.std
        output = self.network(images.contiguous(memory_format=torch.channels_last)).float()
        return F.normalize(self._pool(output, (height, width))).to(pixels.device)


def _resize(pixels, height, width, interpolation):
    """Pillow's filters as torch has them: each averages what a pixel of the result covers."""
    if tuple(pixels.shape[-2:]) == (height, width):
        return pixels
    grows = height > pixels.shape[-2] or width > pixels.shape[-1]
    if interpolation == "area" and not grows:
        return F.interpolate(pixels, (height, width), mode="area")
    mode = "bilinear" if interpolation == "area" else interpolation
    made = F.interpolate(pixels, (height, width), mode=mode, align_corners=False, antialias=True)
    return made.clamp(0, 1) if mode == "bicubic" else made


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
