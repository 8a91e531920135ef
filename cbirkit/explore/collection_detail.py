"""`Detail`: one image of a collection, larger, and what is known of it."""

from ipywidgets import VBox

from ..images import ImageProblem
from .collection_facts import MEASURED
from .text_table import TextTable
from .tile_grid import Tile, TileGrid

_SIZE = 512  # pixels of the picture
_MOST_COLUMNS = 12  # of the table that are told
_AT_LENGTH = ("folder", "file", "bytes")  # left to the table
_MOST_ALIKE = 5  # copies that are named


class Detail(VBox):
    """The picked image.

    Parameters
    ----------
    facts : Facts
    views : CollectionViews
    thumbnails : ThumbnailCache

    Attributes
    ----------
    image_id : str or None
    told : str
        What is known, as a sentence.
    """

    def __init__(self, facts, views, thumbnails):
        self._facts, self._views, self._thumbnails = facts, views, thumbnails
        self._at, self.image_id, self.told = None, None, ""
        self._picture, self._table = TileGrid(tile_size=240), TextTable()
        self._picture.summary = "Click a picture to see it here, larger."
        self._table.add_class("cbk-facts")
        super().__init__([self._picture, self._table])
        self.add_class("cbk-panel").add_class("cbk-detail")

    def show(self, at):
        """Show the image at a position."""
        images = self._facts.images
        self._at, self.image_id = at, str(images.ids[at])
        picture = self._thumbnails.get(images, [self.image_id], _SIZE)[0]
        rows = self._rows(at, bool(picture))
        words = [
            value if name == "size" else f"{name} {value}"
            for name, value in rows[1:]
            if name not in _AT_LENGTH
        ]
        self.told = f"{self.image_id}: {', '.join(words)}"
        self._picture.show(
            [Tile(self.image_id, picture, self.told, title=self.image_id)],
            heading="Picked",
            summary="",
        )
        self._table.show(rows)

    def refresh(self):
        """Tell again what is known, if an image is shown."""
        if self._at is not None:
            self.show(self._at)

    def _rows(self, at, readable):
        images, facts = self._facts.images, self._facts
        rows = [("image", self.image_id), ("size", self._size(at, readable))]
        left_out = {"label", "path", *MEASURED}
        columns = ["label", *(name for name in facts.table if name not in left_out)]
        rows += [(str(name), facts.text(name, at)) for name in columns[:_MOST_COLUMNS]]
        far = facts.text("distance", at)
        rows += [("distance", f"{float(far):.3f}" if far else "")]
        path = images.path(at)
        rows += [_place(path, self.image_id), ("bytes", _n_bytes(path))]
        for view, words in (("copies", "same as"), ("near-copies", "looks like")):
            alike = self._views.alike(view, self.image_id)
            more = f" and {len(alike) - _MOST_ALIKE:,} more" if len(alike) > _MOST_ALIKE else ""
            rows.append((words, ", ".join(alike[:_MOST_ALIKE]) + more))
        return [(name, value) for name, value in rows if value]

    def _size(self, at, readable):
        if known := self._views.size(at):
            return f"{known} pixels"
        try:
            height, width = self._facts.images[at].shape[:2]
        except (ImageProblem, OSError) as problem:
            return f"cannot be read: {getattr(problem, 'reason', problem)}"
        return f"{width} × {height} pixels" if readable else "cannot be read"


def _place(path, image_id):
    """Where a file lies: its folder, if the id says the rest."""
    text = "" if path is None else path.as_posix()
    return (
        ("folder", text.removesuffix(f"/{image_id}"))
        if text.endswith(f"/{image_id}")
        else ("file", text)
    )


def _n_bytes(path):
    """Size of a file in words, "" if it has none."""
    try:
        return "" if path is None else f"{path.stat().st_size:,}"
    except OSError:
        return ""
