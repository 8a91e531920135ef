"""`ChoiceRow`: buttons of which one is pressed."""

import logging

import anywidget
import traitlets

from .page import script, style

log = logging.getLogger(__name__)


class ChoiceRow(anywidget.AnyWidget):
    """A row of buttons, one of them pressed; told to screen readers, and shown by a line as well as by colour.

    Parameters
    ----------
    options : sequence of (str, str)
        Words on a button, and what it stands for.
    name : str
        What is chosen, for screen readers.

    Examples
    --------
    >>> row = ChoiceRow([("copies (2)", "copies"), ("classes (9)", "classes")], name="view")
    >>> row.on_choose(print)
    >>> row.receive({"event": "choose", "value": "classes"})
    classes
    """

    _esm = script("choice_row.js")
    _css = style("choice_row.css")
    options = traitlets.List(traitlets.Tuple(traitlets.Unicode(), traitlets.Unicode())).tag(
        sync=True
    )
    value = traitlets.Unicode("").tag(sync=True)
    name = traitlets.Unicode("").tag(sync=True)

    def __init__(self, options, *, name):
        options = [tuple(option) for option in options]
        super().__init__(options=options, value=options[0][1], name=name)
        self._callbacks = []
        self.on_msg(lambda _widget, content, _buffers: self.receive(content))

    def on_choose(self, callback):
        """Call ``callback(value)`` when a button is pressed; `value` itself stays for the callback to set."""
        self._callbacks.append(callback)

    def receive(self, content):
        """Handle a message from the page; one that names no option is ignored, and logged."""
        values = [value for _, value in self.options]
        if (
            not isinstance(content, dict)
            or content.get("event") != "choose"
            or content.get("value") not in values
        ):
            log.warning("ChoiceRow ignored a message that chooses none of its options")
            return
        for callback in self._callbacks:
            callback(content["value"])
