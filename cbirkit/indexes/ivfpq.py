"""Inverted lists of product-quantised vectors, from faiss."""

import logging

import numpy as np
from sklearn.utils import check_random_state

from cbirkit._optional import require
from cbirkit.indexes import faiss_parts
from cbirkit.indexes.base import MAX_DEAD, BaseIndex
from cbirkit.indexes.validation import check_count

logger = logging.getLogger(__name__)

_RERANK = 16
_GROWTH = 4
_CENTROIDS = 256  # of a sub-quantiser: one byte


class IVFPQ(BaseIndex):
    """Vectors cut into pieces, each piece replaced by one byte, in lists around cluster centres.

    k-means puts the items into `n_lists`; a search looks into the `nprobe` lists nearest to the query and compares
    codes of `n_codes` bytes. Codes alone mistake near neighbours for one another: the best `rerank` times k are
    ordered by their exact vectors, unless ``rerank=0``, which keeps no vectors: little memory, approximate distances,
    and ``kneighbors()`` without queries then asks with the decoded vectors. Dimensions that `n_codes` does not divide
    are filled up with zeros. Small collections train on repeated rows; with ``n_lists="auto"`` and vectors kept, the
    lists are built anew when the collection is 4 times what they were trained on. A query whose lists hold fewer than
    k items is answered exhaustively.

    Parameters
    ----------
    metric : {"cosine", "euclidean"}
    n_lists : int or "auto"
        Auto: the power of two nearest to the square root of the number of items.
    n_codes : int
        Bytes of a code.
    nprobe : int
        Lists looked into: recall against time.
    rerank : int
        Candidates for each neighbour asked for that are ordered by exact distance; 0: none.
    random_state : int, RandomState or None
        Of the k-means.

    References
    ----------
    Jégou, Douze and Schmid, "Product quantization for nearest neighbor search", 2011, doi:10.1109/TPAMI.2010.57.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(100, 8))
    >>> IVFPQ().fit(X).kneighbors(X[:1], n_neighbors=1)[1]
    array([[0]])
    """

    def __init__(
        self,
        metric="cosine",
        *,
        n_lists="auto",
        n_codes=16,
        nprobe=16,
        rerank=_RERANK,
        random_state=0,
    ):
        self.metric = metric
        self.n_lists = n_lists
        self.n_codes = n_codes
        self.nprobe = nprobe
        self.rerank = rerank
        self.random_state = random_state

    def _check_params(self):
        super()._check_params()
        if self.n_lists != "auto":
            check_count("n_lists", self.n_lists)
        check_count("n_codes", self.n_codes)
        check_count("nprobe", self.nprobe)
        if not isinstance(self.rerank, bool):
            check_count("rerank", self.rerank, least=0)

    def _depth(self):
        return _RERANK if self.rerank is True else int(self.rerank)

    def _build(self):
        faiss = require("faiss")
        X, n = self._vectors, self.n_indexed_
        n_lists = faiss_parts.n_lists_for(self.n_lists, n)
        n_codes = min(int(self.n_codes), self.n_features_in_)
        n_dims = -(-self.n_features_in_ // n_codes) * n_codes
        # also for the cosine distance, on vectors of length 1: found far more than by inner products when measured
        lists = faiss.IndexIVFPQ(faiss.IndexFlatL2(n_dims), n_dims, n_lists, n_codes, 8)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        faiss_parts.quiet((lists.cp, lists.pq.cp), seed)
        self._lists, self._trained_on, self._mapped = lists, n, False
        X = self._as_items(X)
        lists.train(X if n >= _CENTROIDS else np.tile(X, (-(-_CENTROIDS // n), 1))[:_CENTROIDS])
        lists.add_with_ids(X, self._keys)
        if not self._depth():
            self._parts = []

    def _filled(self, X):
        """Fill dimensions up with zeros to what the codes divide."""
        missing = self._lists.d - X.shape[1]
        return np.ascontiguousarray(np.pad(X, ((0, 0), (0, missing)))) if missing else X

    def _as_items(self, X):
        """Fill X up; under the cosine distance, move zeros to where they are at about 1 from all, as defined."""
        if self.metric == "cosine":
            X = np.where(X.any(axis=1, keepdims=True), X, np.float32(-1 / np.sqrt(X.shape[1])))
        return self._filled(X)

    def _own(self):
        if self._mapped:
            self._lists, self._mapped = faiss_parts.copied(self._lists), False

    def _insert(self, X, keys):
        self._lists.add_with_ids(self._as_items(X), keys)
        if self._parts:
            self._parts.append(X)
        elif self._lists.ntotal > _GROWTH * self._trained_on:
            logger.warning(
                "the lists were trained on %d items and hold %d: call fit on all of them for better recall",
                self._trained_on,
                self._lists.ntotal,
            )

    def _forget(self, rows):
        self._lists.remove_ids(self._keys[rows])

    def _refresh(self, compact=False):
        if compact or self._dead_share() > MAX_DEAD:
            self._compact()
        if self._parts and self.n_lists == "auto" and self.n_indexed_ > _GROWTH * self._trained_on:
            logger.info(
                "building the lists anew: trained on %d, now %d", self._trained_on, self.n_indexed_
            )
            self._compact()
            self._build()

    def _compact(self):
        if self._parts:
            super()._compact()
        else:
            self._keys = self._keys[self._alive]
            self._alive = np.ones(len(self._keys), bool)

    def _search_lists(self, queries, n, nprobe):
        scores, keys = faiss_parts.search(
            self._lists, queries, n, faiss_parts.list_parameters(nprobe)
        )
        if self._next_key == len(self._keys):  # keys are rows
            return scores, keys
        return scores, np.where(keys < 0, -1, np.searchsorted(self._keys, keys))

    def _find(self, queries, k):
        filled = self._filled(queries)
        nprobe = min(int(self.nprobe), self._lists.nlist)
        n = min(k * max(1, self._depth()), self.n_indexed_)
        scores, rows = self._search_lists(filled, n, nprobe)
        if self._depth():
            if not self._parts:
                raise ValueError(
                    "this index was fitted with rerank=0 and keeps no vectors; fit it again to re-rank"
                )
            rows = faiss_parts.preselect(self._vectors, queries, rows, k, self.metric)
            return self._find_among(queries, rows, k)
        short = np.flatnonzero(rows[:, -1] < 0)
        if len(short):
            scores[short], rows[short] = self._search_lists(filled[short], n, self._lists.nlist)
        scores = np.maximum(scores, 0)
        if self.metric == "cosine":
            return np.where(queries.any(axis=1, keepdims=True), np.minimum(scores / 2, 2), 1), rows
        return np.sqrt(scores), rows

    def _rows_as_queries(self, rows):
        if self._parts:
            return self._vectors[rows]
        faiss = require("faiss")
        self._lists.set_direct_map_type(faiss.DirectMap.Hashtable)
        try:
            decoded = np.stack([self._lists.reconstruct(int(key)) for key in self._keys[rows]])
        finally:
            self._lists.set_direct_map_type(faiss.DirectMap.NoMap)
        return decoded[:, : self.n_features_in_]

    def _state(self):
        return {"trained_on": self._trained_on}

    def _payloads(self):
        faiss = require("faiss")
        vectors = {"vectors": self._vectors} if self._parts else {}
        return {**vectors, "lists": ("faiss", faiss.serialize_index(self._lists))}

    def _restore(self, state, paths, *, mmap=False):
        faiss = require("faiss")
        lists = faiss_parts.read(paths["lists"], mmap)
        found = (type(lists), lists.ntotal, lists.metric_type)
        if (
            found != (faiss.IndexIVFPQ, self.n_indexed_, faiss.METRIC_L2)
            or lists.d < self.n_features_in_
        ):
            raise ValueError("lists and keys do not agree")
        if self._depth() and not self._parts:
            raise ValueError("the vectors to re-rank by are missing")
        self._lists, self._trained_on, self._mapped = lists, state["trained_on"], mmap
