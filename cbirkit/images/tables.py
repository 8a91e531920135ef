"""What is known of images before they are read: files in folders, tables of them, labels."""

import io
import logging
import os
import re
import warnings
from collections import Counter, deque
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pandas as pd

from cbirkit._atomic import expanded
from cbirkit.ranking.codes import aligned, as_labels, is_missing

from .files import KINDS, is_image

log = logging.getLogger(__name__)

# Folders of file servers, operating systems and photo programs: thumbnails, previews and deleted files.
_SYSTEM = re.compile(
    r"@eadir|@tmp|@recycle|@recently-snapshot|@database|@sharebin|[#~]snapshot|#recycle|\$recycle\.bin|recycle[rd]"
    r"|system volume information|lost\+found|__macosx|network trash folder|temporary items|thevolumesettingsfolder"
    r"|ipod photo cache|thumbs\.db|captureone|found\.\d{3}|.*\.(\w*library|lrdata|lrcat-data|cocatalog|fcpbundle|theater)"
)
_MOST_TABLES = 5  # files in a folder that are offered as tables of labels
_SPLITS = re.compile(
    r"(train|test)(ing)?|val(id(ation)?)?|dev|query|queries|database|gallery", re.IGNORECASE
)
# Columns of a CSV that are never numbers, and those that are labels.
_TEXT = {"path", "mask", "label", "instance", "split", "domain", "caption"}
_LABELS = ("label", "labels", "class", "class_name", "category", "species", "target", "superclass", "group", "instance")  # fmt: skip
# A number whose text is the only one for it, so that nothing is lost.
_NUMBER = r"-?(0|[1-9]\d{0,14})(\.\d{0,9}[1-9])?"

# ---------------------------------------------------------------------- tables


def problem_table(problems=()):
    """Table (name, reason) of images that cannot be used."""
    return pd.DataFrame(list(problems), columns=["name", "reason"], dtype=object)


def table_for(n, table, ids, like=None):
    """The given table (or an empty one) with `ids` as index; `like` as for `aligned`."""
    ids, table = [str(i) for i in ids], pd.DataFrame(index=range(n)) if table is None else table
    if not n == len(ids) <= len(table):
        raise ValueError(f"{n} images, {len(table)} table rows and {len(ids)} ids; give one each")
    return aligned(table, ids, "table", like).set_axis(pd.Index(ids, dtype=object), axis=0)


def checked_table(table):
    """The table with plain columns of text names; ids, as text, are checked to be unique."""
    ids = pd.Index(map(str, table.index), dtype=object)
    if not ids.is_unique:
        raise ValueError(f"duplicate id {ids[ids.duplicated()][0]!r}; ids must be unique")
    table = table.set_axis(ids)
    columns = {str(name): plain_column(column, name, ids) for name, column in table.items()}
    names = pd.Index(columns, dtype=object)
    return pd.DataFrame(columns, index=ids).set_axis(names, axis=1)


def plain_column(values, name, ids):
    """One value an image as a Series of NumPy's numbers, bools or dates, or of objects, None where one is missing.

    Parameters
    ----------
    values : sequence, pandas object of any type or dict
    name : str
        Of the column.
    ids : Index of str
        Of the Series; the index of a pandas object is matched with it.
    """
    values = aligned(values, ids, f"values of column {name!r}", like=ids)
    dtype = getattr(values, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind in "biufmM" and np.ndim(values) == 1:
        return pd.Series(np.asarray(values), ids)
    values = values.array if isinstance(values, pd.Series) else values
    column = pd.Series(as_labels(values, what=f"column {name!r}"), ids, dtype=object)
    kinds = set(map(type, column))
    is_plain = not kinds - {float, type(None)} or kinds in ({int}, {bool})
    return column.infer_objects() if is_plain else column


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
    if is_several(value) and not isinstance(value, dict):
        return ", ".join(map(text_of, value))
    if is_missing(value):
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value) if whole else value)


def read_csv(file):
    """Read a CSV file as text, as it is written.

    Parameters
    ----------
    file : Path
        UTF-8, or else Windows-1252; separated by comma, semicolon, tab or ``|``.

    Returns
    -------
    DataFrame of str

    Raises
    ------
    ValueError
        No text, a quotation mark that is not closed, a row with too many fields.
    """
    data = file.read_bytes()
    try:
        data = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        log.warning("%s is not UTF-8; it was read as Windows-1252: look at its accents", file.name)
        data = data.decode("cp1252", "replace")
    separator = max(",;\t|", key=data.partition("\n")[0].count)
    how = {"dtype": str, "keep_default_na": False, "skipinitialspace": True, "index_col": False}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # too many fields in a row
            texts = pd.read_csv(io.StringIO(data), sep=separator, **how)
    except (ValueError, pd.errors.ParserWarning) as error:
        mend = f"quote the fields that hold {separator!r}"
        raise ValueError(f"{file.name} cannot be read as CSV ({error}); {mend}") from error
    return texts.rename(columns=str.strip)


def _from_text(values, keep):
    """Fields of a CSV as objects, None for the empty one; as numbers where each is written as such a number is."""
    values = values.astype(object).where(values != "", None)
    there = values.dropna()
    numbers = not keep and len(there) and there.str.fullmatch(_NUMBER).all()
    return pd.to_numeric(values) if numbers else values


# ---------------------------------------------------------------------- files in folders


def list_images(root):
    """List the image files below a folder; only those with an unknown ending are opened, to see how they start.

    Returns
    -------
    ids : list of str
        Paths below `root` with ``/``, sorted.
    paths : list of Path
    problems : list of (name, reason)
        Empty and special files, folders that may not be entered, and images in formats that are not read.
    """
    if not root.is_dir():
        error = NotADirectoryError if root.exists() else FileNotFoundError
        raise error(f"no such folder: {root}; give a folder, or use images.read_image")
    found, problems, known, left_out = [], [], set(), {}
    pending = deque([("", root)])  # folders of the tree at its end, links to others before them
    while pending:
        prefix, folder = pending.pop()
        try:
            key = os.stat(folder)[1:3]  # the file system, and the folder in it
            if key in known:
                problems.append((prefix[:-1], "a link to a folder that is listed already"))
                continue
            known.add(key)
            entries = [one for one in os.scandir(folder) if not one.name.startswith(".")]
        except OSError as error:
            problems.append((prefix or str(root), f"folder cannot be read ({error.strerror})"))
            continue
        for entry in sorted(entries, key=lambda entry: entry.name):
            name, lower = prefix + printable(entry.name), entry.name.lower()
            if not entry.is_dir():
                if (verdict := is_image(entry.path)) is True:
                    found.append((name, entry.path))
                elif verdict:
                    problems.append((name, verdict))
            elif not _SYSTEM.fullmatch(lower):
                add = pending.appendleft if entry.is_symlink() else pending.append
                add((name + "/", entry.path))
            else:
                left_out.setdefault(lower, name)  # the first of this name
    reason = "a folder of the system or of a program: nothing in it is listed"
    problems += [(name, reason) for name in left_out.values()]
    if not found:
        first = f" (the first: {': '.join(problems[0])})" if problems else ""
        raise ValueError(f"no usable image ({KINDS}) in {root}, {len(problems)} refused{first}")
    ids = {}
    for name, path in sorted(found):
        while (name := normalize("NFC", name)) in ids:
            name = " (2)".join(os.path.splitext(name))
        ids[name] = Path(path)
    return sorted(ids), [ids[name] for name in sorted(ids)], sorted(problems)


def printable(name):
    """A file name or path as text that can be written as UTF-8 (on some systems file names are any bytes)."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def absolute(path):
    """As `expanded`, from the root of the disk on, so that it stays the same file wherever the program goes."""
    return expanded(path).absolute()


def as_on_disk(path):
    """The file of this name, its accents composed or not and its folders divided by ``/`` or a backslash; None if there is none."""
    forms = (str(path), *(normalize(form, str(path)) for form in ("NFC", "NFD")))
    names = (name for form in forms for name in (form, form.replace("\\", "/")))
    return next((Path(name) for name in names if os.path.isfile(name)), None)


# ---------------------------------------------------------------------- labels


def labels_of_folders(ids):
    """What the folders of images say of them.

    Folders that all images lie in say nothing. Where all of the next ones are called as the parts of a benchmark are (train,
    val, test, query, database …) they are the column ``split``, and the folders in them the labels.

    Parameters
    ----------
    ids : list of str
        Paths with ``/``.

    Returns
    -------
    dict of list
        ``label`` and ``split``, those that tell images apart.
    """
    folders = _apart([i.split("/")[:-1] for i in ids])
    columns = {"label": [parts[0] if parts else None for parts in folders]}
    if all(name is None or _SPLITS.fullmatch(name) for name in columns["label"]):
        inner = _apart([parts[1:] for parts in folders])
        columns |= {"split": columns["label"], "label": [one[0] if one else None for one in inner]}
    return {name: values for name, values in columns.items() if len(set(values) - {None}) > 1}


def _apart(folders):
    """Folders without those that all of them begin with."""
    shared = len(os.path.commonprefix([min(folders), max(folders)]))
    return [parts[shared:] for parts in folders]


def labels_of_file(spec, root, ids):
    """What a CSV file says of images that it names by id, by file name or by file name without ending, where these are unique.

    Parameters
    ----------
    spec : str
        The file, in the folder or anywhere. ``FILE:COLUMN`` names the column with the labels; else it is the one called label,
        class, category …, or the only one that divides the images.
    root : Path
        The folder.
    ids : list of str

    Returns
    -------
    columns : dict of array (n_images,)
        With ``label``; None where no row names an image.
    problems : list of (name, reason)
        Rows that name no image.

    Raises
    ------
    ValueError
        There is no such file, it cannot be read, names none of the images or one twice, or has no such column.
    """
    specs = ((spec, None), spec.rpartition(":")[::2])
    files = [(place(name), column) for place in (root.joinpath, absolute) for name, column in specs]
    file, column = next((pair for pair in files if pair[0].is_file()), (None, None))
    if file is None:
        raise ValueError(f'labels: "folder", None or a CSV file; there is no such file: {spec!r}')
    texts = read_csv(file)
    known = texts.map(_finder(ids))
    path = (known >= 0).sum().idxmax()
    there, columns = known[path] >= 0, f"its columns: {', '.join(texts)}"
    if not there.any():
        raise ValueError(f"{file.name} names none of the {len(ids)} images; {columns}")
    rest = texts[there].set_axis(known[path][there], axis=0).drop(columns=path)
    if not rest.index.is_unique:
        twice = ids[rest.index[rest.index.duplicated()][0]]
        raise ValueError(f"{file.name} names {twice} more than once; give one row an image")
    divides = [name for name in rest if 1 < rest[name].nunique() <= max(2, len(rest) / 2)]
    named = [name for one in _LABELS for name in rest if name.lower() == one]
    choices = [name for name in rest if name == column] if column else named[:1] or divides
    if len(choices) != 1:
        asked = f"has no column {column!r}" if column else f"may hold labels in {divides}"
        raise ValueError(f"{file.name} {asked}; name the column, {spec}:COLUMN; {columns}")
    rows = {name: _from_text(rest[name], name in _TEXT) for name in rest if name != "path"}
    rows["label"] = _from_text(rest[choices[0]], True)
    rows = {name: one.reindex(range(len(ids))).to_numpy() for name, one in rows.items()}
    reason = f"named by {file.name}; there is no such image"
    return rows, [(name or "no name", reason) for name in texts[path][~there]]


def _finder(ids):
    """A function from what a table calls an image to its number, -1 where it is unknown or may be several."""
    tails, places = [i.rsplit("/", 1)[-1] for i in ids], {}
    for names in (ids, tails, [tail.rpartition(".")[0] for tail in tails]):
        counts = Counter(names)
        places = {name: i for i, name in enumerate(names) if counts[name] == 1} | places
    return lambda text: places.get(normalize("NFC", text).replace("\\", "/").removeprefix("./"), -1)


def say_tables(root):
    """Log which tables in the folder might know labels."""
    files = sorted(file.name for file in root.iterdir() if file.suffix.lower() in (".csv", ".tsv"))
    for name in files[:_MOST_TABLES]:
        text = "%s is not used; for its labels: from_folder(…, labels=%r), --labels %s"
        log.warning(text, name, name, name)


def say_alike(labels):
    """Log which labels are the same but for upper and lower case or spaces: they are taken for different classes."""
    forms = pd.Series(sorted({label for label in labels if isinstance(label, str)}), dtype=object)
    forms = forms[forms.map(lambda label: label.strip().casefold()).duplicated(keep=False)]
    if len(forms):
        text = "%s are taken for different classes; rename those that are one"
        log.warning(text, ", ".join(map(repr, forms)))
