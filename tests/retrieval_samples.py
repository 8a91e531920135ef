"""Encoders and images for the tests of the retriever."""

import numpy as np
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin

from cbirkit import indexes
from cbirkit.images import ImageCollection


class Means(TransformerMixin, BaseEstimator):
    """Colours of a few places of the image."""

    def __init__(self, power=1.0):
        self.power = power

    def fit(self, images, y=None):
        return self

    def __sklearn_is_fitted__(self):
        return True

    def transform(self, images):
        return np.stack(
            [np.resize(i.astype(np.float32), (12, 30)).mean(axis=1) ** self.power for i in images]
        )


class Centred(Means):
    """Learns the mean of its training images."""

    def fit(self, images, y=None):
        self.mean_ = super().transform(images).mean(axis=0)
        return self

    def __sklearn_is_fitted__(self):
        return hasattr(self, "mean_")

    def transform(self, images):
        return super().transform(images) - self.mean_


class Careless(BaseEstimator):
    """Has a fit that learns nothing, and does not say so."""

    def fit(self, images, y=None):
        return self

    def transform(self, images):
        return Means().transform(images)


def noise(n, seed=0):
    return list(np.random.RandomState(seed).randint(0, 256, (n, 10, 12, 3), np.uint8))


def exact():
    return indexes.Exact("euclidean")


def collection(n=8, seed=0, prefix="i"):
    labels = [f"class {i % 3}" for i in range(n)]
    return ImageCollection.from_arrays(
        noise(n, seed), labels, ids=[f"{prefix}{i}" for i in range(n)]
    )


def write_photos(tmp_path):
    """Folder with 8 files in two sub-folders; one is broken."""
    for i, image in enumerate(noise(8)):
        path = tmp_path / "photos" / ("cat" if i % 2 else "dog") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    path.write_bytes(path.read_bytes()[:70])  # cat/7.png
    return tmp_path / "photos"


def by_hand(embeddings, query, leave_out=None):
    """Positions by distance, with loops."""
    distances = [float(np.sqrt(((row - query) ** 2).sum())) for row in embeddings]
    order = sorted(range(len(embeddings)), key=lambda p: (distances[p], p))
    return [p for p in order if p != leave_out]
