"""The checks of notebook 09: right answers pass, wrong ones do not, and known mistakes are named."""

import numpy as np
import pytest
import torch

from cbirkit import checks
from cbirkit.checks import attention


def pooled(feature_map, scores, valid):
    weights = np.logaddexp(0, scores) * valid
    return (feature_map * weights).sum(axis=(1, 2)) / weights.sum()


def pooled_by_loops(feature_map, scores, valid):
    total, weight = [0.0] * len(feature_map), 0.0
    for y, x in np.argwhere(valid):
        own = max(scores[y, x], 0) + np.log1p(np.exp(-abs(scores[y, x])))
        weight += own
        total = [t + own * value for t, value in zip(total, feature_map[:, y, x], strict=True)]
    return [t / weight for t in total]


def pooled_by_torch(feature_map, scores, valid):
    weights = torch.nn.functional.softplus(torch.from_numpy(scores).double())
    weights = weights[torch.from_numpy(valid)]
    return torch.from_numpy(feature_map[:, valid]) @ weights / weights.sum()


def pixels(weights, mask):
    rows, columns = np.nonzero(weights == weights.max())
    rows = ((rows + 0.5) * mask.shape[0] / weights.shape[0]).astype(int)
    return rows, ((columns + 0.5) * mask.shape[1] / weights.shape[1]).astype(int)


def pointed(weights, mask):
    return mask[pixels(weights, mask)].mean() if mask.any() else np.nan


def pointed_by_loops(weights, mask):
    (h, w), (tall, wide), best, found = weights.shape, mask.shape, weights.max(), []
    for i in range(h):
        for j in range(w):
            if weights[i, j] == best:
                found.append(mask[(2 * i + 1) * tall // (2 * h), (2 * j + 1) * wide // (2 * w)])
    return sum(map(int, found)) / len(found) if mask.any() else float("nan")


def alike(maps):
    cells = maps.reshape(*maps.shape[:2], -1)
    cells = cells / np.linalg.norm(cells, axis=1, keepdims=True)
    return np.einsum("ncp,ncq->npq", cells, cells)


def rare(maps, power=8):
    mean = np.maximum(alike(maps), 0).mean(axis=2)
    return (mean**-power).reshape(len(maps), *maps.shape[2:])


def neighbours(maps, k=10):
    cells = maps.reshape(*maps.shape[:2], -1).transpose(0, 2, 1)
    distances = np.linalg.norm(cells[:, :, None] - cells[:, None], axis=-1)
    return (np.sort(distances, axis=2)[:, :, k] ** 6).reshape(len(maps), *maps.shape[2:])


def contrast(maps, power=6):
    return np.linalg.norm(maps - maps.mean(axis=(2, 3), keepdims=True), axis=1) ** power


RIGHT = {
    "attention_pooling": (
        pooled,
        pooled_by_loops,
        pooled_by_torch,
        lambda *a: tuple(pooled_by_loops(*a)),
        lambda *a: pooled(*a).astype(np.float32),
    ),
    "pointing": (
        pointed,
        pointed_by_loops,
        lambda w, m: np.float32(pointed(w, m)),
        lambda w, m: np.array(pointed(w, m)),
        lambda w, m: int(pointed(w, m)) if pointed(w, m) in (0, 1) else pointed(w, m),
    ),
    "rare_weights": (
        rare,
        neighbours,
        lambda m: torch.from_numpy(rare(m)),
        lambda m: rare(m).tolist(),
        lambda m: rare(m) / rare(m).sum(axis=(1, 2), keepdims=True),
    ),
}


# exercise: (check, a right answer written independently of it)
CHECKS = {
    "attention_pooling": (checks.check_attention_pooling, pooled),
    "pointing": (checks.check_pointing, pointed),
}
ALL = {name: check for name, (check, _) in CHECKS.items()}
ALL["rare_weights"] = checks.check_rare_weights


def changing(function):
    def changed(first, *others):
        value = function(first.copy(), *others)
        first *= 0
        return value

    return changed


WRONG = {
    "attention_pooling": (
        *attention.POOLING_MISTAKES.values(),
        lambda f, s, v: np.zeros(len(f)),
        lambda f, s, v: pooled(f, s, ~v) if not v.all() else f[:, 0, 0],
        lambda f, s, v: pooled(f, s, v)[:-1],
        lambda f, s, v: pooled(f, -s, v),
        lambda f, s, v: pooled(f, s, v) / np.linalg.norm(pooled(f, s, v)),
        lambda f, s, v: f * np.logaddexp(0, s) * v,
        changing(pooled),
        lambda f, s, v: None,
    ),
    "pointing": (
        *attention.POINTING_MISTAKES.values(),
        lambda w, m: 1.0,
        lambda w, m: float("nan"),
        lambda w, m: float(m.mean()),
        lambda w, m: 1 - pointed(w, m),
        lambda w, m: pointed(np.abs(w), m),
        lambda w, m: pointed(w, m[::-1]),
        lambda w, m: pointed(w, m) if m.any() else -1.0,
        changing(pointed),
        lambda w, m: None,
    ),
    "rare_weights": (
        lambda m: np.ones((len(m), *m.shape[2:])),
        lambda m: np.zeros((len(m), *m.shape[2:])),
        contrast,
        lambda m: contrast(m, 12),
        lambda m: np.linalg.norm(m, axis=1) ** 6,
        lambda m: 1 / rare(m),
        lambda m: rare(m, 1),
        lambda m: -rare(m),
        lambda m: rare(m)[:, :, ::-1],
        lambda m: rare(m).transpose(0, 2, 1),
        lambda m: rare(m).reshape(len(m), -1),
        lambda m: np.where(rare(m) > 2, np.nan, rare(m)),
        lambda m: np.linalg.norm(m - m.mean(axis=(0, 2, 3), keepdims=True), axis=1) ** 6,
        lambda m: rare(m)[::-1],
        changing(rare),
        lambda m: None,
    ),
}


WRONG = {name: [("", answer) for answer in answers] for name, answers in WRONG.items()}


@pytest.mark.parametrize("name", ALL)
def test_right_answers_are_worth_a_point_and_wrong_ones_nothing(name):
    assert all(ALL[name](answer).worth == 1 for answer in RIGHT[name])
    for words, answer in WRONG[name]:
        verdict = ALL[name](answer)
        assert not verdict.worth and len(verdict.message) > 20, words


@pytest.mark.parametrize(
    ("check", "mistakes"),
    [
        (checks.check_attention_pooling, attention.POOLING_MISTAKES),
        (checks.check_pointing, attention.POINTING_MISTAKES),
    ],
)
def test_known_mistakes_are_named(check, mistakes):
    for sentence, answer in mistakes.items():
        assert sentence in check(answer).message


def test_a_neighbour_in_the_batch_must_not_matter():
    def ranked(maps):
        return rare(maps) * (1 + len(maps) * np.arange(7))

    assert "beside it" in ALL["rare_weights"](ranked).message


@pytest.mark.parametrize("name", ALL)
def test_stubs_are_not_attempted(name):
    def stub(*arguments):
        raise NotImplementedError

    assert ALL[name](stub).status == "not attempted"
    assert ALL[name](None).status == "not yet"


def test_values_worked_by_hand():
    weights, mask = np.array([[1.0, 3.0], [3.0, 0.0]]), np.zeros((4, 4), bool)
    mask[1, 3] = True  # the centre of the upper right cell is the pixel (1, 3)
    assert attention._pointing(weights, mask) == 0.5
    assert np.isnan(attention._pointing(weights, mask & False))
