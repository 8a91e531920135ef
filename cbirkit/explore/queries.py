"""What can be asked of an explorer (a `Query`), what is found for it, and which of that is right."""

import os
import textwrap
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from cbirkit.images import ImageCollection, ImageProblem, read_image
from cbirkit.images.files import shrink, size_in_head
from cbirkit.images.tables import is_several, text_of
from cbirkit.plots.tiles import Tile, encode, picture_or_none, verdicts
from cbirkit.ranking import Ranking, Relevance
from cbirkit.ranking.codes import is_missing
from cbirkit.text import is_words

PREVIEW = 480  # pixels of the longer side of the query picture that is sent to the page
THUMBNAIL = 160  # of a result: sharp on screens with two pixels a point
_SMALL = 120  # of an image to choose from
_MOST_KEPT = 4000  # thumbnails


class ThumbnailCache:
    """Thumbnails of images of any collection as JPEG (or PNG, where tiny), the least used forgotten first.

    Examples
    --------
    >>> images = ImageCollection.from_arrays(np.zeros((2, 90, 120)), ids=["a", "b"])
    >>> ThumbnailCache().get(images, ["b"], 64)[0][:2].hex()  # how every JPEG starts
    'ffd8'
    """

    def __init__(self, max_images=_MOST_KEPT):
        self._get = lru_cache(max_images)(_thumbnail)

    def get(self, images, ids, size):
        """Encoded thumbnails of some images.

        Parameters
        ----------
        images : ImageCollection
        ids : sequence of str
        size : int
            Pixels of the longer side, at most.

        Returns
        -------
        list of bytes
            Empty bytes for an image that cannot be read (the log says why).
        """
        with ThreadPoolExecutor(4) as pool:  # decoders let go of Python's lock, so threads help
            return list(pool.map(lambda i: self._get(images, i, size), ids))

    def tiles(self, images, ids, texts, what, *, captions=False, size=_SMALL):
        """Tiles of some images with a text each, as list; `what` they are is told to screen readers."""
        tiles = []
        for i, picture, text in zip(ids, self.get(images, ids, size), texts, strict=True):
            words = {"title": f"{i}\n{text}".strip(), "caption": text if captions else ""}
            tiles.append(Tile(i, picture, f"{what} {i}, {text}".strip(" ,"), **words))
        return tiles


def _thumbnail(images, image_id, size):
    pixels = picture_or_none(images.thumbnail, image_id, size)
    return b"" if pixels is None else encode(pixels)


# ---------------------------------------------------------------------- queries


def is_box(box):
    """Whether this is a list of four whole numbers."""
    return isinstance(box, list | tuple) and len(box) == 4 and all(type(one) is int for one in box)


def checked_box(box, width, height):
    """A region as (x, y, width, height), clipped to the picture.

    Raises
    ------
    ValueError
        It is no list of four whole numbers, or holds no pixel of the picture.

    Examples
    --------
    >>> checked_box([-5, 0, 10, 10], 100, 100)
    (0, 0, 5, 10)
    """
    if not is_box(box):
        raise ValueError("a region needs four whole numbers: left, top, width, height")
    x, y, w, h = box
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
    if right <= left or bottom <= top:
        raise ValueError(f"the region {w} x {h} px at ({x}, {y}) holds nothing of the picture")
    return left, top, right - left, bottom - top


@dataclass(frozen=True, eq=False)
class Query:
    """One query: an image of a collection, a file or array of one's own, or a region of either.

    Attributes
    ----------
    name : str
        Id of the image in `images`, or what to call the picture.
    images : ImageCollection or None
        Where the image comes from.
    source : path, bytes, PIL image, array or None
        The picture itself, if it belongs to no collection.
    box : tuple of 4 int or None
        Region (x, y, width, height) in pixels of the picture.
    words : bool
        `name` is a sentence, and stands on the picture.

    Examples
    --------
    >>> query = Query("mine", source=np.zeros((20, 30, 3), np.uint8))
    >>> query.size(), query.cut((10, 0, 100, 20)).pixels().shape
    ((30, 20), (20, 20, 3))
    """

    name: str
    images: ImageCollection | None = None
    source: Any = None
    box: tuple | None = None
    words: bool = False

    def cut(self, box):
        """The same picture, reduced to a region (clipped to it); None for all of it."""
        if self.words and box is not None:
            raise ValueError("words have no region; pick a picture first")
        return replace(self, box=None if box is None else checked_box(box, *self.size()))

    def picture(self):
        """The whole picture, RGB uint8 (h, w, 3)."""
        if self.images is not None:
            return self.images[self.name]
        if self.words:
            return _written(self.name)
        try:
            return read_image(self.source)
        except ImageProblem as problem:
            raise ImageProblem(self.name, problem.reason) from problem

    def pixels(self):
        """What is searched for, RGB uint8 (h, w, 3): the region if there is one, else the whole picture."""
        whole = self.picture()
        x, y, w, h = self.box or (0, 0, *whole.shape[1::-1])
        return np.ascontiguousarray(whole[y : y + h, x : x + w])

    def size(self):
        """Width and height of the whole picture, read from the head of the file where that is possible."""
        file = self.images.path(self.name) if self.images is not None else self.source
        if isinstance(file, str | os.PathLike | bytes):
            with suppress(ImageProblem):  # decoding it will say what is wrong
                if size := size_in_head(file):
                    return size
        return self.picture().shape[1::-1]

    def preview(self, thumbnails):
        """Encoded picture to show, from a `ThumbnailCache` where it belongs to a collection."""
        if self.images is not None:
            return thumbnails.get(self.images, [self.name], PREVIEW)[0]
        return encode(shrink(self.picture(), PREVIEW))

    def for_retriever(self, images):
        """What to hand to ``Retriever.search``, for a retriever over `images`: an id where that says it all."""
        if self.box is None and self.images is not None:
            # The same id in another collection may be another picture: then the picture itself is handed over.
            return self.name if self.images is images else self.images[[self.name]]
        return self.pixels()

    def same_as(self, other):
        """Whether `other` is the same question."""
        same = other is not None and self.images is other.images and self.source is other.source
        return same and all(getattr(self, n) == getattr(other, n) for n in ("name", "box", "words"))

    def __repr__(self):
        region = "" if self.box is None else " [{}, {}, {} x {}]".format(*self.box)
        return f"Query({self.name!r}{region})"


def _written(words):
    """Words as a picture, RGB uint8 (h, w, 3)."""
    lines = textwrap.wrap(words[:400], 22)
    sheet = Image.new("RGB", (PREVIEW, 40 + 48 * len(lines)), "white")
    ImageDraw.Draw(sheet).multiline_text((20, 18), "\n".join(lines), "black", font_size=38)
    return np.asarray(sheet)


def query_of(image_id, images, queries):
    """The `Query` for one of `images`, by its id; as one of `queries` where the same image is among those."""
    there = int(images[[image_id]].positions_in(queries)[0])
    return Query(image_id, images) if there < 0 else Query(str(queries.ids[there]), queries)


def as_query(query, collections, *, words=False):
    """Make a `Query` of what a caller gives.

    Parameters
    ----------
    query : Query, str, path, bytes, PIL image or array
        A string is looked for among the ids first, then taken for a file, then for words if `words`, as by `cbirkit.Retriever.search`.
    collections : sequence of ImageCollection
        Where ids are looked up, in this order.

    Raises
    ------
    ValueError
        A string that is neither an id nor a file.
    """
    if isinstance(query, Query):
        return query
    if isinstance(query, str):
        for images in collections:
            if query in images.table.index:
                return Query(query, images)
        if words and not os.path.exists(query) and is_words(query):
            return Query(query, words=True)
        if not os.path.exists(query):
            raise ValueError(f"no image has the id {query!r}, and there is no such file")
    if isinstance(query, str | os.PathLike):
        return Query(os.path.basename(os.fspath(query)), source=query)
    if isinstance(query, bytes | bytearray):
        return Query("bytes", source=bytes(query))
    name = "picture" if isinstance(query, Image.Image) else "array"
    return Query(name, source=read_image(query))


# ---------------------------------------------------------------------- what is right


class Judge:
    """Says of results whether they are right, wrong or junk.

    Parameters
    ----------
    by : str, optional
        Column that a right result shares with the query. Default: ``instance`` if there, else ``label``.
    relevance : Relevance, optional
        Used instead of a column.
    """

    def __init__(self, by=None, relevance=None):
        if relevance is not None:
            check_type("relevance", relevance, Relevance, "images.relevance()")
        self.by, self.relevance = by, relevance
        known = ((), ()) if relevance is None else (relevance.query_ids, relevance.database_ids)
        self._rows, self._places = ({i: row for row, i in enumerate(ids)} for ids in known)
        self._between = lru_cache(4)(self._relevance_between)  # takes 0.2 s for 100,000 images

    def verdicts(self, query, database, ids):
        """Judge the results of one query.

        Parameters
        ----------
        query : Query
        database : ImageCollection
            Of the results.
        ids : sequence of str

        Returns
        -------
        verdicts : list of str
            "right", "wrong" or "junk"; all "" where nothing is known of the query.
        n_positives : int or None
            Right images in the whole database.
        """
        truth = None if query.images is None else self._truth(query, database)
        if truth is None:
            return [""] * len(ids), None
        places = [self._places.get(i, -1) for i in ids] if self._places else database.positions(ids)
        return verdicts(truth, places), int(truth.n_positives[0])

    def column(self, images):
        """Name of the column that decides in a collection, or None."""
        known = (name for name in ("instance", "label") if name in images.table)
        return self.by or next(known, None)

    def caption(self, images, image_id):
        """What to write under an image: its label, else the last part of its id (all of it where that is a mere number)."""
        for name in ("label", self.column(images)):
            if name in images.table:
                at = int(images.positions([image_id])[0])
                if text := text_of(images.table[name].iloc[at]):
                    return text
        tail = image_id.rsplit("/", 1)[-1]
        return image_id if tail.isdigit() else tail

    def _truth(self, query, database):
        """The `Relevance` of one query alone; None where nothing is known of it."""
        if self.relevance is not None:
            row = self._rows.get(query.name)
            return None if row is None else self.relevance.select(np.array([row]))
        relevance, row = self._between(query.images, database), query.images.positions([query.name])
        if relevance is None or is_missing(query.images.column(self.column(database))[row[0]]):
            return None
        return relevance.select(row)

    def _relevance_between(self, queries, database):
        """The relevance between two collections by the column that decides; None where there is none."""
        by = self.column(database)
        known = by in queries.table and by in database.table
        if known and self.by is None:
            known = not any(map(is_several, [*queries.table[by], *database.table[by]]))
        return queries.relevance(queries, database, by=by) if known else None


# ---------------------------------------------------------------------- what is found


@dataclass(frozen=True, eq=False)
class SearchResult:
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
    SearchResult
    """
    images = retriever.images
    asked = query.name if query.words else query.for_retriever(images)
    own = query.box is None and query.images is not None and query.name in images.table.index
    if len(images) == own:  # an image alone has no neighbours
        none = Ranking([query.name], images.ids, np.empty((1, 0), np.int64), np.empty((1, 0)))
        return SearchResult(images, none, [], "no other image to find", 0.0)
    start = time.perf_counter()
    search = getattr(retriever, "search_words" if query.words else "search", retriever.search)
    ranking = search(asked, min(k, len(images) - own))
    spent = 1000 * (time.perf_counter() - start)
    if not len(ranking):  # a retriever leaves out what it cannot read
        query.picture()  # says why
        raise ValueError(f"{query.name} was left out by the retriever; pick another image")
    kept = ranking.indices[0] >= 0
    ids, distances = ranking.ids[0][kept], ranking.distances[0][kept]
    marks, n_positives = judge.verdicts(query, images, ids)
    rows = zip(ids, thumbnails.get(images, ids, THUMBNAIL), distances, marks, strict=True)
    tiles = [
        result_tile(rank, *row, judge.caption(images, row[0])) for rank, row in enumerate(rows, 1)
    ]
    judged = f"{marks.count('right')} of {n_positives} right ones found"
    return SearchResult(images, ranking, tiles, judged if n_positives is not None else "", spent)


def result_tile(rank, image_id, picture, distance, mark, label):
    """The `Tile` of a result, with all that is known of it."""
    known = "" if image_id.endswith(label) else f", {label}"
    far = f"{distance:.3f}" if distance < 100 else f"{distance:.4g}"
    judged = f", {mark}" if mark else ""
    told = f"rank {rank}: {image_id}{known}, distance {far}{judged}"
    title = f"{image_id}{known}\nrank {rank}, distance {distance:.6g}{judged}"
    return Tile(image_id, picture, told, label, far, title, rank, mark)


class FixedRetriever:
    """Answers any query as if it were at given distances (n_images,) from the images."""

    def __init__(self, images, distances):
        self.images, self._distances = images, distances

    def search(self, query, k):
        """The k nearest, the query itself left out, as a `Ranking`."""
        known, distances = getattr(query, "ids", ["query"]), self._distances[None]
        name = query if isinstance(query, str) else known[0]
        return Ranking.from_distances(distances, [name], self.images.ids, k=k, exclude_self=True)


def check_type(name, value, kind, advice):
    """Raise TypeError for a value that is not of this class; `advice` says where to get one."""
    if not isinstance(value, kind):
        got = type(value).__name__
        raise TypeError(f"{name} must be of type {kind.__name__}, got {got}; see {advice}")


def checked_retrievers(retriever):
    """Retrievers by name, each with images; TypeError or ValueError otherwise."""
    if not isinstance(retriever, Mapping):
        retriever = {type(getattr(retriever, "encoder", retriever)).__name__: retriever}
    if not retriever:
        raise ValueError("got an empty dict; give at least one fitted Retriever")
    for name, one in retriever.items():
        if not callable(getattr(one, "search", None)):
            raise TypeError(f"expected a Retriever or a dict of them, got {type(one).__name__}")
        if not isinstance(getattr(one, "images", None), ImageCollection) or not len(one.images):
            raise ValueError(f"retriever {name!r} has no images; call fit(images) first")
    return {str(name): one for name, one in retriever.items()}
