"""What `CollectionExplorer` is made of: columns to filter by, bins, the thread that looks, pictures for places without kernel."""

import threading

import numpy as np
import pandas as pd
import pytest
from collection_samples import picture, rows_for, write_photos

from cbirkit.images import ImageCollection

explore = pytest.importorskip(
    "cbirkit.explore", reason="the widgets need cbirkit[lab]", exc_type=ImportError
)
from cbirkit.explore import CollectionExplorer, collection_explorer
from cbirkit.explore.collection_facts import Facts
from cbirkit.explore.collection_views import VIEWS, bin_edges


def names(seen):
    return [words for words, _ in seen._menu.options]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    images = ImageCollection.from_folder(write_photos(tmp_path_factory.mktemp("photos")))
    return CollectionExplorer(images, rows_for(images), page_size=12).wait()


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
    assert Facts(images).counts("label", np.array([True, True, False, True])).to_dict() == {
        "cat": 2
    }
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
def test_every_view_has_a_picture_with_words(seen, view):
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
