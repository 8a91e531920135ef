"""What is shown beside a map: the selected images a page at a time, and the neighbours of a query."""

import numpy as np
from ipywidgets import VBox

from ..images.tables import text_of
from .map_groups import codes_of
from .pager import Pager
from .projection import nearest
from .tile_grid import Tile, TileGrid

_PAGE = 24
_SIZE = 120  # pixels of a thumbnail


class SelectedGrid(VBox):
    """The selected images of a map, in pages.

    Parameters
    ----------
    images : ImageCollection
    thumbnails : ThumbnailCache
    """

    def __init__(self, images, thumbnails):
        self._images, self._thumbnails = images, thumbnails
        self._chosen, self._texts = np.empty(0, np.int64), None
        self.grid, self.pager = TileGrid(tile_size=84), Pager()
        self.pager.on_turn(self._draw)
        super().__init__([self.grid, self.pager])

    def show(self, chosen, texts):
        """Show images by position; `texts` (n_images,) are their captions."""
        self._chosen, self._texts = chosen, texts
        self._draw(1)

    def _draw(self, page):
        shown = self._chosen[(page - 1) * _PAGE : page * _PAGE]
        ids = self._images.ids[shown]
        pictures = self._thumbnails.get(self._images, ids, _SIZE)
        tiles = [
            Tile(
                i, picture, f"selected {i}, {text}".strip(" ,"), text, title=f"{i}\n{text}".strip()
            )
            for i, picture, text in zip(ids, pictures, self._texts[shown], strict=True)
        ]
        self.grid.show(tiles, heading="Selected", summary=f"{len(self._chosen):,} images")
        self.pager.show(page, max(1, -(-len(self._chosen) // _PAGE)))


class Neighbours:
    """The nearest images by embedding, and whether they are right.

    Parameters
    ----------
    images : ImageCollection
    rows : array (n_images, n_dims)
    metric : {"cosine", "euclidean"}
        Rows are of length 1 for cosine.
    column : str or None
        What a right neighbour shares.
    """

    def __init__(self, images, rows, metric, column):
        self._images, self._rows, self._metric = images, rows, metric
        self._texts = (
            None if column is None else images.table[column].map(text_of).to_numpy(dtype=object)
        )
        self._values = None if column is None else codes_of(images.column(column))

    def of(self, at, k):
        """Positions (k,) of the nearest others, nearest first."""
        return nearest(self._rows, np.array([at]), k)[0] if k else np.empty(0, np.int64)

    def verdicts(self, at, near):
        """List of "right", "wrong" or, where that is not known, ""."""
        if self._values is None or self._values[at] < 0:
            return [""] * len(near)
        return ["right" if self._values[i] == self._values[at] else "wrong" for i in near]

    def distances(self, at, near):
        """Distances (k,) by the metric."""
        apart = np.linalg.norm(self._rows[near].astype(np.float64) - self._rows[at], axis=1)
        return apart**2 / 2 if self._metric == "cosine" else apart

    def tiles(self, near, distances, verdicts, thumbnails):
        """One `Tile` for each neighbour."""
        ids = self._images.ids[near]
        tiles = []
        pictures = thumbnails.get(self._images, ids, _SIZE)
        for rank, (i, picture, far, verdict) in enumerate(
            zip(ids, pictures, distances, verdicts, strict=True), 1
        ):
            label = "" if self._texts is None else self._texts[near[rank - 1]]
            told = ", ".join(filter(None, (str(i), label, f"distance {far:.3f}", verdict)))
            tiles.append(
                Tile(i, picture, f"rank {rank}: {told}", label, f"{far:.3f}", told, rank, verdict)
            )
        return tiles


def judged(verdicts):
    """How many are right, or "" where nothing is known."""
    return "" if not any(verdicts) else f"{list(verdicts).count('right')} of {len(verdicts)} right"
