"""Checks of notebook 07: MAP@R, semi-hard triplets, the gradient of the triplet loss."""

from functools import partial

import numpy as np

from .running import run_check


def check_map_at_r(answer):
    """Check ``map_at_r(relevant)``: the mean over the first R ranks of the precision at each hit, R being the number of positives.

    Parameters
    ----------
    answer : callable
        Takes `relevant`, a bool array (n,): for all other images, nearest first, whether they are of the query's class. Returns
        ``sum of the precisions at the ranks k <= R that are hits / R``; NaN where R is 0.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_map_at_r(lambda relevant: relevant.mean()).passed
    False
    """
    return run_check(answer, _map_at_r, _map_cases(), mistakes=MAP_MISTAKES)


def _map_at_r(relevant, *, cut=0, divide="R", ordered=True, none=np.nan):
    """MAP@R and, by its switches, what goes wrong with it."""
    n_positives = int(relevant.sum())
    if n_positives == 0:
        return none
    first = relevant if cut == "all" else relevant[: n_positives + cut]
    if not ordered:
        return float(first.mean())
    precision = first.cumsum() / np.arange(1, len(first) + 1)
    total = (precision * first).sum() if ordered != "all ranks" else precision.sum()
    by = {
        "R": n_positives,
        "R + 1": n_positives + 1,
        "hits": max(int(first.sum()), 1),
        "n": len(relevant),
    }[divide]
    return float(total / by)


def _map_cases():
    random = np.random.RandomState(0)
    rows = [
        ([1, 0, 1, 1, 0, 0, 1], "the list 1011001, where R is 4"),
        ([1, 0, 0, 0, 0, 1], "one of two positives that comes last"),
        ([0, 0, 1], "a positive beyond rank R"),
        ([1, 1, 0, 0], "a perfect list"),
        ([0, 0, 0], "a query without positives"),
        ([0, 1, 1, 0], "a list with a hit at rank R and one at R + 1"),
        ([1], "a single image, which is a positive"),
        ([0], "a single image, which is none"),
        ([], "no other image at all"),
    ]
    for row, about in rows:
        yield about, np.array(row, dtype=bool)
    yield "a list of 700 positives among 900: more than a byte can count", np.arange(900) % 9 < 7
    for n in (8, 15, 30):
        yield f"a random list of {n} images", random.rand(n) < 0.4


MAP_MISTAKES = {
    "That is average precision over the whole list: look at the first R ranks only.": partial(
        _map_at_r, cut="all"
    ),
    "You divided by the hits found, which rewards finding few: divide by R.": partial(
        _map_at_r, divide="hits"
    ),
    "That is R-precision: it forgets the order; average the precision at each hit.": partial(
        _map_at_r, ordered=False
    ),
    "You added the precision at every rank: only ranks that are hits count.": partial(
        _map_at_r, ordered="all ranks"
    ),
    "You divided by the length of the list: divide by R.": partial(_map_at_r, divide="n"),
    "A query without positives has no score: return NaN, not 0.": partial(_map_at_r, none=0.0),
    "You looked at the first R + 1 ranks: `relevant[:R]` already holds R.": partial(
        _map_at_r, cut=1
    ),
    "You looked at R + 1 ranks and divided by R + 1: the query itself is not in the list, so that R is R.": partial(
        _map_at_r, cut=1, divide="R + 1"
    ),
    "You looked at R - 1 ranks: `relevant[:R]` holds R, rank R among them.": partial(
        _map_at_r, cut=-1
    ),
    "You divided by R + 1: the query itself is not in the list.": partial(
        _map_at_r, divide="R + 1"
    ),
}


def check_semi_hard(answer):
    """Check ``semi_hard(distances, labels, margin)``: the triplets whose negative is farther than the positive, but not by the margin.

    Parameters
    ----------
    answer : callable
        Takes `distances` (n, n), `labels` (n,) and `margin`; returns a bool array (n, n, n), true at [a, p, q] where a and p are two
        different images of one class, q is of another, and ``d(a, p) < d(a, q) <= d(a, p) + margin``.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_semi_hard(lambda distances, labels, margin: distances > margin).passed
    False
    """
    return run_check(answer, _semi_hard, _semi_hard_cases(), mistakes=SEMI_HARD_MISTAKES)


def _semi_hard(
    distances,
    labels,
    margin,
    *,
    which="semi-hard",
    itself=False,
    copies=True,
    other=True,
    swapped=False,
):
    """Triplets chosen, bool (n, n, n), and, by its switches, what goes wrong."""
    near, far = distances[:, :, None], distances[:, None, :]  # (n, n, 1) and (n, 1, n)
    same = labels[:, None] == labels
    positive = (
        same if itself else same & (~np.eye(len(labels), dtype=bool) if copies else distances > 0)
    )
    triplet = positive[:, :, None] & (
        ~same[:, None, :] if other else np.ones_like(same)[:, None, :]
    )
    chosen = {
        "semi-hard": (far > near) & (far <= near + margin),
        "hard": far <= near,
        "violating": far <= near + margin,
        "tie": (far >= near) & (far <= near + margin),
        "below margin": (far > near) & (far < near + margin),
        "both": (far >= near) & (far < near + margin),
        "farther": far > near,
        "easy": far > near + margin,
        "no margin": (far > near) & (far <= margin),
    }[which]
    made = triplet & chosen
    return made.transpose(0, 2, 1) if swapped else made


def _semi_hard_cases():
    line = np.array([0.0, 1.0, 1.1, 0.5, 3.0])
    yield from [
        ("five points on a line", np.abs(line[:, None] - line), np.array([0, 0, 1, 1, 1]), 0.2),
    ]
    for points, labels, about in (
        ([0, 1, -1, 3], [0, 0, 1, 1], "a negative exactly as far as the positive (a tie)"),
        (
            [0, 1, 1.5, -1.25],
            [0, 0, 1, 1],
            "a negative exactly the margin farther than the positive",
        ),
        ([0, 0, 0.25, 2, 2], [0, 0, 1, 1, 1], "copies: two different images at a distance of 0"),
        ([0, 0, 0, 0.5], [0, 0, 1, 1], "copies under two labels"),
        ([0], [0], "a single image"),
    ):
        gaps = np.abs(np.subtract.outer(points, points)).astype(float)
        yield about, gaps, np.array(labels), 0.5
    random = np.random.RandomState(1)
    for n, n_classes, margin in ((6, 2, 0.3), (9, 3, 0.2), (12, 3, 0.5), (8, 4, 0.1)):
        rows = random.randn(n, 3)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        labels = random.permutation(np.arange(n) % n_classes)
        distances = np.linalg.norm(rows[:, None] - rows, axis=2)
        yield f"{n} random embeddings of {n_classes} classes", distances, labels, margin
    yield "a batch without two images of one class", distances, np.arange(n), 0.3


SEMI_HARD_MISTAKES = {
    "Those are the hard triplets: the negative must be farther than the positive.": partial(
        _semi_hard, which="hard"
    ),
    "You let hard triplets in: besides violating the margin, the negative must be farther than the positive.": partial(
        _semi_hard, which="violating"
    ),
    "You let easy triplets in: the negative must lie within the margin.": partial(
        _semi_hard, which="farther"
    ),
    "Those are the easy triplets, which teach nothing: take those within the margin.": partial(
        _semi_hard, which="easy"
    ),
    "The margin is measured from the positive, not from the anchor: compare with d(a, p) + margin.": partial(
        _semi_hard, which="no margin"
    ),
    "An image is its own positive here: leave the diagonal out.": partial(_semi_hard, itself=True),
    "Negatives of the anchor's own class are among them: labels must differ.": partial(
        _semi_hard, other=False
    ),
    "Positive and negative have changed places: the order is [anchor, positive, negative].": partial(
        _semi_hard, swapped=True
    ),
    "A negative exactly as far as the positive is hard, not semi-hard: farther means >, not >=.": partial(
        _semi_hard, which="tie"
    ),
    "A negative exactly the margin farther belongs to it: by no more than the margin means <=, not <.": partial(
        _semi_hard, which="below margin"
    ),
    "Both bounds are turned round: d(a, p) < d(a, n) <= d(a, p) + margin.": partial(
        _semi_hard, which="both"
    ),
    "A copy at the distance 0 is another image and a positive: leave out the diagonal, not the distance 0.": partial(
        _semi_hard, copies=False
    ),
}


def check_triplet_gradient(answer):
    """Check ``triplet_gradient(anchors, positives, negatives, margin)``: how the mean triplet loss changes with each anchor.

    Parameters
    ----------
    answer : callable
        Takes `anchors`, `positives`, `negatives`, each (n, d), and `margin`; returns (n, d), the gradient with respect to the anchors of
        ``mean over the n triplets of max(0, |a - p| - |a - q| + margin)``.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_triplet_gradient(lambda anchors, positives, negatives, margin: anchors).passed
    False
    """
    return run_check(answer, _triplet_gradient, _gradient_cases(), mistakes=GRADIENT_MISTAKES)


def _triplet_gradient(
    anchors,
    positives,
    negatives,
    margin,
    *,
    active=True,
    sign=1,
    divide="n",
    squared=False,
    negative=True,
):
    """The gradient and, by its switches, what goes wrong with it."""
    to_positive, to_negative = anchors - positives, anchors - negatives
    near, far = (np.linalg.norm(v, axis=1, keepdims=True) for v in (to_positive, to_negative))
    counts = (near - far + margin > 0) if active else np.ones_like(near, dtype=bool)
    if squared:
        direction = 2 * to_positive - 2 * to_negative
    else:
        direction = to_positive / near - negative * to_negative / far
    by = {"n": len(anchors), "active": max(int(counts.sum()), 1), "one": 1}[divide]
    return sign * counts * direction / by


def _gradient_cases():
    points = (
        [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]],
        [[3.0, 4.0], [0.0, 1.0], [1.0, 0.0]],
        [[6.0, 0.0], [5.0, 0.0], [0.0, 0.5]],
    )
    yield from [
        (
            "three anchors at the origin, of which one triplet is active",
            *(np.array(p) for p in points),
            0.2,
        ),
    ]
    random = np.random.RandomState(2)
    for n, n_dims, margin in ((4, 2, 0.5), (6, 3, 1.0), (12, 5, 0.3)):
        yield f"{n} random triplets in {n_dims} dimensions", *random.randn(3, n, n_dims), margin
    yield "a single triplet", *random.randn(3, 1, 4), 5.0
    yield "three triplets in three dimensions", *random.randn(3, 3, 3), 1.0
    far = random.randn(4, 2)
    yield "four easy triplets", far, far + 0.1, far + 9.0, 0.2


GRADIENT_MISTAKES = {
    "Easy triplets have a loss of 0 and a gradient of 0: mask them out.": partial(
        _triplet_gradient, active=False
    ),
    "The sign is turned round: the gradient points where the loss grows, away from the positive.": partial(
        _triplet_gradient, sign=-1
    ),
    "The mean is over all n triplets: divide by n, not by those that are active.": partial(
        _triplet_gradient, divide="active"
    ),
    "The loss is a mean: divide by the number of triplets.": partial(
        _triplet_gradient, divide="one"
    ),
    "That is the gradient of squared distances: the gradient of |a - p| is (a - p) / |a - p|, of length 1.": partial(
        _triplet_gradient, squared=True
    ),
    "The negative pushes, too: subtract the unit vector from it.": partial(
        _triplet_gradient, negative=False
    ),
    "The margin is missing where you ask which triplets have a loss: |a - p| - |a - q| + margin > 0.": lambda a, p, q, m: (
        _triplet_gradient(a, p, q, 0.0)
    ),
    "The mean is over triplets: do not divide by d as well.": lambda a, p, q, m: (
        _triplet_gradient(a, p, q, m) / a.shape[1]
    ),
}
