"""The shipped numbers of search across zooms fit together, and `data/README.md` has their sum."""

import hashlib

import pandas as pd
import pytest
from conftest import ROOT

FILE = ROOT / "data" / "multi_scale.csv"
PARTS = {
    "coco": {
        "all zooms",
        "close in close",
        "close in far",
        "far in far",
        "0 steps",
        "1 steps",
        "2 steps",
    },
    "photographs": {"all sizes", "small", "medium", "large"},
    "scenes": {"all sizes", "small", "medium", "large"},
}


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(FILE)


def test_every_method_was_measured_on_every_part_with_three_seeds(table):
    methods = set(table["method"])
    assert len(methods) == 7
    for name, parts in PARTS.items():
        mine = table[table["set"] == name]
        assert set(mine["part"]) == parts and set(mine["method"]) == methods
        assert len(mine) == 3 * len(parts) * len(methods)


def test_numbers_lie_where_they_can(table):
    assert (table["low"] <= table["mAP"]).all() and (table["mAP"] <= table["high"]).all()
    assert (table["difference_low"] <= table["difference"] + 1e-4).all()
    assert (table["difference"] <= table["difference_high"] + 1e-4).all()
    assert table["chance"].between(0.01, 0.4).all() and table["mAP"].between(0, 1).all()


def test_differences_are_to_one_size(table):
    keys = ["set", "seed", "part"]
    base = table[table["method"] == "one size"].set_index(keys)["mAP"].rename("base")
    joined = table.join(base, on=keys)
    assert (joined["mAP"] - joined["base"] - joined["difference"]).abs().max() < 3e-4


def test_the_file_is_the_one_described():
    digest = hashlib.sha256(FILE.read_bytes()).hexdigest()
    assert digest in (ROOT / "data" / "README.md").read_text(encoding="utf-8"), digest
