"""Checks of notebook 24: groups of copies, and a mean over classes."""

import numpy as np

from .running import run_check


def check_copy_groups(answer):
    """Check ``copy_groups(ids, digests)``: which images are copies of each other.

    Parameters
    ----------
    answer : callable
        Takes two lists of n str; returns a list of lists of str: the ids of each digest that two or more have, sorted, and
        the groups sorted by their first id.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_copy_groups(lambda ids, digests: []).passed
    False
    """
    return run_check(answer, _copy_groups, _copy_cases(), mistakes=COPY_GROUPS_MISTAKES)


def _copy_groups(ids, digests):
    return _grouped(ids, digests, sorted)


def _grouped(ids, digests, arranged, least=2):
    names = {}
    for name, digest in zip(ids, digests, strict=True):
        names.setdefault(digest, []).append(name)
    return arranged(arranged(group) for group in names.values() if len(group) >= least)


def _copy_cases():
    yield from [
        ("four images, two of them copies", ["b", "a", "c", "d"], ["1", "2", "1", "3"]),
        ("two pairs, names from d down to a", ["d", "c", "b", "a"], ["1", "1", "2", "2"]),
        ("three different images", ["a", "b", "c"], ["1", "2", "3"]),
        ("three copies of one image", ["c", "a", "b"], ["1", "1", "1"]),
        ("no image", [], []),
        ("a single image", ["a"], ["1"]),
        ("a group of two and one of three", ["e", "b", "d", "a", "c"], ["2", "1", "2", "1", "2"]),
    ]
    random = np.random.RandomState(0)
    for n in (12, 30):
        names = [f"{i:03d}.jpg" for i in random.permutation(n)]
        yield f"{n} images in a random order", names, [str(d) for d in random.randint(0, n // 2, n)]


def _pairs_only(ids, digests):
    return [group for group in _copy_groups(ids, digests) if len(group) == 2]


def _neighbours(ids, digests):
    """Copies that stand next to each other only."""
    groups, start = [], 0
    for end in range(1, len(ids) + 1):
        if end == len(ids) or digests[end] != digests[start]:
            groups.append(sorted(ids[start:end]))
            start = end
    return sorted(group for group in groups if len(group) > 1)


COPY_GROUPS_MISTAKES = {
    "An image without a copy is no group: keep groups of two or more.": lambda ids, digests: (
        _grouped(ids, digests, sorted, 1)
    ),
    "The names of a group, and the groups, are to be sorted.": lambda ids, digests: _grouped(
        ids, digests, list
    ),
    "Each group is sorted, the list of groups is not.": lambda ids, digests: [
        sorted(g) for g in _grouped(ids, digests, list)
    ],
    "The groups are sorted, the names in each are not.": lambda ids, digests: sorted(
        _grouped(ids, digests, list)
    ),
    "Three copies are a group, too: two or more, not exactly two.": _pairs_only,
    "Copies need not stand next to each other: collect by digest, in a dict.": _neighbours,
    "The first of a group belongs to it.": lambda ids, digests: [
        g[1:] for g in _copy_groups(ids, digests)
    ],
    "That is one list of all copies: return a list for each group.": lambda ids, digests: [
        name for group in _copy_groups(ids, digests) for name in group
    ],
}


def check_mean_over_classes(answer):
    """Check ``mean_over_classes(scores, labels)``: every class counts alike.

    Parameters
    ----------
    answer : callable
        Takes `scores` (n,) float, NaN where a query has nothing to find, and `labels` (n,) of str; returns the mean over
        classes of the mean over their queries, without NaN; NaN if nothing is left.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_mean_over_classes(lambda scores, labels: np.nanmean(scores)).passed
    False
    """
    return run_check(answer, _mean_over_classes, _mean_cases(), mistakes=MEAN_OVER_CLASSES_MISTAKES)


def _mean_over_classes(scores, labels):
    return _macro(scores, labels, ~np.isnan(scores))


def _macro(scores, labels, kept, fold=np.mean, outer=np.mean):
    means = [fold(scores[kept & (labels == name)]) for name in np.unique(labels[kept])]
    return float(outer(means)) if means else float("nan")


def _mean_cases():
    cats = np.array(["cat"] * 4 + ["dog"])
    nan = float("nan")
    yield from [
        ("four cats and a dog", np.array([0.2, 0.4, 0.6, 0.8, 1.0]), cats),
        (
            "four cats, two of them without anything to find, and a dog",
            np.array([0.2, nan, 0.6, nan, 1.0]),
            cats,
        ),
        ("four cats and a dog that has nothing to find", np.array([0.1, 0.2, 0.3, 0.9, nan]), cats),
        ("no score at all", np.full(5, nan), cats),
        ("four cats and a dog, three of which score 0", np.array([0.0, 0.0, 0.6, nan, 0.0]), cats),
        ("a single cat", np.array([0.25]), cats[:1]),
        ("no query", np.array([]), cats[:0]),
    ]
    random = np.random.RandomState(0)
    for n in (20, 50):
        scores = np.where(random.rand(n) < 0.2, nan, random.rand(n))
        labels = random.choice(["a", "b", "c", "d"], n, p=[0.6, 0.2, 0.15, 0.05])
        yield f"{n} queries of classes of very different size", scores, labels


def _nan_as_zero(scores, labels):
    return _macro(np.nan_to_num(scores), labels, np.full(len(scores), True))


def _spoiled(scores, labels):
    return _macro(scores, labels, np.full(len(scores), True))


def _empty_as_zero(scores, labels):
    means = [
        _macro(scores[labels == name], labels[labels == name], ~np.isnan(scores[labels == name]))
        for name in np.unique(labels)
    ]
    return float(np.mean(np.nan_to_num(means)))


def _weighted(scores, labels):
    kept = ~np.isnan(scores)
    return float(scores[kept].mean()) if kept.any() else float("nan")


MEAN_OVER_CLASSES_MISTAKES = {
    "That is the mean over queries, in which a large class is heard most: take the mean of each class first.": _weighted,
    "One NaN makes its class NaN, and the class the whole: leave out queries that have nothing to find.": _spoiled,
    "NaN is not 0: a query that has nothing to find has not failed; leave it out.": _nan_as_zero,
    "A class without any score is left out, not counted as 0; with none at all the answer is NaN.": _empty_as_zero,
    "You took the median within a class: take the mean.": lambda s, y: _macro(
        s, y, ~np.isnan(s), fold=np.median
    ),
    "That is the best class: take the mean over classes.": lambda s, y: _macro(
        s, y, ~np.isnan(s), outer=np.max
    ),
    "You summed within a class: take the mean, or large classes weigh more.": lambda s, y: _macro(
        s, y, ~np.isnan(s), fold=np.sum
    ),
    "You summed over the classes: take the mean.": lambda s, y: _macro(
        s, y, ~np.isnan(s), outer=np.sum
    ),
    "A score of 0 is a score: leave out NaN only.": lambda s, y: _macro(s, y, s > 0),
}
