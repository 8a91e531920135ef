"""How the command line speaks: what was probably meant, which encoder it chooses, numbers with their nouns."""

import numpy as np
import pytest
from cli_samples import photos, runner

from cbirkit.cli import choices
from cbirkit.store import EmbeddingStore, embedding

folder = pytest.fixture(photos)
run = pytest.fixture(runner)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["serach", "a", "b"], "did you mean search?"),
        (["index", "photos", "--encoder", "depe"], "did you mean deep?"),
        (["index", "photos", "--encoder", "colour+hog"], "did you mean color+hog?"),
        (["index", "photos", "--index", "hsnw"], "did you mean hnsw?"),
    ],
)
def test_a_typo_is_told_what_was_probably_meant(arguments, meant, run):
    code, _, err = run(*arguments)
    assert code == 2 and err.rstrip().endswith(meant)


def test_what_is_like_nothing_gets_the_list_only(run):
    code, _, err = run("index", "photos", "--encoder", "resnet50")
    assert code == 2 and "did you mean" not in err and "color+hog" in err


def test_an_unknown_option_is_told_with_the_usage_of_its_command(folder, run):
    code, _, err = run("index", folder, "--fast")
    assert code == 2 and "usage: cbirkit index" in err and "cbirkit index: error" in err and "--fast" in err


def test_the_help_begins_with_first_steps(run):
    assert "first steps:\n  cbirkit doctor" in run("--help")[1]


@pytest.mark.parametrize(("torch", "name"), [(object(), "deep"), (None, "color+hog")])
def test_the_network_is_chosen_where_torch_is(torch, name, monkeypatch, run):
    monkeypatch.setattr(choices, "find_spec", lambda module: torch)
    assert choices.default_encoder() == name
    assert f"default: as before, or {name})" in " ".join(run("index", "--help")[1].split())


def test_the_encoder_that_is_chosen_is_kept(folder, run):
    pytest.importorskip("torch")
    assert "with encoder deep" in run("index", folder)[2]
    assert choices.kept_settings(folder / ".cbirkit")["encoder"] == "deep"


def test_images_that_another_process_encodes_are_not_counted(folder, run, monkeypatch):
    embed_here, other = embedding._fill, EmbeddingStore(folder / ".cbirkit" / "store")

    def beside(head, reading, rows, *args):
        embed_here(head, reading, rows, *args)
        rows = other._rows(choices.make_encoder("color"))  # another process has written as much meanwhile
        rows.prepare()
        rows.add([bytes([n] * 16) for n in range(50)], np.zeros((50, 3), np.float32))

    monkeypatch.setattr(embedding, "_fill", beside)
    assert "indexed 6 images" in (err := run("index", folder, "--encoder", "color")[2])
    assert "(6 encoded now)" in err


def test_the_progress_bar_names_the_encoders_of_a_union():
    assert embedding._called(choices.make_encoder("color+hog")) == "ColorHistogram + HOG"
    assert embedding._called(choices.make_encoder("hog")) == "HOG"
