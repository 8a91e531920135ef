"""Thumbnails in rows: ranked lists and contact sheets."""

import numpy as np
from matplotlib.lines import Line2D

from ..images import ImageProblem
from ..images.tables import text_of
from ..ranking.codes import aligned
from .judged import chosen_rows, positive, verdicts_of
from .style import PLAIN, VERDICTS, describe, new_axes, safe_text
from .tile import Tile, font_size, unit_points

_GAP = 0.3  # between the query and its results, in tile widths
_ROW = 1.36  # height of a row: the tile and two lines under it, in tile widths
_PIXELS = 160  # longer side of a thumbnail


def ranked_list(ranking, images, *, queries=None, relevance=None, rows=4, k=8, ax=None):
    """Draw queries, each in a double frame, and what was found for them, nearest first.

    Under each result stand its rank, its distance and its label (its id where there are no labels). With
    `relevance`, a relevant result has a solid green frame and a tick, another a dashed vermillion frame and
    a cross, and junk a dotted grey frame and a dash.

    Parameters
    ----------
    ranking : cbirkit.Ranking
    images : ImageCollection
        The database; its ids must hold those in `ranking`.
    queries : ImageCollection or sequence of uint8 arrays (h, w, 3), optional
        Holds the query ids, or has one image for each row of `ranking`. Default: look them up in `images`.
    relevance : cbirkit.Relevance, optional
        Must know the query ids in `ranking`.
    rows : int or sequence of (int or str)
        How many of the first queries to draw, or which: positions in `ranking` or query ids.
    k : int
        Results in a row; fewer where the ranking holds fewer.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        An unknown query, a query whose image is not known, or a relevance for other queries.

    Examples
    --------
    >>> from cbirkit import ImageCollection, Ranking
    >>> images = ImageCollection.from_arrays(np.zeros((3, 8, 8, 3), np.uint8))
    >>> ranking = Ranking.from_distances(np.eye(3), images.ids, images.ids, exclude_self=True)
    >>> len(ranked_list(ranking, images).images)
    9
    """
    rows = chosen_rows(ranking, rows)
    k = min(positive(k, "k"), ranking.k)
    ax = new_axes(ax, (1.15 * (k + 1 + _GAP), max(1.5 * len(rows), 1.5) + 0.3))
    verdicts, found = verdicts_of(ranking, relevance, rows, k)
    _frame(ax, 1 + _GAP + k, _ROW * len(rows) + 0.28)
    told = []
    for place, row in enumerate(rows):
        top = place * _ROW
        _draw_query(ax, (ranking, images, queries), row, top=top, found=found[place])
        for j, verdict in enumerate(verdicts[place]):
            item = int(ranking.indices[row, j])
            key = ranking.database_ids[item] if hasattr(images, "ids") else item
            lines = [f"{j + 1}:  {_number(ranking.distances[row, j])}", _caption(images, key)]
            tile = Tile(_picture(images, key), lines, verdict, f"{verdict}-{place}-{j + 1}")
            tile.draw(ax, 1 + _GAP + j, top)
        told.append(_told(ranking, row, verdicts[place], relevance is not None))
    kinds = [
        name for name in VERDICTS if name != "unknown" and any(name in one for one in verdicts)
    ]
    _legend(ax, kinds, top=_ROW * len(rows))
    return describe(
        ax,
        f"Ranked list of {len(rows)} {'query' if len(rows) == 1 else 'queries'}, nearest first. "
        + " ".join(told),
    )


def contact_sheet(images, *, n=24, labels=None, columns=8, ax=None):
    """Draw the first images of a collection side by side.

    Parameters
    ----------
    images : ImageCollection or sequence of uint8 arrays (h, w, 3)
    n : int
        Most images to draw; for others, select first: ``contact_sheet(images[::10])``.
    labels : sequence of n_images texts, or False, optional
        Default: the label of each image, or its id where there are no labels. False: nothing.
    columns : int
        Images in a row.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        No images, or a number of labels that is not the number of images.

    Examples
    --------
    >>> ax = contact_sheet(np.zeros((3, 8, 8, 3), np.uint8), labels=["a", "b", "c"])
    >>> len(ax.images), ax.texts[0].get_text()
    (3, 'a')
    """
    total = len(images)
    if total == 0:
        raise ValueError("there are 0 images to draw; choose a folder or a subset that has some")
    labels = (
        labels
        if labels is None or labels is False
        else list(aligned(labels, getattr(images, "ids", None), "labels"))
    )
    if labels and len(labels) != total:
        raise ValueError(
            f"got {len(labels)} labels for {total} images; give one label for each image"
        )
    n = min(positive(n, "n"), total)
    columns = min(positive(columns, "columns"), n)
    n_rows = -(-n // columns)
    step = 1.06 if labels is False else 1.22
    ax = new_axes(ax, (1.15 * columns, 1.15 * step * n_rows + 0.1))
    _frame(ax, columns, step * n_rows)
    names = []
    for i in range(n):
        key = images.ids[i] if hasattr(images, "ids") else i
        if labels is False:
            lines = []
        else:
            names.append(text_of(labels[i]) if labels is not None else _caption(images, key))
            lines = [names[-1]]
        Tile(_picture(images, key), lines, "unknown", f"image-{i}").draw(
            ax, i % columns, (i // columns) * step
        )
    shown = f": {', '.join(safe_text(name) for name in dict.fromkeys(names))}" if names else ""
    return describe(ax, f"Contact sheet of {n} of {total} images{shown}.")


def _draw_query(ax, sources, row, *, top, found):
    ranking, images, queries = sources
    query_id = ranking.query_ids[row]
    source, key = images, query_id
    if queries is not None and not hasattr(queries, "ids"):
        if len(queries) != len(ranking):
            raise ValueError(
                f"got {len(queries)} query images for a ranking of {len(ranking)} queries; give one for each"
            )
        source, key = queries, row
    elif queries is not None:
        source = queries
    try:
        picture = _picture(source, key)
    except (KeyError, IndexError):
        picture = NotImplemented
    if picture is NotImplemented:
        raise ValueError(
            f"no image is known for query {safe_text(query_id)!r}; pass the query images as queries=..."
        )
    Tile(picture, [_caption(source, key), found or "query"], "query", f"query-{row}").draw(
        ax, 0, top
    )


def _picture(images, key):
    """Thumbnail (h, w, 3); None where it cannot be read, NotImplemented where it is not known."""
    if hasattr(images, "thumbnail"):
        if isinstance(key, str) and key not in images.table.index:
            return NotImplemented  # not the error of `thumbnail`: the caller knows better what was missing
        try:
            return images.thumbnail(key, _PIXELS)
        except ImageProblem:
            return None
    picture = np.asarray(images[key])
    step = max(1, max(picture.shape[:2]) // (2 * _PIXELS))
    return picture[::step, ::step]


def _caption(images, key):
    if not hasattr(images, "table"):
        return str(key)
    label = (
        images.table["label"].iloc[int(images.positions([key])[0])]
        if "label" in images.table
        else None
    )
    return text_of(label) or str(key)


def _told(ranking, row, verdicts, judged):
    name = safe_text(ranking.query_ids[row])
    if not judged:
        return f"Query {name}: {len(verdicts)} results."
    right = [str(i + 1) for i, verdict in enumerate(verdicts) if verdict == "right"]
    return f"Query {name}: relevant at " + (
        f"ranks {', '.join(right)} of {len(verdicts)}." if right else "no rank shown."
    )


def _legend(ax, kinds, *, top):
    size = font_size(unit_points(ax))
    ax.text(
        0.02,
        top + 0.02,
        "double frame: query\nresults: rank, distance, label",
        fontsize=size,
        va="top",
        color="0.3",
        **PLAIN,
    )
    handles = []
    for kind in kinds:
        colour, line, mark, words = VERDICTS[kind]
        handles.append(
            Line2D([], [], color=colour, ls=line, marker=mark, ms=size, lw=1.5, label=words)
        )
    if handles:
        ax.legend(
            handles=handles,
            loc="lower right",
            ncols=3,
            frameon=False,
            fontsize=size,
            borderaxespad=0,
            borderpad=0,
            handlelength=4,
        )


def _frame(ax, width, height):
    ax.set(xlim=(-0.03, width + 0.03), ylim=(height, -0.05), aspect="equal")
    ax.autoscale(False)
    ax.axis("off")


def _number(value):
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"
