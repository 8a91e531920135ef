"""The plots: what is drawn, by the artists; safe text; alternative text; bad input."""

import io
import warnings

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cbirkit import ImageCollection, Ranking, Relevance, plots
from cbirkit.learning import History
from cbirkit.learning.history import describe_history, draw_history
from cbirkit.learning.projection import map_trustworthiness
from cbirkit.plots.style import VERDICTS, safe_text

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


def marks(ax):
    """Mark and id of every tile, row by row."""
    return [patch.get_gid() for patch in ax.patches]


def test_ranked_list_draws_query_and_results_with_their_marks(images, ranking):
    ax = plots.ranked_list(ranking, images, relevance=images.relevance(), rows=["a", "d"], k=3)
    assert len(ax.images) == 2 * (1 + 3)
    # a: b, c are cats, d is not; d: c is not, e is (equal distances keep the order), then b; a query has two frames
    assert marks(ax) == [
        *("query-a", "query-a", "right-b", "right-c", "wrong-d"),
        *("query-d", "query-d", "wrong-c", "right-e", "wrong-b"),
    ]
    texts = [text.get_text() for text in ax.texts]
    assert {"1: 1.000", "3: 3.000", "2 of 2 found", "1 of 1 found"} <= set(texts)
    right, wrong = ax.patches[2], ax.patches[4]
    for patch, verdict in ((right, "right"), (wrong, "wrong")):
        assert patch.get_edgecolor()[:3] == matplotlib.colors.to_rgb(VERDICTS[verdict][0])
    assert right.get_linestyle() != wrong.get_linestyle()
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["relevant", "not relevant"]


def test_ranked_list_shows_the_query_itself_as_junk(images):
    ranking = Ranking.from_distances(1 - np.eye(6), images.ids, images.ids)
    ax = plots.ranked_list(ranking, images, relevance=images.relevance(), rows=[-1], k=2)
    assert marks(ax)[2:] == ["junk-f", "wrong-a"]


def test_ranked_list_without_relevance_marks_nothing(images, ranking):
    ax = plots.ranked_list(ranking, images, rows=2, k=99)
    assert len(marks(ax)) == 2 * (2 + 5) and marks(ax)[2:7] == [f"unknown-{i}" for i in "bcdef"]
    assert ax.get_legend() is None and "query" in [text.get_text() for text in ax.texts]


def test_ranked_list_leaves_padding_empty(images):
    ranking = Ranking(["a"], images.ids, [[2, 1, -1, -1]], [[0.1, 0.2, np.inf, np.inf]])
    assert len(plots.ranked_list(ranking, images, relevance=images.relevance()).images) == 3


def test_ranked_list_takes_other_queries_plain_arrays_and_given_axes(images):
    ranking = Ranking(["q"], ["0", "1"], [[1, 0]], [[0.5, 0.7]])
    pictures = [np.zeros((5, 9, 3), np.uint8), np.full((9, 5, 3), 255, np.uint8)]
    axes = plt.subplots(1, 2)[1]
    ax = plots.ranked_list(ranking, pictures, queries=[np.full((4, 4, 3), 7, np.uint8)], ax=axes[1])
    assert ax is axes[1] and [image.get_array().max() for image in ax.images] == [7, 255, 0]
    assert not axes[0].images


def test_ranked_list_looks_up_relevance_by_query_id(images, ranking):
    truth = images.relevance()
    turned = truth.select(np.arange(6)[::-1])
    one = plots.ranked_list(ranking, images, relevance=truth, rows=["a"])
    other = plots.ranked_list(ranking, images, relevance=turned, rows=["a"])
    assert marks(one) == marks(other)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rows": ["nobody"]}, "nobody"),
        ({"rows": [17]}, "17"),
        ({"rows": 0}, "rows"),
        ({"k": 0}, "k must"),
        ({"queries": [np.zeros((2, 2, 3))]}, "1 images"),
        ({"relevance": Relevance.from_labels(["a"], ["z"], [0], [0])}, "this database"),
        ({"relevance": Relevance.from_labels(["x"], list("abcdef"), [0], [0] * 6)}, "query 'a'"),
    ],
)
def test_ranked_list_refuses_what_does_not_fit(images, ranking, change, words):
    with pytest.raises(ValueError, match=words):
        plots.ranked_list(ranking, images, **change)


def test_ranked_list_says_that_a_query_image_is_not_known(images):
    ranking = Ranking(["elsewhere"], images.ids, [[0]], [[0.0]])
    with pytest.raises(ValueError, match="'elsewhere'; pass queries="):
        plots.ranked_list(ranking, images)


def test_a_broken_image_is_a_tile_that_says_so(tmp_path):
    Image.new("RGB", (20, 20), "red").save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG no picture")
    ax = plots.contact_sheet(ImageCollection.from_folder(tmp_path))
    assert len(ax.images) == 1
    assert "cannot be\nread" in [text.get_text() for text in ax.texts]


def test_contact_sheet_counts_labels_and_limits(images):
    ax = plots.contact_sheet(images, n=4, columns=3)
    assert len(ax.images) == 4
    assert [text.get_text() for text in ax.texts] == ["cat", "cat", "cat", "dog"]
    assert len(plots.contact_sheet(images, labels=False).texts) == 0
    with pytest.raises(ValueError, match="0 images"):
        plots.contact_sheet([])
    with pytest.raises(ValueError, match="values.*6"):
        plots.contact_sheet(images, labels=["x"])


@pytest.mark.parametrize(
    "name",
    [
        "$x$ and $y$",
        r"\$x$",
        "$\\frac$",
        "a_b^{c}",
        "x" * 300,
        "two\nlines\x1b[31m",
        "\udcff.jpg",
        "\u202egpj.exe",
        "%s{}",
        "",
    ],
)
def test_hostile_names_are_drawn_as_they_stand(name):
    picture = np.zeros((9, 9, 3), np.uint8)
    ax = plots.contact_sheet([picture, picture], labels=[name, "b"])
    text = ax.texts[0]
    assert not text.get_parse_math() and len(text.get_text()) < 40
    assert not set(text.get_text()) & set("\n\x1b\udcff\u202e")
    if 0 < len(name) < 10 and name.isprintable():
        assert text.get_text() == name
    points = plots.embedding_map(np.random.default_rng(0).random((9, 2)), [name or "-"] * 9)
    assert not points.get_legend().get_texts()[0].get_parse_math()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that the font lacks
        for one in (ax, points):
            one.figure.savefig(io.BytesIO())  # mathematics that cannot be read would raise here


@pytest.mark.parametrize("width", [3, 8, 15])
def test_safe_text_shortens_in_the_middle(width):
    text = safe_text("beginning/of/a/long/name.jpg", width)
    assert len(text) == width and text[0] == "b" and text[-1] == "g" and "…" in text
    assert safe_text("abc", width) == "abc"


def test_match_lines_tells_inliers_from_outliers():
    a, b = np.zeros((40, 60, 3), np.uint8), np.zeros((30, 20), np.uint8)
    keypoints = np.array([[1, 2, 5, 90], [10, 20, 5, 0], [30, 30, 5, 0]])
    ax = plots.match_lines(a, b, keypoints, keypoints[:, :2] / 3, inliers=[1, 0, 1])
    outlier, *inliers = ax.lines
    assert len(inliers) == 2 and outlier.get_linestyle() != inliers[0].get_linestyle()
    assert inliers[0].get_linewidth() > outlier.get_linewidth()
    left = ax.get_xlim()[1] + 0.5 - 20
    assert inliers[0].get_xydata().tolist() == [[1, 2], [left + 1 / 3, 2 / 3]]
    assert ax.get_title() == "2 of 3 matches agree with one geometry"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["does not", "agrees"]


def test_match_lines_draws_a_part_of_many_and_none_of_none():
    a = np.zeros((10, 10, 3), np.uint8)
    ax = plots.match_lines(a, a, np.full((400, 2), 5.0), np.full((400, 2), 5.0))
    assert "(150 drawn)" in ax.get_title()
    assert plots.match_lines(a, a, [], []).get_title() == "0 matches"
    with pytest.raises(ValueError, match="row i must match row i"):
        plots.match_lines(a, a, [[1, 1]], [])
    with pytest.raises(ValueError, match="2 inlier flags"):
        plots.match_lines(a, a, [[1, 1]], [[1, 1]], inliers=[True, False])


def test_alt_text_tells_what_was_drawn(images, ranking):
    ax = plots.ranked_list(ranking, images, relevance=images.relevance(), rows=["a"], k=3)
    assert plots.alt_text(ax).endswith("Query a: relevant at ranks 1, 2 of 3.")
    axes = plt.subplots(1, 2)[1]
    plots.contact_sheet(images, ax=axes[0])
    plots.describe(axes[1], "Nothing.")
    assert (
        plots.alt_text(axes[0].figure)
        == "Contact sheet of 6 of 6 images: cat, dog, $dog$. Nothing."
    )


def test_show_gives_a_png_with_the_description(images):
    ax = plots.contact_sheet(images)
    png = Image.open(io.BytesIO(plots.show(ax)))
    assert png.text["Description"].startswith("Contact sheet of 6")
    assert not plt.fignum_exists(ax.figure.number)
    with pytest.raises(TypeError, match="ax must be"):
        plots.contact_sheet(images, ax=plt.figure())


def test_show_hands_the_alternative_text_to_the_notebook(images, monkeypatch):
    ipython, display = pytest.importorskip("IPython"), pytest.importorskip("IPython.display")
    seen = {}
    monkeypatch.setattr(ipython, "get_ipython", lambda: object())
    monkeypatch.setattr(
        display, "display", lambda data, raw, metadata: seen.update(data=data, metadata=metadata)
    )
    assert plots.show(plots.contact_sheet(images, n=2)) is None
    assert seen["metadata"]["image/png"]["alt"] == "Contact sheet of 2 of 6 images: cat."
    assert seen["data"]["image/png"][1:4] == b"PNG"


def test_plots_of_real_photographs(realdata):
    images = ImageCollection.from_folder(realdata / "a_category_clothing10")[::25]
    features = np.array(
        [images.thumbnail(i, 32).reshape(-1, 3).mean(axis=0) for i in range(len(images))]
    )
    distances = np.linalg.norm(features[:, None] - features[None], axis=2)
    ranking = Ranking.from_distances(distances, images.ids, images.ids, exclude_self=True)
    ax = plots.ranked_list(ranking, images, relevance=images.relevance(), rows=3)
    ax.figure.savefig(io.BytesIO())
    assert len(ax.images) == 27 and any(one.startswith("wrong") for one in marks(ax))


def test_a_decision_chain_shows_each_question_with_both_answers_and_every_choice():
    steps = [("Few?", "yes", "compare $all$"), ("Does it fit?", "no", "codes")]
    ax = plots.decision_chain(steps, "a graph")
    words = [text.get_text() for text in ax.texts if text.get_text()]
    assert words == [
        "Few?",
        "compare $all$",
        "yes",
        "no",
        "Does it fit?",
        "codes",
        "no",
        "yes",
        "a graph",
    ]
    told = plots.alt_text(ax)
    assert "Few? If yes: compare $all$." in told and told.endswith("Otherwise: a graph.")
    assert plots.show(ax)[1:4] == b"PNG"


def test_a_pipeline_has_an_arrow_between_neighbours_and_from_each_chain_to_the_joint():
    ax = plots.pipeline([["query $q$", "φ", "q\n(d,)"], ["database", "φ"]], ["sort", "first k"])
    ends = {
        (tuple(map(float, text.xy)), tuple(map(float, text.get_position())))
        for text in ax.texts
        if hasattr(text, "xy")
    }
    assert ends == {
        ((0, 0), (1, 0)), ((1, 0), (2, 0)), ((2, 0), (3, -0.5)), ((3, -0.5), (4, -0.5)),
        ((1, -1), (2, -1)), ((2, -1), (3, -0.5)),
    }  # fmt: skip
    assert plots.alt_text(ax) == "query $q$, φ, q (d,); database, φ. Then: sort, first k."
    assert plots.show(ax)[1:4] == b"PNG"
    with pytest.raises(ValueError, match="at least one step"):
        plots.pipeline([["query"], []], ["sort"])


@pytest.mark.parametrize("steps", [[], [("Few?", "perhaps", "all")]])
def test_a_decision_chain_needs_questions_that_are_answered(steps):
    with pytest.raises(ValueError, match="yes"):
        plots.decision_chain(steps, "else")


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
    assert "ukbench" in plots.metric_bars(summary(), metrics="ukbench").get_xlabel()
    with pytest.raises(ValueError, match="ukbench"):
        plots.metric_bars(summary(), metrics=["map", "ukbench"])
    with pytest.raises(ValueError, match="nonsense.*choose from map, p@1, ukbench"):
        plots.metric_bars(summary(), metrics=["nonsense"])
    with pytest.raises(ValueError, match="empty dict"):
        plots.metric_bars({})


def test_embedding_map_marks_labels_and_prints_trustworthiness():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 8)).astype(np.float32)
    ax = plots.embedding_map(X[:, :2], ["a"] * 30 + ["b"] * 29 + [None], embeddings=X)
    assert "trustworthiness 0." in ax.get_title()
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
    assert len(texts) == 17 and texts[0] == "29 (6)" and texts[-1] == "14 others (14)"
    assert sum(len(c.get_offsets()) for c in ax.collections) == 35


def test_embedding_map_places_thumbnails_that_do_not_touch(images):
    points = np.array([[0, 0], [0.001, 0], [1, 1], [1, 0], [0, 1], [0.5, 0.5]])
    ax = plots.embedding_map(points, images.labels, thumbnails=images)
    boxes = [a for a in ax.artists if isinstance(a, matplotlib.offsetbox.AnnotationBbox)]
    assert len(boxes) == 5


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((np.zeros((4, 1)),), "shape"),
        ((np.array([[0, np.nan]]),), "finite"),
        ((np.zeros((3, 2)), ["a"]), "got 1 labels for 3 points"),
    ],
)
def test_embedding_map_refuses_what_does_not_fit(args, words):
    with pytest.raises(ValueError, match=words):
        plots.embedding_map(*args)
    with pytest.raises(ValueError, match="embeddings"):
        plots.embedding_map(np.zeros((3, 2)), embeddings=np.zeros((2, 5)))


@pytest.fixture
def history():
    rows = [{"epoch": 0, "step": 0, "score": 0.2}]
    rows += [
        {"epoch": n, "step": 5 * n, "loss": 2 / n, "score": score}
        for n, score in enumerate([0.5, 0.9, 0.7], start=1)
    ]
    return History.from_rows(rows, stopped="finished", best_epoch=2)


def xy(line):
    return np.column_stack([line.get_xdata(), line.get_ydata()]).round(3).tolist()


def test_the_curves_of_a_training_and_the_best_epoch(history):
    ax = plt.subplots()[1]
    right = draw_history(history.table, ax, history.best_epoch)
    assert xy(ax.lines[0]) == [[1, 2], [2, 1], [3, 0.667]]
    assert xy(right.lines[0]) == [[0, 0.2], [1, 0.5], [2, 0.9], [3, 0.7]]
    assert xy(right.lines[1]) == [[2, 0.9]] and len(ax.get_legend().get_texts()) == 3
    assert ax.lines[0].get_linestyle() != right.lines[0].get_linestyle()  # without colours, too
    told = describe_history(history.table, history.best_epoch)
    assert "from 2 to 0.667" in told and told.endswith("the best is 0.9, after epoch 2.")
    table = history.table.assign(score=np.nan)
    assert draw_history(table, plt.subplots()[1]) is None
    assert "score" not in describe_history(table)


def test_the_history_tells_itself(history):
    assert (
        str(history)
        == "3 epochs; best score 0.9000 after epoch 2; the weights are those of the last step"
    )
    assert "seconds" not in history._repr_html_() and "0.667" in history._repr_html_().replace(
        "0.6667", "0.667"
    )
    assert history.table["epoch"].dtype == np.int64 and history.table["loss"].dtype == np.float64


def test_a_view_is_drawn_and_written_alike_and_says_what_is_left_out():
    name = "<b>$x$</b>"
    tile = plots.Tile(name, np.zeros((9, 9, 3), np.uint8), alt=f"image {name}", caption=name)
    bars = plots.Table(("class", "images"), [(name, str(n)) for n in range(30)], list(range(30)))
    sections = [plots.Section("Many", "of one", [tile] * 30), plots.Section("Classes", table=bars)]
    plain = plots.Section(table=plots.Table((), [("size", "3")]))
    view = plots.View("All", "Told.", [*sections, plain], query=tile)
    figure = view.draw()
    figure.savefig(io.BytesIO())
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert len(figure.axes[0].images) == 1 + 24 and texts.count("6 more are not drawn") == 2
    assert {"All", "Many", "of one", name, "size", "3"} <= set(texts)
    told = plots.alt_text(figure)
    assert told.startswith("All. Told. Many: of one: image <b>") and "size, 3" in told
    page = view.html()
    assert page.count("<img ") == 31 and "<b>" not in page and "&lt;b&gt;" in page
    assert page.count("<tr>") == 31 + 1 and page.count('class="bar"') == 31


def test_a_tile_takes_encoded_pictures_and_pixels_and_says_that_there_is_none():
    pixels = np.arange(75, dtype=np.uint8).reshape(5, 5, 3)
    again = plots.Tile("a", plots.Tile("a", pixels).encoded)
    assert np.array_equal(np.asarray(again.picture), pixels) and again.state()["alt"] == "image a"
    for nothing in (b"", None):
        tile = plots.Tile("a", nothing)
        assert tile.picture is None and tile.encoded == b"" and "cannot be read" in tile.html()
