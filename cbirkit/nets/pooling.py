"""From feature maps (n, c, h, w) to vectors (n, c): SPoC (average), MAC (maximum), GeM, R-MAC, CroW, and a mean with given weights.

None of them normalises its result.
"""

from torch.nn.functional import normalize


def spoc_pool(maps):
    """Mean over positions (n, c, h, w) -> (n, c): the sum-pooled "SPoC" descriptor without its centre weights.

    References
    ----------
    Babenko and Lempitsky, "Aggregating deep convolutional features for image retrieval", ICCV 2015, arXiv 1510.07493.

    Examples
    --------
    >>> import torch
    >>> spoc_pool(torch.tensor([[[[1.0, 3.0]]]]))
    tensor([[2.]])
    """
    return maps.mean(dim=(-2, -1))


def mac_pool(maps):
    """Maximum over positions (n, c, h, w) -> (n, c): "maximum activations of convolutions", MAC.

    References
    ----------
    As in `rmac_pool`.

    Examples
    --------
    >>> import torch
    >>> mac_pool(torch.tensor([[[[1.0, 3.0]]]]))
    tensor([[3.]])
    """
    return maps.amax(dim=(-2, -1))


def gem_pool(maps, p=3.0, eps=1e-6):
    """Generalised mean over positions: ``(mean of x^p)^(1/p)``, (n, c, h, w) -> (n, c).

    p = 1 is the average of maps without negative values, p towards infinity the maximum.

    Parameters
    ----------
    maps : tensor (n, c, h, w)
    p : float or tensor
        Positive. The powers are taken of ``x / max``, so that a large p does not overflow.
    eps : float
        Smaller values, negative ones too, count as `eps`.

    References
    ----------
    Radenovic, Tolias and Chum, "Fine-tuning CNN image retrieval with no human annotation", TPAMI 2018, arXiv 1711.02512.

    Examples
    --------
    >>> import torch
    >>> gem_pool(torch.tensor([[[[1.0, 3.0]]]]), p=1.0)
    tensor([[2.]])
    """
    maps = maps.clamp(min=eps)
    # a constant to autograd: the result does not depend on it
    top = maps.amax(dim=(-2, -1), keepdim=True).detach()
    return (maps / top).pow(p).mean(dim=(-2, -1)).pow(1 / p) * top[..., 0, 0]


def rmac_pool(maps, levels=3):
    """Regional maximum activations: each of `rmac_regions` max-pooled, L2-normalised, and all summed; (n, c, h, w) -> (n, c).

    References
    ----------
    Tolias, Sicre and Jegou, "Particular object retrieval with integral max-pooling of CNN activations", ICLR 2016,
    arXiv 1511.05879. There the regions' vectors are also PCA-whitened before the sum; here they are not.

    Examples
    --------
    >>> import torch
    >>> rmac_pool(torch.tensor([[[[3.0]], [[4.0]]]]), levels=1)  # one position, one region
    tensor([[0.6000, 0.8000]])
    """
    return sum(
        normalize(mac_pool(maps[..., top : top + side, left : left + side]), dim=-1)
        for top, left, side in rmac_regions(*maps.shape[-2:], levels)
    )


def rmac_regions(height, width, levels=3):
    """Square regions (top, left, side) of a map, in positions of it.

    At level l they have the side ``2 min(h, w) / (l + 1)``, rounded down, and stand l to the shorter side and l + m to the longer
    one, evenly spread; m is the number in 0..6 that brings the overlap of the large regions of level 1 nearest to 40 %.

    Raises
    ------
    ValueError
        `levels` is less than 1.

    Examples
    --------
    >>> rmac_regions(4, 4, levels=2)
    [(0, 0, 4), (0, 0, 2), (0, 2, 2), (2, 0, 2), (2, 2, 2)]
    """
    if levels < 1:
        raise ValueError(f"levels={levels} must be 1 or more; 3 is usual")
    short, long = sorted((height, width))
    extra = 0
    if long > short:  # neighbours among m + 1 regions lie (long - short) / m apart
        extra = min(range(1, 7), key=lambda m: abs(1 - (long - short) / m / short - 0.4))
    regions = []
    for level in range(1, levels + 1):
        side = max(1, 2 * short // (level + 1))
        tops = _starts(height, side, level + (extra if height > width else 0))
        lefts = _starts(width, side, level + (extra if width > height else 0))
        regions += [(top, left, side) for top in tops for left in lefts]
    return regions


def _starts(length, side, number):
    """Where `number` segments of `side` begin so that they spread evenly over `length`."""
    gap = (length - side) / max(1, number - 1)
    return [int(gap * i) for i in range(number)]


def attention_pool(maps, weights):
    """Mean over positions with weights of each image, (n, c, h, w) and (n, h, w) -> (n, c).

    Parameters
    ----------
    maps : tensor (n, c, h, w)
    weights : tensor (n, h, w)
        Not below 0, and above 0 somewhere in each image; divided by their sum here.

    Raises
    ------
    ValueError
        The weights have another shape.

    References
    ----------
    Noh, Araujo, Sim, Weyand and Han, "Large-scale image retrieval with attentive deep local features", ICCV 2017,
    arXiv 1612.06321. There the weighted sum is not divided by the sum of the weights, which a cosine does not see.

    Examples
    --------
    >>> import torch
    >>> attention_pool(torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[1.0, 3.0]]]))
    tensor([[2.5000]])
    """
    if weights.shape != (len(maps), *maps.shape[-2:]):
        raise ValueError(
            f"weights have the shape {tuple(weights.shape)}; maps of shape {tuple(maps.shape)} need one for each position, (n, h, w)"
        )
    weights = weights / weights.sum(dim=(-2, -1), keepdim=True)
    return (maps * weights[:, None]).sum(dim=(-2, -1))


def crow_pool(maps, *, spatial=True, channel=True):
    """Cross-dimensional weighting, (n, c, h, w) -> (n, c): positions by what fires there, channels by how rarely they fire.

    With the values below 0 set to 0, S the sum over channels and Q_k the fraction of positions where channel k is above 0, the
    weight of a position is ``sqrt(S / ||S||)``, that of a channel ``log(sum of all Q / Q_k)``, 0 where Q_k is 0.

    Parameters
    ----------
    maps : tensor (n, c, h, w)
    spatial, channel : bool
        Leave out one of the two kinds of weights.

    References
    ----------
    Kalantidis, Mellina and Osindero, "Cross-dimensional weighting for aggregated deep convolutional features", ECCV workshops 2016,
    arXiv 1512.04065.

    Examples
    --------
    >>> import torch
    >>> crow_pool(torch.tensor([[[[3.0, 4.0]], [[0.0, 2.0]]]]), spatial=False)
    tensor([[2.8383, 2.1972]])
    """
    maps = maps.clamp(min=0)
    pooled = maps.sum(dim=(-2, -1))
    if spatial:
        energy = maps.sum(dim=1, keepdim=True)  # (n, 1, h, w)
        pooled = (maps * normalize(energy.flatten(1)).view_as(energy).sqrt()).sum(dim=(-2, -1))
    if channel:
        firing = (maps > 0).float().mean(dim=(-2, -1))  # (n, c)
        rarity = firing.sum(dim=1, keepdim=True) / firing.clamp(min=1e-12)
        pooled = pooled * rarity.where(firing > 0, 1).log()
    return pooled


POOLINGS = {"average": spoc_pool, "max": mac_pool, "gem": gem_pool, "rmac": rmac_pool}
