"""Diagrams of boxes and arrows, and matches of local features between two images."""

from itertools import pairwise

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from .style import BLACK, BLUE, GREY, VERMILLION, describe, new_axes, plain_text

_QUESTION = {"boxstyle": "round,pad=0.45", "facecolor": "white", "edgecolor": BLACK}
_ANSWER = {"boxstyle": "square,pad=0.45", "facecolor": "#DDE9F5", "edgecolor": GREY}

_MOST_LINES = 150  # more hide the images


def decision_chain(steps, otherwise, *, ax=None):
    """Draw questions one below the other; each has an answer that leads to the right and one that leads on.

    Parameters
    ----------
    steps : list of (str, str, str)
        Question, the answer that ends it ("yes" or "no"), and the choice that follows from it. Line breaks are kept.
    otherwise : str
        The choice when no question has ended it.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        There is no question, or an answer is neither "yes" nor "no".

    Examples
    --------
    >>> ax = decision_chain([("Fewer than 1,000?", "yes", "compare with all")], "build an index")
    >>> ax.texts[-1].get_text()
    'build an index'
    """
    other = {"yes": "no", "no": "yes"}
    if not steps or any(answer not in other for _, answer, _ in steps):
        raise ValueError('steps must be (question, "yes" or "no", choice) and at least one')
    ax = new_axes(ax, (8.4, 1.05 * (len(steps) + 1)))
    arrow = {"arrowstyle": "-|>", "color": BLACK, "shrinkA": 0, "shrinkB": 0}
    for row, (question, answer, choice) in enumerate(steps):
        ax.text(0, -row, question, ha="center", va="center", fontsize=10, bbox=_QUESTION, zorder=3)
        ax.text(1, -row, choice, ha="left", va="center", fontsize=10, bbox=_ANSWER, zorder=3)
        for end in ((0.97, -row), (0, -row - 0.75)):
            ax.annotate("", end, (0, -row), arrowprops=arrow, zorder=1)
        ax.text(0.72, -row + 0.06, answer, ha="center", va="bottom", fontsize=10)
        ax.text(0.03, -row - 0.5, other[answer], ha="left", va="center", fontsize=10)
    ax.text(
        0, -len(steps), otherwise, ha="center", va="center", fontsize=10, bbox=_ANSWER, zorder=3
    )
    plain_text(*ax.texts)
    ax.set(xlim=(-0.75, 2.5), ylim=(-len(steps) - 0.5, 0.5))
    ax.axis("off")
    told = [f"{question} If {answer}: {choice}." for question, answer, choice in steps]
    return describe(ax, " ".join([*told, f"Otherwise: {otherwise}."]))


def pipeline(chains, joined, *, ax=None):
    """Draw chains of steps, one below the other and each from left to right, that meet in one chain.

    Parameters
    ----------
    chains : list of list of str
        The steps of each chain; line breaks are kept.
    joined : list of str
        The steps that follow when they have met.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        A chain has no step.

    Examples
    --------
    >>> ax = pipeline([["query", "vector"], ["database", "vectors"]], ["distances"])
    >>> [text.get_text() for text in ax.texts]
    ['query', 'vector', 'distances', 'database', 'vectors', 'distances']
    """
    if not chains or not joined or not all(chains):
        raise ValueError("chains and joined must hold at least one step each")
    longest, middle = max(map(len, chains)), -(len(chains) - 1) / 2
    width = longest + len(joined)
    ax = new_axes(ax, (1.5 * width, 0.9 * len(chains)))
    look = {"ha": "center", "va": "center", "fontsize": 10, "bbox": _ANSWER}
    after = [(step, (longest + column, middle)) for column, step in enumerate(joined)]
    for row, chain in enumerate(chains):
        steps = [(step, (longest - len(chain) + column, -row)) for column, step in enumerate(chain)]
        steps += after[:1] if row else after
        ax.text(*steps[0][1], steps[0][0], zorder=3 + width, **look)
        for column, ((_, before), (step, place)) in enumerate(pairwise(steps), start=1):
            # The arrow starts under the box before, which is drawn later, and its head is at the box of its own.
            arrow = {"arrowstyle": "<|-", "color": BLACK, "shrinkA": 0, "shrinkB": 0}
            ax.annotate(step, before, place, arrowprops=arrow, zorder=3 + width - column, **look)
    plain_text(*ax.texts)
    ax.set(xlim=(-0.55, width - 0.45), ylim=(0.45 - len(chains), 0.45))
    ax.axis("off")
    told = [", ".join(" ".join(step.split()) for step in chain) for chain in chains]
    return describe(
        ax, f"{'; '.join(told)}. Then: {', '.join(' '.join(step.split()) for step in joined)}."
    )


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
    a, b = _points(keypoints_a), _points(keypoints_b)
    kept = np.ones(len(a), bool) if inliers is None else np.asarray(inliers).astype(bool).ravel()
    if not len(a) == len(b) == len(kept):
        raise ValueError(
            f"got {len(a)} and {len(b)} keypoints and {len(kept)} inlier flags; row i must match row i"
        )
    canvas, left = _side_by_side(np.asarray(image_a), np.asarray(image_b))
    height, width = canvas.shape[:2]
    ax = new_axes(ax, (8, 8 * height / width + 0.5))
    ax.imshow(canvas, interpolation="antialiased")
    b = b + (left, 0.0)
    drawn = np.unique(np.linspace(0, len(a) - 1, min(len(a), _MOST_LINES)).astype(int))
    for good in (False, True):  # the good ones on top
        _draw(ax, a, b, drawn[kept[drawn] == good], good)
    ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    ax.axis("off")
    title = f"{len(a)} matches"
    if inliers is not None:
        title = f"{int(kept.sum())} of {title} agree with one geometry"
        handles = [
            Line2D([], [], color=BLUE, marker="o", mfc="white", ms=4, label="agrees"),
            Line2D([], [], color=VERMILLION, marker="x", ls="--", lw=0.7, ms=4, label="does not"),
        ]
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "ncols": 2, "frameon": False}
        ax.legend(handles=handles, fontsize=9, **below)
    title += f" ({len(drawn)} drawn)" if len(drawn) < len(a) else ""
    ax.set_title(title, fontsize=10)
    return describe(ax, f"Two images side by side with lines between matched points: {title}.")


def _draw(ax, a, b, which, good):
    ends = np.stack([a[which], b[which]], axis=1)  # (n, 2 ends, 2)
    colour, line, width, mark = VERMILLION, (0, (4, 3)), 0.7, "x"
    if good:  # a white casing keeps the line visible on any image
        colour, line, width, mark = BLUE, "-", 1.3, "o"
        ax.add_collection(LineCollection(ends, colors="white", linewidths=2.7, alpha=0.6, zorder=2))
    look = {"colors": colour, "linestyles": [line], "linewidths": width, "alpha": 0.6 + 0.4 * good}
    ax.add_collection(LineCollection(ends, zorder=3, gid=["outliers", "inliers"][good], **look))
    points = {"color": colour, "ms": 3.5, "mfc": "white", "mew": 0.9, "ls": "", "zorder": 4}
    ax.plot(*ends.reshape(-1, 2).T, mark, **points)


def _points(points):
    points = np.asarray(points, dtype=np.float64)
    if points.size and (points.ndim != 2 or points.shape[1] < 2):
        raise ValueError(f"keypoints must be (n_matches, 2) or more columns, got {points.shape}")
    return points[:, :2] if points.size else np.zeros((0, 2))


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
