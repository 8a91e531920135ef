"""Encoders as ONNX files: the numbers of the encoder, in three precisions; files of strangers; timing and overlap."""

import json

import numpy as np
import pytest
from sklearn.base import clone

from cbirkit import Retriever, compress, persistence
from cbirkit.encoders import ColorHistogram, Deep
from cbirkit.encoders.base import unit

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def pictures(n, seed=0):
    """Blobs of colour on grounds of colour, uint8 (48, 64, 3)."""
    random = np.random.RandomState(seed)
    y, x = np.indices((48, 64))
    found = []
    for _ in range(n):
        (a, b), size = random.randint(8, 40, 2), random.randint(5, 15)
        inside = ((y - a) ** 2 + (x - b) ** 2 < size**2)[..., None]
        one, other = random.randint(0, 256, (2, 3))
        noise = random.randint(-20, 21, (48, 64, 3))
        found.append((np.where(inside, one, other) + noise).clip(0, 255).astype(np.uint8))
    return found


@pytest.fixture(scope="module")
def encoder():
    return Deep("conv5", weights=None, size=32, device="cpu", pooling="gem")


@pytest.fixture(scope="module")
def files(encoder, tmp_path_factory):
    """A file of each precision."""
    folder = tmp_path_factory.mktemp("onnx")
    paths = {"float32": compress.to_onnx(encoder, folder / "deep" / "float32.onnx")}
    first = compress.OnnxEncoder(paths["float32"])
    paths["float16"] = compress.to_onnx(first, folder / "float16.onnx", precision="float16")
    how = {"precision": "int8", "calibration": pictures(40, seed=1)}
    paths["int8"] = compress.to_onnx(first, folder / "int8.onnx", **how)
    return paths


@pytest.mark.parametrize(
    ("precision", "cosine"), [("float32", 1 - 1e-6), ("float16", 0.9999), ("int8", 0.98)]
)
def test_a_file_gives_the_embeddings_of_the_encoder(files, encoder, precision, cosine):
    images, made = pictures(21), compress.OnnxEncoder(files[precision], batch_size=4)
    found, right = made.transform(images), encoder.transform(images)
    assert found.shape == right.shape and found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-3)
    assert (unit(found) * right).sum(axis=1).min() > cosine
    alone = np.vstack([made.transform([image]) for image in images])
    np.testing.assert_allclose(alone, found, atol=1e-3)
    assert made.parts[2]["precision"] == precision


def test_weights_and_activations_are_whole_numbers(files):
    plain, small = (compress.operations(files[name]) for name in ("float32", "int8"))
    assert small["Conv"] == plain["Conv"] > 0 and plain["QuantizeLinear"] == 0
    assert small["QuantizeLinear"] >= small["Conv"] - 1 and small["DynamicQuantizeLinear"] == 0
    sizes = {name: path.stat().st_size for name, path in files.items()}
    assert sizes["int8"] < sizes["float16"] < sizes["float32"]


@pytest.mark.parametrize(("resize", "normalise"), [("crop", False), ("pad", True)])
def test_images_are_resized_and_scaled_as_the_encoder_does_it(tmp_path, resize, normalise):
    how = {"resize": resize, "interpolation": "bicubic", "mean": (0.1, 0.5, 0.9), "crop_ratio": 0.7}
    encoder = Deep("conv5", weights=None, size=(24, 40), normalise=normalise, device="cpu", **how)
    found = compress.OnnxEncoder(compress.to_onnx(encoder, tmp_path / "a.onnx"))
    np.testing.assert_allclose(
        found.transform(pictures(3)), encoder.transform(pictures(3)), rtol=1e-3, atol=1e-5
    )


def test_a_retriever_takes_it_and_carries_the_file_along(files, tmp_path):
    path = tmp_path / "moved.onnx"
    path.write_bytes(files["int8"].read_bytes())
    retriever = Retriever(compress.OnnxEncoder(path), progress=False).fit(pictures(12))
    same = persistence.fingerprint(compress.OnnxEncoder(files["int8"], n_threads=2))
    assert persistence.fingerprint(retriever.encoder_) == same
    assert persistence.fingerprint(compress.OnnxEncoder(files["float32"])) != same
    retriever.save(tmp_path / "saved")
    path.unlink()
    loaded = Retriever.load(tmp_path / "saved")
    assert loaded.search(pictures(3), k=1).indices.ravel().tolist() == [0, 1, 2]
    again = clone(loaded.encoder_).set_params(batch_size=1)
    assert again.transform(pictures(2)).shape == (2, 96)
    with pytest.raises(FileNotFoundError, match="to_onnx"):
        again.set_params(path=path).transform(pictures(1))


@pytest.mark.parametrize(
    ("error", "words", "how"),
    [
        (ValueError, "precision", {"precision": "int4"}),
        (ValueError, "calibration", {"precision": "int8"}),
        (ValueError, "calibration", {"calibration": pictures(1)}),
        (ValueError, "no image", {"precision": "int8", "calibration": []}),
        (TypeError, "not pixels", {"precision": "int8", "calibration": ["a.jpg"]}),
    ],
)
def test_bad_requests_are_told_in_one_sentence(files, tmp_path, error, words, how):
    encoder = compress.OnnxEncoder(files["float32"])  # which need not be exported first
    with pytest.raises(error, match=words) as found:
        compress.to_onnx(encoder, tmp_path / "a.onnx", **how)
    assert "\n" not in str(found.value) and not list(tmp_path.iterdir())


def test_what_cannot_be_written(encoder, files, tmp_path):
    for other in (ColorHistogram(), clone(encoder).set_params(scales=(1.0, 0.5)), "lite0"):
        with pytest.raises(TypeError, match="Deep of one scale"):
            compress.to_onnx(other, tmp_path / "a.onnx")
    with pytest.raises(ValueError, match="in float32"):
        compress.to_onnx(compress.OnnxEncoder(files["int8"]), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def changed(path, change):
    model = onnx.load(path)
    change(model)
    return model.SerializeToString()


def outside(model):
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def in_a_constant(model):
    tensor = onnx.TensorProto(name="x", data_type=1, data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["x"], value=tensor))


def other_size(model):
    told = json.loads(model.metadata_props[0].value)
    told["preprocessing"]["size"] = 10**6
    model.metadata_props[0].value = json.dumps(told)


def nested(model):
    inner = onnx.helper.make_graph([], "inner", [], [])
    model.graph.node.insert(0, onnx.helper.make_node("Loop", ["", ""], ["x"], body=inner))


def foreign(model):
    model.opset_import.add(domain="of.a.stranger", version=1)
    model.graph.node.insert(0, onnx.helper.make_node("Run", [], ["x"], domain="of.a.stranger"))


HOSTILE = {
    "no metadata": lambda model: model.metadata_props.pop(),
    "a tensor of another file": outside,
    "a constant of another file": in_a_constant,
    "a size of its own": other_size,
    "a graph in a graph": nested,
    "an operator of a stranger": foreign,
    "metadata that are no JSON": lambda model: setattr(model.metadata_props[0], "value", "{"),
    "metadata of another kind": lambda model: setattr(model.metadata_props[0], "value", "[1]"),
    "an unknown setting": lambda model: setattr(
        model.metadata_props[0], "value", '{"preprocessing": {"run": "this"}}'
    ),
    "no graph": lambda model: model.graph.Clear(),
}


@pytest.mark.parametrize("about", HOSTILE)
def test_files_of_strangers_are_refused_in_one_sentence(files, tmp_path, about):
    path = tmp_path / "hostile.onnx"
    path.write_bytes(changed(files["float32"], HOSTILE[about]))
    with pytest.raises(ValueError, match="no encoder that cbirkit.compress.to_onnx wrote") as found:
        compress.OnnxEncoder(path).transform(pictures(1))
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("data", [b"", b"PK\3\4", b"\0" * 500])
def test_files_that_are_something_else(tmp_path, data):
    path = tmp_path / "other.onnx"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="no encoder"):
        compress.OnnxEncoder(path).transform(pictures(1))


def test_half_a_file(files, tmp_path):
    path = tmp_path / "half.onnx"
    path.write_bytes(files["float32"].read_bytes()[:-2000])
    with pytest.raises(ValueError, match="no encoder"):
        compress.OnnxEncoder(path).transform(pictures(1))


def test_an_older_file_stays_when_writing_fails(files, tmp_path):
    path, encoder = tmp_path / "a.onnx", compress.OnnxEncoder(files["float32"])
    path.write_bytes(b"older")
    with pytest.raises(ValueError):
        compress.to_onnx(encoder, path, precision="int8", calibration=[])
    assert path.read_bytes() == b"older"
    compress.to_onnx(encoder, path)
    assert compress.OnnxEncoder(path).transform(pictures(1)).shape == (1, 96)
    assert list(tmp_path.iterdir()) == [path]


def test_overlap_of_neighbours_against_loops():
    random = np.random.RandomState(0)
    one, other = random.randn(20, 6), random.randn(20, 3)

    def nearest(rows, i, k):
        lengths = np.linalg.norm(rows, axis=1)
        cosines = {
            j: rows[i] @ rows[j] / lengths[i] / lengths[j] for j in range(len(rows)) if j != i
        }
        return set(sorted(cosines, key=lambda j: -cosines[j])[:k])

    right = [len(nearest(one, i, 4) & nearest(other, i, 4)) / 4 for i in range(20)]
    np.testing.assert_allclose(compress.neighbour_overlap(one, other, k=4), right)
    assert compress.neighbour_overlap(one, 5 * one, k=3).min() == 1
    with pytest.raises(ValueError, match="k must be"):
        compress.neighbour_overlap(one, other, k=20)


def test_each_engine_is_called_as_often_as_the_others():
    calls = []

    class Engine:
        def __init__(self, name):
            self.name = name

        def transform(self, images):
            calls.append(self.name)

    found = compress.latency({"a": Engine("a"), "b": Engine("b")}, [None], repeats=3)
    assert calls == ["a", "b"] * 5 and min(found.values()) >= 0
