"""From the local descriptors of an image to one vector: bags of visual words, VLAD and Fisher vectors."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from cbirkit._optional import require

from .base import check_choice, check_count, check_number, has_positions, l2_normalise, stack
from .local import SIFT

# Distances held at a time when words are looked up, in bytes.
_BLOCK_BYTES = 1 << 26
# A summed residual this short is rounding noise of descriptors that equal their word.
_NOISE = 1e-5


def gather_descriptors(images, detector, max_descriptors, random_state):
    """Describe images in random order until there are `max_descriptors` descriptors.

    Images that can only be read one after another (a generator) are taken in their own order.

    Returns
    -------
    list of ndarray (n_i, n_dims)
        The descriptors of each image that was read, `max_descriptors` rows at most in all.
    """
    order = random_state.permutation(len(images)) if has_positions(images) else None
    gathered, room = [], max_descriptors
    n = None if order is None else len(order)
    with tqdm(total=n, desc="local descriptors", unit="image", leave=False, delay=2) as progress:
        for _, descriptors in detector.describe_all(images, order):
            gathered.append(descriptors[:room])  # the strongest of the last image
            room -= len(gathered[-1])
            progress.update()
            if room == 0:
                progress.update((progress.total or 0) - progress.n)  # that is all of it
                break
    return gathered


def learn_codebook(descriptors, n_words, random_state):
    """Cluster descriptors by k-means (faiss, 20 rounds from random descriptors).

    Parameters
    ----------
    descriptors : ndarray of shape (n, n_dims), float32
        At least `n_words`.
    n_words : int
    random_state : int, RandomState or None

    Returns
    -------
    ndarray of shape (n_words, n_dims), float32
        Repeatable for one `random_state` on one machine with the same number of threads.
    """
    kmeans = require("faiss").Kmeans(
        descriptors.shape[1],
        n_words,
        niter=20,
        seed=int(check_random_state(random_state).randint(2**31 - 1)),
        min_points_per_centroid=1,  # few is allowed, and no warning on stderr
        max_points_per_centroid=len(descriptors),  # the sample was bounded before
    )
    kmeans.train(np.ascontiguousarray(descriptors, dtype=np.float32))
    return np.array(kmeans.centroids, dtype=np.float32).reshape(n_words, -1)


def nearest_words(descriptors, codebook):
    """Find the nearest word (Euclidean) of each descriptor.

    Parameters
    ----------
    descriptors : ndarray of shape (n, n_dims), float32
    codebook : ndarray of shape (n_words, n_dims), float32

    Returns
    -------
    ndarray of shape (n,), int64
        Positions in the codebook; the first one where distances tie.

    Raises
    ------
    ValueError
        The numbers of dimensions differ.

    Examples
    --------
    >>> nearest_words(np.array([[0.9], [0.2]]), np.array([[0.0], [1.0]]))
    array([1, 0])
    """
    if descriptors.shape[1] != codebook.shape[1]:
        raise ValueError(
            f"the descriptors have {descriptors.shape[1]} dimensions and the codebook "
            f"{codebook.shape[1]}; fit again with this detector"
        )
    half_norms = 0.5 * np.einsum("wd,wd->w", codebook, codebook)
    step = max(1, _BLOCK_BYTES // (4 * len(codebook)))
    words = np.empty(len(descriptors), dtype=np.int64)
    for start in range(0, len(descriptors), step):
        # |x - c|^2 = |x|^2 - 2 (x.c - |c|^2 / 2), and |x|^2 is the same for all words
        scores = descriptors[start : start + step] @ codebook.T - half_norms
        words[start : start + step] = scores.argmax(axis=1)
    return words


@dataclass(eq=False, repr=False)
class CodebookEncoder(TransformerMixin, BaseEstimator):
    """Base of encoders that learn words, or Gaussians, from the local descriptors of some images.

    A class has ``_learn(gathered, random_state)``, which learns from the descriptors of each image, and
    ``_aggregate(descriptors)``, which makes of those of one image (n, 128) a vector (n_dims,).
    """

    n_words: int = 64
    detector: SIFT | None = None
    _: KW_ONLY
    max_descriptors: int = 200_000
    random_state: object = 0

    def fit(self, images, y=None):
        """Learn from images.

        Parameters
        ----------
        images : ImageCollection or iterable of RGB uint8 arrays (h, w, 3)

        Returns
        -------
        self

        Raises
        ------
        ValueError
            A parameter is out of range, or there are fewer descriptors than words or dimensions.
        TypeError
            The detector is none.
        """
        check_count("n_words", self.n_words)
        check_count("max_descriptors", self.max_descriptors, self.n_words)
        self._check()
        random_state = check_random_state(self.random_state)
        detector, least = self._detector(), max(self.n_words, getattr(self, "n_dims", 1))
        gathered = gather_descriptors(images, detector, self.max_descriptors, random_state)
        found = sum(map(len, gathered))
        if found < least:
            raise ValueError(
                f"n_words={self.n_words} needs at least {least} descriptors, got {found} of {len(gathered)} images; "
                f"pass more images or such with more texture, lower the detector's contrast_threshold, or use n_words <= {found}"
            )
        self._learn(gathered, random_state)
        self.n_images_fit_ = len(gathered)
        return self

    def transform(self, images):
        """Encode images.

        Parameters
        ----------
        images : ImageCollection or iterable of RGB uint8 arrays (h, w, 3)

        Returns
        -------
        ndarray of shape (n_images, n_dims), float32
            Rows of length 1, or 0 without key points.
        """
        check_is_fitted(self)
        described = self._detector().describe_all(images)
        # the cores are busy with SIFT, and threads inside such small matrix products cost ten times what they save
        with threadpool_limits(1, user_api="blas"):
            return stack((self._aggregate(descriptors) for _, descriptors in described), images)

    def _check(self):
        check_number("power", self.power, 0, 1, open_low=True)

    def _detector(self):
        detector = SIFT() if self.detector is None else self.detector
        if not hasattr(detector, "describe_all"):
            raise TypeError(f"detector must be a local detector, got {detector!r}; pass SIFT()")
        return detector


@dataclass(eq=False, repr=False)
class BagOfWords(CodebookEncoder):
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

    n_words: int = 1000
    _: KW_ONLY
    idf: bool = True
    power: float = 1.0

    def assign(self, descriptors):
        """The word of each descriptor (n, 128): (n,) int64."""
        return nearest_words(descriptors, self.codebook_)

    def _learn(self, gathered, random_state):
        self.codebook_ = self._words(np.concatenate(gathered), random_state)
        self.idf_ = np.ones(self.n_words, dtype=np.float32)
        if self.idf:
            frequency = np.zeros(self.n_words)
            for descriptors in gathered:
                frequency[np.unique(self.assign(descriptors))] += 1
            weights = 1 + np.log((1 + len(gathered)) / (1 + frequency))
            self.idf_ = weights.astype(np.float32)

    def _words(self, descriptors, random_state):
        return learn_codebook(descriptors, self.n_words, random_state)

    def _bag(self, descriptors):
        """Words that occur and their weights, of length 1 together, float32."""
        words, counts = np.unique(self.assign(descriptors), return_counts=True)
        weights = (counts / max(1, len(descriptors))) ** self.power * self.idf_[words]
        return words, l2_normalise(weights).astype(np.float32)

    def _aggregate(self, descriptors):
        vector = np.zeros(len(self.codebook_), dtype=np.float32)
        words, weights = self._bag(descriptors)
        vector[words] = weights
        return vector


@dataclass(eq=False, repr=False)
class SparseBagOfWords(BagOfWords):
    """Bag of visual words as a sparse matrix, so that the codebook may be large; for `cbirkit.indexes.InvertedFile`.

    ``v[w] = (n_w / n) ** power * idf_w``, L2-normalised, as in `BagOfWords`; see there for the symbols.

    Parameters
    ----------
    n_words : int
        Size of the codebook; 512 bytes a word.
    detector : SIFT, optional
        ``SIFT()`` if not given.
    codebook : {"sample", "kmeans"}
        "sample": words are descriptors of the fit, drawn at random, which costs nothing. "kmeans": 20 rounds of
        exact k-means, n_words times the number of descriptors distances each.
    assignment : {"hnsw", "exact"}
        How a descriptor finds its word: through a graph over the words (faiss), which misses the nearest now and
        then, or by comparing it with all words.
    idf : bool
        Weigh words by their inverse document frequency.
    power : float
        Exponent of the term frequency.
    max_descriptors, random_state
        As in `BagOfWords`.

    Attributes
    ----------
    codebook_ : ndarray of shape (n_words, 128), float32
    idf_ : ndarray of shape (n_words,), float32
    n_images_fit_ : int

    Notes
    -----
    In a `Retriever` the vectors are made dense on the way, 4 bytes a word and image; with large codebooks call
    ``index.fit(encoder.transform(images))`` yourself. The graph is built again after loading.

    References
    ----------
    Philbin et al., "Object retrieval with large vocabularies and fast spatial matching", CVPR 2007,
    doi:10.1109/CVPR.2007.383172, cluster with approximate k-means (trees) instead. Graph: Malkov and Yashunin,
    TPAMI 2020, doi:10.1109/TPAMI.2018.2889473.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> images = [np.kron(rng.integers(0, 256, (8, 8)), np.ones((16, 16))).astype(np.uint8) for _ in range(3)]
    >>> SparseBagOfWords(n_words=50).fit(images).transform(images).shape
    (3, 50)
    """

    n_words: int = 100_000
    _: KW_ONLY
    codebook: str = "sample"
    assignment: str = "hnsw"
    max_descriptors: int = 1_000_000

    def transform(self, images):
        """Encode images: a CSR matrix (n_images, n_words), float32, rows of length 1, or empty without key points."""
        check_is_fitted(self)
        rows = [self._bag(found) for _, found in self._detector().describe_all(images)]
        if not rows:
            raise ValueError("expected at least one image, got none; pass images")
        words, weights = zip(*rows, strict=True)
        starts = np.cumsum([0, *map(len, words)])
        shape = (len(rows), len(self.codebook_))
        return sp.csr_matrix((np.concatenate(weights), np.concatenate(words), starts), shape=shape)

    def assign(self, descriptors):
        """The word of each descriptor (n, 128): (n,) int64; approximate where `assignment` is "hnsw"."""
        if self.assignment == "exact" or not len(descriptors):
            return super().assign(descriptors)
        if getattr(self, "_graph", None) is None:
            self._graph = require("faiss").IndexHNSWFlat(self.codebook_.shape[1], 16)
            self._graph.hnsw.efConstruction = 40
            self._graph.hnsw.efSearch = 32
            self._graph.add(self.codebook_)
        return self._graph.search(np.ascontiguousarray(descriptors, dtype=np.float32), 1)[1].ravel()

    def _check(self):
        super()._check()
        check_choice("codebook", self.codebook, ("sample", "kmeans"))
        check_choice("assignment", self.assignment, ("hnsw", "exact"))

    def _words(self, descriptors, random_state):
        self._graph = None
        if self.codebook == "kmeans":
            return super()._words(descriptors, random_state)
        drawn = random_state.permutation(len(descriptors))[: self.n_words]
        return descriptors[drawn].astype(np.float32)

    def __getstate__(self):
        return {name: value for name, value in super().__getstate__().items() if name != "_graph"}


@dataclass(eq=False, repr=False)
class VLAD(CodebookEncoder):
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

    _: KW_ONLY
    intra: bool = True
    power: float = 1.0

    def _learn(self, gathered, random_state):
        self.codebook_ = learn_codebook(np.concatenate(gathered), self.n_words, random_state)

    def _aggregate(self, descriptors):
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


@dataclass(eq=False, repr=False)
class FisherVector(CodebookEncoder):
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

    _: KW_ONLY
    n_dims: int = 64
    max_descriptors: int = 100_000

    def _check(self):
        check_count("n_dims", self.n_dims)

    def _learn(self, gathered, random_state):
        descriptors = np.concatenate(gathered)  # (n, 128)
        self.pca_ = PCA(self.n_dims, random_state=random_state.randint(2**31 - 1)).fit(descriptors)
        self.mixture_ = GaussianMixture(
            self.n_words, covariance_type="diag", random_state=random_state.randint(2**31 - 1)
        ).fit(self.pca_.transform(descriptors).astype(np.float64))

    def _aggregate(self, descriptors):
        if not len(descriptors):
            return np.zeros(self.n_words * (2 * self.n_dims + 1), dtype=np.float32)
        reduced = self.pca_.transform(descriptors).astype(np.float64)
        features = require("skimage.feature")
        vector = features.fisher_vector(reduced, self.mixture_, improved=True)
        return l2_normalise(vector.astype(np.float32))
