"""Checks of notebook 21: the pointing game, an occlusion map, and the deletion score."""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from .running import run_check


def check_pointing_game(answer):
    """Check ``pointing_game(saliency, mask)``: does the maximum of a map lie in the mask?

    Parameters
    ----------
    answer : callable
        Takes `saliency` (h, w) and `mask` (h, w), bool; returns a float: 1 or 0, of several equal maxima the fraction in the mask, NaN
        for an empty mask.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_pointing_game(lambda saliency, mask: 1.0).passed
    False
    """
    return run_check(answer, _pointing_game, _pointing_cases(), mistakes=POINTING_MISTAKES)


def _pointing_game(saliency, mask):
    return float(mask[saliency == saliency.max()].mean()) if mask.any() else float("nan")


def _pointing_cases():
    random = np.random.RandomState(0)
    corner = np.zeros((4, 6), bool)
    corner[:2, 4:] = True
    high, low, twice, below = (np.zeros((4, 6)) for _ in range(4))
    high[1, 5] = low[3, 0] = 2.0
    twice[[0, 3], [5, 0]] = 0.7
    below[:] = -np.arange(1, 25).reshape(4, 6)[::-1, ::-1]
    heavy = np.where(corner, 0.9, 0.1)
    heavy[3, 3] = 1.0
    yield from [
        ("a maximum in the mask", high, corner),
        ("a maximum outside the mask", low, corner),
        ("two equal maxima, one of them in the mask", twice, corner),
        ("a map that is the same everywhere", np.full((4, 6), 0.5), corner),
        ("a map of zeros", np.zeros((4, 6)), corner),
        ("a map with all values below 0", below, corner),
        ("most of the mass in the mask, the maximum outside", heavy, corner),
        ("a value far below 0 in the mask, the maximum outside", low - 5 * high, corner),
        ("an empty mask", high, np.zeros((4, 6), bool)),
        ("a mask of the whole image", low, np.ones((4, 6), bool)),
        ("a map of one pixel", np.array([[3.0]]), np.array([[True]])),
        ("whole numbers", np.array([[1, 5], [5, 5]]), np.array([[True, False], [True, True]])),
        ("random values", random.randn(9, 7), random.rand(9, 7) < 0.4),
        ("random values in a few steps", random.randint(0, 3, (8, 8)), random.rand(8, 8) < 0.5),
    ]


def _first_maximum(saliency, mask, last=False):
    if not mask.any():
        return float("nan")
    flat = saliency.ravel()[::-1] if last else saliency.ravel()
    at = flat.argmax()
    return float(mask.ravel()[len(flat) - 1 - at if last else at])


def _nan_if_empty(score):
    return lambda saliency, mask: float(score(saliency, mask)) if mask.any() else float("nan")


POINTING_MISTAKES = {
    "Only the first of equal maxima counts (argmax): take the fraction of them all.": _first_maximum,
    "Only the last of equal maxima counts: take the fraction of them all.": partial(
        _first_maximum, last=True
    ),
    "An empty mask gives NaN: there is nothing to point at.": lambda s, m: float(
        m[s == s.max()].mean()
    ),
    "One of several equal maxima in the mask is not a full hit: take the fraction.": _nan_if_empty(
        lambda s, m: m[s == s.max()].any()
    ),
    "All equal maxima have to be in the mask in your version: take the fraction.": _nan_if_empty(
        lambda s, m: m[s == s.max()].all()
    ),
    "This is the fraction of the map's mass in the mask; the pointing game asks for the maximum.": _nan_if_empty(
        lambda s, m: np.maximum(s, 0)[m].sum() / max(np.maximum(s, 0).sum(), 1e-12)
    ),
    "This is the fraction of the mask that is as high as the maximum; ask which of the maxima lie in the mask.": _nan_if_empty(
        lambda s, m: (s == s.max())[m].mean()
    ),
    "This looks for the minimum.": _nan_if_empty(lambda s, m: m[s == s.min()].mean()),
    "This takes the largest absolute value: a value below 0 says that a pixel works against the similarity.": _nan_if_empty(
        lambda s, m: m[np.abs(s) == np.abs(s).max()].mean()
    ),
    "This compares means inside and outside; the pointing game asks for the maximum.": _nan_if_empty(
        lambda s, m: s[m].mean() > (s[~m].mean() if (~m).any() else -np.inf)
    ),
    "This is the area of the mask.": _nan_if_empty(lambda s, m: m.mean()),
}


def check_occlusion_map(answer):
    """Check ``occlusion_map(losses, corners, window, shape)``: the mean loss of the windows that cover a pixel.

    Parameters
    ----------
    answer : callable
        Takes `losses` (n,), `corners` (n, 2), row and column of each window's first pixel, `window`, its height and width, and `shape`,
        that of the image; returns (h, w), 0 where no window is. Windows may reach over the edge of the image.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_occlusion_map(lambda losses, corners, window, shape: np.zeros(shape)).passed
    False
    """
    return run_check(answer, _occlusion_map, _occlusion_cases(), mistakes=OCCLUSION_MISTAKES)


def _occlusion_map(losses, corners, window, shape, more=0, divide="cover"):
    total, cover = np.zeros(shape), np.zeros(shape)
    for loss, (top, left) in zip(losses, corners, strict=True):
        part = slice(top, top + window[0] + more), slice(left, left + window[1] + more)
        total[part] += loss
        cover[part] += 1
    most = {"cover": np.maximum(cover, 1), "none": 1, "all": max(len(losses), 1)}
    return total / most[divide]


def _written(choose):
    def written(losses, corners, window, shape):
        out = np.full(shape, np.nan)
        for loss, (top, left) in zip(losses, corners, strict=True):
            part = out[top : top + window[0], left : left + window[1]]
            part[:] = choose(np.where(np.isnan(part), loss, part), loss)
        return np.nan_to_num(out)

    return written


def _occlusion_cases():
    random = np.random.RandomState(1)
    apart = np.array([[0, 0], [0, 3], [2, 0], [2, 3]])
    grid = np.array([[y, x] for y in range(0, 7, 2) for x in range(0, 9, 3)])
    yield from [
        ("four windows side by side", np.array([0.4, 0.1, 0.2, 0.3]), apart, (2, 3), (4, 6)),
        ("two windows that overlap", np.array([0.6, 0.2]), np.array([[0, 0], [1, 1]]), (2, 2), (3, 3)),
        ("losses below 0", np.array([-0.5, 0.25]), np.array([[0, 0], [0, 1]]), (1, 2), (2, 4)),
        ("three windows at one place", np.array([0.9, 0.3, 0.0]), np.zeros((3, 2), int), (2, 2), (2, 3)),
        ("one window as large as the image", np.array([0.7]), np.array([[0, 0]]), (5, 4), (5, 4)),
        ("no window", np.empty(0), np.empty((0, 2), int), (2, 2), (3, 3)),
        ("windows that reach over the edge", np.array([1.0, 0.5]), np.array([[2, 3], [1, 2]]), (3, 3), (4, 5)),
        ("12 windows that overlap, taller than wide", random.randn(12), grid, (4, 3), (11, 10)),
        ("30 windows anywhere", random.randn(30), random.randint(0, 8, (30, 2)), (3, 5), (12, 14)),
    ]  # fmt: skip


OCCLUSION_MISTAKES = {
    "You added the losses up: a pixel under many windows looks important. Divide by how many cover it.": partial(
        _occlusion_map, divide="none"
    ),
    "You divided by the number of all windows: divide by how many cover the pixel.": partial(
        _occlusion_map, divide="all"
    ),
    "The last window overwrites the others: take the mean.": _written(lambda old, new: new),
    "This keeps the first window of each pixel: take the mean.": _written(lambda old, new: old),
    "This is the largest loss of each pixel: take the mean.": _written(np.maximum),
    "This is the smallest loss of each pixel: take the mean.": _written(np.minimum),
    "This averages step by step, so that late windows weigh more: sum first, divide once.": _written(
        lambda old, new: (old + new) / 2
    ),
    "A window of h rows ends before row top + h: yours is a pixel too large.": partial(
        _occlusion_map, more=1
    ),
    "Your window is a pixel too small.": partial(_occlusion_map, more=-1),
    "`corners` holds row and column: you took them for x and y.": lambda losses, corners, window, shape: (
        _occlusion_map(losses, corners[:, ::-1], window, shape)
    ),
    "`window` is height and width: you took width first.": lambda losses, corners, window, shape: (
        _occlusion_map(losses, corners, window[::-1], shape)
    ),
    "You cut losses below 0: they say that the image is more similar without the window.": lambda losses, *rest: (
        _occlusion_map(np.maximum(losses, 0), *rest)
    ),
    "This is the image's gain: hiding what matters makes a loss above 0.": lambda losses, *rest: (
        -_occlusion_map(losses, *rest)
    ),
}


def check_deletion_score(answer):
    """Check ``deletion_score(score, image, fill, saliency, steps)``: area under the curve of the score as an image is deleted.

    Parameters
    ----------
    answer : callable
        Takes `score`, which gives one number for one image, `image` and `fill` (h, w, 3), `saliency` (h, w) without equal values, and
        `steps`; returns the area, by trapezoids over [0, 1], under the scores with 0, 1/steps, … and all pixels replaced by the
        fill, most important ones first; ``round(fraction * h * w)`` pixels each.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_deletion_score(lambda score, image, fill, saliency, steps: score(image)).passed
    False
    """
    return run_check(answer, _deletion_score, _deletion_cases(), mistakes=DELETION_MISTAKES)


@dataclass
class Score:
    """The cosine of an image to a query, both as rows of their numbers: it stands for a network."""

    query: np.ndarray

    def __call__(self, image):
        image = np.asarray(image, dtype=float)
        length = np.linalg.norm(image) * np.linalg.norm(self.query)
        return float((image * self.query).sum() / length) if length else 0.0


def _deleted(image, fill, saliency, n, sign=-1):
    out, order = image.copy(), np.argsort(sign * saliency, axis=None)[: int(n)]
    rows, columns = np.unravel_index(order, saliency.shape)
    out[rows, columns] = fill[rows, columns]
    return out


def _curve(score, image, fill, saliency, steps, sign=-1):
    counts = np.linspace(0, saliency.size, steps + 1).round()
    return np.array([score(_deleted(image, fill, saliency, n, sign)) for n in counts])


def _trapezoids(values):
    return float((values[1:] + values[:-1]).mean() / 2)


def _deletion_score(score, image, fill, saliency, steps):
    return _trapezoids(_curve(score, image, fill, saliency, steps))


def _deletion_cases():
    random = np.random.RandomState(2)

    def case(about, h, w, steps, grey=None, dtype=np.uint8):
        image, query = random.randint(0, 256, (2, h, w, 3))
        fill = random.randint(0, 256, (h, w, 3)) if grey is None else np.full((h, w, 3), grey)
        saliency = random.permutation(h * w).reshape(h, w) / 7 - 1
        return about, Score(query.astype(float)), image.astype(dtype), fill.astype(dtype), saliency, steps  # fmt: skip

    yield case("a grey fill, and steps of two pixels", 4, 5, 10, 128)
    yield case("a fill that differs from pixel to pixel", 5, 4, 5)
    yield case("one step: the image and the fill alone", 3, 4, 1, 128)
    yield case("steps that do not divide the pixels", 5, 5, 7)
    yield case("an image of one pixel", 1, 1, 3, 90)
    yield case("as many steps as pixels", 3, 3, 9, 0)
    yield case("images of floats", 6, 4, 6, 10, float)
    yield case("a wide image", 3, 11, 5)


DELETION_MISTAKES = {
    "The least important pixels go first, or the fill becomes the image (insertion, which gives the same): begin with the image and delete the most important.": lambda *a: (
        _trapezoids(_curve(*a, sign=1))
    ),
    "This is the mean of the scores: at the ends, trapezoids count half.": lambda *a: float(
        _curve(*a).mean()
    ),
    "The whole image, with nothing deleted, is part of the curve.": lambda *a: (
        _trapezoids(_curve(*a)[1:]) if a[-1] > 1 else float(_curve(*a)[1])
    ),
    "The curve ends with everything deleted, not a step before.": lambda *a: (
        _trapezoids(_curve(*a)[:-1]) if a[-1] > 1 else float(_curve(*a)[0])
    ),
    "The fractions go from 0 to 1: divide by the number of steps.": lambda *a: (
        _trapezoids(_curve(*a)) * a[-1]
    ),
    "This sums rectangles from the left: use trapezoids.": lambda *a: float(_curve(*a)[:-1].mean()),
    "This sums rectangles from the right: use trapezoids.": lambda *a: float(_curve(*a)[1:].mean()),
    "This is the score when all is deleted, not an area.": lambda *a: float(_curve(*a)[-1]),
    "This is the area above the curve: what was lost.": lambda *a: float(
        _curve(*a)[0] - _trapezoids(_curve(*a))
    ),
    "You deleted by setting pixels to 0: put the fill's pixels there.": lambda s, i, f, *a: (
        _deletion_score(s, i, np.zeros_like(f), *a)
    ),
    "Each step deletes only its own pixels; keep those of the steps before deleted.": lambda s, i, f, m, n: (
        _trapezoids(_one_by_one(s, i, f, m, n))
    ),
}


def _one_by_one(score, image, fill, saliency, steps):
    counts, scores = np.linspace(0, saliency.size, steps + 1).round().astype(int), [score(image)]
    order = np.argsort(-saliency, axis=None)
    for low, high in pairwise(counts):
        out, at = image.copy(), np.unravel_index(order[low:high], saliency.shape)
        out[at] = fill[at]
        scores.append(score(out))
    return np.array(scores)
