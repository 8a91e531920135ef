"""Random projection trees, from Annoy."""

import logging
import os
from pathlib import Path

import numpy as np
from sklearn.utils import check_random_state

from cbirkit._optional import require
from cbirkit.indexes.base import MAX_DEAD, BaseIndex
from cbirkit.indexes.copies import Copies, find_copies
from cbirkit.indexes.distances import DenseRows
from cbirkit.indexes.exhaustive import nearest
from cbirkit.indexes.validation import check_count

logger = logging.getLogger(__name__)

_MAX_TAIL = 0.1  # share of items added since the trees were built above which they are built anew
_SMALL_TAIL = 1000


class Annoy(BaseIndex):
    """Trees of random splits, searched together.

    Trees cannot change once they are built. Vectors are kept beside them: items added since are searched
    exhaustively and removed ones passed over, until they are more than 10 % (and 1,000) or 30 %; then the trees are
    built anew at the next search, which takes as long as `fit`. A query for which fewer than k items are found is
    answered exhaustively. Of 8 or more (nearly) equal items, and of a tight cluster of 32 or more, only one is in the
    trees and stands for all. A saved or loaded index reads its trees from the file in the folder as it needs them (on
    Windows, that folder cannot be replaced while it is loaded, and the trees are built anew after `save`).

    Parameters
    ----------
    metric : {"cosine", "euclidean"}
    n_trees : int
        More find more and take more memory and time to build.
    search_k : int
        Items looked at in a search; -1: `n_trees` times the neighbours asked for. What suits 100,000 items is too few
        for 1,000,000.
    n_jobs : int
        Threads that build (-1: all cores). With more than one, two builds may differ a little.
    random_state : int, RandomState or None
        Of the splits.

    References
    ----------
    Bernhardsson, "Annoy: approximate nearest neighbors in C++/Python", https://github.com/spotify/annoy.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(100, 8))
    >>> Annoy().fit(X).kneighbors(X[:1], n_neighbors=1)[1]  # doctest: +SKIP
    array([[0]])
    """

    def __init__(self, metric="cosine", *, n_trees=50, search_k=-1, n_jobs=1, random_state=0):
        self.metric = metric
        self.n_trees = n_trees
        self.search_k = search_k
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _check_params(self):
        super()._check_params()
        require("annoy")
        check_count("n_trees", self.n_trees)
        if self.search_k != -1:
            check_count("search_k", self.search_k)
        if self.n_jobs != -1:
            check_count("n_jobs", self.n_jobs)

    def _new_trees(self):
        kind = "angular" if self.metric == "cosine" else "euclidean"
        return require("annoy").AnnoyIndex(self.n_features_in_, kind)

    def _build(self):
        trees = self._new_trees()
        trees.set_seed(int(check_random_state(self.random_state).randint(1, 2**31 - 1)))
        self._copies = Copies(find_copies(self._vectors))
        for item, row in enumerate(self._copies.heads):
            trees.add_item(item, self._vectors[row])
        trees.build(int(self.n_trees), n_jobs=int(self.n_jobs))
        self._trees, self._n_in_trees = trees, len(self._vectors)

    def _insert(self, X, keys):
        self._parts.append(X)

    def _forget(self, rows):
        pass

    def _refresh(self, compact=False):
        tail = len(self._keys) - self._n_in_trees
        dead = self._dead_share()
        stale = tail > max(_SMALL_TAIL, _MAX_TAIL * self._n_in_trees) or dead > (
            0 if compact else MAX_DEAD
        )
        if (stale or self._trees is None) and self.n_indexed_:
            logger.info(
                "building the trees anew: %d items added, %.0f %% removed", tail, 100 * dead
            )
            self._compact()
            self._build()

    def _find(self, queries, k):
        n_items = self._trees.get_n_items()
        n_alive = np.count_nonzero(self._copies.alive(self._alive[: self._n_in_trees]))
        spare = 0 if n_alive == n_items else 8
        n = min(n_items, -(-self._copies.wanted(k) * n_items // max(1, n_alive)) + spare)
        candidates = np.full((len(queries), n), -1, np.int64)
        for i, query in enumerate(queries):
            found = self._trees.get_nns_by_vector(query, n, int(self.search_k))
            candidates[i, : len(found)] = found
        newest = [self._newest(queries, k)] if len(self._keys) > self._n_in_trees else []
        return self._find_copies_among(queries, candidates, k, *newest)

    def _newest(self, queries, k):
        """Return the k nearest (or all) of the items added since the trees were built, as rows."""
        alive = self._alive[self._n_in_trees :]
        k = min(k, np.count_nonzero(alive))
        if not k:
            return np.empty((len(queries), 0), np.int64)
        newest = DenseRows(self._vectors[self._n_in_trees :], self.metric, alive)
        return nearest(newest, queries, k)[1] + self._n_in_trees

    def save(self, folder):
        super().save(folder)
        # Windows renames no folder with a mapped file, as saving a retriever around this index does: there the next
        # search builds the trees anew, and an index that another object has loaded cannot be replaced meanwhile.
        if os.name != "nt":
            self._trees = self._map(Path(folder) / "trees.ann")

    save.__doc__ = BaseIndex.save.__doc__

    def _state(self):
        return {"n_in_trees": self._n_in_trees}

    def _payloads(self):
        copies = {"copies": self._copies.of} if self._copies.any else {}
        return {"vectors": self._vectors, "trees": ("ann", self._write_trees), **copies}

    def _write_trees(self, path):
        try:
            self._trees.save(path)  # maps the written file
        except Exception as error:  # Annoy's own errors carry no number
            raise OSError(
                getattr(error, "errno", None), f"Annoy could not write its trees ({error})"
            ) from error
        self._trees.unload()  # Windows renames no mapped file
        self._trees = None

    def _map(self, path):
        trees = self._new_trees()
        trees.load(str(path))
        if trees.get_n_items() != len(self._copies.heads):
            raise ValueError("trees and keys do not agree")
        return trees

    def _restore(self, state, paths, *, mmap=False):
        super()._restore(state, paths)
        self._n_in_trees = state["n_in_trees"]
        if not 0 <= self._n_in_trees <= len(self._keys):
            raise ValueError("trees and keys do not agree")
        self._copies = Copies.load(paths.get("copies"), self._n_in_trees)
        self._trees = self._map(paths["trees"])
