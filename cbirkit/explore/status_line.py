"""`StatusLine`: one sentence, announced to screen readers when it changes."""

import anywidget
import traitlets

from .page import script, style


class StatusLine(anywidget.AnyWidget):
    """A line of text below the controls of an explorer; its style sheet also arranges the explorer's parts.

    Examples
    --------
    >>> line = StatusLine()
    >>> line.say("k=0 is too small", problem=True)
    >>> line.text, line.problem
    ('k=0 is too small', True)
    """

    _esm = script("status_line.js")
    _css = style("status_line.css")
    text = traitlets.Unicode("").tag(sync=True)
    problem = traitlets.Bool(False).tag(sync=True)

    def say(self, text, *, problem=False):
        """Show a sentence; `problem` sets it apart from the others."""
        with self.hold_sync():
            self.text = " ".join(str(text).split())  # one line, whatever an error message holds
            self.problem = problem
