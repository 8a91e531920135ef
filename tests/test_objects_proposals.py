"""Ways to cut an image into regions."""

import numpy as np
import pytest
from sklearn.base import clone

from cbirkit.images import ImageProblem
from cbirkit.objects import SLIC, Felzenszwalb, GrabCut, Region, SlidingPyramid, mask_iou

EVERY = [SLIC(), Felzenszwalb(), GrabCut(), SlidingPyramid()]


def picture(seed=0):
    """A dark disc on a slightly uneven ground, and its mask."""
    image = np.random.default_rng(seed).integers(190, 206, (64, 72, 3)).astype(np.uint8)
    y, x = np.mgrid[:64, :72]
    disc = (y - 30) ** 2 + (x - 44) ** 2 < 13**2
    image[disc] = 40, 60, 150
    return image, Region.from_mask(disc)


@pytest.mark.parametrize(
    "proposer", [SLIC(), Felzenszwalb(), GrabCut((26, 12, 62, 48))], ids=lambda p: type(p).__name__
)
def test_a_plain_thing_is_found(proposer):
    image, truth = picture()
    assert max(mask_iou(region, truth) for region in proposer.propose(image)) > 0.85


@pytest.mark.parametrize("proposer", [SLIC(), Felzenszwalb()], ids=lambda p: type(p).__name__)
def test_the_best_region_comes_first_and_none_is_nearly_another(proposer):
    image, truth = picture()
    regions = proposer.propose(image)
    scores = [region.score for region in regions]
    assert scores == sorted(scores, reverse=True) and len(regions) <= 60
    assert mask_iou(regions[0], truth) > 0.8
    assert all(mask_iou(a, b) <= 0.7 for i, a in enumerate(regions) for b in regions[:i])


def test_windows_cover_every_pixel_and_lie_inside():
    for shape in ((64, 96), (33, 20), (5, 5)):
        regions = SlidingPyramid().propose(np.zeros((*shape, 3), np.uint8))
        assert np.any([region.mask for region in regions], axis=0).all()
        assert all(
            0 <= r.box[0] < r.box[2] <= shape[1] and 0 <= r.box[1] < r.box[3] <= shape[0]
            for r in regions
        )


@pytest.mark.parametrize("proposer", EVERY, ids=lambda p: type(p).__name__)
def test_the_same_image_gives_the_same_regions(proposer):
    image, _ = picture()
    first, second = proposer.propose(image), clone(proposer).propose(image)
    assert [r.box for r in first] == [r.box for r in second]


@pytest.mark.parametrize("proposer", EVERY, ids=lambda p: type(p).__name__)
def test_an_image_of_one_colour_raises_nothing(proposer):
    for shape in ((40, 40), (1, 1), (2, 30)):
        regions = proposer.propose(np.full((*shape, 3), 90, np.uint8))
        assert all(region.shape == shape and region.area for region in regions)
    if isinstance(proposer, (SLIC, Felzenszwalb)):
        assert (
            Felzenszwalb().propose(np.full((40, 40, 3), 90, np.uint8)) == []
        )  # nothing stands out


@pytest.mark.parametrize("proposer", EVERY, ids=lambda p: type(p).__name__)
def test_other_modes_are_converted_or_refused(proposer):
    image, _ = picture()
    grey, clear = image[..., 0], np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    assert [r.box for r in proposer.propose(clear)] == [r.box for r in proposer.propose(image)]
    assert proposer.propose(grey) is not None
    for bad in (np.zeros((4, 4, 7), np.uint8), np.zeros((0, 4, 3), np.uint8), np.array("words")):
        with pytest.raises(ImageProblem):
            proposer.propose(bad)


def test_grabcut_stays_in_its_box_and_falls_back_to_it():
    image, _ = picture()
    box = (30, 16, 60, 44)
    (found,) = GrabCut(box).propose(image)
    assert (
        box[0] <= found.box[0]
        and found.box[2] <= box[2]
        and box[1] <= found.box[1]
        and found.box[3] <= box[3]
    )
    assert GrabCut((0, 0, 72, 64)).propose(image)[0].area == 72 * 64
    assert GrabCut((10, 10, 11, 11)).propose(image)[0].box == (10, 10, 11, 11)
    with pytest.raises(ValueError, match="outside the image"):
        GrabCut((100, 100, 120, 120)).propose(image)


@pytest.mark.parametrize(
    ("proposer", "words"),
    [
        (SlidingPyramid(scales=(0.0,)), "scales"),
        (SLIC(n_segments=0), "n_segments"),
        (Felzenszwalb(max_regions=0), "max_regions"),
    ],
)
def test_parameters_out_of_range_are_named(proposer, words):
    with pytest.raises(ValueError, match=words):
        proposer.propose(picture()[0])
