"""Plane geometry of views: homographies, and resampling through them without aliasing.

Coordinates are pixels with the centre of the top-left pixel at (0, 0), x to the right, y down (OpenCV's convention).
"""

import numpy as np

from .._optional import require


def homography_of_corners(source, target):
    """The homography that takes four points to four points.

    Parameters
    ----------
    source, target : arrays of shape (4, 2)
        No three of either on one line.

    Returns
    -------
    ndarray of shape (3, 3), float64
        H with H[2, 2] = 1 and (x', y', 1) ~ H (x, y, 1).

    References
    ----------
    Hartley and Zisserman, Multiple View Geometry in Computer Vision, 2nd ed. (2004), section 4.1:
    the inhomogeneous solution. doi:10.1017/CBO9780511811685
    """
    (x, y), (u, v) = np.asarray(source, dtype=float).T, np.asarray(target, dtype=float).T
    one, zero = np.ones(4), np.zeros(4)
    left = np.concatenate(
        [
            np.stack([x, y, one, zero, zero, zero, -x * u, -y * u], axis=1),
            np.stack([zero, zero, zero, x, y, one, -x * v, -y * v], axis=1),
        ]
    )  # (8, 8)
    return np.append(np.linalg.solve(left, np.concatenate([u, v])), 1.0).reshape(3, 3)


def frame_corners(size):
    """Outer corners (4, 2) of a square image of `size` pixels, clockwise from the top left."""
    low, high = -0.5, size - 0.5
    return np.array([[low, low], [high, low], [high, high], [low, high]])


def transform_points(homography, points):
    """Points (n, 2) taken through a homography (3, 3).

    Examples
    --------
    >>> transform_points(np.diag([2.0, 2.0, 1.0]), [[1.0, 3.0]])
    array([[2., 6.]])
    """
    points = np.asarray(points, dtype=float)
    moved = np.column_stack([points, np.ones(len(points))]) @ np.asarray(homography, dtype=float).T
    return moved[:, :2] / moved[:, 2:]


def warp(pyramid, homography, size):
    """The view through a homography from the photograph, without aliasing.

    The photograph is halved as often as the view needs, sampled at twice the size of the view (bilinear;
    bicubic where the view enlarges) and box-filtered down.

    Parameters
    ----------
    pyramid : callable
        ``pyramid(n)`` gives the photograph halved n times, (h, w, 3) uint8.
    homography : ndarray of shape (3, 3)
        From pixels of the photograph to pixels of the view.
    size : int
        Side of the view.

    Returns
    -------
    ndarray of shape (size, size, 3), uint8
    """
    cv2 = require("cv2")
    footprint = transform_points(np.linalg.inv(homography), frame_corners(size))
    step = np.linalg.norm(np.roll(footprint, -1, axis=0) - footprint, axis=1).mean() / size
    halvings = int(max(0, np.floor(np.log2(step))))
    to_half = scaling(0.5**halvings)
    to_double = scaling(2)
    matrix = to_double @ homography @ np.linalg.inv(to_half)
    kind = cv2.INTER_CUBIC if step < 0.8 else cv2.INTER_LINEAR
    large = cv2.warpPerspective(
        pyramid(halvings),
        matrix,
        (2 * size, 2 * size),
        flags=kind,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA)


def scaling(factor):
    """Homography (3, 3) between an image and its scaled self, for pixel centres at whole numbers."""
    shift = (factor - 1) / 2
    return np.array([[factor, 0.0, shift], [0.0, factor, shift], [0.0, 0.0, 1.0]])
