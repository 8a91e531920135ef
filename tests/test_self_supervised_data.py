"""What notebook 08 reads fits together, and `data/README.md` has its sums."""

import hashlib
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from safetensors.numpy import load_file

from cbirkit.encoders import Deep

sys.path.insert(0, str(ROOT / "tools"))
import label_curve_runs as from_scratch
import self_supervised_runs as runs

FILES = ("self_supervised.csv", "self_supervised.safetensors", "self_supervised_vectors.safetensors", "self_supervised_labels.csv", "self_supervised_live.csv", "self_supervised_ten.csv")  # fmt: skip


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(ROOT / "data" / FILES[0])


def test_every_run_is_there_once_with_every_class(table):
    assert list(table.columns) == [*runs.COLUMNS, "set", "class", "map"]
    keys = ["run", "seed", "steps", "temperature", "rate", "set", "class"]
    assert not table.duplicated(keys).any() and table["map"].between(0, 1).all()
    short = table[(table["steps"] == runs.SHORT) & table["set"].isin(runs.TESTS)]
    counts = short.groupby("run")["seed"].agg(lambda seeds: sorted(set(seeds)))
    assert set(counts.index) == {f"without {name}" for name in runs.LEAVING}
    assert all(seeds == list(runs.SEEDS) for seeds in counts)
    assert (short.groupby(["run", "seed", "set"]).size().unstack() == [5, 21]).all(axis=None)


def test_the_settings_that_were_chosen_are_the_best_on_the_sets_that_choose(table):
    tried = table[(table["steps"] == runs.SHORT) & table["set"].isin(runs.CHOOSE)]
    names = ["temperature", "rate"]
    means = tried.groupby([*names, "set"])["map"].mean().groupby(names).mean()
    for n, name in enumerate(names):
        assert {key[n] for key in means.index} == set(runs.TRIED[name])
    chosen = table.loc[table["run"] == "SimCLR", names].drop_duplicates()
    assert list(chosen.itertuples(index=False, name=None)) == [means.idxmax()]


def test_vectors_and_table_agree(table):
    vectors = load_file(ROOT / "data" / FILES[2])
    for which in runs.TESTS:
        for name in ("SimCLR", "random weights"):
            X = vectors[f"{which} {name}"].astype(np.float32) + vectors[f"{which} {name} centre"]
            told = table[(table["run"] == name) & (table["set"] == which) & (table["seed"] == 0)]
            found = pd.Series(runs.by_class_of(which, X))
            told = told.set_index("class")["map"].loc[found.index]
            assert np.abs(found - told).max() < 0.01


def test_the_network_loads_and_its_files_are_described():
    network = Deep("conv5", weights=str(ROOT / "data" / FILES[1]), size=64, device="cpu")
    assert network.transform([np.zeros((9, 9, 3), np.uint8)]).shape == (1, 96)
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    for name in FILES:
        content = (ROOT / "data" / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() in text and f"{len(content):,}" in text
        assert len(content) < 700_000


def test_every_network_from_scratch_is_there_with_one_choice_of_settings():
    table = pd.read_csv(ROOT / "data" / FILES[3])
    cases = [
        (name, k, draw)
        for name in runs.TESTS
        for k in from_scratch.KS[name]
        for draw in from_scratch.DRAWS
    ]
    assert list(table[["set", "k", "draw"]].itertuples(index=False, name=None)) == cases
    assert len(table[["rate", "steps", "colour"]].drop_duplicates()) == 1
    assert table["accuracy"].between(0, 1).all()


def test_labels_are_drawn_from_one_half_of_each_class_and_the_other_half_tests():
    labels = np.repeat(["a", "b"], [10, 7])
    learn, test = from_scratch.halves(labels, 4, 0)
    assert not set(learn) & set(test) and sorted(labels[test]) == ["a"] * 5 + ["b"] * 4
    assert sorted(labels[learn]) == ["a"] * 4 + ["b"] * 3


def test_views_are_two_at_half_the_size():
    import torch

    pixels = torch.rand(3, 3, 16, 16)
    made = runs.Views()(pixels, torch.Generator().manual_seed(0))
    assert made.shape == (6, 3, 8, 8) and not torch.equal(made[:3], made[3:])
    plain = runs.Views(tuple(runs.EVERYTHING))(pixels)
    assert torch.equal(plain[:3], plain[3:]) and "crop=None" in repr(runs.Views(("crop",)))
