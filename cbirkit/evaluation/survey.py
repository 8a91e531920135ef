"""`survey`: the first look at a collection: sizes, classes, copies, near-copies, outliers and broken files."""

import logging
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from .._optional import require
from ..images import ImageProblem
from ..images.collection import map_images
from ..images.tables import text_of
from ..indexes import Exact
from ..ranking.codes import aligned
from .leaks import alike, difference_hash, look, shifted

log = logging.getLogger(__name__)

_BLOCK = 1 << 24  # products computed at a time
_PROPOSED = 5  # nearest by embedding that are compared
_TRIED = 50  # groups that an image is compared with
_AT_ONCE = 128  # images between two calls of `progress`


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
        Ids of images that look alike, copies left out but for one of each group; with embeddings, shifted and
        enlarged crops too.
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


def survey(
    images, embeddings=None, *, max_hash_distance=6, n_neighbors=3, n_outliers=12, progress=True
):
    """Look at a collection before anything is done with it.

    Parameters
    ----------
    images : ImageCollection
        Every image is decoded once.
    embeddings : array (n_images, n_dims) or estimator with ``transform``, optional
        For outliers and shifted crops: rows that belong to `images`, or an encoder for those that can be read.
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
    Near-copies and outliers are candidates for a person to look at. Pairs proposed by the hash are near-copies if 48 x 48
    pixels of both agree in their details; the hashes of a group are all within `max_hash_distance`. With embeddings, of
    images that are among each other's five nearest those are joined too of which one holds the middle of the other,
    shifted by up to a quarter or enlarged by up to a half; mirror images and things on plain
    ground are not.

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
    table = pd.DataFrame(
        [one.size for one in facts],
        columns=["width", "height"],
        index=pd.Index(good.ids, name="id"),
    )
    if "label" in good.table:
        table["label"] = good.labels
    copies = _groups_of_equal(good.ids, [one.digest for one in facts])
    left_out = {name for group in copies for name in group[1:]}
    neighbours = ()
    if embeddings is not None:
        rows = _rows(embeddings, images, good, progress)
        table["distance"], neighbours = _neighbours(rows, n_neighbors)
    near, bits = _near(good.ids, facts, max_hash_distance, left_out, neighbours)
    far = table.get("distance", pd.Series(dtype=float)).sort_values(ascending=False, kind="stable")
    return Survey(good, table, good.problems, copies, near, far.index[:n_outliers].tolist(), bits)


def _first(problems):
    return ": ".join(map(str, problems.iloc[0])) if len(problems) else "there is no image"


def _look_at_all(images, progress):
    """The images that can be read, with the problems of the others, and (size, hash, digest) of each, on several threads."""
    facts = []
    for one in tqdm(
        map_images(_facts, images), desc="survey", total=len(images), disable=progress is not True
    ):
        facts.append(one)
        if callable(progress) and (len(facts) % _AT_ONCE == 0 or len(facts) == len(images)):
            progress(len(facts), len(images))
    problems = [(one.name, one.reason) for one in facts if isinstance(one, ImageProblem)]
    good = images.subset(np.array([not isinstance(one, ImageProblem) for one in facts], dtype=bool))
    if problems:
        log.info("%d of %d images cannot be read, see .problems", len(problems), len(images))
        more = pd.DataFrame(problems, columns=["name", "reason"], dtype=object)
        good.problems = pd.concat([images.problems, more], ignore_index=True)
    return good, [one for one in facts if not isinstance(one, ImageProblem)]


@dataclass(frozen=True)
class _Facts:
    """Of one image: width and height, `difference_hash`, digest, and 48 x 48 pixels of it."""

    size: tuple
    hash: np.ndarray | None
    digest: str
    look: np.ndarray


def _facts(images, position):
    pixels = images[position]
    return _Facts(
        pixels.shape[1::-1], difference_hash(pixels), images.digest(position), look(pixels)
    )


def _groups_of_equal(ids, keys):
    groups = pd.Series(ids).groupby(pd.Series(keys), sort=False).apply(list)
    return sorted((group for group in groups if len(group) > 1), key=len, reverse=True)


def _near(ids, facts, most, left_out, neighbours=()):
    """Groups of ids that look alike, and how many bits apart the hashes of the farthest two of each are.

    An image joins the first group of which no hash is farther and whose first image it looks like, so that a chain of
    small steps does not join everything; and groups whose first images are shifted crops of each other are joined.
    """
    faiss = require("faiss")
    rows = [i for i, one in enumerate(facts) if one.hash is not None and ids[i] not in left_out]
    packed = {i: np.packbits(facts[i].hash) for i in rows}
    firsts, groups, index = [], {}, faiss.IndexBinaryFlat(128)
    for i in rows:
        _, bits, near = index.range_search(packed[i][None], most + 1)  # nearer than
        near = [firsts[at] for at in near[np.argsort(bits, kind="stable")[:_TRIED]]]
        first = next((one for one in near if _fits(i, groups[one], facts, packed, most)), None)
        if first is None:
            firsts.append(i), index.add(packed[i][None])
        groups.setdefault(i if first is None else first, []).append(i)
    _join_shifted(groups, facts, neighbours)
    groups = sorted(
        (sorted(group) for group in groups.values() if len(group) > 1), key=len, reverse=True
    )
    apart = [_most_apart(np.array([facts[i].hash for i in group])) for group in groups]
    return [[ids[i] for i in group] for group in groups], apart


def _fits(i, group, facts, packed, most):
    bits = np.unpackbits(np.array([packed[one] for one in group]) ^ packed[i], axis=1).sum(axis=1)
    return bits.max() <= most and alike(facts[i].look, facts[group[0]].look)


def _join_shifted(groups, facts, neighbours):
    """Join groups of which two images are among each other's nearest by embedding and the first look like shifted crops."""
    first_of = {i: first for first, group in groups.items() for i in group}
    pairs = {(i, int(j)) for i, near in enumerate(neighbours) for j in near}
    for i, j in sorted(pair for pair in pairs if pair[0] < pair[1] and pair[::-1] in pairs):
        one, other = first_of.get(i), first_of.get(j)
        if None in (one, other) or one == other or not shifted(facts[one].look, facts[other].look):
            continue
        groups[one] += groups[other]
        first_of |= dict.fromkeys(groups.pop(other), one)


def _most_apart(bits):
    """The most bits in which two rows (n, n_bits), bool, differ."""
    signs = bits.astype(np.float32) * 2 - 1
    step = max(1, _BLOCK // len(signs))
    least = min(
        (signs[start : start + step] @ signs.T).min() for start in range(0, len(signs), step)
    )
    return int(signs.shape[1] - least) // 2


def _rows(embeddings, images, good, progress):
    """Embeddings of the good images (n_good, n_dims), rows of length 1."""
    if hasattr(embeddings, "transform") and not isinstance(
        embeddings, pd.DataFrame
    ):  # which has one too
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
    return values


def _encoded(encoder, images, progress):
    """Embeddings of all images (n, n_dims), batch by batch, so that a person who waits sees how far it is."""
    from ..store import embed

    found = embed(encoder, images, progress=progress is True)
    if len(found.problems):
        name, reason = found.problems.iloc[0]
        raise ValueError(
            f"{name}: {reason}; it could be read a moment ago, so look at the folder again"
        )
    return np.asarray(found.embeddings, np.float32)


def _neighbours(rows, n_neighbors):
    """Mean cosine distance of each row to its nearest others (n,), 0 for a single row; and the nearest few, int64."""
    k = min(max(n_neighbors, _PROPOSED), len(rows) - 1)
    if k == 0:
        return np.zeros(len(rows)), np.empty((1, 0), np.int64)
    distances, near = Exact().fit(rows).kneighbors(n_neighbors=k)
    return distances[:, :n_neighbors].mean(axis=1, dtype=np.float64), near[:, :_PROPOSED]
