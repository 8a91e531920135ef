"""What all indexes share: checks of what comes in, keys, and the way to and from a file."""

import logging
import numbers

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from cbirkit import persistence

logger = logging.getLogger(__name__)

_LONGEST = 1e18  # squares of longer vectors overflow float32
_LEAST = {"m": 2, "rerank": 0, "search_k": -1, "n_jobs": -1}  # whole numbers; 1 for the others
_TEXTS = {"metric", "random_state", "address", "table"}
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
    # share of removed rows above which a search drops them first
    _max_dead, _queries_at_once = 0.0, 1024
    _kept = ("_keys", "_next_key", "n_features_in_", "n_indexed_", "_vectors")  # what is saved
    _vectors = _saved = None  # what was loaded and is not parsed yet

    def fit(self, X, y=None, **how):
        """Index the rows of X, forgetting what was indexed before; row i gets the key i.

        Parameters
        ----------
        X : array-like of shape (n_images, n_dims)
            Embeddings; kept as a float32 copy.
        y : ignored
        **how
            What an index in a table takes: `PgVector`, `Lance`.

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
        vars(self).pop("n_indexed_", None)  # if it fails, neither the old index nor a new one
        self.n_features_in_, self._next_key, self._saved = X.shape[1], X.shape[0], None
        self._number(np.arange(X.shape[0]))
        self._build(X, **how)
        self.n_indexed_ = X.shape[0]
        return self

    def add(self, X, **how):
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
            self.finish_loading()
            self._insert(X, keys, **how)
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
        if len(unknown := np.setdiff1d(keys, known)):
            raise ValueError(f"the index holds no item with key {unknown[0]}; nothing was removed")
        if len(keys):
            self.finish_loading()
            self._forget(keys)
            self._alive[np.searchsorted(self._keys, keys)] = False
            self.n_indexed_ -= len(keys)
        return self

    def kneighbors(self, X=None, n_neighbors=10, return_distance=True, **how):
        """Find the nearest items of each query.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_dims), optional
            Without it, every indexed item is a query, in the order of `keys_`, and leaves itself (its key, not its
            duplicates) out of its neighbours.
        n_neighbors : int
        return_distance : bool
        **how
            What an index in a table takes: `PgVector`, `Lance`.

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
        k = int(check_scalar(n_neighbors, "n_neighbors", numbers.Integral, min_val=1))
        own, n = X is None, self.n_indexed_ - (X is None)
        if k > n:
            raise ValueError(f"k={k} exceeds the {n}{' other' * own} indexed images; use k <= {n}")
        self._refresh(self._max_dead)
        queries = self._rows()[self._alive] if own else self._prepared(X, self.n_features_in_)
        itself = self.keys_ if own else None
        parts, step = [], self._queries_at_once
        for start in range(0, max(1, queries.shape[0]), step):
            found = self._find(queries[start : start + step], k + own, **how)
            parts.append(leave_out(*found, itself[start : start + step], k) if own else found)
        distances, keys = map(np.concatenate, zip(*parts, strict=True))
        return (distances, keys) if return_distance else keys

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

    def finish_loading(self, *, trusted=False, vectors=None):
        """Nothing is left to do here; see the indexes around libraries."""

    def __getstate__(self):
        state = self.get_params(deep=False)
        if "n_indexed_" in vars(self):
            if not self.n_indexed_:
                raise ValueError("the index is empty: every item was removed; add images first")
            self._refresh(0)
            state |= {name: getattr(self, name) for name in self._kept}
        return state

    def __setstate__(self, state):
        fitted = "_keys" in state
        names = (*self._get_param_names(), *(self._kept if fitted else ()))
        vars(self).update({name: state[name] for name in names})  # and nothing else of a stranger
        if fitted:
            self._number(self._keys)
            self._restore(state)

    def _restore(self, state):
        """Set the structure up from its state; ValueError where that does not fit the keys."""
        X, shape = state["_vectors"], (len(self._keys), self.n_features_in_)
        if X.dtype != self._dtype or X.shape != shape:
            raise ValueError(f"the vectors are {X.dtype} of shape {X.shape}, not {shape}")
        self._build(X)

    @property
    def keys_(self):
        """Keys of the indexed items, ascending, (n_indexed_,) int64."""
        self._check_fitted()
        return self._keys[self._alive]

    def _check_fitted(self):
        if "n_indexed_" not in self.__dict__:  # sooner than scikit-learn's question
            check_is_fitted(self, "n_indexed_")

    def _number(self, keys):
        self._keys, self._alive = keys, np.ones(len(keys), bool)

    # What a subclass gives or replaces

    def _check_params(self):
        for name, value in self.get_params(deep=False).items():
            if name == "metric" and value not in ("cosine", "euclidean"):
                raise ValueError(f"metric={value!r} is not known; use one of cosine, euclidean")
            if name not in _TEXTS and (name, value) != ("n_lists", "auto"):
                check_scalar(value, name, numbers.Integral, min_val=_LEAST.get(name, 1))

    def _prepared(self, X, n_dims=None):
        """A copy of rows as they are stored and asked with: float32, of unit length under the cosine distance."""
        if sp.issparse(X):
            raise TypeError("X is a sparse matrix; use InvertedFile, or pass X.toarray()")
        with np.errstate(over="ignore"):
            X = np.array(checked_rows(X, n_dims), np.float32, order="C")
        squares = np.einsum("ij,ij->i", X, X, dtype=np.float64)
        if not (fits := squares < _LONGEST**2).all():
            raise ValueError(f"row {np.argmin(fits)} of X holds NaN, infinity or values too large")
        if self.metric == "cosine":  # rows of zeros stay zero
            X /= np.sqrt(np.where(squares, squares, 1)).astype(np.float32)[:, None]
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
        return self._decoded() if self._vectors is None else self._vectors

    def _build_anew(self):
        logger.info("building %s anew, for %d items", type(self).__name__, self.n_indexed_)
        X = self._rows()[self._alive]
        self._number(self.keys_)
        self._build(X)

    _compact = _build_anew  # drop the rows that are not alive

    def _is_stale(self):
        """Whether the structure has changed so much that it is better built anew."""
        return False

    def _refresh(self, max_dead):
        """Bring the structure up to date before a search."""
        self.finish_loading()
        if 0 < self.n_indexed_ < (1 - max_dead) * len(self._keys):
            self._compact()
        if self.n_indexed_ and self._is_stale():
            self._build_anew()


def checked_rows(X, n_dims=None):
    """X as a 2-D array of real numbers with `n_dims` columns, or TypeError or ValueError; a sparse matrix stays one."""
    X = X if sp.issparse(X) else np.asarray(X)
    if X.dtype.kind not in "fiub":
        raise TypeError(f"X must hold real numbers, got {X.dtype}; pass a float32 array")
    if X.ndim != 2 or not X.shape[1]:
        raise ValueError(f"X must be 2-D, got shape {X.shape}; for one embedding X.reshape(1, -1)")
    if n_dims not in (None, X.shape[1]):
        raise ValueError(f"X has {X.shape[1]} dimensions, the index holds {n_dims}; encode alike")
    return X


def leave_out(distances, keys, own, k):
    """Drop each query itself from its neighbours and keep the first k of the others.

    Parameters
    ----------
    distances, keys : ndarray of shape (n, width)
    own : ndarray of shape (n,)
        Its own key; -1 for none.
    k : int

    Returns
    -------
    distances, keys : ndarray of shape (n, k)
        Where that leaves fewer than `k`, -1 at infinity fills up.
    """
    itself = (keys == own[:, None]) & (own >= 0)[:, None]
    if not itself.any():
        return distances[:, :k], keys[:, :k]
    order = np.argsort(itself, axis=1, kind="stable")[:, :k]
    distances = np.where(itself, np.array(np.inf, distances.dtype), distances)
    keys = np.where(itself, -1, keys)
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(keys, order, axis=1)


def lines_of(which, values, m, fill, least):
    """A table (m, at least `least`) whose lines hold the `values` of each of m queries, padded; `which`, ascending, says of whom."""
    counts = np.bincount(which, minlength=m)
    table = np.full((m, max(least, counts.max(initial=0))), fill, values.dtype)
    table[np.arange(table.shape[1]) < counts[:, None]] = values
    return table


def nearest_first(distances, rows, k):
    """The k nearest of each query; at equal distances the smaller row first.

    Parameters
    ----------
    distances : ndarray of shape (n_queries, at least k), float32
        Not below 0.
    rows : ndarray of the same shape, int64
        -1, at infinity, for none.
    k : int

    Returns
    -------
    distances, rows : ndarray of shape (n_queries, k)
        -1 at infinity.
    """
    # the bits of a float32 that is not negative sort as it does
    both = distances.view(np.uint32).astype(np.uint64) << _HALF | rows.astype(np.uint64) & _LOW
    both.sort(axis=1)
    distances = (both[:, :k] >> _HALF).astype(np.uint32).view(np.float32)
    rows = (both[:, :k] & _LOW).astype(np.int64)
    rows[distances == np.inf] = -1
    return distances, rows
