"""Visual words: gather descriptors, learn a codebook, find the nearest word of each descriptor."""

import logging

import numpy as np
from sklearn.utils import check_random_state
from tqdm.auto import tqdm

from .._optional import require
from .base import check_count, has_positions

_LOG = logging.getLogger(__name__)
_BLOCK_BYTES = 1 << 26  # distances held at a time when words are looked up
_N_ITERATIONS = 20


def gather_descriptors(images, detector, max_descriptors, random_state):
    """Describe images in random order until there are `max_descriptors` descriptors.

    Images that can only be read one after another (a generator) are taken in their own order.

    Returns
    -------
    list of ndarray (n_i, n_dims)
        The descriptors of each image that was read, `max_descriptors` rows at most in all.

    Raises
    ------
    ValueError
        There are no images, or none has a key point.
    """
    order = random_state.permutation(len(images)) if has_positions(images) else None
    gathered, room = [], max_descriptors
    n_images = len(images) if order is not None else None
    progress = tqdm(total=n_images, desc="local descriptors", unit="image", leave=False, delay=2)
    with progress:
        for _, descriptors in detector.describe_all(images, order):
            gathered.append(descriptors[:room])  # the strongest of the last image
            room -= len(gathered[-1])
            progress.update()
            if room == 0:
                progress.update((progress.total or 0) - progress.n)  # that is all of it
                break
    if not any(map(len, gathered)):
        raise ValueError(
            f"no key points in the {len(gathered)} images; pass images with more texture, "
            "or a detector with a lower contrast_threshold"
        )
    _LOG.info("codebook from %d descriptors of %d images", max_descriptors - room, len(gathered))
    return gathered


def learn_codebook(descriptors, n_words, random_state):
    """Cluster descriptors by k-means (faiss, 20 rounds from random descriptors).

    Parameters
    ----------
    descriptors : ndarray of shape (n, n_dims), float32
    n_words : int
    random_state : int, RandomState or None

    Returns
    -------
    ndarray of shape (n_words, n_dims), float32
        Repeatable for one `random_state` on one machine with the same number of threads.

    Raises
    ------
    ValueError
        There are fewer descriptors than words.
    """
    if len(descriptors) < n_words:
        raise ValueError(
            f"n_words={n_words} needs at least as many descriptors, got {len(descriptors)}; "
            f"pass more images, raise max_descriptors, or use n_words <= {len(descriptors)}"
        )
    faiss = require("faiss")
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    kmeans = faiss.Kmeans(
        descriptors.shape[1],
        n_words,
        niter=_N_ITERATIONS,
        seed=seed,
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


def check_codebook_parameters(n_words, max_descriptors):
    """Refuse sizes that make no codebook."""
    check_count("n_words", n_words)
    check_count("max_descriptors", max_descriptors, n_words)
