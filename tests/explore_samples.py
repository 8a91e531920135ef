"""What the tests of the explorer share: a retriever in a few lines, painted images, files as a page sends them."""

import io

import numpy as np
from PIL import Image

from cbirkit.images import ImageCollection
from cbirkit.ranking import Ranking

HOSTILE = "<img src=x onerror=alert(1)> $x_1$ \N{SNOWMAN}"


class MeanColour:
    """A retriever as the contract has it, in a few lines: nearest mean colour."""

    def __init__(self, slow=None):
        self.slow = slow

    def fit(self, images):
        self.images = images
        self.means = np.array([image.reshape(-1, 3).mean(0) for image in images])
        return self

    def search(self, queries, k=10, *, exclude_self=True):
        if self.slow:
            raise self.slow
        if isinstance(queries, str):
            queries = self.images[[queries]]
        own = isinstance(queries, ImageCollection)
        images = queries if own else [queries]
        means = np.array([image.reshape(-1, 3).mean(0) for image in images])  # (n, 3)
        distances = np.linalg.norm(means[:, None] - self.means[None], axis=2)
        ids = queries.ids if own else None
        return Ranking.from_distances(
            distances, ids, self.images.ids, k=k, exclude_self=exclude_self and own
        )


def painted(n=30, size=(24, 32)):
    """n images of one colour each; label by tens, shades of red to blue."""
    shades = np.linspace(0, 255, n).astype(np.uint8)
    arrays = [np.full((*size, 3), (s, 80, 255 - s), np.uint8) for s in shades]
    labels = [HOSTILE if i < 10 else f"group {i // 10}" for i in range(n)]
    return ImageCollection.from_arrays(arrays, labels, ids=[f"folder/{i}.jpg" for i in range(n)])


def jpeg(pixels=None, **options):
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((40, 60, 3), np.uint8) if pixels is None else pixels).save(
        buffer, "JPEG", **options
    )
    return buffer.getvalue()


def upload(cropper, data, name="mine.jpg", part=16):
    chunks = [data[i : i + part] for i in range(0, len(data), part)] or [b""]
    for i, chunk in enumerate(chunks):
        message = {
            "event": "file",
            "name": name,
            "size": len(data),
            "part": i,
            "parts": len(chunks),
        }
        cropper.receive(message, [memoryview(chunk)])
