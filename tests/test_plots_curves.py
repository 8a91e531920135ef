"""The plots of measurements: precision-recall curves, metric bars, embedding maps."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_recall_curve

from cbirkit import ImageCollection, Ranking, Relevance, plots
from cbirkit.plots.charts import interpolated_precision
from cbirkit.plots.maps import map_trustworthiness

matplotlib.use("Agg")
import matplotlib.pyplot as plt


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 255, (20 + 3 * i, 30, 3), dtype=np.uint8) for i in range(6)]
    return ImageCollection.from_arrays(
        arrays, ["cat", "cat", "cat", "dog", "dog", "$dog$"], ids=list("abcdef")
    )


@pytest.fixture
def ranking(images):
    table = np.abs(np.arange(6)[:, None] - np.arange(6)[None, :]).astype(float)
    return Ranking.from_distances(table, images.ids, images.ids, exclude_self=True)


def test_interpolated_precision_agrees_with_a_naive_loop_and_with_sklearn():
    rng = np.random.default_rng(3)
    distances, labels = rng.random((7, 40)), rng.integers(0, 4, 40)
    ranking = Ranking.from_distances(distances)
    truth = Relevance.from_labels(ranking.query_ids, ranking.database_ids, np.arange(7) % 4, labels)
    grid = np.linspace(0, 1, 11)
    values, skipped = interpolated_precision(ranking, truth, grid)
    assert skipped == 0
    for row, value in enumerate(values):
        relevant = labels == row % 4
        precision, recall, _ = precision_recall_curve(relevant, -distances[row])
        expected = [
            max(p for p, r in zip(precision[:-1], recall[:-1], strict=True) if r >= level - 1e-9)
            for level in grid
        ]
        assert value == pytest.approx(expected)


def test_interpolated_precision_deletes_junk_counts_what_is_cut_off_and_skips():
    ids = list("abcde")
    ranking = Ranking(["p", "q"], ids, [[0, 1, 2], [0, 1, 2]], [[1, 2, 3], [1, 2, 3]])
    truth = Relevance.from_sets(["p", "q"], ids, [["b", "e"], []], junk=[["a"], []])
    values, skipped = interpolated_precision(ranking, truth, np.array([0.0, 0.5, 0.51, 1.0]))
    # without the junk, b is first; e is beyond the third rank
    assert values.tolist() == [[1.0, 1.0, 0.0, 0.0]] and skipped == 1


def test_precision_recall_draws_lines_bands_and_says_how(images, ranking):
    truth = images.relevance()
    ax = plots.precision_recall(
        {"one $a$": ranking, "two": (ranking.top(2), truth)}, truth, n_bootstrap=50
    )
    assert len(ax.lines) == 2 and len(ax.collections) == 2
    assert ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()
    assert ax.lines[0].get_marker() != ax.lines[1].get_marker()
    assert "interpolated" in ax.get_ylabel() and "not reached" in ax.get_xlabel()
    legend = ax.get_legend().get_texts()
    assert (
        legend[0].get_text() == "one $a$, 5 queries, 1 without positives"
        and not legend[0].get_parse_math()
    )
    assert "not reached" not in plots.precision_recall(ranking, truth, n_bootstrap=0).get_xlabel()


def test_precision_recall_band_holds_the_mean_and_repeats(images, ranking):
    truth = images.relevance()
    one, two = (
        plots.precision_recall((ranking, truth), n_bootstrap=200, random_state=5) for _ in range(2)
    )
    vertices = one.collections[0].get_paths()[0].vertices
    assert np.array_equal(vertices, two.collections[0].get_paths()[0].vertices)
    x, mean = one.lines[0].get_data()
    for level, value in zip(x[1:-1], mean[1:-1], strict=True):
        band = vertices[np.isclose(vertices[:, 0], level), 1]
        assert band.min() - 1e-9 <= value <= band.max() + 1e-9


def test_precision_recall_refuses_what_has_no_curve(ranking):
    with pytest.raises(ValueError, match="no relevance"):
        plots.precision_recall(ranking)
    with pytest.raises(ValueError, match="empty dict"):
        plots.precision_recall({})
    nothing = Relevance.from_sets(ranking.query_ids, ranking.database_ids, [[]] * 6)
    with pytest.raises(ValueError, match="no query of 'ranking' has a positive"):
        plots.precision_recall(ranking, nothing)


def summary(scale=1.0):
    index = ["map", "p@1", "ukbench"]
    return (
        pd.DataFrame(
            {"mean": [0.5, 0.6, 3.1], "low": [0.4, 0.5, 3.0], "high": [0.7, 0.7, 3.2]}, index=index
        )
        * scale
    )


def test_metric_bars_draws_means_and_intervals():
    ax = plots.metric_bars({"one": summary(), "two": summary(0.5)})
    bars = [c for c in ax.containers if isinstance(c, matplotlib.container.BarContainer)]
    assert [[bar.get_width() for bar in one] for one in bars] == [[0.5, 0.6], [0.25, 0.3]]
    ends = bars[0].errorbar.lines[2][0].get_segments()[0]
    assert ends[:, 0] == pytest.approx([0.4, 0.7])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["map", "p@1"]
    assert bars[0].patches[0].get_hatch() != bars[1].patches[0].get_hatch()


def test_metric_bars_keeps_units_apart():
    assert "0 to 4" in plots.metric_bars(summary(), metrics=["ukbench"]).get_xlabel()
    with pytest.raises(ValueError, match="ukbench is not between"):
        plots.metric_bars(summary(), metrics=["map", "ukbench"])
    with pytest.raises(
        ValueError, match="no metric nonsense in every evaluation; choose from map, p@1, ukbench"
    ):
        plots.metric_bars(summary(), metrics=["nonsense"])


def test_embedding_map_marks_labels_and_prints_trustworthiness():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 8)).astype(np.float32)
    ax = plots.embedding_map(X, ["a"] * 30 + ["b"] * 29 + [None])
    assert "trustworthiness 0." in ax.get_title() and "% of the variance" in ax.get_xlabel()
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        "a (30)",
        "b (29)",
        "not labelled (1)",
    ]
    drawn = [c for c in ax.collections if len(c.get_offsets())]
    assert sum(len(c.get_offsets()) for c in drawn) == 60
    shapes = [tuple(c.get_paths()[0].vertices.ravel().round(3)) for c in drawn]
    assert len(set(shapes)) == 3 and len({tuple(c.get_facecolor()[0]) for c in drawn}) == 3
    assert plots.embedding_map(X[:, :2]).get_title() == ""


def test_trustworthiness_is_high_for_a_true_map_and_half_for_a_random_one():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(1500, 2))
    value, neighbours, n = map_trustworthiness(flat, np.hstack([flat, np.zeros((1500, 3))]))
    assert value > 0.999 and neighbours == 10 and n == 1000
    assert abs(map_trustworthiness(rng.normal(size=(1500, 2)), flat)[0] - 0.5) < 0.05
    assert np.isnan(map_trustworthiness(flat[:2], flat[:2])[0])


def test_embedding_map_names_the_commonest_labels_only():
    labels = [str(i) for i in range(30)] + ["29"] * 5
    ax = plots.embedding_map(np.random.default_rng(0).random((35, 2)), labels)
    texts = [t.get_text() for t in ax.get_legend().get_texts()]
    assert (
        len(texts) == 16
        and texts[0] == "29 (6)"
        and "16 of 30 labels" in ax.get_legend().get_title().get_text()
    )
    assert sum(len(c.get_offsets()) for c in ax.collections) == 35


def test_embedding_map_places_thumbnails_that_do_not_touch(images):
    points = np.array([[0, 0], [0.001, 0], [1, 1], [1, 0], [0, 1], [0.5, 0.5]])
    ax = plots.embedding_map(points, images.labels, thumbnails=images)
    boxes = [a for a in ax.artists if isinstance(a, matplotlib.offsetbox.AnnotationBbox)]
    assert len(boxes) == 5


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((np.zeros(4),), "got shape"),
        ((np.array([[0, np.nan]]),), "not finite"),
        ((np.zeros((3, 2)), ["a"]), "got 1 labels for 3 points"),
    ],
)
def test_embedding_map_refuses_what_does_not_fit(args, words):
    with pytest.raises(ValueError, match=words):
        plots.embedding_map(*args)
    with pytest.raises(ValueError, match="one row a point"):
        plots.embedding_map(np.zeros((3, 2)), embeddings=np.zeros((2, 5)))
