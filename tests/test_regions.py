from itertools import combinations

import numpy as np
import pytest

from cbirkit.datasets.photographs import PHOTOGRAPHS, read_photograph
from cbirkit.datasets.regions import choose_regions, texture


@pytest.mark.parametrize("seed", range(5))
def test_regions_share_no_pixel_lie_in_their_photograph_and_have_texture(seed):
    objects, others = choose_regions(125, seed)
    assert len({r.name for r in objects + others}) == len(objects + others)
    for a, b in combinations(objects + others, 2):
        if a.source == b.source:
            apart_x = a.x + a.side <= b.x or b.x + b.side <= a.x
            apart_y = a.y + a.side <= b.y or b.y + b.side <= a.y
            assert apart_x or apart_y, (a, b)
    most = {p.name: p.most for p in PHOTOGRAPHS}
    for region in objects + others:
        height, width = read_photograph(region.source).shape[:2]
        assert 0 <= region.x <= width - region.side and 0 <= region.y <= height - region.side
    assert min(r.texture for r in objects) >= 3 and min(r.texture for r in others) >= 1
    for name, count in most.items():
        assert sum(r.source == name for r in objects) <= count


def test_texture_of_a_flat_a_half_empty_and_a_striped_square():
    flat = np.full((96, 96, 3), 80, dtype=np.uint8)
    corner = flat.copy()
    corner[:24, :24] = np.random.default_rng(0).integers(0, 256, (24, 24, 3))
    ramp = np.repeat(np.arange(64, dtype=np.uint8)[None, :, None] * 2, 64, axis=0).repeat(3, axis=2)
    assert texture(flat) == 0 and texture(corner) == 0
    assert texture(ramp) == pytest.approx(2)


def test_the_grass_is_retouched_as_the_notes_of_load_photo_views_say():
    grass = read_photograph("grass")[..., 1].astype(float)
    patch, copy = grass[24:72, 384:432], grass[186:234, 387:435]
    assert np.corrcoef(patch.ravel(), copy.ravel())[0, 1] > 0.95
