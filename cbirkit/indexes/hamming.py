"""Exact search over packed bits."""

import numpy as np

from cbirkit.indexes.base import BaseIndex
from cbirkit.indexes.distances import PackedRows
from cbirkit.indexes.exhaustive import BLOCK_BYTES
from cbirkit.indexes.validation import check_count, check_shape


class Hamming(BaseIndex):
    """Compare packed bits by the number of bits that differ, with every item.

    Distances tie often; items at equal distances come in the order of their keys, which is as good as any other
    order: score such rankings with `cbirkit.metrics.expected_average_precision`.

    Parameters
    ----------
    block_bytes : int
        About how much memory a search may take beside the codes and the result.

    Examples
    --------
    >>> import numpy as np
    >>> embeddings = np.array([[0.3, -1.0, 0.2], [-0.1, 0.5, 0.9], [0.2, -0.4, -0.7]])
    >>> codes = np.packbits(embeddings > 0, axis=1)  # (3, 1) uint8
    >>> distances, keys = Hamming().fit(codes).kneighbors(n_neighbors=1)
    >>> distances.ravel().tolist(), keys.ravel().tolist()
    ([1.0, 2.0, 1.0], [2, 0, 0])
    """

    _dtype = np.dtype(np.uint8)

    def __init__(self, *, block_bytes=BLOCK_BYTES):
        self.block_bytes = block_bytes

    def _check_params(self):
        check_count("block_bytes", self.block_bytes)

    def _check_rows(self, X, n_dims):
        X = check_shape(X, n_dims)
        if X.dtype != np.uint8:
            raise TypeError(
                f"Hamming compares packed bits, uint8, and got {X.dtype}; pack them with np.packbits(X > 0, axis=1)"
            )
        return np.array(X, order="C")

    def _check_queries(self, X):
        return self._check_rows(X, self.n_features_in_)

    def _stored(self):
        alive = None if self.n_indexed_ == len(self._keys) else self._alive
        return PackedRows(self._vectors, alive)
