"""What the table of a set of scenes says, checked on masks and pixels."""

import colorsys

import numpy as np
import pytest

from cbirkit.datasets import load_scenes
from cbirkit.datasets.scenes import FAMILIES, KINDS, LEVELS, RELATIONS, full_masks, scene_classes
from cbirkit.datasets.scenes.backgrounds import CONTEXTS

SOME = ["star5", "star8", "blob3", "ringed2", "limbed4", "polygon3-long", "flower4", "ringed1"]


@pytest.fixture(scope="module")
def objects():
    return load_scenes(n_instances=6, n_views=2)


@pytest.fixture(scope="module")
def hard():
    return load_scenes(level="hard", n_instances=2)


@pytest.fixture(scope="module")
def multi():
    return load_scenes("multi", n_instances=3)


def test_rows_and_splits(objects):
    table = objects.table
    assert len(objects) == 48 * 6 * 2 and table["instance"].nunique() == 48 * 6
    assert set(table.loc[table["seen"], "split"]) == {"train", "val"}
    assert set(table.loc[~table["seen"], "split"]) == {"query", "database"}
    assert (table.loc[table["split"] == "query", "view"] == 0).all()
    assert (
        table.groupby("instance")["split"]
        .nunique()[table.loc[table["seen"], "instance"].unique()]
        .max()
        == 1
    )
    queries, database = objects.split()
    assert (len(queries), len(database)) == (96, 96)
    assert (objects.relevance(queries, database).n_positives == 1).all()  # by instance
    assert set(table["family"]) == set(FAMILIES)
    one_view = load_scenes(classes="unseen", n_instances=8, n_views=1)
    assert (one_view.column("split") == "query").mean() == 0.25
    assert set(load_scenes(classes="generic", n_instances=5).column("split")) == {"train", "val"}


def test_all_classes_have_the_same_area(objects):
    """In pixels of whole masks, relative to the area that the stated size gives: no class is larger."""
    ratios = {}
    for i, (label, extent) in enumerate(
        zip(objects.labels, objects.column("half_extent"), strict=True)
    ):
        expected = np.pi * (extent / 1.4 * 32) ** 2
        ratios.setdefault(label, []).append(full_masks(objects, i)[0].sum() / expected)
    means = np.array([np.mean(r) for r in ratios.values()])
    assert len(means) == 48 and abs(means - 1).max() < 0.06
    assert np.concatenate(list(ratios.values())).std() < 0.06


@pytest.mark.parametrize("column", ["color", "texture", "size", "context"])
def test_attributes_are_drawn_without_regard_to_the_class(objects, column):
    """Chi-square over its degrees of freedom is about 1 for independent columns; views share colour and texture."""
    table = (
        objects.table[objects.table["view"] == 0]
        if column in ("color", "texture")
        else objects.table
    )
    counts = table.groupby(["family", column]).size().unstack(fill_value=0).to_numpy()
    expected = counts.sum(1, keepdims=True) * counts.sum(0) / counts.sum()
    degrees = (counts.shape[0] - 1) * (counts.shape[1] - 1)
    assert ((counts - expected) ** 2 / expected).sum() / degrees < 1.7
    words = {"color": 8, "texture": 6, "size": 3, "context": 6}
    assert (
        counts.shape[1] == words[column]
        and counts.sum(0).min() > 0.5 * counts.sum() / words[column]
    )


def test_only_the_context_kind_ties_the_ground_to_the_class(objects):
    context = load_scenes("context", n_instances=6)
    assert 0.10 < objects.column("usual_context").mean() < 0.24  # one in six
    assert 0.78 < context.column("usual_context").mean() < 0.88  # 0.8 + 0.2 / 6
    usual = context.table[context.table["usual_context"]].groupby("label")["context"].unique()
    assert (usual.str.len() == 1).all()
    by_family = context.table.groupby("family")["context"].nunique()
    assert (by_family == len(CONTEXTS)).all()  # the family does not tell the ground


def test_boxes_hold_the_whole_masks(multi):
    for i in range(0, len(multi), 3):
        masks, boxes = full_masks(multi, i), multi.column("boxes")[i]
        assert len(masks) == len(boxes) == len(multi.column("classes")[i])
        for mask, (x0, y0, x1, y1) in zip(masks, np.clip(boxes, 0, 96), strict=True):
            rows, columns = np.nonzero(mask)
            seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert np.abs(seen - [x0, y0, x1, y1]).max() < 2.5


def test_visible_masks_are_part_of_whole_masks_and_agree_with_the_column(hard, multi):
    for images in (hard, multi):
        for i in range(0, len(images), 5):
            visible, whole = images.mask(i), full_masks(images, i)
            assert visible.dtype == np.int64 and visible.max() <= len(whole)
            for k, mask in enumerate(whole, start=1):
                assert not ((visible == k) & ~mask).any()
                size = len(visible)
                box = images.column("boxes")[i][k - 1]
                if box.min() < 0 or box.max() > size or mask.sum() < 60:
                    continue  # the column knows what lies beyond the border, the masks do not
                assert (visible == k).sum() / mask.sum() == pytest.approx(
                    images.column("visibles")[i][k - 1], abs=0.09
                )
    assert (hard.column("visible")[hard.column("occlusion") > 0.1] < 0.95).all()
    shown = hard.table[
        (hard.table["occlusion"] == 0)
        & hard.table["x"].between(28, 36)
        & hard.table["y"].between(28, 36)
    ]
    assert shown["visible"].min() > 0.97


def test_colour_names_name_the_colour_seen(objects):
    hues = {
        "red": 2,
        "orange": 27,
        "yellow": 50,
        "green": 118,
        "turquoise": 174,
        "blue": 216,
        "purple": 273,
        "pink": 326,
    }
    table, off = objects.table.reset_index(), []
    for i in table.index[(table["texture"] == "plain") & (table["visible"] > 0.9)]:
        colour = objects[i][objects.mask(i) > 0].mean(axis=0) / 255
        hue = 360 * colorsys.rgb_to_hsv(*colour)[0]
        near = min(hues, key=lambda name: abs((hues[name] - hue + 180) % 360 - 180))
        off.append(near != table["color"][i])
    assert len(off) > 60 and np.mean(off) < 0.06  # coloured light shifts a few


def test_ground_and_object_differ(objects):
    for level, strength in LEVELS.items():
        assert load_scenes(level=level, n_instances=4).column("contrast").min() >= strength.contrast
    inside = [objects[i][objects.mask(i) > 0].mean(axis=0) for i in range(0, len(objects), 10)]
    ground = [
        np.median(objects[i][:, :4].reshape(-1, 3), axis=0) for i in range(0, len(objects), 10)
    ]
    distance = np.linalg.norm(np.subtract(inside, ground), axis=1) / 255 / np.sqrt(3)
    assert np.quantile(distance, 0.05) > 0.12 and np.median(distance) > 0.25


def test_relations_follow_from_boxes(multi):
    for names, boxes, relations in zip(
        *(multi.column(c) for c in ("classes", "boxes", "relations")), strict=True
    ):
        middle = dict(zip(names, (boxes[:, :2] + boxes[:, 2:]) / 2, strict=True))
        for a, relation, b in relations:
            dx, dy = middle[b] - middle[a]
            holds = {
                "left of": dx > abs(dy),
                "right of": -dx > abs(dy),
                "above": dy > abs(dx),
                "below": -dy > abs(dx),
            }
            assert holds[relation], (a, relation, b)
            opposite = RELATIONS[RELATIONS.index(relation) ^ 1]
            assert (b, opposite, a) in relations


def test_relation_scenes_show_their_label():
    scenes = load_scenes("relations", n_instances=2)
    assert scenes.table["label"].nunique() == 24 * 4
    groups = {c.name: c.group for c in scene_classes()}
    for label, (a, b), relations in zip(
        scenes.labels, scenes.column("classes"), scenes.column("relations"), strict=True
    ):
        assert groups[a] == groups[b]  # unseen classes do not appear among seen ones
        assert (
            label in {" ".join(t) for t in relations} and label.startswith(a) and label.endswith(b)
        )
    assert (scenes.column("clutter") == 1).all()


def test_multi_scenes(multi):
    counts = np.array([len(names) for names in multi.column("classes")])
    assert set(counts) == {2, 3, 4}
    groups = {c.name: c.group for c in scene_classes()}
    for i, (names, sizes) in enumerate(
        zip(multi.column("classes"), multi.column("sizes"), strict=True)
    ):
        assert names[0] == multi.labels[i] and len(set(names)) == len(names)
        assert len({groups[name] for name in names}) == 1
        areas = full_masks(multi, i).sum(axis=(1, 2))
        order = np.argsort(areas)
        assert [("small", "medium", "large").index(sizes[k]) for k in order] == sorted(
            ("small", "medium", "large").index(s) for s in sizes
        )
    assert set(multi.table.groupby("label")["size"].nunique()) == {3}
    assert (
        np.mean([v for row in multi.column("visibles") for v in row]) > 0.95
    )  # they rarely overlap


def test_captions_name_what_is_there(objects, multi):
    for row in objects.table.head(40).itertuples():
        assert len(row.captions) >= 3 and len(set(row.captions)) == len(row.captions)
        assert all(row.color in caption for caption in row.captions)
        assert row.texture in row.captions[0] and row.size in row.captions[0]
    phrase = {c.name: c.phrase for c in scene_classes()}
    for row in multi.table.head(40).itertuples():
        assert len(row.captions) >= 3
        assert all(
            phrase[name] in row.captions[0] and phrase[name] in row.captions[2]
            for name in row.classes
        )
        assert all(color in row.captions[1] for color in row.colors)
        assert len(row.captions) == 3 + len(row.relations)
    assert "a " in objects.column("captions")[0][0] and not any(
        " a orange" in c for captions in objects.column("captions") for c in captions
    )


def test_sizes_are_ordered_and_apart(objects):
    extents = objects.table.groupby("size")["half_extent"].agg(["min", "max"])
    assert extents.loc["small", "max"] < extents.loc["medium", "min"]
    assert extents.loc["medium", "max"] < extents.loc["large", "min"]


@pytest.mark.parametrize("level", LEVELS)
def test_levels_keep_to_their_table(level):
    table = load_scenes(level=level, n_instances=4).table
    strength = LEVELS[level]
    assert table["rotation"].abs().max() <= strength.rotation
    assert table["rotation"].abs().max() > 0.9 * strength.rotation
    low, high = strength.extent
    assert (
        table["half_extent"].between(0.93 * low, 1.07 * high).all()
    )  # the wobble changes a radius, not the area
    assert table["clutter"].between(*strength.clutter).all() and table["clutter"].nunique() > 1
    assert (table["occlusion"] > 0).mean() == pytest.approx(strength.occlusion, abs=0.05)
    shift = (table[["x", "y"]] - 32).abs().to_numpy().max() / 32
    assert 0.9 * strength.shift < shift <= strength.shift + 1e-6


def test_kinds_keep_to_their_table():
    clutter = load_scenes("clutter", n_instances=3).table
    assert (
        clutter["clutter"].between(3, 5).all() and clutter["half_extent"].between(0.26, 0.385).all()
    )
    assert set(KINDS) == {"objects", "clutter", "multi", "relations", "context"}
    for kind, made in KINDS.items():
        assert load_scenes(kind, classes=["star5", "star4"], n_instances=1)[0].shape == (
            made.size,
            made.size,
            3,
        )
