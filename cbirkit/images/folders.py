"""Former place of what is in `cbirkit.images.tables`."""

from .tables import as_on_disk

__all__ = ["as_on_disk"]
