"""What may be asked of a region index: a picture and the part of it that is meant."""

import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..images import read_image
from .regions import Region


@dataclass(frozen=True, eq=False)
class RegionQuery:
    """A part of a picture that is searched for.

    Attributes
    ----------
    image : str, path, bytes, PIL image or array (h, w[, 3 or 4])
        A string is an id of an indexed image if there is such a one, else a file.
    region : Region, box, mask or None
        A box is four numbers x0, y0, x1, y1 in pixels; a mask has the shape (h, w) of the picture; None means all of it.
    name : str, optional
        What the query is called in a ranking.
    vectors : ndarray of shape (n_scales, n_dims), optional
        Its embeddings, where they are known already: `RegionRetriever.embedded` fills them in.

    Examples
    --------
    >>> RegionQuery(np.zeros((20, 30, 3), np.uint8), (2, 2, 9, 9), name="knob").name
    'knob'
    """

    image: Any
    region: Any = None
    name: str | None = None
    vectors: Any = None


def as_region(part, shape):
    """A `Region` of an image of `shape`, from what was given for it.

    Parameters
    ----------
    part : Region, box, mask or None
    shape : tuple of int
        Height and width of the image.

    Raises
    ------
    ValueError
        An empty mask, a mask or region of another size, or a box outside the image.
    TypeError
        Something else.

    Examples
    --------
    >>> as_region(None, (20, 30)).box, as_region([5, 5, 90, 10], (20, 30)).box
    ((0, 0, 30, 20), (5, 5, 30, 10))
    """
    height, width = (int(side) for side in shape[:2])
    if part is None:
        return Region.from_box((0, 0, width, height), (height, width))
    if isinstance(part, Region):
        found = part
    elif np.ndim(part) == 2:
        found = Region.from_mask(part)
    elif np.ndim(part) == 1 and all(isinstance(value, numbers.Real) for value in part):
        return Region.from_box(list(part), (height, width))
    else:
        raise TypeError(
            f"a region is a Region, a box of four numbers or a mask (height, width), got {type(part).__name__}"
        )
    if tuple(found.shape) != (height, width):
        raise ValueError(
            f"the region is of an image of {found.shape[1]} x {found.shape[0]} pixels and the query of {width} x {height}; "
            "mark it on the picture that is asked with"
        )
    return found


def grouped(queries):
    """Queries as a list of tuples of `RegionQuery`: one part each, or several that are asked for together.

    Raises
    ------
    TypeError, ValueError
        Something else, or nothing.
    """
    single = isinstance(queries, RegionQuery) or (
        isinstance(queries, tuple) and all(isinstance(q, RegionQuery) for q in queries)
    )
    groups = [
        group if isinstance(group, tuple) else (group,)
        for group in ([queries] if single else list(queries))
    ]
    for group in groups:
        odd = next((part for part in group if not isinstance(part, RegionQuery)), None)
        if odd is not None:
            raise TypeError(
                f"a query is a RegionQuery(image, region), or a tuple of them, got {type(odd).__name__}"
            )
    if not groups or not all(groups):
        raise ValueError(
            "there is no query: the list (or a tuple in it) is empty; give at least one RegionQuery"
        )
    return groups


def names_of(groups, known):
    """A unique name for each group of parts: those given, else ids of indexed images, else ``"query 0"`` and so on."""
    names = []
    for number, group in enumerate(groups):
        parts = [
            part.name or (part.image if _is_id(part.image, known) else f"query {number}")
            for part in group
        ]
        name = " and ".join(dict.fromkeys(parts))
        while name in names:
            name += "'"
        names.append(name)
    return names


def picture_of(query, images, known):
    """The picture of a query, RGB uint8 (h, w, 3).

    Raises
    ------
    ValueError
        It cannot be read, or is an id and the images are not at hand.
    """
    if not _is_id(query.image, known):
        return read_image(query.image)
    if images is None:
        raise ValueError(
            f"the indexed images are not at hand, so {query.image!r} cannot be asked with; load with images="
        )
    return images[query.image]


def check_settings(encoder, query_scales):
    """Refuse an encoder that regions cannot be pooled from (TypeError, ValueError), and scales that are none (ValueError)."""
    if not hasattr(encoder, "feature_maps") or not hasattr(encoder, "preprocessing"):
        raise TypeError(
            f"regions are pooled from feature maps, and {type(encoder).__name__} has none; use encoders.Deep"
        )
    if encoder.preprocessing.resize == "crop":
        raise ValueError(
            'this encoder cuts the borders of images off and sees no region there; pass resize="squash" to it'
        )
    if (
        isinstance(query_scales, str)
        or not len(query_scales)
        or not all(scale > 0 for scale in query_scales)
    ):
        raise ValueError(
            f"query_scales must be a sequence of positive numbers, got {query_scales!r}; use (1.0,) for one scale"
        )


def images_holding(images, names, column):
    """Which images of a collection hold all of some things, see `RegionRetriever.holding`: ndarray of bool."""
    if images is None:
        raise ValueError(
            "what the images hold is not known: they are not at hand; load with images="
        )
    wanted = {names} if isinstance(names, str) else set(names)
    there = [{one} if isinstance(one, str) else set(one) for one in images.column(column)]
    unknown = wanted - set().union(*there)
    if unknown:
        raise ValueError(
            f"no image holds {min(unknown)!r} by its column {column!r}; ask for what is in there"
        )
    return np.array([wanted <= held for held in there])


def _is_id(image, known):
    return isinstance(image, str) and image in known
