"""A picture with what is said about it, `Tile`: alone, in ranked lists, contact sheets and on whole pages."""

import html
import io
import logging
import textwrap
from base64 import b64encode
from dataclasses import dataclass, replace
from typing import Any
from unicodedata import east_asian_width

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from cbirkit.images import ImageCollection, ImageProblem
from cbirkit.images.tables import text_of
from cbirkit.ranking.codes import positions_of

from .style import BLACK, BLUE, PLAIN, VERDICTS, describe, new_axes, safe_text

log = logging.getLogger(__name__)
_GAP = 0.3  # between the query and its results, in tile widths
_ROW = 1.36  # height of a row: the tile and two lines under it, in tile widths
_PIXELS = 160  # longer side of a thumbnail
_WIDTH, _INCH = 8.2, 1.1  # of a `View`: in tile widths, and one of these in inches
_LINE = 0.23  # height of a line of text on a `View`
_MOST = 24  # tiles of a section, and rows of a table, that a `View` draws


@dataclass(frozen=True, eq=False)
class Tile:
    """One picture; what is drawn of it by matplotlib (`draw`), on a page (`html`) and in a grid of buttons (`state`).

    Attributes
    ----------
    id : str
        What is handed over when it is clicked.
    image : bytes, uint8 array (h, w, 3) or None
        An encoded picture (JPEG or PNG) or pixels; empty if it cannot be read.
    alt : str
        What a screen reader says.
    caption, note, title : str
        Text below, to the left and right; what is shown while the mouse rests on it. Any text is safe.
    rank : int or None
        Number in the corner.
    mark : "", "right", "wrong", "junk" or "query"
        Says the frame.

    Examples
    --------
    >>> Tile("a.jpg", b"", caption="<b>", note="0.25", rank=1).html()
    '<li><figure><div class="picture">cannot be read</div><figcaption>1: 0.25<br>&lt;b&gt;</figcaption></figure></li>'
    """

    id: str
    image: Any
    alt: str = ""
    caption: str = ""
    note: str = ""
    title: str = ""
    rank: int | None = None
    mark: str = ""

    @property
    def encoded(self):
        """Bytes of the picture as JPEG or PNG; empty if it cannot be read."""
        return encode(self.image) if isinstance(self.image, np.ndarray) else self.image or b""

    @property
    def picture(self):
        """The picture as a PIL image; None if it cannot be read."""
        if isinstance(self.image, np.ndarray):
            return Image.fromarray(self.image)
        data = self.image and Image.open(io.BytesIO(self.image), formats=("JPEG", "PNG"))
        return data.convert("RGB") if data else None

    @property
    def lines(self):
        """list of str: what stands below."""
        first = self.note if self.rank is None else f"{self.rank}: {self.note}"
        return [text for text in (first, self.caption) if text]

    def state(self):
        """What is sent to the page of a grid, as dict."""
        known = {"alt": self.alt or f"image {self.id}", "title": self.title or self.id}
        return dict(vars(self), image=self.encoded, **known)

    def html(self):
        """A list item with the picture inside it, all text escaped."""
        shown = "cannot be read"
        if data := self.encoded:
            source = f"data:image;base64,{b64encode(data).decode()}"
            shown = f'<img alt="{escaped(self.alt or self.id)}" src="{source}">'
        words = "<br>".join(map(escaped, self.lines))
        picture = f'<div class="picture">{shown}</div>'
        return f"<li><figure>{picture}<figcaption>{words}</figcaption></figure></li>"

    def draw(self, ax, x, y, size=1.0):
        """Draw it with its left upper corner at (x, y), `size` wide; y grows downward."""
        unit, picture = unit_points(ax) * size, self.picture
        middle, centre = x + size / 2, y + size / 2
        look = {"ha": "center", "fontsize": font_size(unit), **PLAIN}
        if picture is None:
            ax.text(middle, centre, "cannot be\nread", va="center", **look)
        else:
            w, h = np.array(picture.size) * 0.425 * size / max(picture.size)
            extent = (middle - w, middle + w, centre + h, centre - h)
            ax.imshow(picture, extent=extent, interpolation="antialiased", zorder=1)
        look |= {"va": "top", "weight": "bold" if self.mark == "query" else "normal"}
        for line, text in enumerate(self.lines):
            fits = unit * 0.97 / look["fontsize"] / (0.7 if self.mark == "query" else 0.62)
            fits /= 1 + any(east_asian_width(c) in "WF" for c in text)
            below = y + 1.01 * size + line * 1.25 * size * look["fontsize"] / unit
            ax.text(middle, below, safe_text(text, fits), **look)
        self._frame(ax, x, y, size, unit)

    def _frame(self, ax, x, y, size, unit):
        """Draw frame and mark; the frame has the mark and the id as its gid."""
        colour, line, mark, _ = VERDICTS.get(self.mark, VERDICTS["unknown"])
        lines = [(colour, line, unit / 26 if mark else unit / 90)]
        if self.mark == "query":  # a double frame: a thick black one with a thin white line inside
            lines = [(BLACK, "-", unit / 20), ("white", "-", unit / 80)]
        look = {"fill": False, "zorder": 3, "gid": f"{self.mark or 'unknown'}-{self.id}"}
        corner, side = (x + 0.04 * size, y + 0.04 * size), 0.92 * size
        for ec, ls, lw in lines:
            ax.add_patch(Rectangle(corner, side, side, ec=ec, ls=ls, lw=lw, **look))
        if mark:  # on a white disc
            place, points = ([x + 0.87 * size], [y + 0.13 * size]), unit * 0.13
            ax.plot(*place, "o", ms=points * 1.5, mfc="white", mec=colour, mew=1.0, zorder=5)
            look = {"color": colour, "mew": points * 0.28 if mark == "_" else 0.0}
            ax.plot(*place, marker=mark, ms=points, zorder=6, **look)


@dataclass(frozen=True)
class Table:
    """Rows of text with a bar each.

    Attributes
    ----------
    columns : tuple of str
    rows : list of tuple of str
        At most three cells, the first one names the row.
    counts : list of int
        Lengths of the bars, as the numbers that they stand for; empty: no bars.
    filters : list of dict or None
        What picking a row filters by.
    most : int
        What the longest bar would stand for, if it is on another page.
    """

    columns: tuple
    rows: list
    counts: tuple = ()
    filters: tuple = ()
    most: int = 0

    @property
    def shares(self):
        """Lengths of the bars in [0, 1], 0 where there are none."""
        most = max([self.most, *self.counts, 1])
        return [n / most for n in self.counts or [0] * len(self.rows)]

    def html(self):
        """The table for a page, all text escaped."""
        heads = "".join(f"<th>{escaped(name)}</th>" for name in self.columns)
        rows = f"<tr>{heads}</tr>" if heads else ""
        for (name, *cells), share in zip(self.rows, self.shares, strict=True):
            rows += f"<tr><th scope=row>{escaped(name)}</th>"
            rows += "".join(f"<td>{escaped(cell)}</td>" for cell in cells)
            rows += f'<td><span class="bar" style="width:{20 * share:.1f}rem"></span></td></tr>'
        return f"<table>{rows}</table>"

    def draw(self, ax, left, top):
        """Draw the first rows, the first column left, the others before the bars; gives where it ends."""
        places = [left, left + 2.8, left + 3.5] if self.counts else [left, left + 4]
        width = 34 if self.counts else 52
        for i, row in enumerate([self.columns, *self.rows[:_MOST]]):
            y = top + (i + 0.5) * _LINE
            for cell, place in zip(row, places, strict=False):
                _write(ax, place, y, cell, width, color="black" if i else "0.3")
            share = self.shares[i - 1] if i else 0
            ax.add_patch(Rectangle((left + 4.3, y - 0.08), 3.6 * share, 0.16, fc=BLUE, lw=0))
        return top + (i + 1.5) * _LINE


@dataclass(frozen=True)
class Section:
    """A part of a `View`: a heading, a summary, tiles (`size` tile widths large) and a table."""

    heading: str = ""
    summary: str = ""
    tiles: tuple = ()
    table: Table | None = None
    size: float = 1.0

    def html(self):
        """The section for a page, all text escaped."""
        words = f"<h2>{escaped(self.heading)}</h2>" if self.heading else ""
        words += f"<p>{escaped(self.summary)}</p>" if self.summary else ""
        tiles = "".join(tile.html() for tile in self.tiles)
        words += f'<ol class="small">{tiles}</ol>' if tiles else ""
        return words + (self.table.html() if self.table else "") + "\n"

    def draw(self, ax, left, top, columns):
        """Draw what there is room for; gives where it ends."""
        rest = max(len(self.tiles), len(self.table.rows) if self.table else 0) - _MOST
        more, grey = f"{rest:,} more are not drawn" if rest > 0 else "", {"color": "0.3"}
        for text, look in ((self.heading, _HEAD), (self.summary, grey), (more, grey)):
            if text:
                _write(ax, left, top + _LINE / 2, text, **look)
                top += _LINE
        columns, tiles = int(columns / self.size), self.tiles[:_MOST]
        for i, tile in enumerate(tiles):
            row, column = divmod(i, columns)
            tile.draw(ax, left + column * self.size, top + _ROW * self.size * row, self.size)
        top += _ROW * self.size * -(-len(tiles) // columns)
        return (self.table.draw(ax, left, top) if self.table else top) + 0.15


@dataclass(frozen=True)
class View:
    """What is to be seen at once, for the page of an explorer, as a figure (`draw`) and as HTML (`html`).

    Attributes
    ----------
    title, told : str
        A heading, and a sentence about all of it.
    sections : sequence of Section
    query : Tile or None
        Is drawn larger, to the left of the sections.
    """

    title: str
    told: str = ""
    sections: tuple = ()
    query: Tile | None = None

    def draw(self):
        """The view as a `matplotlib.figure.Figure` with a description."""
        fig = Figure(figsize=(_WIDTH * _INCH, _INCH))  # as high as it is wanted in the end
        ax = fig.add_axes((0, 0, 1, 1))
        _frame(ax, _WIDTH, 1, margin=0)
        top = 0.15
        for line in [self.title, *textwrap.wrap(safe_text(self.told, 500), 145)]:
            _write(ax, 0.1, top, line, **({} if top > 0.15 else _HEAD))
            top += _LINE
        left, columns, least = 0.1, 8, top
        if self.query:
            left, columns, least = 2.1, 6, top + 2.3
            self.query.draw(ax, 0.1, top + 0.1, 1.7)
        for section in self.sections:
            top = section.draw(ax, left, top, columns)
        tall = max(top, least) + 0.1
        ax.set_ylim(tall, 0)
        fig.set_size_inches(_WIDTH * _INCH, tall * _INCH)
        return describe(ax, self.alt).figure

    @property
    def alt(self):
        """All of it in words."""
        texts = [self.title, self.told]
        for one in self.sections:
            shown = [tile.alt for tile in one.tiles[:_MOST]]
            shown += map(", ".join, one.table.rows[:_MOST] if one.table else [])
            texts.append(": ".join(filter(None, (one.heading, one.summary, "; ".join(shown)))))
        return " ".join(f"{text.strip(' .')}." for text in texts if text)

    def html(self):
        """Title, sentence and sections for a page, all text escaped."""
        query = f'<ol class="query">{self.query.html()}</ol>' if self.query else ""
        head = f"<h1>{escaped(self.title)}</h1>{query}<p>{escaped(self.told)}</p>\n"
        return head + "".join(section.html() for section in self.sections)


def escaped(value):
    """Text of anything on one line, without control characters, escaped for HTML."""
    return html.escape(safe_text(value, 2000), quote=True)


def picture_or_none(read, *args):
    """What reading a picture gives; None where it cannot be read (the log says why)."""
    try:
        return read(*args)
    except (ImageProblem, OSError) as problem:
        log.info("no picture: %s", problem)


def encode(pixels):
    """Bytes of an RGB uint8 image (h, w, 3): JPEG, or PNG where it is so small that JPEG would blur it."""
    buffer = io.BytesIO()
    kind = "PNG" if max(pixels.shape[:2]) <= 48 else "JPEG"
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format=kind, quality=85)
    return buffer.getvalue()


# ---------------------------------------------------------------------- drawing of a `View`

_HEAD = {"weight": "bold", "fontsize": 10}


def _write(ax, x, y, text, width=150, **look):
    ax.text(x, y, safe_text(text, width), va="center", **{"fontsize": 8} | look | PLAIN)


def _frame(ax, width, height, margin=0.03):
    ax.set(xlim=(-margin, width + margin), ylim=(height, -margin), aspect="equal")
    ax.autoscale(False)
    ax.axis("off")


def unit_points(ax):
    """Width of one tile in points, before any layout engine runs."""
    figure = ax.get_figure(root=True)
    inches = figure.get_size_inches()
    if len(figure.axes) > 1:  # else the layout will give it nearly everything
        inches = inches * ax.get_position().size
    return float(72 * min(inches / np.abs(np.diff([ax.get_xlim(), ax.get_ylim()]).ravel())))


def font_size(unit):
    """Points of the text under a tile that is `unit` points wide."""
    return float(np.clip(0.093 * unit, 3.5, 11))


# ---------------------------------------------------------------------- ranked lists and contact sheets


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
    rows, k = _chosen_rows(ranking, rows), _at_most(k, ranking.k, "k")
    images = _collection(images, ranking.database_ids)
    queries = images if queries is None else _collection(queries, ranking.query_ids)
    ax = new_axes(ax, (1.15 * (k + 1 + _GAP), max(1.5 * len(rows), 1.5) + 0.3))
    _frame(ax, 1 + _GAP + k, _ROW * len(rows) + 0.28)
    told, kinds = [], set()
    for y, row in zip(np.arange(len(rows)) * _ROW, rows, strict=True):
        name, found = ranking.query_ids[row], ranking.indices[row, :k]
        found = found[found >= 0]
        marks, words, told_of = [""] * len(found), "query", f"{len(found)} results"
        if relevance is not None:
            truth = _truth_of(relevance, ranking, name)
            marks = verdicts(truth, found)
            words = f"{marks.count('right')} of {truth.n_positives[0]} found"
            right = ", ".join(str(i) for i, mark in enumerate(marks, 1) if mark == "right")
            told_of = f"relevant at ranks {right or 'none'} of {len(marks)}"
        if positions_of([name], queries.ids)[0] < 0:
            raise ValueError(f"no image of query {safe_text(name)!r}; pass queries=...")
        query = _tile(queries, name)
        replace(query, note=query.caption, caption=words, mark="query").draw(ax, 0, y)
        for j, (item, mark) in enumerate(zip(found, marks, strict=True)):
            far = ranking.distances[row, j]
            look = {"note": f"{far:.3f}" if abs(far) < 1000 else f"{far:.4g}", "mark": mark}
            tile = _tile(images, ranking.database_ids[item], rank=j + 1, **look)
            tile.draw(ax, 1 + _GAP + j, y)
        kinds.update(marks)
        told.append(f"Query {safe_text(name)}: {told_of}.")
    _legend(ax, [name for name in VERDICTS if name in kinds])
    return describe(ax, "Ranked lists, nearest first. " + " ".join(told))


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
    images = _collection(images)
    if labels is not None and labels is not False:
        images = images.with_columns(label=labels)
    if len(images) == 0:
        raise ValueError("there are 0 images to draw; choose a folder or a subset that has some")
    n = _at_most(n, len(images), "n")
    columns = _at_most(columns, n, "columns")
    step, n_rows = 1.06 if labels is False else 1.22, -(-n // columns)
    ax = new_axes(ax, (1.15 * columns, 1.15 * step * n_rows + 0.1))
    _frame(ax, columns, step * n_rows)
    tiles = [_tile(images, key) for key in images.ids[:n]]
    if labels is False:
        tiles = [replace(tile, caption="") for tile in tiles]
    for i, tile in enumerate(tiles):
        tile.draw(ax, i % columns, (i // columns) * step)
    names = ", ".join(dict.fromkeys(safe_text(tile.caption) for tile in tiles))
    told = f"Contact sheet of {n} of {len(images)} images: {names}"
    return describe(ax, f"{told.rstrip(': ')}.")


def verdicts(truth, items):
    """What each of some database items is for the one query of a `Relevance`: "right", "wrong" or "junk"; list of str."""
    items = np.asarray(items, dtype=np.int64)[None]  # (1, k)
    names = np.where(truth.gains(items) > 0, "right", "wrong")
    return np.where(truth.junk(items), "junk", names)[0].tolist()


def _truth_of(relevance, ranking, name):
    """`relevance` of one query of `ranking`, found by its id; the databases must be the same."""
    place = positions_of([name], relevance.query_ids)
    if place[0] < 0 or not np.array_equal(relevance.database_ids, ranking.database_ids):
        what = "this database" if place[0] >= 0 else f"query {safe_text(name)!r}"
        raise ValueError(f"the relevance does not know {what}; make it of what was searched")
    return relevance.select(place)


def _at_most(value, most, name):
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return min(int(value), most)


def _chosen_rows(ranking, rows):
    """Positions in `ranking` for a number of first queries, or for positions and query ids."""
    n = len(ranking)
    if isinstance(rows, int | np.integer):
        return range(_at_most(rows, n, "rows"))
    where = {one: i for i, one in enumerate(ranking.query_ids)} | {i: i % n for i in range(-n, n)}
    if unknown := [row for row in rows if row not in where]:
        raise ValueError(f"no query {unknown[0]!r} among {n}; give positions or query ids")
    return [where[row] for row in rows]


def _collection(images, ids=None):
    """An `ImageCollection`, or one made of arrays."""
    return images if hasattr(images, "ids") else ImageCollection.from_arrays(images, ids=ids)


def _tile(images, key, **look):
    """The tile of an image by its id, with its label, or else the id, as caption."""
    at = int(images.positions([str(key)])[0])
    label = text_of(images.table["label"].iloc[at]) if "label" in images.table else ""
    picture = picture_or_none(images.thumbnail, at, _PIXELS)
    return Tile(str(key), picture, caption=label or str(key), **look)


def _legend(ax, kinds):
    """What the parts of a ranked list mean; below it."""
    size = font_size(unit_points(ax))
    words = "double frame: query\nresults: rank, distance, label"
    place = {"xytext": (2, 2), "textcoords": "offset points"}
    ax.annotate(words, (0, 0), xycoords="axes fraction", fontsize=size, color="0.3", **place)
    for colour, line, mark, words in (VERDICTS[kind] for kind in kinds):
        look = {"color": colour, "ls": line, "marker": mark, "label": words}
        ax.plot([], [], ms=size, lw=1.5, **look)
    if kinds:
        place = {"loc": "lower right", "ncols": 3, "borderaxespad": 0, "borderpad": 0}
        ax.legend(frameon=False, fontsize=size, handlelength=4, **place)
