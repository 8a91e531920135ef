"""Many (nearly) equal rows, in which graphs and trees lose their way: one of each group stands for all."""

import numpy as np

from .base import lines_of

_LEAST = 8  # rows that make a group
_TOLERANCES = (1e-3, 1e-2, 1e-1, 4e-1)  # of the spread of all rows
_GROWTH = 1.1  # after which groups are looked for again
_DIRECTIONS = 8
_WIDTH = 4  # of a cell: times what a direction sees of the tolerance


def find_copies(X):
    """The row that stands for each row of X (n_rows, n_dims), (n_rows,) int64: itself for most.

    Rows whose projections on random directions fall into one cell are compared with the first of them; those within
    a tolerance are its copies, if they are 8 or more together.
    """
    of, rng = np.arange(len(X)), np.random.RandomState(0)
    directions = rng.randn(X.shape[1], _DIRECTIONS)
    directions /= np.linalg.norm(directions, axis=0)
    mixers = rng.randint(1, 2**62, _DIRECTIONS) | 1
    along = (X @ directions) - X.mean(axis=0, dtype=np.float64) @ directions
    # a direction of length 1 sees one of n_dims parts of the spread, and of the distance of two rows
    scale = np.sqrt(along.var(axis=0).mean())
    for share in _TOLERANCES:
        tolerance = share * scale * np.sqrt(X.shape[1])
        left = np.flatnonzero(of == np.arange(len(X)))
        cells = along[left] / (_WIDTH * share * scale or 1.0) + rng.rand(_DIRECTIONS)
        cells = np.floor(cells).astype(np.int64) @ mixers
        _, first, which, counts = np.unique(
            cells, return_index=True, return_inverse=True, return_counts=True
        )
        crowded = np.flatnonzero(counts[which] >= _LEAST)
        for start in range(0, len(crowded), 8192):
            some = crowded[start : start + 8192]
            rows, heads = left[some], left[first[which[some]]]
            near = np.linalg.norm(X[rows].astype(np.float64) - X[heads], axis=1) <= tolerance
            of[rows[near]] = heads[near]
    while (of[of] != of).any():
        of = of[of]
    return of


class Copies:
    """Which rows are in a structure, and for which others each of them stands.

    Parameters
    ----------
    of : ndarray of shape (n_rows,), int64
        The row that stands for each row, see `find_copies`.
    n_looked_at : int, optional
        Rows that there were when copies were looked for; default all.
    """

    def __init__(self, of, n_looked_at=None):
        counts = np.bincount(of, minlength=len(of))
        self.of, self.n_looked_at = of, len(of) if n_looked_at is None else n_looked_at
        self.heads = np.flatnonzero(counts)  # those in the structure, in its order
        self.counts = counts[self.heads]
        self.starts = np.cumsum(self.counts) - self.counts
        self.members = np.argsort(self.of, kind="stable")
        self.any = len(self.heads) < len(self.of)

    @classmethod
    def of_state(cls, of, n):
        """From what was saved; ValueError unless it says of each of n rows which one stands for it."""
        if of.dtype != np.int64 or of.shape != (n,) or ((of < 0) | (of >= n)).any():
            raise ValueError("the copies do not fit the keys")
        if (of[of] != of).any():
            raise ValueError("the copies do not fit the keys")
        return cls(of)

    def grown(self, n):
        """The same with n further rows, each in the structure."""
        of = np.concatenate([self.of, np.arange(len(self.of), len(self.of) + n)])
        return Copies(of, self.n_looked_at)

    def wanted(self, k):
        """How many of `heads` to look for: more than k where some are farther than what they stand for."""
        return 2 * k + 16 if self.any else k

    def are_stale(self, X):
        """Whether X has grown so much since, and by so many copies, that the structure has to be built anew."""
        if len(X) <= _GROWTH * self.n_looked_at + _LEAST:
            return False
        self.n_looked_at = len(X)
        return len(np.unique(find_copies(X))) < 0.99 * len(self.heads)

    def alive(self, alive):
        """Whether each of `heads` stands for a row that is alive."""
        return np.logical_or.reduceat(alive[self.members], self.starts) if self.any else alive

    def expand(self, found):
        """Rows (m, width), padded with -1, that `found` (m, n), positions among `heads` or -1, stand for."""
        which, columns = np.nonzero(found >= 0)
        heads = found[which, columns]
        counts = self.counts[heads]
        # the place of each member within its group
        place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = self.members[np.repeat(self.starts[heads], counts) + place]
        return lines_of(np.repeat(which, counts), rows, len(found), -1)
