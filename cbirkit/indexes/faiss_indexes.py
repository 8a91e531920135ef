"""Graphs and inverted lists, from faiss."""

import numpy as np
from sklearn.utils import check_random_state

from cbirkit._optional import require

from .approximate import Approximate, Folded, as_distances
from .copies import find_copies


def _search(structure, queries, k, params=None):
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

    _mapped = None  # the bytes that the structure lies in, which stay as they are

    def _own(self):
        """The structure, copied from the file before it is changed."""
        if self._mapped is not None:
            self._structure = require("faiss").deserialize_index(self._as_bytes())
            self._mapped = None
        return self._structure

    def _as_bytes(self):
        return require("faiss").serialize_index(self._structure)

    def _parse(self, structure):
        faiss = require("faiss")
        reader = faiss.ZeroCopyIOReader(faiss.swig_ptr(structure), structure.nbytes)
        self._structure, self._mapped = faiss.read_index(reader), structure


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
        self.metric, self.m = metric, m
        self.ef_construction, self.ef_search = ef_construction, ef_search

    def _build_for(self, X):
        graph = require("faiss").IndexHNSWFlat(X.shape[1], int(self.m), self._kind())
        graph.hnsw.efConstruction = int(self.ef_construction)
        graph.add(X)
        self._structure, self._mapped = graph, None
        if not self._has_copies:  # the graph holds the vectors
            self._vectors = None

    def _decoded(self):
        faiss, graph = require("faiss"), self._structure
        flat = faiss.downcast_index(graph.storage).get_xb()
        return faiss.rev_swig_ptr(flat, graph.ntotal * graph.d).reshape(-1, graph.d)

    def _insert(self, X, keys):
        self._own().add(X)
        super()._insert(X, keys)
        self._fold(np.concatenate([self._of, len(self._of) + np.arange(len(X))]))

    def _is_stale(self):
        n = len(self._of)
        if n <= 1.1 * self._n_looked_at + 8:
            return False
        self._n_looked_at = n
        return len(np.unique(find_copies(self._rows()))) < 0.99 * len(self._heads)

    def _look(self, queries, k):
        n = self._wanted(k)
        self._structure.hnsw.efSearch = max(int(self.ef_search), n)
        scores, found = _search(self._structure, queries, n)
        if self._has_copies or self.n_indexed_ < len(self._keys):
            return self._among(queries, self._expand(found, k), k)
        return as_distances(scores, self.metric), found


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

    _kept = (*Approximate._kept, "_trained_on", "centres_")
    rerank = 0  # the lists hold whole vectors

    def __init__(self, metric="cosine", *, n_lists="auto", nprobe=16, random_state=0):
        self.metric, self.random_state = metric, random_state
        self.n_lists, self.nprobe = n_lists, nprobe

    def _build(self, X):
        n = len(X)
        n_lists = 2 ** round(np.log2(n) / 2) if self.n_lists == "auto" else int(self.n_lists)
        if n_lists > n:
            raise ValueError(f"n_lists={n_lists} exceeds the {n} vectors to train on")
        lists = self._new(n_lists)
        items = self._items(X, lists.d)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        for clustering in (lists.cp, getattr(lists, "pq", lists).cp):
            # and no warnings of few points on stderr
            clustering.seed, clustering.min_points_per_centroid = seed, 1
        lists.train(np.resize(items, (max(n, 256), items.shape[1])))
        lists.add_with_ids(items, self._keys)
        self._structure, self._mapped, self._trained_on = lists, None, n
        # an array where faiss is patched to give tensors, too
        self.centres_ = np.asarray(lists.quantizer.reconstruct_n(0, n_lists))[:, : X.shape[1]]
        self._vectors = X if self.rerank else None

    def _new(self, n_lists):
        faiss, n_dims = require("faiss"), self.n_features_in_
        # inner products put vectors of zeros where they belong; for centres, L2 shares items out more evenly
        lists = faiss.IndexIVFFlat(faiss.IndexFlatL2(n_dims), n_dims, n_lists, self._kind())
        # centres of length 1 found less of as many items looked at when measured
        lists.cp.spherical = False
        return lists

    def _items(self, X, n_dims):
        """Rows as they are put into the lists, (n, n_dims)."""
        return X

    def _insert(self, X, keys):
        self._own().add_with_ids(self._items(X, self._structure.d), keys)
        super()._insert(X, keys)

    def _forget(self, keys):
        self._own().remove_ids(keys)

    def _compact(self):
        if self._vectors is not None:
            self._vectors = self._vectors[self._alive]
        self._number(self.keys_)

    def _is_stale(self):
        grown = self.n_indexed_ > 4 * self._trained_on and self.n_lists == "auto"
        return grown and (self._vectors is not None or not hasattr(self._structure, "pq"))

    def _decoded(self):
        lists, kind = self._structure, require("faiss").DirectMap
        lists.set_direct_map_type(kind.Hashtable)
        rows = lists.reconstruct_batch(self._keys)[:, : self.n_features_in_]
        lists.set_direct_map_type(kind.NoMap)
        return rows

    def _inside(self, queries, n, k):
        """Scores and keys of the n nearest in `nprobe` lists, or in all of them for queries that find fewer than k."""
        lists = self._structure
        lists.nprobe = min(int(self.nprobe), lists.nlist)
        scores, keys = _search(lists, queries, n)
        short = np.flatnonzero(keys[:, k - 1] < 0)
        if len(short):
            every = require("faiss").SearchParametersIVF(nprobe=lists.nlist)
            scores[short], keys[short] = _search(lists, queries[short], n, every)
        return scores, keys

    def _find(self, queries, k):
        scores, keys = self._inside(queries, k, k)
        return as_distances(scores, self.metric), keys


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

    def __init__(
        self, metric="cosine", *, n_lists="auto", n_codes=16, nprobe=16, rerank=16, random_state=0
    ):
        super().__init__(metric, n_lists=n_lists, nprobe=nprobe, random_state=random_state)
        self.n_codes, self.rerank = n_codes, rerank

    def _new(self, n_lists):
        # also for the cosine distance, on vectors of length 1: found far more than by inner products when measured
        faiss, n_codes = require("faiss"), min(int(self.n_codes), self.n_features_in_)
        n_dims = -(-self.n_features_in_ // n_codes) * n_codes
        return faiss.IndexIVFPQ(faiss.IndexFlatL2(n_dims), n_dims, n_lists, n_codes, 8)

    def _items(self, X, n_dims):
        if self.metric == "cosine":  # zeros go to where they are at about 1 from all, as defined
            X = np.where(X.any(axis=1, keepdims=True), X, np.float32(-1 / np.sqrt(X.shape[1])))
        missing = n_dims - X.shape[1]
        return np.pad(X, ((0, 0), (0, missing))) if missing else X

    def _find(self, queries, k):
        n = min(k * max(1, int(self.rerank)), self.n_indexed_)
        scores, keys = self._inside(self._items(queries, self._structure.d), n, k)
        if self.rerank:
            if self._vectors is None:
                raise ValueError("the index, fitted with rerank=0, keeps no vectors; fit it again")
            gaps = self._next_key != len(self._keys)  # else keys are rows
            rows = np.where(keys < 0, -1, np.searchsorted(self._keys, keys)) if gaps else keys
            distances, rows = self._among(queries, rows, k)
            return distances, self._keys[rows]
        scores = np.maximum(scores, 0)
        if self.metric == "euclidean":
            return np.sqrt(scores), keys
        return np.where(queries.any(axis=1, keepdims=True), np.minimum(scores / 2, 2), 1), keys
