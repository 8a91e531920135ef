"""What all indexes share: checks of what comes in, keys, and the way to and from a file."""

import logging
import numbers

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from cbirkit import persistence

logger = logging.getLogger(__name__)

METRICS = ("cosine", "euclidean")
_TINY = np.finfo(float).tiny
_LONGEST = 1e18  # squares of longer vectors overflow float32
_LEAST = {"m": 2, "rerank": 0}  # values of parameters that are whole numbers, 1 for the others
_INSTEAD = {"n_lists": "auto", "search_k": -1, "n_jobs": -1}  # what else they may be
_NO_NUMBERS = ("metric", "random_state")
_NONE = np.uint64(0x7F800000FFFFFFFF)  # see `nearest_first`: no row, at infinity
_HALF, _LOW = np.uint64(32), np.uint64(2**32 - 1)


class BaseIndex(BaseEstimator):
    """Protocol and bookkeeping of an index; a subclass builds a structure and finds keys in it.

    Attributes
    ----------
    n_indexed_ : int
        How many items the index holds now.
    n_features_in_ : int
        Dimensions of an embedding.
    keys_ : ndarray of shape (n_indexed_,), int64
        Keys of the items, ascending.
    """

    _dtype = np.dtype(np.float32)
    _smallest = 0  # largest value of X from which distances can be told
    _max_dead = 0.0  # share of removed rows above which a search drops them first
    _queries_at_once = 1024
    _vectors = _saved = None  # what was loaded and is not parsed yet

    def fit(self, X, y=None):
        """Index the rows of X, forgetting what was indexed before; row i gets the key i.

        Parameters
        ----------
        X : array-like of shape (n_images, n_dims)
            Embeddings; kept as a float32 copy.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            X is not a 2-D array of finite numbers, or has no rows; or a parameter is out of range.
        """
        self._check_params()
        X = self._prepared(X)
        if not X.shape[0]:
            raise ValueError(f"there is nothing to index: X has shape {X.shape}")
        if 0 < abs(X).max() < self._smallest:
            raise ValueError("X holds values too small for float32 distances; scale the embeddings")
        vars(self).pop("n_indexed_", None)  # if it fails, neither the old index nor a new one
        self.n_features_in_, self._next_key, self._saved = X.shape[1], X.shape[0], None
        self._keys, self._alive = np.arange(X.shape[0]), np.ones(X.shape[0], bool)
        self._build(X)
        self.n_indexed_ = X.shape[0]
        return self

    def add(self, X):
        """Index further rows.

        Parameters
        ----------
        X : array-like of shape (n_images, n_dims)

        Returns
        -------
        ndarray of shape (n_images,), int64
            Their keys: the numbers in order of arrival, never used twice.
        """
        self._check_fitted()
        X = self._prepared(X, self.n_features_in_)
        keys = np.arange(self._next_key, self._next_key + X.shape[0])
        if len(keys):
            self._own()
            self._insert(X, keys)
            self._keys = np.concatenate([self._keys, keys])
            self._alive = np.concatenate([self._alive, np.ones(len(keys), bool)])
            self._next_key += len(keys)
            self.n_indexed_ += len(keys)
        return keys

    def remove(self, keys):
        """Forget items; they are never returned again and their keys never used again.

        Parameters
        ----------
        keys : int or array-like of int
            Keys, as returned by `add` and `kneighbors`.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            A key is not a whole number, or not in the index; then nothing is removed.
        """
        known, keys = self.keys_, np.unique(np.atleast_1d(keys))
        if keys.dtype.kind not in "iu" and keys.size:
            raise TypeError(f"keys must be integers, got {keys.dtype}")
        unknown = np.setdiff1d(keys, known)
        if len(unknown):
            which = f"{unknown[0]} ({len(unknown)} of {len(keys)} are unknown)"
            raise ValueError(f"the index holds no item with key {which}; nothing was removed")
        if len(keys):
            self._own()
            self._forget(keys)
            self._alive[np.searchsorted(self._keys, keys)] = False
            self.n_indexed_ -= len(keys)
        return self

    def kneighbors(self, X=None, n_neighbors=10, return_distance=True):
        """Find the nearest items of each query.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_dims), optional
            Without it, every indexed item is a query, in the order of `keys_`, and leaves itself (its key, not its
            duplicates) out of its neighbours.
        n_neighbors : int
        return_distance : bool

        Returns
        -------
        distances : ndarray of shape (n_queries, n_neighbors), float32
            Ascending. Only if `return_distance`.
        indices : ndarray of shape (n_queries, n_neighbors), int64
            Keys of the items.

        Raises
        ------
        ValueError
            `n_neighbors` exceeds the items there are.
        """
        self._check_fitted()
        check_whole("n_neighbors", n_neighbors, 1)
        k, n = int(n_neighbors), self.n_indexed_ - (X is None)
        if k > n:
            others = " other" * (X is None)
            raise ValueError(f"k={k} exceeds the {n}{others} indexed images; use k <= {n}")
        queries = None if X is None else self._prepared(X, self.n_features_in_)
        self._refresh()
        own, queries = (None, queries) if X is not None else (self.keys_, self._alive_rows())
        parts, step = [], self._queries_at_once
        for start in range(0, max(1, queries.shape[0]), step):
            found = self._find(queries[start : start + step], k + (X is None))
            parts.append(found if own is None else leave_out(*found, own[start : start + step]))
        if len(parts) > 1:
            parts = [tuple(map(np.concatenate, zip(*parts, strict=True)))]
        return parts[0] if return_distance else parts[0][1]

    def save(self, path):
        """Write the index to a file, in one step; see `cbirkit.indexes.load`.

        Parameters
        ----------
        path : path-like
            An index saved there before is replaced; anything else is refused.

        Raises
        ------
        FileExistsError, OSError
            Something else is there; full disk, no permission. An index saved there before is untouched.
        ValueError
            The index is empty.
        """
        self._check_fitted()
        persistence.save(self, path, kind="index")

    @classmethod
    def load(cls, path, *, mmap=False, trusted=False, vectors=None):
        """Read an index of this class from a file; see `cbirkit.indexes.load`.

        Raises
        ------
        FileNotFoundError, ValueError
            There is no such file, or no usable index of this class in it.
        """
        index = persistence.load(path, kind="index", mmap=mmap)
        with persistence.reading(path, "index"):
            if not isinstance(index, cls) or not hasattr(index, "n_indexed_"):
                raise ValueError(f"it holds {index!r}, not a fitted {cls.__name__}")
            index.finish_loading(trusted=trusted, vectors=vectors)
        return index

    def finish_loading(self, *, trusted=False, vectors=None):
        """Nothing is left to do here; see the indexes around libraries."""

    def __getstate__(self):
        state = self.get_params(deep=False)
        if "n_indexed_" in vars(self):
            if not self.n_indexed_:
                raise ValueError("the index is empty: every item was removed; add images first")
            self._refresh(max_dead=0)
            state |= {"keys": self._keys, "next_key": int(self._next_key)}
            state |= {"n_dims": int(self.n_features_in_), **self._state()}
        return state

    def __setstate__(self, state):
        for name in self._get_param_names():
            setattr(self, name, state[name])
        if "keys" not in state:
            return
        self._check_params()
        keys, self._next_key = state["keys"], state["next_key"]
        check_whole("next_key", self._next_key, 1)
        plain = keys.dtype == np.int64 and keys.ndim == 1
        if not plain or (np.diff(keys, prepend=-1, append=self._next_key) <= 0).any():
            raise ValueError("the keys are not ascending whole numbers")
        self._keys, self._alive = keys, np.ones(len(keys), bool)
        self.n_features_in_ = state["n_dims"]
        self._restore(state)
        self.n_indexed_ = len(keys)

    def _state(self):
        """What the structure is made of: a dict of arrays and plain values."""
        return {"vectors": self._vectors}

    def _restore(self, state):
        """Set the structure up from its state; ValueError where that does not fit the keys."""
        X, shape = state["vectors"], (len(self._keys), self.n_features_in_)
        if X.dtype != self._dtype or X.shape != shape:
            raise ValueError(f"the vectors are {X.dtype} of shape {X.shape}, not {shape}")
        if not all(np.isfinite(X[start : start + 8192]).all() for start in range(0, len(X), 8192)):
            raise ValueError("the vectors are not finite")
        self._vectors = X

    @property
    def keys_(self):
        """Keys of the indexed items, ascending, (n_indexed_,) int64."""
        self._check_fitted()
        return self._keys[self._alive]

    def _check_fitted(self):
        if "n_indexed_" not in self.__dict__:  # sooner than scikit-learn's question
            check_is_fitted(self, "n_indexed_")

    # What a subclass gives or replaces

    def _check_params(self):
        params = self.get_params(deep=False)
        if params.get("metric", "cosine") not in METRICS:
            known = ", ".join(METRICS)
            raise ValueError(f"metric={params['metric']!r} is not known; use one of {known}")
        for name in params.keys() - _NO_NUMBERS:
            if name not in _INSTEAD or params[name] != _INSTEAD[name]:
                check_whole(name, params[name], _LEAST.get(name, 1))

    def _prepared(self, X, n_dims=None):
        """A copy of rows as they are stored and asked with: float32, of unit length under the cosine distance."""
        X = check_rows(X, n_dims)
        for start in range(0, len(X), 1024):
            wide = X[start : start + 1024].astype(np.float64)
            lengths = lengths_of(np.einsum("ij,ij->i", wide, wide), start)
            if self.metric == "cosine":  # rows of zeros stay zero
                X[start : start + 1024] = wide / np.maximum(lengths, _TINY)[:, None]
        return X

    def _build(self, X):
        """Make the structure for the rows X, whose keys are `_keys`."""
        self._vectors = X

    def _insert(self, X, keys):
        """Put further rows into the structure; called before `_keys` and `_alive` grow."""
        self._build(np.concatenate([self._vectors, X]))

    def _forget(self, keys):
        """Take rows out of the structure; called before they are marked as not alive."""

    def _rows(self):
        """The rows of all keys, (n, n_dims)."""
        return self._vectors

    def _alive_rows(self):
        return self._rows()[self._alive]

    def _compact(self):
        """Drop the rows that are not alive."""
        self._build_anew()

    def _is_stale(self):
        """Whether the structure has changed so much that it is better built anew."""
        return False

    def _build_anew(self):
        logger.info("building %s anew, for %d items", type(self).__name__, self.n_indexed_)
        X, self._keys = self._alive_rows(), self.keys_
        self._alive = np.ones(len(self._keys), bool)
        self._build(X)

    def _own(self):
        """Copy what is mapped from a file before it is changed."""
        self.finish_loading()

    def _refresh(self, max_dead=None):
        """Bring the structure up to date before a search."""
        self.finish_loading()
        max_dead = self._max_dead if max_dead is None else max_dead
        if 0 < self.n_indexed_ < (1 - max_dead) * len(self._keys):
            self._compact()
        if self.n_indexed_ and self._is_stale():
            self._build_anew()


def check_whole(name, value, least):
    """Raise TypeError or ValueError unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{name}={value} is too small; use {name} >= {least}")


def check_shape(X, n_dims=None):
    """Return X as a 2-D array with `n_dims` columns, or raise TypeError or ValueError."""
    if sp.issparse(X):
        raise TypeError("X is a sparse matrix; pass X.toarray()")
    if np.ma.is_masked(X):
        raise ValueError("X has masked values; leave those images out, or pass X.filled(0)")
    if hasattr(X, "detach"):
        X = X.detach().cpu()  # a torch tensor, of whatever device
    X = np.asarray(X)
    if X.ndim != 2 or not X.shape[1]:
        raise ValueError(f"X must be 2-D, got shape {X.shape}; for one embedding X.reshape(1, -1)")
    if n_dims is not None and X.shape[1] != n_dims:
        raise ValueError(f"X has {X.shape[1]} dimensions, the index holds {n_dims}; encode alike")
    return X


def check_rows(X, n_dims=None):
    """Return a copy of embeddings (n, n_dims), C-ordered float32, or raise TypeError or ValueError; see `lengths_of`."""
    X = check_shape(X, n_dims)
    if X.dtype.kind not in "fiub":
        raise TypeError(f"X must hold real numbers, got {X.dtype}; pass a float32 array")
    with np.errstate(over="ignore"):
        return np.array(X, np.float32, order="C")


def lengths_of(squares, first=0):
    """Lengths (n,) of vectors from their squares; ValueError where one is not finite, or too long."""
    if not (squares < _LONGEST**2).all():
        row = first + int(np.argmin(squares < _LONGEST**2))
        raise ValueError(f"row {row} of X holds NaN, infinity or values too large for float32")
    return np.sqrt(squares)


def leave_out(distances, keys, own, k=None):
    """Drop each query itself from its neighbours and keep the first k of the others.

    Parameters
    ----------
    distances, keys : ndarray of shape (n, width)
    own : ndarray of shape (n,)
        Its own key; -1 for none.
    k : int, optional
        Default: width - 1.

    Returns
    -------
    distances, keys : ndarray of shape (n, k)
        Where that leaves fewer than `k`, -1 at infinity fills up.
    """
    k = keys.shape[1] - 1 if k is None else k
    itself = (keys == own[:, None]) & (own >= 0)[:, None]
    if not itself.any():
        return distances[:, :k], keys[:, :k]
    order = np.argsort(itself, axis=1, kind="stable")[:, :k]
    distances = np.where(itself, np.array(np.inf, distances.dtype), distances)
    keys = np.where(itself, -1, keys)
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(keys, order, axis=1)


def lines_of(which, values, m, fill):
    """A table (m, width) whose lines hold the `values` of each of m queries, padded; `which`, ascending, says of whom."""
    counts = np.bincount(which, minlength=m)
    table = np.full((m, max(1, counts.max(initial=0))), fill, values.dtype)
    table[np.arange(table.shape[1]) < counts[:, None]] = values
    return table


def nearest_first(distances, rows, k):
    """The k nearest of each query; at equal distances the smaller row first.

    Parameters
    ----------
    distances : ndarray of shape (n_queries, width), float32
        Not below 0.
    rows : ndarray of the same shape, int64
        -1, at infinity, for none.
    k : int

    Returns
    -------
    distances, rows : ndarray of shape (n_queries, k)
        Padded with -1 at infinity.
    """
    # the bits of a float32 that is not negative sort as it does
    numbers = distances.view(np.uint32).astype(np.uint64) << _HALF | rows.astype(np.uint64) & _LOW
    numbers.sort(axis=1)
    if numbers.shape[1] < k:
        numbers = np.pad(numbers, ((0, 0), (0, k - numbers.shape[1])), constant_values=_NONE)
    distances = (numbers[:, :k] >> _HALF).astype(np.uint32).view(np.float32)
    rows = (numbers[:, :k] & _LOW).astype(np.int64)
    rows[distances == np.inf] = -1
    return distances, rows
