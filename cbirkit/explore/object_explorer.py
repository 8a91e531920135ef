"""`ObjectExplorer`: mark a thing on a picture, and see the images that hold it, and where."""

from ipywidgets import Checkbox, Dropdown, IntSlider

from cbirkit.objects import GrabCut, Region, RegionQuery, RegionRetriever, as_region
from cbirkit.plots.tiles import Section, Tile, View, encode

from .explorer import whole_number
from .object_view import outlined, region_at, result_tiles
from .queries import PREVIEW, Query, check_type, checked_retrievers
from .query_explorer import QueryPage
from .widgets import Cropper, TileGrid, labelled


class ObjectExplorer(QueryPage):
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
    region : cbirkit.objects.Region
        What is searched for.

    Raises
    ------
    TypeError, ValueError
        No such retriever, one without images, an unknown query, a region that does not fit.

    Examples
    --------
    >>> ObjectExplorer(retriever, query="street.jpg", region=(40, 20, 90, 60))      # doctest: +SKIP
    """

    def __init__(self, retriever, *, queries=None, query=None, region=None, k=8, column="classes"):
        check_type("retriever", retriever, RegionRetriever, "cbirkit.objects")
        self._retrievers, images = checked_retrievers(retriever), retriever.images
        self._retriever, self._proposed, k = retriever, (None, None), whole_number(k, "k")
        self._column = column if column in images.table else None
        names = {name for row in images.column(column) for name in row} if self._column else ()
        self._k = IntSlider(k, 1, max(48, k), description="results", continuous_update=False)
        options = [("anything", None), *((str(name), name) for name in sorted(names))]
        self._holds = Dropdown(options=options, description="holds")
        labelled(self._holds, "Only images that are known to hold this")
        self._cut = labelled(Checkbox(description="cut out the thing in the box", indent=False))
        controls = [self._cut, labelled(self._k)] + [self._holds] * bool(self._column)
        self._grid = TileGrid(tile_size=128, heading="Images that hold it")
        self._cropper = Cropper(hint="Click a thing, or drag a box around it.")
        parts = {"controls": controls, "cropper": self._cropper}
        self._make_page(queries, self.search, grids=[self._grid], **parts)
        self._cropper.on("point", self._guarded(self.click))
        self._grid.on("pick", self._guarded(lambda name: self.search(Query(name, images))))
        self.search(self._as_query(query), region)
        again = self._guarded(lambda: self._show(self._query, self.region))
        self._on_value([self._k, self._holds], again)

    # ------------------------------------------------------------------ for use from Python

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
        query = self._query if query is None else self._as_query(query)
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
            raise ValueError(f"no region was found at ({x}, {y}); drag a box around the thing")
        self._show(self._query, region)
        return self.found

    # ------------------------------------------------------------------ searching and showing

    def _crop(self, box):
        if box is None:
            return self.search()
        x, y, w, h = box
        region = Region.from_box((x, y, x + w, y + h), self.region.shape)
        if self._cut.value:
            region = GrabCut(region.box).propose(self._query.picture())[0]
        return self._show(self._query, region)

    def _regions_of_query(self):
        """Regions of the query picture: the indexed ones, or newly cut."""
        images = self._retriever.images
        if self._query.images is images:
            mine = self._retriever.regions_[images.table.index.get_loc(self.query)]
            return mine[:-1] if self._retriever.whole else mine
        if self._proposed[0] is not self._query:
            self._proposed = self._query, self._retriever.propose(self._query.picture())
        return self._proposed[1]

    def _show(self, query, region):
        """Search first, so that nothing changes on the page if that fails."""
        images, holds = self._retriever.images, self._holds.value
        asked = query.name if query.images is images else query.picture()
        where = None if holds is None else self._retriever.holding(holds, column=self._column)
        asked = RegionQuery(asked, region, query.name)
        found = self._retriever.search(asked, self._k.value, where=where)
        self.region, self.found = region, found
        self._mark_query(query)
        self._tiles = result_tiles(images, found)
        self._grid.show(self._tiles, summary=self._held())
        (height, width), (x0, y0, x1, y1) = region.shape, region.box
        whole = (x1 - x0, y1 - y0) == (width, height)
        box = None if whole else (x0, y0, x1 - x0, y1 - y0)
        self._cropper.show(encode(self._preview()), width, height, name=query.name, box=box)
        part = f"a region of {region.area:,} pixels in {x1 - x0} x {y1 - y0} at {x0}, {y0}"
        part = "the whole picture" if whole else part
        self._status.say(f"Asked with {part} of {query.name}: {len(self._tiles)} images")

    def _preview(self):
        whole = self.region.area == self.region.shape[0] * self.region.shape[1]
        return outlined(self._query.picture(), [] if whole else [self.region], PREVIEW)

    def _held(self):
        return "" if self._holds.value is None else f"of those that hold {self._holds.value}"

    def _view(self):
        tile = Tile(self.query, self._preview(), caption=self.query, mark="query")
        found = Section("Images that hold it", self._held(), self._tiles)
        return View(f"Query {self.query}", "", [found], tile)
