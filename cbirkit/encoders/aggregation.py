"""From a set of local descriptors to one vector an image: bags of visual words and VLAD."""

import numbers

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from .base import l2_normalise, stack
from .codebook import check_codebook_parameters, gather_descriptors, learn_codebook, nearest_words
from .local import SIFT

_NOISE = 1e-5  # a summed residual this short is rounding noise of descriptors that equal their word


class BagOfWords(TransformerMixin, BaseEstimator):
    """Bag of visual words: how often each word of a codebook occurs in an image, tf-idf weighted, L2-normalised.

    ``v[w] = (n_w / n) ** power * idf_w`` with n_w of the image's n descriptors nearest to word w, and
    ``idf_w = 1 + log((1 + N) / (1 + N_w))`` with N_w of the N images of the fit that hold w.

    Parameters
    ----------
    n_words : int
        Size of the codebook. More words tell instances apart better, at more time to fit (try 5,000) and
        larger embeddings: they are dense, 4 bytes a word and image.
    detector : SIFT, optional
        What finds and describes key points; ``SIFT()`` if not given. Threads are set there: ``SIFT(n_jobs=2)``.
    idf : bool
        Weigh words by their inverse document frequency.
    power : float
        Exponent of the term frequency; 0.5 dampens bursts of one repeated word, which pays for large codebooks.
    max_descriptors : int
        Images of the fit are read in random order until this many descriptors are there (512 bytes each).
        Word frequencies are counted in the same images.
    random_state : int, RandomState or None
        Order of the images and start of the clustering.

    Attributes
    ----------
    codebook_ : ndarray of shape (n_words, 128), float32
    idf_ : ndarray of shape (n_words,), float32
        Ones if `idf` is False.
    n_images_fit_ : int
        Number of images N that the codebook was learned from.

    Notes
    -----
    An image without key points is a zero vector; its cosine distance to everything is 1. Fit the codebook on images
    that are neither queries nor database, or say that you did not.

    References
    ----------
    Sivic and Zisserman, "Video Google: a text retrieval approach to object matching in videos", ICCV 2003,
    doi:10.1109/ICCV.2003.1238663. Power: Jegou, Douze and Schmid, "On the burstiness of visual elements", CVPR 2009,
    doi:10.1109/CVPR.2009.5206609. Two things differ from the 2003
    paper: no word is stopped, and the idf is the smoothed one of scikit-learn instead of log(N / N_w), which is 0 for
    a word that all images hold and turns a codebook fitted on a few images to zeros; they rank equally well.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> images = [np.kron(rng.integers(0, 256, (8, 8)), np.ones((16, 16))).astype(np.uint8) for _ in range(3)]
    >>> BagOfWords(n_words=20).fit(images).transform(images).shape
    (3, 20)
    """

    def __init__(
        self,
        n_words=1000,
        detector=None,
        *,
        idf=True,
        power=1.0,
        max_descriptors=200_000,
        random_state=0,
    ):
        self.n_words = n_words
        self.detector = detector
        self.idf = idf
        self.power = power
        self.max_descriptors = max_descriptors
        self.random_state = random_state

    def fit(self, images, y=None):
        """Learn the codebook and the word weights.

        Parameters
        ----------
        images : ImageCollection or iterable of RGB uint8 arrays (h, w, 3)

        Returns
        -------
        self

        Raises
        ------
        ValueError
            A parameter is out of range, or there are fewer descriptors than words.
        """
        check_power(self.power)
        self.codebook_, gathered = _fit_codebook(self, images)
        n_images = len(gathered)
        frequency = np.zeros(self.n_words)
        for descriptors in gathered:
            frequency[np.unique(nearest_words(descriptors, self.codebook_))] += 1
        idf = 1 + np.log((1 + n_images) / (1 + frequency)) if self.idf else np.ones(self.n_words)
        self.idf_ = idf.astype(np.float32)
        self.n_images_fit_ = n_images
        return self

    def transform(self, images):
        """Encode images: float32 (n_images, n_words), rows of length 1, or 0 without key points."""
        return aggregate_images(self, images)

    def _aggregate(self, descriptors):
        """Aggregate descriptors (n, 128) to (n_words,)."""
        counts = np.bincount(
            nearest_words(descriptors, self.codebook_), minlength=len(self.codebook_)
        )
        frequency = counts / max(1, len(descriptors))
        return l2_normalise(frequency**self.power * self.idf_)


class VLAD(TransformerMixin, BaseEstimator):
    """Vector of locally aggregated descriptors: the summed residuals to each word, L2-normalised.

    ``v[w] = sum of (x - c_w)`` over the descriptors x whose nearest word is c_w; then each number becomes
    ``sign(v) |v| ** power``, each v[w] is scaled to length 1 (`intra`), and so is the whole.

    Parameters
    ----------
    n_words : int
        Size of the codebook; the embedding has ``128 * n_words`` dimensions.
    detector : SIFT, optional
        What finds and describes key points; ``SIFT()`` if not given. Threads are set there: ``SIFT(n_jobs=2)``.
    intra : bool
        Intra-normalisation: scale the residual of each word to length 1, which dampens bursts.
    power : float
        Exponent of the power law; 1 leaves the numbers as they are. Use 0.5 where `intra` is False; with both,
        1 did better on the photographs that the defaults were chosen on.
    max_descriptors, random_state
        As in `BagOfWords`.

    Attributes
    ----------
    codebook_ : ndarray of shape (n_words, 128), float32
    n_images_fit_ : int
        Number of images that the codebook was learned from.

    Notes
    -----
    An image without key points is a zero vector; its cosine distance to everything is 1. Words that do not occur in
    an image leave zeros.

    References
    ----------
    Jegou, Douze, Schmid and Perez, "Aggregating local descriptors into a compact image representation", CVPR 2010,
    doi:10.1109/CVPR.2010.5540039. Power law: Jegou et al., TPAMI 2012, doi:10.1109/TPAMI.2011.235.
    Intra-normalisation: Arandjelovic and Zisserman, "All about VLAD", CVPR 2013, doi:10.1109/CVPR.2013.207.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> images = [np.kron(rng.integers(0, 256, (8, 8)), np.ones((16, 16))).astype(np.uint8) for _ in range(3)]
    >>> VLAD(n_words=4).fit(images).transform(images).shape
    (3, 512)
    """

    def __init__(
        self,
        n_words=64,
        detector=None,
        *,
        intra=True,
        power=1.0,
        max_descriptors=200_000,
        random_state=0,
    ):
        self.n_words = n_words
        self.detector = detector
        self.intra = intra
        self.power = power
        self.max_descriptors = max_descriptors
        self.random_state = random_state

    def fit(self, images, y=None):
        """Learn the codebook.

        Parameters
        ----------
        images : ImageCollection or iterable of RGB uint8 arrays (h, w, 3)

        Returns
        -------
        self

        Raises
        ------
        ValueError
            A parameter is out of range, or there are fewer descriptors than words.
        """
        check_power(self.power)
        self.codebook_, gathered = _fit_codebook(self, images)
        self.n_images_fit_ = len(gathered)
        return self

    def transform(self, images):
        """Encode images: float32 (n_images, 128 * n_words), rows of length 1, or 0 without key points."""
        return aggregate_images(self, images)

    def _aggregate(self, descriptors):
        """Aggregate descriptors (n, 128) to (n_words * 128,)."""
        words = nearest_words(descriptors, self.codebook_)
        residuals = descriptors - self.codebook_[words]  # (n, 128)
        members = np.zeros((len(self.codebook_), len(words)), dtype=np.float32)
        members[words, np.arange(len(words))] = 1
        sums = members @ residuals  # (n_words, n) @ (n, 128) -> (n_words, 128)
        sums = np.sign(sums) * np.abs(sums) ** self.power
        if self.intra:
            lengths = np.linalg.norm(sums, axis=1, keepdims=True)
            sums = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > _NOISE)
        return l2_normalise(sums.ravel())


def _fit_codebook(encoder, images):
    """Learn a codebook for `encoder`; return it with the descriptors of each image it was learned from."""
    check_codebook_parameters(encoder.n_words, encoder.max_descriptors)
    random_state = check_random_state(encoder.random_state)
    gathered = gather_descriptors(
        images, detector_of(encoder), encoder.max_descriptors, random_state
    )
    return learn_codebook(np.concatenate(gathered), encoder.n_words, random_state), gathered


def aggregate_images(encoder, images):
    """Describe images and aggregate each with the fitted encoder's ``_aggregate``: float32 (n_images, n_dims)."""
    check_is_fitted(encoder)
    described = detector_of(encoder).describe_all(images)
    # the cores are busy with SIFT, and threads inside such small matrix products cost ten times what they save
    with threadpool_limits(1, user_api="blas"):
        return stack((encoder._aggregate(descriptors) for _, descriptors in described), images)


def detector_of(encoder):
    """The local detector of an encoder, ``SIFT()`` by default; TypeError if it is none."""
    detector = SIFT() if encoder.detector is None else encoder.detector
    if not hasattr(detector, "describe_all"):
        raise TypeError(
            f"detector must be a local detector such as SIFT(), got {encoder.detector!r}; pass SIFT()"
        )
    return detector


def check_power(power):
    """Refuse an exponent outside (0, 1]."""
    if not isinstance(power, numbers.Real) or not 0 < power <= 1:
        raise ValueError(
            f"power must lie in (0, 1], got {power!r}; 1 changes nothing and 0.5 is the square root"
        )
