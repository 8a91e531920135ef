"""Weights of deep encoders: from files, from the cache, from a server, and when there is none."""

import hashlib
import pickle
import urllib.error

import numpy as np
import pytest
from deep_samples import pictures, small

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

from safetensors.torch import save_file

from cbirkit.encoders import Deep
from cbirkit.nets import backbone, from_torchvision
from cbirkit.nets.backbone import read_weights
from cbirkit.persistence import fingerprint


@pytest.fixture
def state():
    torch.manual_seed(7)
    from cbirkit.nets.conv5 import Conv5

    return Conv5().state_dict()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


def test_every_kind_of_file_gives_the_same(state, tmp_path):
    images = pictures()
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.pt")
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}},
        tmp_path / "c.pth",
    )
    torch.save({"model": {**state, "classifier.weight": torch.zeros(5, 96)}}, tmp_path / "d.pth")
    encoders = [small(weights=path) for path in sorted(tmp_path.iterdir())]
    arrays = {name: value.numpy() for name, value in state.items()}
    encoders += [small(weights=str(tmp_path / "a.safetensors"))]
    encoders += [small().with_state(state), small().with_state(arrays)]
    assert len({fingerprint(encoder) for encoder in encoders}) == 1
    first = encoders[0].transform(images)
    assert np.abs(first - small().transform(images)).max() > 1e-3
    for encoder in encoders[1:]:
        np.testing.assert_array_equal(encoder.transform(images), first)


def test_half_precision_files_are_used_as_float32(state, tmp_path):
    save_file(
        {name: v.bfloat16() if v.is_floating_point() else v for name, v in state.items()},
        tmp_path / "half.safetensors",
    )
    deep = small(weights=tmp_path / "half.safetensors")
    assert {p.dtype for p in deep.network.parameters()} == {torch.float32}
    exact = small().with_state(state).transform(pictures())
    assert ((deep.transform(pictures()) * exact).sum(axis=1) > 0.999).all()


def test_a_changed_file_is_read_again(state, tmp_path):
    path, images = tmp_path / "weights.pt", pictures()
    torch.save(state, path)
    deep = small(weights=path)
    before, name = deep.transform(images), fingerprint(deep)
    state["blocks.0.0.weight"] += 0.3
    torch.save(state, path)
    after = deep.transform(images)
    assert np.abs(after - before).max() > 1e-3 and fingerprint(deep) != name
    path.unlink()
    np.testing.assert_array_equal(deep.transform(images), after)  # read already


def test_counters_of_batches_change_nothing(state, tmp_path):
    with_counters = small().with_state(state)
    for name in state:
        if name.endswith("num_batches_tracked"):
            state[name] = state[name] + 5
    assert fingerprint(small().with_state(state)) == fingerprint(with_counters)
    bare = {
        name: value for name, value in state.items() if not name.endswith("num_batches_tracked")
    }
    assert fingerprint(small().with_state(bare)) == fingerprint(with_counters)


class Harmful:
    def __reduce__(self):
        return (print, ("code was run",))


def broken(path, kind, state):
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"a": Harmful()}))
    elif kind == "object":
        torch.save({"model": Harmful()}, path)
    elif kind == "truncated":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[:-2000])
    elif kind == "numbers":
        torch.save({"epoch": 3}, path)
    elif kind == "empty":
        path.write_bytes(b"")
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("pickle", "holds more than tensors"),
        ("object", "holds more than tensors"),
        ("truncated", "is damaged"),
        ("numbers", "holds no state dict"),
        ("empty", "is damaged"),
    ],
)
def test_bad_files_are_refused_by_name(kind, message, state, tmp_path, capsys):
    with pytest.raises(ValueError, match=message) as caught:
        small(weights=broken(tmp_path / "bad.pth", kind, state)).transform(pictures(1))
    assert "bad.pth" in str(caught.value) and "code was run" not in capsys.readouterr().out


def test_a_bad_safetensors_file(tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(ValueError, match=r"'bad.safetensors' is damaged or no weights file"):
        read_weights(tmp_path / "bad.safetensors")
    (tmp_path / "weights.h5").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"must end in one of .safetensors, .pt, .pth"):
        read_weights(tmp_path / "weights.h5")


def test_missing_and_unfitting_weights(state, tmp_path):
    with pytest.raises(FileNotFoundError, match='there is no weights file .*"default", or None'):
        small(weights=tmp_path / "none.pth").transform(pictures(1))
    torch.save(state, tmp_path / "conv5.pth")
    with pytest.raises(ValueError, match="do not fit resnet18 .* unknown, such as 'blocks.0.0"):
        Deep("resnet18", tmp_path / "conv5.pth").transform(pictures(1))
    with pytest.raises(ValueError, match=r"1 of another shape, such as 'blocks.0.0.weight'"):
        small().with_state({**state, "blocks.0.0.weight": torch.zeros(24, 3, 5, 5)})
    with pytest.raises(ValueError, match="1 unknown, such as 'extra'"):
        small().with_state({**state, "extra": torch.zeros(1)})
    with pytest.raises(ValueError, match="no official weights"):
        Deep("conv5").transform(pictures(1))
    with pytest.raises(ValueError, match="no weights 'IMAGENET1K_V9'; there are IMAGENET1K_V1"):
        Deep("resnet18", "IMAGENET1K_V9").transform(pictures(1))


def test_a_segmenter_passes_over_the_head_that_only_training_needs(tmp_path):
    name = "deeplabv3_mobilenet_v3_large"  # whose official weights have one
    whole = torchvision.models.get_model(
        name, weights=None, weights_backbone=None, aux_loss=True
    ).state_dict()
    torch.save(whole, tmp_path / "whole.pth")
    loaded = from_torchvision.build_segmenter(name, tmp_path / "whole.pth").state_dict()
    assert all(torch.equal(value, whole[key]) for key, value in loaded.items())


# ---------------------------------------------------------------------- official weights


def squeezenet_file(folder):
    """A file of weights for squeezenet1_1, called as torchvision calls them, and the address to ask for."""
    torch.manual_seed(1)
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), folder / "x.pth")
    data = (folder / "x.pth").read_bytes()
    (folder / "x.pth").unlink()
    path = folder / f"squeezenet1_1-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    path.write_bytes(data)
    return path


class Entry:
    """Torchvision's own entry, at another address."""

    def __init__(self, url):
        self.url, self.name = url, "IMAGENET1K_V1"
        self.transforms = torchvision.models.get_model_weights("squeezenet1_1").DEFAULT.transforms


@pytest.fixture
def served(tmp_path, monkeypatch, cache):
    """A file at a local address that squeezenet1_1's official weights are looked for at."""
    folder = tmp_path / "served"
    folder.mkdir()
    path = squeezenet_file(folder)
    monkeypatch.setattr(from_torchvision, "_entry", lambda name, weights: Entry(path.as_uri()))
    return path


def test_official_weights_are_downloaded_once(served, cache):
    images = pictures(2)
    deep = Deep("squeezenet1_1", size=64, device="cpu")
    embeddings = deep.transform(images)
    assert [p.name for p in cache.iterdir()] == [served.name]
    served.unlink()  # offline from here on
    np.testing.assert_array_equal(
        Deep("squeezenet1_1", size=64, device="cpu").transform(images), embeddings
    )
    same = Deep("squeezenet1_1", cache / served.name, size=64, device="cpu")
    np.testing.assert_array_equal(same.transform(images), embeddings)


def test_a_download_that_is_damaged_leaves_nothing(served, cache):
    served.write_bytes(served.read_bytes()[:-1])
    with pytest.raises(ValueError, match="the download of .* is damaged"):
        Deep("squeezenet1_1").transform(pictures(1))
    assert not list(cache.iterdir())


def test_a_damaged_file_in_the_cache_is_named(served, cache):
    cache.mkdir(parents=True)
    (cache / served.name).write_bytes(served.read_bytes()[:-1] + b"!")
    with pytest.raises(ValueError, match=f"{served.name}' is damaged"):
        Deep("squeezenet1_1").transform(pictures(1))


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError("no such host"),
        ConnectionResetError("reset"),
        TimeoutError("timed out"),
    ],
)
def test_offline_says_what_to_do(error, cache, monkeypatch):
    def unreachable(*args, **kwargs):
        raise error

    monkeypatch.setattr(torch.hub, "urlopen", unreachable)
    with pytest.raises(ConnectionError) as caught:
        Deep("resnet50").transform(pictures(1))
    for part in (
        "'resnet50' are not",
        "cbirkit prefetch resnet50",
        "resnet50-11ad3fa6.pth",
        str(cache),
        "weights=PATH",
        '"tiny"',
    ):
        assert part in str(caught.value)
    assert not list(cache.glob("*"))


def test_a_host_without_the_file_counts_as_unreachable(cache, monkeypatch, tmp_path):
    monkeypatch.setattr(
        from_torchvision,
        "_entry",
        lambda name, weights: Entry((tmp_path / "gone-12345678.pth").as_uri()),
    )
    with pytest.raises(ConnectionError, match="cbirkit prefetch squeezenet1_1"):
        Deep("squeezenet1_1").transform(pictures(1))


def test_a_full_disk_is_no_matter_of_the_network(cache, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch.hub, "download_url_to_file", full)
    with pytest.raises(OSError, match="No space left") as caught:
        backbone.official_file("file:///nowhere/a-12345678.pth", "a")
    assert not isinstance(caught.value, ConnectionError)


def test_timm_offline_says_what_to_do(monkeypatch, tmp_path):
    pytest.importorskip("timm")
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConnectionError) as caught:
        Deep("timm/test_resnet.r160_in1k").transform(pictures(1))
    for part in ("prefetch timm/test_resnet.r160_in1k", "model.safetensors", "weights=PATH"):
        assert part in str(caught.value)
    with pytest.raises(ValueError, match="timm has no model 'test_resnot'"):
        Deep("timm/test_resnot").transform(pictures(1))
    with pytest.raises(ValueError, match="timm names weights in the model"):
        Deep("timm/test_resnet", "IMAGENET1K_V1").transform(pictures(1))
