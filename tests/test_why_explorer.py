"""`WhyExplorer` without a browser: what it computes, what clicks and controls do, what it refuses."""

import io

import numpy as np
import pytest
from explore_samples import HOSTILE
from test_attack_lab import patterned

from cbirkit import Retriever, encoders, explain
from cbirkit.datasets import from_folder
from cbirkit.explain import METHODS, heated
from cbirkit.explore import WhyExplorer


def deep(**settings):
    settings = {"size": 24, "resize": "squash", "device": "cpu"} | settings
    return encoders.Deep("conv5", weights=None, **settings)


@pytest.fixture(scope="module")
def retriever():
    return Retriever(deep(), progress=False).fit(patterned())


@pytest.fixture
def explorer(retriever):
    return WhyExplorer(retriever, k=4)


def test_what_is_shown_is_what_the_package_computes(explorer, retriever):
    shown, images = explorer.shown, retriever.images
    assert explorer.other == retriever.search(explorer.query, k=1).ids[0][0]
    pair = retriever.encoder_, images[explorer.query], images[explorer.other]
    assert np.allclose(shown.maps["occlusion"], explain.occlusion(*pair), atol=1e-5)
    whole = explain.similarities(pair[0], pair[1], [pair[2]])[0]
    assert shown.similarity == pytest.approx(whole, abs=1e-5)
    values = explain.curve(*pair, shown.maps["Grad-CAM"], steps=5)
    assert shown.losses["Grad-CAM"] == pytest.approx(values[0] - values[1], abs=1e-5)
    assert shown.maps.keys() == METHODS.keys() and not shown.problems
    assert len(explorer._maps.tiles) == 2 + len(METHODS)
    assert f"{shown.similarity:.3f}" in explorer._status.text


def test_clicks_choose_the_query_and_the_image(explorer):
    explorer._picker.grid.receive({"event": "pick", "id": "p/9.jpg"})
    assert explorer.query == "p/9.jpg" and explorer.other == explorer._found.ids[0]
    chosen = explorer._found.ids[-1]
    explorer._found.receive({"event": "pick", "id": chosen})
    assert explorer.other == chosen == explorer._found.selected and explorer.query == "p/9.jpg"
    assert chosen in explorer._status.text and not explorer._status.problem


def test_another_fill_explains_the_same_pair_once(explorer, monkeypatch):
    before, other = explorer.shown, explorer.other
    times = []
    real = explain.embedding
    monkeypatch.setattr(explain, "embedding", lambda *a: times.append(1) or real(*a))
    explorer._fill.value = "grey"
    first = len(times)
    assert explorer.other == other and explorer.shown is not before
    assert not np.allclose(explorer.shown.maps["occlusion"], before.maps["occlusion"])
    explorer.explain(fill="blur")
    assert len(times) == 2 * first and explorer._fill.value == "blur"


def test_what_is_refused_leaves_the_explorer_as_it_was(explorer):
    before = repr(explorer), explorer.shown
    for settings, words in (
        ({"query": "nobody"}, "nobody"),
        ({"other": "nobody"}, "nobody"),
        ({"fill": "black"}, "fill"),
    ):
        with pytest.raises(ValueError, match=words):
            explorer.explain(**settings)
        assert (repr(explorer), explorer.shown) == before


def test_bad_arguments_are_refused(retriever):
    with pytest.raises(TypeError, match="Retriever"):
        WhyExplorer(3)
    with pytest.raises(ValueError, match="k must"):
        WhyExplorer(retriever, k=0)
    with pytest.raises(ValueError, match="other image"):
        WhyExplorer(Retriever(deep(), progress=False).fit(patterned()[:1]))


def test_an_encoder_without_gradients_has_the_maps_that_need_none():
    explorer = WhyExplorer(Retriever(encoders.MeanColor(), progress=False).fit(patterned()), k=3)
    assert {"occlusion", "RISE"} <= explorer.shown.maps.keys()
    assert explorer.shown.problems.keys() == {"Grad-CAM", "integrated gradients"}
    assert "Deep" in explorer._maps.summary


@pytest.mark.parametrize(
    "settings", [{"resize": "crop"}, {"resize": "pad"}, {"layer": "2", "pooling": "gem"}]
)
def test_any_deep_encoder(settings):
    if "layer" in settings:
        settings = settings | {"layer": deep().layers()[-3]}
    explorer = WhyExplorer(Retriever(deep(**settings), progress=False).fit(patterned()), k=2)
    assert {"occlusion", "RISE"} <= explorer.shown.maps.keys()
    assert bool(explorer.shown.problems) == (settings.get("resize") == "pad")


def test_a_folder_without_labels_a_broken_file_and_pictures_of_ones_own(tmp_path, explorer):
    from PIL import Image

    for number, image in enumerate(patterned()):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    images = from_folder(tmp_path)
    folder = WhyExplorer(Retriever(deep(), progress=False).fit(images), k=3)
    assert folder.shown.similarity > 0 and {t.mark for t in folder.shown.found.tiles} == {""}
    broken = folder._found.ids[-1]
    (tmp_path / broken).write_bytes(b"no picture")
    before = folder.shown
    folder._found.receive({"event": "pick", "id": broken})
    assert folder._status.problem and broken in folder._status.text and folder.shown is before
    large = np.random.default_rng(0).integers(0, 256, (30, 600), dtype=np.uint8)
    assert max(explorer.explain(large).query.shape) == 256 and explorer.query == "array"


def test_static_picture_holds_maps_and_neighbours_and_hostile_text(retriever):
    explorer = WhyExplorer(retriever, query="p/1.jpg", k=3, by="label")
    figure = explorer.static()
    told = figure.axes[0].get_label()
    assert "occlusion" in told and HOSTILE.split(">")[0] in told
    assert len(figure.axes[0].images) == 2 + len(METHODS) + 3
    figure.savefig(io.BytesIO(), format="png")
    data, metadata = explorer._repr_mimebundle_()
    assert data["image/png"] and metadata["image/png"]["alt"] == told


def test_a_flat_map_and_a_tiny_image_are_drawn():
    assert heated(np.zeros((1, 2, 3), np.uint8), np.zeros((1, 2))).shape == (1, 2, 3)
    picture = heated(np.full((60, 60, 3), 255, np.uint8), np.eye(60))
    assert (picture[0, 0] == 255).all() and picture[59, 59].tolist() == [230, 159, 0]
