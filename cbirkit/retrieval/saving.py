"""A retriever as a folder: encoder, index, embeddings and what is known of the images; no pickle, no copy of the images."""

import logging
import os
from pathlib import Path

import numpy as np
import pandas as pd

from .. import indexes
from .._atomic import verify_manifest, write_folder
from ..images import ImageCollection
from ..persistence import load_estimator, load_state, save_estimator, save_state
from .database import Database

logger = logging.getLogger(__name__)

KIND = "retriever"
_SAVED = str | int | float | list | tuple | set | frozenset | dict | np.ndarray  # in a column; else as text


def save(folder, encoder, index, database, notes):
    """Write everything into `folder`, in one step.

    Parameters
    ----------
    folder : path-like
    encoder : fitted estimator
    index : fitted index
    database : Database
    notes : dict
        Further plain values.

    Returns
    -------
    pathlib.Path
    """
    folder = Path(os.path.abspath(folder))
    own = hasattr(index, "save")
    state = {**notes, "own_index": own, **_database_state(database, folder)}
    with write_folder(folder, kind=KIND) as partial:
        save_state(state, partial / "database", kind="database", name="Retriever")
        save_estimator(encoder, partial / "encoder")
        if own:
            index.save(partial / "index")
        else:
            save_estimator(index, partial / "index")
    return folder


def load(folder, images=None, trusted=()):
    """Read what `save` wrote: (encoder, index, database, notes).

    Raises
    ------
    FileNotFoundError, ValueError
        No such folder; damaged; something else; `images` lacks an indexed image.
    """
    folder = Path(folder)
    verify_manifest(folder, kind=KIND)
    encoder = load_estimator(folder / "encoder", trusted=trusted)
    notes = load_state(folder / "database", kind="database")
    own = notes.pop("own_index")
    index = indexes.load(folder / "index") if own else load_estimator(folder / "index")
    return encoder, index, _database(notes, folder, images), notes


def _database_state(database, folder):
    files = _files(database.images, folder)
    columns = {str(name): _column(database.table[name]) for name in database.table}
    if files is not None:
        columns["path"] = None  # kept in `files`; here to keep its place
    return {
        "ids": database.ids.tolist(),
        "keys": database.keys,
        "embeddings": np.asarray(database.embeddings),
        "digests": database.digests.tolist(),
        "table": columns,
        "problems": database.problems.astype(str).to_numpy(dtype=object).tolist(),
        "files": files,
        "name": "images" if database.images is None else database.images.name,
    }


def _column(column):
    """Values of a column as an array of numbers or dates, or of plain objects; what is neither is kept as text."""
    values = column.to_numpy(copy=True)
    if values.dtype.kind not in "biufmM":
        for row, value in enumerate(values):
            values[row] = value if value is None or isinstance(value, _SAVED) else str(value)
    return values


def _files(images, folder):
    """Where the image files are: below one root, given absolutely and from the folder of the retriever."""
    if images is None or not len(images):
        return None
    paths = [images.path(position) for position in range(len(images))]
    if any(path is None for path in paths):
        return None
    paths = [os.path.abspath(path) for path in paths]
    try:
        root = os.path.commonpath([os.path.dirname(path) for path in paths])
        near = os.path.relpath(root, folder)
    except ValueError:  # several drives of Windows
        return None
    names = [Path(os.path.relpath(path, root)).as_posix() for path in paths]
    return {"root": root, "from_here": Path(near).as_posix(), "names": names}


def _database(notes, folder, images):
    """The `Database` in saved notes (its entries are taken out of them)."""
    ids = np.array(notes.pop("ids"), dtype=object)
    table = pd.DataFrame(notes.pop("table"), index=pd.Index(ids, dtype=object))
    files, name = notes.pop("files"), notes.pop("name")
    if images is not None:
        images = _matched(images, ids)
        table = images.table
    elif files is not None:
        table["path"] = [os.path.join(files["root"], part) for part in files["names"]]
        images = _found_again(files, ids, table, folder, name)
        table = table if images is None else images.table
    problems = pd.DataFrame(notes.pop("problems"), columns=["name", "reason"], dtype=object)
    digests = np.array(notes.pop("digests"), dtype=object)
    return Database(ids, notes.pop("keys"), notes.pop("embeddings"), digests, table, images, problems)


def _matched(images, ids):
    """The images of a collection that are indexed, in the order of the index."""
    found = images.table.index.get_indexer(ids)
    if (found < 0).any():
        missing = int((found < 0).sum())
        raise ValueError(
            f"{images.name!r} lacks {missing} of the {len(ids)} indexed images, the first is {ids[int(np.argmax(found < 0))]!r}; "
            "give the collection that was indexed, or load without images"
        )
    return images.subset(found)


def _found_again(files, ids, table, folder, name):
    """A collection of the image files where they were, or where they are now if they moved along with `folder`."""
    roots = [Path(files["root"]), Path(os.path.normpath(Path(folder).absolute() / files["from_here"]))]
    for root in roots:
        paths = [root / part for part in files["names"]]
        if root.is_dir() and all(path.is_file() for path in paths):
            return ImageCollection.from_files(paths, table, ids=ids, root=root, name=name)
    logger.warning(
        "the %d image files are not (all) below %s any more; searching works, showing does not: "
        "load(folder, images=ImageCollection.from_folder(…)) mends that",
        len(ids),
        files["root"],
    )
    return None
