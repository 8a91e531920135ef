"""A retriever as a file."""

import errno
import logging
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from index_oracles import make
from PIL import Image
from retrieval_samples import Means, collection, exact, noise, write_photos
from saved_files import parts

from cbirkit import _atomic
from cbirkit.images import ImageCollection
from cbirkit.indexes import HNSW, IVFPQ, Annoy, Exact
from cbirkit.persistence import load, save, save_estimator
from cbirkit.retrieval import Retriever


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path)


@pytest.fixture
def retriever(photos):
    return Retriever(Means(), exact(), progress=False).fit(ImageCollection.from_folder(photos))


def test_round_trip_with_the_files_in_place(retriever, tmp_path, photos):
    retriever.remove("cat/3.png")
    assert retriever.save(tmp_path / "r") == tmp_path / "r"
    loaded = Retriever.load(tmp_path / "r", trusted=[Means])
    assert loaded.ids.tolist() == retriever.ids.tolist() == loaded.images.ids.tolist()
    np.testing.assert_array_equal(loaded.embeddings, retriever.embeddings)
    np.testing.assert_array_equal(loaded.images["dog/0.png"], retriever.images["dog/0.png"])
    pd.testing.assert_frame_equal(loaded.table, retriever.table, check_dtype=False)
    pd.testing.assert_frame_equal(loaded.problems, retriever.problems)
    path = photos / "dog" / "0.png"
    for query in (path, "cat/1.png", noise(1, seed=9)[0], retriever.images):
        one, two = loaded.search(query, k=6), retriever.search(query, k=6)
        np.testing.assert_array_equal(one.indices, two.indices)
        np.testing.assert_array_equal(one.distances, two.distances)
        assert one.protocol == two.protocol
    loaded.add(collection(2)).save(tmp_path / "r")
    assert len(Retriever.load(tmp_path / "r", trusted=[Means]).ids) == 8


@pytest.mark.parametrize("kind", [Exact, Annoy, HNSW, IVFPQ])
def test_the_index_within_is_replaced_while_it_is_loaded(kind, tmp_path):
    retriever = Retriever(Means(), make(kind), progress=False).fit(collection(8))
    expected = retriever.search(noise(1, seed=9)[0], k=5)
    for _ in range(2):
        retriever.save(tmp_path / "r")
        loaded = Retriever.load(tmp_path / "r", trusted=[Means])
        loaded.save(tmp_path / "r")  # Annoy has mapped a file of the folder
        for one in (retriever, loaded, Retriever.load(tmp_path / "r", trusted=[Means])):
            found = one.search(noise(1, seed=9)[0], k=5)
            np.testing.assert_array_equal(found.indices, expected.indices)
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_the_file_holds_no_pickle(retriever, tmp_path):
    retriever.save(tmp_path / "r")
    assert list(parts(tmp_path / "r")) == ["cbirkit 2 retriever.json", "arrays", "state.json"]


def test_without_the_images_search_still_works(retriever, tmp_path, photos, caplog):
    retriever.save(tmp_path / "r")
    kept = retriever.images["dog/0.png"]
    expected = retriever.search(kept, k=5).indices
    shutil.move(photos, tmp_path / "elsewhere")
    loaded = Retriever.load(tmp_path / "r", trusted=[Means])
    assert loaded.images is None and "load(path, images=" in caplog.text
    assert loaded.table.label.tolist() == retriever.table.label.tolist()
    np.testing.assert_array_equal(loaded.search(kept, k=5).indices, expected)
    loaded.remove("cat/1.png").save(tmp_path / "again")
    again = ImageCollection.from_folder(tmp_path / "elsewhere")
    mended = Retriever.load(tmp_path / "again", images=again, trusted=[Means])
    assert mended.images.ids.tolist() == mended.ids.tolist() == retriever.ids.tolist()[1:]
    np.testing.assert_array_equal(mended.images["dog/0.png"], kept)
    with pytest.raises(ValueError, match="dog/4.png"):
        Retriever.load(tmp_path / "again", images=again[again.ids != "dog/4.png"], trusted=[Means])


def test_images_that_moved_along_are_found(tmp_path):
    home = tmp_path / "home"
    (home / "photos").mkdir(parents=True)
    for i, image in enumerate(noise(3)):
        Image.fromarray(image).save(home / "photos" / f"{i}.png")
    Retriever(Means(), progress=False).fit(home / "photos").save(home / "r")
    shutil.move(home, tmp_path / "other")
    loaded = Retriever.load(tmp_path / "other" / "r", trusted=[Means])
    assert loaded.images.path(0) == tmp_path / "other" / "photos" / "0.png"


def test_tables_of_all_kinds_come_back(tmp_path):
    table = pd.DataFrame(
        {
            "label": ["a", None, "b"],
            "size": [1, 2, 3],
            "score": [0.5, np.nan, 1.0],
            "good": [True, False, True],
            "when": pd.to_datetime(["2026-01-01", None, "2026-01-03"]),
            "kind": pd.Categorical(["x", "y", "x"]),
            "count": pd.array([1, None, 3], dtype="Int64"),
            "warp": [np.eye(3), np.zeros((3, 3)), None],
        }
    )
    images = ImageCollection.from_arrays(noise(3), ids=["u", "v", "w"], table=table)
    Retriever(Means(), progress=False).fit(images).save(tmp_path / "r")
    loaded = Retriever.load(tmp_path / "r", trusted=[Means])
    assert loaded.images is None and list(loaded.table) == list(images.table)
    for name in ("size", "good", "when"):
        pd.testing.assert_series_equal(loaded.table[name], images.table[name])
    assert (
        loaded.table.score.isna().tolist()
        == loaded.table.label.isna().tolist()
        == loaded.table["count"].isna().tolist()
    )
    assert loaded.table.kind.tolist() == ["x", "y", "x"] and loaded.table["count"].tolist()[2] == 3
    np.testing.assert_array_equal(loaded.table.warp["u"], np.eye(3))
    assert loaded.table.warp["w"] is None


def test_damage_and_strangers_are_told(retriever, tmp_path):
    retriever.save(tmp_path / "r")
    with pytest.raises(ValueError, match=r"pass trusted=\[Means\]"):
        Retriever.load(tmp_path / "r")
    whole = (tmp_path / "r").read_bytes()
    for at in (40, len(whole) // 2, len(whole) - 3):
        (tmp_path / "bad").write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        with pytest.raises(ValueError, match="cannot be loaded"):
            Retriever.load(tmp_path / "bad", trusted=[Means])
    with pytest.raises(FileNotFoundError, match="there is no file"):
        Retriever.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is no retriever that"):
        Retriever.load(tmp_path)
    with pytest.raises(ValueError, match="is no retriever that"):
        Retriever.load(save_estimator(Means(), tmp_path / "e"))


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("table"),
        lambda state: state.update(ids=state["ids"][1:]),
        lambda state: state.update(ids=[1, *state["ids"][1:]]),
        lambda state: state.update(keys=state["keys"][::-1].copy()),
        lambda state: state.update(keys=state["keys"] + 1),
        lambda state: state.update(embeddings=state["embeddings"][:, 0]),
        lambda state: state.update(embeddings=[1, 2]),
        lambda state: state.update(index=[1]),
        lambda state: state.update(files=3),
        lambda state: state["files"].update(names=["../x"] * len(state["ids"])),
        lambda state: state["files"].update(names=["/etc/passwd"] * len(state["ids"])),
    ],
)
def test_a_forged_state_is_one_sentence(change, retriever, tmp_path):
    state = load(retriever.save(tmp_path / "r"), kind="retriever", trusted=[Means])
    change(state)
    save(state, tmp_path / "r", kind="retriever")
    with pytest.raises(ValueError, match="cannot be loaded: ") as caught:
        Retriever.load(tmp_path / "r", trusted=[Means])
    assert "\n" not in str(caught.value)


def test_photographs_are_never_overwritten(retriever, photos):
    with pytest.raises(FileExistsError, match="is no saved retriever"):
        retriever.save(photos)
    assert (photos / "dog" / "0.png").exists()


def test_full_disk_keeps_the_earlier_save(retriever, tmp_path, monkeypatch):
    retriever.save(tmp_path / "r")
    retriever.remove("cat/1.png")

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_atomic.os, "fsync", full)
    with pytest.raises(OSError, match="disk is full|No space left"):
        retriever.save(tmp_path / "r")
    monkeypatch.undo()
    assert len(Retriever.load(tmp_path / "r", trusted=[Means]).ids) == 7
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


def test_encoder_that_cannot_be_saved_is_named(tmp_path):
    encoder = Means()
    encoder.network_ = logging.getLogger("x")
    retriever = Retriever(encoder, progress=False).fit(collection())
    with pytest.raises(ValueError, match=r"Means\.network_ holds a logging\.Logger"):
        retriever.save(tmp_path / "r")
    assert list(tmp_path.iterdir()) == []


def test_progress_is_remembered(retriever, tmp_path):
    retriever.save(tmp_path / "r")
    assert Retriever.load(tmp_path / "r", trusted=[Means]).progress is False


@pytest.mark.parametrize("query", ["one", "some", "collection"])
def test_a_query_by_id_that_changed_since_is_told(retriever, photos, caplog, query):
    name = retriever.ids[0]
    Image.fromarray(255 - np.asarray(Image.open(photos / name))).save(photos / name)
    retriever.search(
        retriever.images.subset([1])
        if query == "collection"
        else name
        if query == "one"
        else [retriever.ids[1], name],
        k=1,
    )
    assert (name in caplog.text) == (query != "collection")
    caplog.clear()
    retriever.search(name, k=1)
    assert (name in caplog.text) == (query == "collection")  # once
