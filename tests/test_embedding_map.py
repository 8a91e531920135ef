"""`EmbeddingMap`, driven by the messages that the page would send."""

import threading

import numpy as np
import pandas as pd
import pytest
from explore_samples import HOSTILE, MeanColour, painted

from cbirkit.explore import embedding_map
from cbirkit.images import ImageCollection
from cbirkit.learning import projection

explore = pytest.importorskip(
    "cbirkit.explore", reason="the widgets need cbirkit[lab]", exc_type=ImportError
)


@pytest.fixture(scope="module")
def images():
    return painted()


@pytest.fixture(scope="module")
def rows(images):
    return MeanColour().fit(images).means


@pytest.fixture
def seen(images, rows):
    return explore.EmbeddingMap(images, rows, method="pca", metric="euclidean", k=4)


@pytest.fixture
def slow_umap(monkeypatch):
    """UMAP that takes until it is let go, and then gives the rows' first two columns."""
    go = threading.Event()

    def fitted(embeddings, seed, n_neighbors):
        assert go.wait(300) and threading.current_thread() is not threading.main_thread()
        return embeddings[:, :2]

    monkeypatch.setitem(projection._LAYOUTS, "umap", fitted)
    monkeypatch.setattr(projection, "_remembered", type(projection._remembered)())
    return go


def status(seen):
    return seen._status.text, seen._status.problem


def buffer(*positions):
    return [memoryview(np.array(positions, "<u4").tobytes())]


def folder(*numbers):
    return [f"folder/{i}.jpg" for i in numbers]


def test_the_page_gets_points_groups_and_text_as_it_stands(seen):
    points = np.frombuffer(seen._canvas.points, "<f4").reshape(-1, 2)
    assert points.shape == (30, 2) and np.abs(points).max() == pytest.approx(1)
    assert list(np.frombuffer(seen._canvas.groups, np.uint8)) == [0] * 10 + [1] * 10 + [2] * 10
    assert [one["name"] for one in seen._canvas.legend] == [HOSTILE, "group 1", "group 2"]
    assert (
        len({one["shape"] for one in seen._canvas.legend})
        == 3
        == len({one["colour"] for one in seen._canvas.legend})
    )
    assert "trustworthiness" in seen._canvas.summary and "neighbour overlap" in seen._canvas.summary
    assert "30 images" in seen._canvas.title and "PCA" in seen._canvas.title


def test_resting_on_a_point_sends_its_picture(seen, monkeypatch):
    sent = []
    monkeypatch.setattr(
        seen._canvas, "send", lambda content, buffers: sent.append((content, buffers))
    )
    seen._canvas.receive({"event": "hover", "at": 3})
    ((content, (picture,)),) = sent
    assert content == {"event": "preview", "at": 3, "text": f"folder/3.jpg\n{HOSTILE}"}
    assert picture[:4] == b"\x89PNG"


def test_selecting_shows_the_images_a_page_at_a_time(seen):
    seen._canvas.receive({"event": "select"}, buffer(5, 2, 12))
    assert seen.selected == folder(2, 5, 12) == seen._grid.ids
    text, problem = status(seen)
    assert text.startswith("3 images selected.") and "group 1 (1)" in text and not problem
    seen._canvas.receive({"event": "select"}, buffer(*range(30)))
    assert seen._grid.ids == folder(*range(24)) and "30 images" in seen._grid.summary
    seen._pager._next.click()
    assert seen._grid.ids == folder(*range(24, 30)) and seen._pager._next.disabled
    seen.selected = folder(8, 1)
    assert seen.selected == folder(1, 8) and list(np.frombuffer(seen._canvas.chosen, "<u4")) == [
        1,
        8,
    ]
    seen._canvas.receive({"event": "select"}, buffer())
    assert seen.selected == [] and seen._lists.children == ()
    with pytest.raises(ValueError, match="no image 'nowhere'"):
        seen.selected = ["nowhere"]


def test_a_click_shows_the_neighbours_and_goes_on_with_the_path(seen):
    seen._canvas.receive({"event": "pick", "at": 10})
    assert seen.query == "folder/10.jpg" and set(seen._near.ids) == set(folder(8, 9, 11, 12))
    marks = dict(zip(seen._near.ids, [tile["mark"] for tile in seen._near.tiles], strict=True))
    assert marks == dict(
        zip(folder(8, 9, 11, 12), ["wrong", "wrong", "right", "right"], strict=True)
    )
    assert seen._near.summary == "2 of 4 right" and "2 of 4 right" in status(seen)[0]
    assert (
        sorted(seen._canvas.marks["neighbours"]) == [8, 9, 11, 12]
        and seen._canvas.marks["query"] == 10
    )
    seen._near.receive({"event": "pick", "id": "folder/12.jpg"})
    assert seen.path == folder(10, 12) and seen._canvas.marks["path"] == [10, 12]
    assert seen.show_query("folder/12.jpg") and seen.path == folder(10, 12)  # asked again: no step
    for i in range(20):
        seen.show_query(f"folder/{i}.jpg")
    assert len(seen.path) == 12 and seen.path[-1] == "folder/19.jpg" == seen.query
    seen.clear_path()
    assert seen.path == [] and seen.query is None and seen._near.ids == []
    with pytest.raises(ValueError, match="no image 'nowhere'"):
        seen.show_query("nowhere")


def test_cosine_and_euclidean_neighbours_differ():
    images = painted(4)
    rows = np.array([[1.0, 0], [10, 0], [0.9, 0.5], [0, 1]])
    cosine = explore.EmbeddingMap(images, rows, method="pca", k=1)
    euclidean = explore.EmbeddingMap(images, rows, method="pca", k=1, metric="euclidean")
    assert (
        cosine.show_query("folder/0.jpg") == ["folder/1.jpg"]
        and cosine._near.tiles[0]["note"] == "0.000"
    )
    assert (
        euclidean.show_query("folder/0.jpg") == ["folder/2.jpg"]
        and euclidean._near.tiles[0]["note"] == "0.510"
    )


@pytest.mark.parametrize(
    "message",
    [None, {}, {"event": "pick"}, {"event": "pick", "at": 30}, {"event": "pick", "at": True}, {"event": "hover", "at": -1},
     {"event": "select"}, {"event": "eval", "at": 1}],
)  # fmt: skip
def test_messages_that_name_no_point_are_ignored(seen, caplog, message):
    seen._canvas.receive(message)
    assert (
        "MapCanvas ignored a message" in caplog.text and seen.query is None and seen.selected == []
    )


def test_selections_that_are_no_positions_are_ignored(seen, caplog):
    for buffers in ([b"abc"], buffer(99), [b"", b""]):
        seen._canvas.receive({"event": "select"}, buffers)
    assert caplog.text.count("ignored") == 3 and seen.selected == []


def test_colours_by_column_cluster_error_values(images, rows):
    split = images.with_columns(
        split=["query", "database"] * 15, number=np.arange(30) / 7, same=["x"] * 30
    )
    seen = explore.EmbeddingMap(split, rows, method="pca", metric="euclidean")
    assert seen.colour_by == "label"
    assert list(seen._colours.options) == [
        "nothing",
        "label",
        "split",
        "number",
        "cluster",
        "error",
    ]
    seen.colour_by = "split"
    assert [(one["name"], one["count"]) for one in seen._canvas.legend] == [
        ("database", 15),
        ("query", 15),
    ]
    seen._colours.value = "error"  # what the menu does
    assert [one["name"] for one in seen._canvas.legend] == ["nearest is right", "nearest is wrong"]
    wrong = np.flatnonzero(np.frombuffer(seen._canvas.groups, np.uint8))
    expected = [
        i
        for i in range(30)
        if min((abs(rows[i] - rows[j]).sum(), j) for j in range(30) if j != i)[1] // 10 != i // 10
    ]
    assert list(wrong) == expected and len(wrong)
    seen.colour_by = "cluster"
    assert sum(one["count"] for one in seen._canvas.legend) == 30 and len(seen._canvas.legend) == 4
    seen.colour_by = ["a", None, "b"] * 10
    assert seen.colour_by == "given values" in seen._colours.options
    assert [one["name"] for one in seen._canvas.legend] == ["a", "b", "not labelled"]
    seen.colour_by = "number"
    assert len(seen._canvas.legend) == 17 and seen._canvas.legend[-1]["name"] == "14 others"
    seen.colour_by = "nothing"
    assert [one["name"] for one in seen._canvas.legend] == ["all images"]
    with pytest.raises(ValueError, match="colour_by must be one of 'nothing', .* got 'x'"):
        seen.colour_by = "x"
    with pytest.raises(ValueError, match="got 2 colour_by for 30 items"):
        seen.colour_by = [1, 2]
    assert seen.colour_by == "nothing"


def test_pca_is_shown_until_umap_is_ready(images, rows, slow_umap):
    seen = explore.EmbeddingMap(images, rows, metric="euclidean", k=4)
    assert (
        seen.method == "umap"
        and "PCA" in seen._canvas.summary
        and "is being fitted" in status(seen)[0]
    )
    np.testing.assert_allclose(np.abs(seen.points), np.abs(explore.project(rows, "pca")), atol=1e-3)
    assert seen.show_query("folder/3.jpg")  # all else works meanwhile
    with pytest.raises(
        TimeoutError, match="not ready after 0.05 s; wait longer, or use method='pca'"
    ):
        seen.wait(0.05)
    slow_umap.set()
    assert (
        seen.wait(300) is seen
        and "UMAP" in seen._canvas.summary
        and status(seen)[0] == "UMAP is shown."
    )
    np.testing.assert_array_equal(seen.points, rows[:, :2].astype(np.float32))
    assert seen.quality.overlap == explore.map_quality(rows[:, :2], rows, k=4).overlap
    again = explore.EmbeddingMap(images, rows, metric="euclidean", k=4)  # remembered: at once
    assert "UMAP" in again._canvas.summary and again._task is None


def test_another_choice_meanwhile_is_not_overwritten(images, rows, slow_umap):
    seen = explore.EmbeddingMap(images, rows, metric="euclidean")
    fitting = seen._task._thread
    seen.method = "pca"
    slow_umap.set()
    fitting.join(300)
    assert seen.method == "pca" and "PCA" in seen._canvas.summary and not status(seen)[1]
    with pytest.raises(ValueError, match="method must be one of"):
        seen.method = "mds"


def test_a_failure_in_the_thread_is_told_and_raised_by_wait(images, rows, monkeypatch):
    def missing(*_how):
        raise ImportError("umap is needed here; install it with: pip install umap-learn")

    monkeypatch.setitem(projection._LAYOUTS, "umap", missing)
    seen = explore.EmbeddingMap(images, rows + 1, metric="euclidean")
    with pytest.raises(ImportError, match="pip install umap-learn"):
        seen.wait(300)
    text, problem = status(seen)
    assert problem and text.startswith("PCA stays, for UMAP failed: umap is needed here")
    assert seen.points.shape == (30, 2) and seen.show_query("folder/3.jpg")


def test_given_positions_are_shown_as_they_are(images, rows):
    positions = np.random.default_rng(0).normal(size=(30, 2))
    seen = explore.EmbeddingMap(images, rows, method=positions, metric="euclidean")
    np.testing.assert_array_equal(seen.points, positions.astype(np.float32))
    seen.method = "pca"
    seen.method = "given positions"
    np.testing.assert_array_equal(seen.points, positions.astype(np.float32))


def test_linked_to_an_explorer(images, rows):
    explorer = explore.QueryExplorer(MeanColour().fit(images), k=6)
    seen = (
        explore.EmbeddingMap(images, rows, method="pca", metric="euclidean")
        .link(explorer)
        .link(explorer)
    )
    seen._canvas.receive({"event": "pick", "at": 20})
    assert explorer.query == "folder/20.jpg" == seen.query
    ids = list(explorer.ranking.ids[0])
    assert list(images.ids[seen._canvas.marks["neighbours"]]) == ids
    assert seen._canvas.marks["verdicts"] == [tile["mark"] for tile in explorer._grids[0].tiles]
    assert seen._lists.children == ()  # the explorer shows them
    explorer._grids[0].receive({"event": "pick", "id": ids[2]})
    assert seen.query == ids[2] and seen.path == ["folder/20.jpg", ids[2]]
    explorer.search(np.zeros((9, 9, 3), np.uint8))  # a picture that is not on the map
    assert (
        seen.query is None
        and len(seen._canvas.marks["neighbours"]) == 6
        and "not on the map" in status(seen)[0]
    )
    explorer._retrievers["MeanColour"].slow = ValueError("out of order")
    seen._canvas.receive({"event": "pick", "at": 2})
    assert status(seen) == ("out of order", True)
    with pytest.raises(TypeError, match="link expects a QueryExplorer, got dict"):
        seen.link({})


def test_the_picture_shows_points_query_and_selection(seen):
    plain = seen.static()
    assert (
        "PCA, coloured by label" in plain.axes[0].get_label()
        and "trustworthiness" in plain.axes[0].get_title()
    )
    seen.show_query("folder/10.jpg")
    seen.show_query("folder/20.jpg")
    seen.selected = folder(1, 2, 3)
    figure = seen.static()
    told = figure.axes[0].get_label()
    assert (
        "The query folder/20.jpg is joined to its 4 neighbours" in told
        and "3 images are selected" in told
    )
    assert len(figure.axes[0].lines) == len(plain.axes[0].lines) + 4
    bundle, metadata = seen._repr_mimebundle_()
    assert {"image/png", "application/vnd.jupyter.widget-view+json"} <= set(bundle)
    assert metadata["image/png"]["alt"] == told


def test_broken_images_do_not_break_the_map(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    images = ImageCollection.from_files([tmp_path / "bad.jpg"] * 3, ids=["a", "b", "c"])
    seen = explore.EmbeddingMap(images, np.eye(3), method="pca", k=2)
    assert seen._preview(0) == (b"", "a")
    seen._canvas.receive({"event": "pick", "at": 0})
    assert sorted(seen._near.ids) == ["b", "c"] and seen._near.tiles[0]["mark"] == ""
    assert seen.static().axes


@pytest.mark.parametrize("n", [1, 2, 3])
def test_very_few_images(n):
    seen = explore.EmbeddingMap(painted(n), np.ones((n, 1)), method="pca")
    assert len(seen.show_query("folder/0.jpg")) == n - 1
    assert seen.static().axes and np.isfinite(np.frombuffer(seen._canvas.points, "<f4")).all()


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"images": [1]}, TypeError, "ImageCollection"),
        ({"embeddings": np.ones((29, 3))}, ValueError, "29 embeddings for 30"),
        ({"embeddings": np.full((30, 3), np.inf)}, ValueError, "30 of 30 .* not finite"),
        ({"embeddings": np.ones(30)}, ValueError, "n_dims"),
        ({"method": "mds"}, ValueError, "method"),
        ({"method": np.ones((30, 3))}, ValueError, "positions"),
        ({"method": None}, ValueError, "pca, tsne, umap or positions"),
        ({"metric": "hamming"}, ValueError, "metric .* 'hamming'"),
        ({"k": 0}, ValueError, "k must .* got 0"),
        ({"k": 2.5}, ValueError, "k must"),
        ({"colour_by": "taste"}, ValueError, "'taste'"),
        ({"colour_by": 3}, TypeError, "colour_by .* got int"),
        ({"random_state": "x"}, ValueError, "random_state"),
    ],
)
def test_wrong_arguments_are_named(images, rows, change, error, says):
    given = {"images": images, "embeddings": rows, "method": "pca"} | change
    with pytest.raises(error, match=says):
        explore.EmbeddingMap(given.pop("images"), given.pop("embeddings"), **given)


def test_a_query_among_many_reads_only_what_it_shows():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(index=[f"i{i}" for i in range(20_000)])
    read = []
    images = ImageCollection.from_function(
        lambda i: read.append(i) or np.zeros((8, 8, 3), np.uint8), table, key="black", name="many"
    )
    seen = explore.EmbeddingMap(
        images, rng.normal(size=(20_000, 32)), method=rng.normal(size=(20_000, 2))
    )
    read.clear()
    seen._canvas.receive({"event": "pick", "at": 77})
    seen._canvas.receive({"event": "select"}, buffer(*range(20_000)))
    assert len(seen.selected) == 20_000 and 0 < len(set(read)) < 200
    assert seen.wait(60).quality.n_sampled == 1000


_SPREAD = np.random.RandomState(0).randn(40, 8)
_ODD = {
    "all equal": np.ones((40, 8)),
    "equal but for float32's rounding": (1 + 1e-9 * _SPREAD).astype(np.float32),
    "nearly equal": 1 + 1e-9 * _SPREAD,
    "two places": np.repeat(_SPREAD[:2], 20, axis=0),
    "one column": _SPREAD[:, :1],
    "huge": 1e200 * _SPREAD,
    "tiny": 1e-30 * _SPREAD,
    "far from 0": 1e9 + _SPREAD,
    "whole numbers": (100 * _SPREAD).astype(int),
}


@pytest.mark.parametrize("method", ["pca", "tsne"])
@pytest.mark.parametrize("case", _ODD)
def test_odd_embeddings_give_a_map(case, method):
    points = projection.project(_ODD[case], method)
    assert points.shape == (40, 2) and np.isfinite(points).all()
    assert bool(np.ptp(points) == 0) == ("equal" in case and "nearly" not in case)


@pytest.mark.parametrize(
    "change", [lambda x: x + 1e9, lambda x: 1e30 * x, lambda x: (x + 1e2).astype(np.float32)]
)
def test_neighbours_do_not_drown(change, images):
    rows = np.random.RandomState(0).randn(30, 8)
    expected = projection.nearest(rows.astype(np.float32), np.arange(30), 5)
    seen = embedding_map._checked_rows(images, change(rows), "euclidean")
    np.testing.assert_array_equal(projection.nearest(seen, np.arange(30), 5), expected)
    plain, moved = (projection.map_quality(rows[:, :2], some, k=5) for some in (rows, change(rows)))
    assert moved.overlap == pytest.approx(plain.overlap) and moved.trustworthiness == pytest.approx(
        plain.trustworthiness
    )


def test_two_maps_side_by_side_share_what_is_selected_and_picked(images, rows, seen):
    other = explore.EmbeddingMap(
        images[::-1][:20], rows[::-1][:20, :2], method="pca", metric="euclidean", k=4
    )  # the same images in another order, without the first ten
    pair = seen.beside(other)
    assert list(pair.children) == [seen, other]
    seen._canvas.receive({"event": "select"}, buffer(3, 12, 29))
    assert seen.selected == folder(3, 12, 29) and set(other.selected) == set(folder(12, 29))
    other._canvas.receive({"event": "select"}, buffer(0, 1))
    assert set(seen.selected) == set(other.selected) == set(folder(29, 28))
    seen._canvas.receive({"event": "select"}, buffer(3))
    assert seen.selected == folder(3) and other.selected == []
    seen._canvas.receive({"event": "select"}, buffer())
    assert seen.selected == [] == other.selected
    seen._canvas.receive({"event": "pick", "at": 15})
    assert seen.query == other.query == "folder/15.jpg" and len(other.path) == 1
    seen._canvas.receive({"event": "pick", "at": 2})
    assert seen.query == "folder/2.jpg" and other.query == "folder/15.jpg"


def test_maps_that_cannot_stand_side_by_side(images, rows, seen):
    strangers = painted(5, size=(20, 20))
    strangers = ImageCollection.from_arrays(list(strangers), ids=list("abcde"))
    other = explore.EmbeddingMap(strangers, rows[:5], method="pca", k=2)
    for wrong, error in ((other, ValueError), (seen, ValueError), (images, TypeError)):
        with pytest.raises(error, match="beside"):
            seen.beside(wrong)
