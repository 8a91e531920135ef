"""What notebook 07 reads is there, fits together, and is what the tool and `data/README.md` say."""

import hashlib
import itertools
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from safetensors.numpy import load_file

from cbirkit import encoders, metrics

runs = pytest.importorskip(
    "metric_learning_runs", reason="pytorch-metric-learning is not installed"
)
FILES = ("metric_learning.csv", "metric_learning_classes.csv", "metric_start.safetensors")


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(ROOT / "data" / "metric_learning.csv")


@pytest.fixture(scope="module")
def by_class():
    return pd.read_csv(ROOT / "data" / "metric_learning_classes.csv")


def test_every_run_is_there_once(table):
    assert list(table.columns) == runs.COLUMNS
    tests = table[table["part"] == "test"]
    expected = {
        (which, seed, method)
        for which, methods in runs.TESTED.items()
        for seed, method in itertools.product(runs.SEEDS, (*runs.BASELINES, *methods))
    }
    found = list(tests[["set", "seed", "method"]].itertuples(index=False, name=None))
    assert len(found) == len(set(found)) and set(found) == expected
    numbers = tests[["map_at_r", "p_at_1", "alignment", "uniformity"]]
    assert np.isfinite(numbers).all(axis=None)
    assert (
        numbers[["map_at_r", "p_at_1"]].stack().between(0, 1).all()
        and (tests["uniformity"] <= 0).all()
    )


def test_each_loss_had_the_same_budget_and_its_best_value_was_taken(table):
    tuning, tests = table[table["part"] == "tuning"], table[table["part"] == "test"]
    for method, (values, _) in runs.METHODS.items():
        tried = tuning[tuning["method"] == method]
        assert sorted(tried["setting"]) == sorted(values) and len(values) == 5
        best = tried.loc[tried["validation"].idxmax(), "setting"]
        assert min(values) < best < max(values)  # a wider range would not have helped at either end
        assert set(tests.loc[tests["method"] == method, "setting"]) == {best}


def test_classes_and_runs_agree(table, by_class):
    tests = table[table["part"] == "test"].set_index(["set", "seed", "method"])["map_at_r"]
    means = by_class.groupby(["set", "seed", "method"])["map_at_r"].mean()
    assert (means - tests.reindex(means.index)).abs().max() < 2e-4  # as many images of each class
    assert by_class.groupby(["set", "seed", "method"])["class"].nunique().groupby(
        "set"
    ).first().to_dict() == {"tabletop": 15, "omniglot": 24}


def test_no_class_is_in_two_splits(by_class):
    tested = set(by_class.loc[by_class["set"] == "tabletop", "class"])
    for seed in runs.SEEDS:
        parts = runs.categories_of(seed)
        sizes = {part: len(names) for part, names in parts.items()}
        assert sizes == {"start": 13, "validation": 12, "train": 24, "test": 15}
        assert len(set(np.concatenate(list(parts.values())))) == sum(sizes.values())
        assert set(parts["test"]) == tested
    letters = by_class.loc[by_class["set"] == "omniglot", "class"]
    assert {name.split("/")[0] for name in letters} == {runs.ALPHABETS["test"]}
    assert len(set(runs.ALPHABETS.values())) == 3


def test_the_start_loads_as_an_encoder(table):
    path = ROOT / "data" / "metric_start.safetensors"
    assert {str(v.dtype) for v in load_file(path).values()} <= {"float16", "int64"}
    start = encoders.Deep("conv5", weights=str(path), size=runs.SIZE, device="cpu")
    queries, database = runs.part_of("test", 0).split()
    numbers, _ = runs.judged(start, queries, database)
    kept = table[(table["set"] == "tabletop") & (table["seed"] == 0)].set_index("method")
    assert numbers["map_at_r"] == pytest.approx(kept.loc["start", "map_at_r"], abs=0.003)
    assert numbers["map_at_r"] > 2 * kept.loc["untrained", "map_at_r"]


class Rows:
    """An encoder that gives what an image collection of numbers holds."""

    def transform(self, images):
        return images.rows


class Numbers:
    """Numbers in place of pictures: two rows of each of two objects of each of three classes."""

    def __init__(self, seed):
        self.rows = np.random.RandomState(seed).normal(size=(12, 3))
        self.labels = tuple("aaaabbbbcccc")

    def column(self, name):
        return np.repeat(["a 1", "a 2", "b 1", "b 2", "c 1", "c 2"], 2)


def test_a_run_is_judged_as_by_loops():
    queries, database = Numbers(0), Numbers(1)
    X, Y = (
        part.rows / np.linalg.norm(part.rows, axis=1, keepdims=True) for part in (queries, database)
    )
    objects, values = queries.column("instance"), {}
    for i, label in enumerate(queries.labels):
        order = [j for j in np.argsort(-(Y @ X[i])) if objects[j] != objects[i]]
        hits = [database.labels[j] == label for j in order]
        values.setdefault(label, []).append(metrics.map_at_r(hits))
    numbers, classes = runs.judged(Rows(), queries, database)
    assert classes == pytest.approx({label: np.mean(v) for label, v in values.items()})
    assert numbers["map_at_r"] == pytest.approx(np.mean(list(values.values())))
    assert numbers["alignment"] == pytest.approx(metrics.alignment(Y, database.labels))


def test_one_method_can_be_run_again_and_all_other_rows_stay(
    table, by_class, tmp_path, monkeypatch
):
    out, again = tmp_path / "out", "tiny, frozen"
    out.mkdir()
    for name in FILES:
        shutil.copy(ROOT / "data" / name, out)
    made = []
    monkeypatch.setenv("CBIRKIT_REALDATA", "is not read")
    monkeypatch.setattr(runs, "images_of", lambda which, seed: (None, None, [which]))
    monkeypatch.setattr(runs, "baseline", lambda *made_from: made.append(made_from[:2]))
    monkeypatch.setattr(
        runs, "judged", lambda encoder, which: ({"map_at_r": 0.5}, {f"class of {which}": 0.5})
    )
    assert runs.run(["--work", str(tmp_path / "work"), "--out", str(out), "--only", again]) == 0
    assert made == [(again, seed) for _ in runs.SETS for seed in runs.SEEDS]
    for name, before in zip(FILES, (table, by_class), strict=False):
        after = pd.read_csv(out / name)
        pd.testing.assert_frame_equal(
            *(t[t["method"] != again].reset_index(drop=True) for t in (before, after)),
            check_dtype=False,
        )
        assert (after.loc[after["method"] == again, "map_at_r"] == 0.5).all()
    assert (out / FILES[2]).read_bytes() == (ROOT / "data" / FILES[2]).read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_the_readme_has_the_checksum(name):
    digest = hashlib.sha256((ROOT / "data" / name).read_bytes()).hexdigest()
    assert digest in (ROOT / "data" / "README.md").read_text(), (
        f"data/README.md has another SHA-256 of {name}: it is {digest}"
    )
