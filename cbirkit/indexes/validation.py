"""Checks of embeddings and parameters, each failure in one sentence."""

import numbers

import numpy as np

_LONGEST = 1e18  # squares of longer vectors overflow float32


def check_array(X, n_dims=None, *, name="X", copy=True):
    """Return embeddings as a C-ordered float32 array, or say in one sentence what is wrong with them.

    Parameters
    ----------
    X : array-like of shape (n, n_dims)
    n_dims : int, optional
        Dimensions that X must have.
    name : str
    copy : bool
        False: X itself is returned where it is C-ordered float32, and its rows are looked at once.

    Returns
    -------
    ndarray of shape (n, n_dims), float32

    Raises
    ------
    TypeError, ValueError
        X is not 2-D, has no or the wrong dimensions, or holds no numbers, NaN, infinity or vectors longer than 1e18.
    """
    X = check_shape(X, n_dims, name=name)
    if not copy and X.dtype == np.float32 and X.flags.c_contiguous and _short_rows(X):
        return X
    if X.dtype.kind not in "fiub":
        raise TypeError(
            f"{name} must hold real numbers, got {X.dtype}; pass a float32 array of embeddings"
        )
    out = np.empty(X.shape, np.float32)
    for start in range(0, len(X), 8192):
        block = X[start : start + 8192]
        with np.errstate(over="ignore"):
            out[start : start + 8192] = block
        bad = ~np.isfinite(block).all(axis=1)
        if bad.any():
            raise ValueError(
                f"row {start + np.flatnonzero(bad)[0]} of {name} holds NaN or infinity; "
                "leave that image out or mend its encoder"
            )
        long = ~(np.abs(block).max(axis=1) * np.sqrt(X.shape[1]) < _LONGEST)
        if long.any():
            raise ValueError(
                f"row {start + np.flatnonzero(long)[0]} of {name} holds values too large for float32 distances; "
                "scale the embeddings"
            )
    return out


def _short_rows(X):
    """True if no value of X is NaN, infinite or too large; False where that takes a closer look."""
    return bool((np.einsum("ij,ij->i", X, X) < _LONGEST**2 / X.shape[1]).all())


def check_shape(X, n_dims=None, *, name="X"):
    """Return X as a 2-D array with `n_dims` columns, or raise TypeError or ValueError."""
    if hasattr(X, "toarray"):
        raise TypeError(f"{name} is a sparse matrix; pass {name}.toarray()")
    if np.ma.is_masked(X):
        raise ValueError(
            f"{name} has masked values; leave those images out, or fill them with {name}.filled(0)"
        )
    if hasattr(X, "detach"):
        X = X.detach().cpu()  # a torch tensor, of whatever device
    try:
        X = np.asarray(X)
    except ValueError as error:
        raise ValueError(
            f"{name} must be 2-D with rows of one length ({error}); stack the embeddings"
        ) from error
    if X.ndim != 2:
        raise ValueError(
            f"{name} must be 2-D, (n_images, n_dims), got shape {X.shape}; for one embedding pass {name}.reshape(1, -1)"
        )
    if X.shape[1] == 0:
        raise ValueError(
            f"{name} has shape {X.shape}: its embeddings have no dimensions; check the encoder"
        )
    if n_dims is not None and X.shape[1] != n_dims:
        raise ValueError(
            f"{name} has {X.shape[1]} dimensions, the index holds {n_dims}; encode queries and database alike"
        )
    return X


def check_count(name, value, *, least=1):
    """Raise ValueError or TypeError unless `value` is a whole number of at least `least`."""
    if type(value) is not int and (
        isinstance(value, bool) or not isinstance(value, numbers.Integral)
    ):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{name}={value} is too small; use {name} >= {least}")


def check_k(k, n_indexed, leave_self_out=False):
    """Return `k` as int if so many neighbours can be found, or raise ValueError or TypeError."""
    check_count("n_neighbors", k)
    n = n_indexed - leave_self_out
    if n_indexed == 0:
        raise ValueError("the index is empty: every item was removed; add images first")
    if k > n and leave_self_out:
        raise ValueError(f"k={k} exceeds the {n} other indexed images that each has; use k <= {n}")
    if k > n:
        raise ValueError(f"k={k} exceeds the {n} indexed images; use k <= {n}")
    return int(k)


def check_known(keys, known):
    """Return keys (n,) as int64; raise TypeError or ValueError unless all are among the `known` ones."""
    if keys.dtype.kind not in "iu" and keys.size:
        raise TypeError(
            f"keys must be integers, got {keys.dtype}; pass what add or kneighbors returned"
        )
    there = np.isin(keys, known)
    if not there.all():
        many = (
            f" ({np.count_nonzero(~there)} of {len(keys)} keys are unknown)"
            if len(keys) > 1
            else ""
        )
        raise ValueError(
            f"the index holds no item with key {keys[~there][0]}{many}; nothing was removed, "
            "index.keys_ lists the keys"
        )
    return keys.astype(np.int64)
