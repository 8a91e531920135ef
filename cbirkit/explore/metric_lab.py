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
from ipywidgets import BoundedIntText, Box, Checkbox, Dropdown, Label

from cbirkit.encoders.base import check_choice
from cbirkit.metrics.ranked import METRICS, PUBLISHED, TIES, Hits, Ties
from cbirkit.plots.tiles import Section, Table, Tile, View

from .explorer import Explorer, whole_number
from .widgets import PageWidget, TextTable, labelled, script, style

JUNK = -1
MOST_ITEMS, MOST_GAIN, MOST_MISSING = 20, 3, 1000
SHOWN = [metric for metric in METRICS if metric.group]
# of the page: least, most, words
_FIELDS = [("length", 1, MOST_ITEMS, "results"), ("k", 1, 1000, "k")]
_FIELDS += [("missing", 0, MOST_MISSING, "positives not in the list")]
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


class RankedList(PageWidget):
    """Results that are judged by a click or by the keys 0 to 3 and j, and the signs between them, which tie them.

    Events: "cycle", "tie" and "judge" (position, and the gain that it is judged to have).

    Examples
    --------
    >>> shown = RankedList(items=[{}, {}]).on("judge", print).on("problem", print)
    >>> shown.receive({"event": "judge", "at": 1, "value": 3})
    1 3
    >>> shown.receive({"event": "cycle", "at": 2})
    position must be a whole number >= 0 and <= 1, got 2
    """

    _esm, _css = script("ranked_list.js"), style("tile_grid.css", "ranked_list.css")
    _events = ("cycle", "judge", "tie")
    items = traitlets.List([]).tag(sync=True)

    def _read(self, event, content, _buffers):
        at = whole_number(content["at"], "position", 0, len(self.items) - 1 - (event == "tie"))
        return event, at, content.get("value")


class MetricLab(Explorer):
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
    >>> lab.change(items=[-1, 1, 0, 1, 0, 0, 0, 1])  # what a click on the first result does: it becomes junk
    >>> round(lab["map"], 3)
    0.698
    """

    presets = tuple(PRESETS)

    def __init__(self, items=None, *, ties=(), missing=0, k=5, metric=None, preset=_FIRST):
        self._chosen = 0
        self._make_parts()
        if items is None:
            self.load(preset)
        else:
            self._listing = Listing(items, ties, missing, k)
            self.change()
        if metric is not None:
            self._chosen = self._number_of(metric)
            self._show()

    def _make_parts(self):
        self._list, self._note, self._counts = RankedList(), Label(), Label()
        self._list.on("problem", lambda sentence: self._status.say(sentence, problem=True))
        for event in RankedList._events:
            self._list.on(event, self._guarded(self._edit, event))
        options = [("your own", ""), *((name, name) for name in PRESETS)]
        self._example = Dropdown(options=options, description="example")
        labelled(self._example, label="initial")
        self._graded = labelled(Checkbox(description="graded (1 to 3)", indent=False))
        self._fields, self._tables = {}, {}
        for name, least, most, words in _FIELDS:
            field = BoundedIntText(least, min=least, max=most, description=words)
            self._fields[name] = labelled(field, width="max-content", label="initial")
            self._on_value([field], self._guarded(self._set, name))
        take = lambda: self._example.value and self.load(self._example.value)
        self._on_value([self._example], self._guarded(take))
        self._on_value([self._graded], self._guarded(self._grade))
        for group in dict.fromkeys(metric.group for metric in SHOWN):
            self._tables[group] = TextTable().on("pick", self._guarded(self._pick, group))
        row = Box([self._example, *self._fields.values(), self._graded]).add_class("cbk-row")
        tables = Box(list(self._tables.values())).add_class("cbk-lab-groups")
        parts = row, self._note, self._list, self._make_status(), self._counts, tables
        super().__init__(parts)
        self.add_class("cbk-lab")

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
        check_choice("preset", preset, tuple(PRESETS))
        self._listing, metric, note = PRESETS[preset]
        self._chosen = self._number_of(metric)
        self._name(preset, note, max(self._listing.items) > 1)

    def change(self, **parts):
        """Change `items`, `ties`, `missing` or `k`; ValueError for what is out of range, and nothing changes."""
        self._listing = replace(self._listing, **parts)
        self._name("", "Your own list.", self._graded.value or max(self._listing.items) > 1)

    def _name(self, preset, note, graded):
        with self._quietly():
            self._example.value, self._note.value, self._graded.value = preset, note, graded
        self._show()

    def _view(self):
        blank, tiles = np.full((1, 1, 3), 255, np.uint8), []
        for i, item in enumerate(self._list.items):
            tied = " (tied with the next)" if item["gap"] else ""
            note = f"{item['word']}{' =' if tied else ''}"
            words = {"alt": item["word"] + tied, "note": note, "caption": item["term"]}
            rank = None if item["mark"] == "junk" else int(item["rank"].split()[1])
            tiles.append(Tile(str(i), blank, mark=item["mark"], rank=rank, **words))
        sections = [Section("Results, nearest first", self._note.value, tuple(tiles), size=0.8)]
        for group, table in self._shown.items():  # there is no room for formulas
            table = replace(table, columns=table.columns[:2], rows=[one[:2] for one in table.rows])
            sections.append(Section(group, table=table))
        one = row(SHOWN[self._chosen], self._listing)
        told = f"{one['name']} ({one['text']}): {one['line']}. {self._counts.value}"
        return View("Metric Lab", told, tuple(sections))

    def __repr__(self):
        return f"MetricLab({self.items}, missing={self._listing.missing}, k={self._listing.k})"

    # ------------------------------------------------------------------ events

    def _edit(self, event, at, value):
        items, ties = list(self._listing.items), list(self._listing.ties)
        if event == "tie":
            ties[at] = not ties[at]
        elif event == "judge":
            items[at] = value
        elif self._graded.value:
            items[at] = JUNK if items[at] == MOST_GAIN else items[at] + 1
        else:
            items[at] = {1: 0, 0: JUNK, JUNK: 1}[min(items[at], 1)]
        self.change(items=items, ties=ties)

    def _set(self, name):
        """A number was entered."""
        n, listing = self._fields[name].value, self._listing
        if name != "length":
            return self.change(**{name: n})
        items, ties = listing.items + (0,) * n, listing.ties + (False,) * n
        return self.change(items=items[:n], ties=ties[: n - 1])

    def _grade(self):
        most = MOST_GAIN if self._graded.value else 1
        self.change(items=[min(item, most) for item in self._listing.items])

    def _pick(self, group, at):
        self._chosen = [i for i, metric in enumerate(SHOWN) if metric.group == group][at]
        self._show()

    def _number_of(self, metric):
        keys = [one.at(self._listing.k).name for one in SHOWN]
        check_choice("metric", metric, keys)
        return keys.index(metric)

    # ------------------------------------------------------------------ showing

    def _show(self):
        listing, rows = self._listing, [row(metric, self._listing) for metric in SHOWN]
        chosen, values = rows[self._chosen], vars(listing) | {"length": len(listing.items)}
        with self._quietly():
            for name, field in self._fields.items():
                field.value = values[name]
        self._list.items = _tiles(listing, chosen["terms"], self._graded.value)
        self._counts.value, self._shown = _counts(listing, rows), {}
        for group, widget in self._tables.items():
            some = [one for one in rows if one["group"] == group]
            cells = [(one["name"], one["shown"], one["text"]) for one in some]
            bars = [round(1000 * (one["share"] or 0)) for one in some]
            titles = [
                f"evaluate calls it {one['key']}; press to see how it comes about" for one in some
            ]
            table = Table(("metric", "value", "formula"), cells, bars, some, 1000)
            pressed = some.index(chosen) if chosen in some else -1
            widget.show(table, caption=group, titles=titles, pressed=pressed)
            self._shown[group] = table
        self._status.say(f"{chosen['name']}: {chosen['line']}")


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
    text = f"R = {listing.n_positives}: {found} in the list, {listing.missing} elsewhere in the database. "
    text += f"{len(listing.relevant)} results count, {junk} junk deleted."
    shares = [one["share"] for one in rows if one["group"] in (PUBLISHED, TIES)]
    if None in shares:
        return text
    most = f"{min(shares):.3f} to {max(shares):.3f}"
    return f'{text} What gets published as "AP" of this list: {most}.'
