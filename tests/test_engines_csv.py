"""The shipped measurements of engines beside our indexes: what notebook 12 reads, and what the README says of the file."""

import hashlib
import runpy

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

FILE = ROOT / "data" / "engines.csv"


@pytest.fixture(scope="module")
def tool():
    pytest.importorskip("psutil")
    return runpy.run_path(str(ROOT / "benchmarks" / "engines.py"))


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(FILE).fillna({"filter": ""})


def test_the_readme_gives_its_checksum():
    digest = hashlib.sha256(FILE.read_bytes()).hexdigest()
    assert digest in (ROOT / "data" / "README.md").read_text(encoding="utf-8")


def test_every_engine_stands_there_with_and_without_the_filter(table, tool):
    assert table.columns.tolist() == [*tool["COLUMNS"].split(), "machine_load"]
    assert not table.duplicated(["n", "engine", "filter"]).any()
    filters = table.groupby(["n", "engine"])["filter"].apply(set).unstack(0)
    assert filters.notna().all(axis=None)  # each engine at each size
    assert all("" in some and len(some) > 1 for some in filters.stack())
    assert (table.loc[table["engine"] == "exact", "recall"] == 1).all()
    assert table["recall"].between(0, 1).all() and (table[["p50_ms", "cpu_ms", "mb"]] > 0).all(
        axis=None
    )
    assert (table["p95_ms"] >= table["p50_ms"]).all()


def test_the_benchmark_measures_and_keeps_what_it_has(tool, tmp_path, monkeypatch):
    """In small, and without the engines, which have their own tests."""
    rng, run = np.random.default_rng(0), tool["run"]
    X = rng.normal(size=(3000, 8)).astype(np.float32)
    data = {
        "X": X,
        "numbers": rng.integers(0, 100, 3000),
        "Q": X[:200],
        "truth": np.zeros((200, 10)),
    }
    data["inside"] = np.zeros((200, 10))
    options = type(
        "Options", (), {"work": tmp_path, "csv": tmp_path / "some.csv", "n": 3000, "rounds": 1}
    )
    options.queries_only = False
    calls = []
    patches = {"prepare": lambda n, work: calls.append(n) or data}
    patches |= {name: lambda data, work: iter(()) for name in ("pgvector", "ivfflat", "lance")}
    for name, patch in patches.items():
        monkeypatch.setitem(run.__globals__, name, patch)
    run(options)
    first = options.csv.read_text()
    assert first.count("exact") == first.count("hnsw") == 2
    n_calls = len(calls)
    run(options)
    assert options.csv.read_text() == first and len(calls) - n_calls == 3  # exact and hnsw are kept
    options.queries_only = True
    run(options)
    assert len(calls) == n_calls + 8 and options.csv.read_text().count("hnsw") == 2
