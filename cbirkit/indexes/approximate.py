"""What the indexes share that look at few items: structures of libraries, and exact search where they find too few."""

import numpy as np

from cbirkit._optional import require
from cbirkit.persistence import fingerprint, seal

from .base import BaseIndex, lines_of, logger, nearest_first
from .copies import find_copies


class Approximate(BaseIndex):
    """An index around a structure of a library, which looks at few items.

    A subclass says how the structure is built, written as bytes (``_as_bytes``) and read (``_parse``), and what a search in
    it finds (``_look``).
    """

    def _kind(self):
        """What faiss calls the metric."""
        faiss = require("faiss")
        return faiss.METRIC_INNER_PRODUCT if self.metric == "cosine" else faiss.METRIC_L2

    def _insert(self, X, keys):
        if self._vectors is not None:
            self._vectors = np.concatenate([self._vectors, X])

    def _find(self, queries, k):
        distances, rows = self._look(queries, k)
        for i in np.flatnonzero(rows[:, -1] < 0):  # fewer than k: all items are compared
            found = self._among(queries[i : i + 1], np.flatnonzero(self._alive)[None], k)
            distances[i], rows[i] = (part[0] for part in found)
        return distances, self._keys[rows]

    def _among(self, queries, rows, k):
        """Distances and rows of the k nearest of candidate rows (n_queries, n), of which -1 and those removed are passed over."""
        if self.n_indexed_ < len(self._keys):
            rows = np.where(self._alive[rows], rows, -1)
        rows, faiss = np.ascontiguousarray(rows), require("faiss")
        far, cosine = np.empty(rows.shape, np.float32), self.metric == "cosine"
        by_rows = faiss.fvec_inner_products_by_idx if cosine else faiss.fvec_L2sqr_by_idx
        arrays = far, queries, self._rows(), rows
        by_rows(*map(faiss.swig_ptr, arrays), queries.shape[1], *rows.shape)
        far = np.where(rows < 0, np.float32(np.inf), as_distances(far, self.metric))
        return nearest_first(far, rows, k)

    def __getstate__(self):
        state = super().__getstate__()
        if "_keys" in state:
            state["_saved"] = self._as_bytes()
            state["seal"] = seal(_digest(state))
        return state

    def _restore(self, state):
        self._saved = state["_saved"]
        self.is_sealed = state["seal"] == seal(_digest(state)) != ""

    def finish_loading(self, *, trusted=False, vectors=None):
        """Parse the structure that was loaded; or, unless this user saved it on this machine, build it anew from `vectors`.

        Libraries believe what they read, and can be crashed by it: what is not `trusted` and comes without vectors
        (n_indexed_, n_dims) is refused with a ValueError. A loaded index does this by itself when it is first used.
        """
        if self._saved is None:
            return
        told = f"{type(self).__name__} was not saved by you on this machine"
        if trusted or self.is_sealed:
            self._parse(self._saved)
        elif vectors is not None:
            logger.warning("%s: it is built anew", told)
            self._build(self._prepared(vectors, self.n_features_in_))
        else:
            mend = "index the vectors again, or pass trusted=True if you know who made it"
            raise ValueError(f"the {told}, and its library would believe every byte of it; {mend}")
        self._saved = None


def _digest(state):
    """Of all that a library believes, as an array of bytes."""
    return np.frombuffer(fingerprint({**state, "seal": None}).encode(), np.uint8)


class Folded(Approximate):
    """One whose structure suffers from many equal rows: one of each group, its head, is in it and stands for all."""

    _max_dead = 0.3
    _kept = (*Approximate._kept, "_of", "_n_looked_at")

    def _build(self, X):
        self._vectors, self._n_looked_at = X, len(X)
        self._fold(find_copies(X))
        self._build_for(X[self._heads] if self._has_copies else X)

    def _restore(self, state):
        super()._restore(state)
        self._fold(self._of)

    def _fold(self, of):
        """Note which row (n,) stands for each row of the structure, see `find_copies`."""
        self._of, self._members = of, np.argsort(of, kind="stable")
        self._heads, self._counts = np.unique(of, return_counts=True)
        self._starts = np.cumsum(self._counts) - self._counts
        self._has_copies = len(self._heads) < len(of)
        most = min(len(of), 128 * int(self._counts.max())) if self._has_copies else 1
        self._queries_at_once = max(1, min(1024, 2**21 // most))

    def _wanted(self, k):
        """How many heads to look for: more than k where some are farther than what they stand for, or are removed."""
        n = 8 * k + 64 if self._has_copies else k
        n = 3 * n // 2 + 8 if self.n_indexed_ < len(self._keys) else n
        return min(n, len(self._heads))

    def _expand(self, found, k):
        """Rows (m, at least k), padded with -1, that `found` (m, n), numbers of heads or -1, stand for."""
        which, columns = np.nonzero(found >= 0)
        heads = found[which, columns]
        counts = self._counts[heads]
        # the place of each member within its group
        place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = self._members[np.repeat(self._starts[heads], counts) + place]
        return lines_of(np.repeat(which, counts), rows, len(found), -1, k)


def as_distances(scores, metric):
    """Squared distances, or inner products of vectors of length 1, as distances."""
    return np.sqrt(scores) if metric == "euclidean" else np.minimum(np.maximum(1 - scores, 0), 2)
