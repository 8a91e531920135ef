"""The shipped runs of notebook 05 fit together, and `data/README.md` has their sum."""

import hashlib

import pandas as pd
import pytest
from conftest import ROOT

FILE = ROOT / "data" / "what_to_freeze.csv"


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(FILE)


def test_the_best_rate_of_every_way_lies_inside_its_grid(table):
    sweeps = {way: mine.groupby("rate")["validation"].first() for way, mine in table.groupby("way")}
    for way in sweeps.keys() - {"LP-FT"}:  # which has one rate less at the upper end than "all"
        sweep = sweeps[way]
        assert sweep.index[0] < sweep.idxmax() < sweep.index[-1]
    assert sweeps["LP-FT"].idxmax() == sweeps["all"].idxmax()


def test_a_run_has_every_class_once_and_accuracies_of_40_images(table):
    for _, run in table.groupby(["way", "rate"]):
        assert run["class"].tolist() == list(range(10))
    assert ((table["test"] * 40) % 1 == 0).all() and table["test"].between(0, 1).all()


def test_the_file_is_the_one_described():
    digest = hashlib.sha256(FILE.read_bytes()).hexdigest()
    assert digest in (ROOT / "data" / "README.md").read_text(encoding="utf-8"), digest
