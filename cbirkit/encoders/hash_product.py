"""Product quantisation: one byte, or half a byte, for each piece of an embedding."""

import logging

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from .._optional import require
from .base import check_count
from .hash_base import check_codes, check_dims

log = logging.getLogger(__name__)

_ENOUGH = 39  # embeddings per centroid that faiss asks for
_BLOCK = 1 << 16  # codes compared at a time


class ProductQuantiser(TransformerMixin, BaseEstimator):
    """Cut embeddings into pieces, and replace each piece by the number of the nearest of 256 (or 16) centroids.

    The codes are numbers, not bits: the Hamming distance means nothing for them. Compare them by `distances`, with
    queries as they are; for a search in lists, `cbirkit.indexes.IVFPQ` does the same inside. Quantisation keeps
    Euclidean distances: bring embeddings that are compared by the cosine to length 1 first.

    Parameters
    ----------
    n_codes : int
        Pieces. Dimensions that it does not divide are filled up with zeros.
    n_bits : {8, 4}
        Of a piece: 256 centroids and a byte each, or 16 centroids and two pieces per byte, the first in the low half.
    random_state : int, RandomState or None
        Of the k-means (faiss).

    Attributes
    ----------
    centroids_ : ndarray (n_codes, 2**n_bits, n_features / n_codes rounded up), float32
    n_features_in_ : int

    Notes
    -----
    A warning is logged where there are fewer than 39 embeddings per centroid: centroids then repeat the embeddings that
    they were learned from. Fewer embeddings than centroids are repeated for the fit.

    References
    ----------
    Jégou, Douze and Schmid, "Product quantization for nearest neighbor search", TPAMI 33(1), 2011,
    doi:10.1109/TPAMI.2010.57.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    >>> quantiser = ProductQuantiser(4).fit(X)
    >>> codes = quantiser.transform(X)
    >>> codes.shape, codes.dtype.name, quantiser.distances(X[:2], codes).shape
    ((300, 4), 'uint8', (2, 300))
    """

    _on_vectors = True  # a step that needs no images: see `cbirkit.store.split_pipeline`

    def __init__(self, n_codes=8, *, n_bits=8, random_state=0):
        self.n_codes = n_codes
        self.n_bits = n_bits
        self.random_state = random_state

    def fit(self, X, y=None):
        """Learn the centroids from embeddings (n_images, n_features).

        Raises
        ------
        ValueError
            `n_codes` exceeds the dimensions, `n_bits` is neither 8 nor 4, or the embeddings are not finite.
        """
        check_count("n_codes", self.n_codes)
        if self.n_bits not in (4, 8):
            raise ValueError(f"n_bits={self.n_bits!r} is not known; use 8 or 4")
        X = check_array(X, dtype=np.float32)
        if self.n_codes > X.shape[1]:
            raise ValueError(
                f"n_codes={self.n_codes} exceeds the {X.shape[1]} dimensions; use n_codes <= {X.shape[1]}"
            )
        faiss = require("faiss")
        filled, n_centroids = self._filled(X), 2**self.n_bits
        quantiser = faiss.ProductQuantizer(filled.shape[1], int(self.n_codes), self.n_bits)
        quantiser.cp.seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        if len(X) < _ENOUGH * n_centroids:
            log.warning(
                "%d embeddings for %d centroids; give %d or more, or fewer centroids (n_bits=4)",
                len(X), n_centroids, _ENOUGH * n_centroids,
            )  # fmt: skip
        quantiser.cp.min_points_per_centroid = (
            1  # it was said; faiss would say it again for each piece
        )
        repeats = -(-n_centroids // len(X))
        quantiser.train(filled if repeats == 1 else np.tile(filled, (repeats, 1))[:n_centroids])
        centroids = faiss.vector_to_array(quantiser.centroids)
        self.centroids_ = centroids.reshape(self.n_codes, n_centroids, -1).astype(np.float32)
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        """Quantise embeddings (n_images, n_features): uint8 (n_images, n_codes * n_bits / 8 rounded up).

        Raises
        ------
        ValueError
            The embeddings have another number of dimensions than those of the fit, or hold NaN.
        """
        faiss = require("faiss")
        filled = self._filled(self._checked(X))
        quantiser = faiss.ProductQuantizer(filled.shape[1], int(self.n_codes), self.n_bits)
        faiss.copy_array_to_vector(self.centroids_.ravel(), quantiser.centroids)
        return quantiser.compute_codes(filled)

    def decode(self, codes):
        """The embeddings that codes (n, n_bytes) stand for: float32 (n, n_features)."""
        check_is_fitted(self)
        numbers = self._numbers(codes)
        pieces = self.centroids_[
            np.arange(self.n_codes), numbers
        ]  # (n, n_codes, n_dims of a piece)
        return pieces.reshape(len(codes), -1)[:, : self.n_features_in_]

    def distances(self, X, codes):
        """Euclidean distances of queries as they are to quantised embeddings.

        For each query, the squared distances of its pieces to all centroids make a table; a distance is the root of a
        sum of `n_codes` entries.

        Parameters
        ----------
        X : array-like (n_queries, n_features)
            Embeddings, not codes.
        codes : array-like (n_codes_stored, n_bytes), uint8
            What `transform` gave of the database.

        Returns
        -------
        ndarray (n_queries, n_codes_stored), float32

        Raises
        ------
        TypeError, ValueError
            Codes of another type or width; X as in `transform`.
        """
        filled = self._filled(self._checked(X))
        codes = self._numbers(codes)
        out = np.zeros((len(filled), len(codes)), np.float32)
        pieces = filled.reshape(len(filled), self.n_codes, -1)
        for number, centroids in enumerate(self.centroids_):
            gaps = (
                pieces[:, number, None] - centroids
            )  # (n_queries, n_centroids, n_dims of a piece)
            table = np.square(gaps).sum(axis=2)  # (n_queries, n_centroids)
            for start in range(0, len(codes), _BLOCK):
                out[:, start : start + _BLOCK] += table[:, codes[start : start + _BLOCK, number]]
        return np.sqrt(out, out=out)

    def _checked(self, X):
        check_is_fitted(self)
        X = check_array(X, dtype=np.float32)
        check_dims(X, self.n_features_in_)
        return X

    def _numbers(self, codes):
        """Unpack codes (n, n_bytes) to the numbers of centroids, (n, n_codes)."""
        codes = check_codes(codes, -(-self.n_codes * self.n_bits // 8))
        if self.n_bits == 8:
            return codes
        halves = np.stack([codes & 15, codes >> 4], axis=2)  # (n, n_bytes, 2)
        return halves.reshape(len(codes), -1)[:, : self.n_codes]

    def _filled(self, X):
        """Fill dimensions up with zeros to what the pieces divide."""
        return np.ascontiguousarray(np.pad(X, ((0, 0), (0, -X.shape[1] % self.n_codes))))
