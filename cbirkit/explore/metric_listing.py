"""What the Metric Lab edits (one ranked list with its truth), the examples it starts from, and how each number comes about."""

import math
import tomllib
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np

from cbirkit.metrics import METRICS
from cbirkit.metrics.ranked import Hits, Ties

from .explorer import whole_number

JUNK = -1
MOST_ITEMS, MOST_GAIN, MOST_MISSING = 20, 3, 1000
SHOWN = [metric for metric in METRICS if metric.group]


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
        missing, k = (
            whole_number(self.missing, "missing", 0, MOST_MISSING),
            whole_number(self.k, "k"),
        )
        vars(self).update(items=items, ties=ties, missing=missing, k=k)

    @cached_property
    def places(self):
        """Positions in `items` of what counts, int64 (n,): junk is deleted before ranks are counted."""
        return np.flatnonzero(np.array(self.items) != JUNK)

    @cached_property
    def gains(self):
        return np.array(self.items, dtype=np.float64)[self.places]

    @cached_property
    def relevant(self):
        return self.gains > 0

    @cached_property
    def distances(self):
        """Equal for tied items, float64 (n,)."""
        steps = np.concatenate([[1], ~np.array(self.ties, dtype=bool)])
        return np.cumsum(steps).astype(np.float64)[self.places]

    @property
    def n_positives(self):
        """R"""
        return int(self.relevant.sum()) + self.missing

    def ideal(self, k=None):
        return np.concatenate([self.gains, np.ones(self.missing)])

    @cached_property
    def hits(self):
        return Hits(self.relevant, self.n_positives)

    @cached_property
    def tied(self):
        """`Ties` of the distances."""
        return Ties(self.distances, self.relevant)


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
        return {**out, "value": None, "shown": shown, "terms": terms, "line": line}
    value, (terms, formula) = float(metric.score(listing)), arithmetic(metric, listing)
    digits = (0, 0) if metric.name in ("ukbench", "first_rank") else (3, 6)
    shown, exact = ("none found" if math.isinf(value) else f"{value:.{n}f}" for n in digits)
    return {**out, "value": value, "shown": shown, "terms": terms, "line": f"{formula} = {exact}"}


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
