"""The shipped average precisions of fine-tuning: what notebook 06 reads, and how the tool deals out its classes."""

import hashlib
import runpy

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

FILE = ROOT / "data" / "fine_tune_real.csv"
TOOL = runpy.run_path(str(ROOT / "tools" / "fine_tune_real.py"))


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(FILE)


def test_the_readme_gives_its_checksum():
    digest = hashlib.sha256(FILE.read_bytes()).hexdigest()
    assert digest in (ROOT / "data" / "README.md").read_text(encoding="utf-8")


def test_every_query_of_every_split_was_scored_by_every_way(table):
    assert table.columns.tolist() == TOOL["COLUMNS"]
    assert table.groupby(["split", "domain"]).size().unstack().to_dict("list") == {
        "photographs": [80] * 3,
        "satellite": [180] * 3,
    }
    assert not table.duplicated(["split", "domain", "query"]).any()
    precisions = table[["frozen", *TOOL["RATES"], TOOL["WISE"]]].to_numpy()
    assert ((precisions >= 0) & (precisions <= 1)).all()


def test_the_frozen_network_scores_photographs_the_same_in_every_split(table):
    frozen = table[table["domain"] == "photographs"].pivot_table(
        index="query", columns="split", values="frozen"
    )
    assert (frozen.nunique(axis=1) == 1).all()


def test_rates_are_among_those_tried(table):
    for mode, rates in TOOL["RATES"].items():
        assert set(table[f"rate of {mode}"]) <= set(rates)


def test_splits_test_each_class_about_equally_often():
    classes = [*"abcdefg"]
    splits = TOOL["class_splits"](classes, n_splits=7)
    assert all(len(set(held_out)) == 3 for held_out in splits)
    counts = np.unique(np.concatenate(splits), return_counts=True)[1]
    assert counts.tolist() == [3] * 7


def test_without_the_photographs_it_says_what_is_missing(monkeypatch, capsys):
    monkeypatch.delenv("CBIRKIT_REALDATA", raising=False)
    with pytest.raises(SystemExit):
        TOOL["run"]([])
    assert "CBIRKIT_REALDATA" in capsys.readouterr().err
