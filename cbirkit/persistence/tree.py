"""One walk over the state of an estimator: to a tree of JSON values and a list of arrays, and back.

JSON's own values stand for themselves; everything else is an object whose key ``"~"`` names its kind.
"""

import math
import re
import sys

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.neighbors import NearestNeighbors

from . import code

_PLAIN_TYPES = {t.__name__: t for t in (bool, int, float, str)}
_LISTS = {"tuple": tuple, "set": set, "frozenset": frozenset}
_PATH = re.compile(r"(cbirkit|sklearn)(\.(?!__)\w+)+")
NOT_IDENTITY = {
    "memory",
    "n_jobs",
    "verbose",
    "_sklearn_version",
    "_n_threads",
}  # of every class; they change no result


def class_path(cls):
    """Dotted path of a class, by its public module where there is one (``sklearn.decomposition.PCA``)."""
    module = cls.__module__.split(".")
    public = (
        [part for part in module if not part.startswith("_")]
        if module[0] in ("sklearn", "cbirkit")
        else module
    )
    home = sys.modules.get(".".join(public))
    if getattr(home, cls.__qualname__, None) is cls:
        module = public
    return ".".join([*module, cls.__qualname__])


def is_ours(cls):
    """Whether objects of this class are restored without being asked to trust it."""
    return cls.__module__.split(".")[0] in ("cbirkit", "sklearn") and issubclass(cls, BaseEstimator)


class Writer:
    """Turn values into JSON nodes; arrays are set aside in ``arrays`` (or hashed, for an identity).

    Parameters
    ----------
    identity : bool
        True: the nodes describe what decides the results, and nothing else (see `fingerprint`).
    """

    def __init__(self, *, identity=False):
        self.identity = identity
        self.arrays = []
        self._open = []  # ids of the objects around the present one

    def node(self, value, where):
        """The node of `value`; `where` names it in errors, such as ``"PCA.mean_"``."""
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"~": "float", "value": repr(value)}
        if id(value) in self._open:
            raise ValueError(f"{where} contains itself and cannot be saved; take the cycle out")
        self._open.append(id(value))
        try:
            return self._compound(value, where)
        finally:
            self._open.pop()

    def _compound(self, value, where):
        kind = type(value).__name__
        if isinstance(value, np.generic) and not value.dtype.hasobject:
            return {
                "~": "scalar",
                "dtype": _dtype_text(value.dtype, where),
                "value": value.tobytes().hex(),
            }
        if isinstance(value, np.ndarray):
            return self._array(value, where)
        if isinstance(value, np.dtype):
            return {"~": "dtype", "value": _dtype_text(value, where)}
        if type(value) is list:
            return [self.node(item, f"{where}[{i}]") for i, item in enumerate(value)]
        if kind in _LISTS and type(value) is _LISTS[kind]:
            items = [self.node(item, f"{where}[{i}]") for i, item in enumerate(value)]
            return {
                "~": kind,
                "items": items if kind == "tuple" else sorted(items, key=code.to_json),
            }
        if isinstance(value, dict) and kind in ("dict", "OrderedDict", "Bunch"):
            items = [
                [self.node(k, f"{where} key"), self.node(v, f"{where}[{k!r}]")]
                for k, v in value.items()
            ]
            return {
                "~": "dict",
                "items": sorted(items, key=code.to_json) if self.identity else items,
            }
        if isinstance(value, np.random.RandomState):
            return {"~": "RandomState", "state": self.node(value.get_state(legacy=True), where)}
        if isinstance(value, type):
            return self._type(value, where)
        if callable(value) and hasattr(value, "__name__"):
            return self._function(value, where)
        if type(value).__module__.startswith("scipy.sparse") and getattr(value, "format", "") in (
            "csr",
            "csc",
        ):
            parts = [self._array(part, where) for part in (value.data, value.indices, value.indptr)]
            return {
                "~": "sparse",
                "format": value.format,
                "shape": list(value.shape),
                "parts": parts,
            }
        return self._object(value, where)

    def _array(self, value, where):
        if value.dtype.hasobject:
            if value.dtype != object:
                raise ValueError(
                    f"{where} is a structured array that holds Python objects; use plain columns"
                )
            items = [
                self.node(item, f"{where}[{i}]") for i, item in enumerate(value.ravel().tolist())
            ]
            return {"~": "objects", "shape": list(value.shape), "items": items}
        if self.identity:
            return {
                "~": "array",
                "dtype": value.dtype.str,
                "shape": list(value.shape),
                "sha256": code.sha256(value),
            }
        self.arrays.append(np.asarray(value))
        return {"~": "array", "at": len(self.arrays) - 1}

    def _type(self, value, where):
        if _PLAIN_TYPES.get(value.__name__) is value or (
            issubclass(value, np.generic) and hasattr(np, value.__name__)
        ):
            return {"~": "type", "name": value.__name__}
        if self.identity:
            return {"~": "code", "of": code.describe(value, self, where)}
        raise ValueError(
            f"{where} is the class {value.__name__}, which cannot be saved; give its name or an instance"
        )

    def _function(self, value, where):
        name = value.__name__
        if isinstance(value, np.ufunc) and getattr(np, name, None) is value:
            return {"~": "ufunc", "name": name}
        if self.identity:
            return {"~": "code", "of": code.describe(value, self, where)}
        raise ValueError(
            f"{where} is the function {name!r}, which cannot be saved without pickle; write a class with a transform "
            "method instead, and pass it as trusted=[…] when loading"
        )

    def _object(self, value, where):
        cls = type(value)
        top = len(self._open) == 1
        if not (
            is_ours(cls) or isinstance(value, BaseEstimator) or (top and hasattr(value, "__dict__"))
        ):
            raise ValueError(
                f"{where} is a {cls.__module__}.{cls.__qualname__}, which cannot be saved or identified; give its class "
                "a __getstate__ (and __setstate__) that turns it into a dict of numbers, strings, lists and arrays"
            )
        read = value.__getstate__
        if self.identity:
            read = getattr(
                value, "_identity_state", read
            )  # for those who know shorter than by their state what they compute
        state = read()
        if not isinstance(state, dict | None):
            raise TypeError(
                f"{where}: {cls.__name__}.__getstate__ gave a {type(state).__name__}; let it give a dict"
            )
        state, node = dict(state or {}), {"~": "object", "class": class_path(cls)}
        if "memory" in state and cls.__module__.startswith("sklearn."):
            state["memory"] = (
                None  # where fits are cached: no part of the state, and joblib's caches are pickles
            )
        if isinstance(value, NearestNeighbors) and state.get("_tree") is not None:
            state["_tree"], node["refit"] = None, True  # a compiled object; grown again from _fit_X
        if self.identity:
            node["code"] = code.describe(cls, self, where)
            skipped = NOT_IDENTITY | set(getattr(cls, "_not_identity", ()))
            state = {name: state[name] for name in sorted(state) if name not in skipped}
        name = where if top and "." not in where else f"{where} ({cls.__name__})"
        node["state"] = {str(key): self.node(item, f"{name}.{key}") for key, item in state.items()}
        return node


class Reader:
    """Turn nodes back into values; classes come from cbirkit, scikit-learn, or `trusted`."""

    def __init__(self, arrays, trusted=()):
        self.arrays = arrays
        self.trusted = {class_path(cls): cls for cls in trusted}

    def value(self, node):
        """The value of a node."""
        if isinstance(node, list):
            return [self.value(item) for item in node]
        if not isinstance(node, dict):
            return node
        kind = node["~"]
        if kind == "object":
            return self._object(node)
        if kind == "array":
            return self.arrays[node["at"]]
        if kind == "objects":
            return self._objects(node)
        if kind in _LISTS:
            return _LISTS[kind](self.value(item) for item in node["items"])
        if kind == "dict":
            return {self.value(key): self.value(item) for key, item in node["items"]}
        if kind == "sparse":
            return self._sparse(node)
        if kind == "RandomState":
            random = np.random.RandomState()
            random.set_state(self.value(node["state"]))
            return random
        return _simple(kind, node)

    def _objects(self, node):
        if math.prod(node["shape"]) != len(node["items"]):
            raise ValueError(f"an array of shape {node['shape']} has {len(node['items'])} items")
        array = np.empty(math.prod(node["shape"]), dtype=object)
        for i, item in enumerate(node["items"]):
            array[i] = self.value(item)
        return array.reshape(node["shape"])

    def _sparse(self, node):
        from scipy import sparse

        kind = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix}[node["format"]]
        return kind(tuple(self.value(part) for part in node["parts"]), shape=tuple(node["shape"]))

    def _object(self, node):
        cls = self._class(node["class"])
        state = {name: self.value(item) for name, item in node["state"].items()}
        if "memory" in state and cls.__module__.startswith("sklearn."):
            state["memory"] = None  # see Writer; a foreign folder must not bring it back
        found = cls.__new__(cls)
        if hasattr(found, "__setstate__"):
            found.__setstate__(state)
        else:
            found.__dict__.update(state)
        if node.get("refit") and isinstance(found, NearestNeighbors):
            found.fit(found._fit_X)
        return found

    def _class(self, path):
        if path in self.trusted:
            return self.trusted[path]
        if not _PATH.fullmatch(path):
            raise ValueError(
                f"it holds a {path}, a class from outside cbirkit and scikit-learn; "
                f"if you trust it, pass trusted=[{path.split('.')[-1]}]"
            )
        module, _, name = path.rpartition(".")
        try:
            __import__(module)
            cls = getattr(sys.modules[module], name)
        except (ImportError, AttributeError):
            cls = None
        if not isinstance(cls, type) or not is_ours(cls):
            raise ValueError(
                f"it holds a {path}, which the installed {module.split('.')[0]} does not have as an estimator"
            )
        return cls


def _simple(kind, node):
    if kind == "float":
        return float(node["value"])
    if kind == "scalar":
        return np.frombuffer(bytes.fromhex(node["value"]), dtype=np.dtype(node["dtype"]))[0]
    if kind == "dtype":
        return np.dtype(node["value"])
    if kind == "type":
        found = _PLAIN_TYPES.get(node["name"]) or getattr(np, node["name"], None)
        if isinstance(found, type) and (
            found in _PLAIN_TYPES.values() or issubclass(found, np.generic)
        ):
            return found
    if kind == "ufunc" and isinstance(getattr(np, node["name"], None), np.ufunc):
        return getattr(np, node["name"])
    raise ValueError(
        f"it holds a value of the unknown kind {kind!r}; it was saved by another version of cbirkit"
    )


def _dtype_text(dtype, where):
    if dtype.hasobject or dtype.fields is not None:
        raise ValueError(
            f"{where} has the structured dtype {dtype}, which cannot be saved; use plain columns"
        )
    return dtype.str
