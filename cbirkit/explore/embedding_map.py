"""`EmbeddingMap`: a collection laid out by its embeddings, to be looked around in, selected from and asked."""

import numpy as np
from ipywidgets import Box, Dropdown, Layout

from .explorer import Explorer
from .map_canvas import NO_MARKS, MapCanvas
from .map_groups import NOTHING, Colouring
from .map_layout import GIVEN, MapLayout, checked_positions, checked_rows, named
from .map_picture import draw_map
from .map_tiles import Neighbours, SelectedGrid, judged
from .queries import query_of
from .status_line import StatusLine
from .thumbnails import ThumbnailCache
from .tile_grid import TileGrid

_LONGEST_PATH = 12


class EmbeddingMap(Explorer):
    """A map of a collection: rest on a point to see its image, click it for its neighbours, draw round points to see them.

    UMAP and t-SNE are fitted in a thread, and PCA is shown until they are ready. A map in two dimensions is an
    illustration; how far it can be believed is written below it.

    Parameters
    ----------
    images : ImageCollection
    embeddings : array (n_images, n_dims), float
        One row an image.
    method : {"umap", "tsne", "pca"} or array (n_images, 2)
        How to lay them out, or where the points are.
    colour_by : str or sequence (n_images,), optional
        A column, ``"cluster"`` (k-means), ``"error"`` (whether the nearest other image shares the instance or label),
        ``"nothing"``, or one value an image. Default: ``label`` if there, else ``instance``.
    metric : {"cosine", "euclidean"}
        Which neighbours count.
    k : int
        Neighbours of a query to show, and to measure the map by.
    random_state : int
    cache : path-like, optional
        Folder for maps that took long; by default they are kept in memory.

    Attributes
    ----------
    points : array (n_images, 2), float32
        Of the map shown: PCA's until the method's are ready.
    quality : MapQuality or None
        None while it is being measured.
    selected : list of str, ids; can be set
    query, path : str or None, list of str
        What was asked last; that and the queries before it.

    Raises
    ------
    TypeError, ValueError
        Other than one finite row an image, an unknown method, metric, column or id, a `k` below 1.

    Examples
    --------
    >>> from cbirkit.images import ImageCollection
    >>> images = ImageCollection.from_arrays(np.zeros((4, 8, 8)), labels=list("aabb"), ids=list("pqrs"))
    >>> seen = EmbeddingMap(images, np.array([[0.0, 1], [0, 2], [1, 0], [2, 0]]), method="pca", metric="euclidean", k=2)
    >>> seen.show_query("p")
    ['q', 'r']
    >>> seen.selected = ["r", "s"]
    >>> seen.selected
    ['r', 's']
    """

    def __init__(
        self, images, embeddings, *, method="umap", colour_by=None, metric="cosine", k=10, random_state=0, cache=None
    ):  # fmt: skip
        rows = checked_rows(images, embeddings, metric)
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise ValueError(f"k must be a whole number of at least 1, got {k!r}")
        self.images, self._metric, self._k = images, metric, min(int(k), len(images) - 1)
        given = None if isinstance(method, str) else checked_positions(method, images.ids)
        how = {"random_state": random_state, "cache": cache, "k": self._k}
        self._layout = MapLayout(rows, given, on_change=self._redraw, say=self._say, **how)
        method = method if given is None else GIVEN
        self._layout.check(method)
        self._colouring, self._thumbnails = Colouring(images, rows, random_state), ThumbnailCache()
        colour_by = self._colouring.resolve(colour_by)
        self._neighbours = Neighbours(images, rows, metric, self._colouring.column)
        self._chosen, self._marks, self._linked = np.empty(0, np.int64), dict(NO_MARKS), None
        self._make_parts(method, colour_by)
        super().__init__(self._arranged())
        self.add_class("cbk-explorer")
        self._canvas.colour(self._colouring.groups(colour_by))
        self._say(f"{named(method)} of {len(images):,} images, coloured by {colour_by}.")
        self._layout.start(method)
        self._connect()

    # ------------------------------------------------------------------ for use from Python

    @property
    def points(self):
        return self._layout.points

    @property
    def quality(self):
        return self._layout.quality

    @property
    def selected(self):
        return [str(i) for i in self.images.ids[self._chosen]]

    @selected.setter
    def selected(self, ids):
        self._select(np.unique(self.images.positions(ids)))
        self._canvas.select(self._chosen)

    @property
    def query(self):
        return str(self.images.ids[self._marks["query"]]) if self._marks["query"] >= 0 else None

    @property
    def path(self):
        return [str(self.images.ids[i]) for i in self._marks["path"]]

    @property
    def colour_by(self):
        """What the points are coloured by; set it to a name, or to one value an image."""
        return self._colours.value

    @colour_by.setter
    def colour_by(self, colour_by):
        name = self._colouring.resolve(colour_by)
        self._colours.unobserve(self._on_colour, "value")
        self._colours.options = self._colouring.choices
        self._colours.value = name
        self._colours.observe(self._on_colour, "value")
        self._recolour()

    @property
    def method(self):
        """How the map is (or is being) laid out; set it to lay it out anew."""
        return self._methods.value

    @method.setter
    def method(self, method):
        self._layout.check(method)
        self._methods.value = method

    def wait(self, timeout=None):
        """Wait until the map is laid out and measured, and return it; TimeoutError after `timeout` seconds.

        What went wrong in the thread is raised here, such as an ImportError for a missing package.
        """
        self._layout.wait(timeout)
        return self

    def show_query(self, query):
        """Mark the image with the id `query` and its `k` nearest by embedding; the ids of these, nearest first, as list.

        It becomes the end of the path. ValueError for an unknown id.
        """
        at = int(self.images.positions([query])[0])
        near = self._neighbours.of(at, self._k)
        verdicts, far = self._neighbours.verdicts(at, near), self._neighbours.distances(at, near)
        tiles = self._neighbours.tiles(near, far, verdicts, self._thumbnails)
        self._mark(at, near, verdicts)
        self._near.show(tiles, heading=f"Nearest to {query}", summary=judged(verdicts))
        self._arrange_lists()
        self._say(
            f"Nearest to {query} by {self._metric} distance, joined to it on the map. {judged(verdicts)}"
        )
        return [str(i) for i in self.images.ids[near]]

    def clear_path(self):
        """Forget the queries asked so far."""
        self._marks = self._canvas.marks = dict(NO_MARKS)
        self._near.show([], heading="", summary="")
        self._arrange_lists()

    def link(self, explorer):
        """Ask a `QueryExplorer` for every point that is picked, and mark on the map what it shows; returns the map."""
        if not callable(getattr(explorer, "on_show", None)):
            raise TypeError(f"link expects a QueryExplorer, got {type(explorer).__name__}")
        if self._linked is not explorer:
            self._linked = explorer
            explorer.on_show(
                lambda query, found: (
                    self._linked is explorer and self._guard(self._follow, query, found)
                )
            )
        return self

    def static(self):
        """The map as a picture, for places that run no JavaScript.

        Returns
        -------
        matplotlib.figure.Figure
        """
        texts = None if self.colour_by == NOTHING else self._colouring.groups(self.colour_by).texts
        title = f"{named(self._layout.shown)}, coloured by {self.colour_by}\n{self._layout.told}"
        return draw_map(
            self.images, self.points, texts, title=title, chosen=self._chosen, marks=self._marks
        )

    def __repr__(self):
        return f"EmbeddingMap({len(self.images):,} images, {self.method}, coloured by {self.colour_by})"

    # ------------------------------------------------------------------ what it is made of

    def _make_parts(self, method, colour_by):
        self._status, self._canvas = StatusLine(), MapCanvas(self._preview)
        self._colours = Dropdown(
            options=self._colouring.choices, value=colour_by, description="colour by"
        )
        self._methods = Dropdown(options=self._layout.choices, value=method, description="map by")
        for control in (self._colours, self._methods):
            control.layout = Layout(width="auto", max_width="240px")
            control.style.description_width = "64px"
        self._selected, self._near = (
            SelectedGrid(self.images, self._thumbnails),
            TileGrid(tile_size=84),
        )

    def _arranged(self):
        self._lists = Box([]).add_class("cbk-lists")
        return [
            Box([self._colours, self._methods]).add_class("cbk-row"),
            self._status,
            self._canvas,
            self._lists,
        ]

    def _connect(self):
        self._canvas.on_pick(lambda at: self._guard(self._pick, at))
        self._canvas.on_select(lambda chosen: self._guard(self._select, chosen))
        for grid in (self._selected.grid, self._near):
            grid.on_pick(
                lambda image_id: self._guard(self._pick, int(self.images.positions([image_id])[0]))
            )
        self._on_colour = lambda _change: self._guard(self._recolour)
        self._colours.observe(self._on_colour, "value")
        self._methods.observe(lambda _change: self._guard(self._change_method), "value")

    def _say(self, text, problem=False):
        self._status.say(text, problem=problem)

    # ------------------------------------------------------------------ events

    def _pick(self, at):
        image_id = str(self.images.ids[at])
        if self._linked is None:
            self.show_query(image_id)
            return
        self._linked.search(query_of(image_id, self.images, self._linked.queries))

    def _follow(self, query, found):
        """Mark what the linked explorer shows, as far as it is on the map."""
        at = (
            int(query.images[[query.name]].positions_in(self.images)[0])
            if query.images is not None
            else -1
        )
        places = found.images[[tile.id for tile in found.tiles]].positions_in(self.images)
        kept = [
            (int(place), tile.mark)
            for place, tile in zip(places, found.tiles, strict=True)
            if place >= 0
        ]
        self._mark(at, [place for place, _ in kept], [mark for _, mark in kept])
        where = "" if at >= 0 else " It is not on the map itself."
        self._say(
            f"The explorer asks for {query.name}; {len(kept)} of its {len(found.tiles)} results are marked.{where}"
        )

    def _select(self, chosen):
        self._chosen = chosen
        groups = self._colouring.groups(self.colour_by)
        self._selected.show(chosen, groups.texts)
        self._arrange_lists()
        self._say(f"{len(chosen):,} images selected. {groups.most_common(chosen)}")

    def _recolour(self):
        self._canvas.colour(self._colouring.groups(self.colour_by))
        self._selected.show(self._chosen, self._colouring.groups(self.colour_by).texts)
        self._redraw()
        self._say(f"Coloured by {self.colour_by}.")

    def _change_method(self):
        self._say(f"{named(self.method)} is shown.")
        self._layout.start(self.method)

    # ------------------------------------------------------------------ showing

    def _redraw(self):
        told = f"{named(self._layout.shown)}: {self._layout.told}"
        title = f"Map of {len(self.images):,} images by {named(self._layout.shown)}, coloured by {self.colour_by}"
        self._canvas.draw(self.points, title=title, summary=told)

    def _mark(self, at, near, verdicts):
        path = list(self._marks["path"])
        if at >= 0 and path[-1:] != [at]:
            path = [*path, at][-_LONGEST_PATH:]
        near = [int(i) for i in near]
        self._marks = {"query": at, "path": path, "neighbours": near, "verdicts": list(verdicts)}
        self._canvas.marks = self._marks

    def _arrange_lists(self):
        shown = [self._near] if self._near.tiles and self._linked is None else []
        self._lists.children = shown + ([self._selected] if len(self._chosen) else [])
        (self._lists.add_class if len(self._lists.children) > 1 else self._lists.remove_class)(
            "cbk-two"
        )

    def _preview(self, at):
        text = self._colouring.groups(self.colour_by).texts[at]
        picture = self._thumbnails.get(self.images, [self.images.ids[at]], 200)[0]
        return picture, f"{self.images.ids[at]}\n{text}".strip()
