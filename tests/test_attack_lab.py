"""`AttackLab` without a browser: what it computes, what its controls do, what it refuses."""

import io

import numpy as np
import pytest
from explore_samples import HOSTILE, painted

from cbirkit import Retriever, encoders
from cbirkit.explore import AttackLab
from cbirkit.explore.attack_lab import AIMS
from cbirkit.images import ImageCollection

WRONG, TARGET = AIMS[1:]


def patterned(n=16, size=(24, 32), seed=0):
    """Coarse random patterns, four of a label, ids with a folder, as every explorer meets them."""
    draw = np.random.default_rng(seed)
    base = draw.integers(40, 216, (n // 4, size[0] // 4, size[1] // 4, 3))
    arrays = [
        np.clip(np.kron(base[i // 4], np.ones((4, 4, 1))) + draw.normal(0, 12, (*size, 3)), 0, 255)
        for i in range(n)
    ]
    labels = [HOSTILE if i < 4 else f"group {i // 4}" for i in range(n)]
    return ImageCollection.from_arrays(
        [a.astype(np.uint8) for a in arrays], labels, ids=[f"p/{i}.jpg" for i in range(n)]
    )


@pytest.fixture(scope="module")
def retriever():
    return Retriever(
        encoders.Deep("conv5", weights=None, size=24, device="cpu"), progress=False
    ).fit(patterned())


@pytest.fixture
def lab(retriever):
    return AttackLab(retriever, epsilon=8, steps=5, k=4)


def test_what_is_shown_is_what_the_encoder_finds_for_the_file(lab, retriever):
    shown = lab.shown
    assert shown.largest == 8 == np.abs(shown.attacked.astype(int) - shown.clean.astype(int)).max()
    after = retriever.search([shown.attacked], k=6)
    expected = [i for i in after.ids[0] if i != lab.query][:4]
    assert [tile.id for tile in shown.after.tiles] == expected
    before = retriever.search(lab.query, k=4)
    assert [tile.id for tile in shown.before.tiles] == before.ids[0].tolist()
    cosine = float(
        np.prod(retriever.encoder_.transform([shown.clean, shown.attacked]), axis=0).sum()
    )
    assert shown.cosine == pytest.approx(cosine, abs=1e-5) and shown.cosine < 0.9999


def test_the_picture_of_the_perturbation_is_grey_where_nothing_changed(lab):
    change = lab.shown.attacked.astype(int) - lab.shown.clean.astype(int)
    expected = np.clip(127.5 + lab.shown.gain * change, 0, 255).astype(np.uint8)
    assert np.array_equal(lab.shown.amplified, expected) and lab.shown.gain == 127 / 8


def test_epsilon_or_steps_of_zero_change_nothing(lab):
    for settings in ({"epsilon": 0}, {"epsilon": 8, "steps": 0}):
        shown = lab.attack(**settings)
        assert (
            np.array_equal(shown.attacked, shown.clean)
            and shown.largest == 0
            and shown.cosine == pytest.approx(1)
        )
        assert [t.id for t in shown.before.tiles] == [t.id for t in shown.after.tiles]


def test_the_largest_epsilon_breaks_the_list_and_the_target_rises(lab):
    assert lab.attack(aim=WRONG, epsilon=64, steps=30).after.tiles[0].mark == "wrong"
    shown = lab.attack(aim=TARGET, target="p/15.jpg", epsilon=64, steps=30)
    assert shown.target[0] == "p/15.jpg" and shown.target[2] < shown.target[1]
    assert f"from rank {shown.target[1]} to {shown.target[2]}" in lab._status.text


def test_clicks_choose_query_and_target_and_sliders_attack_again(lab):
    lab._picker.grid.receive({"event": "pick", "id": "p/9.jpg"})
    assert lab.query == "p/9.jpg" and lab._picker.grid.selected == "p/9.jpg"
    chosen = lab._results[1].ids[-1]
    lab._results[1].receive({"event": "pick", "id": chosen})
    assert lab.target == chosen and lab._aim.value == TARGET and chosen in lab._status.text
    lab._epsilon.value = 2
    assert lab.shown.largest == 2 and not lab._status.problem
    lab._button.click()
    assert lab.shown.largest == 2


def test_a_target_that_is_the_query_is_told_and_nothing_changes(lab):
    lab.attack(target=lab.query)
    before, words = lab.shown, "other than the query"
    lab._aim.value = TARGET
    assert lab._status.problem and words in lab._status.text and lab.shown is before
    with pytest.raises(ValueError, match=words):
        lab.attack(aim=TARGET, target=lab.query)


def test_what_is_refused_leaves_the_lab_as_it_was(lab):
    before = repr(lab), lab.shown
    for settings, words in (
        ({"epsilon": 65}, "epsilon"), ({"epsilon": -1}, "epsilon"), ({"steps": 1.5}, "steps"), ({"aim": "win"}, "aim"),
        ({"query": "nobody"}, "nobody"), ({"target": "nobody", "aim": TARGET}, "nobody"),
        ({"query": np.zeros((8, 8, 3), np.uint8), "aim": WRONG}, "not known"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            lab.attack(**settings)
        assert (repr(lab), lab.shown) == before


def test_bad_arguments_are_refused(retriever):
    with pytest.raises(TypeError, match="gradients"):
        AttackLab(Retriever(encoders.ColorHistogram(), progress=False).fit(painted(5)))
    with pytest.raises(ValueError, match="k must"):
        AttackLab(retriever, k=0)
    with pytest.raises(ValueError, match="aim"):
        AttackLab(retriever, aim="x")
    with pytest.raises(ValueError, match="no images"):
        AttackLab(retriever, queries=patterned()[[]])


def test_pictures_of_ones_own_grey_and_large_ones_too(lab):
    for image in (
        np.zeros((20, 30), np.uint8),
        np.random.default_rng(0).integers(0, 256, (30, 900, 3), dtype=np.uint8),
    ):
        shown = lab.attack(image, epsilon=4, steps=2)
        assert shown.clean.ndim == 3 and max(shown.clean.shape) <= 512 and 0 < shown.largest <= 4
        assert len(shown.after.tiles) == 4 and {t.mark for t in shown.after.tiles} == {""}


def test_two_networks_are_attacked_in_turn(retriever):
    other = Retriever(
        encoders.Deep("conv5", weights=None, size=24, device="cpu", random_state=1), progress=False
    )
    lab = AttackLab({"one": retriever, "two": other.fit(patterned())}, steps=3)
    first = lab.shown.cosine
    lab._name.value = "two"
    assert lab.shown.cosine != first and "two" in repr(lab)


def test_static_picture_and_what_a_reader_without_kernel_gets(lab):
    figure = lab.static()
    told = figure.axes[0].get_label()
    assert "Before" in told and "After" in told and len(figure.axes[0].images) == 3 + 4 + 4
    figure.savefig(io.BytesIO(), format="png")
    data, metadata = lab._repr_mimebundle_()
    assert data["image/png"] and metadata["image/png"]["alt"] == told
