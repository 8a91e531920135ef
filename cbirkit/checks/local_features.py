"""Checks of notebook 02: RootSIFT, one step of RANSAC, short vectors, tf-idf weights."""

from functools import cache, partial
from types import SimpleNamespace

import numpy as np

from cbirkit._optional import require

from .running import (
    Verdict,
    ahead,
    call,
    mean_precision,
    no_numbers,
    open_answer,
    run_check,
    same_rows,
)

_SECONDS = 60.0
_GAIN = 0.04  # of mAP, by which short vectors have to be ahead of VLAD


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
    return _over(descriptors, descriptors.sum(axis=1, keepdims=True))


def _root_cases():
    random = np.random.RandomState(0)
    yield from [
        ("one descriptor [9, 0, 16], which becomes [0.6, 0, 0.8]", np.array([[9.0, 0.0, 16.0]])),
        ("two descriptors of the same sum", np.array([[1.0, 3.0], [2.0, 2.0]])),
        ("two descriptors of different sums", np.array([[1.0, 3.0], [20.0, 20.0]])),
        ("zeros, which stay zeros, and another", np.array([[0.0, 0.0], [5.0, 0.0]])),
        ("sums below 1, and one of 0", np.array([[0.09, 0, 0.16], [0, 0, 0], [1e-3, 3e-3, 0]])),
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


def _idf(counts):
    return np.log(len(counts) / np.maximum((counts > 0).sum(axis=0), 1))


def _tf_idf(counts, *, idf=_idf, frequency=True, scale=_lengths):
    """tf-idf and, by its switches, what goes wrong with it."""
    used = np.asarray(counts if frequency else counts > 0, dtype=np.float64)
    rows = used / np.maximum(used.sum(axis=1, keepdims=True), 1) * idf(counts)
    sizes = scale(rows)
    return np.divide(rows, sizes, out=np.zeros_like(rows), where=sizes != 0)


def _tf_idf_cases():
    random = np.random.RandomState(1)
    worked = np.array([[2, 1, 0, 0], [0, 1, 3, 0], [0, 1, 1, 4], [5, 1, 0, 1]])
    yield from [
        ("four images, where every image holds word 1 (so its weight is 0)", worked),
        ("four images with a word each", np.diag([3, 1, 2, 5])),
        ("no words in an image, no image with a word", np.array([[1, 2, 0], [0, 0, 0], [1, 0, 0]])),
        ("an image whose only word all hold", np.array([[2, 0, 1], [3, 0, 0], [1, 4, 0]])),
        ("a single image, whose words all weigh log(1 / 1) = 0", np.array([[2, 1, 0]])),
    ]
    for _ in range(8):
        counts = random.poisson(0.8, random.randint(3, 9, size=2))
        yield "{} random images and {} words".format(*counts.shape), counts


TF_IDF_MISTAKES = {
    "The idf is missing: a word that all images hold must weigh 0.": lambda c: _tf_idf(
        c, idf=lambda c: 1.0
    ),
    "N_w counts the images that hold the word, not how often it occurs: (counts > 0).sum(axis=0).": lambda c: (
        _tf_idf(c, idf=lambda c: np.log(max(c.sum(), 1) / np.maximum(c.sum(axis=0), 1)))
    ),
    "The fraction is upside down: it is log(N / N_w), never below 0.": lambda c: -_tf_idf(c),
    "The logarithm of N / N_w is missing.": lambda c: _tf_idf(c, idf=lambda c: np.exp(_idf(c))),
    "You only asked whether a word occurs: the term frequency says how often.": lambda c: _tf_idf(
        c, frequency=False
    ),
    "The rows are not of length 1: divide each by its L2 norm.": lambda c: _tf_idf(
        c, scale=lambda rows: np.ones((len(rows), 1))
    ),
    "The rows sum to 1: divide by their length (L2), not by their sum.": lambda c: _tf_idf(
        c, scale=lambda rows: rows.sum(axis=1, keepdims=True)
    ),
    "There are NaN: an image without words, or a word without images, divides 0 by 0.": lambda c: (
        (rows := c / c.sum(axis=1, keepdims=True) * np.log(len(c) / (c > 0).sum(axis=0)))
        / _lengths(rows)
    ),
    "That is the smoothed idf of scikit-learn: here it is log(N / N_w), 0 for a word that all hold.": lambda c: (
        _tf_idf(c, idf=lambda c: np.log((1 + len(c)) / (1 + (c > 0).sum(axis=0))) + 1)
    ),
    "Most lengths are below 1, so that max(length, 1) scales nothing: keep only 0 from below the fraction.": lambda c: (
        _tf_idf(c, scale=lambda rows: np.maximum(_lengths(rows), 1))
    ),
    "One length of the whole table: each row has its own, axis=1.": lambda c: _tf_idf(
        c, scale=np.linalg.norm
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


def _project(homography, points, divide=True):
    moved = np.c_[points, np.ones(len(points))] @ homography.T  # (n, 2) -> (n, 3)
    return moved[:, :2] / moved[:, 2:] if divide else moved[:, :2]


def _ransac_step(source, target, sample, threshold, *, swap=False, divide=True, error=None):
    """One step of RANSAC and, by its switches, what goes wrong with it."""
    ends = (target, source) if swap else (source, target)
    four = (points[sample].astype(np.float32) for points in ends)
    homography = require("cv2").getPerspectiveTransform(*four)
    gap = _project(homography, source, divide) - target
    return (error or partial(np.linalg.norm, axis=1))(gap) <= threshold


def _ransac_cases():
    random = np.random.RandomState(2)
    kinds = ["shifted", "turned and scaled", *["in perspective"] * 4, "turned and scaled"]
    for kind, threshold in zip(kinds, (3.0, 2.5, 1.0, 4.0, 3.0, 2.5, 0.7), strict=True):
        n = 4 if (kind, threshold) == ("in perspective", 2.5) else random.randint(12, 30)
        source = random.uniform(0, 120, (n, 2))
        sample = random.permutation(n)[:4]
        source[sample] = [[5, 8], [110, 12], [104, 113], [9, 101]]
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
        _ransac_step, error=lambda gap: (gap**2).sum(axis=1)
    ),
    "Only x was compared: the distance has two coordinates.": partial(
        _ransac_step, error=lambda gap: np.abs(gap[:, 0])
    ),
    "You added |dx| and |dy|: the distance is the root of the sum of squares.": partial(
        _ransac_step, error=lambda gap: np.abs(gap).sum(axis=1)
    ),
    "These are the outliers: an inlier lands within the threshold.": lambda s, t, sample, threshold: (
        ~_ransac_step(s, t, sample, threshold)
    ),
    "That is the number of inliers: return which matches they are, (n,) true or false.": lambda s, t, sample, threshold: (
        int(_ransac_step(s, t, sample, threshold).sum())
    ),
    "You fitted to the first four matches: fit to the rows in `sample`.": lambda s, t, sample, threshold: (
        _ransac_step(s, t, np.arange(4), threshold)
    ),
    "That is an affine map, which keeps parallels; a homography has a third row, too.": _affine,
    "Those are the row numbers of the inliers: return true or false for every match, (n,).": lambda s, t, sample, threshold: (
        np.flatnonzero(_ransac_step(s, t, sample, threshold))
    ),
    "The threshold is an argument: compare with it, not with a number of your own.": lambda s, t, sample, threshold: (
        _ransac_step(s, t, sample, 3.0)
    ),
}


def check_short_vectors(answer):
    """Check ``short_vectors(aside, images)``, an open exercise: at most 1,024 numbers for each image, and ahead of VLAD with 8 words.

    Parameters
    ----------
    answer : callable
        Takes `aside`, the descriptors of 160 images to learn from, and `images`, those of 200 images to encode: lists of float32 arrays
        (n, 128) of RootSIFT, some of them empty; returns finite numbers (200, d) with d <= 1024. The score is the mAP by cosine of pieces
        of photographs, two views of each as queries.

    Returns
    -------
    Verdict
        The message tells both scores.

    Examples
    --------
    >>> check_short_vectors(lambda aside, images: images[:3]).status
    'not yet'
    """
    name, (aside, images, score, baseline) = "short_vectors", _pieces()
    fault = partial(no_numbers, (200, None))
    got, ended = open_answer(name, answer, (aside, images), _SECONDS, fault)
    if ended:
        return ended
    got = np.asarray(got, dtype=float)
    if got.shape[1] > 1024:
        told = f"at most 1,024 numbers for each image, got {got.shape[1]:,}."
        return Verdict(name, "not yet", told)
    if not same_rows(got[:40], call(answer, (aside, images[:40]), _SECONDS)):
        told = "an image gets another vector when fewer are encoded with it: learn from `aside` alone, with a fixed random_state."
        return Verdict(name, "not yet", told)
    told, why = "mAP is {:.3f}, that of VLAD with 8 words {:.3f}", "change one step at a time."
    return ahead(name, score(got), baseline, _GAIN, told, why)


@cache
def _pieces():
    """Descriptors of images set aside and of pieces, the score of vectors of the pieces, and that of VLAD."""
    from cbirkit.datasets import load_photo_views
    from cbirkit.encoders import SIFT, VLAD

    views = load_photo_views("hard", n_objects=40, n_views=5, n_distractors=160, random_state=77)
    found = [descriptors for _, descriptors in SIFT(n_jobs=1).describe_all(views)]
    images, aside = found[:200], found[200:]  # objects come first
    named, asks = views.column("instance")[:200], views.column("split")[:200] == "query"

    def score(rows):
        unit = rows / np.maximum(_lengths(rows), 1e-12)
        return mean_precision(unit[asks] @ unit[~asks].T, named[asks, None] == named[~asks])

    def described(known, order=None):
        return ((None, known[i]) for i in (range(len(known)) if order is None else order))

    vlad = VLAD(8, SimpleNamespace(describe_all=described), random_state=0).fit(aside)
    return aside, images, score, score(vlad.transform(images))
