"""The tables of `CollectionExplorer`: classes, sizes, files that cannot be read."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

_MOST_SIZES = 20  # in the table of frequent sizes
_BINS = 8  # of the longer side, at most


@dataclass(frozen=True)
class Table:
    """A table as `TextTable.show` takes it.

    Attributes
    ----------
    caption : str
    columns : tuple of str
    rows : list of tuple of str
    counts : list of int
        Lengths of the bars, as the numbers that they stand for.
    filters : list of dict or None
        What picking a row filters by.
    most : int
        What the longest bar would stand for, if it is on another page.
    """

    caption: str
    columns: tuple
    rows: list
    counts: tuple = ()
    filters: tuple = ()
    most: int = 0

    @property
    def shares(self):
        """Lengths of the bars in [0, 1]."""
        most = max([self.most, *self.counts, 1])
        return [n / most for n in self.counts]


def broken_table(problems):
    """Names and reasons of files that cannot be read, a DataFrame."""
    rows = [(str(row.name), str(row.reason)) for row in problems.itertuples(index=False)]
    return Table("Why they cannot be read", ("file", "reason"), rows)


def class_table(counts, part, n_images, filtered):
    """A sentence about classes, and their table.

    Parameters
    ----------
    counts, part : Series of int by class
        All of them, most first; those of the page.
    n_images : int
        Images looked at, those without a class included.
    filtered : str
        The filter, in words.
    """
    if not len(counts):
        if filtered:
            return f"No image{filtered} has a label.", ()
        told = "These images have no labels: put them into one folder a class, or add labels with "
        return told + "images.with_columns(label=...).", ()
    most, least = int(counts.iloc[0]), int(counts.iloc[-1])
    each = f"{least:,} ({counts.index[-1]}) to {most:,} ({counts.index[0]}) images each"
    each = f"{most:,} images{' each' if len(counts) > 1 else ''}" if most == least else each
    told = f"{len(counts):,} class{'es' if len(counts) > 1 else ''}, {each}{filtered}"
    told += f"; the largest is {most / least:.3g} times the smallest" if most > least else ""
    told += f"; {n_images - counts.sum():,} images have no label" if n_images > counts.sum() else ""
    total = counts.sum()
    rows = [(str(name), f"{n:,}", f"{100 * n / total:.1f} %") for name, n in part.items()]
    filters = [{"label": name} for name in part.index]
    return f"{told}.", (
        Table(
            "Pick a class to see its images",
            ("class", "images", "share"),
            rows,
            part.tolist(),
            filters,
            most,
        ),
    )


def size_tables(facts, filtered):
    """A sentence about sizes, the table of frequent ones, and the distribution of the longer side."""
    facts = facts[facts["width"].notna()]
    if not len(facts):
        return f"No image{filtered} can be read.", ()
    counts = facts[["width", "height"]].astype(int).value_counts()
    (width, height), n = counts.index[0], int(counts.iloc[0])
    told = f"{len(facts):,} images{filtered}: width {_span(facts['width'])}, height {_span(facts['height'])}; "
    most = f"the most frequent size of {len(counts):,} is {width} × {height}: {n:,} images."
    told += f"all are {width} × {height} pixels." if len(counts) == 1 else most
    return told, (
        _frequent(counts),
        _sides(facts["longer_side"]),
        _orientations(facts["orientation"]),
    )


def _span(values):
    """Smallest, largest and median in words."""
    if values.min() == values.max():
        return f"{values.min():g}"
    return f"{values.min():g} to {values.max():g} (median {values.median():g})"


def _frequent(counts):
    shown = counts.head(_MOST_SIZES)
    rows = [(f"{width} × {height}", f"{n:,}") for (width, height), n in shown.items()]
    filters = [{"width": int(width), "height": int(height)} for width, height in shown.index]
    more = len(counts) - len(shown)
    caption = "Most frequent" + (f"; {more:,} more sizes are not listed" if more else "")
    return Table(caption, ("width × height", "images"), rows, shown.tolist(), filters)


def _sides(sides):
    """Images by their longer side, in bins between round numbers."""
    edges = bin_edges(sides.to_numpy())
    counts, _ = np.histogram(sides, edges)
    rows, filters = [], []
    for low, high, n in zip(edges, edges[1:], counts, strict=False):
        rows.append((f"{low:,} to {high - 1:,}" if high > low + 1 else f"{low:,}", f"{n:,}"))
        filters.append({"longer_side": (int(low), int(high) - 1)} if n else None)
    return Table("Longer side", ("pixels", "images"), rows, counts.tolist(), filters)


def bin_edges(values):
    """Whole numbers (n_bins + 1,) around all values, 1, 2 or 5 times a power of ten apart, at most eight bins.

    Examples
    --------
    >>> bin_edges([130, 250]).tolist()
    [120, 140, 160, 180, 200, 220, 240, 260]
    >>> bin_edges([256, 256]).tolist()
    [256, 257]
    """
    low, high = int(min(values)), int(max(values)) + 1
    for step in (factor * 10**power for power in range(12) for factor in (1, 2, 5)):
        first = low // step * step
        if -(-(high - first) // step) <= _BINS:
            break
    return np.arange(first, high + step, step)[: -(-(high - first) // step) + 1]


def _orientations(values):
    counts = pd.Series(values).value_counts()
    rows = [(name, f"{n:,}") for name, n in counts.items()]
    filters = [{"orientation": name} for name in counts.index]
    return Table("Orientation", ("orientation", "images"), rows, counts.tolist(), filters)
