"""The explorer's view as a matplotlib figure, for places that run no JavaScript."""

import io

import numpy as np
from PIL import Image

from ..plots.style import PLAIN, VERDICTS, describe, safe_text, verdict_mark

_COLUMNS = 6  # tiles in a row
_TILE = 1.1  # inches


def draw_view(query, results):
    """Draw a query and what each retriever found for it.

    Parameters
    ----------
    query : tuple (bytes, str, tuple of 4 float or None)
        Encoded picture, name, and region as shares (x, y, width, height) of the picture.
    results : sequence of (str, str, list of Tile)
        Heading, summary and tiles of each retriever.

    Returns
    -------
    matplotlib.figure.Figure
        Closed for pyplot, so that a notebook shows it once: as the value of its cell.
    """
    import matplotlib.pyplot as plt

    rows = [max(1, -(-len(tiles) // _COLUMNS)) for _, _, tiles in results]
    tall = max(2.4, sum(n_rows * 1.35 + 0.45 for n_rows in rows))
    width = 2.2 + _COLUMNS * _TILE
    fig = plt.figure(figsize=(width, tall * _TILE))
    plt.close(fig)
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width / _TILE), ylim=(tall, 0), aspect="equal")
    ax.axis("off")
    _draw_query(ax, *query)
    top = 0.0
    for (heading, summary, tiles), n_rows in zip(results, rows, strict=True):
        ax.text(
            2.0, top + 0.2, safe_text(heading, 40), weight="bold", fontsize=9, va="center", **PLAIN
        )
        right = width / _TILE - 0.05
        ax.text(
            right,
            top + 0.2,
            safe_text(summary, 60),
            fontsize=8,
            color="0.35",
            va="center",
            ha="right",
            **PLAIN,
        )
        for i, tile in enumerate(tiles):
            draw_tile(ax, tile, 2.0 + i % _COLUMNS, top + 0.4 + (i // _COLUMNS) * 1.35)
        top += n_rows * 1.35 + 0.45
    ax.autoscale(False)
    told = [
        f"{heading}: {summary}. {'; '.join(tile.alt for tile in tiles)}."
        for heading, summary, tiles in results
    ]
    describe(ax, f"Query {query[1]}. " + " ".join(told))
    return fig


def _picture(encoded):
    return (
        np.asarray(Image.open(io.BytesIO(encoded), formats=("JPEG", "PNG")).convert("RGB"))
        if encoded
        else None
    )


def _place(ax, encoded, x, y, side):
    """Show a picture whole within a square; returns its left, top, width and height."""
    pixels = _picture(encoded)
    if pixels is None:
        ax.text(x + side / 2, y + side / 2, "cannot be read", ha="center", va="center", fontsize=7)
        return x, y, side, side
    h, w = np.array(pixels.shape[:2]) * side / max(pixels.shape[:2])
    left, top = x + (side - w) / 2, y + (side - h) / 2
    ax.imshow(pixels, extent=(left, left + w, top + h, top), interpolation="antialiased", zorder=1)
    return left, top, w, h


def _draw_query(ax, encoded, name, region):
    from matplotlib.patches import Rectangle

    left, top, w, h = _place(ax, encoded, 0.1, 0.4, 1.6)
    ax.text(0.1, 0.2, "Query", weight="bold", fontsize=9, va="center")
    ax.text(0.9, 2.06, safe_text(name, 26), fontsize=8, va="top", ha="center", **PLAIN)
    if region is not None:
        corner = left + region[0] * w, top + region[1] * h
        for colour, line in (("black", 3), ("white", 1.5)):
            ax.add_patch(
                Rectangle(
                    corner, region[2] * w, region[3] * h, fill=False, ec=colour, lw=line, zorder=3
                )
            )


def draw_tile(ax, tile, x, y):
    """Draw a `Tile` at (x, y), 1 wide: the picture with the frame and mark of its verdict; below, rank, note and caption."""
    from matplotlib.patches import Rectangle

    _place(ax, tile.image, x + 0.07, y + 0.07, 0.86)
    verdict = tile.mark or "unknown"
    colour, line, mark, _ = VERDICTS[verdict]
    style = {"fill": False, "ec": colour, "ls": line, "lw": 2 if mark else 0.6, "zorder": 3}
    ax.add_patch(Rectangle((x + 0.04, y + 0.04), 0.92, 0.92, **style))
    verdict_mark(ax, verdict, (x + 0.86, y + 0.14), size=7)
    under = {"fontsize": 7, "va": "top", **PLAIN}
    note = safe_text(tile.note, 17) if tile.rank is None else f"{tile.rank}.  {tile.note}"
    ax.text(x + 0.06, y + 1.0, note, **under)
    ax.text(
        x + 0.06, y + (1.15 if note else 1.0), safe_text(tile.caption, 17), color="0.3", **under
    )
