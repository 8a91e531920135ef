"""How views differ at each level: plane geometry, and what light, lens, sensor and file format do to their pixels.

Coordinates are pixels with the centre of the top-left pixel at (0, 0), x to the right, y down (OpenCV's convention).
"""

from dataclasses import dataclass

import numpy as np

from cbirkit._optional import require


@dataclass(frozen=True)
class Difficulty:
    """How strongly views differ at one level; each value is drawn uniformly within the range stated.

    Parameters
    ----------
    rotation : float
        Degrees, drawn from ± this.
    seen : (float, float)
        Side of what is seen, as a share of the region's side; made smaller where a rotated view would
        show what lies outside its region.
    perspective : float
        Every corner moves by ± this share of the side.
    gamma : float
        Exponent between 1 / this and this (uniform in the logarithm).
    gain : float
        Each colour channel times 1 ± this, after one common gain of 1 ± this.
    saturation : (float, float)
        Factor on the distance from grey.
    ramp : float
        Light falls off linearly across the view by up to this share.
    blur : float
        Standard deviation of a Gaussian, 0 to this, in pixels of a 128-pixel view.
    noise : float
        Standard deviation of Gaussian noise, 0 to this, in grey levels.
    jpeg : (int, int)
        Quality of the JPEG file that the view passes through.
    occluded : float
        Probability of an occluder (a plain card that covers 8 to 22 % of the view).
    """

    rotation: float
    seen: tuple
    perspective: float
    gamma: float
    gain: float
    saturation: tuple
    ramp: float
    blur: float
    noise: float
    jpeg: tuple
    occluded: float


LEVELS = {
    "easy": Difficulty(8, (0.80, 1.0), 0.03, 1.15, 0.05, (0.9, 1.1), 0.1, 0.4, 2, (80, 95), 0.0),
    "medium": Difficulty(
        22, (0.65, 1.0), 0.07, 1.35, 0.12, (0.7, 1.3), 0.25, 0.8, 5, (50, 90), 0.2
    ),
    "hard": Difficulty(40, (0.55, 1.0), 0.12, 1.6, 0.2, (0.4, 1.5), 0.4, 1.0, 8, (30, 80), 0.4),
}


@dataclass(frozen=True)
class View:
    """What was drawn for one view.

    Parameters
    ----------
    rotation : float
        Degrees by which the content is turned anticlockwise, before perspective.
    zoom : float
        Magnification against a view of the whole region; at least about 1.
    gamma, gain_r, gain_g, gain_b, saturation : float
        Exponent; factor on each channel; factor on the distance from grey.
    ramp, ramp_angle : float
        Share of the light lost from one end of the view to the other; direction in radians.
    blur, noise : float
        Standard deviations, in pixels of a 128-pixel view and in grey levels.
    jpeg : int
        Quality, 0 to 100.
    occluder : float
        Area of the card as a share of the view (part of it may lie outside); 0: there is none.
    """

    rotation: float
    zoom: float
    gamma: float
    gain_r: float
    gain_g: float
    gain_b: float
    saturation: float
    ramp: float
    ramp_angle: float
    blur: float
    noise: float
    jpeg: int
    occluder: float


def draw_view(level, rng):
    """Draw one view of a region.

    The same `rng` gives the same underlying draws at every level, so that the levels are one another's
    stretched or shrunk versions.

    Parameters
    ----------
    level : Difficulty
    rng : numpy.random.Generator

    Returns
    -------
    view : View
    corners : ndarray of shape (4, 2), float64
        What the view shows: its corners, clockwise from the top left, as shares of the region's side;
        all within [0, 1].
    """
    u = rng.random(26)
    signed = 2 * u - 1
    rotation = level.rotation * signed[0]
    side = _between(level.seen, u[1])
    square = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    square = square + level.perspective * signed[2:10].reshape(4, 2) / 2
    turn = np.deg2rad(rotation)
    cos, sin = np.cos(turn), np.sin(turn)
    corners = side * square @ np.array([[cos, sin], [-sin, cos]])
    extent = np.ptp(corners, axis=0).max()
    shrink = min(1.0, 1.0 / extent)
    corners = corners * shrink
    low, high = -corners.min(axis=0), 1 - corners.max(axis=0)  # where the middle may lie
    corners = np.clip(corners + low + (high - low) * u[10:12], 0.0, 1.0)
    gains = 1 + level.gain * signed[12] + level.gain * signed[13:16]
    view = View(
        rotation=float(rotation),
        zoom=float(1 / (side * shrink)),
        gamma=float(level.gamma ** signed[16]),
        **dict(zip(("gain_r", "gain_g", "gain_b"), gains.tolist(), strict=True)),
        saturation=float(_between(level.saturation, u[17])),
        ramp=float(level.ramp * u[18]),
        ramp_angle=float(2 * np.pi * u[19]),
        blur=float(level.blur * u[20]),
        noise=float(level.noise * u[21]),
        jpeg=round(_between(level.jpeg, u[22])),
        occluder=float(0.08 + 0.14 * u[24]) if u[23] < level.occluded else 0.0,
    )
    return view, corners


def _between(bounds, share):
    return bounds[0] + (bounds[1] - bounds[0]) * share


def occluder_cover(size, view, rng):
    """Where the occluder lies, and its colour.

    Parameters
    ----------
    size : int
        Side of the view.
    view : View
    rng : numpy.random.Generator
        Always moved on by the same number of draws.

    Returns
    -------
    cover : ndarray of shape (size, size), float32
        Share of each pixel that is covered, 0 to 1; all 0 if the view has no occluder.
    colour : ndarray of shape (3,), float32
    """
    u = rng.random(7)
    colour = (255 * u[:3]).astype(np.float32)
    if not view.occluder:
        return np.zeros((size, size), dtype=np.float32), colour
    aspect = 2 ** (2 * u[3] - 1)  # 1/2 to 2
    # Half sides, as shares of the view.
    half = np.sqrt(view.occluder) / 2 * np.array([aspect, 1 / aspect]) ** 0.5
    middle = 0.15 + 0.7 * u[4:6]
    turn = np.pi * u[6]
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    dx, dy = x - middle[0], y - middle[1]
    along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
    inside = (half[:, None, None] - np.abs([along, across])) * size + 0.5
    return np.clip(inside, 0, 1).prod(axis=0).astype(np.float32), colour


def expose(image, view, rng):
    """What light, an occluder, lens, sensor and JPEG make of a clean view.

    Parameters
    ----------
    image : ndarray of shape (size, size, 3), uint8
    view : View
    rng : numpy.random.Generator
        For the occluder's place and colour and for the noise, in this order.

    Returns
    -------
    ndarray of shape (size, size, 3), uint8
    """
    cv2 = require("cv2")
    size = image.shape[0]
    cover, colour = occluder_cover(size, view, rng)
    levels = 255 * (np.arange(256, dtype=np.float32) / 255) ** np.float32(view.gamma)
    values = levels[image]  # (size, size, 3)
    grey = (values @ np.array([0.299, 0.587, 0.114], dtype=np.float32))[..., None]
    values = grey + np.float32(view.saturation) * (values - grey)
    if view.occluder:
        values += cover[..., None] * (colour - values)
    values *= _light(size, view)
    if view.blur > 0.05:
        values = cv2.GaussianBlur(values, (0, 0), view.blur * size / 128)
    values += np.float32(view.noise) * rng.standard_normal(values.shape, dtype=np.float32)
    seen = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    coded = cv2.imencode(".jpg", seen[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, view.jpeg])[1]
    return np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1])


def _light(size, view):
    """Factor (size, size, 3), float32, on every pixel and channel: the gains times a linear ramp."""
    place = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    across = np.cos(view.ramp_angle) * place[None, :] + np.sin(view.ramp_angle) * place[:, None]
    gains = np.array([view.gain_r, view.gain_g, view.gain_b], dtype=np.float32)
    return (1 - view.ramp * (across[..., None] + 0.5)).astype(np.float32) * gains


# ---------------------------------------------------------------------- geometry


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
    top = np.stack([x, y, one, zero, zero, zero, -x * u, -y * u], axis=1)
    low = np.stack([zero, zero, zero, x, y, one, -x * v, -y * v], axis=1)
    left = np.concatenate([top, low])  # (8, 8)
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
    matrix = scaling(2) @ homography @ np.linalg.inv(scaling(0.5**halvings))
    kind, beyond = cv2.INTER_CUBIC if step < 0.8 else cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101
    photograph, sides = pyramid(halvings), (2 * size, 2 * size)
    large = cv2.warpPerspective(photograph, matrix, sides, flags=kind, borderMode=beyond)
    return cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA)


def scaling(factor):
    """Homography (3, 3) between an image and its scaled self, for pixel centres at whole numbers."""
    shift = (factor - 1) / 2
    return np.array([[factor, 0.0, shift], [0.0, factor, shift], [0.0, 0.0, 1.0]])
