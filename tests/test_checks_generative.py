"""The checks of notebook 23: right answers pass, wrong ones get the sentence that names the mistake."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu
from sklearn.neighbors import NearestNeighbors

from cbirkit import checks, generate


def solved_coverage(real, samples, k):
    if not len(samples):
        return 0.0
    return float((cdist(real, samples).min(axis=1) <= generate.radii(real, k)).mean())


CHECKS = {
    "sample_coverage": (checks.check_sample_coverage, solved_coverage),
    "copying_score": (checks.check_copying_score, generate.copying),
}


def coverage_by_loop(real, samples, k):
    covered = 0
    for i, row in enumerate(real):
        others = sorted(np.linalg.norm(row - other) for j, other in enumerate(real) if j != i)
        radius = others[min(k, len(others)) - 1]
        covered += any(np.linalg.norm(row - sample) <= radius for sample in samples)
    return covered / len(real)


def coverage_in_torch(real, samples, k):
    real, samples = torch.from_numpy(real), torch.from_numpy(samples)
    apart = (real[:, None] - real[None]).norm(dim=2)
    apart.fill_diagonal_(torch.inf)
    k = min(k, len(real) - 1)
    radius = apart.topk(k, largest=False).values[:, -1]
    inside = (real[:, None] - samples[None]).norm(dim=2) <= radius[:, None]
    return inside.any(dim=1).double().mean()


def coverage_by_neighbours(real, samples, k):
    k = min(k, len(real) - 1)
    radius = NearestNeighbors(n_neighbors=k).fit(real).kneighbors()[0][:, -1]
    if not len(samples):
        return 0
    nearest = NearestNeighbors(n_neighbors=1).fit(samples).kneighbors(real)[0][:, 0]
    return np.mean(nearest <= radius + 1e-12)


def copying_by_loop(train, held_out, samples):
    score = 0.0
    for sample in samples:
        mine = min(np.linalg.norm(sample - row) for row in train)
        for real in held_out:
            other = min(np.linalg.norm(real - row) for row in train)
            score += 1 if mine < other else 0.5 if mine == other else 0
    return score / (len(samples) * len(held_out))


def copying_in_torch(train, held_out, samples):
    train, held_out, samples = (torch.from_numpy(rows) for rows in (train, held_out, samples))
    a, b = (
        (rows[:, None] - train[None]).square().sum(dim=2).min(dim=1).values
        for rows in (samples, held_out)
    )
    return ((a[:, None] < b).double() + (a[:, None] == b).double() / 2).mean()


def copying_by_ranks(train, held_out, samples):
    a, b = (cdist(rows, train).min(axis=1) for rows in (samples, held_out))
    return mannwhitneyu(b, a).statistic / (len(a) * len(b))


def agreeing(real, labels, samples, sample_labels):
    return labels[cdist(samples, real).argmin(axis=1)] == sample_labels


def near_the_mean(real, labels, samples, sample_labels):
    means = np.stack([real[labels == c].mean(axis=0) for c in range(10)])
    return cdist(samples, means).argmin(axis=1) == sample_labels


RIGHT = {
    "sample_coverage": (
        coverage_by_loop,
        coverage_in_torch,
        coverage_by_neighbours,
        lambda *a: np.float32(solved_coverage(*a)),
    ),
    "copying_score": (
        copying_by_loop,
        copying_in_torch,
        copying_by_ranks,
        lambda *a: np.array(generate.copying(*a)),
    ),
    "keep_samples": (
        agreeing,
        near_the_mean,
        lambda *a: np.array(near_the_mean(*a)),
        lambda *a: agreeing(*a).tolist(),
        lambda *a: torch.from_numpy(agreeing(*a)),
    ),
}

WRONG = {
    "sample_coverage": (
        lambda r, s, k: 1 - solved_coverage(r, s, k),
        lambda r, s, k: solved_coverage(r, s, k) * len(r),
        lambda r, s, k: solved_coverage(r, s, k) > 0.5,
        lambda r, s, k: solved_coverage(r, s, 1),
        lambda r, s, k: solved_coverage(r, s, 3),
        lambda r, s, k: solved_coverage(s, r, k) if len(s) > 1 else 0.0,
        lambda r, s, k: 0.0,
        lambda r, s, k: solved_coverage(r, s[:1], k),
        lambda r, s, k: solved_coverage(r, s.round(), k),
        lambda r, s, k: solved_coverage(r[:, :1], s[:, :1], k),
        ("k - 1", lambda r, s, k: solved_coverage(r, s, k - 1) if k > 1 else np.mean((cdist(r, s) == 0).any(axis=1))),
        ("raised", lambda r, s, k: np.mean((cdist(r, s) <= np.sort(cdist(r, r), axis=1)[:, [k]]).any(axis=1))),
        ("changed its input", lambda r, s, k: changed(solved_coverage, r, s, k)),
    ),
    "copying_score": (
        lambda t, h, s: 2 * generate.copying(t, h, s),
        lambda t, h, s: generate.copying(t, h, s) > 0.5,
        lambda t, h, s: 100 * generate.copying(t, h, s),
        lambda t, h, s: generate.copying(t[:1], h, s),
        lambda t, h, s: generate.copying(t, h[:1], s),
        lambda t, h, s: generate.copying(t, h, s[:1]),
        lambda t, h, s: generate.copying(np.concatenate([t, h]), h, s),
        lambda t, h, s: generate.copying(s, h, t),
        lambda t, h, s: generate.precision(t, s) if len(t) > 1 else 0.0,
        lambda t, h, s: float(cdist(s, t).min() < cdist(h, t).min()),
        lambda t, h, s: mannwhitneyu(h.ravel(), s.ravel()).statistic / (h.size * s.size),
        ("changed its input", lambda t, h, s: changed(generate.copying, t, h, s)),
    ),
    "keep_samples": (
        ("accuracy", lambda r, la, s, sl: np.ones(len(s), bool)),
        ("accuracy", lambda r, la, s, sl: np.zeros(len(s), bool)),
        ("accuracy", lambda *a: ~agreeing(*a)),
        ("accuracy", lambda r, la, s, sl: cdist(s, r).min(axis=1) < np.median(cdist(s, r).min(axis=1))),
        ("accuracy", lambda *a: agreeing(*a) & (np.arange(len(a[2])) < 20)),
        ("accuracy", lambda r, la, s, sl: sl == 3),
        ("True or False", lambda *a: np.flatnonzero(agreeing(*a))),
        ("True or False", lambda *a: agreeing(*a).astype(int)),
        ("True or False", lambda *a: agreeing(*a)[:-1]),
        ("True or False", lambda *a: None),
        ("True or False", lambda *a: "all"),
        ("copy", lambda r, la, s, sl: s.fill(0)),
        ("raised", lambda *a: 1 / 0),
    ),
}  # fmt: skip


def changed(function, first, *rest):
    value = function(first, *rest)
    first[:] = -first
    return value


def stub(*given):
    raise NotImplementedError


@pytest.mark.parametrize(
    "check", [*(check for check, _ in CHECKS.values()), checks.check_keep_samples]
)
def test_a_stub_is_not_attempted(check):
    assert check(stub).status == "not attempted"


def test_what_is_no_function_is_told():
    assert "give the function itself" in checks.check_keep_samples(0.5).message
