"""SIFT: what OpenCV gives, RootSIFT by a loop, coordinates, limits, threads."""

import threading

import cv2
import numpy as np
import pytest

from cbirkit.encoders import SIFT
from cbirkit.encoders import local as local_module
from cbirkit.encoders.local import root_sift
from cbirkit.images import ImageCollection


def checkers(seed, shape=(128, 160), square=16):
    rng = np.random.default_rng(seed)
    squares = rng.integers(0, 256, (shape[0] // square, shape[1] // square))
    return np.kron(squares, np.ones((square, square))).astype(np.uint8)


def opencv(pixels, **parameters):
    points, descriptors = cv2.SIFT_create(**parameters).detectAndCompute(pixels, None)
    table = np.array([(*point.pt, point.size, point.angle, point.response) for point in points])
    order = np.argsort(-table[:, 4], kind="stable")
    return table[order], descriptors[order]


def test_is_opencv_strongest_first():
    pixels = checkers(0)
    table, raw = opencv(pixels)
    keypoints, descriptors = SIFT(root=False).describe(pixels)
    assert len(keypoints) > 30
    np.testing.assert_allclose(keypoints, table[:, :4], rtol=1e-6)
    np.testing.assert_array_equal(descriptors, raw)
    assert keypoints.dtype == descriptors.dtype == np.float32


def test_root_sift_is_the_loop():
    pixels = checkers(1)
    _, raw = SIFT(root=False).describe(pixels)
    _, rooted = SIFT().describe(pixels)
    for descriptor, result in zip(raw.tolist(), rooted, strict=True):
        total = sum(descriptor)
        np.testing.assert_allclose(
            result, [(value / total) ** 0.5 for value in descriptor], atol=1e-6
        )
    np.testing.assert_allclose(np.linalg.norm(rooted, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(root_sift(np.zeros((2, 128), np.float32)), np.zeros((2, 128)))


@pytest.mark.parametrize("limit", [1, 7, 20])
def test_max_keypoints_keeps_the_strongest(limit):
    pixels = checkers(2)
    everything = SIFT(None).describe(pixels)
    few = SIFT(limit).describe(pixels)
    assert len(few[0]) == limit < len(everything[0])
    table, _ = opencv(pixels)
    allowed = {
        tuple(row) for row in table[table[:, 4] >= table[limit - 1, 4], :4].astype(np.float32)
    }
    assert {tuple(row) for row in few[0]} <= allowed


def test_key_points_are_told_in_pixels_of_the_image_as_given():
    spot = np.zeros((400, 600), dtype=np.float32)
    spot[260, 450] = 1
    spot = cv2.GaussianBlur(spot, (0, 0), 12)
    pixels = (spot / spot.max() * 255).astype(np.uint8)
    for max_side in (600, 300, 200):
        keypoints, _ = SIFT(1, max_side=max_side).describe(pixels)
        np.testing.assert_allclose(keypoints[0, :2], [450, 260], atol=1.0)
        assert keypoints[0, 2] == pytest.approx(SIFT(1).describe(pixels)[0][0, 2], rel=0.1)


def test_large_photograph_is_scaled_down(monkeypatch):
    seen = []
    original = SIFT._describe
    monkeypatch.setattr(
        SIFT,
        "_describe",
        lambda self, pixels, scale: seen.append(pixels.shape) or original(self, pixels, scale),
    )
    small = checkers(3, (96, 128))
    large = np.repeat(np.repeat(small, 20, axis=0), 20, axis=1)  # 1920 x 2560
    keypoints, descriptors = SIFT().describe(large)
    assert seen == [(480, 640)] and len(keypoints)
    assert (
        keypoints[:, 0].max() > 1300 and keypoints[:, 0].max() < 2560 and len(descriptors) <= 1000
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (3, 3), (15, 15)])
def test_too_small_or_plain_images_have_none(shape):
    for pixels in (np.zeros(shape, np.uint8), np.full(shape, 200, np.uint8)):
        keypoints, descriptors = SIFT().describe(pixels)
        assert keypoints.shape == (0, 4) and descriptors.shape == (0, 128)
        assert keypoints.dtype == descriptors.dtype == np.float32


def test_lower_contrast_threshold_finds_more():
    faint_to_strong = np.linspace(0.05, 1, 160)  # contrast grows from left to right
    pixels = (checkers(4).astype(float) * faint_to_strong).astype(np.uint8)
    counts = [
        len(SIFT(None, contrast_threshold=threshold).describe(pixels)[0])
        for threshold in (0.01, 0.04, 0.1)
    ]
    assert counts[0] > counts[1] > counts[2]


@pytest.mark.parametrize("n_jobs", [None, 1, 3, -1])
def test_describe_all_keeps_order_and_does_not_depend_on_threads(n_jobs):
    images = [checkers(seed, (64 + 16 * (seed % 3), 64)) for seed in range(12)]
    images[5] = np.zeros((9, 9), np.uint8)
    expected = [SIFT().describe(image) for image in images]
    collection = ImageCollection.from_arrays(images)
    for given in (images, collection, iter(images)):
        results = list(SIFT(n_jobs=n_jobs).describe_all(given))
        assert len(results) == 12
        for result, right in zip(results, expected, strict=True):
            np.testing.assert_array_equal(result[0], right[0])
            np.testing.assert_array_equal(result[1], right[1])


def test_describe_all_streams_and_stops_early():
    read = []

    def images():
        for seed in range(100):
            read.append(seed)
            yield checkers(seed, (32, 32))

    described = SIFT(n_jobs=2).describe_all(images())
    next(described)
    assert len(read) <= 6  # one done, and two waiting for each thread
    described.close()
    for thread in threading.enumerate():
        if thread.name.startswith("sift"):
            thread.join(120)
            assert not thread.is_alive()


def test_error_inside_a_thread_reaches_the_caller(monkeypatch):
    def fail(self, pixels, scale):
        raise MemoryError("too large")

    monkeypatch.setattr(local_module.SIFT, "_describe", fail)
    with pytest.raises(MemoryError, match="too large"):
        list(SIFT().describe_all([checkers(0)]))


def test_n_jobs_is_marked_as_no_part_of_identity():
    assert SIFT._not_identity == ("n_jobs",) and "n_jobs" in SIFT().get_params()
