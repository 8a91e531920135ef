"""HOG and LBP against direct calls of scikit-image."""

import cv2
import numpy as np
import pytest
from skimage.feature import hog, local_binary_pattern

from cbirkit.encoders import HOG, LBP


def noise(seed, shape):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(("size", "cell", "orientations"), [(128, 16, 9), (32, 8, 6)])
def test_hog_is_skimage(size, cell, orientations):
    image = noise(0, (2 * size, 3 * size, 3))
    small = (
        image.reshape(size, 2, size, 3, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    )  # block mean
    direct = hog(small, orientations, (cell, cell), (2, 2), block_norm="L2-Hys", channel_axis=-1)
    result = HOG(size, cell, orientations=orientations).transform([image])[0]
    np.testing.assert_allclose(
        result, direct / np.linalg.norm(direct), atol=2e-3
    )  # 8-bit rounding of the means
    np.testing.assert_allclose(
        HOG(size, cell, orientations=orientations).transform([small])[0],
        direct / np.linalg.norm(direct),
        atol=1e-6,
    )
    assert result.shape == ((size // cell - 1) ** 2 * 4 * orientations,)


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
    small = cv2.resize(
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (256, 150), interpolation=cv2.INTER_AREA
    )
    np.testing.assert_allclose(LBP().transform([image]), LBP().transform([small]), atol=1e-6)
    assert not np.allclose(
        LBP().transform([image]), LBP(max_side=512).transform([image]), atol=1e-3
    )


def test_textures_are_told_apart():
    rng = np.random.default_rng(3)
    stripes = [
        np.roll(np.tile(np.repeat([0, 200], 4), (64, 8)), shift, axis=1).astype(np.uint8)
        for shift in (0, 3)
    ]
    grains = [rng.integers(0, 200, (64, 64)).astype(np.uint8) for _ in range(2)]
    similarity = LBP(grid=1).transform(stripes + grains) @ LBP(grid=1).transform(stripes + grains).T
    assert min(similarity[0, 1], similarity[2, 3]) > similarity[:2, 2:].max() + 0.1
