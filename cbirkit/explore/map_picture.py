"""A map as a matplotlib figure, for places that run no JavaScript."""

from itertools import pairwise

import numpy as np
from sklearn.utils import check_random_state

from ..plots.maps import embedding_map
from ..plots.style import BLUE, GREY, VERDICTS, describe, plain_text

_MOST_POINTS = 20_000  # of more, a sample is drawn


def draw_map(images, points, texts, *, title, chosen, marks):
    """Draw the points with some thumbnails, the selected ones ringed, the query joined to its neighbours.

    Parameters
    ----------
    images : ImageCollection
    points : array (n_images, 2)
    texts : array (n_images,) of str, or None
        What to colour by.
    title : str
    chosen : array of int
        Positions of the selected images.
    marks : dict
        ``query`` (position or -1), ``path``, ``neighbours`` (positions), ``verdicts``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    import matplotlib.pyplot as plt

    drawn = np.arange(len(points))
    if len(points) > _MOST_POINTS:
        drawn = np.sort(check_random_state(0).choice(len(points), _MOST_POINTS, replace=False))
        title += f"; {_MOST_POINTS:,} points drawn"
    fig, ax = plt.subplots(figsize=(9.2, 5.6), layout="constrained")
    plt.close(fig)
    embedding_map(
        points[drawn], None if texts is None else texts[drawn], thumbnails=images[drawn], ax=ax
    )
    told = ax.get_label()
    ax.set_title(title, fontsize=9)
    plain_text(ax.title)
    if len(chosen):
        ax.scatter(
            *points[chosen].T, s=46, facecolors="none", edgecolors="black", linewidths=0.8, zorder=5
        )
        told += f" {len(chosen):,} images are selected and ringed."
    _draw_path(ax, points, marks["path"])
    told += _draw_query(ax, points, images, marks)
    ax.set(xlabel="map, first dimension (no unit)", ylabel="map, second dimension (no unit)")
    describe(ax, f"{title}. {told}")
    return fig


def _draw_path(ax, points, path):
    for one, other in pairwise(path):
        style = {"arrowstyle": "->", "color": BLUE, "lw": 1.5}
        ax.annotate("", xy=points[other], xytext=points[one], arrowprops=style, zorder=6)


def _draw_query(ax, points, images, marks):
    """Lines from the query to its neighbours, drawn as `VERDICTS` has it; returns words about them."""
    ring = {"s": 90, "facecolors": "none", "zorder": 6}
    for i, verdict in zip(marks["neighbours"], marks["verdicts"], strict=True):
        colour, line = VERDICTS[verdict or "unknown"][:2]
        ax.scatter(*points[i], edgecolors=colour, linewidths=1.5, linestyles=line, **ring)
        if marks["query"] >= 0:
            ax.plot(*points[[marks["query"], i]].T, color=colour, ls=line, lw=1.2, zorder=5)
    if marks["query"] < 0:
        return ""
    ax.scatter(*points[marks["query"]], edgecolors="white", linewidths=5, **ring | {"s": 170})
    ax.scatter(*points[marks["query"]], edgecolors="black", linewidths=2.2, **ring | {"s": 170})
    box = {"facecolor": "white", "edgecolor": GREY, "pad": 1.5, "alpha": 0.9}
    place = {
        "xytext": (0, 14),
        "textcoords": "offset points",
        "ha": "center",
        "fontsize": 8,
        "zorder": 7,
    }
    ax.annotate("query", points[marks["query"]], bbox=box, **place)
    right = list(marks["verdicts"]).count("right")
    known = f", {right} of them right" if any(marks["verdicts"]) else ""
    return f" The query {images.ids[marks['query']]} is joined to its {len(marks['neighbours'])} neighbours{known}."
