"""How views differ: geometry against OpenCV, light against its formulas."""

import cv2
import numpy as np
import pytest

from cbirkit.datasets.difficulty import (
    LEVELS,
    View,
    draw_view,
    expose,
    frame_corners,
    homography_of_corners,
    scaling,
    transform_points,
    warp,
)
from cbirkit.datasets.photographs import read_photograph

CLEAN = View(0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 100, 0)


def test_clean_view_passes_unchanged_but_for_jpeg():
    image = np.ascontiguousarray(read_photograph("coffee")[:128, :128])
    assert np.abs(expose(image, CLEAN, np.random.default_rng(0)) - image.astype(float)).mean() < 3


def test_gamma_gain_and_saturation_follow_their_formulas():
    image = np.empty((64, 64, 3), dtype=np.uint8)
    image[:] = (180, 90, 60)
    view = View(0, 1, 1.5, 1.2, 1.0, 0.8, 0.5, 0, 0, 0, 0, 100, 0)
    levels = 255 * (np.array([180, 90, 60]) / 255) ** 1.5
    grey = levels @ [0.299, 0.587, 0.114]
    expected = (grey + 0.5 * (levels - grey)) * [1.2, 1.0, 0.8]
    assert (
        np.abs(expose(image, view, np.random.default_rng(0)).mean(axis=(0, 1)) - expected).max() < 2
    )


def test_draws_of_the_levels_are_paired():
    for seed in range(10):
        weak, strong = (
            draw_view(LEVELS[n], np.random.default_rng(seed))[0] for n in ("easy", "hard")
        )
        assert np.sign(weak.rotation) == np.sign(strong.rotation)
        assert abs(np.log(weak.gamma)) < abs(np.log(strong.gamma))
        assert weak.noise < strong.noise and weak.blur < strong.blur


# ------------------------------------------------------------------ geometry


def test_homography_of_corners_agrees_with_opencv():
    rng = np.random.default_rng(0)
    for _ in range(20):
        source, target = (frame_corners(50) + rng.uniform(-9, 9, (4, 2)) for _ in range(2))
        ours = homography_of_corners(source, target)
        assert np.allclose(
            ours, cv2.getPerspectiveTransform(source.astype("f4"), target.astype("f4")), atol=1e-4
        )
        assert np.allclose(transform_points(ours, source), target, atol=1e-9)


@pytest.mark.parametrize("factor", [0.21, 0.5, 1.0, 1.9])
def test_warp_puts_points_where_the_homography_says(factor):
    """Blobs at known places: their centroids in the view, to a tenth of a pixel, enlarged and reduced."""
    y, x = np.mgrid[:400, :400]
    turn = np.deg2rad(20)
    rotate = np.array(
        [[np.cos(turn), -np.sin(turn), 120], [np.sin(turn), np.cos(turn), 20], [2e-4, -1e-4, 1]]
    )
    homography = scaling(factor) @ rotate
    for place in [(180.0, 150.0), (210.0, 240.0), (150.5, 190.25)]:
        blob = 250 * np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * (3 / factor) ** 2))
        photo = np.repeat(blob[..., None], 3, axis=2).round().astype(np.uint8)
        target = transform_points(homography, [place])[0]
        size = int(440 * factor)
        view = warp(halved(photo), homography, size)[..., 0].astype(float)
        assert (target > 5).all() and (target < size - 5).all()
        rows, columns = np.mgrid[:size, :size]
        near = view * (np.hypot(columns - target[0], rows - target[1]) < 14)
        found = np.array([(near * columns).sum(), (near * rows).sum()]) / near.sum()
        assert np.abs(found - target).max() < 0.1


def halved(photo):
    def pyramid(n):
        return (
            photo
            if n == 0
            else cv2.resize(pyramid(n - 1), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        )

    return pyramid


def test_reduced_views_do_not_alias():
    y, x = np.mgrid[:512, :512]
    checker = np.repeat((255 * ((x + y) % 2)).astype(np.uint8)[..., None], 3, axis=2)
    for factor in (0.2, 0.3, 0.45):
        view = warp(halved(checker), scaling(factor), int(512 * factor))
        naive = cv2.warpPerspective(checker, scaling(factor), (int(512 * factor),) * 2)
        assert view[4:-4, 4:-4].std() < 6
        assert naive.std() > 25
