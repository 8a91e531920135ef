"""Hierarchical navigable small worlds, from faiss."""

import logging

import numpy as np

from cbirkit._optional import require
from cbirkit.indexes import faiss_parts
from cbirkit.indexes.base import MAX_DEAD, BaseIndex
from cbirkit.indexes.copies import Copies, find_copies
from cbirkit.indexes.validation import check_count

logger = logging.getLogger(__name__)


class HNSW(BaseIndex):
    """A graph of near vectors, walked from a fixed entry towards the query.

    Found items get their distances computed anew in float64. The graph cannot forget: removed items stay in it as
    stepping stones, are never returned, and go when they are more than 30 % (then the graph is built anew at the next
    search) or when the index is saved. A query that reaches fewer than k items is answered exhaustively. Of 8 or more
    (nearly) equal items, and of a tight cluster of 32 or more, only one is in the graph, since copies link to nothing but
    each other; it stands for all, whose distances are computed where it is found. faiss builds with several threads, so that two builds may differ a little; ``faiss.omp_set_num_threads(1)`` makes them equal.

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

    def _check_params(self):
        super()._check_params()
        check_count("m", self.m, least=2)
        check_count("ef_construction", self.ef_construction)
        check_count("ef_search", self.ef_search)

    def _build(self):
        faiss = require("faiss")
        kind = faiss.METRIC_INNER_PRODUCT if self.metric == "cosine" else faiss.METRIC_L2
        graph = faiss.IndexHNSWFlat(self.n_features_in_, int(self.m), kind)
        graph.hnsw.efConstruction = int(self.ef_construction)
        X = self._vectors
        self._copies = Copies(find_copies(X))
        if self._copies.any and not X.flags.owndata:  # but the graph before
            self._parts = [X.copy()]
        graph.add(X[self._copies.heads] if self._copies.any else X)
        self._use(graph)

    def _use(self, graph, mapped=False):
        # the graph holds the vectors, unless some are copies: look at its own and drop ours
        faiss = require("faiss")
        self._graph, self._mapped = graph, mapped
        n, d = graph.ntotal, graph.d
        if self._copies.any:
            return
        self._parts = [
            faiss.rev_swig_ptr(faiss.downcast_index(graph.storage).get_xb(), n * d).reshape(n, d)
        ]

    def _own(self):
        if self._mapped:
            self._use(faiss_parts.copied(self._graph))

    def _insert(self, X, keys):
        self._graph.add(X)
        self._copies.grow(len(X))
        if self._copies.any:
            self._parts.append(X)
        self._use(self._graph)

    def _forget(self, rows):
        pass

    def _refresh(self, compact=False):
        share = self._dead_share()
        dead = share > (0 if compact else MAX_DEAD) and self.n_indexed_
        if dead or self._copies.are_stale(self._vectors):
            logger.info(
                "building the HNSW graph anew: %.0f %% of its items were removed", 100 * share
            )
            self._compact()
            self._build()

    def _find(self, queries, k):
        n = min(self._copies.wanted(k), self._graph.ntotal)
        ef_search = max(int(self.ef_search), n)
        if self._dead_share():
            faiss = require("faiss")
            alive = self._copies.alive(self._alive)
            selector = faiss.IDSelectorBitmap(np.packbits(alive, bitorder="little"))
            params = faiss.SearchParametersHNSW(
                efSearch=int(np.ceil(ef_search / alive.mean())), sel=selector
            )
        else:
            params = faiss_parts.graph_parameters(ef_search)
        found = faiss_parts.search(self._graph, queries, n, params)[1]
        return self._find_copies_among(queries, found, k)

    def _payloads(self):
        graph = {"graph": ("faiss", require("faiss").serialize_index(self._graph))}
        return graph | (
            {"vectors": self._vectors, "copies": self._copies.of} if self._copies.any else {}
        )

    def _restore(self, state, paths, *, mmap=False):
        faiss = require("faiss")
        graph = faiss_parts.read(paths["graph"], mmap)
        kind = faiss.METRIC_INNER_PRODUCT if self.metric == "cosine" else faiss.METRIC_L2
        self._copies = Copies.load(paths.get("copies"), len(self._keys))
        found = (type(graph), graph.ntotal, graph.d, graph.metric_type)
        wanted = (faiss.IndexHNSWFlat, len(self._copies.heads), self.n_features_in_, kind)
        if found != wanted or bool(self._parts) != self._copies.any:
            raise ValueError("graph and keys do not agree")
        self._use(graph, mapped=mmap)
