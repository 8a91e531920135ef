"""From embeddings to a few bytes: bits by the signs of projections, and product quantisation."""

import logging

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from cbirkit._optional import require

from .base import OnVectors, check_choice, check_count, check_number
from .whitening import principal_directions

_LOG = logging.getLogger(__name__)
# Embeddings per centroid that faiss asks for.
_ENOUGH = 39
# Codes unpacked or compared at a time.
_BLOCK = 1 << 16


class BinaryHash(OnVectors):
    """Base of the transformers from embeddings to packed bits, for `cbirkit.indexes.Hamming`.

    A class has ``_project(X)``: float32 (n_images, n_bits), of which bit k is 1 where number k is positive.
    """

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
        return self._project(self._validated(X))

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
        ValueError
            Codes of another type or width; X as in `project`.

        References
        ----------
        Gordo, Perronnin, Gong and Lazebnik, "Asymmetric distances for binary embeddings", TPAMI 36(1), 2014,
        doi:10.1109/TPAMI.2013.101 (of its distances, the one for signs of projections).
        """
        numbers = self.project(X)
        codes = check_codes(codes, self.n_bits // 8)
        sure = np.abs(numbers).sum(axis=1, keepdims=True)  # (n_queries, 1)
        out = np.empty((len(numbers), len(codes)), np.float32)
        for start in range(0, len(codes), _BLOCK):
            bits = np.unpackbits(codes[start : start + _BLOCK], axis=1)  # (m, n_bits)
            signs = 2 * bits.astype(np.float32) - 1
            out[:, start : start + _BLOCK] = (sure - numbers @ signs.T) / 2
        return np.maximum(out, 0, out=out)


class LinearHash(BinaryHash):
    """Base of hashes whose numbers are ``(x - mean_) @ components_.T``."""

    def __init__(self, n_bits=64):
        self.n_bits = n_bits

    def _project(self, X):
        return (X - self.mean_) @ self.components_.T


def check_bits(n_bits):
    """Refuse a number of bits that does not fill whole bytes."""
    check_count("n_bits", n_bits, 8)
    if n_bits % 8:
        raise ValueError(
            f"n_bits must be a multiple of 8, so that codes fill whole bytes, got {n_bits}"
        )


def check_codes(codes, n_bytes):
    """Codes as an array (n, n_bytes) of uint8."""
    codes = np.asarray(codes)
    if codes.dtype != np.uint8 or codes.shape[1:] != (n_bytes,):
        raise ValueError(
            f"codes must be uint8 of the shape (n_codes, {n_bytes}), what transform(X) gave of the database, "
            f"got {codes.dtype} of the shape {codes.shape}"
        )
    return codes


def _principal(hash_, X, *, fewer=False):
    """Mean, leading principal directions (n_dims, n_features) and projections on them (n_images, n_dims).

    There are `n_bits` directions; with `fewer`, as many as vary if these are not so many. Else that is an error.
    """
    n_bits = hash_.n_bits
    check_bits(n_bits)
    X = validate_data(hash_, X, dtype=np.float64, ensure_min_samples=2)
    mean = X.mean(axis=0)
    _, directions = principal_directions(X - mean)
    if not len(directions):
        raise ValueError(
            f"all {len(X)} embeddings are equal, there is nothing to hash; fit on different images"
        )
    if n_bits > len(directions) and not fewer:
        raise ValueError(
            f"n_bits={n_bits} exceeds the {len(directions)} directions in which these {len(X)} embeddings vary; "
            "use fewer bits, fit on more images, or use RandomProjectionHash or SpectralHash"
        )
    kept = directions[:n_bits]
    return mean.astype(np.float32), kept, (X - mean) @ kept.T


class RandomProjectionHash(LinearHash):
    """Signs of random projections (locality-sensitive hashing for angles).

    Two embeddings at the angle t differ in a bit with probability t / pi, so the Hamming distance estimates the
    angle, the better the more bits there are; nothing is learned but the mean.

    Parameters
    ----------
    n_bits : int
        A multiple of 8; may exceed the dimensions.
    random_state : int, RandomState or None

    Attributes
    ----------
    components_ : ndarray (n_bits, n_features), float32
    mean_ : ndarray (n_features,), float32

    Notes
    -----
    Angles are measured around the mean of the fit. Charikar measures them around 0: there, embeddings without
    negative numbers (most pooled ones) all lie in one corner, and their bits hardly differ.

    References
    ----------
    Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002, doi:10.1145/509907.509965.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(20, 5))
    >>> RandomProjectionHash(16).fit(X).transform(X).shape
    (20, 2)
    """

    def __init__(self, n_bits=64, *, random_state=0):
        self.n_bits = n_bits
        self.random_state = random_state

    def fit(self, X, y=None):
        """Draw the directions, and take the mean of embeddings (n_images, n_features)."""
        check_bits(self.n_bits)
        X = validate_data(self, X, dtype=np.float64)
        directions = check_random_state(self.random_state).normal(size=(self.n_bits, X.shape[1]))
        return self._keep(directions, X.mean(axis=0).astype(np.float32))


class PCAHash(LinearHash):
    """Signs of the leading principal components.

    Every bit costs the same and the later ones say less and less: beyond some number of bits, results get worse.

    Parameters
    ----------
    n_bits : int
        A multiple of 8, at most the directions in which the embeddings vary.

    Attributes
    ----------
    components_ : ndarray (n_bits, n_features), float32
        Orthonormal.
    mean_ : ndarray (n_features,), float32

    References
    ----------
    Called PCAH in Wang, Kumar and Chang, "Semi-supervised hashing for scalable image retrieval", CVPR 2010,
    doi:10.1109/CVPR.2010.5539994.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(20, 10))
    >>> PCAHash(8).fit(X).transform(X).shape
    (20, 1)
    """

    def fit(self, X, y=None):
        """Learn mean and directions from embeddings (n_images, n_features).

        Raises
        ------
        ValueError
            There are fewer than two images, or fewer directions than bits.
        """
        mean, directions, _ = _principal(self, X)
        return self._keep(directions, mean)


class ITQ(LinearHash):
    """Iterative quantisation: principal components, rotated so that they come as near to -1 and 1 as can be.

    With V (n, n_bits) the projections, ``B = sgn(V R)`` and the rotation R that is nearest to B (by a singular value
    decomposition, the orthogonal Procrustes problem) are found in turn; neither step raises ``|B - V R|``.

    Parameters
    ----------
    n_bits : int
        A multiple of 8, at most the directions in which the embeddings vary.
    n_iter : int
    random_state : int, RandomState or None
        Of the rotation to start from.

    Attributes
    ----------
    components_ : ndarray (n_bits, n_features), float32
        Orthonormal: rotated principal directions.
    mean_ : ndarray (n_features,), float32
    errors_ : ndarray (n_iter,), float64
        Mean squared difference of a bit (-1 or 1) and its number, at each iteration, in units of the mean square of the numbers.

    References
    ----------
    Gong and Lazebnik, "Iterative quantization: a Procrustean approach to learning binary codes", CVPR 2011,
    doi:10.1109/CVPR.2011.5995432.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(50, 10)) * np.arange(10, 0, -1)
    >>> itq = ITQ(8).fit(X)
    >>> itq.transform(X).shape, bool(itq.errors_[-1] < itq.errors_[0])
    ((50, 1), True)
    """

    def __init__(self, n_bits=64, *, n_iter=50, random_state=0):
        self.n_bits = n_bits
        self.n_iter = n_iter
        self.random_state = random_state

    def fit(self, X, y=None):
        """Learn mean, directions and rotation from embeddings (n_images, n_features).

        Raises
        ------
        ValueError
            There are fewer than two images, or fewer directions than bits.
        """
        check_count("n_iter", self.n_iter)
        mean, directions, V = _principal(self, X)
        # any scale gives the same rotation; this one makes errors_ comparable
        V = V / np.sqrt(np.square(V).mean())
        start = check_random_state(self.random_state).normal(size=(self.n_bits, self.n_bits))
        rotation = np.linalg.qr(start)[0]
        self.errors_ = np.empty(self.n_iter)
        for number in range(self.n_iter):
            turned = V @ rotation  # (n, n_bits)
            bits = np.where(turned > 0, 1.0, -1.0)
            self.errors_[number] = np.square(bits - turned).mean()
            left, _, right = np.linalg.svd(V.T @ bits)
            rotation = left @ right
        return self._keep(rotation.T @ directions, mean)


class SpectralHash(LinearHash):
    """Signs of the slowest standing waves along the principal directions.

    If the embeddings filled a box evenly, the bits that change least between neighbours, balanced and uncorrelated,
    would be the signs of ``cos(m pi (x_j - low_j) / width_j)``, with the smallest ``m / width_j``. The box is that of
    the fit's principal components. Long directions get several bits (m = 1, 2, …), short ones none.

    Parameters
    ----------
    n_bits : int
        A multiple of 8; may exceed the dimensions.

    Attributes
    ----------
    components_ : ndarray (n_dims, n_features), float32
        Directions; at most `n_bits`.
    mean_ : ndarray (n_features,), float32
    low_, widths_ : ndarray (n_dims,), float32
        The box.
    directions_, modes_ : ndarray (n_bits,), int64
        Direction and m of each bit, slowest wave first.

    Notes
    -----
    Embeddings outside the box are taken as they are: the wave goes on.

    References
    ----------
    Weiss, Torralba and Fergus, "Spectral hashing", NIPS 2008.

    Examples
    --------
    >>> X = np.random.default_rng(0).uniform(size=(200, 2)) * [4, 1]
    >>> spectral = SpectralHash(8).fit(X)
    >>> spectral.directions_.tolist(), spectral.modes_.tolist()
    ([0, 0, 0, 1, 0, 0, 0, 0], [1, 2, 3, 1, 4, 5, 6, 7])
    """

    def fit(self, X, y=None):
        """Learn directions, box and waves from embeddings (n_images, n_features).

        Raises
        ------
        ValueError
            There are fewer than two images, or all are the same.
        """
        mean, directions, inside = _principal(self, X, fewer=True)
        self.low_ = inside.min(axis=0).astype(np.float32)
        widths = inside.max(axis=0) - inside.min(axis=0)
        speeds = np.arange(1, self.n_bits + 1) / widths[:, None]  # (n_dims, n_bits): m / width
        slowest = np.argsort(speeds, axis=None, kind="stable")[: self.n_bits]
        self.directions_, modes = np.divmod(slowest, self.n_bits)
        self.modes_, self.widths_ = modes + 1, widths.astype(np.float32)
        return self._keep(directions, mean)

    def _project(self, X):
        # (n, n_dims); 0 to 1 in the box
        places = (super()._project(X) - self.low_) / self.widths_
        speeds = np.float32(np.pi) * self.modes_.astype(np.float32)
        return np.cos(speeds * places[:, self.directions_])


class ProductQuantiser(OnVectors):
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
        X = validate_data(self, X, dtype=np.float32)
        check_number("n_codes", self.n_codes, 1, X.shape[1], whole=True)
        check_choice("n_bits", self.n_bits, (8, 4))
        n_centroids = 2**self.n_bits
        if len(X) < (enough := _ENOUGH * n_centroids):
            words = "%d embeddings for %d centroids; give %d or more, or fewer centroids (n_bits=4)"
            _LOG.warning(words, len(X), n_centroids, enough)
        filled = self._filled(X)
        quantiser = self._of_faiss(filled.shape[1])
        quantiser.cp.seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        # it was said; faiss would say it again for each piece
        quantiser.cp.min_points_per_centroid = 1
        repeats = -(-n_centroids // len(X))
        quantiser.train(filled if repeats == 1 else np.tile(filled, (repeats, 1))[:n_centroids])
        centroids = require("faiss").vector_to_array(quantiser.centroids)
        self.centroids_ = centroids.reshape(self.n_codes, n_centroids, -1).astype(np.float32)
        return self

    def transform(self, X):
        """Quantise embeddings (n_images, n_features): uint8 (n_images, n_codes * n_bits / 8 rounded up).

        Raises
        ------
        ValueError
            The embeddings have another number of dimensions than those of the fit, or hold NaN.
        """
        filled = self._filled(self._validated(X))
        quantiser = self._of_faiss(filled.shape[1])
        require("faiss").copy_array_to_vector(self.centroids_.ravel(), quantiser.centroids)
        return quantiser.compute_codes(filled)

    def decode(self, codes):
        """The embeddings that codes (n, n_bytes) stand for: float32 (n, n_features)."""
        check_is_fitted(self)
        # (n, n_codes, n_dims of a piece)
        pieces = self.centroids_[np.arange(self.n_codes), self._numbers(codes)]
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
        ValueError
            Codes of another type or width; X as in `transform`.
        """
        filled = self._filled(self._validated(X))
        codes = self._numbers(codes)
        out = np.zeros((len(filled), len(codes)), np.float32)
        pieces = filled.reshape(len(filled), self.n_codes, -1)
        for number, centroids in enumerate(self.centroids_):
            # (n_queries, n_centroids, n_dims of a piece)
            gaps = pieces[:, number, None] - centroids
            table = np.square(gaps).sum(axis=2)  # (n_queries, n_centroids)
            for start in range(0, len(codes), _BLOCK):
                out[:, start : start + _BLOCK] += table[:, codes[start : start + _BLOCK, number]]
        return np.sqrt(out, out=out)

    def _of_faiss(self, n_dims):
        return require("faiss").ProductQuantizer(n_dims, int(self.n_codes), self.n_bits)

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
