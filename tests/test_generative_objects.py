"""What notebook 23 reads of generated objects fits together, and `data/README.md` has its sums."""

import hashlib
import sys

import numpy as np
import pandas as pd
from conftest import ROOT

from cbirkit import generate

sys.path.insert(0, str(ROOT / "tools"))
import generative_objects as runs

FILES = ("generative_objects.csv", "generative_objects.safetensors", "generative_rare_view.safetensors")  # fmt: skip


def test_every_row_is_there_and_each_category_is_rare_once():
    table = pd.read_csv(ROOT / "data" / FILES[0])
    views = table[table["part"] == "rare view"]
    of_row = views.groupby("row")["category"].agg(sorted)
    assert len(of_row) == 5 and all(names == list(runs.TEST) for names in of_row)
    assert (views.groupby(["seed", "row"]).size() == 4).all() and views["map"].between(0, 1).all()
    samples = table[table["part"] == "samples"]
    assert all(tuple(seeds) == runs.SEEDS for seeds in samples.groupby("row")["seed"].agg(sorted))
    scores = samples[["precision", "recall", "copying", "copying, new objects"]]
    assert ((scores >= 0) & (scores <= 1)).all(axis=None)


def test_the_categories_that_choose_are_not_those_that_are_tested_on():
    assert not set(runs.TEST) & set(runs.CHOOSE) and list(runs.TEST) == sorted(runs.TEST)


def test_the_files_are_described_and_the_generators_draw():
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    for name in FILES:
        content = (ROOT / "data" / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() in text and f"{len(content):,}" in text
    for n_classes, name in zip((12, 36), FILES[1:], strict=True):
        made = generate.GAN(n_classes).load(ROOT / "data" / name).sample([0, n_classes - 1])
        assert made.shape == (2, runs.SIDE**2)


def test_rows_see_two_pictures_of_a_rare_view_and_none_of_new_objects():
    random = np.random.RandomState(0)
    y, objects, side = (a.ravel() for a in np.meshgrid(range(12), range(6), range(3)))
    y, objects, side = (np.tile(a, 2) for a in (y, objects, side))
    x = random.rand(len(y), runs.SIDE**2).astype(np.float32)
    x[:, 0] = objects / 10
    runs.AGES, kept = (1, 1, 1), runs.AGES
    try:
        rows, rare = runs.rare_sources(0, x, y, objects, side)
    finally:
        runs.AGES = kept
    assert len(rare) == 4 and list(rows) == ["as it is", "oversampled", "mirrored", "generated", "not rare"]  # fmt: skip
    (real, of), (two, of_two) = rows["oversampled"]
    assert np.bincount(of_two, minlength=12)[rare].tolist() == [2] * 4 and len(two) == 8
    assert real[:, 0].max() < 0.35 and (np.bincount(of)[rare] == 8 + 8 + 2).all()
    mirrored, _ = rows["mirrored"][1]
    at = np.flatnonzero((objects < 4) & np.isin(y, rare) & (side == 0))
    flipped = mirrored.reshape(-1, runs.SIDE, runs.SIDE)[:, :, ::-1].reshape(len(at), -1)
    assert np.array_equal(flipped, x[at])
