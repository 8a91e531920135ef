"""Graphs and inverted lists, from faiss."""

from functools import lru_cache

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from cbirkit._optional import require

from .approximate import Approximate, Folded, as_distances, logger
from .copies import Copies

_GROWTH = 4


@lru_cache(maxsize=256)
def _parameters(kind, **values):
    return getattr(require("faiss"), kind)(**values)


def _search(structure, queries, k, params):
    """Scores and labels, (n_queries, k), by the function of the library itself, since our own checks are done.

    It also passes by pytorch-metric-learning, which imports faiss.contrib.torch_utils, which puts another ``search``
    in place of faiss's own.
    """
    pointer = require("faiss").swig_ptr
    scores, labels = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    structure.search_c(len(queries), pointer(queries), k, pointer(scores), pointer(labels), params)
    return scores, labels


class _Faiss(Approximate):
    """A structure of faiss to bytes and back."""

    def _kind(self):
        """What faiss calls the metric."""
        faiss = require("faiss")
        return faiss.METRIC_INNER_PRODUCT if self.metric == "cosine" else faiss.METRIC_L2

    def _use(self, structure, mapped=None):
        # `mapped`: the bytes that it lies in, which stay as they are
        self._structure, self._mapped = structure, mapped

    def _own(self):
        super()._own()
        if self._mapped is not None:
            faiss = require("faiss")
            self._use(faiss.deserialize_index(faiss.serialize_index(self._structure)))

    def _as_bytes(self):
        return require("faiss").serialize_index(self._structure)

    def _parse(self, state):
        faiss, data = require("faiss"), state["structure"]
        reader = faiss.ZeroCopyIOReader(faiss.swig_ptr(data), data.nbytes)
        structure = faiss.read_index(reader)
        found = type(structure).__name__, structure.ntotal, structure.d, structure.metric_type
        if found != self._expected():
            raise ValueError("structure and keys do not agree")
        self._use(structure, data)


class HNSW(Folded, _Faiss):
    """A graph of near vectors, walked from a fixed entry towards the query.

    The graph cannot forget: removed items stay in it as stepping stones, are never returned, and go when they are
    more than 30 % (then the graph is built anew at the next search) or when the index is saved. A query that reaches
    fewer than k items is answered exhaustively. Where 8 or more items are (nearly) equal, only one of them is in the
    graph, since copies link to nothing but each other; it stands for all, which are compared where it is found.
    faiss builds with several threads, so that two builds may differ a little; ``faiss.omp_set_num_threads(1)`` makes
    them equal.

    Parameters
    ----------
    metric : {"cosine", "euclidean"}
    m : int
        Links of an item (twice as many in the lowest layer): more find more, take more memory.
    ef_construction : int
        Candidates kept while linking an item: more take longer to build and link better.
    ef_search : int
        Candidates kept while searching: recall against time. What suits 100,000 items is too few for 1,000,000.

    References
    ----------
    Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical navigable small
    world graphs", 2018, arXiv 1603.09320.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(100, 8))
    >>> HNSW().fit(X).kneighbors(X[:1], n_neighbors=1)[1]
    array([[0]])
    """

    def __init__(self, metric="cosine", *, m=16, ef_construction=100, ef_search=64):
        self.metric = metric
        self.m = m
        self.ef_construction = ef_construction
        self.ef_search = ef_search

    def _built(self, X):
        graph = require("faiss").IndexHNSWFlat(X.shape[1], int(self.m), self._kind())
        graph.hnsw.efConstruction = int(self.ef_construction)
        graph.add(X)
        return graph

    def _use(self, graph, mapped=None):
        super()._use(graph, mapped)
        if not self._copies.any:  # the graph holds the vectors
            faiss = require("faiss")
            flat = faiss.downcast_index(graph.storage).get_xb()
            self._vectors = faiss.rev_swig_ptr(flat, graph.ntotal * graph.d).reshape(-1, graph.d)

    def _insert(self, X, keys):
        self._structure.add(X)
        if self._copies.any:
            self._vectors = np.concatenate([self._vectors, X])
        self._fold(self._copies.grown(len(X)))
        self._use(self._structure)

    def _refresh(self, max_dead=None):
        super()._refresh(max_dead)
        if self._copies.are_stale(self._vectors):
            self._compact()

    def _find(self, queries, k):
        n = min(self._copies.wanted(k), self._structure.ntotal)
        ef_search = max(int(self.ef_search), n)
        if self.n_indexed_ < len(self._keys):
            alive = self._copies.alive(self._alive)
            selector = require("faiss").IDSelectorBitmap(np.packbits(alive, bitorder="little"))
            ef_search = int(np.ceil(ef_search / alive.mean()))
            params = require("faiss").SearchParametersHNSW(efSearch=ef_search, sel=selector)
        else:
            params = _parameters("SearchParametersHNSW", efSearch=ef_search)
        scores, found = _search(self._structure, queries, n, params)
        if self._copies.any:
            return self._among(queries, self._copies.expand(found), k)
        keys = self._keys[found]
        keys[found < 0] = -1
        return self._complete(queries, k, as_distances(scores, self.metric), keys)

    def _state(self):
        state = super()._state()
        return state if self._copies.any else {**state, "vectors": None}

    def _expected(self):
        return "IndexHNSWFlat", len(self._copies.heads), self.n_features_in_, self._kind()

    def _parse(self, state):
        self._fold(Copies.of_state(state["of"], len(self._keys)))
        if self._copies.any and self._vectors is None:
            raise ValueError("the vectors are missing")
        super()._parse(state)


class IVF(_Faiss):
    """Vectors in lists around cluster centres, of which a search looks into a few ("IVF-Flat").

    k-means puts the items into `n_lists`; a search compares the query with the centres and then with every item of the
    `nprobe` nearest lists. The lists hold the vectors, and there is no second copy. With ``n_lists="auto"`` the lists
    are built anew when the collection is 4 times what they were trained on. A query whose lists hold fewer than k
    items looks into all of them.

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

    _holds_all = True  # the lists hold whole vectors
    _least_trained = 0

    def __init__(self, metric="cosine", *, n_lists="auto", nprobe=16, random_state=0):
        self.metric = metric
        self.n_lists = n_lists
        self.nprobe = nprobe
        self.random_state = random_state

    @property
    def centres_(self):
        """Cluster centres, (n_lists, n_dims) float32."""
        check_is_fitted(self, "n_indexed_")
        self.finish_loading()
        return self._structure.quantizer.reconstruct_n(0, self._structure.nlist)

    def _build(self, X):
        n = len(X)
        n_lists = 2 ** round(np.log2(n) / 2) if self.n_lists == "auto" else int(self.n_lists)
        if n_lists > n:
            raise ValueError(
                f"n_lists={n_lists} exceeds the {n} vectors to train on; use n_lists='auto' or <= {n}"
            )
        items = self._items(X)
        lists = self._new_lists(items.shape[1], n_lists)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        for clustering in (lists.cp, *([lists.pq.cp] if hasattr(lists, "pq") else [])):
            # and no warnings of few points on stderr
            clustering.seed, clustering.min_points_per_centroid = seed, 1
        lists.train(np.resize(items, (max(n, self._least_trained), items.shape[1])))
        lists.add_with_ids(items, self._keys)
        self._vectors = X if self._keeps_vectors() else None
        self._trained_on = n
        self._use(lists)

    def _keeps_vectors(self):
        return False

    def _items(self, X):
        """Rows as they are put into the lists."""
        return X

    def _new_lists(self, n_dims, n_lists):
        faiss = require("faiss")
        # inner products put vectors of zeros where they belong; for centres, L2 shares items out more evenly
        lists = faiss.IndexIVFFlat(faiss.IndexFlatL2(n_dims), n_dims, n_lists, self._kind())
        # centres of length 1 found less of as many items looked at when measured
        lists.cp.spherical = False
        return lists

    def _insert(self, X, keys):
        self._structure.add_with_ids(self._items(X), keys)

    def _forget(self, keys):
        self._structure.remove_ids(keys)

    def _compact(self):
        if self._vectors is not None:
            self._vectors = self._vectors[self._alive]
        self._keys = self.keys_
        self._alive = np.ones(len(self._keys), bool)

    def _refresh(self, max_dead=None):
        super()._refresh(max_dead)
        grown = self.n_indexed_ > _GROWTH * self._trained_on and self.n_lists == "auto"
        if grown and (self._holds_all or self._vectors is not None):
            self._vectors = self._alive_rows()
            self._build_anew()

    def _alive_rows(self):
        if self._vectors is not None:
            return super()._alive_rows()
        lists, kind = self._structure, require("faiss").DirectMap
        lists.set_direct_map_type(kind.Hashtable)
        try:
            return lists.reconstruct_batch(self.keys_)[:, : self.n_features_in_]
        finally:
            lists.set_direct_map_type(kind.NoMap)

    def _look(self, queries, n, k):
        """Scores and keys of the n nearest in `nprobe` lists, or in all of them for queries that find fewer than k."""
        n_lists = self._structure.nlist
        params = _parameters("SearchParametersIVF", nprobe=min(int(self.nprobe), n_lists))
        scores, keys = _search(self._structure, queries, n, params)
        short = np.flatnonzero(keys[:, k - 1] < 0)
        if len(short):
            params = _parameters("SearchParametersIVF", nprobe=n_lists)
            scores[short], keys[short] = _search(self._structure, queries[short], n, params)
        return scores, keys

    def _find(self, queries, k):
        scores, keys = self._look(queries, k, k)
        return as_distances(scores, self.metric), keys

    def _state(self):
        return {**super()._state(), "trained_on": self._trained_on}

    def _expected(self):
        return "IndexIVFFlat", len(self._keys), self.n_features_in_, self._kind()

    def _parse(self, state):
        super()._parse(state)
        self._trained_on = int(state["trained_on"])


class IVFPQ(IVF):
    """Vectors cut into pieces, each piece replaced by one byte, in lists around cluster centres.

    k-means puts the items into `n_lists`; a search looks into the `nprobe` lists nearest to the query and compares
    codes of `n_codes` bytes. Codes alone mistake near neighbours for one another: the best `rerank` times k are
    ordered by their exact vectors, unless ``rerank=0``, which keeps no vectors: little memory, approximate distances,
    and ``kneighbors()`` without queries then asks with the decoded vectors. Dimensions that `n_codes` does not divide
    are filled up with zeros. Small collections train on repeated rows; with ``n_lists="auto"`` and vectors kept, the
    lists are built anew when the collection is 4 times what they were trained on. A query whose lists hold fewer than
    k items looks into all of them.

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

    _holds_all = False
    _least_trained = 256  # centroids of a piece: one byte

    def __init__(
        self, metric="cosine", *, n_lists="auto", n_codes=16, nprobe=16, rerank=16, random_state=0
    ):  # fmt: skip
        super().__init__(metric, n_lists=n_lists, nprobe=nprobe, random_state=random_state)
        self.n_codes = n_codes
        self.rerank = rerank

    def _n_codes(self):
        return min(int(self.n_codes), self.n_features_in_)

    def _n_dims(self):
        return -(-self.n_features_in_ // self._n_codes()) * self._n_codes()

    def _new_lists(self, n_dims, n_lists):
        # also for the cosine distance, on vectors of length 1: found far more than by inner products when measured
        faiss = require("faiss")
        return faiss.IndexIVFPQ(faiss.IndexFlatL2(n_dims), n_dims, n_lists, self._n_codes(), 8)

    def _keeps_vectors(self):
        return self.rerank > 0

    def _filled(self, X):
        missing = self._n_dims() - X.shape[1]
        return np.ascontiguousarray(np.pad(X, ((0, 0), (0, missing)))) if missing else X

    def _items(self, X):
        if self.metric == "cosine":  # zeros go to where they are at about 1 from all, as defined
            X = np.where(X.any(axis=1, keepdims=True), X, np.float32(-1 / np.sqrt(X.shape[1])))
        return self._filled(X)

    def _insert(self, X, keys):
        super()._insert(X, keys)
        if self._vectors is not None:
            self._vectors = np.concatenate([self._vectors, X])
        elif self._structure.ntotal > _GROWTH * self._trained_on:
            logger.warning(
                "the lists were trained on %d items and hold %d: call fit on all of them for better recall",
                self._trained_on,
                self._structure.ntotal,
            )

    def _find(self, queries, k):
        n = min(k * max(1, int(self.rerank)), self.n_indexed_)
        scores, keys = self._look(self._filled(queries), n, k)
        if self.rerank:
            if self._vectors is None:
                raise ValueError(
                    "this index was fitted with rerank=0 and keeps no vectors; fit it again to re-rank"
                )
            rows = keys
            if self._next_key != len(self._keys):
                rows = np.where(keys < 0, -1, np.searchsorted(self._keys, keys))
            return self._among(queries, rows, k)
        scores = np.maximum(scores, 0)
        if self.metric == "euclidean":
            return np.sqrt(scores), keys
        return np.where(queries.any(axis=1, keepdims=True), np.minimum(scores / 2, 2), 1), keys

    def _expected(self):
        return "IndexIVFPQ", len(self._keys), self._n_dims(), require("faiss").METRIC_L2

    def _parse(self, state):
        super()._parse(state)
        if self.rerank and self._vectors is None:
            raise ValueError("the vectors to re-rank by are missing")
