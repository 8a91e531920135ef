"""Distances between queries and stored rows, in blocks: fast scores that rule rows out, exact distances that decide.

`DenseRows` (float vectors) and `PackedRows` (bits) answer the same five questions for `exhaustive.nearest`:
``begin``, ``scores``, ``limit``, ``widen`` and ``distances``. A score may be a rounded distance; ``limit`` and
``widen`` allow for the largest rounding error there can be, so that no true neighbour is ever ruled out.
"""

import numpy as np

METRICS = ("cosine", "euclidean")
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
    for start in range(0, len(vectors), 8192):  # float64 norms: float32 ones overflow and underflow
        block = vectors[start : start + 8192].astype(np.float64)
        norms = np.sqrt(np.square(block).sum(axis=1, keepdims=True))
        unit[start : start + 8192] = block / np.where(norms > 0, norms, 1)
    return unit


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
        if metric == "euclidean":
            self._centre_rows()

    def _centre_rows(self):
        # |q - v|^2 = |q-c|^2 + |v-c|^2 - 2 (q-c).(v-c): around the mean c, far less is cancelled than around 0
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
        if self.metric == "cosine":
            return {"queries": queries, "error": np.full(len(queries), error)}
        centred = queries.astype(np.float64) - self.centre
        squared = np.square(centred).sum(axis=1)
        length = np.sqrt(squared)
        spread = (length + np.sqrt(self.squared.max())) ** 2
        shift = 2 * length * (self.longest + np.sqrt(np.square(self.centre).sum()))
        constant = (squared + 2 * centred @ self.centre).astype(np.float32)
        return {
            "queries": centred.astype(np.float32),
            "constant": constant[:, None],
            "error": error * (spread + shift),
        }

    def scores(self, block, start, stop):
        """Return rounded distances (Euclidean: squared) to the rows from `start` to `stop`, (m, stop - start)."""
        scores = block["queries"] @ self.vectors[start:stop].T
        if self.metric == "cosine":
            np.subtract(1, scores, out=scores)
        else:
            scores *= -2
            scores += self.squared[start:stop]
            scores += block["constant"]
        if self.alive is not None:
            scores[:, ~self.alive[start:stop]] = np.inf
        return scores

    def limit(self, block, distances):
        """Return a score (m,) below which every row nearer than `distances` (m,) lies."""
        far = distances.astype(np.float64)
        far = far if self.metric == "cosine" else far**2
        return np.minimum(far + block["error"], _LARGEST).astype(np.float32)

    def widen(self, block, scores, which):
        """Return the largest score that a row can have which is nearer than some row with that score."""
        return np.minimum(scores + 2 * block["error"][which], _LARGEST).astype(np.float32)

    def distances(self, queries, which, rows):
        """Return the distances (p,), float32, between ``queries[which]`` and the stored `rows`, by differences."""
        out = np.empty(len(rows), np.float32)
        step = max(1, 2**21 // self.n_dims)  # 16 MiB of float64
        for start in range(0, len(rows), step):
            some = slice(start, start + step)
            stored = self.vectors[rows[some]]
            gap = queries[which[some]].astype(np.float64)
            zero = ~(gap.any(axis=1) & stored.any(axis=1)) if self.metric == "cosine" else None
            gap -= stored
            np.square(gap, out=gap)
            total = gap.sum(axis=1)
            if self.metric == "cosine":  # |u - v|^2 = 2 (1 - cos) for vectors of length 1
                out[some] = np.where(zero, 1, np.clip(total / 2, 0, 2))
            else:
                out[some] = np.sqrt(total)
        return out


if hasattr(np, "bitwise_count"):
    _bit_count = np.bitwise_count
else:  # numpy 1
    _BITS = np.unpackbits(np.arange(2**16, dtype=np.uint16).view(np.uint8).reshape(-1, 2), axis=1).sum(
        axis=1, dtype=np.uint8
    )

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
            out[some] = _bit_count(queries[which[some]] ^ self.codes[rows[some]]).sum(axis=1, dtype=np.int64)
        return out
