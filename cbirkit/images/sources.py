"""Where the pixels of a collection come from: files, arrays in memory, or a generator.

Each source answers, for a row number: `read`, `thumbnail`, `digest`, `path`, `make_mask`.
"""

import hashlib
from pathlib import Path

from .files import open_file, read_image, read_stored, read_thumbnail, shrink
from .folders import as_on_disk


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
        raise ValueError(
            "no masks are known of these images; give the table a column 'mask' with paths of mask files"
        )

    def read_mask(self, path):
        """Read a mask file as it is stored: (h, w) of bool or class numbers."""
        path = Path(path) if self.root is None else Path(self.root) / path
        return read_stored(as_on_disk(path) or path)


class FileSource(_Source):
    def __init__(self, paths, root):
        self.paths = paths
        self.root = root

    def read(self, row):
        return read_image(self.paths[row])

    def thumbnail(self, row, size):
        return read_thumbnail(self.paths[row], size)

    def digest(self, row):
        with open_file(self.paths[row]) as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()

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
        return (
            super().make_mask(row) if self.mask_function is None else self.mask_function(int(row))
        )
