"""Images and what is known about them: reading untrusted files, and ordered collections."""

from .collection import ImageCollection
from .files import read_image, read_thumbnail
from .pixels import ImageProblem, to_rgb

__all__ = ["ImageCollection", "ImageProblem", "read_image", "read_thumbnail", "to_rgb"]
