"""What a class or function does, as a description that changes when it does.

Installed libraries are described by name and version. Code of the user (a notebook, a script) is described by its byte code and
everything that it refers to, because a cell that is edited and run again keeps the class's name and parameters.
"""

import hashlib
import json
import sys
import types

import numpy as np

_INSTALLED = ("site-packages", "dist-packages")


def to_json(node):
    """Canonical JSON text of a node."""
    return json.dumps(node, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256(array):
    """Hex SHA-256 of the values of an array, in C order."""
    return hashlib.sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data).hexdigest()


def describe(thing, writer, where):
    """JSON node that tells what a class or function does.

    Parameters
    ----------
    thing : type or callable
    writer : tree.Writer
        Describes the constants, defaults and globals that the code uses.
    where : str
        Names it in errors.

    Raises
    ------
    ValueError
        The code uses a value (a network in a global variable, say) that cannot be described.
    """
    return _Walk(writer, where).node(thing)


class _Walk:
    def __init__(self, writer, where):
        self.writer = writer
        self.where = where
        self.seen = {}

    def node(self, thing):
        if isinstance(thing, staticmethod | classmethod | types.MethodType):
            thing = thing.__func__
        if isinstance(thing, property):
            return [self.node(f) for f in (thing.fget, thing.fset) if f is not None]
        if id(thing) in self.seen:
            return {"seen": self.seen[id(thing)]}
        self.seen[id(thing)] = len(self.seen)
        if isinstance(thing, type):
            return self._class(thing)
        if isinstance(thing, types.FunctionType):
            return self._function(thing)
        if hasattr(thing, "__wrapped__"):  # functools.cache
            return self.node(thing.__wrapped__)
        module, name = getattr(thing, "__module__", None), getattr(thing, "__name__", None)
        if (
            callable(thing) and isinstance(name, str) and is_library(module or "builtins")
        ):  # a compiled function
            return _library(module or "builtins", name)
        raise ValueError(
            f"{self.where} uses {thing!r}, which cannot be identified, so stored embeddings could go stale; "
            "make it a parameter that is a number, string or array, or do without a store"
        )

    def _class(self, cls):
        own = [base for base in cls.__mro__ if not is_library(base.__module__)]
        if not own:
            return {
                **_library(cls.__module__, cls.__qualname__),
                "class_version": getattr(cls, "_version", 0),
            }
        node = {
            "name": cls.__qualname__,
            "bases": [_library(b.__module__, b.__qualname__) for b in cls.__bases__],
        }
        node["members"] = [
            [name, self._member(v)]
            for b in own
            for name, v in sorted(vars(b).items())
            if _counts(name)
        ]
        return node

    def _member(self, value):
        if isinstance(value, staticmethod | classmethod | property | types.FunctionType | type):
            return self.node(value)
        try:
            return self.writer.node(value, self.where)
        except ValueError:
            return {
                "type": type(value).__qualname__
            }  # descriptors that scikit-learn puts into classes

    def _function(self, function):
        cells = [cell.cell_contents for cell in function.__closure__ or () if _filled(cell)]
        module = function.__globals__.get("__name__", "")
        if is_library(module):  # a decorator of a library may hold a function of the user
            inner = [
                self.node(c)
                for c in cells
                if isinstance(c, types.FunctionType) and not is_library(c.__module__)
            ]
            return {**_library(module, function.__qualname__), "around": inner}
        node = {"name": function.__qualname__, "code": _code(function.__code__)}
        node["given"] = [
            self._value(v) for v in (function.__defaults__, function.__kwdefaults__, *cells)
        ]
        names = sorted(_names(function.__code__))
        node["globals"] = [
            [n, self._value(function.__globals__[n], names)]
            for n in names
            if n in function.__globals__
        ]
        return node

    def _value(self, value, names=()):
        if isinstance(value, types.ModuleType):
            if is_library(value.__name__):
                return _library(value.__name__, "")
            return [[n, self._value(getattr(value, n))] for n in names if hasattr(value, n)]
        if isinstance(
            value, type | types.FunctionType | types.MethodType | types.BuiltinFunctionType
        ):
            return self.node(value)
        try:
            return self.writer.node(value, self.where)
        except ValueError:
            return self.node(value)


def is_library(module):
    """Whether a module is part of Python or of an installed package, rather than the user's own code."""
    root = module.split(".")[0]
    if root == "__main__":  # a notebook or script, although Jupyter's launcher is an installed file
        return False
    if root in ("cbirkit", "sklearn", "builtins") or root in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(root), "__file__", None) or ""
    return any(place in file for place in _INSTALLED)


def _library(module, name):
    version = getattr(sys.modules.get(module.split(".")[0]), "__version__", "")
    return {"library": f"{module}.{name}".rstrip("."), "version": str(version)}


def _counts(name):
    """Whether a member of a class bears on what it computes."""
    return name in ("__call__", "__getstate__", "__setstate__") or not name.startswith(
        ("__", "_abc_", "_sklearn")
    )


def _filled(cell):
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _names(code):
    """Every global and attribute name that the code and the functions inside it mention."""
    inner = (_names(c) for c in code.co_consts if isinstance(c, types.CodeType))
    return set(code.co_names).union(*inner)


def _code(code):
    constants = [_constant(c) for c in code.co_consts]
    return [
        hashlib.sha256(code.co_code).hexdigest(),
        constants,
        list(code.co_names),
        list(code.co_varnames),
    ]


def _constant(value):
    if isinstance(value, types.CodeType):
        return _code(value)
    if isinstance(value, frozenset):  # its order differs between processes
        return sorted(map(repr, value))
    return [type(value).__name__, repr(value)]
