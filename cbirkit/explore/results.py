"""From a query to the tiles of its results."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..images import ImageCollection
from ..ranking import Ranking
from .tile_grid import Tile

_SIZE = 160  # pixels of a result's thumbnail: sharp on screens with two pixels a point


@dataclass(frozen=True, eq=False)
class Found:
    """What one retriever found for a query.

    Attributes
    ----------
    images : ImageCollection
        Searched.
    ranking : Ranking
    tiles : list of Tile
    judged : str
        How many are right, if that is known.
    milliseconds : float
        Of the search, the encoding of the query included.
    """

    images: ImageCollection
    ranking: Ranking
    tiles: list
    judged: str
    milliseconds: float

    @property
    def summary(self):
        """How many are right, and the time taken."""
        return (f"{self.judged} · " if self.judged else "") + f"{self.milliseconds:.1f} ms"


def find(retriever, query, k, *, judge, thumbnails):
    """Search, judge the results and make their tiles.

    Parameters
    ----------
    retriever : Retriever
    query : Query
    k : int
        Fewer are found where there are fewer images.
    judge : Judge
    thumbnails : ThumbnailCache

    Returns
    -------
    Found
    """
    images = retriever.images
    asked = query.for_retriever(images)
    own = query.box is None and query.images is not None and query.name in images.table.index
    if len(images) == own:  # an image alone has no neighbours
        none = Ranking([query.name], images.ids, np.empty((1, 0), np.int64), np.empty((1, 0)))
        return Found(images, none, [], "no other image to find", 0.0)
    start = time.perf_counter()
    ranking = retriever.search(asked, min(k, len(images) - own))
    spent = 1000 * (time.perf_counter() - start)
    if not len(ranking):  # a retriever leaves out what it cannot read
        query.picture()  # says why
        raise ValueError(
            f"{query.name} was not searched for: the retriever left it out; pick another image"
        )
    kept = ranking.indices[0] >= 0
    ids, distances = ranking.ids[0][kept], ranking.distances[0][kept]
    verdicts, n_positives = judge.verdicts(query, images, ids)
    rows = zip(ids, thumbnails.get(images, ids, _SIZE), distances, verdicts, strict=True)
    tiles = [
        _tile(rank, *row, judge.caption(images, row[0])) for rank, row in enumerate(rows, start=1)
    ]
    judged = (
        ""
        if n_positives is None
        else f"{verdicts.count('right')} of {n_positives} right ones found"
    )
    return Found(images, ranking, tiles, judged, spent)


def _tile(rank, image_id, picture, distance, verdict, label):
    known = "" if image_id.endswith(label) else f", {label}"
    far = f"{distance:.3f}" if distance < 100 else f"{distance:.4g}"
    judged = f", {verdict}" if verdict else ""
    return Tile(
        image_id,
        picture,
        alt=f"rank {rank}: {image_id}{known}, distance {far}{judged}",
        caption=label,
        note=far,
        title=f"{image_id}{known}\nrank {rank}, distance {distance:.6g}{judged}",
        rank=rank,
        mark=verdict,
    )


def checked_retrievers(retriever):
    """Retrievers by name, each with images; TypeError or ValueError otherwise."""
    if isinstance(retriever, Mapping):
        named = dict(retriever)
    else:
        encoder = getattr(retriever, "encoder", None)
        named = {type(retriever if encoder is None else encoder).__name__: retriever}
    if not named:
        raise ValueError("got an empty dict; give at least one fitted Retriever")
    for name, one in named.items():
        if not callable(getattr(one, "search", None)):
            raise TypeError(f"expected a Retriever or a dict of them, got {type(one).__name__}")
        if not isinstance(getattr(one, "images", None), ImageCollection) or not len(one.images):
            raise ValueError(
                f"retriever {name!r} has no images; call fit(images) first, or load it with images="
            )
    return {str(name): one for name, one in named.items()}
