"""Checks of notebook 04: an image pyramid, hierarchical precision, the cost of a zoom, and a choice of scales within a budget."""

from functools import partial

import numpy as np

from .running import run_check


def check_image_pyramid(answer):
    """Check ``image_pyramid(image, smallest)``: the image at full size, at half, at a quarter … as long as it is large enough.

    Parameters
    ----------
    answer : callable
        Takes `image` (h, w, 3), uint8, and `smallest`, in pixels; returns a list of arrays (h_i, w_i, 3) of real numbers. Each pixel
        of a level is the mean of four of the level before; an odd last row or column is left out. Levels with a side below
        `smallest` are not made; the image itself always is.

    Returns
    -------
    Verdict

    References
    ----------
    Burt and Adelson, IEEE Transactions on Communications 1983, doi:10.1109/TCOM.1983.1095851 (with a wider filter).

    Examples
    --------
    >>> check_image_pyramid(lambda image, smallest: [image]).passed
    False
    """
    return run_check(answer, _image_pyramid, _pyramid_cases(), mistakes=PYRAMID_MISTAKES)


def _block_means(level):
    h, w = (side // 2 * 2 for side in level.shape[:2])
    return level[:h, :w].reshape(h // 2, 2, w // 2, 2, -1).mean(axis=(1, 3))


def _image_pyramid(image, smallest, *, halve=_block_means, enough=min, strict=False):
    levels = [image.astype(float)]
    while enough(side // 2 for side in levels[-1].shape[:2]) >= smallest + strict:
        levels.append(halve(levels[-1]))
    return levels


def _pyramid_cases():
    random = np.random.RandomState(0)

    def picture(*shape):
        return random.randint(0, 256, (*shape, 3)).astype(np.uint8)

    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2] = 250
    yield from [
        ("8 × 8 pixels and smallest 2", picture(8, 8), 2),
        ("12 × 20 pixels and smallest 3: a level of exactly 3 is large enough", picture(12, 20), 3),
        ("stripes one pixel wide, which must become grey", stripes, 4),
        ("bright pixels, whose sum does not fit into a byte", picture(4, 4) // 4 + 190, 1),
        ("9 × 15 pixels, odd sides", picture(9, 15), 2),
        ("an image that is too small for a second level", picture(5, 9), 4),
        ("an image smaller than `smallest`", picture(3, 4), 8),
        ("a tall image, 40 × 6", picture(40, 6), 3),
        ("64 × 48 pixels down to 1", picture(64, 48), 1),
    ]


def _fresh_bytes(image, smallest):
    levels = [image]
    while min(side // 2 for side in levels[-1].shape[:2]) >= smallest:
        levels.append(_block_means(levels[-1]).astype(np.uint8))
    return levels


def _overflowing(level):
    small = level.astype(np.uint8)
    h, w = (side // 2 * 2 for side in small.shape[:2])
    a, b = small[:h:2, :w:2], small[1:h:2, :w:2]
    return ((a + b + small[:h:2, 1:w:2] + small[1:h:2, 1:w:2]) / 4).astype(float)


def _with_odd_ends(level):
    padding = [(0, side % 2) for side in level.shape[:2]] + [(0, 0)]
    return _block_means(np.pad(level, padding, mode="edge"))


PYRAMID_MISTAKES = {
    "You keep every second pixel: fine stripes vanish or turn into coarse ones (aliasing). Take the mean of four.": partial(
        _image_pyramid, halve=lambda x: x[: len(x) // 2 * 2 : 2, : x.shape[1] // 2 * 2 : 2]
    ),
    "A level of exactly `smallest` pixels is large enough.": partial(_image_pyramid, strict=True),
    "Look at the shorter side: no side of a level may be below `smallest`.": partial(
        _image_pyramid, enough=max
    ),
    "The last level has a side below `smallest`: ask before a level is added, not after.": lambda i, s: (
        _image_pyramid(i, s) + [_block_means(_image_pyramid(i, s)[-1])]
    ),
    "The first level is the image itself.": lambda i, s: _image_pyramid(i, s)[1:],
    "The levels come largest first.": lambda i, s: _image_pyramid(i, s)[::-1],
    "Bytes overflow when they are added: turn the image into floats first.": partial(
        _image_pyramid, halve=_overflowing
    ),
    "The levels are rounded to whole numbers: keep floats.": _fresh_bytes,
    "This is the largest of four pixels, not their mean.": partial(
        _image_pyramid,
        halve=lambda x: (
            x[: len(x) // 2 * 2, : x.shape[1] // 2 * 2]
            .reshape(len(x) // 2, 2, x.shape[1] // 2, 2, -1)
            .max(axis=(1, 3))
        ),
    ),
    "An odd last row or column is left out, not repeated.": partial(
        _image_pyramid, halve=_with_odd_ends
    ),
    "Values are scaled to 0 … 1: keep those of the image.": lambda i, s: [
        level / 255 for level in _image_pyramid(i, s)
    ],
    "There are only two levels: go on as long as they are large enough.": lambda i, s: (
        _image_pyramid(i, s)[:2]
    ),
}


def check_hierarchical_precision(answer):
    """Check ``hierarchical_precision(similarity)``: HP@k of every query for every k.

    Parameters
    ----------
    answer : callable
        Takes `similarity` (n_queries, n): how similar the label at each rank is to the query's, from 0 to 1, best rank first;
        returns (n_queries, n): the sum over the first k ranks, divided by the largest sum that k items of that row can have; 0
        for a row of zeros.

    Returns
    -------
    Verdict

    References
    ----------
    Deng, Berg and Fei-Fei, CVPR 2011, doi:10.1109/CVPR.2011.5995516; Barz and Denzler, WACV 2019, arXiv 1809.09924.

    Examples
    --------
    >>> check_hierarchical_precision(lambda similarity: similarity).passed
    False
    """
    return run_check(answer, _hierarchical_precision, _precision_cases(), mistakes=HP_MISTAKES)


def _ratio(found, best):
    return np.divide(found, best, out=np.zeros(np.shape(best)), where=best > 0)


def _best(similarity):
    return np.sort(similarity, axis=1)[:, ::-1].cumsum(axis=1)


def _hierarchical_precision(similarity):
    return _ratio(similarity.cumsum(axis=1), _best(similarity))


def _precision_cases():
    random = np.random.RandomState(1)
    yield from [
        ("the example: 0.5, 1, 0, 0.5", np.array([[0.5, 1.0, 0.0, 0.5]])),
        ("a perfect order", np.array([[1.0, 1.0, 0.5, 0.0]])),
        ("the worst order", np.array([[0.0, 0.0, 0.5, 1.0]])),
        ("a query to which nothing is similar", np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.5]])),
        ("two queries that differ", np.array([[1.0, 0.0, 0.5], [0.5, 0.5, 0.0]])),
        ("one item", np.array([[0.5]])),
        ("no query", np.zeros((0, 4))),
        ("only two levels, 0 and 1", np.array([[0.0, 1.0, 1.0, 0.0, 1.0]])),
        ("no item of similarity 1", np.array([[0.25, 0.0, 0.5, 0.25]])),
        ("six queries and twelve items", random.choice([0, 0, 0.5, 1.0], (6, 12))),
        ("more queries than items", random.choice([0, 0.5, 1.0], (7, 3))),
    ]


HP_MISTAKES = {
    "This divides by k: divide by the largest sum that k items can have.": lambda s: (
        s.cumsum(axis=1) / np.arange(1, s.shape[1] + 1)
    ),
    "This divides by the sum over all items, whatever k is: HP@k compares with the best k.": lambda s: (
        _ratio(s.cumsum(axis=1), np.repeat(s.sum(axis=1, keepdims=True), s.shape[1], axis=1))
    ),
    "A row without anything similar gives 0, not NaN.": lambda s: s.cumsum(axis=1) / _best(s),
    "The best order has the largest first: sort the other way.": lambda s: _ratio(
        s.cumsum(axis=1), np.sort(s, axis=1).cumsum(axis=1)
    ),
    "You sum over the queries: sum along the ranks, axis 1.": lambda s: _ratio(
        s.cumsum(axis=0), np.sort(s, axis=0)[::-1].cumsum(axis=0)
    ),
    "These are single ranks: HP@k takes the sum of the first k.": lambda s: _ratio(
        s, np.sort(s, axis=1)[:, ::-1]
    ),
    "Every similarity above 0 counts as 1: half-similar items count half.": lambda s: (
        _hierarchical_precision((s > 0).astype(float))
    ),
    "Only full similarity counts: half-similar items count half.": lambda s: (
        _hierarchical_precision((s == 1).astype(float))
    ),
    "The best row of all queries is taken for each: every query has a best order of its own.": lambda s: (
        _ratio(s.cumsum(axis=1), np.repeat(_best(s).max(axis=0, initial=0)[None], len(s), axis=0))
    ),
    "The mean over the queries is taken: return a row for each.": lambda s: _hierarchical_precision(
        s
    ).mean(axis=0),
    "The ranks are read from the end.": lambda s: _hierarchical_precision(s[:, ::-1]),
    "k begins at 1, not at 0: the first column is the first rank alone.": lambda s: np.c_[
        np.zeros(len(s)), _hierarchical_precision(s)[:, :-1]
    ],
}


def check_score_by_ratio(answer):
    """Check ``score_by_ratio(table)``: the mean score by how many steps of zoom lie between query and database.

    Parameters
    ----------
    answer : callable
        Takes `table` (n, n), queries at n zooms by databases at the same zooms; returns (n,): the mean of the cells that are d
        steps apart, in either direction, for d = 0, 1, … n - 1.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_score_by_ratio(lambda table: table.mean(axis=0)).passed
    False
    """
    return run_check(answer, _score_by_ratio, _ratio_cases(), mistakes=RATIO_MISTAKES)


def _steps(n):
    return np.abs(np.arange(n)[:, None] - np.arange(n)[None])


def _score_by_ratio(table):
    apart = _steps(len(table))
    return np.array([table[apart == d].mean() for d in range(len(table))])


def _ratio_cases():
    random = np.random.RandomState(2)
    for about, n in [("two zooms", 2), ("four zooms", 4), ("seven zooms", 7), ("one zoom", 1)]:
        yield about, random.rand(n, n)
    yield (
        "a table that is not symmetric",
        np.array([[0.9, 0.5, 0.2], [0.1, 0.8, 0.6], [0.0, 0.3, 0.7]]),
    )
    yield "a table of whole numbers", np.arange(9).reshape(3, 3)
    yield "scores of 0 off the diagonal", np.eye(4)


def _diagonals(table, offsets, reduce=np.mean):
    return np.array([reduce(np.diagonal(table, d)) for d in offsets])


RATIO_MISTAKES = {
    "Only databases that are smaller than the query (one side of the diagonal) count: take both sides.": lambda t: (
        _diagonals(t, range(len(t)))
    ),
    "Only databases that are larger than the query count: take both sides of the diagonal.": lambda t: (
        _diagonals(t, range(0, -len(t), -1))
    ),
    "This is the mean of each row: cells of a row lie at different distances.": lambda t: t.mean(
        axis=1
    ),
    "This is the sum, not the mean: far distances have fewer cells.": lambda t: np.bincount(
        _steps(len(t)).ravel(), t.ravel()
    ),
    "The mean over n is taken: divide by the number of cells at that distance.": lambda t: (
        np.bincount(_steps(len(t)).ravel(), t.ravel()) / len(t)
    ),
    "The diagonal, distance 0, is missing.": lambda t: _score_by_ratio(t)[1:],
    "The farthest distance, the two corners, is missing.": lambda t: _score_by_ratio(t)[:-1],
    "The anti-diagonals are used: the distance is |i - j|, not i + j.": lambda t: _score_by_ratio(
        t[:, ::-1]
    ),
    "Distance 0 comes first.": lambda t: _score_by_ratio(t)[::-1],
    "These are differences to the diagonal: give the scores themselves.": lambda t: (
        _score_by_ratio(t) - _score_by_ratio(t)[0]
    ),
    "The worst cell of each distance is taken, not the mean.": lambda t: np.array(
        [t[_steps(len(t)) == d].min() for d in range(len(t))]
    ),
    "Each distance holds all nearer cells as well: only those at exactly that distance count.": lambda t: (
        np.array([t[_steps(len(t)) <= d].mean() for d in range(len(t))])
    ),
}


def check_choose_scales(answer):
    """Check ``choose_scales(scores, category, cost, budget)``: the best setting that can be paid for.

    Parameters
    ----------
    answer : callable
        Takes `scores` (n_settings, n_queries), average precision on validation, NaN for a query without positives; `category`
        (n_queries,); `cost` (n_settings,); `budget`. Returns the position of the setting with the best mean over categories
        (of their mean over queries) among those whose cost is at most the budget; of equals the cheapest; -1 if none can be paid for.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_choose_scales(lambda scores, category, cost, budget: scores.mean(axis=1).argmax()).passed
    False
    """
    return run_check(answer, _choose_scales, _choice_cases(), mistakes=CHOICE_MISTAKES)


def _by_category(scores, category, mean=np.nanmean):
    return np.array([mean(scores[:, category == c], axis=1) for c in np.unique(category)])


def _choose_scales(scores, category, cost, budget, *, means=None, within=np.less_equal, tie=1):
    means = _by_category(scores, category).mean(axis=0) if means is None else means
    can = np.flatnonzero(within(cost, budget))
    if not len(can):
        return -1
    return int(min(can, key=lambda i: (-round(means[i], 9), tie * cost[i])))


def _choice_cases():
    random = np.random.RandomState(3)
    two = np.array(["mug", "mug", "mug", "key"])
    flat = np.array([[0.5, 0.5, 0.5, 0.5], [0.6, 0.6, 0.6, 0.6], [0.9, 0.9, 0.9, 0.9]])
    uneven = np.array([[0.6, 0.6, 0.6, 0.1], [0.5, 0.5, 0.5, 0.5]])
    missing = np.array([[0.5, np.nan, 0.5, 0.55], [0.8, np.nan, 0.8, 0.3], [0.4, np.nan, 0.4, 0.4]])
    failing = np.array([[0.5, 0.5, 0.5, 0.5], [0.9, 0.9, 0.9, 0.2]])
    mostly = np.array([[0.9, 0.9, 0.9, 0.2], [0.56, 0.56, 0.56, 0.56]])
    equal = np.array([[0.2, 0.4, 0.4, 0.4], [0.7, 0.7, 0.7, 0.7], [0.7, 0.7, 0.7, 0.7]])
    yield from [
        ("three settings, the best too dear", flat, two, np.array([1.0, 2.0, 4.0]), 2.5),
        ("a cost that is exactly the budget", flat, two, np.array([1.0, 2.0, 4.0]), 4.0),
        ("a category with three queries, and one with one", uneven, two, np.array([1.0, 1.5]), 2.0),
        ("a query without positives (NaN)", missing, two, np.array([1.0, 1.0, 1.0]), 1.0),
        ("a setting that fails on one category", failing, two, np.array([1.0, 1.5]), 2.0),
        ("a setting that wins on most queries only", mostly, two, np.array([1.0, 1.5]), 2.0),
        ("two equal settings, the cheaper one last", equal, two, np.array([1.0, 3.0, 2.0]), 5.0),
        ("nothing that can be paid for", flat, two, np.array([1.0, 2.0, 4.0]), 0.5),
        ("a dear setting that is the best", flat, two, np.array([1.0, 1.05, 2.0]), 2.0),
        ("one setting", flat[:1], two, np.array([1.0]), 1.0),
        ("settings that are not sorted by cost", flat, two, np.array([4.0, 1.0, 2.0]), 3.0),
        ("the dearest is the worst", flat[::-1].copy(), two, np.array([1.0, 2.0, 4.0]), 9.0),
    ]
    names = np.repeat(["a", "b", "c", "d"], [2, 11, 5, 6])
    for budget in (1.0, 2.2, 4.0):
        scores = (
            random.rand(6, 24) * 0.2 + random.rand(6, 4)[:, [0] * 2 + [1] * 11 + [2] * 5 + [3] * 6]
        )
        yield (
            f"six settings, budget {budget}",
            scores,
            names,
            random.permutation(6) * 0.8 + 0.4,
            budget,
        )


def _pooled(s, g, c, b):
    return _choose_scales(s, g, c, b, means=np.nanmean(s, axis=1))


CHOICE_MISTAKES = {
    "The budget is not asked for: the best of all may be too dear.": lambda s, g, c, b: (
        _choose_scales(s, g, c, np.inf)
    ),
    "A setting that costs exactly the budget can be paid for.": partial(
        _choose_scales, within=np.less
    ),
    "All queries count the same: take the mean of each category first, then the mean of these.": _pooled,
    "NaN in the mean makes NaN of everything: leave such queries out (np.nanmean).": lambda s, g, c, b: (
        -1
        if not (c <= b).any()
        else int(np.argmax(np.where(c <= b, _by_category(s, g, np.mean).mean(axis=0), -1)))
    ),
    "A query without positives is left out; you count it as 0.": lambda s, g, c, b: _choose_scales(
        np.nan_to_num(s), g, c, b
    ),
    "Of two equal settings the cheaper one is asked for.": partial(_choose_scales, tie=-1),
    "The position counts among all settings, not among those that can be paid for.": lambda s, g, c, b: (
        _choose_scales(s[c <= b], g, c[c <= b], b)
    ),
    "This is the cheapest setting, not the best.": lambda s, g, c, b: (
        int(np.argmin(c)) if (c <= b).any() else -1
    ),
    "This is the dearest setting that can be paid for, not the best.": lambda s, g, c, b: (
        int(np.argmax(np.where(c <= b, c, -1))) if (c <= b).any() else -1
    ),
    "This is the worst setting.": lambda s, g, c, b: _choose_scales(-s, g, c, b),
    "If none can be paid for the answer is -1.": lambda s, g, c, b: max(
        _choose_scales(s, g, c, b), 0
    ),
    "This is the best score for its cost: the budget is a limit, and what is left of it is worth nothing.": lambda s, g, c, b: (
        _choose_scales(s, g, c, b, means=_by_category(s, g).mean(axis=0) / c)
    ),
    "The worst category decides: take the mean over categories.": lambda s, g, c, b: _choose_scales(
        s, g, c, b, means=_by_category(s, g).min(axis=0)
    ),
}
