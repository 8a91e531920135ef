"""The checks of notebook 19: right answers pass, wrong ones get the sentence that names the mistake."""

import numpy as np
import torch
from sklearn.cluster import KMeans

from cbirkit import checks
from cbirkit.labelling import propose


def solved_margins(p, labelled, n):
    left = [i for i in range(len(p)) if i not in set(np.asarray(labelled).tolist())]
    gaps = {}
    for i in left:
        best, second = sorted(p[i].tolist(), reverse=True)[:2]
        gaps[i] = best - second
    return np.array(sorted(left, key=lambda i: (gaps[i], i))[:n], int)


def solved_errors(p, labels):
    out = np.zeros(len(p), bool)
    limits = {k: np.mean([p[i, k] for i in np.flatnonzero(labels == k)]) for k in set(labels)}
    for i in range(len(p)):
        reach = [k for k in sorted(limits) if p[i, k] >= limits[k]]
        out[i] = bool(reach) and max(reach, key=lambda k: p[i, k]) != labels[i]
    return out


CHECKS = {
    "least_margins": (checks.check_least_margins, solved_margins),
    "confident_errors": (checks.check_confident_errors, solved_errors),
}


def margins_by_partition(p, labelled, n):
    top = np.partition(p, -2, axis=1)[:, -2:]
    gap = np.where(np.isin(np.arange(len(p)), labelled), np.inf, np.ptp(top, axis=1))
    return np.argsort(gap, kind="stable")[: min(n, np.isfinite(gap).sum())]


def margins_in_torch(p, labelled, n):
    top = torch.topk(torch.from_numpy(p), 2, dim=1).values
    order = torch.argsort(top[:, 0] - top[:, 1], stable=True)
    return order[~torch.isin(order, torch.as_tensor(labelled, dtype=torch.int64))][:n]


def margins_of_the_rest(p, labelled, n):
    rest = np.delete(np.arange(len(p)), labelled)
    two = np.sort(p[rest], axis=1)[:, -2:]
    return rest[np.lexsort((rest, two[:, 1] - two[:, 0]))][:n].tolist()


def errors_with_means(p, labels):
    one_hot = np.eye(p.shape[1])[labels]
    with np.errstate(invalid="ignore", divide="ignore"):
        limits = np.array([p[labels == k, k].mean() for k in range(p.shape[1])])
    confident = p * (p >= limits)  # a comparison with NaN is false
    return (confident.max(axis=1) > 0) & ~one_hot[np.arange(len(p)), confident.argmax(axis=1)].astype(bool)  # fmt: skip


def errors_in_torch(p, labels):
    p, labels, limits = torch.from_numpy(p), torch.from_numpy(labels), []
    for k in range(p.shape[1]):
        mine = p[labels == k, k]
        limits.append(mine.mean() if len(mine) else torch.tensor(2.0))
    sure = torch.where(p >= torch.stack(limits), p, torch.zeros_like(p))
    return (sure.amax(dim=1) > 0) & (sure.argmax(dim=1) != labels)


def by(strategy):
    return lambda X, labelled, labels, n: propose(X, labelled, labels, n, strategy=strategy)


def diverse_margin(X, labelled, labels, n):
    """The closest classes, one image of each of n clusters of them."""
    if len(set(labels.tolist())) < 2:
        return propose(X, labelled, labels, n, strategy="typiclust").astype(float)
    rest = propose(X, labelled, labels, min(3 * n, len(X) - len(labelled)))
    of = KMeans(n, n_init=1, random_state=0).fit_predict(X[rest])
    return tuple(rest[(of == c).argmax()] for c in range(n))


RIGHT = {
    "least_margins": (
        margins_by_partition,
        margins_in_torch,
        margins_of_the_rest,
        lambda p, labelled, n: tuple(solved_margins(p.astype(float), list(labelled), n)),
    ),
    "confident_errors": (
        errors_with_means,
        errors_in_torch,
        lambda p, y: solved_errors(p, y).tolist(),
        lambda p, y: np.array(solved_errors(p, y), object).astype(bool),
    ),
    "better_choice": (
        by("margin"),
        by("badge"),
        diverse_margin,
        lambda *given: torch.from_numpy(by("margin")(*given)),
    ),
}

WRONG = {
    "least_margins": (
        ("largest margins", lambda p, at, n: _most(p, at, n)),
        ("have a label", lambda p, at, n: solved_margins(p, [], n)),
        ("least confidence", lambda p, at, n: _sorted_by(p.max(axis=1), at, n)),
        ("entropy", lambda p, at, n: _sorted_by((p * np.log(p + 1e-12)).sum(axis=1), at, n)),
        ("two largest", lambda p, at, n: _sorted_by(np.ptp(p, axis=1), at, n)),
        ("last two classes", lambda p, at, n: _sorted_by(np.abs(p[:, -2] - p[:, -1]), at, n)),
        ("sorted by position", lambda p, at, n: np.sort(solved_margins(p, at, n))),
        lambda p, at, n: solved_margins(p, at, n + 1),
        lambda p, at, n: solved_margins(p, at, n - 1) if n else solved_margins(p, at, n),
        lambda p, at, n: solved_margins(p, at, n)[::-1],
        lambda p, at, n: solved_margins(p, at[:-1], n),
        lambda p, at, n: np.isin(np.arange(len(p)), solved_margins(p, at, n)),
        lambda p, at, n: np.argsort(np.ptp(np.sort(p, axis=1)[:, -2:], axis=1), kind="stable")[:n],
    ),
    "confident_errors": (
        ("names otherwise", lambda p, y: p.argmax(axis=1) != y),
        ("not over all", lambda p, y: _errors(p, y, p.mean(axis=0))),
        ("one for all", lambda p, y: _errors(p, y, p[np.arange(len(y)), y].mean())),
        ("equals its threshold", lambda p, y: _errors(p, y, _limits(p, y) + 1e-12)),
        ("that no image has", lambda p, y: _errors(p, y, np.where(_limits(p, y) > 1, 0, _limits(p, y)))),
        ("label is improbable", lambda p, y: p[np.arange(len(y)), y] < _limits(p, y)[y]),
        ("not among all", lambda p, y: (p.argmax(axis=1) != y) & (p.max(axis=1) >= _limits(p, y)[p.argmax(axis=1)])),
        ("more probable", lambda p, y: ((p >= _limits(p, y)) & (np.arange(p.shape[1]) != y[:, None])).any(axis=1)),
        lambda p, y: ~solved_errors(p, y),
        lambda p, y: np.flatnonzero(solved_errors(p, y)),
        lambda p, y: _errors(p, y, 0.5),
        lambda p, y: solved_errors(p, y).astype(int) + 1,
        lambda p, y: np.where(p >= _limits(p, y), p, -1).argmax(axis=1) != y,
    ),
    "better_choice": (
        ("reach", by("random")),
        ("reach", by("typiclust")),
        ("reach", by("core_set")),
        ("reach", by("clusters")),
        ("different positions", lambda X, at, y, n: np.zeros(n, int)),
        ("different positions", lambda X, at, y, n: np.arange(n)),
        ("different positions", lambda X, at, y, n: by("random")(X, at, y, n)[:-1]),
        ("different positions", lambda X, at, y, n: None),
        ("different positions", lambda X, at, y, n: np.full(n, np.nan)),
        ("different positions", lambda X, at, y, n: ["a"] * n),
        ("raised", lambda X, at, y, n: 1 / 0),
        ("changes what it is given", lambda X, at, y, n: _spoiling(X, at, y, n)),
    ),
}  # fmt: skip


def _sorted_by(score, labelled, n):
    left = np.setdiff1d(np.arange(len(score)), labelled)
    return left[np.argsort(score[left], kind="stable")[:n]]


def _most(p, labelled, n):
    return _sorted_by(-np.ptp(np.sort(p, axis=1)[:, -2:], axis=1), labelled, n)


def _limits(p, labels):
    return np.array([p[labels == k, k].mean() if k in labels else 9.0 for k in range(p.shape[1])])


def _errors(p, labels, limits):
    sure = np.where(p >= limits, p, -1)
    return (sure.max(axis=1) >= 0) & (sure.argmax(axis=1) != labels)


def _spoiling(X, labelled, labels, n):
    X[:] = 0
    return np.arange(n)
