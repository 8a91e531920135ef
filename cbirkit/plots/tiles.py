"""A picture with what is said about it, `Tile`: alone, in ranked lists, contact sheets and on whole pages."""

import html
import io
import textwrap
from base64 import b64encode
from dataclasses import dataclass
from typing import Any
from unicodedata import east_asian_width

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from PIL import Image

from cbirkit.images import ImageProblem
from cbirkit.images.tables import text_of
from cbirkit.ranking.codes import aligned, positions_of

from .style import BLACK, BLUE, PLAIN, VERDICTS, describe, new_axes, safe_text, verdict_mark

MARKS = ("", "right", "wrong", "junk", "query")
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

    Raises
    ------
    ValueError
        Another mark.

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

    def __post_init__(self):
        if self.mark not in MARKS:
            raise ValueError(f"the mark of tile {self.id!r} must be one of {MARKS}")

    @property
    def encoded(self):
        """Bytes of the picture as JPEG or PNG; empty if it cannot be read."""
        if self.image is None or isinstance(self.image, bytes):
            return self.image or b""
        return encode(self.image)

    @property
    def pixels(self):
        """The picture as an array (h, w, 3), uint8; None if it cannot be read."""
        if not isinstance(self.image, bytes):
            return self.image
        if not self.image:
            return None
        picture = Image.open(io.BytesIO(self.image), formats=("JPEG", "PNG"))
        return np.asarray(picture.convert("RGB"))

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

    def draw(self, ax, x, y, *, size=1.0, gid=None):
        """Draw it with its left upper corner at (x, y), `size` wide; y grows downward."""
        unit, pixels = unit_points(ax) * size, self.pixels
        points, middle = font_size(unit), {"ha": "center", **PLAIN}
        if pixels is None:
            words, place = "cannot be\nread", (x + size / 2, y + size / 2)
            ax.text(*place, words, va="center", fontsize=points, **middle)
        else:
            h, w = np.array(pixels.shape[:2]) * 0.85 * size / max(pixels.shape[:2])
            left, top = x + (size - w) / 2, y + (size - h) / 2
            extent = (left, left + w, top + h, top)
            ax.imshow(pixels, extent=extent, interpolation="antialiased", zorder=1)
        bold = self.mark == "query"
        look = {"fontsize": points, "weight": "bold" if bold else "normal", "va": "top"}
        for line, text in enumerate(self.lines):
            fits = unit * 0.97 / points / (0.7 if bold else 0.62)
            fits /= 1 + any(east_asian_width(c) in "WF" for c in text)
            below = y + 1.01 * size + line * 1.25 * size * points / unit
            ax.text(x + size / 2, below, safe_text(text, fits), **look, **middle)
        self._frame(ax, x, y, size, unit, gid)

    def _frame(self, ax, x, y, size, unit, gid):
        colour, line, mark, _ = VERDICTS.get(self.mark, VERDICTS["unknown"])
        lines = [(colour, line, unit / 26 if mark else unit / 90)]
        if self.mark == "query":  # a double frame: a thick black one with a thin white line inside
            lines = [(BLACK, "-", unit / 20), ("white", "-", unit / 80)]
        corner, side = (x + 0.04 * size, y + 0.04 * size), 0.92 * size
        for i, (colour, line, width) in enumerate(lines):
            look = {"ec": colour, "lw": width, "ls": line, "gid": None if i or mark else gid}
            box = {"fill": False, "joinstyle": "miter", "zorder": 3}
            ax.add_patch(Rectangle(corner, side, side, **look, **box))
        if mark:
            place = (x + 0.87 * size, y + 0.13 * size)
            verdict_mark(ax, self.mark, place, size=unit * 0.13, gid=gid)


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


@dataclass(frozen=True)
class Section:
    """A part of a `View`: a heading, a summary, tiles (`size` tile widths large) and a table."""

    heading: str = ""
    summary: str = ""
    tiles: tuple = ()
    table: Table | None = None
    size: float = 1.0

    @property
    def drawn(self):
        """The first tiles, for which there is room on a figure."""
        return self.tiles[:_MOST]

    @property
    def more(self):
        """How much there is no room for, in words."""
        rest = max(len(self.tiles), len(self.table.rows) if self.table else 0) - _MOST
        return f"{rest:,} more are not drawn" if rest > 0 else ""

    def html(self):
        """The section for a page, all text escaped."""
        words = f"<h2>{escaped(self.heading)}</h2>" if self.heading else ""
        words += f"<p>{escaped(self.summary)}</p>" if self.summary else ""
        tiles = "".join(tile.html() for tile in self.tiles)
        words += f'<ol class="small">{tiles}</ol>' if tiles else ""
        return words + (self.table.html() if self.table else "") + "\n"


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
        told = textwrap.wrap(safe_text(self.told, 500), 145)
        left, columns = (2.1, 6) if self.query else (0.1, 8)
        top = 0.15 + _LINE * (1 + len(told))
        heights = [_height(section, columns) for section in self.sections]
        tall = top + max(2.3 if self.query else 0, sum(heights)) + 0.1
        fig = Figure(figsize=(_WIDTH * _INCH, tall * _INCH))
        ax = fig.add_axes((0, 0, 1, 1))
        _frame(ax, _WIDTH, tall, margin=0)
        for i, line in enumerate([self.title, *told]):
            _write(ax, 0.1, 0.15 + i * _LINE, line, **({} if i else _HEAD))
        if self.query:
            self.query.draw(ax, 0.1, top + 0.1, size=1.7)
        for section, height in zip(self.sections, heights, strict=True):
            _draw_section(ax, section, left, top, columns)
            top += height
        ax.autoscale(False)
        return describe(ax, self.alt).figure

    @property
    def alt(self):
        """All of it in words."""
        texts = [self.title, self.told]
        for one in self.sections:
            shown = [tile.alt for tile in one.drawn]
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


def encode(pixels):
    """Bytes of an RGB uint8 image (h, w, 3): JPEG, or PNG where it is so small that JPEG would blur it."""
    buffer = io.BytesIO()
    kind = "PNG" if max(pixels.shape[:2]) <= 48 else "JPEG"
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format=kind, quality=85)
    return buffer.getvalue()


# ---------------------------------------------------------------------- drawing of a `View`

_HEAD = {"weight": "bold", "fontsize": 10}


def _height(section, columns):
    rows = -(-len(section.drawn) * section.size // columns)
    lines = sum(map(bool, (section.heading, section.summary, section.more)))
    if section.table:
        lines += 1.5 + min(len(section.table.rows), _MOST)
    return _LINE * lines + _ROW * section.size * rows + 0.15


def _write(ax, x, y, text, width=150, **look):
    ax.text(x, y, safe_text(text, width), va="center", **{"fontsize": 8} | look | PLAIN)


def _draw_section(ax, section, left, top, columns):
    grey = {"color": "0.3"}
    texts = (section.heading, _HEAD), (section.summary, grey), (section.more, grey)
    for text, look in texts:
        if text:
            _write(ax, left, top + _LINE / 2, text, **look)
            top += _LINE
    for i, tile in enumerate(section.drawn):
        row, column = divmod(i, int(columns / section.size))
        place = left + column * section.size, top + _ROW * section.size * row
        tile.draw(ax, *place, size=section.size)
    if section.table:
        _draw_table(ax, section.table, left, top)


def _draw_table(ax, table, left, top):
    """Rows of text, the first column left, the others before the bars."""
    shares = table.shares
    places = [left, left + 2.8, left + 3.5] if table.counts else [left, left + 4]
    width = 34 if table.counts else 52
    for i, row in enumerate([table.columns, *table.rows[:_MOST]]):
        y = top + (i + 0.5) * _LINE
        for cell, place in zip(row, places, strict=False):
            _write(ax, place, y, cell, width, color="black" if i else "0.3")
        if i:
            bar = Rectangle((left + 4.3, y - 0.08), 3.6 * shares[i - 1], 0.16)
            ax.add_patch(bar).set(facecolor=BLUE, edgecolor="none")


def _frame(ax, width, height, margin=0.03):
    ax.set(xlim=(-margin, width + margin), ylim=(height, -margin), aspect="equal")
    ax.autoscale(False)
    ax.axis("off")


def unit_points(ax):
    """Width of one tile in points, before any layout engine runs."""
    figure = ax.get_figure(root=True)
    inches = figure.get_size_inches()
    if figure.get_layout_engine() is None or len(figure.axes) > 1:
        box = ax.get_position()
        inches = inches * (box.width, box.height)
    # else the layout will give it nearly everything
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
    rows, k = _chosen_rows(ranking, rows), min(_positive(k, "k"), ranking.k)
    truth = None if relevance is None else _relevance_rows(relevance, ranking, rows)
    ax = new_axes(ax, (1.15 * (k + 1 + _GAP), max(1.5 * len(rows), 1.5) + 0.3))
    _frame(ax, 1 + _GAP + k, _ROW * len(rows) + 0.28)
    told, kinds = [], set()
    for place, row in enumerate(rows):
        found = [int(i) for i in ranking.indices[row, :k] if i >= 0]
        marks, words = [""] * len(found), ""
        if truth is not None:
            mine = truth.select(np.array([place]))
            marks = verdicts(mine, found)
            words = f"{marks.count('right')} of {int(mine.n_positives[0])} found"
        query = _query_tile(ranking, images, queries, row, words)
        query.draw(ax, 0, place * _ROW, gid=f"query-{row}")
        for j, (item, mark) in enumerate(zip(found, marks, strict=True)):
            key = ranking.database_ids[item] if hasattr(images, "ids") else item
            far = ranking.distances[row, j]
            note = f"{far:.3f}" if abs(far) < 1000 else f"{far:.4g}"
            caption = _caption(images, key)
            tile = Tile(
                str(key), _picture(images, key), caption=caption, note=note, rank=j + 1, mark=mark
            )
            gid = f"{mark or 'unknown'}-{place}-{j + 1}"
            tile.draw(ax, 1 + _GAP + j, place * _ROW, gid=gid)
        kinds.update(marks)
        told.append(_told(safe_text(ranking.query_ids[row]), marks, truth is not None))
    _legend(ax, [name for name in VERDICTS if name in kinds], top=_ROW * len(rows))
    number = f"{len(rows)} {'query' if len(rows) == 1 else 'queries'}"
    return describe(ax, f"Ranked list of {number}, nearest first. " + " ".join(told))


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
    total, ids = len(images), getattr(images, "ids", None)
    if total == 0:
        raise ValueError("there are 0 images to draw; choose a folder or a subset that has some")
    if labels is not None and labels is not False:
        labels = list(aligned(labels, ids, "labels"))
        if len(labels) != total:
            raise ValueError(f"got {len(labels)} labels for {total} images; give one for each")
    n = min(_positive(n, "n"), total)
    columns = min(_positive(columns, "columns"), n)
    step, n_rows = 1.06 if labels is False else 1.22, -(-n // columns)
    ax = new_axes(ax, (1.15 * columns, 1.15 * step * n_rows + 0.1))
    _frame(ax, columns, step * n_rows)
    names = []
    for i in range(n):
        key = i if ids is None else ids[i]
        name = _caption(images, key) if labels is None else text_of(labels[i] if labels else None)
        names += [safe_text(name)] if labels is not False else []
        tile = Tile(str(key), _picture(images, key), caption=name)
        tile.draw(ax, i % columns, (i // columns) * step, gid=f"image-{i}")
    shown = f": {', '.join(dict.fromkeys(names))}" if names else ""
    return describe(ax, f"Contact sheet of {n} of {total} images{shown}.")


def verdicts(truth, items):
    """What each of some database items is for the one query of a `Relevance`: "right", "wrong" or "junk"; list of str."""
    items = np.asarray(items, dtype=np.int64)[None]  # (1, k)
    names = np.where(truth.gains(items) > 0, "right", "wrong")
    return np.where(truth.junk(items), "junk", names)[0].tolist()


def _relevance_rows(relevance, ranking, rows):
    """`relevance` of the chosen rows of `ranking`, found by query id; the databases must be the same."""
    if not np.array_equal(relevance.database_ids, ranking.database_ids):
        raise ValueError(
            f"the relevance knows {len(relevance.database_ids)} database images, "
            f"the ranking {len(ranking.database_ids)}, and the lists differ; make both from one database"
        )
    asked = [ranking.query_ids[row] for row in rows]
    places = positions_of(asked, relevance.query_ids)
    if (places < 0).any():
        name = safe_text(asked[int(places.argmin())])
        raise ValueError(f"the relevance does not know query {name!r}; make it for these queries")
    return relevance.select(places)


def _positive(value, name):
    if int(value) < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return int(value)


def _chosen_rows(ranking, rows):
    """Positions in `ranking` for a number of first queries, or for positions and query ids."""
    n = len(ranking)
    if isinstance(rows, int | np.integer):
        return list(range(min(_positive(rows, "rows"), n)))
    where = {str(one): i for i, one in enumerate(ranking.query_ids)} | {i: i for i in range(-n, n)}
    rows = [rows] if isinstance(rows, str) else list(rows)
    if unknown := [row for row in rows if row not in where]:
        raise ValueError(
            f"no query {unknown[0]!r} in the ranking of {n} queries; give positions or query ids"
        )
    return [where[row] % n for row in rows]


def _query_tile(ranking, images, queries, row, found):
    source, key = images, ranking.query_ids[row]
    if queries is not None:
        source = queries
        if not hasattr(queries, "ids"):
            key = row
            if len(queries) != len(ranking):
                raise ValueError(
                    f"got {len(queries)} query images for a ranking of {len(ranking)} queries; give one for each"
                )
    try:
        picture = _picture(source, key)
    except (KeyError, IndexError, TypeError):
        raise ValueError(
            f"no image is known for query {safe_text(key)!r}; pass the query images as queries=..."
        ) from None
    note = _caption(source, key)
    return Tile(str(key), picture, note=note, caption=found or "query", mark="query")


def _picture(images, key):
    """Thumbnail (h, w, 3); None where it cannot be read, KeyError or IndexError where it is not known."""
    if hasattr(images, "thumbnail"):
        if isinstance(key, str) and key not in images.table.index:
            raise KeyError(key)
        try:
            return images.thumbnail(key, _PIXELS)
        except ImageProblem:
            return None
    picture = np.asarray(images[key])
    step = max(1, max(picture.shape[:2]) // (2 * _PIXELS))
    return picture[::step, ::step]


def _caption(images, key):
    if not hasattr(images, "table") or "label" not in images.table:
        return str(key)
    return text_of(images.table["label"].iloc[int(images.positions([key])[0])]) or str(key)


def _told(name, marks, judged):
    if not judged:
        return f"Query {name}: {len(marks)} results."
    right = [str(i + 1) for i, mark in enumerate(marks) if mark == "right"]
    found = f"ranks {', '.join(right)} of {len(marks)}." if right else "no rank shown."
    return f"Query {name}: relevant at {found}"


def _legend(ax, kinds, *, top):
    size = font_size(unit_points(ax))
    words = "double frame: query\nresults: rank, distance, label"
    ax.text(0.02, top + 0.02, words, fontsize=size, va="top", color="0.3", **PLAIN)
    handles = []
    for colour, line, mark, words in (VERDICTS[kind] for kind in kinds):
        look = {"color": colour, "ls": line, "marker": mark, "label": words}
        handles.append(Line2D([], [], ms=size, lw=1.5, **look))
    if handles:
        place = {"loc": "lower right", "ncols": 3, "borderaxespad": 0, "borderpad": 0}
        ax.legend(handles=handles, frameon=False, fontsize=size, handlelength=4, **place)
