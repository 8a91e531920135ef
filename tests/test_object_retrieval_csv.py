"""The shipped numbers of object retrieval fit together, and say what notebook 14 and the documents say."""

import pandas as pd
import pytest
from conftest import ROOT

SETS = {
    "tabletop": ("small", "medium", "large"),
    "pasted": ("small", "medium", "large"),
    "streets": ("car", "pedestrian", "sign"),
}


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(ROOT / "data" / "object_retrieval.csv")


def test_every_method_was_measured_on_every_part(table):
    for name, parts in SETS.items():
        mine = table[table["set"] == name]
        assert set(mine["part"]) == {"all", *parts}
        seeds = {0, 1, 2} if name == "tabletop" else {0}
        assert set(mine["seed"]) == seeds
        counts = mine.groupby(["seed", "encoder", "part"])["method"].agg(["size", "nunique"])
        assert (counts == counts.iloc[0, 0]).all(axis=None)


def test_numbers_lie_where_they_can(table):
    assert table["mean"].between(0, 1).all() and table["overlap"].between(0, 1).all()
    assert ((table["low"] <= table["mean"]) & (table["mean"] <= table["high"])).all()
    assert (table.loc[table["method"] == "whole images", "vectors"] == 1).all()
    known = table.dropna(subset=["difference"])
    assert (known["difference_low"] <= known["difference"] + 1e-4).all()
    assert (known["difference"] <= known["difference_high"] + 1e-4).all()


def test_differences_are_to_one_vector_an_image(table):
    keys = ["set", "seed", "encoder", "part"]
    base = table[table["method"] == "whole images"].set_index(keys)["mean"].rename("base")
    joined = table.join(base, on=keys).dropna(subset=["difference"])
    assert (joined["mean"] - joined["base"] - joined["difference"]).abs().max() < 3e-4


def test_its_own_layer_is_the_better_of_two_on_the_queries_that_choose(table):
    keys = ["set", "seed", "part", "method"]
    others = table[table["encoder"] != "own"]
    best = others.groupby(keys)["validation"].max()
    own = table[table["encoder"] == "own"].set_index(keys)
    assert (
        set(others["encoder"]) == {"middle", "last"}
        and (others["encoder"] == others["layer"]).all()
    )
    assert (own["validation"] == best.loc[own.index]).all()
    same = table[table["encoder"] == table["layer"]].set_index([*keys, "layer"])["mean"]
    own = own.reset_index().set_index([*keys, "layer"])
    assert (own["mean"] - same.loc[own.index]).abs().max() < 1e-9


def test_regions_gain_over_one_vector_in_every_seed(table):
    mine = table[(table["set"] == "tabletop") & (table["encoder"] == "own")]
    mine = mine[mine["method"] == "network, scales"].set_index("part")
    for part in ("all", "medium"):
        assert (mine.loc[part, "difference"] > 0).all()
