"""Defences: change the image before it is encoded, average over noise, watch the neighbours, train on attacked images."""

import io

import numpy as np
from PIL import Image

from cbirkit._optional import require
from cbirkit.encoders.base import check_choice, check_count, check_number

from .perturbations import check_epsilon
from .pixels import check_pixels, embed_pixels, to_images, to_pixels


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
    check_count("bits", bits)
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
    from cbirkit.nets.extraction import StraightThrough

    check_choice("gradient", gradient, ("identity", "none"))
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
    check_count("n_draws", n_draws)
    check_number("sigma", sigma, 0)
    draw = torch.Generator().manual_seed(int(random_state))

    def embed(pixels):
        noise = torch.randn((n_draws, *pixels.shape), generator=draw).to(pixels)
        copies = (pixels + sigma * noise).clamp(0, 1)
        return torch.nn.functional.normalize(sum(map(model, copies)))

    return embed


def neighbour_stability(model, pixels, database, *, change=jpeg, k=10):
    """How much of an image's list of neighbours stays when the image is changed a little: 1 all, 0 nothing.

    An attack's perturbation is tuned to the exact pixels, so that a small change tends to undo it, and the list with it.

    Parameters
    ----------
    model : callable
    pixels : tensor (n, 3, h, w)
    database : array (n_database, d)
    change : callable
        Pixels to pixels.
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
    database = np.asarray(database, dtype=np.float32)
    check_number("k (of the database's items)", k, 1, len(database), whole=True)

    def lists(images):
        return np.argsort(-embed_pixels(model, images) @ database.T, axis=1, kind="stable")[:, :k]

    kept = lists(pixels)[:, :, None] == lists(change(pixels))[:, None]  # (n, k, k)
    return kept.any(axis=2).mean(axis=1)


def adversarial_loss(loss, *, epsilon=4 / 255, steps=3):
    """A loss for `cbirkit.learning.train` on images that were attacked first.

    ``min over weights of max over |d| <= epsilon of loss(x + d)``: the inner maximum by projected gradient ascent from a
    random start, with the network in eval mode, so that its running averages see only what it is trained on.

    Parameters
    ----------
    loss : callable
        ``loss(network, (pixels, targets))``, as `train` takes it, on pixels (n, 3, h, w) in [0, 1]: what normalises them
        is part of the network (`cbirkit.nets.extraction.EmbeddingNet`).
    epsilon : float
        L-inf bound.
    steps : int
        Each of half of `epsilon`. A training step costs ``steps + 1`` times as much as without; 0 trains on random perturbations.

    Returns
    -------
    callable
        ``loss(network, batch)``.

    Raises
    ------
    ValueError
        A bound or number of steps that is none; on call, pixels outside [0, 1].

    References
    ----------
    Madry et al., ICLR 2018, arXiv 1706.06083. For retrieval: Zhou et al., "Adversarial ranking attack and defense", ECCV 2020,
    arXiv 2002.11293.
    """
    check_epsilon(epsilon, "linf")
    check_count("steps", steps, 0)

    def hardest(network, batch):
        torch = require("torch")
        pixels, targets = batch[0], batch[1:]
        if not bool(((pixels >= -1e-6) & (pixels <= 1 + 1e-6)).all()):
            raise ValueError(
                "adversarial training takes pixels in [0, 1]; let the network normalise, not the batches"
            )
        was = network.training
        network.eval()
        low, high = (pixels - epsilon).clamp(0, 1), (pixels + epsilon).clamp(0, 1)
        at = (pixels + epsilon * (2 * torch.rand_like(pixels) - 1)).clamp(low, high)
        for _ in range(steps):
            at.requires_grad_(True)
            value = loss(network, (at, *targets))
            value = value[0] if isinstance(value, tuple) else value
            (gradient,) = torch.autograd.grad(value, at)
            at = (at.detach() + epsilon / 2 * gradient.sign()).clamp(low, high)
        network.train(was)
        return loss(network, (at.detach(), *targets))

    return hardest
