"""Diagrams of boxes and arrows, and matches of local features between two images."""

from itertools import pairwise

import numpy as np
from matplotlib.patheffects import Normal, Stroke

from .style import BLACK, BLUE, GREY, PLAIN, VERMILLION, describe, new_axes

_QUESTION = {"boxstyle": "round,pad=0.45", "facecolor": "white", "edgecolor": BLACK}
_ANSWER = {"boxstyle": "square,pad=0.45", "facecolor": "#DDE9F5", "edgecolor": GREY}

_ARROW = {"color": BLACK, "shrinkA": 0, "shrinkB": 0}
_TEXT = {"va": "center", "fontsize": 10, **PLAIN}
_CENTRED = {"ha": "center", **_TEXT}
_MOST_LINES = 150  # more hide the images

_LOOKS = [  # of matches that do not agree and of those that do, with a white casing that keeps them visible on any image
    {"color": VERMILLION, "ls": (0, (4, 3)), "lw": 0.7, "marker": "x", "ms": 3.5, "alpha": 0.6},
    {"color": BLUE, "ls": "-", "lw": 1.3, "marker": "o", "ms": 3.5, "mfc": "white"},
]
_LOOKS[1]["path_effects"] = [Stroke(linewidth=2.7, foreground="white", alpha=0.6), Normal()]


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
    for y, (question, answer, choice) in zip(range(0, -len(steps), -1), steps, strict=True):
        ax.text(0, y, question, bbox=_QUESTION, zorder=3, **_CENTRED)
        ax.text(1, y, choice, bbox=_ANSWER, zorder=3, **_TEXT)
        for end in ((0.97, y), (0, y - 0.75)):
            ax.annotate("", end, (0, y), arrowprops={"arrowstyle": "-|>", **_ARROW}, zorder=1)
        ax.text(0.72, y + 0.13, answer, **_CENTRED)
        ax.text(0.03, y - 0.5, other[answer], **_TEXT)
    ax.text(0, -len(steps), otherwise, bbox=_ANSWER, zorder=3, **_CENTRED)
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
    look = {"bbox": _ANSWER, **_CENTRED}
    after = [(step, (longest + column, middle)) for column, step in enumerate(joined)]
    for row, chain in enumerate(chains):
        steps = [(step, (longest - len(chain) + column, -row)) for column, step in enumerate(chain)]
        steps += after[:1] if row else after
        ax.text(*steps[0][1], steps[0][0], zorder=3 + width, **look)
        for column, ((_, before), (step, place)) in enumerate(pairwise(steps), start=1):
            # The arrow starts under the box before, which is drawn later, and its head is at the box of its own.
            arrow = {"arrowprops": {"arrowstyle": "<|-", **_ARROW}, "zorder": 3 + width - column}
            ax.annotate(step, before, place, **arrow, **look)
    ax.set(xlim=(-0.55, width - 0.45), ylim=(0.45 - len(chains), 0.45))
    ax.axis("off")
    told, then = ("; ".join(map(", ".join, some)) for some in (chains, [joined]))
    return describe(ax, f"{told}. Then: {then}.")


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
    a, b = (np.asarray(one, float)[..., :2].reshape(-1, 2) for one in (keypoints_a, keypoints_b))
    kept = np.ones(len(a), bool) if inliers is None else np.asarray(inliers, bool).ravel()
    if not len(a) == len(b) == len(kept):
        got = f"got {len(a)} and {len(b)} keypoints and {len(kept)} inlier flags"
        raise ValueError(f"{got}; row i must match row i")
    (height, left), (other, width) = np.shape(image_a)[:2], np.shape(image_b)[:2]
    left += max(4, (left + width) // 50)
    height, width = max(height, other), left + width
    ax = new_axes(ax, (8, 8 * height / width + 0.5))
    for image, start in ((image_a, 0), (image_b, left)):
        h, w = np.shape(image)[:2]
        extent = (start - 0.5, start + w - 0.5, h - 0.5, -0.5)
        ax.imshow(image, "gray", vmin=0, vmax=255, extent=extent, interpolation="antialiased")
    ends = np.stack([a, b + (left, 0.0)])  # (2 ends, n, 2)
    drawn = np.unique(np.linspace(0, len(a) - 1, min(len(a), _MOST_LINES)).astype(int))
    handles = []
    for good, look in enumerate(_LOOKS):  # the good ones on top
        lines = ends[:, drawn[kept[drawn] == good]].transpose(2, 0, 1)
        handles += ax.plot(*lines, label="agrees" if good else "does not", **look)[:1]
    ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    ax.axis("off")
    title = f"{len(a)} matches"
    if inliers is not None:
        title = f"{int(kept.sum())} of {title} agree with one geometry"
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "ncols": 2, "frameon": False}
        ax.legend(handles=handles, fontsize=9, **below)
    title += f" ({len(drawn)} drawn)" if len(drawn) < len(a) else ""
    ax.set_title(title, fontsize=10)
    return describe(ax, f"Two images side by side with lines between matched points: {title}.")
