"""`Facts`: what is known of each image of a collection, to filter and to sort by."""

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from cbirkit.encoders.base import check_choice
from cbirkit.images.tables import text_of

MEASURED = ("width", "height", "pixels", "longer_side", "orientation", "distance")
_MOST_VALUES = 100  # in a menu; the most frequent
_FEW, _PARTS = 12, 5  # a column of more different numbers is offered in so many ranges
_BINS = 8  # of `bin_edges`, at most
_NAMED = 20  # values named in a sentence
_SEVERAL = list | tuple | set | frozenset | np.ndarray  # in one cell, such as tags


class Facts:
    """The columns of a collection's table, and those that a survey measures.

    Parameters
    ----------
    images : ImageCollection
    with_embeddings : bool
        Whether a survey will measure distances.

    Attributes
    ----------
    table : DataFrame
        One row an image. After `learn` it also has ``width``, ``height``, ``pixels`` (width × height),
        ``longer_side``, ``orientation`` and, with embeddings, ``distance``; they take the place of columns of these names.

    Examples
    --------
    >>> from cbirkit.images import ImageCollection
    >>> facts = Facts(ImageCollection.from_arrays(np.zeros((3, 8, 8)), labels=list("aba")))
    >>> facts.mask({"label": "a"}).tolist(), facts.order("-label").tolist()
    ([True, False, True], [1, 0, 2])
    """

    def __init__(self, images, *, with_embeddings=False):
        self.images, self.table, self._known = images, images.table, {}
        self._with_embeddings = with_embeddings

    def learn(self, found):
        """Take over what a `Survey` measured; rows of images that cannot be read stay empty."""
        measured = found.table.reindex(self.images.ids)[["width", "height"]]
        measured["pixels"] = measured["width"] * measured["height"]
        measured["longer_side"] = measured[["width", "height"]].max(axis=1)
        lying = np.sign(measured["width"] - measured["height"])
        names = {-1: "portrait", 0: "square", 1: "landscape"}
        measured["orientation"] = lying.map(names).astype(object)
        if "distance" in found.table:
            measured["distance"] = found.table["distance"].reindex(self.images.ids)
        self.table, self._known = self.images.table.assign(**measured), {}

    @property
    def choices(self):
        """list of str: columns worth a menu: not those of one value, nor those in which hardly any occurs twice, such as paths."""
        return [str(name) for name in self.table if self._divides(name)]

    def values(self, column):
        """What can be chosen in a column, as list of (words, value): frequent values first, or ranges of numbers."""
        series, numeric = self._column(column), self._is_numeric(column)
        if numeric and series.nunique() > _FEW:
            counts = _ranges(series.dropna())
        else:
            counts = self._values(column).value_counts().head(_MOST_VALUES)
            counts = dict(counts.sort_index() if numeric else counts)
        if missing := int(series.isna().sum()):
            counts[None] = missing
        return [(f"{told(value) or 'no value'} ({n:,})", value) for value, n in counts.items()]

    def mask(self, filters, containing=""):
        """Which images pass: bool (n_images,).

        Parameters
        ----------
        filters : dict
            Column: value; a tuple (low, high) is a range of numbers, both ends included; None: no value is known.
        containing : str
            What the id or the label holds, upper or lower case.

        Raises
        ------
        ValueError
            An unknown column, or a value that no image has.
        """
        keep = np.ones(len(self.table), dtype=bool)
        for column, value in filters.items():
            passed = self._passing(column, value)
            if not passed.any():
                told_value = told(value) or "without a value"
                raise ValueError(f"no image has {column} {told_value}; {self._there_are(column)}")
            keep &= passed
        if containing:
            texts = [pd.Series(self.images.ids, dtype=object)]
            texts += [self.table["label"].map(text_of)] if "label" in self.table else []
            how = {"case": False, "regex": False}
            keep &= np.any([one.str.contains(containing, **how) for one in texts], axis=0)
        return keep

    def sorted_column(self, sort_by):
        """The column of ``"name"`` or ``"-name"``; None for None."""
        if sort_by is None or sort_by in self.table or not str(sort_by).startswith("-"):
            return sort_by
        return sort_by[1:]

    def order(self, sort_by):
        """Positions in order, int64 (n_images,); missing values last, the order of equals kept.

        As they are for what will be known after `learn`; ValueError for what never is.
        """
        name = self.sorted_column(sort_by)
        check_choice("sort_by", name, [None, "id", *MEASURED, *self.table])
        if name == "distance" and not self._with_embeddings and name not in self.table:
            raise ValueError("sorting by distance needs embeddings; give one row an image")
        if name is None or (name != "id" and name not in self.table):
            return np.arange(len(self.table))
        values = pd.Series(self.images.ids) if name == "id" else self._comparable(name)
        return values.sort_values(ascending=name == sort_by, kind="stable").index.to_numpy()

    def text(self, column, position):
        """One value in words; "" where it is missing or there is no such column."""
        return told(self.table[column].iloc[position]) if column in self.table else ""

    def counts(self, column, kept=None):
        """How often each value occurs among the images at the positions `kept`, most first: Series of int by text."""
        if column not in self.table:
            return pd.Series(dtype=int)
        # None for an image without a value, several for one with a list.
        values = self._values(column)
        values = values if kept is None else values[values.index.isin(kept)]
        return values.map(text_of).value_counts()

    # ------------------------------------------------------------------ columns by kind

    def _column(self, name):
        if name in self.table:
            return self.table[name].reset_index(drop=True)
        if name in MEASURED[:5]:
            raise ValueError(f"{name} is known once all images have been read; call wait() first")
        known = ", ".join(map(str, self.table)) or "none"
        raise ValueError(f"no column {name!r} to filter by; there are: {known}")

    def _is_numeric(self, name):
        return is_numeric_dtype(self.table[name]) and not is_bool_dtype(self.table[name])

    def _divides(self, name):
        values = self._values(name)
        n_values, missing = values.nunique(), self.table[name].isna().any()
        several = n_values > 1 or (n_values == 1 and missing)
        return several and (self._is_numeric(name) or n_values <= max(_FEW, len(values) / 2))

    def _values(self, name):
        """Values that are there, by position, as numbers or text; a list in a cell becomes several."""
        if name not in self._known:
            series = self._column(name)
            if not self._is_numeric(name):
                cells = [list(cell) if isinstance(cell, _SEVERAL) else cell for cell in series]
                series = pd.Series(cells, dtype=object).explode().dropna().map(text_of)
            self._known[name] = series.dropna()
        return self._known[name]

    def _comparable(self, name):
        series = self._column(name)
        if self._is_numeric(name):
            return series
        texts = series.map(text_of).where(series.notna())
        numbers = pd.to_numeric(texts, errors="coerce")
        return numbers if numbers.notna().equals(series.notna()) else texts

    def _passing(self, column, value):
        series, numeric = self._column(column), self._is_numeric(column)
        if value is None:
            return series.isna().to_numpy()
        if isinstance(value, tuple):
            if not numeric or len(value) != 2:
                raise ValueError(f"a range (low, high) of numbers in {column}: got {value!r}")
            return series.between(*value).to_numpy()
        values = self._values(column)
        value = pd.to_numeric(value, errors="coerce") if numeric else text_of(value)
        return series.index.isin(values.index[values == value])

    def _there_are(self, column):
        values = self._values(column)
        known = list(map(told, pd.unique(values)[: _NAMED + 1]))
        return f"there are: {', '.join(known[:_NAMED])}" + (" …" if len(known) > _NAMED else "")


def told(value):
    """A value or range in words; "" for none."""
    if isinstance(value, tuple):
        return " to ".join(map(told, value))
    return f"{value:g}" if isinstance(value, float) and value % 1 > 0 else text_of(value)


def _ranges(values):
    """Parts of about equal number, as {(lowest, highest): count}; all ends are values that occur."""
    parts = values.groupby(pd.qcut(values, _PARTS, duplicates="drop"), observed=True)
    return {(a, b): n for a, b, n in parts.agg(["min", "max", "size"]).itertuples(index=False)}


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
    steps = (factor * 10**power for power in range(12) for factor in (1, 2, 5))
    step = next(one for one in steps if -(-(high - low // one * one) // one) <= _BINS)
    return np.arange(low // step * step, high + step, step)
