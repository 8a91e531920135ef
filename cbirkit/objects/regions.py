"""`Region`: a part of an image, as a box and a mask; overlap of regions, and what to keep of many."""

import itertools
import math
import numbers
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Region:
    """A part of an image. Make one with `from_mask` or `from_box`.

    Attributes
    ----------
    box : tuple of 4 int
        x0, y0, x1, y1 in pixels: columns x0 to x1 - 1, rows y0 to y1 - 1.
    inside : ndarray of shape (y1 - y0, x1 - x0), bool
        Which pixels of the box belong to the region.
    shape : tuple of 2 int
        Height and width of the image.
    score : float
        How much it looks like a thing, as its maker sees it; larger is more.

    Examples
    --------
    >>> mask = np.zeros((4, 6), bool)
    >>> mask[1:3, 2:6] = True
    >>> region = Region.from_mask(mask)
    >>> region.box, region.area, bool((region.mask == mask).all())
    ((2, 1, 6, 3), 8, True)
    """

    box: tuple
    inside: np.ndarray
    shape: tuple
    score: float = 0.0

    @classmethod
    def from_mask(cls, mask, score=0.0):
        """The region of the true pixels of a mask (h, w).

        Raises
        ------
        ValueError
            It is no array of two axes, or no pixel is true.
        """
        mask = np.asarray(mask)
        if mask.ndim != 2 or (mask.dtype.kind == "f" and not np.isfinite(mask).all()):
            raise ValueError(
                f"a mask has the shape (height, width), got {mask.shape}, and is True on the object, not NaN or infinity"
            )
        mask = mask.astype(bool)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            raise ValueError(
                f"the mask of shape {mask.shape} is empty; mark at least one pixel of the object"
            )
        x0, y0, x1, y1 = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
        return cls((x0, y0, x1, y1), mask[y0:y1, x0:x1].copy(), mask.shape, float(score))

    @classmethod
    def from_box(cls, box, shape, score=0.0):
        """The region of all pixels of a box, clipped to the image.

        Parameters
        ----------
        box : sequence of 4 numbers
            x0, y0, x1, y1 in pixels; fractions are rounded to whole pixels.
        shape : sequence of int
            Height and width of the image; what follows them (channels) is passed over.

        Raises
        ------
        ValueError
            No such numbers, or no pixel of the image lies in the box.
        """
        height, width = (int(side) for side in tuple(shape)[:2])
        if np.shape(box) != (4,) or not all(map(_is_number, box)):
            raise ValueError(
                f"a box is four numbers x0, y0, x1, y1 in pixels (and a mask has two axes), got {box!r}"
            )
        left, top, right, bottom = (int(np.floor(v + 0.5)) for v in box)
        if right <= left or bottom <= top:
            raise ValueError(f"the box {box} holds no pixel; x1 must exceed x0 and y1 exceed y0")
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        if x1 <= x0 or y1 <= y0:
            raise ValueError(
                f"the box {box} lies outside the image of {width} x {height} pixels; "
                "boxes are x0, y0, x1, y1 with the origin at the top left"
            )
        inside = np.ones((y1 - y0, x1 - x0), bool)
        return cls((x0, y0, x1, y1), inside, (height, width), float(score))

    @property
    def mask(self):
        """ndarray (h, w) of bool, of the whole image."""
        out = np.zeros(self.shape, dtype=bool)
        x0, y0, x1, y1 = self.box
        out[y0:y1, x0:x1] = self.inside
        return out

    @property
    def area(self):
        """Number of pixels."""
        return int(np.count_nonzero(self.inside))

    def __repr__(self):
        return f"Region(box={self.box}, area={self.area}, image={self.shape[0]} x {self.shape[1]}, score={self.score:.3f})"


def _is_number(value):
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


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
        An empty mask, a mask or region of another size, a box outside the image, or something else.

    Examples
    --------
    >>> as_region(None, (20, 30)).box, as_region([5, 5, 90, 10], (20, 30)).box
    ((0, 0, 30, 20), (5, 5, 30, 10))
    """
    height, width = (int(side) for side in shape[:2])
    if part is None:
        part = (0, 0, width, height)
    if not isinstance(part, Region):
        masked = np.ndim(part) == 2
        part = Region.from_mask(part) if masked else Region.from_box(part, (height, width))
    if tuple(part.shape) != (height, width):
        raise ValueError(
            f"the region is of an image of {part.shape[1]} x {part.shape[0]} pixels and the query of {width} x {height}; "
            "mark it on the picture that is asked with"
        )
    return part


def box_iou(a, b):
    """Intersection over union of each box of `a` with each of `b`.

    Parameters
    ----------
    a, b : array-like of shape (n, 4), (m, 4)
        x0, y0, x1, y1.

    Returns
    -------
    ndarray of shape (n, m), float64
        0 where both boxes are empty.

    Raises
    ------
    ValueError
        They are no boxes: masks, regions, or values that are not finite.

    Examples
    --------
    >>> box_iou([[0, 0, 2, 2]], [[1, 0, 3, 2], [5, 5, 6, 6]]).round(3).tolist()
    [[0.333, 0.0]]
    """
    a, b = _as_boxes(a), _as_boxes(b)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.maximum(high - low, 0).prod(axis=2)
    sizes = [np.maximum(part[:, 2:] - part[:, :2], 0).prod(axis=1) for part in (a, b)]
    union = sizes[0][:, None] + sizes[1][None] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def _as_boxes(boxes):
    """Boxes as float64 (n, 4), or ValueError."""
    array = np.asarray(boxes)
    if array.size == 0 and array.ndim < 3:
        return np.empty((0, 4))
    numbers_ = array.dtype.kind in "iuf" and array.ndim in (1, 2) and array.shape[-1] == 4
    if not numbers_ or not np.isfinite(array).all():
        raise ValueError(
            f"boxes must be finite numbers (n, 4), x0, y0, x1, y1, got {array.dtype} of the shape {array.shape}; "
            "pass region.box of regions, and compare masks by mask_iou"
        )
    return array.astype(float).reshape(-1, 4)


def mask_iou(a, b):
    """Intersection over union of two regions of one image, by their masks: float.

    Raises
    ------
    TypeError
        They are no `Region`: boxes, or masks.
    ValueError
        The regions are of images of different sizes.

    Examples
    --------
    >>> one, other = (Region.from_box(box, (4, 4)) for box in ((0, 0, 2, 2), (0, 0, 4, 2)))
    >>> mask_iou(one, other)
    0.5
    """
    if not isinstance(a, Region) or not isinstance(b, Region):
        raise TypeError(
            f"mask_iou compares two Region, got {type(a).__name__} and {type(b).__name__}; make one with "
            "Region.from_mask(mask) or Region.from_box(box, image.shape)"
        )
    if tuple(a.shape) != tuple(b.shape):
        raise ValueError(
            f"regions of images of {a.shape} and {b.shape} pixels; compare regions of one image"
        )
    x0, y0 = max(a.box[0], b.box[0]), max(a.box[1], b.box[1])
    x1, y1 = min(a.box[2], b.box[2]), min(a.box[3], b.box[3])
    if x1 <= x0 or y1 <= y0:
        return 0.0
    # where the boxes overlap
    parts = [
        one.inside[y0 - top : y1 - top, x0 - left : x1 - left]
        for one, (left, top, *_) in ((a, a.box), (b, b.box))
    ]
    common = int(np.count_nonzero(parts[0] & parts[1]))
    return common / (a.area + b.area - common)


def non_maximum_suppression(boxes, scores, iou=0.5):
    """Keep the best box, drop those that overlap it too much, and go on with the rest.

    Parameters
    ----------
    boxes : array-like of shape (n, 4)
    scores : array-like of shape (n,)
        Equal scores: the earlier box comes first.
    iou : float
        Boxes that overlap a kept one by more are dropped.

    Returns
    -------
    ndarray of int64
        Positions kept, best first.

    Examples
    --------
    >>> non_maximum_suppression([[0, 0, 4, 4], [0, 0, 4, 5], [8, 8, 9, 9]], [0.5, 0.9, 0.1]).tolist()
    [1, 2]
    """
    order = np.argsort(-np.asarray(scores, dtype=float), kind="stable")
    overlap = box_iou(boxes, boxes)
    kept, free = [], np.ones(len(order), dtype=bool)
    for position in order:
        if free[position]:
            kept.append(int(position))
            free &= overlap[position] <= iou
    return np.array(kept, dtype=np.int64)


def keep_best(regions, *, n=None, iou=1.0):
    """The regions of one image that have the highest scores and are not nearly the same: list of Region, best first.

    Parameters
    ----------
    regions : list of Region
    n : int, optional
        How many at most.
    iou : float
        A region whose mask overlaps that of a better one by more is dropped; 1 keeps all.
    """
    kept = []
    for region in sorted(regions, key=lambda one: -one.score):
        if n is not None and len(kept) >= n:
            break
        if iou >= 1 or all(mask_iou(region, other) <= iou for other in kept):
            kept.append(region)
    return kept


def pack(regions):
    """Regions of all images, a list of lists, as arrays for `unpack`: dict of str to ndarray."""
    flat = [region for mine in regions for region in mine]
    bits = [np.empty(0, np.uint8), *(np.packbits(region.inside) for region in flat)]
    return {
        "counts": np.array([len(mine) for mine in regions], dtype=np.int64),
        "boxes": np.array([region.box for region in flat], dtype=np.int64).reshape(-1, 4),
        "shapes": np.array([region.shape for region in flat], dtype=np.int64).reshape(-1, 2),
        "scores": np.array([region.score for region in flat], dtype=np.float64),
        "bits": np.concatenate(bits),
    }


def unpack(packed):
    """The inverse of `pack`; ValueError where the arrays do not fit one another."""
    counts, boxes, bits = packed["counts"], packed["boxes"], packed["bits"]
    shapes, scores = packed["shapes"].tolist(), packed["scores"].tolist()
    spans = boxes[:, :1:-1] - boxes[:, 1::-1]  # height and width
    sizes = -(-spans.prod(axis=1) // 8)
    if (counts < 0).any() or not counts.sum() == len(boxes) == len(shapes) == len(scores):
        raise ValueError("the regions are damaged: they differ in number")
    if np.abs(boxes).max(initial=0) > 2**30 or (spans < 1).any() or sizes.sum() != len(bits):
        raise ValueError("the regions are damaged: a mask does not fit its box")
    flat, ends = [], np.cumsum(sizes)
    rows = zip(boxes.tolist(), spans, ends, sizes, shapes, scores, strict=True)
    for box, span, end, size, shape, score in rows:
        inside = np.unpackbits(bits[end - size : end], count=span.prod()).reshape(span).astype(bool)
        flat.append(Region(tuple(box), inside, tuple(shape), score))
    starts = np.concatenate([[0], np.cumsum(counts)])
    return [flat[start:end] for start, end in itertools.pairwise(starts)]
