"""`load_scenes`: shapes; tables and masks checked on pixels; reproducibility; bad input; what counts as relevant."""

import colorsys
import hashlib
import pickle
from collections import Counter

import numpy as np
import pytest

from cbirkit.datasets import load_digits, load_scenes
from cbirkit.datasets.scenes import (
    FAMILIES,
    KINDS,
    LEVELS,
    class_relevance,
    full_masks,
    object_relevance,
    scene_classes,
)
from cbirkit.datasets.scenes.render import DOMAINS
from cbirkit.datasets.scenes.shapes import (
    CELLS,
    HALF,
    REACH,
    bell_noise,
    classes_of,
    distance_field,
    outline,
    rim,
    sample,
    sample_points,
    uniforms,
)

CLASSES = scene_classes()


def test_six_families_of_eight_classes_two_thirds_of_each_seen():
    assert Counter(c.family for c in classes_of("all")) == dict.fromkeys(FAMILIES, 8)
    assert len(FAMILIES) == 6 and len({c.name for c in CLASSES}) == len(CLASSES)
    assert Counter(c.group for c in CLASSES) == {
        "seen": 32,
        "unseen": 16,
        "generic": 32,
        "clutter": 6,
    }
    assert sorted(Counter(c.family for c in classes_of("unseen")).values()) == [2, 2, 3, 3, 3, 3]
    assert [c.index for c in CLASSES] == list(range(len(CLASSES)))
    assert not {c.family for c in classes_of("generic")} & set(FAMILIES)


def test_the_unseen_classes_stay_the_same():
    assert [c.name for c in classes_of("unseen")] == [
        "blob3", "blob4", "blob5-long", "polygon5-long", "polygon6", "star5-long", "star6-long", "star8",
        "flower4", "flower4-long", "flower6-long", "ringed1", "ringed4", "limbed3", "limbed4-long", "limbed5-long",
    ]  # fmt: skip


def naive_inside(loops, point):
    """Even-odd rule, one edge at a time."""
    x, y = point
    inside = False
    for loop in loops:
        for (x0, y0), (x1, y1) in zip(loop, np.roll(loop, -1, axis=0), strict=True):
            if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                inside = not inside
    return inside


def naive_distance(loops, point):
    """Distance to the nearest of all edges."""
    best = np.inf
    for loop in loops:
        for a, b in zip(loop, np.roll(loop, -1, axis=0), strict=True):
            t = np.clip(np.dot(point - a, b - a) / max(np.dot(b - a, b - a), 1e-15), 0, 1)
            best = min(best, np.linalg.norm(point - a - t * (b - a)))
    return best


@pytest.mark.parametrize(
    "name", ["polygon4-long", "star5", "ringed3", "limbed6-long", "cup", "clutter quarter"]
)
def test_distance_field_against_a_naive_loop(name):
    index = next(c.index for c in CLASSES if c.name == name)
    field, loops = distance_field(index), outline(index)
    rng = np.random.default_rng(0)
    for row, column in rng.integers(CELLS // 4, 3 * CELLS // 4, size=(12, 2)):
        point = (np.array([column, row]) + 0.5) * (2 * HALF / CELLS) - HALF
        expected = min(naive_distance(loops, point), REACH) * (
            1 if naive_inside(loops, point) else -1
        )
        assert field[row, column] == pytest.approx(expected, abs=0.004)


@pytest.mark.parametrize("shape", CLASSES, ids=lambda c: c.name)
def test_every_shape_has_the_area_of_a_unit_disc_and_is_centred(shape):
    """By counting cells of the field, which knows nothing of how outlines are normalised."""
    field = distance_field(shape.index)
    rows, columns = np.nonzero(field > 0)
    assert len(rows) * (2 * HALF / CELLS) ** 2 == pytest.approx(np.pi, rel=0.03)
    assert abs(rows.mean() - (CELLS - 1) / 2) < 0.6 and abs(columns.mean() - (CELLS - 1) / 2) < 0.6
    assert (field[[0, -1]] < 0).all() and (field[:, [0, -1]] < 0).all()
    assert np.abs(rim(shape.index)).max() < HALF


def test_holes_are_outside():
    index = next(c.index for c in CLASSES if c.name == "ringed1")
    middle = distance_field(index)[CELLS // 2, CELLS // 2]
    assert middle < -0.3


def test_no_two_classes_look_the_same():
    """At best overlap of any two upright classes, a part of the area still differs."""
    masks = (
        np.stack([distance_field(c.index) > 0 for c in classes_of("all")])
        .reshape(48, -1)
        .astype(float)
    )
    common = masks @ masks.T
    overlap = common / (masks.sum(1)[:, None] + masks.sum(1) - common)
    np.fill_diagonal(overlap, 0)
    assert overlap.max() < 0.95


def test_sampling_a_field_is_linear_between_centres():
    field = np.random.default_rng(0).normal(size=(CELLS, CELLS)).astype(np.float32)
    step = 2 * HALF / CELLS
    x = np.float32((50 + 0.5 + 0.25) * step - HALF)
    y = np.float32((70 + 0.5 + 0.5) * step - HALF)
    mean = (0.75 * (field[70, 50] + field[71, 50]) + 0.25 * (field[70, 51] + field[71, 51])) / 2
    assert sample(field, np.array([x]), np.array([y]))[0] == pytest.approx(mean, abs=1e-3)
    far = sample(field, np.array([-9, 9], dtype=np.float32), np.array([-9, 9], dtype=np.float32))
    assert far == pytest.approx([field[0, 0], field[-1, -1]], abs=0.02)


def test_sample_points_lie_inside_and_are_spread():
    for name in ("star4-long", "ringed2", "blob3"):
        index = next(c.index for c in CLASSES if c.name == name)
        points = sample_points(index)
        assert points.shape == (128, 2)
        assert sum(naive_inside(outline(index), p) for p in points) == 128
        assert np.abs(points.mean(axis=0)).max() < 0.05


@pytest.mark.parametrize(
    ("classes", "words"),
    [("every", "all, seen, unseen, generic"), (["star5", "comet"], "'comet'"), ([], "at least one"),
     (["star5", "star5"], "once")],
)  # fmt: skip
def test_unknown_classes_are_refused(classes, words):
    with pytest.raises(ValueError, match=words):
        classes_of(classes)


def test_draws_depend_on_all_of_the_key():
    assert np.array_equal(uniforms(5, 1, 2), uniforms(9, 1, 2)[:5])
    assert len({tuple(uniforms(3, *key)) for key in [(1, 2), (2, 1), (1, 3), (1, 2, 0, 1)]}) == 4
    many = uniforms(20000, 0)
    assert many.min() >= 0 and many.max() < 1 and abs(many.mean() - 0.5) < 0.01


def test_bell_noise_is_nearly_normal():
    noise = bell_noise((3, 100, 101), 5)
    assert noise.dtype == np.float32 and noise.shape == (3, 100, 101)
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02
    assert 0.66 < (np.abs(noise) < 1).mean() < 0.70
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.03


# ------------------------------------------------------------------ truth


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


def test_boxes_hold_the_whole_masks(multi):
    for i in range(0, len(multi), 3):
        masks, boxes = full_masks(multi, i), multi.column("boxes")[i]
        assert len(masks) == len(boxes) == len(multi.column("classes")[i])
        for mask, (x0, y0, x1, y1) in zip(masks, np.clip(boxes, 0, 96), strict=True):
            rows, columns = np.nonzero(mask)
            seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert np.abs(seen - [x0, y0, x1, y1]).max() < 2.5


def test_visible_masks_are_part_of_whole_masks(hard, multi):
    for images in (hard, multi):
        for i in range(0, len(images), 5):
            visible, whole = images.mask(i), full_masks(images, i)
            assert visible.dtype == np.int64 and visible.max() <= len(whole)
            for k, mask in enumerate(whole, start=1):
                assert not ((visible == k) & ~mask).any()
    hidden = [
        1 - (hard.mask(i) == 1).sum() / full_masks(hard, i)[0].sum() for i in range(len(hard))
    ]
    assert np.corrcoef(hidden, hard.column("occlusion"))[0, 1] > 0.9


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
    for i in table.index[(table["texture"] == "plain") & (table["occlusion"] == 0)]:
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
    seen = [(multi.mask(i) > 0).sum() / full_masks(multi, i).sum() for i in range(len(multi))]
    assert np.mean(seen) > 0.95  # they rarely overlap


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
    for kind, made in KINDS.items():
        assert load_scenes(kind, classes=["star5", "star4"], n_instances=1)[0].shape == (
            made.size,
            made.size,
            3,
        )


# ------------------------------------------------------------------ sets


SMALL = {"classes": ["star5", "blob3", "ringed2", "limbed4"], "n_instances": 3, "n_views": 2}
DIGESTS = {
    "objects": "8681a1f758805115",
    "clutter": "ca3a5ffaee3c0b16",
    "multi": "7245059781014b2c",
}
PIXELS = {  # every twelfth pixel of one image
    "photo": "7ca56c6e8e60894a546d9d5562754fbb315bff8525c45b2f597445b56923fc77296e90616c9f555b764776bd6d6c9d57",
    "thermal": "4848483e3e3e1e1e1e3a3a3a2a2a2a0707071e1e1e2121217575752d2d2d1d1d1d3e3e3e4b4b4b3b3b3b4c4c4c4b4b4b",
}


def table_digest(images):
    """Digest of all that a table says, numbers as decimals."""
    table = images.table
    text = "\n".join(
        repr((row[0], [x.tolist() if isinstance(x, np.ndarray) else x for x in row[1:]]))
        for row in table.itertuples()
    )
    return hashlib.sha256((",".join(table) + "\n" + text).encode()).hexdigest()[:16]


@pytest.mark.parametrize("kind", KINDS)
def test_tables_are_the_same_everywhere(kind):
    assert table_digest(load_scenes(kind, "hard", **SMALL)) == DIGESTS[kind]


@pytest.mark.parametrize("domain", DOMAINS)
def test_pixels_are_the_same_everywhere_to_one_level(domain):
    image = load_scenes(level="medium", domain=domain, **SMALL)[5][12:60:12, 12:60:12].astype(int)
    stored = np.frombuffer(bytes.fromhex(PIXELS[domain]), dtype=np.uint8).reshape(image.shape)
    assert np.abs(image - stored).max() <= 1
    assert image.std() > 3


def test_one_seed_gives_one_set_and_another_seed_another():
    a, b, c = (load_scenes(random_state=seed, **SMALL) for seed in (3, 3, 4))
    assert table_digest(a) == table_digest(b) != table_digest(c)
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert a.digest(0) == b.digest(0) != c.digest(0)
    assert not set(a.ids) & set(c.ids) and not set(a.column("instance")) & set(c.column("instance"))


def test_an_image_does_not_depend_on_what_else_is_in_the_set():
    whole, part = load_scenes(n_instances=2), load_scenes(classes="unseen", n_instances=4)
    common = [i for i in part.ids if i in set(whole.ids)]
    assert len(common) == 16 * 2 * 2
    for one in common[::9]:
        assert np.array_equal(whole[one], part[one])
    assert whole[common].table["classes"].tolist() == part[common].table["classes"].tolist()


def test_levels_and_kinds_show_the_same_instances():
    sets = [load_scenes(level=level, **SMALL).table for level in ("easy", "hard")] + [
        load_scenes("clutter", **SMALL).table
    ]
    for column in ("instance", "color", "texture", "label"):
        assert sets[0][column].tolist() == sets[1][column].tolist() == sets[2][column].tolist()
    assert sets[0]["rotation"].tolist() != sets[1]["rotation"].tolist()


def test_domains_share_the_scene_graph_row_by_row():
    photo = load_scenes(**SMALL)
    for domain in DOMAINS:
        other = load_scenes(domain=domain, **SMALL)
        assert other.table.drop(columns=["domain", "boxes"]).equals(
            photo.table.drop(columns=["domain", "boxes"])
        )
        assert np.array_equal(other.mask(3), photo.mask(3))
        assert set(other.column("domain")) == {domain}
        assert (other.digest(0) == photo.digest(0)) == (domain == "photo")


def test_a_thermal_camera_sees_the_object_where_the_mask_is_without_colour():
    thermal = load_scenes(domain="thermal", **SMALL | {"level": "easy"})
    for i in np.flatnonzero(thermal.column("clutter") == 0):
        mask, heat = thermal.mask(i) > 0, thermal[i].astype(float)
        assert heat.std(axis=2).max() == 0
        assert abs(heat[mask].mean() - np.median(heat[~mask])) > 15


def test_images_are_made_when_read_and_copies_are_given(monkeypatch):
    made = []
    real = DOMAINS["photo"]
    monkeypatch.setitem(
        DOMAINS, "photo", lambda *arguments: made.append(arguments[1]) or real(*arguments)
    )
    images = load_scenes(**SMALL)
    assert made == []
    first = images[4]
    first[:] = 0
    again = images[4]
    assert made == [4] and again.std() > 5 and again.dtype == np.uint8


def test_a_collection_survives_pickling():
    images = load_scenes(**SMALL)
    copy = pickle.loads(pickle.dumps(images))
    assert np.array_equal(copy[5], images[5]) and np.array_equal(copy.mask(5), images.mask(5))


@pytest.mark.parametrize("size", [16, 33, 128])
def test_size_changes_the_sampling_not_the_scene(size):
    images, other = load_scenes(**SMALL), load_scenes(size=size, **SMALL)
    assert other[0].shape == (size, size, 3) and other.mask(0).shape == (size, size)
    assert other.mask(0).astype(bool).mean() == pytest.approx(
        images.mask(0).astype(bool).mean(), abs=0.03
    )
    assert np.abs(other[0].mean(axis=(0, 1)) - images[0].mean(axis=(0, 1))).max() < 6
    assert np.allclose(other.column("x") / size, images.column("x") / 64, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"kind": "crowds"}, ValueError, "objects, clutter, multi"),
        ({"level": "extreme"}, ValueError, "easy, std, medium, hard"),
        ({"domain": "x-ray"}, ValueError, "photo, thermal"),
        ({"classes": ["comet"]}, ValueError, "'comet'"),
        ({"n_instances": 0}, ValueError, "n_instances"),
        ({"n_views": 1.5}, TypeError, "n_views"),
        ({"size": 8}, ValueError, "size"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(arguments, error, words):
    with pytest.raises(error, match=words):
        load_scenes(**arguments)


def test_a_single_class_and_a_single_image():
    for kind in KINDS:
        images = load_scenes(kind, classes=["star5"], n_instances=1, n_views=1)
        assert (
            len(images) == 1 and images[0].shape[2] == 3 and len(images.column("classes")[0]) == 1
        )


# ------------------------------------------------------------------ relevance


def test_class_relevance_leaves_out_views_of_the_same_instance():
    images = load_scenes(**(SMALL | {"n_views": 3}))
    relevance = class_relevance(images)
    everything = np.tile(np.arange(len(images)), (len(images), 1))
    label, instance = images.labels, images.column("instance")
    same = instance[:, None] == instance
    assert np.array_equal(relevance.junk(everything), same)
    assert np.array_equal(relevance.relevant(everything), (label[:, None] == label) & ~same)
    assert set(relevance.n_positives) == {2 * 3} and set(relevance.n_junk) == {3}


def test_cross_domain_relevance_counts_other_instances_only():
    photo, thermal = load_scenes(**SMALL), load_scenes(domain="thermal", **SMALL)
    assert set(class_relevance(thermal, photo).n_positives) == {2 * 2}
    unpaired = load_scenes(random_state=1, **SMALL)
    assert set(class_relevance(thermal, unpaired).n_positives) == {3 * 2}


def test_object_relevance_against_a_naive_loop():
    queries, database = (
        load_scenes(**SMALL),
        load_scenes("multi", classes=SMALL["classes"], n_instances=4),
    )
    everything = np.tile(np.arange(len(database)), (len(queries), 1))
    for by, size in [("classes", None), ("instances", None), ("classes", "small")]:
        relevance = object_relevance(queries, database, by=by, size=size)
        relevant, junk = relevance.relevant(everything), relevance.junk(everything)
        for q, wanted in enumerate(queries.column(by)):
            for d, (names, sizes) in enumerate(
                zip(database.column(by), database.column("sizes"), strict=True)
            ):
                found = [s for n, s in zip(names, sizes, strict=True) if n == wanted[0]]
                assert relevant[q, d] == bool(found and size in (None, found[0]))
                assert junk[q, d] == bool(found and size not in (None, found[0]))
    assert object_relevance(queries, database, by="instances").n_positives.sum() > 0
    with pytest.raises(ValueError, match="classes.*instances"):
        object_relevance(queries, database, by="label")
    with pytest.raises(ValueError, match="small, medium, large"):
        object_relevance(queries, database, size="tiny")


def test_whole_masks_are_known_of_scenes_only():
    with pytest.raises(ValueError, match="load_scenes"):
        full_masks(load_digits(), 0)
    images = load_scenes(**SMALL)
    assert np.array_equal(full_masks(images[6:], 0), full_masks(images, 6))
    assert np.array_equal(full_masks(images, images.ids[6]), full_masks(images, 6))
