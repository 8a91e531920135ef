"""The rendered world as it ships: what can be read of it, and that only the shape of an object tells what it is."""

import hashlib

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from sklearn.metrics import mutual_info_score

from cbirkit import Ranking, datasets, encoders, evaluate
from cbirkit.datasets import real_features
from cbirkit.datasets.tabletop import scene_relevance
from cbirkit.indexes import Exact

PARTS = [
    part
    for part in ("objects", "scenes", "domains")
    if (ROOT / "data" / "tabletop" / f"{part}.csv.gz").exists()
]


@pytest.fixture(scope="module")
def objects():
    return datasets.load_tabletop()


@pytest.fixture(scope="module")
def unseen(objects):
    """Queries and database of categories that nobody learns from."""
    return objects[~objects.column("seen_category").astype(bool)].split()


def mean_ap(embed, unseen, **how):
    queries, database = unseen
    distances, indices = (
        Exact("euclidean").fit(embed(database)).kneighbors(embed(queries), len(database))
    )
    ranking = Ranking(queries.ids, database.ids, indices, distances)
    return evaluate(
        ranking, queries.relevance(queries, database, **how), metrics=["map"], n_bootstrap=0
    )["map"]


def by_category(embed, unseen):
    return mean_ap(embed, unseen, by="label", junk="instance")


@pytest.fixture(scope="module")
def chance(unseen):
    rng = np.random.default_rng(0)
    return by_category(lambda images: rng.normal(size=(len(images), 64)), unseen)


@pytest.mark.parametrize("part", PARTS)
def test_pictures_and_masks_of_a_part_fit_its_table(part):
    images = datasets.load_tabletop(part)
    assert len(images) == {"objects": 3072, "scenes": 420, "domains": 576}[part]
    for i in range(0, len(images), 37):
        picture, mask = images[i], images.mask(i)
        assert (
            picture.dtype == np.uint8 and picture.shape[:2] == mask.shape and picture.shape[2] == 3
        )
        boxes = (
            [one["box"] for one in images.column("objects")[i]]
            if part == "scenes"
            else [images.column("box")[i]]
        )
        for number, box in enumerate(boxes, 1):
            rows, columns = np.nonzero(mask == number)
            found = (
                [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                if len(rows)
                else None
            )
            assert found == box


def test_objects_have_splits_instances_and_a_protocol_by_category(objects):
    queries, database = objects.split()
    assert (len(queries), len(database)) == (768, 1920)
    table = objects.table
    assert (
        table["label"].nunique() == 64
        and table["instance"].nunique() == 384
        and table["group"].nunique() == 7
    )
    assert (
        table.groupby("label")["seen_category"].nunique().max() == 1
        and 0.2 < 1 - table["seen_category"].mean() < 0.3
    )
    same = queries.relevance(queries, database, by="instance")
    other = queries.relevance(queries, database, by="label", junk="instance")
    assert (
        set(same.n_positives) == {5} and set(other.n_positives) == {25} and set(other.n_junk) == {5}
    )


def test_words_of_the_surface_say_nothing_of_the_category(objects):
    """Mutual information of category and word, against the same words dealt out at random."""
    things = objects.table.drop_duplicates("instance")
    rng = np.random.default_rng(0)
    for word in ("colour", "material", "pattern"):
        labels, words = (pd.factorize(things[name])[0] for name in ("label", word))
        found = mutual_info_score(labels, words)
        dealt = [mutual_info_score(labels, rng.permutation(words)) for _ in range(200)]
        assert found < np.quantile(dealt, 0.999)


@pytest.mark.parametrize("part", [part for part in PARTS if part == "domains"])
def test_a_view_in_another_domain_shows_the_object_at_the_same_place(part, objects):
    domains = datasets.load_tabletop(part)
    assert set(domains.column("domain")) == {"drawing", "night", "clay"}
    for i in range(0, len(domains), 41):
        other = objects.positions([domains.column("photograph")[i]])[0]
        assert objects.labels[other] == domains.labels[i]
        here, there = domains.mask(i) == 1, objects.mask(other) == 1
        assert (here & there).sum() > 0.9 * (here | there).sum()


def without_objects(images):
    """The pictures with the circle around the object painted grey: an outline of it would tell too much."""
    for i in range(len(images)):
        picture, row = images[i].copy(), images.table.iloc[i]
        side = len(picture)
        y, x = np.mgrid[:side, :side] + 0.5
        centre_x, centre_y = (0.5 + row["circle_x"]) * side, (0.5 - row["circle_y"]) * side
        picture[np.hypot(x - centre_x, y - centre_y) <= 1.03 * row["circle_radius"] * side] = 128
        yield picture


SHORTCUTS = {
    "colour": lambda images: encoders.ColorHistogram().transform(images),
    "surroundings": lambda images: encoders.ColorHistogram().transform(
        list(without_objects(images))
    ),
    "size and position": lambda images: images.table[
        ["circle_x", "circle_y", "circle_radius"]
    ].to_numpy(np.float32),
}


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_shortcuts_stay_near_chance(shortcut, unseen, chance):
    assert by_category(SHORTCUTS[shortcut], unseen) <= chance + 0.02


def test_outlines_are_worth_at_most_half_of_a_real_network(unseen):
    """Of a third of the pictures: network 0.36 and 0.40, outlines 0.13, chance 0.09 for seeds 0 and 1."""
    rng = np.random.default_rng(0)
    some = tuple(part[rng.permutation(len(part))[: len(part) // 3]] for part in unseen)
    network = by_category(encoders.Deep("tiny").transform, some)
    assert by_category(encoders.HOG(cell=32).transform, some) <= network / 2
    assert network > 3 * by_category(lambda images: rng.normal(size=(len(images), 64)), some)


def test_what_is_not_there_or_damaged_is_said(tmp_path, monkeypatch):
    with pytest.raises(
        ValueError, match="part must be one of objects, scenes, domains, got 'object'"
    ):
        datasets.load_tabletop("object")
    (tmp_path / "tabletop").mkdir()
    monkeypatch.setattr(real_features, "DATA", tmp_path)
    with pytest.raises(FileNotFoundError, match="tabletop/objects.csv.gz"):
        datasets.load_tabletop()
    for suffix in ("csv.gz", "masks"):
        name = f"objects.{suffix}"
        (tmp_path / "tabletop" / name).write_bytes((ROOT / "data" / "tabletop" / name).read_bytes())
    (tmp_path / "tabletop" / "objects.images").write_bytes(b"cut")
    with pytest.raises(ValueError, match="objects.images.*damaged"):
        datasets.load_tabletop()


def test_all_parts_are_small():
    assert sum(path.stat().st_size for path in (ROOT / "data" / "tabletop").iterdir()) <= 12_000_000


def test_data_readme_has_the_checksums():
    readme = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    for path in (ROOT / "data" / "tabletop").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() in readme, (
            f"data/README.md has another SHA-256 of {path.name}"
        )


def test_scenes_that_hold_a_category_against_a_naive_loop(objects):
    scenes = datasets.load_tabletop("scenes")
    queries = objects[objects.column("view") == 0][::29]
    n_junk = 0
    for size in (None, "small", "medium", "large"):
        truth = scene_relevance(queries, scenes, size=size)
        gains = truth.gains(np.tile(np.arange(len(scenes)), (len(queries), 1)))
        for query, label in enumerate(queries.labels):
            junk = 0
            for scene, things in enumerate(scenes.column("objects")):
                mine = [one for one in things if one["category"] == label]
                good = [o for o in mine if o["visible"] >= 0.5 and size in (None, o["size"])]
                assert (gains[query, scene] > 0) == bool(good)
                junk += bool(mine) and not good
            assert truth.n_junk[query] == junk
            n_junk += junk
    assert n_junk


def test_close_ups_show_the_object_of_the_mask_and_keep_the_table():
    world = datasets.load_tabletop()
    left, top, right, bottom = np.array(world.column("box").tolist()).T
    reach = 0.65 * np.maximum(right - left, bottom - top) + 2  # nothing beyond the edge is needed
    across, down = (left + right) / 2, (top + bottom) / 2
    whole = np.minimum(across, down) - reach > 0
    whole &= np.maximum(across, down) + reach < 128
    rows = np.flatnonzero(whole)[::200]
    close = datasets.close_ups(world[rows], 48)
    assert len(rows) > 3 and close.table.equals(world[rows].table)
    assert {image.shape for image in close} == {(48, 48, 3)}
    for place, row in enumerate(rows):
        one = close.mask(place) == 1
        sides = [np.ptp(np.flatnonzero(one.any(axis=axis))) + 1 for axis in (0, 1)]
        assert abs(max(sides) - 48 / 1.3) <= 3  # a border of a sixth at either end
        given = right[row] - left[row], bottom[row] - top[row]
        assert abs(sides[0] / sides[1] - given[0] / given[1]) < 0.25
    other = datasets.close_ups(world[rows[1:]], 48)
    assert other.digest(0) != close.digest(0) and np.array_equal(other[0], close[1])


def test_zoomed_cuts_windows_out_of_the_picture_and_its_mirrored_blurred_surroundings():
    world = datasets.load_tabletop()[::800]
    n_beyond = 0
    for row, (left, top, right, bottom) in enumerate(world.column("box")):
        picture, mask = world[row], world.mask(row)
        empty = np.where(mask[..., None] > 0, np.median(picture[mask == 0], axis=0), picture)
        around = cv2.GaussianBlur(empty.astype(np.uint8), (0, 0), 8, borderType=cv2.BORDER_REFLECT)
        for fraction in (0.9, 0.3):
            side = round(max(right - left, bottom - top) / fraction)  # so nothing is resized
            frame = datasets.zoomed(world[[row]], (fraction,), side)[0, 0]
            x, y = (left + right - side) // 2, (top + bottom - side) // 2
            for i, j in np.ndindex(side, side):
                place = y + i, x + j
                if min(place) >= 0 and max(place) < 128:
                    assert np.array_equal(frame[i, j], picture[place])
                else:
                    mirrored = tuple(p % 256 if p % 256 < 128 else 255 - p % 256 for p in place)
                    assert np.array_equal(frame[i, j], around[mirrored])
                    n_beyond += 1
    assert n_beyond > 1000


def test_zoomed_gives_all_zooms_at_one_size():
    world = datasets.load_tabletop()[:2]
    frames = datasets.zoomed(world, (0.9, 0.57, 0.2), 48)
    assert frames.shape == (2, 3, 48, 48, 3) and frames.dtype == np.uint8
    assert np.array_equal(frames[1, 2], datasets.zoomed(world[1:], (0.2,), 48)[0, 0])
