"""Images as attacks see them: float32 tensors (n, 3, h, w) in [0, 1], with errors for what is none."""

import numbers

import numpy as np

from .._optional import require


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
    return (
        require("torch")
        .from_numpy(np.stack(arrays))
        .permute(0, 3, 1, 2)
        .contiguous()
        .float()
        .div_(255)
    )


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
    """Refuse what are not pixels, with a sentence that says why."""
    torch = require("torch")
    how = "use attacks.to_pixels(images)"
    if not isinstance(pixels, torch.Tensor) or pixels.ndim != 4 or pixels.shape[1] != 3:
        got = tuple(pixels.shape) if hasattr(pixels, "shape") else type(pixels).__name__
        raise ValueError(f"pixels must be a tensor (n, 3, h, w), got {got}; {how}")
    if not len(pixels):
        raise ValueError("there is no image to attack; give at least one")
    if not pixels.is_floating_point() or not bool(((pixels >= 0) & (pixels <= 1)).all()):
        raise ValueError(
            f"pixels must be floats in [0, 1], got {pixels.dtype} from {pixels.min():.3g} to {pixels.max():.3g}; "
            f"do not normalise them, the model does that; {how}"
        )


def check_epsilon(epsilon, norm):
    """Refuse a bound that is no number >= 0, or that was meant in grey levels."""
    if norm not in ("linf", "l2"):
        raise ValueError(f'norm must be "linf" or "l2", got {norm!r}')
    real = isinstance(epsilon, numbers.Real) and not isinstance(epsilon, bool)
    if not real or not 0 <= epsilon < float("inf"):
        raise ValueError(
            f"epsilon must be a number of at least 0, got {epsilon!r}; 8 / 255 is usual"
        )
    if norm == "linf" and epsilon > 1:
        raise ValueError(
            f"epsilon={epsilon:g} is more than all of [0, 1]; for grey levels divide by 255, as in epsilon=8 / 255"
        )


def check_steps(name, value, low=0):
    """Refuse what is no whole number of at least `low`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < low:
        raise ValueError(f"{name} must be a whole number of at least {low}, got {value!r}")
