"""What the indexes share that look at few items: structures of libraries, and exact search where they find too few."""

import numpy as np

from cbirkit._optional import require
from cbirkit.persistence import is_sealed, seal

from .base import BaseIndex, lines_of, logger, nearest_first
from .copies import find_copies
from .exact import Exact

_GROWTH, _LEAST = 1.1, 8  # after which copies are looked for again


class Approximate(BaseIndex):
    """An index around a structure of a library, which looks at few items.

    A subclass says how the structure is built, written as bytes (``_as_bytes``) and read (``_parse``).
    """

    _kept = ()  # further attributes that are saved
    _smallest = 1e-17  # squares of smaller numbers vanish in float32

    def _among(self, queries, rows, k):
        """The nearest of candidate rows (n_queries, n), of which -1 and those removed are passed over."""
        if self.n_indexed_ < len(self._keys):
            rows = np.where(self._alive[rows], rows, -1)
        rows, faiss = np.ascontiguousarray(rows), require("faiss")
        far, cosine = np.empty(rows.shape, np.float32), self.metric == "cosine"
        by_rows = faiss.fvec_inner_products_by_idx if cosine else faiss.fvec_L2sqr_by_idx
        arrays = far, queries, self._rows(), rows
        by_rows(*map(faiss.swig_ptr, arrays), queries.shape[1], *rows.shape)
        far = np.where(rows < 0, np.float32(np.inf), as_distances(far, self.metric))
        return self._complete(queries, k, *nearest_first(far, rows, k))

    def _complete(self, queries, k, distances, rows):
        """Distances and keys; where fewer than k rows were found, what exact search finds."""
        keys, short = self._keys[rows], np.flatnonzero(rows[:, -1] < 0)
        if len(short):
            exact = Exact.over(self._alive_rows(), self.keys_, self.metric)
            distances[short], keys[short] = exact._find(queries[short], k)
        return distances, keys

    def _state(self):
        structure = self._as_bytes()
        state = {"structure": structure, "seal": seal(structure), "vectors": self._vectors}
        return state | {name: getattr(self, name) for name in self._kept}

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
        state, name = self._saved, type(self).__name__
        if trusted or is_sealed(state["structure"], state["seal"]):
            for kept in self._kept:
                setattr(self, kept, state[kept])
            self._parse(state["structure"])
        else:
            if vectors is not None:
                self._vectors = self._prepared(vectors, self.n_features_in_)
            if self._vectors is None or len(self._vectors) != len(self._keys):
                raise ValueError(
                    f"this {name} index was not saved by you on this machine, and its library would believe every byte "
                    "of it; index the vectors again, or pass trusted=True if you know who made it"
                )
            logger.warning("%s was not saved by you on this machine: it is built anew", name)
            self._build(self._vectors)
        self._saved = None


class Folded(Approximate):
    """One whose structure suffers from many equal rows: one of each group, its head, is in it and stands for all."""

    _max_dead = 0.3
    _kept = ("_of", "_n_looked_at")

    def _build(self, X):
        self._vectors, self._n_looked_at = X, len(X)
        self._fold(find_copies(X))
        self._build_for(X[self._heads] if self._has_copies else X)

    def _fold(self, of):
        """Note which row (n,) stands for each row of the structure, see `find_copies`."""
        n = len(of)
        if (
            of.dtype != np.int64
            or of.ndim != 1
            or ((of < 0) | (of >= n)).any()
            or (of[of] != of).any()
        ):
            raise ValueError("the copies do not fit the keys")
        counts = np.bincount(of, minlength=n)
        self._of, self._heads = of, np.flatnonzero(counts)
        self._members = np.argsort(of, kind="stable")
        self._counts = counts[self._heads]
        self._starts = np.cumsum(self._counts) - self._counts
        self._has_copies = len(self._heads) < n
        most = min(n, 32 * int(counts.max())) if self._has_copies else 1
        self._queries_at_once = max(1, min(1024, 2**21 // most))

    def _wanted(self, k):
        """How many heads to look for: more than k where some are farther than what they stand for."""
        return 2 * k + 16 if self._has_copies else k

    def _heads_alive(self):
        """Whether each head stands for a row that is alive."""
        alive = self._alive[: len(self._of)]
        if not self._has_copies:
            return alive
        return np.logical_or.reduceat(alive[self._members], self._starts)

    def _expand(self, found):
        """Rows (m, width), padded with -1, that `found` (m, n), numbers of heads or -1, stand for."""
        if not self._has_copies:
            return found
        which, columns = np.nonzero(found >= 0)
        heads = found[which, columns]
        counts = self._counts[heads]
        # the place of each member within its group
        place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = self._members[np.repeat(self._starts[heads], counts) + place]
        return lines_of(np.repeat(which, counts), rows, len(found), -1)

    def _has_new_copies(self):
        """Whether so many rows have come, and so many copies among them, that the structure suffers."""
        n = len(self._of)
        if n <= _GROWTH * self._n_looked_at + _LEAST:
            return False
        self._n_looked_at = n
        return len(np.unique(find_copies(self._rows()))) < 0.99 * len(self._heads)


def as_distances(scores, metric):
    """Squared distances, or inner products of vectors of length 1, as distances."""
    return np.sqrt(scores) if metric == "euclidean" else np.minimum(np.maximum(1 - scores, 0), 2)
