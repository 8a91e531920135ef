"""`TextTable`: a table of plain text, with bars and with rows that can be picked; for every explorer."""

import logging

import anywidget
import traitlets

from .page import script, style

log = logging.getLogger(__name__)


class TextTable(anywidget.AnyWidget):
    """A table whose first column names its rows. Any text is safe.

    Examples
    --------
    >>> table = TextTable()
    >>> table.show([["cat", "12"], ["dog", "4"]], caption="Classes", shares=[1, 1 / 3], pickable=[True, True])
    >>> table.on_pick(print)
    >>> table.receive({"event": "pick", "row": 1})
    1
    """

    _esm = script("text_table.js")
    _css = style("text_table.css")
    caption = traitlets.Unicode("").tag(sync=True)
    columns = traitlets.List(traitlets.Unicode()).tag(sync=True)
    rows = traitlets.List(traitlets.List(traitlets.Unicode())).tag(sync=True)
    shares = traitlets.List(traitlets.Float()).tag(sync=True)
    pickable = traitlets.List(traitlets.Bool()).tag(sync=True)

    def __init__(self):
        super().__init__()
        self._callbacks = []
        self.on_msg(lambda _widget, content, _buffers: self.receive(content))

    def show(self, rows, *, caption="", columns=(), shares=(), pickable=()):
        """Replace the table.

        Parameters
        ----------
        rows : sequence of sequence of str
        caption : str
        columns : sequence of str
            Heads; none are shown if empty.
        shares : sequence of float in [0, 1]
            Lengths of bars, one a row; no bars if empty.
        pickable : sequence of bool
            Whether the name of each row is a button; none is if empty.
        """
        with self.hold_sync():
            self.rows = [[str(cell) for cell in row] for row in rows]
            self.caption, self.columns, self.pickable = caption, list(columns), list(pickable)
            self.shares = [float(share) for share in shares]

    def on_pick(self, callback):
        """Call ``callback(row)``, a number from 0, when a row is picked."""
        self._callbacks.append(callback)

    def receive(self, content):
        """Handle a message from the page; one that names no row is ignored, and logged."""
        row = (
            content.get("row")
            if isinstance(content, dict) and content.get("event") == "pick"
            else None
        )
        if type(row) is not int or not 0 <= row < len(self.pickable) or not self.pickable[row]:
            log.warning("TextTable ignored a message that picks none of its rows")
            return
        for callback in self._callbacks:
            callback(row)
