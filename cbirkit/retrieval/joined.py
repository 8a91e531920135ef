"""One collection made of several, each read from where it came from."""

import numpy as np
import pandas as pd

from ..images import ImageCollection


def join(first, second):
    """The images of `first`, then those of `second`; ids must differ."""
    source, rows = first._source, first._rows
    if not isinstance(source, _Joined):
        source, rows = _Joined([first]), np.arange(len(first))
    joined = _Joined([*source.parts, second])
    rows = np.concatenate([rows, joined.starts[-1] + np.arange(len(second))])
    problems = pd.concat([first.problems, second.problems], ignore_index=True)
    table = pd.concat([first.table, second.table])
    return ImageCollection(joined, table, rows=rows, problems=problems, name=first.name)


class _Joined:
    """A source (see `cbirkit.images.sources`) whose rows are those of its parts, one part after the other."""

    def __init__(self, parts):
        self.parts = parts
        self.starts = np.cumsum([0, *map(len, parts)])[:-1]
        roots = {part.root for part in parts}
        self.root = roots.pop() if len(roots) == 1 else None

    def _find(self, row):
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.parts[number], int(row - self.starts[number])

    def read(self, row):
        part, position = self._find(row)
        return part[position]

    def thumbnail(self, row, size):
        part, position = self._find(row)
        return part.thumbnail(position, size)

    def digest(self, row):
        part, position = self._find(row)
        return part.digest(position)

    def path(self, row):
        part, position = self._find(row)
        return part.path(position)

    def make_mask(self, row):
        part, position = self._find(row)
        return part.mask(position)

    def read_mask(self, path):
        there = [p for p in self.parts if p.root is not None and (p.root / path).exists()]
        return (there or self.parts)[0]._source.read_mask(path)
