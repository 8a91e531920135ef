"""`load_scenes`: reproducibility, domains, laziness, speed, bad input; and what counts as relevant."""

import hashlib
import pickle

import numpy as np
import pytest

from cbirkit.datasets import load_digits, load_scenes
from cbirkit.datasets.scenes import (
    KINDS,
    class_relevance,
    full_masks,
    object_relevance,
    relation_relevance,
)
from cbirkit.datasets.scenes.domains import DOMAINS

SMALL = {"classes": ["star5", "blob3", "ringed2", "limbed4"], "n_instances": 3, "n_views": 2}
DIGESTS = {
    "objects": "e6045a860fbd564b",
    "clutter": "51616c8a7a458e60",
    "multi": "82d3460fbd33ff2f",
    "relations": "55312fbf5182dc62",
    "context": "760063812f54f5c9",
}
PIXELS = {  # every twelfth pixel of one image
    "photo": "7ca56c6e8e60894a546d9d5562754fbb315bff8525c45b2f597445b56923fc77296e90616c9f555b764776bd6d6c9d57",
    "sketch": "f5f3e7f7ede957585ef5efe8f1f2ecf8f3ebecebe1b6b8b5f1f2e4adaca2f0f4eaf5ece8f4e8e4ededdff4ede9efefe7",
    "thermal": "4848483e3e3e1e1e1e3a3a3a2a2a2a0707071e1e1e2121217575752d2d2d1d1d1d3e3e3e4b4b4b3b3b3b4c4c4c4b4b4b",
    "icon": "ecf0e8ecf0e851230aecf0e8ecf0e8fe6e1efe6e1efe6e1eecf0e857260afe6e1eecf0e8ecf0e8ecf0e8ecf0e8ecf0e8",
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
    known = SMALL | (
        {"classes": ["star5", "ringed2", "limbed4", "star4"]} if kind == "relations" else {}
    )
    assert table_digest(load_scenes(kind, "hard", **known)) == DIGESTS[kind]


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
    assert whole[common].table["captions"].tolist() == part[common].table["captions"].tolist()


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


def test_domains_draw_the_object_where_the_mask_is():
    known = SMALL | {"level": "easy"}
    icon, thermal, sketch = (load_scenes(domain=d, **known) for d in ("icon", "thermal", "sketch"))
    for i in range(len(icon)):
        mask = icon.mask(i) > 0
        if icon.column("clutter")[i]:
            continue
        ground = np.median(icon[i][~mask], axis=0)
        far = np.abs(icon[i] - ground).max(axis=2) > 25
        assert (far & mask).sum() > 0.85 * mask.sum() and (far & ~mask).sum() < 0.35 * mask.sum()
        assert thermal[i].std(axis=2).max() == 0  # no colour
        heat = thermal[i][..., 0].astype(float)
        assert abs(heat[mask].mean() - np.median(heat[~mask])) > 15
        edge = sketch[i].astype(float).mean(axis=2)
        assert edge[~mask].mean() > 190  # paper


def test_sketches_of_six_instances_in_ten_show_inner_edges():
    images = load_scenes(level="easy", n_instances=6, n_views=1)
    share = np.mean(images._source.function.scenes.inner_edges)
    assert 0.5 < share < 0.7


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
        ({"kind": "crowds"}, ValueError, "objects, clutter, multi, relations, context"),
        ({"level": "extreme"}, ValueError, "easy, std, medium, hard"),
        ({"domain": "x-ray"}, ValueError, "photo, sketch, thermal, icon"),
        ({"classes": ["comet"]}, ValueError, "'comet'"),
        ({"n_instances": 0}, ValueError, "n_instances must be at least 1"),
        ({"n_views": 1.5}, TypeError, "whole number"),
        ({"size": 8}, ValueError, "size must be at least 16"),
        ({"n_views": True}, TypeError, "whole number"),
        ({"kind": "relations", "classes": ["star5"]}, ValueError, "two or more classes"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(arguments, error, words):
    with pytest.raises(error, match=words):
        load_scenes(**arguments)


def test_a_single_class_and_a_single_image():
    for kind in ("objects", "clutter", "multi", "context"):
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
    photo, sketch = load_scenes(**SMALL), load_scenes(domain="sketch", **SMALL)
    assert set(class_relevance(sketch, photo).n_positives) == {2 * 2}
    unpaired = load_scenes(random_state=1, **SMALL)
    assert set(class_relevance(sketch, unpaired).n_positives) == {3 * 2}


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


def test_relation_relevance_finds_the_triples():
    database = load_scenes("multi", classes="seen", n_instances=3)
    triples = sorted({t for row in database.column("relations") for t in row})[:50]
    relevance = relation_relevance(triples, database)
    for triple, n in zip(triples, relevance.n_positives, strict=True):
        assert n == sum(triple in row for row in database.column("relations"))


def test_whole_masks_are_known_of_scenes_only():
    with pytest.raises(ValueError, match="load_scenes"):
        full_masks(load_digits(), 0)
    images = load_scenes(**SMALL)
    assert np.array_equal(full_masks(images[6:], 0), full_masks(images, 6))
    assert np.array_equal(full_masks(images, images.ids[6]), full_masks(images, 6))
