"""Between the weights before and after fine-tuning."""

import numpy as np

from ..encoders import Deep


def interpolate(before, after, alpha):
    """An encoder with the weights ``(1 - alpha) before + alpha after``, name by name (WiSE-FT).

    Often it keeps most of what fine-tuning gained and loses less of what the encoder could do before. The
    averages and variances of batch normalisation are interpolated like weights; counters are taken from
    `after`.

    Parameters
    ----------
    before, after : Deep
        Of the same architecture: `after` was made from `before`, by `fine_tune` or ``with_state``.
    alpha : float in [0, 1]
        0 gives the weights of `before`, 1 those of `after`, to the bit.

    Returns
    -------
    Deep
        With the other parameters of `before`.

    Raises
    ------
    TypeError, ValueError
        These are not two `Deep` encoders with the same weights' names and shapes, or `alpha` is out of range.

    References
    ----------
    Wortsman et al. (2022), Robust fine-tuning of zero-shot models, CVPR, arXiv 2109.01903.

    Examples
    --------
    >>> from cbirkit.encoders import Deep
    >>> a, b = (Deep("conv5", weights=None, size=16, random_state=seed) for seed in (0, 1))
    >>> half = interpolate(a, b, 0.5)
    >>> name = "blocks.0.0.weight"
    >>> bool(np.allclose(half.state_[name], (a.network.state_dict()[name] + b.network.state_dict()[name]) / 2))
    True
    """
    for name, encoder in (("before", before), ("after", after)):
        if not isinstance(encoder, Deep):
            raise TypeError(
                f"{name} must be a Deep encoder, got a {type(encoder).__name__}; heads and pipelines have no weights in common"
            )
    if (
        isinstance(alpha, bool)
        or not isinstance(alpha, int | float | np.number)
        or not 0 <= alpha <= 1
    ):
        raise ValueError(
            f"alpha must lie between 0 (before) and 1 (after), got {alpha!r}; use 0.5, say"
        )
    first, second = (encoder.network.state_dict() for encoder in (before, after))
    differs = sorted(set(first) ^ set(second)) or [
        name for name in first if first[name].shape != second[name].shape
    ]
    if differs:
        raise ValueError(
            f"the encoders differ in {differs[0]!r}: they are not of one architecture; interpolate one before and after training"
        )
    return before.with_state(
        {name: _between(first[name].cpu(), second[name].cpu(), alpha) for name in first}
    )


def _between(first, second, alpha):
    if alpha == 0:
        return first
    return (
        (1 - alpha) * first + alpha * second if alpha < 1 and first.is_floating_point() else second
    )
