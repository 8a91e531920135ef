"""Matches of local features between two images."""

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from .style import BLUE, VERMILLION, describe, new_axes

_MOST_LINES = 150  # more hide the images


def match_lines(image_a, image_b, keypoints_a, keypoints_b, *, inliers=None, ax=None):
    """Draw two images side by side with a line between each pair of matched keypoints.

    Matches that agree with one geometry are solid blue lines with round ends, the others thin dashed
    vermillion lines with crosses. Of more than 150 an evenly spaced part is drawn, and the title says so.

    Parameters
    ----------
    image_a, image_b : uint8 array (h, w, 3) or (h, w)
    keypoints_a, keypoints_b : array (n_matches, 2 or more)
        Row i of one matches row i of the other; the first two columns are x and y in pixels.
    inliers : bool array (n_matches,), optional
        Default: all are drawn alike.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        Keypoints or inliers that do not pair up.

    Examples
    --------
    >>> image = np.zeros((10, 20, 3), np.uint8)
    >>> match_lines(image, image, [[1, 2], [3, 4]], [[1, 2], [9, 9]], inliers=[True, False]).get_title()
    '1 of 2 matches agree with one geometry'
    """
    a, b = _points(keypoints_a, "keypoints_a"), _points(keypoints_b, "keypoints_b")
    if len(a) != len(b):
        raise ValueError(
            f"got {len(a)} keypoints in the first image and {len(b)} in the second; row i must match row i"
        )
    kept = np.ones(len(a), bool) if inliers is None else np.asarray(inliers).astype(bool).ravel()
    if len(kept) != len(a):
        raise ValueError(
            f"got {len(kept)} inlier flags for {len(a)} matches; give one for each match"
        )
    canvas, left = _side_by_side(np.asarray(image_a), np.asarray(image_b))
    height, width = canvas.shape[:2]
    ax = new_axes(ax, (8, 8 * height / width + 0.5))
    ax.imshow(canvas, interpolation="antialiased")
    b = b + (left, 0.0)
    drawn = (
        np.unique(np.linspace(0, len(a) - 1, min(len(a), _MOST_LINES)).astype(int))
        if len(a)
        else np.zeros(0, int)
    )
    for good in (False, True):  # the good ones on top
        _draw(ax, a, b, drawn[kept[drawn] == good], good)
    ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    ax.axis("off")
    title = (
        f"{len(a)} matches"
        if inliers is None
        else f"{int(kept.sum())} of {len(a)} matches agree with one geometry"
    )
    if len(drawn) < len(a):
        title += f" ({len(drawn)} drawn)"
    ax.set_title(title, fontsize=10)
    if inliers is not None:
        _legend(ax)
    return describe(ax, f"Two images side by side with lines between matched points: {title}.")


def _draw(ax, a, b, which, good):
    if len(which) == 0:
        return
    ends = np.stack([a[which], b[which]], axis=1)  # (n, 2 ends, 2)
    colour, line, width, mark = (
        (BLUE, "-", 1.3, "o") if good else (VERMILLION, (0, (4, 3)), 0.7, "x")
    )
    if good:  # a white casing keeps the line visible on any image
        ax.add_collection(
            LineCollection(ends, colors="white", linewidths=width + 1.4, alpha=0.6, zorder=2)
        )
    lines = LineCollection(
        ends, colors=colour, linestyles=[line], linewidths=width, alpha=1 if good else 0.6, zorder=3
    )
    lines.set_gid("inliers" if good else "outliers")
    ax.add_collection(lines)
    ax.plot(
        *ends.reshape(-1, 2).T, mark, color=colour, ms=3.5, mfc="white", mew=0.9, ls="", zorder=4
    )


def _legend(ax):
    handles = [
        Line2D([], [], color=BLUE, marker="o", mfc="white", ms=4, label="agrees"),
        Line2D([], [], color=VERMILLION, marker="x", ls="--", lw=0.7, ms=4, label="does not"),
    ]
    ax.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        ncols=2,
        frameon=False,
        fontsize=9,
    )


def _points(points, name):
    points = np.asarray(points, dtype=np.float64)
    if points.size == 0:
        return np.zeros((0, 2))
    if points.ndim != 2 or points.shape[1] < 2:
        raise ValueError(
            f"{name} must be (n_matches, 2) or more columns, x and y first, got shape {points.shape}"
        )
    return points[:, :2]


def _side_by_side(a, b):
    """One RGB canvas (h, w, 3), white where neither image is, and the x where the second begins."""
    a, b = (
        np.repeat(one[..., None], 3, axis=2) if one.ndim == 2 else one[..., :3] for one in (a, b)
    )
    gap = max(4, (a.shape[1] + b.shape[1]) // 50)
    left = a.shape[1] + gap
    canvas = np.full((max(len(a), len(b)), left + b.shape[1], 3), 255, np.uint8)
    canvas[: len(a), : a.shape[1]] = a
    canvas[: len(b), left:] = b
    return canvas, left
