"""The k nearest stored rows by looking at all of them, in blocks of bounded size."""

import math
import operator

import numpy as np

BLOCK_BYTES = 64 * 2**20
_BYTES_A_SCORE = 16  # the score, its mask, and room for partitioning
_HALF, _LOW = np.uint64(32), np.uint64(2**32 - 1)
_NONE = np.uint64(0x7F800000FFFFFFFF)  # at infinity


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
    # measured: many queries share what is read of the rows; few are quicker with long blocks
    width = 65536 if 1 < len(queries) <= 8 else 4096
    width = min(stored.n_rows, max(width, 4 * k), budget)
    if len(queries) == 1 and width < stored.n_rows <= budget:
        return _nearest_of_one(stored, queries, k, width)
    height = max(1, min(256, budget // width))
    for start in range(0, len(queries), height):
        some = slice(start, start + height)
        distances[some], rows[some] = _nearest_of_block(stored, queries[some], k, width)
    return distances, rows


def _nearest_of_block(stored, queries, k, width):
    best = np.full((len(queries), k), _NONE)
    block = stored.begin(queries)
    limit = stored.limit(block, np.full(len(queries), np.inf, np.float32))
    waiting, n_waiting, start, merged = [], 0, 0, 0
    stop = min(
        width, max(4096, 4 * k), stored.n_rows
    )  # a short first block: it sets a limit for the others
    while start < stored.n_rows:
        scores = stored.scores(block, start, stop)  # (m, stop - start)
        which, columns = _below(stored, block, scores, limit, k)
        if len(which):
            waiting.append((which, columns + start))
            n_waiting += len(which)
        # merging at doubled sizes: seldom, and yet few rows are waiting
        if n_waiting and (
            stop >= 2 * merged or stop == stored.n_rows or 8 * n_waiting > scores.size
        ):
            which, found = (np.concatenate(part) for part in zip(*waiting, strict=True))
            best = _merge(best, which, _sortable(stored.distances(queries, which, found), found))
            limit = stored.limit(block, _unsorted(best[:, -1])[0])
            waiting, n_waiting, merged = [], 0, stop
        start, stop = stop, min(stop + width, stored.n_rows)
    return _unsorted(best)


def _nearest_of_one(stored, query, k, width):
    """The same for one query, all scores at once: few calls, and one product that reads all rows."""
    block = stored.begin(query)
    scores = stored.scores(block, 0, stored.n_rows)[0]
    near = np.arange(width) if stored.alive is None else np.flatnonzero(stored.alive)[:width]
    for _ in range(2):  # the k-th of the first rows, then of what is below it
        kth = np.partition(scores[near], k - 1)[k - 1]
        near = np.flatnonzero(scores <= stored.widen(block, kth[None], slice(None)))
        if len(near) <= 8 * k:
            break
    found = _sortable(stored.distances(query, np.zeros(len(near), np.int64), near), near)
    found.sort()
    return _unsorted(found[None, :k])


def _below(stored, block, scores, limit, k):
    """Return (query, column) of the scores below their limit that may be among the k least, by query."""
    near = scores < limit[:, None]
    if scores.shape[1] > k:
        crowded = np.flatnonzero(np.count_nonzero(near, axis=1) > 2 * k)
        if len(crowded):
            kth = np.partition(scores[crowded], k - 1, axis=1)[:, k - 1]
            near[crowded] &= scores[crowded] <= stored.widen(block, kth, crowded)[:, None]
    # faster than nonzero of two dimensions
    return np.divmod(np.flatnonzero(near), near.shape[1])


def _sortable(distances, rows):
    """Return numbers, uint64, that sort by distance, then row: the bits of a float32 >= 0 sort as it does."""
    return distances.view(np.uint32).astype(np.uint64) << _HALF | rows.astype(np.uint64) & _LOW


def _unsorted(numbers):
    """Return the distances and rows of `_sortable` numbers."""
    distances = (numbers >> _HALF).astype(np.uint32).view(np.float32)
    return distances, (numbers & _LOW).astype(np.int64)


def _merge(best, which, found):
    """Merge `found`, of the queries `which`, into the k least of each query, (m, k) ascending."""
    m, k = best.shape
    order = np.argsort(which, kind="stable")
    which, found = which[order], found[order]
    counts = np.bincount(which, minlength=m)
    place = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    every = np.full((m, k + counts.max()), _NONE)
    every[:, :k] = best
    every[which, k + place] = found
    every.sort(axis=1)
    return every[:, :k].copy()


def refine(stored, queries, candidates, k):
    """Order candidate rows by exact distance and keep the k nearest.

    Parameters
    ----------
    stored : DenseRows
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
    distances = stored.between(queries, candidates)
    if width == k and stored.alive is None and _in_order(distances, candidates):
        return distances, candidates
    bad = candidates < 0
    if stored.alive is not None:
        bad |= ~stored.alive[candidates]
    distances[bad] = np.inf
    numbers = _sortable(distances, candidates)
    numbers.sort(axis=1)
    distances, rows = _unsorted(numbers[:, :k])
    rows[distances == np.inf] = -1
    return distances, rows


def refine_one(vectors, metric, query, rows):
    """Return the distances of what was found for one query, in few steps: a search should not wait for NumPy.

    Parameters
    ----------
    vectors : ndarray of shape (k, n_dims), float32
        Of the `rows`.
    metric : {"cosine", "euclidean"}
    query : ndarray of shape (1, n_dims), float32
    rows : ndarray of shape (1, k), int64

    Returns
    -------
    ndarray of shape (1, k), float32, or None
        None where there is more to do: rows that are missing or not in their order, or vectors that may be zeros.
    """
    gap = np.subtract(vectors, query, dtype=np.float64)
    far = np.einsum("ij,ij->i", gap, gap).tolist()
    if metric == "euclidean":
        far = list(map(math.sqrt, far))
    elif max(far) > 0.99 or not query[0, 0]:
        return None
    else:
        far = [one / 2 for one in far]
    distances = np.array([far], np.float32)
    line = distances[0].tolist()
    good = min(rows[0].tolist()) >= 0 and all(map(operator.lt, line, line[1:]))
    return distances if good else None


def _in_order(distances, rows):
    """True if all rows are there, at growing distances: as most structures find them."""
    return rows.size > 0 and rows.min() >= 0 and bool((distances[:, 1:] > distances[:, :-1]).all())


def in_blocks(n, k, height, find):
    """Return the distances and rows, (n, k), that `find` returns for each slice of at most `height` queries."""
    distances, rows = np.empty((n, k), np.float32), np.empty((n, k), np.int64)
    for start in range(0, n, height):
        some = slice(start, min(start + height, n))
        distances[some], rows[some] = find(some)
    return distances, rows


def leave_out(distances, rows, own):
    """Drop each item itself from its k + 1 neighbours (n, k + 1), or the last where it is not among them."""
    itself = rows == own[:, None]
    itself[~itself.any(axis=1), -1] = True
    shape = (len(rows), rows.shape[1] - 1)
    return distances[~itself].reshape(shape), rows[~itself].reshape(shape)
