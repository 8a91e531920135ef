"""The shipped runs of notebook 05 fit together, and `data/README.md` has their sum."""

import hashlib

import pandas as pd
import pytest
from conftest import ROOT

FILE = ROOT / "data" / "what_to_freeze.csv"


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(FILE)


def test_every_way_sweeps_its_rates_on_draw_0_and_draw_1_uses_the_one_that_validation_chose(table):
    runs = table[table["steps"] == table.groupby("way")["steps"].transform("min")]
    for _, mine in runs.groupby("way"):
        sweep = mine[mine["draw"] == 0].groupby("rate", sort=False)["validation"].first()
        assert len(sweep) >= 3
        assert mine.loc[mine["draw"] == 1, "rate"].unique().tolist() == [sweep.idxmax()]


def test_a_run_has_every_class_once_and_accuracies_of_40_images(table):
    for _, run in table.groupby(["draw", "way", "rate", "steps"]):
        assert run["class"].tolist() == list(range(10))
    assert ((table["test"] * 40) % 1 == 0).all() and table["test"].between(0, 1).all()


def test_the_file_is_the_one_described():
    digest = hashlib.sha256(FILE.read_bytes()).hexdigest()
    assert digest in (ROOT / "data" / "README.md").read_text(encoding="utf-8"), digest
