"""Save, load and identify estimators, and values made of them, without pickle.

Each saved thing is one file: a zip that is not compressed, of ``cbirkit 2 KIND.json`` (what is told of it), ``arrays`` (their bytes, one
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
import re
import secrets
import sys
import tempfile
import types
import zipfile
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.neighbors import NearestNeighbors

from ._atomic import reason_of, replacing

__all__ = ["about", "code_identity", "fingerprint", "is_sealed", "load", "load_estimator"]
__all__ += ["reading", "save", "save_estimator", "seal"]

# how the first part of a save is called: the format, and a kind
_NAME = "cbirkit 2 {}.json"
_BEGINNING = re.compile(rb"PK\x03\x04.{26}cbirkit 2 ([\w ]+)\.json", re.DOTALL)
_CONTAINERS = {t.__name__: t for t in (tuple, set, frozenset)}
_NAMED = {f"builtins.{t.__name__}": t for t in (bool, int, float, str)} | {
    f"numpy.{name}": value
    for name, value in vars(np).items()
    if isinstance(value, np.ufunc) or (isinstance(value, type) and issubclass(value, np.generic))
}
_NOT_IDENTITY = {"memory", "n_jobs", "verbose", "_sklearn_version", "_n_threads"}  # of every class
_CODE = type | property | staticmethod | classmethod | functools.partial
_CODE |= types.FunctionType | types.BuiltinFunctionType | types.MethodType
_SPECIAL = ("__call__", "__getstate__", "__setstate__")  # members that bear on what is computed


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
    tree = writer.node(value, kind if isinstance(value, dict) else type(value).__name__)
    if path.exists() and _kind(path) != kind:
        raise FileExistsError(
            f"{str(path)!r} is no saved {kind} and is not replaced; choose another name, or move it away"
        )
    # a link stays one: what it points to is replaced
    with replacing(os.path.realpath(path)) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(_NAME.format(kind)), _json(about or {}))
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
        return _Reader(file, trusted, mmap).value(json.loads(archive.read("state.json")))


def about(path, *, kind):
    """What `save` was told about a value, a dict; raises as `load` does, and reads no more than that."""
    with _opened(path, kind) as (_, archive):
        return dict(json.loads(archive.read(archive.infolist()[0])))


def seal(array):
    """Text that only this user can make of an array, with a key in the configuration of the user; "" where none can be kept.

    Some libraries believe every byte of their own files: kept beside such bytes, it tells that this user saved them on this machine.
    """
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    path = Path(home) / "cbirkit" / "key"
    with contextlib.suppress(OSError):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent) as file:  # nobody else may read it
                file.write(secrets.token_bytes(32))
                file.flush()
                os.link(file.name, path)  # fails where another process was first
    with contextlib.suppress(OSError):
        if len(key := path.read_bytes()) == 32:
            return hmac.digest(key, _bytes_of(array), "sha256").hex()
    return ""


def is_sealed(array, text):
    """Whether `text` is the `seal` of an array."""
    return bool(text) and hmac.compare_digest(str(text), seal(array))


@contextlib.contextmanager
def reading(path, kind):
    """Within the block, whatever goes wrong with what was saved at `path` becomes one sentence, a ``ValueError``."""
    try:
        yield
    except ImportError:
        raise
    except Exception as error:  # what a stranger wrote makes readers raise whatever they like
        raise ValueError(
            f"the {kind} in {str(path)!r} cannot be loaded: {reason_of(error)}"
        ) from error


@contextlib.contextmanager
def _opened(path, kind):
    """The file of a save and its zip."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"there is no file {str(path)!r}; give the one that the {kind} was saved to"
        )
    with reading(path, kind):
        if (path / "manifest.json").exists():
            raise ValueError("it is a folder of cbirkit 0.1.0; save it again with this version")
        if _kind(path) != kind:
            raise ValueError(f"it is no {kind} that this version of cbirkit saved")
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
            packed = any(part.compress_type for part in parts)
            if packed or sum(part.file_size for part in parts) > path.stat().st_size:
                raise ValueError("its parts are longer than the file")
            yield file, archive


def _kind(path):
    """Kind of a save, which the name of its first part tells; None for anything else."""
    if not path.is_file():
        return None
    with open(path, "rb") as file:
        found = _BEGINNING.match(file.read(200))
    return found and found[1].decode()


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

    _sorted = False  # whether dicts are told without their order
    _hook = "__getstate__"

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
        if isinstance(value, np.ndarray | np.generic) and not np.ma.isMaskedArray(value):
            return self._array(value, where)
        if type(value) in (list, *_CONTAINERS.values()):
            items = [self.node(item, f"{where}[{i}]") for i, item in enumerate(value)]
            if kind == "list":
                return items
            return {"~": kind, "items": items if kind == "tuple" else sorted(items, key=_json)}
        if isinstance(value, dict) and kind in ("dict", "OrderedDict", "Bunch"):
            items = [
                [self.node(k, where), self.node(v, f"{where}[{k!r}]")] for k, v in value.items()
            ]
            return {"~": "dict", "items": sorted(items, key=_json) if self._sorted else items}
        if isinstance(value, np.dtype):
            return {"~": "dtype", "value": self._dtype(value, where)}
        if isinstance(value, np.random.RandomState):
            return {"~": "RandomState", "state": self.node(value.get_state(legacy=True), where)}
        for name, known in _NAMED.items():
            if known is value:
                return {"~": "named", "name": name}
        if isinstance(value, functools.partial) or (callable(value) and hasattr(value, "__name__")):
            return self.code(value, where)
        if isinstance(value, BaseEstimator) or hasattr(type(value), "transform"):
            return self._object(value, where)
        raise ValueError(
            f"{where} is a {_path_of(type(value))}, which cannot be saved or identified; give its class "
            "a __getstate__ (and __setstate__) that turns it into a dict of numbers, strings, lists and arrays"
        )

    def _array(self, value, where):
        node = {"~": "array" if isinstance(value, np.ndarray) else "scalar"}
        node["shape"] = list(value.shape)
        if value.dtype == object:
            items = [self.node(item, f"{where}[{i}]") for i, item in enumerate(value.flat)]
            return node | {"~": "objects", "items": items}
        node["dtype"] = self._dtype(value.dtype, where)
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
        state = getattr(value, self._hook, value.__getstate__)() or {}
        if not isinstance(state, dict):
            raise TypeError(f"{where}: {cls.__name__}.{self._hook} has to give a dict")
        skipped = self._skipped(value)
        if isinstance(value, NearestNeighbors):
            skipped |= {"_tree"}  # a compiled object; grown again from _fit_X
        name = cls.__name__ if where == cls.__name__ else f"{where} ({cls.__name__})"
        keys = [key for key in (sorted(state) if self._sorted else state) if key not in skipped]
        state = {key: self.node(state[key], f"{name}.{key}") for key in keys}
        return {"~": "object", "class": _path_of(cls), "state": _without_caches(cls, state)}

    def _skipped(self, value):
        return set()


def _without_caches(cls, state):
    """The state of an estimator without the place where scikit-learn's keep fits, as pickles."""
    return (
        state | {"memory": None}
        if cls.__module__.startswith("sklearn.") and "memory" in state
        else state
    )


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

    _sorted = True
    _hook = "_identity_state"  # of those who can tell what they compute in fewer words

    def __init__(self, *, loose=False):
        super().__init__()
        self._loose = loose
        self._seen = {}  # code that was told before, and as which one, by id

    def _keep(self, node, array):
        node["sha256"] = hashlib.sha256(_bytes_of(array)).hexdigest()

    def _skipped(self, value):
        return _NOT_IDENTITY | set(getattr(value, "_not_identity", ()))

    def _object(self, value, where):
        return super()._object(value, where) | {"code": self.code(type(value), where)}

    def code(self, value, where):
        """What tells a version of a class, function or module from another one."""
        if isinstance(value, property):
            return [self.code(each, where) for each in (value.fget, value.fset) if each]
        if isinstance(value, functools.partial):
            return self._used((value.func, *value.args, *value.keywords.items()), where)
        value = getattr(value, "__func__", value)  # of a method
        if not isinstance(value, type | types.FunctionType):
            value = getattr(value, "__wrapped__", value)  # functools.cache
        name = getattr(value, "__qualname__", None)
        variables = getattr(value, "__globals__", {})
        home = variables.get("__name__") or getattr(value, "__module__", None) or "builtins"
        if id(value) in self._seen:
            return {"seen": self._seen[id(value)][0]}
        self._seen[id(value)] = len(self._seen), value
        if isinstance(value, type):
            members = {} if _is_library(home) else vars(value)
            members = [[key, self._member(key, members[key], where)] for key in sorted(members)]
            bases = [self.code(base, where) for base in value.__bases__]
            return [_library(home, name), getattr(value, "_version", 0), members, bases]
        if isinstance(value, types.FunctionType):
            return [_library(home, name), *self._function(value, home, where)]
        if callable(value) and name and _is_library(home):  # compiled
            return _library(home, name)
        raise ValueError(
            f"{where} uses {value!r}, which cannot be identified, so stored embeddings could go stale; "
            "make it a parameter that is a number, string or array, or do without a store"
        )

    def _member(self, name, value, where):
        if name.startswith(("__", "_abc_", "_sklearn")) and name not in _SPECIAL:
            return None
        try:
            return self._used(value, where)
        except ValueError:
            if callable(value) or isinstance(value, property | staticmethod | classmethod):
                raise
            return type(value).__qualname__  # descriptors that scikit-learn puts into classes

    def _function(self, function, home, where):
        cells = []
        for cell in function.__closure__ or ():
            with contextlib.suppress(ValueError):  # not filled yet
                cells.append(cell.cell_contents)
        if _is_library(home):  # a decorator of a library may hold a function of the user
            return [
                self.code(cell, where) for cell in cells if isinstance(cell, types.FunctionType)
            ]
        names, variables = sorted(_names(function.__code__)), function.__globals__
        used = [
            [name, self._used(variables[name], where, names)] for name in names if name in variables
        ]
        given = (function.__defaults__, *sorted((function.__kwdefaults__ or {}).items()), *cells)
        return [_described(function.__code__), self._used(given, where), used]

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
        if isinstance(value, _CODE):
            return self.code(value, where)
        if self._loose and not isinstance(value, bool | int | float | str | frozenset | None):
            return type(value).__qualname__
        try:
            return self.node(value, where)
        except ValueError:
            return self.code(value, where)


def _is_library(module):
    """Whether a module is part of Python or of an installed package, rather than the user's own code."""
    root = module.split(".")[0]
    file = getattr(sys.modules.get(root), "__file__", None) or ""
    installed = "site-packages" in file or "dist-packages" in file
    ours = ("cbirkit", "sklearn", "builtins", *sys.stdlib_module_names)
    # a notebook or script is not, although Jupyter's launcher is an installed file
    return root != "__main__" and (installed or root in ours)


def _library(module, name=""):
    version = getattr(sys.modules.get(module.split(".")[0]), "__version__", "")
    return f"{module}.{name} {version}" if _is_library(module) else name


def _names(code):
    """Every global and attribute name that the code and the functions inside it mention."""
    inner = (_names(part) for part in code.co_consts if isinstance(part, types.CodeType))
    return set(code.co_names).union(*inner)


def _described(code):
    """What a function does, apart from what its names stand for; or one of the constants in it."""
    if not isinstance(code, types.CodeType):  # the order of a set differs between processes
        return repr(sorted(map(repr, code)) if isinstance(code, frozenset) else code)
    constants = [_described(part) for part in code.co_consts]
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
            case {"~": "named", "name": str(name)} if name in _NAMED:
                return _NAMED[name]
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
        module, _, name = path.rpartition(".")
        root = path.split(".")[0]
        if root not in ("cbirkit", "sklearn") or ".__" in path:
            raise ValueError(
                f"it holds a {path}, a class from outside cbirkit and scikit-learn; if you trust it, pass trusted=[{name}]"
            )
        cls = None
        with contextlib.suppress(ImportError):
            cls = getattr(importlib.import_module(module), name, None)
        if not (isinstance(cls, type) and issubclass(cls, BaseEstimator) and _path_of(cls) == path):
            raise ValueError(
                f"it holds a {path}, which the installed {root} has not as an estimator"
            )
        return cls

    def _object(self, cls, state):
        state = {name: self.value(item) for name, item in state.items()}
        found = cls.__new__(cls)
        # a stranger may bring them back
        getattr(found, "__setstate__", vars(found).update)(_without_caches(cls, state))
        if isinstance(found, NearestNeighbors) and hasattr(found, "_fit_X"):
            found.fit(found._fit_X)
        return found
