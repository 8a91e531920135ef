"""Checks of notebook 09: attention pooling, the pointing game, and weights where a picture has two backgrounds."""

from functools import partial

import numpy as np

from .running import (
    Verdict,
    call,
    describe,
    open_answer,
    run_check,
)

_SECONDS = 30.0
_GAIN = 0.1


def check_attention_pooling(answer):
    """Check ``attention_pooling(feature_map, scores, valid)``: the mean of the positions that count, weighted by attention.

    Parameters
    ----------
    answer : callable
        Takes `feature_map` (c, h, w), `scores` (h, w), any real numbers, and `valid` (h, w), bool, not empty; returns (c,): the
        valid positions weighted by the softplus of their scores, the weights divided by their sum.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_attention_pooling(lambda feature_map, scores, valid: feature_map.mean(axis=(1, 2))).passed
    False
    """
    mistakes = POOLING_MISTAKES
    return run_check(answer, _attention_pooling, _pooling_cases(), mistakes=mistakes)


def _softplus(scores):
    return np.logaddexp(0, scores)


def _pooled(feature_map, weights):
    with np.errstate(all="ignore"):
        return (feature_map * weights).sum(axis=(1, 2)) / weights.sum()


def _attention_pooling(feature_map, scores, valid, activation=_softplus):
    return _pooled(feature_map, np.where(valid, activation(scores), 0.0))


def _pooling_cases():
    random = np.random.RandomState(0)
    worked = np.array([[[1.0, 3.0]], [[0.0, 4.0]]])
    corner = np.ones((3, 3), bool)
    corner[2, :] = corner[:, 2] = False
    peak = np.array([[0.0, 9.0], [1.0, -1.0]])
    one = np.zeros((2, 3), bool)
    one[1, 0] = True
    yield from [
        ("two positions with scores of 0", worked, np.zeros((1, 2)), np.ones((1, 2), bool)),
        ("scores below 0", random.rand(3, 2, 2), -3 * random.rand(2, 2), np.ones((2, 2), bool)),
        ("a border that is not valid", random.rand(4, 3, 3), random.randn(3, 3), corner),
        ("the highest score at a position that is not valid", random.rand(3, 2, 2), peak, peak < 5),
        ("scores of 1000 and 2000", worked, np.array([[1000.0, 2000.0]]), np.ones((1, 2), bool)),
        ("a single valid position", random.randn(5, 2, 3), random.randn(2, 3), one),
        (
            "scores that are whole numbers",
            random.rand(3, 2, 2),
            np.array([[2, 0], [-1, 3]]),
            peak < 5,
        ),
        (
            "a map with values below 0",
            random.randn(6, 4, 3),
            random.randn(4, 3),
            random.rand(4, 3) < 0.6,
        ),
        ("a map of zeros", np.zeros((3, 2, 2)), random.randn(2, 2), np.ones((2, 2), bool)),
    ]


def _naive_softplus(scores):
    with np.errstate(all="ignore"):
        return np.log(1 + np.exp(scores))


def _softmax(scores):
    return np.exp(scores - scores.max())


def _sigmoid(scores):
    return np.exp(-np.logaddexp(0, -scores))


def _strongest(feature_map, scores, valid):
    best = np.where(valid, scores, -np.inf).argmax()
    return feature_map.reshape(len(feature_map), -1)[:, best]


POOLING_MISTAKES = {
    "Positions that are not valid still count: their weights are 0.": lambda f, s, v: (
        _attention_pooling(f, s, np.ones_like(v))
    ),
    "This is a softmax; the weights asked for are softplus(score) / sum.": partial(
        _attention_pooling, activation=_softmax
    ),
    "This cuts the scores at 0 (ReLU): softplus is smooth, and never quite 0.": partial(
        _attention_pooling, activation=lambda s: np.maximum(s, 0)
    ),
    "This is a sigmoid: it cannot rise above 1, softplus can.": partial(
        _attention_pooling, activation=_sigmoid
    ),
    "log(1 + exp(score)) overflows for large scores: there is a NumPy function that does not.": partial(
        _attention_pooling, activation=_naive_softplus
    ),
    "The weights are the bare scores: softplus makes them positive.": partial(
        _attention_pooling, activation=lambda s: s
    ),
    "You set the scores of invalid positions to 0, and softplus(0) is 0.69: set their weights to 0.": lambda f, s, v: (
        _pooled(f, _softplus(s * v))
    ),
    "The weighted sum is not divided by the sum of the weights.": lambda f, s, v: (
        f * np.where(v, _softplus(s), 0)
    ).sum(axis=(1, 2)),
    "The sum is divided by the number of positions, not by the sum of the weights.": lambda f, s, v: (
        (f * np.where(v, _softplus(s), 0)).sum(axis=(1, 2)) / v.sum()
    ),
    "The weights are normalised over all positions, and then some are dropped: they must sum to 1.": lambda f, s, v: (
        (f * np.where(v, _softplus(s), 0)).sum(axis=(1, 2)) / _softplus(s).sum()
    ),
    "This takes the strongest position alone.": _strongest,
    "This is the plain mean of the valid positions: the scores are not used.": lambda f, s, v: (
        _pooled(f, v.astype(float))
    ),
}


def check_pointing(answer):
    """Check ``pointing(weights, mask)``: does the strongest cell of a map lie on the object?

    Parameters
    ----------
    answer : callable
        Takes `weights` (h, w) and `mask` (H, W), bool, of any size; returns a number: 1 where the pixel at the centre of the
        strongest cell belongs to the mask, else 0; among equally strong cells the fraction that hits; NaN for an empty mask. The centre
        of cell i of h is the pixel ``floor((i + 0.5) * H / h)``.

    Returns
    -------
    Verdict

    References
    ----------
    Zhang et al., "Top-down neural attention by excitation backprop", ECCV 2016, arXiv 1608.00507.

    Examples
    --------
    >>> check_pointing(lambda weights, mask: 1.0).passed
    False
    """
    return run_check(answer, _pointing, _pointing_cases(), mistakes=POINTING_MISTAKES)


def _hits(weights, mask, at=0.5, best=np.max):
    """Which of the strongest cells hit the mask, bool (n,)."""
    cells = np.argwhere(weights == best(weights))
    rows, columns = (((cells + at) * mask.shape) / weights.shape).astype(int).T
    return mask[np.minimum(rows, mask.shape[0] - 1), np.minimum(columns, mask.shape[1] - 1)]


def _pointing(weights, mask, reduce=np.mean, empty=np.nan, **settings):
    return float(reduce(_hits(weights, mask, **settings))) if mask.any() else empty


def _pointing_cases():
    random = np.random.RandomState(1)
    half = np.zeros((6, 6), bool)
    half[:, 3:] = True
    dot = np.zeros((8, 8), bool)
    dot[5, 5] = True
    frame = np.ones((6, 6), bool)
    frame[1:5, 1:5] = False
    at = np.zeros((2, 2))
    at[1, 1] = 0.9
    twice = np.array([[0.5, 0.1, 0.5], [0.2, 0.3, 0.5]])
    yield from [
        ("the strongest cell on the object", at, half),
        ("the strongest cell beside the object", at[:, ::-1], half),
        ("a cell that the object fills in one pixel, not its centre", at, dot),
        ("an object around the centres of the cells", np.eye(2)[:1].repeat(2, 0), frame),
        ("three cells that are equally strong", twice, half),
        ("three equally strong cells, of which the first hits", twice, half[:, ::-1]),
        ("all cells equal", np.ones((2, 4)), half),
        ("an empty mask", at, np.zeros((6, 6), bool)),
        ("a mask of the whole picture", at, np.ones((3, 5), bool)),
        ("weights below 0", -at - 1, half),
        ("a wide map on a tall mask", random.rand(2, 5), random.rand(40, 11) < 0.5),
    ]
    for n in range(8):
        shape = random.randint(2, 7, 2)
        yield (
            f"random map {n + 1}",
            random.rand(*shape),
            random.rand(*random.randint(7, 30, 2)) < 0.4,
        )


def _covered(weights, mask):
    """The fraction of the strongest cell that the mask covers."""
    row, column = np.unravel_index(weights.argmax(), weights.shape)
    rows, columns = (np.arange(n) * h // n for n, h in zip(mask.shape, weights.shape, strict=True))
    return float(mask[rows == row][:, columns == column].mean()) if mask.any() else np.nan


def _mass(weights, mask):
    rows, columns = (np.arange(n) * h // n for n, h in zip(mask.shape, weights.shape, strict=True))
    large = weights[rows][:, columns]
    return float((large * mask).sum() / large.sum()) if mask.any() else np.nan


POINTING_MISTAKES = {
    "Only the first of several equally strong cells is looked at: take the fraction that hits.": partial(
        _pointing, reduce=lambda hits: hits[0]
    ),
    "One hit among equally strong cells is not a whole hit: take the fraction.": partial(
        _pointing, reduce=np.any
    ),
    "Equally strong cells need not all hit: take the fraction.": partial(_pointing, reduce=np.all),
    "An empty mask cannot be hit or missed: give NaN, so that it is left out of the mean.": partial(
        _pointing, empty=0.0
    ),
    "This looks at the upper left pixel of the cell: its centre is half a cell further.": partial(
        _pointing, at=0.0
    ),
    "This looks at the lower right pixel of the cell: its centre is half a cell back.": partial(
        _pointing, at=0.999
    ),
    "This is the weakest cell.": partial(_pointing, best=np.min),
    "Rows and columns are swapped.": lambda w, m: _pointing(w.T, m),
    "This is the fraction of the cell that the mask covers; the pointing game looks at one pixel.": _covered,
    "This is the fraction of the weight on the object, not whether its peak hits.": _mass,
    "This gives the number of hits: divide by the number of equally strong cells.": partial(
        _pointing, reduce=np.sum
    ),
}


def check_rare_weights(answer):
    """Check ``rare_weights(maps)``, an open exercise: weigh the object where a picture has two backgrounds, without training.

    Parameters
    ----------
    answer : callable
        Takes `maps` (n, c, h, w); returns weights (n, h, w), not below 0. It is run on drawn maps with two backgrounds and an object
        of a few cells; what counts is the fraction of the weight that lies on the object. It must be 0.1 above that of
        the distance to the image's mean, to whatever power.

    Returns
    -------
    Verdict
        The message tells both fractions.

    Examples
    --------
    >>> check_rare_weights(lambda maps: np.ones((len(maps), *maps.shape[2:]))).status
    'not yet'
    """
    maps, truth = _planted(0)
    fault = partial(_no_weights, truth)
    weights, ended = open_answer("rare_weights", answer, (maps.copy(),), _SECONDS, fault)
    if not ended and (told := _looks_around(answer, maps, weights)):
        ended = Verdict("rare_weights", "not yet", told)
    if ended:
        return ended
    distance = np.linalg.norm(maps - maps.mean(axis=(2, 3), keepdims=True), axis=1)
    ours, theirs = (
        _on_object(np.asarray(weights, float), truth),
        max(_on_object(distance**power, truth) for power in (6, 12, 24, 48, 96)),
    )
    told = f"{ours:.3f} of your weight lies on the objects, {theirs:.3f} of that of any power of the distance to the mean"
    if ours >= theirs + _GAIN:
        return Verdict("rare_weights", "passed", f"{told}.", 1.0)
    why = "with two backgrounds the mean lies between them: which cells have few like them? (A power sharpens weights.)"
    return Verdict("rare_weights", "not yet", f"{told}; {_GAIN} more are asked for: {why}")


def _planted(seed):
    """Maps (60, 24, 7, 7) of two backgrounds and an object, and which cells (60, 7, 7) are the object."""
    random = np.random.RandomState(seed)
    maps, truth = 0.35 * random.randn(60, 24, 7, 7), np.zeros((60, 7, 7), bool)
    for cells, inside in zip(maps, truth, strict=True):
        upper, lower, thing = random.randn(3, 24, 1, 1)
        horizon = random.randint(2, 6)
        cells[:, :horizon] += upper
        cells[:, horizon:] += lower
        top, left = random.randint(0, 5, 2)
        tall, wide = random.randint(1, 4, 2)
        inside[top : top + tall, left : left + wide] = True
        cells += (thing - np.where(np.arange(7)[None, :, None] < horizon, upper, lower)) * inside
    return maps, truth


def _on_object(weights, truth):
    totals = weights.sum(axis=(1, 2))
    return float(((weights * truth).sum(axis=(1, 2)) / np.where(totals > 0, totals, 1)).mean())


def _no_weights(truth, value):
    try:
        weights = np.asarray(value, dtype=float)
    except (TypeError, ValueError, RuntimeError):
        weights = np.zeros(0)
    if weights.shape != truth.shape:
        return f"expected weights of shape {truth.shape}, got {describe(value)}."
    if not np.isfinite(weights).all() or (weights < 0).any():
        return "weights must be finite and not below 0."
    return ""


def _looks_around(answer, maps, value):
    """A complaint where the weights of an image depend on the images beside it."""
    again = call(answer, (maps[:7].copy(),), _SECONDS)
    ours, theirs = _unit_sum(value)[:7], None if again.error else _unit_sum(again.value)
    if theirs is not None and theirs.shape == ours.shape and np.allclose(ours, theirs, atol=1e-5):
        return ""
    return "the weights of an image change with the images beside it: use its own map alone."


def _unit_sum(weights):
    weights = np.asarray(weights, dtype=float)
    return weights / np.maximum(weights.sum(axis=(-2, -1), keepdims=True), 1e-300)
