"""Adversarial training: learn from the images that the network, as it is by now, finds hardest."""

from .._optional import require
from .pixels import check_epsilon, check_steps


def adversarial_loss(loss, *, epsilon=4 / 255, steps=3, step=None):
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
        A training step costs ``steps + 1`` times as much as without; 0 trains on random perturbations.
    step : float, optional
        Default: half of `epsilon`.

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
    check_steps("steps", steps)
    size = epsilon / 2 if step is None else step

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
            at = (at.detach() + size * gradient.sign()).clamp(low, high)
        network.train(was)
        return loss(network, (at.detach(), *targets))

    return hardest
