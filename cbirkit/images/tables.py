"""What is known of images before they are read: files in folders, tables of them, labels."""

import codecs
import csv
import io
import logging
import os
import re
from collections import Counter
from functools import cache
from itertools import chain, count, zip_longest
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pandas as pd

from cbirkit._atomic import expanded
from cbirkit.ranking.codes import aligned, as_labels, is_missing

from .files import EXTENSIONS, is_image

log = logging.getLogger(__name__)

# Folders of file servers, operating systems and photo programs: thumbnails, previews and deleted files.
_SYSTEM = {
    "@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "$recycle.bin", "recycler", "recycled",
    "@database", "@sharebin", "~snapshot", "system volume information", "lost+found", "__macosx", "network trash folder",
    "temporary items", "thevolumesettingsfolder", "ipod photo cache", "thumbs.db", "captureone",
}  # fmt: skip
_SYSTEM_NAMES = re.compile(
    r"found\.\d{3}|.*\.(\w*library|lrdata|lrcat-data|cocatalog|fcpbundle|theater)"
)
_MASKS = re.compile(
    r"(segmentation_?)?(masks?|labels?|annotations?)|\w*annot|segmentation\w*|ground_?truth|gt"
)
_MOST_TABLES, _MOST_BYTES = 5, 16_000_000  # files that are looked into for labels, and their size
_SPLITS = {
    "train", "training", "val", "valid", "validation", "dev", "test", "testing", "query", "queries", "database", "gallery",
}  # fmt: skip


_AS_WRITTEN = ("path", "mask")  # names of files: not even the form of their accents is changed
# Columns of a CSV that are never numbers, and those that are labels.
_TEXT = {*_AS_WRITTEN, "label", "instance", "split", "domain", "caption"}
_LABELS = ("label", "labels", "class", "class_name", "category", "species", "target", "superclass", "group", "instance")  # fmt: skip
_SEPARATORS = ",;\t|"

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
    ids, names = pd.Index(table.index, dtype=object), [str(name) for name in table.columns]
    if not all(isinstance(i, str) for i in ids):
        raise TypeError("ids must be strings; use table.index.astype(str)")
    if not ids.is_unique:
        twice = ids[ids.duplicated()][0]
        first, second = np.flatnonzero(ids == twice)[:2]
        raise ValueError(f"duplicate id {twice!r} (rows {first} and {second}); ids must be unique")
    _refuse_twice(names, "the table")
    checked = pd.DataFrame(index=ids)
    for i, name in enumerate(names):
        values = plain_column(table.iloc[:, i], name)
        checked[name] = pd.Series(values, ids, values.dtype)
    return checked.set_axis(pd.Index(names, dtype=object), axis=1)


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
        values = [None if is_missing(v) or isinstance(v, str) and not v else v for v in values]
        return pd.Series(values, dtype=object).to_numpy()
    values = values.array if isinstance(values, pd.Series) else values
    array = as_labels(values, what=f"column {name!r}")
    kinds, there = set(map(type, array)), [value for value in array if value is not None]
    if float in kinds and kinds <= {float, type(None)}:
        return array.astype(np.float64)
    if set(map(type, there)) == {pd.Timestamp} and not any(value.tz for value in there):
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
        No text, a quotation mark that is not closed, a row with too many fields, a column name twice.
    """
    lines = io.StringIO(_decoded(file), newline="")
    head = lines.readline()
    if head.lower().startswith("sep="):  # Excel's own
        head = lines.readline()
    if not head.strip():
        raise ValueError(f"{file.name} does not begin with the names of its columns; add them")
    separator = max(_SEPARATORS, key=lambda one: len(next(csv.reader([head], delimiter=one), [])))
    spaced = any(name.startswith(" ") for name in head.split(separator)[1:])
    lines.seek(lines.tell() - len(head))
    try:
        names, *rows = csv.reader(lines, delimiter=separator, skipinitialspace=spaced, strict=True)
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{file.name} cannot be read as CSV ({error}); save it anew") from error
    names = [name.strip() or f"column {i}" for i, name in enumerate(names)]
    rows = [row for row in rows if any(row)]
    for number, row in enumerate(rows, 2):
        if any(row[len(names) :]):
            raise ValueError(
                f"row {number} of {file.name} has {len(row)} fields for {len(names)} columns; quote those that hold {separator!r}"
            )
    _refuse_twice(names, file.name)
    keep = set(names) if text is None else {*_TEXT, *text}
    columns = list(zip_longest(names, *rows, fillvalue=""))[: len(names)]
    return pd.DataFrame({name: _from_text(values, name in keep) for name, *values in columns})


def _refuse_twice(names, what):
    if len(set(names)) < len(names):
        twice = max(names, key=names.count)
        raise ValueError(f"{what} has two columns called {twice!r}; rename one")


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
    array, there = pd.Series(values, dtype=object).to_numpy(), [v for v in values if v is not None]
    try:
        numbers = [] if keep else [float(value) for value in there]
    except ValueError:  # text
        return array
    same = all(text_of(n) == value for n, value in zip(numbers, there, strict=False))
    if not numbers or not same or not max(map(abs, numbers)) < 2**53:  # infinite, or inexact
        return array
    whole = len(there) == len(values) and all(number.is_integer() for number in numbers)
    return array.astype(np.int64 if whole else np.float64)


# ---------------------------------------------------------------------- files in folders


def list_images(root, recursive):
    """List the image files below a folder; only those with an unknown ending are opened, to see how they start.

    Returns
    -------
    ids : list of str
        Paths below `root` with ``/``, sorted.
    paths : list of Path
    problems : list of (name, reason)
        Empty and special files, folders that may not be entered, and images in formats that are not read.
    """
    if not root.exists():
        raise FileNotFoundError(f"no such folder: {root}")
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is a file; give a folder, or use images.read_image")
    found, problems, kept_out, followed = [], [], Counter(), set()
    # with the folders around it, and by which link it was reached
    pending = [("", root, frozenset(), None)]
    while pending:
        prefix, folder, above, link = pending.pop()
        try:
            key = _key(folder)
            if key in above or link in followed:
                reason = "a link to a folder that is above it, or was listed before"
                problems.append((prefix[:-1], reason))
                continue
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            problems.append((prefix or str(root), f"folder cannot be read ({error.strerror})"))
            continue
        followed |= {link} - {None}
        for entry in entries:
            name, lower = prefix + printable(entry.name), entry.name.lower()
            if entry.name.startswith("."):
                continue
            if entry.is_symlink() and not os.path.exists(entry.path):
                problems.append((name, "a link to something that is not there"))
            elif not entry.is_dir():
                if (verdict := is_image(entry.path)) is True:
                    found.append((name, entry.path))
                elif verdict:
                    problems.append((name, verdict))
            elif lower in _SYSTEM or _SYSTEM_NAMES.fullmatch(lower):
                kept_out[lower] += 1
                if kept_out[lower] == 1:  # of this name
                    reason = "a folder of the system or of a program: nothing in it is listed"
                    problems.append((name, reason))
            elif recursive:
                link = (key, entry.name) if entry.is_symlink() else None
                pending.append((name + "/", entry.path, above | {key}, link))
    if not found:
        first = f" (the first: {': '.join(problems[0])})" if problems else ""
        raise ValueError(
            f"no usable image in {root}: 0 files ending in {' '.join(EXTENSIONS)}, "
            f"{len(problems)} refused{first}"
        )
    found = sorted(zip(_ids(found), (path for _, path in found), strict=True))
    return [name for name, _ in found], [Path(path) for _, path in found], sorted(problems)


def _key(folder):
    """What tells a folder from all others, whatever it is called."""
    state = os.stat(folder)
    return (state.st_dev, state.st_ino) if state.st_ino else os.path.realpath(folder)


def _ids(found):
    """Names with their accents composed, so that they are found by them; made unique where two files would share one."""
    ids, taken = {}, set()
    order = lambda pair: (normalize("NFC", pair[0]) not in pair[1], os.fsencode(pair[1]))
    for name, path in sorted(found, key=order):
        stem, ending = os.path.splitext(name)
        forms = chain((normalize("NFC", name), name), (f"{stem} ({n}){ending}" for n in count(2)))
        ids[path] = next(form for form in forms if form not in taken)
        taken.add(ids[path])
    return [ids[path] for _, path in found]


def printable(name):
    """A file name or path as text that can be written as UTF-8 (on some systems file names are any bytes)."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def real_paths():
    """A function that follows the links in paths, quick for many in one folder."""
    folder = cache(os.path.realpath)

    def real(path):
        if os.path.islink(path):
            return os.path.realpath(path)
        return os.path.join(folder(path.parent), path.name)

    return real


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
    files = [(root / name, column) for name, column in specs]
    files += [(absolute(name), column) for name, column in specs]
    file, column = next((pair for pair in files if pair[0].is_file()), (None, None))
    if file is None:
        known = f'"folder", "parent", None or a CSV file; there is no such file: {spec!r}'
        raise ValueError(f"labels must be {known}")
    columns, choices, problems = columns_for(file, ids, column)
    if "label" not in columns:
        raise ValueError(
            f"which column of {file.name} holds the labels? Name it: {spec}:COLUMN; there are: {', '.join(choices) or 'none'}"
        )
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
    texts = read_csv(file, text=None)
    tails = [i.rsplit("/", 1)[-1] for i in ids]
    places = {}
    for names in (ids, tails, [tail.rpartition(".")[0] for tail in tails]):
        counts = Counter(names)
        for i, name in enumerate(names):
            if counts[name] == 1:
                places.setdefault(name, i)

    def place(text):
        return places.get(normalize("NFC", text or "").replace("\\", "/").removeprefix("./"), -1)

    known = {name: texts[name].map(place).to_numpy() for name in texts}
    path = max(known, key=lambda name: (known[name] >= 0).sum())
    there, at = known[path] >= 0, known[path][known[path] >= 0]
    if not len(at):
        raise ValueError(
            f"{file.name} names none of the {len(ids)} images in any column; its columns: {', '.join(texts)}"
        )
    if len(set(at)) < len(at):
        twice = ids[Counter(at.tolist()).most_common(1)[0][0]]
        raise ValueError(f"{file.name} names {twice} more than once; give one row an image")
    rest = texts.drop(columns=path)[there]
    if column is not None and column not in rest:
        raise ValueError(
            f"{file.name} has no column {column!r} for labels; its columns: {', '.join(texts)}"
        )
    divides = [name for name in rest if 1 < rest[name].nunique() <= max(2, len(rest) / 2)]
    named = [name for one in _LABELS for name in rest if name.lower() == one]
    choices = [column] if column else named[:1] or divides
    columns = {name: _from_text(rest[name], name in _TEXT) for name in rest if name != "path"}
    if len(choices) == 1:
        columns["label"] = rest[choices[0]].to_numpy()
    rows = pd.DataFrame(columns, index=at).reindex(range(len(ids)))
    reason = f"named by {file.name}; there is no such image"
    problems = [(name or "no name", reason) for name in texts[path][~there]]
    return {name: rows[name].to_numpy() for name in rows}, choices or divides, problems


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


def paths_from_table(table, path, root, ids=None):
    """Read a table and look for its files.

    Returns
    -------
    table : DataFrame indexed by id
        Rows whose file is there; the column `path` holds where.
    paths : list of Path
    root : Path
    name : str
    problems : list of (name, reason)
    """
    name = "table"
    if isinstance(table, str | os.PathLike):
        file = absolute(table)
        if not file.is_file():
            raise FileNotFoundError(f"no such table: {file}")
        name, root = file.resolve().parent.name, file.parent if root is None else root
        table = read_csv(file, text=(path, ids))
    for column in (path, *([ids] if ids else [])):
        if list(table.columns).count(column) != 1:
            how = "two columns" if column in table else "no column"
            raise ValueError(f"{how} {column!r} in the table; set path=, to one of {list(table)}")
    if not len(table):
        raise ValueError(f"the table {name!r} has no rows")
    root = absolute("." if root is None else root)
    names, keys = ([text_of(one) for one in table[column]] for column in (path, ids or path))
    found = [as_on_disk(root / part) if part else None for part in names]
    problems, kept = [], []
    for i, file in enumerate(found):
        if file is not None:
            kept.append(i)
        else:
            reason = "no such file" if names[i] else "no file is named"
            problems.append((keys[i] or f"row {i}", reason))
    if not kept:
        raise ValueError(
            f"none of {len(table)} files in column {path!r} exists in {root}; set root="
        )
    if "" in (ids := [keys[i] for i in kept]):
        raise ValueError("an image has an empty id; give every image one")
    paths = [found[i] for i in kept]
    table = table.iloc[kept].set_index(pd.Index(ids, dtype=object))
    table = table.assign(path=[printable(file) for file in paths])
    return table, paths, root, name, problems
