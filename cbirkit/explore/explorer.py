"""`Explorer`: what the explorers share: mistakes told in the status line, work in a thread, a picture for places without a kernel."""

import io
import logging
from base64 import b64encode
from threading import Thread

import numpy as np
from ipywidgets import Box, VBox

from cbirkit.encoders.base import check_number
from cbirkit.images import ImageCollection

from .queries import check_type, find, query_of
from .widgets import Controls, StatusLine

log = logging.getLogger(__name__)
_OF_THE_READER = (ValueError, TypeError, LookupError, OSError, ImportError)


class Explorer(Controls, VBox):
    """An explorer, which a notebook keeps with a picture, for readers who have no kernel.

    Its parts are made before, `_status` is a `StatusLine`, and `_view` says what is shown. Those that search have `_judge` and
    `_thumbnails`.
    """

    def __init__(self, parts):
        super().__init__(parts)
        self.add_class("cbk-explorer")

    def __repr__(self):
        return f"{type(self).__name__}({self._status.text})"

    def static(self):
        """What is shown as a picture, for places that run no JavaScript.

        Returns
        -------
        matplotlib.figure.Figure
            Its first Axes has a description, see `cbirkit.plots.alt_text`.
        """
        return self._view().draw()

    def _repr_mimebundle_(self, **kwargs):
        """The widget, and beside it its picture."""
        bundle, buffer, figure = super()._repr_mimebundle_(**kwargs), io.BytesIO(), self.static()
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        figure.savefig(buffer, format="png", dpi=72, metadata={"Software": None})
        picture = b64encode(buffer.getvalue()).decode("ascii")
        told = {"image/png": {"alt": figure.axes[0].get_label()}}
        return data | {"image/png": picture}, metadata | told

    def _arrange(self, page, controls, lists, *above):
        """Make the explorer: parts `above`, the status line, then a part with controls under it beside lists.

        What goes wrong with a message of `page`, which may be None, is told.
        """
        parts = [] if page is None else [page]
        panel = Box([*parts, VBox(controls).add_class("cbk-controls")]).add_class("cbk-panel")
        self._lists = Box(lists).add_class("cbk-lists")
        columns = Box([panel, self._lists]).add_class("cbk-columns")
        Explorer.__init__(self, [*above, self._make_status(), columns])
        for part in parts:
            part.on("problem", lambda sentence: self._status.say(sentence, problem=True))

    def _make_status(self):
        self._status = StatusLine()
        return self._status

    def _find(self, retriever, query, k):
        """The `SearchResult` of a query."""
        return find(retriever, query, k, judge=self._judge, thumbnails=self._thumbnails)

    def _guarded(self, action, *first):
        """`action` as a callback of which mistakes are told; `first` are handed to it before other arguments."""
        return lambda *args: self._guard(action, *first, *args)

    def _guard(self, action, *args):
        """Do what was asked for; what goes wrong is told in the status line."""
        try:
            action(*args)
        except Exception as error:
            words = str(error)
            if not isinstance(error, _OF_THE_READER):  # a defect: the log has the traceback
                log.exception("%s failed", type(self).__name__)
                words = f"this failed with {type(error).__name__}: {words}; the log has the details"
            self._status.say(words, problem=True)


class Linked(Explorer):
    """One that works in a thread, `_task`, and can be linked with a `QueryExplorer`, which it then asks; it has `images`."""

    _linked = _task = None

    def wait(self, timeout=None):
        """Wait until all that the thread does is done, and return the explorer; TimeoutError after `timeout` seconds.

        What went wrong in the thread is raised here, such as a ValueError if no image can be read, or an ImportError for a missing
        package.
        """
        if self._task is not None:
            self._task.wait(timeout, self._advice)
        return self

    def link(self, explorer):
        """Ask a `QueryExplorer` for every picture or point that is picked, in place of an earlier one; returns this explorer."""
        if not callable(getattr(explorer, "on_show", None)):
            raise TypeError(f"link expects a QueryExplorer, got {type(explorer).__name__}")
        if self._linked is not explorer:
            self._linked, follow = explorer, self._guarded(self._follow)
            explorer.on_show(lambda *shown: self._linked is explorer and follow(*shown))
        return self

    def _ask(self, image_id):
        self._linked.search(query_of(image_id, self.images, self._linked.queries))

    def _follow(self, query, found):
        """Show what the linked explorer shows."""


class Task:
    """Work that goes on in a thread, while the page answers.

    Parameters
    ----------
    work : callable
    on_end : callable
        ``on_end(failure)`` in the thread, with the exception that ended the work or None.
    """

    def __init__(self, work, on_end, name):
        self._work, self._on_end, self.failure = work, on_end, None
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self._work()
        except Exception as error:  # told where the reader looks; `wait` raises it
            log.warning("%s failed", self._thread.name, exc_info=True)
            self.failure = error
        self._on_end(self.failure)

    def wait(self, timeout, advice=""):
        """Wait for the end, and raise what went wrong; TimeoutError if it takes longer, where there is an advice."""
        self._thread.join(timeout)
        if advice and self._thread.is_alive():
            raise TimeoutError(f"not ready after {timeout} s; wait longer, or {advice}")
        if self.failure is not None:
            raise self.failure


def whole_number(value, name, least=1, most=np.inf):
    """`value` as an int within bounds; ValueError for anything else."""
    check_number(name, value, least, most, whole=True)
    return int(value)


def checked_images(images):
    """A collection with images; TypeError or ValueError for anything else."""
    check_type("images", images, ImageCollection, "datasets.from_folder")
    if not len(images):
        raise ValueError("the collection has no images; see its .problems for files refused")
    return images
