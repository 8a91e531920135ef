"""TinyImage against block means."""

import numpy as np
import pytest

from cbirkit.encoders import TinyImage


def test_is_the_centred_block_mean():
    image = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    means = np.zeros((4, 4, 3))
    for row in range(4):
        for column in range(4):
            means[row, column] = image[3 * row : 3 * row + 3, 5 * column : 5 * column + 5].mean(
                axis=(0, 1)
            )
    expected = means - means.mean()
    length = np.linalg.norm(expected)
    result = TinyImage(4).transform([image])[0].reshape(4, 4, 3)
    np.testing.assert_allclose(
        result, expected / length, atol=1.0 / length
    )  # the means are rounded to 8 bits


@pytest.mark.parametrize("value", [0, 77, 255])
def test_plain_grey_image_is_exactly_zero(value):
    np.testing.assert_array_equal(
        TinyImage().transform([np.full((33, 47, 3), value, np.uint8)]), np.zeros((1, 768))
    )


def test_plain_colour_is_kept():
    red, green = np.zeros((2, 30, 30, 3), np.uint8)
    red[..., 0], green[..., 1] = 255, 255
    vectors = TinyImage().transform([red, green])
    np.testing.assert_allclose(vectors @ vectors.T, [[1, -0.5], [-0.5, 1]], atol=1e-5)


def test_brightness_and_contrast_do_not_matter():
    image = np.random.default_rng(1).integers(0, 100, (16, 16, 3), dtype=np.uint8)
    vectors = TinyImage().transform([image, image * 2 + 50])
    assert vectors[0] @ vectors[1] == pytest.approx(1, abs=1e-6)
