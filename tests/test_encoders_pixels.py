"""Hand-made features of the whole image: against loops over pixels, colorsys and direct calls of scikit-image."""

import colorsys
import itertools
from fractions import Fraction

import cv2
import numpy as np
import pytest
from skimage.color import rgb2lab
from skimage.feature import hog, local_binary_pattern

from cbirkit.encoders import HOG, LBP, ColorHistogram, MeanColor, TinyImage


def noise(seed, shape=(9, 13, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_tiny_image_is_the_centred_block_mean():
    image = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    means = np.zeros((4, 4, 3))
    for row in range(4):
        for column in range(4):
            block = image[3 * row : 3 * row + 3, 5 * column : 5 * column + 5]
            means[row, column] = block.mean(axis=(0, 1))
    expected = means - means.mean()
    length = np.linalg.norm(expected)
    result = TinyImage(4).transform([image])[0].reshape(4, 4, 3)
    # the means are rounded to 8 bits
    np.testing.assert_allclose(result, expected / length, atol=1.0 / length)


@pytest.mark.parametrize("value", [0, 77, 255])
def test_tiny_image_of_a_plain_grey_image_is_exactly_zero(value):
    np.testing.assert_array_equal(
        TinyImage().transform([np.full((33, 47, 3), value, np.uint8)]), np.zeros((1, 768))
    )


def test_tiny_image_of_a_plain_colour_is_kept():
    red, green = np.zeros((2, 30, 30, 3), np.uint8)
    red[..., 0], green[..., 1] = 255, 255
    vectors = TinyImage().transform([red, green])
    np.testing.assert_allclose(vectors @ vectors.T, [[1, -0.5], [-0.5, 1]], atol=1e-5)


def test_for_tiny_images_brightness_and_contrast_do_not_matter():
    image = np.random.default_rng(1).integers(0, 100, (16, 16, 3), dtype=np.uint8)
    vectors = TinyImage().transform([image, image * 2 + 50])
    assert vectors[0] @ vectors[1] == pytest.approx(1, abs=1e-6)


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


# many ratios on edges of bins
EDGES = (0, 1, 42, 51, 63, 64, 85, 127, 128, 170, 191, 192, 204, 254, 255)


@pytest.mark.parametrize("bins", [(16, 4, 4), (12, 5, 3), (1, 1, 1), (36, 10, 10)])
def test_hsv_histogram_is_the_loop_over_colorsys(bins):
    edges = list(itertools.product(EDGES, repeat=3))
    every_edge = np.array(edges, dtype=np.uint8).reshape(-1, 15, 3)
    for image in (noise(1), noise(2, (40, 50, 3)), every_edge):
        expected = histogram_by_loop(image, hsv_exact, bins)
        result = ColorHistogram("hsv", bins, hellinger=False).transform([image])[0]
        np.testing.assert_allclose(result, expected, atol=1e-7)


@pytest.mark.parametrize("bins", [(6, 6, 6), (8, 8, 8), (5, 1, 17)])
def test_rgb_histogram_is_the_loop(bins):
    ramp = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    for image in (noise(3), ramp):
        expected = histogram_by_loop(
            image, lambda *rgb: [Fraction(value, 255) for value in rgb], bins
        )
        result = ColorHistogram("rgb", bins, hellinger=False).transform([image])[0]
        np.testing.assert_allclose(result, expected, atol=1e-7)


def test_lab_histogram_is_the_loop_over_skimage():
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
    monkeypatch.setattr("cbirkit.encoders.pixels._BLOCK", 10)
    np.testing.assert_array_equal(ColorHistogram().transform([image]), whole)


def test_mean_color_is_the_loop():
    image = noise(8)
    expected = [
        sum(pixel[c] for pixel in image.reshape(-1, 3).tolist()) / (9 * 13 * 255) for c in range(3)
    ]
    np.testing.assert_allclose(MeanColor().transform([image])[0], expected, rtol=1e-6)


@pytest.mark.parametrize(("size", "cell", "orientations"), [(128, 16, 9), (32, 8, 6)])
def test_hog_is_skimage(size, cell, orientations):
    image = noise(0, (2 * size, 3 * size, 3))
    block_means = image.reshape(size, 2, size, 3, 3).mean(axis=(1, 3))
    small = block_means.round().astype(np.uint8)
    direct = hog(small, orientations, (cell, cell), (2, 2), block_norm="L2-Hys", channel_axis=-1)
    direct /= np.linalg.norm(direct)
    results = HOG(size, cell, orientations=orientations).transform([image, small])
    np.testing.assert_allclose(results[0], direct, atol=2e-3)  # 8-bit rounding of the means
    np.testing.assert_allclose(results[1], direct, atol=1e-6)
    assert results.shape == (2, (size // cell - 1) ** 2 * 4 * orientations)


@pytest.mark.parametrize("value", [0, 90])
def test_hog_of_a_plain_image_is_zero(value):
    np.testing.assert_array_equal(
        HOG().transform([np.full((50, 50, 3), value, np.uint8)]), np.zeros((1, 1764))
    )


@pytest.mark.parametrize(("radii", "grid"), [((1, 2), 2), ((3,), 1), ((1,), 3)])
def test_lbp_is_skimage(radii, grid):
    image = noise(1, (40, 60, 3))
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    expected = []
    for radius in radii:
        patterns = local_binary_pattern(grey, 8 * radius, radius, method="uniform")
        for row in range(grid):
            for column in range(grid):
                counts = np.zeros(8 * radius + 2)
                pixels = 0
                for y in range(40):
                    for x in range(60):
                        # np.array_split gives the first tiles one row more where it does not come out even
                        if _tile(y, 40, grid) == row and _tile(x, 60, grid) == column:
                            counts[int(patterns[y, x])] += 1
                            pixels += 1
                expected.append(np.sqrt(counts / pixels))
    expected = np.concatenate(expected) / np.sqrt(len(radii) * grid**2)
    np.testing.assert_allclose(LBP(radii, grid).transform([image])[0], expected, atol=1e-6)


def _tile(position, length, grid):
    start = 0
    for tile in range(grid):
        start += length // grid + (tile < length % grid)
        if position < start:
            return tile


def test_lbp_scales_large_images_down():
    image = noise(2, (300, 512, 3))
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (256, 150), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(LBP().transform([image]), LBP().transform([small]), atol=1e-6)


def test_textures_are_told_apart():
    rng = np.random.default_rng(3)
    stripe = np.tile(np.repeat([0, 200], 4), (64, 8)).astype(np.uint8)
    stripes = [np.roll(stripe, shift, axis=1) for shift in (0, 3)]
    grains = [rng.integers(0, 200, (64, 64)).astype(np.uint8) for _ in range(2)]
    vectors = LBP(grid=1).transform(stripes + grains)
    similarity = vectors @ vectors.T
    assert min(similarity[0, 1], similarity[2, 3]) > similarity[:2, 2:].max() + 0.1
