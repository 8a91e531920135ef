"""A retriever as a folder: encoder, index, embeddings and what is known of the images; no pickle, no copy of the images."""

import logging
import os
from pathlib import Path

import numpy as np
import pandas as pd

from cbirkit.persistence import load as load_value
from cbirkit.persistence import load_estimator, save_estimator
from cbirkit.persistence import save as save_value

from .. import indexes
from .._atomic import verify_manifest, write_folder
from .._manifest import reason_of
from ..images import ImageCollection
from ..images.tables import text_of
from .database import MOST_BYTES, Database, objects
from .joined import changed

logger = logging.getLogger(__name__)

KIND = "retriever"
_SAVED = (
    str | int | float | list | tuple | set | frozenset | dict | np.ndarray
)  # in a column; else as text


def save(folder, encoder, index, database, notes, about=None):
    """Write everything into `folder`, in one step.

    Parameters
    ----------
    folder : path-like
    encoder : fitted estimator
    index : fitted index
    database : Database
    notes : dict
        Further plain values.
    about : dict, optional
        Plain values for the manifest, which can be read without the rest.

    Returns
    -------
    pathlib.Path
    """
    folder = Path(os.path.abspath(folder))
    own = hasattr(index, "save")
    state = {**notes, "own_index": own, **_database_state(database, folder)}
    with write_folder(folder, kind=KIND, about=about) as partial:
        save_value(state, partial / "database", kind="database")
        save_estimator(encoder, partial / "encoder")
        if own:
            index.save(partial / "index")
        else:
            save_estimator(index, partial / "index")
    return folder


def load(folder, images=None, trusted=(), trust_index=False):
    """Read what `save` wrote: (encoder, index, database, notes).

    Raises
    ------
    FileNotFoundError, ValueError
        No such folder; damaged; something else; `images` lacks an indexed image.
    """
    folder = Path(folder)
    verify_manifest(folder, kind=KIND)
    encoder = load_estimator(folder / "encoder", trusted=trusted)
    notes = load_value(folder / "database", kind="database")
    try:
        own, files, name = notes.pop("own_index"), notes.pop("files"), notes.pop("name")
        database = _database(notes, files)
    except Exception as error:  # what a stranger wrote, see `cbirkit.persistence.load`
        raise ValueError(
            f"the retriever in {str(folder)!r} cannot be loaded: {reason_of(error)}"
        ) from error
    index = (
        indexes.load(folder / "index", trusted=trust_index, vectors=database.embeddings)
        if own
        else load_estimator(folder / "index")
    )
    if own and not (
        np.array_equal(index.keys_, database.keys)
        and index.n_features_in_ == database.embeddings.shape[1]
    ):
        raise ValueError(
            f"the retriever in {str(folder)!r} cannot be loaded: its index does not fit its embeddings"
        )
    if images is None and files is not None:
        database = _found_again(database, files, folder, name)
    elif images is not None and images is not False:
        database = database.shown_by(images)
    return encoder, index, database, notes


def _database_state(database, folder):
    files = _files(database, folder)
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
        "refused": {name: _plain(stamp) for name, stamp in database.refused.items()},
        "name": "images" if database.images is None else database.images.name,
    }


def _column(column):
    """Values of a column as an array of numbers or dates, or of plain objects; what is neither is kept as text."""
    values = column.to_numpy(copy=True)
    if values.dtype.kind not in "biufmM":
        for row, value in enumerate(values):
            values[row] = value if value is None or isinstance(value, _SAVED) else text_of(value)
    return values


def _plain(stamp):
    return stamp if stamp is None else list(stamp)  # a tuple takes more room


def _stamp(plain):
    return plain if plain is None else tuple(plain)


def _files(database, folder):
    """Where the image files are: below one root, given absolutely and from the folder of the retriever; and their stamps."""
    images = database.images
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
    return {
        "root": root,
        "from_here": Path(near).as_posix(),
        "names": names,
        "stamps": [_plain(stamp) for stamp in database.stamps],
    }


def _database(notes, files):
    """The `Database`, without images, in saved notes (its entries are taken out of them); ValueError if they do not fit one another."""
    ids, digests = (
        np.array(notes.pop("ids"), dtype=object),
        np.array(notes.pop("digests"), dtype=object),
    )
    keys, embeddings, n = notes.pop("keys"), notes.pop("embeddings"), len(ids)
    if not (
        n == len(set(ids)) == len(digests)
        and keys.shape == (n,)
        and embeddings.shape[:1] == (n,)
        and embeddings.ndim == 2
    ):
        raise ValueError("its ids, keys, embeddings and digests differ in number")
    if (
        keys.dtype != np.int64
        or keys[0] < 0
        or (np.diff(keys) <= 0).any()
        or not all(isinstance(name, str) for name in ids)
    ):
        raise ValueError("its keys are not ascending, or its ids no text")
    table = pd.DataFrame(notes.pop("table"), index=pd.Index(ids, dtype=object))
    stamps = [None] * n
    if files is not None:
        if len(files["names"]) != n or any(
            ".." in Path(part).parts or Path(part).is_absolute() for part in files["names"]
        ):
            raise ValueError("its files are not below one folder")
        table["path"] = [os.path.join(files["root"], part) for part in files["names"]]
        stamps = [_stamp(plain) for plain in files["stamps"]]
    problems = pd.DataFrame(notes.pop("problems"), columns=["name", "reason"], dtype=object)
    refused = {name: _stamp(plain) for name, plain in notes.pop("refused").items()}
    return Database(ids, keys, embeddings, digests, table, None, problems, objects(stamps), refused)


def _found_again(database, files, folder, name):
    """The database with the image files that moved along with `folder`, or are where they were, if these are those that were indexed."""
    roots = [
        Path(os.path.normpath(Path(folder).absolute() / files["from_here"])),
        Path(files["root"]),
    ]
    places = []
    for root in dict.fromkeys(roots):
        paths = [root / part for part in files["names"]]
        if root.is_dir() and all(path.is_file() for path in paths):
            shown = database.shown_by(
                ImageCollection.from_files(
                    paths, database.table, ids=database.ids, root=root, name=name
                )
            )
            others = changed(shown.images, range(len(shown)), most_bytes=MOST_BYTES)
            if not others:
                return shown
            places.append((len(others), str(root), others, shown))
    if places and min(places)[0] < len(database):
        n, root, others, shown = min(places)
        logger.warning(
            "%d of the %d image files below %s changed since they were indexed, the first is %s: they are found by what they were, and "
            "not shown; index again", n, len(database), root, database.ids[others[0]],
        )  # fmt: skip
        return shown
    logger.warning(
        "the %d image files are not (all) below %s any more%s; searching works, showing does not: "
        "load(folder, images=ImageCollection.from_folder(…)) mends that",
        len(database), files["root"], ", where others lie now" * bool(places),
    )  # fmt: skip
    return database
