"""Many (nearly) equal rows, in which graphs and trees lose their way: one of each group stands for all."""

import numpy as np

from cbirkit._manifest import read_array

_LEAST = 8  # rows that make a group
_TOLERANCE = 1e-3  # of the spread of all rows
_GROWTH = 1.1  # after which groups are looked for again
_DIRECTIONS = 6
_CROWD = 32  # rows that make a cluster
_PROBES = 64  # rows around which clusters are looked for at a time
_GAP = 1.5  # times its radius, within which a cluster has next to nothing around it
_FLOOR = 2e-3  # of the spread, below which float32 tells no distances


def find_copies(X):
    """Return the row that stands for each row of X (n_rows, n_dims), (n_rows,) int64: itself for most.

    One of all that are (nearly) equal stands for them, and one of each tight cluster with next to nothing around it.
    """
    of, left, n = _equal(X), np.arange(len(X)), -1
    while len(left) != n and len(left := left[of[left] == left]) > _PROBES:
        n = len(left)
        left = left[_fold_clusters(X, left, of)]
    return of[of]


def _fold_clusters(X, rows, of):
    """Fold clusters found around 64 of the rows of X, in `of`; tells which rows are left to look at."""
    probes, centre = (
        np.random.RandomState(0).choice(len(rows), _PROBES, replace=False),
        X.mean(axis=0),
    )
    around, far, spread = X[rows[probes]] - centre, np.empty((_PROBES, len(rows)), np.float32), 0
    for start in range(0, len(rows), 8192):
        block = X[rows[start : start + 8192]] - centre
        squares = np.einsum("ij,ij->i", block, block)
        far[:, start : start + 8192] = (
            (around**2).sum(axis=1)[:, None] + squares - 2 * around @ block.T
        )
        spread += squares.sum()
    np.sqrt(np.maximum(far, _FLOOR**2 * spread / len(rows), out=far), out=far)
    free, sizes = np.ones(len(rows), bool), np.arange(_CROWD, int(len(rows) / 1.05))
    for probe, distances in zip(probes, far, strict=True):
        if free[probe]:
            ordered = np.sort(distances)
            gaps = ordered[(sizes * 1.05).astype(np.int64)] / ordered[sizes - 1]
            if gaps.max() >= _GAP:
                members = (distances <= ordered[sizes[gaps.argmax()] - 1]) & free
                of[rows[members]], free[members] = rows[probe], False
    return free


def _equal(X):
    """The row that stands for each row of X, (n_rows,) int64, where only (nearly) equal rows are folded.

    Rows whose projections on random directions fall into one cell are compared with the first of them; those within a
    thousandth of the spread of X are its copies, if they are 8 or more together.
    """
    rng = np.random.RandomState(0)
    directions = rng.randn(X.shape[1], _DIRECTIONS)
    directions /= np.linalg.norm(directions, axis=0)
    mixers = rng.randint(1, 2**62, _DIRECTIONS) | 1
    centre, of, hashes = (
        X.mean(axis=0, dtype=np.float64),
        np.arange(len(X)),
        np.empty(len(X), np.int64),
    )
    blocks = [slice(start, start + 8192) for start in range(0, len(X), 8192)]
    spread = sum(np.square(X[block] - centre).sum() for block in blocks) / len(X)
    tolerance = _TOLERANCE * np.sqrt(spread) or 1.0
    for block in blocks:
        cells = np.floor((X[block] - centre) @ directions / tolerance)
        hashes[block] = (cells.astype(np.int64) * mixers).sum(axis=1)
    _, first, which, counts = np.unique(
        hashes, return_index=True, return_inverse=True, return_counts=True
    )
    crowded = np.flatnonzero(counts[which] >= _LEAST)
    heads = first[which[crowded]]
    for start in range(0, len(crowded), 8192):
        rows, head = crowded[start : start + 8192], heads[start : start + 8192]
        same = np.linalg.norm(X[rows].astype(np.float64) - X[head], axis=1) <= tolerance
        of[rows[same]] = head[same]
    return of


class Copies:
    """Which rows are in a structure, and for which others each of them stands.

    Parameters
    ----------
    of : ndarray of shape (n_rows,), int64
        The row that stands for each row, see `find_copies`.
    """

    def __init__(self, of):
        self.of, self.n_looked_at = of, len(of)
        self._arrange()

    def _arrange(self):
        counts = np.bincount(self.of, minlength=len(self.of))
        self.heads = np.flatnonzero(counts)  # those in the structure, in its order
        self.counts = counts[self.heads]
        self.starts = np.cumsum(self.counts) - self.counts
        self.members = np.argsort(self.of, kind="stable")
        self.any = len(self.heads) < len(self.of)

    def grow(self, n):
        """Note n further rows, each in the structure."""
        self.of = np.concatenate([self.of, np.arange(len(self.of), len(self.of) + n)])
        self._arrange()

    def are_stale(self, X):
        """Whether X has grown so much since, and by so many copies, that the structure has to be built anew."""
        if len(X) <= _GROWTH * self.n_looked_at + _LEAST:
            return False
        self.n_looked_at = len(X)
        return len(np.unique(find_copies(X))) < 0.99 * len(self.heads)

    def alive(self, alive):
        """Whether each of `heads` stands for a row that is alive."""
        return np.logical_or.reduceat(alive[self.members], self.starts) if self.any else alive

    def wanted(self, k):
        """How many heads to look for: more than k where some are farther than what they stand for."""
        return 2 * k + 16 if self.any else k

    def expand(self, found):
        """Rows (m, width), padded with -1, that `found` (m, n), positions among `heads` or -1, stand for."""
        counts = np.where(found < 0, 0, self.counts[found])
        totals = counts.sum(axis=1)
        rows = np.full((len(found), max(1, totals.max(initial=0))), -1, np.int64)
        counts, flat = counts.ravel(), np.repeat(np.arange(found.size), counts.ravel())
        offset = np.arange(len(flat)) - np.repeat(np.cumsum(counts) - counts, counts)
        rows[np.arange(rows.shape[1]) < totals[:, None]] = self.members[
            self.starts[found.ravel()[flat]] + offset
        ]
        return rows

    @classmethod
    def load(cls, path, n_rows):
        """Read what was saved: `of`, or nothing (None) where each row stands for itself."""
        of = np.arange(n_rows) if path is None else read_array(path)
        if of.dtype != np.int64 or of.shape != (n_rows,) or ((of < 0) | (of >= n_rows)).any():
            raise ValueError("the copies do not fit the keys")
        if (of[of] != of).any():
            raise ValueError("the copies do not fit the keys")
        return cls(of)
