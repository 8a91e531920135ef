"""Colour alone: the mean colour, and joint colour histograms."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from .._optional import require
from .base import PerImage, check_choice, check_count

_BINS = {"hsv": (16, 4, 4), "lab": (4, 8, 8), "rgb": (6, 6, 6)}
_BLOCK = 1 << 19  # pixels converted at a time, so that a large photograph needs little memory
# A colour that lies exactly on the edge of two bins belongs to the upper one, but float32 may put it just below.
# For up to 256 bins that error is below 1e-4 of a bin, while other 8-bit colours are at least 1/1530 away (RGB, HSV).
_EDGE = 1e-4


class MeanColor(PerImage, TransformerMixin, BaseEstimator):
    """Mean red, green and blue of an image, each in [0, 1].

    The weakest sensible baseline: 3 numbers. It is not normalised, as its natural distance is Euclidean;
    the cosine distance compares hue and saturation only (a black image is a zero vector).

    Examples
    --------
    >>> red = np.full((4, 5, 3), [255, 0, 0], dtype=np.uint8)
    >>> MeanColor().transform([red])
    array([[1., 0., 0.]], dtype=float32)
    """

    def _check(self):
        pass

    def _encode(self, image):
        return image.mean(axis=(0, 1), dtype=np.float64) / 255  # (h, w, 3) -> (3,)


class ColorHistogram(PerImage, TransformerMixin, BaseEstimator):
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
        if self.bins is None:
            return
        if np.ndim(self.bins) != 1 or len(self.bins) != 3:
            raise ValueError(
                f"bins must be three numbers, one a channel, got {self.bins!r}; "
                f"pass for example bins={_BINS[self.space]}"
            )
        for n_bins in self.bins:
            check_count("each of bins", n_bins)

    def _encode(self, image):
        bins = np.array(_BINS[self.space] if self.bins is None else self.bins, dtype=np.int32)
        steps = np.array(
            [bins[1] * bins[2], bins[2], 1], dtype=np.int32
        )  # of the joint bin, a channel
        pixels = np.ascontiguousarray(image).reshape(-1, 1, 3)  # (h, w, 3) -> (n, 1, 3)
        counts = np.zeros(bins.prod(), dtype=np.int64)
        for start in range(0, len(pixels), _BLOCK):
            unit = _to_unit(pixels[start : start + _BLOCK], self.space)[:, 0]  # (n, 3)
            cells = np.clip(
                (unit * bins.astype(np.float32) + np.float32(_EDGE)).astype(np.int32), 0, bins - 1
            )
            counts += np.bincount(cells @ steps, minlength=len(counts))
        histogram = counts / len(pixels)
        return np.sqrt(histogram) if self.hellinger else histogram


def _to_unit(pixels, space):
    """Convert RGB uint8 (n, 1, 3) to `space` as float32 (n, 1, 3), its range scaled to [0, 1]."""
    pixels = pixels.astype(np.float32)
    if space == "rgb":
        return pixels / 255
    cv2 = require("cv2")
    if (
        space == "hsv"
    ):  # in 0..255, where the small number that OpenCV adds to divisors is below rounding
        return cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV) / np.array([360, 1, 255], dtype=np.float32)
    lab = cv2.cvtColor(pixels / 255, cv2.COLOR_RGB2LAB)
    return (lab + np.array([0, 80, 80], dtype=np.float32)) / np.array(
        [100, 160, 160], dtype=np.float32
    )
