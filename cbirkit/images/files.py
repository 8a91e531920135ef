"""Read untrusted image files (or bytes, PIL images, arrays) as RGB, or say why they cannot be used."""

import ctypes
import io
import os
import re
import stat
import threading
import warnings
from contextlib import contextmanager, suppress

import numpy as np
from PIL import Image, ImageOps

from cbirkit._atomic import reason_of

from .pixels import ImageProblem, converted, to_rgb

# Below Pillow's own warning at 89 million; a 50-megapixel photograph passes.
MAX_PIXELS = 80_000_000
_TOO_LARGE = f"too large, or empty (limit {MAX_PIXELS / 1e6:.0f} megapixels)"
# Decoded at the same time by all threads together, at about 8 bytes each.
PIXELS_AT_ONCE = 80_000_000
# Only these decoders are let near a file: Pillow knows others (EPS, say) that start programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM")
KINDS = "JPEG, PNG, WebP, TIFF, BMP, GIF or PPM"  # the same, as people call them
_PYTHON_PIXELS = 2_000_000  # limit of files whose decoder in Pillow is a loop in Python
_OPEN_BYTES = 64 << 20  # a header may take so many bytes, the pixels as many and _PIXEL_BYTES each
_PIXEL_BYTES = 32
_BLOCK = 4 << 20  # most bytes handed to a decoder at a time
_MOST_SCANS = 100  # of a progressive JPEG; usual are ten, and each takes as long as all pixels
MAX_BYTES = 1 << 30  # a larger file is not opened: 80 megapixels of 16-bit RGBA take 640 MB
# Endings that are believed; and those of files that people keep among their photographs and that are not read.
_READ = r"\.(jpe?g|jpe|jfif|mpo|a?png|webp|tiff?|bmp|dib|gif|p[bgnp]m)"
_RAW = r"\.(3fr|arw|cr[23w]|dcr|dng|erf|fff|gpr|iiq|kdc|mef|mos|mrw|nef|nrw|orf|pef|ptx|raf|raw|rw[2l]|sr[2fw]|x3f)"
_OTHERS = (
    r"\.(avifs?|hei[cf]s?|hif|jxl|j2[ck]|jp[2cfmx]|ps[bd]|svgz?|tga|eps|fits?|fts|pcx|sgi|cur|icns|ico"
    r"|dds|exr|hdr|xcf|qoi|dcm|djvu|x[bp]m|pam)"
)
# Blocks of 16 MB, Pillow's default, stay with the thread that freed them; those beyond 32 MB go back to the system at once.
Image.core.set_block_size(64 << 20)
# Damaged files make Pillow warn of each wrong tag; what is wrong with them is told as an ImageProblem.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.\w+Plugin$")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
with suppress(OSError, AttributeError, TypeError):
    # and Pillow's libtiff writes to the process's stderr
    ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)


def read_image(source, *, upright=True):
    """Read one image as RGB.

    Parameters
    ----------
    source : str, path, bytes, binary file object, PIL image or array
        Files: JPEG, PNG, WebP, TIFF, BMP, GIF (first frame), PPM; grey, palette, CMYK, 16-bit and alpha
        images are converted, and the EXIF orientation is applied. Arrays: see `to_rgb`.
    upright : bool, default=True
        Apply the EXIF orientation. Benchmarks whose boxes or published figures refer to the pixels as stored need False.

    Returns
    -------
    ndarray of shape (h, w, 3), uint8
        RGB in sRGB: embedded ICC profiles are converted (relative colorimetric); a broken profile counts as none. Transparent parts
        lie on white, or, where a tenth of what can be seen is nearly white, on black or a grey that is rare in it; where nothing
        could be seen, transparency is ignored. 16-bit values are divided by 257, where white is zero they are inverted; floats are
        shown from 0 to the first of 1, 255 and 65535 that is less than twice the highest value, or that.

    Raises
    ------
    ImageProblem
        The image is missing, empty, truncated, larger than `MAX_PIXELS`, of an unknown format, or its samples have no certain meaning
        (signed, 32-bit integers); the file is a FIFO, socket or device, or larger than a picture of its size can be.

    Notes
    -----
    A JPEG file that lacks no more than its end marker is read. All threads together decode at most `PIXELS_AT_ONCE` pixels at a time, or a single larger image.

    Examples
    --------
    >>> read_image(np.zeros((4, 5))).shape
    (4, 5, 3)
    """
    if isinstance(source, Image.Image):
        return _to_pixels(source, "PIL image", _decoded, upright)
    known = isinstance(source, str | os.PathLike | bytes | bytearray | memoryview)
    return _read(source, upright) if known or hasattr(source, "read") else to_rgb(source)


def read_thumbnail(source, size, *, upright=True):
    """Read a file small: as `read_image`, scaled so that its longer side is at most `size` pixels.

    JPEG files are decoded at a reduced scale, which is several times faster.

    Returns
    -------
    ndarray of shape (h, w, 3), uint8
    """
    with DECODING.kept():
        # keeps at least this size; other formats ignore it
        return shrink(_read(source, upright, draft=("RGB", (2 * size, 2 * size))), size)


def read_stored(path):
    """Read a mask file (PNG, TIFF, BMP, GIF) as it is stored: (h, w) of bool or class numbers."""
    with _open(path, formats=("PNG", "TIFF", "BMP", "GIF")) as (image, name):
        return _to_pixels(image, name, np.asarray)


def size_in_head(source):
    """Width and height of an image file, upright, without decoding it; ImageProblem if it cannot be opened."""
    with _open(source) as (image, _), suppress(Exception):
        # Pillow gives the size of TIFF as turned, and would decode other formats to look for EXIF at their end
        if image.format != "TIFF" and "exif" in image.info and 4 < image.getexif()[0x0112] < 9:
            return image.size[::-1]
    return image.size


def shrink(pixels, size):
    """Scale an RGB image (h, w, 3) down so that its longer side is at most `size` pixels."""
    if max(pixels.shape[:2]) <= size:
        return pixels
    image = Image.fromarray(pixels)
    image.thumbnail((size, size), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(image)


# ---------------------------------------------------------------------- what a file is


def reason_by_status(status):
    """Why a file with this `os.stat_result` is not opened, or None: it could be endless, or a program could wait in it.

    Examples
    --------
    >>> reason_by_status(os.stat(os.devnull))
    'not a file, but a FIFO, socket or device'
    """
    if stat.S_ISDIR(status.st_mode):
        return "is a folder, not an image; use ImageCollection.from_folder"
    if not stat.S_ISREG(status.st_mode):
        return "not a file, but a FIFO, socket or device"
    if status.st_size > MAX_BYTES:
        return f"is too large a file: {status.st_size >> 20:,} MB (limit {MAX_BYTES >> 20:,} MB)"
    return None if status.st_size else "empty file"


def is_image(path):
    """Whether a file found in a folder is an image to read.

    Known endings are believed here (what is inside decides when it is read); other files are opened.

    Returns
    -------
    bool or str
        A str is the reason why an image, or what is called one, is not read; False: it is something else.
    """
    ending = os.path.splitext(path)[1].lower()
    known, raw, other = (bool(re.fullmatch(kind, ending)) for kind in (_READ, _RAW, _OTHERS))
    try:
        reason = reason_by_status(os.stat(path))
    except OSError as error:
        return f"cannot be read ({reason_of(error)})"
    if reason or known:
        return (known or raw or other) and (reason or True)
    with suppress(ImageProblem), _open(path):
        return True
    return (raw or other) and _not_read("raw camera data" if raw else ending[1:].upper())


def _not_read(kind):
    return f"{kind} is not read; save it as JPEG or PNG"


def _reason_by_start(head, error):
    """Why a file that starts with these bytes could not be opened."""
    if re.match(rb".{4}ftyp(hei|hev|mif1|msf1|avi[fs])", head, re.DOTALL):
        return _not_read("HEIC or AVIF")
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "a web page, not an image (of a download that failed?)"
    return f"not an image of a known format, or damaged at its start ({type(error).__name__})"


# ---------------------------------------------------------------------- from a file to an opened PIL image


class _File(io.BufferedReader):
    """A file that gives a decoder no more bytes than a picture of its size can need, so that time and memory are bounded."""

    left, least, scans = _OPEN_BYTES, 512, None

    def read(self, size=-1):
        whole = size is None or size < 0
        data = super().read(self.left + 1 if whole else min(size, _BLOCK))
        self.left -= max(len(data), self.least)
        if self.scans is not None:
            self.scans += data.count(b"\xff\xda")
        if self.left < 0 or (self.scans or 0) > _MOST_SCANS:
            raise ImageProblem("file", "takes far more data than a picture of its size")
        return data


def open_file(path):
    """A file opened for reading, as `io.BufferedReader`; ImageProblem if it is special, empty, too large or not there."""
    try:
        reason = reason_by_status(os.stat(path))
        if reason is None:
            return _File(io.FileIO(path))
    except (OSError, ValueError) as error:  # a name with a null byte, say, is a ValueError
        reason = f"cannot be read ({reason_of(error)})"
    raise ImageProblem(os.fspath(path), reason)


@contextmanager
def _open(source, formats=_FORMATS):
    """Open an image without decoding it: (PIL image, how errors call it)."""
    is_path = isinstance(source, str | os.PathLike)
    name = os.fspath(source) if is_path else "image bytes"
    if is_path and re.fullmatch(_RAW, os.path.splitext(source)[1].lower()):
        # what Pillow can read of it is a small preview
        raise ImageProblem(name, _not_read("raw camera data"))
    if hasattr(source, "read"):
        source.seek(0)
        source = source.read()
    with open_file(source) if is_path else _File(io.BytesIO(source)) as file:
        try:
            image = Image.open(file, formats=formats)
        except (ImageProblem, Image.DecompressionBombError) as problem:
            raise ImageProblem(name, getattr(problem, "reason", f"is {_TOO_LARGE}")) from None
        except Exception as error:  # decoders meet hostile bytes and raise whatever they like
            file.seek(0)
            raise ImageProblem(name, _reason_by_start(file.peek(64), error)) from error
        yield image, name


# ---------------------------------------------------------------------- from an opened image to pixels


class _Decoding:
    """Lets threads decode at the same time, but no more than so many pixels together; a single larger image may.

    Inside ``with gate.kept()`` a thread keeps what it takes until the outermost block ends: what it made of the pixels is in memory
    too.
    """

    def __init__(self, pixels):
        self.pixels, self.taken = pixels, 0
        self._free, self._mine = threading.Condition(), threading.local()

    @contextmanager
    def kept(self, pixels=0):
        """Wait until so many pixels may be decoded; a thread that has a share already does not wait, so none waits for ever."""
        outer = getattr(self._mine, "pixels", None)
        with self._free:
            if pixels and not outer:
                self._free.wait_for(lambda: not self.taken or self.taken + pixels <= self.pixels)
            self.taken += pixels
            self._mine.pixels = (outer or 0) + pixels
        try:
            yield
        finally:
            if outer is None:
                with self._free:
                    self.taken -= vars(self._mine).pop("pixels")
                    self._free.notify_all()


DECODING = _Decoding(PIXELS_AT_ONCE)


def _read(source, upright, draft=None):
    """Decode a file; a JPEG that lacks no more than its end marker counts as whole."""
    with _open(source) as (image, name):
        image.draft(*draft) if draft else None
        file = image.fp.raw
        try:
            return _to_pixels(image, name, _decoded, upright)
        except ImageProblem as problem:
            if problem.reason != "truncated file" or image.format not in ("JPEG", "MPO"):
                raise
            file.seek(0)
            data = file.read(_OPEN_BYTES).rstrip(b"\xff")
            # Where a decoder needs more data, what it makes depends on what comes next: with nothing missing both are equal.
            ends = (b"\xff\xd9", bytes(range(1, 255)) + b"\xff\xd9")
            first, second = (_read(data + end, upright, draft) for end in ends)
            if not np.array_equal(first, second):
                raise
    return first


def _to_pixels(image, name, decode, *arguments):
    """What ``decode(image, *arguments)`` makes of an opened PIL image."""
    width, height = image.size
    if not 0 < width * height <= MAX_PIXELS:
        raise ImageProblem(name, f"is {_TOO_LARGE}: {width} x {height} pixels")
    try:
        with DECODING.kept(width * height):
            _prepare(image)
            return decode(image, *arguments)
    except ImageProblem as problem:
        raise ImageProblem(name, problem.reason) from None
    except Exception as error:  # as in _open
        cut, what = "truncated" in str(error), error or type(error).__name__
        raise ImageProblem(name, "truncated file" if cut else f"damaged file ({what})") from error


def _decoded(image, upright):
    """A PIL image as RGB; damaged EXIF data count as none."""
    ours = isinstance(getattr(image, "fp", None), _File)
    turned = not upright and image.format == "TIFF" and image.getexif().get(0x0112)
    image.load()
    if turned:  # Pillow turns TIFF when it loads: turn it back
        image.getexif()[0x0112] = {6: 8, 8: 6}.get(turned, turned)
    if upright or turned:
        with suppress(Exception):
            image = ImageOps.exif_transpose(image, in_place=ours) or image
    return converted(image)


def _prepare(image):
    """Set limits before a file is decoded."""
    tiles, file = getattr(image, "tile", None), getattr(image, "fp", None)
    n_pixels, in_python = image.width * image.height, bool(tiles) and tiles[0][0] in Image.DECODERS
    if in_python and n_pixels > _PYTHON_PIXELS:
        limit = f"limit {_PYTHON_PIXELS / 1e6:.0f} megapixels"
        raise ImageProblem("", f"is too large for its kind of {image.format} ({limit})")
    if isinstance(file, _File):
        file.least = _PIXEL_BYTES if in_python else file.least
        file.left = _OPEN_BYTES + _PIXEL_BYTES * n_pixels
        file.scans = 0 if image.format in ("JPEG", "MPO") else None
    if image.format == "TIFF" and tiles:
        _check_tiff(image, tiles[0])


def _check_tiff(image, tile):
    """Refuse TIFF files whose pixels have no certain meaning."""
    tags = image.tag_v2
    kinds, bits = {*np.ravel(tags.get(339, 1)).tolist()}, np.max(tags.get(258, 1))
    packed = image.mode in ("LA", "PA") or (bits > 8 and tags.get(259, 1) == 1)
    signed = kinds & {2, 5, 6} or (3 in kinds and image.mode != "F") or image.mode == "I"
    # of the last, libtiff gives the order of this machine, not of the file
    apart = (tags.get(284) == 2 and packed) or tile[3][0] == "F;32BF"
    if 50706 in tags or (tags.get(254, 0) == 1 and 330 in tags):
        raise ImageProblem("", _not_read("raw camera data"))
    if signed or apart:
        kind = "signed, complex or 32-bit integer samples, or of separate planes,"
        raise ImageProblem("", f"TIFF of {kind} is not read; save it with 8 or 16 bits")
    if tags.get(322, 1) * tags.get(323, 1) > MAX_PIXELS:
        raise ImageProblem("", "damaged file (its tiles are larger than any picture)")
