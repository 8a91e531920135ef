"""The checks of notebook 02: right answers pass, wrong ones get the sentence that names the mistake."""

import cv2
import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from cbirkit import checks
from cbirkit.encoders.local import root_sift


def solved_tf_idf(counts):
    held = (counts > 0).sum(axis=0)
    idf = np.where(held > 0, np.log(len(counts) / np.maximum(held, 1)), 0)
    return normalize(normalize(counts.astype(float), "l1") * idf)


def solved_ransac_step(source, target, sample, threshold):
    rows = []  # the direct linear transform, solved by SVD
    for (x, y), (u, v) in zip(source[sample], target[sample], strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y, -u], [0, 0, 0, x, y, 1, -v * x, -v * y, -v]]
    homography = np.linalg.svd(np.array(rows))[2][-1].reshape(3, 3)
    moved = cv2.perspectiveTransform(source[None], homography)[0]
    return np.linalg.norm(moved - target, axis=1) <= threshold


CHECKS = {
    "root_sift": (checks.check_root_sift, root_sift),
    "tf_idf": (checks.check_tf_idf, solved_tf_idf),
    "ransac_step": (checks.check_ransac_step, solved_ransac_step),
}


def row_by_row(descriptors):
    return (
        [np.sqrt(row / row.sum()) if row.sum() else row for row in descriptors]
        if len(descriptors)
        else descriptors
    )


def without_warning(descriptors):
    with np.errstate(all="ignore"):
        return np.nan_to_num(np.sqrt(descriptors / descriptors.sum(axis=1, keepdims=True)))


def looped_tf_idf(counts):
    n, m = counts.shape
    out = np.zeros((n, m))
    for i, j in np.argwhere(counts):
        out[i, j] = counts[i, j] / counts[i].sum() * np.log2(n / np.count_nonzero(counts[:, j]))
    lengths = np.sqrt((out**2).sum(axis=1))
    return out / np.where(lengths == 0, 1, lengths)[:, None]


def counts_alone(counts):
    """A row is scaled at the end, so that dividing it by n changes nothing."""
    with np.errstate(all="ignore"):
        idf = np.nan_to_num(np.log(len(counts) / (counts > 0).sum(axis=0)), posinf=0)
    return normalize(counts * idf)


def by_find_homography(source, target, sample, threshold):
    homography, _ = cv2.findHomography(source[sample], target[sample])
    return [
        bool(np.hypot(*gap) <= threshold)
        for gap in cv2.perspectiveTransform(source[None], homography)[0] - target
    ]


def point_by_point(source, target, sample, threshold):
    H = cv2.getPerspectiveTransform(source[sample].astype("f4"), target[sample].astype("f4"))
    inliers = np.zeros(len(source), dtype=bool)
    for i, (x, y) in enumerate(source):
        u, v, w = H @ (x, y, 1)
        inliers[i] = (u / w - target[i, 0]) ** 2 + (v / w - target[i, 1]) ** 2 < threshold**2
    return inliers


def residuals(descriptors, centres, *, intra=True, power=1.0, unit=False):
    """VLAD of one image: descriptors (n, d) and centres (k, d) -> (k * d,)."""
    sums = np.zeros(centres.shape)
    for x in descriptors:
        nearest = ((centres - x) ** 2).sum(axis=1).argmin()
        gap = x - centres[nearest]
        sums[nearest] += gap / max(np.linalg.norm(gap), 1e-9) if unit else gap
    sums = np.sign(sums) * np.abs(sums) ** power
    return (normalize(sums) if intra else sums).ravel()


def aggregated(aside, images, n_dims=128, n_words=8, **how):
    pool = np.concatenate(aside)
    pca = PCA(n_dims, random_state=0).fit(pool) if n_dims < 128 else None

    def turned(rows):
        return pca.transform(rows) if pca is not None and len(rows) else rows[:, :n_dims]

    centres = KMeans(n_words, n_init=1, max_iter=30, random_state=0).fit(turned(pool))
    return np.array([residuals(turned(rows), centres.cluster_centers_, **how) for rows in images])


def counted(aside, images, n_words=1024):
    centres = np.concatenate(aside)[:: sum(map(len, aside)) // n_words][:n_words]
    words = [(rows @ centres.T).argmax(axis=1) for rows in images]
    return np.array([np.bincount(row, minlength=n_words) for row in words])


def emptied(aside, images):
    images[0][:] = 0
    return aggregated(aside, images)


RIGHT = {
    "short_vectors": (
        lambda *a: aggregated(*a, n_dims=32, n_words=32),
        lambda *a: aggregated(*a, n_dims=32, n_words=32, unit=True).astype(np.float32),
        lambda *a: aggregated(*a, n_dims=16, n_words=64).tolist(),
        lambda *a: aggregated(*a, n_dims=32, n_words=24, unit=True),
    ),
    "root_sift": (
        row_by_row,
        without_warning,
        lambda d: np.sqrt(d / np.maximum(d.sum(axis=1, keepdims=True), 1e-12)).astype(np.float32),
        lambda d: np.sqrt(d / (d.sum(axis=1, keepdims=True) + 1e-7)),
        lambda d: np.sqrt(normalize(d, norm="l1")) if len(d) else d,
        lambda d: np.sqrt(d) / np.maximum(np.sqrt(d.sum(axis=1))[:, None], 1e-9),
    ),
    "tf_idf": (
        looped_tf_idf,
        counts_alone,
        lambda c: solved_tf_idf(c).tolist(),
        lambda c: solved_tf_idf(c).astype(np.float32),
    ),
    "ransac_step": (
        by_find_homography,
        point_by_point,
        lambda *a: solved_ransac_step(*a).tolist(),
        lambda *a: tuple(point_by_point(*a)),
    ),
}

WRONG = {
    "short_vectors": (
        ("reach", aggregated),
        ("reach", lambda *a: aggregated(*a, unit=True)),
        ("reach", lambda *a: aggregated(*a, intra=False)),
        ("reach", lambda *a: aggregated(*a, intra=False, power=0.5)),
        ("reach", lambda *a: aggregated(*a, n_dims=32, n_words=8)),
        ("reach", counted),
        ("reach", lambda *a: np.sqrt(counted(*a))),
        ("reach", lambda aside, images: np.ones((len(images), 3))),
        ("at most 1,024 numbers", lambda *a: aggregated(*a, n_dims=64, n_words=32)),
        ("learn from `aside` alone", lambda aside, images: aggregated(images, images, 32, 32)),
        ("learn from `aside` alone", lambda *a: (rows := aggregated(*a)) - rows.mean(axis=0)),
        ("expected numbers of shape", lambda aside, images: aggregated(images, aside)),
        ("NaN", lambda *a: aggregated(*a) / 0 * 0),
        ("work on a copy", emptied),
    ),
    "root_sift": (
        lambda d: normalize(np.sqrt(d), norm="l1") if len(d) else d,
        lambda d: np.sqrt(d / d.max(axis=1, keepdims=True, initial=1e-12)),
        lambda d: root_sift(d) + 1e-3,
        lambda d: root_sift(d)[root_sift(d).any(axis=1)],
        lambda d: np.where(d.any(axis=1, keepdims=True), root_sift(d), 1 / np.sqrt(d.shape[1])),
        lambda d: root_sift(d).T,
        lambda d: np.cbrt(d / np.maximum(d.sum(axis=1, keepdims=True), 1e-12)),
        lambda d: root_sift(d.astype(int)),
        lambda d: np.sqrt(d / d[0].sum()) if len(d) else d,
        lambda d: np.sqrt(np.divide(d, d.sum(axis=1, keepdims=True) + 1e-3)),
        lambda d: np.sqrt(d / np.maximum(d.sum(axis=1, keepdims=True), 0.01)),
    ),
    "tf_idf": (
        lambda c: normalize(np.log1p(c) * np.log(len(c) / np.maximum((c > 0).sum(axis=0), 1))),
        lambda c: normalize(c * np.log(1 + len(c) / np.maximum((c > 0).sum(axis=0), 1))),
        lambda c: normalize(c * np.log(len(c) / (1 + (c > 0).sum(axis=0)))),
        lambda c: normalize(c * np.log(c.shape[1] / np.maximum((c > 0).sum(axis=0), 1))),
        lambda c: normalize(solved_tf_idf(c), axis=0),
        lambda c: normalize(c * np.log(len(c) / np.maximum((c > 1).sum(axis=0), 1))),
        lambda c: normalize(
            c / np.maximum(c.sum(axis=0), 1) * np.log(len(c) / np.maximum((c > 0).sum(axis=0), 1))
        ),
        lambda c: np.where(
            solved_tf_idf(c).any(axis=1, keepdims=True), solved_tf_idf(c), 1 / c.shape[1]
        ),
        lambda c: solved_tf_idf(c) ** 2,
        lambda c: normalize(c.astype(float)),
        lambda c: normalize(
            c * np.log(np.maximum(c.any(axis=1).sum(), 1) / np.maximum((c > 0).sum(axis=0), 1))
        ),
    ),
    "ransac_step": (
        lambda s, t, sample, d: solved_ransac_step(s, t, sample[::-1], d) & (np.arange(len(s)) > 0),
        lambda s, t, sample, d: (
            solved_ransac_step(s, t, np.sort(sample), d) | np.isin(np.arange(len(s)), [0])
        ),
        lambda s, t, sample, d: solved_ransac_step(s, t, sample, d / 2),
        lambda s, t, sample, d: solved_ransac_step(s, t, sample, np.sqrt(d)),
        lambda s, t, sample, d: solved_ransac_step(s, t, sample, 2 * d),
        lambda s, t, sample, d: np.linalg.norm(s - t, axis=1) <= d,
        lambda s, t, sample, d: np.isin(np.arange(len(s)), sample),
        lambda s, t, sample, d: (
            np.max(
                np.abs(
                    cv2.perspectiveTransform(s[None], cv2.findHomography(s[sample], t[sample])[0])[
                        0
                    ]
                    - t
                ),
                axis=1,
            )
            <= d
        ),
        lambda s, t, sample, d: solved_ransac_step(
            s, t, np.random.RandomState(0).permutation(len(s))[:4], d
        ),
        lambda s, t, sample, d: cv2.findHomography(s, t, cv2.RANSAC, d)[1][:, 0].astype(bool),
        ("true/false", lambda s, t, sample, d: solved_ransac_step(s, t, sample, d).astype(int)),
    ),
}
