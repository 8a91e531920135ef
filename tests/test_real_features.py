"""Shipped embeddings of real photographs: complete, small, described, and of the network that ships."""

import hashlib
import json
import re
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from sklearn.base import BaseEstimator

from cbirkit import datasets, evaluate
from cbirkit.datasets.real_features import SETS, SHIPPED, RealFeatures, dequantise, quantise

FILES = sorted(SHIPPED.glob("*"))
README = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
SIZES = {
    "clothing": (1000, 10),
    "flowers": (300, 5),
    "ucmerced": (420, 21),
    "satellite": (420, 7),
    "pacs": (896, 7),
}
SIZES |= {"sketches": (175, 7), "coco": (131, 40), "flickr8k": (500, 0), "omniglot": (800, 40)}
MEND = "run `python tools/real_features.py --realdata FOLDER` and commit data/"


@pytest.fixture
def small():
    rng = np.random.default_rng(0)
    codes, scale = quantise(rng.random((6, 5)))
    ids = pd.Index([f"{c}/{i}" for i, c in enumerate("aabbcc")], dtype=object)
    table = pd.DataFrame(
        {"label": list("aabbcc"), "file": [f"{i}.png" for i in ids]}, index=ids, dtype=object
    )
    return RealFeatures(
        "small", table, {"one": "One()"}, {}, "folder", {"one": (codes, scale, np.float32(0))}
    )


@pytest.mark.parametrize("signed", [False, True])
def test_eight_bits_change_a_cosine_by_less_than_two_thousandths(signed):
    rng = np.random.default_rng(1)
    X = (
        rng.normal(size=(60, 256))
        if signed
        else rng.exponential(size=(60, 256)) * (rng.random((60, 256)) < 0.2)
    )
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    codes, scale = quantise(X)
    back = dequantise(codes, scale)
    assert codes.dtype == np.uint8 and back.dtype == np.float32
    unit = back / np.linalg.norm(back, axis=1, keepdims=True)
    assert 0 < np.abs(unit @ unit.T - X @ X.T).max() < 2e-3
    if not signed:
        assert (back[X == 0] == 0).all()


def test_quantise_of_zeros_and_of_constants():
    X = np.array([[0.0, 0.0], [-2.0, -2.0], [3.0, 3.0]])
    np.testing.assert_allclose(dequantise(*quantise(X)), X, rtol=1e-6)


@pytest.mark.parametrize("name", SETS)
def test_every_set_is_whole(name):
    features = datasets.load_real(name)
    classes = features.table["label"].nunique() if "label" in features.table else 0
    assert (len(features), classes) == SIZES[name]
    assert features.table.index.is_unique and not any(
        i.startswith("/") or ".." in i for i in features.ids
    )
    assert {"lite0", "MobileNetV2", "tiny", "colour"} <= set(features.encoders)
    assert name in repr(features)
    for encoder in features.encoders:
        X = features.embeddings(encoder)
        assert X.shape[0] == len(features) and X.dtype == np.float32 and np.isfinite(X).all()
        lengths = np.linalg.norm(X, axis=1)
        if not features.recipes[encoder].startswith("Pipeline"):  # projected ones are shorter
            assert (np.abs(lengths[lengths > 0] - 1) < 0.01).all() and (lengths > 0).mean() > 0.99


@pytest.mark.parametrize("name", SETS)
def test_features_are_of_the_network_that_ships(name):
    from cbirkit.nets.backbones import official_identity

    features = datasets.load_real(name)
    trained = {e for e in features.encoders if e.startswith(("tiny", "lite0"))}
    assert trained == set(features.weights)
    for encoder in trained:
        assert features.weights[encoder] == official_identity(encoder.split()[0]), (
            f"features {name}/{encoder} are of older weights; {MEND}"
        )


@pytest.mark.parametrize("name", ["coco", "flickr8k"])
def test_captions_lie_nearer_to_others_of_their_image(name):
    features = datasets.load_real(name)
    X, image = features.embeddings("captions"), features.captions["image"].to_numpy()
    assert (
        len(X) == len(image)
        and set(image) <= set(features.ids)
        and ("text" in features.captions) == (name == "coco")
    )
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    cosines, same = X @ X.T, image[:, None] == image
    np.fill_diagonal(same, False)
    assert cosines[same].mean() > cosines[image[:, None] != image].mean() + 0.3


def test_sketches_find_clothes_by_the_same_words():
    assert set(datasets.load_real("sketches").labels) <= set(datasets.load_real("clothing").labels)


def test_pictures_are_found_where_they_were_downloaded(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.delenv("CBIRKIT_REALDATA", raising=False)
    monkeypatch.setenv("CBIRKIT_DATA", str(tmp_path))
    features = datasets.load_real("ucmerced")
    assert features.pictures is None
    with pytest.raises(FileNotFoundError, match="cbirkit prefetch photos"):
        features.images()
    for file in features.table["file"]:  # the archive's pictures are TIFF, in folders of their own
        path = (tmp_path / "ucmerced" / "ready" / file).with_suffix(".tif")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), "green").save(path)
    assert list(features.pictures.ids) == list(features.ids) and features.pictures[7].shape == (
        4,
        4,
        3,
    )


def test_domains_of_pacs():
    pacs = datasets.load_real("pacs")
    assert dict(pacs.table["domain"].value_counts()) == dict.fromkeys(
        ("photo", "art", "cartoon", "sketch"), 224
    )


def test_trained_features_beat_random_ones():
    clothing = datasets.load_real("clothing")
    scores = {
        e: evaluate(clothing.ranking(e), clothing.relevance(), metrics=["map"], n_bootstrap=0)[
            "map"
        ]
        for e in ("tiny", "random")
    }
    assert scores["tiny"] > scores["random"] + 0.05


def test_ranking_equals_a_naive_loop(small):
    X = small.embeddings("one").astype(float)
    queries, database = np.array([1, 4]), np.arange(6) > 0
    ranking = small.ranking("one", queries, database)
    for row, query in enumerate(queries):
        near = {
            small.ids[j]: 1 - X[query] @ X[j] / np.linalg.norm(X[query]) / np.linalg.norm(X[j])
            for j in range(1, 6)
            if j != query
        }
        assert list(ranking.ids[row]) == sorted(near, key=near.get)
    assert ranking.k == 4  # the query is left out of the five
    assert small.ranking(X, queries, database).ids.tolist() == ranking.ids.tolist()


def test_relevance_follows_the_masks(small):
    relevance = small.relevance(np.array([0, 2]), small.labels != "c")
    assert relevance.n_positives.tolist() == [1, 1]
    assert list(relevance.database_ids) == list(small.ids[:4])


def test_errors(small, tmp_path):
    for call, words in [
        (lambda: datasets.load_real("cats"), "clothing, flowers"),
        (lambda: small.embeddings("two"), "use one of one"),
        (lambda: small.column("domain"), "its columns: label, file"),
        (lambda: small.ranking("one", [True]), "a value for each of the 6"),
        (lambda: small.ranking("one", [7]), "positions among them"),
        (lambda: small.ranking("one", []), "at least one"),
        (lambda: small.ranking(np.zeros((3, 2))), "one row an image"),
        (lambda: small.images(tmp_path), "give the folder that holds 'folder'"),
    ]:
        with pytest.raises((ValueError, FileNotFoundError), match=re.escape(words)):
            call()


def test_files_are_small_and_described_with_their_sums():
    assert {p.name for p in FILES} >= {
        f"{name}{end}" for name in SETS for end in (".json", ".safetensors")
    }
    assert sum(p.stat().st_size for p in FILES) <= 8_000_000
    for path in FILES:
        assert path.stat().st_size < 1_800_000
        row = re.search(
            rf"^\| `real_features/{re.escape(path.name)}` \| ([\d,]+) \| `(\w+)` \|$",
            README,
            re.MULTILINE,
        )
        assert row, f"data/README.md does not describe {path.name}"
        told = f"{path.stat().st_size:,}", hashlib.sha256(path.read_bytes()).hexdigest()
        assert row.groups() == told, f"data/README.md has other sums of {path.name}; {MEND}"


def test_files_hold_no_path_and_no_picture():
    for path in FILES:
        if path.suffix == ".json":
            told = json.loads(path.read_text(encoding="utf-8"))
            assert set(told) == {
                "name",
                "source",
                "files",
                "recipes",
                "weights",
                "columns",
                "captions",
            }
            assert not any(file.startswith("/") for file in told["columns"]["file"])


@pytest.fixture(scope="module")
def tool():
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import real_features
    finally:
        sys.path.pop(0)
    return real_features


@pytest.mark.parametrize("name", SETS)
def test_images_give_these_features_again(name, realdata, tool):
    features = datasets.load_real(name)
    some = np.linspace(0, len(features) - 1, 12).astype(int)
    images = features.images(realdata).subset(some)
    assert list(images.ids) == list(features.ids[some])
    for group in tool.encoders_of(name, realdata):
        for label, encoder in group.items():
            assert isinstance(encoder, BaseEstimator) and features.recipes[label].split("[:")[
                0
            ] == tool.recipe_of(encoder)
            if label != "VLAD" and hasattr(
                encoder, "steps"
            ):  # a projection to fewer numbers nearly keeps the order of cosines
                ours, shipped = encoder[0].transform(images), features.embeddings(label)[some]
                if label == "random":
                    ours, shipped = (X - X.mean(axis=0) for X in (ours, shipped))
                shipped = shipped / np.linalg.norm(shipped, axis=1, keepdims=True)
                pairs = np.triu_indices(len(some), 1)
                assert (
                    np.corrcoef((shipped @ shipped.T)[pairs], (ours @ ours.T)[pairs])[0, 1] > 0.85
                ), label
            elif label != "VLAD":  # which takes long to learn
                ours, shipped = encoder.transform(images), features.embeddings(label)[some]
                apart = ours - ours.mean(
                    axis=0
                )  # also where images hardly differ, what differs is kept
                assert np.linalg.norm(
                    shipped - shipped.mean(axis=0) - apart
                ) < 0.1 * np.linalg.norm(apart), label
                lengths = np.linalg.norm(shipped, axis=1, keepdims=True)
                shipped = shipped / np.where(lengths > 0, lengths, 1)
                assert (
                    np.abs(shipped @ shipped.T - ours @ ours.T)[
                        ~np.eye(len(some), dtype=bool)
                    ].max()
                    < 2e-3
                ), label
                assert np.abs((ours * shipped).sum(1)[lengths[:, 0] > 0] - 1).max() < 2e-3, label


def test_the_tool_reports_files_without_a_row(tool, tmp_path):
    readme, file = tmp_path / "README.md", tmp_path / "a.json"
    file.write_bytes(b"12345")
    readme.write_text("| `real_features/a.json` | 1 | `x` |\n")
    assert tool.write_sums([file], readme) == []
    assert (
        readme.read_text()
        == f"| `real_features/a.json` | 5 | `{hashlib.sha256(b'12345').hexdigest()}` |\n"
    )
    readme.write_text("nothing\n")
    assert tool.write_sums([file], readme) == ["a.json"]
