"""`QueryExplorer`: choose a query by eye, see what one or two retrievers find for it."""

from ipywidgets import Box, Button, Dropdown, IntSlider, Layout, VBox

from .cropper import Cropper
from .explorer import Explorer
from .judge import Judge
from .picker import ImagePicker
from .picture import draw_view
from .queries import Query, as_query
from .results import checked_retrievers, find
from .status_line import StatusLine
from .thumbnails import ThumbnailCache
from .tile_grid import TileGrid

_MOST_REMEMBERED = 100


class QueryExplorer(Explorer):
    """Pick a query and see its neighbours.

    A query is picked from pages of thumbnails, uploaded or dropped as a file, cropped out of the query with the mouse
    (or with the arrow keys, or by numbers), or is a result that was clicked. Every result shows rank, distance, label
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

    def __init__(self, retriever, *, queries=None, query=None, k=12, by=None, relevance=None):
        self._retrievers = checked_retrievers(retriever)
        if isinstance(k, bool) or int(k) != k or k < 1:
            raise ValueError(f"k must be a whole number of at least 1, got {k!r}")
        first = next(iter(self._retrievers.values())).images
        self.queries = first if queries is None else queries
        if not len(self.queries):
            raise ValueError(
                "there are no images to pick a query from; pass queries=, a collection with images"
            )
        self._judge = Judge(by, relevance)
        if by is not None:
            self.queries.column(by), first.column(by)
        self._thumbnails = ThumbnailCache()
        self._current, self._found, self.history, self._listeners = None, {}, [], []
        self._make_parts(int(k))
        super().__init__(self._arranged())
        self.add_class("cbk-explorer")
        self._show(
            as_query(self.queries.ids[0] if query is None else query, self._collections()),
            remember=False,
        )
        self._connect()

    # ------------------------------------------------------------------ for use from Python

    @property
    def query(self):
        """Id or name of the query shown; set it to an id, path, image or array to search for that."""
        return self._current.name

    @query.setter
    def query(self, query):
        self.search(query)

    @property
    def ranking(self):
        """The (left) ranking shown."""
        return next(iter(self._found.values())).ranking

    @property
    def rankings(self):
        return {name: found.ranking for name, found in self._found.items()}

    @property
    def timings(self):
        return {name: found.milliseconds for name, found in self._found.items()}

    @property
    def k(self):
        """Results asked for."""
        return self._k.value

    @k.setter
    def k(self, k):
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        self._k.max = max(self._k.max, int(k))
        self._k.value = int(k)

    def search(self, query, *, box=None):
        """Show what is nearest to a query, and return the (left) ranking.

        Parameters
        ----------
        query : str, path, bytes, PIL image, array or Query
            An id of `queries` or of an indexed image, else a picture of one's own.
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
        query = as_query(query, self._collections())
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
        """Call ``callback(query, found)`` with a `Query` and what the (left) retriever found, after each search."""
        self._listeners.append(callback)

    def static(self, query=None):
        """The view as a picture, for places that run no JavaScript.

        The time taken is left out, so that the same view gives the same picture.

        Parameters
        ----------
        query : as in `search`, optional
            Default: what is shown. The explorer itself does not change.

        Returns
        -------
        matplotlib.figure.Figure
        """
        asked, found = self._current, self._found
        if query is not None:
            asked = as_query(query, self._collections())
            found = {name: self._find(name, asked) for name in self._shown_names()}
        width, height = asked.size()
        share = None
        if asked.box is not None:
            x, y, w, h = asked.box
            share = x / width, y / height, w / width, h / height
        picture = asked.preview(self._thumbnails), asked.name, share
        return draw_view(picture, [(name, one.judged, one.tiles) for name, one in found.items()])

    def __repr__(self):
        names = ", ".join(map(repr, self._retrievers))
        return f"QueryExplorer({names}; {len(self.queries):,} queries, query {self.query!r}, k={self.k})"

    # ------------------------------------------------------------------ what it is made of

    def _make_parts(self, k):
        names = list(self._retrievers)
        self._status = StatusLine()
        self._cropper = Cropper()
        self._grids = [TileGrid(tile_size=104) for _ in names[:2]]
        self._picker = ImagePicker(
            self.queries, self._thumbnails, column=self._judge.column(self.queries)
        )
        self._back = Button(
            description="Back",
            icon="arrow-left",
            tooltip="The query before this one",
            disabled=True,
        )
        self._k = IntSlider(k, 1, max(48, k), description="results", continuous_update=False)
        left = "left" if len(names) > 1 else "method"
        self._left = Dropdown(options=names, value=names[0], description=left)
        others = [("nothing", None), *((name, name) for name in names)]
        self._right = Dropdown(
            options=others, value=names[1] if len(names) > 1 else None, description="right"
        )
        self._back.layout = Layout(width="auto", align_self="flex-start")
        for control in (self._k, self._left, self._right):
            control.layout = Layout(width="auto")
            control.style.description_width = "52px"

    def _arranged(self):
        controls = VBox(
            [self._back, self._k] + ([self._left, self._right] if len(self._grids) > 1 else [])
        )
        controls.add_class("cbk-controls")
        self._lists = Box(self._grids).add_class("cbk-lists")
        panel = Box([self._cropper, controls]).add_class("cbk-panel")
        columns = Box([panel, self._lists]).add_class("cbk-columns")
        return [self._picker, self._status, columns]

    def _connect(self):
        """Let events in; every one is guarded, so that what goes wrong is told in the status line."""
        for grid, which in zip(self._grids, (0, 1), strict=False):
            grid.on_pick(
                lambda image_id, which=which: self._guard(self._pick_result, which, image_id)
            )
        self._picker.grid.on_pick(
            lambda image_id: self._guard(self._show_of, self.queries, image_id)
        )
        self._cropper.on_crop(lambda box: self._guard(self._crop, box))
        self._cropper.on_whole(lambda: self._guard(self._crop, None))
        self._cropper.on_file(lambda name, data: self._guard(self._upload, name, data))
        self._cropper.on_problem(lambda sentence: self._status.say(sentence, problem=True))
        self._back.on_click(lambda _button: self._guard(self.back))
        for control in (self._k, self._left, self._right):
            control.observe(lambda _change: self._guard(self._again), "value")

    # ------------------------------------------------------------------ events

    def _show_of(self, images, image_id):
        self._show(Query(image_id, images))

    def _pick_result(self, which, image_id):
        self._show_of(self._retrievers[list(self._found)[which]].images, image_id)

    def _crop(self, box):
        self._show(self._current.cut(box))

    def _upload(self, name, data):
        self._show(Query(name, source=data))

    def _again(self):
        self._show(self._current, remember=False)

    # ------------------------------------------------------------------ searching and showing

    def _collections(self):
        return [self.queries, *(retriever.images for retriever in self._retrievers.values())]

    def _shown_names(self):
        both = [self._left.value, self._right.value if len(self._grids) > 1 else None]
        return list(dict.fromkeys(name for name in both if name is not None))

    def _find(self, name, query):
        return find(
            self._retrievers[name],
            query,
            self._k.value,
            judge=self._judge,
            thumbnails=self._thumbnails,
        )

    def _show(self, query, *, remember=True):
        """Search first, so that nothing changes on the page if that fails."""
        found = {name: self._find(name, query) for name in self._shown_names()}
        preview, size = query.preview(self._thumbnails), query.size()
        if remember and self._current is not None and not query.same_as(self._current):
            self.history = [*self.history, self._current][-_MOST_REMEMBERED:]
        self._current, self._found = query, found
        for grid, (name, one) in zip(self._grids, found.items(), strict=False):
            grid.show(one.tiles, heading=name, summary=one.summary)
        self._lists.children = self._grids[: len(found)]
        (self._lists.add_class if len(found) > 1 else self._lists.remove_class)("cbk-two")
        self._cropper.show(preview, *size, name=query.name, box=query.box)
        self._picker.grid.selected = query.name if query.images is self.queries else ""
        self._back.disabled = not self.history
        part = (
            "" if query.box is None else " (region of {2} x {3} px at {0}, {1})".format(*query.box)
        )
        told = "; ".join(
            f"{name}: {one.summary}" if len(found) > 1 else one.summary
            for name, one in found.items()
        )
        self._status.say(f"Nearest to {query.name}{part}: {told}")
        for listener in self._listeners:
            listener(query, next(iter(found.values())))
