"""`cbirkit.objects.Region`: boxes and masks, their overlap, and what is kept of many."""

import numpy as np
import pytest

from cbirkit.objects import Region, box_iou, keep_best, mask_iou, non_maximum_suppression


def random_masks(n, seed=0, shape=(9, 11)):
    rng = np.random.default_rng(seed)
    return [rng.random(shape) < rng.uniform(0.1, 0.9) for _ in range(n)]


def test_a_mask_comes_back_as_it_went_in():
    for mask in random_masks(20):
        region = Region.from_mask(mask)
        rows, columns = np.nonzero(mask)
        assert region.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert (region.mask == mask).all() and region.area == mask.sum()


def test_one_pixel_is_a_region():
    mask = np.zeros((5, 7), bool)
    mask[4, 6] = True
    region = Region.from_mask(mask)
    assert region.box == (6, 4, 7, 5) and region.area == 1


def test_a_region_keeps_its_own_copy_of_the_mask():
    mask = np.ones((3, 3), bool)
    region = Region.from_mask(mask)
    mask[:] = False
    assert region.area == 9


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((4, 4), bool), "empty; mark at least one pixel"),
        (np.zeros((0, 4), bool), "empty"),
        (np.ones((4, 4, 3), bool), r"shape \(height, width\), got \(4, 4, 3\)"),
        (np.full((2, 2), np.nan), "NaN"),
    ],
)
def test_masks_that_are_none_are_refused(mask, words):
    with pytest.raises(ValueError, match=words):
        Region.from_mask(mask)


def test_boxes_are_clipped_and_rounded():
    assert Region.from_box((-5, -2, 4, 3), (6, 8)).box == (0, 0, 4, 3)
    assert Region.from_box((2.4, 1.5, 99, 99), (6, 8, 3)).box == (2, 2, 8, 6)
    assert Region.from_box(np.array([0, 0, 8, 6]), (6, 8)).area == 48


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((10, 0, 14, 5), "outside the image of 8 x 6"),
        ((-9, -9, -1, -1), "outside the image"),
        ((3, 3, 3, 5), "holds no pixel"),
        ((5, 3, 2, 5), "x1 must exceed x0"),
        ((0, 0, 5), "four numbers"),
        ((0, 0, 5, float("nan")), "four numbers"),
        ((0, 0, 5, True), "four numbers"),
        ("0055", "four numbers"),
        (None, "four numbers"),
    ],
)
def test_boxes_that_are_none_are_refused(box, words):
    with pytest.raises(ValueError, match=words):
        Region.from_box(box, (6, 8))


def test_overlap_of_boxes_is_that_of_their_pixels():
    rng = np.random.default_rng(1)
    low = rng.integers(0, 6, (12, 2))
    boxes = np.concatenate([low, low + rng.integers(1, 7, (12, 2))], axis=1)
    painted = [Region.from_box(box, (14, 14)).mask for box in boxes]
    wanted = [[(a & b).sum() / (a | b).sum() for b in painted] for a in painted]
    assert np.allclose(box_iou(boxes, boxes), wanted)


def test_overlap_of_masks_is_that_of_their_pixels():
    masks = random_masks(8, seed=2)
    for a in masks:
        for b in masks:
            assert mask_iou(Region.from_mask(a), Region.from_mask(b)) == pytest.approx(
                (a & b).sum() / (a | b).sum()
            )


def test_overlap_of_empty_boxes_is_none_and_of_other_images_refused():
    assert box_iou([[3, 3, 3, 3]], [[3, 3, 3, 3]]).tolist() == [[0.0]]
    assert box_iou(np.empty((0, 4)), [[0, 0, 1, 1]]).shape == (0, 1)
    with pytest.raises(ValueError, match="compare regions of one image"):
        mask_iou(Region.from_box((0, 0, 2, 2), (4, 4)), Region.from_box((0, 0, 2, 2), (5, 5)))


def naive_suppression(boxes, scores, iou):
    order, kept = sorted(range(len(boxes)), key=lambda i: (-scores[i], i)), []
    for i in order:
        if all(box_iou([boxes[i]], [boxes[j]])[0, 0] <= iou for j in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("iou", [0.0, 0.3, 0.7])
def test_suppression_agrees_with_a_plain_loop(iou):
    rng = np.random.default_rng(3)
    for _ in range(10):
        low = rng.integers(0, 8, (15, 2))
        boxes = np.concatenate([low, low + rng.integers(2, 8, (15, 2))], axis=1)
        scores = rng.integers(0, 5, 15) / 5  # with ties
        assert non_maximum_suppression(boxes, scores, iou).tolist() == naive_suppression(
            boxes, scores, iou
        )
    assert non_maximum_suppression(np.empty((0, 4)), []).tolist() == []


def test_keep_best_drops_the_worse_of_two_that_are_nearly_the_same():
    boxes = [(0, 0, 4, 4), (0, 0, 4, 5), (6, 6, 9, 9)]
    regions = [
        Region.from_box(box, (9, 9), score)
        for box, score in zip(boxes, (0.5, 0.9, 0.1), strict=True)
    ]
    assert [r.score for r in keep_best(regions, iou=0.7)] == [0.9, 0.1]
    assert [r.score for r in keep_best(regions, n=2)] == [0.9, 0.5]
    assert keep_best([]) == []


@pytest.mark.parametrize(
    "wrong", [np.ones((4, 4), bool), [0, 0, 2, 2], None, (np.ones((2, 2), bool), 1)]
)
def test_overlap_of_what_is_no_region_is_refused(wrong):
    region = Region.from_box((0, 0, 2, 2), (4, 4))
    for pair in ((wrong, region), (region, wrong)):
        with pytest.raises(TypeError, match="mask_iou compares two Region, got"):
            mask_iou(*pair)


@pytest.mark.parametrize(
    "wrong",
    [np.ones((4, 4), bool), np.ones((2, 3, 4)), [[0, 0, 1]], [[0, 0, np.nan, 1]], [["a"] * 4]],
)
def test_overlap_of_what_are_no_boxes_is_refused(wrong):
    for pair in ((wrong, [[0, 0, 1, 1]]), ([[0, 0, 1, 1]], wrong)):
        with pytest.raises(ValueError, match="boxes"):
            box_iou(*pair)
