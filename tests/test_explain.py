"""Maps of a similarity against naive versions and known answers; scores worked by hand."""

import builtins

import numpy as np
import pytest
import torch

from cbirkit import attacks, explain
from cbirkit.encoders import Deep, MeanColor


@pytest.fixture(scope="module")
def deep():
    return Deep("conv5", weights=None, size=(32, 40), resize="squash", device="cpu")


@pytest.fixture(scope="module")
def pair():
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (2, 6, 8, 3), dtype=np.uint8)
    return coarse.repeat(6, axis=1).repeat(7, axis=2)  # (2, 36, 56, 3)


@pytest.fixture(scope="module")
def red_corner():
    """A red query, and a blue picture whose top left quarter is red."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[..., 2], image[:20, :30] = 255, (255, 0, 0)
    return np.full((8, 8, 3), (255, 0, 0), np.uint8), image


MAPS = [
    explain.occlusion,
    explain.rise,
    explain.grad_cam,
    explain.integrated_gradients,
]


@pytest.mark.parametrize("method", MAPS, ids=lambda method: method.__name__)
def test_maps_have_the_images_shape_and_repeat_themselves(method, deep, pair):
    query, image = pair
    small = {"cells": 4} if method is explain.occlusion else {}
    small = {"n_masks": 20, "random_state": 3} if method is explain.rise else small
    first = method(deep, query, image, **small)
    assert first.shape == (36, 56) and first.dtype == np.float32 and np.isfinite(first).all()
    assert first.std() > 0
    again = method(deep, explain.embedding(deep, query), image, **small)
    assert np.allclose(first, again, atol=1e-5)
    assert np.array_equal(pair[1], image)


@pytest.mark.parametrize("fill", ["blur", "grey"])
def test_black_box_maps_find_the_red_corner(red_corner, fill):
    query, image = red_corner
    mask = image[..., 0] > 0
    for method in (explain.occlusion, explain.rise):
        found = method(MeanColor(), query, image, fill=fill)
        assert explain.pointing(found, mask) == 1.0, method.__name__
        assert found[mask].mean() > 0 > found[~mask].mean() or fill == "grey"


def test_occlusion_is_the_naive_loop(pair):
    query, image = pair
    encoder, window, cells = MeanColor(), 0.4, 4
    got = explain.occlusion(encoder, query, image, window=window, cells=cells, fill="grey")
    total, cover = np.zeros(image.shape[:2]), np.zeros(image.shape[:2])
    whole = explain.similarities(encoder, query, [image])[0]
    tall, wide = round(0.4 * 36), round(0.4 * 56)
    for top in np.linspace(0, 36 - tall, cells).round().astype(int):
        for left in np.linspace(0, 56 - wide, cells).round().astype(int):
            other = image.copy()
            other[top : top + tall, left : left + wide] = 128
            loss = whole - explain.similarities(encoder, query, [other])[0]
            total[top : top + tall, left : left + wide] += loss
            cover[top : top + tall, left : left + wide] += 1
    assert cover.min() > 0 and np.allclose(got, total / cover, atol=1e-5)


def test_rise_is_the_weighted_mean_of_what_its_masks_show():
    """Of an encoder that answers only to one pixel, the map is highest there, and means over all are taken away."""
    image = np.zeros((12, 12, 3), np.uint8)
    image[..., 2] = 255
    image[2:4, 8:10] = (255, 0, 0)
    query = np.full((4, 4, 3), (255, 0, 0), np.uint8)
    found = explain.rise(MeanColor(), query, image, n_masks=600, cells=6, fill="grey")
    assert abs(found.mean()) < 1e-5
    assert explain.pointing(found, image[..., 0] > 0) == 1.0
    other = explain.rise(
        MeanColor(), query, image, n_masks=600, cells=6, fill="grey", random_state=1
    )
    assert not np.array_equal(found, other)
    assert np.corrcoef(found.ravel(), other.ravel())[0, 1] > 0.5


def test_grad_cam_is_captums(deep, pair):
    attr = pytest.importorskip("captum.attr")
    query, image = pair
    model, target = attacks.attackable(deep), torch.from_numpy(explain.embedding(deep, query))
    pixels = attacks.to_pixels([image]).requires_grad_(True)
    method = attr.LayerGradCam(lambda one: model(one) @ target, model.network)
    cam = method.attribute(pixels, relu_attributions=True)
    # captum averages the gradient as here; its map is of the network's grid
    expected = torch.nn.functional.interpolate(
        torch.nn.functional.interpolate(cam, (32, 40), mode="bilinear"), (36, 56), mode="bilinear"
    )[0, 0]
    got = explain.grad_cam(deep, query, image)
    assert np.corrcoef(got.ravel(), expected.detach().numpy().ravel())[0, 1] > 0.999
    assert got.max() == pytest.approx(expected.max().item(), rel=0.02)


def test_integrated_gradients_add_up_to_the_gain_from_the_fill(deep, pair):
    query, image = pair
    signed = explain.integrated_gradients(deep, query, image, steps=60, smooth=0, fill="grey")
    both = [explain.filled(image, "grey"), image]
    without, whole = explain.similarities(deep, query, both)
    assert signed.sum() == pytest.approx(whole - without, abs=0.01)


def test_what_is_cropped_away_is_zero_and_padding_is_refused(pair):
    query, image = pair[0], np.tile(pair[1], (1, 3, 1))  # three times as wide
    deep = Deep("conv5", weights=None, size=32, resize="crop", crop_ratio=1.0, device="cpu")
    found = explain.grad_cam(deep, query, image)
    assert found.shape == image.shape[:2]
    assert not found[:, :50].any() and not found[:, -50:].any() and found[:, 84].any()
    signed = explain.integrated_gradients(deep, query, image, steps=2, smooth=0)
    assert np.abs(signed[:, :50]).max() == 0
    with pytest.raises(ValueError, match="pad"):
        explain.grad_cam(deep.set_params(resize="pad"), query, image)


def test_transformers_and_other_layouts_have_maps(pair):
    deep = Deep("swin_t", weights=None, size=64, resize="squash", device="cpu")
    found = explain.grad_cam(deep, pair[0], pair[1])
    assert found.shape == (36, 56) and np.isfinite(found).all()


def test_captum_missing_says_how_to_install(deep, pair, monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest, **more):
        if name.split(".")[0] == "captum":
            raise ImportError("No module named 'captum'")
        return real(name, *rest, **more)

    monkeypatch.setattr(
        "importlib.import_module", lambda name: refuse(name) if "captum" in name else real(name)
    )
    with pytest.raises(ImportError, match="pip install captum"):
        explain.integrated_gradients(deep, *pair)


def test_gradients_need_a_network_and_images_need_to_be_images(deep, pair):
    for method in (explain.grad_cam, explain.integrated_gradients):
        with pytest.raises(TypeError, match="Deep"):
            method(MeanColor(), *pair)
    for wrong in (pair[1][..., 0], pair[1].astype(float), pair[1][None]):
        for method in MAPS:
            with pytest.raises(ValueError, match="RGB uint8"):
                method(deep, pair[0], wrong)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (explain.occlusion, {"window": 0}),
        (explain.occlusion, {"window": 0.1, "cells": 5}),
        (explain.occlusion, {"fill": "black"}),
        (explain.rise, {"n_masks": 0}),
        (explain.rise, {"keep": 0}),
        (explain.rise, {"cells": 0}),
        (explain.integrated_gradients, {"steps": 0}),
        (explain.integrated_gradients, {"smooth": -1}),
        (explain.matched_regions, {"k": 0}),
    ],
)
def test_numbers_out_of_range_are_refused(method, settings, deep, pair):
    with pytest.raises(ValueError, match=next(reversed(settings))):
        method(deep, *pair, **settings)


def test_an_image_matches_itself_cell_by_cell(deep, pair):
    image = pair[0]
    pairs = explain.matched_regions(deep, image, image, k=100)
    assert pairs.shape[1] == 5 and pairs.dtype == np.float32 and len(pairs) >= 15
    assert np.allclose(pairs[:, :2], pairs[:, 2:4]) and np.allclose(pairs[:, 4], 1, atol=1e-5)
    assert (pairs[:, 0] < 56).all() and (pairs[:, 1] < 36).all() and (pairs[:, :2] > 0).all()


def test_matched_regions_are_mutual_nearest_cells(deep, pair):
    pairs = explain.matched_regions(deep, *pair, k=3)
    assert 1 <= len(pairs) <= 3 and (np.diff(pairs[:, 4]) <= 0).all()
    a, b = (deep.feature_maps([one])[0] for one in pair)
    best = 0.0
    for i in range(a[0].size):
        for j in range(b[0].size):
            u, v = a.reshape(len(a), -1)[:, i], b.reshape(len(b), -1)[:, j]
            best = max(best, float(u @ v / np.linalg.norm(u) / np.linalg.norm(v)))
    assert pairs[0, 4] == pytest.approx(best, abs=1e-5)


# ---------------------------------------------------------------------- scores


def test_pointing_by_hand():
    mask = np.array([[1, 0], [0, 0]], bool)
    assert explain.pointing([[2, 1], [0, 0]], mask) == 1.0
    assert explain.pointing([[1, 2], [0, 0]], mask) == 0.0
    assert explain.pointing(np.zeros((2, 2)), mask) == 0.25
    assert np.isnan(explain.pointing([[2, 1], [0, 0]], np.zeros((2, 2), bool)))
    for wrong in ([[1, 2, 3]], np.full((2, 2), np.nan), np.zeros(4)):
        with pytest.raises(ValueError, match="map"):
            explain.pointing(wrong, mask)


def test_mass_inside_counts_what_is_above_0():
    mask = np.array([[1, 0], [1, 0]], bool)
    assert explain.mass_inside([[3, 1], [-9, 0]], mask) == 0.75
    assert explain.mass_inside(np.zeros((2, 2)), mask) == 0.5


def test_curves_begin_and_end_where_they_must(red_corner):
    query, image = red_corner
    truth = (image[..., 0] > 0).astype(float)
    whole, fill = explain.similarities(MeanColor(), query, [image, explain.filled(image, "grey")])
    settings = {"steps": 8, "fill": "grey"}
    deleted = explain.curve(MeanColor(), query, image, truth, **settings)
    inserted = explain.curve(MeanColor(), query, image, truth, insert=True, **settings)
    assert deleted.shape == inserted.shape == (9,)
    assert np.allclose([deleted[0], deleted[-1]], [whole, fill])
    assert np.allclose([inserted[0], inserted[-1]], [fill, whole])
    # the best map deletes faster than the worst
    worst = explain.curve(MeanColor(), query, image, -truth, **settings)
    assert explain.area_under(deleted) < explain.area_under(worst)
    other = image.copy()
    other[:20, :30] = 128  # a quarter of the pixels: two of eight steps
    assert deleted[2] == pytest.approx(explain.similarities(MeanColor(), query, [other])[0])


def test_area_under_by_hand():
    assert explain.area_under([1, 0]) == 0.5
    assert explain.area_under([0, 1, 0]) == 0.5
    assert explain.area_under([1, 1, 1, 1]) == 1.0


def test_the_centre_prior_points_at_the_middle():
    prior = explain.centre_prior(np.zeros((5, 7, 3), np.uint8))
    assert prior.shape == (5, 7) and np.unravel_index(prior.argmax(), prior.shape) == (2, 3)
    assert np.allclose(prior, prior[::-1, ::-1])


def test_fills():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    blurred = explain.filled(image)
    assert blurred.std() < image.std() / 2 and abs(blurred.mean() - image.mean()) < 3
    assert (explain.filled(image, "grey") == 128).all()
