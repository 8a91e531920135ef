"""Do the matches of two images agree with one homography, and which results of a ranking have most that do?

Matching by mutual nearest neighbours and the ratio test, RANSAC with the checks that a result has to pass, and the
first results of every query re-ordered by their inliers.
"""

import numbers
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import joblib
import numpy as np
from sklearn.utils import check_scalar
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from cbirkit._optional import require
from cbirkit.ranking import Ranking

_N_NEEDED = 4  # matches that fix a homography
# magnification, or its inverse, beyond which a fit is taken for an accident
_LARGEST_SCALE = 12.0
# pixels: inliers whose spread across their main line is less fix no homography
_MIN_SPREAD = 1.0


def match_descriptors(a, b, *, ratio=0.85, mutual=True):
    """Match each descriptor of one image to its nearest in another, and keep the matches that are unambiguous.

    Parameters
    ----------
    a, b : array-like of shape (n_a, n_dims) and (n_b, n_dims)
        Descriptors; Euclidean distance.
    ratio : float or None
        Keep a match only where the nearest is closer than `ratio` times the second nearest. None: no such test; nor
        is there one where `b` holds a single descriptor. Lowe took 0.8 for SIFT; RootSIFT's distances
        are closer together and want a little more.
    mutual : bool
        Keep a match only where each is the other's nearest, so that no descriptor is used twice.

    Returns
    -------
    ndarray of shape (n_matches, 2), int64
        Rows of `a` and of `b`, ascending in `a`; among equal distances the first row is the nearest.

    Raises
    ------
    TypeError, ValueError
        Not two tables of one width, numbers that are not finite, or a `ratio` outside (0, 1].

    References
    ----------
    Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 2004, section 7.1,
    doi:10.1023/B:VISI.0000029664.99615.94.

    Examples
    --------
    >>> match_descriptors([[0.0], [5.0]], [[5.1], [0.2], [9.0]]).tolist()
    [[0, 1], [1, 0]]
    >>> match_descriptors([[0.0]], [[1.0], [-1.1]], ratio=0.8).tolist()
    []
    """
    a, b = _table(a, "a", np.float32), _table(b, "b", np.float32)
    if ratio is not None:
        bounds = {"min_val": 0, "max_val": 1, "include_boundaries": "right"}
        check_scalar(ratio, "ratio", numbers.Real, **bounds)
    if not len(a) or not len(b):
        return np.zeros((0, 2), dtype=np.int64)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{a.shape[1]} and {b.shape[1]} dimensions; describe both by one detector")
    squared = (-2 * a) @ b.T  # (n_a, n_b), and in place from here: it may be large
    squared += np.einsum("nd,nd->n", a, a)[:, None]
    squared += np.einsum("nd,nd->n", b, b)
    np.maximum(squared, 0, out=squared)
    rows, nearest = np.arange(len(a)), squared.argmin(axis=1)
    kept = squared.argmin(axis=0)[nearest] == rows if mutual else np.ones(len(a), dtype=bool)
    if ratio is not None and len(b) > 1:
        smallest, squared[rows, nearest] = squared[rows, nearest], np.inf
        kept &= smallest < ratio**2 * squared.min(axis=1)
    return np.stack([np.flatnonzero(kept), nearest[kept]], axis=1)


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


def verify(a, b, *, ratio=0.85, mutual=True, threshold=4.0):
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
    check_scalar(threshold, "threshold", numbers.Real, min_val=0, include_boundaries="neither")
    points_a, descriptors_a = _features(a, "a")
    points_b, descriptors_b = _features(b, "b")
    matches = match_descriptors(descriptors_a, descriptors_b, ratio=ratio, mutual=mutual)
    if not len(points_a) or not len(points_b):
        which = "the first" if not len(points_a) else "the second"
        return _nothing(matches, f"no key points in {which} image")
    source, target = points_a[matches[:, 0]], points_b[matches[:, 1]]
    if len(source) < _N_NEEDED:
        return _nothing(matches, f"{len(source)} matches, and a homography needs {_N_NEEDED}")
    if _spread(source) < _MIN_SPREAD or _spread(target) < _MIN_SPREAD:
        return _nothing(matches, "all matches lie on one line")
    cv2 = require("cv2")
    # OpenCV seeds RANSAC anew in each call: the same matches give the same homography
    settings = cv2.USAC_DEFAULT, threshold, None, 1000, 0.995
    homography, mask = cv2.findHomography(source, target, *settings)
    if homography is None or not np.isfinite(homography).all() or abs(homography[2, 2]) < 1e-12:
        return _nothing(matches, "RANSAC found no homography")
    homography = homography / homography[2, 2]
    inliers = (mask.ravel() > 0) & (transfer_errors(homography, source, target) <= threshold)
    reason = _implausible(homography, source[inliers], target[inliers])
    return _nothing(matches, reason) if reason else Verification(homography, matches, inliers)


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
    if len(source) < _N_NEEDED:
        return f"RANSAC kept {len(source)} matches, and a homography needs {_N_NEEDED}"
    if _spread(source) < _MIN_SPREAD or _spread(target) < _MIN_SPREAD:
        return "the matches that agree lie on one line"
    depth = np.c_[source, np.ones(len(source))] @ homography[2]
    if (depth <= 0).any():
        return "the fit folds the image over its horizon"
    # local magnification at each inlier
    scale = np.sqrt(np.maximum(np.linalg.det(homography), 0) / depth**3)
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


def _features(pair, name):
    """Return points (n, 2) and descriptors (n, n_dims) of what a detector gave, or say what is wrong with it."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(f"{name} must be (keypoints, descriptors); pass SIFT().describe(image)")
    points, descriptors = (np.asarray(part) for part in pair)
    if len(points) != len(descriptors):
        raise ValueError(
            f"{name} has {len(points)} key points and {len(descriptors)} descriptors; there is one for each"
        )
    if not len(points):
        return np.zeros((0, 2)), descriptors
    return _table(points, f"points of {name}", np.float64, 2)[:, :2].copy(), descriptors


def _table(values, name, dtype, n_columns=0):
    # sooner than scikit-learn's check_array, which a pair of images would call four times
    table = np.asarray(values, dtype)
    if table.ndim != 2 or table.shape[1] < n_columns or not np.isfinite(table).all():
        raise ValueError(
            f"{name} must be finite numbers, one row a key point, got shape {table.shape}"
        )
    return table


@dataclass(frozen=True, eq=False)
class SpatialRanking:
    """A ranking whose first results were verified, and what was found there.

    Attributes
    ----------
    ranking : Ranking
        The first n of each query by falling number of inliers, ties in their old order; the rest as before. The
        distance of a verified result is its old rank (from 0) divided by n, less its inliers; those of the rest are
        the old ones, moved up behind them.
    inliers : ndarray of shape (n_queries, n), int64
        Inliers of the first n results in the new order; 0 where nothing agrees, and at padding.
    verifications : dict of (query id, database id) to Verification
        Homographies (query to result), matches and inliers, for drawing.
    """

    ranking: Ranking
    inliers: np.ndarray = field(repr=False)
    verifications: dict = field(repr=False)

    def accepted(self, min_inliers=8):
        """Which results have at least `min_inliers` inliers: bool (n_queries, k), for `expand_queries`.

        Examples
        --------
        >>> ranking = Ranking(["q"], ["a", "b"], [[0, 1]], [[-9.0, 0.5]])
        >>> SpatialRanking(ranking, np.array([[9]]), {}).accepted().tolist()
        [[True, False]]
        """
        mask = np.zeros(self.ranking.indices.shape, dtype=bool)
        mask[:, : self.inliers.shape[1]] = self.inliers >= min_inliers
        return mask


def describe_images(images, detector=None, *, progress=True):
    """Local features of every image of a collection, by id, computed once and used often.

    Parameters
    ----------
    images : ImageCollection
    detector : SIFT, optional
        ``SIFT()`` if not given.
    progress : bool
        Show a progress bar if it takes longer than two seconds.

    Returns
    -------
    dict of id to (keypoints, descriptors)

    Examples
    --------
    >>> from cbirkit import ImageCollection
    >>> images = ImageCollection.from_arrays(np.zeros((1, 32, 32, 3), np.uint8), ids=["grey"])
    >>> describe_images(images)["grey"][1].shape
    (0, 128)
    """
    from cbirkit.encoders import SIFT

    if not hasattr(images, "ids"):
        raise TypeError(f"images must be an ImageCollection, got {type(images).__name__}")
    described = (SIFT() if detector is None else detector).describe_all(images)
    waiting = _waiting(described, len(images), "local features", "image", progress)
    return dict(zip(images.ids, waiting, strict=True))


def verify_ranking(ranking, features, *, n=50, n_jobs=None, progress=True, **verification):
    """Verify the first `n` results of every query and re-order them by their inliers.

    Parameters
    ----------
    ranking : Ranking
    features : dict of id to (keypoints, descriptors)
        Of the queries and of the database images that stand among the first `n`; see `describe_images`.
    n : int
        Results to verify; fewer where the ranking is shorter.
    n_jobs : int or None
        Threads; None or -1 uses all cores. It does not change the result.
    progress : bool
        Show a progress bar if it takes longer than two seconds.
    **verification
        Parameters of `verify`: ratio, mutual, threshold.

    Returns
    -------
    SpatialRanking

    Raises
    ------
    ValueError
        Features of an image are missing (it is named), or a parameter is out of range.

    References
    ----------
    Philbin et al., "Object retrieval with large vocabularies and fast spatial matching", CVPR 2007,
    doi:10.1109/CVPR.2007.383172.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> points, descriptors = rng.uniform(0, 100, (20, 2)), rng.normal(size=(20, 8))
    >>> features = {"q": (points, descriptors), "same": (points + 3, descriptors), "other": (points, -descriptors)}
    >>> ranking = Ranking(["q"], ["other", "same"], [[0, 1]], [[0.1, 0.2]])
    >>> verify_ranking(ranking, features).ranking.ids.tolist()
    [['same', 'other']]
    """
    check_scalar(n, "n", numbers.Integral, min_val=1)
    n = min(n, ranking.k)
    rows = zip(ranking.query_ids, ranking.ids[:, :n], strict=True)
    pairs = [(query, name) for query, row in rows for name in row if name is not None]
    missing = {name for pair in pairs for name in pair if name not in features}
    if missing:
        raise ValueError(
            f"features of {min(missing)!r} are missing ({len(missing)} images in all); "
            "pass describe_images(queries) | describe_images(database)"
        )
    n_threads = joblib.cpu_count() if n_jobs is None else joblib.effective_n_jobs(n_jobs)

    def check(pair):
        return verify(features[pair[0]], features[pair[1]], **verification)

    # threads of their own for products this small only wait
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(n_threads) as pool:
        found = _waiting(
            pool.map(check, pairs), len(pairs), "spatial verification", "pair", progress
        )
        verifications = dict(zip(pairs, found, strict=True))
    return _reordered(ranking, verifications, n)


def _waiting(items, total, what, unit, progress):
    """The items, with a bar where they take longer than two seconds."""
    how = {"leave": False, "delay": 2, "disable": not progress}
    return tqdm(items, total=total, desc=what, unit=unit, **how)


def _reordered(ranking, verifications, n):
    indices, distances = ranking.indices.copy(), ranking.distances.astype(np.float64)
    inliers = np.zeros((len(ranking), n), dtype=np.int64)
    for row, query in enumerate(ranking.query_ids):
        names = ranking.database_ids[indices[row, :n][indices[row, :n] >= 0]]
        counts = np.array([verifications[query, name].n_inliers for name in names], dtype=np.int64)
        order = np.argsort(-counts, kind="stable")
        m = len(names)
        if m:
            last = distances[row, m - 1]
            inliers[row, :m] = counts[order]
            indices[row, :m] = indices[row, :m][order]
            distances[row, :m] = order / n - counts[order]
            distances[row, m:] += 1 - last
    how = f"first {n} re-ordered by RANSAC inliers"
    protocol = "; ".join(filter(None, [ranking.protocol, how]))
    new = replace(ranking, indices=indices, distances=distances, protocol=protocol)
    return SpatialRanking(new, inliers, verifications)
