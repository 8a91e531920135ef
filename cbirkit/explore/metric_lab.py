"""`MetricLab`: edit a ranked list by clicking, and see every definition of retrieval quality change.

What is edited is a `Listing`; the examples it starts from stand in ``metric_presets.toml``, and `row` says how a number comes about.
"""

import math
import tomllib
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import traitlets

from cbirkit.encoders.base import check_choice
from cbirkit.metrics.ranked import METRICS, PUBLISHED, TIES, Hits, Ties
from cbirkit.plots.tiles import Section, Table, Tile, View

from .explorer import Pictured, whole_number
from .widgets import PageWidget, script, style

JUNK = -1
MOST_ITEMS, MOST_GAIN, MOST_MISSING = 20, 3, 1000
SHOWN = [metric for metric in METRICS if metric.group]
# Of the fields of the page.
_LIMITS = {"length": [1, MOST_ITEMS], "missing": [0, MOST_MISSING], "k": [1, 1000]}
_FIRST = "hits at 2, 4 and 8"


@dataclass(frozen=True)
class Listing:
    """One ranked list with its truth, nearest first.

    Attributes
    ----------
    items : tuple of int
        -1 is junk, 0 not relevant, 1 to 3 relevant with that gain.
    ties : tuple of bool
        One fewer than `items`: whether an item is as far away as the next.
    missing : int
        Positives of the database that the list does not hold; their gain is 1.
    k : int
        Cut-off.
    places : array (n,), int64
        Positions in `items` of what counts: junk is deleted before ranks are counted.
    gains, distances, relevant : arrays (n,)
        Of what counts; tied items have equal distances.
    n_positives : int
        R, found or not.
    hits, tied : Hits, Ties

    Examples
    --------
    >>> listing = Listing((0, 1, -1, 1), missing=2)
    >>> listing.relevant.tolist(), listing.n_positives, listing.places.tolist()
    ([False, True, True], 4, [0, 1, 3])
    """

    items: tuple
    ties: tuple = ()
    missing: int = 0
    k: int = 10

    def __post_init__(self):
        items = tuple(int(item) for item in self.items)
        ties = tuple(bool(tie) for tie in self.ties) or (False,) * max(len(items) - 1, 0)
        if not 1 <= len(items) <= MOST_ITEMS:
            raise ValueError(f"a list of 1 to {MOST_ITEMS} results can be edited, got {len(items)}")
        if not all(JUNK <= item <= MOST_GAIN for item in items):
            raise ValueError(f"items must be -1 (junk), 0 or a gain of 1 to {MOST_GAIN}: {items}")
        if len(ties) != len(items) - 1:
            raise ValueError(f"{len(items)} results have {len(items) - 1} gaps, got {len(ties)}")
        missing = whole_number(self.missing, "missing", 0, MOST_MISSING)
        vars(self).update(items=items, ties=ties, missing=missing, k=whole_number(self.k, "k"))
        places = np.flatnonzero(np.array(items) != JUNK)
        gains = np.array(items, dtype=np.float64)[places]
        distances = np.cumsum([1.0, *(not tie for tie in ties)])[places]
        relevant = gains > 0
        n_positives = int(relevant.sum()) + missing
        vars(self).update(places=places, gains=gains, relevant=relevant, n_positives=n_positives)
        hits, tied = Hits(relevant, n_positives), Ties(distances, relevant)
        vars(self).update(distances=distances, hits=hits, tied=tied)

    def ideal(self, k=None):
        """Gains of all positives (n,); the metric sorts them."""
        return np.concatenate([self.gains, np.ones(self.missing)])


def row(metric, listing):
    """What the lab shows of one metric, as a dict of texts and the value (None where not defined).

    Examples
    --------
    >>> shown = row(SHOWN[0], Listing((0, 1, 0, 1, 0, 0, 0, 1)))
    >>> shown["shown"], shown["line"]
    ('0.458', '(1/2 + 2/4 + 3/8) / 3 = 0.458333')
    """
    metric = metric.at(listing.k)
    out = {"key": metric.name, "name": metric.title, "group": metric.group, "text": metric.formula}
    if why := _why_not(metric, listing):
        terms, shown, line = [""] * len(listing.relevant), "not defined", f"not defined: {why}"
        out |= {"value": None, "share": None}
        return out | {"shown": shown, "terms": terms, "line": line}
    value, (terms, formula) = float(metric.score(listing)), arithmetic(metric, listing)
    # The best value, and the digits that are shown.
    top, *digits = {"ukbench": (4, 0, 0), "first_rank": (math.inf, 0, 0)}.get(
        metric.name, (1, 3, 6)
    )
    shown, exact = ("none found" if math.isinf(value) else f"{value:.{n}f}" for n in digits)
    out |= {"value": value, "share": None if math.isinf(max(value, top)) else min(value / top, 1)}
    return out | {"shown": shown, "terms": terms, "line": f"{formula} = {exact}"}


def _why_not(metric, listing):
    """The sentence on why a value is not defined; empty where it is."""
    if listing.n_positives == 0:
        return "the query has no positives (R = 0); it is left out of the mean, and counted"
    if metric.name == "ukbench" and listing.n_positives != 4:
        return f"UKBench has R = 4, the query and three others; here R = {listing.n_positives}"
    return "" if len(listing.relevant) else "nothing is left to rank once the junk is deleted"


def arithmetic(metric, listing):
    """How a value comes about: a text for each result that counts, and the whole as Python would evaluate it.

    The values themselves come from `cbirkit.metrics`; the tests evaluate the formulas and compare.
    """
    if metric.takes == "hits" and (not metric.terms or metric.over == "last"):
        return [""] * len(listing.relevant), metric.formula
    R, k = listing.n_positives, listing.k
    last = {None: MOST_ITEMS, "first": MOST_ITEMS, "k": k, "R": R}.get(metric.last, metric.last)
    terms = [
        term if rank <= last else "" for rank, term in enumerate(_terms(metric, listing), start=1)
    ]
    found = [term for term in terms if term]
    total = " + ".join(found)
    if metric.takes == "gains":
        best = filter(None, _gain_terms(metric, -np.sort(-listing.ideal())[:k]))
        return terms, f"({total or 0}) / ({' + '.join(best)})"
    if metric.terms == "first_ranks":
        return terms, total or "inf"
    total = str(len(found)) if set(found) <= {"1"} else f"({total})"
    hits = max(int(listing.relevant[:k].sum()), 1)
    over = {"R": R, "k": k, "min(k, R)": min(k, R), "hits": hits, 1: ""}
    over = over.get(metric.over, metric.over)
    return terms, f"{total} / {over}" if over else total


def _gain_terms(metric, gains):
    linear = metric.options.get("gain") == "linear"
    worth = [int(gain) if linear else 2 ** int(gain) - 1 for gain in gains]
    return [f"{n}/log2({rank + 1})" if n else "" for rank, n in enumerate(worth, start=1)]


def _terms(metric, listing):
    """What each result that counts adds, as text; "" for nothing."""
    if metric.takes == "gains":
        return _gain_terms(metric, listing.gains)
    if metric.terms == "expected":
        return _expected_terms(listing.tied)
    relevant = listing.relevant
    if metric.terms in ("worst", "best"):
        relevant = getattr(listing.tied, metric.terms)[0]
    ranks = enumerate(zip(relevant, np.cumsum(relevant), strict=True), start=1)
    return [_term(metric.terms, number, rank) if good else "" for rank, (good, number) in ranks]


def _term(kind, number, rank):
    """What the hit of this number adds at its rank."""
    before = f"{number - 1}/{rank - 1}" if rank > 1 else "1"
    special = {
        "trapezoids": f"({before} + {number}/{rank})/2",
        "chances": "1",
        "first_hits": "1" if number == 1 else "",
        "first_ranks": str(rank) if number == 1 else "",
    }
    return special.get(kind, f"{number}/{rank}")


def _expected_terms(ties):
    """What each rank adds in expectation over the orders within ties, as fractions."""
    terms, groups = [], (ties.size[0], ties.found[0], ties.earlier[0], ties.offset[0])
    for rank, numbers in enumerate(zip(*groups, strict=True), start=1):
        size, found, earlier, offset = map(int, numbers)
        here = Fraction(offset * (found - 1), max(size - 1, 1))
        terms.append(str(Fraction(found, size) * (earlier + 1 + here) / rank) if found else "")
    return terms


def _read_presets():
    """The examples of ``metric_presets.toml``: name: (the list, which number to explain, what there is to see)."""
    text, presets = Path(__file__).with_name("metric_presets.toml").read_text("utf-8"), {}
    for name, one in tomllib.loads(text).items():
        metric, note = one.pop("metric"), one.pop("note")
        ties = [i < size - 1 for size in one.pop("tied", ()) for i in range(size)][:-1]
        presets[name] = Listing(**one, ties=ties), metric, note
    return presets


PRESETS = _read_presets()


class MetricLab(Pictured, PageWidget):
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
    _events = ("cycle", "judge", "tie", "length", "missing", "k", "graded", "metric", "preset")
    view = traitlets.Dict().tag(sync=True)
    presets = tuple(PRESETS)

    def __init__(self, items=None, *, ties=(), missing=0, k=5, metric=None, preset=_FIRST):
        if items is None:
            self._set_preset(preset)
        else:
            self._listing, self._preset, self._chosen = Listing(items, ties, missing, k), "", 0
            self._graded = max(self._listing.items) > 1
        if metric is not None:
            self._chosen = self._number_of(metric)
        super().__init__(view=self._drawn())
        self.on("problem", self._show)

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

    def _read(self, event, content, _buffers):
        if event in ("cycle", "judge", "tie"):
            self._edit(event, content["at"], content.get("value"))
        elif event == "length":
            self._resize(whole_number(content["value"], event, *_LIMITS[event]))
        elif event == "graded":
            self._graded = bool(content["value"])
            if not self._graded:
                self._change(items=tuple(min(item, 1) for item in self._listing.items))
        elif event == "metric":
            self._chosen = self._number_of(content["key"])
        elif event == "preset":
            self._set_preset(content["name"])
        else:  # missing or k
            self._change(**{event: content["value"]})
        self._show()
        return (event,)

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
        check_choice("preset", name, tuple(PRESETS))
        self._listing, metric, _ = PRESETS[name]
        self._preset, self._chosen = name, self._number_of(metric)
        self._graded = max(self._listing.items) > 1

    def _number_of(self, metric):
        keys = [one.at(self._listing.k).name for one in SHOWN]
        check_choice("metric", metric, keys)
        return keys.index(metric)

    # ------------------------------------------------------------------ showing

    def _show(self, problem=""):
        self.view = self._drawn(problem)

    def _drawn(self, problem=""):
        """All that the page shows, as one dict: the page computes nothing."""
        listing, rows = self._listing, [row(metric, self._listing) for metric in SHOWN]
        tiles = _tiles(listing, rows[self._chosen]["terms"], self._graded)
        for one in rows:
            del one["terms"], one["value"]  # infinity is no JSON
        counts = _counts(listing, rows)
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
