"""Many (nearly) equal rows, in which graphs and trees lose their way: one of each group stands for all."""

import numpy as np

_LEAST = 8  # rows that make a group
_TOLERANCES = (1e-3, 1e-2, 1e-1, 2e-1)  # of the spread of all rows
_WHOLE = 0.9  # share of a cell that they must be
_DIRECTIONS = 8
_WIDTH = 4  # of a cell: times what a direction sees of the tolerance


def find_copies(X):
    """The row that stands for each row of X (n_rows, n_dims), (n_rows,) int64: itself for most.

    Rows whose projections on random directions fall into one cell are compared with the first of them; those within
    a tolerance are its copies, if they are 8 or more together and nearly all of the cell.
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
        _, first, which, counts = np.unique(cells, True, True, True)
        crowded = np.flatnonzero(counts[which] >= _LEAST)
        rows, heads = left[crowded], left[first[which[crowded]]]
        near = np.linalg.norm(X[rows] - X[heads], axis=1) <= tolerance
        # a cell that is wider than the tolerance holds a cluster, not copies
        near &= (np.bincount(heads, near) >= _WHOLE * np.bincount(heads))[heads]
        of[rows[near]] = heads[near]
    while (of[of] != of).any():
        of = of[of]
    return of
