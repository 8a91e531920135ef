"""The shipped measurements of approximate search: what notebook 12 reads, and what the README says of the file."""

import hashlib
import runpy
import sys

import pandas as pd
import pytest
from conftest import ROOT

FILE = ROOT / "data" / "approximate_search.csv"
SIZES = [10_000, 100_000, 1_000_000]


@pytest.fixture(scope="module")
def tool():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return runpy.run_path(str(ROOT / "benchmarks" / "approximate_search.py"))
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(FILE)


def test_the_readme_gives_its_checksum():
    digest = hashlib.sha256(FILE.read_bytes()).hexdigest()
    assert digest in (ROOT / "data" / "README.md").read_text(encoding="utf-8")


def test_every_setting_is_one_of_the_benchmarks_and_stands_there_once(table, tool):
    assert table.columns.tolist() == tool["COLUMNS"]
    assert not table.duplicated(["n", "index", "setting"]).any()
    for name, settings in table.groupby("index")["setting"]:
        assert set(settings) <= {tool["told"](setting) for setting in tool["STEPS"][name]}


def test_every_index_reaches_the_target_at_every_size(table, tool):
    reached = table[table["target"] == 1]
    assert reached.groupby("index")["n"].apply(sorted).to_dict() == {
        name: SIZES for name in tool["STEPS"]
    }
    assert (reached["validation_recall"] >= tool["TARGET"]).all() and (
        reached["recall"] > 0.93
    ).all()
    exact = table[table["index"] == "Exact"]
    assert (exact["recall"] == 1).all()
    assert table[["batch_qps", "single_qps", "bytes", "structure_bytes"]].gt(0).all(axis=None)


def test_the_benchmark_goes_on_where_it_was_stopped(tool, tmp_path, monkeypatch, capsys):
    rows, measure = [], tool["measure"]
    options = type(
        "Options", (), {"work": tmp_path, "csv": tmp_path / "some.csv", "build_threads": 1}
    )
    parts = {
        "N_QUERIES": 20,
        "N_SINGLE": 2,
        "timed": lambda function: (function(), 1.0),
        "overhead": lambda *parts: {},
    }
    for name, value in parts.items():
        monkeypatch.setitem(measure.__globals__, name, value)
    measure("SignBits", 300, rows, options)
    assert tool["read"](options.csv) == tool["read"](options.csv) != []
    some = tool["read"](options.csv)[:1]
    monkeypatch.setitem(
        measure.__globals__, "prepare", None if len(rows) == 1 else measure.__globals__["prepare"]
    )
    measure("SignBits", 300, some, options)
    assert [row["setting"] for row in some] == [row["setting"] for row in rows]
    monkeypatch.setitem(
        measure.__globals__, "prepare", None
    )  # all is measured: nothing is made or asked again
    measure("SignBits", 300, tool["read"](options.csv), options)
