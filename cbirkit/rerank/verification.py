"""Do the matches of two images agree with one homography? RANSAC, and the checks that a result has to pass."""

import numbers
from dataclasses import dataclass, field

import numpy as np

from .._optional import require
from .matching import match_descriptors

N_NEEDED = 4  # matches that fix a homography
_LARGEST_SCALE = 12.0  # magnification, or its inverse, beyond which a fit is taken for an accident
_MIN_SPREAD = 1.0  # pixels: inliers whose spread across their main line is less fix no homography


@dataclass(frozen=True)
class Verification:
    """What came of comparing two images.

    Attributes
    ----------
    homography : ndarray of shape (3, 3), float64, or None
        From pixels of the first image to pixels of the second, lower right number 1; None where the matches agree
        with none.
    matches : ndarray of shape (n_matches, 2), int64
        Rows of the key points that were matched.
    inliers : ndarray of shape (n_matches,), bool
        Matches that agree with the homography; none of them where it is None.
    reason : str
        Why there is no homography; empty where there is one.
    """

    homography: np.ndarray | None
    matches: np.ndarray
    inliers: np.ndarray = field(repr=False)
    reason: str = ""

    @property
    def n_inliers(self):
        """Number of matches that agree with the homography."""
        return int(self.inliers.sum())


def verify(a, b, *, ratio=0.85, mutual=True, threshold=4.0, max_iterations=1000):
    """Match two images' local features and fit a homography to the matches by RANSAC.

    Parameters
    ----------
    a, b : (keypoints, descriptors)
        As `cbirkit.encoders.SIFT.describe` gives them: keypoints (n, 2 or more), x and y in pixels first, and
        descriptors (n, n_dims).
    ratio, mutual
        See `match_descriptors`.
    threshold : float
        An inlier lands within so many pixels of its partner.
    max_iterations : int
        Samples of four matches at most.

    Returns
    -------
    Verification
        The same for the same input, always. No key points, fewer than four matches, matches on one line and fits
        that mirror, fold or shrink the image to nothing give no homography, no inliers and a reason.

    Raises
    ------
    TypeError, ValueError
        Features that do not pair up, or parameters out of range.

    References
    ----------
    Fischler and Bolles, "Random sample consensus", CACM 1981, doi:10.1145/358669.358692. Philbin et al., "Object
    retrieval with large vocabularies and fast spatial matching", CVPR 2007, doi:10.1109/CVPR.2007.383172, fit an
    affinity from one match; here OpenCV's RANSAC (``USAC_DEFAULT``) fits
    a homography to four, and refines it on its inliers.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> points, descriptors = rng.uniform(0, 100, (30, 2)), rng.normal(size=(30, 8))
    >>> found = verify((points, descriptors), (2 * points + 5, descriptors))
    >>> found.n_inliers, np.allclose(found.homography, [[2, 0, 5], [0, 2, 5], [0, 0, 1]], atol=1e-3)
    (30, True)
    """
    _check_numbers(threshold, max_iterations)
    points_a, descriptors_a = features(a, "a")
    points_b, descriptors_b = features(b, "b")
    matches = match_descriptors(descriptors_a, descriptors_b, ratio=ratio, mutual=mutual)
    if not len(points_a) or not len(points_b):
        which = "the first" if not len(points_a) else "the second"
        return _nothing(matches, f"no key points in {which} image")
    return fit_homography(
        points_a[matches[:, 0]], points_b[matches[:, 1]], matches, threshold, max_iterations
    )


def fit_homography(source, target, matches, threshold, max_iterations=1000):
    """Fit a homography to matched points (n, 2) by RANSAC and judge it; returns a `Verification`."""
    if len(source) < N_NEEDED:
        return _nothing(matches, f"{len(source)} matches, and a homography needs {N_NEEDED}")
    if _spread(source) < _MIN_SPREAD or _spread(target) < _MIN_SPREAD:
        return _nothing(matches, "all matches lie on one line")
    cv2 = require("cv2")
    # OpenCV seeds RANSAC anew in each call: the same matches give the same homography
    points = source.astype(np.float64), target.astype(np.float64)
    homography, mask = cv2.findHomography(
        *points, cv2.USAC_DEFAULT, threshold, None, max_iterations, 0.995
    )
    if homography is None or not np.isfinite(homography).all() or abs(homography[2, 2]) < 1e-12:
        return _nothing(matches, "RANSAC found no homography")
    homography = homography / homography[2, 2]
    inliers = (mask.ravel() > 0) & (transfer_errors(homography, source, target) <= threshold)
    reason = _implausible(homography, source[inliers], target[inliers])
    if reason:
        return _nothing(matches, reason)
    return Verification(homography, matches, inliers)


def transfer_errors(homography, source, target):
    """Distance in pixels, (n,), between source points (n, 2) under the homography and their targets (n, 2).

    Examples
    --------
    >>> transfer_errors(np.eye(3), np.zeros((1, 2)), np.array([[3.0, 4.0]])).tolist()
    [5.0]
    """
    moved = np.c_[source, np.ones(len(source))] @ homography.T  # (n, 2) -> (n, 3)
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.linalg.norm(moved[:, :2] / moved[:, 2:] - target, axis=1)
    return np.where(np.isfinite(errors), errors, np.inf)


def _implausible(homography, source, target):
    """Why a homography cannot be a view of the same thing, or an empty text."""
    if len(source) < N_NEEDED:
        return f"RANSAC kept {len(source)} matches, and a homography needs {N_NEEDED}"
    if _spread(source) < _MIN_SPREAD or _spread(target) < _MIN_SPREAD:
        return "the matches that agree lie on one line"
    depth = np.c_[source, np.ones(len(source))] @ homography[2]
    if (depth <= 0).any():
        return "the fit folds the image over its horizon"
    scale = np.sqrt(
        np.maximum(np.linalg.det(homography), 0) / depth**3
    )  # local magnification at each inlier
    if (scale <= 0).any():
        return "the fit mirrors the image"
    if (scale > _LARGEST_SCALE).any() or (scale < 1 / _LARGEST_SCALE).any():
        return f"the fit scales the image more than {_LARGEST_SCALE:g} times"
    return ""


def _spread(points):
    """Root mean square distance (pixels) of points (n, 2) from the line that fits them best."""
    centred = points - points.mean(axis=0)
    return np.linalg.svd(centred, compute_uv=False)[-1] / np.sqrt(len(points))


def _nothing(matches, reason):
    return Verification(None, matches, np.zeros(len(matches), dtype=bool), reason)


def features(pair, name):
    """Return points (n, 2) and descriptors (n, n_dims) of what a detector gave, or say what is wrong with it."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(
            f"{name} must be (keypoints, descriptors), got {type(pair).__name__}; pass SIFT().describe(image)"
        )
    points, descriptors = (np.asarray(part) for part in pair)
    if len(points) != len(descriptors):
        raise ValueError(
            f"{name} has {len(points)} key points and {len(descriptors)} descriptors; there is one for each"
        )
    if not len(points):
        return np.zeros((0, 2)), descriptors
    if (
        points.ndim != 2
        or points.shape[1] < 2
        or points.dtype.kind not in "fiu"
        or not np.isfinite(points).all()
    ):
        raise ValueError(
            f"key points of {name} must be finite numbers (n, 2 or more), got {points.dtype} {points.shape}; "
            "x and y come first"
        )
    return points[:, :2].astype(np.float64), descriptors


def _check_numbers(threshold, max_iterations):
    if not isinstance(threshold, numbers.Real) or not 0 < threshold < np.inf:
        raise ValueError(f"threshold must be a number of pixels > 0, got {threshold!r}; try 4")
    if (
        isinstance(max_iterations, bool)
        or not isinstance(max_iterations, numbers.Integral)
        or max_iterations < 1
    ):
        raise ValueError(
            f"max_iterations must be a whole number >= 1, got {max_iterations!r}; try 1000"
        )
