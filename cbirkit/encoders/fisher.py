"""Fisher vectors: how the descriptors of an image pull at a mixture of Gaussians."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.utils import check_random_state

from .._optional import require
from .aggregation import aggregate_images, detector_of
from .base import check_count, l2_normalise
from .codebook import check_codebook_parameters, gather_descriptors


class FisherVector(TransformerMixin, BaseEstimator):
    """Gradients of a Gaussian mixture's likelihood with respect to its weights, means and variances.

    Descriptors are reduced by PCA and assigned softly; the gradients (scikit-image's ``fisher_vector``) are
    normalised by their expected size, then each number becomes ``sign(v) sqrt|v|`` and the whole has length 1.
    At the size of VLAD with 64 words it found more in our trials (``docs/benchmarks.md``); most of the gain
    goes when results are re-ranked by geometry.

    Parameters
    ----------
    n_words : int
        Gaussians; the embedding has ``n_words * (2 * n_dims + 1)`` dimensions.
    detector : SIFT, optional
        As in `VLAD`.
    n_dims : int
        Dimensions of a descriptor after PCA.
    max_descriptors : int
        Descriptors that the mixture is learned from, at most.
    random_state : int or RandomState

    Attributes
    ----------
    pca_ : sklearn.decomposition.PCA
    mixture_ : sklearn.mixture.GaussianMixture
        With diagonal covariances.
    n_images_fit_ : int

    Notes
    -----
    An image without key points is a zero vector; its cosine distance to everything is 1.

    References
    ----------
    Perronnin, Sanchez and Mensink, "Improving the Fisher kernel for large-scale image classification", ECCV 2010,
    doi:10.1007/978-3-642-15561-1_11. For retrieval: Jegou et al., TPAMI 2012, doi:10.1109/TPAMI.2011.235.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> images = [np.kron(rng.integers(0, 256, (8, 8)), np.ones((16, 16))).astype(np.uint8) for _ in range(3)]
    >>> FisherVector(n_words=2, n_dims=8).fit(images).transform(images).shape
    (3, 34)
    """

    def __init__(
        self, n_words=64, detector=None, *, n_dims=64, max_descriptors=100_000, random_state=0
    ):
        self.n_words = n_words
        self.detector = detector
        self.n_dims = n_dims
        self.max_descriptors = max_descriptors
        self.random_state = random_state

    def fit(self, images, y=None):
        """Learn the PCA and the mixture.

        Parameters
        ----------
        images : ImageCollection or iterable of RGB uint8 arrays (h, w, 3)

        Returns
        -------
        self

        Raises
        ------
        ValueError
            A parameter is out of range, or there are fewer descriptors than Gaussians or dimensions.
        """
        check_codebook_parameters(self.n_words, self.max_descriptors)
        check_count("n_dims", self.n_dims)
        random_state = check_random_state(self.random_state)
        gathered = gather_descriptors(images, detector_of(self), self.max_descriptors, random_state)
        descriptors = np.concatenate(gathered)  # (n, 128)
        needed = max(self.n_words, self.n_dims)
        if len(descriptors) < needed or descriptors.shape[1] < self.n_dims:
            raise ValueError(
                f"n_words={self.n_words} and n_dims={self.n_dims} ask for {needed} descriptors of at least "
                f"{self.n_dims} dimensions, got {len(descriptors)} of {descriptors.shape[1]}; pass more images or lower them"
            )
        self.pca_ = PCA(self.n_dims, random_state=random_state.randint(2**31 - 1)).fit(descriptors)
        self.mixture_ = GaussianMixture(
            self.n_words, covariance_type="diag", random_state=random_state.randint(2**31 - 1)
        ).fit(self.pca_.transform(descriptors).astype(np.float64))
        self.n_images_fit_ = len(gathered)
        return self

    def transform(self, images):
        """Encode images: float32 (n_images, n_words * (2 * n_dims + 1)), rows of length 1, or 0 without key points."""
        return aggregate_images(self, images)

    def _aggregate(self, descriptors):
        """Aggregate descriptors (n, 128) to one vector."""
        if not len(descriptors):
            return np.zeros(self.n_words * (2 * self.n_dims + 1), dtype=np.float32)
        fisher_vector = require("skimage.feature").fisher_vector
        vector = fisher_vector(
            self.pca_.transform(descriptors).astype(np.float64), self.mixture_, improved=True
        )
        return l2_normalise(vector.astype(np.float32))
