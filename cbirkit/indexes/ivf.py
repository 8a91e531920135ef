"""Inverted lists of whole vectors, from faiss."""

import logging

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from cbirkit._optional import require
from cbirkit.indexes import faiss_parts
from cbirkit.indexes.base import MAX_DEAD, BaseIndex
from cbirkit.indexes.distances import FoundRows
from cbirkit.indexes.exhaustive import refine, refine_one
from cbirkit.indexes.validation import check_count

logger = logging.getLogger(__name__)

_GROWTH = 4


class IVF(BaseIndex):
    """Vectors in lists around cluster centres, of which a search looks into a few ("IVF-Flat").

    k-means puts the items into `n_lists`; a search compares the query with the centres and then with every item of the
    `nprobe` nearest lists. Found items get their distances computed anew in float64. The lists hold the vectors, and
    there is no second copy. With ``n_lists="auto"`` the lists are built anew when the collection is 4 times what they
    were trained on. A query whose lists hold fewer than k items looks into all of them.

    Parameters
    ----------
    metric : {"cosine", "euclidean"}
    n_lists : int or "auto"
        Auto: the power of two nearest to the square root of the number of items.
    nprobe : int
        Lists looked into: recall against time, in proportion.
    random_state : int, RandomState or None
        Of the k-means.

    Attributes
    ----------
    centres_ : ndarray of shape (n_lists, n_dims), float32
        An item lies in the list of the centre that is nearest by the Euclidean distance (for the cosine distance, once
        it is divided by its length).

    References
    ----------
    Sivic and Zisserman, "Video Google: a text retrieval approach to object matching in videos", ICCV 2003,
    doi:10.1109/ICCV.2003.1238663, for the lists; Jégou, Douze and Schmid, "Product quantization for nearest neighbor
    search", 2011, doi:10.1109/TPAMI.2010.57, for whole vectors in them.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(100, 8))
    >>> IVF().fit(X).kneighbors(X[:1], n_neighbors=1)[1]
    array([[0]])
    """

    def __init__(self, metric="cosine", *, n_lists="auto", nprobe=16, random_state=0):
        self.metric = metric
        self.n_lists = n_lists
        self.nprobe = nprobe
        self.random_state = random_state

    def _check_params(self):
        super()._check_params()
        if self.n_lists != "auto":
            check_count("n_lists", self.n_lists)
        check_count("nprobe", self.nprobe)

    def _build(self):
        faiss = require("faiss")
        X, n = self._vectors, len(self._keys)
        n_lists = faiss_parts.n_lists_for(self.n_lists, n)
        # inner products put vectors of zeros where they belong; for centres, L2 shares items out more evenly
        kind = faiss.METRIC_INNER_PRODUCT if self.metric == "cosine" else faiss.METRIC_L2
        lists = faiss.IndexIVFFlat(faiss.IndexFlatL2(X.shape[1]), X.shape[1], n_lists, kind)
        lists.cp.spherical = (
            False  # centres of length 1 found less of as many items looked at when measured
        )
        faiss_parts.quiet([lists.cp], int(check_random_state(self.random_state).randint(2**31 - 1)))
        lists.train(X)
        lists.add_with_ids(X, self._keys)
        self._lists, self._trained_on, self._mapped, self._parts = lists, n, False, []

    @property
    def centres_(self):
        """Cluster centres, (n_lists, n_dims) float32."""
        check_is_fitted(self, "n_indexed_")
        return self._lists.quantizer.reconstruct_n(0, self._lists.nlist)

    @property
    def _vectors(self):
        """Stored rows (n_rows, n_dims): those to build from, or a copy of what is in the lists."""
        return self._parts[0] if self._parts else self._rows_as_queries(np.arange(len(self._keys)))

    def _rows_as_queries(self, rows):
        lists = self._lists
        wanted = np.full(len(self._keys), -1)
        wanted[rows] = np.arange(len(rows))
        out = np.empty((len(rows), self.n_features_in_), np.float32)
        for _, ids, codes in faiss_parts.listed(lists, range(lists.nlist)):
            place = wanted[np.searchsorted(self._keys, ids)]
            out[place[place >= 0]] = codes[place >= 0].view(np.float32)
        return out

    def _own(self):
        if self._mapped:
            self._lists, self._mapped = faiss_parts.copied(self._lists), False

    def _insert(self, X, keys):
        self._lists.add_with_ids(X, keys)

    def _forget(self, rows):
        self._lists.remove_ids(self._keys[rows])

    def _compact(self):
        self._keys = self._keys[self._alive]
        self._alive = np.ones(len(self._keys), bool)

    def _refresh(self, compact=False):
        if compact or self._dead_share() > MAX_DEAD:
            self._compact()
        if self.n_lists == "auto" and self.n_indexed_ > _GROWTH * self._trained_on:
            logger.info(
                "building the lists anew: trained on %d, now %d", self._trained_on, self.n_indexed_
            )
            self._compact()
            self._parts = [self._vectors]
            self._build()

    def _find(self, queries, k):
        distances, rows = self._look(queries, k, min(int(self.nprobe), self._lists.nlist))
        if rows[:, -1].min() < 0:  # fewer than k
            short = np.flatnonzero(rows[:, -1] < 0)
            distances[short], rows[short] = self._look(queries[short], k, self._lists.nlist)
        return distances, rows

    def _look(self, queries, k, nprobe):
        params = faiss_parts.list_parameters(nprobe)
        keys, found = faiss_parts.search_and_copy(self._lists, queries, k, params)
        if self._next_key == len(self._keys):  # keys are rows
            rows = keys
        else:
            rows = np.where(keys < 0, -1, np.searchsorted(self._keys, keys))
        distances = refine_one(found[0], self.metric, queries, rows) if len(rows) == 1 else None
        return (
            (distances, rows)
            if distances is not None
            else refine(FoundRows(found, self.metric), queries, rows, k)
        )

    def _state(self):
        return {"trained_on": self._trained_on}

    def _payloads(self):
        return {"lists": ("faiss", require("faiss").serialize_index(self._lists))}

    def _restore(self, state, paths, *, mmap=False):
        faiss = require("faiss")
        lists = faiss_parts.read(paths["lists"], mmap)
        kind = faiss.METRIC_INNER_PRODUCT if self.metric == "cosine" else faiss.METRIC_L2
        found = (type(lists), lists.ntotal, lists.d, lists.metric_type)
        if found != (faiss.IndexIVFFlat, self.n_indexed_, self.n_features_in_, kind):
            raise ValueError("lists and keys do not agree")
        self._lists, self._trained_on, self._mapped = lists, state["trained_on"], mmap
