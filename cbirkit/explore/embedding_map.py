"""`EmbeddingMap`: a collection laid out by its embeddings, to be looked around in, selected from and asked."""

from itertools import pairwise

import numpy as np
from ipywidgets import Box, Dropdown, GridBox, Layout, VBox
from matplotlib.figure import Figure
from sklearn.cluster import MiniBatchKMeans

from cbirkit import plots
from cbirkit.encoders.base import check_choice
from cbirkit.images.tables import text_of
from cbirkit.learning import projection
from cbirkit.learning.projection import checked_embeddings
from cbirkit.plots.style import BLUE, GREY, PLAIN, VERDICTS
from cbirkit.ranking.codes import aligned

from .collection_views import paged
from .explorer import Linked, Task, checked_images, whole_number
from .queries import FixedRetriever, Judge, Query, ThumbnailCache
from .widgets import NO_MARKS, MapCanvas, Pager, TileGrid, labelled

GIVEN = "given positions"
NOTHING, CLUSTER, ERROR, GIVEN_VALUES = "nothing", "cluster", "error", "given values"
_MOST_VALUES = 1000  # a column with more different values is not offered to colour by
_MOST_FOR_ERRORS = 20_000  # all pairs are compared
_LONGEST_PATH = 12
_AT_ONCE = 5000  # of more images, the quality of a map is measured in the thread
_MOST_POINTS = 20_000  # of more, a sample is drawn on the picture
_PAGE = 24  # selected images on a page
_PREVIEW = 200  # pixels of the picture beside a point


class Colouring:
    """What the points of a map are coloured by: a column, clusters, errors, or values of one's own, each computed when it is first asked for.

    Parameters
    ----------
    images : ImageCollection
    embeddings : array (n_images, n_dims)
    random_state : int
        Of the clusters.
    """

    def __init__(self, images, embeddings, random_state):
        self._images, self._embeddings, self._seed = images, embeddings, random_state
        self._made = {}
        self.column = next((name for name in ("instance", "label") if name in images.table), None)

    @property
    def choices(self):
        """list of str: what `groups` can be asked for by name."""
        table, n = self._images.table, len(self._images)
        columns = [one for one in table if 2 <= table[one].map(text_of).nunique() <= _MOST_VALUES]
        usual = ("label", "instance", "split", "domain")
        made = [CLUSTER] * (n > 2) + [ERROR] * (bool(self.column) and 1 < n <= _MOST_FOR_ERRORS)
        given = [GIVEN_VALUES] * (GIVEN_VALUES in self._made)
        first = [NOTHING, *given, *(name for name in usual if name in columns)]
        return list(dict.fromkeys([*first, *columns, *made]))

    def resolve(self, colour_by):
        """The name that `colour_by` (a name, None for the default, or one value an image) goes by; ValueError if none."""
        choices, ids = self.choices, self._images.ids
        if colour_by is None:
            return next((name for name in ("label", "instance") if name in choices), NOTHING)
        if isinstance(colour_by, str):
            check_choice("colour_by", colour_by, choices)
            return colour_by
        if not hasattr(colour_by, "__len__"):
            got = type(colour_by).__name__
            raise TypeError(f"colour_by must be a name or one value an image, got {got}")
        values = list(aligned(colour_by, ids, "colour_by"))
        self._made[GIVEN_VALUES] = plots.maps.group(values, len(ids))
        return GIVEN_VALUES

    def groups(self, name):
        """`Groups` by one of `choices`."""
        if name not in self._made:
            made = {NOTHING: lambda: None, CLUSTER: self._clusters, ERROR: self._errors}
            column = name in self._images.table
            values = self._images.column(name) if column else made[name]()
            self._made[name] = plots.maps.group(values, len(self._images))
        return self._made[name]

    def _clusters(self):
        n_clusters = int(np.clip(round(np.sqrt(len(self._images) / 2)), 2, 10))
        kmeans = MiniBatchKMeans(n_clusters, n_init=3, random_state=self._seed)
        return [f"cluster {one:02d}" for one in kmeans.fit_predict(self._embeddings) + 1]

    def _errors(self):
        """Whether the nearest other image shares the column that decides."""
        texts = np.array([text_of(one) for one in self._images.column(self.column)], dtype=object)
        found = projection.nearest(self._embeddings, np.arange(len(texts)), 1)[:, 0]
        right = np.where(texts == texts[found], "nearest is right", "nearest is wrong")
        return np.where(texts == "", None, right)  # "": missing


class EmbeddingMap(Linked):
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

    _advice = "use method='pca'"
    _twin = None  # the map beside this one

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
        self._judge, self._chosen = Judge(), np.empty(0, np.int64)
        self.query, self.path = None, []
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

    def beside(self, other):
        """This map and another one side by side: what is selected or picked in one is so in both, as far as both hold it.

        Parameters
        ----------
        other : EmbeddingMap
            Of other embeddings of the same images, say.

        Returns
        -------
        ipywidgets.GridBox

        Raises
        ------
        TypeError, ValueError
            Not a map; no image in common.
        """
        if not isinstance(other, EmbeddingMap):
            raise TypeError(f"beside expects an EmbeddingMap, got {type(other).__name__}")
        if other is self or not len(self._shared(self.images.ids, other)):
            raise ValueError("beside expects another map that holds some of the same images")
        self._twin, other._twin = other, self
        columns = "repeat(auto-fit, minmax(min(440px, 100%), 1fr))"
        return GridBox([self, other], layout=Layout(grid_template_columns=columns, grid_gap="24px"))

    @staticmethod
    def _shared(ids, other):
        return np.array(ids)[np.isin(ids, other.images.ids)]

    @property
    def colour_by(self):
        """What the points are coloured by; set it to a name, or to one value an image."""
        return self._colours.value

    @colour_by.setter
    def colour_by(self, colour_by):
        name = self._colouring.resolve(colour_by)
        with self._quietly():
            self._colours.options, self._colours.value = self._colouring.choices, name
        self._recolour()

    @property
    def method(self):
        """How the map is (or is being) laid out; set it to lay it out anew."""
        return self._methods.value

    @method.setter
    def method(self, method):
        self._check(method)
        self._methods.value = method

    def show_query(self, query):
        """Mark the image with the id `query` and its `k` nearest by embedding; the ids of these, nearest first, as list.

        It becomes the end of the path. ValueError for an unknown id.
        """
        at = int(self.images.positions([query])[0])
        far = np.linalg.norm(self._rows - self._rows[at], axis=1)
        far = far**2 / 2 if self._metric == "cosine" else far
        retriever = FixedRetriever(self.images, far)
        found = self._find(retriever, Query(query, self.images), self._k)
        marks = [tile.mark for tile in found.tiles]
        known = f"{marks.count('right')} of {len(marks)} right" if any(marks) else ""
        self._mark(at, found.ranking.indices[0], marks)
        self._near.show(found.tiles, heading=f"Nearest to {query}", summary=known)
        self._arrange_lists()
        joined = f"Nearest to {query} by {self._metric} distance, joined to it on the map."
        self._status.say(f"{joined} {known}")
        return [str(tile.id) for tile in found.tiles]

    def clear_path(self):
        """Forget the queries asked so far."""
        self._canvas.marks, self.query, self.path = NO_MARKS, None, []
        self._near.show([], heading="", summary="")
        self._arrange_lists()

    # ------------------------------------------------------------------ what it is made of

    def _make_parts(self, method, colour_by):
        pick = self._guarded(lambda name: self._pick(int(self.images.positions([name])[0])))
        self._canvas = MapCanvas(self._preview).on("pick", self._guarded(self._pick))
        self._canvas.on("select", self._guarded(self._select))
        options, given = self._colouring.choices, [("positions given", GIVEN)] * (method == GIVEN)
        self._colours = Dropdown(options=options, value=colour_by, description="colour by")
        options = given + [(words, name) for name, words in projection.METHODS.items()]
        self._methods = Dropdown(options=options, value=method, description="map by")
        self._near, self._grid = (TileGrid(tile_size=84).on("pick", pick) for _ in range(2))
        self._pager = Pager(self._guarded(self._show_selected))
        self._selected, self._lists = VBox([self._grid, self._pager]), Box().add_class("cbk-lists")
        menus = [labelled(one, label="64px") for one in (self._colours, self._methods)]
        row = Box(menus).add_class("cbk-row")
        super().__init__([row, self._make_status(), self._canvas, self._lists])
        self._on_value([self._colours], self._guarded(self._recolour))
        self._on_value([self._methods], self._guarded(self._change_method))

    def _check(self, method):
        if method != GIVEN or self._given is None:
            projection.check_method(method, len(self.images))

    # ------------------------------------------------------------------ laying out

    def _lay_out(self):
        """Show a map by the method, or PCA until that is ready; what takes long goes on in a thread."""
        method, n = self.method, len(self.images)
        ready = method == GIVEN
        ready = ready or projection.is_remembered(self._rows, method, random_state=self._seed)
        first = method if ready else "pca"
        self._task, self._turn = None, (turn := object())
        self._take(first, turn, measure=n <= _AT_ONCE)
        if ready and self.quality is not None:
            return
        if not ready:
            told = f"{_named(method)} is being fitted to {n:,} images; PCA is shown so far."
            self._status.say(told)

        def work():
            if self.quality is None:
                self._take(first, turn)
            if not ready and self._take(method, turn):
                self._status.say(f"{_named(method)} is shown.")

        def end(failure):
            if failure is not None and turn is self._turn:
                stays = f"{_named(self._shown)} stays, for {_named(method)} failed: {failure}"
                self._status.say(stays, problem=True)

        self._task = Task(work, end, "embedding map")

    def _take(self, method, turn, measure=True):
        """Make a map, measure it and show it, unless another one has been asked for meanwhile; whether it is shown."""
        points, quality = self._given, None
        if method != GIVEN:
            points = projection.project(self._rows, method, random_state=self._seed)
        if measure:
            quality = projection.map_quality(points, self._rows, k=self._k, random_state=self._seed)
        if turn is not self._turn:
            return False
        self.points, self._shown, self.quality = points, method, quality
        self._told = str(quality or "how far the map can be believed is being measured")
        self._redraw()
        return True

    # ------------------------------------------------------------------ events

    def _pick(self, at):
        image_id = str(self.images.ids[at])
        if self._linked is None:
            self.show_query(image_id)
        else:
            self._ask(image_id)
        if self._twin is not None and len(self._shared([image_id], self._twin)):
            self._twin.show_query(image_id)

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
        if self._twin is not None:
            ids = self._shared(self.images.ids[chosen], self._twin)
            if set(ids) != set(self._shared(self._twin.selected, self)):
                self._twin.selected = ids

    def _recolour(self):
        self._canvas.colour(self._colouring.groups(self.colour_by))
        self._show_selected(1)
        self._redraw()
        self._status.say(f"Coloured by {self.colour_by}.")

    # ------------------------------------------------------------------ showing

    def _redraw(self):
        name = _named(self._shown)
        title = f"Map of {len(self.images):,} images by {name}, coloured by {self.colour_by}"
        self._canvas.draw(self.points, title=title, summary=f"{name}: {self._told}")

    def _mark(self, at, near, marks):
        path, near = self._canvas.marks["path"], [int(i) for i in near]
        if at >= 0 and path[-1:] != [at]:
            path = [*path, at][-_LONGEST_PATH:]
        marks = {"query": at, "path": path, "neighbours": near, "verdicts": list(marks)}
        self._canvas.marks = marks
        self.query = str(self.images.ids[at]) if at >= 0 else None
        self.path = [str(self.images.ids[i]) for i in path]

    def _show_selected(self, page):
        part, _, n_pages = paged(self._chosen, page, _PAGE, "images")
        ids, texts = self.images.ids[part], self._colouring.groups(self.colour_by).texts[part]
        tiles = self._thumbnails.tiles(self.images, ids, texts, "selected", captions=True)
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
        points, drawn = self.points, np.arange(len(self.points))
        title = f"{_named(self._shown)}, coloured by {self.colour_by}\n{self._told}"
        if len(points) > _MOST_POINTS:
            random = np.random.RandomState(0)
            drawn = np.sort(random.choice(len(points), _MOST_POINTS, replace=False))
            title += f"; {_MOST_POINTS:,} points drawn"
        ax = Figure(figsize=(9.2, 5.6), layout="constrained").subplots()
        groups = self._colouring.groups(self.colour_by)
        texts = None if self.colour_by == NOTHING else groups.texts[drawn]
        plots.embedding_map(points[drawn], texts, thumbnails=self.images[drawn], ax=ax)
        told = ax.get_label()
        ax.set_title(title, fontsize=9, **PLAIN)
        if n := len(self._chosen):
            ring = {"facecolors": "none", "edgecolors": "black", "linewidths": 0.8, "zorder": 5}
            ax.scatter(*points[self._chosen].T, s=46, **ring)
            told += f" {n:,} images are selected and ringed."
        for one, other in pairwise(self._canvas.marks["path"]):
            arrow = {"arrowstyle": "->", "color": BLUE, "lw": 1.5}
            ax.annotate("", xy=points[other], xytext=points[one], arrowprops=arrow, zorder=6)
        told += self._draw_query(ax)
        return plots.describe(ax, f"{title}. {told}").figure

    def _draw_query(self, ax):
        """Lines from the query to its neighbours, drawn as `VERDICTS` has it; returns words about them."""
        points, marks = self.points, self._canvas.marks
        query, near, verdicts = (marks[name] for name in ("query", "neighbours", "verdicts"))
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
        return f" The query {self.query} is joined to its {len(near)} neighbours{right}."


def _named(method):
    return projection.METHODS.get(method, "The map of given positions")


def _checked_positions(points, ids):
    """Given positions as float32 (n_images, 2), a DataFrame matched with the ids; ValueError for anything else."""
    try:
        points = checked_embeddings(points, ids, "positions").astype(np.float32)
        if points.shape[1] != 2 or not np.isfinite(points).all():
            raise ValueError(f"got {points.dtype} of the shape {points.shape}")
    except (TypeError, ValueError) as error:
        known = ", ".join(projection.METHODS)
        words = f"method must be one of {known} or positions (n_images, 2); {error}"
        raise ValueError(words) from error
    return points


def _checked_rows(images, embeddings, metric):
    """Rows to compare by Euclidean distance, float32 (n_images, n_dims); of length 1 for cosine."""
    rows = checked_embeddings(embeddings, images.ids)
    check_choice("metric", metric, ("cosine", "euclidean"))
    if metric == "cosine":
        largest = np.abs(rows).max(axis=1, keepdims=True).astype(np.float64)
        rows = rows / np.where(largest > 0, largest, 1)
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return projection.narrowed(rows)
