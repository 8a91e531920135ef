"""From images to embeddings, batch by batch."""

import contextlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer

from .._progress import bars
from ..images import ImageCollection, ImageProblem
from .reading import Reading, ahead
from .rows import MemoryRows, gather

logger = logging.getLogger(__name__)

_SHARD_BYTES = 32 << 20


@dataclass(frozen=True, eq=False)
class Embedded:
    """Embeddings of a collection.

    Attributes
    ----------
    embeddings : ndarray of shape (n_good, n_dims), float32 (or uint8, where the encoder gives packed bits)
        A read-only ``memmap`` where it comes from a store and is larger than 64 MB.
    positions : ndarray of shape (n_good,), int64
        Position in the collection of each row.
    problems : DataFrame with the columns ``name`` and ``reason``
        Images that could not be read.
    digests : ndarray of shape (n_good,), str
        Identify the contents of the images: equal for equal files, pixels or generator rows.
    stamps : list, one an image of the collection
        Size, times and inode of its file when it was read; empty where it could have changed since under the same; None for no file.
    silent : ndarray of shape (n_good,), bool
        Whether the encoder (before trailing steps of scikit-learn) gave only zeros, as for an image without key points.
    """

    embeddings: np.ndarray
    positions: np.ndarray
    problems: pd.DataFrame
    digests: np.ndarray
    stamps: list
    silent: np.ndarray


def embed(encoder, images, store=None, *, batch_size=64, progress=True):
    """Encode every image of a collection.

    Images are read in a second thread, a batch at a time: memory does not grow with the collection (but for the result, without a
    store). Equal contents are encoded once. Images that cannot be read are left out and reported.

    Parameters
    ----------
    encoder : estimator with ``transform(images) -> (n_images, n_dims)``
        Fitted if it learns. Each embedding must depend on its own image only. If it also has ``prepare(image) -> array`` and
        ``transform_prepared(list of arrays) -> (n_images, n_dims)``, images are prepared in the thread that reads.
    images : ImageCollection or sequence of images
    store : EmbeddingStore, optional
        Keeps the embeddings; None: they are computed anew.
    batch_size : int
        Images given to the encoder at once, fewer where they are large.
    progress : bool
        Show a progress bar if it takes longer than a second.

    Returns
    -------
    Embedded

    Raises
    ------
    TypeError
        `encoder` has no ``transform``.
    ValueError
        There is no image, or none can be read; the embeddings have a wrong shape or are not finite (the image is named).
    """
    images = _checked(encoder, images, batch_size)
    head, tail = split_pipeline(encoder)
    rows = MemoryRows() if store is None else store._rows(head)
    reading = Reading(
        images,
        rows,
        batch_size=batch_size,
        prepare=_ways(head)[0],
        cache_file=None if store is None else store.folder / "digests.sqlite",
    )
    if store is not None:
        with contextlib.suppress(OSError):  # reported when there is something to write
            store.folder.mkdir(parents=True, exist_ok=True)
    _fill(head, reading, rows, 0.0 if store is None else store.flush_seconds, progress)
    good = [position for position, key in enumerate(reading.keys) if key is not None]
    problems = pd.DataFrame(reading.problems, columns=["name", "reason"], dtype=object)
    if not good:
        name, reason = reading.problems[0]
        if len(images) == 1:
            raise ImageProblem(name, reason)
        raise ValueError(
            f"none of the {len(images)} images can be used; the first, {name!r}: {reason}"
        )
    if reading.problems:
        logger.warning("%d of %d images cannot be used, see .problems", len(problems), len(images))
    keys = [reading.keys[position] for position in good]
    silent = []
    blocks = _noting_zeros(rows.blocks(keys), silent)
    if tail is not None:
        blocks = _through(tail, blocks, images.ids[good])
    embeddings = gather(blocks, len(keys), None if store is None else store.folder)
    digests = np.array([key.hex() for key in keys], dtype=object)
    silent = np.concatenate(silent)
    if silent.any():
        logger.warning(
            "%d of %d embeddings are zero, as of images without key points",
            silent.sum(),
            len(silent),
        )
    return Embedded(
        embeddings, np.array(good, dtype=np.int64), problems, digests, reading.stamps, silent
    )


def _noting_zeros(blocks, silent):
    """The blocks, and of each into the list which rows are zero (packed bits never are)."""
    for block in blocks:
        silent.append(~block.any(axis=1) & (block.dtype != np.uint8))
        yield block


def split_pipeline(encoder):
    """Divide a pipeline into what needs the images and the last steps, which only transform embeddings.

    Returns
    -------
    head : estimator
        The encoder itself if it cannot be divided.
    tail : Pipeline or None
        Trailing steps of scikit-learn, or of classes with ``_on_vectors = True``, such as `cbirkit.encoders.PCAWhitening`.
    """
    if type(encoder) is not Pipeline:
        return encoder, None
    steps = [
        (name, step) for name, step in encoder.steps if step is not None and step != "passthrough"
    ]
    first = len(steps)
    while first and _is_vector_step(steps[first - 1][1]):
        first -= 1
    if first in (0, len(steps)):
        return encoder, None
    return steps[0][1] if first == 1 else Pipeline(steps[:first]), Pipeline(steps[first:])


def _is_vector_step(step):
    if getattr(type(step), "_on_vectors", False):  # of cbirkit or your own
        return True
    wrappers = (ColumnTransformer, FeatureUnion, FunctionTransformer, Pipeline)
    return type(step).__module__.startswith("sklearn.") and not isinstance(step, wrappers)


def _ways(encoder):
    """What is done to an image when it is read (or None), and how a batch of these is encoded."""
    if hasattr(encoder, "prepare") and hasattr(encoder, "transform_prepared"):
        return encoder.prepare, encoder.transform_prepared
    return None, encoder.transform


def check_encoder(encoder):
    """Raise TypeError unless `encoder` is an instance with ``transform``."""
    if isinstance(encoder, type):
        raise TypeError(
            f"the encoder is the class {encoder.__name__}; give an instance: {encoder.__name__}()"
        )
    if not hasattr(encoder, "transform"):
        raise TypeError(
            f"{type(encoder).__name__} is no encoder: it has no transform(images); see cbirkit.encoders"
        )


def _checked(encoder, images, batch_size):
    check_encoder(encoder)
    if (
        isinstance(batch_size, bool)
        or not isinstance(batch_size, int | np.integer)
        or batch_size < 1
    ):
        raise ValueError(f"batch_size={batch_size!r} is not a positive whole number; use 64, say")
    if not isinstance(images, ImageCollection):
        if isinstance(images, str | Path):
            raise TypeError(
                f"got the path {str(images)!r}; use ImageCollection.from_folder or from_files"
            )
        images = ImageCollection.from_arrays(images)
    if not len(images):
        raise ValueError(f"there is no image in {images.name!r}; give at least one")
    return images


def _fill(encoder, reading, rows, flush_seconds, progress):
    """Encode what `rows` lacks; what is done is kept, whatever happens."""
    from tqdm.auto import tqdm

    encode, total = _ways(encoder)[1], len(reading.images)
    pending, since, n_dims = [], time.monotonic(), None
    bar = tqdm(total=total, desc=_called(encoder), unit="image", disable=not progress, delay=1)
    with bar, bars(progress):
        batches = ahead(reading.batches())
        try:
            for batch in batches:
                if batch.images:
                    if n_dims is None:
                        rows.prepare()
                    names = reading.images.ids[batch.positions]
                    vectors = checked_vectors(encode(batch.images), names, encoder, n_dims)
                    n_dims = vectors.shape[1]
                    pending.append((batch.keys, vectors))
                late = time.monotonic() - since >= flush_seconds
                if late or sum(v.nbytes for _, v in pending) >= _SHARD_BYTES:
                    _flush(pending, rows)
                    since = time.monotonic()
                bar.update(batch.reached - bar.n)
        except BaseException:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                _flush(pending, rows)
            raise
        finally:
            batches.close()
    _flush(pending, rows)


def _called(encoder):
    """What the progress bar calls an encoder: a union by its parts."""
    if isinstance(encoder, FeatureUnion):
        return " + ".join(_called(part) for _, part in encoder.transformer_list)
    return type(encoder).__name__


def _flush(pending, rows):
    if pending:
        rows.add(
            [key for keys, _ in pending for key in keys], np.concatenate([v for _, v in pending])
        )
        pending.clear()


def _through(tail, blocks, names):
    """Transform blocks of embeddings by the last steps of a pipeline."""
    start = 0
    for block in blocks:
        end = start + len(block)
        yield checked_vectors(tail.transform(block), names[start:end], tail)
        start = end


def checked_vectors(vectors, names, encoder, n_dims=None):
    """Embeddings as float32 (uint8 is kept), one row for each of `names`, finite; errors name the image."""
    what = (
        type(encoder).__name__
        if not isinstance(encoder, Pipeline)
        else type(encoder.steps[-1][1]).__name__
    )
    vectors = np.asarray(vectors.toarray() if hasattr(vectors, "toarray") else vectors)
    if vectors.ndim != 2 or len(vectors) != len(names) or not vectors.shape[1]:
        raise ValueError(
            f"{what} gave an array of shape {vectors.shape} for {len(names)} images; its transform must give (n_images, n_dims)"
        )
    if n_dims not in (None, vectors.shape[1]):
        raise ValueError(
            f"{what} gave {vectors.shape[1]} dimensions for {names[0]!r} and {n_dims} before; they must agree"
        )
    if vectors.dtype == np.uint8:
        return vectors
    if vectors.dtype.kind not in "fiub":
        raise ValueError(
            f"{what} gave values of type {vectors.dtype}; its transform must give numbers"
        )
    with np.errstate(over="ignore"):
        vectors = vectors.astype(np.float32, copy=False)
    bad = ~np.isfinite(vectors).all(axis=1)
    if bad.any():
        raise ValueError(
            f"{what} gave NaN or infinity for the image {names[int(bad.argmax())]!r}; leave that image out or mend the encoder"
        )
    return vectors
