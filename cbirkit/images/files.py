"""Turn one untrusted image (file, bytes, PIL image, array) into RGB uint8 pixels, or say why it cannot be used."""

import io
import os
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from .unread import first_bytes, reason_by_start

MAX_PIXELS = 80_000_000  # below Pillow's own warning at 89 million; a 50-megapixel photograph passes
EXTENSIONS = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm")
_ORIENTATION = 0x0112  # tag of EXIF
# Only these decoders are let near a file: Pillow knows others (EPS, say) that start programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM")


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


def read_image(source, *, max_pixels=MAX_PIXELS, upright=True):
    """Read one image as RGB.

    Parameters
    ----------
    source : str, path, bytes, binary file object, PIL image or array
        Files: JPEG, PNG, WebP, TIFF, BMP, GIF (first frame), PPM; grey, palette, CMYK, 16-bit and alpha
        images are converted, and the EXIF orientation is applied. Arrays: see `to_rgb`.
    max_pixels : int
        Larger images are refused before they are decoded (decompression bombs).
    upright : bool, default=True
        Apply the EXIF orientation. Benchmarks whose boxes or published figures refer to the pixels as stored need False.

    Returns
    -------
    ndarray of shape (h, w, 3), uint8
        RGB; transparent parts lie on white; 16-bit values are divided by 257.

    Raises
    ------
    ImageProblem
        The image is missing, empty, truncated, too large or of an unknown format.

    Examples
    --------
    >>> read_image(np.zeros((4, 5))).shape
    (4, 5, 3)
    """
    if isinstance(source, Image.Image):
        return _to_pixels(source, "PIL image", max_pixels, upright)
    if isinstance(source, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(source, "read"):
        with _open(source) as image:
            return _to_pixels(image, _name_of(source), max_pixels, upright)
    return to_rgb(source)


def read_thumbnail(source, size, *, max_pixels=MAX_PIXELS, upright=True):
    """Read a file small: as `read_image`, scaled so that its longer side is at most `size` pixels.

    JPEG files are decoded at a reduced scale, which is several times faster.

    Returns
    -------
    ndarray of shape (h, w, 3), uint8
    """
    with _open(source) as image:
        image.draft("RGB", (2 * size, 2 * size))  # keeps at least this size; other formats ignore it
        pixels = _to_pixels(image, _name_of(source), max_pixels, upright)
    return shrink(pixels, size)


def shrink(pixels, size):
    """Scale an RGB image (h, w, 3) down so that its longer side is at most `size` pixels."""
    if max(pixels.shape[:2]) <= size:
        return pixels
    image = Image.fromarray(pixels)
    image.thumbnail((size, size), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(image)


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
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        hint = "; it looks channel-first: use array.transpose(1, 2, 0)" if pixels.shape[:1] in ((1,), (3,)) else ""
        raise ImageProblem("array", f"expected shape (h, w), (h, w, 3) or (h, w, 4), got {np.shape(array)}{hint}")
    if pixels.size == 0:
        raise ImageProblem("array", f"has no pixels: its shape is {np.shape(array)}")
    pixels = _to_bytes(pixels)
    if pixels.shape[2] == 4:  # (h, w, 4) -> (h, w, 3), on white
        alpha = pixels[:, :, 3:].astype(np.uint16)
        pixels = ((pixels[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    if pixels.shape[2] == 1:  # (h, w, 1) -> (h, w, 3)
        pixels = np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels)


def _to_bytes(pixels):
    """Scale values of any supported type to uint8."""
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    if pixels.dtype == np.uint16:
        return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.dtype.kind not in "iuf":
        raise ImageProblem("array", f"expected numbers, got dtype {pixels.dtype}")
    top = 255 if pixels.dtype.kind in "iu" else 1
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high <= top):  # also catches NaN
        raise ImageProblem("array", f"{pixels.dtype} values must lie in 0..{top}, got {low} to {high}; rescale it first")
    return pixels.astype(np.uint8) if top == 255 else (pixels * 255 + 0.5).astype(np.uint8)


def _name_of(source):
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return getattr(source, "name", None) or "image bytes"


def _open(source):
    """Open an image without decoding it."""
    name = _name_of(source)
    if isinstance(source, bytes | bytearray | memoryview):
        source = io.BytesIO(bytes(source))
    elif isinstance(source, str | os.PathLike):
        source = Path(source)
        if source.is_dir():
            raise ImageProblem(name, "is a folder, not an image; use ImageCollection.from_folder")
    try:
        return Image.open(source, formats=_FORMATS)
    except FileNotFoundError:
        raise ImageProblem(name, "no such file") from None
    except PermissionError:
        raise ImageProblem(name, "may not be read (permission denied)") from None
    except Image.DecompressionBombError:
        raise ImageProblem(name, f"is too large (limit {MAX_PIXELS / 1e6:.0f} megapixels); scale it down") from None
    except Exception as error:  # decoders meet hostile bytes and raise whatever they like
        raise ImageProblem(name, _reason_not_opened(source, error)) from error


def _reason_not_opened(source, error):
    try:
        size = source.stat().st_size if isinstance(source, Path) else source.seek(0, io.SEEK_END)
    except (OSError, AttributeError):
        size = None
    if size == 0:
        return "empty file"
    return reason_by_start(first_bytes(source)) or f"not an image of a known format, or damaged at its start ({type(error).__name__})"


def _to_pixels(image, name, max_pixels, upright=True):
    """Decode an opened PIL image to RGB (h, w, 3) uint8."""
    width, height = image.size
    if width == 0 or height == 0:
        raise ImageProblem(name, f"has no pixels: it is {width} x {height}")
    if width * height > max_pixels:
        raise ImageProblem(name, f"is too large: {width} x {height} pixels (limit {max_pixels / 1e6:.0f} megapixels); scale it down")
    try:
        image.load()
        return np.ascontiguousarray(_mode_to_rgb(_upright(image) if upright else image))
    except ImageProblem as problem:
        raise ImageProblem(name, problem.reason) from None
    except MemoryError:
        raise ImageProblem(name, f"does not fit into memory: {width} x {height} pixels") from None
    except Exception as error:  # as in _open
        reason = "truncated file" if "truncated" in str(error) else f"damaged file ({error or type(error).__name__})"
        raise ImageProblem(name, reason) from error


def _upright(image):
    """Apply the EXIF orientation; damaged EXIF data count as none."""
    try:
        if image.getexif().get(_ORIENTATION, 1) == 1:
            return image  # exif_transpose would copy it
        return ImageOps.exif_transpose(image)
    except (OSError, ValueError, SyntaxError, TypeError, KeyError, struct.error):  # bad metadata, good pixels
        return image


def _mode_to_rgb(image):
    mode = image.mode
    if mode.startswith("I"):  # 16-bit grey; "I" is how some Pillow versions open 16-bit PNG
        return to_rgb(np.clip(np.asarray(image), 0, 65535).astype(np.uint16))
    if mode == "F":
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        low, high = min(values.min(), 0.0), max(values.max(), 1.0)  # stretched only where it leaves [0, 1]
        return to_rgb((values - low) / (high - low))
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return to_rgb(np.asarray(image.convert("RGBA")))
    return np.asarray(image if mode == "RGB" else image.convert("RGB"))  # convert copies
