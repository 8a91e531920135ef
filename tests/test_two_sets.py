"""Queries and database as two sets: equal ids of different pictures are told apart in search, relevance and evaluate alike."""

import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cbirkit import Ranking, Relevance, Retriever, encoders, evaluate, explore
from cbirkit.evaluation import compare
from cbirkit.images import ImageCollection
from cbirkit.rerank import query_expansion

rng = np.random.RandomState(0)
THINGS = rng.randint(0, 255, (5, 8, 8, 3))
VIEWS = [
    np.clip(THINGS + rng.randint(-20, 20, THINGS.shape), 0, 255).astype(np.uint8) for _ in range(2)
]


def arrays(view, root, part):
    return ImageCollection.from_arrays(view, labels=np.arange(5))


def written(view, root, part):
    for n, pixels in enumerate(view):
        (root / part / f"thing{n}").mkdir(parents=True)
        Image.fromarray(pixels).save(root / part / f"thing{n}" / "1.png")
    return root / part


def folder(view, root, part):
    return ImageCollection.from_folder(written(view, root, part))


def files(view, root, part):
    paths = sorted(written(view, root, part).rglob("*.png"))
    return ImageCollection.from_files(
        paths, pd.DataFrame({"label": np.arange(5)}), root=root / part
    )


def table(view, root, part):
    place = written(view, root, part)
    lines = [f"thing{n}/1.png,{n}" for n in range(5)]
    (place / "t.csv").write_text("\n".join(["path,label", *lines]))
    return ImageCollection.from_folder(place, labels="t.csv")


def generator(view, root, part):
    known = pd.DataFrame({"label": np.arange(5)}, index=list("abcde"))
    return ImageCollection.from_function(view.__getitem__, known, key=part, name=part)


MAKERS = [arrays, folder, files, table, generator]


@pytest.mark.parametrize("make", MAKERS)
def test_equal_ids_of_different_pictures_are_told_apart(tmp_path, make, caplog):
    queries, database = (
        make(view, tmp_path, part) for view, part in zip(VIEWS, ("query", "database"), strict=True)
    )
    assert (
        queries.ids.tolist() == database.ids.tolist()
        and (queries.positions_in(database) == -1).all()
    )
    assert "5 images" in caplog.text and "told apart by contents" in caplog.text
    retriever = Retriever(encoders.TinyImage(4), progress=False).fit(database)
    found = retriever.search(queries, k=None)
    truth = database.relevance(queries, database)
    assert truth.n_positives.tolist() == [1] * 5 and truth.n_junk.tolist() == [0] * 5
    expanded = query_expansion(
        retriever.encoder_.transform(queries), retriever.embeddings, found, n=1
    )
    for ranking in (found, found.top(3), expanded):
        score = evaluate(ranking, truth, metrics="p@1", n_bootstrap=0)
        assert score["p@1"] == 1.0
        assert "no query is an item of the database" in score.protocol and (ranking.own == -1).all()
    by_id = Relevance.from_labels(queries.ids, database.ids, queries.labels, database.labels)
    for judge in (
        lambda: evaluate(found, by_id),
        lambda: compare({"a": found, "b": found}, by_id),
        lambda: evaluate(found.select([1]), by_id),
    ):
        with pytest.raises(
            ValueError, match="shares its id with a database image of other contents"
        ):
            judge()


@pytest.mark.parametrize("make", MAKERS)
def test_the_very_same_picture_is_left_out(tmp_path, make):
    database = make(VIEWS[0], tmp_path, "database")
    again = database.with_columns(label=["x"] * 5)
    if make in (arrays, generator):
        again = make(VIEWS[0], tmp_path, "database").with_columns(label=["x"] * 5)
    elif make is folder:
        again = ImageCollection.from_folder(tmp_path / "database").with_columns(label=["x"] * 5)
    assert again.positions_in(database).tolist() == list(range(5))
    assert again[[3, 1]].positions_in(database[1:]).tolist() == [2, 0]
    found = Retriever(encoders.TinyImage(4), progress=False).fit(database).search(again, k=None)
    assert found.own.tolist() == list(range(5)) and found.k == 4
    same = again.relevance(again, again.with_columns(label=["x"] * 5)[::-1])
    assert same.n_positives.tolist() == [4] * 5 and same.own.tolist() == [4, 3, 2, 1, 0]


def test_the_same_pixels_as_file_as_array_and_made(tmp_path):
    kinds = [make(VIEWS[0], tmp_path, "database") for make in (folder, arrays, generator)]
    kinds = [
        ImageCollection(
            each._source, each.table.set_axis(kinds[0].ids).assign(group=list("xxyyy")), name="same"
        )
        for each in kinds
    ]
    scores = set()
    for database in kinds:
        retriever = Retriever(encoders.TinyImage(4), progress=False).fit(database)
        for queries in kinds:
            assert queries.positions_in(database).tolist() == list(range(5))
            found, truth = (
                retriever.search(queries, k=None),
                database.relevance(queries, database, by="group"),
            )
            assert found.own.tolist() == truth.own.tolist() == list(range(5))
            scores.add(round(evaluate(found, truth, metrics="map", n_bootstrap=0)["map"], 6))
    assert len(scores) == 1


def test_a_ranking_of_other_pictures_under_the_ids_of_the_relevance_is_refused():
    queries, database = (
        ImageCollection.from_arrays(view, labels=[0, 0, 0, 1, 1]) for view in VIEWS
    )
    found = [
        Retriever(encoders.TinyImage(4), progress=False).fit(each).search(queries, k=None)
        for each in (queries, database)
    ]
    with pytest.raises(ValueError, match="shares its id"):
        compare(dict(zip("ab", found, strict=True)), queries.relevance())


def test_one_file_under_two_ids_is_itself(tmp_path):
    written(VIEWS[0], tmp_path, "all")
    os.symlink(tmp_path / "all", tmp_path / "link")
    everything = ImageCollection.from_folder(tmp_path / "all")
    for queries in (
        ImageCollection.from_folder(tmp_path / "all" / "thing2").with_columns(label=["thing2"]),
        ImageCollection.from_files(
            [tmp_path / "link" / "thing2" / "1.png"], pd.DataFrame({"label": ["thing2"]})
        ),
    ):
        assert queries.positions_in(everything).tolist() == [2]
        ranking = (
            Retriever(encoders.TinyImage(4), progress=False).fit(everything).search(queries, k=4)
        )
        truth = everything.relevance(queries, everything)
        assert ranking.own.tolist() == truth.own.tolist() == [2] and truth.n_positives.tolist() == [
            0
        ]


def test_explorers_ask_for_the_picture_that_was_clicked():
    queries, database = (ImageCollection.from_arrays(view, labels=np.arange(5)) for view in VIEWS)
    explorer = explore.QueryExplorer(Retriever(encoders.TinyImage(4), progress=False).fit(database))
    asked = []
    explorer.on_show(lambda query, found: asked.append(query))
    seen = explore.CollectionExplorer(queries).wait().link(explorer)
    seen._pick("2")
    shown = explore.EmbeddingMap(queries, np.eye(5), method="pca").wait(60).link(explorer)
    shown._pick(2)
    assert [np.array_equal(query.picture(), VIEWS[0][2]) for query in asked] == [True, True]
    assert (
        shown.query == "2" and shown._canvas.marks["neighbours"] == []
    )  # what is found is not on the map, but other pictures of its ids
    explore.CollectionExplorer(database[1:]).wait().link(explorer)._pick("2")
    assert asked[-1].images is explorer.queries and asked[-1].name == "2"


def test_own_is_checked_and_kept():
    ranking = Ranking(["q", "r"], ["q", "r", "s"], [[0, 1], [1, 2]], [[0, 1], [0, 1]], own=[-1, 1])
    assert ranking.select([1]).own.tolist() == [1] and ranking.top(1).own.tolist() == [-1, 1]
    for own in ([0], [0, 3], [-2, 0], [0.5, 0]):
        with pytest.raises(ValueError, match="own must be a position"):
            Ranking(["q", "r"], ["q", "r", "s"], [[0], [1]], [[0], [0]], own=own)
        with pytest.raises(ValueError, match="own must be a position"):
            Relevance.from_labels(["q", "r"], ["q", "r", "s"], [1, 1], [1, 1, 1], own=own)
    sets = Relevance.from_sets(["q", "r"], ["q", "r", "s"], [["q", "s"], ["r", "s"]], own=[-1, 1])
    assert sets.n_positives.tolist() == [2, 1] and sets.select([1]).own.tolist() == [1]
    assert evaluate(ranking, sets, metrics="recall@1", n_bootstrap=0).per_query[
        "recall@1"
    ].tolist() == [0.5, 1.0]
    grouped = Relevance.from_labels(["q"], ["q", "r"], [1], [1, 1], groups=([1], [2, 1]), own=[-1])
    assert grouped.n_positives.tolist() == [1] and grouped.n_junk.tolist() == [1]


def test_masks_select_queries_by_their_ids():
    ranking = Ranking.from_distances(np.eye(3), ["a", "b", "c"])
    mask = pd.Series({"c": True, "a": False, "b": False})
    assert (
        ranking.select(mask).query_ids.tolist()
        == ["c"]
        == ranking.select(mask.loc[["a", "b", "c"]].to_numpy()).query_ids.tolist()
    )
    labels = Relevance.from_labels(ranking.query_ids, ["x"], [1, 2, 3], [3])
    groups = Relevance.from_labels(
        ranking.query_ids, ["x"], [1, 2, 3], [3], groups=([1, 2, 3], [4])
    )
    sets = Relevance.from_sets(ranking.query_ids, ["x"], {"c": ["x"]})
    for relevance in (labels, groups, sets):
        assert relevance.select(mask).n_positives.tolist() == [1]
        with pytest.raises(ValueError, match="does not name"):
            relevance.select(mask.set_axis(range(1, 4)))
