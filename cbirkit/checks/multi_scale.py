"""Checks of notebook 04: an image pyramid, the cost of a mismatch of zooms, hierarchical precision, and a choice of scales within a budget."""

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


def check_mismatch_cost(answer):
    """Check ``mismatch_cost(table)``: what each pair of zooms lacks against the poorer of its two zooms on its own.

    Parameters
    ----------
    answer : callable
        Takes `table` (n, n), the score of queries at zoom i in a database at zoom j; returns (n, n): the smaller of
        ``table[i, i]`` and ``table[j, j]``, minus ``table[i, j]``.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_mismatch_cost(lambda table: table - table.T).passed
    False
    """
    return run_check(answer, _mismatch_cost, _mismatch_cases(), mistakes=MISMATCH_MISTAKES)


def _own(table, reduce):
    own = np.diagonal(table)
    return reduce(own[:, None], own[None])


def _mismatch_cost(table):
    return _own(table, np.minimum) - table


def _mismatch_cases():
    random = np.random.RandomState(2)
    uneven = np.array([[0.9, 0.5, 0.2], [0.1, 0.8, 0.6], [0.0, 0.3, 0.7]])
    rising = np.array([[0.2, 0.3], [0.1, 0.6]])
    yield from [
        ("two zooms", np.array([[0.7, 0.2], [0.3, 0.5]])),
        ("a table that is not symmetric", uneven),
        ("a far zoom that scores more than the near one", rising),
        (
            "a cell that is better than the poorer zoom on its own",
            np.array([[0.7, 0.4], [0.4, 0.1]]),
        ),
        ("one zoom", np.array([[0.4]])),
        ("scores of 0 off the diagonal", np.eye(3)),
        ("a table of whole numbers", np.arange(9).reshape(3, 3)),
        ("six zooms", random.rand(6, 6)),
        ("scores that are all equal", np.full((3, 3), 0.5)),
    ]


MISMATCH_MISTAKES = {
    "This compares with the better of the two zooms: nothing can be found better than the poorer one allows.": lambda t: (
        _own(t, np.maximum) - t
    ),
    "This compares with the mean of the two zooms: take the poorer one.": lambda t: (
        _own(t, lambda a, b: (a + b) / 2) - t
    ),
    "Only the query's own zoom is looked at: take the poorer of both.": lambda t: (
        np.diagonal(t)[:, None] - t
    ),
    "Only the database's own zoom is looked at: take the poorer of both.": lambda t: (
        np.diagonal(t)[None] - t
    ),
    "The sign is turned round: a cost is above 0 where a cell lacks something.": lambda t: (
        t - _own(t, np.minimum)
    ),
    "The absolute value hides which way it goes.": lambda t: np.abs(_mismatch_cost(t)),
    "A cell may be better than the poorer zoom alone: keep what is below 0.": lambda t: np.maximum(
        _mismatch_cost(t), 0
    ),
    "The poorer zoom is the one with the lower score, not the one that comes later.": lambda t: (
        np.diagonal(t)[np.maximum.outer(np.arange(len(t)), np.arange(len(t)))] - t
    ),
    "This is a fraction: give the difference itself.": lambda t: (
        _mismatch_cost(t) / np.maximum(_own(t, np.minimum), 1e-12)
    ),
    "Every cell is compared with the poorest zoom of all: take the poorer of its own two.": lambda t: (
        np.diagonal(t).min() - t
    ),
    "Every cell is compared with the best zoom of all: take the poorer of its own two.": lambda t: (
        np.diagonal(t).max() - t
    ),
    "This compares a cell with its mirror image: compare with the diagonal.": lambda t: (
        np.minimum(t, t.T) - t
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
