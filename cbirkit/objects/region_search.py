"""From distances of regions to ranked images: the best region of each counts."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from .regions import keep_best


def best_per_image(distances, rows, owners):
    """The nearest region of each image.

    Parameters
    ----------
    distances : ndarray of shape (n,), ascending
    rows : ndarray of shape (n,), int64
        Which region each distance belongs to.
    owners : ndarray of shape (n_regions,), int64
        Which image each region is of.

    Returns
    -------
    images, nearest, regions : ndarray
        Each image that has a region among `rows`, nearest first; its distance; the region. Equal distances: the image that comes
        first in the database.

    Examples
    --------
    >>> owners = np.array([0, 0, 1])
    >>> [part.tolist() for part in best_per_image(np.array([0.1, 0.2, 0.4]), np.array([1, 2, 0]), owners)]
    [[0, 1], [0.1, 0.2], [1, 2]]
    """
    images, first = np.unique(owners[rows], return_index=True)  # the first of each is its nearest
    order = np.argsort(distances[first], kind="stable")
    return images[order], distances[first][order], rows[first][order]


def best_together(distances, owners):
    """The regions of each image that answer several parts of a query, each part another region, at the least mean distance.

    Parameters
    ----------
    distances : ndarray of shape (n_parts, n_regions)
    owners : ndarray of shape (n_regions,), int64, ascending

    Returns
    -------
    images, nearest : ndarray of shape (n_found,)
        Images with at least as many regions as the query has parts, nearest first, and their mean distances.
    regions : ndarray of shape (n_found, n_parts), int64

    Examples
    --------
    >>> table = np.array([[0.1, 0.2, 0.5, 0.5], [0.1, 0.6, 0.5, 0.5]])
    >>> [part.tolist() for part in best_together(table, np.array([0, 0, 1, 1]))]
    [[0, 1], [0.15000000000000002, 0.5], [[1, 0], [2, 3]]]
    """
    found = []
    for image, start, count in zip(
        *np.unique(owners, return_index=True, return_counts=True), strict=True
    ):
        if count >= len(distances):
            part = distances[:, start : start + count]
            chosen = linear_sum_assignment(part)[1]
            found.append((part[np.arange(len(part)), chosen].mean(), image, start + chosen))
    found.sort(key=lambda one: one[:2])
    n_parts = len(distances)
    regions = np.array([one[2] for one in found], dtype=np.int64).reshape(-1, n_parts)
    return (
        np.array([one[1] for one in found], dtype=np.int64),
        np.array([one[0] for one in found]),
        regions,
    )


def nearest_images(index, vectors, owners, depth=None):
    """Images by their best region, for one part of a query at several scales (n_scales, n_dims): as `best_together` gives them."""
    n = len(owners) if depth is None else min(depth, len(owners))
    distances, rows = (part.ravel() for part in index.kneighbors(vectors, n_neighbors=n))
    order = np.argsort(distances, kind="stable")  # of all scales
    images, near, best = best_per_image(distances[order], rows[order], owners)
    return images, near, best[:, None]


def images_together(index, parts, owners):
    """The same for several parts, each (n_scales, n_dims)."""
    table = np.full((len(parts), len(owners)), np.inf)
    for number, vectors in enumerate(parts):
        distances, rows = index.kneighbors(vectors, n_neighbors=len(owners))
        np.minimum.at(table[number], rows, distances)
    return best_together(table, owners)


def kept_regions(regions, n_whole, *, n=None, iou=1.0):
    """What `RegionRetriever.pruned` keeps: regions of each image, and their rows. The last `n_whole` of each image stay."""
    found, rows, start = [], [], 0
    for mine in regions:
        body, rest = mine[: len(mine) - n_whole], mine[len(mine) - n_whole :]
        chosen = {id(region) for region in [*keep_best(body, n=n, iou=iou), *rest]}
        found.append([region for region in mine if id(region) in chosen])
        rows += [start + i for i, region in enumerate(mine) if id(region) in chosen]
        start += len(mine)
    return found, rows
