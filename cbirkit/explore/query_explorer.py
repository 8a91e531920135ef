"""`QueryExplorer`: choose a query by eye, see what one or two retrievers find for it."""

from ipywidgets import Dropdown, IntSlider, Text

from cbirkit.objects import Region
from cbirkit.plots import Section, Tile, View

from .explorer import Explorer, whole_number
from .object_view import outlined
from .picker import ImagePicker
from .queries import PREVIEW, Judge, Query, ThumbnailCache, as_query, checked_retrievers
from .widgets import Cropper, TileGrid, button, labelled

_MOST_REMEMBERED = 100


class QueryPage(Explorer):
    """What explorers have in common that search for a query: a picker, a cropper, controls, and lists of results.

    `_retrievers` are there by name before `_make_page` is called.
    """

    _judge, _reads_words = Judge("label"), False

    def _make_page(self, queries, ask, *, grids, controls, cropper=None):
        """Make and arrange the parts.

        `queries` are those to pick from (default: the images of the first retriever); ``ask(query)`` searches for one.
        """
        first = next(iter(self._retrievers.values())).images
        self.queries = first if queries is None else queries
        if not len(self.queries):
            raise ValueError("there are no images to pick a query from; pass queries= with images")
        self._thumbnails, self._grids = ThumbnailCache(), grids
        column = self._judge.column(self.queries)
        pick = self._guarded(lambda name: ask(Query(name, self.queries)))
        self._picker = ImagePicker(self.queries, self._thumbnails, pick, column=column)
        self._arrange(cropper, controls, grids, self._picker)
        if cropper is not None:
            events = {"whole": lambda: self._crop(None), "crop": self._crop}
            events["file"] = lambda name, data: ask(Query(name, source=data))
            for event, action in events.items():
                cropper.on(event, self._guarded(action))

    @property
    def query(self):
        """Id or name of the query; `QueryExplorer` searches for an id, path, image or array that it is set to."""
        return self._query.name

    def _as_query(self, query):
        """A `Query` of what a caller gives; the first of `queries` for None."""
        query = self.queries.ids[0] if query is None else query
        searched = [retriever.images for retriever in self._retrievers.values()]
        return as_query(query, [self.queries, *searched], words=self._reads_words)

    def _mark_query(self, query):
        """Remember the query that is shown, and set it off in the picker."""
        self._query = query
        self._picker.grid.selected = query.name if query.images is self.queries else ""


class QueryExplorer(QueryPage):
    """Pick a query and see its neighbours.

    A query is picked from pages of thumbnails, uploaded or dropped as a file, cropped out of the query with the mouse
    (or with the arrow keys, or by numbers), is a result that was clicked, or is written as words (see `cbirkit.text`). Every result shows rank, distance, label
    and, where labels tell, whether it is right.

    Parameters
    ----------
    retriever : Retriever or dict of Retriever
        Fitted. With several, two names at a time are chosen to be compared side by side.
    queries : ImageCollection, optional
        To pick from. Default: the images that the (first) retriever has indexed.
    query : str, path, PIL image or array, optional
        Shown first. Default: the first of `queries`.
    k : int
        Results to show.
    by : str, optional
        Column that a right result shares with the query. Default: ``instance`` if there, else ``label``.
    relevance : Relevance, optional
        Says what is right, instead of `by`.

    Attributes
    ----------
    queries : ImageCollection
    rankings : dict of Ranking
        What is shown, by the retriever's name; `ranking` is the left one.
    timings : dict of float
        Milliseconds that each search took, encoding of the query included.
    history : list of Query
        What `back` goes through, the last one last.

    Raises
    ------
    TypeError, ValueError
        No retriever; one that was not fitted; an unknown column; a `k` below 1.

    Examples
    --------
    >>> QueryExplorer(retriever)                                        # doctest: +SKIP
    >>> QueryExplorer({"colour": by_colour, "SIFT": by_words}, k=8)     # doctest: +SKIP
    """

    _reads_words = True

    def __init__(self, retriever, *, queries=None, query=None, k=12, by=None, relevance=None):
        self._retrievers = checked_retrievers(retriever)
        k, names = whole_number(k, "k"), list(self._retrievers)
        self._judge = Judge(by, relevance)
        self._query, self._found, self.history, self._listeners = None, {}, [], []
        self._back = button("Back", "The query before this one", self._guarded(self.back))
        self._k = IntSlider(k, 1, max(48, k), description="results", continuous_update=False)
        self._left = Dropdown(options=names, description="left")
        others, right = [("nothing", None), *((name, name) for name in names)], names[1:2] or [None]
        self._right = Dropdown(options=others, value=right[0], description="right")
        controls = [self._k, self._left, self._right][: 3 if len(names) > 1 else 1]
        self._cropper, grids = Cropper(), [TileGrid(tile_size=104) for _ in names[:2]]
        self._words = Text(placeholder="or say what you look for", continuous_update=False)
        shown = [self._back, *map(labelled, controls), labelled(self._words, "Search by words")]
        parts = {"cropper": self._cropper, "controls": shown}
        self._make_page(queries, self._show, grids=grids, **parts)
        if by is not None:
            self.queries.column(by), self._retrievers[names[0]].images.column(by)
        self._show(self._as_query(query), remember=False)
        for which, grid in enumerate(self._grids):
            grid.on("pick", self._guarded(self._pick_result, which))
        again = self._guarded(lambda: self._show(self._query, remember=False))
        self._on_value(controls, again)
        self._on_value([self._words], self._guarded(self._read_words))

    # ------------------------------------------------------------------ for use from Python

    @QueryPage.query.setter
    def query(self, query):
        self.search(query)

    @property
    def k(self):
        """Results asked for."""
        return self._k.value

    @k.setter
    def k(self, k):
        k = whole_number(k, "k")
        self._k.max = max(self._k.max, k)
        self._k.value = k

    def search(self, query, *, box=None):
        """Show what is nearest to a query, and return the (left) ranking.

        Parameters
        ----------
        query : str, path, bytes, PIL image, array or Query
            An id of `queries` or of an indexed image, else a picture of one's own, or words.
        box : tuple of 4 int, optional
            Search for this region (x, y, width, height) of it only.

        Returns
        -------
        Ranking

        Raises
        ------
        ValueError
            No such id or file, a picture that cannot be read (`ImageProblem`), or a box with no pixel in it.
        """
        query = self._as_query(query)
        self._show(query if box is None else query.cut(box))
        return self.ranking

    def back(self):
        """Show the query before this one again."""
        if not self.history:
            raise ValueError("there is no query to go back to")
        self._show(self.history[-1], remember=False)
        self.history.pop()
        self._back.disabled = not self.history

    def on_show(self, callback):
        """Call ``callback(query, found)`` with a `Query` and the (left) `SearchResult`, after each search."""
        self._listeners.append(callback)

    def __repr__(self):
        names = ", ".join(map(repr, self._retrievers))
        return f"QueryExplorer({names}; {len(self.queries):,} queries, query {self.query!r}, k={self.k})"

    # ------------------------------------------------------------------ events

    def _crop(self, box):
        self._show(self._query.cut(box))

    def _read_words(self):
        if words := self._words.value.strip():
            self._show(Query(words, words=True))

    def _pick_result(self, which, image_id):
        self._show(Query(image_id, list(self._found.values())[which].images))

    # ------------------------------------------------------------------ searching and showing

    def _show(self, query, *, remember=True):
        """Search first, so that nothing changes on the page if that fails."""
        both = dict.fromkeys([self._left.value, self._right.value])
        names = [name for name in both if name is not None]
        found = {name: self._find(self._retrievers[name], query, self.k) for name in names}
        preview, size = query.preview(self._thumbnails), query.size()
        if remember and not query.same_as(self._query):
            self.history = [*self.history, self._query][-_MOST_REMEMBERED:]
        self._found = found
        self.rankings = {name: one.ranking for name, one in found.items()}
        self.ranking = next(iter(self.rankings.values()))
        self.timings = {name: one.milliseconds for name, one in found.items()}
        for grid, (name, one) in zip(self._grids, found.items(), strict=False):
            grid.show(one.tiles, heading=name, summary=one.summary)
        self._lists.children = self._grids[: len(found)]
        (self._lists.add_class if len(found) > 1 else self._lists.remove_class)("cbk-two")
        self._cropper.show(preview, *size, name=query.name, box=query.box)
        self._mark_query(query)
        self._back.disabled = not self.history
        part = " (region of {2} x {3} px at {0}, {1})".format(*query.box) if query.box else ""
        names = {name: f"{name}: " * (len(found) > 1) for name in found}
        told = "; ".join(f"{names[name]}{one.summary}" for name, one in found.items())
        self._status.say(f"Nearest to {query.name}{part}: {told}")
        for listener in self._listeners:
            listener(query, next(iter(found.values())))

    def _view(self):
        """The time taken is left out, so that the same view gives the same picture."""
        query, picture = self._query, self._query.preview(self._thumbnails)
        if query.box is not None:
            (x, y, w, h), pixels = query.box, query.picture()
            region = Region.from_box((x, y, x + w, y + h), pixels.shape)
            picture = outlined(pixels, [region], PREVIEW)
        found = [Section(name, one.judged, one.tiles) for name, one in self._found.items()]
        tile = Tile(query.name, picture, caption=query.name, mark="query")
        return View(f"Query {query.name}", "", found, tile)
