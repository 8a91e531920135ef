"""What the indexes share that look at few items: structures of libraries, and exact search where they find too few."""

import logging

import numpy as np

from cbirkit._optional import require
from cbirkit.persistence import is_sealed, seal

from .base import BaseIndex, nearest_first
from .copies import Copies, find_copies
from .exact import Exact

logger = logging.getLogger(__name__)

_SMALLEST = 1e-17  # squares of smaller numbers vanish in float32


class Approximate(BaseIndex):
    """An index around a structure of a library, which looks at few items."""

    _vectors = _saved = (
        None  # None where the structure holds them; what was loaded and is not parsed yet
    )

    def fit(self, X, y=None):
        self._saved = None
        return super().fit(X)

    fit.__doc__ = BaseIndex.fit.__doc__

    def _prepared(self, X, n_dims=None, copy=False):
        X = super()._prepared(X, n_dims, copy)
        if copy and self.metric == "euclidean" and 0 < np.abs(X).max(initial=0) < _SMALLEST:
            raise ValueError("X holds values too small for float32 distances; scale the embeddings")
        return X

    def _build_anew(self):
        n, name = self.n_indexed_, type(self).__name__
        logger.info("building %s anew: it holds %d items, and has changed much", name, n)
        super()._compact()

    def _among(self, queries, rows, k):
        """The nearest of candidate rows (n_queries, n), of which -1 and those removed are passed over."""
        if self.n_indexed_ < len(self._keys):
            rows = np.where(self._alive[rows], rows, -1)
        rows, faiss = np.ascontiguousarray(rows), require("faiss")
        far, cosine = np.empty(rows.shape, np.float32), self.metric == "cosine"
        by_rows = faiss.fvec_inner_products_by_idx if cosine else faiss.fvec_L2sqr_by_idx
        arrays = far, queries, self._vectors, rows
        by_rows(*map(faiss.swig_ptr, arrays), queries.shape[1], *rows.shape)
        far = np.where(rows < 0, np.float32(np.inf), as_distances(far, self.metric))
        distances, rows = nearest_first(far, rows, k)
        return self._complete(queries, k, distances, np.where(rows < 0, -1, self._keys[rows]))

    def _complete(self, queries, k, distances, keys):
        """Distances and keys, those of queries that found fewer than k replaced by what exact search finds."""
        short = np.flatnonzero(keys[:, -1] < 0)
        if len(short):
            exact = Exact.over(self._alive_rows(), self.keys_, self.metric)
            distances[short], keys[short] = exact._find(queries[short], k)
        return distances, keys

    def _own(self):
        self.finish_loading()

    def _refresh(self, max_dead=None):
        self.finish_loading()
        super()._refresh(max_dead)

    # To and from a file

    def _state(self):
        structure = self._as_bytes()
        return {"structure": structure, "seal": seal(structure), "vectors": self._vectors}

    def _restore(self, state):
        if state["vectors"] is not None:
            super()._restore(state)
        self._saved = state

    def finish_loading(self, *, trusted=False, vectors=None):
        """Parse the structure that was loaded, or build it anew unless this user saved it on this machine.

        Libraries believe what they read, and can be crashed by it. A loaded index does this by itself when it is first
        used; `cbirkit.indexes.load` tells what the parameters are.
        """
        if self._saved is None:
            return
        if trusted or is_sealed(self._saved["structure"], self._saved["seal"]):
            self._parse(self._saved)
        else:
            self._build_from(vectors)
        self._saved = None

    def _build_from(self, vectors):
        name = type(self).__name__
        if vectors is not None:
            self._vectors = self._prepared(vectors, self.n_features_in_)
        if self._vectors is None or len(self._vectors) != len(self._keys):
            raise ValueError(
                f"this {name} index was not saved by you on this machine, and its library would believe every byte of "
                "it; index the vectors again, or pass trusted=True if you know who made it"
            )
        logger.warning("the %s index was not saved by you on this machine: it is built anew", name)
        self._build(self._vectors)


class Folded(Approximate):
    """One whose structure suffers from many equal rows: one of each group is in it and stands for all."""

    _max_dead = 0.3

    def _build(self, X):
        self._vectors = X
        self._fold(Copies(find_copies(X)))
        self._use(self._built(X[self._copies.heads] if self._copies.any else X))

    def _fold(self, copies):
        self._copies = copies
        most = min(len(copies.of), 32 * int(copies.counts.max()))
        self._queries_at_once = max(1, min(1024, 2**21 // most)) if copies.any else 1024

    def _compact(self):
        self._build_anew()

    def _state(self):
        return {**super()._state(), "of": self._copies.of}


def as_distances(scores, metric):
    """Squared distances, or inner products of vectors of length 1, as distances."""
    return np.sqrt(scores) if metric == "euclidean" else np.minimum(np.maximum(1 - scores, 0), 2)
