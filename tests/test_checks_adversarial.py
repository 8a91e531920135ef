"""The checks of notebook 22: right answers pass, wrong ones get the sentence that names the mistake."""

import numpy as np
import pytest
import torch

from cbirkit import checks
from cbirkit.attacks.bounds import Ball
from cbirkit.checks import adversarial


def solved_recall(hits):
    return sum(min(column) for column in np.asarray(hits).T.tolist()) / hits.shape[1]


def solved_step(at, gradient, clean, size, epsilon):
    """By the ball that the attacks of the package use."""
    at, gradient, clean = (torch.from_numpy(values) for values in (at, gradient, clean))
    return Ball(clean, epsilon, "linf").step(at, gradient, size).numpy()


def solved_attack(normalised, gradient, epsilon, mean, std):
    out = np.empty_like(normalised)
    for image in range(len(normalised)):
        for channel in range(3):
            pixels = normalised[image, channel] * std[channel] + mean[channel]
            moved = pixels + epsilon * np.sign(gradient[image, channel])
            out[image, channel] = (np.minimum(np.maximum(moved, 0), 1) - mean[channel]) / std[channel]
    return out


CHECKS = {
    "robust_recall": (checks.check_robust_recall, adversarial.RECALL_MISTAKES, solved_recall),
    "pgd_step": (checks.check_pgd_step, adversarial.STEP_MISTAKES, solved_step),
    "mended_attack": (checks.check_mended_attack, adversarial.NORMALISED_MISTAKES, solved_attack),
}


MUTANTS = (
    ("robust_recall", lambda hits: 1 - solved_recall(hits)),
    ("robust_recall", lambda hits: float(np.prod(hits.mean(axis=1)))),
    ("robust_recall", lambda hits: 100 * solved_recall(hits)),
    ("pgd_step", lambda at, g, clean, size, eps: solved_step(at, g, clean, eps, eps)),
    ("pgd_step", lambda at, g, clean, size, eps: solved_step(at, g, clean, size, size)),
    ("pgd_step", lambda at, g, clean, size, eps: solved_step(at, np.where(g < 0, -1.0, 1.0), clean, size, eps)),
    ("pgd_step", lambda at, g, clean, size, eps: solved_step(at, g, clean, size, eps) - clean),
    ("mended_attack", lambda x, g, eps, mean, std: solved_attack(x, -g, eps, mean, std)),
    ("mended_attack", lambda x, g, eps, mean, std: solved_attack(x, g, eps, std, mean)),
    ("mended_attack", lambda x, g, eps, mean, std: solved_attack(x, g, eps / 2, mean, std)),
)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "answer"), MUTANTS)
def test_other_wrong_answers_are_rejected(name, answer):
    assert CHECKS[name][0](answer).status == "not yet"
