"""Indexes saved and loaded: round trips, damage, kills and full disks."""

import json
import os

import numpy as np
import pytest
from index_oracles import make

from cbirkit import indexes
from cbirkit.indexes import HNSW, IVFPQ, Annoy, Exact, Hamming
from cbirkit.indexes import folder as module

ALL = [Exact, Hamming, Annoy, HNSW, IVFPQ]


def data(kind, n=60, seed=0):
    X = np.random.default_rng(seed).normal(size=(n, 16)).astype(np.float32)
    return np.packbits(X > 0, axis=1) if kind is Hamming else X


def same(first, second, X):
    return all(
        np.array_equal(a, b) for a, b in zip(first.kneighbors(X, 9), second.kneighbors(X, 9), strict=True)
    )


def rewrite(folder, **changes):
    """Change index.json and give it a right checksum, as somebody who means it would."""
    path = folder / "index.json"
    body = json.loads(path.read_text())
    body.pop("sha256")
    body.update(changes)
    path.write_text(json.dumps({**body, "sha256": module._digest(body)}))


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        (Exact, {"metric": "euclidean"}),
        (Hamming, {"block_bytes": 12345}),
        (Annoy, {"n_trees": np.int64(7)}),
        (HNSW, {"m": 5, "metric": "euclidean"}),
        (IVFPQ, {"nprobe": 3}),
        (IVFPQ, {"rerank": 0}),
    ],
)
def test_round_trip(kind, params, tmp_path):
    X = data(kind, 400)
    index = make(kind, **params).fit(X[:200])
    index.add(X[200:300])
    index.remove([3, 250])
    index.save(tmp_path / "a" / "b")
    for load in (indexes.load, kind.load):
        again = load(str(tmp_path / "a" / "b"))
        assert type(again) is kind and again.get_params() == index.get_params()
        assert again.keys_.tolist() == index.keys_.tolist() and again.n_features_in_ == X.shape[1]
        assert same(index, again, X[:20])
        # it goes on living, and keys go on from where they were
        assert again.add(X[300:]).tolist() == list(range(300, 400))
        again.remove([0, 399])
        assert not np.isin(again.kneighbors(X[:50], 20)[1], [0, 3, 250, 399]).any()
        assert (again.kneighbors(n_neighbors=3)[1] != again.keys_[:, None]).all()
    assert not any(
        "pickle" in path.name or path.suffix in (".pkl", ".joblib") for path in tmp_path.rglob("*")
    )


@pytest.mark.parametrize("kind", ALL)
def test_saving_over_an_index_replaces_it_and_leaves_nothing_behind(kind, tmp_path):
    old, new = make(kind).fit(data(kind, seed=1)), make(kind).fit(data(kind, 90, seed=2))
    old.save(tmp_path)
    kept = indexes.load(tmp_path)
    new.save(tmp_path)
    new.save(tmp_path)
    assert same(indexes.load(tmp_path), new, data(kind))
    assert same(kept, old, data(kind))  # one loaded before is not pulled from under its user
    Exact().fit(data(Exact)).save(tmp_path)  # another class
    files = {path.name for path in tmp_path.iterdir()}
    entries = json.loads((tmp_path / "index.json").read_text())["payloads"].values()
    assert files == {"index.json"} | {entry["file"] for entry in entries}
    assert isinstance(indexes.load(tmp_path), Exact)
    assert same(new, old.fit(data(kind, 90, seed=2)), data(kind))  # a saved index can still be used


@pytest.mark.parametrize("kind", ALL)
def test_damage_is_found_in_every_file(kind, tmp_path):
    make(kind).fit(data(kind)).save(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 1
        for damaged in (b"", whole[:-1], whole[: len(whole) // 2], whole + b"x", bytes(flipped)):
            if path.name == "index.json" and damaged == whole + b"x":
                damaged = whole + b"}"
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=rf"{path.name} (is damaged|was not written by)"):
                indexes.load(tmp_path)
        path.unlink()
        with pytest.raises(FileNotFoundError, match=rf"no index is saved|{path.name} is missing"):
            indexes.load(tmp_path)
        path.write_bytes(whole)
    indexes.load(tmp_path)


def test_every_single_bit_of_the_description_counts(tmp_path):
    Exact().fit(data(Exact, 2)).save(tmp_path)
    path = tmp_path / "index.json"
    whole = path.read_bytes()
    body = json.loads(whole)
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 4
        path.write_bytes(bytes(changed))
        try:
            indexes.load(tmp_path)
        except (ValueError, FileNotFoundError):
            continue
        assert json.loads(bytes(changed)) == body  # white space


def test_missing_and_foreign_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="no index is saved in"):
        indexes.load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no index is saved in"):
        indexes.load(tmp_path)
    for text, message in [
        ("{}", "was not written by cbirkit"),
        ("[1]", "was not written by cbirkit"),
        ("not json", "is damaged"),
        ("\x80\ud800", "is damaged"),
        (
            json.dumps({"format": "cbirkit index", "version": 99}),
            "format version 99, this cbirkit reads version 1",
        ),
    ]:
        (tmp_path / "index.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(ValueError, match=message):
            indexes.load(tmp_path)


def test_a_folder_with_other_files_is_not_written_to(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"precious")
    with pytest.raises(ValueError, match="holds files that are not an index; save to a new or empty folder"):
        Exact().fit(data(Exact)).save(tmp_path)
    assert os.listdir(tmp_path) == ["holiday.jpg"]
    (tmp_path / "index.json").write_text('{"name": "of another program"}')
    with pytest.raises(ValueError, match="was not written by cbirkit"):
        Exact().fit(data(Exact)).save(tmp_path)
    with pytest.raises(ValueError, match="is a file; save the index to a folder"):
        Exact().fit(data(Exact)).save(tmp_path / "holiday.jpg")


def test_descriptions_made_with_intent_are_refused(tmp_path):
    Exact().fit(data(Exact)).save(tmp_path)
    good = json.loads((tmp_path / "index.json").read_text())
    del good["sha256"]
    keys = good["payloads"]["keys"]
    for changes, message in [
        ({"class": "os.system"}, "names the unknown class 'os.system'; known are Annoy, Exact"),
        ({"class": "BaseIndex"}, "names the unknown class 'BaseIndex'"),
        ({"class": "Hamming"}, "does not hold a usable Hamming index"),
        ({"params": {"nonsense": 1}}, "does not hold a usable Exact index"),
        ({"params": {"metric": "l7"}}, "metric='l7' is not known"),
        ({"payloads": {"keys": {**keys, "file": "../../etc/passwd"}}}, "which no index would write"),
        ({"payloads": {"keys": keys}}, "does not hold a usable Exact index: the vectors are missing"),
        ({"payloads": {"keys": {"file": "keys-0.npy"}}}, "is not a description of an index"),
        ({"payloads": []}, "is not a description of an index"),
        ({"class": None}, "is not a description of an index"),
        ({"payloads": {**good["payloads"], "vectors": keys}}, "the vectors are int64 of shape"),
        ({"state": {**good["state"], "n_rows": 7}}, "the keys are int64 of shape"),
        ({"state": {**good["state"], "next_key": 7}}, "the keys are not ascending"),
    ]:
        rewrite(tmp_path, **{**good, **changes})
        with pytest.raises(ValueError, match=message):
            indexes.load(tmp_path)
    rewrite(tmp_path, **good)
    assert isinstance(indexes.load(tmp_path), Exact)
    with pytest.raises(
        ValueError, match="holds an index of class 'Exact', not Hamming; use cbirkit.indexes.load"
    ):
        Hamming.load(tmp_path)


def put(folder, name, content):
    """Replace a payload by other bytes under a right name and checksum."""
    entry = module._write_payload(folder, name, content)
    body = json.loads((folder / "index.json").read_text())
    rewrite(folder, payloads={**body["payloads"], name: entry})


@pytest.mark.parametrize(
    ("kind", "name", "suffix"), [(HNSW, "graph", "faiss"), (IVFPQ, "lists", "faiss"), (Annoy, "trees", "ann")]
)
def test_structures_that_do_not_fit_are_refused(kind, name, suffix, tmp_path, capfd):
    index = make(kind).fit(data(kind))
    index.save(tmp_path)
    smaller = make(kind).fit(data(kind, 30))
    contents = [b"no such thing", b""]
    if suffix == "faiss":
        import faiss

        contents += [smaller._payloads()[name][1], faiss.serialize_index(faiss.IndexFlatL2(16))]
    for content in contents:
        put(tmp_path, name, (suffix, content))
        with pytest.raises(ValueError, match=f"does not hold a usable {kind.__name__} index"):
            indexes.load(tmp_path)


def test_arrays_of_objects_are_not_unpickled(tmp_path):
    Exact().fit(data(Exact)).save(tmp_path)
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    content = (tmp_path / "evil.npy").read_bytes()
    put(tmp_path, "keys", ("npy", content))
    with pytest.raises(ValueError, match="does not hold a usable Exact index.*allow_pickle=False"):
        indexes.load(tmp_path)


def test_parameters_that_json_cannot_hold(tmp_path):
    index = make(IVFPQ, random_state=np.random.RandomState(0)).fit(data(IVFPQ))
    with pytest.raises(TypeError, match="random_state=.* cannot be saved; use a number"):
        index.save(tmp_path)
    assert os.listdir(tmp_path) == []
