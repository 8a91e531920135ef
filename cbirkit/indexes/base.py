"""What all indexes share: checks of what comes in, keys, and the way to and from a folder."""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from cbirkit.indexes.distances import METRICS, DenseRows, one_query, take_rows, unit_rows
from cbirkit.indexes.exhaustive import (
    BLOCK_BYTES,
    in_blocks,
    leave_out,
    nearest,
    refine,
    refine_one,
)
from cbirkit.indexes.saved import load_index, save_index
from cbirkit.indexes.validation import check_array, check_k, check_known

MAX_DEAD = 0.3  # share of removed rows above which they are dropped and a structure built anew
_QUERY_BLOCK = 1024  # queries answered at a time, so that candidates stay few
_SMALLEST = 1e-17  # squares of smaller numbers vanish in float32
_CANDIDATES = 2**21  # copies compared at a time


class BaseIndex(BaseEstimator):
    """Protocol and bookkeeping of an index; as it stands it looks at all rows, a subclass says how to avoid that.

    Attributes
    ----------
    n_indexed_ : int
        How many items the index holds now.
    n_features_in_ : int
        Dimensions of an embedding.
    keys_ : ndarray of shape (n_indexed_,), int64
        Keys of the items, ascending.
    """

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
        X = self._check_rows(X, None)
        if not len(X):
            raise ValueError(
                f"there is nothing to index: X has shape {X.shape}; pass at least one embedding"
            )
        searched_whole = type(self)._find is BaseIndex._find
        if not searched_whole and self.metric == "euclidean" and 0 < np.abs(X).max() < _SMALLEST:
            raise ValueError("X holds values too small for float32 distances; scale the embeddings")
        self._set_rows(X, np.arange(len(X)), len(X))
        try:
            self._build()
        except BaseException:  # neither the old index nor a new one
            del self.n_indexed_
            raise
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
        check_is_fitted(self, "n_indexed_")
        X = self._check_rows(X, self.n_features_in_)
        keys = np.arange(self._next_key, self._next_key + len(X))
        if len(X):
            self._own()
            self._insert(X, keys)
            self._keys = np.concatenate([self._keys, keys])
            self._alive = np.concatenate([self._alive, np.ones(len(X), bool)])
            self._next_key += len(X)
            self.n_indexed_ += len(X)
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
        ValueError
            A key is not in the index; then nothing is removed.
        """
        check_is_fitted(self, "n_indexed_")
        keys = check_known(np.unique(np.atleast_1d(keys)), self.keys_)
        rows = np.searchsorted(self._keys, keys)
        if len(rows):
            self._own()
            self._forget(rows)
        self._alive[rows] = False
        self.n_indexed_ -= len(rows)
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
        if (
            "n_indexed_" not in self.__dict__
        ):  # a search for one query should not wait for the question
            check_is_fitted(self, "n_indexed_")
        k = check_k(n_neighbors, self.n_indexed_, X is None)
        queries = None if X is None else self._check_queries(X)
        self._refresh()
        distances, rows = self._find_each(k) if X is None else self._find_all(queries, k)
        indices = self._keys[rows]
        return (distances, indices) if return_distance else indices

    def save(self, folder):
        """Write the index to a folder, in one step as seen from outside; see `cbirkit.indexes.load`.

        Parameters
        ----------
        folder : path-like
            New, empty, or holding an index saved before, which is replaced.

        Raises
        ------
        FileExistsError, OSError
            The folder holds something else; full disk, no permission. An index saved there before is untouched.
        """
        check_is_fitted(self, "n_indexed_")
        if not self.n_indexed_:
            raise ValueError(
                "the index is empty: every item was removed; add images before saving it"
            )
        self._refresh(compact=True)
        save_index(self, folder)

    @classmethod
    def load(cls, folder, *, mmap=False, trusted=False):
        """Read an index of this class from a folder; see `cbirkit.indexes.load`.

        Raises
        ------
        FileNotFoundError, ValueError
            There is no such folder, or no usable index of this class in it.
        """
        return load_index(folder, {cls.__name__: cls}, mmap=mmap, trusted=trusted)

    @property
    def keys_(self):
        """Keys of the indexed items, ascending, (n_indexed_,) int64."""
        check_is_fitted(self, "n_indexed_")
        return self._keys[self._alive]

    # What a subclass may replace

    _dtype = np.dtype(np.float32)
    block_bytes = BLOCK_BYTES

    def _check_params(self):
        """Raise ValueError where a parameter is out of range."""
        if self.metric not in METRICS:
            raise ValueError(
                f"metric={self.metric!r} is not known; use one of {', '.join(METRICS)}"
            )

    def _check_rows(self, X, n_dims):
        """Return a copy of X as float32, of unit length under the cosine distance."""
        cosine = self.metric == "cosine"
        X = check_array(X, n_dims, copy=not cosine)
        return unit_rows(X) if cosine else X

    def _check_queries(self, X):
        """Return the same of queries, not necessarily a copy."""
        query = one_query(X, self.n_features_in_, self.metric)
        if query is not None:
            return query
        X = check_array(X, self.n_features_in_, copy=False)
        return unit_rows(X) if self.metric == "cosine" else X

    def _own(self):
        """Copy what is mapped from a file before it is changed."""

    def _stored(self):
        """Return the stored rows as `nearest` needs them."""
        alive = None if self.n_indexed_ == len(self._keys) else self._alive
        return DenseRows(self._vectors, self.metric, alive)

    def _build(self):
        """Build the structure for the stored rows, all alive."""
        self._rows = self._stored()

    def _insert(self, X, keys):
        """Put further rows into the structure; called before `_keys` and `_alive` grow."""
        self._parts.append(X)
        self._rows = None

    def _forget(self, rows):
        """Take rows out of the structure; called before they are marked as not alive."""
        self._rows = None

    def _refresh(self, compact=False):
        """Bring the structure up to date before a search (or, compact, before saving)."""
        if compact or self._dead_share() > MAX_DEAD:
            self._compact()
            self._rows = None
        if self._rows is None:
            self._rows = self._stored()

    def _find(self, queries, k):
        """Return distances and rows (not keys), (n_queries, k), of k <= n_indexed_ items that are alive."""
        return nearest(self._rows, queries, k, block_bytes=self.block_bytes)

    def _rows_as_queries(self, rows):
        return self._vectors[rows]

    def _state(self):
        return {}

    def _payloads(self):
        return {"vectors": self._vectors}

    def _restore(self, state, paths, *, mmap=False):
        """Set up the structure of a loaded index; read structures as they are needed if `mmap`."""
        if not self._parts:
            raise ValueError("the vectors are missing")
        self._rows = None

    # What a subclass may use

    def _set_rows(self, X, keys, next_key):
        self._parts, self._keys, self._next_key = [X], keys, next_key
        self._alive = np.ones(len(X), bool)
        self.n_features_in_, self.n_indexed_ = X.shape[1], len(X)

    @property
    def _vectors(self):
        """Stored rows (n_rows, n_dims); additions are joined when first looked at."""
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts)]
        return self._parts[0]

    def _compact(self):
        """Drop the rows that are not alive."""
        if not self._alive.all():
            self._set_rows(self._vectors[self._alive], self._keys[self._alive], self._next_key)

    def _dead_share(self):
        return 1 - self.n_indexed_ / max(1, len(self._keys))

    def _find_all(self, queries, k):
        if 0 < len(queries) <= _QUERY_BLOCK:
            return self._find(queries, k)
        return in_blocks(len(queries), k, _QUERY_BLOCK, lambda some: self._find(queries[some], k))

    def _find_each(self, k):
        """Find the neighbours of each item among the others."""
        own = np.flatnonzero(self._alive)

        def find(some):
            return leave_out(*self._find(self._rows_as_queries(own[some]), k + 1), own[some])

        return in_blocks(len(own), k, _QUERY_BLOCK, find)

    def _find_among(self, queries, candidates, k):
        """Order candidates (n_queries, n) by exact distance; where fewer than k are alive, look at all rows."""
        if candidates.shape == (1, k) and self.n_indexed_ == len(self._keys):
            distances = refine_one(
                take_rows(self._vectors, candidates[0]), self.metric, queries, candidates
            )
            if distances is not None:
                return distances, candidates
        stored = self._stored()
        distances, rows = refine(stored, queries, candidates, k)
        if rows[:, -1].min() < 0:
            short = np.flatnonzero(rows[:, -1] < 0)
            distances[short], rows[short] = nearest(stored, queries[short], k)
        return distances, rows

    def _find_copies_among(self, queries, found, k, *more):
        """The same of what a structure found, (n_queries, n), and of all that it stands for; `more` are rows."""
        if not self._copies.any:
            return self._find_among(queries, np.hstack([found, *more]) if more else found, k)
        most = min(len(self._keys), int(self._copies.counts.max()) * found.shape[1])

        order = np.argsort(
            self._copies.counts[found].sum(axis=1)
        )  # those with few candidates do not wait for others

        def find(some):
            some = order[some]
            rows = np.hstack([self._copies.expand(found[some]), *(part[some] for part in more)])
            return self._find_among(queries[some], rows, k)

        distances, rows = in_blocks(len(queries), k, max(1, min(32, _CANDIDATES // most)), find)
        back = np.argsort(order)
        return distances[back], rows[back]
