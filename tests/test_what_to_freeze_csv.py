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
    swept = table[table["draw"] == 0]
    for _, mine in swept.groupby("way"):
        sweep = mine.groupby("rate")["validation"].first()
        assert sweep.index[0] < sweep.idxmax() < sweep.index[-1]


def test_the_other_draws_have_the_best_rate_of_the_first(table):
    swept = table[table["draw"] == 0].groupby(["way", "rate"])["validation"].first()
    best = dict(swept.groupby("way").idxmax().to_list())
    later = table[table["draw"] > 0]
    assert (later["rate"] == later["way"].map(best)).all() and set(later["draw"]) == {1, 2}
    assert (later.groupby(["draw", "way"]).size() == 10).all()


def test_a_run_has_every_class_once_and_accuracies_of_40_images(table):
    for _, run in table.groupby(["draw", "way", "rate"]):
        assert run["class"].tolist() == list(range(10))
    assert ((table["test"] * 40) % 1 == 0).all() and table["test"].between(0, 1).all()


def test_the_file_is_the_one_described():
    digest = hashlib.sha256(FILE.read_bytes()).hexdigest()
    assert digest in (ROOT / "data" / "README.md").read_text(encoding="utf-8"), digest
