"""`EmbeddingMap`: a collection laid out by its embeddings, to be looked around in, selected from and asked."""

from itertools import pairwise

import numpy as np
from ipywidgets import Box, Dropdown, VBox
from matplotlib.figure import Figure
from sklearn.utils import check_random_state

from cbirkit.plots import Tile, describe
from cbirkit.plots import embedding_map as draw_points
from cbirkit.plots.style import BLUE, GREY, PLAIN, VERDICTS
from cbirkit.ranking.codes import aligned

from .collection_facts import paged
from .explorer import Explorer, Task, checked_embeddings, checked_images, whole_number
from .map_groups import NOTHING, Colouring
from .projection import METHODS, check_method, is_remembered, map_quality, narrowed, project
from .queries import FixedRetriever, Judge, Query, ThumbnailCache, find, query_of
from .widgets import NO_MARKS, MapCanvas, Pager, TileGrid, labelled

GIVEN = "given positions"
_LONGEST_PATH = 12
_AT_ONCE = 5000  # of more images, the quality of a map is measured in the thread
_MOST_POINTS = 20_000  # of more, a sample is drawn on the picture
_PAGE = 24  # selected images on a page
_SIZE, _PREVIEW = 120, 200  # pixels of theirs, and of the one beside a point


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
        self,
        images,
        embeddings,
        *,
        method="umap",
        colour_by=None,
        metric="cosine",
        k=10,
        random_state=0,
    ):
        rows = _checked_rows(checked_images(images), embeddings, metric)
        self.images, self._rows, self._metric = images, rows, metric
        self._k = min(whole_number(k, "k"), len(images) - 1)
        self._seed, self._given = whole_number(random_state, "random_state", 0), None
        if not isinstance(method, str):
            self._given, method = _checked_positions(method, images.ids), GIVEN
        self._check(method)
        self._colouring, self._thumbnails = Colouring(images, rows, self._seed), ThumbnailCache()
        colour_by = self._colouring.resolve(colour_by)
        self._judge, self._linked, self._task = Judge(), None, None
        self._chosen, self._marks = np.empty(0, np.int64), dict(NO_MARKS)
        self._make_parts(method, colour_by)
        self._canvas.colour(self._colouring.groups(colour_by))
        self._status.say(f"{_named(method)} of {len(images):,} images, coloured by {colour_by}.")
        self._lay_out()

    # ------------------------------------------------------------------ for use from Python

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
        self._quiet = True
        self._colours.options, self._colours.value = self._colouring.choices, name
        self._quiet = False
        self._recolour()

    @property
    def method(self):
        """How the map is (or is being) laid out; set it to lay it out anew."""
        return self._methods.value

    @method.setter
    def method(self, method):
        self._check(method)
        self._methods.value = method

    def wait(self, timeout=None):
        """Wait until the map is laid out and measured, and return it; TimeoutError after `timeout` seconds.

        What went wrong in the thread is raised here, such as an ImportError for a missing package.
        """
        if self._task is not None:
            self._task.wait(timeout, "use method='pca'")
        return self

    def show_query(self, query):
        """Mark the image with the id `query` and its `k` nearest by embedding; the ids of these, nearest first, as list.

        It becomes the end of the path. ValueError for an unknown id.
        """
        at = int(self.images.positions([query])[0])
        far = np.linalg.norm(self._rows - self._rows[at], axis=1)
        far = far**2 / 2 if self._metric == "cosine" else far
        how = {"judge": self._judge, "thumbnails": self._thumbnails}
        found = find(FixedRetriever(self.images, far), Query(query, self.images), self._k, **how)
        marks, known = [tile.mark for tile in found.tiles], ""
        if any(marks):
            known = f"{marks.count('right')} of {len(marks)} right"
        self._mark(at, found.ranking.indices[0], marks)
        self._near.show(found.tiles, heading=f"Nearest to {query}", summary=known)
        self._arrange_lists()
        joined = f"Nearest to {query} by {self._metric} distance, joined to it on the map."
        self._status.say(f"{joined} {known}")
        return [str(tile.id) for tile in found.tiles]

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
            follow = self._guarded(self._follow)
            explorer.on_show(lambda *shown: self._linked is explorer and follow(*shown))
        return self

    def __repr__(self):
        return f"EmbeddingMap({len(self.images):,} images, {self.method}, coloured by {self.colour_by})"

    # ------------------------------------------------------------------ what it is made of

    _quiet = False

    def _make_parts(self, method, colour_by):
        pick = self._guarded(lambda name: self._pick(int(self.images.positions([name])[0])))
        self._canvas = MapCanvas(self._preview).on("pick", self._guarded(self._pick))
        self._canvas.on("select", self._guarded(self._select))
        options, given = self._colouring.choices, [("positions given", GIVEN)] * (method == GIVEN)
        self._colours = Dropdown(options=options, value=colour_by, description="colour by")
        options = given + [(words, name) for name, words in METHODS.items()]
        self._methods = Dropdown(options=options, value=method, description="map by")
        self._near, self._grid = (TileGrid(tile_size=84).on("pick", pick) for _ in range(2))
        self._pager = Pager(self._guarded(self._show_selected))
        self._selected, self._lists = VBox([self._grid, self._pager]), Box().add_class("cbk-lists")
        menus = [labelled(one, label="64px") for one in (self._colours, self._methods)]
        row = Box(menus).add_class("cbk-row")
        super().__init__([row, self._make_status(), self._canvas, self._lists])
        self._on_value([self._colours], lambda: self._quiet or self._recolour())
        self._on_value([self._methods], self._change_method)

    def _check(self, method):
        if method != GIVEN or self._given is None:
            check_method(method, len(self.images))

    # ------------------------------------------------------------------ laying out

    def _lay_out(self):
        """Show a map by the method, or PCA until that is ready; what takes long goes on in a thread."""
        method, n = self.method, len(self.images)
        ready = method == GIVEN or is_remembered(self._rows, method, random_state=self._seed)
        first, points = (method if ready else "pca"), self._given
        if first != GIVEN:
            points = project(self._rows, first, random_state=self._seed)
        self._task, turn = None, object()
        self._turn = turn
        self._take(first, points, turn, measure=n <= _AT_ONCE)
        if ready and self.quality is not None:
            return
        if not ready:
            told = f"{_named(method)} is being fitted to {n:,} images; PCA is shown so far."
            self._status.say(told)

        def work():
            if self.quality is None:
                self._take(first, points, turn)
            if not ready:
                self._take(method, project(self._rows, method, random_state=self._seed), turn)
                if turn is self._turn:
                    self._status.say(f"{_named(method)} is shown.")

        def end(failure):
            if failure is not None and turn is self._turn:
                stays = f"{_named(self._shown)} stays, for {_named(method)} failed: {failure}"
                self._status.say(stays, problem=True)

        self._task = Task(work, end, "embedding map")

    def _take(self, method, points, turn, measure=True):
        """Measure a map and show it, unless another one has been asked for meanwhile."""
        how = {"k": self._k, "random_state": self._seed}
        quality = map_quality(points, self._rows, **how) if measure else None
        if turn is self._turn:
            self.points, self._shown, self.quality = points, method, quality
            self._redraw()

    # ------------------------------------------------------------------ events

    def _pick(self, at):
        image_id = str(self.images.ids[at])
        if self._linked is None:
            self.show_query(image_id)
        else:
            self._linked.search(query_of(image_id, self.images, self._linked.queries))

    def _follow(self, query, found):
        """Mark what the linked explorer shows, as far as it is on the map."""
        at = -1
        if query.images is not None:
            at = int(query.images[[query.name]].positions_in(self.images)[0])
        places = found.images[[tile.id for tile in found.tiles]].positions_in(self.images)
        pairs = zip(places, found.tiles, strict=True)
        kept = [(place, tile.mark) for place, tile in pairs if place >= 0]
        self._mark(at, *zip(*kept, strict=True) if kept else ((), ()))
        told = f"The explorer asks for {query.name}; {len(kept)} of its {len(places)} results are marked."
        self._status.say(told + (" It is not on the map itself." if at < 0 else ""))

    def _change_method(self):
        self._status.say(f"{_named(self.method)} is shown.")
        self._lay_out()

    def _select(self, chosen):
        self._chosen = chosen
        self._show_selected(1)
        self._arrange_lists()
        common = self._colouring.groups(self.colour_by).most_common(chosen)
        self._status.say(f"{len(chosen):,} images selected. {common}")

    def _recolour(self):
        self._canvas.colour(self._colouring.groups(self.colour_by))
        self._show_selected(1)
        self._redraw()
        self._status.say(f"Coloured by {self.colour_by}.")

    # ------------------------------------------------------------------ showing

    @property
    def _told(self):
        return str(self.quality or "how far the map can be believed is being measured")

    def _redraw(self):
        name = _named(self._shown)
        title = f"Map of {len(self.images):,} images by {name}, coloured by {self.colour_by}"
        self._canvas.draw(self.points, title=title, summary=f"{name}: {self._told}")

    def _mark(self, at, near, marks):
        path = list(self._marks["path"])
        if at >= 0 and path[-1:] != [at]:
            path = [*path, at][-_LONGEST_PATH:]
        near = [int(i) for i in near]
        self._marks = {"query": at, "path": path, "neighbours": near, "verdicts": list(marks)}
        self._canvas.marks = self._marks

    def _show_selected(self, page):
        part, _, n_pages = paged(self._chosen, page, _PAGE, "images")
        ids, texts = self.images.ids[part], self._colouring.groups(self.colour_by).texts[part]
        pictures = self._thumbnails.get(self.images, ids, _SIZE)
        tiles = []
        for i, picture, text in zip(ids, pictures, texts, strict=True):
            words = {"alt": f"selected {i}, {text}".strip(" ,"), "title": f"{i}\n{text}".strip()}
            tiles.append(Tile(i, picture, caption=text, **words))
        self._grid.show(tiles, heading="Selected", summary=f"{len(self._chosen):,} images")
        self._pager.show(page, n_pages)

    def _arrange_lists(self):
        shown = [self._near] if self._near.tiles and self._linked is None else []
        self._lists.children = shown = shown + [self._selected] * bool(len(self._chosen))
        (self._lists.add_class if len(shown) > 1 else self._lists.remove_class)("cbk-two")

    def _preview(self, at):
        text = self._colouring.groups(self.colour_by).texts[at]
        picture = self._thumbnails.get(self.images, [self.images.ids[at]], _PREVIEW)[0]
        return picture, f"{self.images.ids[at]}\n{text}".strip()

    def static(self):
        """The map as a `matplotlib.figure.Figure` with a description: points with some thumbnails, the selected ones ringed."""
        points, drawn, texts = self.points, np.arange(len(self.points)), None
        title = f"{_named(self._shown)}, coloured by {self.colour_by}\n{self._told}"
        if len(points) > _MOST_POINTS:
            drawn = np.sort(check_random_state(0).choice(len(points), _MOST_POINTS, replace=False))
            title += f"; {_MOST_POINTS:,} points drawn"
        ax = Figure(figsize=(9.2, 5.6), layout="constrained").subplots()
        if self.colour_by != NOTHING:
            texts = self._colouring.groups(self.colour_by).texts[drawn]
        draw_points(points[drawn], texts, thumbnails=self.images[drawn], ax=ax)
        told = ax.get_label()
        ax.set_title(title, fontsize=9, **PLAIN)
        if n := len(self._chosen):
            ring = {"facecolors": "none", "edgecolors": "black", "linewidths": 0.8, "zorder": 5}
            ax.scatter(*points[self._chosen].T, s=46, **ring)
            told += f" {n:,} images are selected and ringed."
        for one, other in pairwise(self._marks["path"]):
            arrow = {"arrowstyle": "->", "color": BLUE, "lw": 1.5}
            ax.annotate("", xy=points[other], xytext=points[one], arrowprops=arrow, zorder=6)
        told += self._draw_query(ax)
        return describe(ax, f"{title}. {told}").figure

    def _draw_query(self, ax):
        """Lines from the query to its neighbours, drawn as `VERDICTS` has it; returns words about them."""
        points, query = self.points, self._marks["query"]
        near, verdicts = self._marks["neighbours"], self._marks["verdicts"]
        ring = {"facecolors": "none", "zorder": 6}
        for i, verdict in zip(near, verdicts, strict=True):
            colour, line = VERDICTS[verdict or "unknown"][:2]
            look = {"edgecolors": colour, "linewidths": 1.5, "linestyles": line}
            ax.scatter(*points[i], s=90, **look, **ring)
            if query >= 0:
                ax.plot(*points[[query, i]].T, color=colour, ls=line, lw=1.2, zorder=5)
        if query < 0:
            return ""
        for colour, width in (("white", 5), ("black", 2.2)):
            ax.scatter(*points[query], s=170, edgecolors=colour, linewidths=width, **ring)
        box = {"facecolor": "white", "edgecolor": GREY, "pad": 1.5, "alpha": 0.9}
        above = {"xytext": (0, 14), "textcoords": "offset points", "ha": "center", "fontsize": 8}
        ax.annotate("query", points[query], bbox=box, zorder=7, **above)
        right = f", {verdicts.count('right')} of them right" if any(verdicts) else ""
        name = self.images.ids[query]
        return f" The query {name} is joined to its {len(near)} neighbours{right}."


def _named(method):
    return METHODS.get(method, "The map of given positions")


def _checked_positions(points, ids):
    """Given positions as float32 (n_images, 2), a DataFrame matched with the ids; ValueError for anything else."""
    words = f"method must be one of {', '.join(METHODS)} or positions (n_images, 2)"
    try:
        points = np.array(aligned(points, ids, "positions"), dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{words}; {error}") from error
    if points.shape != (len(ids), 2) or not np.isfinite(points).all():
        raise ValueError(f"{words}, finite and one row an image; got the shape {points.shape}")
    return points


def _checked_rows(images, embeddings, metric):
    """Rows to compare by Euclidean distance, float32 (n_images, n_dims); of length 1 for cosine."""
    rows = checked_embeddings(embeddings, images.ids)
    if metric not in ("cosine", "euclidean"):
        raise ValueError(f"metric must be 'cosine' or 'euclidean', got {metric!r}")
    if metric == "cosine":
        largest = np.abs(rows).max(axis=1, keepdims=True).astype(np.float64)
        rows = rows / np.where(largest > 0, largest, 1)
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return narrowed(rows)
