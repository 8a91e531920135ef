"""Images and encoders as attacks see them: float32 tensors (n, 3, h, w) in [0, 1], and functions of them."""

import functools

import numpy as np

from cbirkit._optional import require
from cbirkit.encoders import Deep


def to_pixels(images):
    """Stack RGB images of one size as pixels in [0, 1].

    Parameters
    ----------
    images : sequence of RGB uint8 arrays (h, w, 3), or ImageCollection

    Returns
    -------
    tensor (n, 3, h, w), float32

    Raises
    ------
    ValueError
        No image, images of several sizes, grey or RGBA ones, or values that are not uint8.

    Examples
    --------
    >>> to_pixels([np.full((2, 2, 3), 51, np.uint8)])[0, :, 0, 0]
    tensor([0.2000, 0.2000, 0.2000])
    """
    arrays = [np.asarray(image) for image in images]
    if not arrays:
        raise ValueError("there is no image to attack; give at least one")
    for array in arrays:
        if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
            raise ValueError(
                f"attacks take RGB uint8 images (h, w, 3), got shape {array.shape}, {array.dtype}; "
                'convert with PIL\'s image.convert("RGB")'
            )
    if len({array.shape for array in arrays}) > 1:
        raise ValueError("the images differ in size; attack those of one size at a time")
    stacked = require("torch").from_numpy(np.stack(arrays))  # (n, h, w, 3)
    return stacked.permute(0, 3, 1, 2).contiguous().float().div_(255)


def to_images(pixels):
    """Round pixels (n, 3, h, w) in [0, 1] to RGB uint8 (n, h, w, 3), as a file would hold them.

    A perturbation of at most k/255 of an image that came from a file is still one after this.

    Examples
    --------
    >>> to_images(to_pixels([np.full((1, 1, 3), 7, np.uint8)])).tolist()
    [[[[7, 7, 7]]]]
    """
    return (pixels.detach().cpu() * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def check_pixels(pixels):
    """Refuse what are not pixels, with a sentence that says why; gives them back."""
    how = "use attacks.to_pixels(images)"
    is_tensor = isinstance(pixels, require("torch").Tensor)
    if not is_tensor or pixels.ndim != 4 or pixels.shape[1] != 3 or not len(pixels):
        got = f"{type(pixels).__name__} of shape {np.shape(pixels)}"
        raise ValueError(
            f"pixels must be a tensor (n, 3, h, w) of at least one image, got {got}; {how}"
        )
    if not pixels.is_floating_point() or not bool(((pixels >= 0) & (pixels <= 1)).all()):
        raise ValueError(
            f"pixels must be floats in [0, 1], got {pixels.dtype} from {pixels.min():.3g} to {pixels.max():.3g}; "
            f"do not normalise them, the model does that; {how}"
        )
    return pixels


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
    from cbirkit.nets.extraction import EmbeddingNet

    if not isinstance(encoder, Deep):
        raise TypeError(
            f"gradients need a Deep encoder, got {type(encoder).__name__}; attack others by score: Square on queryable(encoder)"
        )
    if len(encoder.scales) != 1:
        raise ValueError(
            f"attacks take encoders of one scale, got scales={encoder.scales!r}; use scales=(1.0,)"
        )
    extractor, step = encoder.extractor, encoder.preprocessing.scaled(encoder.scales[0])
    pool = functools.partial(extractor.pool, pooling=encoder.pooling, p=encoder.p)
    model = EmbeddingNet(encoder.network, step, pool).eval().requires_grad_(False)
    return model.to(extractor.device, memory_format=require("torch").channels_last)


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


def embed_pixels(model, pixels, batch_size=64):
    """Embeddings (n, d), float32 array, of pixels (n, 3, h, w); without gradients."""
    torch = require("torch")
    with torch.no_grad():
        parts = [model(chunk).float().cpu() for chunk in pixels.split(batch_size)]
    return torch.cat(parts).numpy()
