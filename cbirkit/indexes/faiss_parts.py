"""What the indexes around faiss share: its searches without its wrapper, its files, and lists of vectors."""

from functools import cache, lru_cache

import numpy as np

from cbirkit._optional import require

_UNIT = 2.0**-24  # unit roundoff of float32


def search(structure, queries, k, params):
    """Search a structure of faiss: scores and labels, (n_queries, k).

    The function of the library itself, since our own checks are done. It also passes by pytorch-metric-learning,
    which imports faiss.contrib.torch_utils, which puts another ``search`` in place of faiss's own.

    Parameters
    ----------
    structure : faiss.Index
    queries : ndarray of shape (n_queries, n_dims), float32, C-ordered
    k : int
    params : faiss.SearchParameters
    """
    pointer = _pointer()
    scores, labels = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    structure.search_c(len(queries), pointer(queries), k, pointer(scores), pointer(labels), params)
    return scores, labels


def search_and_copy(lists, queries, k, params):
    """Search lists of whole vectors: labels (n_queries, k) and the vectors found, (n_queries, k, n_dims)."""
    pointer = _pointer()
    scores, labels = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    found = np.empty((len(queries), k, queries.shape[1]), np.float32)
    places = pointer(scores), pointer(labels), pointer(found)
    lists.search_and_reconstruct_c(len(queries), pointer(queries), k, *places, params)
    return labels, found


@cache
def _pointer():
    return require("faiss").swig_ptr


@lru_cache(maxsize=256)
def graph_parameters(ef_search):
    """Return the parameters of a search in a graph from which nothing was removed."""
    return require("faiss").SearchParametersHNSW(efSearch=ef_search)


@lru_cache(maxsize=256)
def list_parameters(nprobe):
    """Return the parameters of a search in lists."""
    return require("faiss").SearchParametersIVF(nprobe=nprobe)


def preselect(vectors, queries, candidates, k, metric):
    """Leave out candidates that cannot be among the k nearest, by distances in float32.

    Parameters
    ----------
    vectors : ndarray of shape (n_rows, n_dims), float32, C-ordered
    queries : ndarray of shape (n_queries, n_dims), float32
        Of length 1 or 0, as the vectors, under the cosine distance.
    candidates : ndarray of shape (n_queries, n_candidates), int64
        Rows; -1 for none.
    k : int
    metric : {"cosine", "euclidean"}

    Returns
    -------
    ndarray of shape (n_queries, at most n_candidates), int64
        With room for the largest rounding error there can be, so that no true neighbour is left out.
    """
    if candidates.shape[1] <= k:
        return candidates
    faiss = require("faiss")
    (m, n), d = candidates.shape, queries.shape[1]
    far, places = np.empty((m, n), np.float32), np.ascontiguousarray(candidates)
    by_rows = faiss.fvec_inner_products_by_idx if metric == "cosine" else faiss.fvec_L2sqr_by_idx
    by_rows(*map(faiss.swig_ptr, (far, queries, vectors, places)), d, m, n)
    if metric == "cosine":
        np.negative(far, out=far)
    far[candidates < 0] = np.inf
    kth = np.partition(far, k - 1, axis=1)[:, k - 1]
    slack = 4 * (d + 16) * _UNIT
    limit = kth + slack if metric == "cosine" else kth * np.float32(1 + slack)
    most = max(k, int(np.count_nonzero(far <= limit[:, None], axis=1).max()))
    if most >= n:
        return candidates
    return np.take_along_axis(candidates, np.argpartition(far, most - 1, axis=1)[:, :most], axis=1)


def n_lists_for(n_lists, n):
    """Return how many lists n vectors get: "auto" is the power of two nearest to the square root of n."""
    if n_lists != "auto" and n_lists > n:
        raise ValueError(
            f"n_lists={n_lists} exceeds the {n} vectors to train on; use n_lists='auto' or <= {n}"
        )
    return 2 ** round(np.log2(n) / 2) if n_lists == "auto" else int(n_lists)


def quiet(clusterings, seed):
    """Seed the k-means of faiss, and let them take few points without a warning on stderr."""
    for clustering in clusterings:
        clustering.seed, clustering.min_points_per_centroid = seed, 1


def listed(lists, numbers):
    """Yield what is in the given lists: number, ids (n,) int64 and codes (n, code size) uint8, not copied."""
    faiss = require("faiss")
    inverted = lists.invlists
    for number in numbers:
        size = inverted.list_size(int(number))
        if size:
            ids = faiss.rev_swig_ptr(inverted.get_ids(int(number)), size)
            codes = faiss.rev_swig_ptr(inverted.get_codes(int(number)), size * inverted.code_size)
            yield int(number), ids, codes.reshape(size, inverted.code_size)


def read(path, mmap):
    """Read a structure from a file, or map it."""
    faiss = require("faiss")
    if not mmap:
        return faiss.read_index(str(path))
    if not hasattr(faiss, "IO_FLAG_MMAP_IFC"):
        raise ImportError(
            f"faiss {faiss.__version__} cannot map its files; pip install -U faiss-cpu, or load without mmap=True"
        )
    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)


def copied(structure):
    """Return a copy in memory of a mapped structure. (faiss ends the process where a mapped one is changed.)"""
    faiss = require("faiss")
    return faiss.deserialize_index(faiss.serialize_index(structure))
