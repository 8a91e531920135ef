"""Preprocessing of networks: against PIL, torchvision and timm."""

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
transforms = pytest.importorskip("torchvision.transforms")

from cbirkit.nets.preprocessing import Preprocessing


def picture(height, width, seed=0):
    """Smooth and noisy at once, so that filters and offsets both show."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
    large = np.asarray(
        Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    ).astype(int)
    return np.clip(large + random.integers(-20, 21, large.shape), 0, 255).astype(np.uint8)


SHAPES = [(60, 90), (91, 57), (64, 64), (33, 200), (20, 24)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("how", ["bilinear", "bicubic"])
def test_squash_gives_the_pixels_of_torchvision(shape, how):
    image = picture(*shape)
    theirs = transforms.Resize((40, 48), transforms.InterpolationMode(how))(Image.fromarray(image))
    np.testing.assert_array_equal(
        Preprocessing((40, 48), interpolation=how).resized(image), np.asarray(theirs)
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("short", [56, 64, 73])
def test_crop_gives_the_pixels_of_torchvision(shape, short):
    image = picture(*shape)
    theirs = transforms.CenterCrop(56)(transforms.Resize(short)(Image.fromarray(image)))
    ours = Preprocessing(56, resize="crop", crop_ratio=56 / short).resized(image)
    np.testing.assert_array_equal(ours, np.asarray(theirs))


def test_the_crop_is_not_off_by_a_pixel():
    image = np.zeros((80, 80, 3), np.uint8)
    image[:, :12] = image[:, 68:] = 255  # a white border left and right
    cropped = Preprocessing(56, resize="crop", crop_ratio=56 / 80).resized(image)
    assert (
        not cropped.any()
        and Preprocessing(58, resize="crop", crop_ratio=58 / 80).resized(image)[:, [0, -1]].all()
    )


def test_a_long_strip_is_cropped_to_the_same_without_being_enlarged_as_a_whole():
    strip = picture(32, 1400)
    cropping = Preprocessing(56, resize="crop", crop_ratio=56 / 64)
    whole = transforms.CenterCrop(56)(transforms.Resize(64)(Image.fromarray(strip)))
    assert np.abs(cropping.resized(strip).astype(int) - np.asarray(whole)).max() <= 2
    assert cropping.resized(np.zeros((1, 3_000_000, 3), np.uint8)).shape == (
        56,
        56,
        3,
    )  # whole: 192 million pixels


@pytest.mark.parametrize(
    "name", ["resnet50", "mobilenet_v2", "vit_b_16", "swin_t", "inception_v3", "efficientnet_b1"]
)
def test_presets_are_those_of_torchvision(name):
    from torchvision.models import get_model_weights

    from cbirkit.nets.backbones import preprocessing_of

    image = picture(180, 240)
    theirs = get_model_weights(name).DEFAULT.transforms()(Image.fromarray(image))
    ours = preprocessing_of(name)([image])[0]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_timm_agrees_on_squares():
    timm = pytest.importorskip("timm")
    from cbirkit.nets.backbones import preprocessing_of

    for name in ("resnet18.a1_in1k", "vit_tiny_patch16_224.augreg_in21k_ft_in1k"):
        image = picture(300, 300)
        config = timm.data.resolve_data_config(
            pretrained_cfg=timm.get_pretrained_cfg(name).to_dict()
        )
        theirs = timm.data.create_transform(**config, is_training=False)(Image.fromarray(image))
        ours = preprocessing_of(f"timm/{name}")([image])[0]
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_scaling_is_that_of_torchvision():
    image = picture(32, 32)
    values = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.25)}
    theirs = transforms.Compose([transforms.ToTensor(), transforms.Normalize(**values)])(
        Image.fromarray(image)
    )
    ours = Preprocessing(32, **values)([image, image[::-1]])
    assert ours.dtype == torch.float32 and ours.shape == (2, 3, 32, 32)
    torch.testing.assert_close(ours[0], theirs, atol=1e-5, rtol=0)
    assert ours.is_contiguous(memory_format=torch.channels_last)


def test_pad_keeps_the_aspect_and_fills_with_the_mean():
    image = picture(40, 80)
    padding = Preprocessing(32, mean=(0.2, 0.4, 0.6), std=(1.0, 1.0, 1.0), resize="pad")
    padded = padding.resized(image)
    np.testing.assert_array_equal(padded[8:24], Preprocessing((16, 32)).resized(image))
    assert (padded[:8] == [51, 102, 153]).all() and (padded[24:] == [51, 102, 153]).all()
    assert padding.to_tensor([padded])[0, :, 0].abs().max() < 1e-6


def test_area_is_the_mean_of_what_is_covered():
    image = picture(48, 64)
    area = Preprocessing((24, 16), interpolation="area").resized(image)
    oracle = image.reshape(24, 2, 16, 4, 3).mean(axis=(1, 3))
    assert np.abs(area - oracle).max() <= 1  # Pillow rounds twice, once along each side
    grown = Preprocessing(96, interpolation="area").resized(image)
    np.testing.assert_array_equal(grown, Preprocessing(96).resized(image))


def test_an_image_of_the_right_size_is_left_alone_and_strange_shapes_pass():
    image = picture(32, 32)
    assert Preprocessing(32).resized(image) is image
    for resize in ("squash", "crop", "pad"):
        for shape in ((1, 1), (1, 500), (300, 2)):
            assert Preprocessing(32, resize=resize).resized(
                np.zeros((*shape, 3), np.uint8)
            ).shape == (32, 32, 3)


def test_scaled():
    assert Preprocessing(224).scaled(0.5).shape == (112, 112)
    assert Preprocessing((30, 20)).scaled(1.0) == Preprocessing((30, 20))
    assert Preprocessing((3, 9)).scaled(0.1).shape == (1, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 0}, "size must be"),
        ({"size": (2, 3, 4)}, "size must be"),
        ({"size": True}, "size must be"),
        ({"resize": "stretch"}, "resize must be one of squash, crop, pad, got 'stretch'"),
        ({"interpolation": "lanczos"}, "interpolation must be one of"),
        ({"crop_ratio": 0}, "crop_ratio must be"),
        ({"std": (1, 1, 0)}, "std must be 3 positive"),
    ],
)
def test_bad_parameters_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**changes)
