"""Ways to cut an image into regions that may hold a thing; all have ``propose(image) -> list of Region``."""

import numpy as np
from sklearn.base import BaseEstimator

from .._optional import require
from ..encoders.base import check_count
from ..images import ImageProblem, to_rgb
from .merging import merged_regions
from .regions import Region, keep_best


class Proposer(BaseEstimator):
    """What the ways share: a checked image in, regions out, best first.

    A class has ``_regions(image)``, which turns RGB uint8 (h, w, 3) into a list of `Region`.
    """

    def propose(self, image):
        """Cut an image into regions, which may overlap.

        Parameters
        ----------
        image : ndarray (h, w, 3), RGB uint8, or what `cbirkit.images.to_rgb` takes
            Grey and RGBA arrays are converted.

        Returns
        -------
        list of Region
            The most object-like first. Empty where there is nothing to be seen.

        Raises
        ------
        ImageProblem
            It is no image.
        ValueError
            A parameter is out of range.
        """
        try:
            image = to_rgb(np.asarray(image))
        except ImageProblem as problem:
            raise ImageProblem("image", problem.reason) from None
        return self._regions(image)


class SlidingPyramid(Proposer):
    """Square windows of several sizes, half a window apart: every place, no look at the image. The honest baseline.

    Parameters
    ----------
    scales : sequence of float in (0, 1]
        Sides of the windows, as shares of the shorter side of the image.
    overlap : float in [0, 1)
        Share of a window that the next one covers again.

    Examples
    --------
    >>> len(SlidingPyramid(scales=(1.0, 0.5)).propose(np.zeros((64, 64, 3), np.uint8)))
    10
    """

    def __init__(self, scales=(0.6, 0.4, 0.25), overlap=0.5):
        self.scales = scales
        self.overlap = overlap

    def _regions(self, image):
        if not 0 <= self.overlap < 1 or not all(0 < scale <= 1 for scale in self.scales):
            raise ValueError(
                f"scales lie in (0, 1] and overlap in [0, 1), got {self.scales!r} and {self.overlap!r}"
            )
        height, width = image.shape[:2]
        found = []
        for scale in self.scales:
            side = max(1, round(scale * min(height, width)))
            starts = [_starts(length, side, self.overlap) for length in (height, width)]
            found += [
                Region.from_box((x, y, x + side, y + side), image.shape)
                for y in starts[0]
                for x in starts[1]
            ]
        return found


def _starts(length, side, overlap):
    """Where windows begin, evenly spread, the first at 0 and the last at the end: list of int."""
    step = max(1.0, side * (1 - overlap))
    n = int(np.ceil((length - side) / step - 1e-9)) + 1
    return np.linspace(0, length - side, n).round().astype(int).tolist()


class _Superpixels(Proposer):
    """Superpixels, and what comes of joining the most similar neighbours again and again."""

    def _regions(self, image):
        check_count("max_regions", self.max_regions)
        labels = self._superpixels(image)
        regions = merged_regions(image, labels, min_area=self.min_area, max_area=self.max_area)
        return keep_best(regions, n=self.max_regions, iou=self.iou)


class Felzenszwalb(_Superpixels):
    """Felzenszwalb and Huttenlocher's graph segments, merged step by step; every segment on the way is a region.

    Parameters
    ----------
    scale : float
        Larger: larger segments to begin with.
    sigma : float
        Of the smoothing before it, in pixels.
    min_size : int
        Pixels of the smallest segment.
    max_regions : int
        The best are kept.
    iou : float
        Of two regions that overlap by more the better one is kept.
    min_area, max_area : float
        Regions outside these shares of the image are left out.

    References
    ----------
    Felzenszwalb and Huttenlocher, "Efficient graph-based image segmentation", IJCV 2004, doi:10.1023/B:VISI.0000022288.19776.77.
    Merging: Uijlings et al., "Selective search for object recognition", IJCV 2013, doi:10.1007/s11263-013-0620-5 (colour only here,
    and the score is the contrast to what lies around).

    Examples
    --------
    >>> image = np.full((60, 60, 3), 200, np.uint8)
    >>> image[20:40, 25:45] = 30, 60, 160
    >>> Felzenszwalb().propose(image)[0].box
    (25, 20, 45, 40)
    """

    def __init__(
        self,
        scale=120.0,
        sigma=0.8,
        min_size=25,
        *,
        max_regions=60,
        iou=0.7,
        min_area=0.004,
        max_area=0.6,
    ):
        self.scale = scale
        self.sigma = sigma
        self.min_size = min_size
        self.max_regions = max_regions
        self.iou = iou
        self.min_area = min_area
        self.max_area = max_area

    def _superpixels(self, image):
        from skimage.segmentation import felzenszwalb

        return felzenszwalb(image, scale=self.scale, sigma=self.sigma, min_size=self.min_size)


class SLIC(_Superpixels):
    """SLIC superpixels, of about equal size, merged step by step; every segment on the way is a region.

    Parameters
    ----------
    n_segments : int
        Superpixels to begin with, about.
    compactness : float
        Larger: squarer.
    max_regions, iou, min_area, max_area
        As for `Felzenszwalb`.

    References
    ----------
    Achanta et al., "SLIC superpixels compared to state-of-the-art superpixel methods", TPAMI 2012, doi:10.1109/TPAMI.2012.120.

    Examples
    --------
    >>> image = np.full((60, 60, 3), 200, np.uint8)
    >>> image[20:40, 25:45] = 30, 60, 160
    >>> len(SLIC(40).propose(image)) > 0
    True
    """

    def __init__(
        self,
        n_segments=80,
        compactness=10.0,
        *,
        max_regions=60,
        iou=0.7,
        min_area=0.004,
        max_area=0.6,
    ):
        self.n_segments = n_segments
        self.compactness = compactness
        self.max_regions = max_regions
        self.iou = iou
        self.min_area = min_area
        self.max_area = max_area

    def _superpixels(self, image):
        from skimage.segmentation import slic

        check_count("n_segments", self.n_segments)
        return slic(image, n_segments=self.n_segments, compactness=self.compactness, start_label=0)


class GrabCut(Proposer):
    """The thing inside a box, told from what surrounds it: two colour mixtures and a minimal cut.

    Parameters
    ----------
    box : sequence of 4 numbers, optional
        x0, y0, x1, y1 in pixels, around the thing. Default: the middle 80 % of the image.
    n_iterations : int
    random_state : int

    Notes
    -----
    `propose` gives one region, inside the box. Where the cut leaves nothing (a box of one colour, or of the whole image) it is
    the box itself.

    References
    ----------
    Rother, Kolmogorov and Blake, "GrabCut", SIGGRAPH 2004, doi:10.1145/1015706.1015720.

    Examples
    --------
    >>> image = np.full((60, 60, 3), 200, np.uint8)
    >>> image[20:40, 25:45] = 30, 60, 160
    >>> GrabCut((20, 15, 50, 45)).propose(image)[0].box
    (25, 20, 45, 40)
    """

    def __init__(self, box=None, n_iterations=3, random_state=0):
        self.box = box
        self.n_iterations = n_iterations
        self.random_state = random_state

    def _regions(self, image):
        check_count("n_iterations", self.n_iterations)
        height, width = image.shape[:2]
        box = (
            (0.1 * width, 0.1 * height, 0.9 * width, 0.9 * height) if self.box is None else self.box
        )
        asked = Region.from_box(box, image.shape, score=1.0)
        x0, y0, x1, y1 = asked.box
        if (x1 - x0, y1 - y0) == (width, height) or min(x1 - x0, y1 - y0) < 3:
            return [asked]  # nothing outside to learn the ground from, or nothing to cut
        cv2 = require("cv2")
        cut, models = np.zeros((height, width), np.uint8), [np.zeros((1, 65)) for _ in range(2)]
        cv2.setRNGSeed(int(self.random_state))
        try:
            cv2.grabCut(
                image,
                cut,
                (x0, y0, x1 - x0, y1 - y0),
                *models,
                self.n_iterations,
                cv2.GC_INIT_WITH_RECT,
            )
        except cv2.error:  # a ground of fewer pixels than mixtures
            return [asked]
        mask = np.isin(cut, (cv2.GC_FGD, cv2.GC_PR_FGD))
        return [Region.from_mask(mask, score=1.0)] if mask.any() else [asked]
