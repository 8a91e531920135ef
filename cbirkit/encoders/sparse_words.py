"""Bags of visual words for codebooks of 10,000 to 1,000,000 words: sampled words, approximate assignment, sparse vectors."""

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._optional import require
from .aggregation import check_power, detector_of
from .base import check_choice, check_count
from .codebook import check_codebook_parameters, gather_descriptors, learn_codebook, nearest_words


class SparseBagOfWords(TransformerMixin, BaseEstimator):
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

    def __init__(
        self, n_words=100_000, detector=None, *, codebook="sample", assignment="hnsw", idf=True, power=1.0,
        max_descriptors=1_000_000, random_state=0,
    ):  # fmt: skip
        self.n_words = n_words
        self.detector = detector
        self.codebook = codebook
        self.assignment = assignment
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
        check_choice("codebook", self.codebook, ("sample", "kmeans"))
        check_choice("assignment", self.assignment, ("hnsw", "exact"))
        check_count("n_words", self.n_words)
        check_codebook_parameters(self.n_words, self.max_descriptors)
        random_state = check_random_state(self.random_state)
        gathered = gather_descriptors(images, detector_of(self), self.max_descriptors, random_state)
        self.codebook_ = self._learn(np.concatenate(gathered), random_state)
        self._graph = None
        frequency = np.zeros(self.n_words)
        for descriptors in gathered if self.idf else ():
            frequency[np.unique(self.assign(descriptors))] += 1
        idf = (
            1 + np.log((1 + len(gathered)) / (1 + frequency)) if self.idf else np.ones(self.n_words)
        )
        self.idf_ = idf.astype(np.float32)
        self.n_images_fit_ = len(gathered)
        return self

    def transform(self, images):
        """Encode images: a CSR matrix (n_images, n_words), float32, rows of length 1, or empty without key points."""
        check_is_fitted(self)
        rows = [self._bag(descriptors) for _, descriptors in detector_of(self).describe_all(images)]
        if not rows:
            raise ValueError(
                "expected at least one image, got none; pass a collection or list that holds images"
            )
        words, weights = zip(*rows, strict=True)
        starts = np.cumsum([0, *map(len, words)])
        shape = (len(rows), len(self.codebook_))
        return sp.csr_matrix((np.concatenate(weights), np.concatenate(words), starts), shape=shape)

    def assign(self, descriptors):
        """The word of each descriptor (n, 128): (n,) int64; approximate where `assignment` is "hnsw"."""
        if self.assignment == "exact" or not len(descriptors):
            return nearest_words(descriptors, self.codebook_)
        if getattr(self, "_graph", None) is None:
            self._graph = self._build_graph()
        return self._graph.search(np.ascontiguousarray(descriptors, dtype=np.float32), 1)[1].ravel()

    def _learn(self, descriptors, random_state):
        if self.codebook == "kmeans":
            return learn_codebook(descriptors, self.n_words, random_state)
        if len(descriptors) < self.n_words:
            raise ValueError(
                f"n_words={self.n_words} needs at least as many descriptors, got {len(descriptors)}; "
                f"pass more images, raise max_descriptors, or use n_words <= {len(descriptors)}"
            )
        return descriptors[random_state.permutation(len(descriptors))[: self.n_words]].astype(
            np.float32
        )

    def _build_graph(self):
        faiss = require("faiss")
        graph = faiss.IndexHNSWFlat(self.codebook_.shape[1], 16)
        graph.hnsw.efConstruction = 40
        graph.hnsw.efSearch = 32
        graph.add(self.codebook_)
        return graph

    def _bag(self, descriptors):
        words, counts = np.unique(self.assign(descriptors), return_counts=True)
        weights = (counts / max(1, len(descriptors))) ** self.power * self.idf_[words]
        length = np.linalg.norm(weights)
        return words, (weights / length if length > 0 else weights).astype(np.float32)

    def __getstate__(self):
        return {name: value for name, value in super().__getstate__().items() if name != "_graph"}
