"""Colour encoders against loops over pixels and against colorsys."""

import colorsys
import itertools

import numpy as np
import pytest

from cbirkit.encoders import ColorHistogram, MeanColor
from cbirkit.encoders import pixels as color_module


def noise(seed, shape=(9, 13, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def histogram_by_loop(image, to_unit, bins):
    """Count pixels one by one; `to_unit` turns 8-bit r, g, b into three exact numbers in [0, 1]."""
    counts = np.zeros(bins)
    for r, g, b in image.reshape(-1, 3).tolist():
        cell = tuple(
            min(int(value * n), n - 1) for value, n in zip(to_unit(r, g, b), bins, strict=True)
        )
        counts[cell] += 1
    return (counts / counts.sum()).ravel()


def hsv_exact(r, g, b):
    """HSV by the textbook, as fractions, so that edges of bins are exact; hue as a share of the circle."""
    from fractions import Fraction

    low, high = min(r, g, b), max(r, g, b)
    spread = high - low
    if spread == 0:
        return Fraction(0), Fraction(0), Fraction(high, 255)
    if high == r:
        sixth = Fraction(g - b, spread) % 6
    elif high == g:
        sixth = Fraction(b - r, spread) + 2
    else:
        sixth = Fraction(r - g, spread) + 4
    return sixth / 6, Fraction(spread, high), Fraction(high, 255)


def test_exact_hsv_agrees_with_colorsys():
    for r, g, b in noise(0).reshape(-1, 3).tolist():
        exact = [float(value) for value in hsv_exact(r, g, b)]
        np.testing.assert_allclose(
            exact, colorsys.rgb_to_hsv(r / 255, g / 255, b / 255), atol=1e-12
        )


EDGES = (
    0,
    1,
    42,
    51,
    63,
    64,
    85,
    127,
    128,
    170,
    191,
    192,
    204,
    254,
    255,
)  # many ratios on edges of bins


@pytest.mark.parametrize("bins", [(16, 4, 4), (12, 5, 3), (1, 1, 1), (36, 10, 10)])
def test_hsv_histogram_is_the_loop_over_colorsys(bins):
    every_edge = np.array(list(itertools.product(EDGES, repeat=3)), dtype=np.uint8).reshape(
        -1, 15, 3
    )
    for image in (noise(1), noise(2, (40, 50, 3)), every_edge):
        expected = histogram_by_loop(image, hsv_exact, bins)
        result = ColorHistogram("hsv", bins, hellinger=False).transform([image])[0]
        np.testing.assert_allclose(result, expected, atol=1e-7)


@pytest.mark.parametrize("bins", [(6, 6, 6), (8, 8, 8), (5, 1, 17)])
def test_rgb_histogram_is_the_loop(bins):
    from fractions import Fraction

    ramp = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    for image in (noise(3), ramp):
        expected = histogram_by_loop(
            image, lambda *rgb: [Fraction(value, 255) for value in rgb], bins
        )
        result = ColorHistogram("rgb", bins, hellinger=False).transform([image])[0]
        np.testing.assert_allclose(result, expected, atol=1e-7)


def test_lab_histogram_is_the_loop_over_skimage():
    from skimage.color import rgb2lab

    def to_unit(r, g, b):
        lightness, a, b_ = rgb2lab(np.array([r, g, b]) / 255)
        return lightness / 100, max((a + 80) / 160, 0), max((b_ + 80) / 160, 0)

    def near_an_edge(pixel):  # there OpenCV's float32 tables may decide otherwise
        cells = np.array(to_unit(*pixel)) * (4, 8, 8)
        return np.abs(cells - cells.round()).min() < 0.02

    pixels = [pixel for pixel in noise(4, (500, 3)) if not near_an_edge(pixel)]
    assert len(pixels) > 400
    image = np.array(pixels)[None]
    expected = histogram_by_loop(image, to_unit, (4, 8, 8))
    result = ColorHistogram("lab", hellinger=False).transform([image])[0]
    np.testing.assert_allclose(result, expected, atol=1e-7)


@pytest.mark.parametrize(
    ("rgb", "cell"),
    [
        ((255, 0, 0), (0, 3, 3)),  # hue 0
        ((255, 0, 1), (15, 3, 3)),  # hue 359.8: the circle is cut at red
        ((0, 0, 0), (0, 0, 0)),
        ((255, 255, 255), (0, 0, 3)),  # value 255 is in the last bin, not one beyond
        ((0, 255, 255), (8, 3, 3)),  # hue 180, the lower edge of bin 8
        ((255, 0, 255), (13, 3, 3)),  # hue 300
        ((200, 50, 50), (0, 3, 3)),  # saturation exactly 3/4
        ((128, 64, 64), (0, 2, 2)),  # saturation exactly 1/2
    ],
)
def test_hsv_edges(rgb, cell):
    result = ColorHistogram().transform([np.full((2, 3, 3), rgb, np.uint8)])[0].reshape(16, 4, 4)
    assert np.argwhere(result).tolist() == [list(cell)] and result.max() == 1


@pytest.mark.parametrize("rgb", list(itertools.product((0, 255), repeat=3)))
def test_lab_of_the_corners_of_the_cube_is_inside(rgb):
    result = ColorHistogram("lab").transform([np.full((1, 1, 3), rgb, np.uint8)])[0]
    assert result.max() == 1 and np.count_nonzero(result) == 1


@pytest.mark.parametrize("space", ["hsv", "lab", "rgb"])
def test_hellinger_is_the_root_and_has_length_one(space):
    plain = ColorHistogram(space, hellinger=False).transform([noise(5)])
    rooted = ColorHistogram(space).transform([noise(5)])
    np.testing.assert_allclose(rooted**2, plain, atol=1e-7)
    np.testing.assert_allclose([plain.sum(), np.linalg.norm(rooted)], 1, atol=1e-6)


def test_blocks_do_not_change_the_histogram(monkeypatch):
    image = noise(6, (31, 17, 3))
    whole = ColorHistogram().transform([image])
    monkeypatch.setattr(color_module, "_BLOCK", 10)
    np.testing.assert_array_equal(ColorHistogram().transform([image]), whole)


def test_bins_may_be_a_list():
    np.testing.assert_array_equal(
        ColorHistogram(bins=[16, 4, 4]).transform([noise(7)]),
        ColorHistogram().transform([noise(7)]),
    )


def test_mean_color_is_the_loop():
    image = noise(8)
    expected = [
        sum(pixel[c] for pixel in image.reshape(-1, 3).tolist()) / (9 * 13 * 255) for c in range(3)
    ]
    np.testing.assert_allclose(MeanColor().transform([image])[0], expected, rtol=1e-6)
