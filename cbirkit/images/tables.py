"""The tables of a collection: what is known of each image, and what was refused."""

import codecs
import csv
import io
import logging
from collections import Counter
from unicodedata import normalize

import numpy as np
import pandas as pd

from ..ranking.codes import aligned, as_labels, is_missing

log = logging.getLogger(__name__)

_AS_WRITTEN = ("path", "mask")  # names of files: not even the form of their accents is changed
_TEXT = (
    *_AS_WRITTEN,
    "label",
    "instance",
    "split",
    "domain",
    "caption",
)  # columns of a CSV that are never numbers
_LABELS = (
    "label",
    "labels",
    "class",
    "class_name",
    "category",
    "species",
    "target",
    "superclass",
    "group",
    "instance",
)
_SEPARATORS = ",;\t|"


def problem_table(problems=()):
    """Table (name, reason) of images that cannot be used."""
    return pd.DataFrame(list(problems), columns=["name", "reason"], dtype=object)


def table_for(n, table, ids, like=None):
    """The given table (or an empty one) with `ids` as index; `like` as for `aligned`."""
    ids = [str(i) for i in ids]
    if table is None:
        table = pd.DataFrame(index=range(n))
    if len(ids) == n:
        table = aligned(table, ids, "table", like)
    if len(table) != n or len(ids) != n:
        raise ValueError(
            f"got {n} images, {len(table)} table rows and {len(ids)} ids; the numbers must agree"
        )
    return table.set_index(pd.Index(ids, dtype=object))


def checked_table(table):
    """The table with plain columns of text names; ids are checked to be unique strings."""
    if not all(isinstance(i, str) for i in table.index):
        raise TypeError("ids must be strings; use table.index.astype(str)")
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()][0]
        where = np.flatnonzero(table.index == twice)[:2]
        raise ValueError(
            f"duplicate id {twice!r} (rows {where[0]} and {where[1]}); ids must be unique"
        )
    names = pd.Index([str(name) for name in table.columns], dtype=object)
    if not names.is_unique:
        raise ValueError(
            f"the table has two columns called {names[names.duplicated()][0]!r}; rename one"
        )
    ids = pd.Index(table.index, dtype=object)
    columns = [plain_column(table.iloc[:, i], name) for i, name in enumerate(names)]
    columns = {
        name: pd.Series(one, ids, one.dtype) for name, one in zip(names, columns, strict=True)
    }
    return pd.DataFrame(columns, index=ids, columns=names)


def plain_column(values, name, ids=None):
    """One value an image as an array (n,) of NumPy's numbers, bools or dates, or of objects, None where one is missing.

    Parameters
    ----------
    values : sequence, pandas object of any type or dict
    name : str
        Of the column.
    ids : sequence of str, optional
        What the index of a pandas object is matched with; without it the values are in order.
    """
    values = aligned(values, ids, f"column {name!r}") if ids is not None else values
    dtype = getattr(values, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind in "biufmM" and np.ndim(values) == 1:
        return np.asarray(values)
    if name in _AS_WRITTEN:
        return pd.Series(
            [
                None if is_missing(one) or isinstance(one, str) and not one else one
                for one in values
            ],
            dtype=object,
        ).to_numpy()
    array = as_labels(
        values.array if isinstance(values, pd.Series) else values, what=f"column {name!r}"
    )
    kinds = set(map(type, array))
    if kinds <= {float, type(None)} and float in kinds:
        return array.astype(np.float64)
    if (
        kinds <= {pd.Timestamp, type(None)}
        and pd.Timestamp in kinds
        and not any(one.tz for one in array if one)
    ):
        return pd.to_datetime(pd.Series(array)).to_numpy()
    if kinds == {bool} or (kinds == {int} and -(2**63) <= min(array) and max(array) < 2**63):
        return array.astype(bool if kinds == {bool} else np.int64)
    return array


def is_several(value):
    """Whether a value is a list, dict or another container, which equals nothing but itself."""
    return isinstance(value, list | tuple | set | frozenset | dict | np.ndarray)


def text_of(value):
    """A value as it is read: "" where it is missing, whole numbers without ".0", the values of a list one after the other.

    Examples
    --------
    >>> text_of(2.0), text_of(None), text_of(["red", 1.5])
    ('2', '', 'red, 1.5')
    """
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return ", ".join(map(text_of, value))
    if is_missing(value):
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return (
        str(int(value))
        if isinstance(value, float | np.floating) and float(value).is_integer()
        else str(value)
    )


def read_csv(file, text=()):
    """Read a CSV file: text as written, None for the empty field, numbers where nothing is lost by it.

    Parameters
    ----------
    file : Path
        UTF-8, UTF-16 with its mark, or else Windows-1252; separated by comma, semicolon, tab or ``|``.
    text : sequence of str, or None for all
        Columns that stay text, with ``path``, ``label``, ``instance``, ``split``, ``domain``, ``caption`` and ``mask``.

    Returns
    -------
    DataFrame

    Raises
    ------
    ValueError
        No text, a quotation mark that is not closed, a row with too many fields, a column name twice.
    """
    lines = io.StringIO(_decoded(file), newline="")
    head = lines.readline()
    if head.lower().startswith("sep="):  # Excel's own
        head = lines.readline()
    if not head.strip():
        raise ValueError(
            f"{file.name} does not begin with the names of its columns; add them as the first line"
        )
    separator = max(_SEPARATORS, key=lambda one: len(next(csv.reader([head], delimiter=one), [])))
    spaced = any(name.startswith(" ") for name in head.split(separator)[1:])
    lines.seek(lines.tell() - len(head))
    try:
        names, *rows = csv.reader(lines, delimiter=separator, skipinitialspace=spaced, strict=True)
    except (csv.Error, ValueError) as error:
        raise ValueError(
            f"{file.name} cannot be read as CSV ({error}); save it again from a spreadsheet"
        ) from error
    names = [name.strip() or f"column {i}" for i, name in enumerate(names)]
    rows = [row for row in rows if any(row)]
    for number, row in enumerate(rows, 2):
        if any(row[len(names) :]):
            raise ValueError(
                f"row {number} of {file.name} has {len(row)} fields for {len(names)} columns; quote those that hold {separator!r}"
            )
    if len(set(names)) < len(names):
        raise ValueError(
            f"{file.name} has two columns called {max(names, key=names.count)!r}; rename one"
        )
    columns = {
        name: [row[i] if i < len(row) else "" for row in rows] for i, name in enumerate(names)
    }
    return pd.DataFrame(
        {
            name: _from_text(values, text is None or name in (*_TEXT, *text))
            for name, values in columns.items()
        }
    )


def columns_for(file, ids, column=None):
    """What a CSV file says of images that it names by id, by file name or by file name without ending, where these are unique.

    Parameters
    ----------
    file : Path
    ids : list of str
    column : str, optional
        With the labels. Default: one called label, class, category … or else the only one that divides the images.

    Returns
    -------
    columns : dict of array (n_images,)
        With ``label`` if there is one; None where no row names an image.
    choices : list of str
        Columns that might be the labels; the one that was taken first.
    problems : list of (name, reason)
        Rows that name no image.

    Raises
    ------
    ValueError
        It cannot be read, names none of the images or one twice, or has no such column.
    """
    texts = read_csv(file, text=None)
    tails = [i.rsplit("/", 1)[-1] for i in ids]
    places = {}
    for names in (ids, tails, [tail.rpartition(".")[0] for tail in tails]):
        counts = Counter(names)
        places |= {
            name: i for i, name in enumerate(names) if counts[name] == 1 and name not in places
        }
    known = {
        name: texts[name].map(
            lambda one: places.get(
                normalize("NFC", one if isinstance(one, str) else "")
                .replace("\\", "/")
                .removeprefix("./"),
                -1,
            )
        )
        for name in texts
    }
    path = max(known, key=lambda name: (known[name] >= 0).sum())
    at, there = known[path].to_numpy(), (known[path] >= 0).to_numpy()
    if not there.any():
        raise ValueError(
            f"{file.name} names none of the {len(ids)} images in any column; its columns: {', '.join(texts)}"
        )
    if len(set(at[there])) < there.sum():
        raise ValueError(
            f"{file.name} names {ids[Counter(at[there].tolist()).most_common(1)[0][0]]} more than once; give one row an image"
        )
    rest = texts.drop(columns=path)[there]
    divides = [name for name in rest if 1 < rest[name].nunique() <= max(2, len(rest) / 2)]
    named = [name for one in _LABELS for name in rest if name.lower() == one]
    choices = [column] if column else named[:1] or divides
    if column is not None and column not in rest:
        raise ValueError(
            f"{file.name} has no column {column!r} for labels; its columns: {', '.join(texts)}"
        )
    columns = {name: _from_text(rest[name], name in _TEXT) for name in rest if name != "path"}
    if len(choices) == 1:
        columns["label"] = rest[choices[0]].to_numpy()
    rows = pd.DataFrame(columns, index=at[there]).reindex(range(len(ids)))
    problems = [
        (one or "no name", f"named by {file.name}; there is no such image")
        for one in texts[path][~there]
    ]
    return {name: rows[name].to_numpy() for name in rows}, choices or divides, problems


def _decoded(file):
    data = file.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    if b"\0" in data:
        raise ValueError(f"{file.name} is no text; save the table as CSV (UTF-8)")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        log.warning("%s is not UTF-8; it was read as Windows-1252: look at its accents", file.name)
        return data.decode("cp1252", "backslashreplace")


def _from_text(values, keep):
    """Fields of a CSV as an object array, None for the empty one; as numbers where each is written as such a number is."""
    values = [value or None for value in values]
    there = [value for value in values if value is not None]
    array = np.array([None, *values], dtype=object)[1:]
    if keep or not there:
        return array
    try:
        numbers = [float(value) for value in there]
        shown = [text_of(number) for number in numbers]
    except (ValueError, OverflowError):  # text, infinite
        return array
    if shown != there or not max(map(abs, numbers)) < 2**53 or not np.isfinite(numbers).all():
        return array
    whole = len(there) == len(values) and all(number.is_integer() for number in numbers)
    return np.array(values, dtype=np.int64 if whole else np.float64)
