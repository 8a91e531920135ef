"""Find image files: in a folder, or named by a table."""

import os
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pandas as pd

from .tables import read_csv, text_of
from .unread import EXTENSIONS, sorted_out


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
        raise NotADirectoryError(f"{root} is a file; give a folder, or read one image with images.read_image")
    found, problems = [], []
    pending = [("", root)]
    while pending:
        prefix, folder = pending.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            problems.append((prefix or str(root), f"folder cannot be read ({error.strerror})"))
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            name = prefix + printable(entry.name)
            if entry.is_dir(follow_symlinks=False):
                if recursive:
                    pending.append((name + "/", entry.path))
            elif (verdict := sorted_out(entry.path)) is True:
                found.append((name, entry.path))
            elif verdict:
                problems.append((name, verdict))
    found.sort()
    if not found:
        refused = f", {len(problems)} refused (the first: {': '.join(problems[0])})" if problems else ""
        raise ValueError(f"no usable image in {root}: 0 files ending in {' '.join(EXTENSIONS)}{refused}")
    return [name for name, _ in found], [Path(path) for _, path in found], sorted(problems)


def printable(name):
    """A file name or path as text that can be written as UTF-8 (on some systems file names are any bytes)."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def absolute(path):
    """A path from the root of the disk on, as a Path; "~" and "~/…" begin in the home folder, "./~" is a file of that name."""
    text = os.fspath(path)
    return Path(os.path.expanduser(text) if text == "~" or text.startswith("~/") else text).absolute()


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
            raise ValueError(f"{how} {column!r} in the table; its columns: {', '.join(map(str, table))}. Set path=")
    if not len(table):
        raise ValueError(f"the table {name!r} has no rows")
    root = absolute("." if root is None else root)
    names, keys = ([text_of(one) for one in table[column]] for column in (path, ids or path))
    found = [_as_on_disk(root / part) if part else None for part in names]
    problems = [
        (key or f"row {number}", "no such file" if part else "no file is named")
        for number, (key, part, file) in enumerate(zip(keys, names, found, strict=True)) if file is None
    ]  # fmt: skip
    if len(problems) == len(table):
        raise ValueError(f"none of the {len(table)} files in column {path!r} exists below {root}; set root=")
    there = np.array([file is not None for file in found], dtype=bool)
    if "" in (kept := [key for key, file in zip(keys, found, strict=True) if file is not None]):
        raise ValueError(f"column {ids!r} has an empty id; give every image one")
    paths = [file for file in found if file is not None]
    table = table[there].set_index(pd.Index(kept, dtype=object)).assign(path=[printable(file) for file in paths])
    return table, paths, root, name, problems


def _as_on_disk(path):
    """The file of this name, its accents composed or not and its folders divided by ``/`` or a backslash; None if there is none."""
    forms = (str(path), *(normalize(form, str(path)) for form in ("NFC", "NFD")))
    return next((Path(one) for form in forms for one in (form, form.replace("\\", "/")) if os.path.isfile(one)), None)
