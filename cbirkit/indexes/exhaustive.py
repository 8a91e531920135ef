"""The k nearest stored rows by looking at all of them, in blocks of bounded size."""

import numpy as np

BLOCK_BYTES = 64 * 2**20
_BYTES_A_SCORE = 16  # the score, its mask, and room for partitioning


def nearest(stored, queries, k, *, block_bytes=BLOCK_BYTES):
    """Find the k nearest rows of each query; ties go to the smaller row.

    Parameters
    ----------
    stored : DenseRows or PackedRows
        At least k of its rows are alive.
    queries : ndarray of shape (n_queries, n_dims)
        Prepared as the stored rows are.
    k : int
    block_bytes : int
        About the largest piece of memory used beside the result.

    Returns
    -------
    distances : ndarray of shape (n_queries, k), float32, ascending
    rows : ndarray of shape (n_queries, k), int64
    """
    distances = np.empty((len(queries), k), np.float32)
    rows = np.empty((len(queries), k), np.int64)
    budget = max(1, block_bytes // _BYTES_A_SCORE)
    width = (
        16384 if len(queries) > 8 else 65536
    )  # measured; many merges of a large k cost more than large blocks
    width = min(stored.n_rows, max(width, 64 * k), budget)
    height = max(1, min(64, budget // width))
    for start in range(0, len(queries), height):
        some = slice(start, start + height)
        distances[some], rows[some] = _nearest_of_block(stored, queries[some], k, width)
    return distances, rows


def _nearest_of_block(stored, queries, k, width):
    best = np.full((len(queries), k), np.inf, np.float32)
    best_rows = np.full((len(queries), k), -1, np.int64)
    block = stored.begin(queries)
    for start in range(0, stored.n_rows, width):
        scores = stored.scores(block, start, min(start + width, stored.n_rows))  # (m, width)
        near = scores < stored.limit(block, best[:, -1])[:, None]
        if scores.shape[1] > k:
            crowded = np.flatnonzero(np.count_nonzero(near, axis=1) > 2 * k)
            if len(crowded):
                kth = np.partition(scores[crowded], k - 1, axis=1)[:, k - 1]
                near[crowded] &= scores[crowded] <= stored.widen(block, kth, crowded)[:, None]
        which, columns = np.divmod(
            np.flatnonzero(near), near.shape[1]
        )  # faster than nonzero of two dimensions
        if len(which):
            found = stored.distances(queries, which, columns + start)
            best, best_rows = _merge(best, best_rows, which, found, columns + start)
    return best, best_rows


def _merge(best, best_rows, which, found, rows):
    """Merge the found (query, distance, row) into the k best of each query, by distance, then row."""
    m, k = best.shape
    which = np.concatenate([np.repeat(np.arange(m), k), which])
    found = np.concatenate([best.ravel(), found])
    rows = np.concatenate([best_rows.ravel(), rows])
    order = np.lexsort((rows, found, which))
    first = np.searchsorted(which[order], np.arange(m))
    chosen = order[first[:, None] + np.arange(k)]
    return found[chosen], rows[chosen]


def refine(stored, queries, candidates, k):
    """Order candidate rows by exact distance and keep the k nearest.

    Parameters
    ----------
    stored : DenseRows or PackedRows
    queries : ndarray of shape (n_queries, n_dims)
    candidates : ndarray of shape (n_queries, n_candidates), int64
        Rows; -1 and rows that are not alive are passed over. No row twice in one line.
    k : int

    Returns
    -------
    distances : ndarray of shape (n_queries, k), float32, ascending, inf where there are fewer than k
    rows : ndarray of shape (n_queries, k), int64, -1 there
    """
    width = candidates.shape[1]
    if width < k:
        candidates = np.pad(candidates, ((0, 0), (0, k - width)), constant_values=-1)
    good = candidates >= 0
    if stored.alive is not None:
        good &= stored.alive[candidates]
    which, columns = np.nonzero(good)
    found = np.full(candidates.shape, np.inf, np.float32)
    found[which, columns] = stored.distances(queries, which, candidates[which, columns])
    rows = np.where(good, candidates, -1)
    order = np.lexsort((rows, found), axis=-1)[:, :k]
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(rows, order, axis=1)


def leave_out(distances, rows, own):
    """Drop each item itself from its k + 1 neighbours (n, k + 1), or the last where it is not among them."""
    itself = rows == own[:, None]
    itself[~itself.any(axis=1), -1] = True
    shape = (len(rows), rows.shape[1] - 1)
    return distances[~itself].reshape(shape), rows[~itself].reshape(shape)
