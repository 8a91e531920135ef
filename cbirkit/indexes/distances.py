"""Distances between queries and stored rows, in blocks: fast scores that rule rows out, exact distances that decide.

`DenseRows` (float vectors) and `PackedRows` (bits) answer the same five questions for `exhaustive.nearest`:
``begin``, ``scores``, ``limit``, ``widen`` and ``distances``. A score may be a rounded distance, less what is the same
for all rows; ``limit`` and ``widen`` allow for the largest rounding error there can be, so that no true neighbour is
ever ruled out.
"""

import math

import numpy as np

METRICS = ("cosine", "euclidean")
_LARGE = 2**22  # numbers that no processor's cache holds
_UNIT = 2.0**-24  # unit roundoff of float32
_LARGEST = np.finfo(np.float32).max


def unit_rows(vectors):
    """Scale each row to length 1 (rows of zeros stay zero).

    Parameters
    ----------
    vectors : ndarray of shape (n, n_dims), float32

    Returns
    -------
    ndarray of shape (n, n_dims), float32

    Examples
    --------
    >>> unit_rows(np.array([[3, 4], [0, 0]], dtype=np.float32)).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    unit = np.empty(vectors.shape, np.float32)
    for start in range(0, len(vectors), 1024):  # float64 norms: float32 ones overflow and underflow
        block = vectors[start : start + 1024].astype(np.float64)
        norms = np.sqrt(_squares(block))
        norms[norms == 0] = 1
        block /= norms[:, None]
        unit[start : start + 1024] = block
    return unit


def one_query(X, n_dims, metric):
    """Prepare a single query in few steps: (1, n_dims) float32 -> the same, of length 1 under the cosine distance.

    None where there is more to say of it: other types and shapes, zeros, NaN, infinity, very large values.
    """
    if (
        type(X) is not np.ndarray
        or X.shape != (1, n_dims)
        or X.dtype != np.float32
        or not X.flags.c_contiguous
    ):
        return None
    wide = X.astype(np.float64)
    squared = float(_squares(wide)[0])
    if not 1e-60 < squared < 1e36 / n_dims:
        return None
    if metric == "euclidean":
        return X
    wide /= math.sqrt(squared)
    return wide.astype(np.float32)


def _squares(gap):
    """Sums of squares along the last axis: the same for a vector, to the bit, alone or among others."""
    return np.einsum("...d,...d->...", gap, gap)


class DenseRows:
    """Float vectors under the cosine or Euclidean distance.

    Parameters
    ----------
    vectors : ndarray of shape (n_rows, n_dims), float32
        For the cosine distance, rows of length 1 or 0 (see `unit_rows`).
    metric : {"cosine", "euclidean"}
        Cosine: 1 - cos, in [0, 2], and 1 where either vector is zero. Euclidean: not squared.
    alive : ndarray of shape (n_rows,), bool, optional
        Rows that may be returned; default all.
    """

    def __init__(self, vectors, metric, alive=None):
        self.vectors, self.metric, self.alive = vectors, metric, alive
        self.n_rows, self.n_dims = vectors.shape
        self.centre = None

    def _centre_rows(self):
        # once all rows are looked at. |q - v|^2 = |q-c|^2 + |v-c|^2 - 2 (q-c).(v-c): around the mean c, far less is cancelled than around 0
        self.centre = self.vectors.mean(axis=0, dtype=np.float64)
        self.squared = np.empty(self.n_rows, np.float32)  # |v-c|^2
        longest = 0.0
        for start in range(0, self.n_rows, 8192):
            block = self.vectors[start : start + 8192].astype(np.float64)
            longest = max(longest, np.square(block).sum(axis=1).max())
            self.squared[start : start + 8192] = np.square(block - self.centre).sum(axis=1)
        self.longest = np.sqrt(longest)

    def begin(self, queries):
        """Return what `scores` needs of a block of queries (m, n_dims), as a dict."""
        error = 1.01 * (self.n_dims + 16) * _UNIT  # of a float32 dot product of vectors of length 1
        if self.metric == "cosine":  # the score is -cos
            return {
                "queries": -queries,
                "constant": 1.0,
                "error": np.full(len(queries), error),
                "out": None,
            }
        if self.centre is None:
            self._centre_rows()
        centred = queries.astype(np.float64) - self.centre
        squared = np.square(centred).sum(axis=1)
        length = np.sqrt(squared)
        spread = (length + np.sqrt(self.squared.max())) ** 2
        shift = 2 * length * (self.longest + np.sqrt(np.square(self.centre).sum()))
        return {
            "queries": (-2 * centred).astype(np.float32),
            "constant": squared + 2 * centred @ self.centre,
            "error": error * (spread + shift),
            "out": None,
        }

    def scores(self, block, start, stop):
        """Return rounded (squared) distances less a constant to the rows from `start` to `stop`, (m, stop - start).

        The next call with the same block may write over them.
        """
        shape = len(block["queries"]), stop - start
        if block["out"] is None or block["out"].shape != shape:
            block["out"] = np.empty(shape, np.float32)
        scores = block["out"]
        if len(scores) == 1 and self.n_dims * shape[1] > _LARGE:  # sooner than OpenBLAS, measured
            np.einsum("ij,j->i", self.vectors[start:stop], block["queries"][0], out=scores[0])
        else:
            np.matmul(block["queries"], self.vectors[start:stop].T, out=scores)
        if self.metric == "euclidean":
            scores += self.squared[start:stop]
        if self.alive is not None:
            scores[:, ~self.alive[start:stop]] = np.inf
        return scores

    def limit(self, block, distances):
        """Return a score (m,) below which every row nearer than `distances` (m,) lies."""
        far = distances.astype(np.float64)
        far = far if self.metric == "cosine" else far**2
        return np.minimum(far - block["constant"] + block["error"], _LARGEST).astype(np.float32)

    def widen(self, block, scores, which):
        """Return the largest score that a row can have which is nearer than some row with that score."""
        return np.minimum(scores + 2 * block["error"][which], _LARGEST).astype(np.float32)

    def distances(self, queries, which, rows):
        """Return the distances (p,), float32, between ``queries[which]`` and the stored `rows`, by differences."""
        out = np.empty(len(rows), np.float32)
        step = max(1, 2**17 // self.n_dims)  # 1 MiB of float64
        for start in range(0, len(rows), step):
            some = slice(start, start + step)
            out[some] = self._by_differences(queries.take(which[some], axis=0), rows[some])
        return out

    def between(self, queries, rows):
        """Return the same for `rows` (m, c) of each query (m, n_dims): (m, c); row -1 is the last."""
        out = np.empty(rows.shape, np.float32)
        step = max(1, 2**17 // (self.n_dims * max(1, rows.shape[1])))
        for start in range(0, len(rows), step):
            some = slice(start, start + step)
            out[some] = self._by_differences(queries[some, None], rows[some])
        return out

    def _by_differences(self, queries, rows):
        return by_differences(queries, take_rows(self.vectors, rows), self.metric)


def take_rows(vectors, rows):
    """Return ``vectors[rows]``, sooner."""
    if vectors.flags.aligned:
        return vectors.take(rows, axis=0)
    # mapped from within a file: as bytes, since NumPy would first copy all of them to where floats belong
    return vectors.view(np.uint8).take(rows, axis=0).view(np.float32)


class FoundRows:
    """Vectors that a search brought along, (n_queries, n_found, n_dims): their distances, for `exhaustive.refine`."""

    alive = None

    def __init__(self, vectors, metric):
        self.vectors, self.metric = vectors, metric

    def between(self, queries, rows):
        """Return the distances (n_queries, n_found) to each query (n_queries, n_dims), float32."""
        out = np.empty(rows.shape, np.float32)
        step = max(1, 2**17 // self.vectors[0].size)
        for start in range(0, len(rows), step):
            some = slice(start, start + step)
            out[some] = by_differences(queries[some, None], self.vectors[some], self.metric)
        return out


def by_differences(queries, vectors, metric):
    """Return the distances along the last axis, float64, from differences in float64; as `DenseRows` defines them."""
    gap = vectors.astype(np.float64)
    gap -= queries
    squared = _squares(gap)
    if metric == "euclidean":
        return np.sqrt(squared, out=squared)
    # |u - v|^2 = 2 (1 - cos) for vectors of length 1; from and to a vector of zeros it is 1
    if squared.size and (squared.max() > 0.99 or not queries[..., 0].all()):
        squared[~(queries.any(axis=-1) & vectors.any(axis=-1))] = 2
        np.minimum(squared, 4, out=squared)
    squared /= 2
    return squared


if hasattr(np, "bitwise_count"):
    _bit_count = np.bitwise_count
else:  # numpy 1
    _BITS = np.unpackbits(
        np.arange(2**16, dtype=np.uint16).view(np.uint8).reshape(-1, 2), axis=1
    ).sum(axis=1, dtype=np.uint8)

    def _bit_count(values):
        values = np.ascontiguousarray(values)
        if values.dtype == np.uint8:
            return _BITS[values]
        return _BITS[values.view(np.uint16)].reshape(*values.shape, -1).sum(axis=-1, dtype=np.uint8)


class PackedRows:
    """Packed bits under the Hamming distance, the number of differing bits.

    Parameters
    ----------
    codes : ndarray of shape (n_rows, n_bytes), uint8
    alive : ndarray of shape (n_rows,), bool, optional
        Rows that may be returned; default all.
    """

    def __init__(self, codes, alive=None):
        self.codes, self.alive = codes, alive
        self.n_rows, n_bytes = codes.shape
        self.words = self._words(codes)  # (n_words, n_rows)
        self.dtype = np.uint16 if n_bytes * 8 < 2**16 - 1 else np.uint32

    @staticmethod
    def _words(codes):
        n, n_bytes = codes.shape
        padded = np.zeros((n, -(-n_bytes // 8) * 8), np.uint8)
        padded[:, :n_bytes] = codes
        return np.ascontiguousarray(padded.view(np.uint64).T)

    def begin(self, queries):
        """Return what `scores` needs of a block of queries (m, n_bytes)."""
        return self._words(queries)  # (n_words, m)

    def scores(self, block, start, stop):
        """Return the distances to the rows from `start` to `stop`, (m, stop - start)."""
        scores = np.zeros((block.shape[1], stop - start), self.dtype)
        for query, stored in zip(block, self.words, strict=True):
            scores += _bit_count(query[:, None] ^ stored[None, start:stop])
        if self.alive is not None:
            scores[:, ~self.alive[start:stop]] = np.iinfo(self.dtype).max
        return scores

    def limit(self, block, distances):
        """Return the score (m,) below which a row beats `distances` (m,); a later row at the same distance loses."""
        most = np.iinfo(self.dtype).max
        return np.minimum(distances, most, dtype=np.float64).astype(self.dtype)

    def widen(self, block, scores, which):
        """Return `scores`: they are exact."""
        return scores

    def distances(self, queries, which, rows):
        """Return the distances (p,), float32, between ``queries[which]`` and the stored `rows`."""
        out = np.empty(len(rows), np.float32)
        step = max(1, 2**24 // self.codes.shape[1])
        for start in range(0, len(rows), step):
            some = slice(start, start + step)
            out[some] = _bit_count(queries[which[some]] ^ self.codes[rows[some]]).sum(
                axis=1, dtype=np.int64
            )
        return out
