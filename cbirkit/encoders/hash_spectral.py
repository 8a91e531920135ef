"""Spectral hashing: slow waves along the principal directions."""

import numpy as np

from .hash_base import BinaryHash
from .hash_projections import principal


class SpectralHash(BinaryHash):
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

    def __init__(self, n_bits=64):
        self.n_bits = n_bits

    def fit(self, X, y=None):
        """Learn directions, box and waves from embeddings (n_images, n_features).

        Raises
        ------
        ValueError
            There are fewer than two images, or all are the same.
        """
        mean, directions, inside = principal(X, self.n_bits, fewer=True)
        self.low_ = inside.min(axis=0).astype(np.float32)
        widths = inside.max(axis=0) - inside.min(axis=0)
        speeds = np.arange(1, self.n_bits + 1) / widths[:, None]  # (n_dims, n_bits): m / width
        slowest = np.argsort(speeds, axis=None, kind="stable")[: self.n_bits]
        self.directions_, modes = np.divmod(slowest, self.n_bits)
        self.modes_, self.widths_ = modes + 1, widths.astype(np.float32)
        self.components_ = np.ascontiguousarray(directions, dtype=np.float32)
        self.mean_, self.n_features_in_ = mean.astype(np.float32), len(mean)
        return self

    def _project(self, X):
        places = (
            (X - self.mean_) @ self.components_.T - self.low_
        ) / self.widths_  # (n, n_dims); 0 to 1 in the box
        return np.cos(
            np.float32(np.pi) * self.modes_.astype(np.float32) * places[:, self.directions_]
        )
