"""Which descriptor of one image belongs to which of another: mutual nearest neighbours and the ratio test."""

import numbers

import numpy as np


def match_descriptors(a, b, *, ratio=0.85, mutual=True):
    """Match each descriptor of one image to its nearest in another, and keep the matches that are unambiguous.

    Parameters
    ----------
    a, b : array-like of shape (n_a, n_dims) and (n_b, n_dims)
        Descriptors; Euclidean distance.
    ratio : float or None
        Keep a match only where the nearest is closer than `ratio` times the second nearest. None: no such test; nor
        is there one where `b` holds a single descriptor. Lowe took 0.8 for SIFT; RootSIFT's distances
        are closer together and want a little more.
    mutual : bool
        Keep a match only where each is the other's nearest, so that no descriptor is used twice.

    Returns
    -------
    ndarray of shape (n_matches, 2), int64
        Rows of `a` and of `b`, ascending in `a`; among equal distances the first row is the nearest.

    Raises
    ------
    TypeError, ValueError
        Not two tables of one width, numbers that are not finite, or a `ratio` outside (0, 1].

    References
    ----------
    Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 2004, section 7.1,
    doi:10.1023/B:VISI.0000029664.99615.94.

    Examples
    --------
    >>> match_descriptors([[0.0], [5.0]], [[5.1], [0.2], [9.0]]).tolist()
    [[0, 1], [1, 0]]
    >>> match_descriptors([[0.0]], [[1.0], [-1.1]], ratio=0.8).tolist()
    []
    """
    a, b = _table(a, "a"), _table(b, "b")
    if ratio is not None and (not isinstance(ratio, numbers.Real) or not 0 < ratio <= 1):
        raise ValueError(f"ratio must lie in (0, 1] or be None, got {ratio!r}; Lowe took 0.8")
    if not len(a) or not len(b):
        return np.zeros((0, 2), dtype=np.int64)
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"the descriptors have {a.shape[1]} and {b.shape[1]} dimensions; describe both images by one detector"
        )
    squared = squared_distances(a, b)  # (n_a, n_b)
    nearest = squared.argmin(axis=1)
    kept = np.ones(len(a), dtype=bool)
    if ratio is not None and len(b) > 1:
        two = np.partition(squared, 1, axis=1)[:, :2]
        kept &= two[:, 0] < ratio**2 * two[:, 1]
    if mutual:
        kept &= squared.argmin(axis=0)[nearest] == np.arange(len(a))
    return np.stack([np.flatnonzero(kept), nearest[kept]], axis=1)


def squared_distances(a, b):
    """Squared Euclidean distances (n_a, n_b), float32, of rows (n_a, n_dims) and (n_b, n_dims).

    Examples
    --------
    >>> squared_distances(np.array([[0.0, 1.0]]), np.array([[3.0, 5.0]])).tolist()
    [[25.0]]
    """
    a, b = a.astype(np.float32, copy=False), b.astype(np.float32, copy=False)
    squares = np.einsum("nd,nd->n", a, a)[:, None] + np.einsum("nd,nd->n", b, b)
    return np.maximum(squares - 2 * (a @ b.T), 0)


def _table(descriptors, name):
    table = np.asarray(descriptors)
    if table.size == 0:
        return np.zeros((0, table.shape[1] if table.ndim == 2 else 0), dtype=np.float32)
    if table.dtype.kind not in "fiub":
        raise TypeError(
            f"{name} must hold numbers, got {table.dtype}; pass descriptors (n, n_dims)"
        )
    if table.ndim != 2:
        raise ValueError(
            f"{name} must be descriptors (n, n_dims), got shape {table.shape}; pass one row a key point"
        )
    if not np.isfinite(table).all():
        raise ValueError(f"{name} holds NaN or infinity; describe the image again")
    return table
