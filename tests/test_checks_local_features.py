"""The checks of notebook 02: right answers pass, wrong ones get the sentence that names the mistake."""

import cv2
import numpy as np
from sklearn.preprocessing import normalize

from cbirkit import checks
from cbirkit.checks import local_features
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
    "root_sift": (checks.check_root_sift, local_features.ROOT_SIFT_MISTAKES, root_sift),
    "tf_idf": (checks.check_tf_idf, local_features.TF_IDF_MISTAKES, solved_tf_idf),
    "ransac_step": (checks.check_ransac_step, local_features.RANSAC_MISTAKES, solved_ransac_step),
}
