import numpy as np

from cbirkit.datasets.difficulty import LEVELS, View, draw_view, expose
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
