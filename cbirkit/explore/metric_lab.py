"""`MetricLab`: edit a ranked list by clicking, and see every definition of retrieval quality change."""

import logging
import math
from dataclasses import replace

import anywidget
import numpy as np
import pandas as pd
import traitlets

from cbirkit.metrics.ranked import PUBLISHED, TIES
from cbirkit.plots.tiles import Section, Table, Tile, View

from .explorer import Pictured, whole_number
from .metric_listing import JUNK, MOST_GAIN, MOST_ITEMS, MOST_MISSING, PRESETS, SHOWN, Listing, row
from .widgets import script, style

log = logging.getLogger(__name__)
_LIMITS = {
    "length": [1, MOST_ITEMS],
    "missing": [0, MOST_MISSING],
    "k": [1, 1000],
}  # of the fields of the page


class MetricLab(Pictured, anywidget.AnyWidget):
    """A ranked list in which every result can be judged anew, and every definition of its quality.

    Click a result, or press Enter on it, to go from relevant to not relevant to junk; the keys 0 to 3 and j judge
    it directly, arrow keys move. The sign between two results ties them (equal distance). All numbers are computed
    by `cbirkit.metrics`.

    Parameters
    ----------
    items : sequence of int or bool, optional
        Nearest first: 0 not relevant, 1 (to 3) relevant with that gain, -1 junk; at most 20. Default: a preset.
    ties : sequence of bool, optional
        One fewer than `items`: whether an item is as far away as the next.
    missing : int
        Positives of the database that the list does not hold.
    k : int
        Cut-off.
    metric : str, optional
        The number to explain, named as `evaluate` names it. Default: the preset's, or AP.
    preset : str
        Name of an example (`MetricLab.presets`), where no `items` are given.

    Raises
    ------
    ValueError
        Items, ties or numbers out of range, an unknown metric or preset.

    Examples
    --------
    >>> lab = MetricLab([0, 1, 0, 1, 0, 0, 0, 1])
    >>> round(lab["map"], 6), round(lab["trapezoid_map"], 6)
    (0.458333, 0.332341)
    >>> lab.receive({"event": "cycle", "at": 0})  # what a click on the first result sends: it becomes junk
    >>> round(lab["map"], 3), lab.items[0]
    (0.698, -1)
    """

    _esm = script("metric_lab.js")
    _css = style("tile_grid.css", "metric_lab.css")
    view = traitlets.Dict().tag(sync=True)
    presets = tuple(PRESETS)

    def __init__(
        self, items=None, *, ties=(), missing=0, k=5, metric=None, preset="hits at 2, 4 and 8"
    ):
        if items is None:
            self._set_preset(preset)
        else:
            self._listing, self._preset, self._chosen = Listing(items, ties, missing, k), "", 0
            self._graded = max(self._listing.items) > 1
        if metric is not None:
            self._chosen = self._number_of(metric)
        super().__init__(view=self._drawn())
        self.on_msg(lambda _widget, content, _buffers: self.receive(content))

    # ------------------------------------------------------------------ for use from Python

    @property
    def items(self):
        """list of int: -1 junk, 0 not relevant, 1 to 3 relevant."""
        return list(self._listing.items)

    @property
    def table(self):
        """DataFrame, index: what `evaluate` calls a metric; its name here, its value and its formula."""
        rows = pd.DataFrame([row(metric, self._listing) for metric in SHOWN])
        table = rows.set_index("key").rename_axis("metric").astype({"value": float})
        return table[["name", "value", "text"]].rename(columns={"text": "formula"})

    def __getitem__(self, metric):
        """The value of a metric, NaN where it is not defined."""
        return float(self.table["value"].iloc[self._number_of(metric)])

    def explain(self, metric):
        """How a value comes about, as a line of arithmetic.

        Examples
        --------
        >>> MetricLab(preset="2 found of 20").explain("map@10/hits")
        '(1/1 + 2/4) / 2 = 0.750000'
        """
        return row(SHOWN[self._number_of(metric)], self._listing)["line"]

    def load(self, preset):
        """Show an example by its name."""
        self._set_preset(preset)
        self._show()

    def _view(self):
        view, blank = self._drawn(), np.full((1, 1, 3), 255, np.uint8)
        chosen, tiles, groups = view["metrics"][view["chosen"]], [], {}
        for i, item in enumerate(view["items"]):
            tied = " (tied with the next)" if item["gap"] else ""
            note = f"{item['word']}{' =' if tied else ''}"
            words = {"alt": item["word"] + tied, "note": note, "caption": item["term"]}
            rank = None if item["mark"] == "junk" else int(item["rank"].split()[1])
            tiles.append(Tile(str(i), blank, mark=item["mark"], rank=rank, **words))
        for one in view["metrics"]:
            groups.setdefault(one["group"], []).append(one)
        sections = [Section("Results, nearest first", view["note"], tuple(tiles), size=0.8)]
        for group, some in groups.items():
            rows = [(one["name"], one["shown"]) for one in some]
            bars = [round(1000 * (one["share"] or 0)) for one in some]
            table = Table(("metric", "value"), rows, bars, most=1000)
            sections.append(Section(group, table=table))
        told = f"{chosen['name']} ({chosen['text']}): {chosen['line']}. {view['counts']}"
        return View("Metric Lab", told, tuple(sections))

    def __repr__(self):
        return f"MetricLab({self.items}, missing={self._listing.missing}, k={self._listing.k})"

    # ------------------------------------------------------------------ events

    def receive(self, content):
        """Handle a message from the page; what cannot be done is told there."""
        try:
            self._handle(content)
        except (ValueError, TypeError, LookupError) as problem:
            log.warning("MetricLab ignored a message: %s", problem)
            self._show(str(problem))
        else:
            self._show()

    def _handle(self, content):
        event = content.get("event") if isinstance(content, dict) else None
        if event in ("cycle", "judge", "tie"):
            self._edit(event, content["at"], content.get("value"))
        elif event == "length":
            self._resize(whole_number(content["value"], event, *_LIMITS[event]))
        elif event in ("missing", "k"):
            self._change(**{event: content["value"]})
        elif event == "graded":
            self._graded = bool(content["value"])
            if not self._graded:
                self._change(items=tuple(min(item, 1) for item in self._listing.items))
        elif event == "metric":
            self._chosen = self._number_of(content["key"])
        elif event == "preset":
            self._set_preset(content["name"])
        else:
            raise ValueError("the page sent a message that is not known; run the cell again")

    def _edit(self, event, at, value):
        items, ties = list(self._listing.items), list(self._listing.ties)
        at = whole_number(at, "position", 0, len(ties if event == "tie" else items) - 1)
        if event == "tie":
            ties[at] = not ties[at]
        elif event == "judge":
            items[at] = whole_number(value, "gain", JUNK)
            self._graded |= items[at] > 1
        elif self._graded:
            items[at] = JUNK if items[at] == MOST_GAIN else items[at] + 1
        else:
            items[at] = {1: 0, 0: JUNK, JUNK: 1}[min(items[at], 1)]
        self._change(items=tuple(items), ties=tuple(ties))

    def _resize(self, length):
        items, ties = self._listing.items + (0,) * length, self._listing.ties + (False,) * length
        self._change(items=items[:length], ties=ties[: length - 1])

    def _change(self, **parts):
        self._listing, self._preset = replace(self._listing, **parts), ""

    def _set_preset(self, name):
        if name not in PRESETS:
            raise ValueError(f"no example is called {name!r}; there are: {', '.join(PRESETS)}")
        self._listing, metric, _ = PRESETS[name]
        self._preset, self._chosen = name, self._number_of(metric)
        self._graded = max(self._listing.items) > 1

    def _number_of(self, metric):
        keys = [one.at(self._listing.k).name for one in SHOWN]
        if metric not in keys:
            raise ValueError(f"no metric here is called {metric!r}; there are: {', '.join(keys)}")
        return keys.index(metric)

    # ------------------------------------------------------------------ showing

    def _show(self, problem=""):
        self.view = self._drawn(problem)

    def _drawn(self, problem=""):
        """All that the page shows, as one dict: the page computes nothing."""
        listing, tops = self._listing, {"ukbench": 4, "first_rank": math.inf}
        rows = [row(metric, listing) for metric in SHOWN]
        terms = rows[self._chosen]["terms"]
        for one in rows:
            value, top = one.pop("value"), tops.get(one["key"], 1)  # infinity is no JSON
            endless = value is None or math.isinf(max(value, top))
            one["share"] = None if endless else min(value / top, 1)
            del one["terms"]
        tiles, counts = _tiles(listing, terms, self._graded), _counts(listing, rows)
        view = {"items": tiles, "metrics": rows, "counts": counts, "chosen": self._chosen}
        view |= {"presets": list(PRESETS), "preset": self._preset, "graded": self._graded}
        view["note"] = PRESETS[self._preset][2] if self._preset else "Your own list."
        view |= {"length": len(listing.items), "missing": listing.missing, "k": listing.k}
        return view | {"limits": _LIMITS, "problem": problem}


def _tiles(listing, terms, graded):
    """One dict for each result: what it is, its rank among what counts, and its term of the chosen number."""
    ranks = {int(place): rank for rank, place in enumerate(listing.places, start=1)}
    tiles = []
    for i, (item, tied) in enumerate(zip(listing.items, (*listing.ties, None), strict=True)):
        mark = "junk" if item == JUNK else "right" if item else "wrong"
        word = {"junk": "junk", "wrong": "not"}.get(mark, f"gain {item}" if graded else "relevant")
        said = {"not": "not relevant", "junk": "junk, not counted"}.get(word, word)
        rank, term = (f"rank {ranks[i]}", terms[ranks[i] - 1]) if i in ranks else ("no rank", "")
        tile = {"mark": mark, "word": word, "rank": rank, "term": term, "gap": tied}
        tile["alt"] = f"result {i + 1}, {rank}: {said}"
        gap = f"{'equal' if tied else 'different'} distance; press to change"
        tiles.append({**tile, "gap_alt": f"results {i + 1} and {i + 2}: {gap}"})
    return tiles


def _counts(listing, rows):
    """What the list holds, and how far apart the numbers are that go by one name."""
    found, junk = int(listing.relevant.sum()), listing.items.count(JUNK)
    text = (
        f"R = {listing.n_positives}: {found} in the list, {listing.missing} elsewhere in the database. "
        f"{len(listing.relevant)} results count, {junk} junk deleted."
    )
    shares = [one["share"] for one in rows if one["group"] in (PUBLISHED, TIES)]
    if None in shares:
        return text
    most = f"{min(shares):.3f} to {max(shares):.3f}"
    return f'{text} What gets published as "AP" of this list: {most}.'
