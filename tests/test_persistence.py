"""Saving and loading estimators without pickle."""

import json
from pathlib import Path

import numpy as np
import pytest
from persistence_samples import Odd, Thumb
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler

from cbirkit import _atomic
from cbirkit.persistence import fingerprint, load_estimator, load_state, save_estimator, save_state

ROOT = Path(__file__).resolve().parent.parent


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
        FunctionTransformer(np.sqrt),
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
    assert "pickle" not in " ".join(p.name for p in (tmp_path / "e").iterdir())


@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree", "brute"])
def test_nearest_neighbors_grows_its_tree_again(algorithm, data, tmp_path):
    index = NearestNeighbors(algorithm=algorithm).fit(data)
    loaded = load_estimator(save_estimator(index, tmp_path / "e"))
    for ours, theirs in zip(loaded.kneighbors(data), index.kneighbors(data), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert index._tree is not None or algorithm == "brute"  # saving left the original alone


def test_values_come_back_exactly(tmp_path):
    from scipy import sparse

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
        "dtype": np.dtype("<f4"),
        "type": np.float32,
        "empty": np.zeros((0, 3), np.uint8),
        "zero_d": np.array(3.0),
        "sparse": sparse.csr_matrix([[0, 1.0], [2.0, 0]]),
        "random": np.random.RandomState(3),
    }
    back = load_state(save_state(value, tmp_path / "v", kind="value"), kind="value")
    assert list(back) == list(value)
    assert repr(back["float"]) == repr(value["float"])
    assert back["tuple"] == value["tuple"] and back["big"] == 2**70 and back["type"] is np.float32
    assert [(type(a), a) for a in back["scalars"]] == [(type(a), a) for a in value["scalars"]]
    assert back["objects"].tolist() == value["objects"].tolist()
    assert back["empty"].shape == (0, 3) and back["zero_d"].shape == ()
    assert (back["sparse"] != value["sparse"]).nnz == 0
    assert back["random"].randint(1000) == np.random.RandomState(3).randint(1000)


def test_own_class_must_be_trusted(tmp_path, data):
    save_estimator(make_pipeline(Thumb(size=3).fit(None), PCA(2)), tmp_path / "e")
    with pytest.raises(ValueError, match=r"Thumb, a class from outside .* pass trusted=\[Thumb\]"):
        load_estimator(tmp_path / "e")
    thumb = load_estimator(tmp_path / "e", trusted=[Thumb])[0]
    assert (thumb.size, thumb.offset_, type(thumb.offset_)) == (3, 1.5, np.float32)


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "builtins.eval",
        "cbirkit.persistence.Path",
        "sklearn.base.os",
        "sklearn.utils.Bunch",
        "cbirkit.nothing",
    ],
)
def test_foreign_classes_are_never_made(path, tmp_path):
    with _atomic.write_folder(tmp_path / "e", kind="estimator") as folder:
        node = {"~": "object", "class": path, "state": {}}
        (folder / "state.json").write_text(json.dumps({"format": 1, "arrays": 0, "tree": node}))
    with pytest.raises(ValueError, match="cannot be loaded"):
        load_estimator(tmp_path / "e")


def test_pickled_array_is_refused(tmp_path):
    with _atomic.write_folder(tmp_path / "e", kind="estimator") as folder:
        (folder / "state.json").write_text(
            json.dumps({"format": 1, "arrays": 1, "tree": {"~": "array", "at": 0}})
        )
        np.save(folder / "00000.npy", np.array([Odd(1)], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="cannot be loaded"):
        load_estimator(tmp_path / "e")


def test_memory_of_a_pipeline_is_not_brought_back(tmp_path):
    pipeline = Pipeline([("a", StandardScaler())], memory=str(tmp_path / "joblib"))
    assert load_estimator(save_estimator(pipeline, tmp_path / "e")).memory is None


@pytest.mark.parametrize(
    ("estimator", "named"),
    [
        (FunctionTransformer(lambda x: x), r"FunctionTransformer\.func is the function '<lambda>'"),
        (make_pipeline(StandardScaler(), FunctionTransformer(lambda x: x)), r"steps\[1\].*\.func"),
        (Thumb(size=Odd(3)), r"Thumb\.size is a .*Odd, which cannot be saved"),
        (Thumb(size=np.array([Odd(3)], dtype=object)), r"Thumb\.size\[0\]"),
        (Thumb(size=np.zeros(2, dtype=[("a", "O")])), r"Thumb\.size is a structured array"),
    ],
)
def test_what_cannot_be_saved_is_named(estimator, named, tmp_path):
    with pytest.raises(ValueError, match=named):
        save_estimator(estimator, tmp_path / "e")
    assert list(tmp_path.iterdir()) == []


def test_cycle_is_an_error(tmp_path):
    thumb = Thumb()
    thumb.size = [thumb]
    with pytest.raises(ValueError, match="contains itself"):
        save_estimator(thumb, tmp_path / "e")


def test_damaged_and_foreign_folders_say_so(tmp_path, data):
    folder = save_estimator(StandardScaler().fit(data), tmp_path / "e")
    file = folder / "00000.npy"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"00000\.npy' is damaged"):
        load_estimator(folder)
    file.unlink()
    with pytest.raises(ValueError, match=r"00000\.npy' is missing"):
        load_estimator(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="manifest.json' is damaged"):
        load_estimator(folder)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        load_estimator(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is not a saved estimator"):
        load_estimator(tmp_path)
    save_state([1], tmp_path / "list", kind="list")
    with pytest.raises(ValueError, match="holds a saved list, and a saved estimator is wanted"):
        load_estimator(tmp_path / "list")


# ---------------------------------------------------------------------- signed again by a stranger


def nested(depth):
    return '{"~": "tuple", "items": [' * depth + "]}" * depth


@pytest.mark.parametrize(
    "tree",
    [
        nested(100_000),
        "[" * 100_000,
        '{"~": "objects", "shape": [1000000000000], "items": []}',
        '{"~": "objects", "shape": [-1], "items": []}',
        '{"~": "array", "at": 7}',
        '{"~": "array"}',
        '{"~": "nonsense"}',
        "{}",
        '{"~": "scalar", "dtype": "<f8", "value": "zz"}',
        '{"~": "dtype", "value": [1]}',
        '{"~": "sparse", "format": "csr", "shape": [1000000000000, 2], "parts": [[1.0], [0], [0, 1]]}',
        '{"~": "RandomState", "state": [1]}',
        '{"~": "object", "class": "cbirkit.encoders.HOG"}',
        '{"~": "object", "class": 3, "state": {}}',
        '{"~": "object", "class": "cbirkit.encoders.HOG", "state": []}',
    ]
    + [
        f'{{"~": "object", "class": "{path}", "state": {{}}}}'
        for path in (
            "os.system", "cbirkit.__main__.sys", "cbirkit.cli.say.Printer", "cbirkit.store.EmbeddingStore", "cbirkit._atomic.Path",
            "cbirkit.images.sources.FileSource", "sklearn.__check_build.x", "sklearn.utils.Bunch", "cbirkit.encoders.base.np.memmap",
            "sklearn.utils._joblib.Parallel", "cbirkit.persistence.code.sys", "cbirkit..encoders.HOG", "cbirkit.encoders", "",
        )
    ],
)  # fmt: skip
def test_a_forged_description_is_one_sentence_and_makes_estimators_only(tree, tmp_path):
    folder = save_estimator(StandardScaler(), tmp_path / "e")
    (folder / "state.json").write_text(f'{{"format": 1, "arrays": 0, "tree": {tree}}}')
    _atomic.write_manifest(folder, kind="estimator")
    with pytest.raises(ValueError, match="the estimator in .* cannot be loaded: ") as caught:
        load_estimator(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize("saved", ["{", "[]", "null", '{"format": 1}', '{"format": 2, "arrays": 0, "tree": 1}',
                                   '{"format": 1, "arrays": "x", "tree": 1}', '{"format": 1, "arrays": 1e9, "tree": 1}'])  # fmt: skip
def test_a_forged_frame_is_one_sentence(saved, tmp_path):
    folder = save_estimator(StandardScaler(), tmp_path / "e")
    (folder / "state.json").write_text(saved)
    _atomic.write_manifest(folder, kind="estimator")
    with pytest.raises(ValueError, match="the estimator in .* cannot be loaded: "):
        load_estimator(folder)
