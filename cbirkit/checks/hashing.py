"""Checks of notebooks 11 and 13: counting bits, the rotation of ITQ, precision within a radius; quantised activations, cut embeddings, sixteen bytes."""

from functools import partial

import numpy as np

from .running import Verdict, ahead, open_answer, run_check

_ONES = np.array([byte.bit_count() for byte in range(256)])
_SHARED = 2.0  # times the neighbours that a random projection keeps


def check_hamming_distances(answer):
    """Check ``hamming_distances(queries, codes)``: how many bits of packed codes differ.

    Parameters
    ----------
    answer : callable
        Takes `queries` (n, n_bytes) and `codes` (m, n_bytes), uint8; returns whole numbers (n, m).

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_hamming_distances(lambda queries, codes: queries @ codes.T).passed
    False
    """
    return run_check(answer, _hamming_distances, _hamming_cases(), mistakes=HAMMING_MISTAKES)


def _hamming_distances(queries, codes):
    return _ONES[queries[:, None] ^ codes[None]].sum(axis=2)


def _hamming_cases():
    random = np.random.RandomState(0)

    def codes(*shape):
        return random.randint(0, 256, shape).astype(np.uint8)

    byte = np.array([[0b00000001], [0b11111111], [0b00000000]], np.uint8)
    ends, half = (
        np.array([[0] * 40, [255] * 40], np.uint8),
        np.array([[0] * 20, [255] * 20], np.uint8),
    )
    same = codes(3, 8)
    yield from [
        ("the byte 00000001 against 00000001, 11111111 and 00000000", byte[:1], byte),
        ("two queries and five codes of 32 bits", codes(2, 4), codes(5, 4)),
        ("codes against themselves", same, same),
        ("codes of 160 bits that differ in all of them", half, half),
        ("codes of 320 bits that differ in all of them: more than a byte can count", ends, ends),
        ("four queries and one code", codes(4, 16), codes(1, 16)),
        ("an empty database", codes(1, 8), codes(0, 8)),
        ("no query", codes(0, 8), codes(2, 8)),
    ]


def _bytes_that_differ(queries, codes):
    return (queries[:, None] != codes[None]).sum(axis=2)


def _share(queries, codes):
    return _hamming_distances(queries, codes) / (8 * queries.shape[1])


HAMMING_MISTAKES = {
    "A byte ends at 255: add up with dtype=np.int64.": lambda q, c: _ONES.astype(np.uint8)[
        q[:, None] ^ c[None]
    ].sum(axis=2, dtype=np.uint8),
    "You counted the bytes that differ; count the bits in them: XOR first, then the table of ones.": _bytes_that_differ,
    "That is AND: it counts the ones that both have. Bits that differ: ^.": lambda q, c: _ONES[
        q[:, None] & c[None]
    ].sum(axis=2),
    "That is OR; bits that differ are found by XOR: ^.": lambda q, c: _ONES[
        q[:, None] | c[None]
    ].sum(axis=2),
    "You counted the bits that agree: smaller is nearer, count those that differ.": lambda q, c: (
        8 * q.shape[1] - _hamming_distances(q, c)
    ),
    "You added up the bytes of the XOR as numbers; what counts is how many ones each has.": lambda q, c: (
        (q[:, None] ^ c[None]).astype(np.int64).sum(axis=2)
    ),
    "Bytes are no numbers here: 127 and 128 differ in all eight bits.": lambda q, c: np.abs(
        q[:, None].astype(np.int64) - c[None]
    ).sum(axis=2),
    "The shape is (n_queries, n_codes): queries are the rows.": lambda q, c: (
        _hamming_distances(q, c).T
    ),
    "An int8 ends at 127: add up with dtype=np.int64.": lambda q, c: (
        _ONES[q[:, None] ^ c[None]].sum(axis=2).astype(np.int8)
    ),
    "That is the share of bits that differ; return how many.": _share,
}


def check_best_rotation(answer):
    """Check ``best_rotation(V, B)``: the orthogonal matrix that takes projections closest to their bits.

    Parameters
    ----------
    answer : callable
        Takes `V` (n, b), floats, and `B` (n, b) of -1 and 1; returns R (b, b), orthogonal, with ``|B - V @ R|`` smallest.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_best_rotation(lambda V, B: np.eye(V.shape[1])).passed
    False
    """
    return run_check(
        answer, _best_rotation, _rotation_cases(), mistakes=ROTATION_MISTAKES, tolerance=1e-5
    )


def _best_rotation(V, B):
    left, _, right = np.linalg.svd(V.T @ B)
    return left @ right


def _rotation_cases():
    random = np.random.RandomState(1)

    def bits(*shape):
        return np.where(random.rand(*shape) < 0.5, -1.0, 1.0)

    one = bits(5, 1)
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    corners = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0], [1.0, 1.0]])
    turned = np.linalg.qr(random.normal(size=(6, 6)))[0]
    exact = bits(40, 6)
    yield from [
        ("bits turned by a quarter: turn them back", corners @ quarter.T, corners),
        ("bits under a random rotation, which can be undone exactly", exact @ turned.T, exact),
        (
            "bits with one dimension mirrored: a mirror is allowed",
            corners @ np.diag([1.0, -1.0]),
            corners,
        ),
        ("codes of one bit, all turned round: R is -1", -0.5 * one, one),
    ]
    for n, b in ((30, 4), (200, 8), (50, 16)):
        V = random.normal(size=(n, b)) * np.linspace(3, 0.5, b)
        start = np.linalg.qr(random.normal(size=(b, b)))[0]
        yield f"{n} random projections on {b} directions", V, np.where(V @ start > 0, 1.0, -1.0)


def _switched_rotation(V, B, *, first=None, second=None, both=False):
    """The rotation and, by its switches, what goes wrong with it."""
    left, _, right = np.linalg.svd(V.T @ B)
    left, right = (left.T if first else left), (right.T if second else right)
    return (left @ right).T if both else left @ right


def _least_squares(V, B):
    return np.linalg.lstsq(V, B, rcond=None)[0]


def _proper_rotation(V, B):
    left, _, right = np.linalg.svd(V.T @ B)
    left = left.copy()
    left[:, -1] *= np.sign(np.linalg.det(left @ right))
    return left @ right


ROTATION_MISTAKES = {
    "np.linalg.svd gives the right factor transposed already: R = left @ right, without another .T.": partial(
        _switched_rotation, second=True
    ),
    "That is R transposed, which turns the wrong way: decompose V.T @ B (not B.T @ V) and return left @ right.": partial(
        _switched_rotation, both=True
    ),
    "Both factors are transposed: R = left @ right, as np.linalg.svd gives them.": partial(
        _switched_rotation, first=True, second=True
    ),
    "The left factor is not to be transposed: R = left @ right.": partial(
        _switched_rotation, first=True
    ),
    "That is least squares: it fits better because it also stretches. R must be orthogonal: drop the singular values.": _least_squares,
    "V.T @ B is where it begins: replace its singular values by 1.": lambda V, B: V.T @ B,
    "QR makes it orthogonal, too, but not the nearest: use the singular value decomposition.": lambda V, B: (
        np.linalg.qr(V.T @ B)[0]
    ),
    "You ruled mirrors out (determinant 1); ITQ may mirror, any orthogonal matrix will do.": _proper_rotation,
    "The sign is turned round: V @ R is to lie close to B, not to -B.": lambda V, B: (
        -_best_rotation(V, B)
    ),
    "You scaled the rows of V: R is for V as it is.": lambda V, B: _best_rotation(
        V / np.linalg.norm(V, axis=1, keepdims=True), B
    ),
}


def check_precision_in_radius(answer):
    """Check ``precision_in_radius(distances, relevant, radius)``: mean precision among what is near, empty balls counting 0.

    Parameters
    ----------
    answer : callable
        Takes `distances` (n, m), `relevant` (n, m) bool and `radius`; returns a number.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_precision_in_radius(lambda distances, relevant, radius: relevant.mean()).passed
    False
    """
    return run_check(answer, _precision_in_radius, _radius_cases(), mistakes=RADIUS_MISTAKES)


def _precision_in_radius(distances, relevant, radius):
    inside = distances <= radius
    return float(((inside & relevant).sum(axis=1) / np.maximum(inside.sum(axis=1), 1)).mean())


def _radius_cases():
    random = np.random.RandomState(2)
    yield from [
        (
            "distances 0, 1, 2, 3 and radius 2",
            np.array([[0, 1, 2, 3]]),
            np.array([[True, False, True, True]]),
            2,
        ),
        (
            "two queries, one of them with nobody inside: it counts 0",
            np.array([[1, 9], [8, 9]]),
            np.array([[True, False], [True, True]]),
            2,
        ),
        ("three queries with nobody inside", np.full((3, 4), 9), np.ones((3, 4), bool), 2),
        (
            "balls of four and of one: each query counts alike",
            np.array([[0, 1, 2, 2], [2, 9, 9, 9]]),
            np.array([[True, False, False, False], [True, False, False, False]]),
            2,
        ),
        ("radius 0", np.array([[0, 1, 3]]), np.array([[True, False, True]]), 0),
        ("radius 4", np.array([[1, 4, 5]]), np.array([[True, False, True]]), 4),
        (
            "two queries, one of which has no relevant image at all: its precision is 0",
            np.array([[0, 1, 9], [1, 2, 9]]),
            np.array([[True, True, False], [False, False, False]]),
            2,
        ),
        (
            "an empty database: two balls with nobody inside",
            np.zeros((2, 0), int),
            np.zeros((2, 0), bool),
            2,
        ),
    ]
    for n_bits in (8, 16, 32):
        near = random.binomial(n_bits, 0.3, size=(20, 30))
        yield f"random codes of {n_bits} bits", near, random.rand(20, 30) < 0.3, 2


def _switched_precision(
    distances,
    relevant,
    radius,
    *,
    near=np.less_equal,
    skip=None,
    pooled=False,
    empty=0.0,
    nobody=0.0,
):
    """The precision and, by its switches, what goes wrong with it."""
    inside = near(distances, radius)
    hits, n_inside = (inside & relevant).sum(axis=1), inside.sum(axis=1)
    if pooled:
        return float(hits.sum() / max(n_inside.sum(), 1))
    values = np.where(n_inside > 0, hits / np.maximum(n_inside, 1), empty)
    counted = {
        None: slice(None),
        "empty": n_inside > 0,
        "no hit": hits > 0,
        "no positive": relevant.any(axis=1),
    }
    values = values[counted[skip]]
    return float(values.mean()) if len(values) else nobody


def _unguarded(distances, relevant, radius):
    inside = distances <= radius
    with np.errstate(all="ignore"):
        return float(((inside & relevant).sum(axis=1) / inside.sum(axis=1)).mean())


def _recall(distances, relevant, radius):
    return float(
        ((distances <= radius) & relevant).sum(axis=1).mean() / max(relevant.sum(axis=1).mean(), 1)
    )


RADIUS_MISTAKES = {
    "You skipped the queries with nobody inside; they count 0, or long codes are rewarded for finding nothing.": partial(
        _switched_precision, skip="empty"
    ),
    "0 / 0 is NaN: where nobody is inside, the precision counts 0.": _unguarded,
    "The radius belongs to the ball: <=, not <.": partial(_switched_precision, near=np.less),
    "Take the precision of each query first, then the mean: queries count alike.": partial(
        _switched_precision, pooled=True
    ),
    "Where nobody is inside nothing was found: 0, not 1.": partial(_switched_precision, empty=1.0),
    "That divides by the relevant ones, which is recall; divide by how many are inside.": _recall,
    "You skipped the queries with nobody inside, and where no query is left the mean is NaN; they count 0.": partial(
        _switched_precision, skip="empty", nobody=np.nan
    ),
    "You left out the queries without a relevant image: the mean is over all queries, and theirs is 0.": partial(
        _switched_precision, skip="no positive"
    ),
    "You left out the queries without a relevant image, and where none is left the mean is NaN: all queries count.": partial(
        _switched_precision, skip="no positive", nobody=np.nan
    ),
    "You left out the queries that find nothing right: they count 0.": partial(
        _switched_precision, skip="no hit"
    ),
}


def check_quantised(answer):
    """Check ``quantised(x, low, high)``: floats as whole numbers of 8 bits.

    Parameters
    ----------
    answer : callable
        Takes floats `x` of any shape and the range `low` to `high`, which is widened to hold 0; returns whole numbers from 0 to 255 of
        that shape: ``round(x / step) + round(-low / step)``, clipped, with ``step = (high - low) / 255``, or 1 where that is 0.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_quantised(lambda x, low, high: x).passed
    False
    """
    return run_check(answer, _quantised, _quantised_cases(), mistakes=QUANTISED_MISTAKES)


def _quantised(x, low, high, widen=True, levels=255, inner=np.round, zero=np.round, clip=True):
    low, high = (min(low, 0), max(high, 0)) if widen else (low, high)
    step = (high - low) / levels or 1
    codes = inner(np.asarray(x, float) / step) + zero(-low / step)
    return (np.clip(codes, 0, 255) if clip else codes).astype(np.int64) % 256


def _quantised_cases():
    random = np.random.RandomState(0)
    yield from [
        ("a range on both sides of 0", np.array([-1.0, -0.3, 0.0, 0.4, 2.0]), -1.0, 2.0),
        ("values outside the range", np.array([-9.0, 0.5, 9.0]), -1.0, 1.0),
        ("a range above 0", np.array([0.0, 2.2, 3.0, 5.9]), 2.0, 6.0),
        ("a range below 0", np.array([-4.1, -2.0, -1.0, 0.0]), -4.0, -1.5),
        ("a range of no width", np.array([0.0, 0.2, 3.0]), 0.0, 0.0),
        ("a map of activations", random.randn(2, 3, 5) * 2, -3.3, 4.1),
        ("no value", np.empty((0, 4)), -1.0, 1.0),
        ("many values", random.rand(500) * 6, 0.0, 5.2),
    ]


QUANTISED_MISTAKES = {
    "The range has to hold 0, or no whole number stands for it: widen it first.": partial(
        _quantised, widen=False
    ),
    "From 0 to 255 there are 255 steps, not 256.": partial(_quantised, levels=256),
    "You cut off digits: round to the nearest.": partial(_quantised, inner=np.trunc),
    "You round down: round to the nearest.": partial(_quantised, inner=np.floor),
    "The zero point is rounded to the nearest, not down.": partial(_quantised, zero=np.floor),
    "Clip before you make bytes: they wrap around.": partial(_quantised, clip=False),
    "The zero point is missing.": partial(_quantised, zero=lambda z: 0),
    "Subtracting low first rounds the zero point together with x, so that 0 is not exact.": lambda x, low, high: (
        _quantised(x - min(low, 0), 0, max(high, 0) - min(low, 0))
    ),
}


def check_cut(answer):
    """Check ``cut(embeddings, n_dims)``: the first dimensions, of length 1, in 8 bits.

    Parameters
    ----------
    answer : callable
        Takes `embeddings` (n, d) and `n_dims`; returns whole numbers (n, n_dims): the first dimensions, scaled to length 1, times 127,
        rounded. Rows of zeros stay.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_cut(lambda embeddings, n_dims: embeddings[:, :n_dims]).passed
    False
    """
    return run_check(answer, _cut, _cut_cases(), mistakes=CUT_MISTAKES)


def _cut(X, n, before=False, last=False, norm=2, inner=np.round, times=127, axis=1):
    part = X[:, -n:] if last else X[:, :n]
    length = np.linalg.norm(X if before else part, norm, axis=axis, keepdims=True)
    length = length[:, :n] if axis == 0 else length
    return inner(times * part / np.where(length > 0, length, 1)).astype(np.int64)


def _cut_cases():
    random = np.random.RandomState(1)
    zeros = random.randn(4, 6)
    zeros[1, :3] = zeros[3] = 0
    yield from [
        ("two rows cut to 2", np.array([[3.0, 4.0, 12.0], [1.0, 0.0, -5.0]]), 2),
        ("all dimensions", random.randn(3, 5), 5),
        ("one dimension", random.randn(4, 3), 1),
        ("rows of zeros, before and after the cut", zeros, 3),
        ("no row", np.empty((0, 4)), 2),
        ("rows of very different length", random.randn(6, 8) * 10.0 ** np.arange(-3, 3)[:, None], 4),
        ("many rows", random.randn(50, 32), 16),
    ]  # fmt: skip


CUT_MISTAKES = {
    "Scale after the cut: what is left of a row is shorter than 1.": partial(_cut, before=True),
    "You kept the last dimensions: the first were trained to serve alone.": partial(
        _cut, last=True
    ),
    "Length is the root of the sum of squares; you took the sum of absolute values.": partial(
        _cut, norm=1
    ),
    "You divided by the largest value: scale rows to length 1.": partial(_cut, norm=np.inf),
    "You cut off digits: round to the nearest.": partial(_cut, inner=np.trunc),
    "You round down: round to the nearest.": partial(_cut, inner=np.floor),
    "128 does not fit into int8: multiply by 127.": partial(_cut, times=128),
    "Scale rows, not columns.": partial(_cut, axis=0),
}


def check_sixteen_bytes(answer):
    """Check ``sixteen_bytes(reference, embeddings)``: codes of 16 bytes that keep neighbours; open, judged by its result.

    Parameters
    ----------
    answer : callable
        Takes `reference` (n, d) to learn from and `embeddings` (m, d); returns uint8 (m, 16). Of the ten nearest by Euclidean distance
        it has to keep twice as many as a random projection. A row's code may not depend on the other rows.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_sixteen_bytes(lambda reference, embeddings: embeddings[:, :16]).passed
    False
    """
    random = np.random.RandomState(2)
    scales = np.arange(1, 65) ** -0.6
    known, new = (random.randn(n, 64) * scales @ _TURN for n in (500, 200))

    def fault(codes):
        codes = np.asarray(codes)
        if codes.ndim != 2 or codes.shape[1] != 16 or codes.dtype != np.uint8:
            return f"expected uint8 of shape (200, 16), got {codes.dtype} of {codes.shape}."

    codes, verdict = open_answer("sixteen_bytes", answer, [known, new], 30, fault)
    if verdict is not None:
        return verdict
    half, verdict = open_answer("sixteen_bytes", answer, [known, new[:100]], 30, fault)
    if verdict is not None:
        return verdict
    if len(codes) != 200 or not np.array_equal(half, codes[:100]):
        told = "the code of an image changes with the other images: learn from `reference` only, and give each of `embeddings` (200 here) a code."
        return Verdict("sixteen_bytes", "not yet", told)
    why = "which directions vary most, and do they share one step?"
    theirs = _SHARED * _kept(new, new @ random.randn(64, 16))
    told = "codes keep {:.3f} of the ten nearest; twice a random projection is {:.3f}"
    return ahead("sixteen_bytes", _kept(new, codes), theirs, 0, told, why)


_TURN = np.linalg.qr(np.random.RandomState(3).randn(64, 64))[0]


def _kept(X, codes):
    """Mean fraction of the ten nearest others that stay."""
    near = []
    for rows in (np.asarray(X, float), np.asarray(codes, float)):
        squares = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
        np.fill_diagonal(squares, np.inf)
        near.append(np.argsort(squares, axis=1, kind="stable")[:, :10])
    return float((near[0][:, :, None] == near[1][:, None, :]).any(axis=2).mean())
