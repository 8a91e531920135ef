"""One framed thumbnail with lines of text under it."""

from unicodedata import east_asian_width

import numpy as np
from matplotlib.patches import Rectangle

from .style import BLACK, PLAIN, VERDICTS, safe_text, verdict_mark


class Tile:
    """One framed thumbnail with lines of text under it."""

    def __init__(self, picture, lines, verdict, gid):
        self.picture, self.lines, self.verdict, self.gid = picture, lines, verdict, gid

    def draw(self, ax, x, y):
        unit = unit_points(ax)
        size, weight = font_size(unit), "bold" if self.verdict == "query" else "normal"
        inner = 0.85
        if self.picture is None:
            ax.text(
                x + 0.5,
                y + 0.5,
                "cannot be\nread",
                ha="center",
                va="center",
                fontsize=size,
                **PLAIN,
            )
        else:
            height, width = self.picture.shape[:2]
            scale = inner / max(height, width)
            w, h = width * scale, height * scale
            left, top = x + (1 - w) / 2, y + (1 - h) / 2
            ax.imshow(
                self.picture,
                extent=(left, left + w, top + h, top),
                interpolation="antialiased",
                zorder=1,
            )
        for line, text in enumerate(self.lines):
            fits = unit * 0.97 / size / (0.7 if weight == "bold" else 0.62)
            if any(east_asian_width(c) in "WF" for c in str(text)):
                fits /= 2
            where = y + 1.01 + line * 1.25 * size / unit
            look = {"fontsize": size, "weight": weight, "ha": "center", "va": "top"}
            ax.text(x + 0.5, where, safe_text(text, fits), **look, **PLAIN)
        self._frame(ax, x, y, unit)

    def _frame(self, ax, x, y, unit):
        box = {"fill": False, "joinstyle": "miter", "zorder": 3}
        if (
            self.verdict == "query"
        ):  # a double frame: a thick black one with a thin white line inside
            ax.add_patch(
                Rectangle(
                    (x + 0.03, y + 0.03), 0.94, 0.94, ec=BLACK, lw=unit / 20, gid=self.gid, **box
                )
            )
            ax.add_patch(
                Rectangle((x + 0.03, y + 0.03), 0.94, 0.94, ec="white", lw=unit / 80, **box)
            )
            return
        colour, line, mark, _ = VERDICTS[self.verdict]
        width = unit / 90 if self.verdict == "unknown" else unit / 26
        gid = None if mark else self.gid
        ax.add_patch(
            Rectangle(
                (x + 0.04, y + 0.04), 0.92, 0.92, ec=colour, lw=width, ls=line, gid=gid, **box
            )
        )
        verdict_mark(ax, self.verdict, (x + 0.87, y + 0.13), size=unit * 0.13, gid=self.gid)


def unit_points(ax):
    """Width of one tile in points, before any layout engine runs."""
    figure = ax.get_figure(root=True)
    box = ax.get_position()
    inches = figure.get_size_inches()
    if figure.get_layout_engine() is not None and len(figure.axes) == 1:
        box_size = inches  # the layout will give it nearly everything
    else:
        box_size = inches * (box.width, box.height)
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    return float(72 * min(box_size[0] / abs(x1 - x0), box_size[1] / abs(y1 - y0)))


def font_size(unit):
    return float(np.clip(0.093 * unit, 3.5, 11))
