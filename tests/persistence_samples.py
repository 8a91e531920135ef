"""Classes of the user, for the tests of persistence."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin


class Thumb(TransformerMixin, BaseEstimator):
    """A small encoder of the user's own."""

    _not_identity = ("batch_size",)

    def __init__(self, size=4, batch_size=8):
        self.size = size
        self.batch_size = batch_size

    def fit(self, images, y=None):
        self.offset_ = np.float32(1.5)
        return self

    def transform(self, images):
        return np.stack(
            [np.resize(image[:, :, 0], self.size).astype(np.float32) for image in images]
        )


class Odd:
    def __init__(self, value):
        self.value = value
