"""The checks of notebook 20: right answers pass, wrong ones get the sentence that names the mistake."""

import numpy as np
import torch
from scipy.linalg import orthogonal_procrustes
from sklearn.linear_model import Ridge

from cbirkit import checks


def solved_herded(vectors, m):
    left, chosen = list(range(len(vectors))), []
    while left and len(chosen) < m:
        means = [vectors[[*chosen, one]].mean(axis=0) for one in left]
        gaps = [round(float(np.linalg.norm(mean - vectors.mean(axis=0))), 9) for mean in means]
        chosen.append(left.pop(gaps.index(min(gaps))))
    return np.array(chosen, dtype=int)


def unit(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def solved_map(old, new):
    a, b, n = unit(old), unit(new), max(old.shape[1], new.shape[1])
    padded = [np.pad(side, ((0, 0), (0, n - side.shape[1]))) for side in (a, b)]
    u, _, v = np.linalg.svd(padded[0].T @ padded[1])
    return _thin(u, v, a, b)


def _thin(u, v, a, b):
    k = min(a.shape[1], b.shape[1])
    return (u[:, :k] @ v[:k])[: a.shape[1], : b.shape[1]]


def smoothed(old, new, database, k=10):
    mapped = unit(database @ solved_map(old, new))
    near = np.argsort(-(database @ database.T), axis=1)[:, :k]
    return mapped[near].mean(axis=1)


def solved_forgetting(scores):
    n, lost, change = len(scores), 0.0, 0.0
    for j in range(n - 1):
        lost += max(scores[t, j] for t in range(n - 1)) - scores[n - 1, j]
        change += scores[n - 1, j] - scores[j, j]
    return lost / max(n - 1, 1), change / max(n - 1, 1)


CHECKS = {
    "forgetting": (checks.check_forgetting, solved_forgetting),
    "herded": (checks.check_herded, solved_herded),
    "upgrade_map": (checks.check_upgrade_map, solved_map),
}


def herded_by_sum(vectors, m):
    total, rows, target = 0.0, [], np.mean(vectors, axis=0)
    for k in range(min(m, len(vectors))):
        gaps = np.linalg.norm((total + vectors) / (k + 1) - target, axis=1).round(9)
        gaps[rows] = np.inf
        rows.append(int(gaps.argmin()))
        total = total + vectors[rows[-1]]
    return rows


def herded_in_torch(vectors, m):
    X = torch.from_numpy(vectors).double()
    rows, free = [], torch.ones(len(X), dtype=bool)
    for k in range(min(m, len(X))):
        gaps = ((X[rows].sum(0) + X) / (k + 1) - X.mean(0)).norm(dim=1).numpy().round(9)
        rows.append(int(np.where(free.numpy(), gaps, np.inf).argmin()))
        free[rows[-1]] = False
    return torch.tensor(rows, dtype=torch.long)


def map_in_torch(old, new):
    a, b = (
        torch.nn.functional.normalize(torch.from_numpy(side * 1.0), dim=1) for side in (old, new)
    )
    u, _, v = torch.linalg.svd(a.T @ b, full_matrices=False)
    return u @ v


def map_by_polar(old, new):
    M = unit(old).T @ unit(new)
    small = M if M.shape[0] <= M.shape[1] else M.T
    values, vectors = np.linalg.eigh(small @ small.T)
    out = vectors @ np.diag(values**-0.5) @ vectors.T @ small
    return out if small is M else out.T


def ridge_smoothed(old, new, database):
    mapped = unit(Ridge(1.0, fit_intercept=False).fit(old, new).predict(database))
    near = np.argsort(-(database @ database.T), axis=1)[:, :15]
    return mapped[near].mean(axis=1)


def weighted(old, new, database):
    mapped, alike = unit(database @ solved_map(old, new)), database @ database.T
    alike = np.where(alike >= np.sort(alike, axis=1)[:, -12:-11], alike**3, 0)
    return alike @ mapped


def forgetting_in_torch(scores):
    a = torch.from_numpy(scores)
    if len(a) == 1:
        return [0, 0]
    lost, change = a[:-1].amax(0) - a[-1], a[-1] - a.diagonal()
    return [float(lost[:-1].mean()), float(change[:-1].mean())]


def forgetting_in_loops(scores):
    lost, change, last = [], [], len(scores) - 1
    for j in range(last):
        lost.append(max(row[j] for row in scores[:last]) - scores[last][j])
        change.append(scores[last][j] - scores[j][j])
    return (sum(lost) / last, sum(change) / last) if last else (0.0, 0.0)


def changed(fault):
    """The right numbers from spoilt scores."""
    return lambda scores: solved_forgetting(fault(scores))


def without(fault):
    """The right map, spoilt."""
    return lambda old, new: fault(solved_map(old, new))


def worse(change):
    """Mapped by Procrustes, then changed."""
    return lambda old, new, database: change(unit(database @ solved_map(old, new)))


RIGHT = {
    "forgetting": (
        forgetting_in_torch,
        forgetting_in_loops,
        lambda a: np.array(solved_forgetting(a)),
        lambda a: list(solved_forgetting(a)),
    ),
    "herded": (
        herded_by_sum,
        herded_in_torch,
        lambda X, m: tuple(solved_herded(X, m)),
        lambda X, m: solved_herded(X, m).astype(float),
    ),
    "upgrade_map": (
        map_in_torch,
        map_by_polar,
        lambda *a: solved_map(*a).astype(np.float32),
        lambda *a: solved_map(*a).tolist(),
    ),
    "better_map": (
        smoothed,
        ridge_smoothed,
        weighted,
        lambda *a: torch.from_numpy(smoothed(*a, k=6)),
        lambda *a: smoothed(*a).astype(np.float32),
    ),
}

WRONG = {
    "forgetting": (
        lambda a: solved_forgetting(a)[::-1],
        lambda a: solved_forgetting(a)[0],
        lambda a: (solved_forgetting(a)[0], -solved_forgetting(a)[1]),
        lambda a: (-solved_forgetting(a)[1], solved_forgetting(a)[1]),
        lambda a: (max(solved_forgetting(a)[0], 0), solved_forgetting(a)[1]),
        lambda a: (a.max(axis=0) - a[-1], a[-1] - np.diagonal(a)),
        lambda a: ((a.max(axis=0) - a[-1])[:-1].mean(), solved_forgetting(a)[1]),
        lambda a: ((a[:-1].max(axis=0) - a[-1]).mean(), (a[-1] - np.diagonal(a)).mean()),
        lambda a: ((a[0] - a[-1])[:-1].mean(), solved_forgetting(a)[1]),
        lambda a: ((a[-2] - a[-1])[:-1].mean(), solved_forgetting(a)[1]),
        lambda a: tuple(100 * part for part in solved_forgetting(a)),
        changed(np.transpose),
        changed(np.tril),
        changed(lambda a: a[::-1]),
        changed(lambda a: a[:-1, :-1]),
    ),
    "herded": (
        lambda X, m: np.arange(min(m, len(X))),
        lambda X, m: np.argsort(np.linalg.norm(X - X.mean(axis=0), axis=1))[:m],
        lambda X, m: np.random.RandomState(0).permutation(len(X))[:m],
        lambda X, m: solved_herded(X, m + 1),
        lambda X, m: solved_herded(X, m - 1),
        lambda X, m: solved_herded(X, m) + 1,
        lambda X, m: np.resize(solved_herded(X, m), m),
        lambda X, m: solved_herded(X - X.min(axis=0), m)[:: max(m % 2, 1) * -1],
        lambda X, m: solved_herded(np.abs(X), m),
        lambda X, m: np.sort(solved_herded(X, m)),
        lambda X, m: X[solved_herded(X, m)].mean(axis=0),
        lambda X, m: solved_herded(X[:, :1], m),
    ),
    "upgrade_map": (
        lambda old, new: np.eye(old.shape[1], new.shape[1]),
        lambda old, new: solved_map(old, new) * 2,
        without(np.negative),
        without(lambda R: R.T),
        without(np.round),
        without(lambda R: R[::-1]),
        without(lambda R: R[:, ::-1]),
        lambda old, new: solved_map(old - old.mean(axis=0), new - new.mean(axis=0)),
        lambda old, new: solved_map(old[::-1], new),
        lambda old, new: np.linalg.pinv(unit(old)) @ unit(new),
        lambda old, new: orthogonal_procrustes(old[:, : new.shape[1]], new[:, : old.shape[1]])[0],
        lambda old, new: solved_map(new, old),
    ),
    "better_map": (
        ("reach", worse(lambda mapped: mapped)),
        ("of shape", lambda old, new, database: database),
        ("of shape", worse(np.transpose)),
        ("finite", worse(lambda mapped: mapped * np.nan)),
        ("expected numbers", lambda old, new, database: "vectors"),
        ("reach", worse(lambda mapped: mapped[::-1])),
        ("reach", worse(lambda mapped: mapped - mapped.mean(axis=0))),
        ("reach", worse(np.abs)),
        ("reach", worse(np.sign)),
        ("reach", lambda old, new, database: np.pad(database, ((0, 0), (0, 128)))),
        ("reach", lambda old, new, database: database @ np.linalg.lstsq(old, new, rcond=None)[0]),
        ("of shape", worse(lambda mapped: mapped[:-1])),
    ),
}
