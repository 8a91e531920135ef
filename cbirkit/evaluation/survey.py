"""`survey`: the first look at a collection: sizes, classes, copies, near-copies, outliers and broken files."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from .._optional import require
from ..images import ImageProblem
from ..images.tables import text_of
from ..ranking.codes import aligned
from .leaks import difference_hash

log = logging.getLogger(__name__)

_BLOCK = 1 << 24  # products computed at a time
_QUERIES = 4096  # hashes compared with all others at a time
_AT_ONCE = 128  # images handed to the threads at a time, so that memory stays flat


@dataclass(frozen=True)
class Survey:
    """What `survey` found.

    Attributes
    ----------
    images : ImageCollection
        Those that can be read.
    table : DataFrame
        One row an image that can be read, by id: ``width`` and ``height`` in pixels, ``label`` where there are labels,
        and with embeddings ``distance``: the mean cosine distance to its nearest neighbours.
    problems : DataFrame
        ``name`` and ``reason`` of files that cannot be read.
    copies : list of list of str
        Ids of images with the same content, groups of two or more, the largest first.
    near_copies : list of list of str
        Ids of images that look alike to `difference_hash`, copies left out but for one of each group.
    outliers : list of str
        Ids, the farthest from their nearest neighbours first; empty without embeddings.
    near_bits : list of int
        For each of `near_copies`, the most bits, of 128, in which the hashes of two of its images differ.
    """

    images: object
    table: pd.DataFrame
    problems: pd.DataFrame
    copies: list
    near_copies: list
    outliers: list
    near_bits: list = field(default_factory=list)

    def class_counts(self):
        """Images of each class, most first: a Series by the class as text, empty where there are no labels."""
        labels = self.table["label"] if "label" in self.table else pd.Series(dtype=object)
        return labels.dropna().map(text_of).value_counts()


def survey(images, embeddings=None, *, max_hash_distance=6, n_neighbors=3, n_outliers=12, progress=True):
    """Look at a collection before anything is done with it.

    Parameters
    ----------
    images : ImageCollection
        Every image is decoded once.
    embeddings : array (n_images, n_dims) or estimator with ``transform``, optional
        For outliers: rows that belong to `images`, or an encoder for those that can be read.
    max_hash_distance : int, default=6
        Bits, of 128, in which the `difference_hash` of near-copies may differ.
    n_neighbors : int, default=3
        Neighbours over which an image's distance is averaged: copies of each other have near ones.
    n_outliers : int, default=12
    progress : bool or callable
        A bar; or ``progress(n_done, n_images)`` is called as images have been looked at, and may raise to end it.

    Returns
    -------
    Survey

    Raises
    ------
    ValueError
        No image can be read; embeddings that do not fit the collection; numbers out of range.

    Notes
    -----
    Near-copies and outliers are candidates for a person to look at. Near-copies are joined: if a is near b and b near
    c, all three are one group.

    Examples
    --------
    >>> from cbirkit.images import ImageCollection
    >>> ramp = np.repeat(np.arange(0, 240, 10, dtype=np.uint8)[None, :, None], 24, axis=0).repeat(3, axis=2)
    >>> found = survey(ImageCollection.from_arrays([ramp, ramp, ramp[:, ::-1]]), progress=False)
    >>> found.copies, found.table[["width", "height"]].drop_duplicates().to_numpy().tolist()
    ([['0', '1']], [[24, 24]])
    """
    if not (0 <= max_hash_distance < 128) or n_neighbors < 1 or n_outliers < 0:
        raise ValueError(
            "max_hash_distance must lie in 0 to 127, n_neighbors be at least 1 and n_outliers at least 0, got "
            f"{max_hash_distance}, {n_neighbors} and {n_outliers}"
        )
    good, facts = _look_at_all(images, progress)
    if not len(good):
        raise ValueError(
            f"none of {len(images)} images can be read; the first problem: {_first(good.problems)}"
        )
    sizes, hashes, digests = zip(*facts, strict=True)
    table = pd.DataFrame(sizes, columns=["width", "height"], index=pd.Index(good.ids, name="id"))
    if "label" in good.table:
        table["label"] = good.labels
    copies = _groups_of_equal(good.ids, digests)
    left_out = {name for group in copies for name in group[1:]}
    near, bits = _near(good.ids, hashes, max_hash_distance, left_out)
    if embeddings is not None:
        table["distance"] = _distances(_rows(embeddings, images, good, progress), n_neighbors)
    far = table.get("distance", pd.Series(dtype=float)).sort_values(ascending=False, kind="stable")
    return Survey(good, table, good.problems, copies, near, far.index[:n_outliers].tolist(), bits)


def _first(problems):
    return ": ".join(map(str, problems.iloc[0])) if len(problems) else "there is no image"


def _look_at_all(images, progress):
    """The images that can be read, with the problems of the others, and (size, hash, digest) of each, on several threads."""
    facts = []
    with (
        ThreadPoolExecutor() as pool,
        tqdm(total=len(images), desc="survey", disable=progress is not True) as bar,
    ):
        for start in range(0, len(images), _AT_ONCE):
            block = range(start, min(start + _AT_ONCE, len(images)))
            facts += pool.map(lambda position: _facts(images, position), block)
            bar.update(len(block))
            if callable(progress):
                progress(block.stop, len(images))
    problems = [(one.name, one.reason) for one in facts if isinstance(one, ImageProblem)]
    good = images.subset(np.array([not isinstance(one, ImageProblem) for one in facts], dtype=bool))
    if problems:
        log.info("%d of %d images cannot be read, see .problems", len(problems), len(images))
        more = pd.DataFrame(problems, columns=["name", "reason"], dtype=object)
        good.problems = pd.concat([images.problems, more], ignore_index=True)
    return good, [one for one in facts if not isinstance(one, ImageProblem)]


def _facts(images, position):
    """Size, hash and digest of one image, or the problem that it is."""
    try:
        pixels = images[position]
        return pixels.shape[1::-1], difference_hash(pixels), images.digest(position)
    except ImageProblem as problem:
        return problem


def _groups_of_equal(ids, keys):
    groups = pd.Series(ids).groupby(pd.Series(keys), sort=False).apply(list)
    return sorted((group for group in groups if len(group) > 1), key=len, reverse=True)


def _near(ids, hashes, most, left_out):
    """Groups of ids whose hashes are near, joined over chains; and how many bits apart the farthest of each are."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = [i for i, bits in enumerate(hashes) if bits is not None and ids[i] not in left_out]
    if len(rows) < 2:
        return [], []
    bits = np.array([hashes[i] for i in rows], dtype=bool)  # (n, 128)
    different, which = np.unique(bits, axis=0, return_inverse=True)  # thousands of equal ones would make millions of pairs
    one, other = _near_pairs(different, most)
    links = coo_array((np.ones(len(one), bool), (one, other)), shape=(len(different), len(different)))
    groups = _groups_of_equal(np.arange(len(rows)), connected_components(links, directed=False)[1][which.ravel()])
    return [[ids[rows[i]] for i in group] for group in groups], [_most_apart(bits[group]) for group in groups]


def _near_pairs(bits, most):
    """Pairs of rows (n, 128), bool, that differ in at most so many bits, each with itself too: int64 (2, n_pairs)."""
    faiss = require("faiss")
    packed = np.packbits(bits, axis=1)  # (n, 16)
    index = faiss.IndexBinaryFlat(bits.shape[1])
    index.add(packed)
    pairs = []
    for start in range(0, len(packed), _QUERIES):
        ends, _, other = index.range_search(packed[start : start + _QUERIES], most + 1)  # nearer than
        pairs.append(
            np.stack(
                [np.repeat(np.arange(start, start + len(ends) - 1), np.diff(ends.astype(np.int64))), other]
            )
        )
    return np.concatenate(pairs, axis=1)


def _most_apart(bits):
    """The most bits in which two rows (n, n_bits), bool, differ."""
    signs = bits.astype(np.float32) * 2 - 1
    step = max(1, _BLOCK // len(signs))
    least = min((signs[start : start + step] @ signs.T).min() for start in range(0, len(signs), step))
    return int(signs.shape[1] - least) // 2


def _rows(embeddings, images, good, progress):
    """Embeddings of the good images (n_good, n_dims), rows of length 1."""
    if hasattr(embeddings, "transform"):
        values = _encoded(embeddings, good, progress)
    else:
        values = np.asarray(aligned(embeddings, images.ids, "embeddings"), np.float32)
        if values.ndim != 2 or len(values) != len(images):
            raise ValueError(
                f"embeddings have the shape {values.shape}; give one row for each of {len(images)} images"
            )
        values = values[images.positions(good.ids)]
    if not np.isfinite(values).all():
        raise ValueError("embeddings hold NaN or infinite values; leave those images out")
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)


def _encoded(encoder, images, progress):
    """Embeddings of all images (n, n_dims), batch by batch, so that a person who waits sees how far it is."""
    from ..store import embed

    found = embed(encoder, images, progress=progress)
    if len(found.problems):
        name, reason = found.problems.iloc[0]
        raise ValueError(f"{name}: {reason}; it could be read a moment ago, so look at the folder again")
    return np.asarray(found.embeddings, np.float32)


def _distances(rows, n_neighbors):
    """Mean cosine distance of each row to its nearest others (n,); 0 for a single row."""
    k = min(n_neighbors, len(rows) - 1)
    if k == 0:
        return np.zeros(len(rows))
    found = np.empty(len(rows))
    step = max(1, _BLOCK // len(rows))
    for start in range(0, len(rows), step):
        cosines = rows[start : start + step] @ rows.T
        cosines[np.arange(len(cosines)), np.arange(start, start + len(cosines))] = -np.inf  # itself
        found[start : start + step] = 1 - np.partition(cosines, -k, axis=1)[:, -k:].mean(axis=1)
    return np.maximum(found, 0)
