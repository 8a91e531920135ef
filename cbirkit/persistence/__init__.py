"""Save, load and identify estimators without pickle.

An estimator is saved as a folder: ``state.json`` (a tree of its parameters and fitted attributes), one ``.npy`` file an array, and a
manifest with checksums. Only classes of cbirkit, of scikit-learn, and those passed as ``trusted`` are made when it is loaded.

An estimator that holds something else (a network, a compiled object) says how it is to be saved through Python's own protocol:
``__getstate__`` returns a dict of numbers, strings, lists and arrays, ``__setstate__`` takes it. Caches are best left out of it.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from .._atomic import verify_manifest, write_folder
from .._manifest import read_array, reason_of
from .code import to_json
from .tree import Reader, Writer

__all__ = ["fingerprint", "load_estimator", "load_state", "save_estimator", "save_state"]


def fingerprint(estimator):
    """Identify what an estimator computes: class, version, parameters and fitted attributes.

    Two estimators with the same fingerprint give the same embeddings. It is the same in every process, whatever the order of
    dicts. Code of your own is part of it (a class edited in a notebook has another fingerprint, though its name stays); of
    cbirkit and scikit-learn the versions are.

    Parameters
    ----------
    estimator : estimator
        Its class may name parameters that change no result in ``_not_identity``; ``n_jobs``, ``verbose`` and ``memory`` never
        count. A class of cbirkit whose results change within a version raises its ``_version``.

    Returns
    -------
    str
        64 hexadecimal digits (SHA-256).

    Raises
    ------
    ValueError
        An attribute can be neither read as data nor as code; the message names it.

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> fingerprint(PCA(2)) == fingerprint(PCA(n_components=2)), fingerprint(PCA(2)) == fingerprint(PCA(3))
    (True, False)
    """
    node = Writer(identity=True).node(estimator, type(estimator).__name__)
    return hashlib.sha256(to_json(node).encode()).hexdigest()


def save_estimator(estimator, folder):
    """Save an estimator, fitted or not, into a folder.

    Parameters
    ----------
    estimator : estimator
        Of cbirkit, scikit-learn (pipelines included) or your own; see the module for what its attributes may be.
    folder : path-like
        Written in one step; an earlier save is replaced, anything else is refused.

    Returns
    -------
    pathlib.Path
        `folder`

    Raises
    ------
    ValueError
        An attribute cannot be saved without pickle; the message names it. Nothing is written.
    OSError
        The folder cannot be written; an earlier save stays.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.preprocessing import StandardScaler
    >>> scaler = StandardScaler().fit([[0.0], [2.0]])
    >>> load_estimator(save_estimator(scaler, Path(tempfile.mkdtemp()) / "scaler")).mean_
    array([1.])
    """
    return save_state(estimator, folder, kind="estimator", name=type(estimator).__name__)


def load_estimator(folder, *, trusted=()):
    """Load an estimator saved by `save_estimator`.

    Parameters
    ----------
    folder : path-like
    trusted : sequence of classes
        Classes from outside cbirkit and scikit-learn that may be made.

    Returns
    -------
    estimator

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    ValueError
        It is something else, damaged, or holds a class that is not trusted.
    """
    return load_state(folder, kind="estimator", trusted=trusted)


def save_state(value, folder, *, kind, name="value"):
    """Save any value made of numbers, strings, containers, arrays and estimators.

    Parameters
    ----------
    value : object
    folder : path-like
    kind : str
        What it is, for the manifest and for errors.
    name : str
        Names the value in errors.

    Returns
    -------
    pathlib.Path
        `folder`

    Raises
    ------
    ValueError, OSError
        As for `save_estimator`.
    """
    writer = Writer()
    tree = writer.node(value, name)
    with write_folder(folder, kind=kind) as partial:
        text = json.dumps(
            {"format": 1, "arrays": len(writer.arrays), "tree": tree}, indent=1, allow_nan=False
        )
        (partial / "state.json").write_text(text, "utf-8")
        for number, array in enumerate(writer.arrays):
            np.save(partial / f"{number:05d}.npy", array, allow_pickle=False)
    return Path(folder)


def load_state(folder, *, kind, trusted=()):
    """Load a value saved by `save_state`; parameters, returns and raises as there and in `load_estimator`."""
    folder = Path(folder)
    verify_manifest(folder, kind=kind)
    try:
        saved = json.loads((folder / "state.json").read_text("utf-8"))
        if saved["format"] != 1:
            raise ValueError(
                f"it has the format {saved['format']}; this version of cbirkit reads format 1"
            )
        arrays = [read_array(folder / f"{number:05d}.npy") for number in range(saved["arrays"])]
        return Reader(arrays, trusted).value(saved["tree"])
    except Exception as error:  # what a stranger wrote makes readers raise whatever they like
        raise ValueError(
            f"the {kind} in {str(folder)!r} cannot be loaded: {reason_of(error)}"
        ) from error
