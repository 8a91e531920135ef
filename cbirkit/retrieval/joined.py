"""Collections as a retriever shows them: compared with what was indexed, and one made of several."""

import numpy as np
import pandas as pd

from ..images import ImageCollection, ImageProblem
from ..images.folders import as_on_disk
from ..ranking.ids import positions_of
from ..store import DigestCache, contents_key, is_settled, stamp_of


def join(first, second):
    """The images of `first`, then those of `second`; ids must differ."""
    source, rows = first._source, first._rows
    if type(source) is not _Joined:
        source, rows = _Joined([first]), np.arange(len(first))
    joined = _Joined([*source.parts, second])
    rows = np.concatenate([rows, joined.starts[-1] + np.arange(len(second))])
    problems = pd.concat([first.problems, second.problems], ignore_index=True)
    table = pd.concat([first.table, second.table])
    return ImageCollection(joined, table, rows=rows, problems=problems, name=first.name)


def indexed_among(images, ids):
    """The images of a collection that were indexed, in their order; ValueError names one that it lacks."""
    found = positions_of(ids, images.ids)
    if (found < 0).any():
        raise ValueError(
            f"{images.name!r} lacks {int((found < 0).sum())} of the {len(ids)} indexed images, the first is "
            f"{ids[int(np.argmax(found < 0))]!r}; give the collection that was indexed, or load without images"
        )
    return images.subset(found)


def as_indexed(images, digests, stamps):
    """The same images, but one whose file holds something else than when it was indexed is refused when it is read.

    Parameters
    ----------
    images : ImageCollection
    digests : sequence of str
        Of the contents that were indexed.
    stamps : list
        Of the files then; see `cbirkit.store.Embedded`.
    """
    if not any(
        stamp is not None and images.path(row) is not None for row, stamp in enumerate(stamps)
    ):
        return images  # nothing that could change
    source = _Indexed(images, list(digests), list(stamps))
    return ImageCollection(source, images.table, problems=images.problems, name=images.name)


def contents_of(images, position):
    """What `as_indexed` has to know of one image, before it is read: digest and stamp."""
    stamp = stamp_of(images.path(position))
    digest = contents_key(images, position, stamp, DigestCache(None)).hex()
    return digest, () if stamp and not is_settled(stamp) else stamp


def changed(images, positions, *, cache=None, most_bytes=None):
    """Positions of images whose files hold something else than when they were indexed.

    Parameters
    ----------
    images : ImageCollection
        Made by `as_indexed`, `join` or as a part of one; of others none has changed.
    positions : iterable of int
    cache : DigestCache, optional
    most_bytes : int, optional
        Read no more than these to compare contents; what is left is compared when it is shown.
    """
    found, source = [], images._source
    for position in positions if hasattr(source, "is_other") else ():
        other, n_read = source.is_other(images._rows[position], cache or DigestCache(None))
        if other:
            found.append(int(position))
        if most_bytes is not None and (most_bytes := most_bytes - n_read) < 0:
            break
    return found


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

    def is_other(self, row, cache):
        part, position = self._find(row)
        other = getattr(part._source, "is_other", None)
        return (False, 0) if other is None else other(part._rows[position], cache)

    def _asked(name):
        def ask(self, row, *args):
            part, position = self._find(row)
            return getattr(part, name)(position, *args)

        return ask

    read, thumbnail, digest, path, make_mask = map(
        _asked, ("__getitem__", "thumbnail", "digest", "path", "mask")
    )

    def read_mask(self, path):
        there = [p for p in self.parts if p.root is not None and as_on_disk(p.root / path)]
        return (there or self.parts)[0]._source.read_mask(path)


class _Indexed(_Joined):
    """A source of one part, which compares its files with what was indexed before it reads them."""

    def __init__(self, images, digests, stamps):
        super().__init__([images])
        self.digests, self.stamps, self._paths = digests, stamps, {}

    def path(self, row):
        if row not in self._paths:  # made once: a search for one query should not wait for them
            self._paths[row] = super().path(row)
        return self._paths[row]

    def is_other(self, row, cache):
        """Whether the file holds something else now, and how many bytes were read to know it."""
        path = self.path(row)
        if path is None or self.stamps[row] is None:
            return False, 0
        try:
            now = stamp_of(path)
            if now == self.stamps[row]:
                return False, 0
            if contents_key(self.parts[0], int(row), now, cache).hex() != self.digests[row]:
                return True, now[0]
        except (OSError, ImageProblem):
            return True, 0
        if is_settled(now):
            self.stamps[row] = now
        return False, now[0]

    def read(self, row):
        return super().read(self._checked(row))

    def thumbnail(self, row, size):
        return super().thumbnail(self._checked(row), size)

    def _checked(self, row):
        if self.is_other(row, DigestCache(None))[0] and self.path(row).exists():
            raise ImageProblem(self.parts[0].ids[row], "changed since it was indexed; index again")
        return row
