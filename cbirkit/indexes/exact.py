"""Search that looks at all items: among float vectors, packed bits and sparse vectors."""

import numpy as np
import scipy.sparse as sp
from sklearn.preprocessing import normalize

from cbirkit._optional import require

from .base import BaseIndex, checked_rows, lines_of, nearest_first

# unit roundoff of float32; rows whose least score is taken; scores computed at a time
_UNIT, _GROUP, _N_SCORES = 2.0**-24, 32, 2**21


class Exhaustive(BaseIndex):
    """Look at all items in blocks: scores rule rows out, distances of what is left decide.

    ``_scores(queries, start, stop)`` of a subclass gives scores (m, width), float32, that order rows as distances do, and
    by how much they may be wrong, twice.
    """

    _queries_at_once, _width = 256, 8192  # the least number of rows scored at a time

    def _find(self, queries, k):
        m = queries.shape[0]
        width = max(self._width, _N_SCORES // max(1, m))
        limit, parts = np.full(m, np.inf, np.float32), []
        for start in range(0, len(self._keys), width):
            scores, slack = self._scores(queries, start, start + width)
            limit = np.minimum(limit, _bound(scores, k) + slack)
            # faster than nonzero of two dimensions
            near = np.flatnonzero(scores <= limit[:, None])
            which, columns = np.divmod(near, scores.shape[1])
            parts.append((which, columns + start, scores.ravel()[near]))
        which, rows, scores = map(np.concatenate, zip(*parts, strict=True))
        order = np.argsort(which, kind="stable")
        which, rows = which[order], rows[order]
        far = self._distances(queries, which, rows, scores[order])
        found = lines_of(which, far, m, np.inf, k), lines_of(which, rows, m, -1, k)
        distances, rows = nearest_first(*found, k)
        return distances, self._keys[rows]

    def _distances(self, queries, which, rows, scores):
        """Distances (n,), float32, of candidates: number of the query, row, score."""
        return scores


def _bound(scores, k):
    """A number (m,) that the k-th smallest of each line does not exceed, near to it."""
    n_groups = scores.shape[1] // _GROUP
    if n_groups >= 2 * k:  # the k-th smallest of the minima of groups
        grouped = scores[:, : _GROUP * n_groups].reshape(len(scores), _GROUP, n_groups)
        scores = grouped.min(axis=1)
    if k > scores.shape[1]:
        return np.float32(np.inf)
    return np.partition(scores, k - 1, axis=1)[:, k - 1]


class Exact(Exhaustive):
    """Compare every query with every item: always right, slower in proportion to the number of items.

    A matrix product in float32 rules out rows in blocks, with room for its largest rounding error; distances of what
    is left are taken from differences in float64, so that nothing is lost to cancellation and a vector is at
    distance 0 from its copy. Items at equal (float32) distances come in the order of their keys.

    Parameters
    ----------
    metric : {"cosine", "euclidean"}
        Cosine: 1 - cos, in [0, 2]; 1 from and to a vector of zeros, itself included. Euclidean: not squared.

    Examples
    --------
    >>> import numpy as np
    >>> index = Exact("euclidean").fit(np.array([[0.0], [1.0], [5.0]]))
    >>> index.add([[6.0]])
    array([3])
    >>> distances, keys = index.remove(2).kneighbors([[5.0]], n_neighbors=2)
    >>> distances.tolist(), keys.tolist()
    ([[1.0, 4.0]], [[3, 1]])
    """

    def __init__(self, metric="cosine"):
        self.metric = metric

    def _build(self, X):
        self._vectors, self._longest = X, np.float32(1)
        if self.metric == "euclidean":
            self._half = np.einsum("ij,ij->i", X, X) / 2
            self._longest = np.sqrt(2 * self._half.max())

    def _scores(self, queries, start, stop):
        X = self._vectors[start:stop]
        # |q - v|^2 / 2 without |q|^2 / 2; of vectors of length 1, -q.v. einsum is sooner for one query
        scores = np.einsum("ij,j->i", X, -queries[0])[None] if len(queries) == 1 else -queries @ X.T
        if self.metric == "euclidean":
            scores += self._half[start:stop]
        lengths = np.linalg.norm(queries, axis=1)
        error = (X.shape[1] + 16) * _UNIT * (lengths + self._longest) ** 2 / 2
        return scores, (2.02 * error).astype(np.float32)

    def _distances(self, queries, which, rows, scores):
        out = np.empty(len(rows), np.float32)
        step = max(1, 2**17 // queries.shape[1])  # 1 MiB of float64
        for start in range(0, len(rows), step):
            some = slice(start, start + step)
            found, asked = self._vectors[rows[some]].astype(np.float64), queries[which[some]]
            gap = found - asked
            squares = np.einsum("ij,ij->i", gap, gap)
            if self.metric == "euclidean":
                out[some] = np.sqrt(squares)
            else:  # |u - v|^2 = 2 (1 - cos) for vectors of length 1
                both = found.any(axis=1) & asked.any(axis=1)
                out[some] = np.where(both, np.minimum(squares / 2, 2), 1)
        return out


class Hamming(BaseIndex):
    """Compare packed bits by the number of bits that differ, with every item.

    Distances tie often; items at equal distances come in the order of their keys, which is as good as any other
    order: score such rankings with `cbirkit.metrics.expected_average_precision`.

    Examples
    --------
    >>> import numpy as np
    >>> embeddings = np.array([[0.3, -1.0, 0.2], [-0.1, 0.5, 0.9], [0.2, -0.4, -0.7]])
    >>> codes = np.packbits(embeddings > 0, axis=1)  # (3, 1) uint8
    >>> distances, keys = Hamming().fit(codes).kneighbors(n_neighbors=1)
    >>> distances.ravel().tolist(), keys.ravel().tolist()
    ([1.0, 2.0, 1.0], [2, 0, 0])
    """

    _dtype = np.dtype(np.uint8)

    def _prepared(self, X, n_dims=None):
        X = checked_rows(X, n_dims)
        if X.dtype != np.uint8:
            raise TypeError(f"X must be packed bits, uint8, got {X.dtype}; see np.packbits")
        return np.array(X, order="C")

    def _find(self, queries, k):
        distances, rows = require("faiss").knn_hamming(queries, self._vectors, k)
        return distances.astype(np.float32), self._keys[rows]


class InvertedFile(Exhaustive):
    """Exact cosine search among sparse vectors: only images that share a word with the query are scored.

    The database is kept as a SciPy matrix by columns, which is an inverted file: for each word (column), the images
    that hold it and their weights. A search is the product of sparse matrices; its cost is the number of (query word,
    image that holds it) pairs. Items that share no word with the query are at distance 1, in the order of their keys.

    Attributes
    ----------
    n_postings_ : int
        Entries of the inverted file: (word, image) pairs with a weight, of removed items too.

    Notes
    -----
    `fit`, `add` and `kneighbors` take SciPy sparse matrices or arrays (dense ones are converted), real numbers of
    any sign. Distances are ``1 - cos`` in float32, so an exact copy may be at 1e-7 instead of 0. Each item takes
    8 bytes for each word that it holds, once by rows and once by words.

    References
    ----------
    Sivic and Zisserman, "Video Google: a text retrieval approach to object matching in videos", ICCV 2003,
    doi:10.1109/ICCV.2003.1238663.

    Examples
    --------
    >>> words = sp.csr_matrix([[3.0, 4.0, 0.0], [0.0, 0.0, 2.0]])
    >>> distances, keys = InvertedFile().fit(words).kneighbors(sp.csr_matrix([[0.0, 1.0, 0.0]]), n_neighbors=2)
    >>> distances.round(3).tolist(), keys.tolist()
    ([[0.20000000298023224, 1.0]], [[0, 1]])
    """

    _kept = ("_keys", "_next_key", "n_features_in_", "n_indexed_", "_arrays")

    def _prepared(self, X, n_dims=None):
        X = sp.csr_matrix(checked_rows(X, n_dims), dtype=np.float32, copy=True)
        X.sum_duplicates()
        X.eliminate_zeros()
        return normalize(X, copy=False)

    def _build(self, X):
        # the images that hold each word, (n_words, n)
        self._vectors, self._postings, self.n_postings_ = X, X.T.tocsr(), X.nnz
        self._arrays = X.data, X.indices, X.indptr
        self._width, self._queries_at_once = X.shape[0], max(1, _N_SCORES // X.shape[0])

    def _insert(self, X, keys):
        self._build(sp.vstack([self._vectors, X], format="csr"))

    def _restore(self, state):
        X = sp.csr_matrix(state["_arrays"], shape=(self.n_indexed_, self.n_features_in_))
        X.check_format(full_check=True)
        self._build(X)

    def _scores(self, queries, start, stop):
        scores = (queries @ self._postings).toarray()
        return np.maximum(1 - scores, 0), np.float32(0)
