"""`Retriever.search`, `add` and `remove`."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image
from retrieval_samples import Means, by_hand, collection, exact, noise, write_photos

from cbirkit import indexes
from cbirkit.images import ImageCollection
from cbirkit.retrieval import Retriever


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path)


@pytest.fixture
def retriever(photos):
    return Retriever(Means(), exact(), progress=False).fit(ImageCollection.from_folder(photos))


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
    assert "6 queries share their id with an indexed image of other contents" in caplog.text


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
    assert retriever.search_embeddings(retriever.embeddings[:2], k=1, ids=["a", "b"]).row(
        "b"
    ).id.tolist() == ["cat/3.png"]
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
