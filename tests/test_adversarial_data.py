"""The shipped runs of adversarial training: what notebook 22 reads, and the two networks beside them."""

import hashlib

import adversarial_photos
import adversarial_runs
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from cbirkit.encoders import Deep

DATA = ROOT / "data"
FILES = ["adversarial.csv", "adversarial_standard.safetensors", "adversarial_defended.safetensors"]
SEEDS = {0, 1, 2}


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(DATA / FILES[0])


@pytest.mark.parametrize("name", FILES)
def test_the_readme_gives_its_checksum_and_it_is_small(name):
    content = (DATA / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() in (DATA / "README.md").read_text(encoding="utf-8")
    assert len(content) < 400_000


def test_every_row_stands_there_once_and_is_a_share(table):
    assert table.columns.tolist() == adversarial_runs.COLUMNS
    assert not table.duplicated(adversarial_runs.COLUMNS[:-1]).any()
    assert table["value"].between(0, 1).all() and not table.isna().any().any()


def test_three_ways_and_three_seeds_at_every_bound(table):
    bare = table[(table["defence"] == "none") & table["network"].isin(adversarial_runs.WAYS)]
    for attack in ("noise", "FGSM", "PGD", "PGD away"):
        seeds = bare[bare["attack"] == attack].groupby(["network", "epsilon"])["seed"].agg(set)
        assert set(seeds.index) == {
            (way, level) for way in adversarial_runs.WAYS for level in adversarial_runs.LEVELS
        }
        assert all(found == SEEDS for found in seeds)


@pytest.mark.parametrize("defence", ["jpeg", "bit depth", "smoothing"])
def test_each_defence_was_attacked_with_and_without_knowledge_of_it(table, defence):
    rows = table[table["defence"] == defence].groupby(["network", "attack"])["seed"].agg(set)
    for way in ("standard", "defended"):
        for attack in ("clean", "PGD naive", "PGD adaptive"):
            assert rows[way, attack] == SEEDS


def test_photographs_were_attacked_with_both_networks(table):
    photos = table[table["network"].isin(["tiny", "MobileNetV2"])].set_index(
        ["network", "attack", "epsilon"]
    )["value"]
    for name, other in (("tiny", "MobileNetV2"), ("MobileNetV2", "tiny")):
        assert (name, "clean", 0) in photos.index and (
            name,
            "noise",
            adversarial_photos.LEVELS[-1],
        ) in photos.index
        for level in adversarial_photos.LEVELS:
            assert {(name, "PGD", level), (name, f"from {other}", level)} <= set(photos.index)


def test_the_networks_are_what_the_first_rows_were_measured_on(table):
    test = adversarial_runs.Test()
    embeddings = []
    for way in ("standard", "defended"):
        encoder = Deep(
            "conv5",
            DATA / f"adversarial_{way}.safetensors",
            size=adversarial_runs.SIZE,
            device="cpu",
        )
        model = adversarial_runs.attacks.attackable(encoder)
        embeddings.append(adversarial_runs.attacks.embed_pixels(model, test.pixels))
        goal = test.goal(model)
        clean = table[
            (table["network"] == way)
            & (table["seed"] == 0)
            & (table["attack"] == "clean")
            & (table["defence"] == "none")
        ]
        assert test.recall(model, test.pixels, goal) == pytest.approx(
            clean["value"].item(), abs=0.025
        )  # float16, rounding
    assert np.isfinite(embeddings).all() and not np.allclose(*embeddings, atol=0.05)
