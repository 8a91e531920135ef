"""What can be asked of an explorer: an image of a collection, a file or array of one's own, or a region of either."""

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from ..images import ImageCollection, ImageProblem, read_image, read_thumbnail
from ..images.files import size_in_head
from .cropper import checked_box
from .thumbnails import encode

PREVIEW = 480  # pixels of the longer side of the query picture that is sent to the page


@dataclass(frozen=True, eq=False)
class Query:
    """One query.

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

    def cut(self, box):
        """The same picture, reduced to a region (clipped to it); None for all of it."""
        return replace(self, box=None if box is None else checked_box(box, *self.size()))

    def picture(self):
        """The whole picture, RGB uint8 (h, w, 3)."""
        return (
            self.images[self.name]
            if self.images is not None
            else self._named(read_image, self.source)
        )

    def pixels(self):
        """What is searched for, RGB uint8 (h, w, 3): the region if there is one, else the whole picture."""
        whole = self.picture()
        if self.box is None:
            return whole
        x, y, w, h = self.box
        return np.ascontiguousarray(whole[y : y + h, x : x + w])

    def size(self):
        """Width and height of the whole picture, read from the head of the file where that is possible."""
        file = self.images.path(self.name) if self.images is not None else self.source
        size = _size_in_head(file) if isinstance(file, str | os.PathLike | bytes) else None
        if size is None:
            height, width = self.picture().shape[:2]
            return width, height
        return size

    def preview(self, thumbnails):
        """Encoded picture to show, from a `ThumbnailCache` where it belongs to a collection."""
        if self.images is not None:
            return thumbnails.get(self.images, [self.name], PREVIEW)[0]
        if isinstance(self.source, str | os.PathLike | bytes):
            return encode(self._named(read_thumbnail, self.source, PREVIEW))
        picture = Image.fromarray(self.picture())
        picture.thumbnail((PREVIEW, PREVIEW))
        return encode(np.asarray(picture))

    def for_retriever(self, images):
        """What to hand to ``Retriever.search``, for a retriever over `images`: an id where that says it all."""
        if self.box is None and self.images is not None:
            # The same id in another collection may be another picture: then the picture itself is handed over.
            return self.name if self.images is images else self.images[[self.name]]
        return self.pixels()

    def same_as(self, other):
        """Whether `other` is the same question."""
        return other is not None and (
            self.name == other.name
            and self.images is other.images
            and self.source is other.source
            and self.box == other.box
        )

    def __repr__(self):
        region = "" if self.box is None else " [{}, {}, {} x {}]".format(*self.box)
        return f"Query({self.name!r}{region})"

    def _named(self, read, *args):
        """Call `read`, and give a problem the name of this picture."""
        try:
            return read(*args)
        except ImageProblem as problem:
            raise ImageProblem(self.name, problem.reason) from problem


def query_of(image_id, images, queries):
    """The `Query` for one of `images`, by its id; as one of `queries` where the same image is among those."""
    there = int(images[[image_id]].positions_in(queries)[0])
    return Query(image_id, images) if there < 0 else Query(str(queries.ids[there]), queries)


def as_query(query, collections):
    """Make a `Query` of what a caller gives.

    Parameters
    ----------
    query : Query, str, path, bytes, PIL image or array
        A string is looked for among the ids first, then taken for a file.
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
        if not os.path.exists(query):
            raise ValueError(
                f"no image has the id {query!r}, and there is no such file; see explorer.queries.ids"
            )
    if isinstance(query, str | os.PathLike):
        return Query(os.path.basename(os.fspath(query)), source=query)
    if isinstance(query, bytes | bytearray):
        return Query("bytes", source=bytes(query))
    name = "picture" if isinstance(query, Image.Image) else "array"
    return Query(name, source=read_image(query))


def _size_in_head(file):
    """Width and height by the file's head, turned as EXIF says; None if it cannot be told."""
    try:
        return size_in_head(file)
    except ImageProblem:  # decoding it will say what is wrong
        return None
