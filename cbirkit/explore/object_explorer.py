"""`ObjectExplorer`: mark a thing on a picture, and see the images that hold it, and where."""

from ipywidgets import Box, Checkbox, Dropdown, IntSlider, Layout, VBox

from ..objects import GrabCut, Region, RegionQuery, RegionRetriever, as_region
from .cropper import Cropper
from .explorer import Explorer
from .object_view import outlined, region_at, result_tiles
from .picker import ImagePicker
from .picture import draw_view
from .queries import PREVIEW, Query, as_query
from .status_line import StatusLine
from .thumbnails import ThumbnailCache, encode
from .tile_grid import TileGrid


class ObjectExplorer(Explorer):
    """Drag a box around a thing, or click on it, and see the images that hold it, with the region outlined.

    A click takes the smallest region that the retriever's way of cutting finds there. A box is taken as it is, or, with "cut out" ticked,
    what GrabCut finds inside it.

    Parameters
    ----------
    retriever : RegionRetriever
        Fitted, with its images at hand.
    queries : ImageCollection, optional
        Default: the indexed images.
    query : str, path, PIL image or array, optional
    region : Region, box, mask or None
        What is marked at first; None: the whole picture.
    k : int
        Results to show.
    column : str
        Column of the indexed images that says what they hold, for the menu "holds"; left out where there is none.

    Attributes
    ----------
    found : cbirkit.objects.RegionRanking
        What is shown.

    Raises
    ------
    TypeError, ValueError
        No such retriever, one without images, an unknown query, a region that does not fit.

    Examples
    --------
    >>> ObjectExplorer(retriever, query="street.jpg", region=(40, 20, 90, 60))      # doctest: +SKIP
    """

    def __init__(self, retriever, *, queries=None, query=None, region=None, k=8, column="classes"):
        if not isinstance(retriever, RegionRetriever):
            raise TypeError(
                f"expected a fitted RegionRetriever, got {type(retriever).__name__}; see cbirkit.objects"
            )
        if getattr(retriever, "images", None) is None:
            raise ValueError(
                "the retriever has no images; call fit(images) first, or load it with images="
            )
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ValueError(f"k must be a whole number of at least 1, got {k!r}")
        self._retriever, self._thumbnails = retriever, ThumbnailCache()
        self.queries = retriever.images if queries is None else queries
        if not len(self.queries):
            raise ValueError(
                "there are no images to pick a query from; pass queries=, a collection with images"
            )
        self._column = column if column in retriever.images.table else None
        self._proposed = {}
        self._make_parts(k)
        super().__init__(self._arranged())
        self.add_class("cbk-explorer")
        first = as_query(
            self.queries.ids[0] if query is None else query, [self.queries, retriever.images]
        )
        self._show(first, as_region(region, first.picture().shape))
        self._connect()

    # ------------------------------------------------------------------ for use from Python

    @property
    def query(self):
        """Id or name of the query picture."""
        return self._query.name

    @property
    def region(self):
        """The `Region` that is searched for."""
        return self._region

    def search(self, query=None, region=None):
        """Search for a region of a picture (default: of the one shown), and return what is then shown.

        Parameters
        ----------
        query : as for the class, optional
        region : Region, box x0, y0, x1, y1, mask or None
            None: the whole picture.

        Returns
        -------
        RegionRanking

        Raises
        ------
        ValueError
            An unknown query, an empty mask, a box outside the picture; nothing changes then.
        """
        query = (
            self._query
            if query is None
            else as_query(query, [self.queries, self._retriever.images])
        )
        self._show(query, as_region(region, query.picture().shape))
        return self.found

    def click(self, x, y):
        """Search for the smallest region that is found at a pixel of the query picture.

        Raises
        ------
        ValueError
            Nothing is found there.
        """
        region = region_at(self._regions_of_query(), x, y)
        if region is None:
            raise ValueError(
                f"no region was found at ({x}, {y}); drag a box around the thing instead"
            )
        self._show(self._query, region)
        return self.found

    def static(self):
        """The view as a picture, for places that run no JavaScript.

        Returns
        -------
        matplotlib.figure.Figure
        """
        pictures = encode(self._preview()), self.query, None
        return draw_view(pictures, [("Images that hold it", self._filter_words(), self._tiles)])

    def __repr__(self):
        return f"ObjectExplorer({len(self._retriever.ids):,} images, query {self.query!r}, {self._region!r})"

    # ------------------------------------------------------------------ what it is made of

    def _make_parts(self, k):
        self._status = StatusLine()
        self._cropper = Cropper()
        self._cropper.hint = "Click a thing, or drag a box around it."
        self._grid = TileGrid(tile_size=128, heading="Images that hold it")
        self._picker = ImagePicker(self.queries, self._thumbnails, column="label")
        self._k = IntSlider(k, 1, max(48, k), description="results", continuous_update=False)
        names = (
            sorted({name for row in self._retriever.images.column(self._column) for name in row})
            if self._column
            else []
        )
        self._holds = Dropdown(
            options=[("anything", None), *((str(name), name) for name in names)],
            description="holds",
        )
        self._holds.tooltip = "Only images that are known to hold this"
        self._cut = Checkbox(False, description="cut out the thing in the box", indent=False)
        for control in (self._k, self._holds, self._cut):
            control.layout = Layout(width="auto")
        for control in (self._k, self._holds):
            control.style.description_width = "52px"

    def _arranged(self):
        controls = VBox([self._cut, self._k] + ([self._holds] if self._column else [])).add_class(
            "cbk-controls"
        )
        panel = Box([self._cropper, controls]).add_class("cbk-panel")
        lists = Box([self._grid]).add_class("cbk-lists")
        return [self._picker, self._status, Box([panel, lists]).add_class("cbk-columns")]

    def _connect(self):
        self._picker.grid.on_pick(
            lambda name: self._guard(self._show_whole, Query(name, self.queries))
        )
        self._grid.on_pick(
            lambda name: self._guard(self._show_whole, Query(name, self._retriever.images))
        )
        self._cropper.on_crop(lambda box: self._guard(self._crop, box))
        self._cropper.on_point(lambda x, y: self._guard(self.click, x, y))
        self._cropper.on_whole(lambda: self._guard(self._show_whole, self._query))
        self._cropper.on_file(
            lambda name, data: self._guard(self._show_whole, Query(name, source=data))
        )
        self._cropper.on_problem(lambda sentence: self._status.say(sentence, problem=True))
        for control in (self._k, self._holds):
            control.observe(
                lambda _change: self._guard(self._show, self._query, self._region), "value"
            )

    # ------------------------------------------------------------------ searching and showing

    def _crop(self, box):
        x, y, w, h = box
        region = Region.from_box((x, y, x + w, y + h), self._query.picture().shape)
        self._show(
            self._query,
            GrabCut(region.box).propose(self._query.picture())[0] if self._cut.value else region,
        )

    def _show_whole(self, query):
        self._show(query, as_region(None, query.picture().shape))

    def _regions_of_query(self):
        """Regions of the query picture: the indexed ones, or newly cut."""
        name, images = self._query.name, self._retriever.images
        if self._query.images is images:
            mine = self._retriever.regions_[images.table.index.get_loc(name)]
            return mine[:-1] if self._retriever.whole else mine
        key = id(self._query)
        if key not in self._proposed:
            self._proposed = {key: self._retriever.propose(self._query.picture())}
        return self._proposed[key]

    def _show(self, query, region):
        """Search first, so that nothing changes on the page if that fails."""
        images = self._retriever.images
        asked = query.name if query.images is images else query.picture()
        where = (
            None
            if self._holds.value is None
            else self._retriever.holding(self._holds.value, column=self._column)
        )
        found = self._retriever.search(
            RegionQuery(asked, region, query.name), self._k.value, where=where
        )
        tiles = result_tiles(images, found)
        self._query, self._region, self.found, self._tiles = query, region, found, tiles
        self._grid.show(tiles, summary=self._filter_words())
        height, width = region.shape
        x0, y0, x1, y1 = region.box
        whole = (x1 - x0, y1 - y0) == (width, height)
        box = None if whole else (x0, y0, x1 - x0, y1 - y0)
        self._cropper.show(encode(self._preview()), width, height, name=query.name, box=box)
        self._picker.grid.selected = query.name if query.images is self.queries else ""
        part = (
            "the whole picture"
            if whole
            else f"a region of {region.area:,} pixels in {x1 - x0} x {y1 - y0} at {x0}, {y0}"
        )
        self._status.say(f"Asked with {part} of {query.name}: {len(tiles)} images")

    def _preview(self):
        whole = self._region.area == self._region.shape[0] * self._region.shape[1]
        return outlined(self._query.picture(), [] if whole else [self._region], PREVIEW)

    def _filter_words(self):
        return "" if self._holds.value is None else f"of those that hold {self._holds.value}"
