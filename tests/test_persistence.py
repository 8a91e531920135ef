"""Saving and loading estimators without pickle."""

import errno
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from persistence_samples import Odd, Thumb
from saved_files import forge, parts
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler

from cbirkit import _atomic
from cbirkit.persistence import about, fingerprint, load, load_estimator, save, save_estimator


@pytest.fixture
def data():
    return np.random.RandomState(0).normal(size=(40, 12)).astype(np.float32)


@pytest.mark.parametrize(
    "estimator",
    [
        StandardScaler(),
        TruncatedSVD(3, random_state=0),
        PCA(8, whiten=True, random_state=0),
        make_pipeline(StandardScaler(), PCA(8, whiten=True), Normalizer()),
        FeatureUnion([("a", StandardScaler()), ("b", make_pipeline(PCA(2), Normalizer()))]),
        KMeans(3, n_init=1, random_state=0),
        FunctionTransformer(),
    ],
    ids=lambda e: type(e).__name__,
)
def test_round_trip(estimator, data, tmp_path):
    data = np.abs(data)
    fitted = clone(estimator).fit(data)
    loaded = load_estimator(save_estimator(fitted, tmp_path / "e"))
    assert type(loaded) is type(fitted)
    np.testing.assert_array_equal(loaded.transform(data), fitted.transform(data))
    assert fingerprint(loaded) == fingerprint(fitted) != fingerprint(estimator)
    unfitted = load_estimator(save_estimator(estimator, tmp_path / "u"))
    np.testing.assert_array_equal(unfitted.fit(data).transform(data), fitted.transform(data))


def test_cbirkit_encoder_in_a_pipeline(tmp_path):
    encoders = pytest.importorskip("cbirkit.encoders")
    images = [np.random.RandomState(i).randint(0, 256, (24, 20, 3), np.uint8) for i in range(12)]
    pipeline = make_pipeline(encoders.ColorHistogram(), PCA(8, whiten=True), Normalizer()).fit(
        images
    )
    loaded = load_estimator(save_estimator(pipeline, tmp_path / "e"))
    np.testing.assert_array_equal(loaded.transform(images), pipeline.transform(images))
    assert fingerprint(loaded) == fingerprint(pipeline)


@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree", "brute"])
def test_nearest_neighbors_grows_its_tree_again(algorithm, data, tmp_path):
    index = NearestNeighbors(algorithm=algorithm).fit(data)
    loaded = load_estimator(save_estimator(index, tmp_path / "e"))
    for ours, theirs in zip(loaded.kneighbors(data), index.kneighbors(data), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert index._tree is not None or algorithm == "brute"  # saving left the original alone


def test_values_come_back_exactly(tmp_path):
    value = {
        "float": [0.1, float("nan"), float("inf"), -0.0, 1e-320],
        "scalars": [
            np.float32(0.1),
            np.int64(-3),
            np.bool_(True),
            np.str_("ä"),
            np.datetime64("2026-01-02"),
        ],
        "tuple": (1, ("a", None)),
        ("key", 1): {2, 3},
        "objects": np.array([["a", None], [1.5, (1,)]], dtype=object),
        "big": 2**70,
        "empty": np.zeros((0, 3), np.uint8),
        "zero_d": np.array(3.0),
    }
    back = load(save(value, tmp_path / "v", kind="value"), kind="value")
    assert list(back) == list(value)
    assert repr(back["float"]) == repr(value["float"])
    assert back["tuple"] == value["tuple"] and back["big"] == 2**70
    assert [(type(a), a) for a in back["scalars"]] == [(type(a), a) for a in value["scalars"]]
    assert back["objects"].tolist() == value["objects"].tolist()
    assert back["empty"].shape == (0, 3) and back["zero_d"].shape == ()


def test_own_class_must_be_trusted(tmp_path, data):
    save_estimator(make_pipeline(Thumb(size=3).fit(None), PCA(2)), tmp_path / "e")
    with pytest.raises(
        ValueError, match=r"Thumb, which is no estimator of cbirkit .* pass trusted=\[Thumb\]"
    ):
        load_estimator(tmp_path / "e")
    thumb = load_estimator(tmp_path / "e", trusted=[Thumb])[0]
    assert (thumb.size, thumb.offset_, type(thumb.offset_)) == (3, 1.5, np.float32)


def test_memory_of_a_pipeline_is_not_brought_back(tmp_path):
    pipeline = Pipeline([("a", StandardScaler())], memory=str(tmp_path / "joblib"))
    assert load_estimator(save_estimator(pipeline, tmp_path / "e")).memory is None
    for state in ('[["memory", "x"]]', '{"~": "dict", "node": [["memory", "x"]]}'):
        tree = f'{{"~": "object", "path": "sklearn.pipeline.Pipeline", "state": {state}}}'
        try:
            assert load_estimator(forge(tmp_path / "e", "estimator", tree=tree)).memory is None
        except ValueError as error:
            assert "cannot be loaded" in str(error) and state[0] == "["


@pytest.mark.parametrize(
    ("estimator", "named"),
    [
        (FunctionTransformer(lambda x: x), r"FunctionTransformer\.func holds a builtins.function"),
        (make_pipeline(PCA(), FunctionTransformer(lambda x: x)), r"FunctionTransformer\.func"),
        (Thumb(size=Odd(3)), r"Thumb\.size holds a .*Odd, which cannot be saved"),
        (Thumb(size=np.array([Odd(3)], dtype=object)), r"Thumb\.size holds a .*Odd"),
        (Thumb(size={"a": {"b": Odd(3)}}), r"Thumb\.size\['a'\]\['b'\] holds a .*Odd"),
        (Thumb(size=np.ma.masked_array([1, 2], [0, 1])), r"Thumb\.size holds a .*MaskedArray"),
        (Thumb(size=np.zeros(2, dtype=[("a", "O")])), r"Thumb\.size holds a numpy\.ndarray"),
    ],
)
def test_what_cannot_be_saved_is_named(estimator, named, tmp_path):
    with pytest.raises(ValueError, match=named):
        save_estimator(estimator, tmp_path / "e")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_save_is_refused_or_equal(tmp_path, data):
    path = save_estimator(StandardScaler().fit(data), tmp_path / "e")
    whole, name = path.read_bytes(), fingerprint(load_estimator(path))
    refused = 0
    for at in [*range(0, len(whole), 7), *range(len(whole))[-150:]]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        try:
            assert fingerprint(load_estimator(path)) == name  # a date, or the room between arrays
        except ValueError as error:
            refused += str(path) in str(error)
    assert refused > len(whole) / 7 / 2
    for n in (0, 1, 30, 100, len(whole) - 1):
        path.write_bytes(whole[:n])
        with pytest.raises(ValueError, match="the estimator in .* cannot be loaded"):
            load_estimator(path)


def test_what_is_no_save_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_estimator(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no estimator that this"):
        load_estimator(tmp_path)
    with pytest.raises(ValueError, match="no estimator that this"):
        load_estimator("/dev/zero")
    save([1], tmp_path / "list", kind="list")
    with pytest.raises(ValueError, match="no estimator that this"):
        load_estimator(tmp_path / "list")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match=r"cbirkit 0\.1\.0; save it again"):
        load_estimator(tmp_path / "old")


def test_arrays_can_be_mapped(tmp_path):
    value = {
        "a": np.arange(12.0).reshape(3, 4),
        "b": np.arange(6).reshape(2, 3).T,
        "c": np.empty((0, 2)),
    }
    for mmap in (False, True):
        back = load(save(value, tmp_path / "v", kind="value"), kind="value", mmap=mmap)
        for name, array in value.items():
            np.testing.assert_array_equal(back[name], array)
            assert (
                back[name].flags.writeable != (mmap and array.size > 0) and back[name].flags.aligned
            )
            assert back[name].flags.f_contiguous == array.flags.f_contiguous
    assert about(save([], tmp_path / "w", kind="list", about={"n": 1}), kind="list") == {"n": 1}


# ---------------------------------------------------------------------- written by a stranger


def nested(depth):
    return '{"~": "tuple", "node": [' * depth + "]}" * depth


def array(**changed):
    node = {"~": "array", "dtype": "<f8", "shape": [1], "offset": 0, "order": "C"} | changed
    return json.dumps(node)


@pytest.mark.parametrize(
    "tree",
    [
        "{", "", nested(100_000), "[" * 100_000, '{"~": "array"}', '{"~": "nonsense"}', '{"~": {}}',
        '{"~": "objects", "node": [[1000000000000], []]}',
        array(shape=[2**43]), array(shape=[2**62, 2**62]), array(shape=[-1]), array(shape=[-1, -1]), array(offset=10**9),
        array(offset=-1), array(offset="0"), array(shape="11"), array(dtype="|O"), array(dtype=[["a", "O"]]), array(dtype="<U0"),
        array(dtype="os.system"), array(order="?"), f"[{', '.join([array(shape=[30])] * 100)}]",
        '{"~": "scalar", "node": "zz"}', '{"~": frozenset", "node": [[1]]}', '{"~": "tuple", "node": 3}', '{"~": ["set"]}',
        '{"~": "set", "node": 1, "more": 2}', '{"~": "objects", "node": [[2], [1]]}', '{"~": "dict", "node": [1]}',
        '{"~": "object", "path": "cbirkit.encoders.pixels.ColorHistogram"}', '{"~": "object", "path": 3, "state": {}}',
        '{"~": "object", "path": "cbirkit.encoders.pixels.ColorHistogram", "state": []}',
    ]
    + [
        f'{{"~": "object", "path": "{path}", "state": {{}}}}'
        for path in (
            "os.system", "builtins.eval", "sklearn.__init__.os", "cbirkit.cli._Terminal", "cbirkit.store.EmbeddingStore",
            "cbirkit._atomic.Path", "cbirkit.nothing", "sklearn.base.os", "sklearn.__check_build.x", "sklearn.utils.Bunch",
            "cbirkit.encoders.base.np.memmap", "sklearn.utils._joblib.Parallel", "cbirkit.persistence.sys",
            "cbirkit..encoders.HOG", "cbirkit.encoders", "", "cbirkit", "sklearn.base.BaseEstimator.get_params",
        )
    ],
)  # fmt: skip
def test_a_forged_description_is_one_sentence_and_makes_estimators_only(tree, tmp_path):
    forge(tmp_path / "e", "estimator", tree=tree, arrays=bytes(1000))
    with pytest.raises(ValueError, match="the estimator in .* cannot be loaded: ") as caught:
        load_estimator(tmp_path / "e")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize("text", ["{", "[]", "null", "1", '"a"'])
def test_a_forged_note_is_one_sentence_or_empty(text, tmp_path):
    forge(tmp_path / "e", "estimator", about=text)
    try:
        assert about(tmp_path / "e", kind="estimator") == {} and text == "[]"
    except ValueError as error:
        assert "cannot be loaded: " in str(error)


def test_a_zip_that_grows_when_it_is_read_is_refused(tmp_path):
    path = tmp_path / "bomb"
    forge(path, "estimator", arrays=bytes(10**7), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="longer than the file"):
        load_estimator(path)
    forge(path, "estimator", arrays=bytes(10**5))
    whole = path.read_bytes()
    size = (10**5).to_bytes(4, "little")
    path.write_bytes(whole.replace(size * 2, (2**32 - 2).to_bytes(4, "little") * 2))
    with pytest.raises(ValueError, match="longer than the file"):
        load_estimator(path)


def test_a_saved_file_holds_no_pickle(tmp_path, data):
    found = parts(save_estimator(make_pipeline(StandardScaler(), PCA(2)).fit(data), tmp_path / "e"))
    assert list(found) == ["cbirkit 2 estimator.json", "arrays", "state.json"]
    assert json.loads(found["state.json"])["path"] == "sklearn.pipeline.Pipeline"


# ---------------------------------------------------------------------- written whole or not at all


def test_old_version_survives_a_failure(tmp_path, data, monkeypatch):
    folder = save_estimator(StandardScaler().fit(data), tmp_path / "e")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left .*; free space") as caught:
        save_estimator(StandardScaler().fit(data + 1), folder)
    assert caught.value.errno == errno.ENOSPC and str(folder) in str(caught.value)
    monkeypatch.undo()
    np.testing.assert_array_equal(load_estimator(folder).mean_, StandardScaler().fit(data).mean_)
    assert [p.name for p in tmp_path.iterdir()] == ["e"]


@pytest.mark.parametrize(
    ("number", "sentence"),
    [(errno.EROFS, "Read-only file"), (errno.EACCES, "Permission denied")],
)
def test_folder_that_cannot_be_written(number, sentence, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match=sentence):
        save_estimator(StandardScaler(), tmp_path / "e")


def test_saving_replaces_an_earlier_save_but_nothing_else(tmp_path):
    path = save_estimator(PCA(2), tmp_path / "e")
    save_estimator(PCA(3), path)
    assert load_estimator(path).n_components == 3
    with pytest.raises(FileExistsError, match="no saved list and is not replaced"):
        save([1], path, kind="list")
    path.write_bytes(path.read_bytes()[:-30])  # a damaged one may go
    assert load_estimator(save_estimator(PCA(2), path)).n_components == 2
    for other in (b"", b"x", b"PK\3\4" + bytes(100), b"holiday"):
        (tmp_path / "file").write_bytes(other)
        with pytest.raises(FileExistsError, match="is not replaced"):
            save_estimator(PCA(4), tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == other
    with pytest.raises(FileExistsError, match="is not replaced"):
        save_estimator(PCA(4), tmp_path)
    with pytest.raises(OSError, match="cannot write .*choose another place"):
        save_estimator(PCA(4), tmp_path / "file" / "e")


def test_write_bytes_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a" / "b"
    _atomic.write_bytes(path, b"one")
    monkeypatch.setattr(
        os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full"))
    )
    with pytest.raises(OSError, match="cannot write .*full; free space"):
        _atomic.write_bytes(path, b"two")
    assert path.read_bytes() == b"one" and len(list(path.parent.iterdir())) == 1


def test_leftovers_of_killed_processes_are_swept(tmp_path):
    old, young = tmp_path / ".e.1-aa.partial", tmp_path / ".e.2-bb.partial"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    save_estimator(PCA(2), tmp_path / "e")
    assert not old.exists() and young.exists()


def test_a_link_stays_a_link(tmp_path):
    link = tmp_path / "e"
    try:
        link.symlink_to(tmp_path / "disk")
    except OSError:
        pytest.skip("links cannot be made here")
    for n in (2, 3):
        save_estimator(PCA(n), link)
        assert link.is_symlink() and load_estimator(tmp_path / "disk").n_components == n


def test_an_array_that_does_not_fit_on_the_disk_is_told(tmp_path):
    resource = pytest.importorskip("resource")
    scaler = StandardScaler().fit(np.zeros((2, 5000)))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match="cannot write .*e': (File too large|No space left)"):
            save_estimator(scaler, tmp_path / "e")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
