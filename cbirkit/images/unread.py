"""Photographs in formats that are not read here, told apart so that none is left out without a word."""

from pathlib import Path

# Endings of files that people keep among their photographs, and what they are.
_RAW = (".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw")
UNREAD = {
    ".avif": "AVIF", ".heic": "HEIC", ".heics": "HEIC", ".heif": "HEIC", ".hif": "HEIC", ".jp2": "JPEG 2000",
    ".jxl": "JPEG XL", ".psd": "Photoshop", ".svg": "SVG", ".tga": "Targa",
} | dict.fromkeys(_RAW, "raw camera data")  # fmt: skip
_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n": "PNG",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
_BRANDS = {"heic": "HEIC", "heix": "HEIC", "hevc": "HEIC", "mif1": "HEIC", "msf1": "HEIC", "avif": "AVIF"}
_HEAD_BYTES = 64


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


def reason_by_name(name):
    """Why a file with this name is not read, or None where nothing is known against it.

    Examples
    --------
    >>> reason_by_name("IMG_0001.HEIC")
    'HEIC is not read; save it as JPEG or PNG'
    >>> reason_by_name("notes.txt")
    """
    ending = "." + name.lower().rpartition(".")[2]
    return _not_read(UNREAD[ending]) if ending in UNREAD else None


def reason_by_start(head):
    """Why a file that starts with these bytes is not read, or None where nothing is known against it.

    Examples
    --------
    >>> reason_by_start(b"<!DOCTYPE html>")
    'a web page, not an image (of a download that failed?)'
    >>> reason_by_start(b"no picture")
    """
    if head[4:8] == b"ftyp" and (kind := _BRANDS.get(head[8:12].decode("latin-1"))):
        return _not_read(kind)
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page, not an image (of a download that failed?)"
    return _not_read("SVG") if text.startswith((b"<svg", b"<?xml")) else None


def image_without_ending(head):
    """The format of an image by its first bytes, or None.

    Examples
    --------
    >>> image_without_ending(b"GIF89a")
    'GIF'
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    return next((kind for start, kind in _STARTS.items() if head.startswith(start)), None)


def _not_read(kind):
    return f"{kind} is not read; save it as JPEG or PNG"
