"""`MapCanvas`: points in the plane that are hovered over, picked, and selected with a lasso or a box."""

import logging

import anywidget
import numpy as np
import traitlets

from .page import script, style

log = logging.getLogger(__name__)
NO_MARKS = {"query": -1, "path": [], "neighbours": [], "verdicts": []}


class MapCanvas(anywidget.AnyWidget):
    """Points of several groups, drawn by the page on a canvas of its own; nothing is loaded from elsewhere.

    Drag with the lasso or the box to select, or to move the map; turn the wheel over the focused map to zoom. With the
    keyboard: arrow keys go from point to point, Enter picks, Space selects, + - 0 zoom, Shift with an arrow moves.

    Parameters
    ----------
    preview : callable
        ``preview(position) -> (bytes, str)``: encoded picture and text to show beside a point.

    Examples
    --------
    >>> canvas = MapCanvas(lambda i: (b"", f"image {i}"))
    >>> canvas.draw(np.array([[0.0, 0.0], [4.0, 2.0]]))
    >>> np.frombuffer(canvas.points, "<f4").tolist()  # centred, the longer side from -1 to 1
    [-1.0, -0.5, 1.0, 0.5]
    >>> canvas.on_select(lambda chosen: print(chosen.tolist()))
    >>> canvas.receive({"event": "select"}, [np.array([1], "<u4").tobytes()])
    [1]
    """

    _esm = script("map_points.js", "map_parts.js", "map_canvas.js")
    _css = style("map_canvas.css")
    points = traitlets.Bytes(b"").tag(sync=True)  # float32 (n, 2), little-endian, within -1 to 1
    groups = traitlets.Bytes(b"").tag(sync=True)  # uint8 (n,)
    chosen = traitlets.Bytes(b"").tag(sync=True)  # uint32 positions of the selected points
    legend = traitlets.List(traitlets.Dict()).tag(sync=True)
    marks = traitlets.Dict(NO_MARKS).tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)
    summary = traitlets.Unicode("").tag(sync=True)
    height = traitlets.Int(480).tag(sync=True)

    def __init__(self, preview):
        super().__init__()
        self._preview = preview
        self._on_pick, self._on_select = [], []
        self.on_msg(lambda _widget, content, buffers: self.receive(content, buffers))

    def __len__(self):
        return len(self.points) // 8

    def draw(self, points, *, title="", summary=""):
        """Show points (n, 2) of any scale."""
        low, high = points.min(axis=0), points.max(axis=0)
        half = float((high - low).max()) / 2 or 1.0
        unit = (np.asarray(points, np.float64) - (low + high) / 2) / half
        with self.hold_sync():
            self.points = unit.astype("<f4").tobytes()
            self.title, self.summary = title, summary

    def colour(self, groups):
        """Colour and shape the points by `Groups`."""
        with self.hold_sync():
            self.groups, self.legend = groups.codes.tobytes(), groups.legend

    def select(self, positions):
        """Mark points as selected."""
        self.chosen = np.asarray(positions, "<u4").tobytes()

    def on_pick(self, callback):
        """Call ``callback(position)`` when a point is clicked, or Enter is pressed on it."""
        self._on_pick.append(callback)

    def on_select(self, callback):
        """Call ``callback(positions)``, int64 and ascending, when points are selected on the page."""
        self._on_select.append(callback)

    def receive(self, content, buffers=()):
        """Handle a message from the page; one that names no point is ignored, and logged."""
        event = content.get("event") if isinstance(content, dict) else None
        try:
            if event == "select":
                positions = self._positions(buffers)
                for callback in self._on_select:
                    callback(positions)
            elif event in ("pick", "hover"):
                self._touch(event, self._position(content.get("at")))
            else:
                raise ValueError("it is of no known kind")
        except ValueError as problem:
            log.warning("MapCanvas ignored a message: %s", problem)

    def _touch(self, event, at):
        if event == "hover":
            picture, text = self._preview(at)
            self.send({"event": "preview", "at": at, "text": text}, [picture])
        else:
            for callback in self._on_pick:
                callback(at)

    def _position(self, at):
        if isinstance(at, bool) or not isinstance(at, int) or not 0 <= at < len(self):
            raise ValueError(f"there is no point {at!r} among {len(self)}")
        return at

    def _positions(self, buffers):
        if len(buffers) != 1 or len(memoryview(buffers[0]).cast("B")) % 4:
            raise ValueError("a selection is one buffer of uint32")
        positions = np.unique(np.frombuffer(buffers[0], "<u4").astype(np.int64))
        if len(positions) and positions[-1] >= len(self):
            raise ValueError(f"there is no point {positions[-1]} among {len(self)}")
        return positions
