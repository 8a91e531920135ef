"""Save, load and identify estimators, and values made of them, without pickle.

Each saved thing is one file: a zip that is not compressed, of ``about.json`` (its kind, what is told of it), ``arrays`` (their bytes, one
after the other) and ``state.json`` (a tree of plain values that says of each array its type, shape and place). It is read without
asking for more memory than the file is long. Only classes of cbirkit, of scikit-learn, and those passed as ``trusted`` are made of it.

JSON's own values stand for themselves in the tree; everything else is an object whose key ``"~"`` names its kind. An estimator that
holds something else (a network, a compiled object) says how it is to be saved through Python's own protocol: ``__getstate__`` returns a
dict of numbers, strings, lists and arrays, ``__setstate__`` takes it. Caches are best left out of it.

Notes
-----
skops has such a zip, too. It is not used, as it takes three seconds to import, believes the sizes that a compressed zip or the header of an
array claims, brings back the ``memory`` of a pipeline, whose files are pickles, and saves functions that it does not load.
"""

import contextlib
import functools
import hashlib
import hmac
import importlib
import json
import math
import os
import stat
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.neighbors import NearestNeighbors

from ._atomic import replacing
from ._manifest import reason_of, seal_of

__all__ = ["about", "code_identity", "fingerprint", "is_sealed", "load", "load_estimator", "save"]
__all__ += ["save_estimator", "seal"]

_FORMAT = 2
_CONTAINERS = {t.__name__: t for t in (tuple, set, frozenset)}
_NAMED = {f"builtins.{t.__name__}": t for t in (bool, int, float, str)}
_NOT_IDENTITY = {"memory", "n_jobs", "verbose", "_sklearn_version", "_n_threads"}  # of every class
_FUNCTIONS = types.FunctionType | types.BuiltinFunctionType | types.MethodType | functools.partial
_CONSTANTS = bool | int | float | complex | str | bytes | tuple | frozenset | types.NoneType


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
    return _digest(_Identity().node(estimator, type(estimator).__name__))


def code_identity(function):
    """Text that changes when a function does: its code, and the numbers, texts and functions that it uses.

    What else it uses (lists, dicts, objects such as networks), which may change while it works, is told by its type.

    Parameters
    ----------
    function : callable or None

    Returns
    -------
    str or None
        64 hexadecimal digits; None for None.

    Examples
    --------
    >>> code_identity(max) == code_identity(min)
    False
    """
    return None if function is None else _digest(_Identity(loose=True).code(function, "it"))


def save_estimator(estimator, path):
    """Save an estimator, fitted or not, as one file.

    Parameters
    ----------
    estimator : estimator
        Of cbirkit, scikit-learn (pipelines included) or your own; see the module for what its attributes may be.
    path : path-like
        An earlier save is replaced, in one step; anything else is refused.

    Returns
    -------
    pathlib.Path
        `path`

    Raises
    ------
    ValueError
        An attribute cannot be saved without pickle; the message names it. Nothing is written.
    OSError
        The file cannot be written; an earlier save stays.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.preprocessing import StandardScaler
    >>> scaler = StandardScaler().fit([[0.0], [2.0]])
    >>> load_estimator(save_estimator(scaler, Path(tempfile.mkdtemp()) / "scaler")).mean_
    array([1.])
    """
    return save(estimator, path, kind="estimator")


def load_estimator(path, *, trusted=()):
    """Load an estimator saved by `save_estimator`.

    Parameters
    ----------
    path : path-like
    trusted : sequence of classes
        Classes from outside cbirkit and scikit-learn that may be made.

    Returns
    -------
    estimator

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is something else, damaged, or holds a class that is not trusted.
    """
    return load(path, kind="estimator", trusted=trusted)


def save(value, path, *, kind, about=None):
    """Save any value made of numbers, strings, containers, arrays and estimators.

    Parameters
    ----------
    value : object
    path : path-like
    kind : str
        What it is, such as ``"retriever"``. Only a save of the same kind is replaced.
    about : dict, optional
        Plain values for `about`.

    Returns
    -------
    pathlib.Path
        `path`

    Raises
    ------
    ValueError, OSError
        As for `save_estimator`.
    """
    path, writer = Path(path), _Writer()
    tree = writer.node(value, type(value).__name__)
    frame = {"format": _FORMAT, "kind": kind, "about": about or {}}
    _refuse_foreign(path, kind)
    # a link stays one: what it points to is replaced
    with replacing(os.path.realpath(path)) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(_first(kind)), _json(frame))
        with archive.open("arrays", "w", force_zip64=True) as member:
            for node, array in writer.arrays:
                member.write(bytes(-file.tell() % 64))  # so that it can be mapped
                node["offset"] = file.tell()
                member.write(_bytes_of(array))
        archive.writestr(zipfile.ZipInfo("state.json"), _json(tree))
    return path


def load(path, *, kind, trusted=(), mmap=False):
    """Load a value saved by `save`.

    Parameters
    ----------
    path : path-like
    kind : str
    trusted : sequence of classes
        As for `load_estimator`.
    mmap : bool
        Map the arrays, read-only, instead of reading them. The file is to be replaced by `save`, not changed, while they are in use.

    Raises
    ------
    FileNotFoundError, ValueError
        As for `load_estimator`.
    """
    with _opened(path, kind) as (file, archive):
        if damaged := archive.testzip():
            raise ValueError(f"its part {damaged!r} is damaged")
        reader = _Reader(file, trusted, mmap)
        return reader.value(json.loads(archive.read("state.json")))


def about(path, *, kind):
    """What `save` was told about a value, a dict; raises as `load` does, and reads no more than that."""
    with _opened(path, kind) as (_, archive):
        return dict(json.loads(archive.read(_first(kind)))["about"])


def seal(array):
    """Text that only this user can make of an array, with a key in the configuration of the user; "" where none can be kept.

    Some libraries believe every byte of their own files: kept beside such bytes, it tells that this user saved them on this machine.
    """
    return seal_of(hashlib.sha256(_bytes_of(array)).hexdigest()) or ""


def is_sealed(array, text):
    """Whether `text` is the `seal` of an array."""
    return bool(text) and hmac.compare_digest(str(text), seal(array))


@contextlib.contextmanager
def _opened(path, kind):
    """The file of a save and its zip. Whatever goes wrong while it is read becomes one sentence, a ``ValueError``."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"there is no file {str(path)!r}; give the one that the {kind} was saved to"
        )
    try:
        if (path / "manifest.json").exists():
            raise ValueError("it is a folder of cbirkit 0.1.0; save it again with this version")
        if (found := _kind(path)) != kind:
            raise ValueError(
                f"it is {f'a saved {found}' if found else 'no file that cbirkit saved'}"
            )
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if any(one.compress_type for one in members) or (
                sum(one.file_size for one in members) > os.fstat(file.fileno()).st_size
            ):
                raise ValueError("its parts are longer than the file")
            if (version := json.loads(archive.read(_first(kind)))["format"]) != _FORMAT:
                raise ValueError(f"it has the format {version!r}, and this cbirkit reads {_FORMAT}")
            yield file, archive
    except ImportError:
        raise
    except Exception as error:  # what a stranger wrote makes readers raise whatever they like
        raise ValueError(
            f"the {kind} in {str(path)!r} cannot be loaded: {reason_of(error)}"
        ) from error


def _first(kind):
    """Name of the first part of a save, by which it is known."""
    return f"cbirkit {kind}.json"


def _kind(path):
    """Kind of a save; None for any other file."""
    if not stat.S_ISREG(path.stat().st_mode):
        return None
    with open(path, "rb") as file:
        head = file.read(200)
    name = head[30 : 30 + int.from_bytes(head[26:28], "little")].decode(errors="replace")
    ours = head.startswith(b"PK\3\4") and name.startswith("cbirkit ") and name.endswith(".json")
    return name[len("cbirkit ") : -len(".json")] if ours else None


def _refuse_foreign(path, kind):
    if path.is_dir():
        raise FileExistsError(
            f"{str(path)!r} is a folder, and a file is to be written; choose another name"
        )
    if path.exists() and (found := _kind(path)) != kind:
        what = f"a saved {found}" if found else "something that cbirkit did not save"
        raise FileExistsError(
            f"{str(path)!r} holds {what} and is not replaced; choose another name"
        )


def _json(node):
    return json.dumps(node, separators=(",", ":"), allow_nan=False, sort_keys=True).encode()


def _digest(node):
    return hashlib.sha256(_json(node)).hexdigest()


def _bytes_of(array):
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _path_of(cls):
    return f"{cls.__module__}.{cls.__qualname__}"


class _Writer:
    """Values as nodes of a tree. Arrays are set aside in `arrays`, with the nodes that are to tell their places."""

    def __init__(self):
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
        if isinstance(value, np.ndarray | np.generic):
            return self._array(value, where)
        if type(value) in (list, tuple, set, frozenset):
            items = [self.node(item, f"{where}[{i}]") for i, item in enumerate(value)]
            if type(value) is list:
                return items
            return {"~": kind, "items": items if kind == "tuple" else sorted(items, key=_json)}
        if isinstance(value, dict) and kind in ("dict", "OrderedDict", "Bunch"):
            items = [
                [self.node(key, f"{where} key"), self.node(item, f"{where}[{key!r}]")]
                for key, item in value.items()
            ]
            return {"~": "dict", "items": self._ordered(items)}
        if isinstance(value, np.dtype):
            return {"~": "dtype", "value": self._dtype(value, where)}
        if isinstance(value, np.random.RandomState):
            return {"~": "RandomState", "state": self.node(value.get_state(legacy=True), where)}
        if isinstance(value, type | np.ufunc):
            home = "builtins" if value in _NAMED.values() else "numpy"
            if _named(name := f"{home}.{value.__name__}") is value:
                return {"~": "named", "name": name}
        if isinstance(value, type | _FUNCTIONS):
            return self.code(value, where)
        if isinstance(value, BaseEstimator) or hasattr(type(value), "transform"):
            return self._object(value, where)
        raise ValueError(
            f"{where} is a {_path_of(type(value))}, which cannot be saved or identified; give its class "
            "a __getstate__ (and __setstate__) that turns it into a dict of numbers, strings, lists and arrays"
        )

    def _ordered(self, items):
        return items

    def _array(self, value, where):
        if value.dtype == object:
            items = [self.node(item, f"{where}[{i}]") for i, item in enumerate(value.flat)]
            return {"~": "objects", "shape": list(value.shape), "items": items}
        node = {"~": "scalar" if isinstance(value, np.generic) else "array"}
        node |= {"dtype": self._dtype(value.dtype, where), "shape": list(value.shape)}
        self._keep(node, value)
        return node

    def _dtype(self, dtype, where):
        if dtype.hasobject or dtype.kind == "V":
            raise ValueError(
                f"{where} is structured ({dtype}) and cannot be saved; use plain columns"
            )
        return dtype.str

    def _keep(self, node, array):
        # sums over columns differ in their last bits from sums over rows, so the order is kept
        node["order"] = "F" if array.flags.f_contiguous and array.ndim > 1 else "C"
        self.arrays.append((node, array.T if node["order"] == "F" else array))

    def code(self, value, where):
        """The node of a class or function."""
        raise ValueError(
            f"{where} is {getattr(value, '__name__', value)!r}, a function or class, which cannot be saved without "
            "pickle; write a class with a transform method, and pass it as trusted=[…] when loading"
        )

    def _object(self, value, where):
        cls = type(value)
        state = self._state_of(value)
        if not isinstance(state, dict | None):
            raise TypeError(
                f"{where}: {cls.__name__}.__getstate__ gave a {type(state).__name__}; let it give a dict"
            )
        state = dict(state or {})
        if cls.__module__.startswith("sklearn.") and "memory" in state:
            state["memory"] = None  # where fits are cached, as pickles: no part of the state
        if isinstance(value, NearestNeighbors) and "_tree" in state:
            state["_tree"] = None  # a compiled object; grown again from _fit_X
        name = cls.__name__ if where == cls.__name__ else f"{where} ({cls.__name__})"
        nodes = {str(key): self.node(item, f"{name}.{key}") for key, item in state.items()}
        return {"~": "object", "class": _path_of(cls), "state": nodes}

    def _state_of(self, value):
        return value.__getstate__()


class _Identity(_Writer):
    """Nodes that tell what decides results, and nothing else: arrays by their digests, code by what it does.

    Code of libraries is told by name and version. Code of the user (a notebook, a script) is told by what Python made of it, with
    everything that it refers to: a cell that is edited and run again keeps the class's name. It is not told by its source, which two
    functions on one line share, which a file that was edited since it was imported no longer has, and an interactive session never had.

    Parameters
    ----------
    loose : bool
        What code uses and is neither a constant nor code is told by its type, instead of by its value.
    """

    def __init__(self, *, loose=False):
        super().__init__()
        self._loose = loose
        self._seen = {}  # what was told before, by id

    def _ordered(self, items):
        return sorted(items, key=_json)

    def _keep(self, node, array):
        node["sha256"] = hashlib.sha256(_bytes_of(array)).hexdigest()

    def _state_of(self, value):
        """The state, by `_identity_state` of those who can tell what they compute in fewer words."""
        skipped = _NOT_IDENTITY | set(getattr(value, "_not_identity", ()))
        state = getattr(value, "_identity_state", value.__getstate__)()
        if isinstance(state, dict):
            state = {name: state[name] for name in sorted(state) if name not in skipped}
        return state

    def _object(self, value, where):
        return super()._object(value, where) | {"code": self.code(type(value), where)}

    def code(self, value, where):
        """What tells a version of a class, function or module from another one."""
        if isinstance(value, property):
            return [self.code(each, where) for each in (value.fget, value.fset) if each]
        if isinstance(value, functools.partial):
            parts = (value.func, *value.args, *value.keywords.items())
            return [self._used(part, where) for part in parts]
        value = getattr(value, "__func__", value)  # of a method
        if not isinstance(value, type | types.FunctionType):
            value = getattr(value, "__wrapped__", value)  # functools.cache
        name, home = getattr(value, "__qualname__", None), getattr(value, "__module__", None)
        if id(value) in self._seen:
            return name
        self._seen[id(value)] = value
        if isinstance(value, type):
            return self._class(value, where)
        if isinstance(value, types.FunctionType):
            return self._function(value, where)
        if callable(value) and name and _is_library(home or "builtins"):  # a compiled function
            return _library(home or "builtins", name)
        raise ValueError(
            f"{where} uses {value!r}, which cannot be identified, so stored embeddings could go stale; "
            "make it a parameter that is a number, string or array, or do without a store"
        )

    def _class(self, cls, where):
        members = [
            [name, self._member(value, where)]
            for base in cls.__mro__
            if not _is_library(base.__module__)
            for name, value in sorted(vars(base).items())
            if name in ("__call__", "__getstate__", "__setstate__")
            or not name.startswith(("__", "_abc_", "_sklearn"))
        ]
        bases = [_library(base.__module__, base.__qualname__) for base in cls.__mro__]
        return [bases, getattr(cls, "_version", 0), members]

    def _member(self, value, where):
        if isinstance(value, staticmethod | classmethod | property | types.FunctionType | type):
            return self.code(value, where)
        try:
            return self.node(value, where)
        except ValueError:  # descriptors that scikit-learn puts into classes
            return type(value).__qualname__

    def _function(self, function, where):
        cells = list(_cells(function))
        home = function.__globals__.get("__name__", "")
        if _is_library(home):  # a decorator of a library may hold a function of the user
            inner = [cell for cell in cells if isinstance(cell, types.FunctionType)]
            return [_library(home, function.__qualname__), *(self.code(f, where) for f in inner)]
        names = sorted(_names(function.__code__))
        given = (function.__defaults__, tuple((function.__kwdefaults__ or {}).items()), *cells)
        used = [
            [name, self._used(function.__globals__[name], where, names)]
            for name in names
            if name in function.__globals__
        ]
        described = _described(function.__code__)
        return [function.__qualname__, described, [self._used(one, where) for one in given], used]

    def _used(self, value, where, names=()):
        """The node of what code uses; of a module of the user, of what is used of it."""
        if isinstance(value, types.ModuleType):
            if _is_library(value.__name__):
                return _library(value.__name__)
            found = [(name, getattr(value, name)) for name in names if hasattr(value, name)]
            return [[name, self._used(each, where)] for name, each in found]
        if isinstance(value, tuple):
            return [self._used(item, where) for item in value]
        if isinstance(value, bytes | complex):
            return repr(value)
        if self._loose and not isinstance(value, type | _FUNCTIONS | _CONSTANTS):
            return type(value).__qualname__
        try:
            return self.node(value, where)
        except ValueError:
            return self.code(value, where)


def _is_library(module):
    """Whether a module is part of Python or of an installed package, rather than the user's own code."""
    root = module.split(".")[0]
    if root == "__main__":  # a notebook or script, although Jupyter's launcher is an installed file
        return False
    if root in ("cbirkit", "sklearn", "builtins") or root in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(root), "__file__", None) or ""
    return "site-packages" in file or "dist-packages" in file


def _library(module, name=""):
    version = getattr(sys.modules.get(module.split(".")[0]), "__version__", "")
    return f"{module}.{name} {version}" if _is_library(module) else name


def _cells(function):
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # not filled yet
            yield cell.cell_contents


def _names(code):
    """Every global and attribute name that the code and the functions inside it mention."""
    inner = (_names(part) for part in code.co_consts if isinstance(part, types.CodeType))
    return set(code.co_names).union(*inner)


def _described(code):
    """What a function does, apart from what its names stand for."""
    constants = [
        _described(part)
        if isinstance(part, types.CodeType)
        else repr(sorted(map(repr, part)) if isinstance(part, frozenset) else part)
        for part in code.co_consts
    ]
    return [code.co_code.hex(), constants, list(code.co_names), list(code.co_varnames)]


class _Reader:
    """Nodes as values again; classes come from cbirkit, scikit-learn, or `trusted`."""

    def __init__(self, file, trusted, mmap):
        self._file, self._mmap = file, mmap
        self._trusted = {_path_of(cls): cls for cls in trusted}
        self._left = os.fstat(file.fileno()).st_size  # bytes that arrays may still take

    def value(self, node):
        """The value of a node."""
        match node:
            case list():
                return [self.value(item) for item in node]
            case {"~": "object", "class": str(path), "state": dict(state)}:
                return self._object(self._class(path), state)
            case {"~": "array"}:
                return self._array(node)
            case {"~": "scalar"}:
                return self._array(node)[()]
            case {"~": "objects", "items": items, "shape": shape}:
                array = np.empty(len(items), dtype=object)
                for i, item in enumerate(items):
                    array[i] = self.value(item)
                return array.reshape(shape)
            case {"~": "tuple" | "set" | "frozenset" as kind, "items": items}:
                return _CONTAINERS[kind](self.value(item) for item in items)
            case {"~": "dict", "items": items}:
                return {self.value(key): self.value(item) for key, item in items}
            case {"~": "float", "value": text}:
                return float(text)
            case {"~": "dtype", "value": str(text)}:
                return np.dtype(text)
            case {"~": "named", "name": str(name)} if (found := _named(name)) is not None:
                return found
            case {"~": "RandomState", "state": state}:
                random = np.random.RandomState()
                random.set_state(self.value(state))
                return random
            case dict():
                raise ValueError("it holds a value of an unknown kind")
        return node

    def _array(self, node):
        dtype, shape = np.dtype(node["dtype"]), tuple(node["shape"])
        self._left -= dtype.itemsize * math.prod(shape)
        if self._left < 0 or min(shape, default=0) < 0 or dtype.hasobject or not dtype.itemsize:
            raise ValueError(f"it tells of an array of {shape} numbers, more than the file holds")
        if 0 in shape:
            return np.empty(shape, dtype)
        mapped = np.memmap(self._file, dtype, "r", node["offset"], shape, node["order"])
        return np.asarray(mapped) if self._mmap else np.array(mapped)

    def _class(self, path):
        if path in self._trusted:
            return self._trusted[path]
        root = path.split(".")[0]
        if root not in ("cbirkit", "sklearn") or ".__" in path:
            raise ValueError(
                f"it holds a {path}, a class from outside cbirkit and scikit-learn; "
                f"if you trust it, pass trusted=[{path.split('.')[-1]}]"
            )
        module, _, name = path.rpartition(".")
        try:
            cls = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            cls = None
        if not (isinstance(cls, type) and issubclass(cls, BaseEstimator) and _path_of(cls) == path):
            raise ValueError(
                f"it holds a {path}, which the installed {root} does not have as an estimator"
            )
        return cls

    def _object(self, cls, state):
        state = {name: self.value(item) for name, item in state.items()}
        if "memory" in state and cls.__module__.startswith("sklearn."):
            state["memory"] = None  # see _Writer; a foreign file must not bring it back
        found = cls.__new__(cls)
        if hasattr(found, "__setstate__"):
            found.__setstate__(state)
        else:
            vars(found).update(state)
        if isinstance(found, NearestNeighbors) and hasattr(found, "_fit_X"):
            found.fit(found._fit_X)
        return found


def _named(name):
    """The type or ufunc of that name, or None."""
    found = _NAMED.get(name) or getattr(np, name.removeprefix("numpy."), None)
    is_number = isinstance(found, type) and issubclass(found, np.generic)
    return found if name in _NAMED or is_number or isinstance(found, np.ufunc) else None
