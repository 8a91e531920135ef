"""What a file is by its kind, its ending and its first bytes, so that none is left out without a word."""

import os
import re
import stat
from pathlib import Path

MAX_BYTES = 1 << 30  # a larger file is not opened: 80 megapixels of 16-bit RGBA take 640 MB
EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif",
              ".ppm", ".pgm", ".pbm", ".pnm")  # fmt: skip
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
_WEB = "a web page, not an image (of a download that failed?)"


def first_bytes(source):
    """The beginning of a file, given by its Path or open; empty where it cannot be had."""
    try:
        if isinstance(source, Path):
            with source.open("rb") as file:
                return file.read(_HEAD_BYTES)
        source.seek(0)
        return source.read(_HEAD_BYTES)
    except (OSError, AttributeError, ValueError):
        return b""


def reason_by_status(status):
    """Why a file with this `os.stat_result` is not opened, or None: it could be endless, or a program could wait in it.

    Examples
    --------
    >>> reason_by_status(os.stat(os.devnull))
    'a device, not a file'
    """
    kinds = {
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    kind = stat.S_IFMT(status.st_mode)
    if kind in kinds:
        return f"{kinds[kind]}, not a file"
    if kind == stat.S_IFDIR:
        return "is a folder, not an image; use ImageCollection.from_folder"
    if status.st_size == 0:
        return "empty file"
    if status.st_size > MAX_BYTES:
        return (
            f"is too large a file: {status.st_size / 1e6:,.0f} MB (limit {MAX_BYTES / 1e6:,.0f} MB)"
        )
    return None


def reason_by_name(name):
    """Why a file with this name is not read, or None where nothing is known against it.

    Examples
    --------
    >>> reason_by_name("IMG_0001.HEIC")
    'HEIC is not read; save it as JPEG or PNG'
    >>> reason_by_name("notes.txt")
    """
    kind = UNREAD.get("." + name.lower().rpartition(".")[2])
    return kind and _not_read(kind)


def reason_by_start(head):
    """Why a file that starts with these bytes is not read, or None where nothing is known against it.

    Examples
    --------
    >>> reason_by_start(b"<!DOCTYPE html>")
    'a web page, not an image (of a download that failed?)'
    >>> reason_by_start(b"no picture")
    """
    if kind := _kind(head, _UNREAD_STARTS):
        return _not_read(kind)
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return _WEB
    return _not_read("SVG") if text.startswith((b"<svg", b"<?xml")) else None


def image_kind(head):
    """The format of an image that is read, by its first bytes, or None.

    Examples
    --------
    >>> image_kind(b"GIF89a")
    'GIF'
    """
    return _kind(head, _READ_STARTS)


def sorted_out(path):
    """Whether a file found in a folder is an image to read.

    Known endings are believed here (what is inside decides when it is read); of other files the first bytes are looked at.

    Returns
    -------
    bool or str
        A str is the reason why an image, or what is called one, is not read; False: it is something else.
    """
    ending = "." + os.fsdecode(path).lower().rpartition(".")[2]
    not_read = UNREAD.get(ending)
    named = ending in EXTENSIONS or not_read is not None
    try:
        reason = reason_by_status(os.stat(path))
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    if reason or ending in EXTENSIONS:
        return named and (reason or True)
    head = first_bytes(Path(path))
    kind = _kind(head, _UNREAD_STARTS) or (
        not_read if not_read == RAW else None
    )  # raw files may start as TIFF does
    if kind is None and image_kind(head):
        return True
    return _not_read(kind or not_read) if kind or not_read else False


def _kind(head, starts):
    return next((kind for kind, start in starts.items() if re.match(start, head, re.DOTALL)), None)


def _not_read(kind):
    return f"{kind} is not read; save it as JPEG or PNG"
