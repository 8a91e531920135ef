"""An index to and from a folder: what is written, and what is checked before it is used again."""

import numpy as np

from cbirkit.indexes import folder as _folder


def save_index(index, folder):
    """Write a fitted index without dead rows to a folder; see `BaseIndex.save`."""
    params = {name: _plain(name, value) for name, value in index.get_params(deep=False).items()}
    state = {
        "n_dims": int(index.n_features_in_),
        "n_rows": len(index._keys),
        "next_key": int(index._next_key),
    }
    description = {"class": type(index).__name__, "params": params, "state": {**state, **index._state()}}
    _folder.write_folder(folder, description, {"keys": index._keys, **index._payloads()})


def _plain(name, value):
    """Return a parameter as JSON can hold it."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{name}={value!r} cannot be saved; use a number, a string or None")


def load_index(cls, folder):
    """Read an index of the class `cls` from a folder; see `BaseIndex.load`."""
    body = _folder.read_description(folder)
    if body["class"] != cls.__name__:
        raise ValueError(
            f"{folder} holds an index of class {body['class']!r}, not {cls.__name__}; use cbirkit.indexes.load"
        )
    paths = _folder.check_payloads(folder, body)
    try:
        index = cls(**body["params"])
        index._check_params()
        arrays = {
            name: np.load(path, allow_pickle=False) for name, path in paths.items() if path.suffix == ".npy"
        }
        _set_rows(index, body["state"], arrays["keys"], arrays.get("vectors"))
        index._restore(body["state"], paths)
    except (KeyError, TypeError, ValueError, EOFError, OSError, RuntimeError, MemoryError) as error:
        raise ValueError(
            f"{folder} does not hold a usable {cls.__name__} index: {error}; index again"
        ) from error
    return index


def _set_rows(index, state, keys, vectors):
    n, next_key = state["n_rows"], state["next_key"]
    if keys.dtype != np.int64 or keys.shape != (n,):
        raise ValueError(f"the keys are {keys.dtype} of shape {keys.shape}, not {n} numbers")
    if n and not (keys[0] >= 0 and (np.diff(keys) > 0).all() and keys[-1] < next_key):
        raise ValueError("the keys are not ascending")
    if vectors is not None and (vectors.dtype != index._dtype or vectors.shape != (n, state["n_dims"])):
        raise ValueError(f"the vectors are {vectors.dtype} of shape {vectors.shape} and do not fit the keys")
    index._keys, index._next_key, index._alive = keys, next_key, np.ones(n, bool)
    index.n_indexed_, index.n_features_in_ = n, state["n_dims"]
    index._parts = [] if vectors is None else [vectors]
