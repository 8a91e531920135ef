"""A view of `CollectionExplorer` as a matplotlib figure, for places that run no JavaScript."""

import textwrap

from ..plots.style import BLUE, PLAIN, describe, safe_text
from .collection_views import titled
from .picture import draw_tile

_COLUMNS = 8  # tiles in a row
_MOST_TILES, _MOST_ROWS = 24, 24  # drawn of a page
_TALL = 1.35  # of a row of tiles, its captions included; a tile is 1 wide
_LINE = 0.23  # of a line of text
_UNIT = 1.1  # inches


def draw_content(content):
    """Draw one page of a view: its sentence, and pictures, groups side by side, or bars.

    Parameters
    ----------
    content : Content

    Returns
    -------
    matplotlib.figure.Figure
        Closed for pyplot, so that a notebook shows it once: as the value of its cell.
    """
    import matplotlib.pyplot as plt

    parts, tables = _groups_drawn(content), content.tables
    lines = textwrap.wrap(safe_text(content.told, 400), 100) + _part(content, parts)
    top = 0.15 + _LINE * (1 + len(lines))
    tall = (
        top
        + sum(map(_height, parts))
        + sum(_LINE * (3 + len(_rows(table))) for table in tables)
        + 0.1
    )
    fig = plt.figure(figsize=((_COLUMNS + 0.2) * _UNIT, tall * _UNIT))
    plt.close(fig)
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, _COLUMNS + 0.2), ylim=(tall, 0), aspect="equal")
    ax.axis("off")
    _text(ax, 0.1, 0.15, titled(content.view), weight="bold", fontsize=10)
    for i, line in enumerate(lines, 1):
        _text(ax, 0.1, 0.15 + i * _LINE, line)
    for part in parts:
        _draw_group(ax, *part, top)
        top += _height(part)
    for table in tables:
        _draw_table(ax, table, top)
        top += _LINE * (3 + len(_rows(table)))
    ax.autoscale(False)
    describe(ax, _told(content, parts, tables))
    return fig


def _groups_drawn(content):
    """Groups with the tiles for which there is room, and how many each has."""
    left, parts = _MOST_TILES, []
    for heading, summary, tiles in content.groups:
        if left > 0 and tiles:
            drawn = tiles[: left if not heading else min(left, _COLUMNS)]
            parts.append((heading, summary, drawn, len(tiles)))
            left -= len(drawn)
    return parts


def _part(content, parts):
    """Which part of a view is drawn, as a list of at most one line."""
    shown, there = (
        sum(len(drawn) for _, _, drawn, _ in parts),
        sum(len(tiles) for _, _, tiles in content.groups),
    )
    words = [content.where] if content.n_pages > 1 or content.waits else []
    words += [f"{shown} of the {there} pictures of this page are drawn"] if shown < there else []
    return ["; ".join(words)] if words else []


def _height(part):
    heading, summary, drawn, _ = part
    texts, around = _LINE * (bool(heading) + bool(summary)), 0.25 if heading else 0.05
    return texts + _TALL * -(-len(drawn) // _COLUMNS) + around


def _rows(table):
    return table.rows[:_MOST_ROWS]


def _told(content, parts, tables):
    """The picture in words."""
    told = [f"{titled(content.view)}. {content.told}"]
    told += [
        f"{heading} {summary}: {'; '.join(tile.alt for tile in drawn)}.".strip(" :")
        for heading, summary, drawn, _ in parts
    ]
    told += [
        f"{table.caption}: {'; '.join(', '.join(row) for row in _rows(table))}." for table in tables
    ]
    return " ".join(told + [f"{line}." for line in _part(content, parts)])


def _text(ax, x, y, text, *, width=130, **style):
    ax.text(x, y, safe_text(text, width), va="center", **{"fontsize": 8} | style | PLAIN)


def _draw_group(ax, heading, summary, tiles, n_tiles, top):
    from matplotlib.patches import Rectangle

    if heading:
        height = _height((heading, summary, tiles, n_tiles)) - 0.2
        ax.add_patch(Rectangle((0.05, top), _COLUMNS + 0.1, height, fill=False, ec="0.5", lw=0.8))
        _text(ax, 0.15, top + 0.16, heading, weight="bold")
        top += _LINE
    if summary:
        _text(ax, 0.15, top + 0.14, summary, color="0.3")
        top += _LINE
    for i, tile in enumerate(tiles):
        draw_tile(ax, tile, 0.1 + i % _COLUMNS, top + _TALL * (i // _COLUMNS))


def _draw_table(ax, table, top):
    """Rows of text, the first column left, the others before the bars."""
    from matplotlib.patches import Rectangle

    caption, rows = table.caption, _rows(table)
    if len(table.rows) > len(rows):
        caption += f"; {len(table.rows) - len(rows):,} more rows are not drawn"
    _text(ax, 0.1, top + _LINE / 2, caption, weight="bold", fontsize=9)
    places = (0.1, 2.9, 3.6)
    wide = not table.counts
    for column, place in zip(table.columns, places, strict=False):
        _text(ax, 4.1 if wide and place > 0.1 else place, top + 1.5 * _LINE, column, color="0.3")
    for i, row in enumerate(rows):
        y = top + (i + 2.5) * _LINE
        for cell, place in zip(row, places, strict=False):
            _text(ax, 4.1 if wide and place > 0.1 else place, y, cell, width=52 if wide else 34)
        if table.counts:
            ax.add_patch(
                Rectangle((4.4, y - 0.08), 3.6 * table.shares[i], 0.16, fc=BLUE, ec="none")
            )
