"""Search that looks at all items: among float vectors, packed bits and sparse vectors."""

import numpy as np
import scipy.sparse as sp

from .base import BaseIndex, check_rows, check_shape, lengths_of, lines_of, nearest_first

_UNIT = 2.0**-24  # unit roundoff of float32
_GROUP = 32


class Exhaustive(BaseIndex):
    """Look at all items in blocks: scores rule rows out, distances of what is left decide.

    ``_scores(queries, start, stop)`` of a subclass gives scores (m, width), float32, that order rows as distances do, and
    by how much they may be wrong, twice.
    """

    _width = 8192  # rows scored at a time, at least
    _n_scores = 2**21  # computed at a time

    def _restore(self, state):
        super()._restore(state)
        self._build(self._vectors)

    def _find(self, queries, k):
        m, n = queries.shape[0], len(self._keys)
        distances, rows = np.empty((m, k), np.float32), np.empty((m, k), np.int64)
        width = min(n, max(self._width, self._n_scores // max(m, 1)))
        height = max(1, self._n_scores // width)
        for start in range(0, m, height):
            some = queries[start : start + height]
            which, found, scores = self._candidates(some, k, width)
            far = self._distances(some, which, found, scores)
            table = lines_of(which, far, some.shape[0], np.inf)
            near = nearest_first(table, lines_of(which, found, some.shape[0], -1), k)
            distances[start : start + height], rows[start : start + height] = near
        return distances, self._keys[rows]

    def _candidates(self, queries, k, width):
        """What may be among the k nearest: query (ascending), row and score of each, ties of the k-th included."""
        limit, parts = np.full(queries.shape[0], np.inf, np.float32), []
        for start in range(0, len(self._keys), width):
            scores, slack = self._scores(queries, start, start + width)
            limit = np.minimum(limit, _bound(scores, k) + slack)
            # faster than nonzero of two dimensions
            near = np.flatnonzero(scores <= limit[:, None])
            which, columns = np.divmod(near, scores.shape[1])
            parts.append((which, columns + start, scores.ravel()[near]))
        if len(parts) == 1:
            return parts[0]
        which, rows, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.argsort(which, kind="stable")
        return which[order], rows[order], scores[order]

    def _distances(self, queries, which, rows, scores):
        """Distances (n,), float32, of candidates."""
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

    @classmethod
    def over(cls, X, keys, metric):
        """An index of prepared rows X (n, n_dims) under these keys (n,)."""
        index = cls(metric)
        index._keys = keys
        index._build(X)
        return index

    def _build(self, X):
        self._vectors, self._centre = X, None

    def _look_at_all(self):
        # |q - v|^2 = |q-c|^2 + |v-c|^2 - 2 (q-c).(v-c): around the mean c, far less is cancelled than around 0
        X, self._zero = self._vectors, ~self._vectors.any(axis=1)
        centre, half = np.zeros(X.shape[1]), np.zeros(len(X), np.float32)
        if self.metric == "euclidean":
            centre = X.mean(axis=0, dtype=np.float64)
            for start in range(0, len(X), 8192):
                gap = X[start : start + 8192] - centre
                half[start : start + 8192] = np.einsum("ij,ij->i", gap, gap) / 2
        longest = np.einsum("ij,ij->i", X, X, dtype=np.float64).max()
        # largest distance from the centre and from 0
        self._half, self._reach = half, (np.sqrt(2.0 * half.max()), np.sqrt(longest))
        self._centre = centre  # last: another thread may be waiting for it

    def _scores(self, queries, start, stop):
        if self._centre is None:
            self._look_at_all()
        X, gap = self._vectors[start:stop], self._centre - queries  # (m, n_dims)
        # the score is -q.v, or (|q - v|^2 - |q-c|^2) / 2 - (q-c).c; einsum is sooner for one query
        gaps = gap.astype(np.float32)
        scores = np.einsum("ij,j->i", X, gaps[0])[None] if len(gap) == 1 else gaps @ X.T
        # of float32 products of vectors of length 1, twice
        error = 2.02 * (X.shape[1] + 16) * _UNIT
        if self.metric == "cosine":
            return scores, np.float32(error)
        scores += self._half[start:stop]
        length, (radius, longest) = np.sqrt(np.einsum("ij,ij->i", gap, gap)), self._reach
        room = (length + radius) ** 2 + 2 * length * (longest + np.linalg.norm(self._centre))
        return scores, (error * room / 2).astype(np.float32)

    def _distances(self, queries, which, rows, scores):
        out = np.empty(len(rows), np.float32)
        step = max(1, 2**17 // queries.shape[1])  # 1 MiB of float64
        for start in range(0, len(rows), step):
            some = slice(start, start + step)
            gap = self._vectors.take(rows[some], axis=0).astype(np.float64)
            gap -= queries.take(which[some], axis=0)
            squared = np.einsum("ij,ij->i", gap, gap)
            # |u - v|^2 = 2 (1 - cos) for vectors of length 1
            out[some] = np.sqrt(squared) if self.metric == "euclidean" else squared / 2
        if self.metric == "euclidean":
            return out
        zero = self._zero[rows] | ~queries.any(axis=1)[which]
        return np.where(zero, np.float32(1), np.minimum(out, 2))


class Hamming(Exhaustive):
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

    _dtype, _n_scores = np.dtype(np.uint8), 2**19

    def _prepared(self, X, n_dims=None):
        X = check_shape(X, n_dims)
        if X.dtype != np.uint8:
            raise TypeError(f"X must be packed bits, uint8, got {X.dtype}; see np.packbits")
        return np.array(X, order="C")

    def _build(self, X):
        self._vectors, self._words = X, _words(X)

    def _scores(self, queries, start, stop):
        scores = np.uint16(0) if len(self._words) < 1024 else np.uint32(0)
        for query, stored in zip(_words(queries), self._words, strict=True):
            scores = scores + np.bitwise_count(query[:, None] ^ stored[start:stop])
        return scores.astype(np.float32), np.float32(0)


def _words(codes):
    """The same bits as words, (n_words, n) uint64; zeros fill up."""
    n, n_bytes = codes.shape
    padded = np.zeros((n, -(-n_bytes // 8) * 8), np.uint8)
    padded[:, :n_bytes] = codes
    return np.ascontiguousarray(padded.view(np.uint64).T)


class InvertedFile(Exhaustive):
    """Exact cosine search among sparse vectors: only images that share a word with the query are scored.

    The database is kept as a SciPy matrix by columns, which is an inverted file: for each word (column), the images
    that hold it and their weights. A search is the product of sparse matrices; its cost is the number of (query word,
    image that holds it) pairs. Items that share no word with the query are at distance 1, in the order of their keys.

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

    @property
    def n_postings_(self):
        """Entries of the inverted file: (word, image) pairs with a weight, of removed items too."""
        return int(self._vectors.nnz)

    def _prepared(self, X, n_dims=None):
        X = sp.csr_matrix(X if sp.issparse(X) else check_rows(X), dtype=np.float32, copy=True)
        check_shape(np.broadcast_to(np.float32(0), X.shape), n_dims)
        X.sum_duplicates()
        X.eliminate_zeros()
        lengths = lengths_of(np.asarray(X.multiply(X).sum(axis=1, dtype=np.float64)).ravel())
        X.data /= np.repeat(lengths, np.diff(X.indptr)).astype(np.float32)
        return X

    def _build(self, X):
        # the images that hold each word, (n_words, n)
        self._vectors, self._postings = X, X.T.tocsr()
        self._width = X.shape[0]

    def _insert(self, X, keys):
        self._build(sp.vstack([self._vectors, X], format="csr"))

    def _state(self):
        return {"vectors": (self._vectors.data, self._vectors.indices, self._vectors.indptr)}

    def _restore(self, state):
        X = sp.csr_matrix(state["vectors"], shape=(len(self._keys), self.n_features_in_))
        X.check_format(full_check=True)
        if X.dtype != np.float32 or not np.isfinite(X.data).all():
            raise ValueError("the weights are not finite float32 numbers")
        self._build(X)

    def _scores(self, queries, start, stop):
        scores = (queries @ self._postings).toarray()
        return np.maximum(1 - scores, 0), np.float32(0)
