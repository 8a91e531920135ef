"""Small encoded pictures for widgets, kept in memory so that the second look costs nothing."""

import io
import logging
import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np
from PIL import Image

from ..images import ImageProblem

log = logging.getLogger(__name__)


class ThumbnailCache:
    """Thumbnails of images of any collection as JPEG (or PNG, where tiny), the least used forgotten first.

    Parameters
    ----------
    max_bytes : int
        What the encoded pictures may take together.

    Examples
    --------
    >>> from cbirkit.images import ImageCollection
    >>> images = ImageCollection.from_arrays(np.zeros((2, 90, 120)), ids=["a", "b"])
    >>> ThumbnailCache().get(images, ["b"], 64)[0][:2].hex()  # how every JPEG starts
    'ffd8'
    """

    def __init__(self, max_bytes=64 * 2**20):
        self.max_bytes = max_bytes
        self.n_bytes = 0
        self._kept = OrderedDict()  # (id of the collection, image id, size) -> (collection, bytes)
        self._lock = Lock()
        self._pool = None

    def get(self, images, ids, size):
        """Encoded thumbnails of some images.

        Parameters
        ----------
        images : ImageCollection
        ids : sequence of str
        size : int
            Pixels of the longer side, at most.

        Returns
        -------
        list of bytes
            Empty bytes for an image that cannot be read (the log says why).
        """
        ids = list(ids)
        found = {i: self._recall(images, i, size) for i in ids}
        missing = [i for i, encoded in found.items() if encoded is None]
        if len(missing) > 1:
            if self._pool is None:  # decoders let go of Python's lock, so threads help
                self._pool = ThreadPoolExecutor(
                    min(4, os.cpu_count() or 1), thread_name_prefix="thumbnails"
                )
            made = list(self._pool.map(lambda i: encoded_thumbnail(images, i, size), missing))
        else:
            made = [encoded_thumbnail(images, i, size) for i in missing]
        for i, encoded in zip(missing, made, strict=True):
            found[i] = encoded
            self._keep((id(images), i, size), images, encoded)
        return [found[i] for i in ids]

    def __len__(self):
        return len(self._kept)

    def _recall(self, images, image_id, size):
        with self._lock:
            entry = self._kept.get((id(images), image_id, size))
            if entry is None:
                return None
            self._kept.move_to_end((id(images), image_id, size))
            return entry[1]

    def _keep(self, key, images, encoded):
        """Remember one; the collection is kept with it, so that its id() cannot come to mean another."""
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = images, encoded
            self.n_bytes += len(encoded)
            while self.n_bytes > self.max_bytes and self._kept:
                _, (_, dropped) = self._kept.popitem(last=False)
                self.n_bytes -= len(dropped)


def encoded_thumbnail(images, image_id, size):
    """JPEG or PNG bytes of one thumbnail; empty bytes if the image cannot be read."""
    try:
        return encode(images.thumbnail(image_id, size))
    except (ImageProblem, OSError) as problem:
        log.info("no thumbnail: %s", problem)
        return b""


def encode(pixels):
    """Bytes of an RGB uint8 image (h, w, 3): JPEG, or PNG where it is so small that JPEG would blur it."""
    buffer = io.BytesIO()
    tiny = max(pixels.shape[:2]) <= 48
    Image.fromarray(np.ascontiguousarray(pixels)).save(
        buffer, format="PNG" if tiny else "JPEG", quality=85
    )
    return buffer.getvalue()
