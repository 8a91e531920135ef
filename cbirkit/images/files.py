"""Turn one untrusted image (file, bytes, PIL image, array) into RGB uint8 pixels, or say why it cannot be used."""

import ctypes
import io
import logging
import os
import struct
import threading
import warnings
from contextlib import contextmanager, suppress
from functools import lru_cache, partial

import numpy as np
from PIL import Image

from .colour import profile_of, to_srgb
from .unread import (
    RAW,
    UNREAD,
    first_bytes,
    image_kind,
    reason_by_name,
    reason_by_start,
    reason_by_status,
)

log = logging.getLogger(__name__)

MAX_PIXELS = (
    80_000_000  # below Pillow's own warning at 89 million; a 50-megapixel photograph passes
)
PIXELS_AT_ONCE = (
    80_000_000  # decoded at the same time by all threads together, at about 8 bytes each
)
# Only these decoders are let near a file: Pillow knows others (EPS, say) that start programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM")
_PYTHON_PIXELS = 2_000_000  # limit of files whose decoder in Pillow is a loop in Python
_STRIP = 1 << 20  # pixels converted at a time
_OPEN_BYTES = 64 << 20  # a header may take so many bytes, the pixels as many and _PIXEL_BYTES each
_PIXEL_BYTES = 32
_WHOLE_BYTES = 256 << 20  # limit of files that their decoder takes whole
_BLOCK = 4 << 20  # most bytes handed to a decoder at a time
_MOST_SCANS = 100  # of a progressive JPEG; usual are ten, and each takes as long as all pixels
_GROUNDS, _NEAR = (
    (255, 0, 128, 192, 64),
    15,
)  # grey levels, the first of equally good ones is taken; how far is lost on them
_ORIENTATION = 0x0112  # tag of EXIF
_STORED = (5, 6, 7, 8)  # orientations that exchange width and height
_TURNS = {  # what makes pixels that are stored so upright
    2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1], 5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1], 7: lambda a: a[::-1, ::-1].swapaxes(0, 1), 8: lambda a: a.swapaxes(0, 1)[::-1],
}  # fmt: skip
# Blocks of 16 MB, Pillow's default, stay with the thread that freed them; those beyond 32 MB go back to the system at once.
Image.core.set_block_size(64 << 20)
# Damaged files make Pillow warn of each wrong tag; what is wrong with them is told as an ImageProblem.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.\w+Plugin$")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
with suppress(
    OSError, AttributeError, TypeError
):  # and Pillow's libtiff writes to the process's stderr
    ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)


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
        RGB in sRGB: embedded ICC profiles are converted (relative colorimetric), and so are Adobe RGB by EXIF and gAMA and cHRM
        of a PNG; a broken profile counts as none. Transparent parts lie on white, or, where a tenth of what can be seen
        is nearly white, on black or a grey that is rare in it. 16-bit values are divided by 257, where white is zero they are inverted; floats are
        shown from 0 to the first of 1, 255 and 65535 that is less than twice the highest value, or that.

    Raises
    ------
    ImageProblem
        The image is missing, empty, truncated, too large, of an unknown format, or its samples have no certain meaning
        (signed, 32-bit integers); the file is a FIFO, socket or device, or larger than a picture of its size can be.

    Notes
    -----
    A JPEG file that only lacks its end marker is read, and a warning is logged. All threads together decode at most
    `PIXELS_AT_ONCE` pixels at a time, or a single larger image.

    Examples
    --------
    >>> read_image(np.zeros((4, 5))).shape
    (4, 5, 3)
    """
    if isinstance(source, Image.Image):
        return _to_pixels(source, "PIL image", max_pixels, upright)
    if _is_file(source):
        return _read(source, max_pixels, upright)
    return to_rgb(source)


def read_thumbnail(source, size, *, max_pixels=MAX_PIXELS, upright=True):
    """Read a file small: as `read_image`, scaled so that its longer side is at most `size` pixels.

    JPEG files are decoded at a reduced scale, which is several times faster.

    Returns
    -------
    ndarray of shape (h, w, 3), uint8
    """
    with DECODING.kept():  # keeps at least this size; other formats ignore it
        return shrink(_read(source, max_pixels, upright, draft=("RGB", (2 * size, 2 * size))), size)


def read_stored(path, *, max_pixels=MAX_PIXELS):
    """Read a mask file (PNG, TIFF, BMP, GIF) as it is stored: (h, w) of bool or class numbers."""
    with _open(path, formats=("PNG", "TIFF", "BMP", "GIF")) as image:
        return _to_pixels(image, _name_of(path), max_pixels, decode=np.asarray)


def size_in_head(source):
    """Width and height of an image file, upright, without decoding it; ImageProblem if it cannot be opened."""
    with _open(source) as image:
        try:
            turned = (
                image.format != "TIFF"
                and image.info.get("exif")
                and image.getexif().get(_ORIENTATION) in _STORED
            )
        except _BAD_METADATA:
            turned = False
        return image.size[::-1] if turned else image.size


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
    try:
        pixels = np.asarray(array)
    except Exception as error:  # of whatever library the array is
        raise ImageProblem("array", f"cannot be made a NumPy array ({error})") from error
    if np.ma.is_masked(array):
        raise ImageProblem("array", "has masked pixels; give them a value with array.filled()")
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        hint = (
            "; it looks channel-first: use array.transpose(1, 2, 0)"
            if pixels.shape[:1] in ((1,), (3,), (4,))
            else ""
        )
        raise ImageProblem(
            "array", f"expected shape (h, w), (h, w, 3) or (h, w, 4), got {np.shape(array)}{hint}"
        )
    if pixels.size == 0:
        raise ImageProblem("array", f"has no pixels: its shape is {np.shape(array)}")
    pixels = _to_bytes(pixels)
    if pixels.shape[2] == 4:
        return _converted(Image.fromarray(np.ascontiguousarray(pixels)))
    if pixels.shape[2] == 1:  # (h, w, 1) -> (h, w, 3)
        pixels = np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels)


def _to_bytes(pixels):
    """Scale values of any supported type to uint8."""
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    if pixels.dtype.kind not in "iuf":
        raise ImageProblem("array", f"expected numbers, got dtype {pixels.dtype}")
    top = {"f": 1, "u": 65535 if pixels.dtype == np.uint16 else 255, "i": 255}[pixels.dtype.kind]
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high <= top):  # also catches NaN
        raise ImageProblem(
            "array",
            f"{pixels.dtype} values must lie in 0..{top}, got {low} to {high}; rescale it first",
        )
    if top == 255:
        return pixels.astype(np.uint8)
    scaled = np.empty(pixels.shape, np.uint8)
    step = max(1, _STRIP // pixels[0].size)
    for start in range(0, len(pixels), step):
        scaled[start : start + step] = _levels(pixels[start : start + step], 0, top)
    return scaled


def _levels(values, low, high):
    """Values from `low` to `high` as grey levels, uint8; what lies beyond is clipped, and NaN is black."""
    values = np.clip(np.asarray(values, np.float32), min(low, high), max(low, high))
    return (
        np.nan_to_num((values - np.float32(low)) * np.float32(255 / (high - low))) + np.float32(0.5)
    ).astype(np.uint8)


# ---------------------------------------------------------------------- from a file to an opened PIL image


def _is_file(source):
    return isinstance(source, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(
        source, "read"
    )


def _name_of(source):
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return getattr(source, "name", None) or "image bytes"


@lru_cache(maxsize=10_000)  # a file is read many times and noted once
def _note(name, text):
    log.warning("%s: %s", name, text)


class _Metered:
    """A file that gives a decoder no more bytes than a picture of its size can need, so that time and memory are bounded."""

    left, least, scans = _OPEN_BYTES, 512, None

    def read(self, size=-1):
        if size is None or size < 0:
            data = super().read(_WHOLE_BYTES + 1)
            if len(data) > _WHOLE_BYTES:
                raise ImageProblem(
                    "file", f"is too large a file of its format (limit {_WHOLE_BYTES / 1e6:.0f} MB)"
                )
            return data
        data = super().read(min(size, _BLOCK))
        self.left -= max(len(data), self.least)
        if self.scans is not None:
            self.scans += data.count(b"\xff\xda")
        if self.left < 0 or (self.scans or 0) > _MOST_SCANS:
            raise ImageProblem("file", "takes far more data than a picture of its size")
        return data


class _File(_Metered, io.BufferedReader):
    pass


class _Bytes(_Metered, io.BytesIO):
    pass


def open_file(path):
    """A file opened for reading, as `io.BufferedReader`; ImageProblem if it is special, empty, too large or not there."""
    name = os.fspath(path)
    try:
        if reason := reason_by_status(os.stat(path)):
            raise ImageProblem(name, reason)
        return _File(io.FileIO(path))
    except FileNotFoundError:
        raise ImageProblem(name, "no such file") from None
    except PermissionError:
        raise ImageProblem(name, "may not be read (permission denied)") from None
    except (OSError, ValueError) as error:  # a name with a null byte, say, is a ValueError
        if isinstance(error, ImageProblem):
            raise
        raise ImageProblem(
            name, f"cannot be read ({getattr(error, 'strerror', None) or error})"
        ) from error


def _bytes_of(source):
    if hasattr(source, "read"):
        if hasattr(source, "seek"):
            source.seek(0)
        source = source.read(_WHOLE_BYTES + 1)
        if isinstance(source, str):
            raise ImageProblem("file object", 'gives text; open the file with "rb"')
        if len(source) > _WHOLE_BYTES:
            raise ImageProblem(
                "file object",
                f"gives more than {_WHOLE_BYTES / 1e6:.0f} MB; give the path of the file",
            )
    return _Bytes(source)


@contextmanager
def _open(source, formats=_FORMATS):
    """Open an image without decoding it."""
    name = _name_of(source)
    is_path = isinstance(source, str | os.PathLike)
    if is_path and UNREAD.get(os.path.splitext(name)[1].lower()) == RAW:
        raise ImageProblem(
            name, reason_by_name(name)
        )  # what Pillow can read of it is a small preview
    with open_file(source) if is_path else _bytes_of(source) as file:
        try:
            image = Image.open(file, formats=formats)
        except Image.DecompressionBombError:
            raise ImageProblem(
                name, f"is too large (limit {MAX_PIXELS / 1e6:.0f} megapixels); scale it down"
            ) from None
        except ImageProblem as problem:
            raise ImageProblem(name, problem.reason) from None
        except Exception as error:  # decoders meet hostile bytes and raise whatever they like
            raise ImageProblem(name, _reason_not_opened(file, error)) from error
        yield image


def _reason_not_opened(file, error):
    if file.seek(0, io.SEEK_END) == 0:
        return "empty file"
    head = first_bytes(file)
    if kind := image_kind(head):
        return f"a {kind} file of a kind that is not read, or damaged at its start ({type(error).__name__})"
    return (
        reason_by_start(head)
        or f"not an image of a known format, or damaged at its start ({type(error).__name__})"
    )


# ---------------------------------------------------------------------- from an opened image to pixels


class _Decoding:
    """Lets threads decode at the same time, but no more than so many pixels together; a single larger image may.

    Inside ``with gate.kept()`` a thread keeps its share until the block ends: what it made of the pixels is in memory too.
    """

    def __init__(self, pixels):
        self.pixels, self.taken, self.most = pixels, 0, 0
        self._free, self._mine = threading.Condition(), threading.local()

    @contextmanager
    def kept(self):
        if getattr(self._mine, "pixels", None) is not None:
            yield
            return
        self._mine.pixels = 0
        try:
            yield
        finally:
            with self._free:
                self.taken -= self._mine.pixels
                self._free.notify_all()
            self._mine.pixels = None

    def take(self, pixels):
        """Wait until so many pixels may be decoded; a thread that has a share already does not wait, so none waits for ever."""
        with self._free:
            if not self._mine.pixels:
                self._free.wait_for(lambda: not self.taken or self.taken + pixels <= self.pixels)
            self.taken += pixels
            self._mine.pixels += pixels
            self.most = max(self.most, self.taken)


DECODING = _Decoding(PIXELS_AT_ONCE)


def _read(source, max_pixels, upright, draft=None):
    """Decode a file; a JPEG that only lacks its end marker counts as whole."""
    name = _name_of(source)
    if hasattr(source, "read"):
        source = _bytes_of(source).getvalue()
    with _open(source) as image:
        file = image.fp
        image.draft(*draft) if draft else None
        try:
            return _to_pixels(image, name, max_pixels, upright)
        except ImageProblem as problem:
            if problem.reason != "truncated file" or image.format not in ("JPEG", "MPO"):
                raise
        file.seek(0)
        data = file.getvalue() if isinstance(file, _Bytes) else io.BufferedReader.read(file)
    # Where a decoder needs more data, what it makes depends on what comes next: with nothing missing both are equal.
    whole = [
        data.rstrip(b"\xff") + filling + b"\xff\xd9" for filling in (b"", bytes(range(1, 255)))
    ]
    first, second = (_read(one, max_pixels, upright, draft) for one in whole)
    if not np.array_equal(first, second):
        raise ImageProblem(name, "truncated file")
    _note(name, "the end marker of this JPEG file is missing; all pixels are there")
    return first


def _to_pixels(image, name, max_pixels, upright=True, decode=None):
    """Decode an opened PIL image to RGB (h, w, 3) uint8, or to what `decode` makes of it."""
    width, height = image.size
    if width == 0 or height == 0:
        raise ImageProblem(name, f"has no pixels: it is {width} x {height}")
    if width * height > max_pixels:
        raise ImageProblem(
            name,
            f"is too large: {width} x {height} pixels (limit {max_pixels / 1e6:.0f} megapixels); scale it down",
        )
    try:
        with DECODING.kept():
            DECODING.take(width * height)
            return _decoded(image, name, upright) if decode is None else decode(image)
    except ImageProblem as problem:
        raise ImageProblem(name, problem.reason) from None
    except MemoryError:
        raise ImageProblem(name, f"does not fit into memory: {width} x {height} pixels") from None
    except Exception as error:  # as in _open
        reason = (
            "truncated file"
            if "truncated" in str(error)
            else f"damaged file ({error or type(error).__name__})"
        )
        raise ImageProblem(name, reason) from error


def _decoded(image, name, upright):
    top = _prepare(image)
    turn = (
        _orientation(image) if image.format == "TIFF" else None
    )  # Pillow turns TIFF itself when it loads
    image.load()
    if turn is None:
        turn = {6: 8, 8: 6}.get(found := _orientation(image), found) if upright else 1
    elif upright:
        turn = 1
    return _converted(image, name, turn, top)


def _orientation(image):
    """The EXIF orientation; damaged EXIF data count as none."""
    try:
        turn = image.getexif().get(_ORIENTATION, 1)
        return turn if turn in _TURNS else 1
    except _BAD_METADATA:
        return 1


_BAD_METADATA = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    KeyError,
    AttributeError,
    struct.error,
)  # bad metadata, good pixels


def _prepare(image):
    """Set limits and mend what Pillow leaves undone before it decodes; gives the value that is white, if it is not the usual."""
    tile = image.tile[0] if getattr(image, "tile", None) else None
    pixels = image.size[0] * image.size[1]
    meter, top = getattr(image, "fp", None), None
    if image.format == "TIFF" and tile:
        top = _check_tiff(image, tile)
    if (
        image.format == "PPM"
        and tile
        and tile[0] == "ppm"
        and (tile[3][-1] < 256 or image.mode == "I")
    ):
        image.tile = [("raw", *tile[1:3], ("I;16B" if image.mode == "I" else image.mode, 0, 1))]
        top = tile[3][-1]
    elif tile and tile[0] in Image.DECODERS:
        if pixels > _PYTHON_PIXELS:
            raise ImageProblem("", f"is too large for its kind of {image.format}: {pixels / 1e6:.0f} megapixels "
                                   f"(limit {_PYTHON_PIXELS / 1e6:.0f}); save it as PNG")  # fmt: skip
        if isinstance(meter, _Metered):
            meter.least = _PIXEL_BYTES
    if isinstance(meter, _Metered):
        meter.left = _OPEN_BYTES + _PIXEL_BYTES * pixels
        meter.scans = 0 if image.format in ("JPEG", "MPO") else None
    if image.format == "WEBP":

        def without_decoder():
            image._decoder = None  # holds two more copies of the picture, which has left it by now
            type(image).load_prepare(image)

        image.load_prepare = without_decoder
    clear, raw = image.info.get("transparency"), tile[3] if tile else None
    raw = raw[0] if isinstance(raw, tuple) and raw else raw
    if image.format == "PNG" and isinstance(clear, int | tuple) and isinstance(raw, str):
        # tRNS names a value as stored, Pillow compares it with values of 8 bits
        scale = {"L;2": 85, "L;4": 17, "1": 255}.get(raw, 1)
        to_8 = (lambda v: v >> 8) if raw in ("RGB;16B",) else (lambda v: v * scale)
        image.info["transparency"] = (
            tuple(map(to_8, clear)) if isinstance(clear, tuple) else to_8(clear)
        )
    return top


def _check_tiff(image, tile):
    """Refuse TIFF files whose pixels have no certain meaning; gives the value that is white, if it is not the usual."""
    tags = image.tag_v2
    as_tuple = lambda value: value if isinstance(value, tuple) else (value,)
    kinds, bits = as_tuple(tags.get(339, 1)), as_tuple(tags.get(258, 1))
    if 50706 in tags or (tags.get(254, 0) == 1 and 330 in tags):
        raise ImageProblem("", reason_by_name("a.dng"))
    if set(kinds) & {2, 5, 6} or (set(kinds) & {3} and image.mode != "F"):
        raise ImageProblem(
            "",
            "TIFF of signed or complex samples is not read; their black and white are not known: save it with unsigned ones",
        )
    if image.mode == "I":
        raise ImageProblem(
            "", f"TIFF of {max(bits)}-bit integers is not read; save it with 8 or 16 bits"
        )
    if tags.get(284) == 2 and (
        image.mode in ("LA", "PA") or (max(bits) > 8 and tags.get(259, 1) == 1)
    ):
        raise ImageProblem(
            "",
            "TIFF of separate planes of this kind is not read; save it with all samples of a pixel together",
        )
    if (
        tile[0] == "libtiff" and tile[3][0] == "F;32BF"
    ):  # libtiff gives the order of this machine, not of the file
        image.tile = [(*tile[:3], ("F;32NF", *tile[3][1:]))]
    if tags.get(322, 1) * tags.get(323, 1) > MAX_PIXELS:
        raise ImageProblem("", "damaged file (its tiles are larger than any picture)")
    return 2 ** bits[0] - 1 if image.mode.startswith("I;16") and bits[0] < 16 else None


def _strips(image):
    """Cut a PIL image into strips of full width: (row, strip); a small one stays whole."""
    width, height = image.size
    step = max(1, _STRIP // width)
    if step >= height:
        yield 0, image
    else:
        for row in range(0, height, step):
            yield row, image.crop((0, row, width, min(row + step, height)))


def _converted(image, name="image", turn=1, top=None):
    """A loaded PIL image of any mode as RGB (h, w, 3) uint8, turned; strip by strip, so that memory stays low."""
    try:
        profile = profile_of(image)
    except _BAD_METADATA:
        profile = None
    to_levels = _numbers_to_levels(image, name, top)
    ground = _ground(image, to_levels)
    width, height = image.size
    out = np.empty((width, height, 3) if turn in _STORED else (height, width, 3), np.uint8)
    view = _TURNS[turn](out) if turn != 1 else out  # (h, w, 3), as the strips come
    for row, strip in _strips(image):
        pixels = strip if to_levels is None else Image.fromarray(to_levels(np.asarray(strip)))
        if ground is None:
            pixels = to_srgb(_opaque(pixels), profile)
        else:
            alpha = _alpha(strip)
            pixels = Image.composite(
                to_srgb(_opaque(pixels), profile),
                Image.new("RGB", strip.size, (ground,) * 3),
                alpha,
            )
        view[row : row + strip.size[1]] = np.asarray(pixels)
    return out


def _opaque(image):
    """The colours of a PIL image without its alpha: modes that hold one, or a palette, become RGB or L."""
    image = _straight(image)
    if image.mode in ("LA", "1"):
        return image.convert("L")
    if image.mode in ("L", "RGB", "CMYK") or image.mode not in ("RGBA", "RGBX", "P", "PA"):
        return image
    if "transparency" in image.info:
        image = image.copy()
        del image.info["transparency"]
    return image.convert("RGB")


def _alpha(image):
    """The alpha of a PIL image that has one, as an image of mode L."""
    if image.mode.startswith("I;16"):
        return Image.fromarray(
            np.where(np.asarray(image) == image.info["transparency"], 0, 255).astype(np.uint8)
        )
    image = _straight(image)
    return (image if image.mode in ("RGBA", "LA") else image.convert("RGBA")).getchannel("A")


def _straight(image):
    """A PIL image whose colours are not multiplied by its alpha."""
    return image.convert(image.mode.upper()) if image.mode in ("RGBa", "La") else image


def _ground(image, to_levels):
    """The grey level on which the transparent parts of a PIL image are laid: None if there are none.

    White; but where a tenth of what can be seen is nearly white, and would be lost: the one of five to which least is near.
    """
    clear = image.info.get("transparency") is not None and image.mode in (
        "1",
        "L",
        "RGB",
        "P",
        "I;16",
        "I;16B",
    )
    if not clear and image.mode not in ("LA", "La", "PA", "RGBA", "RGBa"):
        return None
    levels, least, most = np.zeros(256, np.int64), 255, 0
    for _, strip in _strips(image):
        alpha = _alpha(strip)
        low, high = alpha.getextrema()
        least, most = min(low, least), max(high, most)
        if high:
            shown = (
                _opaque(strip)
                if to_levels is None
                else Image.fromarray(to_levels(np.asarray(strip)))
            )
            levels += shown.convert("L").histogram(alpha)
    if least == 255 or (
        most == 0 and image.format in ("BMP", "DIB")
    ):  # there, a field that nobody has filled
        return None
    near = {
        ground: levels[max(0, ground - _NEAR) : ground + _NEAR + 1].sum() for ground in _GROUNDS
    }
    return 255 if 10 * near[255] <= levels.sum() else min(near, key=near.get)


def _numbers_to_levels(image, name, top):
    """For an image of numbers beyond 8 bits: what turns an array of them into grey levels; else None."""
    invert = image.format == "TIFF" and image.tag_v2.get(262) == 0
    if image.mode.startswith("I"):
        low, high = 0, top or 65535
        if image.mode == "I" and not image.format:
            low, high = image.getextrema()
            if low < 0 or high > 65535:
                raise ImageProblem(
                    "", f"integers must lie in 0..255 or 0..65535, got {low} to {high}"
                )
            low, high = 0, 255 if high < 256 else 65535
    elif image.mode == "F":
        low, high = _range(image)
        if (low, high) != (0, 1):
            _note(name, f"values from {low:g} to {high:g} are shown as black to white")
    elif top:
        low, high = 0, top
    else:
        return None
    return partial(_levels, low=high, high=low) if invert else partial(_levels, low=low, high=high)


def _range(image):
    """The values of a float image that are black and white.

    0 and 1 where all lie between; else 0, or the lowest, and the first of 1, 255 and 65535 that is less than twice the
    highest, or that. A lowest or highest value far from all others is taken for a sign that there are no data.
    """

    def extent(low, high):
        arrays = (np.asarray(strip) for _, strip in _strips(image))
        inside = (v[np.isfinite(v) & (v > low) & (v < high)] for v in arrays)
        parts = [(float(v.min()), float(v.max())) for v in inside if v.size]
        return (
            (min(low for low, _ in parts), max(high for _, high in parts))
            if parts
            else (None, None)
        )

    low, high = extent(-np.inf, np.inf)
    if low is None:
        raise ImageProblem("", "has no finite values")
    if 0 <= low and high <= 1:
        return 0, 1
    inner_low, inner_high = extent(low, high)
    if inner_low is not None and (spread := 10 * (inner_high - inner_low)) > 0:
        low, high = (
            inner_low if inner_low - low > spread else low,
            inner_high if high - inner_high > spread else high,
        )
    low = min(float(low), 0.0)
    high = float(
        next((white for white in (1, 255, 65535) if high <= white < 2 * high), max(high, low + 1))
    )
    return low, high
