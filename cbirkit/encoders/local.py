"""Local descriptors: SIFT and RootSIFT at key points, computed by OpenCV in several threads."""

import collections
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
from sklearn.base import BaseEstimator

from cbirkit._optional import require

from .base import check_count, check_number, grey, read_images, resize


class SIFT(BaseEstimator):
    """Key points of an image and their SIFT descriptors, strongest first.

    Parameters
    ----------
    max_keypoints : int or None
        Keep this many key points, those of the strongest contrast; None keeps all.
    root : bool
        RootSIFT: divide each descriptor by its sum and take the square root; its length is then 1, and Euclidean
        distances compare histograms by Hellinger's distance.
    max_side : int
        A larger image is scaled down until its longer side has this many pixels, which bounds time and memory.
        Key points are told in pixels of the image as given.
    contrast_threshold : float
        Weaker extrema are dropped (OpenCV's ``contrastThreshold``); lower finds more key points, and noise.
    n_jobs : int or None
        Threads; None or -1 uses all cores. It does not change the result.

    Notes
    -----
    An image without texture, or smaller than a few pixels, has no key points: arrays of length 0.
    OpenCV 4 and 5 both serve; their key points may differ a little.

    References
    ----------
    Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 2004,
    doi:10.1023/B:VISI.0000029664.99615.94.
    RootSIFT: Arandjelovic and Zisserman, "Three things everyone should know to improve object retrieval", CVPR 2012,
    doi:10.1109/CVPR.2012.6248018.

    Examples
    --------
    >>> image = np.kron(np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8), np.ones((16, 16), np.uint8))
    >>> keypoints, descriptors = SIFT(max_keypoints=20).describe(image)
    >>> keypoints.shape, descriptors.shape
    ((20, 4), (20, 128))
    """

    _not_identity = ("n_jobs",)  # parameters that cannot change a result: not part of a store's key

    def __init__(
        self, max_keypoints=1000, root=True, *, max_side=640, contrast_threshold=0.04, n_jobs=None
    ):
        self.max_keypoints = max_keypoints
        self.root = root
        self.max_side = max_side
        self.contrast_threshold = contrast_threshold
        self.n_jobs = n_jobs

    def describe(self, image):
        """Find and describe the key points of one image.

        Parameters
        ----------
        image : array of shape (h, w, 3) or (h, w)
            RGB uint8, or what `cbirkit.images.to_rgb` takes.

        Returns
        -------
        keypoints : ndarray of shape (n, 4), float32
            x, y (pixels; the centre of the top left pixel is 0, 0), size (diameter in pixels), angle (degrees,
            clockwise in the picture).
        descriptors : ndarray of shape (n, 128), float32
            RootSIFT of length 1, or SIFT with whole numbers in 0..255.
        """
        self._check()
        return self._describe(*self._shrunk(grey(next(read_images([image])))))

    def describe_all(self, images, order=None):
        """Yield ``(keypoints, descriptors)`` of each image in order, computed by threads.

        Only a few images, shrunk and grey, are held at a time. For `images` and `order` see `cbirkit.encoders.base.read_images`.
        """
        self._check()
        n_threads = joblib.effective_n_jobs(-1 if self.n_jobs is None else self.n_jobs)
        pending = collections.deque()
        pool = ThreadPoolExecutor(n_threads, thread_name_prefix="sift")
        try:
            for image in read_images(images, order):
                pending.append(pool.submit(self._describe, *self._shrunk(grey(image))))
                if len(pending) > 2 * n_threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:  # also when the caller stops early
            pool.shutdown(cancel_futures=True)

    def _check(self):
        if self.max_keypoints is not None:
            check_count("max_keypoints", self.max_keypoints)
        check_count("max_side", self.max_side)
        check_number("contrast_threshold", self.contrast_threshold, 0)
        if self.n_jobs is not None:
            check_number("n_jobs", self.n_jobs, whole=True)

    def _describe(self, pixels, scale):
        """Describe grey pixels (h, w) that were scaled by the factors `scale` along x and y."""
        cv2 = require("cv2")
        # a detector of its own for each image: OpenCV's are not made to be shared between threads
        contrast = float(self.contrast_threshold)
        sift = cv2.SIFT_create(nfeatures=self.max_keypoints or 0, contrastThreshold=contrast)
        points, descriptors = sift.detectAndCompute(pixels, None)
        if descriptors is None or not len(points):
            return np.zeros((0, 4), dtype=np.float32), np.zeros((0, 128), dtype=np.float32)
        response = np.array([point.response for point in points])
        # OpenCV keeps more where contrasts tie
        order = np.argsort(-response, kind="stable")[: self.max_keypoints]
        keypoints = np.array([(*point.pt, point.size, point.angle) for point in points])[order]
        # pixel centres lie at whole numbers
        keypoints[:, :2] = (keypoints[:, :2] + 0.5) / scale - 0.5
        keypoints[:, 2] /= scale.mean()
        descriptors = descriptors[order].astype(np.float32)
        return keypoints.astype(np.float32), root_sift(descriptors) if self.root else descriptors

    def _shrunk(self, pixels):
        """Scale grey (h, w) to at most `max_side`; also tell the factors along x and y."""
        height, width = pixels.shape
        factor = self.max_side / max(height, width)
        if factor >= 1:
            return pixels, np.ones(2)
        small = resize(pixels, max(1, round(width * factor)), max(1, round(height * factor)))
        return small, np.array([small.shape[1] / width, small.shape[0] / height])


def root_sift(descriptors):
    """Divide SIFT descriptors (n, 128) by their sum and take the square root: float32 rows of length 1.

    Examples
    --------
    >>> root_sift(np.array([[9.0, 0.0, 16.0]]))
    array([[0.6, 0. , 0.8]], dtype=float32)
    """
    sums = descriptors.sum(axis=1, keepdims=True)
    return np.sqrt(descriptors / np.maximum(sums, np.finfo(np.float32).tiny)).astype(np.float32)
