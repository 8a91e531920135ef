"""`cbirkit.objects.pool_regions`: many embeddings from one feature map."""

import numpy as np
import pytest

from cbirkit.encoders import Deep
from cbirkit.objects import Region, pool_regions, window_of
from cbirkit.objects.masked_pooling import grid_weights


def unit(vector):
    return vector / np.linalg.norm(vector)


@pytest.fixture
def feature_map():
    return np.random.default_rng(0).random((5, 4, 6))


def naive_weights(mask, grid, window):
    """Share of each cell that a mask covers, each pixel cut into 20 x 20 points."""
    x0, y0, x1, y1 = window
    fine, counts = 20, np.zeros(grid)
    for row, column in zip(*np.nonzero(mask), strict=True):
        for dy in (np.arange(fine) + 0.5) / fine:
            for dx in (np.arange(fine) + 0.5) / fine:
                y, x = (
                    (row + dy - y0) / (y1 - y0) * grid[0],
                    (column + dx - x0) / (x1 - x0) * grid[1],
                )
                if 0 <= y < grid[0] and 0 <= x < grid[1]:
                    counts[int(y), int(x)] += 1
    return counts / fine**2 / ((x1 - x0) * (y1 - y0) / np.prod(grid))


@pytest.mark.parametrize("window", [(0, 0, 9, 7), (1, -1, 8, 8)])
def test_weights_are_the_covered_shares_of_the_cells(window):
    mask = np.random.default_rng(1).random((7, 9)) < 0.4
    region = Region.from_mask(mask)
    assert np.allclose(
        grid_weights([region], (3, 4), window=window)[0],
        naive_weights(mask, (3, 4), window),
        atol=0.02,
    )


def test_the_whole_image_gives_plain_average_pooling(feature_map):
    whole = Region.from_box((0, 0, 12, 8), (8, 12))
    got = pool_regions(feature_map, [whole])[0]
    assert got.dtype == np.float32 and np.allclose(got, unit(feature_map.mean(axis=(1, 2))))


def test_a_mask_made_of_cells_pools_those_cells(feature_map):
    cells = np.zeros((4, 6), bool)
    cells[1, 2] = cells[2, 2] = cells[3, 5] = True
    region = Region.from_mask(np.kron(cells, np.ones((3, 3), bool)))
    wanted = unit(feature_map[:, cells].mean(axis=1))
    assert np.allclose(pool_regions(feature_map, [region])[0], wanted)


def test_a_region_of_one_pixel_has_the_embedding_of_its_cell(feature_map):
    region = Region.from_box((7, 5, 8, 6), (8, 12))
    assert np.allclose(pool_regions(feature_map, [region])[0], unit(feature_map[:, 2, 3]))


def test_no_region_gives_no_row_and_a_map_of_zeros_stays_zero(feature_map):
    assert pool_regions(feature_map, []).shape == (0, 5)
    assert pool_regions(np.zeros((5, 2, 2)), [Region.from_box((0, 0, 2, 2), (4, 4))]).tolist() == [
        [0.0] * 5
    ]


def test_bad_input_is_refused_in_words(feature_map):
    region = Region.from_box((0, 0, 2, 2), (8, 12))
    with pytest.raises(ValueError, match=r"\(channels, height, width\), got \(4, 6\)"):
        pool_regions(feature_map[0], [region])
    with pytest.raises(ValueError, match="pool those of one image at a time"):
        pool_regions(feature_map, [region, Region.from_box((0, 0, 2, 2), (9, 9))])
    with pytest.raises(ValueError, match="outside the part of the image"):
        pool_regions(feature_map, [region], window=(5, 0, 12, 8))


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_the_window_is_the_part_that_the_network_sees(resize):
    step = Deep("conv5", weights=None, size=32, resize=resize).preprocessing
    kept = 15 * step.crop_ratio
    wanted = {
        "squash": (0, 0, 60, 30),
        "crop": (30 - kept, 15 - kept, 30 + kept, 15 + kept),
        "pad": (0, -15, 60, 45),
    }
    assert np.allclose(window_of(step, (30, 60)), wanted[resize])


def test_a_bright_spot_lies_where_the_window_says():
    """A crop moves things: the cell that lights up is the one that the pooled region uses."""
    image = np.zeros((40, 80, 3), np.uint8)
    image[4:12, 30:38] = 255
    for resize in ("squash", "crop", "pad"):
        step = Deep("conv5", weights=None, size=64, resize=resize).preprocessing
        small = (
            np.asarray(step.resized(image))[..., 0]
            - 1.0 * np.asarray(step.resized(np.zeros_like(image)))[..., 0]
        )
        weights = grid_weights(
            [Region.from_box((30, 4, 38, 12), (40, 80))], (64, 64), window=window_of(step, (40, 80))
        )[0]
        assert np.corrcoef(small.ravel(), weights.ravel())[0, 1] > 0.9
