"""The pixels themselves, made small."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from .base import PerImage, check_count, l2_normalise, resize


class TinyImage(PerImage, TransformerMixin, BaseEstimator):
    """The image squeezed to `size` x `size` RGB pixels, its mean taken away, L2-normalised.

    The cosine of two such vectors is the normalised correlation of the small images: it ignores brightness and
    contrast. An image of one grey value is a zero vector (cosine distance 1 from everything).

    Parameters
    ----------
    size : int
        Pixels a side; each is the mean of the area that it covers (in 8 bits). Smaller images are enlarged linearly.

    References
    ----------
    Torralba, Fergus and Freeman, "80 million tiny images", TPAMI 2008, doi:10.1109/TPAMI.2008.128.

    Examples
    --------
    >>> image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    >>> TinyImage(4).transform([image]).shape
    (1, 48)
    """

    def __init__(self, size=16):
        self.size = size

    def _check(self):
        check_count("size", self.size)

    def _encode(self, image):
        pixels = resize(image, self.size, self.size).astype(
            np.int64
        )  # (h, w, 3) -> (size, size, 3)
        # n * pixel - sum, in whole numbers: a plain image gives exact zeros, not rounding noise to be blown up
        return l2_normalise((pixels * pixels.size - pixels.sum()).ravel().astype(np.float64))
