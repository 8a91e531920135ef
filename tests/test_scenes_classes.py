"""The shapes of the scenes: classes, splits, outlines, distance fields."""

from collections import Counter

import numpy as np
import pytest

from cbirkit.datasets.scenes import FAMILIES, scene_classes
from cbirkit.datasets.scenes.classes import classes_of, outline, rim
from cbirkit.datasets.scenes.draws import bell_noise, uniforms
from cbirkit.datasets.scenes.fields import CELLS, HALF, REACH, distance_field, sample, sample_points

CLASSES = scene_classes()


def test_six_families_of_eight_classes_two_thirds_of_each_seen():
    assert Counter(c.family for c in classes_of("all")) == dict.fromkeys(FAMILIES, 8)
    assert len(FAMILIES) == 6 and len({c.name for c in CLASSES}) == len(CLASSES)
    assert Counter(c.group for c in CLASSES) == {
        "seen": 32,
        "unseen": 16,
        "generic": 32,
        "clutter": 6,
    }
    assert sorted(Counter(c.family for c in classes_of("unseen")).values()) == [2, 2, 3, 3, 3, 3]
    assert [c.index for c in CLASSES] == list(range(len(CLASSES)))
    assert not {c.family for c in classes_of("generic")} & set(FAMILIES)


def test_the_unseen_classes_stay_the_same():
    assert [c.name for c in classes_of("unseen")] == [
        "blob3", "blob4", "blob5-long", "polygon5-long", "polygon6", "star5-long", "star6-long", "star8",
        "flower4", "flower4-long", "flower6-long", "ringed1", "ringed4", "limbed3", "limbed4-long", "limbed5-long",
    ]  # fmt: skip


def naive_inside(loops, point):
    """Even-odd rule, one edge at a time."""
    x, y = point
    inside = False
    for loop in loops:
        for (x0, y0), (x1, y1) in zip(loop, np.roll(loop, -1, axis=0), strict=True):
            if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                inside = not inside
    return inside


def naive_distance(loops, point):
    """Distance to the nearest of all edges."""
    best = np.inf
    for loop in loops:
        for a, b in zip(loop, np.roll(loop, -1, axis=0), strict=True):
            t = np.clip(np.dot(point - a, b - a) / max(np.dot(b - a, b - a), 1e-15), 0, 1)
            best = min(best, np.linalg.norm(point - a - t * (b - a)))
    return best


@pytest.mark.parametrize(
    "name", ["polygon4-long", "star5", "ringed3", "limbed6-long", "cup", "clutter quarter"]
)
def test_distance_field_against_a_naive_loop(name):
    index = next(c.index for c in CLASSES if c.name == name)
    field, loops = distance_field(index), outline(index)
    rng = np.random.default_rng(0)
    for row, column in rng.integers(CELLS // 4, 3 * CELLS // 4, size=(12, 2)):
        point = (np.array([column, row]) + 0.5) * (2 * HALF / CELLS) - HALF
        expected = min(naive_distance(loops, point), REACH) * (
            1 if naive_inside(loops, point) else -1
        )
        assert field[row, column] == pytest.approx(expected, abs=0.004)


@pytest.mark.parametrize("shape", CLASSES, ids=lambda c: c.name)
def test_every_shape_has_the_area_of_a_unit_disc_and_is_centred(shape):
    """By counting cells of the field, which knows nothing of how outlines are normalised."""
    field = distance_field(shape.index)
    rows, columns = np.nonzero(field > 0)
    assert len(rows) * (2 * HALF / CELLS) ** 2 == pytest.approx(np.pi, rel=0.03)
    assert abs(rows.mean() - (CELLS - 1) / 2) < 0.6 and abs(columns.mean() - (CELLS - 1) / 2) < 0.6
    assert (field[[0, -1]] < 0).all() and (field[:, [0, -1]] < 0).all()
    assert np.abs(rim(shape.index)).max() < HALF


def test_holes_are_outside():
    index = next(c.index for c in CLASSES if c.name == "ringed1")
    middle = distance_field(index)[CELLS // 2, CELLS // 2]
    assert middle < -0.3


def test_no_two_classes_look_the_same():
    """At best overlap of any two upright classes, a part of the area still differs."""
    masks = (
        np.stack([distance_field(c.index) > 0 for c in classes_of("all")])
        .reshape(48, -1)
        .astype(float)
    )
    common = masks @ masks.T
    overlap = common / (masks.sum(1)[:, None] + masks.sum(1) - common)
    np.fill_diagonal(overlap, 0)
    assert overlap.max() < 0.95


def test_sampling_a_field_is_linear_between_centres():
    field = np.random.default_rng(0).normal(size=(CELLS, CELLS)).astype(np.float32)
    step = 2 * HALF / CELLS
    x = np.float32((50 + 0.5 + 0.25) * step - HALF)
    y = np.float32((70 + 0.5 + 0.5) * step - HALF)
    mean = (0.75 * (field[70, 50] + field[71, 50]) + 0.25 * (field[70, 51] + field[71, 51])) / 2
    assert sample(field, np.array([x]), np.array([y]))[0] == pytest.approx(mean, abs=1e-3)
    far = sample(field, np.array([-9, 9], dtype=np.float32), np.array([-9, 9], dtype=np.float32))
    assert far == pytest.approx([field[0, 0], field[-1, -1]], abs=0.02)


def test_sample_points_lie_inside_and_are_spread():
    for name in ("star4-long", "ringed2", "blob3"):
        index = next(c.index for c in CLASSES if c.name == name)
        points = sample_points(index)
        assert points.shape == (128, 2)
        assert sum(naive_inside(outline(index), p) for p in points) == 128
        assert np.abs(points.mean(axis=0)).max() < 0.05


@pytest.mark.parametrize(
    ("classes", "words"),
    [("every", "all, seen, unseen, generic"), (["star5", "comet"], "'comet'"), ([], "at least one"),
     (["star5", "star5"], "once")],
)  # fmt: skip
def test_unknown_classes_are_refused(classes, words):
    with pytest.raises(ValueError, match=words):
        classes_of(classes)


def test_draws_depend_on_all_of_the_key():
    assert np.array_equal(uniforms(5, 1, 2), uniforms(9, 1, 2)[:5])
    assert len({tuple(uniforms(3, *key)) for key in [(1, 2), (2, 1), (1, 3), (1, 2, 0, 1)]}) == 4
    many = uniforms(20000, 0)
    assert many.min() >= 0 and many.max() < 1 and abs(many.mean() - 0.5) < 0.01


def test_bell_noise_is_nearly_normal():
    noise = bell_noise((3, 100, 101), 5)
    assert noise.dtype == np.float32 and noise.shape == (3, 100, 101)
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02
    assert 0.66 < (np.abs(noise) < 1).mean() < 0.70
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.03
