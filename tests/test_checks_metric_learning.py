"""The checks of notebook 07: right answers pass, wrong ones get the sentence that names the mistake."""

import itertools

import numpy as np
import pytest
import torch

from cbirkit import checks, metrics
from cbirkit.checks import metric_learning


def solved_map(relevant):
    return float(metrics.map_at_r(relevant))


def solved_semi_hard(distances, labels, margin):
    n = len(labels)
    chosen = np.zeros((n, n, n), dtype=bool)
    for a, p, q in itertools.product(range(n), repeat=3):
        if a != p and labels[a] == labels[p] and labels[a] != labels[q]:
            chosen[a, p, q] = distances[a, p] < distances[a, q] <= distances[a, p] + margin
    return chosen


def solved_gradient(anchors, positives, negatives, margin):
    a, p, q = (torch.tensor(part) for part in (anchors, positives, negatives))
    a.requires_grad_(True)
    torch.relu((a - p).norm(dim=1) - (a - q).norm(dim=1) + margin).mean().backward()
    return a.grad.numpy()


CHECKS = {
    "map_at_r": (checks.check_map_at_r, metric_learning.MAP_MISTAKES, solved_map),
    "semi_hard": (checks.check_semi_hard, metric_learning.SEMI_HARD_MISTAKES, solved_semi_hard),
    "triplet_gradient": (checks.check_triplet_gradient, metric_learning.GRADIENT_MISTAKES, solved_gradient),
}
PAIRS = [(name, n) for name, (_, mistakes, _) in CHECKS.items() for n in range(len(mistakes))]


@pytest.mark.parametrize("name", CHECKS)
def test_a_right_answer_passes(name):
    check, _, answer = CHECKS[name]
    verdict = check(answer)
    assert verdict.passed and verdict.exercise == name, verdict


@pytest.mark.parametrize(("name", "number"), PAIRS)
def test_each_known_mistake_is_rejected_by_its_own_sentence(name, number):
    check, mistakes, _ = CHECKS[name]
    verdict = check(mistakes[number].answer)
    assert verdict.status == "not yet" and verdict.message.endswith(mistakes[number].sentence), verdict


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("answer", [lambda *a: None, lambda *a: a[0], lambda: 1, lambda *a: a[99], 7])
def test_nonsense_is_rejected_without_an_exception(name, answer):
    verdict = CHECKS[name][0](answer)
    assert verdict.status == "not yet" and verdict.message


@pytest.mark.parametrize("name", CHECKS)
def test_a_stub_is_not_attempted(name):
    def stub(*arguments):
        raise NotImplementedError

    assert CHECKS[name][0](stub).status == "not attempted"


def test_an_answer_that_changes_what_it_is_given_is_told():
    def changing(distances, labels, margin):
        right = solved_semi_hard(distances, labels, margin)
        np.fill_diagonal(distances, 9.0)
        return right

    assert "work on a copy" in checks.check_semi_hard(changing).message
