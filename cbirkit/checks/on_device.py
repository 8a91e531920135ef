"""Checks of notebook 13: quantised activations, cut embeddings, and sixteen bytes for an image."""

from functools import partial

import numpy as np

from .running import Verdict, open_answer, run_check

_SHARED = 2.0  # times the neighbours that a random projection keeps


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
        if codes.shape != (200, 16) or codes.dtype != np.uint8:
            return f"expected uint8 of shape (200, 16), got {codes.dtype} of {codes.shape}."

    codes, verdict = open_answer("sixteen_bytes", answer, [known, new], 30, fault)
    if verdict is None:
        half, verdict = open_answer("sixteen_bytes", answer, [known, new[:100]], 30, lambda _: None)
        if verdict is None and not np.array_equal(half, codes[:100]):
            told = (
                "the code of an image changes with the other images: learn from `reference` only."
            )
            return Verdict("sixteen_bytes", "not yet", told)
    if verdict is not None:
        return verdict
    kept, least = _kept(new, codes), _SHARED * _kept(new, new @ random.randn(64, 16))
    told = f"{kept:.2f} of the ten nearest are kept; the aim is {least:.2f}."
    passed = kept >= least
    return Verdict("sixteen_bytes", "passed" if passed else "not yet", told, float(passed))


_TURN = np.linalg.qr(np.random.RandomState(3).randn(64, 64))[0]


def _kept(X, codes):
    """Mean fraction of the ten nearest others that stay."""
    near = []
    for rows in (np.asarray(X, float), np.asarray(codes, float)):
        squares = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
        np.fill_diagonal(squares, np.inf)
        near.append(np.argsort(squares, axis=1, kind="stable")[:, :10])
    return float((near[0][:, :, None] == near[1][:, None, :]).any(axis=2).mean())
