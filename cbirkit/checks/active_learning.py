"""Checks of notebook 19: the smallest margins, labels that a classifier doubts, and a rule of one's own for what to label."""

from functools import partial

import numpy as np
from scipy.stats import entropy

from cbirkit.datasets import load_real
from cbirkit.labelling import probabilities

from .running import Verdict, open_answer, run_check, short


def check_least_margins(answer):
    """Check ``least_margins(p, labelled, n)``: the images without a label whose two most probable classes are closest.

    Parameters
    ----------
    answer : callable
        Takes `p` (n_images, n_classes), two classes or more, positions `labelled` (in any order, or none) and `n`; returns n positions of
        other images, int, smallest difference of the two largest probabilities first, equal ones by position; all where fewer are left.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_least_margins(lambda p, labelled, n: np.arange(n)).passed
    False
    """
    return run_check(answer, _least_margins, _margin_cases(), mistakes=MARGIN_MISTAKES)


def _gap(p, high=-1, low=-2):
    p = np.sort(p, axis=1)
    return p[:, high] - p[:, low]


def _least_margins(p, labelled, n, score=_gap, last=False):
    rows = np.setdiff1d(np.arange(len(p)), labelled)[:: -1 if last else 1]
    return rows[np.argsort(score(p)[rows], kind="stable")[:n]]


def _margin_cases():
    random, none = np.random.RandomState(0), np.array([], int)
    p = random.dirichlet(np.ones(4), 12)
    tied = np.array([[2, 1, 1], [4, 0, 0], [1, 2, 1], [2, 2, 0], [1, 1, 2], [0, 2, 2]]) / 4
    return [
        ("no image labelled yet", p, none, 3),
        ("equal margins", tied, none, 5),
        ("equal margins, and labels in between", tied, np.array([3, 0]), 2),
        ("positions that are not sorted", p, np.array([9, 1, 5]), 4),
        ("fewer images left than asked for", p[:4], np.array([2, 0]), 3),
        ("all images labelled", p[:2], np.array([1, 0]), 2),
        ("n = 0", p, np.array([1]), 0),
        ("60 images of seven classes", random.dirichlet(np.ones(7), 60), random.permutation(60)[:20], 15),
    ]  # fmt: skip


MARGIN_MISTAKES = {
    "These are the largest margins: ask where the classes are closest.": partial(_least_margins, score=lambda p: -_gap(p)),
    "Images that have a label are asked for again.": lambda p, labelled, n: _least_margins(p, [], n),
    "Equal margins go by position, the first image first.": partial(_least_margins, last=True),
    "This is the smallest largest probability (least confidence): subtract the second from it.": partial(_least_margins, score=lambda p: p.max(axis=1)),
    "This is the entropy of the probabilities, not the margin.": partial(_least_margins, score=lambda p: -entropy(p, axis=1)),
    "You subtract the smallest probability from the largest: take the two largest.": partial(_least_margins, score=partial(_gap, low=0)),
    "Sort the probabilities of each image first: these are those of the last two classes.": partial(_least_margins, score=lambda p: np.abs(p[:, -1] - p[:, -2])),
    "These are positions among the images without a label: give positions among all images.": lambda p, labelled, n: np.argsort(_gap(np.delete(p, labelled, axis=0)), kind="stable")[:n],
    "The smallest margin comes first: you sorted by position.": lambda *given: np.sort(_least_margins(*given)),
}  # fmt: skip


def check_confident_errors(answer):
    """Check ``confident_errors(p, labels)``: confident learning, given held-out probabilities.

    Parameters
    ----------
    answer : callable
        Takes `p` (n_images, n_classes) and `labels` (n_images,), int; returns bool (n_images,). The threshold of a class is the mean of its
        probability over the images that have its label. True: of the classes whose probability reaches their threshold, the most
        probable is not the label. A class that no image has is nobody's; an image that reaches no threshold is no suspect.

    Returns
    -------
    Verdict

    References
    ----------
    Northcutt, Jiang and Chuang, "Confident learning", JAIR 2021, arXiv 1911.00068.

    Examples
    --------
    >>> check_confident_errors(lambda p, labels: p.argmax(axis=1) != labels).passed
    False
    """
    return run_check(answer, _confident_errors, _error_cases(), mistakes=ERROR_MISTAKES)


def _thresholds(p, labels, empty=np.inf):
    return np.array([p[labels == k, k].mean() if (labels == k).any() else empty for k in range(p.shape[1])])  # fmt: skip


def _confident_errors(p, labels, limits=_thresholds, reach=np.greater_equal):
    sure = np.where(reach(p, limits(p, labels)), p, -1)
    return (sure.argmax(axis=1) != labels) & (sure.max(axis=1) >= 0)


def _error_cases():
    random = np.random.RandomState(1)

    def drawn(n, k, noise, alpha):
        p = random.dirichlet(np.full(k, alpha), n)
        return p, np.where(random.rand(n) < noise, random.randint(0, k, n), p.argmax(axis=1))

    rare = np.array([[2, 1, 5], [2, 1, 5], [4, 3, 1], [1, 6, 1]]) / 8
    return [
        ("a class that no image has", rare, np.array([0, 0, 0, 1])),
        ("a class of one image, which is its own threshold", rare, np.array([0, 2, 0, 1])),
        ("an image whose most probable class is not confident", np.array([[6, 2, 0], [6, 1, 1], [4, 3, 1], [2, 2, 4], [1, 1, 6]]) / 8, np.array([0, 0, 0, 1, 2])),
        ("a class that nearly all images resemble", np.array([[7, 1], [6, 2], [7, 1], [5, 3]]) / 8, np.array([0, 0, 0, 1])),
        ("40 images, a fifth of them wrong", *drawn(40, 3, 0.2, 0.5)),
        ("a classifier that is seldom sure", *drawn(60, 5, 0.3, 2.0)),
    ]  # fmt: skip


ERROR_MISTAKES = {
    "This is every image that the classifier names otherwise: ask for the class's threshold, too.": lambda p, y: p.argmax(axis=1) != y,
    "The threshold of a class is a mean over the images with its label, not over all.": partial(_confident_errors, limits=lambda p, y: p.mean(axis=0)),
    "Each class has its own threshold: yours is one for all.": partial(_confident_errors, limits=lambda p, y: p[np.arange(len(y)), y].mean()),
    "A probability that equals its threshold reaches it.": partial(_confident_errors, reach=np.greater),
    "A class that no image has has no threshold: yours is 0, so that everybody reaches it.": partial(_confident_errors, limits=partial(_thresholds, empty=0.0)),
    "This asks whether the label is improbable: ask whether another class is confident.": lambda p, y: (p[np.arange(len(y)), y] < _thresholds(p, y)[y]),
    "Take the most probable among the classes that reach their threshold, not among all.": lambda p, y: ((p.argmax(axis=1) != y) & (p.max(axis=1) >= _thresholds(p, y)[p.argmax(axis=1)])),
    "Another class reaches its threshold, but the label does, too, and is more probable.": lambda p, y: ((p >= _thresholds(p, y)) & (np.arange(p.shape[1]) != y[:, None]) ).any(axis=1),
}  # fmt: skip

# ------------------------------------------------------------------ open


def check_better_choice(answer):
    """Check ``better_choice(embeddings, labelled, labels, n)``, an open exercise: a rule for which images to label next.

    Parameters
    ----------
    answer : callable
        Takes `embeddings` (n_images, d) of a pool, positions `labelled` (none at first), their `labels` and `n`; returns n positions of
        other images. On seven kinds of aerial images, a classifier that learns from 14, 28, 42 and 56 images so chosen has to be more
        accurate than with random ones by 0.065, on average over these numbers and four draws of pool and test images.

    Returns
    -------
    Verdict
        The message tells both accuracies.

    Examples
    --------
    >>> check_better_choice(lambda embeddings, labelled, labels, n: np.zeros(n, int)).passed
    False
    """
    name, ours, theirs = "better_choice", [], []
    for draw in range(4):
        pool, labels, test, truth = _aerial(draw)
        at, chance = [], np.random.RandomState(draw).permutation(len(pool))
        for size in (14, 28, 42, 56):
            given = pool, np.array(at, int), labels[at], size - len(at)
            fault = partial(_no_choice, {*range(len(pool))} - {*at}, given[-1])
            more, ended = open_answer(name, answer, given, 20.0, fault)
            if ended:
                return ended
            at += [int(i) for i in more]
            for chosen, scores in ((at, ours), (chance[:size], theirs)):
                p = probabilities(pool[chosen], labels[chosen], test)
                scores.append(np.mean(np.unique(labels[chosen])[p.argmax(axis=1)] == truth))
    ours, bar = np.mean(ours), np.mean(theirs) + 0.065
    told = f"accuracy {ours:.3f}, with random images {np.mean(theirs):.3f} (mean of four draws)"
    if ours >= bar:
        return Verdict(name, "passed", f"{told}.", 1.0)
    return Verdict(name, "not yet", f"{told}: reach {bar:.3f}. Which images do you take before there is a label, and which once there are some?")  # fmt: skip


def _no_choice(free, n, value):
    """A complaint where `value` is not n positions among `free`."""
    try:
        good = len(value) == n == len({*map(float, value)} & free)
    except (TypeError, ValueError):
        good = False
    return None if good else f"expected {n} different positions of images without a label, got {short(value)}."  # fmt: skip


def _aerial(draw):
    """Embeddings and labels of a pool, and of test images."""
    features = load_real("satellite")
    order = np.random.RandomState(draw).permutation(len(features))
    X, labels = (
        features.embeddings("lite0")[order].astype(float),
        features.labels[order].astype(str),
    )
    return X[168:], labels[168:], X[:168], labels[:168]
