"""Shape and texture without colour: oriented gradients (HOG) and local binary patterns (LBP)."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from .base import PerImage, check_count, grey, l2_normalise, resize


class HOG(PerImage, TransformerMixin, BaseEstimator):
    """Histograms of oriented gradients on a fixed grid, L2-normalised.

    The image is squeezed to `size` x `size`; at each pixel the channel with the strongest gradient votes for one of
    `orientations` unsigned directions of its cell; 2 x 2 cells make a block, normalised as L2-Hys. An image smaller
    than a cell is enlarged; a plain one gives a zero vector (cosine distance 1 from everything).

    Parameters
    ----------
    size : int
        Side of the squeezed image in pixels, at least ``2 * cell``.
    cell : int
        Side of a cell in pixels. With 128 and 16 there are 7 x 7 blocks of 36 numbers: 1,764 dimensions.
    orientations : int
        Number of directions in [0, 180) degrees.

    References
    ----------
    Dalal and Triggs, "Histograms of oriented gradients for human detection", CVPR 2005, doi:10.1109/CVPR.2005.177.
    The computation is `skimage.feature.hog`.

    Examples
    --------
    >>> image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    >>> HOG().transform([image]).shape
    (1, 1764)
    """

    def __init__(self, size=128, cell=16, *, orientations=9):
        self.size = size
        self.cell = cell
        self.orientations = orientations

    def _check(self):
        check_count("cell", self.cell)
        check_count("size", self.size, 2 * self.cell)
        check_count("orientations", self.orientations)

    def _encode(self, image):
        from skimage.feature import hog

        small = resize(image, self.size, self.size)  # (h, w, 3) -> (size, size, 3)
        vector = hog(
            small,
            orientations=self.orientations,
            pixels_per_cell=(self.cell, self.cell),
            cells_per_block=(2, 2),
            block_norm="L2-Hys",
            channel_axis=-1,
        )
        return l2_normalise(vector)


class LBP(PerImage, TransformerMixin, BaseEstimator):
    """Histograms of rotation-invariant uniform local binary patterns, square-rooted, of length 1.

    Each pixel of the grey image is named by how ``8 * radius`` points on a circle around it compare with it: one of
    ``8 * radius + 1`` uniform patterns, or "other". The patterns are counted in each tile of a `grid` x `grid`
    division and for each radius; each histogram is divided by its sum and square-rooted (Hellinger).

    Parameters
    ----------
    radii : sequence of int
        Radii of the circles in pixels.
    grid : int
        Tiles a side; 1 ignores where a texture is. With radii (1, 2) and grid 2 there are 112 dimensions.
    max_side : int
        Larger images are scaled so that their longer side has this many pixels. An image too small for the largest
        circle or for the grid is stretched to the least size that serves.

    References
    ----------
    Ojala, Pietikainen and Maenpaa, "Multiresolution gray-scale and rotation invariant texture classification with
    local binary patterns", TPAMI 2002, doi:10.1109/TPAMI.2002.1017623.
    The computation is `skimage.feature.local_binary_pattern` with ``method="uniform"``.

    Examples
    --------
    >>> image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    >>> LBP().transform([image]).shape
    (1, 112)
    """

    def __init__(self, radii=(1, 2), grid=2, *, max_side=256):
        self.radii = radii
        self.grid = grid
        self.max_side = max_side

    def _check(self):
        if np.ndim(self.radii) != 1 or len(self.radii) == 0:
            raise ValueError(
                f"radii must be a sequence of whole numbers, got {self.radii!r}; pass for example (1, 2)"
            )
        for radius in self.radii:
            check_count("each of radii", radius)
        check_count("grid", self.grid)
        check_count("max_side", self.max_side, self._least_side())

    def _least_side(self):
        return max(2 * max(self.radii) + 1, self.grid)

    def _encode(self, image):
        from skimage.feature import local_binary_pattern

        pixels = self._resized(grey(image))
        histograms = []
        for radius in self.radii:
            patterns = local_binary_pattern(pixels, 8 * radius, radius, method="uniform").astype(
                np.int64
            )
            for rows in np.array_split(patterns, self.grid, axis=0):
                for tile in np.array_split(rows, self.grid, axis=1):
                    histograms.append(
                        np.bincount(tile.ravel(), minlength=8 * radius + 2) / tile.size
                    )
        return l2_normalise(np.sqrt(np.concatenate(histograms)))

    def _resized(self, pixels):
        height, width = pixels.shape
        scale = min(1, self.max_side / max(height, width))
        least = self._least_side()
        return resize(pixels, max(least, round(width * scale)), max(least, round(height * scale)))
