"""Checks of notebook 02: RootSIFT, tf-idf weights, one step of RANSAC."""

from functools import partial

import numpy as np

from cbirkit._optional import require

from .running import run_check


def check_root_sift(answer):
    """Check ``root_sift(descriptors)``: each row divided by its sum, then the square root.

    Parameters
    ----------
    answer : callable
        Takes `descriptors` (n, n_dims), numbers >= 0; returns floats of that shape. A row of zeros stays zero.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_root_sift(lambda descriptors: np.sqrt(descriptors)).status
    'not yet'
    """
    return run_check(answer, _root_sift, _root_cases(), mistakes=ROOT_SIFT_MISTAKES, tolerance=1e-5)


def _root_sift(descriptors):
    sums = descriptors.sum(axis=1, keepdims=True)
    return np.sqrt(descriptors / np.where(sums > 0, sums, 1))


def _root_cases():
    random = np.random.RandomState(0)
    yield from [
        ("one descriptor [9, 0, 16], which becomes [0.6, 0, 0.8]", np.array([[9.0, 0.0, 16.0]])),
        ("two descriptors of the same sum", np.array([[1.0, 3.0], [2.0, 2.0]])),
        ("two descriptors of different sums", np.array([[1.0, 3.0], [20.0, 20.0]])),
        (
            "a descriptor of zeros, which stays zero, and another",
            np.array([[0.0, 0.0], [5.0, 0.0]]),
        ),
        (
            "rows that sum to less than 1, one to 0",
            np.array([[0.09, 0.0, 0.16], [0, 0, 0], [1e-3, 3e-3, 0]]),
        ),
        ("an image without key points: (0, 128) stays (0, 128)", np.zeros((0, 128))),
    ]
    for n in random.randint(1, 9, size=6):
        yield f"{n} random descriptors", random.randint(0, 256, (n, 128)).astype(np.float32)


def _over(descriptors, sums):
    return np.sqrt(descriptors / np.where(sums > 0, sums, 1))


def _lengths(descriptors):
    return np.linalg.norm(descriptors, axis=1, keepdims=True)


ROOT_SIFT_MISTAKES = {
    "You divided by the sums of the columns: a descriptor is a row, so sum over axis=1.": lambda d: (
        _over(d, d.sum(axis=0, keepdims=True))
    ),
    "You divided by one sum of all descriptors: each row has its own.": lambda d: _over(d, d.sum()),
    "You divided by the length (L2): RootSIFT divides by the sum (L1).": lambda d: _over(
        d, _lengths(d)
    ),
    "The division by the sum is missing.": lambda d: _over(d, np.ones(1)),
    "The square root is missing.": lambda d: _over(d, d.sum(axis=1, keepdims=True)) ** 2,
    "The order is wrong: divide by the sum first, then take the root; only then is each row of length 1.": lambda d: (
        np.sqrt(d) / np.maximum(np.sqrt(d).sum(axis=1, keepdims=True), 1e-12)
    ),
    "A row of zeros became NaN (0 / 0): divide by the larger of the sum and a tiny number.": lambda d: (
        np.sqrt(d / d.sum(axis=1, keepdims=True))
    ),
    "A row that sums to less than 1 is to be divided by its sum, too: keep only 0 from below the fraction.": lambda d: (
        np.sqrt(d / np.maximum(d.sum(axis=1, keepdims=True), 1))
    ),
    "You added 1 to every sum: add at most a tiny number, which only matters where the sum is 0.": lambda d: (
        np.sqrt(d / (d.sum(axis=1, keepdims=True) + 1))
    ),
}


def check_tf_idf(answer):
    """Check ``tf_idf(counts)``: term frequency times log(N / N_w), each row scaled to length 1.

    Parameters
    ----------
    answer : callable
        Takes `counts` (n_images, n_words), how often each image holds each word; returns floats of that shape. Images
        without words, and words without images, give zeros.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_tf_idf(lambda counts: counts / counts.sum()).passed
    False
    """
    return run_check(answer, _tf_idf, _tf_idf_cases(), mistakes=TF_IDF_MISTAKES, tolerance=1e-5)


def _tf_idf(counts, *, idf="images", frequency=True, unit="rows"):
    """tf-idf and, by its switches, what goes wrong with it."""
    counts = np.asarray(counts, dtype=np.float64)
    n_holding = (counts > 0).sum(axis=0) if idf != "occurrences" else counts.sum(axis=0)
    n = len(counts) if idf != "occurrences" else max(counts.sum(), 1)
    weights = (
        np.log(n / np.maximum(n_holding, 1))
        if idf in ("images", "occurrences")
        else np.ones(counts.shape[1])
    )
    if idf == "inverse":
        weights = -np.log(n / np.maximum(n_holding, 1))
    if idf == "ratio":
        weights = n / np.maximum(n_holding, 1)
    if not frequency:
        counts = (counts > 0).astype(np.float64)
    rows = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) * weights
    lengths = (
        np.linalg.norm(rows, axis=1, keepdims=True)
        if unit == "rows"
        else rows.sum(axis=1, keepdims=True)
    )
    return (
        rows
        if unit == "none"
        else np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths != 0)
    )


def _tf_idf_cases():
    random = np.random.RandomState(1)
    worked = np.array([[2, 1, 0, 0], [0, 1, 3, 0], [0, 1, 1, 4], [5, 1, 0, 1]])
    yield from [
        ("four images, where every image holds word 1 (so its weight is 0)", worked),
        ("four images with a word each", np.diag([3, 1, 2, 5])),
        (
            "an image without words, and a word that none holds",
            np.array([[1, 2, 0], [0, 0, 0], [1, 0, 0]]),
        ),
        (
            "an image whose only word all hold: a row of zeros",
            np.array([[2, 0, 1], [3, 0, 0], [1, 4, 0]]),
        ),
        ("a single image, whose words all weigh log(1 / 1) = 0", np.array([[2, 1, 0]])),
    ]
    for _ in range(8):
        n_images, n_words = random.randint(3, 9, size=2)
        counts = random.poisson(0.8, (n_images, n_words))
        yield f"{n_images} random images and {n_words} words", counts


def _no_guard(counts):
    with np.errstate(all="ignore"):
        rows = (
            counts
            / counts.sum(axis=1, keepdims=True)
            * np.log(len(counts) / (counts > 0).sum(axis=0))
        )
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _smoothed(counts):
    weights = np.log((1 + len(counts)) / (1 + (counts > 0).sum(axis=0))) + 1
    rows = counts * weights
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


TF_IDF_MISTAKES = {
    "The idf is missing: a word that all images hold must weigh 0.": partial(_tf_idf, idf="none"),
    "N_w counts the images that hold the word, not how often it occurs: (counts > 0).sum(axis=0).": partial(
        _tf_idf, idf="occurrences"
    ),
    "The fraction is upside down: it is log(N / N_w), never below 0.": partial(
        _tf_idf, idf="inverse"
    ),
    "The logarithm of N / N_w is missing.": partial(_tf_idf, idf="ratio"),
    "You only asked whether a word occurs: the term frequency says how often.": partial(
        _tf_idf, frequency=False
    ),
    "The rows are not of length 1: divide each by its L2 norm.": partial(_tf_idf, unit="none"),
    "The rows sum to 1: divide by their length (L2), not by their sum.": partial(
        _tf_idf, unit="sum"
    ),
    "There are NaN: an image without words, or a word without images, divides 0 by 0.": _no_guard,
    "That is the smoothed idf of scikit-learn: here it is log(N / N_w), 0 for a word that all hold.": _smoothed,
    "Most lengths are below 1, so that max(length, 1) scales nothing: keep only 0 from below the fraction.": lambda c: (
        _tf_idf(c, unit="none")
        / np.maximum(np.linalg.norm(_tf_idf(c, unit="none"), axis=1, keepdims=True), 1)
    ),
    "One length of the whole table: each row has its own, axis=1.": lambda c: (
        _tf_idf(c) / max(np.linalg.norm(_tf_idf(c)), 1e-12)
    ),
}


def check_ransac_step(answer):
    """Check ``ransac_step(source, target, sample, threshold)``: fit to four matches, count who agrees.

    Parameters
    ----------
    answer : callable
        Takes matched points `source` and `target` (n, 2), four row numbers `sample` and `threshold` in pixels;
        returns bool (n,): which matches land within `threshold` (<=) of their target under the homography that takes
        the sample's source points exactly to their targets.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_ransac_step(lambda source, target, sample, threshold: np.ones(len(source), bool)).passed
    False
    """
    return run_check(answer, _ransac_step, _ransac_cases(), mistakes=RANSAC_MISTAKES)


def _fit(source, target):
    cv2 = require("cv2")
    return cv2.getPerspectiveTransform(source.astype(np.float32), target.astype(np.float32))


def _project(homography, points, divide=True):
    moved = np.c_[points, np.ones(len(points))] @ homography.T  # (n, 2) -> (n, 3)
    return moved[:, :2] / moved[:, 2:] if divide else moved[:, :2]


def _ransac_step(
    source, target, sample, threshold, *, swap=False, divide=True, error="euclidean", everyone=False
):
    """One step of RANSAC and, by its switches, what goes wrong with it."""
    rows = np.arange(4) if everyone else sample
    homography = _fit(target[rows], source[rows]) if swap else _fit(source[rows], target[rows])
    gap = _project(homography, source, divide) - target
    errors = {
        "euclidean": np.linalg.norm(gap, axis=1),
        "squared": (gap**2).sum(axis=1),
        "x": np.abs(gap[:, 0]),
        "sum": np.abs(gap).sum(axis=1),
    }
    return errors[error] <= threshold


def _ransac_cases():
    random = np.random.RandomState(2)
    kinds = ["shifted", "turned and scaled", *["in perspective"] * 4, "turned and scaled"]
    for kind, threshold in zip(kinds, (3.0, 2.5, 1.0, 4.0, 3.0, 2.5, 0.7), strict=True):
        n = 4 if (kind, threshold) == ("in perspective", 2.5) else random.randint(12, 30)
        source = random.uniform(0, 120, (n, 2))
        source[random.permutation(n)[:4]] = [[5, 8], [110, 12], [104, 113], [9, 101]]
        sample = np.array(
            [
                np.flatnonzero((source == corner).all(1))[0]
                for corner in ([5, 8], [110, 12], [104, 113], [9, 101])
            ]
        )
        homography = np.array([[1.0, 0, 9], [0, 1, -4], [0, 0, 1]])
        if kind != "shifted":
            homography[:2, :2] = random.uniform(0.7, 1.4) * np.array([[0.8, -0.6], [0.6, 0.8]])
        if kind == "in perspective":
            homography[2, :2] = random.uniform(1e-3, 2.5e-3, 2)
        target = _project(homography, source)
        away = random.randn(n, 2)
        away *= random.choice([0.5, 2.3, 2.7, 3.4, 30], n)[:, None] / np.linalg.norm(
            away, axis=1, keepdims=True
        )
        away[sample] = 0
        about = f"{n} matches, {kind}, {'some of them wrong' if n > 4 else 'the sample'}, and a threshold of {threshold}"
        yield about, source, target + away, sample, threshold


def _affine(source, target, sample, threshold):
    linear = np.linalg.lstsq(np.c_[source[sample], np.ones(4)], target[sample], rcond=None)[0]
    return (
        np.linalg.norm(np.c_[source, np.ones(len(source))] @ linear - target, axis=1) <= threshold
    )


RANSAC_MISTAKES = {
    "The division by the third coordinate is missing: (x, y, w) stands for the point (x / w, y / w).": partial(
        _ransac_step, divide=False
    ),
    "The homography goes the wrong way: fit it from source to target.": partial(
        _ransac_step, swap=True
    ),
    "You compared squared distances with the threshold: take the root.": partial(
        _ransac_step, error="squared"
    ),
    "Only x was compared: the distance has two coordinates.": partial(_ransac_step, error="x"),
    "You added |dx| and |dy|: the distance is the root of the sum of squares.": partial(
        _ransac_step, error="sum"
    ),
    "These are the outliers: an inlier lands within the threshold.": lambda s, t, sample, threshold: (
        ~_ransac_step(s, t, sample, threshold)
    ),
    "That is the number of inliers: return which matches they are, (n,) true or false.": lambda s, t, sample, threshold: (
        int(_ransac_step(s, t, sample, threshold).sum())
    ),
    "You fitted to the first four matches: fit to the rows in `sample`.": partial(
        _ransac_step, everyone=True
    ),
    "That is an affine map, which keeps parallels; a homography has a third row, too.": _affine,
    "Those are the row numbers of the inliers: return true or false for every match, (n,).": lambda s, t, sample, threshold: (
        np.flatnonzero(_ransac_step(s, t, sample, threshold))
    ),
    "The threshold is an argument: compare with it, not with a number of your own.": lambda s, t, sample, threshold: (
        _ransac_step(s, t, sample, 3.0)
    ),
}
