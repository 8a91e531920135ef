"""The checks of notebook 15: right answers pass, wrong ones get the sentence that names the mistake."""

from itertools import product

import numpy as np
import pytest
import torch
from sklearn.preprocessing import normalize

from cbirkit import checks
from cbirkit.checks.context_and_scenes import BETWEEN_MISTAKES, PLACE_MISTAKES, SETS_MISTAKES


def between_by_broadcast(scores, x):
    if len(x) < 3:
        return -np.inf
    a, b, c = x[:, None, None], x[None, :, None], x[None, None, :]
    total = scores[:, 0][:, None, None] + scores[:, 1][None, :, None] + scores[:, 2][None, None, :]
    return np.where(((b < a) & (a < c)) | ((c < a) & (a < b)), total, -np.inf).max()


def between_by_sides(scores, x):
    """For each A, the best of B and C on either side."""
    best = -np.inf
    for a, at in zip(scores[:, 0], x, strict=True):
        left, right = scores[x < at], scores[x > at]
        if len(left) and len(right):
            best = max(
                best,
                a + left[:, 1].max() + right[:, 2].max(),
                a + left[:, 2].max() + right[:, 1].max(),
            )
    return best


def sets_by_loops(distances, k):
    n = len(distances)

    def mutual(i, k):
        reach = [sorted(distances[j])[k] for j in range(n)]
        return {j for j in range(n) if distances[i, j] <= min(reach[i], reach[j])}

    out = np.zeros((n, n), bool)
    for i in range(n):
        mine = mutual(i, k)
        for j in mine:
            other = mutual(j, k // 2)
            if 3 * len(other & mine) >= 2 * len(other):
                out[i, list(other)] = True
        out[i, list(mine)] = True
    return out


def sets_in_torch(distances, k):
    distances = torch.from_numpy(distances)

    def mutual(k):
        near = distances <= distances.sort(dim=1).values[:, k : k + 1]
        return near & near.T

    sets, halves = mutual(k).double(), mutual(k // 2).double()
    joins = (sets > 0) & (3 * sets @ halves.T >= 2 * halves.sum(dim=1) - 1e-9)
    return (sets + joins.double() @ halves) > 0


def soft_pair(names, x, first, second, power=5.0, total=False):
    """Probabilities of the names, and the best (or all) ordered pairs."""
    chances = np.exp(power * names)
    chances /= chances.sum(axis=1, keepdims=True)
    both = np.where(x[:, None] < x[None], chances[:, None, first] * chances[None, :, second], 0)
    return both.sum() if total else both.max()


def placeless(vectors, place):
    _, numbers = np.unique(place, return_inverse=True)
    sums = np.zeros((numbers.max() + 1, vectors.shape[1]))
    np.add.at(sums, numbers, vectors)
    return normalize(vectors - (sums / np.bincount(numbers)[:, None])[numbers])


def placeless_in_torch(vectors, place):
    rest = torch.from_numpy(vectors.copy())
    for one in set(place.tolist()):
        mine = torch.from_numpy(place == one)
        rest[mine] -= rest[mine].mean(dim=0)
    return torch.nn.functional.normalize(rest, dim=1)


CHECKS = {
    "without_place": (checks.check_without_place, placeless),
    "between_score": (checks.check_between_score, between_by_broadcast),
    "reciprocal_sets": (checks.check_reciprocal_sets, sets_in_torch),
}
RIGHT = {
    "without_place": [
        placeless,
        placeless_in_torch,
        lambda v, p: placeless(v, p).tolist(),
        lambda v, p: placeless(v, p).astype(np.float32),
    ],
    "between_score": [
        between_by_broadcast,
        between_by_sides,
        lambda s, x: np.float64(between_by_sides(s, x)),
        lambda s, x: torch.tensor(float(between_by_sides(s, -x)), dtype=torch.float64),
    ],
    "reciprocal_sets": [
        sets_by_loops,
        sets_in_torch,
        lambda d, k: sets_by_loops(d, k).tolist(),
        lambda d, k: np.asfortranarray(sets_by_loops(d, k)),
    ],
    "better_relation": [
        soft_pair,
        lambda *given: soft_pair(*given, total=True),
        lambda *given: np.float32(soft_pair(*given, power=6.0)),
        lambda *given: torch.tensor(soft_pair(*given, power=4.0)),
    ],
}


def changing_its_input(distances, k):
    out = sets_by_loops(distances, k)
    distances[:] = 0
    return out


def best_pair(names, x, first, second):
    both = names[:, None, first] + names[None, :, second]
    return np.where(x[:, None] < x[None], both, -np.inf).max()


WRONG = {
    "without_place": [
        *PLACE_MISTAKES.items(),
        lambda v, p: placeless(v, np.sort(p)),
        lambda v, p: placeless(v[:, ::-1], p),
        lambda v, p: -placeless(v, p),
        lambda v, p: placeless(np.abs(v), p),
        lambda v, p: placeless(v, p) ** 2,
        ("return", lambda v, p: None),
    ],
    "between_score": [
        *BETWEEN_MISTAKES.items(),
        lambda s, x: between_by_broadcast(s, np.sort(x)),
        lambda s, x: between_by_broadcast(s[:, ::-1], x),
        lambda s, x: abs(between_by_broadcast(s, x)),
        ("return", lambda s, x: None),
    ],
    "reciprocal_sets": [
        *SETS_MISTAKES.items(),
        lambda d, k: ~sets_by_loops(d, k),
        ("true/false", lambda d, k: sets_by_loops(d, k).astype(int)),
        lambda d, k: sets_by_loops(-d, k),
        ("changed its input", changing_its_input),
    ],
    "better_relation": [
        ("your mAP is", best_pair),
        ("your mAP is", lambda *given: -soft_pair(*given)),
        ("your mAP is", lambda n, x, a, b: soft_pair(n, -x, a, b)),
        ("your mAP is", lambda n, x, a, b: soft_pair(n, x, b, a)),
        ("your mAP is", lambda n, x, a, b: n[:, a].max() + n[:, b].max()),
        ("your mAP is", lambda *given: 0.0),
        ("your mAP is", lambda *given: soft_pair(*given, power=0.5)),
        ("your mAP is", lambda *given: float(soft_pair(*given) > 0.5)),
        ("your mAP is", lambda n, x, a, b: best_pair(n - n.max(axis=1, keepdims=True), x, a, b)),
        ("your mAP is", lambda n, x, a, b: n[:, b].max()),
        ("NaN", lambda *given: float("nan")),
        ("one number", lambda *given: None),
        ("one number", lambda n, x, a, b: n[0]),
        ("one number", lambda *given: "near"),
        ("ZeroDivisionError", lambda *given: 1 / 0),
        ("function", 3),
    ],
}


def test_ten_mistakes_of_each_exercise_are_known_by_name():
    assert min(len(BETWEEN_MISTAKES), len(PLACE_MISTAKES), len(SETS_MISTAKES)) >= 10


def test_no_mistake_is_another_one():
    """Two that are the same on all cases could not be told apart."""
    from cbirkit.checks.context_and_scenes import _between_cases, _sets_cases

    for mistakes, cases in ((BETWEEN_MISTAKES, _between_cases), (SETS_MISTAKES, _sets_cases)):
        given = [[m(*arguments) for _, *arguments in cases()] for m in mistakes.values()]
        for a, b in product(range(len(given)), repeat=2):
            assert a == b or not all(map(np.array_equal, given[a], given[b])), (a, b)


@pytest.mark.parametrize("check", [checks.check_better_relation])
def test_a_stub_is_not_attempted(check):
    def stub(*arguments):
        raise NotImplementedError

    assert check(stub).status == "not attempted"
