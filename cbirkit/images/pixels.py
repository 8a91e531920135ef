"""Pixels of any kind as RGB in sRGB, uint8: arrays, and PIL images of every mode and colour space."""

import io
import logging
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

log = logging.getLogger(__name__)

_STRIP = 1 << 20  # pixels converted at a time
# Grey levels for what is transparent, the first of equally good ones is taken; how far is lost on them.
_GROUNDS, _NEAR = (255, 0, 128, 192, 64), 15
_PROFILE_BYTES = 4 << 20  # limit of an ICC profile


class ImageProblem(ValueError):
    """One image that cannot be used.

    Attributes
    ----------
    name : str
        File name or id of the image.
    reason : str
        What is wrong with it, such as ``"truncated file"``.
    """

    def __init__(self, name, reason):
        super().__init__(f"{name}: {reason}")
        self.name = str(name)
        self.reason = reason

    def __reduce__(self):
        return type(self), (self.name, self.reason)


def to_rgb(array):
    """Convert a grey, RGB or RGBA array to RGB uint8.

    Parameters
    ----------
    array : array-like of shape (h, w), (h, w, 1), (h, w, 3) or (h, w, 4)
        bool, uint8, uint16 (divided by 257), other integers in 0..255, or floats in [0, 1] (times 255).

    Returns
    -------
    ndarray of shape (h, w, 3), uint8

    Raises
    ------
    ImageProblem
        The shape or the range of values is none of these.

    Examples
    --------
    >>> to_rgb([[0.0, 1.0]])[0, 1]
    array([255, 255, 255], dtype=uint8)
    """
    pixels = np.asarray(array)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or not pixels.size:
        hint = "; it looks channel-first: use array.transpose(1, 2, 0)"
        hint = hint if pixels.shape[:1] in ((1,), (3,), (4,)) else ""
        shapes = "(h, w), (h, w, 3) or (h, w, 4)"
        raise ImageProblem("array", f"expected shape {shapes}, got {np.shape(array)}{hint}")
    pixels = _to_bytes(pixels)
    if pixels.shape[2] == 4:
        return converted(Image.fromarray(np.ascontiguousarray(pixels)))
    return np.ascontiguousarray(np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels)


def _to_bytes(pixels):
    """Scale values of any supported type to uint8."""
    kind = pixels.dtype.kind
    if pixels.dtype == np.uint8:
        return pixels
    if kind not in "biuf":
        raise ImageProblem("array", f"expected numbers, got dtype {pixels.dtype}")
    top = 1 if kind in "bf" else 65535 if pixels.dtype.str[1:] == "u2" else 255
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high <= top):  # also catches NaN
        raise ImageProblem("array", f"values must lie in 0..{top}, got {low} to {high}; rescale it")
    return pixels.astype(np.uint8) if top == 255 else _levels(pixels, 0, top)


def _levels(values, low, high):
    """Values from `low` to `high` as grey levels, uint8; what lies beyond is clipped, and NaN is black."""
    values = np.clip(np.asarray(values, np.float32), min(low, high), max(low, high))
    values = (values - np.float32(low)) * np.float32(255 / (high - low))
    return (np.nan_to_num(values) + np.float32(0.5)).astype(np.uint8)


# ---------------------------------------------------------------------- PIL images


def converted(image):
    """A loaded PIL image of any mode as RGB (h, w, 3) uint8; strip by strip, so that memory stays low."""
    scale, ground = _scale(image), _ground(image)
    profile = image.info.get("icc_profile") or b""
    transform = _transform(profile) if 0 < len(profile) <= _PROFILE_BYTES else None
    fits = (image.mode,) if image.mode == "CMYK" else (image.mode, "RGB")
    if transform and transform.input_mode not in fits:  # a profile of another kind of image
        transform = None
    out = np.empty((image.height, image.width, 3), np.uint8)
    for row, strip in _strips(image):
        if scale is not None:
            strip = Image.fromarray(_levels(np.asarray(strip), *scale))
        elif image.has_transparency_data:
            strip = strip.convert("RGBA")
            if ground is not None:
                behind = Image.new("RGBA", strip.size, (ground, ground, ground, 255))
                strip = Image.alpha_composite(behind, strip)
        if transform:
            strip = ImageCms.applyTransform(strip.convert(transform.input_mode), transform)
        out[row : row + strip.height] = np.asarray(strip.convert("RGB"))
    return out


def _strips(image):
    """Cut a PIL image into strips of full width: (row, strip)."""
    step = max(1, _STRIP // image.width)
    for row in range(0, image.height, step):
        yield row, image.crop((0, row, image.width, min(row + step, image.height)))


def _ground(image):
    """The grey level on which the transparent parts of a PIL image are laid; None if nothing can be seen otherwise, or all.

    White; but where a tenth of what can be seen is nearly white, and would be lost: the one of five to which least is near.
    """
    levels = np.zeros(256, np.int64)
    if not image.has_transparency_data or image.mode[0] in "IF":
        return None
    for _, strip in _strips(image):
        strip = strip.convert("RGBA")
        levels += strip.convert("L").histogram(strip.getchannel("A"))
    near = {g: levels[max(0, g - _NEAR) : g + _NEAR + 1].sum() for g in _GROUNDS}
    ground = 255 if 10 * near[255] <= levels.sum() else min(near, key=near.get)
    return ground if levels.any() else None


def _scale(image):
    """What is black and what is white in an image of numbers beyond 8 bits; None for any other image.

    Integers of PIL images without a format: 0, and 255 or 65535. Floats: 0, and the first of 1, 255 and 65535 that is less than
    twice the highest, or that; infinite and vast ones stand for no data.
    """
    tags = image.tag_v2 if image.format == "TIFF" else {}
    if image.mode == "F":
        arrays = (np.asarray(strip) for _, strip in _strips(image))
        high = max(float(np.max(v, where=np.abs(v) < 1e9, initial=0)) for v in arrays)
        usual = (white for white in (1, 255, 65535) if high <= white < 2 * high)
        high = next(usual, max(high, 1))
    elif image.mode[0] == "I":
        high = 2 ** min(16, np.max(tags.get(258, 16))) - 1
        if image.mode == "I" and not image.format and image.getextrema()[1] < 256:
            high = 255
    else:
        return None
    return (high, 0) if tags.get(262) == 0 else (0, high)  # white is zero


@lru_cache(maxsize=32)
def _transform(profile):
    """The transform from an ICC profile to sRGB, or None where there is nothing to do."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():  # of nearly every camera
            return None
        mode = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}[source.profile.xcolor_space.strip()]
        target, intent = ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
        return ImageCms.buildTransform(source, target, mode, "RGB", intent, flags)
    except (ImageCms.PyCMSError, LookupError, OSError, ValueError, TypeError) as error:
        log.warning("an embedded colour profile is broken (%s); sRGB is taken instead", error)
        return None
