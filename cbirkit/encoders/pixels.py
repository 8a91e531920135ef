"""Hand-made features of the whole image: its pixels made small, its colours, its gradients (HOG) and its texture (LBP)."""

import numpy as np

from cbirkit._optional import require

from .base import PerImage, check_choice, check_count, check_each, grey, l2_normalise, resize

_BINS = {"hsv": (16, 4, 4), "lab": (4, 8, 8), "rgb": (6, 6, 6)}
# Pixels converted at a time, so that a large photograph needs little memory.
_BLOCK = 1 << 19
# A colour that lies exactly on the edge of two bins belongs to the upper one, but float32 may put it just below.
# For up to 256 bins that error is below 1e-4 of a bin, while other 8-bit colours are at least 1/1530 away (RGB, HSV).
_EDGE = 1e-4


class TinyImage(PerImage):
    """The image squeezed to `size` x `size` RGB pixels, its mean taken away, L2-normalised.

    The cosine of two such vectors is the normalised correlation of the small images: it ignores brightness and
    contrast. An image of one grey value is a zero vector (cosine distance 1 from everything).

    Parameters
    ----------
    size : int
        Pixels a side; each is the mean of the area that it covers (in 8 bits). Smaller images are enlarged linearly.

    References
    ----------
    Torralba, Fergus and Freeman, "80 million tiny images", TPAMI 2008, doi:10.1109/TPAMI.2008.128.

    Examples
    --------
    >>> image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    >>> TinyImage(4).transform([image]).shape
    (1, 48)
    """

    def __init__(self, size=16):
        self.size = size

    def _check(self):
        check_count("size", self.size)

    def _encode(self, image):
        pixels = resize(image, self.size, self.size).astype(np.int64)  # (size, size, 3)
        # n * pixel - sum, in whole numbers: a plain image gives exact zeros, not rounding noise to be blown up
        return l2_normalise((pixels * pixels.size - pixels.sum()).ravel().astype(np.float64))


class MeanColor(PerImage):
    """Mean red, green and blue of an image, each in [0, 1].

    The weakest sensible baseline: 3 numbers. It is not normalised, as its natural distance is Euclidean;
    the cosine distance compares hue and saturation only (a black image is a zero vector).

    Examples
    --------
    >>> red = np.full((4, 5, 3), [255, 0, 0], dtype=np.uint8)
    >>> MeanColor().transform([red])
    array([[1., 0., 0.]], dtype=float32)
    """

    def _encode(self, image):
        return image.mean(axis=(0, 1), dtype=np.float64) / 255  # (h, w, 3) -> (3,)


class ColorHistogram(PerImage):
    """Joint histogram of the three channels of a colour space.

    ``h[i, j, k]`` is the share of pixels whose first channel lies in bin i, the second in j and the third in k.
    With `hellinger` the embedding is ``sqrt(h)``, of length 1: its Euclidean and cosine distances are then the
    Hellinger distance of the histograms. Without, the entries sum to 1.

    Parameters
    ----------
    space : {"hsv", "lab", "rgb"}
        HSV with hue in [0, 360) degrees; CIE L*a*b* (sRGB, D65) with L* in [0, 100] and a*, b* in [-80, 80],
        stronger colours counting in the outermost bins; or RGB.
    bins : sequence of three int, optional
        Equal bins a channel: 16 x 4 x 4 for HSV, 4 x 8 x 8 for Lab and 6 x 6 x 6 for RGB if not given.
    hellinger : bool
        Take the square root.

    Notes
    -----
    The colours are converted in float32, not in 8 bits. Bins hold their lower edge, and the last one the upper edge
    of the range too. Hue is a circle: reds just below 360 and just above 0 degrees are neighbours in colour and yet
    fall into the last and the first bin. Grey pixels have hue 0 and saturation 0, black ones value 0 besides.

    References
    ----------
    Swain and Ballard, "Color indexing", IJCV 1991, doi:10.1007/BF00130487.
    Hellinger distance as a kernel on histograms: Arandjelovic and Zisserman 2012, doi:10.1109/CVPR.2012.6248018.

    Examples
    --------
    >>> image = np.zeros((2, 2, 3), dtype=np.uint8)
    >>> image[0] = [255, 0, 0]
    >>> ColorHistogram("rgb", (2, 2, 2), hellinger=False).transform([image])
    array([[0.5, 0. , 0. , 0. , 0.5, 0. , 0. , 0. ]], dtype=float32)
    """

    def __init__(self, space="hsv", bins=None, *, hellinger=True):
        self.space = space
        self.bins = bins
        self.hellinger = hellinger

    def _check(self):
        check_choice("space", self.space, tuple(_BINS))
        if self.bins is not None:
            check_each("bins", self.bins, check_count, n=3)

    def _encode(self, image):
        bins = np.array(_BINS[self.space] if self.bins is None else self.bins, dtype=np.int32)
        # of the joint bin, a channel
        steps = np.array([bins[1] * bins[2], bins[2], 1], dtype=np.int32)
        pixels = np.ascontiguousarray(image).reshape(-1, 1, 3)  # (h, w, 3) -> (n, 1, 3)
        counts = np.zeros(bins.prod(), dtype=np.int64)
        for start in range(0, len(pixels), _BLOCK):
            unit = _to_unit(pixels[start : start + _BLOCK], self.space)[:, 0]  # (n, 3)
            places = (unit * bins.astype(np.float32) + np.float32(_EDGE)).astype(np.int32)
            cells = np.clip(places, 0, bins - 1)
            counts += np.bincount(cells @ steps, minlength=len(counts))
        histogram = counts / len(pixels)
        return np.sqrt(histogram) if self.hellinger else histogram


def _to_unit(pixels, space):
    """Convert RGB uint8 (n, 1, 3) to `space` as float32 (n, 1, 3), its range scaled to [0, 1]."""
    pixels = pixels.astype(np.float32)
    if space == "rgb":
        return pixels / 255
    cv2 = require("cv2")
    if space == "hsv":
        # in 0..255, where the small number that OpenCV adds to divisors is below rounding
        return cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV) / np.array([360, 1, 255], dtype=np.float32)
    lab = cv2.cvtColor(pixels / 255, cv2.COLOR_RGB2LAB)
    low, width = np.array([[0, -80, -80], [100, 160, 160]], dtype=np.float32)
    return (lab - low) / width


class HOG(PerImage):
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
        layout = {"pixels_per_cell": (self.cell, self.cell), "cells_per_block": (2, 2)}
        return l2_normalise(
            hog(small, self.orientations, block_norm="L2-Hys", channel_axis=-1, **layout)
        )


class LBP(PerImage):
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

    Notes
    -----
    Larger images are scaled so that their longer side has 256 pixels. An image too small for the largest
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

    def __init__(self, radii=(1, 2), grid=2):
        self.radii = radii
        self.grid = grid

    def _check(self):
        check_each("radii", self.radii, check_count)
        check_count("grid", self.grid)

    def _encode(self, image):
        from skimage.feature import local_binary_pattern

        height, width = image.shape[:2]
        scale, least = min(1, 256 / max(height, width)), max(2 * max(self.radii) + 1, self.grid)
        height, width = (max(least, round(side * scale)) for side in (height, width))
        pixels, histograms = resize(grey(image), width, height), []
        for radius in self.radii:
            patterns = local_binary_pattern(pixels, 8 * radius, radius, method="uniform")
            for rows in np.array_split(patterns.astype(np.int64), self.grid, axis=0):
                for tile in np.array_split(rows, self.grid, axis=1):
                    counts = np.bincount(tile.ravel(), minlength=8 * radius + 2)
                    histograms.append(counts / tile.size)
        return l2_normalise(np.sqrt(np.concatenate(histograms)))
