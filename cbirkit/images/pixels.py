"""Pixels of any kind as RGB in sRGB, uint8: arrays, and PIL images of every mode and colour space."""

import io
import logging
import struct
from functools import lru_cache, partial

import numpy as np
from PIL import Image, ImageCms

log = logging.getLogger(__name__)

_STRIP = 1 << 20  # pixels converted at a time
# Grey levels for what is transparent, the first of equally good ones is taken; how far is lost on them.
_GROUNDS, _NEAR = (255, 0, 128, 192, 64), 15
ORIENTATION = 0x0112  # tag of EXIF
SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange width and height
_AS_STORED = {  # of upright pixels, a view of them as they are stored
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1], 5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[::-1], 7: lambda a: a[::-1, ::-1].swapaxes(0, 1), 8: lambda a: a.swapaxes(0, 1)[:, ::-1],
}  # fmt: skip
# Bad metadata, good pixels.
BAD_METADATA = (OSError, ValueError, SyntaxError, TypeError, KeyError, AttributeError, struct.error)
_PROFILE_BYTES = 4 << 20  # limit of an ICC profile
_SAME = 2  # grey levels by which a profile may differ from sRGB and still count as sRGB
_D65, _SRGB = (0.3127, 0.329), (0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
_ADOBE = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


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


@lru_cache(maxsize=10_000)  # a file is read many times and noted once
def note(name, text):
    log.warning("%s: %s", name, text)


# ---------------------------------------------------------------------- arrays


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
    try:
        pixels = np.asarray(array)
    except Exception as error:  # of whatever library the array is
        raise ImageProblem("array", f"cannot be made a NumPy array ({error})") from error
    if np.ma.is_masked(array):
        raise ImageProblem("array", "has masked pixels; give them a value with array.filled()")
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        first = pixels.shape[0] if pixels.ndim else 0
        hint = "; it looks channel-first: use array.transpose(1, 2, 0)" * (first in (1, 3, 4))
        raise ImageProblem(
            "array", f"expected shape (h, w), (h, w, 3) or (h, w, 4), got {np.shape(array)}{hint}"
        )
    if pixels.size == 0:
        raise ImageProblem("array", f"has no pixels: its shape is {np.shape(array)}")
    pixels = _to_bytes(pixels)
    if pixels.shape[2] == 4:
        return converted(Image.fromarray(np.ascontiguousarray(pixels)))
    return np.ascontiguousarray(np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels)


def _to_bytes(pixels):
    """Scale values of any supported type to uint8."""
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind not in "biuf":
        raise ImageProblem("array", f"expected numbers, got dtype {pixels.dtype}")
    top = {"b": 1, "f": 1}.get(pixels.dtype.kind, 65535 if pixels.dtype == np.uint16 else 255)
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high <= top):  # also catches NaN
        raise ImageProblem("array", f"values must lie in 0..{top}, got {low} to {high}; rescale it")
    if top == 255:
        return pixels.astype(np.uint8)
    rows = max(1, _STRIP // pixels[0].size)
    blocks = (pixels[start : start + rows] for start in range(0, len(pixels), rows))
    return np.concatenate([_levels(block, 0, top) for block in blocks])


def _levels(values, low, high):
    """Values from `low` to `high` as grey levels, uint8; what lies beyond is clipped, and NaN is black."""
    values = np.clip(np.asarray(values, np.float32), min(low, high), max(low, high))
    values = (values - np.float32(low)) * np.float32(255 / (high - low))
    return (np.nan_to_num(values) + np.float32(0.5)).astype(np.uint8)


# ---------------------------------------------------------------------- PIL images


def converted(image, name="image", turn=1):
    """A loaded PIL image of any mode as RGB (h, w, 3) uint8, turned; strip by strip, so that memory stays low."""
    try:
        profile = _profile_of(image)
    except BAD_METADATA:
        profile = None
    to_levels = _numbers_to_levels(image, name)
    ground = _ground(image, to_levels)
    width, height = image.size
    out = np.empty((width, height, 3) if turn in SIDEWAYS else (height, width, 3), np.uint8)
    view = _AS_STORED[turn](out)  # (h, w, 3), as the strips come
    for row, strip in _strips(image):
        colours, alpha = _layers(strip, to_levels)
        pixels = _to_srgb(colours, profile)
        if ground is not None:
            behind = Image.new("RGB", strip.size, (ground,) * 3)
            pixels = Image.composite(pixels, behind, alpha)
        view[row : row + strip.size[1]] = np.asarray(pixels)
    return out


def _strips(image):
    """Cut a PIL image into strips of full width: (row, strip); a small one stays whole."""
    width, height = image.size
    step = max(1, _STRIP // width)
    if step >= height:
        yield 0, image
    else:
        for row in range(0, height, step):
            yield row, image.crop((0, row, width, min(row + step, height)))


def _has_alpha(image):
    names_clear = image.mode in ("1", "L", "RGB", "P", "I;16", "I;16B")
    clear = names_clear and image.info.get("transparency") is not None
    return clear or image.mode in ("LA", "La", "PA", "RGBA", "RGBa")


def _layers(image, to_levels):
    """The colours of a PIL image (L, RGB, CMYK or another mode without alpha) and its alpha (L), None without one."""
    mode, has_alpha = image.mode, _has_alpha(image)
    if to_levels is not None:
        colours, alpha = Image.fromarray(to_levels(np.asarray(image))), None
        if has_alpha:
            opaque = np.asarray(image) != image.info["transparency"]
            alpha = Image.fromarray(opaque.astype(np.uint8) * 255)
        return colours, alpha
    if not has_alpha:
        plain = {"1": "L", "P": "RGB", "RGBX": "RGB"}
        return _in_mode(image, plain.get(mode, mode)), None
    if mode in ("LA", "La"):
        return _in_mode(image, "LA").split()
    *colours, alpha = _in_mode(image, "RGBA").split()
    return Image.merge("RGB", colours), alpha


def _in_mode(image, mode):
    return image if image.mode == mode else image.convert(mode)


def _ground(image, to_levels):
    """The grey level on which the transparent parts of a PIL image are laid: None if there are none.

    White; but where a tenth of what can be seen is nearly white, and would be lost: the one of five to which least is near.
    """
    if not _has_alpha(image):
        return None
    levels, least, most = np.zeros(256, np.int64), 255, 0
    for _, strip in _strips(image):
        colours, alpha = _layers(strip, to_levels)
        low, high = alpha.getextrema()
        least, most = min(low, least), max(high, most)
        levels += _in_mode(colours, "L").histogram(alpha)
    # in a BMP, an alpha of nothing is a field that nobody has filled
    if least == 255 or (most == 0 and image.format in ("BMP", "DIB")):
        return None
    near = {g: levels[max(0, g - _NEAR) : g + _NEAR + 1].sum() for g in _GROUNDS}
    return 255 if 10 * near[255] <= levels.sum() else min(near, key=near.get)


def _numbers_to_levels(image, name):
    """For an image of numbers beyond 8 bits: what turns an array of them into grey levels; else None."""
    tags = image.tag_v2 if image.format == "TIFF" else {}
    if image.mode == "F":
        low, high = _range(image)
        if (low, high) != (0, 1):
            note(name, f"values from {low:g} to {high:g} are shown as black to white")
    elif image.mode.startswith("I"):
        low, high = 0, 2 ** min(16, *_tuple(tags.get(258, 16))) - 1
        if image.mode == "I" and not image.format:
            least, most = image.getextrema()
            if least < 0 or most > 65535:
                raise ImageProblem(name, f"integers must lie in 0..65535, got {least} to {most}")
            high = 255 if most < 256 else 65535
    else:
        return None
    low, high = (high, low) if tags.get(262) == 0 else (low, high)  # white is zero
    return partial(_levels, low=low, high=high)


def _tuple(value):
    return value if isinstance(value, tuple) else (value,)


def _range(image):
    """The values of a float image that are black and white.

    0 and 1 where all lie between; else 0, or the lowest, and the first of 1, 255 and 65535 that is less than twice the
    highest, or that. A lowest or highest value far from all others is taken for a sign that there are no data.
    """

    def extent(above, below):
        arrays = (np.asarray(strip) for _, strip in _strips(image))
        inside = (v[np.isfinite(v) & (v > above) & (v < below)] for v in arrays)
        ends = [(float(v.min()), float(v.max())) for v in inside if v.size]
        return (min(low for low, _ in ends), max(high for _, high in ends)) if ends else None

    if (found := extent(-np.inf, np.inf)) is None:
        raise ImageProblem("image", "has no finite values")
    low, high = found
    if 0 <= low and high <= 1:
        return 0, 1
    inner_low, inner_high = extent(low, high) or found
    if (far := 10 * (inner_high - inner_low)) > 0:
        low = inner_low if inner_low - low > far else low
        high = inner_high if high - inner_high > far else high
    low = min(low, 0.0)
    usual = (white for white in (1, 255, 65535) if high <= white < 2 * high)
    return low, float(next(usual, max(high, low + 1)))


# ---------------------------------------------------------------------- colours


def _profile_of(image):
    """What the colours of an opened PIL image mean: an ICC profile (bytes), (white, primaries, gamma), or None for sRGB.

    An embedded profile comes first; then Adobe RGB by EXIF (interoperability index R03); then, unless the file says
    sRGB, the chunks gAMA and cHRM of a PNG. A gamma of 1/2.2 stands for the curve of sRGB (None), as is the custom.
    """
    if profile := image.info.get("icc_profile"):
        return profile
    exif = image.getexif()
    details = exif.get_ifd(0x8769) if 0x8769 in exif else {}
    space = exif.get_ifd(0xA005).get(1, "") if 0xA005 in details else ""
    if details.get(0xA001) in (2, 0xFFFF) and str(space).startswith("R03"):
        return _D65, _ADOBE, 2.2
    if (gamma := image.info.get("gamma")) and "srgb" not in image.info:
        x, y, *primaries = image.info.get("chromaticity") or (*_D65, *_SRGB)
        return (x, y), tuple(primaries), None if abs(gamma - 1 / 2.2) < 0.01 else 1 / gamma
    return None


def _to_srgb(image, profile):
    """A PIL image without alpha as RGB in sRGB; a profile that is broken, or of another kind of image, counts as none."""
    if isinstance(profile, tuple):
        matrix, image = _matrix(*profile), _in_mode(image, "RGB")
        return image if matrix is None else _by_matrix(image, matrix, profile[2])
    transform = profile and _transform(profile)
    mode = transform.input_mode if transform else ""
    fits = mode == image.mode or (mode == "RGB" and image.mode != "CMYK")
    return (
        ImageCms.applyTransform(_in_mode(image, mode), transform)
        if fits
        else _in_mode(image, "RGB")
    )


@lru_cache(maxsize=32)
def _transform(profile):
    """The transform from an ICC profile to sRGB, or None where there is nothing to do."""
    try:
        if len(profile) > _PROFILE_BYTES:
            raise ValueError(f"{len(profile) / 1e6:.0f} MB")
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        mode = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}.get(space)
        if mode is None:
            return None
        intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
        target = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, target, mode, "RGB", intent, flags)
        colours = _sample().convert(mode)
        changed = np.asarray(ImageCms.applyTransform(colours, transform), np.int16)
        same = np.abs(changed - np.asarray(colours.convert("RGB"))).max() <= _SAME
        return None if same else transform
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError) as error:
        log.warning("an embedded colour profile is broken (%s); sRGB is taken instead", error)
        return None


def _sample():
    """An image of 9 x 9 x 9 colours."""
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3))


@lru_cache(maxsize=32)
def _matrix(white, primaries, gamma):
    """From linear light of these primaries (x, y of red, green, blue) to that of sRGB, (3, 3).

    The white point is adapted by Bradford's method, as ICC.1:2010, annex E, asks for. None for sRGB itself, and for
    values that no colours can have.
    """
    try:
        matrix = np.linalg.solve(_to_cones(_D65, _SRGB), _to_cones(white, primaries))
    except (np.linalg.LinAlgError, ValueError):
        return None
    same = gamma is None and np.allclose(matrix, np.eye(3), atol=2e-3)
    possible = np.abs(matrix).max() < 8 and 0.1 < (gamma or 1) < 10
    return matrix if possible and not same else None


def _to_cones(white, primaries):
    """From linear light to what the eye's cones see, where white is (1, 1, 1): (3, 3)."""
    x, y = np.array([white, *zip(primaries[::2], primaries[1::2], strict=True)], float).T
    if not (np.isfinite(x + y).all() and (y > 1e-3).all()):
        raise ValueError("no such colours")
    xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y])  # (3, white and primaries)
    rgb = xyz[:, 1:] * np.linalg.solve(xyz[:, 1:], xyz[:, 0])
    return _BRADFORD @ rgb / (_BRADFORD @ xyz[:, :1])


def _by_matrix(image, matrix, gamma):
    """An RGB image of other primaries and gamma (None: the curve of sRGB) as sRGB."""
    levels = np.linspace(0, 1, 256, dtype=np.float32)
    curve = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    light = (curve if gamma is None else levels**gamma).astype(np.float32)[np.asarray(image)]
    light = np.clip(light @ matrix.T.astype(np.float32), 0, 1)
    seen = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return Image.fromarray((seen * 255 + 0.5).astype(np.uint8))
