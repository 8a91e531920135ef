"""Readers of what benchmarks come in: images as stored, arrays of pixels on the disk, and plain pickles.

A pickle can call any function. The readers here resolve no name but that of numpy's array: a file may hold dicts, lists, tuples,
strings and numbers and, for CIFAR-10, numpy arrays. All else is refused. What is read is written as JSON or npy, so that nothing that is loaded later is a pickle.
"""

import hashlib
import io
import pickle
import pickletools
from pathlib import Path

import numpy as np

from cbirkit.images.files import read_image, read_thumbnail, shrink
from cbirkit.images.sources import FileSource

_MOST_BYTES = 2**26  # of a pickle, before anything is read


class StoredFiles(FileSource):
    """Files read without applying their EXIF orientation: what a benchmark's boxes and published figures
    refer to.

    Parameters
    ----------
    paths : list of path-like
    root : path-like
    boxes : list of (x0, y0, x1, y1), optional
        In pixels as stored; each image is cropped to its box, rounded to whole pixels and cut at the edge of
        the image.
    turns : list of int, optional
        Degrees clockwise, multiples of 90.
    """

    def __init__(self, paths, root, *, boxes=None, turns=None):
        super().__init__(paths, root)
        self.boxes, self.turns = boxes, turns

    def read(self, row):
        return self._altered(read_image(self.paths[row], upright=False), row)

    def thumbnail(self, row, size):
        if self.boxes is None:
            return np.ascontiguousarray(
                self._altered(read_thumbnail(self.paths[row], size, upright=False), row)
            )
        return shrink(self.read(row), size)

    def digest(self, row):
        box = "" if self.boxes is None else repr(tuple(self.boxes[row]))
        turn = 0 if self.turns is None else self.turns[row]
        parts = f"{super().digest(row)} as stored {box} {turn}"
        return hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()

    def _altered(self, pixels, row):
        if self.boxes is not None:
            height, width = pixels.shape[:2]
            x0, y0, x1, y1 = map(round, self.boxes[row])
            pixels = pixels[max(y0, 0) : min(y1, height), max(x0, 0) : min(x1, width)]
        if self.turns is not None:
            pixels = np.rot90(pixels, -(self.turns[row] // 90))
        return np.ascontiguousarray(pixels)


class MappedImages:
    """Callable that reads image number `row` out of a file of uint8 pixels, mapped into memory when first
    used.

    It can be sent to other processes: each maps the file for itself.

    Parameters
    ----------
    path : path-like
        An npy file (n, h, w, 3), or raw bytes if `shape` is given.
    shape : tuple, optional
        Of one raw image as stored.
    axes : tuple, optional
        Order of the stored axes that gives (h, w, 3).
    """

    def __init__(self, path, *, shape=None, axes=None):
        self.path, self.shape, self.axes, self._pixels = str(path), shape, axes, None

    def __call__(self, row):
        image = self._mapped()[row]
        return np.array(image if self.axes is None else image.transpose(self.axes), order="C")

    def __len__(self):
        return len(self._mapped())

    def _mapped(self):
        if self._pixels is None:
            if self.shape is None:
                self._pixels = np.load(self.path, mmap_mode="r", allow_pickle=False)
            else:
                flat = np.memmap(self.path, dtype=np.uint8, mode="r")
                self._pixels = flat[
                    : len(flat) // np.prod(self.shape) * np.prod(self.shape)
                ].reshape(-1, *self.shape)
        return self._pixels

    def __getstate__(self):
        return {**self.__dict__, "_pixels": None}


class _DataOnly(pickle.Unpickler):
    def find_class(self, module, name):
        raise pickle.UnpicklingError(f"it names {module}.{name}")


class _ArraysToo(_DataOnly):
    """Plain numpy arrays besides: what makes them runs nothing."""

    def find_class(self, module, name):
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np.zeros(0).__reduce__()[0]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        return super().find_class(module, name)


def read_plain(path):
    """The dict that a pickle of dicts, lists, tuples, strings and numbers holds.

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
    """One batch of CIFAR-10 for Python, or its table of names: a dict with ``data`` (n, 3072) uint8, ``labels`` …

    Raises
    ------
    ValueError
        As `read_plain`; arrays are let through.
    """
    return _read(path, _ArraysToo, encoding="latin1")


def _read(path, reader, encoding):
    path = Path(path)
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path.name} is {path.stat().st_size:,} bytes, more than expected")
    try:
        data = path.read_bytes()
        # Lengths beyond the end are refused here, and nothing is made yet.
        for code, argument, _ in pickletools.genops(data):
            if code.name.endswith("PUT") and argument > len(data):  # it would ask for the memory
                raise ValueError(f"it numbers an object {argument}")
        return dict(reader(io.BytesIO(data), encoding=encoding).load())
    except Exception as error:  # hostile bytes make an unpickler raise whatever it likes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path.name} is not read: {reason}; plain data are expected") from error
