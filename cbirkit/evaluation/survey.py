"""What a collection holds, and what two splits share that they should not: copies, near-copies, outliers, broken files."""

import itertools
import logging
from dataclasses import dataclass, field

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
_PROPOSED = 5  # nearest by embedding that are compared
_TRIED = 50  # groups that an image is compared with
_AT_ONCE = 128  # images between two calls of `progress`
KINDS = ("id", "content", "near-duplicate (hash)", "near-duplicate (embedding)", "class")


def check_leaks(
    train,
    test,
    *,
    encoder=None,
    max_hash_distance=10,
    min_cosine=0.98,
    label="label",
    progress=True,
):
    """Look for what a training split and a test split share: ids, contents, near-duplicates and classes.

    Parameters
    ----------
    train, test : ImageCollection
    encoder : estimator with ``transform``, or pair of arrays, optional
        Fitted encoder, or the embeddings (n_train, n_dims) and (n_test, n_dims) themselves, for
        near-duplicates by cosine similarity. Without it only the perceptual hash looks for them.
    max_hash_distance : int, default=10
        Bits, of 128, in which the `difference_hash` of near-duplicates may differ; 48 x 48 pixels of the two then have
        to agree in their details too. -1 leaves the hash out.
    min_cosine : float, default=0.98
        Cosine similarity from which two embeddings are near-duplicates. What is near depends on the encoder.
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
    ImageProblem
        An image that cannot be read and `encoder` has to; use ``verify()`` first. Without an encoder it is
        left out and logged.
    ValueError
        Embeddings that do not fit the collections or hold NaN.

    Notes
    -----
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
    checked, there = ["id", "content"], test.positions_in(train)
    rows = [
        ("id", name, name, 0.0)
        for name, at in zip(test.ids, there, strict=True)
        if at >= 0 and train.ids[at] == name
    ]
    same = _same_contents(train, test)
    near = []
    if max_hash_distance >= 0:
        checked.append(KINDS[2])
        near += _near_by_hash(train, test, max_hash_distance)
    if encoder is not None:
        checked.append(KINDS[3])
        near += _near_by_embedding(encoder, train, test, min_cosine, progress)
    copies = {row[2] for row in same}
    rows += same + [row for row in near if row[2] not in copies]
    if label is not None and label in train.table and label in test.table:
        checked.append("class")
        shared = set(map(text_of, train.column(label))) & set(map(text_of, test.column(label)))
        rows += [("class", name, name, 0.0) for name in sorted(shared - {""})]
    found = pd.DataFrame(rows, columns=["kind", "train", "test", "distance"])
    found.attrs["checked"] = checked
    return found


def _readable(images, read):
    """(position, what `read` returns) of the images that can be read; the others are logged."""
    for position in range(len(images)):
        try:
            value = read(position)
        except ImageProblem as problem:
            log.warning("left out of the leak check: %s", problem)
            continue
        if value is not None:
            yield position, value


def _same_contents(train, test):
    known = {}
    for position, digest in _readable(train, train.digest):
        known.setdefault(digest, train.ids[position])
    return [
        ("content", known[digest], test.ids[position], 0.0)
        for position, digest in _readable(test, test.digest)
        if digest in known
    ]


def _hashes(images):
    """Positions of the images that have a hash, and these as bytes (n, 16)."""
    pairs = list(_readable(images, lambda at: difference_hash(images.thumbnail(at, 64))))
    bits = np.array([bits for _, bits in pairs], dtype=bool).reshape(-1, 128)
    return [at for at, _ in pairs], np.packbits(bits, axis=1)


def _near_by_hash(train, test, most):
    (known, hashes), (asked, others) = _hashes(train), _hashes(test)
    index = require("faiss").IndexBinaryFlat(128)
    index.add(hashes)
    bits, near = index.search(others, 1)
    found = []
    for row in np.flatnonzero(bits[:, 0] <= most):
        pair = (train, known[near[row, 0]]), (test, asked[row])
        if alike(*(look(images.thumbnail(at, 64)) for images, at in pair)):
            found.append((KINDS[2], *(images.ids[at] for images, at in pair), float(bits[row, 0])))
    return found


def _near_by_embedding(encoder, train, test, least, progress):
    pair = encoder if isinstance(encoder, tuple) else (encoder, encoder)
    if len(pair) != 2:
        raise ValueError(f"encoder is a tuple of {len(pair)}; give embeddings of (train, test)")
    known, asked = (
        _embeddings(source, images, images, f"{name} embeddings", progress)
        for source, images, name in zip(pair, (train, test), ("train", "test"), strict=True)
    )
    if known.shape[1] != asked.shape[1]:
        raise ValueError(f"got {known.shape[1]} and {asked.shape[1]} dimensions; use one encoder")
    if not len(known) or not len(asked):
        return []
    distances, near = Exact().fit(known).kneighbors(asked, n_neighbors=1)
    return [
        (KINDS[3], train.ids[near[row, 0]], test.ids[row], float(distances[row, 0]))
        for row in np.flatnonzero(distances[:, 0] <= 1 - least + 1e-6)
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
        if values.ndim != 2 or len(values) != len(images):
            raise ValueError(
                f"{what} are {values.shape}; give one row for each of {len(images)} images"
            )
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
    return np.concatenate(
        [(np.diff(across, axis=1) > 0).ravel(), (np.diff(down, axis=0) > 0).ravel()]
    )


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
    for (here, there), (y, x), scale in itertools.product(
        (details, details[::-1]), (cuts, cuts[::-1]), (1.0, 0.9, 0.8, 0.7)
    ):
        part = cv2.resize(here[y:-y, x:-x], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if _agreement(there, part) >= _AGREE:
            return True
    return False


def _border(look):
    return np.concatenate(
        [side.reshape(-1, 3) for side in (look[:3], look[-3:], look[:, :3], look[:, -3:])]
    )


def _details(look):
    """What is finer than a sixteenth of the image, float32 (48, 48, 3)."""
    wide = look.astype(np.float32)
    return wide - require("cv2").GaussianBlur(wide, (0, 0), _LOOK / 16)


def _agreement(details, part):
    """The largest correlation of a part with a place of the same size in the details; 0 for a part without any."""
    cv2 = require("cv2")
    return (
        float(cv2.matchTemplate(details, part, cv2.TM_CCOEFF_NORMED).max())
        if part.std() > 0.5
        else 0.0
    )


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
        problems = [": ".join(row) for row in good.problems.to_numpy()]
        raise ValueError(
            f"none of {len(images)} images can be read; the first problem: {[*problems, 'no image'][0]}"
        )
    table = pd.DataFrame([one.size for one in facts], columns=["width", "height"])
    table.index = pd.Index(good.ids, name="id")
    if "label" in good.table:
        table["label"] = good.labels
    ids = pd.Series(good.ids).groupby([one.digest for one in facts], sort=False).apply(list)
    copies = sorted((group for group in ids if len(group) > 1), key=len, reverse=True)
    left_out = {name for group in copies for name in group[1:]}
    neighbours = ()
    if embeddings is not None:
        bar = progress is True
        rows = _embeddings(embeddings, images, good, "embeddings", bar)
        table["distance"], neighbours = _neighbours(rows, n_neighbors)
    near, bits = _near(good.ids, facts, max_hash_distance, left_out, neighbours)
    far = table.get("distance", pd.Series(dtype=float)).sort_values(ascending=False, kind="stable")
    return Survey(good, table, good.problems, copies, near, far.index[:n_outliers].tolist(), bits)


def _look_at_all(images, progress):
    """The images that can be read, with the problems of the others, and (size, hash, digest) of each, on several threads."""
    facts, seen = [], map_images(_facts, images)
    for one in tqdm(seen, desc="survey", total=len(images), disable=progress is not True):
        facts.append(one)
        if callable(progress) and (len(facts) % _AT_ONCE == 0 or len(facts) == len(images)):
            progress(len(facts), len(images))
    readable = np.array([isinstance(one, _Facts) for one in facts], dtype=bool)
    problems = [(one.name, one.reason) for one in facts if isinstance(one, ImageProblem)]
    if problems:
        log.info("%d of %d images cannot be read, see .problems", len(problems), len(images))
    good = images.subset(readable)
    good.problems = pd.concat([images.problems, problem_table(problems)], ignore_index=True)
    return good, [one for one in facts if isinstance(one, _Facts)]


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
    squares = pairwise_distances_chunked(bits.astype(np.float32), squared=True)
    return round(max(float(block.max()) for block in squares))


def _neighbours(rows, n_neighbors):
    """Mean cosine distance of each row to its nearest others (n,), 0 for a single row; and the nearest few, int64."""
    k = min(max(n_neighbors, _PROPOSED), len(rows) - 1)
    if k == 0:
        return np.zeros(len(rows)), np.empty((1, 0), np.int64)
    distances, near = Exact().fit(rows).kneighbors(n_neighbors=k)
    return distances[:, :n_neighbors].mean(axis=1, dtype=np.float64), near[:, :_PROPOSED]
