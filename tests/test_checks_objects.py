"""The checks of notebook 14: right answers pass, wrong ones get the sentence that names the mistake."""

import numpy as np
import pytest

from cbirkit import checks
from cbirkit.checks import objects
from cbirkit.objects import Region, non_maximum_suppression, pool_regions


def solved_pooling(feature_map, mask):
    return pool_regions(feature_map, [Region.from_mask(mask)])[0]


def solved_distances(distances, owners, n_images):
    best = np.full(n_images, np.inf)
    np.minimum.at(best, owners, distances)
    return best


CHECKS = {
    "pooling": (checks.check_masked_pooling, objects.POOLING_MISTAKES, solved_pooling),
    "distances": (checks.check_image_distances, objects.DISTANCE_MISTAKES, solved_distances),
    "suppression": (checks.check_suppressed, objects.SUPPRESSION_MISTAKES, non_maximum_suppression),
}


@pytest.mark.parametrize("name", CHECKS)
def test_right_answers_pass(name):
    check, _, solved = CHECKS[name]
    verdict = check(solved)
    assert verdict.passed, verdict


@pytest.mark.parametrize(
    ("name", "number"), [(n, i) for n, (_, mistakes, _) in CHECKS.items() for i in range(len(mistakes))]
)
def test_mistakes_are_rejected_and_named(name, number):
    check, mistakes, _ = CHECKS[name]
    verdict = check(mistakes[number].answer)
    assert verdict.status == "not yet" and mistakes[number].sentence in verdict.message, verdict


@pytest.mark.parametrize("name", CHECKS)
def test_a_stub_is_not_attempted(name):
    def stub(*arguments):
        raise NotImplementedError

    assert CHECKS[name][0](stub).status == "not attempted"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("answer", [lambda *a: None, lambda *a: a[0], lambda: 1, lambda *a: a[99]])
def test_nonsense_is_rejected_without_an_exception(name, answer):
    verdict = CHECKS[name][0](answer)
    assert verdict.status == "not yet" and verdict.message


MUTANTS = (
    ("pooling", lambda f, m: solved_pooling(f, m) ** 2),
    ("pooling", lambda f, m: f.mean(axis=(1, 2)) / np.linalg.norm(f.mean(axis=(1, 2))) * m.mean()),
    ("pooling", lambda f, m: solved_pooling(f, m.T) if m.shape[0] == m.shape[1] else solved_pooling(f, m)),
    ("distances", lambda d, o, n: np.sort(solved_distances(d, o, n))),
    ("distances", lambda d, o, n: solved_distances(d, o, n)[np.isfinite(solved_distances(d, o, n))]),
    ("distances", lambda d, o, n: -solved_distances(-d, o, n)),
    ("suppression", lambda b, s, iou: np.sort(non_maximum_suppression(b, s, iou))),
    ("suppression", lambda b, s, iou: non_maximum_suppression(b, s, 0.5)),
    ("suppression", lambda b, s, iou: non_maximum_suppression(b, s, iou)[:1]),
)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "answer"), MUTANTS)
def test_other_wrong_answers_are_rejected(name, answer):
    verdict = CHECKS[name][0](answer)
    assert verdict.status == "not yet", verdict
