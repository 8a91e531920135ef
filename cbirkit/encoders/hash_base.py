"""What binary hashes share: packed signs of real numbers, and the asymmetric distance."""

import numbers

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

_BLOCK = 1 << 16  # codes unpacked at a time


class BinaryHash(TransformerMixin, BaseEstimator):
    """Base of the transformers from embeddings to packed bits, for `cbirkit.indexes.Hamming`.

    A class has ``_project(X)``: float32 (n_images, n_bits), of which bit k is 1 where number k is positive.
    ``mean_`` (n_features,) is what it was fitted around.
    """

    _on_vectors = True  # a step that needs no images: see `cbirkit.store.split_pipeline`

    def project(self, X):
        """The real numbers whose signs are the bits.

        Parameters
        ----------
        X : array-like (n_images, n_features)

        Returns
        -------
        ndarray (n_images, n_bits), float32

        Raises
        ------
        ValueError
            The embeddings have another number of dimensions than those of the fit, or hold NaN.
        """
        check_is_fitted(self)
        X = check_array(X, dtype=np.float32)
        check_dims(X, self.n_features_in_)
        return self._project(X)

    def transform(self, X):
        """Hash embeddings (n_images, n_features) to packed bits, uint8 (n_images, n_bits / 8).

        Bit k of an image stands in byte k // 8, the first in the most significant place: ``np.unpackbits(codes,
        axis=1)`` gives the bits in their order. Raises as `project`.
        """
        return np.packbits(self.project(X) > 0, axis=1)

    def distances(self, X, codes):
        r"""Asymmetric distances: the queries keep their real numbers, only the database is binary.

        .. math:: d(q, b) = \sum_{k:\; b_k \ne [z_k(q) > 0]} |z_k(q)|

        A bit that differs costs as much as the query is sure of it; if all \|z\| were 1, d would be the Hamming
        distance. Of one query, distances differ from :math:`-\langle z(q), 2b - 1\rangle / 2` by a constant.

        Parameters
        ----------
        X : array-like (n_queries, n_features)
            Embeddings, not codes.
        codes : array-like (n_codes, n_bits / 8), uint8
            What `transform` gave of the database.

        Returns
        -------
        ndarray (n_queries, n_codes), float32, >= 0

        Raises
        ------
        TypeError, ValueError
            Codes of another type or width; X as in `project`.

        References
        ----------
        Gordo, Perronnin, Gong and Lazebnik, "Asymmetric distances for binary embeddings", TPAMI 36(1), 2014,
        doi:10.1109/TPAMI.2013.101 (of its distances, the one for signs of projections).
        """
        numbers_ = self.project(X)
        codes = check_codes(codes, self.n_bits // 8)
        sure = np.abs(numbers_).sum(axis=1, keepdims=True)  # (n_queries, 1)
        out = np.empty((len(numbers_), len(codes)), np.float32)
        for start in range(0, len(codes), _BLOCK):
            bits = np.unpackbits(codes[start : start + _BLOCK], axis=1).astype(
                np.float32
            )  # (m, n_bits)
            out[:, start : start + _BLOCK] = (sure - numbers_ @ (2 * bits - 1).T) / 2
        return np.maximum(out, 0, out=out)


class LinearHash(BinaryHash):
    """Base of hashes whose numbers are ``(x - mean_) @ components_.T``."""

    def _project(self, X):
        return (X - self.mean_) @ self.components_.T

    def _keep(self, components, mean):
        self.components_ = np.ascontiguousarray(components, dtype=np.float32)
        self.mean_ = mean.astype(np.float32)
        self.n_features_in_ = len(mean)
        return self


def check_bits(n_bits):
    """Refuse a number of bits that does not fill whole bytes."""
    if (
        isinstance(n_bits, bool)
        or not isinstance(n_bits, numbers.Integral)
        or n_bits < 8
        or n_bits % 8
    ):
        raise ValueError(
            f"n_bits must be a multiple of 8, so that codes fill whole bytes, got {n_bits!r}; use 64, say"
        )


def check_dims(X, n_features):
    """Refuse embeddings of another width than those of the fit."""
    if X.shape[1] != n_features:
        raise ValueError(
            f"got embeddings of {X.shape[1]} dimensions, fitted on {n_features}; use those of the same encoder"
        )


def check_codes(codes, n_bytes):
    """Codes as an array (n, n_bytes) of uint8."""
    codes = np.asarray(codes)
    if codes.dtype != np.uint8:
        raise TypeError(
            f"codes are uint8, got {codes.dtype}; give what transform(X) gave of the database"
        )
    if codes.ndim != 2 or codes.shape[1] != n_bytes:
        raise ValueError(
            f"codes have the shape {codes.shape}; give (n_codes, {n_bytes}), what transform(X) gave"
        )
    return codes


def check_rank(n_bits, there, n_images):
    """Refuse more bits than directions in which the embeddings of the fit vary."""
    if n_bits > there:
        raise ValueError(
            f"n_bits={n_bits} exceeds the {there} directions in which these {n_images} embeddings vary; "
            "use fewer bits, fit on more images, or use RandomProjectionHash or SpectralHash"
        )
