"""Graphs and inverted lists, from faiss."""

from functools import lru_cache

import numpy as np
from sklearn.utils import check_random_state

from cbirkit._optional import require

from .approximate import Approximate, Folded, as_distances
from .base import check_whole

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

    _mapped = None  # the bytes that the structure lies in, which stay as they are

    def _own(self):
        super()._own()
        if self._mapped is not None:
            self._structure = require("faiss").deserialize_index(self._as_bytes())
            self._mapped = None

    def _as_bytes(self):
        return require("faiss").serialize_index(self._structure)

    def _parse(self, structure, n=None):
        faiss, new = require("faiss"), self._new()
        reader = faiss.ZeroCopyIOReader(faiss.swig_ptr(structure), structure.nbytes)
        found, self._mapped = faiss.read_index(reader), structure
        self._structure, n = found, len(self._keys) if n is None else n
        fits = (type(found), found.d, found.metric_type) == (type(new), new.d, new.metric_type)
        if not fits or found.ntotal != n:
            raise ValueError("structure and keys do not agree")


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

    def _new(self):
        return require("faiss").IndexHNSWFlat(self.n_features_in_, int(self.m), self._kind())

    def _build_for(self, X):
        self._structure, self._mapped = self._new(), None
        self._structure.hnsw.efConstruction = int(self.ef_construction)
        self._structure.add(X)
        if not self._has_copies:  # the graph holds the vectors
            self._vectors = None

    def _rows(self):
        if self._vectors is not None:
            return self._vectors
        faiss, graph = require("faiss"), self._structure
        flat = faiss.downcast_index(graph.storage).get_xb()
        return faiss.rev_swig_ptr(flat, graph.ntotal * graph.d).reshape(-1, graph.d)

    def _insert(self, X, keys):
        self._structure.add(X)
        if self._has_copies:
            self._vectors = np.concatenate([self._vectors, X])
        self._fold(np.concatenate([self._of, len(self._of) + np.arange(len(X))]))

    def _is_stale(self):
        return self._has_new_copies()

    def _find(self, queries, k):
        n = min(self._wanted(k), self._structure.ntotal)
        faiss, ef_search = require("faiss"), max(int(self.ef_search), n)
        params = _parameters("SearchParametersHNSW", efSearch=ef_search)
        if self.n_indexed_ < len(self._keys):
            alive = self._heads_alive()
            selector = faiss.IDSelectorBitmap(np.packbits(alive, bitorder="little"))
            ef_search = int(np.ceil(ef_search / alive.mean()))
            params = faiss.SearchParametersHNSW(efSearch=ef_search, sel=selector)
        scores, found = _search(self._structure, queries, n, params)
        if self._has_copies:
            return self._among(queries, self._expand(found), k)
        return self._complete(queries, k, as_distances(scores, self.metric), found)

    def _parse(self, structure):
        self._fold(self._of)
        if len(self._of) != len(self._keys) or self._has_copies != (self._vectors is not None):
            raise ValueError("graph and keys do not agree")
        super()._parse(structure, len(self._heads))


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

    _kept = ("_trained_on",)
    _holds_all, rerank = True, 0  # the lists hold whole vectors
    _least_trained = 0

    def __init__(self, metric="cosine", *, n_lists="auto", nprobe=16, random_state=0):
        self.metric = metric
        self.n_lists = n_lists
        self.nprobe = nprobe
        self.random_state = random_state

    @property
    def centres_(self):
        """Cluster centres, (n_lists, n_dims) float32."""
        self._check_fitted()
        self.finish_loading()
        return self._structure.quantizer.reconstruct_n(0, self._structure.nlist)

    def _build(self, X):
        n = len(X)
        n_lists = 2 ** round(np.log2(n) / 2) if self.n_lists == "auto" else int(self.n_lists)
        if n_lists > n:
            raise ValueError(f"n_lists={n_lists} exceeds the {n} vectors to train on")
        lists, self._mapped, self._trained_on = self._new(n_lists), None, n
        self._structure, items = lists, self._items(X, lists.d)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        for clustering in (lists.cp, *([lists.pq.cp] if hasattr(lists, "pq") else [])):
            # and no warnings of few points on stderr
            clustering.seed, clustering.min_points_per_centroid = seed, 1
        lists.train(np.resize(items, (max(n, self._least_trained), items.shape[1])))
        lists.add_with_ids(items, self._keys)
        self._vectors = X if self.rerank else None

    def _items(self, X, n_dims):
        """Rows as they are put into the lists, (n, n_dims)."""
        return X

    def _new(self, n_lists=1):
        faiss, n_dims = require("faiss"), self.n_features_in_
        # inner products put vectors of zeros where they belong; for centres, L2 shares items out more evenly
        lists = faiss.IndexIVFFlat(faiss.IndexFlatL2(n_dims), n_dims, n_lists, self._kind())
        # centres of length 1 found less of as many items looked at when measured
        lists.cp.spherical = False
        return lists

    def _insert(self, X, keys):
        self._structure.add_with_ids(self._items(X, self._structure.d), keys)
        if self._vectors is not None:
            self._vectors = np.concatenate([self._vectors, X])

    def _forget(self, keys):
        self._structure.remove_ids(keys)

    def _compact(self):
        if self._vectors is not None:
            self._vectors = self._vectors[self._alive]
        self._keys = self.keys_
        self._alive = np.ones(len(self._keys), bool)

    def _is_stale(self):
        grown = self.n_indexed_ > _GROWTH * self._trained_on and self.n_lists == "auto"
        return grown and (self._holds_all or self._vectors is not None)

    def _rows(self):
        if self._vectors is not None:
            return self._vectors
        lists, kind = self._structure, require("faiss").DirectMap
        lists.set_direct_map_type(kind.Hashtable)
        try:
            return lists.reconstruct_batch(self._keys)[:, : self.n_features_in_]
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

    def _parse(self, structure):
        check_whole("trained_on", self._trained_on, 1)
        super()._parse(structure)
        if self.rerank and self._vectors is None:
            raise ValueError("the vectors to re-rank by are missing")


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
    ):
        super().__init__(metric, n_lists=n_lists, nprobe=nprobe, random_state=random_state)
        self.n_codes = n_codes
        self.rerank = rerank

    def _new(self, n_lists=1):
        # also for the cosine distance, on vectors of length 1: found far more than by inner products when measured
        faiss, n_codes = require("faiss"), min(int(self.n_codes), self.n_features_in_)
        n_dims = -(-self.n_features_in_ // n_codes) * n_codes
        return faiss.IndexIVFPQ(faiss.IndexFlatL2(n_dims), n_dims, n_lists, n_codes, 8)

    def _items(self, X, n_dims):
        if self.metric == "cosine":  # zeros go to where they are at about 1 from all, as defined
            X = np.where(X.any(axis=1, keepdims=True), X, np.float32(-1 / np.sqrt(X.shape[1])))
        return _filled(X, n_dims)

    def _find(self, queries, k):
        n = min(k * max(1, int(self.rerank)), self.n_indexed_)
        scores, keys = self._look(_filled(queries, self._structure.d), n, k)
        if self.rerank:
            if self._vectors is None:
                raise ValueError("the index, fitted with rerank=0, keeps no vectors; fit it again")
            rows = keys
            if self._next_key != len(self._keys):
                rows = np.where(keys < 0, -1, np.searchsorted(self._keys, keys))
            return self._among(queries, rows, k)
        scores = np.maximum(scores, 0)
        if self.metric == "euclidean":
            return np.sqrt(scores), keys
        return np.where(queries.any(axis=1, keepdims=True), np.minimum(scores / 2, 2), 1), keys


def _filled(X, n_dims):
    missing = n_dims - X.shape[1]
    return np.ascontiguousarray(np.pad(X, ((0, 0), (0, missing)))) if missing else X
