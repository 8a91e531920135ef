"""`check_leaks`: what two splits share that they should not."""

import itertools
import logging

import numpy as np
import pandas as pd
from PIL import Image

from .._optional import require
from .._progress import bars
from ..images.tables import text_of
from ..indexes import Exact
from ..ranking.codes import aligned

log = logging.getLogger(__name__)

_BLOCK = 1 << 24  # distances computed at a time
_LOOK = 48  # pixels, squared
_SAME = 0.85  # correlation of details from which images of near hashes are near-copies
_AGREE = 0.75  # the same of shifted crops
_FEW, _NEAR = (
    4.0,
    16,
)  # grey levels: contrast of the details of smooth pictures, and how far colours of such may differ
_TINT = 24  # grey levels by which the mean colours of shifted crops may differ
_PLAIN = 24  # grey levels within which the border of a picture of a thing on plain ground lies
_FLAT = 2.0  # grey levels of contrast below which an image has no shape to hash
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
    rows += same
    copies = {test_id for _, _, test_id, _ in same}
    if max_hash_distance >= 0:
        checked.append(KINDS[2])
        rows += _near_by_hash(train, test, max_hash_distance, copies)
    if encoder is not None:
        checked.append(KINDS[3])
        rows += _near_by_embedding(
            *_embeddings(encoder, train, test, progress), (train.ids, test.ids), min_cosine, copies
        )
    if label is not None and label in train.table and label in test.table:
        checked.append("class")
        shared = set(map(text_of, train.column(label))) & set(map(text_of, test.column(label)))
        rows += [("class", name, name, 0.0) for name in sorted(shared - {""})]
    found = pd.DataFrame(rows, columns=["kind", "train", "test", "distance"])
    found.attrs["checked"] = checked
    return found


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


def _readable(images, read):
    """(position, what `read` returns) of the images that can be read; the others are logged."""
    for position in range(len(images)):
        try:
            value = read(position)
        except ValueError as problem:  # ImageProblem
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
    """Positions and hashes as +1 and -1, float32 (n, 128)."""
    pairs = list(
        _readable(images, lambda position: difference_hash(images.thumbnail(position, 64)))
    )
    bits = np.array([bits for _, bits in pairs], dtype=np.float32).reshape(len(pairs), 128)
    return np.array([position for position, _ in pairs], dtype=np.int64), bits * 2 - 1


def _near_by_hash(train, test, most, copies):
    train_rows, train_signs = _hashes(train)
    test_rows, test_signs = _hashes(test)
    found = []
    for row, nearest, product in _best(test_signs, train_signs):
        bits = round((128 - product) / 2)
        name = test.ids[test_rows[row]]
        if bits > most or name in copies:
            continue
        pair = (
            images.thumbnail(at[i], 64)
            for images, at, i in ((train, train_rows, nearest), (test, test_rows, row))
        )
        if alike(*map(look, pair)):
            found.append((KINDS[2], train.ids[train_rows[nearest]], name, float(bits)))
    return found


def _embeddings(encoder, train, test, progress):
    if isinstance(encoder, tuple):
        if len(encoder) != 2:
            raise ValueError(
                f"encoder is a tuple of {len(encoder)}; give (train embeddings, test embeddings)"
            )
        first, second = encoder
    else:
        with bars(progress):
            first, second = encoder.transform(train), encoder.transform(test)
    pair = []
    for name, values, images in (("train", first, train), ("test", second, test)):
        values = np.asarray(aligned(values, images.ids, f"{name} embeddings"), dtype=np.float32)
        if values.ndim != 2 or len(values) != len(images):
            raise ValueError(
                f"{name} embeddings have the shape {values.shape}; give one row for each of {len(images)}"
            )
        if not np.isfinite(values).all():
            raise ValueError(
                f"{name} embeddings hold NaN or infinite values; mend or drop those images"
            )
        pair.append(values)
    if pair[0].shape[1] != pair[1].shape[1]:
        raise ValueError(
            f"embeddings have {pair[0].shape[1]} and {pair[1].shape[1]} dimensions; use one encoder"
        )
    return pair


def _near_by_embedding(train, test, ids, least, copies):
    train_ids, test_ids = ids
    if not len(train) or not len(test):
        return []
    distances, nearest = Exact().fit(train).kneighbors(test, n_neighbors=1)
    return [
        (KINDS[3], train_ids[near], test_ids[row], float(far))
        for row, (far, near) in enumerate(zip(distances[:, 0], nearest[:, 0], strict=True))
        if far <= 1 - least + 1e-6 and test_ids[row] not in copies
    ]


def _best(rows, columns):
    """For each of `rows` (n, d) the one of `columns` (m, d) of largest product: (row, column, product)."""
    if not len(rows) or not len(columns):
        return
    step = max(1, _BLOCK // len(columns))
    for start in range(0, len(rows), step):
        products = rows[start : start + step] @ columns.T
        for offset, nearest in enumerate(products.argmax(axis=1)):
            yield start + offset, int(nearest), float(products[offset, nearest])
