"""Where the relevant ranks are: the one representation that the binary metrics share."""

import numpy as np


class Hits:
    """The relevant ranks of a stack of rankings, as flat arrays: work grows with the hits only.

    Parameters
    ----------
    relevant : array-like of bool, shape (..., k)
        True (or 1) where the item at that rank is relevant, nearest first.
    n_positives : array-like of int, broadcastable to (...), optional
        R, the positives each query has, found or not. By default those in `relevant`.

    Attributes
    ----------
    shape : tuple
        The leading axes ``(...)``.
    k : int
    row : ndarray of int64, shape (n_hits,)
        The ranking each hit is in.
    rank : ndarray of int64, shape (n_hits,)
        Its rank, from 1.
    number : ndarray of int64, shape (n_hits,)
        1 for the first hit of its ranking, 2 for the second, and so on.
    n_positives : ndarray of int64, shape (n_rankings,)
    given : bool
        Whether R was given: only then is a ranking without hits known to be of a query without positives.

    Raises
    ------
    ValueError
        `relevant` has no axis or holds anything but 0 and 1; `n_positives` is smaller than the hits.
    """

    def __init__(self, relevant, n_positives=None):
        flat, self.shape = as_rankings(relevant)
        self.n, self.k = flat.shape
        where = np.flatnonzero(flat)
        self.row, column = np.divmod(where, max(self.k, 1))
        self.rank = column + 1
        self.counts = np.bincount(self.row, minlength=self.n)
        before = np.cumsum(self.counts) - self.counts
        self.number = np.arange(1, len(where) + 1) - np.repeat(before, self.counts)
        self.given = n_positives is not None
        self.n_positives = self._positives(n_positives)

    @classmethod
    def of(cls, relevant, n_positives=None):
        """The `Hits` of `relevant`, or `relevant` if it is one already (metrics share the work)."""
        return relevant if isinstance(relevant, cls) else cls(relevant, n_positives)

    def _positives(self, given):
        if given is None:
            return self.counts
        given = np.asarray(given)
        if not np.issubdtype(given.dtype, np.integer):
            raise ValueError(f"n_positives is {given.dtype}; give whole numbers")
        try:
            given = np.broadcast_to(given, self.shape).reshape(-1)
        except ValueError:
            raise ValueError(
                f"n_positives has the shape {given.shape} for rankings {self.shape}; give one for each"
            ) from None
        bad = np.flatnonzero(given < self.counts)
        if len(bad):
            raise ValueError(
                f"ranking {bad[0]} holds {self.counts[bad[0]]} relevant items, n_positives says "
                f"{given[bad[0]]}; n_positives counts all positives of the query"
            )
        return given

    def total(self, weights=None, keep=None):
        """Sum of `weights` (1 by default) over the hits of each ranking, only those under the mask `keep`."""
        row = self.row if keep is None else self.row[keep]
        if weights is not None:
            weights = weights if keep is None else weights[keep]
        return np.bincount(row, weights=weights, minlength=self.n).astype(np.float64)

    def finish(self, total, divisor):
        """``total / divisor``, NaN for a query without positives, in the shape of the rankings."""
        divisor = np.broadcast_to(divisor, total.shape)
        out = np.full(total.shape, np.nan)
        np.divide(total, divisor, out=out, where=divisor > 0)
        return restore(np.where(self.n_positives > 0, out, np.nan), self.shape)


def as_rankings(relevant):
    """`relevant` as a bool array (n_rankings, k), and its leading shape."""
    array = np.asarray(relevant)
    if array.ndim == 0:
        raise ValueError("relevant is a single value; give one value for each rank, nearest first")
    if array.dtype != bool:
        if array.size and not np.isin(array, (0, 1)).all():
            raise ValueError(
                "relevant holds values other than 0 and 1; give booleans (graded gains: ndcg_at_k)"
            )
        array = array.astype(bool)
    shape = array.shape[:-1]
    return array.reshape(int(np.prod(shape)), array.shape[-1]), shape


def check_k(k):
    """Return the cut-off `k`, or raise unless it is a whole number of at least 1."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f"k={k!r} is not a cut-off; use a whole number >= 1")
    return int(k)


def restore(values, shape):
    """One value for each ranking, in the leading shape; a float for a single ranking."""
    return values.reshape(shape) if shape else float(values[0])
