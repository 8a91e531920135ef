"""Networks that segment: the shipped one, torchvision's with random weights, and what is refused."""

import functools

import numpy as np
import pytest
import torch

from cbirkit import datasets
from cbirkit.nets.conv5 import SHIPPED, SegmenterNet, load_segmenter
from cbirkit.objects import (
    Felzenszwalb,
    Region,
    RegionRetriever,
    Segmenter,
    TorchvisionSegmenter,
    connected_regions,
    mask_iou,
)


@pytest.fixture(scope="module")
def scenes():
    """Rendered scenes that nothing was trained on."""
    images = datasets.load_tabletop("scenes")
    return images[images.column("split") == "independent"][:24]


@functools.cache
def unseen():
    """Categories that nothing was trained on."""
    objects = datasets.load_tabletop("objects")
    return set(objects.labels[~objects.column("seen_category")])


def things(images, i):
    """Regions of the objects of these categories."""
    held = enumerate(images.column("categories")[i], 1)
    return [Region.from_mask(images.mask(i) == number) for number, name in held if name in unseen()]


def overlap(proposer, images):
    """For each thing the largest overlap with a proposed region, mean."""
    best = []
    for i in range(len(images)):
        found = proposer.propose(images[i])
        best += [
            max((mask_iou(region, thing) for region in found), default=0.0)
            for thing in things(images, i)
        ]
    return np.mean(best)


def test_the_shipped_network_finds_things_of_classes_it_never_saw(scenes):
    learned = overlap(Segmenter(), scenes)
    assert learned > 0.5 and learned > overlap(Felzenszwalb(), scenes)


def test_the_shipped_file_is_small_and_says_what_it_is():
    from safetensors import safe_open

    assert SHIPPED.stat().st_size <= 2**20
    with safe_open(SHIPPED, "pt") as file:
        assert '"steps"' in file.metadata()["about"]
    assert sum(p.numel() for p in SegmenterNet().parameters()) == 185_801


def test_regions_lie_in_the_image_whatever_its_shape():
    for shape in ((40, 130), (1, 1), (300, 20), (96, 96)):
        image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
        segmenter = Segmenter(threshold=0.3, device="cpu")
        assert segmenter.probabilities(image).shape == shape
        for region in segmenter.propose(image):
            assert region.shape == shape and 0.3 < region.score <= 1


def test_connected_parts_are_those_of_a_flood_fill():
    rng = np.random.default_rng(1)
    mask, chances = rng.random((9, 12)) < 0.4, rng.random((9, 12))
    free = {tuple(pixel) for pixel in np.argwhere(mask)}
    parts = []
    while free:
        edge, part = [free.pop()], set()
        while edge:
            y, x = edge.pop()
            part.add((y, x))
            near = {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)} & free
            free -= near
            edge += near
        parts.append(frozenset(part))
    found = connected_regions(mask, chances)
    assert {frozenset(map(tuple, np.argwhere(region.mask))) for region in found} == set(parts)
    assert all(region.score == pytest.approx(chances[region.mask].mean()) for region in found)
    assert all(region.area >= 5 for region in connected_regions(mask, chances, min_area=5 / 108))
    assert connected_regions(np.zeros((3, 3), bool), np.zeros((3, 3))) == []


def test_weights_that_do_not_fit_are_refused(tmp_path):
    from safetensors.torch import save_file

    image = np.zeros((32, 32, 3), np.uint8)
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="do not fit a SegmenterNet"):
        Segmenter(tmp_path / "other.safetensors").propose(image)
    with pytest.raises(FileNotFoundError, match="no weights file"):
        load_segmenter(tmp_path / "none.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"1234")
    with pytest.raises(ValueError, match="damaged"):
        Segmenter(tmp_path / "broken.safetensors").propose(image)
    for settings, words in (({"threshold": 1.5}, "threshold"), ({"sides": (4,)}, "sides")):
        with pytest.raises(ValueError, match=words):
            Segmenter(**settings).propose(image)


def test_a_retriever_with_the_segmenter_is_saved_without_its_network(tmp_path):
    from cbirkit.encoders import Deep

    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    retriever = RegionRetriever(
        Deep("conv5", weights=None, size=32), Segmenter(), progress=False
    ).fit(images)
    other = RegionRetriever.load(retriever.save(tmp_path / "regions"))
    assert (
        isinstance(other.proposer, Segmenter)
        and other.proposer.get_params() == Segmenter().get_params()
    )


@pytest.mark.parametrize("name", ["maskrcnn_resnet50_fpn", "lraspp_mobilenet_v3_large"])
def test_torchvision_with_random_weights_runs(name, monkeypatch):
    build = TorchvisionSegmenter._build

    def small(segmenter):
        network = build(segmenter)
        if name.startswith("maskrcnn"):  # by itself it enlarges the image to 800 pixels
            network.transform.min_size, network.transform.max_size = (64,), 80
        return network

    monkeypatch.setattr(TorchvisionSegmenter, "_build", small)
    torch.manual_seed(0)
    image = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    proposer = TorchvisionSegmenter(name, weights=None, min_score=0.0, device="cpu")
    regions = proposer.propose(image)
    assert len(regions) <= 16 and all(region.shape == (64, 80) for region in regions)


def test_torchvision_without_weights_or_model_says_what_to_do(monkeypatch, tmp_path):
    image = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(ValueError, match="model must be one of"):
        TorchvisionSegmenter("resnet50").propose(image)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def refuse(*arguments, **settings):
        raise OSError("no network here")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(ConnectionError, match="weights=PATH of a file of yours, or use Segmenter"):
        TorchvisionSegmenter("lraspp_mobilenet_v3_large").propose(image)
