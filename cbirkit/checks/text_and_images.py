"""Checks of notebook 16: a loss with several right captions (MIL-NCE), and the fusion of two similarities by Harris's criterion."""

from functools import partial

import numpy as np

from .running import run_check


def check_mil_nce(answer):
    """Check ``mil_nce(similarities, true, temperature)``: a symmetric loss in which one of several right captions is enough.

    Parameters
    ----------
    answer : callable
        Takes `similarities` (n_images, n_captions), `true`, bool of the same shape, and `temperature` > 0; returns a float: the mean over
        images of -log(the softmax's probabilities of the image's true captions, added up), and the same of captions, averaged. Images
        and captions without anything true are left out; where all are, it is 0.

    Returns
    -------
    Verdict

    References
    ----------
    Miech et al., "End-to-end learning of visual representations from uncurated instructional videos", CVPR 2020, arXiv 1912.06430.

    Examples
    --------
    >>> check_mil_nce(lambda similarities, true, temperature: 0.0).passed
    False
    """
    return run_check(answer, _mil_nce, _nce_cases(), mistakes=NCE_MISTAKES)


def _log_softmax(logits):
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def _one_way(logits, true, row=None, empty=False):
    """Mean over rows with something true of `row(log probabilities, true)`."""
    some = true.any(axis=1)
    if not some.any():
        return 0.0
    found = _log_softmax(logits)[some]
    if row is None:
        best = found.max(axis=1, keepdims=True)
        losses = -np.log((np.exp(found - best) * true[some]).sum(axis=1)) - best[:, 0]
    else:
        losses = np.array([row(p, t) for p, t in zip(found, true[some], strict=True)])
    return float(losses.sum() / (len(true) if empty else some.sum()))


def _mil_nce(similarities, true, temperature, row=None, ways=(1, 1), empty=False):
    logits, true = np.asarray(similarities, float) / temperature, np.asarray(true, bool)
    parts = _one_way(logits, true, row, empty), _one_way(logits.T, true.T, row, empty)
    return float(np.dot(ways, parts) / 2)


def _nce_cases():
    random = np.random.RandomState(0)
    eye, wide = np.eye(3, dtype=bool), np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]], bool)
    none = wide.copy()
    none[1] = False
    yield from [
        ("a caption each", random.randn(3, 3), eye, 1.0),
        ("several true captions", random.randn(3, 4), wide, 1.0),
        ("a low temperature", random.uniform(-1, 1, (3, 4)), wide, 0.07),
        ("an image and a caption without anything true", random.randn(3, 4), none, 0.5),
        ("nothing true at all", random.randn(2, 3), np.zeros((2, 3), bool), 1.0),
        ("similarities far apart", 2000.0 * eye, eye, 1.0),
        ("true captions that are far away", np.array([[0.0, 40.0], [40.0, 0.0]]), np.eye(2, dtype=bool), 0.5),
        ("one image with three captions", random.randn(1, 3), np.array([[True, False, True]]), 2.0),
        ("twelve images and nine captions", random.randn(12, 9), random.rand(12, 9) < 0.3, 0.3),
    ]  # fmt: skip


def _plain(similarities, true, temperature):
    """Without care for large numbers."""
    weights, true, parts = np.exp(np.asarray(similarities) / temperature), np.asarray(true), []
    for w, t in ((weights, true), (weights.T, true.T)):
        some = t.any(axis=1)
        share = (w * t).sum(axis=1)[some] / w.sum(axis=1)[some]
        parts.append(-np.log(share).mean() if some.any() else 0.0)
    return float(np.mean(parts))


def _odds(logs, true):
    rest = np.exp(logs[~true]).sum()
    return -np.log(np.exp(logs[true]).sum() / rest) if rest > 0 else 0.0


NCE_MISTAKES = {
    "You average the logarithms of the true captions: MIL-NCE adds their probabilities up first, then takes the logarithm.": partial(
        _mil_nce, row=lambda logs, true: -logs[true].mean()
    ),
    "You add up the logarithms of the true captions: add up their probabilities.": partial(
        _mil_nce, row=lambda logs, true: -logs[true].sum()
    ),
    "Only the first true caption counts in your version.": partial(
        _mil_nce, row=lambda logs, true: -logs[true][0]
    ),
    "Only the best true caption counts in your version: add up the probabilities of all of them.": partial(
        _mil_nce, row=lambda logs, true: -logs[true].max()
    ),
    "You average the probabilities of the true captions: add them up.": partial(
        _mil_nce,
        row=lambda logs, true: np.log(true.sum()) - np.logaddexp.reduce(logs[true]),
    ),
    "The true captions belong in the denominator, too.": partial(_mil_nce, row=_odds),
    "A probability is not a loss: take minus its logarithm.": partial(
        _mil_nce, row=lambda logs, true: 1 - np.exp(logs[true]).sum()
    ),
    "You took the logarithm to the base 2.": lambda *given: _mil_nce(*given) / np.log(2),
    "This is only from images to captions: average it with captions to images.": partial(
        _mil_nce, ways=(2, 0)
    ),
    "This is only from captions to images: average it with images to captions.": partial(
        _mil_nce, ways=(0, 2)
    ),
    "You added the two directions: average them.": partial(_mil_nce, ways=(2, 2)),
    "The sign is wrong: a loss is above 0.": partial(_mil_nce, ways=(-1, -1)),
    "Rows without anything true are left out of the mean: yours counts them as 0.": partial(
        _mil_nce, empty=True
    ),
    "You left the temperature out.": lambda similarities, true, temperature: _mil_nce(
        similarities, true, 1.0
    ),
    "You multiply by the temperature: divide by it.": lambda similarities, true, temperature: (
        _mil_nce(similarities, true, 1 / temperature)
    ),
    "Exponentials of large numbers overflow: subtract each row's maximum first.": _plain,
}


def check_harris_fusion(answer):
    """Check ``harris_fusion(image, text, strength)``: high only where both similarities are.

    Parameters
    ----------
    answer : callable
        Takes similarities to the image and to the text of a query, `image` and `text` (n_queries, n_images), and `strength`; brings each
        row of each to 0 … 1 (its minimum and its maximum; a row that is the same everywhere becomes 0) and returns
        ``a * b - strength * (a + b) ** 2``, (n_queries, n_images).

    Returns
    -------
    Verdict

    References
    ----------
    Psomas et al., "Instance-level composed image retrieval", NeurIPS 2025, arXiv 2510.25387, whose normalisation differs.

    Examples
    --------
    >>> check_harris_fusion(lambda image, text, strength: image * text).passed
    False
    """
    return run_check(answer, _harris_fusion, _fusion_cases(), mistakes=FUSION_MISTAKES)


def _unit_rows(table, axis=1):
    table = np.asarray(table, float)
    low = table.min(axis=axis, keepdims=True)
    width = table.max(axis=axis, keepdims=True) - low
    return (table - low) / np.where(width > 0, width, 1)


def _harris_fusion(image, text, strength, scale=_unit_rows, join=None):
    a, b = scale(image), scale(text)
    return join(a, b, strength) if join else a * b - strength * (a + b) ** 2


def _fusion_cases():
    random = np.random.RandomState(1)
    same = random.rand(2, 5)
    same[1] = 0.4
    yield from [
        ("one query and three images", np.array([[0.1, 0.5, 0.3]]), np.array([[0.9, 0.2, 0.6]]), 0.1),
        ("no strength", random.rand(2, 4), random.rand(2, 4), 0.0),
        ("similarities below 0", random.randn(3, 6), random.randn(3, 6), 0.2),
        ("rows on other scales", random.rand(3, 5) * [[1], [9], [0.1]], random.rand(3, 5) + [[4], [0], [-2]], 0.1),
        ("a row that is the same everywhere", same, random.rand(2, 5), 0.1),
        ("two rows that are the same everywhere", np.ones((1, 3)), np.zeros((1, 3)), 0.3),
        ("one image only", np.array([[0.7]]), np.array([[0.2]]), 0.1),
        ("many queries", random.randn(20, 30), random.rand(20, 30), 0.15),
    ]  # fmt: skip


def _divided(table):
    table = np.asarray(table, float)
    return table / np.where((top := np.abs(table).max(axis=1, keepdims=True)) > 0, top, 1)


def _standardised(table):
    table = np.asarray(table, float)
    width = table.std(axis=1, keepdims=True)
    return (table - table.mean(axis=1, keepdims=True)) / np.where(width > 0, width, 1)


def _ranked(table):
    order = np.argsort(np.argsort(np.asarray(table, float), axis=1), axis=1)
    return order / max(order.shape[1] - 1, 1)


def _unguarded(table):
    table = np.asarray(table, float)
    low, high = table.min(axis=1, keepdims=True), table.max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (table - low) / (high - low)


FUSION_MISTAKES = {
    "You left the normalisation out: bring each row to 0 … 1 first.": partial(
        _harris_fusion, scale=lambda table: np.asarray(table, float)
    ),
    "Each query has its own minimum and maximum: yours are those of the whole table.": partial(
        _harris_fusion, scale=partial(_unit_rows, axis=None)
    ),
    "You brought the columns to 0 … 1: a query is a row.": partial(
        _harris_fusion, scale=partial(_unit_rows, axis=0)
    ),
    "You only divide by the maximum: subtract the minimum, too.": partial(
        _harris_fusion, scale=_divided
    ),
    "You standardised the rows (mean 0, deviation 1): the least is to be 0, the most 1.": partial(
        _harris_fusion, scale=_standardised
    ),
    "These are ranks: keep the distances between similarities.": partial(
        _harris_fusion, scale=_ranked
    ),
    "A row that is the same everywhere becomes 0: yours divides by 0.": partial(
        _harris_fusion, scale=_unguarded
    ),
    "This is the product alone: subtract strength times the square of the sum.": partial(
        _harris_fusion, join=lambda a, b, strength: a * b
    ),
    "This is a sum, high where one of the two is: multiply.": partial(
        _harris_fusion, join=lambda a, b, strength: a + b - strength * (a + b) ** 2
    ),
    "You add the square: subtract it.": partial(
        _harris_fusion, join=lambda a, b, strength: a * b + strength * (a + b) ** 2
    ),
    "The sum is to be squared.": partial(
        _harris_fusion, join=lambda a, b, strength: a * b - strength * (a + b)
    ),
    "The square of the sum is not the sum of the squares.": partial(
        _harris_fusion, join=lambda a, b, strength: a * b - strength * (a**2 + b**2)
    ),
    "The square is that of the sum, not of the difference.": partial(
        _harris_fusion, join=lambda a, b, strength: a * b - strength * (a - b) ** 2
    ),
}
