"""Deep encoders: what transform, feature_maps, layers and scales give, whatever the backbone."""

import numpy as np
import pytest
from deep_samples import pictures, small
from sklearn.base import clone

torch = pytest.importorskip("torch")

from cbirkit.encoders import Deep


def by_hand(deep, images, pool):
    """Embeddings from the network itself, one image after another."""
    network, rows = deep.network, []
    for image in images:
        with torch.no_grad():
            maps = network(deep.preprocessing([image]))[0]
        vector = pool(maps).numpy()
        rows.append(vector / np.linalg.norm(vector))
    return np.array(rows)


@pytest.mark.parametrize(
    ("pooling", "pool"),
    [
        ("default", lambda maps: maps.mean(dim=(1, 2))),
        ("average", lambda maps: maps.mean(dim=(1, 2))),
        ("max", lambda maps: maps.flatten(1).max(dim=1).values),
        ("gem", lambda maps: maps.clamp(min=1e-6).pow(3).mean(dim=(1, 2)).pow(1 / 3)),
    ],
)
def test_transform_is_the_pooled_map_of_the_network(pooling, pool):
    deep, images = small(pooling=pooling), pictures()
    embeddings = deep.transform(images)
    assert embeddings.dtype == np.float32 and embeddings.shape == (5, 96) == (5, deep.n_dims)
    np.testing.assert_allclose(embeddings, by_hand(deep, images, pool), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


def test_the_network_that_ships_is_the_default():
    images = pictures(3)
    deep = Deep("tiny", device="cpu")
    embeddings = deep.transform(images)
    assert embeddings.shape == (3, deep.n_dims) and deep.preprocessing.shape == (160, 160)
    np.testing.assert_allclose(
        embeddings, by_hand(deep, images, lambda maps: maps.mean(dim=(1, 2))), atol=1e-5
    )
    assert (
        np.abs(Deep("tiny", weights=None, device="cpu").transform(images) - embeddings).max() > 1e-3
    )
    assert deep.layers()[-1] and deep.feature_maps(images).shape == (3, deep.n_dims, 5, 5)
    with pytest.raises(ValueError, match='"tiny" has no weights'):
        Deep("tiny", "IMAGENET1K_V1").transform(images)


def test_an_embedding_depends_on_its_own_image_only():
    images = pictures(20)
    whole = small().transform(images)
    for batch_size in (1, 3, 64):
        np.testing.assert_allclose(small(batch_size=batch_size).transform(images), whole, atol=1e-5)
    np.testing.assert_allclose(small().transform([images[7]])[0], whole[7], atol=1e-5)
    np.testing.assert_allclose(small().transform(images[::-1])[::-1], whole, atol=1e-5)
    np.testing.assert_allclose(
        np.concatenate(list(map(small().transform, ([i] for i in images)))), whole, atol=1e-5
    )


def test_threads_give_the_same_and_are_set_back():
    images, before = pictures(24), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = small(batch_size=4).transform(images)
        torch.set_num_threads(3)
        three = small(batch_size=4).transform(images)
        assert torch.get_num_threads() == 3
        with pytest.raises(ValueError, match="class token"):
            small(batch_size=4, pooling="cls").transform(images)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(three, one, atol=1e-5)


def test_grey_and_rgba_images_and_generators_are_taken():
    image = pictures(1)[0]
    grey = np.repeat(image[:, :, :1], 3, axis=2)
    embeddings = small().transform(
        iter([image, image[:, :, 0], np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])])
    )
    np.testing.assert_allclose(embeddings[2], embeddings[0], atol=1e-6)
    np.testing.assert_allclose(embeddings[1], small().transform([grey])[0], atol=1e-6)
    with pytest.raises(ValueError, match="at least one image"):
        small().transform([])
    with pytest.raises(ValueError, match="at least one image"):
        small().feature_maps([])
    with pytest.raises(TypeError, match="is the path"):
        small().transform(["photo.jpg"])


def test_without_normalisation():
    images = pictures()
    raw = small(normalise=False).transform(images)
    assert not np.allclose(np.linalg.norm(raw, axis=1), 1)
    np.testing.assert_allclose(
        raw / np.linalg.norm(raw, axis=1, keepdims=True), small().transform(images), atol=1e-5
    )


def test_feature_maps_are_what_is_pooled():
    images = pictures()
    maps = small(batch_size=2).feature_maps(images)
    assert maps.shape == (5, 96, 4, 4) and maps.dtype == np.float32
    np.testing.assert_allclose(
        maps.mean(axis=(2, 3)), small(normalise=False).transform(images), atol=1e-5
    )


def test_several_scales_are_averaged_after_normalisation():
    images = pictures()
    parts = [small(size=size).transform(images) for size in (32, 16, 48)]
    mean = np.mean(parts, axis=0)
    several = small(scales=(1.0, 0.5, 1.5)).transform(images)
    np.testing.assert_allclose(
        several, mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-5
    )
    assert np.abs(several - parts[0]).max() > 1e-3
    np.testing.assert_allclose(small(scales=(0.5,)).transform(images), parts[1], atol=1e-5)
    assert small(scales=(1.0, 0.5)).n_dims == 96


def test_size_and_resize():
    image = pictures(1)[0]
    assert small(size=(32, 48)).feature_maps([image]).shape == (1, 96, 4, 6)
    assert small(size=None).preprocessing.shape == (64, 64)
    assert (
        Deep("resnet18").preprocessing.resize == "crop"
        and Deep("resnet18", resize="pad").preprocessing.resize == "pad"
    )
    assert np.abs(small(resize="pad").transform([image]) - small().transform([image])).max() > 1e-4


def test_layers_can_be_asked_for():
    deep, images = small(), pictures(2)
    names = deep.layers()
    assert names[:3] == ["blocks.0.0", "blocks.0.1", "blocks.0.2"] and names[-1] == "blocks"
    for name in ("blocks.0", "blocks.1.1", "blocks.4"):
        early, with_hook = small(layer=name), []
        network = deep.network
        network.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, kept=with_hook: kept.append(output.clone())
        )
        with torch.no_grad():
            network(deep.preprocessing(images))
        np.testing.assert_allclose(early.feature_maps(images), with_hook[0].numpy(), atol=1e-5)
    assert small(layer="blocks.0").transform(images).shape == (2, 24)
    assert small(layer="blocks.0").layers() == names
    np.testing.assert_allclose(
        small(layer="blocks.4").transform(images), deep.transform(images), atol=1e-6
    )


def test_the_forward_pass_stops_at_the_layer():
    network = small(layer="blocks.1").network
    ran = []
    network.blocks[2].register_forward_hook(lambda *_: ran.append("later"))
    network.blocks[0].register_forward_hook(lambda *_: ran.append("earlier"))
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 48, 8, 8)
    assert ran == ["earlier"]


def test_set_params_takes_effect():
    deep, images = small(), pictures()
    first = deep.transform(images)
    np.testing.assert_allclose(
        deep.set_params(pooling="max").transform(images), small(pooling="max").transform(images)
    )
    np.testing.assert_allclose(
        deep.set_params(layer="blocks.0").transform(images),
        small(pooling="max", layer="blocks.0").transform(images),
    )
    np.testing.assert_allclose(
        deep.set_params(pooling="default", layer=None).transform(images), first, atol=1e-6
    )
    assert np.abs(deep.set_params(random_state=1).transform(images) - first).max() > 1e-3


def test_random_weights_depend_on_the_seed_only():
    images = pictures()
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first = small(random_state=5).transform(images)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(4)
    np.testing.assert_array_equal(small(random_state=5).transform(images), first)


def test_it_is_a_light_estimator():
    deep = Deep("resnet50", pooling="gem", p=2.5)
    assert repr(deep) == "Deep(backbone='resnet50', p=2.5, pooling='gem')"
    assert (
        repr(Deep()) == "Deep(backbone='lite0')"
        and repr(Deep(size=64)) == "Deep(backbone='lite0', size=64)"
    )
    assert clone(deep).get_params() == deep.get_params()
    assert deep.fit() is deep and "_cache" not in vars(deep)  # nothing was built or fetched


def test_training_the_network_leaves_the_encoder_alone():
    deep, images = small(), pictures()
    before = deep.transform(images)
    network = deep.network
    assert not network.training and all(p.requires_grad for p in network.parameters())
    network.train()(deep.preprocessing(images)).sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1)
    np.testing.assert_array_equal(deep.transform(images), before)
    assert np.abs(deep.with_state(network.state_dict()).transform(images) - before).max() > 1e-3


def test_bfloat16_is_near():
    images = pictures()
    exact, rough = small().transform(images), small(precision="bfloat16").transform(images)
    cosines = (exact * rough).sum(axis=1)
    assert (
        rough.dtype == np.float32 and (cosines > 0.999).all() and np.abs(exact - rough).max() > 1e-7
    )


@pytest.mark.skipif(
    not (torch.cuda.is_available() or torch.backends.mps.is_available()),
    reason="no second device here",
)
@pytest.mark.parametrize("backbone", ["conv5", "resnet18", "vit_b_32"])
def test_devices_agree(backbone):
    parameters = {
        "backbone": backbone,
        "weights": None,
        "size": None if backbone == "vit_b_32" else 64,
    }
    images = pictures()
    near = (
        Deep(**parameters, device="cpu").transform(images)
        * Deep(**parameters, device="auto").transform(images)
    ).sum(axis=1)
    assert (near > 0.9999).all()


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({"backbone": 3}, "backbone"),
        ({"pooling": "mean"}, "pooling.*'gem'.*got 'mean'"),
        ({"p": 0}, "p must be"),
        ({"scales": ()}, "scales"),
        ({"scales": 1.0}, "scales"),
        ({"scales": (1, 0)}, "scales"),
        ({"batch_size": 0}, "batch_size"),
        ({"precision": "int8"}, "precision"),
        ({"resize": "stretch"}, "resize"),
        ({"random_state": None}, "random_state"),
    ],
)
def test_bad_parameters_are_refused(parameters, word):
    deep = small(**parameters)
    for use in (deep.fit, lambda: deep.transform(pictures(1)), lambda: deep.network):
        with pytest.raises(ValueError, match=word):
            use()


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({"layer": "blocks.9"}, "no layer 'blocks.9'"),
        ({"device": "tpu"}, "tpu.* is not there"),
        ({"precision": "float16"}, "needs a cuda device"),
        ({"pooling": "cls"}, "class token"),
        ({"size": 0}, "size"),
        ({"backbone": "resnet5O"}, "no backbone 'resnet5O'; torchvision has resnet50"),
    ],
)
def test_what_shows_when_the_network_is_built(parameters, word):
    with pytest.raises(ValueError, match=word):
        small(**parameters).transform(pictures(1))
