"""Images and what is known about them: reading untrusted files, and ordered collections."""

from .collection import ImageCollection
from .files import MAX_PIXELS, ImageProblem, read_image, read_thumbnail, to_rgb
from .unread import EXTENSIONS

__all__ = [
    "EXTENSIONS",
    "MAX_PIXELS",
    "ImageCollection",
    "ImageProblem",
    "read_image",
    "read_thumbnail",
    "to_rgb",
]
