"""`RegionRetriever`: images ranked by their best region, what is refused, and what is saved."""

import shutil

import numpy as np
import pandas as pd
import pytest
import saved_files
from PIL import Image

from cbirkit.encoders import ColorHistogram, Deep
from cbirkit.images import ImageCollection, ImageProblem
from cbirkit.indexes import HNSW
from cbirkit.objects import (
    Region,
    RegionQuery,
    RegionRetriever,
    SlidingPyramid,
    as_region,
    pool_regions,
)
from cbirkit.objects.region_retriever import best_per_image, best_together
from cbirkit.objects.regions import pack, unpack
from cbirkit.persistence import load, save

DEEP = Deep("conv5", weights=None, size=64, device="cpu")
THINGS = {"red": (220, 30, 30), "blue": (30, 40, 220), "striped": None}
PLACES = [(6, 6), (34, 10), (8, 36), (36, 36)]


def scene(names, places, seed):
    """Things of 20 pixels a side on uneven grey, and their masks."""
    image = np.random.default_rng(seed).integers(110, 140, (64, 64, 3)).astype(np.uint8)
    masks = []
    for name, (x, y) in zip(names, places, strict=True):
        stripes = np.where(np.arange(20) % 6 < 3, 255, 0)[:, None, None]
        image[y : y + 20, x : x + 20] = stripes if THINGS[name] is None else THINGS[name]
        masks.append(np.zeros((64, 64), bool))
        masks[-1][y : y + 20, x : x + 20] = True
    return image, masks


@pytest.fixture(scope="module")
def world():
    """Eight images of two things each; images, masks, and what each holds."""
    pairs = [("red", "blue"), ("red", "striped"), ("blue", "striped"), ("red", "red")] * 2
    made = [scene(pair, [PLACES[i % 4], PLACES[(i + 2) % 4]], i) for i, pair in enumerate(pairs)]
    table = pd.DataFrame(
        {"classes": [list(pair) for pair in pairs]}, index=[f"s/{i}" for i in range(len(made))]
    )
    images = ImageCollection.from_function(
        lambda row: made[row][0], table, key="things", name="things"
    )
    return images, [masks for _, masks in made], pairs


@pytest.fixture(scope="module")
def retriever(world):
    images, masks, _ = world
    return RegionRetriever(DEEP, progress=False).fit(images, regions=masks)


def test_every_region_has_the_embedding_of_its_mask(retriever, world):
    images, masks, _ = world
    for i in range(len(images)):
        regions = [Region.from_mask(mask) for mask in masks[i]] + [
            Region.from_box((0, 0, 64, 64), (64, 64))
        ]
        wanted = pool_regions(DEEP.feature_maps([images[i]])[0], regions)
        assert np.allclose(retriever.embeddings_[retriever.owners_ == i], wanted, atol=1e-6)
    assert retriever.embeddings_.shape == (24, 96) and retriever.seconds_["network"] > 0


def test_an_image_is_as_near_as_its_best_region(retriever, world):
    _images, masks, _ = world
    query = RegionQuery("s/0", masks[0][0])
    found = retriever.search(query, k=7)
    vector = retriever.embed(query)[0]
    distances = 1 - retriever.embeddings_ @ vector
    best = np.array([distances[retriever.owners_ == i].min() for i in range(8)])
    order = [i for i in np.argsort(best, kind="stable") if i != 0]
    assert found.ranking.indices[0].tolist() == order
    assert np.allclose(found.ranking.distances[0], best[order], atol=1e-5)
    for rank, i in enumerate(order):
        nearest = np.flatnonzero(retriever.owners_ == i)[distances[retriever.owners_ == i].argmin()]
        assert found.region(0, rank) is retriever._flat[nearest]


def test_a_thing_is_found_and_where_it_is(retriever, world):
    _images, masks, pairs = world
    for name in THINGS:
        holder = next(i for i, pair in enumerate(pairs) if name in pair)
        found = retriever.search(
            RegionQuery(f"s/{holder}", masks[holder][pairs[holder].index(name)]), k=3
        )
        images = found.ranking.indices[0]
        assert all(name in pairs[i] for i in images)
        there = [
            mask
            for mask, held in zip(masks[images[0]], pairs[images[0]], strict=True)
            if held == name
        ]
        assert any((found.region().mask == mask).all() for mask in there)


def test_a_picture_of_ones_own_is_not_left_out(retriever, world):
    images, masks, _ = world
    found = retriever.search(RegionQuery(images[0], masks[0][0]), k=1)
    assert found.ranking.ids[0, 0] == "s/0" and found.ranking.distances[0, 0] == pytest.approx(
        0, abs=1e-5
    )
    assert found.ranking.query_ids.tolist() == ["query 0"]


def test_this_and_that_needs_both(retriever, world):
    _images, masks, pairs = world
    both = RegionQuery("s/0", masks[0][0]), RegionQuery("s/0", masks[0][1])  # red and blue
    found = retriever.search(both, k=7)
    assert pairs[found.ranking.indices[0, 0]] == ("red", "blue")
    first = found.regions[0][0]
    i = found.ranking.indices[0, 0]
    assert (first[0].mask == masks[i][0]).all() and (first[1].mask == masks[i][1]).all()


def naive_together(table, owners):
    from itertools import permutations

    out = []
    for image in np.unique(owners):
        mine = np.flatnonzero(owners == image)
        ways = [
            np.mean([table[p, r] for p, r in enumerate(way)])
            for way in permutations(mine, len(table))
        ]
        if ways:
            out.append((min(ways), image))
    return sorted(out)


def test_parts_get_regions_of_their_own_at_the_least_cost():
    rng = np.random.default_rng(0)
    owners = np.repeat([0, 1, 2, 3], [1, 4, 3, 2])
    for parts in (2, 3):
        table = rng.random((parts, len(owners)))
        images, near, regions = best_together(table, owners)
        wanted = naive_together(table, owners)
        assert images.tolist() == [image for _, image in wanted] and np.allclose(
            near, [cost for cost, _ in wanted]
        )
        assert all(len(set(row)) == parts for row in regions.tolist())
    assert best_together(rng.random((5, 4)), np.array([0, 0, 1, 1]))[2].shape == (0, 5)


def test_equal_distances_keep_the_order_of_the_database():
    images, _near, regions = best_per_image(
        np.zeros(4), np.array([3, 0, 2, 1]), np.array([0, 0, 1, 2])
    )
    assert images.tolist() == [0, 1, 2] and regions.tolist() == [0, 2, 3]


def test_only_images_that_hold_something_are_searched(retriever, world):
    _, masks, pairs = world
    where = retriever.holding("blue")
    assert where.tolist() == ["blue" in pair for pair in pairs]
    assert retriever.holding(["blue", "striped"]).tolist() == [
        set(pair) == {"blue", "striped"} for pair in pairs
    ]
    found = retriever.search(RegionQuery("s/1", masks[1][0]), k=8, where=where)
    assert set(found.ranking.indices[0]) - {-1} == set(np.flatnonzero(where))
    assert (
        len(found.regions[0]) == where.sum()
        and (found.ranking.indices[0, where.sum() :] == -1).all()
    )
    with pytest.raises(ValueError, match="no image holds 'green'"):
        retriever.holding("green")
    with pytest.raises(ValueError, match="one truth value for each of the 8"):
        retriever.search(RegionQuery("s/1", masks[1][0]), where=[True])


def test_pruning_keeps_the_best_and_the_whole(world, tmp_path):
    images, _, _ = world
    full = RegionRetriever(DEEP, SlidingPyramid((0.5, 0.25)), progress=False).fit(images[:3])
    few = full.pruned(4)
    assert [len(mine) for mine in few.regions_] == [5, 5, 5] and len(few.embeddings_) == 15
    for before, after in zip(full.regions_, few.regions_, strict=True):
        assert after[-1] is before[-1] and set(map(id, after)) <= set(map(id, before))
    for i, row in enumerate(few.embeddings_):
        assert (full.embeddings_[[r is few._flat[i] for r in full._flat]] == row).all()
    apart = full.pruned(iou=0.2)
    assert len(apart.embeddings_) < len(full.embeddings_)
    assert len(full.pruned().embeddings_) == len(full.embeddings_)
    saved = RegionRetriever.load(few.save(tmp_path / "few"))
    assert np.array_equal(saved.embeddings_, few.embeddings_)


def test_an_image_without_a_region_is_just_not_found(world):
    images, masks, _ = world
    bare = RegionRetriever(DEEP, whole=False, progress=False).fit(
        images[:3], regions=[masks[0], [], masks[2]]
    )
    found = bare.search(RegionQuery(images[5], masks[5][0]), k=3)
    assert set(found.ranking.indices[0]) == {0, 2, -1} and len(found.regions[0]) == 2
    with pytest.raises(ValueError, match="none of the 2 images gave a region"):
        RegionRetriever(DEEP, whole=False, progress=False).fit(images[:2], regions=[[], []])
    with pytest.raises(IndexError):
        found.region(0, 2)


def test_another_index_and_a_depth(world, retriever):
    images, masks, _ = world
    other = RegionRetriever(DEEP, index=HNSW(), progress=False).fit(images, regions=masks)
    query = RegionQuery("s/0", masks[0][0])
    wanted = retriever.search(query, k=3).ranking
    assert other.search(query, k=3, depth=12).ranking.ids.tolist() == wanted.ids.tolist()
    assert (retriever.search(query, k=7, depth=3).ranking.indices[0] >= 0).sum() <= 3


def test_a_query_of_several_scales_counts_at_its_nearest(world):
    images, masks, _ = world
    query, found = RegionQuery(images[0], masks[0][0]), {}
    for scales in ((1.0,), (0.5,), (1.0, 0.5)):
        retriever = RegionRetriever(DEEP, query_scales=scales, progress=False).fit(
            images, regions=masks
        )
        assert retriever.embed(query).shape == (len(scales), 96)
        ranking = retriever.search(query, k=8).ranking
        found[scales] = ranking.distances[0][np.argsort(ranking.indices[0])]
        both = retriever.search((query, RegionQuery(images[0], masks[0][1])), k=8)
        assert np.isfinite(both.ranking.distances).all()
    assert np.allclose(found[1.0, 0.5], np.minimum(found[(1.0,)], found[(0.5,)]), atol=1e-6)
    half = Deep("conv5", weights=None, size=32, device="cpu")
    wanted = pool_regions(half.feature_maps([images[0]])[0], [Region.from_mask(masks[0][0])])
    alone = RegionRetriever(DEEP, query_scales=(0.5,), progress=False).fit(
        images[:1], regions=masks[:1]
    )
    assert np.allclose(alone.embed(query), wanted, atol=1e-6)


def test_a_query_that_was_embedded_before_finds_the_same(retriever, world):
    _images, masks, _ = world
    query = RegionQuery("s/0", masks[0][0])
    ready = retriever.embedded(query)
    wanted, found = (retriever.search(q, k=7).ranking for q in (query, ready))
    assert ready.vectors.shape == (1, 96) and query.vectors is None
    assert found.ids.tolist() == wanted.ids.tolist() and np.allclose(
        found.distances, wanted.distances
    )


def test_scales_that_are_none_are_refused(world):
    for scales in ((), (0.0,), "half"):
        with pytest.raises(ValueError, match="query_scales"):
            RegionRetriever(DEEP, query_scales=scales, progress=False).fit(world[0])


def test_a_broken_image_is_named_and_left_out(tmp_path, world):
    from PIL import Image

    images, _, _ = world
    for i in range(3):
        Image.fromarray(images[i]).save(tmp_path / f"{i}.png")
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:80])
    got = RegionRetriever(DEEP, SlidingPyramid((0.5,)), progress=False).fit(tmp_path)
    assert got.ids.tolist() == ["0.png", "2.png"] and [name for name, _ in got.problems_] == [
        "1.png"
    ]


def test_saved_and_loaded_it_finds_the_same(tmp_path, retriever, world):
    images, masks, _ = world
    folder = retriever.save(tmp_path / "regions")
    assert list(saved_files.parts(folder)) == [
        "cbirkit 2 region retriever.json",
        "arrays",
        "state.json",
    ]
    query = RegionQuery(images[0], masks[0][0])
    wanted = retriever.search(query, k=5)
    for other in (RegionRetriever.load(folder), RegionRetriever.load(folder, images)):
        found = other.search(query, k=5)
        assert found.ranking.ids.tolist() == wanted.ranking.ids.tolist()
        assert np.allclose(found.ranking.distances, wanted.ranking.distances, atol=1e-6)
        assert (found.region().mask == wanted.region().mask).all()
    with pytest.raises(ValueError, match="load with images="):
        RegionRetriever.load(folder).search(RegionQuery("s/0"))
    with pytest.raises(ValueError, match="no image"):
        RegionRetriever.load(folder, images[:4])


def test_damage_is_told(tmp_path, retriever):
    folder = retriever.save(tmp_path / "regions")
    save({}, folder, kind="region retriever")
    with pytest.raises(ValueError, match="cannot be loaded"):
        RegionRetriever.load(folder)
    packed = pack(retriever.regions_)
    assert [[r.box for r in mine] for mine in unpack(packed)] == [
        [r.box for r in mine] for mine in retriever.regions_
    ]
    with pytest.raises(ValueError, match="does not fit its box"):
        unpack({**packed, "boxes": packed["boxes"] + np.array([0, 0, 9, 0])})
    with pytest.raises(ValueError, match="differ in number"):
        unpack({**packed, "counts": packed["counts"][1:]})


def test_queries_that_are_none_are_refused(retriever):
    picture = np.zeros((40, 50, 3), np.uint8)
    for region, words in (
        (np.zeros((40, 50), bool), "is empty; mark"),
        (np.ones((10, 10), bool), "10 x 10 pixels and the query of 50 x 40"),
        ((60, 0, 70, 10), "outside the image of 50 x 40"),
        ((0, 0, 0, 0), "holds no pixel"),
    ):
        with pytest.raises(ValueError, match=words):
            retriever.search(RegionQuery(picture, region))
    with pytest.raises(ValueError, match="a box is four numbers"):
        retriever.search(RegionQuery(picture, "left"))
    with pytest.raises(TypeError, match="got str"):
        retriever.search(["s/0"])
    for empty in ([], [()]):
        with pytest.raises(ValueError, match="there is no query"):
            retriever.search(empty)
    with pytest.raises(ValueError, match="k must be a whole number"):
        retriever.search(RegionQuery(picture), k=0)


def test_one_pixel_grey_and_clear_pictures_may_ask(retriever):
    grey = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    clear = np.dstack([grey] * 3 + [np.full_like(grey, 255)])
    near = [
        retriever.search(RegionQuery(picture, (3, 3, 4, 4)), k=3).ranking.distances
        for picture in (grey, clear)
    ]
    assert np.isfinite(near[0]).all() and np.allclose(near[0], near[1])
    assert as_region((3, 3, 4, 4), (40, 50)).area == 1


def test_encoders_that_do_not_fit_are_refused(world):
    images, masks, _ = world
    with pytest.raises(TypeError, match="ColorHistogram has none"):
        RegionRetriever(ColorHistogram()).fit(images)
    with pytest.raises(ValueError, match='resize="squash"'):
        RegionRetriever(Deep("conv5", weights=None, size=32, resize="crop")).fit(images)
    with pytest.raises(ValueError, match="one list an image"):
        RegionRetriever(DEEP).fit(images, regions=masks[:2])


def test_pictures_that_changed_since_are_not_shown(tmp_path):
    (tmp_path / "in").mkdir()
    for n in range(3):
        Image.fromarray(np.random.RandomState(n).randint(0, 255, (40, 50, 3), np.uint8)).save(
            tmp_path / "in" / f"{n}.bmp"
        )
    fitted = RegionRetriever(DEEP, SlidingPyramid((0.5,)), progress=False).fit(tmp_path / "in")
    fitted.save(tmp_path / "saved")
    shutil.copy(tmp_path / "in" / "0.bmp", tmp_path / "in" / "1.bmp")
    loaded = RegionRetriever.load(tmp_path / "saved", ImageCollection.from_folder(tmp_path / "in"))
    for one in (fitted, loaded):
        assert one.images["2.bmp"].shape == (40, 50, 3)
        with pytest.raises(ImageProblem, match=r"1\.bmp: changed since it was indexed"):
            one.images["1.bmp"]


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.update(ids=3),
        lambda state: state.update(settings={"nonsense": 1}),
        lambda state: state.update(embeddings=np.zeros((1, 2))),
        lambda state: state["regions"].update(counts=-state["regions"]["counts"]),
        lambda state: state["regions"].update(boxes=state["regions"]["boxes"] * 2**33),
        lambda state: state["regions"].pop("bits"),
        lambda state: state.pop("digests"),
    ],
)
def test_a_forged_state_is_one_sentence(change, tmp_path, retriever):
    folder = retriever.save(tmp_path / "regions")
    state = load(folder, kind="region retriever")
    change(state)
    save(state, folder, kind="region retriever")
    with pytest.raises(ValueError, match="cannot be loaded") as caught:
        RegionRetriever.load(folder)
    assert "\n" not in str(caught.value)
