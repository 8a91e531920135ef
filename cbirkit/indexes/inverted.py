"""Search among sparse vectors, such as tf-idf weighted visual words: the inverted file as a sparse matrix product."""

import numpy as np
import scipy.sparse as sp

from cbirkit._manifest import read_array
from cbirkit.indexes.base import BaseIndex
from cbirkit.indexes.exhaustive import BLOCK_BYTES
from cbirkit.indexes.validation import check_array, check_count, check_shape


class _Rows:
    """Rows of a CSR matrix that answer to ``len``, as the rows of an array do."""

    def __init__(self, matrix):
        self.matrix, self.shape = matrix, matrix.shape

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        return _Rows(self.matrix[rows])


class InvertedFile(BaseIndex):
    """Exact cosine search among sparse vectors: only images that share a word with the query are scored.

    The database is kept as a SciPy CSC matrix, which is an inverted file: for each word (column), the images that
    hold it and their weights. A search is the product of sparse matrices; its cost is the number of (query word,
    image that holds it) pairs. Items that share no word with the query are at distance 1, in the order of their keys.

    Parameters
    ----------
    block_bytes : int
        About how much memory the scores of a search may take.

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

    metric = "cosine"

    def __init__(self, *, block_bytes=BLOCK_BYTES):
        self.block_bytes = block_bytes

    @property
    def n_postings_(self):
        """Entries of the inverted file: (word, image) pairs with a weight, of removed items too."""
        return int(self._vectors.matrix.nnz)

    def _check_params(self):
        check_count("block_bytes", self.block_bytes)

    def _check_rows(self, X, n_dims):
        if not sp.issparse(X):
            X = sp.csr_matrix(check_array(X, n_dims))
        matrix = sp.csr_matrix(X, dtype=np.float32, copy=True)
        check_shape(np.broadcast_to(np.float32(0), matrix.shape), n_dims)
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        bad = ~np.isfinite(matrix.data)
        if bad.any():
            row = np.searchsorted(matrix.indptr, np.flatnonzero(bad)[0], side="right") - 1
            raise ValueError(
                f"row {row} of X holds NaN or infinity; leave that image out or mend its encoder"
            )
        lengths = np.sqrt(
            np.asarray(matrix.astype(np.float64).multiply(matrix).sum(axis=1)).ravel()
        )
        matrix.data /= np.repeat(np.where(lengths > 0, lengths, 1), np.diff(matrix.indptr)).astype(
            np.float32
        )
        return _Rows(matrix)

    def _check_queries(self, X):
        return self._check_rows(X, self.n_features_in_)

    @property
    def _vectors(self):
        if len(self._parts) > 1:
            self._parts = [_Rows(sp.vstack([part.matrix for part in self._parts], format="csr"))]
        return self._parts[0]

    def _stored(self):
        return self._vectors.matrix.T.tocsr()  # (n_words, n_rows): the postings of each word

    def _find(self, queries, k):
        step = max(1, self.block_bytes // (8 * self._rows.shape[1]))
        distances, rows = (
            np.empty((len(queries), k), np.float32),
            np.empty((len(queries), k), np.int64),
        )
        for start in range(0, len(queries), step):
            scores = (queries[start : start + step].matrix @ self._rows).toarray()  # (step, n_rows)
            for line, far in enumerate(np.maximum(1 - scores, 0), start=start):
                far[~self._alive] = np.inf
                near = np.flatnonzero(
                    far <= np.partition(far, k - 1)[k - 1]
                )  # with all ties of the k-th
                near = near[np.argsort(far[near], kind="stable")[:k]]
                distances[line], rows[line] = far[near], near
        return distances, rows

    def _rows_as_queries(self, rows):
        return self._vectors[rows]

    def _payloads(self):
        matrix = self._vectors.matrix
        return {
            "weights": matrix.data,
            "words": matrix.indices.astype(np.int64),
            "starts": matrix.indptr.astype(np.int64),
        }

    def _restore(self, state, paths, *, mmap=False):
        weights, words, starts = (
            read_array(paths[name]) for name in ("weights", "words", "starts")
        )
        matrix = sp.csr_matrix((weights, words, starts), shape=(state["n_rows"], state["n_dims"]))
        matrix.check_format(full_check=True)
        if weights.dtype != np.float32 or not np.isfinite(weights).all():
            raise ValueError("the weights are not finite float32 numbers")
        self._parts, self._rows = [_Rows(matrix)], None
