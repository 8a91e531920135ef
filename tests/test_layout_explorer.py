"""`LayoutExplorer` without a browser: the score against a loop, what is found, what of the page is refused."""

from itertools import permutations

import numpy as np
import pytest
from explore_samples import HOSTILE

from cbirkit import ImageCollection
from cbirkit.encoders import Deep
from cbirkit.explore import LayoutExplorer
from cbirkit.explore.layout_explorer import MOST, layout_scores
from cbirkit.objects import RegionRetriever, SlidingPyramid

RNG = np.random.default_rng(0)


def by_loop(placed, scene, spread):
    """The best way to give each label an object of its own, by trying all."""
    padded = [*scene, *[("", 9, 9, 0.0)] * len(placed)]
    best = 0.0
    for chosen in permutations(range(len(padded)), len(placed)):
        total = 0.0
        for (name, x, y), n in zip(placed, chosen, strict=True):
            one, at_x, at_y, sure = padded[n]
            if one == name:
                total += sure * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * spread**2))
        best = max(best, total)
    return best


def drawn(n):
    return [
        (str(RNG.choice(["a", "b", "c"])), *RNG.random(2).tolist(), float(RNG.random()))
        for _ in range(n)
    ]


@pytest.mark.parametrize("spread", [0.05, 0.2, 3.0])
def test_the_score_agrees_with_all_assignments(spread):
    scenes = [drawn(n) for n in (0, 1, 3, 4)]
    placed = [one[:3] for one in drawn(3)]
    wanted = [by_loop(placed, scene, spread) for scene in scenes]
    assert np.allclose(layout_scores(placed, scenes, spread=spread), wanted)


def test_a_free_layout_may_be_shifted_and_never_scores_less():
    scenes = [drawn(4) for _ in range(8)]
    placed = [one[:3] for one in drawn(3)]
    fixed, free = (layout_scores(placed, scenes, free=free) for free in (False, True))
    assert (free >= fixed - 1e-12).all()
    moved = [(name, x / 3 + 0.6, y / 3 + 0.6, 1.0) for name, x, y in placed]
    near = [(name, x / 3, y / 3) for name, x, y in placed]
    assert layout_scores(near, [moved], free=True)[0] == pytest.approx(3)
    assert layout_scores(near, [moved], spread=0.1)[0] < 1


def test_the_order_of_labels_does_not_matter_and_an_object_answers_one_label():
    scene = [("a", 0.5, 0.5, 1.0)]
    assert layout_scores([("a", 0.5, 0.5)] * 2, [scene])[0] == pytest.approx(1)
    scenes, placed = [drawn(5)], [one[:3] for one in drawn(4)]
    assert np.allclose(layout_scores(placed, scenes), layout_scores(placed[::-1], scenes))


def box(name, x, y, **more):
    return {"category": name, "box": [x - 4, y - 4, x + 4, y + 4], **more}


OBJECTS = [
    [box("mug", 12, 20), box("book", 52, 20)],
    [box("book", 12, 20), box("mug", 52, 20)],
    [box("mug", 12, 20)],
    [box(HOSTILE, 30, 20)],
]


@pytest.fixture
def images():
    pixels = RNG.integers(0, 256, (4, 40, 64, 3)).astype(np.uint8)
    ids = ["left", "right", "mug", "other"]
    return ImageCollection.from_arrays(pixels, ids=ids)


@pytest.fixture
def explorer(images):
    return LayoutExplorer(images, OBJECTS, k=3)


def place(explorer, *labels):
    explorer._pad.receive({"event": "layout", "labels": [list(one) for one in labels]})


MUG, BOOK = ("mug", 12 / 64, 0.5), ("book", 52 / 64, 0.5)


def test_nothing_is_placed_at_first(explorer):
    assert explorer.scores is None and explorer._grid.ids == [] and explorer.placed == []
    assert "Choose a name" in explorer._status.text and "nothing" in repr(explorer)
    assert "Choose a name" in explorer.static().axes[0].get_label()
    assert explorer.search([]) is None


def test_labels_find_the_scenes_that_look_like_them(explorer):
    place(explorer, MUG, BOOK)
    assert explorer._grid.ids[0] == "left" and explorer.scores[0] == pytest.approx(2)
    assert "mug, book: best left with 2.00 of 2" in explorer._status.text
    place(explorer, MUG)
    assert set(explorer._grid.ids[:2]) == {"left", "mug"} and explorer.placed == [MUG]
    place(explorer)
    assert explorer.scores is None and explorer._grid.ids == []


def test_the_switch_lets_labels_shift(explorer):
    far = [(name, x, 0.95) for name, x, _ in (MUG, BOOK)]
    place(explorer, *far)
    assert explorer.scores[0] < 0.1
    explorer._free.value = True
    assert explorer.scores[0] == pytest.approx(2) and explorer._grid.ids[0] == "left"
    ranking = explorer.search([MUG, BOOK], free=False)
    assert ranking.ids[0][0] == "left" and not explorer._free.value
    assert explorer._pad.labels == [list(MUG), list(BOOK)]


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ("mug", "a list of at most"),
        ([["mug", 0.5, 0.5]] * (MOST + 1), "at most 12"),
        ([["mug", 0.5]], "two fractions"),
        ([["mug", 0.5, 1.5]], "two fractions"),
        ([["mug", float("nan"), 0.5]], "two fractions"),
        ([["mug", "0.5", 0.5]], "two fractions"),
        ([[3, 0.5, 0.5]], "two fractions"),
        ([["lamp", 0.5, 0.5]], "no object is called 'lamp'"),
        ([3], "two fractions"),
        (None, "a list of at most"),
    ],
)
def test_what_is_no_layout_is_refused_in_a_sentence(explorer, labels, says):
    place(explorer, MUG)
    before = explorer.scores
    explorer._pad.receive({"event": "layout", "labels": labels})
    told = explorer._status.text
    assert explorer._status.problem and says in told and len(told) < 200, told
    assert explorer.scores is before
    with pytest.raises(ValueError, match=says):
        explorer.search(labels)


@pytest.mark.parametrize("message", [None, 3, {}, {"event": "x"}, {"event": "layout"}])
def test_other_messages_do_nothing(explorer, message):
    place(explorer, MUG)
    before = explorer.scores
    explorer._pad.receive(message)
    assert explorer.scores is before


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        (OBJECTS[:3], "3 lists of objects for 4"),
        ([[{"box": [0, 0, 1, 1]}]] * 4, "'category'"),
        ([[{"category": "mug"}]] * 4, "'category'"),
        ([[{"category": "mug", "box": [0, 0, 1]}]] * 4, "'category'"),
        ([["mug"]] * 4, "'category'"),
        ([3] * 4, "'category'"),
        (None, "objects"),
    ],
)
def test_objects_that_do_not_fit_are_refused(images, objects, words):
    with pytest.raises(ValueError, match=words):
        LayoutExplorer(images, objects)


def test_bad_arguments_are_refused(images):
    with pytest.raises(TypeError, match="images"):
        LayoutExplorer(3)
    with pytest.raises(ValueError, match="k must"):
        LayoutExplorer(images, OBJECTS, k=0)
    with pytest.raises(ValueError, match="spread"):
        LayoutExplorer(images, OBJECTS, spread=0)
    with pytest.raises(ValueError, match="no object is called"):
        LayoutExplorer(images, OBJECTS, placed=[("lamp", 0.5, 0.5)])


def test_names_that_may_be_wrong_count_less(images):
    unsure = [[{**one, "score": 0.5} for one in row] for row in OBJECTS]
    explorer = LayoutExplorer(images, unsure, placed=[MUG])
    assert explorer.scores[0] == pytest.approx(0.5)


def test_regions_of_a_retriever_with_names_are_objects(images):
    deep = Deep("conv5", weights=None, size=32, resize="squash", device="cpu")
    retriever = RegionRetriever(deep, SlidingPyramid((0.5,)), progress=False).fit(images)
    named = [
        [{"category": f"region {n % 2}", "box": one.box} for n, one in enumerate(mine)]
        for mine in retriever.regions_
    ]
    explorer = LayoutExplorer(retriever.images, named, placed=[("region 0", 0.25, 0.4)])
    assert len(explorer._grid.ids) == 4 and explorer.scores.max() > 0.5


def test_static_picture_holds_labels_scenes_and_hostile_text(images):
    explorer = LayoutExplorer(images, OBJECTS, placed=[(HOSTILE, 30 / 64, 0.5)], k=3)
    figure = explorer.static()
    told = figure.axes[0].get_label()
    assert HOSTILE.split(">")[0] in told and len(figure.axes[0].images) == 1 + 1
    data, metadata = explorer._repr_mimebundle_()
    assert data["image/png"] and metadata["image/png"]["alt"] == told
