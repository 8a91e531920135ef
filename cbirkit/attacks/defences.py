"""Defences that need no training: change the image before it is encoded, average over noise, watch the neighbours."""

import io

import numpy as np
from PIL import Image

from .._optional import require
from .pixels import check_pixels, check_steps, to_images, to_pixels
from .result import embed_pixels


def bit_depth(pixels, bits=3):
    """Round pixels to `bits` bits a channel.

    References
    ----------
    Xu, Evans and Qi, "Feature squeezing", NDSS 2018, arXiv 1704.01155.

    Examples
    --------
    >>> bit_depth(require("torch").tensor([0.2, 0.6]), bits=1)
    tensor([0., 1.])
    """
    check_steps("bits", bits, 1)
    levels = 2**bits - 1
    return (pixels * levels).round() / levels


def jpeg(pixels, quality=50):
    """Write images (n, 3, h, w) as JPEG and read them again.

    References
    ----------
    Guo, Rana, Cissé and van der Maaten, "Countering adversarial images using input transformations", ICLR 2018, arXiv
    1711.00117.
    """
    made = []
    for image in to_images(pixels):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=int(quality))
        made.append(np.asarray(Image.open(file, formats=["JPEG"]).convert("RGB")))
    return to_pixels(made).to(pixels)


def preprocessed(model, change, *, gradient="identity"):
    """A model that changes images before it encodes them.

    Parameters
    ----------
    model : callable
        Pixels to embeddings.
    change : callable
        Pixels to pixels, such as `jpeg`; it need not be differentiable.
    gradient : {"identity", "none"}
        For attacks on it: "identity" lets the gradient through as if `change` were not there, which is the adaptive
        attack; "none" blocks it, which only looks like a defence.

    Returns
    -------
    callable

    Raises
    ------
    ValueError
        Another `gradient`.

    References
    ----------
    Athalye, Carlini and Wagner, "Obfuscated gradients give a false sense of security", ICML 2018, arXiv 1802.00420.
    """
    from ..nets.extraction import StraightThrough

    if gradient not in ("identity", "none"):
        raise ValueError(f'gradient must be "identity" or "none", got {gradient!r}')
    through = StraightThrough(change, gradient)
    return lambda pixels: model(through(pixels))


def smoothed(model, sigma=0.05, n_draws=8, *, random_state=0):
    """A model that gives the mean embedding of noisy copies, scaled to length 1.

    Parameters
    ----------
    model : callable
    sigma : float
        Standard deviation of the noise, in pixels of [0, 1].
    n_draws : int
    random_state : int
        The noise differs from call to call; the calls of two models with one `random_state` have the same.

    Returns
    -------
    callable
        Differentiable; give attacks ``draws=`` to average over its noise.

    References
    ----------
    Cohen, Rosenfeld and Kolter, "Certified adversarial robustness via randomized smoothing", ICML 2019, arXiv 1902.02918.
    They smooth a classifier's votes and prove a radius. The mean of embeddings here comes with no proof.
    """
    torch = require("torch")
    check_steps("n_draws", n_draws, 1)
    if not 0 <= sigma < float("inf"):
        raise ValueError(
            f"sigma must be a number of at least 0, got {sigma!r}; 0.05 is the default"
        )
    draw = torch.Generator().manual_seed(int(random_state))

    def embed(pixels):
        total = 0
        for _ in range(n_draws):
            noise = torch.randn(pixels.shape, generator=draw).to(pixels)
            total = total + model((pixels + sigma * noise).clamp(0, 1))
        return torch.nn.functional.normalize(total)

    return embed


def neighbour_stability(model, pixels, database, *, changes=(jpeg,), k=10):
    """How much of an image's list of neighbours stays when the image is changed a little: 1 all, 0 nothing.

    An attack's perturbation is tuned to the exact pixels, so that a small change tends to undo it, and the list with it.

    Parameters
    ----------
    model : callable
    pixels : tensor (n, 3, h, w)
    database : array (n_database, d)
    changes : sequence of callable
        Pixels to pixels; the mean over them is returned.
    k : int
        Length of the lists, at most the size of the database.

    Returns
    -------
    ndarray (n,), float64
        Share of the k nearest that the lists of the image and of the changed image have in common.

    Examples
    --------
    >>> torch = require("torch")
    >>> colour = lambda pixels: torch.nn.functional.normalize(pixels.mean(dim=(2, 3)))
    >>> neighbour_stability(colour, torch.rand(2, 3, 8, 8), np.eye(3), k=3)
    array([1., 1.])
    """
    check_pixels(pixels)
    check_steps("k", k, 1)
    database = np.asarray(database, dtype=np.float32)
    if k > len(database):
        raise ValueError(
            f"k={k} exceeds the {len(database)} database items; use k <= {len(database)}"
        )
    if not len(changes):
        raise ValueError("changes is empty; give at least one, such as attacks.jpeg")

    def lists(images):
        return np.argsort(-embed_pixels(model, images) @ database.T, axis=1, kind="stable")[:, :k]

    own = lists(pixels)
    shares = [
        [np.isin(a, b).mean() for a, b in zip(own, lists(change(pixels)), strict=True)]
        for change in changes
    ]
    return np.mean(shares, axis=0)
