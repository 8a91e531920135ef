"""Embeddings of many regions from one forward pass: the feature map, averaged under each region's mask."""

import numpy as np


def pool_regions(feature_map, regions, *, window=None):
    """Average a feature map under the masks of regions, and scale the result to length 1.

    A mask is brought to the grid of the map by area: the weight of a cell is the share of its pixels that belong to the
    region, so a region smaller than a cell still has an embedding, that of its cell.

    Parameters
    ----------
    feature_map : ndarray of shape (c, h, w)
        Of the whole image, from one forward pass.
    regions : sequence of Region
        All of the image that the map is of.
    window : tuple of 4 float, optional
        x0, y0, x1, y1: which part of the image, in pixels, the map covers (see `window_of`). Default: all of it.

    Returns
    -------
    ndarray of shape (n_regions, c), float32

    Raises
    ------
    ValueError
        A map that has no three axes, regions of images of different sizes, or a region outside the window.

    Examples
    --------
    >>> from cbirkit.objects import Region
    >>> maps = np.arange(8.0).reshape(2, 2, 2)
    >>> pool_regions(maps, [Region.from_box((0, 0, 5, 10), (10, 10))]).round(4).tolist()
    [[0.19609999656677246, 0.9805999994277954]]
    """
    feature_map = np.asarray(feature_map)
    if feature_map.ndim != 3 or not feature_map.size:
        raise ValueError(
            f"a feature map has the shape (channels, height, width), got {feature_map.shape}; pass the map of one image"
        )
    if not len(regions):
        return np.empty((0, len(feature_map)), dtype=np.float32)
    cells = feature_map.reshape(len(feature_map), -1).astype(np.float64)  # (c, h * w)
    weights = grid_weights(regions, feature_map.shape[1:], window=window).reshape(len(regions), -1)
    rows = (weights / weights.sum(axis=1, keepdims=True)) @ cells.T
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows.astype(np.float32)


def grid_weights(regions, grid, *, window=None):
    """Masks resized to a grid by area: float64 (n_regions, height, width), the share of each cell that a region covers.

    Parameters and errors as for `pool_regions`; `grid` is (height, width).
    """
    shape = tuple(regions[0].shape)
    if any(tuple(region.shape) != shape for region in regions):
        raise ValueError("regions of images of several sizes; pool those of one image at a time")
    x0, y0, x1, y1 = (0, 0, shape[1], shape[0]) if window is None else window
    down, across = _overlaps(shape[0], grid[0], y0, y1), _overlaps(shape[1], grid[1], x0, x1)
    weights = np.empty((len(regions), *grid))
    for number, region in enumerate(regions):
        left, top, right, bottom = region.box
        weights[number] = down[:, top:bottom] @ region.inside @ across[:, left:right].T
        if not weights[number].max() > 0:
            raise ValueError(
                f"the region {region.box} lies outside the part of the image that the encoder sees; use resize='squash'"
            )
    return weights


def _overlaps(n_pixels, n_cells, low, high):
    """Share of each cell (n_cells, n_pixels) that each pixel covers, the cells dividing [low, high] evenly."""
    edges = np.linspace(low, high, n_cells + 1)
    pixels = np.arange(n_pixels)
    common = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.maximum(common, 0) * n_cells / (high - low)


def window_of(preprocessing, shape):
    """Which part of an image a network sees: x0, y0, x1, y1 in pixels of the image, beyond it where borders are added.

    Parameters
    ----------
    preprocessing : cbirkit.nets.preprocessing.Preprocessing
    shape : tuple of int
        Height and width of the image.
    """
    height, width = shape[:2]
    if preprocessing.resize == "squash":
        return 0.0, 0.0, float(width), float(height)
    tall, wide = preprocessing.shape
    fits = tall / height, wide / width
    crop = preprocessing.resize == "crop"
    factor = max(fits) / preprocessing.crop_ratio if crop else min(fits)
    half_w, half_h = wide / factor / 2, tall / factor / 2
    return width / 2 - half_w, height / 2 - half_h, width / 2 + half_w, height / 2 + half_h
