"""Checks of notebook 20: forgetting, herding, a map between two encoders, and a better one."""

from functools import partial

import numpy as np

from .running import ahead, mean_precision, no_numbers, open_answer, run_check

_SECONDS, _GAIN = 20.0, 0.02


def check_forgetting(answer):
    """Check ``forgetting(scores)``: average forgetting and backward transfer, from the scores after each session.

    Parameters
    ----------
    answer : callable
        Takes `scores` (T, T): row t after session t, column j for the categories of session j. Returns two numbers, the means over all
        columns j but the last: of the best score of the column after any session but the last, less its last score; and of its last
        score, less the one right after session j. With a single session both are 0.

    Returns
    -------
    Verdict

    References
    ----------
    Chaudhry et al., "Riemannian walk for incremental learning: understanding forgetting and intransigence", ECCV 2018, arXiv
    1801.10112 (forgetting); Lopez-Paz and Ranzato, "Gradient episodic memory for continual learning", NeurIPS 2017, arXiv 1706.08840
    (backward transfer).

    Examples
    --------
    >>> check_forgetting(lambda scores: (0.0, 0.0)).passed
    False
    """
    return run_check(answer, _forgetting, _score_cases(), mistakes=FORGET_MISTAKES)


def _forgetting(scores, best=lambda a: a[:-1].max(axis=0), left=1):
    a = np.asarray(scores, float)
    if len(a) == 1:
        return 0.0, 0.0
    old = slice(len(a) - left)
    lost, change = best(a) - a[-1], a[-1] - np.diagonal(a)
    return float(lost[old].mean()), float(change[old].mean())


def _score_cases():
    random = np.random.RandomState(0)
    yield from [
        ("three sessions", np.array([[0.6, 0.2, 0.1], [0.7, 0.7, 0.3], [0.3, 0.6, 0.8]])),
        ("a single session", np.array([[0.5]])),
        ("two sessions", np.array([[0.8, 0.1], [0.5, 0.9]])),
        ("scores that only rise: forgetting is below 0", np.add.outer([0.1, 0.2, 0.5], [0.0, 0.1, 0.2])),
        ("the best score came after a later session", np.array([[0.4, 0.1, 0.2], [0.9, 0.6, 0.1], [0.7, 0.5, 0.7]])),
        ("the best score came before the session", np.array([[0.4, 0.8, 0.2], [0.3, 0.6, 0.1], [0.2, 0.5, 0.7]])),
        ("the last column, which had no time to be forgotten", np.array([[0.4, 0.1, 0.9], [0.3, 0.6, 0.8], [0.2, 0.5, 0.1]])),
        ("eight sessions", random.rand(8, 8)),
    ]  # fmt: skip


FORGET_MISTAKES = {
    "The best score is that of any session but the last: with the last among them, forgetting could not fall below 0.": partial(_forgetting, best=lambda a: a.max(axis=0)),
    "You took the score right after the session as the best one: it may have been higher after another session.": partial(_forgetting, best=np.diagonal),
    "Sessions before the categories came count, too: the best score is that of any session but the last.": partial(_forgetting, best=lambda a: np.tril(a)[:-1].max(axis=0)),
    "Leave the last column out: nothing came after it that could make it forgotten.": partial(_forgetting, left=0),
    "Divide by the number of columns that count, T - 1.": lambda a: tuple(part * max(len(a) - 1, 1) / len(a) for part in _forgetting(a)),
    "Rows are sessions in time, columns the categories: you took them the other way round.": lambda a: _forgetting(np.transpose(a)),
    "Backward transfer is the last score less the earlier one: below 0 where something was forgotten.": lambda a: (_forgetting(a)[0], -_forgetting(a)[1]),
    "Forgetting is the best score less the last one: above 0 where something was forgotten.": lambda a: (-_forgetting(a)[0], _forgetting(a)[1]),
    "Each column has a best session of its own: take the maximum before the mean.": partial(_forgetting, best=lambda a: a[a[:-1].mean(axis=1).argmax()]),
    "Forgetting comes first, backward transfer second.": lambda a: _forgetting(a)[::-1],
}  # fmt: skip


def check_herded(answer):
    """Check ``herded(vectors, m)``: exemplars whose mean stays near the mean of their category.

    Parameters
    ----------
    answer : callable
        Takes `vectors` (n, d) and `m`; returns positions (m,) in the order in which they were chosen, or (n,) where m exceeds n: each time
        the one with which the mean of all chosen so far is nearest to the mean of `vectors`, none twice, of equal ones the first.

    Returns
    -------
    Verdict

    References
    ----------
    Rebuffi et al., "iCaRL: Incremental classifier and representation learning", CVPR 2017, arXiv 1611.07725.

    Examples
    --------
    >>> check_herded(lambda vectors, m: np.arange(m)).passed
    False
    """
    return run_check(answer, _herded, _herd_cases(), mistakes=HERD_MISTAKES)


def _herded(vectors, m, gap=None, centre=None, again=False):
    X, chosen = np.asarray(vectors, float), []
    target, gap = (centre or (lambda X: X.mean(axis=0)))(X), gap or _gap_of_means
    for _ in range(m if again else min(m, len(X))):
        gaps = gap(X, X[chosen].sum(axis=0), len(chosen) + 1, target)
        gaps[[] if again else chosen] = np.inf
        chosen.append(int(np.flatnonzero(gaps <= gaps.min() + 1e-9)[0]))
    return np.array(chosen, dtype=int)


def _gap_of_means(X, chosen, k, target):
    return np.linalg.norm((X + chosen) / k - target, axis=1)


def _herd_cases():
    random = np.random.RandomState(0)
    line = np.array([[0.0], [1.0], [2.0], [3.0], [10.0]])
    yield from [
        ("five points on a line, three of them", line, 3),
        ("one of five points", line, 1),
        ("none", line, 0),
        ("all of five points", line, 5),
        ("more than there are", line, 9),
        ("a single vector", np.array([[0.6, 0.8]]), 1),
        ("two equal vectors", np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), 2),
        ("a group and one far away", np.vstack([random.randn(8, 2), [[30.0, 0.0]]]), 4),
        ("30 vectors, ten of them", random.randn(30, 5) + 1, 10),
        ("30 vectors of length 1", (z := random.randn(30, 6)) / np.linalg.norm(z, axis=1)[:, None], 8),
    ]  # fmt: skip


HERD_MISTAKES = {
    "These are the nearest to the mean, one by one: it is the mean of all chosen so far that has to be near it.": lambda X, m: _herded(X, m, lambda X, chosen, k, target: np.linalg.norm(X - target, axis=1)),
    "No picture is chosen twice.": partial(_herded, again=True),
    "You compare the sum of the chosen with the mean: divide by how many they are, the new one included.": lambda X, m: _herded(X, m, lambda X, chosen, k, target: np.linalg.norm(X + chosen - target, axis=1)),
    "You divided by the number chosen before: the new one counts, too.": lambda X, m: _herded(X, m, lambda X, chosen, k, target: np.linalg.norm((X + chosen) / max(k - 1, 1) - target, axis=1)),
    "The target is the mean, not the median.": partial(_herded, centre=partial(np.median, axis=0)),
    "The target is the mean of all vectors, not of those that are left.": lambda X, m: _herded(X, m, lambda X, chosen, k, target: np.linalg.norm((X + chosen) / k - (X.sum(axis=0) - chosen) / max(len(X) - k + 1, 1), axis=1)),
    "The order counts, the first chosen first: it says whom to drop when memory runs short.": lambda X, m: np.sort(_herded(X, m)),
    "Return positions, not the vectors themselves.": lambda X, m: np.asarray(X)[_herded(X, m)],
}  # fmt: skip


def check_upgrade_map(answer):
    """Check ``upgrade_map(old, new)``: the map with orthonormal rows or columns between two encoders (Procrustes).

    Parameters
    ----------
    answer : callable
        Takes `old` (n, a) and `new` (n, b), row by row of the same pictures; returns R (a, b), with orthonormal rows where a <= b and
        orthonormal columns where a >= b, for which the sum of the dot products of ``old @ R`` and ``new``, row by row, is largest. All
        rows count alike: they are brought to length 1 first.

    Returns
    -------
    Verdict

    References
    ----------
    Schönemann, "A generalized solution of the orthogonal Procrustes problem", Psychometrika 1966, doi:10.1007/BF02289451.

    Examples
    --------
    >>> check_upgrade_map(lambda old, new: np.eye(old.shape[1], new.shape[1])).passed
    False
    """
    return run_check(answer, _upgrade_map, _map_cases(), mistakes=MAP_MISTAKES)


def _unit(X):
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)


def _upgrade_map(old, new, before=_unit, keep=lambda u, s, v: u @ v):
    return keep(*np.linalg.svd(before(old).T @ before(new), full_matrices=False))


def _map_cases():
    random = np.random.RandomState(1)
    rotation = np.linalg.qr(random.randn(5, 5))[0]
    X, noise = random.randn(40, 5), 0.3 * random.randn(40, 7)
    yield from [
        ("a rotation, which can be undone", X, X @ rotation),
        ("a mirror image, which may be undone, too", X, X * [1, 1, -1, 1, 1]),
        ("vectors of very unequal length", X * np.exp(2 * random.randn(40, 1)), X @ rotation + noise[:, :5]),
        ("a new encoder of more numbers", X, X @ random.randn(5, 7) + noise),
        ("a new encoder of fewer numbers", X @ random.randn(5, 7) + noise, X),
        ("means far from 0", X + 3, X @ rotation + noise[:, :5] - 2),
        ("one number each", np.array([[2.0], [-1.0], [3.0]]), np.array([[-1.0], [2.0], [-2.0]])),
    ]  # fmt: skip


MAP_MISTAKES = {
    "Bring the rows to length 1 first: long vectors outweigh the others.": partial(_upgrade_map, before=lambda X: X),
    "Do not centre: queries come one by one, and the map has no offset.": partial(_upgrade_map, before=lambda X: _unit(X - X.mean(axis=0))),
    "This map leads from new to old: transpose.": lambda old, new: _upgrade_map(new, old),
    "That is a map by least squares: it stretches. Its rows, or columns, have to be orthonormal.": lambda old, new: np.linalg.lstsq(_unit(old), _unit(new), rcond=None)[0],
    "The singular values are left in: with them the map stretches.": partial(_upgrade_map, keep=lambda u, s, v: u * s @ v),
    "Of the three factors of the SVD you took the first alone.": partial(_upgrade_map, keep=lambda u, s, v: u @ np.eye(len(s), v.shape[1])),
    "np.linalg.svd gives the last factor transposed already.": partial(_upgrade_map, keep=lambda u, s, v: u @ (v.T if v.shape[0] == v.shape[1] else v)),
}  # fmt: skip


def check_better_map(answer):
    """Check ``better_map(old, new, database)``, an open exercise: bring old vectors to a new encoder better than Procrustes does.

    Parameters
    ----------
    answer : callable
        Takes `old` (n, 128) and `new` (n, 256), vectors of length 1 of the same pictures, and `database` (m, 128), old vectors of
        others; returns (m, 256), which is compared with new vectors of queries by cosine. It is run on "MobileNetV2" and "lite0" with
        the pictures of `flickr8k` and `coco` as pairs, on `ucmerced` and on `clothing`, and must reach the mAP of Procrustes plus 0.02,
        on average.

    Returns
    -------
    Verdict
        The message tells both scores.

    Examples
    --------
    >>> check_better_map(lambda old, new, database: database @ _upgrade_map(old, new)).status
    'not yet'
    """
    name, ours, theirs = "better_map", [], []
    for (old, new, database), queries, right in _upgrades():
        given, fault = (old, new, database), partial(no_numbers, (len(database), new.shape[1]))
        mapped, ended = open_answer(name, answer, given, _SECONDS, fault)
        if ended:
            return ended
        ours.append(mean_precision(queries @ _unit(np.asarray(mapped, float)).T, right))
        theirs.append(mean_precision(queries @ _unit(database @ _upgrade_map(old, new)).T, right))
    why = "what do the old neighbours of a picture tell about its new vector?"
    return ahead(name, ours, theirs, _GAIN, "mAP is {:.3f}, that of Procrustes {:.3f}", why)


def _upgrades():
    from cbirkit.datasets import load_real

    def vectors(names, encoder):
        return _unit(np.vstack([load_real(one).embeddings(encoder) for one in names]).astype(float))

    pairs = [vectors(("flickr8k", "coco"), encoder) for encoder in ("MobileNetV2", "lite0")]
    for name in ("ucmerced", "clothing"):
        labels = load_real(name).labels
        asked = np.arange(len(labels)) % 5 == 0
        old, new = vectors([name], "MobileNetV2"), vectors([name], "lite0")
        yield (*pairs, old[~asked]), new[asked], labels[asked][:, None] == labels[~asked]
