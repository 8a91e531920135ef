"""`SketchExplorer`: draw something, and see which images are nearest to the drawing."""

from types import SimpleNamespace

import traitlets
from ipywidgets import Checkbox

from cbirkit.images.files import size_in_head
from cbirkit.plots import Section, Tile, View

from .explorer import Explorer, whole_number
from .queries import Judge, Query, ThumbnailCache, as_query, checked_retrievers
from .widgets import PageWidget, TileGrid, labelled, script, style

SIDE = 256  # pixels of the paper
MOST_BYTES = 2**20  # of a drawing
_PNG = b"\x89PNG\r\n\x1a\n"
_EMPTY = "Draw something: whenever you lift the pen, what is nearest to the drawing is searched for"


class SketchPad(PageWidget):
    """Paper to draw on with mouse, finger or pen: black lines on white, or on a picture that lies below.

    Events: "draw" (the drawing, bytes of a PNG of `SIDE` x `SIDE` pixels), "clear" (nothing), "problem" (a sentence).

    Examples
    --------
    >>> pad = SketchPad().on("problem", print)
    >>> pad.receive({"event": "draw"}, [b"GIF89a"])
    what arrived is no PNG of 256 x 256 pixels; clear the paper and draw again
    """

    _esm, _css = script("sketch_pad.js"), style("sketch_pad.css")
    _events = ("draw", "clear")
    side = traitlets.Int(SIDE).tag(sync=True)
    image = traitlets.Bytes(b"").tag(sync=True)
    strokes = traitlets.List([]).tag(sync=True)  # kept for the page alone, which may be drawn anew

    def _read(self, event, content, buffers):
        if event == "clear":
            return (event,)
        data = bytes(buffers[0][: MOST_BYTES + 1]) if len(buffers) == 1 else b""
        if len(data) > MOST_BYTES:
            raise ValueError(f"a drawing ends at {MOST_BYTES // 2**20} MiB; clear the paper")
        if not data.startswith(_PNG) or size_in_head(data) != (SIDE, SIDE):
            size = f"{SIDE} x {SIDE} pixels"
            raise ValueError(f"what arrived is no PNG of {size}; clear the paper and draw again")
        return event, data


class SketchExplorer(Explorer):
    """Draw, and see the nearest images; each finished stroke searches anew.

    Parameters
    ----------
    retriever : Retriever
        Fitted.
    drawing : str, path, bytes, PIL image or array, optional
        What lies on the paper at first; it can be drawn on.
    align : callable or object with ``transform``, optional
        Takes the embedding of a drawing (1, n_dims) to where those of the images lie (1, n_dims): a shift of means, say. It can be
        switched off and on.
    k : int
        Images to show.

    Attributes
    ----------
    found : SearchResult or None
        What is shown; None as long as nothing is drawn.

    Raises
    ------
    TypeError, ValueError
        No retriever, one without images, an `align` that cannot be called, a `k` out of range, or no such picture.

    Examples
    --------
    >>> SketchExplorer(retriever, align=lambda vectors: vectors - drawings.mean(axis=0))   # doctest: +SKIP
    """

    def __init__(self, retriever, *, drawing=None, align=None, k=12):
        self._retriever = next(iter(checked_retrievers(retriever).values()))
        self._align, self._k = getattr(align, "transform", align), whole_number(k, "k", 1, 48)
        if align is not None and not callable(self._align):
            raise TypeError(f"align must be a function of embeddings, got {type(align).__name__}")
        self._judge, self._thumbnails = Judge(), ThumbnailCache()
        self._pad, self._grid = SketchPad(), TileGrid(tile_size=104, heading="Nearest to it")
        self._aligned = Checkbox(align is not None, description="align the drawing", indent=False)
        labelled(self._aligned, "Search with the aligned embedding of the drawing")
        self._arrange(self._pad, [self._aligned] * (align is not None), [self._grid])
        self._clear() if drawing is None else self.search(drawing)
        self._pad.on("draw", self._guarded(lambda data: self._show(Query("drawing", source=data))))
        self._pad.on("clear", self._clear)
        again = self._guarded(lambda: self._query and self._show(self._query))
        self._on_value([self._aligned], again)

    def search(self, drawing, *, aligned=None):
        """Put a picture on the paper, and return the ranking of what is nearest to it.

        Parameters
        ----------
        drawing : str, path, bytes, PIL image or array
            A string is taken as an id of an indexed image first.
        aligned : bool, optional
            Default: as the switch is.

        Returns
        -------
        Ranking

        Raises
        ------
        ValueError
            No such picture, or one that cannot be read; nothing changes then.
        """
        query = as_query(drawing, [self._retriever.images])
        with self._quietly():
            self._aligned.value = self._aligned.value if aligned is None else bool(aligned)
        self._show(query)
        self._pad.strokes, self._pad.image = [], query.preview(self._thumbnails)
        return self.found.ranking

    def __repr__(self):
        return f"SketchExplorer({self._query or 'nothing drawn'}, k={self._k})"

    def _clear(self):
        self._query, self.found, self._told = None, None, f"{_EMPTY}."
        self._pad.strokes, self._pad.image = [], b""
        self._grid.show([])
        self._status.say(self._told)

    def _show(self, query):
        """Search first, so that nothing changes on the page if that fails."""
        searched = self._retriever
        if self._align is not None and self._aligned.value:
            rows = self._align(searched.encoder_.transform([query.pixels()]))
            search = lambda _asked, k: self._retriever.search_embeddings(rows, k)
            searched = SimpleNamespace(images=searched.images, search=search)
        self.found, self._query = self._find(searched, query, self._k), query
        self._grid.show(self.found.tiles)
        how = "" if self._align is None else ", aligned" if self._aligned.value else ", not aligned"
        names = ", ".join(tile.caption for tile in self.found.tiles[:3])
        self._told = f"Nearest to {query.name}{how}: {names}"
        self._status.say(self._told)

    def _view(self):
        if self.found is None:
            return View("Sketch", self._told)
        tile = Tile(self._query.name, self._query.pixels(), caption=self._query.name, mark="query")
        return View("Sketch", self._told, [Section("Nearest", "", self.found.tiles)], tile)
