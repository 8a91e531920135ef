"""Read the two kinds of pickle that data sets come in without running anything they name.

A pickle can call any function. These readers resolve no name at all: a file may hold dicts, lists, tuples,
strings and numbers and, for CIFAR-10, arrays of bytes, whose pickled parts are put into inert stand-ins. All
else is refused. What is read is written as JSON or npy, so that nothing that is loaded later is a pickle.
"""

import io
import pickle
import pickletools
from pathlib import Path

import numpy as np

_MOST_BYTES = 2**26  # before anything is read


class _DataOnly(pickle.Unpickler):
    def find_class(self, module, name):
        raise pickle.UnpicklingError(f"it names {module}.{name}")


class _BytesToo(_DataOnly):
    """Arrays of bytes become `_Bytes`."""

    def find_class(self, module, name):
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return _Bytes
        if module == "numpy" and name in ("ndarray", "dtype"):
            return _Kind
        return super().find_class(module, name)


class _Kind:
    """Stands in for numpy's dtype and for the class ndarray: keeps the name of the type."""

    def __init__(self, name="", *_):
        self.name = name

    def __setstate__(self, state):
        pass


class _Bytes:
    """Stands in for an array: keeps its state."""

    def __init__(self, *_):
        self.state = None

    def __setstate__(self, state):
        self.state = state

    def array(self):
        _, shape, kind, fortran, data = self.state
        if kind.name not in ("u1", b"u1") or fortran or not isinstance(data, bytes):
            raise ValueError("an array in it is not of bytes in C order")
        return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def read_plain(path):
    """What a pickle of dicts, lists, tuples, strings and numbers holds.

    Raises
    ------
    ValueError
        It names a class or function, is damaged, or is larger than 64 MiB.

    Examples
    --------
    >>> import pickle, tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.pkl"
    >>> _ = path.write_bytes(pickle.dumps({"a": [1, 2.5]}))
    >>> read_plain(path)
    {'a': [1, 2.5]}
    """
    return _read(path, _DataOnly, encoding="ASCII")


def read_cifar_batch(path):
    """Pixels (n, 3072) uint8, labels and other entries of one batch of CIFAR-10 for Python: dict of str to
    array or list.

    Raises
    ------
    ValueError
        As `read_plain`, or an array is not of bytes.
    """
    entries = _read(path, _BytesToo, encoding="bytes")
    try:
        texts = {key.decode("latin-1"): value for key, value in entries.items()}
        return {
            key: value.array() if isinstance(value, _Bytes) else value
            for key, value in texts.items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{Path(path).name} holds no batch of CIFAR-10 ({error})") from error


def _read(path, reader, encoding):
    path = Path(path)
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path.name} is {path.stat().st_size:,} bytes, more than expected")
    try:
        data = path.read_bytes()
        for code, argument, _ in pickletools.genops(
            data
        ):  # lengths beyond the end are refused, and nothing is made yet
            if code.name.endswith("PUT") and argument > len(
                data
            ):  # memory for so many would be asked for
                raise ValueError(f"it numbers an object {argument}")
        return reader(io.BytesIO(data), encoding=encoding).load()
    except Exception as error:  # hostile bytes make an unpickler raise whatever it likes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path.name} is not read: {reason}; plain data are expected") from error
