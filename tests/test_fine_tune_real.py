"""The shipped tables of fine-tuning, which notebook 06 reads: a simulated thermal camera, and land use seen from the air."""

import ast
import hashlib
import runpy

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

REAL, THERMAL = (ROOT / "data" / f"fine_tune_{name}.csv" for name in ("real", "thermal"))
LAND_USE = runpy.run_path(str(ROOT / "tools" / "fine_tune_real.py"))
CAMERA = runpy.run_path(str(ROOT / "tools" / "fine_tune_thermal.py"))


@pytest.fixture(scope="module")
def real():
    return pd.read_csv(REAL)


@pytest.fixture(scope="module")
def thermal():
    return pd.read_csv(THERMAL)


@pytest.mark.parametrize("file", [REAL, THERMAL])
def test_the_readme_gives_its_checksum(file):
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert digest in (ROOT / "data" / "README.md").read_text(encoding="utf-8")


def test_no_group_stands_twice_and_scores_are_scores(real, thermal):
    for table in (real, thermal):
        assert not table.duplicated([*table.columns.drop(["epoch", "validation", "mAP"])]).any()
        assert (
            table[["validation", "mAP"]].apply(lambda column: column.between(0, 1)).all(axis=None)
        )


def test_every_way_has_all_its_rates_and_each_class_is_tested(real):
    assert real.columns.tolist() == LAND_USE["COLUMNS"]
    ways = {way: list(rates) for way, rates in LAND_USE["RATES"].items()}
    ways |= {way: [0] for way in LAND_USE["OTHERS"]} | {LAND_USE["HALF"]: ways["full"]}
    for _, part in real.groupby(["set", "split"]):
        assert {way: sorted(rows["rate"].unique()) for way, rows in part.groupby("way")} == ways
    tested = real[real["domain"] == "target"].groupby(["set", "split"])["group"].nunique()
    assert tested.to_dict() == {("land use", split): 7 for split in range(3)} | {("letters", 0): 24}
    assert (
        real.loc[(real["domain"] == "target") & (real["set"] == "land use"), "group"].nunique()
        == 21
    )


def test_the_frozen_network_scores_photographs_the_same_in_every_split_and_seed(real, thermal):
    for table in (real, thermal):
        frozen = table[(table["domain"] == "photographs") & (table["way"] == "frozen")]
        assert (frozen.groupby("group")["mAP"].nunique() == 1).all()


def test_splits_have_no_class_in_two_parts_and_test_each_once():
    classes = np.array([f"class {n}" for n in range(21)])
    splits = LAND_USE["class_splits"](classes)
    for parts in splits:
        assert [len(part) for part in parts] == [9, 5, 7]
        assert sorted(np.concatenate(parts)) == sorted(classes)
    assert sorted(np.concatenate([test for _, _, test in splits])) == sorted(classes)


def test_the_camera_had_every_rate_in_seed_0(thermal):
    rates = thermal[thermal["seed"] == 0].groupby("way")["rate"].unique().map(sorted)
    assert {way: list(CAMERA["RATES"][way]) for way in CAMERA["RATES"]} == rates[
        list(CAMERA["RATES"])
    ].to_dict()
    assert set(thermal["seed"]) == set(CAMERA["SEEDS"])
    assert thermal.loc[thermal["domain"] == "thermal", "group"].nunique() == 15


def test_the_camera_of_the_tool_is_that_of_the_notebook():
    sources = (
        ROOT / "tools" / "fine_tune_thermal.py",
        ROOT / "notebooks" / "sources" / "06_domain_fine_tuning.py",
    )
    cameras = []
    for source in sources:
        tree = ast.parse(source.read_text(encoding="utf-8"))
        cameras += [node for node in tree.body if getattr(node, "name", "") == "thermal"]
    assert len(cameras) == 2 and ast.dump(cameras[0]) == ast.dump(cameras[1])


def test_without_the_photographs_it_says_what_is_missing(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv("CBIRKIT_REALDATA", raising=False)
    with pytest.raises(SystemExit):
        LAND_USE["main"](["--work", str(tmp_path)])
    assert "CBIRKIT_REALDATA" in capsys.readouterr().err
