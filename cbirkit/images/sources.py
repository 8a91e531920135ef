"""Former place of what is in `cbirkit.images.collection`."""

from .collection import FileSource

__all__ = ["FileSource"]
