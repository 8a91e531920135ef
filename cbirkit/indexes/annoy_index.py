"""Random projection trees, from Annoy."""

import tempfile

import numpy as np
from sklearn.utils import check_random_state

from cbirkit._optional import require

from .approximate import Folded


class Annoy(Folded):
    """Trees of random splits, searched together.

    Trees cannot change once they are built. Vectors are kept beside them: items added since are searched
    exhaustively and removed ones passed over, until they are more than 10 % (and 1,000) or 30 %; then the trees are
    built anew at the next search, which takes as long as `fit`. A query for which fewer than k items are found is
    answered exhaustively. Where 8 or more items are (nearly) equal, only one of them is in the trees and stands for
    all. A loaded index reads its trees from a temporary file as it needs them.

    Within one round cluster trees tell little: among 1,500 items in 64 dimensions the default finds 7 of the 10 nearest,
    ``search_k=2000`` all but 0.2; so does the library called by itself. Cosine distances of approximate indexes are taken
    from inner products in float32: in clusters where they are below about 1e-6, their order is chance.

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
        self.metric, self.random_state = metric, random_state
        self.n_trees, self.search_k, self.n_jobs = n_trees, search_k, n_jobs

    def _new_trees(self):
        kind = "angular" if self.metric == "cosine" else "euclidean"
        return require("annoy").AnnoyIndex(self.n_features_in_, kind)

    def _build_for(self, X):
        trees = self._structure = self._new_trees()
        self._file = None
        trees.set_seed(int(check_random_state(self.random_state).randint(1, 2**31 - 1)))
        for item, row in enumerate(X):
            trees.add_item(item, row)
        trees.build(int(self.n_trees), n_jobs=int(self.n_jobs))

    def _is_stale(self):
        return len(self._keys) - len(self._of) > max(1000, len(self._of) // 10)

    def _look(self, queries, k):
        n_in_trees, n = len(self._of), self._wanted(k)
        found = np.full((len(queries), n), -1, np.int64)
        for i, query in enumerate(queries.tolist()):  # sooner than rows of an array
            items = self._structure.get_nns_by_vector(query, n, int(self.search_k))
            found[i, : len(items)] = items
        rows = self._expand(found, k) if self._has_copies else found
        if self._alive[n_in_trees:].any():
            late = n_in_trees + np.flatnonzero(self._alive[n_in_trees:])
            newest = self._vectors[late], min(k, len(late)), self._kind()
            rows = np.hstack([rows, late[require("faiss").knn(queries, *newest)[1]]])
        return self._among(queries, rows, k)

    def _map(self, *steps):
        """Take these steps with the name of a file, and map what it then holds; that is shared with Annoy, which maps it, too."""
        # Windows keeps a file that is mapped, until it tidies up
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            for step in steps:
                step(f"{folder}/trees.ann")
            self._file = np.memmap(f"{folder}/trees.ann", np.uint8, "r")

    def _as_bytes(self):
        if self._file is None:
            self._map(self._structure.save)
        return self._file

    def _parse(self, structure):
        self._structure = self._new_trees()
        self._map(structure.tofile, self._structure.load)
