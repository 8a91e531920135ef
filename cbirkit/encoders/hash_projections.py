"""Hashes by the signs of linear projections: random ones, principal ones, and principal ones turned towards the bits."""

import numpy as np
from sklearn.utils import check_array, check_random_state

from .base import check_count
from .hash_base import LinearHash, check_bits, check_rank
from .whitening import _RANK, _principal


class RandomProjectionHash(LinearHash):
    """Signs of random projections (locality-sensitive hashing for angles).

    Two embeddings at the angle t differ in a bit with probability t / pi, so the Hamming distance estimates the
    angle, the better the more bits there are; nothing is learned but the mean.

    Parameters
    ----------
    n_bits : int
        A multiple of 8; may exceed the dimensions.
    centre : bool
        Measure angles around the mean of the fit. Charikar measures them around 0: there, embeddings without
        negative numbers (most pooled ones) all lie in one corner, and their bits hardly differ.
    random_state : int, RandomState or None

    Attributes
    ----------
    components_ : ndarray (n_bits, n_features), float32
    mean_ : ndarray (n_features,), float32
        Zeros without `centre`.

    References
    ----------
    Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002, doi:10.1145/509907.509965.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(20, 5))
    >>> RandomProjectionHash(16).fit(X).transform(X).shape
    (20, 2)
    """

    def __init__(self, n_bits=64, *, centre=True, random_state=0):
        self.n_bits = n_bits
        self.centre = centre
        self.random_state = random_state

    def fit(self, X, y=None):
        """Draw the directions, and take the mean of embeddings (n_images, n_features)."""
        check_bits(self.n_bits)
        X = check_array(X, dtype=np.float64)
        directions = check_random_state(self.random_state).normal(size=(self.n_bits, X.shape[1]))
        return self._keep(directions, X.mean(axis=0) if self.centre else np.zeros(X.shape[1]))


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

    def __init__(self, n_bits=64):
        self.n_bits = n_bits

    def fit(self, X, y=None):
        """Learn mean and directions from embeddings (n_images, n_features).

        Raises
        ------
        ValueError
            There are fewer than two images, or fewer directions than bits.
        """
        mean, directions, _ = principal(X, self.n_bits)
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
        mean, directions, V = principal(X, self.n_bits)
        V = V / np.sqrt(
            np.square(V).mean()
        )  # any scale gives the same rotation; this one makes errors_ comparable
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


def principal(X, n_bits, *, fewer=False):
    """Mean, leading principal directions (n_dims, n_features) and projections on them (n_images, n_dims).

    There are `n_bits` directions; with `fewer`, as many as vary if these are not so many. Else that is an error.
    """
    check_bits(n_bits)
    X = check_array(X, dtype=np.float64, ensure_min_samples=2)
    mean = X.mean(axis=0)
    values, vectors = _principal(X - mean)
    there = int((values > _RANK * values[0]).sum())
    if there == 0:
        raise ValueError(
            f"all {len(X)} embeddings are equal, there is nothing to hash; fit on different images"
        )
    if not fewer:
        check_rank(n_bits, there, len(X))
    directions = vectors[: min(n_bits, there)]
    return mean, directions, (X - mean) @ directions.T
