"""Where the pixels of a collection come from: files, arrays in memory, or a generator.

Each source answers, for a row number: `read`, `thumbnail`, `digest`, `path`, `make_mask`.
"""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from .files import ImageProblem, read_image, read_thumbnail, shrink


def _digest(*parts):
    hasher = hashlib.blake2b(digest_size=16)
    for part in parts:
        hasher.update(part)
    return hasher.hexdigest()


class _Source:
    """What the three have in common: no files, no masks."""

    root = None

    def thumbnail(self, row, size):
        return shrink(self.read(row), size)

    def path(self, row):
        return None

    def make_mask(self, row):
        raise ValueError("no masks are known of these images; give the table a column 'mask' with paths of mask files")

    def read_mask(self, path):
        """Read a mask file as it is stored: (h, w) of bool or class numbers."""
        path = Path(path) if self.root is None else Path(self.root) / path
        try:
            with Image.open(path, formats=("PNG", "TIFF", "BMP", "GIF")) as image:
                return np.asarray(image)
        except Exception as error:  # an untrusted file, as in files.py
            raise ImageProblem(path, f"mask {path.name} cannot be read ({error})") from error


class FileSource(_Source):
    def __init__(self, paths, root):
        self.paths = paths
        self.root = root

    def read(self, row):
        return read_image(self.paths[row])

    def thumbnail(self, row, size):
        return read_thumbnail(self.paths[row], size)

    def digest(self, row):
        try:
            with open(self.paths[row], "rb") as file:
                return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        except OSError as error:
            raise ImageProblem(self.paths[row], f"cannot be read ({error.strerror})") from error

    def path(self, row):
        return Path(self.paths[row])


class ArraySource(_Source):
    def __init__(self, arrays):
        self.arrays = arrays

    def read(self, row):
        return read_image(self.arrays[row])

    def digest(self, row):
        pixels = self.read(row)
        return _digest(repr(pixels.shape).encode(), pixels.tobytes())


class FunctionSource(_Source):
    def __init__(self, function, key, mask_function=None):
        self.function = function
        self.key = key
        self.mask_function = mask_function

    def read(self, row):
        return self.function(int(row))

    def digest(self, row):
        return _digest(f"{self.key}\n{int(row)}".encode())

    def make_mask(self, row):
        return super().make_mask(row) if self.mask_function is None else self.mask_function(int(row))
