"""Read untrusted image files (or bytes, PIL images, arrays) as RGB, or say why they cannot be used; and tell images by name."""

import ctypes
import io
import os
import re
import stat
import threading
import warnings
from contextlib import contextmanager, suppress

import numpy as np
from PIL import Image

from .pixels import BAD_METADATA, ORIENTATION, SIDEWAYS, ImageProblem, converted, note, to_rgb

# Below Pillow's own warning at 89 million; a 50-megapixel photograph passes.
MAX_PIXELS = 80_000_000
# Decoded at the same time by all threads together, at about 8 bytes each.
PIXELS_AT_ONCE = 80_000_000
# Only these decoders are let near a file: Pillow knows others (EPS, say) that start programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM")
_PYTHON_PIXELS = 2_000_000  # limit of files whose decoder in Pillow is a loop in Python
_OPEN_BYTES = 64 << 20  # a header may take so many bytes, the pixels as many and _PIXEL_BYTES each
_PIXEL_BYTES = 32
_WHOLE_BYTES = 256 << 20  # limit of files that their decoder takes whole
_BLOCK = 4 << 20  # most bytes handed to a decoder at a time
_MOST_SCANS = 100  # of a progressive JPEG; usual are ten, and each takes as long as all pixels
MAX_BYTES = 1 << 30  # a larger file is not opened: 80 megapixels of 16-bit RGBA take 640 MB
EXTENSIONS = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".mpo",
    ".png",
    ".apng",
    ".webp",
    ".tif",
    ".tiff",
    ".bmp",
    ".dib",
    ".gif",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
)
# Endings of files that people keep among their photographs, and what they are.
RAW = "raw camera data"
_RAW = """.3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .gpr .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .ptx .raf .raw .rw2
          .rwl .sr2 .srf .srw .x3f"""
_UNREAD = {
    RAW: _RAW, "AVIF": ".avif .avifs", "HEIC": ".heic .heics .heif .heifs .hif", "JPEG XL": ".jxl",
    "JPEG 2000": ".j2c .j2k .jp2 .jpc .jpf .jpm .jpx", "Photoshop": ".psb .psd", "SVG": ".svg .svgz", "Targa": ".tga",
    "EPS": ".eps", "FITS": ".fit .fits .fts", "PCX": ".pcx", "SGI": ".sgi", "an icon": ".cur .icns .ico", "DDS": ".dds",
    "OpenEXR": ".exr", "Radiance HDR": ".hdr", "GIMP": ".xcf", "QOI": ".qoi", "DICOM": ".dcm", "DjVu": ".djvu",
    "XPM": ".xpm", "XBM": ".xbm", "PAM": ".pam",
}  # fmt: skip
UNREAD = {ending: kind for kind, endings in _UNREAD.items() for ending in endings.split()}
_HEAD_BYTES = 64
# How files start: those that are read, and others.
_READ_STARTS = {
    "JPEG": rb"\xff\xd8\xff", "PNG": rb"\x89PNG\r\n\x1a\n", "GIF": rb"GIF8[79]a", "WebP": rb"RIFF....WEBP",
    "TIFF": rb"II[*+]\0|MM\0[*+]", "BMP": rb"BM.{4}\0{4}.{4}[\x0c-\xff]\0\0\0", "PPM": rb"P([1-6]\s+(#|\d+\s+\d)|[fF]\n\d)",
}  # fmt: skip
_UNREAD_STARTS = {
    "AVIF": rb".{4}ftypavi[fs]", "HEIC": rb".{4}ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1)", RAW:
    rb".{4}ftypcrx|FUJIFILMCCD-RAW|IIRO|IIU\0|II\*\0.{4}CR", "JPEG XL": rb"\xff\x0a|\0{3}\x0cJXL ", "JPEG 2000":
    rb"\0{3}\x0cjP  |\xff\x4f\xff\x51", "Photoshop": rb"8BPS", "EPS": rb"%!PS-Adobe|\xc5\xd0\xd3\xc6", "FITS": rb"SIMPLE  =",
    "PCX": rb"\x0a[\0-\x05]\x01[\x01\x02\x04\x08]", "SGI": rb"\x01\xda[\0\x01][\x01\x02]\0[\x01-\x03]", "an icon": rb"icns|\0\0[\x01\x02]\0[^\0]\0..[\0-\x20]\0",
    "DDS": rb"DDS \x7c", "OpenEXR": rb"v/1\x01", "Radiance HDR": rb"#\?R", "GIMP": rb"gimp xcf", "QOI": rb"qoif",
    "DjVu": rb"AT&TFORM", "PAM": rb"P7\n",
}  # fmt: skip
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
        RGB in sRGB: embedded ICC profiles are converted (relative colorimetric), and so are Adobe RGB by EXIF and gAMA and cHRM
        of a PNG; a broken profile counts as none. Transparent parts lie on white, or, where a tenth of what can be seen
        is nearly white, on black or a grey that is rare in it. 16-bit values are divided by 257, where white is zero they are inverted; floats are
        shown from 0 to the first of 1, 255 and 65535 that is less than twice the highest value, or that.

    Raises
    ------
    ImageProblem
        The image is missing, empty, truncated, larger than `MAX_PIXELS`, of an unknown format, or its samples have no certain meaning
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
        return _to_pixels(source, "PIL image", upright)
    return _read(source, upright) if _is_file(source) else to_rgb(source)


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
    with _open(path, formats=("PNG", "TIFF", "BMP", "GIF")) as image:
        return _to_pixels(image, _name_of(path), decode=np.asarray)


def size_in_head(source):
    """Width and height of an image file, upright, without decoding it; ImageProblem if it cannot be opened."""
    with _open(source) as image:
        # Pillow gives the size of TIFF as turned, and would decode other formats to look for EXIF at their end
        known = image.format != "TIFF" and image.info.get("exif")
        return image.size[::-1] if known and _orientation(image) in SIDEWAYS else image.size


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
    'a device, not a file'
    """
    kinds = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    kinds |= dict.fromkeys((stat.S_IFCHR, stat.S_IFBLK), "a device")
    kind, n_bytes = stat.S_IFMT(status.st_mode), status.st_size
    if kind in kinds:
        return f"{kinds[kind]}, not a file"
    if kind == stat.S_IFDIR:
        return "is a folder, not an image; use ImageCollection.from_folder"
    if n_bytes > MAX_BYTES:
        return f"is too large a file: {n_bytes / 1e6:,.0f} MB (limit {MAX_BYTES / 1e6:,.0f} MB)"
    return None if n_bytes else "empty file"


def is_image(path):
    """Whether a file found in a folder is an image to read.

    Known endings are believed here (what is inside decides when it is read); of other files the first bytes are looked at.

    Returns
    -------
    bool or str
        A str is the reason why an image, or what is called one, is not read; False: it is something else.
    """
    ending = _ending(path)
    not_read = UNREAD.get(ending)
    try:
        reason = reason_by_status(os.stat(path))
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    if reason or ending in EXTENSIONS:
        return (not_read is not None or ending in EXTENSIONS) and (reason or True)
    with suppress(OSError), open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
        # raw files may start as TIFF does
        kind = _kind(head, _UNREAD_STARTS) or (not_read if not_read == RAW else None)
        if kind is None and _kind(head, _READ_STARTS):
            return True
        not_read = kind or not_read
    return _not_read(not_read) if not_read else False


def _ending(path):
    return "." + os.fsdecode(path).lower().rpartition(".")[2]


def _kind(head, starts):
    return next((kind for kind, start in starts.items() if re.match(start, head, re.DOTALL)), None)


def _not_read(kind):
    return f"{kind} is not read; save it as JPEG or PNG"


def _reason_by_start(head, error):
    """Why a file that starts with these bytes could not be opened."""
    text, how = head.lstrip().lower(), f"damaged at its start ({type(error).__name__})"
    if not head:
        return "empty file"
    if kind := _kind(head, _READ_STARTS):
        return f"a {kind} file of a kind that is not read, or {how}"
    if kind := _kind(head, _UNREAD_STARTS):
        return _not_read(kind)
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page, not an image (of a download that failed?)"
    if text.startswith((b"<svg", b"<?xml")):
        return _not_read("SVG")
    return f"not an image of a known format, or {how}"


# ---------------------------------------------------------------------- from a file to an opened PIL image


def _is_file(source):
    known = str | os.PathLike | bytes | bytearray | memoryview
    return isinstance(source, known) or hasattr(source, "read")


def _name_of(source):
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return getattr(source, "name", None) or "image bytes"


class _Metered:
    """A file that gives a decoder no more bytes than a picture of its size can need, so that time and memory are bounded."""

    left, least, scans = _OPEN_BYTES, 512, None

    def read(self, size=-1):
        if size is None or size < 0:
            data = super().read(_WHOLE_BYTES + 1)
            if len(data) > _WHOLE_BYTES:
                raise ImageProblem("file", f"is too large (limit {_WHOLE_BYTES / 1e6:.0f} MB)")
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
        reason = reason_by_status(os.stat(path))
        if reason is None:
            return _File(io.FileIO(path))
    except FileNotFoundError:
        reason = "no such file"
    except PermissionError:
        reason = "may not be read (permission denied)"
    except (OSError, ValueError) as error:  # a name with a null byte, say, is a ValueError
        reason = f"cannot be read ({getattr(error, 'strerror', None) or error})"
    raise ImageProblem(name, reason)


def _bytes_of(source):
    if hasattr(source, "read"):
        if hasattr(source, "seek"):
            source.seek(0)
        source = source.read(_WHOLE_BYTES + 1)
        if isinstance(source, str):
            raise ImageProblem("file object", 'gives text; open the file with "rb"')
        if len(source) > _WHOLE_BYTES:
            raise ImageProblem(
                "file object", f"gives more than {_WHOLE_BYTES / 1e6:.0f} MB; give its path"
            )
    return _Bytes(source)


@contextmanager
def _open(source, formats=_FORMATS):
    """Open an image without decoding it."""
    name, is_path = _name_of(source), isinstance(source, str | os.PathLike)
    if is_path and UNREAD.get(_ending(source)) == RAW:
        # what Pillow can read of it is a small preview
        raise ImageProblem(name, _not_read(RAW))
    with open_file(source) if is_path else _bytes_of(source) as file:
        try:
            image = Image.open(file, formats=formats)
        except Image.DecompressionBombError:
            raise ImageProblem(name, _too_large("")) from None
        except ImageProblem as problem:
            raise ImageProblem(name, problem.reason) from None
        except Exception as error:  # decoders meet hostile bytes and raise whatever they like
            file.seek(0)
            head = file.read(_HEAD_BYTES)
            raise ImageProblem(name, _reason_by_start(head, error)) from error
        yield image


def _too_large(size):
    return f"is too large{size} (limit {MAX_PIXELS / 1e6:.0f} megapixels); scale it down"


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


def _read(source, upright, draft=None):
    """Decode a file; a JPEG that only lacks its end marker counts as whole."""
    name = _name_of(source)
    if hasattr(source, "read"):
        source = _bytes_of(source).getvalue()
    with _open(source) as image:
        file = image.fp
        image.draft(*draft) if draft else None
        try:
            return _to_pixels(image, name, upright)
        except ImageProblem as problem:
            if problem.reason != "truncated file" or image.format not in ("JPEG", "MPO"):
                raise
        file.seek(0)
        data = file.getvalue() if isinstance(file, _Bytes) else io.BufferedReader.read(file)
    # Where a decoder needs more data, what it makes depends on what comes next: with nothing missing both are equal.
    first, second = (
        _read(data.rstrip(b"\xff") + filling + b"\xff\xd9", upright, draft)
        for filling in (b"", bytes(range(1, 255)))
    )
    if not np.array_equal(first, second):
        raise ImageProblem(name, "truncated file")
    note(name, "the end marker of this JPEG file is missing; all pixels are there")
    return first


def _to_pixels(image, name, upright=True, decode=None):
    """Decode an opened PIL image to RGB (h, w, 3) uint8, or to what `decode` makes of it."""
    width, height = image.size
    size = f"{width} x {height} pixels"
    if width == 0 or height == 0:
        raise ImageProblem(name, f"has no pixels: it is {width} x {height}")
    if width * height > MAX_PIXELS:
        raise ImageProblem(name, _too_large(f": {size}"))
    try:
        with DECODING.kept():
            DECODING.take(width * height)
            return decode(image) if decode else _decoded(image, name, upright)
    except ImageProblem as problem:
        raise ImageProblem(name, problem.reason) from None
    except MemoryError:
        raise ImageProblem(name, f"does not fit into memory: {size}") from None
    except Exception as error:  # as in _open
        cut, what = "truncated" in str(error), error or type(error).__name__
        raise ImageProblem(name, "truncated file" if cut else f"damaged file ({what})") from error


def _decoded(image, name, upright):
    _prepare(image)
    # Pillow turns TIFF itself when it loads; of other formats some tell the orientation only then
    before = _orientation(image) if image.format == "TIFF" else None
    image.load()
    if before is None:
        return converted(image, name, _orientation(image) if upright else 1)
    return converted(image, name, 1 if upright else {6: 8, 8: 6}.get(before, before))


def _orientation(image):
    """The EXIF orientation; damaged EXIF data count as none."""
    try:
        turn = image.getexif().get(ORIENTATION, 1)
        return turn if turn in range(1, 9) else 1
    except BAD_METADATA:
        return 1


def _prepare(image):
    """Set limits, and mend what Pillow leaves undone, before it decodes."""
    tile = image.tile[0] if getattr(image, "tile", None) else None
    n_pixels, meter = image.size[0] * image.size[1], getattr(image, "fp", None)
    if image.format == "TIFF" and tile:
        _check_tiff(image, tile)
    in_python = tile is not None and tile[0] in Image.DECODERS
    if in_python and n_pixels > _PYTHON_PIXELS:
        raise ImageProblem(
            "",
            f"is too large for its kind of {image.format}: {n_pixels / 1e6:.0f} megapixels "
            f"(limit {_PYTHON_PIXELS / 1e6:.0f}); save it as PNG",
        )
    if isinstance(meter, _Metered):
        meter.least = _PIXEL_BYTES if in_python else meter.least
        meter.left = _OPEN_BYTES + _PIXEL_BYTES * n_pixels
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
        scale = {"L;2": 85, "L;4": 17, "1": 255, "RGB;16B": 1 / 256}.get(raw, 1)
        several = isinstance(clear, tuple)
        values = [int(value * scale) for value in (clear if several else (clear,))]
        image.info["transparency"] = tuple(values) if several else values[0]


def _check_tiff(image, tile):
    """Refuse TIFF files whose pixels have no certain meaning."""
    tags = image.tag_v2

    def several(tag):
        return value if isinstance(value := tags.get(tag, 1), tuple) else (value,)

    kinds, bits = set(several(339)), max(several(258))
    packed = image.mode in ("LA", "PA") or (bits > 8 and tags.get(259, 1) == 1)
    problems = {
        _not_read(RAW): 50706 in tags or (tags.get(254, 0) == 1 and 330 in tags),
        "TIFF of signed or complex samples is not read; their black and white are not known: save it "
        "with unsigned ones": kinds & {2, 5, 6} or (3 in kinds and image.mode != "F"),
        f"TIFF of {bits}-bit integers is not read; save it with 8 or 16 bits": image.mode == "I",
        "TIFF of separate planes of this kind is not read; save it with all samples of a pixel together": tags.get(
            284
        )
        == 2
        and packed,
        "damaged file (its tiles are larger than any picture)": tags.get(322, 1) * tags.get(323, 1)
        > MAX_PIXELS,
    }
    for reason, applies in problems.items():
        if applies:
            raise ImageProblem("", reason)
    if tile[0] == "libtiff" and tile[3][0] == "F;32BF":
        # libtiff gives the order of this machine, not of the file
        image.tile = [(*tile[:3], ("F;32NF", *tile[3][1:]))]
