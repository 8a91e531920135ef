"""Readers of what benchmarks come in: images as stored, arrays of pixels on the disk, and plain pickles.

A pickle can call any function. The readers here resolve no name but that of numpy's array: a file may hold dicts, lists, tuples,
strings and numbers and, for CIFAR-10, numpy arrays. All else is refused. What is read is written as JSON or npy, so that nothing that is loaded later is a pickle.
"""

import hashlib
import io
import pickle
import pickletools
from functools import lru_cache
from pathlib import Path

import numpy as np

from cbirkit.images.collection import FileSource
from cbirkit.images.files import read_image, read_thumbnail, shrink

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
            return self._altered(read_thumbnail(self.paths[row], size, upright=False), row)
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


@lru_cache(maxsize=8)
def _mapped(path, shape):
    if shape is None:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    return np.memmap(path, dtype=np.uint8, mode="r").reshape(-1, *shape)


def read_mapped(path, row, *, shape=None, axes=(0, 1, 2)):
    """Image number `row` of a file of uint8 pixels, which each process maps into memory when it first reads.

    Parameters
    ----------
    path : str
        An npy file (n, h, w, 3), or raw bytes if `shape` is given.
    row : int
    shape : tuple, optional
        Of one raw image as stored.
    axes : tuple
        Order of the stored axes that gives (h, w, 3).

    Returns
    -------
    ndarray (h, w, 3), uint8
    """
    return np.array(_mapped(path, shape)[row].transpose(axes), order="C")


_NUMPY = {"_reconstruct": np.zeros(0).__reduce__()[0], "ndarray": np.ndarray, "dtype": np.dtype}


class _Unpickler(pickle.Unpickler):
    def __init__(self, data, arrays):
        super().__init__(io.BytesIO(data), encoding="latin1")
        self.arrays = arrays

    def find_class(self, module, name):
        if self.arrays and module.split(".")[0] == "numpy" and name in _NUMPY:
            return _NUMPY[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def read_pickle(path, *, arrays=False):
    """The dict that a pickle of dicts, lists, tuples, strings and numbers holds; nothing that it names is run.

    Parameters
    ----------
    path : path-like
    arrays : bool
        Whether numpy arrays are let through, too, of a file whose checksum is known.

    Raises
    ------
    ValueError
        It names a class or function, is damaged, or is larger than 64 MiB.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.pkl"
    >>> _ = path.write_bytes(pickle.dumps({"a": [1, 2.5]}))
    >>> read_pickle(path)
    {'a': [1, 2.5]}
    """
    path = Path(path)
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path.name} is {path.stat().st_size:,} bytes, more than expected")
    try:
        data = path.read_bytes()
        # Lengths beyond the end are refused here, and nothing is made yet.
        for code, argument, _ in pickletools.genops(data):
            if code.name.endswith("PUT") and argument > len(data):  # it would ask for the memory
                raise ValueError(f"it numbers an object {argument}")
        return dict(_Unpickler(data, arrays).load())
    except Exception as error:  # hostile bytes make an unpickler raise whatever it likes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path.name} is not read: {reason}; plain data are expected") from error
