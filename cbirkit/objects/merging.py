"""From superpixels to regions of all sizes: join the two most similar neighbours, note the result, go on."""

import numpy as np

from .._optional import require
from .regions import Region

_RING = 3  # pixels around a region that it is compared with


def merged_regions(image, labels, *, min_area=0.0, max_area=1.0):
    """All segments of a partition, and all that arise while its most similar neighbours are joined.

    Parameters
    ----------
    image : ndarray (h, w, 3), RGB uint8
    labels : ndarray (h, w), int
        Which superpixel each pixel belongs to.
    min_area, max_area : float
        Regions outside these shares of the image are left out.

    Returns
    -------
    list of Region
        Their score is the distance in CIE Lab between the mean colour inside and that of the pixels just around, over 100.
    """
    colours = _lab(image)
    labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
    members, found = _merge(labels, colours), []
    n_pixels = labels.size
    sizes = np.bincount(labels.ravel())
    for group in members:
        if min_area * n_pixels <= sizes[group].sum() <= max_area * n_pixels:
            chosen = np.zeros(len(sizes), bool)
            chosen[group] = True
            found.append(_scored(Region.from_mask(chosen[labels]), colours))
    return found


def _merge(labels, colours):
    """Which superpixels make up each segment on the way from all of them to one: list of lists."""
    n = labels.max() + 1
    sizes = np.bincount(labels.ravel()).astype(float)
    means = (
        np.stack([np.bincount(labels.ravel(), colours[..., c].ravel()) for c in range(3)], axis=1)
        / sizes[:, None]
    )
    groups, neighbours = [[i] for i in range(n)], _neighbours(labels)
    found, alive = [list(group) for group in groups], set(range(n))
    costs = {pair: np.linalg.norm(means[pair[0]] - means[pair[1]]) for pair in neighbours}
    while costs:
        a, b = min(costs, key=lambda pair: (costs[pair], pair))
        means[a] = (sizes[a] * means[a] + sizes[b] * means[b]) / (sizes[a] + sizes[b])
        sizes[a] += sizes[b]
        groups[a] = groups[a] + groups[b]
        alive.discard(b)
        found.append(groups[a])
        touched = {(x if y in (a, b) else y) for x, y in costs if {x, y} & {a, b}} - {a, b}
        costs = {pair: cost for pair, cost in costs.items() if not {a, b} & set(pair)}
        costs |= {tuple(sorted((a, c))): np.linalg.norm(means[a] - means[c]) for c in touched}
    return found


def _neighbours(labels):
    """Pairs of superpixels that touch: set of (smaller, larger)."""
    pairs = [
        np.stack([labels[:, 1:].ravel(), labels[:, :-1].ravel()]),
        np.stack([labels[1:].ravel(), labels[:-1].ravel()]),
    ]
    pairs = np.sort(np.concatenate(pairs, axis=1), axis=0)
    pairs = np.unique(pairs[:, pairs[0] != pairs[1]], axis=1)
    return {(int(a), int(b)) for a, b in pairs.T}


def _lab(image):
    """CIE Lab, float32 (h, w, 3), slightly smoothed."""
    cv2 = require("cv2")
    return cv2.cvtColor(
        cv2.GaussianBlur(image, (0, 0), 0.8).astype(np.float32) / 255, cv2.COLOR_RGB2LAB
    )


def _scored(region, colours):
    """The region with its contrast to the ring around it as score; 0 where there is none."""
    cv2 = require("cv2")
    (x0, y0, x1, y1), (height, width) = region.box, region.shape
    top, left, bottom, right = (
        max(y0 - _RING, 0),
        max(x0 - _RING, 0),
        min(y1 + _RING, height),
        min(x1 + _RING, width),
    )
    inside = np.zeros((bottom - top, right - left), np.uint8)
    inside[y0 - top : y1 - top, x0 - left : x1 - left] = region.inside
    around = cv2.dilate(inside, np.ones((2 * _RING + 1,) * 2, np.uint8)) > inside
    if not around.any():
        return region
    part = colours[top:bottom, left:right]
    contrast = np.linalg.norm(part[inside > 0].mean(axis=0) - part[around].mean(axis=0)) / 100
    return Region(region.box, region.inside, region.shape, float(contrast))
