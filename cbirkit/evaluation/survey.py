"""What a collection holds, and what two splits share that they should not: copies, near-copies, outliers, broken files."""

import itertools
import logging
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.metrics import pairwise_distances_chunked
from tqdm.auto import tqdm

from cbirkit._optional import require
from cbirkit.images import ImageProblem
from cbirkit.images.collection import map_images
from cbirkit.images.tables import problem_table, text_of
from cbirkit.indexes import Exact
from cbirkit.ranking.codes import aligned
from cbirkit.store import embed

log = logging.getLogger(__name__)

_LOOK = 48  # pixels, squared
_SAME = 0.85  # correlation of details from which images of near hashes are near-copies
_AGREE = 0.75  # the same of shifted crops
# Grey levels: contrast of the details of smooth pictures, and how far colours of such may differ.
_FEW, _NEAR = 4.0, 16
_TINT = 24  # grey levels by which the mean colours of shifted crops may differ
_PLAIN = 24  # grey levels within which the border of a picture of a thing on plain ground lies
_FLAT = 2.0  # grey levels of contrast below which an image has no shape to hash
# Bits, of 128, in which hashes of near-copies in a collection, and of leaks, may differ.
_BITS, _LEAK_BITS = 6, 10
_COSINE = 0.98  # similarity from which embeddings are near-duplicates
_AVERAGED = 3  # nearest by embedding over which an image's distance is averaged
_PROPOSED = 5  # and those that are compared
_TRIED = 50  # groups that an image is compared with
_AT_ONCE = 128  # images between two calls of `progress`
KINDS = ("id", "content", "near-duplicate (hash)", "near-duplicate (embedding)", "class")


def check_leaks(train, test, *, encoder=None, label="label", progress=True):
    """Look for what a training split and a test split share: ids, contents, near-duplicates and classes.

    Parameters
    ----------
    train, test : ImageCollection
    encoder : estimator with ``transform``, or pair of arrays, optional
        Fitted encoder, or the embeddings (n_train, n_dims) and (n_test, n_dims) themselves, for near-duplicates by
        a cosine similarity of 0.98 or more; what is near depends on the encoder. Without it only the hash looks for them.
    label : str or None, default="label"
        Column with the classes; left out if either collection lacks it.
    progress : bool
        Whether the encoder may draw bars.

    Returns
    -------
    DataFrame
        Columns ``kind`` ("id", "content", "near-duplicate (hash)", "near-duplicate (embedding)", "class"),
        ``train`` and ``test`` (ids, or the class) and ``distance`` (bits, 1 - cosine, or 0). At most one row
        a test image and kind, with its nearest training image; an image found by its contents is not listed
        as a near-duplicate again. ``.attrs["checked"]`` lists what was looked for. No rows: nothing was
        found.

    Raises
    ------
    ValueError
        Embeddings that do not fit the collections or hold NaN.

    Notes
    -----
    Images that cannot be read are left out and logged. The hash is the `difference_hash`: those of near-duplicates differ in at
    most 10 of 128 bits, and 48 x 48 pixels of the two agree in their details too.
    Equal ids of different pictures are no leak (``train/1.png`` and ``test/1.png``); how many there are is logged.
    Contents are equal if the files are equal byte for byte (arrays: pixel for pixel); a re-saved copy is a
    near-duplicate. Rows of a near-duplicate kind are candidates for a person to look at: tiny or plain images
    of different things can look alike to both measures, and a crop or a rotation escapes the hash.

    References
    ----------
    Barz and Denzler, Do We Train on Test Data? Purging CIFAR of Near-Duplicates, J. Imaging 2020,
    arXiv:1902.00423.

    Examples
    --------
    >>> from cbirkit import ImageCollection
    >>> pixels = np.random.RandomState(0).randint(0, 255, (4, 32, 32, 3), dtype=np.uint8)
    >>> train = ImageCollection.from_arrays(pixels[:3], ids=["a", "b", "c"])
    >>> test = ImageCollection.from_arrays(pixels[2:], ids=["x", "y"])
    >>> check_leaks(train, test).values.tolist()
    [['content', 'c', 'x', 0.0]]
    """
    checked, there = list(KINDS[:3]), test.positions_in(train)
    alike_in_train = np.append(train.ids, None)[there]  # -1 reads None
    rows = [(KINDS[0], name, name, 0.0) for name in test.ids[alike_in_train == test.ids]]
    known, known_facts = _look_at_all(train, False, 64)
    asked, asked_facts = _look_at_all(test, False, 64)
    first = {one.digest: one.name for one in reversed(known_facts)}
    copies = {one.name: first[one.digest] for one in asked_facts if one.digest in first}
    rows += [(KINDS[1], its, name, 0.0) for name, its in copies.items()]
    near = _near_by_hash(known_facts, asked_facts)
    if encoder is not None:
        checked.append(KINDS[3])
        pair = encoder if isinstance(encoder, tuple) else (encoder, encoder)
        near += _near_by_embedding(pair, (train, test), (known, asked), progress)
    rows += [row for row in near if row[2] not in copies]
    if label is not None and label in train.table and label in test.table:
        checked.append(KINDS[4])
        shared = set(map(text_of, train.column(label))) & set(map(text_of, test.column(label)))
        rows += [(KINDS[4], name, name, 0.0) for name in sorted(shared - {""})]
    found = pd.DataFrame(rows, columns=["kind", "train", "test", "distance"])
    found.attrs["checked"] = checked
    return found


def _near_by_hash(known, asked):
    known, asked = ([one for one in facts if one.hash is not None] for facts in (known, asked))
    if not known or not asked:
        return []
    index = require("faiss").IndexBinaryFlat(128)
    index.add(np.packbits([one.hash for one in known], axis=1))
    bits, near = index.search(np.packbits([one.hash for one in asked], axis=1), 1)
    pairs = zip((known[at] for at in near[:, 0]), asked, bits[:, 0].tolist(), strict=True)
    return [
        (KINDS[2], one.name, other.name, float(n))
        for one, other, n in pairs
        if n <= _LEAK_BITS and alike(one.look, other.look)
    ]


def _near_by_embedding(sources, collections, readable, progress):
    what = ("train embeddings", "test embeddings")
    sides = zip(sources, collections, readable, what, strict=True)
    known, asked = (_embeddings(*side, progress) for side in sides)
    if not len(known) or not len(asked):
        return []
    distances, near = Exact().fit(known).kneighbors(asked, n_neighbors=1)
    return [
        (KINDS[3], readable[0].ids[near[row, 0]], readable[1].ids[row], float(distances[row, 0]))
        for row in np.flatnonzero(distances[:, 0] <= 1 - _COSINE + 1e-6)
    ]


def _embeddings(source, images, good, what, progress):
    """Embeddings of the good ones among images, float32 (n_good, n_dims), by an encoder or given for all, checked."""
    # a DataFrame has a transform too
    if hasattr(source, "transform") and not isinstance(source, pd.DataFrame):
        found = embed(source, good, progress=progress)
        for name, reason in found.problems.to_numpy()[:1]:
            raise ImageProblem(name, reason)
        values = np.asarray(found.embeddings, np.float32)
    else:
        values = np.asarray(aligned(source, images.ids, what), np.float32)
        if values.ndim != 2:
            raise ValueError(f"{what} have the shape {values.shape}; give one row an image")
        values = values[images.positions(good.ids)]
    if not np.isfinite(values).all():
        raise ValueError(f"{what} hold NaN or infinite values; mend or leave out those images")
    return values


# ---------------------------------------------------------------------- whether two pictures are near-copies


def difference_hash(image):
    """Perceptual hash: is each cell of an 8 x 8 grid brighter than its neighbour to the right, and below?

    Parameters
    ----------
    image : ndarray of uint8, shape (h, w, 3)

    Returns
    -------
    ndarray of bool, shape (128,), or None
        None for an image without contrast, whose differences are noise.

    References
    ----------
    Krawetz, Kind of Like That, 2013,
    https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html

    Examples
    --------
    >>> ramp = np.repeat(np.arange(0, 240, 10, dtype=np.uint8)[None, :, None], 24, axis=0).repeat(3, axis=2)
    >>> int(difference_hash(ramp)[:64].sum()), difference_hash(ramp * 0)
    (64, None)
    """
    grey = Image.fromarray(image).convert("L")
    across = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    down = np.asarray(grey.resize((8, 9), Image.Resampling.BOX), dtype=np.int16)
    if across.std() < _FLAT:
        return None
    return np.append(np.diff(across, axis=1) > 0, np.diff(down, axis=0) > 0)


def look(image):
    """48 x 48 pixels of an image, uint8 (48, 48, 3): enough to see whether two are near-copies."""
    return np.asarray(Image.fromarray(image).resize((_LOOK, _LOOK), Image.Resampling.BOX))


def alike(one, other):
    """Whether two looks agree in their details, place by place; only where there are few, in their colours too."""
    details = _details(one), _details(other)
    near = np.abs(one.astype(np.int16) - other).mean() <= _NEAR or min(map(np.std, details)) >= _FEW
    return near and _agreement(*details) >= _SAME


def shifted(one, other):
    """Whether the middle of one look is found in the other, at some place and up to half as large again."""
    if min(np.ptp(_border(each), axis=0).max() for each in (one, other)) < _PLAIN:
        return False  # things on plain ground: a shifted crop looks like another thing of that form
    if np.abs(one.mean(axis=(0, 1)) - other.mean(axis=(0, 1))).max() > _TINT:
        return False
    cv2, details, cuts = require("cv2"), (_details(one), _details(other)), (_LOOK // 4, _LOOK // 8)
    places = itertools.product((details, details[::-1]), (cuts, cuts[::-1]), (1.0, 0.9, 0.8, 0.7))
    for (here, there), (y, x), scale in places:
        part = cv2.resize(here[y:-y, x:-x], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if _agreement(there, part) >= _AGREE:
            return True
    return False


def _border(look):
    sides = look[:3], look[-3:], look[:, :3], look[:, -3:]
    return np.concatenate([side.reshape(-1, 3) for side in sides])


def _details(look):
    """What is finer than a sixteenth of the image, float32 (48, 48, 3)."""
    wide = look.astype(np.float32)
    return wide - require("cv2").GaussianBlur(wide, (0, 0), _LOOK / 16)


def _agreement(details, part):
    """The largest correlation of a part with a place of the same size in the details; 0 for a part without any."""
    if part.std() <= 0.5:
        return 0.0
    cv2 = require("cv2")
    return float(cv2.matchTemplate(details, part, cv2.TM_CCOEFF_NORMED).max())


# ---------------------------------------------------------------------- the first look at a collection


@dataclass(frozen=True)
class Survey:
    """What `survey` found.

    Attributes
    ----------
    images : ImageCollection
        Those that can be read.
    table : DataFrame
        One row an image that can be read, by id: ``width`` and ``height`` in pixels, ``label`` where there are labels,
        and with embeddings ``distance``: the mean cosine distance to its three nearest neighbours.
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


def survey(images, embeddings=None, *, n_outliers=12, progress=True):
    """Look at a collection before anything is done with it.

    Parameters
    ----------
    images : ImageCollection
        Every image is decoded once.
    embeddings : array (n_images, n_dims) or estimator with ``transform``, optional
        For outliers and shifted crops: rows that belong to `images`, or an encoder for those that can be read.
    n_outliers : int, default=12
    progress : bool or callable
        A bar; or ``progress(n_done, n_images)`` is called as images have been looked at, and may raise to end it.

    Returns
    -------
    Survey

    Raises
    ------
    ValueError
        No image can be read, or embeddings that do not fit the collection.

    Notes
    -----
    Near-copies and outliers are candidates for a person to look at. Pairs proposed by the `difference_hash` are near-copies if
    48 x 48 pixels of both agree in their details; the hashes of a group are all within 6 of 128 bits. With embeddings, of
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
    good, facts = _look_at_all(images, progress)
    if not facts:
        problem = next((": ".join(row) for row in good.problems.to_numpy()), "no image")
        raise ValueError(f"none of {len(images)} images can be read; the first problem: {problem}")
    index = pd.Index(good.ids, name="id")
    table = pd.DataFrame([one.size for one in facts], index, columns=["width", "height"])
    if "label" in good.table:
        table["label"] = good.labels
    ids = pd.Series(good.ids).groupby([one.digest for one in facts], sort=False).apply(list)
    copies = sorted((group for group in ids if len(group) > 1), key=len, reverse=True)
    left_out = {name for group in copies for name in group[1:]}
    neighbours = ()
    if embeddings is not None:
        rows = _embeddings(embeddings, images, good, "embeddings", progress is True)
        table["distance"], neighbours = _neighbours(rows)
    near, bits = _near(facts, left_out, neighbours)
    far = table.get("distance", pd.Series(dtype=float)).sort_values(ascending=False, kind="stable")
    return Survey(good, table, good.problems, copies, near, far.index[:n_outliers].tolist(), bits)


def _look_at_all(images, progress, size=None):
    """The images that can be read, with the problems of the others, and the `_Facts` of each, from several threads."""
    seen, readable, facts, problems = map_images(partial(_facts, size=size), images), [], [], []
    for one in tqdm(seen, desc="survey", total=len(images), disable=progress is not True):
        readable.append(isinstance(one, _Facts))
        (facts if readable[-1] else problems).append(one)
        n = len(readable)
        if callable(progress) and (n % _AT_ONCE == 0 or n == len(images)):
            progress(n, len(images))
    if problems:
        log.warning("%d of %d images cannot be read: %s", len(problems), len(images), problems[0])
    good = images.subset(np.array(readable, dtype=bool))
    rows = problem_table([(one.name, one.reason) for one in problems])
    good.problems = pd.concat([images.problems, rows], ignore_index=True)
    return good, facts


@dataclass(frozen=True)
class _Facts:
    """Of one image: its id, width and height, `difference_hash`, digest, and 48 x 48 pixels of it."""

    name: str
    size: tuple
    hash: np.ndarray | None
    digest: str
    look: np.ndarray


def _facts(images, position, size):
    pixels = images[position] if size is None else images.thumbnail(position, size)
    shape, digest = pixels.shape[1::-1], images.digest(position)
    return _Facts(images.ids[position], shape, difference_hash(pixels), digest, look(pixels))


def _near(facts, left_out, neighbours=()):
    """Groups of ids that look alike, and how many bits apart the hashes of the farthest two of each are.

    An image joins the first group of which no hash is farther and whose first image it looks like, so that a chain of
    small steps does not join everything; and groups whose first images are shifted crops of each other are joined.
    """
    firsts, groups, index = [], {}, require("faiss").IndexBinaryFlat(128)
    for i, one in enumerate(facts):
        if one.hash is None or one.name in left_out:
            continue
        packed = np.packbits(one.hash)[None]
        _, bits, near = index.range_search(packed, _BITS + 1)  # nearer than
        near = (firsts[at] for at in near[np.argsort(bits, kind="stable")[:_TRIED]])
        first = next((first for first in near if _fits(one, groups[first], facts)), None)
        if first is None:
            firsts.append(i)
            index.add(packed)
        groups.setdefault(i if first is None else first, []).append(i)
    _join_shifted(groups, facts, neighbours)
    groups = [sorted(group) for group in groups.values() if len(group) > 1]
    groups.sort(key=len, reverse=True)
    apart = [_most_apart(np.array([facts[i].hash for i in group])) for group in groups]
    return [[facts[i].name for i in group] for group in groups], apart


def _fits(one, group, facts):
    bits = (np.array([facts[i].hash for i in group]) != one.hash).sum(axis=1)
    return bits.max() <= _BITS and alike(one.look, facts[group[0]].look)


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
    squares = pairwise_distances_chunked(bits.astype(np.float32), squared=True)
    return round(max(float(block.max()) for block in squares))


def _neighbours(rows):
    """Mean cosine distance of each row to its nearest others (n,), 0 for a single row; and the nearest few, int64."""
    if len(rows) == 1:
        return np.zeros(1), ()
    k = min(_PROPOSED, len(rows) - 1)
    distances, near = Exact().fit(rows).kneighbors(n_neighbors=k)
    return distances[:, :_AVERAGED].mean(axis=1, dtype=np.float64), near
