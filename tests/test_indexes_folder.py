"""Indexes saved and loaded: round trips, damage, kills and full disks."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from index_oracles import make

from cbirkit import _atomic, _manifest, indexes
from cbirkit.indexes import HNSW, IVF, IVFPQ, Annoy, Exact, Hamming, saved

ALL = [Exact, Hamming, Annoy, HNSW, IVF, IVFPQ]


def data(kind, n=60, seed=0):
    X = np.random.default_rng(seed).normal(size=(n, 16)).astype(np.float32)
    return np.packbits(X > 0, axis=1) if kind is Hamming else X


def same(first, second, X):
    return all(
        np.array_equal(a, b)
        for a, b in zip(first.kneighbors(X, 9), second.kneighbors(X, 9), strict=True)
    )


def put(folder, name, content):
    """Replace a file by other bytes and give them a right checksum, as somebody who means it would."""
    (folder / name).write_bytes(content)
    _atomic.write_manifest(folder, kind="index")


def rewrite(folder, **changes):
    """Change index.json and give it a right checksum."""
    body = json.loads((folder / "index.json").read_text())
    put(folder, "index.json", json.dumps({**body, **changes}).encode())


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        (Exact, {"metric": "euclidean"}),
        (Hamming, {"block_bytes": 12345}),
        (Annoy, {"n_trees": np.int64(7)}),
        (HNSW, {"m": 5, "metric": "euclidean"}),
        (IVF, {}),
        (IVF, {"nprobe": 2, "n_lists": 9, "metric": "euclidean"}),
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
    assert files == {"manifest.json", "index.json", "keys.npy", "vectors.npy"}
    assert [path.name for path in tmp_path.parent.iterdir() if tmp_path.name in path.name] == [
        tmp_path.name
    ]
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
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=rf"{path.name}' is damaged"):
                indexes.load(tmp_path)
        path.unlink()
        with pytest.raises(ValueError, match=rf"it has no {path.name}|{path.name}' is missing"):
            indexes.load(tmp_path)
        path.write_bytes(whole)
    indexes.load(tmp_path)


@pytest.mark.parametrize("kind", [Annoy, HNSW, IVF, IVFPQ])
def test_damaged_bytes_reach_no_library(kind, tmp_path, monkeypatch):
    make(kind).fit(data(kind)).save(tmp_path)
    path = next(path for path in tmp_path.iterdir() if path.suffix in (".ann", ".faiss"))
    monkeypatch.setattr(kind, "_restore", None)
    monkeypatch.setattr(saved, "read_array", None)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match=f"{path.name}' is damaged: its checksum differs"):
        indexes.load(tmp_path)


@pytest.mark.parametrize("name", ["index.json", "manifest.json"])
def test_every_single_bit_of_the_description_counts(name, tmp_path):
    Exact().fit(data(Exact, 2)).save(tmp_path)
    path = tmp_path / name
    whole = path.read_bytes()
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 4
        path.write_bytes(bytes(changed))
        try:
            indexes.load(tmp_path)
        except ValueError:
            continue
        assert json.loads(bytes(changed)) == json.loads(whole)  # white space


def test_missing_and_foreign_folders(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="there is no folder .*; give the folder that the index"
    ):
        indexes.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is not a saved index: it has no manifest.json"):
        indexes.load(tmp_path)
    for text, message in [
        ("{}", "is damaged or foreign"),
        ("[1]", "is damaged or foreign"),
        ("not json", "is damaged or foreign"),
        ("\x80\ud800", "is damaged or foreign"),
        (json.dumps({"format": 99}), "has the format 99, this cbirkit reads format 1"),
    ]:
        (tmp_path / "manifest.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(ValueError, match=message):
            indexes.load(tmp_path)
    with _atomic.write_folder(tmp_path / "list", kind="list"):
        pass
    with pytest.raises(ValueError, match="holds a saved list, and a saved index is wanted"):
        indexes.load(tmp_path / "list")


def test_a_folder_with_other_files_is_not_written_to(tmp_path):
    index = Exact().fit(data(Exact))
    (tmp_path / "holiday.jpg").write_bytes(b"precious")
    with pytest.raises(
        FileExistsError, match="holds 'holiday.jpg', which cbirkit did not save .* choose a new"
    ):
        index.save(tmp_path)
    assert os.listdir(tmp_path) == ["holiday.jpg"]
    (tmp_path / "manifest.json").write_text('{"name": "of another program"}')
    with pytest.raises(FileExistsError, match="is not replaced: .*foreign"):
        index.save(tmp_path)
    with pytest.raises(FileExistsError, match="is a file, and a folder is to be written there"):
        index.save(tmp_path / "holiday.jpg")
    with _atomic.write_folder(tmp_path / "list", kind="list"):
        pass
    with pytest.raises(
        FileExistsError, match="holds a saved list, which a saved index would replace"
    ):
        index.save(tmp_path / "list")
    index.save(tmp_path / "index")
    (tmp_path / "index" / "holiday.jpg").write_bytes(b"precious")
    assert isinstance(indexes.load(tmp_path / "index"), Exact)
    with pytest.raises(FileExistsError, match="holds 'holiday.jpg'"):
        index.save(tmp_path / "index")
    assert (tmp_path / "index" / "holiday.jpg").read_bytes() == b"precious"


def test_descriptions_made_with_intent_are_refused(tmp_path):
    Exact().fit(data(Exact)).save(tmp_path)
    good = json.loads((tmp_path / "index.json").read_text())
    for changes, message in [
        ({"class": "os.system"}, "holds an index of class 'os.system', not Annoy or Exact or"),
        ({"class": "BaseIndex"}, "holds an index of class 'BaseIndex', not Annoy or Exact or"),
        ({"class": "Hamming"}, "does not hold a usable Hamming index"),
        ({"version": 99}, "has format version 99, this cbirkit reads version 1; update cbirkit"),
        ({"version": "1"}, "has format version '1'"),
        ({"params": {"nonsense": 1}}, "does not hold a usable Exact index"),
        ({"params": {"metric": "l7"}}, "metric='l7' is not known"),
        ({"params": []}, "is not a description of an index"),
        ({"class": None}, "is not a description of an index"),
        ({"state": {}}, "does not hold a usable Exact index"),
        ({"state": {**good["state"], "n_rows": 7}}, "the keys are int64 of shape"),
        ({"state": {**good["state"], "next_key": 7}}, "the keys are not ascending"),
    ]:
        rewrite(tmp_path, **{**good, **changes})
        with pytest.raises(ValueError, match=message):
            indexes.load(tmp_path)
    rewrite(tmp_path, **good)
    assert isinstance(indexes.load(tmp_path), Exact)
    with pytest.raises(
        ValueError,
        match="holds an index of class 'Exact', not Hamming; cbirkit.indexes.load reads every",
    ):
        Hamming.load(tmp_path)


def test_files_made_with_intent_are_refused(tmp_path):
    Exact().fit(data(Exact)).save(tmp_path)
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for name, content, message in [
        ("index.json", b"[1]", "is not a description of an index"),
        ("index.json", b"{}", "is not a description of an index"),
        ("index.json", b"not json", "index.json is no JSON"),
        ("index.json", b"\xff", "index.json is no JSON"),
        ("vectors.npy", whole["keys.npy"], "the vectors are int64 of shape"),
        ("keys.npy", b"", "does not hold a usable Exact index"),
        ("evil.pkl", b"", "holds the file 'evil.pkl', which no index would write"),
    ]:
        put(tmp_path, name, content)
        with pytest.raises(ValueError, match=message):
            indexes.load(tmp_path)
        (tmp_path / name).unlink()
        if name in whole:
            put(tmp_path, name, whole[name])
    for name, message in [
        ("index.json", "is not a description of an index"),
        ("keys.npy", "does not hold a usable Exact index: 'keys'"),
        ("vectors.npy", "does not hold a usable Exact index: the vectors are missing"),
    ]:
        (tmp_path / name).unlink()
        _atomic.write_manifest(tmp_path, kind="index")
        with pytest.raises(ValueError, match=message):
            indexes.load(tmp_path)
        put(tmp_path, name, whole[name])
    entry = {"bytes": 0, "sha256": ""}
    for name in ("../../etc/passwd", "/dev/zero", "C:\\a", "..", "", "a//b", "a\\..\\b", "a\0b"):
        (tmp_path / "manifest.json").write_bytes(_manifest.encode("index", {name: entry}))
        with pytest.raises(ValueError, match="which is not in its folder"):
            indexes.load(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="links and pipes are made otherwise here")
@pytest.mark.parametrize("name", ["keys.npy", "vectors.npy", "index.json", "manifest.json"])
def test_links_pipes_and_folders_in_place_of_files_are_refused(name, tmp_path):
    folder, elsewhere = tmp_path / "e", tmp_path / "elsewhere"
    Exact().fit(data(Exact)).save(folder)
    (folder / name).rename(elsewhere)
    for make_it in (
        lambda path: path.symlink_to(elsewhere),
        lambda path: path.symlink_to("/dev/zero"),
        os.mkfifo,
        lambda path: path.mkdir(),
    ):
        make_it(folder / name)
        with pytest.raises(ValueError, match="is a link|is a folder or a device"):
            indexes.load(folder)
        (folder / name).rmdir() if (folder / name).is_dir() else (folder / name).unlink()


@pytest.mark.parametrize(
    ("kind", "name", "suffix"),
    [
        (HNSW, "graph", "faiss"),
        (IVF, "lists", "faiss"),
        (IVFPQ, "lists", "faiss"),
        (Annoy, "trees", "ann"),
    ],
)
def test_structures_that_do_not_fit_are_refused(kind, name, suffix, tmp_path, capfd):
    """Where they are parsed, that is, because they are trusted."""
    index = make(kind).fit(data(kind))
    index.save(tmp_path)
    smaller = make(kind).fit(data(kind, 30))
    contents = [b"no such thing", b""]
    if suffix == "faiss":
        import faiss

        contents += [
            bytes(smaller._payloads()[name][1]),
            bytes(faiss.serialize_index(faiss.IndexFlatL2(16))),
        ]
    for content in contents:
        put(tmp_path, f"{name}.{suffix}", content)
        with pytest.raises(ValueError, match=f"does not hold a usable {kind.__name__} index"):
            indexes.load(tmp_path, trusted=True)


@pytest.mark.parametrize(
    "who", ["somebody else", "nobody who can keep a key", "somebody who forged the seal"]
)
@pytest.mark.parametrize("kind", [HNSW, IVF, IVFPQ, Annoy])
def test_binary_files_that_this_user_did_not_write_are_not_parsed(
    kind, who, tmp_path, monkeypatch, caplog
):
    index = make(kind).fit(data(kind))
    if who == "nobody who can keep a key":
        (tmp_path / "file").write_text("x")
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    index.save(tmp_path / "i")
    if who == "somebody else":
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other"))
    if who == "somebody who forged the seal":
        manifest = json.loads((tmp_path / "i" / "manifest.json").read_text())
        manifest["seal"] = manifest["seal"][::-1]
        (tmp_path / "i" / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(
        kind, "_restore", lambda *args, **kwargs: pytest.fail("its files were parsed")
    )
    if kind in (IVFPQ, Annoy):
        assert (
            same(indexes.load(tmp_path / "i"), index, data(kind)) and "is built anew" in caplog.text
        )
    else:
        with pytest.raises(
            ValueError, match="was not saved by you on this machine.* pass trusted=True"
        ):
            indexes.load(tmp_path / "i")
    again = saved.load_index(tmp_path / "i", {kind.__name__: kind}, vectors=data(kind))
    assert same(again, index, data(kind))


def test_the_key_is_secret_and_made_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(_manifest.seal_of, ["a"] * 32))) == 1
    assert [path.name for path in (tmp_path / "cbirkit").iterdir()] == ["key"]
    assert os.name == "nt" or (tmp_path / "cbirkit" / "key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2000000000000,), }",  # 7 TiB
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (",  # TokenError
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
        "[" * 9000,
    ],
)
def test_a_header_is_not_believed(header, tmp_path):
    Exact().fit(data(Exact)).save(tmp_path / "i")
    text = header.encode()
    text = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    put(tmp_path / "i", "vectors.npy", text)
    with pytest.raises(ValueError, match="does not hold a usable Exact index"):
        indexes.load(tmp_path / "i")


def test_arrays_of_objects_are_not_unpickled(tmp_path):
    Exact().fit(data(Exact)).save(tmp_path)
    np.save(tmp_path / "keys.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    _atomic.write_manifest(tmp_path, kind="index")
    with pytest.raises(ValueError, match="does not hold a usable Exact index"):
        indexes.load(tmp_path)


def test_parameters_that_json_cannot_hold(tmp_path):
    index = make(IVFPQ, random_state=np.random.RandomState(0)).fit(data(IVFPQ))
    with pytest.raises(TypeError, match="random_state=.* cannot be saved; use a number"):
        index.save(tmp_path)
    assert os.listdir(tmp_path) == []
