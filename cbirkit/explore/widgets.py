"""The parts of a page that explorers are made of: they show text and pictures, and report what the reader does."""

import logging
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import anywidget
import numpy as np
import traitlets
from ipywidgets import BoundedIntText, Box, Button, Label, Layout

from .queries import checked_box, is_box

log = logging.getLogger(__name__)
MAX_BYTES = 64 * 2**20
NO_MARKS = {"query": -1, "path": [], "neighbours": [], "verdicts": []}
_HERE = Path(__file__).parent


def script(*names):
    """One ES module of files of this folder, after ``page.js``, which all share.

    Examples
    --------
    >>> script("status_line.js").startswith("// What the scripts of all explorers begin with.")
    True
    """
    parts = [(_HERE / name).read_text(encoding="utf-8") for name in ("page.js", *names)]
    return "\n".join([*parts, "export default { render };"])


def style(*names):
    """One style sheet of files of this folder, after ``page.css``, which all share."""
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in ("page.css", *names))


def _synced(kind, default=""):
    return kind(default).tag(sync=True)


class PageWidget(anywidget.AnyWidget):
    """A widget whose page sends messages; `_read` says what they mean, the event "problem" what was wrong with one."""

    _events = ("pick",)

    def __init__(self, **traits):
        super().__init__(**traits)
        self._callbacks = defaultdict(list)
        self.on_msg(lambda _widget, content, buffers: self.receive(content, buffers))

    def on(self, event, callback):
        """Call ``callback(*args)`` when the page reports an event; returns the widget."""
        self._callbacks[event].append(callback)
        return self

    def receive(self, content, buffers=()):
        """Handle a message from the page, trusting nothing in it."""
        try:
            event = content.get("event") if isinstance(content, dict) else None
            if event not in self._events:
                raise ValueError("a message of the page is not known; run the cell again")
            event, *args = self._read(event, content, buffers)
        except (ValueError, TypeError, KeyError) as problem:
            log.warning("%s ignored a message: %s", type(self).__name__, problem)
            event, args = "problem", [str(problem)]
        for callback in self._callbacks[event]:
            callback(*args)

    def _read(self, event, content, buffers):
        """The event and the arguments of its callbacks; ValueError, TypeError or KeyError if the message makes no sense."""
        raise NotImplementedError


def _one_of(value, known):
    if not isinstance(value, str | int) or isinstance(value, bool) or value not in known:
        raise ValueError(f"{value!r} is none of what is shown")
    return value


class StatusLine(PageWidget):
    """One sentence, announced to screen readers when it changes; its style sheet also arranges an explorer's parts.

    Examples
    --------
    >>> line = StatusLine()
    >>> line.say("k=0 is too small", problem=True)
    >>> line.text, line.problem
    ('k=0 is too small', True)
    """

    _esm, _css = script("status_line.js"), style("status_line.css")
    text = _synced(traitlets.Unicode)
    problem = _synced(traitlets.Bool, False)

    def say(self, text, *, problem=False):
        """Show a sentence; `problem` sets it apart from the others."""
        with self.hold_sync():
            self.text = " ".join(str(text).split())  # one line, whatever an error message holds
            self.problem = problem


class ChoiceRow(PageWidget):
    """A row of buttons, one of them pressed; told to screen readers, and shown by a line as well as by colour.

    Attributes
    ----------
    options : sequence of (str, str)
        Words on a button, and what it stands for, which the event "choose" hands over.
    value : str
        What the pressed one stands for; it is for the callback to set.
    name : str
        What is chosen, for screen readers.
    adding : str
        Words in a field for what is none of the options; the event "add" hands over the text. Without words there is no field.

    Examples
    --------
    >>> row = ChoiceRow(options=[("copies (2)", "copies"), ("classes (9)", "classes")]).on("choose", print)
    >>> row.receive({"event": "choose", "value": "classes"})
    classes
    """

    _esm, _css, _events = script("choice_row.js"), style(), ("choose", "add")
    options = _synced(traitlets.List, [])
    value = _synced(traitlets.Unicode)
    name = _synced(traitlets.Unicode)
    adding = _synced(traitlets.Unicode)

    def _read(self, event, content, buffers):
        if event == "add" and self.adding:
            return event, "" + content["text"]  # TypeError for what is no text
        return event, _one_of(content["value"], [value for _, value in self.options])


class TextTable(PageWidget):
    """A table of plain text whose first column names its rows, with bars; the event "pick" hands over the number of a row.

    Examples
    --------
    >>> from cbirkit.plots import Table
    >>> table = TextTable().on("pick", print)
    >>> table.show(Table(("class", "images"), [("cat", "12"), ("dog", "4")], [12, 4], [{"label": "cat"}, None]))
    >>> table.receive({"event": "pick", "row": 0})
    0
    """

    _esm, _css = script("text_table.js"), style("text_table.css")
    table = _synced(traitlets.Dict, {"rows": [], "pickable": []})

    def show(self, table, *, caption="", **texts):
        """Show a `cbirkit.plots.Table`; its rows that filter are buttons, with `titles`, of which one may be `pressed`."""
        rows = [[str(cell) for cell in row] for row in table.rows]
        pickable = [i for i, one in enumerate(table.filters) if one]
        shares = table.shares if table.counts else []
        shown = {"caption": caption, "columns": table.columns, "rows": rows}
        self.table = shown | {"shares": shares, "pickable": pickable} | texts

    def _read(self, event, content, buffers):
        return event, _one_of(content["row"], self.table["pickable"])


class TileGrid(PageWidget):
    """A grid of pictures that can be clicked, or reached with Tab and the arrow keys; the event "pick" hands over an id.

    Attributes
    ----------
    heading, summary : str
        Above the grid.
    selected : str
        Id of the tile that is set off.
    tile_size : int
        Least width of a tile in CSS pixels; the grid fits in as many columns as there is room for.
    hot_keys : list of str
        Keys, in lower case, that mean something on a tile: the event "key" hands over the key and the id,
        which may have gone meanwhile. A message {"event": "focus"}
        to the page moves the focus to the tile used last, if it is in the same explorer.

    Examples
    --------
    >>> from cbirkit.plots import Tile
    >>> grid = TileGrid(heading="One picture").on("pick", print)
    >>> grid.show([Tile("a.jpg", b"")])
    >>> grid.receive({"event": "pick", "id": "a.jpg"})
    a.jpg
    """

    _esm, _css, _events = script("tile_grid.js"), style("tile_grid.css"), ("pick", "key")
    tiles = _synced(traitlets.List, [])
    heading = _synced(traitlets.Unicode)
    summary = _synced(traitlets.Unicode)
    selected = _synced(traitlets.Unicode)
    tile_size = _synced(traitlets.Int, 112)
    hot_keys = _synced(traitlets.List, [])

    def show(self, tiles, **texts):
        """Replace the pictures, and the `heading` and the `summary` where they are given, in one message to the page."""
        with self.hold_sync():
            self.tiles = [tile.state() for tile in tiles]
            for name, text in texts.items():
                self.set_trait(name, text)

    @property
    def ids(self):
        """list of str: what is shown, in order."""
        return [tile["id"] for tile in self.tiles]

    def _read(self, event, content, buffers):
        key = [_one_of(content["key"], self.hot_keys)] if event == "key" else []
        return event, *key, str(content["id"]) if key else _one_of(content["id"], self.ids)


class Cropper(PageWidget):
    """A picture of which a region is chosen with the mouse, the arrow keys or by numbers; files are dropped on it.

    Events: "crop" (a box), "point" (x, y; a click without a drag, refused where nobody asks for it), "whole" (nothing),
    "file" (name, bytes), "problem" (a sentence).

    Examples
    --------
    >>> cropper = Cropper().on("crop", print)
    >>> cropper.show(b"", 640, 480, name="a.jpg")
    >>> cropper.receive({"event": "crop", "box": [600, 0, 100, 20]})  # clipped to the picture
    (600, 0, 40, 20)
    """

    _esm, _css = script("cropper.js"), style("cropper.css")
    _events = ("crop", "file", "whole")
    view = _synced(traitlets.Dict, {"image": b"", "width": 1, "height": 1, "name": "", "box": []})
    hint = _synced(traitlets.Unicode, "Drag over the picture to search for a part of it.")
    max_bytes = _synced(traitlets.Int, MAX_BYTES)
    _arriving = None, []  # of a file: (name, size, number of parts), list of bytes

    def show(self, image, width, height, *, name="", box=None):
        """Show a picture.

        Parameters
        ----------
        image : bytes
            Encoded, of any size: it is scaled to fit.
        width, height : int
            Pixels of the original, which boxes are counted in.
        name : str
        box : tuple of 4 int, optional
            Region (x, y, width, height) to set off.
        """
        box = [int(value) for value in box or ()]
        size = {"width": int(width), "height": int(height)}
        self.view = {"image": image, "name": name, "box": box, **size}

    def _read(self, event, content, buffers):
        if event == "crop":
            box = content.get("box")
            if self._callbacks["point"] and is_box(box) and not any(box[2:]):
                return "point", *box[:2]
            return event, checked_box(box, self.view["width"], self.view["height"])
        if event == "file":
            return self._read_part(content, buffers)
        return (event,)

    def _read_part(self, content, buffers):
        """Put a file together that comes in parts."""
        name = str(content.get("name"))[:200]
        size, part, parts = (content.get(key) for key in ("size", "part", "parts"))
        if not all(type(n) is int and n >= 0 for n in (size, part, parts)) or len(buffers) != 1:
            raise ValueError(f"the upload of {name} was not understood; run the cell again")
        if size > MAX_BYTES:
            limit = f"uploads end at {MAX_BYTES // 2**20} MiB"
            raise ValueError(f"{name} is {size / 2**20:.0f} MiB and {limit}; search(path) takes it")
        head = name, size, parts
        known, chunks = self._arriving if part else (head, [])
        self._arriving = None, []
        if known != head or len(chunks) != part:
            raise ValueError(f"parts of {name} were lost on the way; upload it again")
        chunks = [*chunks, bytes(buffers[0])]
        if part + 1 < parts:
            self._arriving = head, chunks
            return ("part",)
        data = b"".join(chunks)
        if len(data) != size:
            raise ValueError(f"{name} arrived with {len(data)} of its {size} bytes; retry")
        return "file", name, data


class MapCanvas(PageWidget):
    """Points of several groups, drawn by the page on a canvas of its own; nothing is loaded from elsewhere.

    Drag with the lasso or the box to select, or to move the map; turn the wheel over the focused map to zoom. With the
    keyboard: arrow keys go from point to point, Enter picks, Space selects, + - 0 zoom, Shift with an arrow moves.
    Events: "pick" (position), "select" (ascending positions, int64).

    Parameters
    ----------
    preview : callable
        ``preview(position) -> (bytes, str)``: encoded picture and text to show beside a point.

    Examples
    --------
    >>> canvas = MapCanvas(lambda i: (b"", f"image {i}")).on("select", lambda chosen: print(chosen.tolist()))
    >>> canvas.draw(np.array([[0.0, 0.0], [4.0, 2.0]]))
    >>> np.frombuffer(canvas.points, "<f4").tolist()  # centred, the longer side from -1 to 1
    [-1.0, -0.5, 1.0, 0.5]
    >>> canvas.receive({"event": "select"}, [np.array([1], "<u4").tobytes()])
    [1]
    """

    _esm, _css = script("map_points.js", "map_canvas.js"), style("map_canvas.css")
    _events = ("pick", "hover", "select")
    points = _synced(traitlets.Bytes, b"")  # float32 (n, 2), little-endian, within -1 to 1
    groups = _synced(traitlets.Bytes, b"")  # uint8 (n,)
    chosen = _synced(traitlets.Bytes, b"")  # uint32 positions of the selected points
    legend = _synced(traitlets.List, [])
    marks = _synced(traitlets.Dict, NO_MARKS)
    title = _synced(traitlets.Unicode)
    summary = _synced(traitlets.Unicode)

    def __init__(self, preview):
        super().__init__()
        self.on("hover", lambda at: self._send_preview(at, *preview(at)))

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

    def _send_preview(self, at, picture, text):
        self.send({"event": "preview", "at": at, "text": text}, [picture])

    def _read(self, event, content, buffers):
        there = range(len(self.points) // 8)
        if event == "select":
            (buffer,) = buffers
            positions = np.unique(np.frombuffer(buffer, "<u4").astype(np.int64))
            _one_of(int(positions.max(initial=0)), there)
            return event, positions
        return event, _one_of(content["at"], there)


class Controls:
    """A box whose standard controls do something when a reader changes them, but not when they are set quietly."""

    _quiet = False

    @contextmanager
    def _quietly(self):
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    def _on_value(self, controls, action):
        """Do `action` when a reader changes the value of one of the controls."""
        for control in controls:
            control.observe(lambda _change: self._quiet or action(), "value")


class Pager(Controls, Box):
    """Buttons for the page before and after, and a field for its number; ``on_turn(page)`` is called with one from 1."""

    def __init__(self, on_turn):
        turn = lambda by: on_turn(self._page.value + by)
        self._previous = button("Previous", "The page before", lambda: turn(-1))
        self._next = button("Next", "The page after", lambda: turn(1))
        self._page = BoundedIntText(1, min=1, max=1, description="page")
        labelled(self._page, "Number of the page", width="110px", label="36px")
        self._on_value([self._page], lambda: on_turn(self._page.value))
        self._of = Label()
        super().__init__([self._previous, self._next, self._page, self._of])
        self.add_class("cbk-row")

    def show(self, page, n_pages):
        """Set the controls, without telling anybody."""
        with self._quietly(), self._page.hold_sync():
            self._page.max = max(n_pages, self._page.value)
            self._page.value, self._page.max = page, n_pages
        self._of.value = f"of {n_pages:,}"
        self._previous.disabled, self._next.disabled = page == 1, page == n_pages
        reveal(n_pages > 1, self)


def button(text, tooltip, action):
    """A standard button."""
    made = Button(description=text, tooltip=tooltip, layout=Layout(width="auto"))
    made.on_click(lambda _button: action())
    return made


def labelled(control, tooltip="", *, width="auto", label="52px"):
    """A standard control, as wide as said, with its label; returns it."""
    control.layout.width, control.tooltip = width, tooltip or None
    control.style.description_width = label
    return control


def reveal(shown, *parts):
    """Show or hide some parts."""
    for part in parts:
        part.layout.display = None if shown else "none"
