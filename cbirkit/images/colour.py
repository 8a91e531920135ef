"""Colours as a file means them, turned into sRGB: embedded ICC profiles, Adobe RGB by EXIF, gAMA and cHRM of PNG."""

import io
import logging
import struct
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

log = logging.getLogger(__name__)

_MOST_BYTES = 4 << 20  # of a profile
_SAME = 2  # grey levels by which a profile may differ from sRGB and still count as sRGB
_SPACES = {"GRAY": ("L",), "RGB": ("RGB",), "CMYK": ("CMYK",)}
_D65, _SRGB = (0.3127, 0.329), (0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
_ADOBE = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def profile_of(image):
    """The ICC profile (bytes) of the colours of an opened PIL image, or None where they are taken for sRGB.

    An embedded profile comes first; then Adobe RGB by EXIF (interoperability index R03); then, unless the file says
    sRGB, the chunks gAMA and cHRM of a PNG. A gamma of 1/2.2 stands for the curve of sRGB, as is the custom.
    """
    if profile := image.info.get("icc_profile"):
        return profile
    exif = image.getexif()
    if 0x8769 in exif and exif.get_ifd(0x8769).get(0xA001) in (2, 0xFFFF):
        adobe = exif.get_ifd(0xA005).get(1, "") if 0xA005 in exif.get_ifd(0x8769) else ""
        if str(adobe).startswith("R03"):
            return _made_profile(_D65, _ADOBE, 2.2)
    if (gamma := image.info.get("gamma")) and "srgb" not in image.info:
        x, y, *primaries = image.info.get("chromaticity") or (*_D65, *_SRGB)
        return _made_profile(
            (x, y), tuple(primaries), None if abs(gamma - 1 / 2.2) < 0.01 else 1 / gamma
        )
    return None


def to_srgb(image, profile):
    """A PIL image of any mode as RGB in sRGB; a profile that is broken, or of another kind of image, counts as none."""
    if profile is None:
        return image if image.mode == "RGB" else image.convert("RGB")
    mode = image.mode if image.mode in ("L", "CMYK") else "RGB"
    transform = _transform(profile, mode) or (_transform(profile, "RGB") if mode == "L" else None)
    if transform is None:
        return image if image.mode == "RGB" else image.convert("RGB")
    wanted = transform.input_mode
    return ImageCms.applyTransform(
        image if image.mode == wanted else image.convert(wanted), transform
    )


@lru_cache(maxsize=32)
def _transform(profile, mode):
    """The transform from a profile to sRGB for images of this mode, or None where there is nothing to do."""
    try:
        if len(profile) > _MOST_BYTES:
            raise ValueError(f"{len(profile) / 1e6:.0f} MB")
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode not in _SPACES.get(source.profile.xcolor_space.strip(), ()):
            return None
        intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
        transform = ImageCms.buildTransform(
            source, ImageCms.createProfile("sRGB"), mode, "RGB", intent, flags
        )
        if mode == "CMYK":
            return transform
        colours = _sample(mode)
        changed = np.asarray(ImageCms.applyTransform(colours, transform), np.int16)
        return (
            transform
            if np.abs(changed - np.asarray(colours.convert("RGB"))).max() > _SAME
            else None
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError) as error:
        log.warning(
            "an embedded colour profile is broken (%s); the colours are taken for sRGB", error
        )
        return None


def _sample(mode):
    """An image of every grey, or of 9 x 9 x 9 colours."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3))


@lru_cache(maxsize=32)
def _made_profile(white, primaries, gamma):
    """An ICC profile by its primaries (x, y of red, green, blue), white and gamma (None: the curve of sRGB).

    The white point is adapted to D50 by Bradford's method, as ICC.1:2010, annex E, asks for; None for values that no
    colours can have.
    """
    x, y = np.array([white, *zip(primaries[::2], primaries[1::2], strict=True)], float).T
    if not (np.isfinite(x + y).all() and (y > 1e-3).all() and (gamma is None or 0.1 < gamma < 10)):
        return None
    xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y])  # (3, white and primaries)
    d50 = np.array([0.9642, 1, 0.8249])
    try:
        rgb = xyz[:, 1:] * np.linalg.solve(xyz[:, 1:], xyz[:, 0])
        scale = (_BRADFORD @ d50) / (_BRADFORD @ xyz[:, 0])
        rgb = np.linalg.solve(_BRADFORD, scale[:, None] * (_BRADFORD @ rgb))
    except np.linalg.LinAlgError:
        return None
    if not np.abs(rgb).max() < 4:
        return None
    fixed = lambda values: b"".join(struct.pack(">i", round(v * 65536)) for v in values)
    if gamma is None:
        curve = b"para\0\0\0\0\0\3\0\0" + fixed((2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
    else:
        curve = b"para\0\0\0\0\0\0\0\0" + fixed((gamma,))
    tags = {b"wtpt": b"XYZ \0\0\0\0" + fixed(d50), b"desc": b"mluc\0\0\0\0\0\0\0\0\0\0\0\x0c"}
    for name, column in zip((b"r", b"g", b"b"), rgb.T, strict=True):
        tags |= {name + b"XYZ": b"XYZ \0\0\0\0" + fixed(column), name + b"TRC": curve}
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for sign, data in tags.items():
        table += sign + struct.pack(">II", start + len(body), len(data))
        body += data
    head = (
        struct.pack(">I", start + len(body))
        + b"\0\0\0\0\4\x30\0\0mntrRGB XYZ "
        + struct.pack(">6H", 2024, 1, 1, 0, 0, 0)
    )
    head += b"acsp" + bytes(28) + fixed(d50)
    return head.ljust(128, b"\0") + table + body
