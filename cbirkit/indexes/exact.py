"""Exact search over float vectors."""

from cbirkit.indexes.base import BaseIndex
from cbirkit.indexes.exhaustive import BLOCK_BYTES
from cbirkit.indexes.validation import check_count


class Exact(BaseIndex):
    """Compare every query with every item: always right, slower in proportion to the number of items.

    A matrix product in float32 rules out rows in blocks, with room for its largest rounding error; distances of what
    is left are taken from differences in float64, so that nothing is lost to cancellation and a vector is at
    distance 0 from its copy. Items at equal (float32) distances come in the order of their keys.

    Parameters
    ----------
    metric : {"cosine", "euclidean"}
        Cosine: 1 - cos, in [0, 2]; 1 from and to a vector of zeros, itself included. Euclidean: not squared.
    block_bytes : int
        About how much memory a search may take beside the vectors and the result.

    Examples
    --------
    >>> import numpy as np
    >>> index = Exact("euclidean").fit(np.array([[0.0], [1.0], [5.0]]))
    >>> index.add([[6.0]])
    array([3])
    >>> distances, keys = index.remove(2).kneighbors([[5.0]], n_neighbors=2)
    >>> distances.tolist(), keys.tolist()
    ([[1.0, 4.0]], [[3, 1]])
    """

    def __init__(self, metric="cosine", *, block_bytes=BLOCK_BYTES):
        self.metric = metric
        self.block_bytes = block_bytes

    def _check_params(self):
        super()._check_params()
        check_count("block_bytes", self.block_bytes)
