"""Checks of notebook 15: vectors without their place, one object between two others, the sets of k-reciprocal re-ranking, a better relation (open)."""

from functools import partial
from itertools import permutations

import numpy as np

from .running import ahead, mean_precision, not_a_function, open_answer, run_check


def check_without_place(answer):
    """Check ``without_place(vectors, place)``: subtract from each vector the mean of its place, and scale to length 1.

    Parameters
    ----------
    answer : callable
        Takes `vectors` (n, d) and `place` (n,), a name for each; returns (n, d): rows of length 1, or 0 where nothing is left.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_without_place(lambda vectors, place: vectors - vectors.mean(axis=0)).passed
    False
    """
    return run_check(answer, _without_place, _place_cases(), mistakes=PLACE_MISTAKES)


def _without_place(vectors, place, centre=np.mean, rows=np.equal, before=0, least=1e-12):
    """With others than the mean, the rows of the place and the vectors as they are, for the mistakes."""
    rest = vectors - np.array([centre(vectors[rows(place, one)], axis=0) for one in place])
    rest = rest + before * vectors.mean(axis=0)
    return rest / np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), least)


def _place_cases():
    random = np.random.RandomState(0)
    yield (
        "two places, one after the other",
        random.randn(7, 4),
        np.repeat(["beach", "desk"], (4, 3)),
    )
    yield "three places in any order, one with a single picture", random.randn(6, 3), np.array(["desk", "beach", "desk", "lawn", "beach", "desk"])  # fmt: skip
    yield "a single place", random.randn(5, 2), np.repeat("desk", 5)
    yield "a place for each picture, which leaves nothing", random.randn(3, 4), np.array(["lawn", "desk", "beach"])  # fmt: skip
    yield (
        "vectors far from 0",
        9 + random.randn(30, 5),
        random.choice(["shore", "tiles", "wood"], 30),
    )


def _scaled(rows, axis=1):
    return rows / np.maximum(np.linalg.norm(rows, axis=axis, keepdims=axis is not None), 1e-12)


PLACE_MISTAKES = {
    "You subtract the mean of all vectors: each place has its own.": partial(_without_place, rows=lambda place, one: np.full(len(place), True)),
    "You subtract the mean of the other places.": lambda v, p: _scaled(v - np.array([v[p != one].mean(axis=0) if (p != one).any() else 0 * v[0] for one in p])),
    "What is left has to be scaled to length 1, row by row.": lambda v, p: v - np.array([v[p == one].mean(axis=0) for one in p]),
    "Where nothing is left, 0 / 0 is NaN: leave a row of zeros.": partial(_without_place, least=0),
    "You scale before you subtract: subtract first.": lambda v, p: _scaled(v) - np.array([_scaled(v)[p == one].mean(axis=0) for one in p]),
    "You scale both before and after: the mean is that of the vectors as they are.": lambda v, p: _without_place(_scaled(v), p),
    "You subtract the median: the mean.": partial(_without_place, centre=np.median),
    "You add the mean of all vectors back: leave it out.": partial(_without_place, before=1),
    "You scale each column: each row has the length 1.": lambda v, p: _scaled(v - np.array([v[p == one].mean(axis=0) for one in p]), 0),
    "You scale all rows by one number: each has its own length.": lambda v, p: _scaled(v - np.array([v[p == one].mean(axis=0) for one in p]), None),
}  # fmt: skip


def check_between_score(answer):
    """Check ``between_score(scores, x)``: how well does a scene show A between B and C?

    Parameters
    ----------
    answer : callable
        Takes `scores` (n, 3), how well each of n regions fits the names A, B and C, and `x` (n,), the columns of their centres; returns
        the largest sum of three scores of regions of which A's lies between the others', strictly; minus infinity where there are none.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_between_score(lambda scores, x: scores.max(axis=0).sum()).passed
    False
    """
    return run_check(answer, _between_score, _between_cases(), mistakes=BETWEEN_MISTAKES)


def _is_between(a, b, c):
    return b < a < c or c < a < b


def _between_score(scores, x, right=_is_between, join=sum, none=-np.inf):
    """The best of all triples whose centres are `right`."""
    found = [
        join([scores[i, 0], scores[j, 1], scores[k, 2]])
        for i, j, k in permutations(range(len(x)), 3)
        if right(x[i], x[j], x[k])
    ]
    return float(max(found, default=none))


def _greedy(scores, x):
    """The best region of each name, and only then the order."""
    best = scores.argmax(axis=0) if len(x) else np.zeros(3, int)
    fits = len(x) and _is_between(*x[best])
    return float(scores[best, range(3)].sum()) if fits else -np.inf


def _next_to(scores, x):
    """Neighbours in the order of x only."""
    order, found = np.argsort(x, kind="stable"), [-np.inf]
    for j, i, k in zip(order, order[1:], order[2:], strict=False):
        if x[j] < x[i] < x[k]:
            outer = max(scores[j, 1] + scores[k, 2], scores[k, 1] + scores[j, 2])
            found.append(scores[i, 0] + outer)
    return float(max(found))


def _between_cases():
    random = np.random.RandomState(0)
    three = np.array([[5.0, 1, 2], [1, 4, 1], [2, 1, 3]])
    yield from [
        ("A in the middle, B on the left", three, np.array([50.0, 10, 90])),
        ("A in the middle, C on the left", three, np.array([50.0, 90, 10])),
        ("the best A at the edge", three, np.array([10.0, 50, 90])),
        ("two regions", three[:2], np.array([10.0, 50])),
        ("no region", np.zeros((0, 3)), np.zeros(0)),
        ("three regions in one column", three, np.array([50.0, 50, 50])),
        ("A in the column of B", three, np.array([50.0, 50, 90])),
        ("scores below 0", three - 6, np.array([50.0, 10, 90])),
        ("the best regions in the wrong order, others in the right one",
         np.array([[9.0, 0, 0], [0, 9, 0], [0, 0, 9], [1, 0, 2]]), np.array([0.0, 40, 80, 60])),
        ("a region between A and B", np.array([[9.0, 0, 0], [0, 9, 0], [0, 0, 9], [0, 0, 0]]),
         np.array([60.0, 0, 90, 30])),
        ("one region that fits two names best", np.array([[9.0, 9, 0], [0, 1, 1], [1, 0, 8]]), np.array([50.0, 10, 80])),
    ]  # fmt: skip
    for n in (4, 6, 8):
        yield f"{n} random regions", random.randn(n, 3), random.permutation(190)[:n].astype(float)
    yield "7 random regions, some in one column", random.randn(7, 3), random.randint(0, 4, 7) * 40.0


BETWEEN_MISTAKES = {
    "This asks for B left of C: the other way round A is between them, too.": partial(
        _between_score, right=lambda a, b, c: b < a < c
    ),
    "This asks for C left of B: the other way round A is between them, too.": partial(
        _between_score, right=lambda a, b, c: c < a < b
    ),
    "The centres are not used: this is the search by the set.": partial(
        _between_score, right=lambda a, b, c: True
    ),
    "Between means strictly between: equal columns do not count.": partial(
        _between_score, right=lambda a, b, c: b <= a <= c or c <= a <= b
    ),
    "This takes the mean of the three scores: take the sum.": partial(
        _between_score, join=lambda three: sum(three) / 3
    ),
    "This takes the smallest of the three scores: take the sum.": partial(_between_score, join=min),
    "This multiplies the scores: take the sum.": partial(_between_score, join=np.prod),
    "Where no three regions fit, the score is minus infinity, not 0.": partial(
        _between_score, none=0.0
    ),
    "This takes the best region of each name first, and looks at the order then: other regions may fit together.": _greedy,
    "This looks at regions that follow one another only: A may be further away.": _next_to,
    "B is between the others in your version: the first column belongs to A.": partial(
        _between_score, right=lambda a, b, c: _is_between(b, a, c)
    ),
    "C is between the others in your version: the first column belongs to A.": partial(
        _between_score, right=lambda a, b, c: _is_between(c, a, b)
    ),
    "This wants A outside: it asks for the opposite.": partial(
        _between_score, right=lambda a, b, c: not _is_between(a, b, c)
    ),
}


def check_reciprocal_sets(answer):
    """Check ``reciprocal_sets(distances, k)``: the sets of k-reciprocal re-ranking, with those that join them.

    Parameters
    ----------
    answer : callable
        Takes `distances` (n, n), symmetric, 0 on the diagonal and larger elsewhere, and `k`, even, less than n; returns (n, n), bool:
        row i is True for the members of R*(i).

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_reciprocal_sets(lambda distances, k: distances < np.inf).passed
    False
    """
    return run_check(answer, _reciprocal_sets, _sets_cases(), mistakes=SETS_MISTAKES)


def _mutual(distances, k, combine=np.logical_and):
    near = distances <= np.sort(distances, axis=1)[:, [k]]
    return combine(near, near.T)


def _reciprocal_sets(
    distances,
    k,
    least=2 / 3,
    strict=False,
    half=None,
    of="joining",
    rounds=1,
    combine=np.logical_and,
):
    sets, halves = _mutual(distances, k, combine), _mutual(distances, half or k // 2, combine)  # fmt: skip
    for _ in range(rounds):
        common = sets.astype(int) @ halves.T
        whole = {"joining": halves.sum(axis=1)[None], "own": sets.sum(axis=1)[:, None]}[of] * least
        enough = common > whole + 1e-9 if strict else common >= whole - 1e-9
        sets = sets | ((sets & enough).astype(int) @ halves > 0)
    return sets


def _sets_cases():
    random = np.random.RandomState(1)

    def table(points):
        points = np.asarray(points, dtype=float)
        return (
            np.abs(points[:, None] - points[None])
            if points.ndim == 1
            else np.linalg.norm(points[:, None] - points[None], axis=2)
        )

    yield "points on a line", table([0, 1, 3, 6, 10, 15, 21]), 2
    yield "two groups", table([0, 1, 2.5, 4.5, 20, 21, 22.5, 24.5]), 4
    yield "a chain of equal steps", table(np.arange(8)), 2
    yield "an image that nobody has among its nearest", table([0, 1, 2, 3, 50]), 2
    yield "all images but itself as neighbours", table(random.randn(5, 2)), 4
    for n, k in ((12, 4), (20, 6), (30, 8)):
        yield f"{n} random images, k = {k}", table(random.randn(n, 3)), k
    yield "40 images in groups", table(random.randn(40, 4) + 4 * random.randint(0, 3, (40, 1))), 10


SETS_MISTAKES = {
    "These are the sets R(i, k) alone: let others join.": _mutual,
    "An image is a neighbour of itself: it is always in its set, and does not count as one of the k.": lambda distances, k: (
        _reciprocal_sets(distances, k) & ~np.eye(len(distances), dtype=bool)
    ),
    "k neighbours and the image itself: yours has one neighbour less.": lambda distances, k: (
        _reciprocal_sets(distances, k - 1, half=max(k // 2 - 1, 1))
    ),
    "Both images have to be among the nearest of the other: one direction is not enough.": partial(
        _reciprocal_sets, combine=lambda near, answers: near
    ),
    "Both, not either: `and` instead of `or`.": partial(_reciprocal_sets, combine=np.logical_or),
    "Half of the common members is not enough: two thirds.": partial(_reciprocal_sets, least=1 / 2),
    "Exactly two thirds are enough.": partial(_reciprocal_sets, strict=True),
    "Every member's set joins in your version: only if two thirds of it are in R(i, k).": partial(
        _reciprocal_sets, least=0.0
    ),
    "Two thirds of the *joining* set, not of R(i, k).": partial(_reciprocal_sets, of="own"),
    "The joining sets are R(j, k/2), not R(j, k).": lambda distances, k: _reciprocal_sets(
        distances, k, half=k
    ),
    "Members that have joined bring nobody else: one round.": partial(_reciprocal_sets, rounds=5),
    "Rows and columns are swapped: row i is the set of i.": lambda distances, k: (
        _reciprocal_sets(distances, k).T
    ),
}

_SECONDS, _GAIN, _NAMES = 20.0, 0.05, 16


def check_better_relation(answer):
    """Check ``better_relation(names, x, first, second)``, an open exercise: a better score of "left of" than the best pair.

    Parameters
    ----------
    answer : callable
        Takes `names` (n, 16), scores of n regions for 16 names, `x` (n,), the columns of their centres, and the positions of two names;
        returns a number, larger where the first more likely stands left of the second. It is asked about simulated scenes and their
        mirror images, as in the notebook: objects that are recognised well or badly, some found twice, and regions that are no object.
        Its mAP has to reach that of the best pair plus 0.05, on the mean of three draws.

    Returns
    -------
    Verdict
        The message tells both scores.

    Examples
    --------
    >>> check_better_relation(lambda names, x, first, second: 0.0).status
    'not yet'
    """
    if not callable(answer):
        return not_a_function("better_relation", answer)
    ours, theirs = [], []
    for seed in range(3):
        scenes, truth, queries = _simulated(seed)
        given, fault = (scenes, queries), partial(_no_scores, truth.shape)
        scores, ended = open_answer(
            "better_relation", partial(_asked, answer), given, _SECONDS, fault
        )
        if ended:
            return ended
        ours.append(mean_precision(np.asarray(scores, dtype=float), truth))
        theirs.append(mean_precision(_asked(_best_pair, scenes, queries), truth))
    told = "mAP is {:.3f}, that of the best pair {:.3f} (mean of three draws)"
    why = "what does a region's second best name say about its best?"
    return ahead("better_relation", ours, theirs, _GAIN, told, why)


def _no_scores(shape, value):
    scores = np.asarray(value)
    if scores.dtype.kind not in "fiu" or scores.shape != shape:
        return "give one number for a scene."
    if np.isnan(scores).any():
        return "a score is NaN; give minus infinity where there is no pair."
    return None


def _best_pair(names, x, first, second):
    both = names[:, None, first] + names[None, :, second]
    return np.where(x[:, None] < x[None], both, -np.inf).max()


def _asked(answer, scenes, queries):
    """Scores (n_queries, n_scenes); each call gets copies."""
    return np.array([[answer(n.copy(), x.copy(), *query) for n, x in scenes] for query in queries])


def _simulated(seed):
    """Scenes and their mirror images as (names, x), the truth (n_queries, n_scenes), and the queries."""
    random, scenes, truth = np.random.RandomState(seed), [], []
    queries = [tuple(random.choice(_NAMES, 2, replace=False)) for _ in range(20)]
    for _ in range(60):
        n = random.randint(3, 7)
        labels, centres = (
            random.choice(_NAMES, n, replace=False),
            20 + 150 * random.permutation(n) / n,
        )
        shown = np.r_[np.arange(n), np.flatnonzero(random.rand(n) < 0.3)]  # some are found twice
        names = 0.2 * random.randn(len(shown) + 2, _NAMES)
        names[np.arange(len(shown)), labels[shown]] += random.uniform(0.1, 1.0, n)[shown]
        likely = random.randint(0, _NAMES, len(names))
        names[np.arange(len(names)), likely] += random.uniform(0, 0.6, len(names))
        x = np.r_[centres[shown] + 2 * random.randn(len(shown)), random.uniform(10, 180, 2)]
        at = dict(zip(labels, centres, strict=True))
        for width, sign in ((0, 1), (192, -1)):
            scenes.append((names, width + sign * x))
            truth.append([a in at and b in at and sign * at[a] < sign * at[b] for a, b in queries])
    truth = np.array(truth).T
    kept = truth.any(axis=1)
    return scenes, truth[kept], [query for query, keep in zip(queries, kept, strict=True) if keep]
