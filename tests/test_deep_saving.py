"""Deep encoders in a store, a pipeline and a saved retriever; what is part of their identity."""

import copy

import numpy as np
import pytest
from deep_samples import pictures, small
from PIL import Image
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

torch = pytest.importorskip("torch")

from store_samples import n_kept

from cbirkit import ImageCollection, Retriever
from cbirkit.encoders import Deep, PCAWhitening
from cbirkit.persistence import fingerprint
from cbirkit.retrieval import is_fitted
from cbirkit.store import EmbeddingStore, embed, split_pipeline


@pytest.fixture
def folder(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, image in enumerate(pictures(12)):
        Image.fromarray(image).save(photos / f"{number:02d}.png")
    return photos


@pytest.fixture
def trained():
    network = small().network
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.3).add_(0.02)
    return small().with_state(network.state_dict())


@pytest.fixture
def weights_file(trained, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({name: torch.from_numpy(value) for name, value in trained.state_.items()}, path)
    return path


SAME = [{"device": "auto"}, {"batch_size": 1}, {"p": 2.0}, {"scales": [1]}, {"size": (32, 32)}]
OTHER = [
    {"random_state": 1},
    {"pooling": "max"},
    {"pooling": "gem"},
    {"pooling": "gem", "p": 2.0},
    {"scales": (1.0, 0.5)},
    {"size": 48},
    {"resize": "pad"},
    {"layer": "blocks.3"},
    {"normalise": False},
    {"precision": "bfloat16"},
]


def test_fingerprints_differ_where_embeddings_do():
    names = [fingerprint(small(**parameters)) for parameters in [{}, *OTHER]]
    assert len(set(names)) == len(names)
    assert {fingerprint(small(**parameters)) for parameters in SAME} == {names[0]}
    assert fingerprint(clone(small())) == fingerprint(small())


def test_fingerprints_of_official_weights_need_no_network(monkeypatch):
    monkeypatch.setattr("cbirkit.nets.backbones.build", None)
    given = (("resnet50",), ("resnet50", "IMAGENET1K_V1"), ("resnet18",), ("tiny",))
    names = [fingerprint(Deep(*arguments)) for arguments in given]
    assert len(set(names)) == 4
    assert fingerprint(Deep("resnet50", "IMAGENET1K_V2")) == names[0]  # what "default" is


def test_official_weights_are_not_saved_but_others_are():
    assert "state_" not in Deep("resnet50").__getstate__()
    assert set(small().__getstate__()["state_"]) == set(small().network.state_dict())


def test_weights_of_a_file_count_by_contents(weights_file, trained, tmp_path):
    copied = tmp_path / "copy.pth"
    copied.write_bytes(weights_file.read_bytes())
    same = {fingerprint(small(weights=path)) for path in (weights_file, copied)}
    assert same == {fingerprint(trained)} != {fingerprint(small())}


def test_trained_weights_stay_with_clones_and_copies_until_others_are_set(trained):
    images = pictures(3)
    embeddings = trained.transform(images)
    assert np.abs(embeddings - small().transform(images)).max() > 1e-3
    for other in (
        clone(trained),
        copy.deepcopy(trained),
        clone(make_pipeline(trained, PCA(2))).steps[0][1],
    ):
        np.testing.assert_array_equal(other.transform(images), embeddings)
        assert repr(other).endswith(".with_state(…)")
    pooled = clone(trained).set_params(pooling="max", normalise=False).transform(images)
    np.testing.assert_allclose(
        pooled, trained.set_params(normalise=False).feature_maps(images).max(axis=(2, 3)), rtol=1e-4
    )
    back = clone(trained).set_params(weights=None, normalise=True)
    np.testing.assert_allclose(back.transform(images), small().transform(images), atol=1e-6)
    assert not repr(back).endswith(".with_state(…)")


def test_with_state_leaves_the_first_as_it_is(trained):
    first = small()
    before, name = first.transform(pictures(2)), fingerprint(first)
    other = first.with_state(trained.network.state_dict())
    np.testing.assert_array_equal(first.transform(pictures(2)), before)
    assert fingerprint(first) == name != fingerprint(other)


def check_round_trip(encoder, folder, tmp_path, spoil=None):
    retriever = Retriever(encoder, progress=False).fit(ImageCollection.from_folder(folder))
    name = fingerprint(retriever.encoder_)
    queries = pictures(3, seed=5)
    ranking = retriever.search(queries, k=5)
    retriever.save(tmp_path / "saved")
    if spoil is not None:
        spoil()
    loaded = Retriever.load(tmp_path / "saved")
    again = loaded.search(queries, k=5)
    assert fingerprint(loaded.encoder_) == name
    np.testing.assert_array_equal(again.indices, ranking.indices)
    np.testing.assert_allclose(again.distances, ranking.distances, atol=1e-5)
    return loaded


def test_round_trip_of_trained_weights(trained, folder, tmp_path):
    loaded = check_round_trip(trained, folder, tmp_path)
    assert repr(loaded.encoder_).endswith(".with_state(…)")


def test_round_trip_of_random_weights(folder, tmp_path):
    check_round_trip(small(), folder, tmp_path)


def test_round_trip_of_a_file_that_is_gone_afterwards(weights_file, folder, tmp_path):
    loaded = check_round_trip(
        small(weights=weights_file), folder, tmp_path, spoil=weights_file.unlink
    )
    assert not repr(loaded.encoder_).endswith(".with_state(…)")
    second = tmp_path / "second"
    loaded.save(second)  # and once more, from what was loaded
    assert fingerprint(Retriever.load(second).encoder_) == fingerprint(loaded.encoder_)


def test_round_trip_of_a_pipeline(trained, folder, tmp_path):
    loaded = check_round_trip(make_pipeline(trained, PCAWhitening(4)), folder, tmp_path)
    assert loaded.embeddings.shape == (12, 4)


def test_one_extraction_serves_every_tail(folder, tmp_path, monkeypatch):
    images, store = ImageCollection.from_folder(folder), EmbeddingStore(tmp_path / "store")
    encoded = []
    original = Deep.transform_prepared
    monkeypatch.setattr(
        Deep,
        "transform_prepared",
        lambda self, prepared: encoded.append(len(prepared)) or original(self, prepared),
    )
    first = Retriever(small(), store=store, progress=False).fit(images)
    assert sum(encoded) == 12
    for tail in (
        [PCAWhitening(4)],
        [PCAWhitening(6)],
        [PCAWhitening(8), PCA(3)],
        [Normalizer(), PCAWhitening(5, power=0.5)],
    ):
        pipeline = make_pipeline(small(), *tail)
        retriever = Retriever(pipeline, store=store, progress=False).fit(images)
        chain = make_pipeline(*map(clone, tail)).fit(first.embeddings)
        np.testing.assert_allclose(
            retriever.embeddings, chain.transform(first.embeddings), atol=1e-4
        )
    assert sum(encoded) == 12
    assert n_kept(store.folder) == 12


def test_whitening_is_a_step_on_vectors():
    deep, whitening = small(), PCAWhitening(4)
    head, tail = split_pipeline(make_pipeline(deep, whitening))
    assert head is deep and [step for _, step in tail.steps] == [whitening]
    assert is_fitted(deep) and not is_fitted(make_pipeline(deep, whitening))


def test_the_store_prepares_images_while_it_reads(folder, tmp_path):
    import threading

    places = {"prepare": set(), "encode": set()}

    class Watched(Deep):
        def prepare(self, image):
            places["prepare"].add(threading.current_thread().name)
            assert image.shape[0] > 32
            return super().prepare(image)

        def transform_prepared(self, prepared):
            places["encode"].add(threading.current_thread().name)
            assert all(flat.nbytes == 32 * 32 * 3 for flat in prepared)
            return super().transform_prepared(prepared)

    watched = Watched("conv5", None, size=32, device="cpu")
    images = ImageCollection.from_folder(folder)
    done = embed(watched, images, progress=False)
    assert places == {"prepare": {"cbirkit-reader_0"}, "encode": {threading.current_thread().name}}
    np.testing.assert_allclose(done.embeddings, small().transform(images), atol=1e-5)


def test_an_interrupted_extraction_does_only_the_rest(folder, tmp_path, monkeypatch):
    images, store = (
        ImageCollection.from_folder(folder),
        EmbeddingStore(tmp_path / "store"),
    )
    encoded, original = [], Deep.transform_prepared

    def killed(self, prepared):
        if len(encoded) == 2:
            raise KeyboardInterrupt
        encoded.append(len(prepared))
        return original(self, prepared)

    monkeypatch.setattr(Deep, "transform_prepared", killed)
    with pytest.raises(KeyboardInterrupt):
        store.embed(small(), images, batch_size=2, progress=False)
    monkeypatch.setattr(
        Deep, "transform_prepared", lambda self, p: encoded.append(len(p)) or original(self, p)
    )
    done = store.embed(small(), images, batch_size=2, progress=False)
    assert sum(encoded) == 12 and encoded == [2] * 6
    np.testing.assert_allclose(done.embeddings, small().transform(images), atol=1e-5)


def test_a_broken_image_is_left_out_by_name(folder):
    (folder / "03.png").write_bytes((folder / "03.png").read_bytes()[:80])
    done = embed(small(), ImageCollection.from_folder(folder), progress=False)
    assert list(done.problems["name"]) == ["03.png"] and len(done.embeddings) == 11
