"""The checks of notebook 07: right answers pass, wrong ones get the sentence that names the mistake."""

import itertools

import numpy as np
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


def test_an_answer_that_changes_what_it_is_given_is_told():
    def changing(distances, labels, margin):
        right = solved_semi_hard(distances, labels, margin)
        np.fill_diagonal(distances, 9.0)
        return right

    assert "work on a copy" in checks.check_semi_hard(changing).message
