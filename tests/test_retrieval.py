"""`Retriever`: fitted on images, encoders that learn, saved and loaded."""

import numpy as np
import pytest
from retrieval_samples import Careless, Centred, Means, collection, exact, noise, write_photos
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from store_samples import n_kept

from cbirkit import indexes
from cbirkit.images import ImageCollection
from cbirkit.retrieval import Retriever, is_fitted
from cbirkit.store import EmbeddingStore


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path)


@pytest.fixture
def retriever(photos):
    return Retriever(Means(), exact(), progress=False).fit(ImageCollection.from_folder(photos))


def test_fit_indexes_what_can_be_read(retriever, photos):
    assert retriever.ids.tolist() == [
        "cat/1.png",
        "cat/3.png",
        "cat/5.png",
        "dog/0.png",
        "dog/2.png",
        "dog/4.png",
        "dog/6.png",
    ]
    assert retriever.images.ids.tolist() == retriever.table.index.tolist() == retriever.ids.tolist()
    assert retriever.table.label.tolist() == ["cat"] * 3 + ["dog"] * 4
    assert retriever.problems.name.tolist() == ["cat/7.png"]
    np.testing.assert_array_equal(retriever.embeddings, Means().transform(list(retriever.images)))
    np.testing.assert_array_equal(retriever.embedding("dog/2.png"), retriever.embeddings[4])
    assert retriever.embeddings.dtype == np.float32


def test_default_index_is_exact_cosine():
    retriever = Retriever(Means(), progress=False).fit(noise(5))
    assert isinstance(retriever.index_, indexes.Exact) and retriever.index_.metric == "cosine"
    assert retriever.index is None and "Exact" in retriever.search("0", k=2).protocol


def test_folder_and_arrays_are_accepted(photos):
    assert len(Retriever(Means(), progress=False).fit(photos).ids) == 7
    assert len(Retriever(Means(), progress=False).fit(str(photos)).ids) == 7
    assert Retriever(Means(), progress=False).fit(noise(3)).ids.tolist() == ["0", "1", "2"]


def test_parameters_stay_as_they_were(retriever):
    assert not hasattr(retriever.index, "n_indexed_") and retriever.index_ is not retriever.index
    assert retriever.encoder_ is retriever.encoder
    assert not hasattr(clone(retriever), "database_")
    assert set(retriever.get_params(deep=False)) == {"encoder", "index", "store", "progress"}


def test_problems_found_earlier_are_kept(photos):
    (photos / "empty.png").touch()
    retriever = Retriever(Means(), progress=False).fit(photos)
    assert retriever.problems.name.tolist() == ["empty.png", "cat/7.png"]


def test_store_is_used(tmp_path, photos):
    store = EmbeddingStore(tmp_path / "store")
    for _ in range(2):
        retriever = Retriever(Means(), store=store, progress=False).fit(photos)
        retriever.search(noise(1, seed=9)[0], k=1)
    assert n_kept(store.folder) == 7  # the single query is not kept


# ---------------------------------------------------------------- encoders that learn


def test_encoder_that_learns_is_fitted_and_the_protocol_says_on_what(photos):
    images = collection()
    for encoder in (
        Centred(),
        make_pipeline(Means(), PCA(3, whiten=True), Normalizer()),
        make_pipeline(Centred(), PCA(2)),
    ):
        assert not is_fitted(encoder)
        retriever = Retriever(encoder, exact(), progress=False).fit(images)
        assert is_fitted(retriever.encoder_) and not is_fitted(encoder)
        assert "encoder fitted on the database" in retriever.search("i0", k=2).protocol
        np.testing.assert_allclose(
            retriever.embeddings, clone(encoder).fit(images).transform(images), rtol=1e-3, atol=1e-4
        )
        other = Retriever(encoder, exact(), progress=False).fit(
            images, encoder_images=collection(9, seed=5)
        )
        assert "encoder fitted on 9 images given for it" in other.search("i0", k=2).protocol
        assert not np.allclose(other.embeddings, retriever.embeddings)


def test_fitted_encoder_stays_as_it_is():
    encoder = make_pipeline(Means(), PCA(3)).fit(collection(9, seed=5))
    mean = encoder[-1].mean_.copy()
    retriever = Retriever(encoder, progress=False).fit(collection())
    assert retriever.encoder_ is encoder and "fitted on" not in retriever.search("i0", k=1).protocol
    np.testing.assert_array_equal(encoder[-1].mean_, mean)
    with pytest.raises(
        ValueError, match="Pipeline is fitted already .* encoder_images would not be used"
    ):
        Retriever(encoder).fit(collection(), encoder_images=collection())


def test_fit_that_learns_nothing_is_not_called_a_leak():
    retriever = Retriever(Careless(), progress=False).fit(collection())
    assert "fitted on" not in retriever.search("i0", k=1).protocol


def test_broken_images_do_not_stop_the_fitting(photos):
    for encoder in (Centred(), make_pipeline(Means(), PCA(2))):
        retriever = Retriever(encoder, progress=False).fit(photos)
        assert len(retriever.ids) == 7 and retriever.problems.name.tolist() == ["cat/7.png"]


def test_pipeline_is_encoded_once(photos, monkeypatch, tmp_path):
    seen = []
    real = ImageCollection._image
    monkeypatch.setattr(ImageCollection, "_image", lambda self, i: seen.append(i) or real(self, i))
    store = EmbeddingStore(tmp_path / "store")
    Retriever(make_pipeline(Means(), PCA(2)), store=store, progress=False).fit(photos)
    assert seen.count(0) == 1  # for the fitting and for the embeddings


@pytest.mark.parametrize(
    ("encoder", "fitted"),
    [
        (Means(), True),
        (Centred(), False),
        (make_pipeline(Means(), Normalizer()), True),
        (
            make_pipeline(Means(), PCA(2), Normalizer()),
            False,
        ),  # scikit-learn asks the last step only
        (make_pipeline(Means(), "passthrough", None), True),
        (type("Bare", (), {"transform": lambda self, x: x})(), True),
    ],
)
def test_is_fitted(encoder, fitted):
    assert is_fitted(encoder) is fitted


# ---------------------------------------------------------------- scikit-learn's index


def test_nearest_neighbors_as_index(tmp_path):
    images = collection(15)
    theirs = Retriever(Means(), NearestNeighbors(), progress=False).fit(images)
    ours = Retriever(Means(), exact(), progress=False).fit(images)
    for k in (4, 15, None):
        np.testing.assert_array_equal(
            theirs.search(images, k=k).indices, ours.search(images, k=k).indices
        )
    for method, argument in (("add", collection(2, prefix="n")), ("remove", "i0")):
        with pytest.raises(
            TypeError,
            match=f"NearestNeighbors cannot {method} images; use index=cbirkit.indexes.Exact",
        ):
            getattr(theirs, method)(argument)
    theirs.save(tmp_path / "r")
    loaded = Retriever.load(tmp_path / "r", trusted=[Means])
    np.testing.assert_array_equal(loaded.search("i3", k=5).indices, ours.search("i3", k=5).indices)


class Contrast:
    """Zero where an image is plain, as an encoder of key points gives."""

    def transform(self, images):
        return np.array([np.asarray(image, float).std(axis=(0, 1)) for image in images])

    def fit(self, images, y=None):
        return self


@pytest.mark.parametrize("tail", [[], [PCA(2)]])
def test_images_whose_embedding_is_zero_are_named_and_searchable(tail, tmp_path):
    images = ImageCollection.from_arrays(
        [*(np.asarray(image) for image in noise(4)), np.full((8, 8, 3), 90, np.uint8)]
    )
    for store in (None, EmbeddingStore(tmp_path), EmbeddingStore(tmp_path)):
        retriever = Retriever(
            make_pipeline(Contrast(), *tail) if tail else Contrast(), store=store, progress=False
        )
        retriever.fit(images)
        assert (
            retriever.problems["name"].tolist() == ["4"]
            and "zero" in retriever.problems["reason"][0]
        )
        assert "4" in retriever.search(images[0], k=5).ids[0]
    retriever.remove("4")
