"""`Facts`: what is known of each image of a collection, to filter and to sort by."""

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from ..images.tables import text_of

MEASURED = ("width", "height", "pixels", "longer_side", "orientation", "distance")
_MOST_VALUES = 100  # in a menu; the most frequent
_FEW, _BINS = 12, 5  # a column of more different numbers is offered in so many ranges
_NAMED = 20  # values named in a sentence
_SEVERAL = list | tuple | set | frozenset | np.ndarray  # in one cell, such as tags


class Facts:
    """The columns of a collection's table, and those that a survey measures.

    Parameters
    ----------
    images : ImageCollection

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

    def __init__(self, images):
        self.images, self.table = images, images.table
        self._texts, self._choices = {}, None

    def learn(self, found):
        """Take over what a `Survey` measured; rows of images that cannot be read stay empty."""
        measured = found.table[["width", "height"]].reindex(self.images.ids)
        measured["pixels"] = measured["width"] * measured["height"]
        measured["longer_side"] = measured[["width", "height"]].max(axis=1)
        lying = np.sign(measured["width"] - measured["height"])
        measured["orientation"] = lying.map({-1: "portrait", 0: "square", 1: "landscape"}).astype(
            object
        )
        if "distance" in found.table:
            measured["distance"] = found.table["distance"].reindex(self.images.ids)
        self.table = self.images.table.assign(**measured)
        self._texts, self._choices = {}, None

    @property
    def choices(self):
        """list of str: columns worth a menu: not those of one value, nor those in which hardly any occurs twice, such as paths."""
        if self._choices is None:
            self._choices = [str(name) for name in self.table if self._divides(name)]
        return self._choices

    def values(self, column):
        """What can be chosen in a column, as list of (words, value): frequent values first, or ranges of numbers."""
        series = self._column(column)
        if self._is_numeric(column) and series.nunique() > _FEW:
            counts = [(_told(ends), ends, n) for ends, n in _ranges(series.dropna())]
        else:
            counted = self._exploded(column).value_counts()
            if self._is_numeric(column):
                counted = counted.sort_index()
            counts = [(_words(value), value, n) for value, n in counted.head(_MOST_VALUES).items()]
        missing = int(self.missing(column).sum())
        counts += [("no value", None, missing)] if missing else []
        return [(f"{words} ({n:,})", value) for words, value, n in counts]

    def mask(self, filters, containing=""):
        """Which images pass: bool (n_images,).

        Parameters
        ----------
        filters : dict
            Column: value; a tuple (low, high) is a range of numbers, both ends included; None: no value is known.
        containing : str
            What the id holds, upper or lower case.

        Raises
        ------
        ValueError
            An unknown column, or a value that no image has.
        """
        keep = np.ones(len(self.table), dtype=bool)
        for column, value in filters.items():
            passed = self._passing(column, value)
            if not passed.any():
                raise ValueError(f"no image has {column} {_told(value)}; {self._there_are(column)}")
            keep &= passed
        if containing:
            ids = pd.Series(self.images.ids, dtype=object)
            keep &= ids.str.contains(containing, case=False, regex=False).to_numpy(bool)
        return keep

    def check_sorting(self, sort_by, *, with_embeddings):
        """Raise ValueError for what cannot be sorted by, now or after `learn`."""
        name = self.sorted_column(sort_by)
        if name == "distance" and not with_embeddings and name not in self.table:
            raise ValueError(
                "sorting by distance needs embeddings; give one row an image, or an encoder"
            )
        if name is not None and name not in ("id", *MEASURED) and name not in self.table:
            raise ValueError(
                f"cannot sort by {sort_by!r}; there are: id, {self._names(MEASURED)}; '-' in front: descending"
            )

    def sorted_column(self, sort_by):
        """The column of ``"name"`` or ``"-name"``; None for None."""
        if sort_by is None or sort_by in self.table or not str(sort_by).startswith("-"):
            return sort_by
        return sort_by[1:]

    def order(self, sort_by):
        """Positions in order, int64 (n_images,); missing values last, the order of equals kept."""
        name = self.sorted_column(sort_by)
        if name is None or (name != "id" and name not in self.table):  # or not measured yet
            return np.arange(len(self.table))
        values = (
            pd.Series(self.images.ids, dtype=object) if name == "id" else self._comparable(name)
        )
        ranks = values.rank(method="dense").to_numpy(float)
        ranks = -ranks if name != sort_by else ranks
        return np.argsort(np.where(np.isnan(ranks), np.inf, ranks), kind="stable")

    def text(self, column, position):
        """One value in words; "" where it is missing or there is no such column."""
        if column not in self.table:
            return ""
        value = self.table[column].iloc[position]
        return _words(value)

    def missing(self, column):
        """Where no value is known: bool (n_images,)."""
        return self._column(column).isna().to_numpy()

    def counts(self, column, keep):
        """How often each value occurs among the images to `keep`, most first: Series of int by text."""
        if column not in self.table:
            return pd.Series(dtype=int)
        values = self._exploded(
            column
        )  # none for an image without a value, several for one with a list
        return values[values.index.isin(np.flatnonzero(keep))].map(text_of).value_counts()

    # ------------------------------------------------------------------ columns by kind

    def _column(self, name):
        if name not in self.table:
            if name in MEASURED[:5]:
                raise ValueError(
                    f"{name} is known once all images have been looked at; call wait() first"
                )
            raise ValueError(f"no column {name!r} to filter by; there are: {self._names(())}")
        return self.table[name]

    def _names(self, more):
        return ", ".join(dict.fromkeys([*more, *map(str, self.table)])) or "none"

    def _is_numeric(self, name):
        return is_numeric_dtype(self.table[name]) and not is_bool_dtype(self.table[name])

    def _divides(self, name):
        exploded = self._exploded(name)
        n_values = exploded.nunique()
        several = n_values > 1 or (n_values == 1 and self.missing(name).any())
        return several and (self._is_numeric(name) or n_values <= max(_FEW, len(exploded) / 2))

    def _exploded(self, name):
        """Values that are there, by position; a list in a cell becomes several."""
        if name not in self._texts:
            series = self.table[name].reset_index(drop=True)
            if not self._is_numeric(name):
                series = series.map(
                    lambda cell: list(cell) if isinstance(cell, _SEVERAL) else cell
                ).explode()
            series = series.dropna()
            self._texts[name] = (
                series if self._is_numeric(name) else series.map(text_of).astype(object)
            )
        return self._texts[name]

    def _comparable(self, name):
        series = self.table[name].reset_index(drop=True)
        if self._is_numeric(name):
            return series
        numbers = pd.to_numeric(
            series.where(series.map(lambda one: isinstance(one, str | int | float))),
            errors="coerce",
        )
        return (
            numbers
            if numbers.notna().equals(series.notna())
            else series.map(text_of).where(series.notna())
        )

    def _passing(self, column, value):
        series = self._column(column)
        if value is None:
            return self.missing(column)
        if isinstance(value, tuple):
            return self._in_range(column, value)
        exploded = self._exploded(column)
        if not self._is_numeric(column):
            value = text_of(value)
        elif isinstance(value, str):
            value = pd.to_numeric(value, errors="coerce")
        passed = np.zeros(len(series), dtype=bool)
        passed[exploded.index[exploded == value]] = True
        return passed

    def _in_range(self, column, ends):
        if not self._is_numeric(column):
            raise ValueError(
                f"{column} holds no numbers, so that no range {ends!r} can be taken; give one value"
            )
        if len(ends) != 2:
            raise ValueError(f"a range of {column} is (low, high), got {ends!r}")
        return self.table[column].between(*ends).to_numpy(bool)

    def _there_are(self, column):
        values = self._exploded(column)
        if not len(values):
            return "it has no value at all"
        if self._is_numeric(column) and values.nunique() > _FEW:
            return f"it lies between {_words(values.min())} and {_words(values.max())}"
        known = list(map(_words, pd.unique(values)))
        return f"there are: {', '.join(known[:_NAMED])}" + (" …" if len(known) > _NAMED else "")


def _words(value):
    return f"{value:g}" if isinstance(value, float) and value % 1 > 0 else text_of(value)


def _told(value):
    """A value or range in words."""
    if value is None:
        return "without a value"
    return " to ".join(map(_words, value)) if isinstance(value, tuple) else _words(value)


def told_filters(filters, containing=""):
    """Filters in words.

    Examples
    --------
    >>> told_filters({"label": "dress", "width": (100, 200)}, "img")
    'label dress, width 100 to 200, "img" in the name'
    """
    parts = [f"{column} {_told(value)}" for column, value in filters.items()]
    return ", ".join(parts + ([f'"{containing}" in the name'] if containing else []))


def _ranges(values):
    """Parts of about equal number, as ((lowest, highest), count); all ends are values that occur."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, _BINS + 1)))
    places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(len(edges) - 2, 0))
    for _, part in pd.Series(np.asarray(values)).groupby(places):
        yield (part.min(), part.max()), len(part)
