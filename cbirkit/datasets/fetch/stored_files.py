"""Image files whose pixels are taken as they are stored, cropped to a box or turned as a benchmark wants
it."""

import hashlib

import numpy as np

from ...images.files import read_image, read_thumbnail, shrink
from ...images.sources import FileSource


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
