"""`TileGrid`: pictures as buttons, with rank, caption and a right/wrong mark; for every explorer."""

import logging
from dataclasses import dataclass

import anywidget
import traitlets

from .page import script, style

log = logging.getLogger(__name__)
MARKS = ("", "right", "wrong", "junk")


@dataclass(frozen=True)
class Tile:
    """One picture of a grid.

    Attributes
    ----------
    id : str
        What `TileGrid.on_pick` hands over when it is clicked.
    image : bytes
        An encoded picture (JPEG or PNG); empty if it cannot be read.
    alt : str
        What a screen reader says.
    caption, note, title : str
        Text below, to the left and right; what is shown while the mouse rests on it. Any text is safe.
    rank : int or None
        Number in the corner.
    mark : "", "right", "wrong" or "junk"
    """

    id: str
    image: bytes
    alt: str = ""
    caption: str = ""
    note: str = ""
    title: str = ""
    rank: int | None = None
    mark: str = ""

    def state(self):
        """What is sent to the page."""
        if self.mark not in MARKS:
            raise ValueError(
                f"the mark of tile {self.id!r} must be one of {MARKS}, got {self.mark!r}"
            )
        return dict(vars(self), alt=self.alt or f"image {self.id}", title=self.title or self.id)


class TileGrid(anywidget.AnyWidget):
    """A grid of pictures that can be clicked, or reached with Tab and the arrow keys.

    Parameters
    ----------
    tiles : sequence of Tile
    heading, summary : str
        Above the grid.
    tile_size : int
        Least width of a tile in CSS pixels; the grid fits in as many columns as there is room for.

    Examples
    --------
    >>> grid = TileGrid([Tile("a.jpg", b"")], heading="One picture")
    >>> picked = []
    >>> grid.on_pick(picked.append)
    >>> grid.receive({"event": "pick", "id": "a.jpg"})
    >>> picked
    ['a.jpg']
    """

    _esm = script("tile_grid.js")
    _css = style("tile_grid.css")
    tiles = traitlets.List(traitlets.Dict()).tag(sync=True)
    heading = traitlets.Unicode("").tag(sync=True)
    summary = traitlets.Unicode("").tag(sync=True)
    selected = traitlets.Unicode("").tag(sync=True)
    tile_size = traitlets.Int(112).tag(sync=True)

    def __init__(self, tiles=(), *, heading="", summary="", tile_size=112):
        super().__init__(
            tiles=[tile.state() for tile in tiles],
            heading=heading,
            summary=summary,
            tile_size=tile_size,
        )
        self._callbacks = []
        self.on_msg(lambda _widget, content, _buffers: self.receive(content))

    def show(self, tiles, *, heading=None, summary=None):
        """Replace the pictures (and the text above them) in one message to the page."""
        with self.hold_sync():
            self.tiles = [tile.state() for tile in tiles]
            self.heading = self.heading if heading is None else heading
            self.summary = self.summary if summary is None else summary

    @property
    def ids(self):
        """list of str: what is shown, in order."""
        return [tile["id"] for tile in self.tiles]

    def on_pick(self, callback):
        """Call ``callback(id)`` when a tile is clicked."""
        self._callbacks.append(callback)

    def receive(self, content):
        """Handle a message from the page; one that names no tile shown is ignored, and logged."""
        known = (
            isinstance(content, dict)
            and content.get("event") == "pick"
            and content.get("id") in self.ids
        )
        if not known:
            log.warning("TileGrid ignored a message that picks none of its tiles")
            return
        for callback in self._callbacks:
            callback(content["id"])
