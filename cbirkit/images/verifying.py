"""Do something with every image of a collection, on threads that share a budget of pixels; find those that cannot be used."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm.auto import tqdm

from .files import DECODING, ImageProblem

_BLOCK = 256  # images handed to the threads at a time, so that memory stays flat


def map_images(function, images):
    """Yield ``function(images, position)`` for every image, in order, or the ImageProblem that it raises.

    Several threads decode, but no more than `files.PIXELS_AT_ONCE` pixels are in memory together: what `function` reads
    counts until it returns, so it should not give pixels back.
    """

    def one(position):
        with DECODING.kept():
            try:
                return function(images, position)
            except ImageProblem as problem:
                return problem

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(images), _BLOCK):
            yield from pool.map(one, range(start, min(start + _BLOCK, len(images))))


def decode_all(images, progress=True):
    """Decode every image, on several threads.

    Returns
    -------
    good : ndarray of shape (n_images,), bool
    problems : list of (name, reason)
    """
    looked_at = map_images(lambda images, position: images[position].shape, images)
    looked_at = list(tqdm(looked_at, desc="verify", total=len(images), disable=not progress))
    good = np.array([not isinstance(one, ImageProblem) for one in looked_at], dtype=bool)
    return good, [(one.name, one.reason) for one in looked_at if isinstance(one, ImageProblem)]
