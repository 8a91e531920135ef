"""Find image files: in a folder, or named by a table."""

import logging
import os
import re
from functools import cache
from itertools import chain, count
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pandas as pd

from .._atomic import expanded
from .tables import columns_for, read_csv, text_of
from .unread import EXTENSIONS, sorted_out

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
        raise NotADirectoryError(
            f"{root} is a file; give a folder, or read one image with images.read_image"
        )
    found, problems, kept_out, followed = [], [], {}, set()
    pending = [
        ("", root, frozenset(), None)
    ]  # with the folders around it, and by which link it was reached
    while pending:
        prefix, folder, above, link = pending.pop()
        try:
            key = _key(folder)
            if key in above or link in followed:
                problems.append(
                    (prefix[:-1], "a link to a folder that is above it, or was listed before")
                )
                continue
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            problems.append((prefix or str(root), f"folder cannot be read ({error.strerror})"))
            continue
        followed |= {link} - {None}
        for entry in entries:
            if entry.name.startswith("."):
                continue
            name = prefix + printable(entry.name)
            if entry.is_symlink() and not os.path.exists(entry.path):
                problems.append((name, "a link to something that is not there"))
            elif not entry.is_dir():
                if (verdict := sorted_out(entry.path)) is True:
                    found.append((name, entry.path))
                elif verdict:
                    problems.append((name, verdict))
            elif entry.name.lower() in _SYSTEM or _SYSTEM_NAMES.fullmatch(entry.name.lower()):
                kept_out.setdefault(entry.name.lower(), []).append(name)
            elif recursive:
                pending.append(
                    (
                        name + "/",
                        entry.path,
                        above | {key},
                        (key, entry.name) if entry.is_symlink() else None,
                    )
                )
    for names in kept_out.values():
        more = f", nor in {len(names) - 1:,} more of this name" if len(names) > 1 else ""
        problems.append(
            (names[0], f"a folder of the system or of a program: nothing in it is listed{more}")
        )
    if not found:
        refused = (
            f", {len(problems)} refused (the first: {': '.join(problems[0])})" if problems else ""
        )
        raise ValueError(
            f"no usable image in {root}: 0 files ending in {' '.join(EXTENSIONS)}{refused}"
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
    for name, path in sorted(
        found, key=lambda pair: (normalize("NFC", pair[0]) not in pair[1], os.fsencode(pair[1]))
    ):
        stem, ending = os.path.splitext(name)
        forms = chain((normalize("NFC", name), name), (f"{stem} ({n}){ending}" for n in count(2)))
        ids[path] = next(form for form in forms if form not in taken)
        taken.add(ids[path])
    return [ids[path] for _, path in found]


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
            log.warning(
                "%s are taken for classes, as %s is: open one of them alone if they are parts of a benchmark",
                ", ".join(sorted(parts)),
                min(names - parts),
            )
    columns["label"] = [parts[-1 if how == "parent" else 0] if parts else None for parts in folders]
    return {name: values for name, values in columns.items() if len(set(values) - {None}) > 1}


def _apart(folders):
    """Folders without those that all of them begin with."""
    shared = len(os.path.commonprefix([min(folders), max(folders)]))
    return [parts[shared:] for parts in folders]


def labels_of_file(spec, root, ids):
    """What a CSV file says of the images in a folder, as `columns_for`, with a ``label``; ``FILE:COLUMN`` names the column."""
    files = [(root / name, column) for name, column in ((spec, None), spec.rpartition(":")[::2])]
    files += [
        (absolute(name), column) for name, column in ((spec, None), spec.rpartition(":")[::2])
    ]
    file, column = next(((file, column) for file, column in files if file.is_file()), (None, None))
    if file is None:
        raise ValueError(
            f'labels must be "folder", "parent", None or a CSV file, got {spec!r}; there is no such file'
        )
    columns, choices, problems = columns_for(file, ids, column)
    if "label" not in columns:
        raise ValueError(
            f"which column of {file.name} holds the labels? Name it: {spec}:COLUMN; there are: {', '.join(choices) or 'none'}"
        )
    return columns, problems


def say_tables(root, ids, labels):
    """Log which CSV files in the folder know labels other than those, if any, that were found without them."""
    for file in sorted(file for file in root.iterdir() if file.suffix.lower() in (".csv", ".tsv"))[
        :_MOST_TABLES
    ]:
        try:
            if file.stat().st_size > _MOST_BYTES:
                continue
            columns, choices, _ = columns_for(file, ids)
        except (OSError, ValueError):  # a table of something else
            continue
        if choices and (labels is None or list(columns.get("label", ())) != list(labels)):
            spec = file.name if "label" in columns else f"{file.name}:COLUMN"
            log.warning(
                "%s knows labels of these images (%s): from_folder(…, labels=%r), --labels %s",
                file.name,
                ", ".join(choices),
                spec,
                spec,
            )


def say_masks(ids):
    """Log which folders look like masks of the images beside them: called so, with files called as those are."""
    paths = [(os.path.dirname(i), os.path.basename(i).rsplit(".", 1)[0]) for i in ids]
    masks = {folder for folder, _ in paths if any(map(_MASKS.fullmatch, folder.lower().split("/")))}
    stems = {stem for folder, stem in paths if folder not in masks} if masks else ()
    hit = [
        folder
        for folder, stem in paths
        if folder in masks and (stem in stems or stem.rpartition("_")[0] in stems)
    ]
    if hit:
        log.warning(
            "%d images in %s are called as others are: if they are masks, open the folder of the images alone",
            len(hit),
            ", ".join(sorted(set(hit))[:3]),
        )


def say_alike(labels):
    """Log which labels are the same but for upper and lower case or spaces: they are taken for different classes."""
    forms = {}
    for label in sorted({label for label in labels if isinstance(label, str)}):
        forms.setdefault(label.strip().casefold(), []).append(label)
    for alike in forms.values():
        if len(alike) > 1:
            log.warning(
                "%s are taken for %d classes; rename them if they are one",
                ", ".join(map(repr, alike)),
                len(alike),
            )


def printable(name):
    """A file name or path as text that can be written as UTF-8 (on some systems file names are any bytes)."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def real_paths():
    """A function that follows the links in paths, quick for many in one folder."""
    folder = cache(os.path.realpath)
    return lambda path: (
        os.path.realpath(path)
        if os.path.islink(path)
        else os.path.join(folder(path.parent), path.name)
    )


def absolute(path):
    """As `expanded`, from the root of the disk on, so that it stays the same file wherever the program goes."""
    return expanded(path).absolute()


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
            raise ValueError(
                f"{how} {column!r} in the table; its columns: {', '.join(map(str, table))}. Set path="
            )
    if not len(table):
        raise ValueError(f"the table {name!r} has no rows")
    root = absolute("." if root is None else root)
    names, keys = ([text_of(one) for one in table[column]] for column in (path, ids or path))
    found = [as_on_disk(root / part) if part else None for part in names]
    problems = [
        (key or f"row {number}", "no such file" if part else "no file is named")
        for number, (key, part, file) in enumerate(zip(keys, names, found, strict=True)) if file is None
    ]  # fmt: skip
    if len(problems) == len(table):
        raise ValueError(
            f"none of the {len(table)} files in column {path!r} exists below {root}; set root="
        )
    there = np.array([file is not None for file in found], dtype=bool)
    if "" in (kept := [key for key, file in zip(keys, found, strict=True) if file is not None]):
        raise ValueError(f"column {ids!r} has an empty id; give every image one")
    paths = [file for file in found if file is not None]
    table = (
        table[there]
        .set_index(pd.Index(kept, dtype=object))
        .assign(path=[printable(file) for file in paths])
    )
    return table, paths, root, name, problems


def as_on_disk(path):
    """The file of this name, its accents composed or not and its folders divided by ``/`` or a backslash; None if there is none."""
    forms = (str(path), *(normalize(form, str(path)) for form in ("NFC", "NFD")))
    return next(
        (
            Path(one)
            for form in forms
            for one in (form, form.replace("\\", "/"))
            if os.path.isfile(one)
        ),
        None,
    )
