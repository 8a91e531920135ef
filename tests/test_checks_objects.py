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
    "masked_pooling": (checks.check_masked_pooling, objects.POOLING_MISTAKES, solved_pooling),
    "image_distances": (checks.check_image_distances, objects.DISTANCE_MISTAKES, solved_distances),
    "suppressed": (checks.check_suppressed, objects.SUPPRESSION_MISTAKES, non_maximum_suppression),
}


MUTANTS = (
    ("masked_pooling", lambda f, m: solved_pooling(f, m) ** 2),
    ("masked_pooling", lambda f, m: f.mean(axis=(1, 2)) / np.linalg.norm(f.mean(axis=(1, 2))) * m.mean()),
    ("masked_pooling", lambda f, m: solved_pooling(f, m.T) if m.shape[0] == m.shape[1] else solved_pooling(f, m)),
    ("image_distances", lambda d, o, n: np.sort(solved_distances(d, o, n))),
    ("image_distances", lambda d, o, n: solved_distances(d, o, n)[np.isfinite(solved_distances(d, o, n))]),
    ("image_distances", lambda d, o, n: -solved_distances(-d, o, n)),
    ("suppressed", lambda b, s, iou: np.sort(non_maximum_suppression(b, s, iou))),
    ("suppressed", lambda b, s, iou: non_maximum_suppression(b, s, 0.5)),
    ("suppressed", lambda b, s, iou: non_maximum_suppression(b, s, iou)[:1]),
)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "answer"), MUTANTS)
def test_other_wrong_answers_are_rejected(name, answer):
    verdict = CHECKS[name][0](answer)
    assert verdict.status == "not yet", verdict
