"""`CollectionExplorer` without a browser: what it shows, what its controls do, what it refuses; the thread that looks."""

import threading

import numpy as np
import pandas as pd
import pytest
from collection_samples import NAMED, picture, rows_for, write_photos
from explore_samples import HOSTILE, MeanColour

from cbirkit.evaluation import survey
from cbirkit.images import ImageCollection

explore = pytest.importorskip(
    "cbirkit.explore", reason="the widgets need cbirkit[lab]", exc_type=ImportError
)
from cbirkit.datasets.facts import Facts, bin_edges
from cbirkit.explore import CollectionExplorer, collection_explorer
from cbirkit.explore.collection_views import VIEWS


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return ImageCollection.from_folder(write_photos(tmp_path_factory.mktemp("photos")))


@pytest.fixture(scope="module")
def embeddings(images):
    return rows_for(images)


@pytest.fixture
def seen(images, embeddings):
    return CollectionExplorer(images, embeddings, page_size=12).wait()


@pytest.fixture(scope="module")
def looked(images, embeddings):
    return CollectionExplorer(images, embeddings, page_size=12).wait()


def names(seen):
    return [words for words, _ in seen._menu.options]


def test_the_menu_counts_what_there_is(seen):
    assert names(seen) == [
        "contact sheet (33)", "copies (1)", "near-copies (1)", "outliers (12)", "broken files (2)", "classes (3)", "sizes (3)",
    ]  # fmt: skip
    assert "32 images can be read, 2 files cannot" in seen._status.text


def test_the_contact_sheet_has_pages(seen, images):
    assert seen.view == "contact sheet" and seen.page == 1 and seen.n_pages == 3
    assert seen.shown == images.ids[:12].tolist() == seen._grids[0].ids
    seen._pager._next.click()
    seen._pager._next.click()
    assert seen.page == 3 and seen.shown == images.ids[24:].tolist() and seen._pager._next.disabled
    assert seen._grids[0].summary == "25 to 33 of 33 images"
    seen._pager._page.value = 2
    assert seen.page == 2 and seen.shown == images.ids[12:24].tolist()
    for page in (0, 4, -1):
        with pytest.raises(ValueError, match="pages are 1 to 3"):
            seen.page = page
    assert seen.page == 2


def test_tiles_say_what_they_are(seen):
    seen.filter(label="cat")
    tile = next(tile for tile in seen._grids[0].tiles if tile["id"] == "cat/00.png")
    assert tile["caption"] == "cat" and "40 × 30 pixels, distance 0." in tile["alt"]
    broken = next(tile for tile in seen._grids[0].tiles if tile["id"] == f"cat/{NAMED}")
    assert broken["image"] == b"" and "cannot be read" in broken["alt"]


def test_filters_by_label_name_and_numbers(seen):
    seen.filter(label="dog")
    assert len(seen.kept) == 12 and all(i.startswith("dog/") for i in seen.kept)
    assert (
        seen._grids[0].summary == "12 images, label dog"
        and "12 images with label dog" in seen._status.text
    )
    seen.filter(label="dog", width=(100, 200))
    assert seen.kept == ["dog/larger.png"]
    seen.filter(containing="LARGER")
    assert seen.shown == ["dog/larger.png"]
    seen.filter(orientation="landscape", height=30)
    assert len(seen.kept) == 31
    seen.filter(width=None)
    assert seen.kept == [f"cat/{NAMED}"]
    seen.filter(label="cat", width=160)  # each is there, not both at once
    assert seen.kept == seen.shown == [] and seen._grids[0].summary == "none, label cat, width 160"
    seen.clear_filter()
    assert len(seen.kept) == 33


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"colour": 3}, "no column 'colour' to filter by; there are: path, label, width"),
        ({"label": "cow"}, "no image has label cow; there are: .*, cat, dog"),
        ({"width": (500, 600)}, "no image has width 500 to 600; there are: 40, 60, 160"),
        ({"label": (1, 2)}, "a range .* of numbers"),
        ({"width": (1, 2, 3)}, "a range .* of numbers"),
        ({"label": None}, "no image has label without a value"),
    ],
)
def test_unknown_columns_and_values_are_told_and_change_nothing(seen, filters, words):
    seen.filter(label="dog")
    before = seen.shown
    with pytest.raises(ValueError, match=words):
        seen.filter(**filters)
    assert seen.shown == before


def test_the_menus_filter_and_follow_what_python_asks(seen):
    row = seen._filters
    assert (
        "label" in dict(row._column.options).values()
        and "path" not in dict(row._column.options).values()
    )
    row._column.value = "label"
    words = [text for text, _ in row._value.options]
    assert set(words) == {"any value", "cat (11)", "dog (12)", f"{HOSTILE} (10)"}
    row._value.value = words.index("dog (12)")
    assert len(seen.kept) == 12 and not row._all.disabled
    row._name.value = "larger"
    assert seen.kept == ["dog/larger.png"]
    row._all.click()
    assert (
        len(seen.kept) == 33
        and row._column.value == ""
        and row._name.value == ""
        and row._all.disabled
    )
    seen.filter(label="cat")
    assert row._column.value == "label" and row._value.label == "cat (11)"
    seen.filter(label="cat", width=40)  # more than the menus can say
    assert row._column.value == "" and not row._all.disabled
    seen.filter(width=(50, 100))
    assert row._column.value == "width" and row._value.label == "any value"


def test_order_by_name_size_and_distance(seen, images):
    seen.sort_by = "-pixels"
    assert seen.shown[0] == "dog/larger.png" and seen._grids[0].tiles[0]["note"] == "160 × 120"
    assert seen.kept[-1] == f"cat/{NAMED}"  # of unknown size
    seen.sort_by = "-distance"
    assert seen.shown[0] == "dog/10.png" and float(seen._grids[0].tiles[0]["note"]) > 1
    seen._filters._sort.value = "-label"
    assert seen.sort_by == "-label" and seen.shown[0].startswith("dog/")
    seen.sort_by = "-id"
    assert seen.kept == sorted(images.ids, reverse=True)
    with pytest.raises(
        ValueError, match="sort_by must be one of None, 'id', 'width'.* got 'beauty'"
    ):
        seen.sort_by = "beauty"
    assert seen.sort_by == "-id"


def test_copies_stand_side_by_side_and_differing_labels_are_told(seen):
    seen.view = "copies"
    assert seen.shown == ["cat/00.png", "dog/same.png"]
    grid = seen._grids[1]
    assert grid.heading == "Group 1 of 1: 2 images, the same bytes"
    assert "labels differ: cat, dog" in grid.summary and "all 40 × 30" in grid.summary
    assert [tile["caption"] for tile in grid.tiles] == ["00.png", "same.png"]
    seen.filter(containing="same")  # one of the group is enough, and it stays whole
    assert seen.shown == ["cat/00.png", "dog/same.png"]
    seen.filter(containing="larger")
    assert seen.shown == [] and "No group of copies has an image" in seen._status.text


def test_near_copies_tell_how_far_apart_and_which_is_larger(seen):
    seen._menu.receive({"event": "choose", "value": "near-copies"})
    assert seen.view == "near-copies" and set(seen.shown) == {"dog/01.png", "dog/larger.png"}
    assert f"hashes differ in up to {seen.found.near_bits[0]} of 128 bits" in seen._grids[1].heading
    assert "the largest is dog/larger.png, 160 × 120" in seen._grids[1].summary


def test_groups_have_pages_and_large_ones_are_cut():
    pixels = [picture(i // 30) for i in range(60)] + [picture(100 + i // 2) for i in range(18)]
    seen = CollectionExplorer(ImageCollection.from_arrays(pixels)).wait()
    seen.view = "copies"
    assert seen.n_pages == 3 and seen._grids[1].heading.startswith("Group 1 of 11: 30 images")
    assert len(seen._grids[1].tiles) == 24 and "24 of them are shown" in seen._grids[1].summary
    seen.page = 3
    assert len(seen._lists.children) == 4 and seen._grids[1].heading.startswith(
        "Group 9 of 11: 2 images"
    )


def test_outliers_come_farthest_first(seen):
    seen.view = "outliers"
    assert seen.shown[0] == "dog/10.png" and [
        tile["rank"] for tile in seen._grids[0].tiles
    ] == list(range(1, 13))
    near = next(i for i in reversed(seen.found.table.index) if i not in seen.found.outliers)
    seen.filter(containing=near)
    assert seen.shown == [] and "ort the contact sheet by distance" in seen._status.text


def test_without_embeddings_outliers_say_how_to_have_them(images):
    seen = CollectionExplorer(images).wait()
    assert "outliers (no embeddings)" in names(seen)
    seen.view = "outliers"
    assert "Outliers need embeddings" in seen._status.text and seen.shown == []
    with pytest.raises(ValueError, match="needs embeddings"):
        seen.sort_by = "distance"


def test_broken_files_are_named_as_text(seen):
    seen.view = "broken files"
    assert set(seen.shown) == {f"cat/{NAMED}", "cat/nothing.jpg"}
    assert dict(seen._tables[0].table["rows"])["cat/nothing.jpg"] == "empty file"
    assert "2 files that cannot be read" in seen._status.text


def test_a_class_is_picked_and_its_images_appear(seen):
    seen.view = "classes"
    rows = seen._tables[0].table["rows"]
    assert rows[0] == ["dog", "12", "36.4 %"] and seen._tables[0].table["shares"][0] == 1
    assert "1.2 times the smallest" in seen._status.text
    seen._tables[0].receive({"event": "pick", "row": 1})
    assert (
        seen.view == "contact sheet"
        and len(seen.kept) == 11
        and all(i.startswith("cat/") for i in seen.kept)
    )


def test_sizes_are_counted_and_picked(seen):
    seen.view = "sizes"
    sizes, sides, orientations = seen._tables
    assert sizes.table["rows"][0] == ["40 × 30", "16"] and ["160 × 120", "1"] in sizes.table["rows"]
    assert sum(int(n) for _, n in sides.table["rows"]) == 32
    assert [row[0] for row in orientations.table["rows"]] == ["landscape"]
    assert "width 40 to 160 (median" in seen._status.text
    sides.receive({"event": "pick", "row": len(sides.table["rows"]) - 1})
    assert seen.kept == ["dog/larger.png"]
    seen.clear_filter()
    seen.view = "sizes"
    seen._tables[0].receive({"event": "pick", "row": 0})
    assert len(seen.kept) == 16 and seen._grids[0].summary.endswith("width 40, height 30")
    seen.filter(width=(40, 160))
    seen.view = "sizes"
    sides = seen._tables[1]
    filled = [i for i, (_, n) in enumerate(sides.table["rows"]) if n != "0"]
    assert filled == sides.table["pickable"] and len(filled) < len(sides.table["rows"])


def test_what_is_not_there_is_said_in_one_sentence():
    seen = CollectionExplorer(ImageCollection.from_arrays([picture(i) for i in range(4)])).wait()
    said = {}
    for view in ("copies", "near-copies", "broken files", "classes"):
        seen.view = view
        said[view] = seen._status.text
        assert seen.shown == []
    assert said["copies"] == "No two files hold the same bytes."
    assert said["near-copies"].startswith("No two images look alike")
    assert said["broken files"] == "Every file can be read."
    assert "no labels" in said["classes"] and "one folder a class" in said["classes"]


def test_a_click_shows_the_picture_larger_with_all_that_is_known(seen):
    told = []
    seen.on_pick(told.append)
    seen.filter(label="cat")
    seen._grids[0].receive({"event": "pick", "id": "cat/00.png"})
    assert told == ["cat/00.png"] == [seen.selected] == [seen._grids[0].selected]
    facts = dict(seen._known.table["rows"])
    assert (
        facts["size"] == "40 × 30 pixels"
        and facts["label"] == "cat"
        and facts["same as"] == "dog/same.png"
    )
    assert facts["folder"] == seen.images.root.as_posix() and float(facts["distance"]) > 0
    assert "40 × 30 pixels, label cat, distance" in seen._status.text
    seen._grids[0].receive({"event": "pick", "id": f"cat/{NAMED}"})
    assert "cannot be read: truncated" in seen._status.text or "damaged" in seen._status.text
    seen.selected = "dog/larger.png"
    assert told == ["cat/00.png", f"cat/{NAMED}"] and seen.selected == "dog/larger.png"
    with pytest.raises(ValueError, match="nobody"):
        seen.selected = "nobody"


def test_a_click_asks_a_linked_explorer(images, embeddings):
    good = images.verify(progress=False)
    asked = explore.QueryExplorer(MeanColour().fit(good), k=3)
    seen = CollectionExplorer(good).wait().link(asked)
    seen._grids[0].receive({"event": "pick", "id": "dog/07.png"})
    assert asked.query == "dog/07.png"
    with pytest.raises(TypeError, match="QueryExplorer"):
        seen.link(seen)


def test_a_survey_made_before_is_taken(images, embeddings):
    found = survey(images, embeddings, progress=False)
    seen = CollectionExplorer(images, found=found)
    assert seen.found is found and "outliers (12)" in names(seen) and seen.wait() is seen
    with pytest.raises(ValueError, match="other images"):
        CollectionExplorer(images[:5], found=found)
    with pytest.raises(ValueError, match="other images"):
        CollectionExplorer(images, found=survey(images[:20], progress=False))
    with pytest.raises(TypeError, match="Survey"):
        CollectionExplorer(images, found=found.table)
    with pytest.raises(ValueError, match="made without embeddings"):
        CollectionExplorer(images, embeddings, found=survey(images, progress=False))


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        ({"embeddings": np.ones((3, 2))}, ValueError, "3 embeddings for 33 items"),
        ({"embeddings": np.ones(33)}, ValueError, "embeddings"),
        ({"embeddings": np.full((33, 2), np.nan)}, ValueError, "finite"),
        ({"page_size": 0}, ValueError, "page_size must be"),
        ({"page_size": True}, ValueError, "page_size must be"),
        ({"sort_by": "beauty"}, ValueError, "sort_by must be .* got 'beauty'"),
        ({"sort_by": "-distance"}, ValueError, "needs embeddings"),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(images, keywords, error, words):
    with pytest.raises(error, match=words):
        CollectionExplorer(images, **keywords)


def test_no_collection_no_images_and_only_broken_ones(tmp_path, images):
    with pytest.raises(TypeError, match="ImageCollection"):
        CollectionExplorer([picture(0)])
    with pytest.raises(ValueError, match="no images"):
        CollectionExplorer(images[[]])
    (tmp_path / "a.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(ValueError, match="none of 1 images can be read"):
        CollectionExplorer(ImageCollection.from_folder(tmp_path))


def test_a_view_that_is_none_is_refused(seen):
    with pytest.raises(
        ValueError, match="view must be one of 'contact sheet', 'copies', .* got 'map'"
    ):
        seen.view = "map"
    seen._menu.receive({"event": "choose", "value": "map"})  # a message of no button
    assert seen.view == "contact sheet"


def test_columns_of_every_kind_can_be_filtered_by():
    table = pd.DataFrame(
        {
            "classes": [["a", "b"], ["b"], [], ["c"]], "odd": [True, False, True, False],
            "when": pd.to_datetime(["2020-01-01", "2020-01-01", None, "2021-05-05"]), "score": [0.25, np.nan, 1e7, 2],
            "width": ["mine"] * 4,
        },
        index=list("pqrs"),
    )  # fmt: skip
    images = ImageCollection.from_arrays(
        [picture(i) for i in range(4)], ids=list("pqrs"), table=table
    )
    seen = CollectionExplorer(images).wait()
    for filters, wanted in (
        ({"classes": "b"}, "pq"), ({"odd": True}, "pr"), ({"when": None}, "r"), ({"score": (0, 5)}, "ps"),
        ({"score": 2}, "s"), ({"score": None}, "q"), ({"width": 40}, "pqrs"),
    ):  # fmt: skip
        seen.filter(**filters)
        assert seen.kept == list(wanted), filters
    facts = Facts(images)
    assert ("b (2)", "b") in facts.values("classes") and ("10000000 (1)", 1e7) in facts.values(
        "score"
    )
    assert facts.text("classes", 0) == "a, b"


def test_images_without_a_label_are_left_out_of_the_classes_alone():
    images = ImageCollection.from_arrays(
        [picture(i) for i in range(4)], labels=["cat", None, "dog", "cat"]
    )
    assert Facts(images).counts("label", [0, 1, 3]).to_dict() == {"cat": 2}
    seen = explore.CollectionExplorer(images).wait()
    seen.view = "classes"
    assert len(seen.kept) == 4
    seen.filter(label=None)
    assert seen.kept == ["1"]


def test_many_numbers_are_offered_in_ranges_that_share_no_image():
    values = np.random.default_rng(0).integers(0, 1000, 500)
    images = ImageCollection.from_arrays([picture(0)] * 500, table=pd.DataFrame({"n": values}))
    offered = Facts(images).values("n")
    facts = Facts(images)
    kept = [facts.mask({"n": ends}) for _, ends in offered]
    assert len(kept) == 5 and np.sum(kept, axis=0).tolist() == [1] * 500
    assert all(f"({mask.sum():,})" in words for mask, (words, _) in zip(kept, offered, strict=True))


def test_bins_hold_every_value_between_round_numbers():
    for low, high in ((1, 1), (255, 256), (100, 5000), (3, 9)):
        edges = bin_edges([low, high])
        assert (
            edges[0] <= low
            and edges[-1] > high
            and len(edges) <= 9
            and (np.diff(edges) == edges[1] - edges[0]).all()
        )


class Waiting:
    """A collection whose images from the second page on wait until they may be read."""

    def __init__(self, n=300):
        self.go = threading.Event()
        table = pd.DataFrame(
            {"label": ["ab"[i % 2] for i in range(n)]}, index=[f"{i}.png" for i in range(n)]
        )
        self.images = ImageCollection.from_function(self.read, table, key="slow", name="slow")

    def read(self, row):
        if row >= 150:
            assert self.go.wait(300)
        return picture(row)


def test_the_pictures_appear_while_images_are_looked_at(monkeypatch):
    monkeypatch.setattr(collection_explorer, "_PATIENCE", 0.05)
    waiting = Waiting()
    seen = CollectionExplorer(waiting.images, sort_by="-pixels")
    assert seen.found is None and len(seen.shown) == 48 and seen.shown[0] == "0.png"
    assert "copies (…)" in names(seen) and "classes (2)" in names(seen)
    seen.view = "near-copies"
    assert (
        "must be looked at first" in seen._status.text and "of 300 images" in seen._grids[0].summary
    )
    assert "Being looked at" in seen.static().axes[0].get_label()
    seen.filter(label="a")
    with pytest.raises(ValueError, match="call wait"):
        seen.filter(width=40)
    with pytest.raises(TimeoutError, match="not ready after 0.01 s"):
        seen.wait(0.01)
    waiting.go.set()
    seen.wait(300)
    assert (
        len(seen.found.table) == 300
        and "copies (none)" in names(seen)
        and seen._progress.layout.display == "none"
    )
    assert seen.view == "near-copies" and "look alike" in seen._status.text


def test_a_closed_explorer_stops_looking(monkeypatch):
    monkeypatch.setattr(collection_explorer, "_PATIENCE", 0.05)
    waiting = Waiting()
    seen = CollectionExplorer(waiting.images)
    seen.close()
    waiting.go.set()
    seen.wait(300)
    assert seen.found is None and seen._progress.value


def test_what_fails_in_the_thread_is_told(monkeypatch):
    class Failing:
        def transform(self, images):
            ready.wait(300)
            raise ValueError("these are too large")

    monkeypatch.setattr(collection_explorer, "_PATIENCE", 0.05)
    ready = threading.Event()
    seen = CollectionExplorer(
        ImageCollection.from_arrays([picture(i) for i in range(3)]), Failing()
    )
    ready.set()
    with pytest.raises(ValueError, match="too large"):
        seen.wait(300)
    assert seen._status.problem and "these are too large" in seen._status.text
    seen.view = "copies"
    assert "could not be looked at" in seen._grids[0].summary


def test_a_single_image_and_a_grey_one():
    seen = CollectionExplorer(
        ImageCollection.from_arrays([np.zeros((5, 7), np.uint8)]), np.ones((1, 3))
    ).wait()
    for view in VIEWS:
        seen.view = view
        assert seen.static().axes[0].get_label()


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_has_a_picture_with_words(looked, view):
    seen = looked
    seen.view = view
    figure = seen.static()
    told = figure.axes[0].get_label()
    assert told.startswith(view[0].upper() + view[1:]) and len(told) > 60
    if view in ("contact sheet", "copies", "near-copies", "outliers"):
        assert seen.shown[0] in told and len(figure.axes[0].images) == len(
            [t for t in seen._content.sections[0].tiles if t.image]
        )
    figure.canvas.draw()
    left, bottom, right, top = np.array(figure.bbox.extents)
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert box.x0 >= left and box.x1 <= right and box.y0 >= bottom and box.y1 <= top, (
            text.get_text()
        )
    data, metadata = seen._repr_mimebundle_()
    assert data["image/png"] and metadata["image/png"]["alt"] == told
