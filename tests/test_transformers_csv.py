"""The shipped runs of notebook 10's networks fit together, and `data/README.md` has their sum."""

import hashlib

import pandas as pd
import pytest
from conftest import ROOT

FILE = ROOT / "data" / "transformers.csv"


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(FILE)


def best_rates(table):
    """The rate of each network with the best validation mAP after the last step, as the mean of the seeds."""
    last = table[(table["step"] == table["step"].max()) & (table["pictures"] == "plain")]
    return last.groupby(["network", "rate"])["validation"].mean().groupby("network").idxmax().str[1]


def test_every_rate_was_tried_with_three_seeds_and_the_best_lies_inside_the_grid(table):
    runs = table.groupby(["network", "pictures", "rate"])
    assert (runs["seed"].nunique() == 3).all() and (runs.size() == 9).all()
    for name, rate in best_rates(table).items():
        grid = table[(table["network"] == name) & (table["pictures"] == "plain")]["rate"]
        assert grid.min() < rate < grid.max()


def test_scrambled_pictures_were_learned_at_the_best_rate(table):
    best = best_rates(table)
    scrambled = table[table["pictures"] != "plain"]
    assert set(scrambled["pictures"]) == {"pixels", "tiles"}
    assert (scrambled["rate"] == scrambled["network"].map(best)).all()
    assert set(best.index) == {"CNN", "ViT", "ViT, convolutional stem"}


def test_the_file_is_the_one_described():
    digest = hashlib.sha256(FILE.read_bytes()).hexdigest()
    assert digest in (ROOT / "data" / "README.md").read_text(encoding="utf-8"), digest
