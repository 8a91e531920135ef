"""What is known of images before they are read: files in folders, tables of them, labels."""

import codecs
import io
import logging
import os
import re
import warnings
from collections import Counter, deque
from itertools import chain, count
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pandas as pd

from cbirkit._atomic import expanded
from cbirkit.ranking.codes import aligned, as_labels, is_missing

from .files import EXTENSIONS, is_image

log = logging.getLogger(__name__)

# Folders of file servers, operating systems and photo programs: thumbnails, previews and deleted files.
_SYSTEM = re.compile(
    r"@eadir|@tmp|@recycle|@recently-snapshot|@database|@sharebin|[#~]snapshot|#recycle|\$recycle\.bin|recycle[rd]"
    r"|system volume information|lost\+found|__macosx|network trash folder|temporary items|thevolumesettingsfolder"
    r"|ipod photo cache|thumbs\.db|captureone|found\.\d{3}|.*\.(\w*library|lrdata|lrcat-data|cocatalog|fcpbundle|theater)"
)
_MASKS = re.compile(
    r"(segmentation_?)?(masks?|labels?|annotations?)|\w*annot|segmentation\w*|ground_?truth|gt"
)
_MOST_TABLES, _MOST_BYTES = 5, 16_000_000  # files that are looked into for labels, and their size
_SPLITS = {
    "train", "training", "val", "valid", "validation", "dev", "test", "testing", "query", "queries", "database", "gallery",
}  # fmt: skip
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
    table = aligned(table, ids, "table", like) if len(ids) == n else table
    if len(table) != n or len(ids) != n:
        raise ValueError(
            f"got {n} images, {len(table)} table rows and {len(ids)} ids; give one each"
        )
    return table.set_index(pd.Index(ids, dtype=object))


def checked_table(table):
    """The table with plain columns of text names; ids are checked to be unique strings."""
    ids = pd.Index(table.index, dtype=object)
    if not all(isinstance(i, str) for i in ids):
        raise TypeError("ids must be strings; use table.index.astype(str)")
    if not ids.is_unique:
        raise ValueError(f"duplicate id {ids[ids.duplicated()][0]!r}; ids must be unique")
    columns = {str(name): plain_column(table.iloc[:, i], name) for i, name in enumerate(table)}
    if len(columns) < table.shape[1]:
        raise ValueError(f"the table has two columns of one name: {[*table]}; rename one")
    columns = {name: pd.Series(values, ids, values.dtype) for name, values in columns.items()}
    names = pd.Index(columns, dtype=object)
    return pd.DataFrame(columns, index=ids).set_axis(names, axis=1)


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
    values = values.array if isinstance(values, pd.Series) else values
    array = as_labels(values, what=f"column {name!r}")
    kinds = set(map(type, array))
    if not kinds - {float, type(None)} or kinds in ({int}, {bool}):
        return pd.Series(array, dtype=object).infer_objects().to_numpy()
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
    if is_several(value) and not isinstance(value, dict):
        return ", ".join(map(text_of, value))
    if is_missing(value):
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value) if whole else value)


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
        No text, a quotation mark that is not closed, a row with too many fields.
    """
    data = file.read_bytes()
    utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        data = data.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeDecodeError:
        log.warning("%s is not UTF-8; it was read as Windows-1252: look at its accents", file.name)
        data = data.decode("cp1252", "replace")
    head = data.partition("\n")[0]
    separator = max(",;\t|", key=head.count)
    how = {"dtype": str, "keep_default_na": False, "skipinitialspace": True, "index_col": False}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # too many fields in a row
            texts = pd.read_csv(io.StringIO(data), sep=separator, **how)
    except (ValueError, pd.errors.ParserWarning) as error:
        mend = f"quote the fields that hold {separator!r}"
        raise ValueError(f"{file.name} cannot be read as CSV ({error}); {mend}") from error
    texts.columns = texts.columns.str.strip()
    return pd.DataFrame(
        {name: _from_text(texts[name], text is None or name in {*_TEXT, *text}) for name in texts}
    )


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
    found, problems, known, left_out = [], [], set(), set()
    pending = deque(
        [("", root)]
    )  # folders from the right end, then those that were reached by links
    while pending:
        prefix, folder = pending.pop()
        try:
            state = os.stat(folder)
            if (state.st_dev, state.st_ino) in known:
                problems.append((prefix[:-1], "a link to a folder that is listed already"))
                continue
            known.add((state.st_dev, state.st_ino))
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            problems.append((prefix or str(root), f"folder cannot be read ({error.strerror})"))
            continue
        for entry in entries:
            name, lower = prefix + printable(entry.name), entry.name.lower()
            if entry.name.startswith("."):
                continue
            if not entry.is_dir():
                if (verdict := is_image(entry.path)) is True:
                    found.append((name, entry.path))
                elif verdict:
                    problems.append((name, verdict))
            elif not _SYSTEM.fullmatch(lower):
                add = pending.appendleft if entry.is_symlink() else pending.append
                add((name + "/", entry.path))
            elif lower not in left_out:  # the first of this name
                left_out.add(lower)
                reason = "a folder of the system or of a program: nothing in it is listed"
                problems.append((name, reason))
    if not found:
        first = f" (the first: {': '.join(problems[0])})" if problems else ""
        endings = f"0 files ending in {' '.join(EXTENSIONS)}"
        raise ValueError(f"no usable image in {root}: {endings}, {len(problems)} refused{first}")
    ids = {}
    for name, path in sorted(found):
        name = normalize("NFC", name)  # so that it is found however its accents are written
        stem, ending = os.path.splitext(name)
        names = chain([name], (f"{stem} ({n}){ending}" for n in count(2)))
        ids[next(name for name in names if name not in ids)] = Path(path)
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


def labels_of_folders(ids, how):
    """What the folders of images say of them.

    Folders that all images lie in say nothing. Where all of the next ones are called as the parts of a benchmark are (train,
    val, test, query, database …) they are the column ``split``, and the folders in them the labels.

    Parameters
    ----------
    ids : list of str
        Paths with ``/``.
    how : "folder" or "parent"
        See `ImageCollection.from_folder`.

    Returns
    -------
    dict of list
        ``label`` and ``split``, those that tell images apart.
    """
    folders, columns = _apart([i.split("/")[:-1] for i in ids]), {}
    first = [parts[0] if parts else None for parts in folders]
    names = set(first) - {None}
    if parts := {one for one in names if one.lower() in _SPLITS}:
        if parts == names:
            columns["split"], folders = first, _apart([parts[1:] for parts in folders])
        elif len(parts) > 1:
            text = "%s are taken for classes, as %s is: open one alone if they are parts of a benchmark"
            log.warning(text, ", ".join(sorted(parts)), min(names - parts))
    columns["label"] = [parts[-1 if how == "parent" else 0] if parts else None for parts in folders]
    return {name: values for name, values in columns.items() if len(set(values) - {None}) > 1}


def _apart(folders):
    """Folders without those that all of them begin with."""
    shared = len(os.path.commonprefix([min(folders), max(folders)]))
    return [parts[shared:] for parts in folders]


def labels_of_file(spec, root, ids):
    """What a CSV file says of the images in a folder, as `columns_for`, with a ``label``; ``FILE:COLUMN`` names the column."""
    specs = ((spec, None), spec.rpartition(":")[::2])
    places = [
        (place(name), column) for place in (root.joinpath, absolute) for name, column in specs
    ]
    file, column = next((pair for pair in places if pair[0].is_file()), (None, None))
    if file is None:
        known = f'"folder", "parent", None or a CSV file; there is no such file: {spec!r}'
        raise ValueError(f"labels must be {known}")
    columns, choices, problems = columns_for(file, ids, column)
    if "label" not in columns:
        there = f"Name it: {spec}:COLUMN; there are: {', '.join(choices) or 'none'}"
        raise ValueError(f"which column of {file.name} holds the labels? {there}")
    return columns, problems


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
    texts, places = read_csv(file, text=None), {}
    tails = [i.rsplit("/", 1)[-1] for i in ids]
    for names in (ids, tails, [tail.rpartition(".")[0] for tail in tails]):
        counts = Counter(names)
        places = {name: i for i, name in enumerate(names) if counts[name] == 1} | places

    def place(text):
        return places.get(normalize("NFC", text or "").replace("\\", "/").removeprefix("./"), -1)

    known = texts.map(place)
    path = (known >= 0).sum().idxmax()
    there, columns = known[path] >= 0, f"its columns: {', '.join(texts)}"
    if not there.any():
        raise ValueError(f"{file.name} names none of the {len(ids)} images; {columns}")
    rest = texts[there].set_axis(known[path][there], axis=0).drop(columns=path)
    if not rest.index.is_unique:
        twice = ids[rest.index[rest.index.duplicated()][0]]
        raise ValueError(f"{file.name} names {twice} more than once; give one row an image")
    if column is not None and column not in rest:
        raise ValueError(f"{file.name} has no column {column!r} for labels; {columns}")
    divides = [name for name in rest if 1 < rest[name].nunique() <= max(2, len(rest) / 2)]
    named = [name for one in _LABELS for name in rest if name.lower() == one]
    choices = [column] if column else named[:1] or divides
    rows = {name: _from_text(rest[name], name in _TEXT) for name in rest if name != "path"}
    if len(choices) == 1:
        rows["label"] = rest[choices[0]]
    rows = {name: one.reindex(range(len(ids))).to_numpy() for name, one in rows.items()}
    reason = f"named by {file.name}; there is no such image"
    problems = [(name or "no name", reason) for name in texts[path][~there]]
    return rows, choices or divides, problems


def say_tables(root, ids, labels):
    """Log which CSV files in the folder know labels other than those, if any, that were found without them."""
    files = sorted(file for file in root.iterdir() if file.suffix.lower() in (".csv", ".tsv"))
    for file in files[:_MOST_TABLES]:
        try:
            if file.stat().st_size > _MOST_BYTES:
                continue
            columns, choices, _ = columns_for(file, ids)
        except (OSError, ValueError):  # a table of something else
            continue
        if choices and (labels is None or list(columns.get("label", ())) != list(labels)):
            spec = file.name if "label" in columns else f"{file.name}:COLUMN"
            text = "%s knows labels of these images (%s): from_folder(…, labels=%r), --labels %s"
            log.warning(text, file.name, ", ".join(choices), spec, spec)


def say_masks(ids):
    """Log which folders look like masks of the images beside them: called so, with files called as those are."""
    paths = [(os.path.dirname(i), os.path.basename(i).rsplit(".", 1)[0]) for i in ids]
    masks = {folder for folder, _ in paths if any(map(_MASKS.fullmatch, folder.lower().split("/")))}
    stems = {stem for folder, stem in paths if folder not in masks} if masks else ()
    paths = [(folder, stem) for folder, stem in paths if folder in masks]
    hit = [folder for folder, stem in paths if {stem, stem.rpartition("_")[0]} & set(stems)]
    if hit:
        text = "%d images in %s are called as others are: if they are masks, open the images' folder alone"
        log.warning(text, len(hit), ", ".join(sorted(set(hit))[:3]))


def say_alike(labels):
    """Log which labels are the same but for upper and lower case or spaces: they are taken for different classes."""
    forms = {}
    for label in sorted({label for label in labels if isinstance(label, str)}):
        forms.setdefault(label.strip().casefold(), []).append(label)
    for alike in forms.values():
        if len(alike) > 1:
            text = "%s are taken for %d classes; rename them if they are one"
            log.warning(text, ", ".join(map(repr, alike)), len(alike))
