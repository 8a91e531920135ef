"""`WhyExplorer`: choose two images, and see where their similarity comes from, by several methods."""

from dataclasses import dataclass

import numpy as np
from ipywidgets import Dropdown

from cbirkit import explain
from cbirkit.images.files import shrink
from cbirkit.plots import Section, Tile, View

from .explorer import whole_number
from .queries import Judge, SearchResult, checked_retrievers
from .query_explorer import QueryPage
from .widgets import TileGrid, labelled

MOST_PIXELS = 256  # of the longer side of what is explained


@dataclass(frozen=True, eq=False)
class Why:
    """Two images, explained.

    Attributes
    ----------
    query, image : ndarray (h, w, 3), uint8
    similarity : float
        Cosine of their embeddings.
    maps : dict of ndarray (h, w)
        By method, of `image`; "random map" is there to compare with.
    losses : dict of float
        What the similarity loses when the best fifth of each map is hidden.
    problems : dict of str
        Why a method gives no map here.
    found : SearchResult
        The neighbours of the query.
    """

    query: np.ndarray
    image: np.ndarray
    similarity: float
    maps: dict
    losses: dict
    problems: dict
    found: SearchResult


class WhyExplorer(QueryPage):
    """Pick a query, click one of its neighbours, and see maps of what in that image is similar to the query.

    Under each map stands what the similarity loses when the fifth of the image that the map marks highest is hidden: the more,
    the better the map. A random map, about as smooth as the others, is there to compare with.

    Parameters
    ----------
    retriever : Retriever
        Fitted. With a `Deep` encoder there are maps by gradients too.
    queries : ImageCollection, optional
        To pick from. Default: the indexed images.
    query : str, path, PIL image or array, optional
    other : str, optional
        Id of the indexed image that is explained. Default: the nearest.
    fill : {"blur", "grey"}
        What hidden parts are replaced by.
    k : int
        Neighbours to show.
    by : str, optional
        Column that a right result shares with the query.

    Attributes
    ----------
    shown : Why
    other : str
        Id of the image that is explained.

    Raises
    ------
    TypeError, ValueError
        No retriever, one without images, an unknown query, image, fill or column.

    Examples
    --------
    >>> WhyExplorer(retriever, query="mug.jpg")                                  # doctest: +SKIP
    """

    def __init__(
        self, retriever, *, queries=None, query=None, other=None, fill="blur", k=8, by=None
    ):
        self._retrievers = checked_retrievers(retriever)
        self._retriever = next(iter(self._retrievers.values()))
        self._judge, self._k = Judge(by), whole_number(k, "k", 1, 48)
        self._fill = Dropdown(options=explain.FILLS, description="hidden by")
        self._maps = TileGrid(tile_size=150, heading="Why are these two similar?")
        self._found = TileGrid(tile_size=104, heading="Click a neighbour to explain it")
        controls = [labelled(self._fill, "What hidden parts are replaced by", label="64px")]
        grids = [self._maps, self._found]
        self._make_page(queries, self.explain, grids=grids, controls=controls)
        self.explain(self._as_query(query), other=other, fill=fill)
        self._found.on("pick", self._guarded(lambda name: self.explain(other=name)))
        self._on_value([self._fill], self._guarded(self.explain))

    def explain(self, query=None, *, other=None, fill=None):
        """Change the query or the image, and return what is then shown; a new query is explained with its nearest image.

        Returns
        -------
        Why

        Raises
        ------
        ValueError
            As for the class; nothing changes then.
        """
        if query is None:
            query, other = self._query, other or self.other
        query, fill = self._as_query(query), fill or self._fill.value
        self.shown, self.other = self._explained(query, other, fill)
        with self._quietly():
            self._fill.value = fill
        self._mark_query(query)
        found = self.shown.found
        self._maps.show(self._tiles(), summary=self._told())
        self._found.show(found.tiles, summary=found.judged, selected=self.other)
        self._status.say(self._sentence())
        return self.shown

    # ------------------------------------------------------------------ explaining and showing

    def _explained(self, query, other, fill):
        """`Why`, and the id of the image: the one that is given, else the nearest."""
        pixels = shrink(query.pixels(), MOST_PIXELS)
        found = self._find(self._retriever, query, self._k)
        if other is None and not found.tiles:
            raise ValueError("there is no other image to explain; index at least two")
        other = other or found.tiles[0].id
        image = shrink(self._retriever.images[other], MOST_PIXELS)
        explained = explain.by_each_method(self._retriever.encoder_, pixels, image, fill=fill)
        return Why(pixels, image, *explained, found), other

    def _tiles(self):
        shown = self.shown
        both = ((self.query, shown.query, "query"), (self.other, shown.image, "image"))
        tiles = [Tile(name, one, f"{kind} {name}", name, kind) for name, one, kind in both]
        for name, saliency in shown.maps.items():
            lost = f"loses {shown.losses[name]:.3f}"
            told = f"map by {name}: the similarity {lost} without its best fifth"
            tiles.append(Tile(name, explain.heated(shown.image, saliency), told, name, lost))
        return tiles

    def _told(self):
        return "; ".join(f"no {name}: {why}" for name, why in self.shown.problems.items())

    def _sentence(self):
        maps = {name: loss for name, loss in self.shown.losses.items() if name != "random map"}
        best = max(maps, key=maps.get)
        return (
            f"{self.query} and {self.other}: similarity {self.shown.similarity:.3f}. Hiding the fifth that {best} "
            f"marks highest costs {maps[best]:.3f}, hiding a random fifth {self.shown.losses['random map']:.3f}."
        )

    def _view(self):
        pictures = Section("Why are these two similar?", self._told(), self._tiles(), size=2)
        found = Section("Neighbours", self.shown.found.judged, self.shown.found.tiles)
        return View("Why", self._sentence(), [pictures, found])
