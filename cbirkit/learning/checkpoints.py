"""Checkpoints of a training run: tensors as safetensors, numbers as JSON, in one folder that is replaced in one step."""

import contextlib
import functools
import hashlib
import json
import time
import types
from pathlib import Path

from .._atomic import recover, verify_manifest, write_folder
from .._optional import require
from ..persistence.code import is_library

KIND = "training"
_SCALARS = (bool, int, float, complex, str, bytes, types.NoneType)
_BUSY = 10  # writing may take at most the tenth part of the time


class Checkpoints:
    """Where a run is kept.

    Parameters
    ----------
    folder : path-like or None
        None: nowhere.
    seconds : float
        Least time between two saves.
    """

    def __init__(self, folder, seconds):
        self.folder = None if folder is None else Path(folder)
        self._seconds = seconds
        self._wait = seconds
        self._last = time.monotonic()

    @property
    def due(self):
        """Whether it is time to save."""
        return self.folder is not None and time.monotonic() - self._last >= self._wait

    def save(self, numbers, tensors):
        """Replace what was saved.

        Parameters
        ----------
        numbers : JSON values
            NaN among them is written as Python's ``json`` does.
        tensors : dict of name to torch tensor
        """
        if self.folder is None:
            return
        start = time.monotonic()
        save_file = require("safetensors.torch").save_file
        own = {
            name: tensor.detach().to("cpu", copy=True).contiguous()
            for name, tensor in tensors.items()
        }
        with write_folder(self.folder, kind=KIND) as partial:
            save_file(own, str(partial / "tensors.safetensors"))
            (partial / "numbers.json").write_text(json.dumps(numbers), "utf-8")
        self._last = time.monotonic()
        self._wait = max(self._seconds, _BUSY * (self._last - start)) if self._seconds else 0.0

    def load(self):
        """What was saved last, (numbers, tensors), or None if there is nothing yet.

        Raises
        ------
        ValueError
            The folder holds something else, or is damaged.
        """
        if self.folder is None:
            return None
        recover(self.folder)
        if not self.folder.exists() or (self.folder.is_dir() and not any(self.folder.iterdir())):
            return None
        verify_manifest(self.folder, kind=KIND)
        numbers = json.loads((self.folder / "numbers.json").read_text("utf-8"))
        return numbers, require("safetensors.torch").load_file(
            str(self.folder / "tensors.safetensors")
        )


def check_same_run(folder, saved, now):
    """Refuse to go on with a run that was started with other settings.

    Parameters
    ----------
    folder : path
    saved, now : dict
        Descriptions of the saved run and of the present one.

    Raises
    ------
    ValueError
        They differ; the message names the first difference.
    """
    now = json.loads(json.dumps(now))  # tuples become lists, as in what was saved
    for name in sorted({*saved, *now}):
        if saved.get(name) != now.get(name):
            differs = (
                ""
                if len(repr(saved.get(name))) > 80
                else f" (was {saved.get(name)!r}, is {now.get(name)!r})"
            )
            raise ValueError(
                f"the run saved in {str(folder)!r} had another {name}{differs}; "
                "go on with the same settings, or give a new folder to checkpoint="
            )


def describe_function(function):
    """Text that changes when a function does: its code, and the numbers, texts and functions that it uses.

    What may change while training lasts (lists, dicts, objects such as networks) is described by its type
    alone. None for None.
    """
    if function is None:
        return None
    return hashlib.sha256(repr(_describe(function, set())).encode()).hexdigest()


def _describe(value, seen):
    if isinstance(value, functools.partial):
        return [
            _describe(part, seen)
            for part in (value.func, value.args, tuple(value.keywords.items()))
        ]
    if isinstance(value, tuple | frozenset):
        return [
            _describe(part, seen)
            for part in (value if isinstance(value, tuple) else sorted(value, key=repr))
        ]
    if isinstance(value, types.CodeType):
        return [
            value.co_code.hex(),
            value.co_names,
            [_describe(part, seen) for part in value.co_consts],
        ]
    value = getattr(value, "__func__", value)  # of a method
    if not isinstance(value, types.FunctionType):
        return (
            repr(value)
            if isinstance(value, _SCALARS)
            else getattr(value, "__qualname__", type(value).__qualname__)
        )
    if id(value) in seen or is_library(value.__module__ or "builtins"):
        return value.__qualname__
    seen.add(id(value))
    used = {
        name: value.__globals__[name]
        for name in sorted(_names(value.__code__))
        if name in value.__globals__
    }
    used |= dict(_cells(value))
    given = (value.__defaults__ or (), tuple((value.__kwdefaults__ or {}).items()))
    return [
        _describe(value.__code__, seen),
        _describe(given, seen),
        [(name, _describe(used[name], seen)) for name in used],
    ]


def _names(code):
    inner = [_names(part) for part in code.co_consts if isinstance(part, types.CodeType)]
    return set(code.co_names).union(*inner)


def _cells(function):
    """Pairs of name and value of the variables of the functions around it."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not filled yet
            yield name, cell.cell_contents


def digest(state):
    """Hex SHA-256 of the tensors of a state dict."""
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.flatten().view(require("torch").uint8).numpy().data)
    return total.hexdigest()
