"""Poolings of feature maps, against loops over their positions."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cbirkit.nets.pooling import (
    attention_pool,
    crow_pool,
    gem_pool,
    mac_pool,
    rmac_pool,
    rmac_regions,
    spoc_pool,
)


@pytest.fixture
def maps():
    return torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0)) * 4


def loop(maps, function):
    return np.array(
        [
            [function([float(v) for row in one for v in row]) for one in image]
            for image in maps.tolist()
        ]
    )


def test_average_and_max(maps):
    np.testing.assert_allclose(spoc_pool(maps), loop(maps, lambda v: sum(v) / len(v)), rtol=1e-5)
    np.testing.assert_allclose(mac_pool(maps), loop(maps, max), rtol=1e-6)


@pytest.mark.parametrize("p", [0.5, 1.0, 3.0, 7.5])
def test_gem(maps, p):
    oracle = loop(maps, lambda v: (sum(x**p for x in v) / len(v)) ** (1 / p))
    np.testing.assert_allclose(gem_pool(maps, p), oracle, rtol=1e-4)


def test_gem_lies_between_average_and_max(maps):
    torch.testing.assert_close(gem_pool(maps, 1.0), spoc_pool(maps))
    torch.testing.assert_close(gem_pool(maps, 1e4), mac_pool(maps), rtol=1e-3, atol=0)
    assert (gem_pool(maps, 2.0) < gem_pool(maps, 3.0)).all()


def test_gem_takes_negative_values_for_eps_and_does_not_overflow():
    maps = torch.tensor([[[[-5.0, -1.0], [-2.0, -3.0]]]])
    assert gem_pool(maps, eps=1e-3).item() == pytest.approx(1e-3)
    assert gem_pool(maps.abs() * 1e20, 10.0).item() == pytest.approx(
        1e20 * ((5.0**10 + 1 + 2.0**10 + 3.0**10) / 4) ** 0.1, rel=1e-4
    )


def test_the_gradient_of_p_is_its_slope(maps):
    p, step = torch.tensor(2.0, requires_grad=True), 1e-2
    gem_pool(maps, p).sum().backward()
    high, low = (gem_pool(maps.double(), 2.0 + sign * step).sum() for sign in (1, -1))
    assert p.grad.item() == pytest.approx((high - low).item() / (2 * step), rel=1e-2)


def test_gradients_of_gem_reach_the_maps(maps):
    maps = maps.double().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda m: gem_pool(m, 3.0), maps)


def test_rmac_is_the_sum_of_normalised_maxima_of_its_regions(maps):
    total = np.zeros((2, 3))
    for top, left, side in rmac_regions(5, 7):
        for n in range(2):
            vector = np.array(
                [
                    max(
                        maps[n, c, y, x].item()
                        for y in range(top, top + side)
                        for x in range(left, left + side)
                    )
                    for c in range(3)
                ]
            )
            total[n] += vector / np.linalg.norm(vector)
    np.testing.assert_allclose(rmac_pool(maps), total, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (7, 7), (7, 10), (30, 20), (1, 9), (16, 5)])
def test_rmac_regions_lie_inside_and_cover_the_map(shape):
    covered = np.zeros(shape, bool)
    for top, left, side in rmac_regions(*shape):
        assert top >= 0 and left >= 0 and top + side <= shape[0] and left + side <= shape[1]
        covered[top : top + side, left : left + side] = True
    assert covered.all()


def test_number_of_rmac_regions():
    """A square map: 1 + 4 + 9. A map of 3 : 2: two large regions overlap by half, three by 75 %: two are nearer to 40 %."""
    assert len(rmac_regions(12, 12)) == 14
    assert len(rmac_regions(12, 18)) == 1 * 2 + 2 * 3 + 3 * 4
    assert rmac_regions(12, 18, levels=1) == [(0, 0, 12), (0, 6, 12)]
    assert rmac_regions(18, 12, levels=1) == [(0, 0, 12), (6, 0, 12)]


def test_rmac_refuses_no_levels(maps):
    with pytest.raises(ValueError, match="levels=0"):
        rmac_pool(maps, levels=0)
    assert torch.isfinite(rmac_pool(torch.zeros(1, 3, 4, 4))).all()


def test_attention_pool_is_a_weighted_mean(maps):
    weights = torch.rand(2, 5, 7, generator=torch.Generator().manual_seed(1))
    for image, own, row in zip(
        maps.tolist(), weights.tolist(), attention_pool(maps, weights), strict=True
    ):
        total = sum(map(sum, own))
        for channel, value in zip(image, row, strict=True):
            pairs = [
                (x, w)
                for xs, ws in zip(channel, own, strict=True)
                for x, w in zip(xs, ws, strict=True)
            ]
            assert float(value) == pytest.approx(sum(x * w for x, w in pairs) / total, rel=1e-5)
    torch.testing.assert_close(attention_pool(maps, torch.ones(2, 5, 7)), spoc_pool(maps))
    torch.testing.assert_close(attention_pool(maps, 9 * weights), attention_pool(maps, weights))


def test_attention_pool_names_weights_of_another_shape(maps):
    with pytest.raises(ValueError, match="one for each position"):
        attention_pool(maps, torch.ones(2, 7, 5))


@pytest.mark.parametrize("spatial", [True, False])
@pytest.mark.parametrize("channel", [True, False])
def test_crow(maps, spatial, channel):
    maps = maps - 1.0  # some below 0, which count as 0
    maps[:, 1] = -1.0  # a channel that never fires
    found = crow_pool(maps, spatial=spatial, channel=channel)
    for image, row in zip(maps.clamp(min=0).tolist(), found, strict=True):
        cells = [(y, x) for y in range(5) for x in range(7)]
        energy = {(y, x): sum(one[y][x] for one in image) for y, x in cells}
        length = sum(e * e for e in energy.values()) ** 0.5
        firing = [sum(one[y][x] > 0 for y, x in cells) / len(cells) for one in image]
        for k, one in enumerate(image):
            place = {c: (energy[c] / length) ** 0.5 if spatial else 1.0 for c in cells}
            expected = sum(place[y, x] * one[y][x] for y, x in cells)
            rare = np.log(sum(firing) / firing[k]) if firing[k] else 0.0
            assert float(row[k]) == pytest.approx(expected * (rare if channel else 1), rel=1e-4)


def test_crow_of_empty_maps_is_zero():
    assert crow_pool(torch.zeros(1, 3, 2, 2)).tolist() == [[0.0, 0.0, 0.0]]
