"""`Retriever`: fitted on images, encoders that learn, searches of all kinds, added and removed images, bad input."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from retrieval_samples import (
    Careless,
    Centred,
    Means,
    by_hand,
    collection,
    exact,
    noise,
    write_photos,
)
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from store_samples import n_kept

from cbirkit import indexes
from cbirkit.images import ImageCollection, ImageProblem
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
    with pytest.raises(ValueError, match="encoder_images"):
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
    images = ImageCollection.from_folder(photos)
    read = images._source.read
    monkeypatch.setattr(images._source, "read", lambda row: seen.append(row) or read(row))
    store = EmbeddingStore(tmp_path / "store")
    Retriever(make_pipeline(Means(), PCA(2)), store=store, progress=False).fit(images)
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
            match=f"NearestNeighbors cannot {method}",
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


# ---------------------------------------------------------------- search


def test_collection_against_loops():
    images, queries = collection(30), collection(6, seed=4, prefix="q")
    retriever = Retriever(Means(), exact(), progress=False).fit(images)
    ranking = retriever.search(queries, k=7)
    vectors = Means().transform(list(queries))
    assert (
        ranking.query_ids.tolist() == queries.ids.tolist()
        and ranking.database_ids.tolist() == images.ids.tolist()
    )
    for row in range(6):
        assert ranking.indices[row].tolist() == by_hand(retriever.embeddings, vectors[row])[:7]
    np.testing.assert_allclose(
        ranking.distances[0],
        np.linalg.norm(retriever.embeddings[ranking.indices[0]] - vectors[0], axis=1),
        rtol=1e-5,
    )


def test_query_of_the_database_is_left_out_by_id():
    images = collection(12)
    retriever = Retriever(Means(), exact(), progress=False).fit(images)
    ranking = retriever.search(images[3:9], k=5)
    for row, own in enumerate(range(3, 9)):
        assert (
            ranking.indices[row].tolist()
            == by_hand(retriever.embeddings, retriever.embeddings[own], own)[:5]
        )
    kept = retriever.search(images[3:9], k=5, exclude_self=False)
    assert kept.indices[:, 0].tolist() == list(range(3, 9))
    assert (
        "query itself left out" in ranking.protocol and "query itself not left out" in kept.protocol
    )


def test_a_duplicate_is_not_dropped_in_place_of_the_query():
    arrays = noise(6)
    images = ImageCollection.from_arrays([*arrays, arrays[4], arrays[4]], ids=list("abcdefgh"))
    retriever = Retriever(Means(), exact(), progress=False).fit(images)
    for name, twins in (("e", {"g", "h"}), ("g", {"e", "h"}), ("h", {"e", "g"})):
        for query in (name, images[[name]]):
            ids = retriever.search(query, k=7).ids[0].tolist()
            assert set(ids[:2]) == twins and name not in ids and None not in ids


def test_same_id_with_other_contents_is_another_image(caplog):
    retriever = Retriever(Means(), exact(), progress=False).fit(collection(6))
    ranking = retriever.search(collection(6, seed=8), k=6)
    assert (ranking.indices >= 0).all()
    assert "6 queries share their id" in caplog.text


def test_ids_use_the_stored_embedding(retriever, monkeypatch):
    monkeypatch.setattr(Means, "transform", None)
    ranking = retriever.search(["dog/4.png", "cat/1.png"], k=3)
    assert ranking.query_ids.tolist() == ["dog/4.png", "cat/1.png"]
    assert (
        ranking.indices[0].tolist() == by_hand(retriever.embeddings, retriever.embeddings[5], 5)[:3]
    )


def test_every_kind_of_query_finds_the_same(retriever, photos):
    path = photos / "dog" / "2.png"
    pixels = np.asarray(Image.open(path))
    expected = by_hand(retriever.embeddings, retriever.embeddings[4])
    outside = [
        Image.open(path),
        pixels,
        path.read_bytes(),
        io.BytesIO(path.read_bytes()),
        pixels[None],
    ]
    for query in outside:  # pixels have no id: nothing is left out
        ranking = retriever.search(query, k=None)
        assert ranking.query_ids.tolist() == ["query-0"] and ranking.indices[0].tolist() == expected
    for query in (path, str(path)):  # the very file that is indexed
        ranking = retriever.search(query, k=6)
        assert (
            ranking.query_ids.tolist() == [str(path)]
            and ranking.indices[0].tolist() == expected[1:]
        )
        assert retriever.search(query, k=1, exclude_self=False).ids[0, 0] == "dog/2.png"


def test_file_copied_elsewhere_is_not_the_query_itself(retriever, photos, tmp_path):
    shutil.copy(photos / "dog" / "2.png", tmp_path / "copy.png")
    assert retriever.search(tmp_path / "copy.png", k=1).ids[0, 0] == "dog/2.png"


def test_mixed_list(retriever, photos):
    new = noise(1, seed=9)[0]
    ranking = retriever.search([new, "cat/3.png", photos / "dog" / "0.png", "cat/3.png", new], k=7)
    names = ["query-0", "cat/3.png", str(photos / "dog" / "0.png"), "cat/3.png (2)", "query-4"]
    assert ranking.query_ids.tolist() == names
    assert (ranking.indices < 0).sum(axis=1).tolist() == [
        0,
        1,
        1,
        1,
        0,
    ]  # 7 of 7, or without the query itself
    for row, single in enumerate([new, "cat/3.png", photos / "dog" / "0.png"]):
        np.testing.assert_array_equal(
            ranking.indices[row], retriever.search(single, k=7).indices[0]
        )


def test_full_ranking():
    images = collection(9)
    retriever = Retriever(Means(), exact(), progress=False).fit(images)
    assert retriever.search(images, k=None).indices.shape == (9, 8)
    assert retriever.search(noise(2, seed=9), k=None).indices.shape == (2, 9)
    assert sorted(retriever.search(images, k=None).indices[4]) == [0, 1, 2, 3, 5, 6, 7, 8]


def test_search_embeddings(retriever):
    middle = retriever.embeddings[[0, 3]].mean(axis=0)
    ranking = retriever.search_embeddings(middle, k=7)
    assert ranking.indices[0].tolist() == by_hand(retriever.embeddings, middle)
    found = retriever.search_embeddings(retriever.embeddings[:2], k=1, ids=["a", "b"])
    assert found[1].id.tolist() == ["cat/3.png"]
    with pytest.raises(ValueError, match="dimensions"):
        retriever.search_embeddings(np.zeros((1, 5)), k=1)


def test_unreadable_images_of_a_query_collection_are_told(retriever, photos):
    ranking = retriever.search(ImageCollection.from_folder(photos), k=2)
    assert "cat/7.png" not in ranking.query_ids and len(ranking) == 7
    assert "1 queries left out as unreadable" in ranking.protocol


def test_protocol_names_encoder_and_index(retriever):
    protocol = retriever.search("cat/1.png", k=1).protocol
    assert (
        protocol.startswith("encoder Means(); index Exact(metric='euclidean'); 7 database images")
        and "\n" not in protocol
    )


# ---------------------------------------------------------------- add, remove


@pytest.mark.parametrize(
    "index", [indexes.Exact("euclidean"), indexes.HNSW("euclidean")], ids=lambda i: type(i).__name__
)
def test_add_and_remove_keep_ids_and_keys_in_step(index):
    pytest.importorskip("faiss")
    first, second = collection(20), collection(10, seed=3, prefix="n")
    retriever = Retriever(Means(), index, progress=False).fit(first)
    assert retriever.remove(["i3", "i11"]).add(second) is retriever
    retriever.remove("n0").add(collection(2, seed=6, prefix="m"))
    expected = (
        [f"i{i}" for i in range(20) if i not in (3, 11)]
        + [f"n{i}" for i in range(1, 10)]
        + ["m0", "m1"]
    )
    assert (
        retriever.ids.tolist()
        == retriever.images.ids.tolist()
        == retriever.table.index.tolist()
        == expected
    )
    assert retriever.table.label["n4"] == "class 1"
    np.testing.assert_array_equal(retriever.embeddings, Means().transform(list(retriever.images)))
    for row, name in enumerate(expected):
        ranking = retriever.search(retriever.images[name], k=1)
        assert ranking.ids[0, 0] == name and ranking.indices[0, 0] == row
    fresh = Retriever(Means(), exact(), progress=False).fit(retriever.images)
    np.testing.assert_array_equal(
        retriever.search(expected, k=3).indices[:, 0], fresh.search(expected, k=3).indices[:, 0]
    )


def test_added_images_keep_their_files(retriever, photos, tmp_path):
    Image.fromarray(noise(1, seed=9)[0]).save(tmp_path / "new.png")
    retriever.add(ImageCollection.from_files([tmp_path / "new.png"], ids=["new"])).remove(
        "cat/1.png"
    )
    assert retriever.images.path("new") == tmp_path / "new.png"
    assert retriever.images.path("dog/0.png") == photos / "dog" / "0.png"
    assert retriever.images.thumbnail("new", 6).shape == (5, 6, 3)
    assert retriever.search(tmp_path / "new.png", k=7).indices[0, -1] == -1


def test_bad_add_and_remove_change_nothing(retriever):
    with pytest.raises(ValueError, match="the id 'cat/1.png' is indexed already"):
        retriever.add(retriever.images[:1])
    with pytest.raises(ValueError, match="no indexed image is called 'x'"):
        retriever.remove(["cat/1.png", "x"])
    assert len(retriever.ids) == 7 == retriever.index_.n_indexed_


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("query", "k", "error", "sentence"),
    [
        ("cat/1.png", 8, ValueError, "use k <= 7"),
        ("cat/1.png", 0, ValueError, "k == 0"),
        ("cat/1.png", 2.0, TypeError, "k must be"),
        ("cat/9.png", 1, ValueError, "cat/9.png"),
        (Path("nowhere.png"), 1, ImageProblem, "nowhere.png: No such file"),
        ([Path("nowhere.png"), Path("other.png")], 1, ValueError, "nowhere.png': No such file"),
        (["cat/1.png", noise(1)[0], b"broken"], 1, ImageProblem, "not an image"),
        (b"not an image", 1, ImageProblem, "not an image"),
        ([], 1, ValueError, "no query"),
        (None, 1, ImageProblem, "shape"),
        (3, 1, ImageProblem, "shape"),
        ({"a": 1}, 1, ImageProblem, "shape"),
        (np.zeros(12), 1, ImageProblem, "shape"),
        ([np.zeros(12)], 1, ImageProblem, "shape"),
        (np.zeros((3, 10, 12)), 1, ImageProblem, "channel-first"),
        (np.full((4, 4, 3), np.nan), 1, ImageProblem, "must lie in 0..1"),
    ],
)
def test_bad_queries(retriever, query, k, error, sentence):
    with pytest.raises(error, match=sentence) as caught:
        retriever.search(query, k=k)
    assert "\n" not in str(caught.value)


def test_folder_as_query(retriever, photos):
    with pytest.raises(ValueError, match="from_folder"):
        retriever.search(photos, k=1)


def test_tiny_and_grey_queries(retriever):
    for query in (
        np.zeros((1, 1), np.uint8),
        np.zeros((1, 1, 3)),
        np.zeros((5, 2)),
        Image.new("L", (3, 3)),
    ):
        assert retriever.search(query, k=2).indices.shape == (1, 2)


def test_one_image():
    retriever = Retriever(Means(), exact(), progress=False).fit(noise(1))
    assert retriever.search(noise(1, seed=2)[0], k=1).ids.tolist() == [["0"]]
    assert retriever.search("0", k=1).ids.tolist() == [[None]]
    assert retriever.search("0", k=None).ids.tolist() == [[None]]


def test_bad_parts(photos, tmp_path):
    with pytest.raises(TypeError, match="Means"):
        Retriever(Means).fit(photos)
    with pytest.raises(TypeError, match="encoder"):
        Retriever("hsv").fit(photos)
    with pytest.raises(TypeError, match="not an index"):
        Retriever(Means(), "exact").fit(photos)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no usable image"):
        Retriever(Means()).fit(tmp_path / "empty")
    with pytest.raises(ValueError, match="there is no image"):
        Retriever(Means()).fit([])
    with pytest.raises(ImageProblem, match=r"cat/7\.png: (truncated|damaged) file"):
        Retriever(Means(), progress=False).fit(ImageCollection.from_folder(photos)[["cat/7.png"]])


@pytest.mark.parametrize(
    "use", [lambda r: r.search("a"), lambda r: r.ids, lambda r: r.add([]), lambda r: r.save("x")]
)
def test_not_fitted(use):
    with pytest.raises(NotFittedError):
        use(Retriever(Means()))


def test_real_photographs(realdata, tmp_path):
    encoders = pytest.importorskip("cbirkit.encoders")
    folder = realdata / "b_instance_ukbench250"
    paths = sorted(
        p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")
    )[:40]
    images = ImageCollection.from_files(paths, root=folder)
    encoder = make_pipeline(encoders.ColorHistogram(), PCA(8, whiten=True), Normalizer())
    retriever = Retriever(encoder, progress=False).fit(images)
    retriever.save(tmp_path / "r")
    ranking = Retriever.load(tmp_path / "r").search(images, k=3)
    np.testing.assert_array_equal(ranking.indices, retriever.search(images, k=3).indices)
    groups = np.arange(40) // 4
    assert (groups[ranking.indices[:, 0]] == groups).mean() > 0.5
