"""An index to and from a folder: what is written, and what is checked before it is used again.

``index.json`` says the class, its parameters and its state; arrays are npy files, structures of faiss and Annoy files
of their own. `cbirkit._atomic` writes the folder in one step and finds damage before anything is read.
"""

import json
import logging
import re
from pathlib import Path

import numpy as np

from cbirkit._atomic import verify_manifest, write_folder
from cbirkit._manifest import read_array, reason_of

logger = logging.getLogger(__name__)

KIND = "index"
DESCRIPTION = "index.json"
VERSION = 1
_PAYLOAD = re.compile(r"[a-z]+\.(npy|faiss|ann)")


def save_index(index, folder):
    """Write a fitted index without dead rows to a folder; see `BaseIndex.save`."""
    params = {name: _plain(name, value) for name, value in index.get_params(deep=False).items()}
    state = {
        "n_dims": int(index.n_features_in_),
        "n_rows": len(index._keys),
        "next_key": int(index._next_key),
        **index._state(),
    }
    body = {"version": VERSION, "class": type(index).__name__, "params": params, "state": state}
    payloads = {"keys": index._keys, **index._payloads()}
    sealed = any(
        isinstance(payload, tuple) for payload in payloads.values()
    )  # faiss and Annoy believe their files
    with write_folder(folder, kind=KIND, sealed=sealed) as partial:
        (partial / DESCRIPTION).write_text(json.dumps(body, indent=1), "utf-8")
        for name, payload in payloads.items():
            _write_payload(partial, name, payload)


def _plain(name, value):
    """Return a parameter as JSON can hold it."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{name}={value!r} cannot be saved; use a number, a string or None")


def _write_payload(folder, name, payload):
    """Write an array as npy; or, after a suffix, bytes, or what a function writes at a path."""
    suffix, content = ("npy", payload) if isinstance(payload, np.ndarray) else payload
    path = folder / f"{name}.{suffix}"
    if suffix == "npy":
        np.save(path, content, allow_pickle=False)
    elif callable(content):
        content(str(path))
    else:
        path.write_bytes(content)


def load_index(folder, classes, *, mmap=False, trusted=False, vectors=None):
    """Read an index of one of the classes, a dict by name, from a folder; see `BaseIndex.load`.

    Files for faiss and Annoy that this user did not save on this machine are not parsed unless `trusted`: the structure is built
    anew from the vectors beside it, or from `vectors` (n_rows, n_dims).
    """
    folder = Path(folder)
    manifest = verify_manifest(folder, kind=KIND)
    body = _read_description(folder, manifest["files"])
    name = body["class"]
    if name not in classes:
        raise ValueError(
            f"{folder} holds an index of class {name!r}, not {' or '.join(sorted(classes))}; "
            "cbirkit.indexes.load reads every index that cbirkit saves"
        )
    paths = {Path(file).stem: folder / file for file in manifest["files"] if file != DESCRIPTION}
    foreign = not (trusted or manifest["sealed"]) and any(
        path.suffix != ".npy" for path in paths.values()
    )
    if foreign and vectors is None and "vectors" not in paths:
        raise ValueError(
            f"the {name} index in {folder} was not saved by you on this machine, and faiss would believe every byte of it; "
            "index the vectors again, or pass trusted=True if you know who made it"
        )
    try:
        index = classes[name](**body["params"])
        index._check_params()
        arrays = {
            name: read_array(path, mmap=mmap and name == "vectors")
            for name, path in paths.items()
            if path.suffix == ".npy"
        }
        rows = arrays.get("vectors")
        if foreign and vectors is not None:
            rows = index._check_rows(vectors, body["state"]["n_dims"])
        _set_rows(index, body["state"], arrays["keys"], rows)
        if foreign:
            logger.warning(
                "%s was not saved by you on this machine: its %s is built anew", folder, name
            )
            index._build()
        else:
            index._restore(body["state"], paths, mmap=mmap)
    except ImportError:
        raise
    except Exception as error:  # what a stranger wrote makes readers raise whatever they like
        raise ValueError(
            f"{folder} does not hold a usable {name} index: {reason_of(error)}; index again"
        ) from error
    return index


def _read_description(folder, files):
    """Read and check ``index.json`` and the names of the files beside it."""
    path = folder / DESCRIPTION
    for file in files:
        if file != DESCRIPTION and not _PAYLOAD.fullmatch(file):
            raise ValueError(f"{folder} holds the file {file!r}, which no index would write")
    try:
        body = json.loads(path.read_bytes()) if DESCRIPTION in files else None
    except ValueError as error:  # also UnicodeDecodeError
        raise ValueError(
            f"{path} is no JSON ({error}); index the images again or restore a copy"
        ) from error
    if isinstance(body, dict) and body.get("version", VERSION) != VERSION:
        raise ValueError(
            f"{path} has format version {body['version']!r}, this cbirkit reads version {VERSION}; update cbirkit"
        )
    kinds = {"version": int, "class": str, "params": dict, "state": dict}
    if not isinstance(body, dict) or any(
        not isinstance(body.get(key), kind) for key, kind in kinds.items()
    ):
        raise ValueError(
            f"{path} is not a description of an index; index the images again or restore a copy"
        )
    return body


def _set_rows(index, state, keys, vectors):
    n, next_key = state["n_rows"], state["next_key"]
    if keys.dtype != np.int64 or keys.shape != (n,):
        raise ValueError(f"the keys are {keys.dtype} of shape {keys.shape}, not {n} numbers")
    if n and not (keys[0] >= 0 and (np.diff(keys) > 0).all() and keys[-1] < next_key):
        raise ValueError("the keys are not ascending")
    if vectors is not None:
        if vectors.dtype != index._dtype or vectors.shape != (n, state["n_dims"]):
            raise ValueError(
                f"the vectors are {vectors.dtype} of shape {vectors.shape} and do not fit the keys"
            )
        if not all(np.isfinite(vectors[start : start + 8192]).all() for start in range(0, n, 8192)):
            raise ValueError("the vectors are not finite")
    index._keys, index._next_key, index._alive = keys, next_key, np.ones(n, bool)
    index.n_indexed_, index.n_features_in_ = n, state["n_dims"]
    index._parts = [] if vectors is None else [vectors]
