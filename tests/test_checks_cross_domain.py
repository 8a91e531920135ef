"""The checks of notebook 17: right answers pass, wrong ones get the sentence that names the mistake."""

import numpy as np
import torch

from cbirkit import checks
from cbirkit.checks.cross_domain import CORAL_MISTAKES, RANK_MISTAKES


def coral_by_loops(source, target):
    def covariance(rows):
        n, d = rows.shape
        means = [sum(rows[:, j]) / n for j in range(d)]
        table = np.zeros((d, d))
        for i in range(d):
            for j in range(d):
                table[i, j] = (
                    sum((rows[r, i] - means[i]) * (rows[r, j] - means[j]) for r in range(n)) / n
                )
        return table

    a, b = covariance(source), covariance(target)
    return sum((x - y) ** 2 for x, y in zip(a.ravel(), b.ravel(), strict=True)) / (4 * len(a) ** 2)


def coral_in_numpy(source, target):
    a, b = (np.atleast_2d(np.cov(rows, rowvar=False, ddof=0)) for rows in (source, target))
    return np.linalg.norm(a - b) ** 2 / (4 * source.shape[1] ** 2)


def coral_in_torch(source, target):
    parts = []
    for rows in map(torch.from_numpy, (source, target)):
        mean = rows.mean(dim=0)
        parts.append(rows.T @ rows / len(rows) - torch.outer(mean, mean))
    return ((parts[0] - parts[1]) / (2 * source.shape[1])).square().sum()


def rank_by_loops(right, other):
    total = []
    for is_right, is_other in zip(right, other, strict=True):
        rank, value = 0, 0.0
        for r, o in zip(is_right, is_other, strict=True):
            rank += bool(o)
            if r and o:
                value = 1 / rank
                break
        total.append(value)
    return sum(total) / len(total) if total else float("nan")


def rank_in_lists(right, other):
    found = []
    for r, o in zip(right.tolist(), other.tolist(), strict=True):
        kept = [one for one, is_other in zip(r, o, strict=True) if is_other]
        found.append(1 / (kept.index(True) + 1) if True in kept else 0)
    return np.float64(np.mean(found)) if found else np.nan


def rank_at_once(right, other):
    if not len(right):
        return float("nan")
    ranks = np.where(right & other, other.cumsum(axis=1), np.inf)
    return (1 / ranks.min(axis=1, initial=np.inf)).mean()


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def centred(drawings, photographs):
    return [unit(rows - rows.mean(axis=0)) for rows in (drawings, photographs)]


def smoothed(drawings, photographs, k=10):
    """Each vector becomes the mean of its nearest in its own domain."""
    sides = centred(drawings, photographs)
    return tuple(rows[np.argsort(-rows @ rows.T, axis=1)[:, :k]].mean(axis=1) for rows in sides)


CHECKS = {
    "coral_distance": (checks.check_coral_distance, coral_in_numpy),
    "reciprocal_rank_across": (checks.check_reciprocal_rank_across, rank_by_loops),
}
RIGHT = {
    "coral_distance": (
        coral_by_loops,
        coral_in_torch,
        lambda *a: float(coral_by_loops(*a)),
        lambda *a: np.array(coral_in_numpy(*a)),
    ),
    "reciprocal_rank_across": (
        rank_in_lists,
        rank_at_once,
        lambda *a: torch.tensor(rank_by_loops(*a)),
        lambda *a: np.float32(rank_by_loops(*a)),
    ),
    "better_alignment": (
        smoothed,
        lambda a, b: list(smoothed(a, b, 5)),
        lambda a, b: tuple(map(torch.from_numpy, smoothed(a, b))),
        lambda a, b: tuple(side.astype(np.float32) for side in smoothed(a, b, 20)),
    ),
}


def recoloured(drawings, photographs):
    """CORAL without shrinkage to speak of."""
    a, b = centred(drawings, photographs)
    (u, v), (w, x) = (
        np.linalg.eigh(rows.T @ rows / len(rows) + 1e-4 * np.eye(256)) for rows in (a, b)
    )
    return a @ (v / np.sqrt(u)) @ v.T @ (x * np.sqrt(w)) @ x.T, b


WRONG = {
    "coral_distance": [
        *CORAL_MISTAKES.items(),
        ("return", lambda s, t: None),
        ("single number", lambda s, t: np.cov(s.T)),
        ("ZeroDivisionError", lambda s, t: 1 / 0),
        ("function", "no function"),
    ],
    "reciprocal_rank_across": [
        *RANK_MISTAKES.items(),
        ("return", lambda r, o: None),
        ("single number", lambda r, o: (r & o).argmax(axis=1)),
        ("function", 3),
    ],
    "better_alignment": [
        ("your mAP is", lambda a, b: (a, b)),
        ("your mAP is", centred),
        ("your mAP is", recoloured),
        (
            "your mAP is",
            lambda a, b: (b[: len(a)] if len(b) >= len(a) else np.resize(b, a.shape), b),
        ),
        ("your mAP is", lambda a, b: (-a, b)),
        ("shapes", lambda a, b: (b, a[:-1])),
        ("shapes", lambda a, b: (a, b[:, :-1])),
        ("shapes", lambda a, b: (a, b[:-1])),
        ("two arrays", lambda a, b: None),
        ("two arrays", lambda a, b: "aligned"),
        ("finite", lambda a, b: (a * np.nan, b)),
        ("copy", lambda a, b: (a.fill(0), b)),
        ("ZeroDivisionError", lambda a, b: 1 / 0),
        ("function", 3),
    ],
}


def stub(*arguments):
    raise NotImplementedError


def test_a_stub_is_not_attempted():
    for check, _ in CHECKS.values():
        assert check(stub).status == "not attempted"
    assert checks.check_better_alignment(stub).status == "not attempted"


def test_ten_mistakes_of_each_exercise_are_known_by_name():
    assert min(len(CORAL_MISTAKES), len(RANK_MISTAKES)) >= 10
