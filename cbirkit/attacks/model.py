"""Encoders as functions of pixels: with gradients, or by what they answer."""

from .._optional import require
from ..encoders import Deep
from .pixels import check_pixels, to_images


def attackable(encoder):
    """A deep encoder as a differentiable function of pixels.

    Parameters
    ----------
    encoder : Deep
        With one scale, and a resize other than "pad".

    Returns
    -------
    cbirkit.nets.extraction.EmbeddingNet
        Called with pixels (n, 3, h, w) in [0, 1], of any size, it gives embeddings (n, d) of length 1: those of
        ``encoder.transform``, but for the rounding to whole grey levels after resizing. In eval mode, its weights fixed.

    Raises
    ------
    TypeError
        The encoder has no gradients; attack it by score, with `queryable` and `Square`.
    ValueError
        Several scales, or padding.

    Examples
    --------
    >>> model = attackable(Deep("conv5", weights=None, size=32))
    >>> model(require("torch").rand(2, 3, 40, 40)).shape
    torch.Size([2, 96])
    """
    from ..nets.extraction import EmbeddingNet

    if not isinstance(encoder, Deep):
        raise TypeError(
            f"gradients need a Deep encoder, got {type(encoder).__name__}; attack others by score: Square on queryable(encoder)"
        )
    if len(encoder.scales) != 1:
        raise ValueError(
            f"attacks take encoders of one scale, got scales={encoder.scales!r}; use scales=(1.0,)"
        )
    extractor, pooling, p = encoder.extractor, encoder.pooling, encoder.p

    def pool(output, shape):
        return extractor.pool(output, shape, pooling, p)

    step = encoder.preprocessing.scaled(encoder.scales[0])
    network = encoder.network.requires_grad_(False)
    model = EmbeddingNet(network, step, pool).to(
        extractor.device, memory_format=require("torch").channels_last
    )
    return model.eval().requires_grad_(False)


def queryable(encoder):
    """Any encoder as a function of pixels that answers but gives no gradient: what a stranger can ask of a search engine.

    Pixels are rounded to uint8 first, as in an uploaded file.

    Examples
    --------
    >>> from cbirkit.encoders import ColorHistogram
    >>> queryable(ColorHistogram())(require("torch").rand(1, 3, 8, 8)).ndim
    2
    """

    def answer(pixels):
        torch = require("torch")
        check_pixels(pixels)
        rows = torch.from_numpy(encoder.transform(list(to_images(pixels)))).float()
        return torch.nn.functional.normalize(rows)

    return answer
