"""What is known of images: tables as written, missing labels, pandas objects by their index, columns of any type."""

import codecs
import datetime
import decimal
import logging
import os

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from cbirkit import Ranking, Relevance, Retriever, encoders, evaluate, explore, plots
from cbirkit.evaluation import check_leaks, compare, survey
from cbirkit.images import ImageCollection
from cbirkit.images.tables import read_csv, text_of
from cbirkit.learning.batches import class_numbers, labels_of
from cbirkit.metrics import alignment
from cbirkit.ranking.codes import is_missing

PIXELS = np.random.default_rng(0).integers(0, 255, (6, 16, 16, 3), np.uint8)
ROWS = np.random.default_rng(1).normal(size=(6, 4))
IDS = list("pqrstu")
nan = float("nan")


@pytest.fixture
def folder(tmp_path):
    for i, name in enumerate(["001", "002", "003", "004"]):
        Image.fromarray(PIXELS[i]).save(tmp_path / name, "PNG")
    return tmp_path


def from_csv(folder, text, encoding="utf-8"):
    (folder / "t.csv").write_bytes(text.encode(encoding))
    return ImageCollection.from_folder(folder, labels="t.csv")


# ------------------------------------------------------------------ a CSV is read as it is written


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_of_any_make(folder, encoding, separator, end):
    lines = ["path,label,note", '001,01,"a, ""b""; \té"', "002,1,None", "003,,NA", "004,null,", ""]
    text = end.join(lines).replace(",", separator).replace(f"a{separator} ", "a, ")
    images = from_csv(folder, text, encoding)
    assert images.labels.tolist() == ["01", "1", None, "null"]
    assert images.column("note").tolist() == ['a, "b"; \té', "None", "NA", None]
    assert images.ids.tolist() == ["001", "002", "003", "004"] and len(images) == 4
    assert images.relevance().n_positives.tolist() == [0] * 4 and "label (3)" in repr(images)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "2", ""], [1.0, 2.0, None]),
        (["3", "-2", "0"], [3, -2, 0]),
        (["1.5", "2", "0.25"], [1.5, 2.0, 0.25]),
        (["01", "1", "2"], ["01", "1", "2"]),
        (["1.0", "1", "2"], ["1.0", "1", "2"]),
        (["9007199254740993", "", "1"], ["9007199254740993", None, "1"]),
        (["1e3", "nan", "inf"], ["1e3", "nan", "inf"]),
        (["1_000", "+1", " 1"], ["1_000", "+1", " 1"]),
        (["True", "False", ""], ["True", "False", None]),
    ],
)
def test_numbers_only_where_nothing_is_lost(folder, values, expected):
    lines = [
        f'{name},"{value}","{value}"'
        for name, value in zip(["001", "002", "003"], values, strict=True)
    ]
    images = from_csv(folder, "\n".join(["path,label,other", *lines]))
    got = images.column("other").tolist()[:3]
    assert [None if is_missing(value) else value for value in got] == expected
    assert images.labels.tolist() == [*(value or None for value in values), None]
    assert [text_of(value) for value in got] == values  # what is shown is what was written


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as CSV"),
        ("path,label\n001,cat, black\n", "cannot be read as CSV .* quote"),
        ('path,label\n001,"cat\n002,dog\n', "cannot be read as CSV"),
        ("PK\0\3", "names none of the 4 images"),
    ],
)
def test_a_csv_that_cannot_be_read_right_is_refused(folder, text, message):
    with pytest.raises(ValueError, match=message):
        from_csv(folder, text)


def test_csv_oddities_that_are_read(folder):
    images = from_csv(folder, ",path, label\n0,001, a\n1,002\n\n2,,b\n3,gone,b\n")
    assert images.labels.tolist() == ["a", None, None, None]
    assert images.column("Unnamed: 0").tolist()[:2] == [0, 1]
    assert images.problems["name"].tolist() == ["no name", "gone"]
    (folder / "t.csv").write_bytes(b"path,label\n001,caf\xe9\n")
    assert read_csv(folder / "t.csv")["label"].tolist() == ["café"]
    (folder / "t.csv").write_bytes(codecs.BOM_UTF8 + b"path\n001\n")
    assert read_csv(folder / "t.csv")["path"].tolist() == ["001"]


@pytest.mark.parametrize(("given", "asked"), [("é.png", "e\u0301.png"), ("e\u0301.png", "é.png")])
def test_ids_match_however_their_accents_are_written(given, asked):
    images = ImageCollection.from_arrays(PIXELS[:2], ids=[given, "b"], labels=["x", "x"])
    retriever = Retriever(encoders.TinyImage(4), progress=False).fit(images)
    assert np.array_equal(images[asked], PIXELS[0]) and images[["b", asked]].ids.tolist() == [
        "b",
        given,
    ]
    assert images.with_columns(n=pd.Series([2, 1], index=["b", asked])).column("n").tolist() == [
        1,
        2,
    ]
    assert images.with_columns(n={asked: 1, "b": 2}).column("n").tolist() == [1, 2]
    assert retriever.search(asked, k=1).ids.tolist() == [["b"]] and np.array_equal(
        retriever.embedding(asked), retriever.embeddings[0]
    )
    ranking = retriever.search(images, k=None)
    other = Relevance.from_labels([asked, "b"], [asked, "b"], ["x", "x"], ["x", "x"])
    assert evaluate(ranking, other, metrics="map", n_bootstrap=0)["map"] == 1.0
    for positives in ([[asked], []], {asked: [asked]}):
        assert Relevance.from_sets(
            [given, "b"], [given, "b"], positives, keep_self=True
        ).n_positives.tolist() == [1, 0]
    assert ImageCollection.from_arrays(PIXELS[:2], ids=[asked, "b"]).positions_in(
        images
    ).tolist() == [0, 1]
    retriever.remove(asked)
    assert retriever.ids.tolist() == ["b"]


def test_names_match_however_accents_and_folders_are_written(tmp_path):
    (tmp_path / "e\u0301").mkdir()
    Image.fromarray(PIXELS[0]).save(tmp_path / "e\u0301" / "o\u0308.png")
    for name in ("é/ö.png", "e\u0301/o\u0308.png", "é\\ö.png"):
        images = ImageCollection.from_folder(tmp_path)
        assert np.array_equal(images[0], PIXELS[0])
        assert images.with_columns(mask=[name]).mask(0).shape == (
            16,
            16,
            3,
        )  # a mask is any stored picture
        assert images.with_columns(mask=[""]).table["mask"].tolist() == [None]
    assert ImageCollection.from_folder(tmp_path).ids.tolist() == ["é/ö.png"]
    assert ImageCollection.from_folder(tmp_path)["e\u0301/o\u0308.png"].shape == (16, 16, 3)


# ------------------------------------------------------------------ a missing label is no class

MISSING = {
    "None": ["a", "a", None, None, "b", None],
    "NaN": ["a", "a", nan, nan, "b", nan],
    "pd.NA": ["a", "a", pd.NA, pd.NA, "b", pd.NA],
    "NaT": ["a", "a", pd.NaT, pd.NaT, "b", pd.NaT],
    "categorical": pd.Categorical(["a", "a", None, None, "b", None]),
    "string": pd.array(["a", "a", None, None, "b", None], dtype="string"),
    "floats": np.array([1, 1, nan, nan, 2, nan]),
    "Int64": pd.array([1, 1, None, None, 2, None], dtype="Int64"),
    "boolean": pd.array([True, True, None, None, False, None], dtype="boolean"),
    "dates": pd.to_datetime(["2020-01-01"] * 2 + [None] * 2 + ["2021-01-01", None]),
    "long numbers": [2**53 + 1, 2**53 + 1, None, nan, 2**53, None],
    "mixed": ["a", "a", nan, None, 2.5, pd.NA],
    "empty text": ["a", "a", "", None, "b", ""],
    "NumPy's text": np.array(["a", "a", "", "", "b", ""]),
    "0-d arrays": [*map(np.array, "aa"), None, nan, np.array("b"), None],
    "tensors": [torch.tensor(1), torch.tensor(1), None, None, torch.tensor(2), None],
}


def frame_of(labels):
    return pd.DataFrame(
        {"label": pd.Series(labels, dtype=object if isinstance(labels, list) else None)}
    )


COLLECTIONS = {
    "from_arrays": lambda labels: ImageCollection.from_arrays(PIXELS, labels=labels),
    "with_columns": lambda labels: ImageCollection.from_arrays(PIXELS).with_columns(label=labels),
    "table": lambda labels: ImageCollection.from_arrays(PIXELS, table=frame_of(labels)),
    "from_function": lambda labels: ImageCollection.from_function(
        PIXELS.__getitem__, frame_of(labels).set_axis(IDS), key="k", name="n"
    ),
}


@pytest.mark.parametrize("labels", MISSING.values(), ids=MISSING)
@pytest.mark.parametrize("make", COLLECTIONS.values(), ids=COLLECTIONS)
def test_missing_labels_match_nothing(make, labels):
    images = make(labels)
    assert images.relevance().n_positives.tolist() == [1, 1, 0, 0, 0, 0]
    assert "label (2)" in repr(images) and images.labels.shape == (6,)
    assert survey(images, progress=False).class_counts().tolist() == [2, 1]
    seen = explore.CollectionExplorer(images).wait()
    seen.filter(label=None)
    assert seen.shown == [str(images.ids[i]) for i in (2, 3, 5)]
    shown = explore.EmbeddingMap(images, ROWS, method="pca").wait(60)
    assert [
        (one["name"] == "not labelled", one["count"])
        for one in shown._colouring.groups("label").legend
    ].count((True, 3)) == 1
    assert "class" not in set(check_leaks(images[:2], images[2:])["kind"])
    few, many = images.split(fraction=0.5)
    assert len(few) + len(many) == 6


@pytest.mark.parametrize("labels", MISSING.values(), ids=MISSING)
def test_missing_labels_outside_of_collections(labels):
    assert Relevance.from_labels(None, None, labels, labels).n_positives.tolist() == [
        2,
        2,
        0,
        0,
        1,
        0,
    ]
    groups = Relevance.from_labels(IDS, IDS, ["x"] * 6, ["x"] * 6, groups=(labels, labels))
    assert groups.n_positives.tolist() == [4, 4, 5, 5, 5, 5]
    rows = [[1, 0], [0, 1], *[[1, 0]] * 4]
    assert round(alignment(rows, labels), 6) == 2.0
    with pytest.raises(ValueError, match="3 of 6 images have no label"):
        class_numbers(labels, 6)
    ranking = Ranking.from_distances(1 - np.eye(6))
    with pytest.raises(ValueError, match="groups has missing values"):
        evaluate(
            ranking,
            Relevance.from_labels(ranking.query_ids, None, list("aabbcc"), list("aabbcc")),
            groups=labels,
        )


def test_labels_that_look_alike_but_are_of_two_types_are_refused():
    one, other = [1, 2], ["1", "2"]
    assert text_of(b"a") == "a"  # as it is saved, so that it is no bytes afterwards
    for first, second in [
        (one, other),
        (np.array(one, float), other),
        ([b"a"], ["a"]),
        ([True], ["True"]),
        ([1, "1"], []),
    ]:
        with pytest.raises(ValueError, match="two types"):
            Relevance.from_labels(None, None, first, second)
    same = [
        one,
        np.array(one, np.int8),
        np.array(one, float),
        pd.array(one, dtype="Int64"),
        pd.Categorical(one),
    ]
    texts = [
        other,
        np.array(other),
        pd.array(other, dtype="string"),
        pd.Categorical(other),
        [np.str_("1"), "2"],
    ]
    for alike in (same, texts):
        for first in alike:
            for second in alike:
                assert Relevance.from_labels(None, None, first, second).n_positives.tolist() == [
                    1,
                    1,
                ]
    assert Relevance.from_labels(None, None, ["e\u0301"], ["é"]).n_positives.tolist() == [1]


# ------------------------------------------------------------------ pandas objects are matched by their index

SERIES = pd.Series({i: f"of {i}" for i in IDS})
SHUFFLED = SERIES.loc[list("utsrqp")]
IMAGES = ImageCollection.from_arrays(PIXELS, ids=IDS)


def coloured(values):
    seen = explore.EmbeddingMap(IMAGES, ROWS, method="pca", colour_by=values).wait(60)
    return seen._colouring.groups(seen.colour_by).texts.tolist()


def of_relevance(values):
    found = Relevance.from_labels(IDS, ["x"], values, ["of p"]).n_positives
    return [f"of {IDS[int(i)]}" if n else "" for i, n in enumerate(found)][:1] + [
        f"of {i}" for i in IDS[1:]
    ]


def scored_groups(values):
    """The interval of a bootstrap over two groups depends on who is in which."""
    ranking = Ranking.from_distances(
        np.abs(np.arange(6)[:, None] - np.arange(6)), IDS, IDS, exclude_self=True
    )
    truth = Relevance.from_labels(IDS, IDS, list("aababb"), list("aababb"))
    return [
        evaluate(ranking, truth, metrics="map", groups=values)
        .summary.loc["map", ["low", "high"]]
        .tolist(),
        compare({"a": ranking, "b": ranking.top(5)}, truth, groups=values, metric="p@1")
        .summary["low"]
        .tolist(),
    ]


def drawn(values):
    return [text.get_text() for text in plots.contact_sheet(IMAGES, labels=values).texts]


TAKERS = {
    "with_columns": lambda values: IMAGES.with_columns(label=values).labels.tolist(),
    "from_arrays": lambda values: ImageCollection.from_arrays(
        PIXELS, labels=values, ids=IDS
    ).labels.tolist(),
    "table": lambda values: ImageCollection.from_arrays(
        PIXELS, ids=IDS, table=pd.DataFrame({"label": values})
    ).labels.tolist(),
    "from_files": lambda values: ImageCollection.from_files(
        IDS, pd.DataFrame({"label": values})
    ).labels.tolist(),
    "EmbeddingMap": coloured,
    "Relevance": of_relevance,
    "contact_sheet": drawn,
    "training": lambda values: list(labels_of(IMAGES, values)),
}


@pytest.mark.parametrize("take", TAKERS.values(), ids=TAKERS)
@pytest.mark.filterwarnings("ignore:.*Matplotlib.*")
def test_a_series_is_matched_by_its_index_or_refused(take):
    expected = SERIES.tolist()
    assert (
        take(SHUFFLED)
        == take(SHUFFLED.to_dict() if take is not TAKERS["table"] else SHUFFLED)
        == expected
    )
    assert (
        take(SERIES.to_numpy()) == take(SERIES.reset_index(drop=True)) == take(SERIES) == expected
    )
    assert take(pd.concat([SHUFFLED, pd.Series({"z": "more"})])) == expected
    for wrong in (
        SERIES.set_axis(range(10, 16)),
        SERIES.set_axis(list("pqrstt")),
        SERIES.set_axis(list("abcdef")),
    ):
        with pytest.raises(ValueError, match="index of .* does not name"):
            take(wrong)


def test_masks_groups_and_embeddings_are_matched_too():
    mask = pd.Series([False] * 5 + [True], index=list("utsrqp"))
    assert IMAGES[mask].ids.tolist() == IMAGES[mask.astype("boolean")].ids.tolist() == ["p"]
    with pytest.raises(ValueError, match="does not name"):
        IMAGES[mask.set_axis(range(1, 7))]
    with pytest.raises(ValueError, match="missing values"):
        IMAGES[pd.Series([True, None] * 3, dtype="boolean")]
    groups = pd.Series(list("xxyyzz"), index=IDS)
    assert (
        scored_groups(groups)
        == scored_groups(groups.loc[list("utsrqp")])
        == scored_groups(groups.tolist())
    )
    assert scored_groups(groups) != scored_groups(list("xyzxyz"))
    with pytest.raises(ValueError, match="does not name"):
        scored_groups(groups.set_axis(range(1, 7)))
    frame = pd.DataFrame(ROWS, index=IDS).loc[list("utsrqp")]
    plain = explore.EmbeddingMap(IMAGES, ROWS, method="pca").wait(60)
    assert np.array_equal(
        explore.EmbeddingMap(IMAGES, frame, method="pca").wait(60).points, plain.points
    )
    assert survey(IMAGES, frame, progress=False).table.equals(
        survey(IMAGES, ROWS, progress=False).table
    )
    assert (
        explore.CollectionExplorer(IMAGES, frame)
        .wait()
        .found.table.equals(survey(IMAGES, ROWS, progress=False).table)
    )
    assert (
        check_leaks(IMAGES, IMAGES, encoder=(ROWS, frame)).query("kind == 'content'").shape[0] == 6
    )
    for take in (
        lambda f: explore.EmbeddingMap(IMAGES, f, method="pca"),
        lambda f: survey(IMAGES, f, progress=False),
    ):
        with pytest.raises(ValueError, match="does not name"):
            take(frame.set_axis(range(1, 7)))
    positives = pd.Series({"q1": ["b"], "q0": ["a"]})
    assert Relevance.from_sets(["q0", "q1"], ["a", "b"], positives).relevant(
        [[0], [0]]
    ).ravel().tolist() == [True, False]


def test_distances_and_embeddings_are_matched_by_name():
    table = pd.DataFrame([[0.0, 1, 2], [3, 0.0, 1]], index=["q2", "q1"], columns=["c", "a", "b"])
    for given in (table, table.loc[["q1", "q2"], ["b", "c", "a"]]):
        ranking = Ranking.from_distances(given, ["q1", "q2"], ["a", "b", "c"])
        assert ranking.ids.tolist() == [["a", "b", "c"], ["c", "a", "b"]]
    for names in ((None, None), (["q1", "q3"], ["a", "b", "c"]), (["q1", "q2"], ["a", "b", "d"])):
        with pytest.raises(ValueError, match="index of .*distances .*does not name"):
            Ranking.from_distances(table, *names)
    assert Ranking.from_distances(pd.DataFrame(np.eye(2))).ids.tolist() == [["1", "0"], ["0", "1"]]
    retriever = Retriever(encoders.TinyImage(4), progress=False).fit(IMAGES)
    rows = pd.DataFrame(retriever.embeddings, index=IDS)[::-1]
    assert retriever.search_embeddings(rows, 1, ids=IDS).ids.ravel().tolist() == IDS
    assert retriever.search_embeddings(rows, 1).ids.ravel().tolist() == IDS[::-1]
    with pytest.raises(ValueError, match="index of embeddings"):
        retriever.search_embeddings(rows, 1, ids=list("abcdef"))


def test_numbered_images_are_matched_by_number_only_where_that_says_one_thing():
    images = ImageCollection.from_arrays(PIXELS)
    series = pd.Series(list("abcdef"))
    assert images[3:].with_columns(label=series[3:]).labels.tolist() == list("def")
    assert images[3:].with_columns(label=pd.Series(list("xyz"))).labels.tolist() == list("xyz")
    for some, values in (
        (images[[2, 1, 0]], series[:3]),
        (images, series[::-1]),
        (images[3:], series[[5, 3, 4]]),
    ):
        for take in (
            lambda values, some=some: some.with_columns(label=values),
            lambda values, some=some: some[values == "a"],
        ):
            with pytest.raises(ValueError, match="does not name"):  # by number or by place?
                take(values)
    for order in (
        [5, 4, 3, 2, 1, 0],
        [1, 0, 2, 3, 4, 5],
        [7, 3, 2, 1, 0, 9],
    ):  # sorted or drawn, and the pictures read in that order
        for wrong in (
            {"labels": series.set_axis(order)},
            {"table": pd.DataFrame({"label": series.set_axis(order)})},
        ):
            with pytest.raises(ValueError, match="does not name"):
                ImageCollection.from_arrays(PIXELS, **wrong)
    assert images[[1, 4]].with_columns(label=series.drop(2)).labels.tolist() == ["b", "e"]
    table = pd.DataFrame({"pixels": list(PIXELS), "label": list("abcdef")})[::-2]
    assert ImageCollection.from_arrays(
        table["pixels"], labels=table["label"]
    ).labels.tolist() == list("fdb")
    with pytest.raises(TypeError, match="single text"):
        images.with_columns(label="abcdef")


# ------------------------------------------------------------------ columns of any type break no view

ODD = {
    "lists": [["a", "b"], ["a"], None] * 2,
    "lists after text": [None, "x", ["a"]] * 2,
    "dicts": [{"a": 1}, None, {}] * 2,
    "sets": [{"a"}, {"b"}, None] * 2,
    "arrays": [np.arange(3), None, np.arange(2)] * 2,
    "nested": [{"a": [1, {"b": 2}]}, [[1], [2]], None] * 2,
    "boolean": pd.array([True, False, None] * 2, dtype="boolean"),
    "Int64": pd.array([1, 2, None] * 2, dtype="Int64"),
    "categories": pd.Categorical(["a", "b", None] * 2),
    "dates": pd.to_datetime(["2020-01-01", "2021-01-01", None] * 2),
    "dates of a zone": pd.to_datetime(["2020-01-01", "2021-01-01", None] * 2).tz_localize("UTC"),
    "days": [datetime.date(2020, 1, 1), None, datetime.date(2021, 1, 1)] * 2,
    "times": pd.to_timedelta(["1D", None, "2D"] * 2),
    "periods": pd.period_range("2020", periods=6, freq="M"),
    "intervals": pd.cut(np.arange(6), 3),
    "decimals": [decimal.Decimal("1.5"), None, decimal.Decimal(2)] * 2,
    "mixed": [3, "a", None, 2.5, True, "b"],
    "bytes": [b"a", b"b", None] * 2,
    "huge": [2**70, 2**53 + 1, None] * 2,
    "nothing": [None] * 6,
}


BOTH = [(name, ("label", "tags")) for name in ODD]
ALONE = [
    (name, ("tags",)) for name in ("lists", "dicts", "boolean", "mixed")
]  # no image has a label


@pytest.mark.parametrize(("name", "columns"), BOTH + ALONE)
def test_columns_of_any_type_break_no_view(tmp_path, name, columns):
    values = ODD[name]
    images = ImageCollection.from_arrays(PIXELS).with_columns(**dict.fromkeys(columns, values))
    texts = [text_of(value) for value in images.table["tags"]]
    assert "6 images" in repr(images)
    assert sum(map(len, images.split(fraction=0.5, random_state=1))) == 6
    counted = survey(images, progress=False).class_counts().sum()
    assert counted == ("label" in columns) * sum(map(bool, texts))
    seen = explore.CollectionExplorer(images, ROWS).wait()
    for view in ("classes", "contact sheet"):
        seen.view = view
        seen.static()
    for choice in seen._facts.choices:
        for _, value in seen._facts.values(choice):
            seen.filter(**{choice: value})
            assert seen.shown
    seen.clear_filter()
    for order in (*columns, f"-{columns[0]}"):
        seen.sort_by = order
        assert sorted(seen.shown) == sorted(images.ids)
    seen.selected = "1"
    shown = explore.EmbeddingMap(images, ROWS, method="pca", colour_by=values).wait(60)
    for choice in list(shown._colouring.choices):
        shown.colour_by = choice
        shown.static()
    shown.show_query("0")
    retriever = Retriever(encoders.TinyImage(4), progress=False).fit(images)
    explore.QueryExplorer(retriever).search("1")
    retriever.save(tmp_path / "saved")
    loaded = Retriever.load(tmp_path / "saved").table
    several = any(isinstance(one, list | dict | set | np.ndarray) for one in images.table["tags"])
    expected = [texts.count(text) - 1 if text else 0 for text in texts]
    for column in columns:
        assert [text_of(value) for value in loaded[column]] == texts
        if several:
            with pytest.raises(ValueError, match="one label for each item"):
                images.relevance(by=column)
        else:
            assert images.relevance(by=column).n_positives.tolist() == expected


def test_whole_numbers_are_shown_without_a_point():
    images = ImageCollection.from_arrays(PIXELS, labels=np.array([1.0, 2.0, nan] * 2))
    assert [text.get_text() for text in plots.contact_sheet(images).texts][:2] == ["1", "2"]
    assert survey(images, progress=False).class_counts().index.tolist() == ["1", "2"]
    seen = explore.CollectionExplorer(images).wait()
    seen.view = "classes"
    table = next(section.table for section in seen._content.sections if section.table)
    assert [row[0] for row in table.rows] == ["1", "2"]


# ------------------------------------------------------------------ paths


def test_the_working_directory_may_change(tmp_path, monkeypatch):
    for week, grey in (("one", 50), ("two", 200)):
        (tmp_path / week / "photos").mkdir(parents=True)
        for name in ("photos/0.png", "mask.png"):
            Image.fromarray(np.full((4, 4), grey, np.uint8)).save(tmp_path / week / name)
    monkeypatch.chdir(tmp_path / "one")
    made = {
        "from_folder": ImageCollection.from_folder("photos"),
        "from_files": ImageCollection.from_files(["photos/0.png"]),
        "root": ImageCollection.from_files(["photos/0.png"], root="photos"),
    }
    for where in (tmp_path / "two", "/"):
        os.chdir(where)
        for name, images in made.items():
            assert images[0][0, 0, 0] == 50, name
            if name == "root":
                assert images.with_columns(mask=["0.png"]).mask(0)[0, 0] == 50
            assert images.root is None or images.root.is_absolute()
    assert made["root"].ids.tolist() == ["0.png"] and made["from_files"].ids.tolist() == [
        "photos/0.png"
    ]


def test_a_tilde_is_the_home_folder_only_where_a_path_begins_with_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for name, grey in (("home/in", 1), ("~/in", 2), ("~in", 3)):
        (tmp_path / name).mkdir(parents=True)
        Image.fromarray(np.full((4, 4), grey, np.uint8)).save(tmp_path / name / "1.png")
    for name, grey in (("~/in", 1), ("./~/in", 2), ("~in", 3)):
        assert ImageCollection.from_folder(name)[0][0, 0, 0] == grey


def test_what_is_said_of_a_table(folder, caplog):
    with caplog.at_level(logging.WARNING):
        from_csv(folder, 'path,label\n001,Cat\n002,cat\n003,"cat "\n004,café\n', "cp1252")
    assert (
        "not UTF-8" in caplog.text and "'Cat', 'cat', 'cat ' are taken for different" in caplog.text
    )


# ------------------------------------------------------------------ a CSV of labels in a folder


@pytest.fixture
def flat(tmp_path):
    """Six pictures in one folder, and what is known of them in a table."""
    (tmp_path / "in").mkdir()
    for i in range(6):
        Image.fromarray(PIXELS[i]).save(tmp_path / "in" / f"{i}.png")
    return tmp_path


@pytest.mark.parametrize("named", ["in/{}.png", "{}.png", "{}", "./in/{}.png", "in\\{}.png"])
@pytest.mark.parametrize("column", ["label", "class", "Species", "anything"])
def test_labels_of_a_csv_in_the_folder(flat, named, column, caplog):
    rows = [f"{named.format(i)},0{i % 2},{i}.5" for i in range(5)]
    (flat / "t.csv").write_text("\n".join([f"file,{column},weight", *rows, "gone.png,01,1"]))
    assert "label" not in ImageCollection.from_folder(flat).table
    assert "t.csv is not used" in caplog.text and "labels='t.csv'" in caplog.text
    for spec in ("t.csv", f"t.csv:{column}", flat / "t.csv"):
        images = ImageCollection.from_folder(flat, labels=spec)
        assert images.labels.tolist() == ["00", "01", "00", "01", "00", None]
        assert images.column("weight")[:5].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
        assert images.problems["name"].tolist() == ["gone.png"]
    caplog.clear()
    ImageCollection.from_folder(flat, labels=None)
    ImageCollection.from_folder(flat, labels="t.csv")
    assert not caplog.text


@pytest.mark.parametrize(
    ("text", "spec", "message"),
    [
        (
            "file,a,b\n0.png,x,y\n1.png,x,y\n2.png,z,w\n3.png,z,w\n",
            "t.csv",
            "labels in .'a', 'b'.; name the column, t.csv:COLUMN",
        ),
        ("file,label\n0.png,x\n0.png,y\n", "t.csv", "names in/0.png more than once"),
        ("file,label\nnone.png,x\n", "t.csv", "names none of the 6 images"),
        ("file,label\n0.png,x\n", "t.csv:species", "no column 'species'.*file, label"),
        ("file,label\n0.png,x\n", "other.csv", "no such file"),
    ],
)
def test_a_csv_of_labels_that_does_not_fit_is_refused(flat, text, spec, message):
    (flat / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        ImageCollection.from_folder(flat, labels=spec)


def test_the_real_tables_of_labels(caplog):
    root = os.environ.get("CBIRKIT_REALDATA")
    if not root or not os.path.isdir(root):
        pytest.skip("no real photographs: CBIRKIT_REALDATA is no folder")
    expected = {
        "a_category_clothing10": 10,
        "a_imagenet_superclass10": 10,
        "b_instance_ukbench250": 250,
        "c_crossdomain_pacs": 7,
    }
    for name, n_classes in expected.items():
        images = ImageCollection.from_folder(os.path.join(root, name), labels="labels.csv")
        assert f"label ({n_classes})" in repr(images) and not len(images.problems)
    told = repr(ImageCollection.from_folder(os.path.join(root, "a_cifar10_small")))
    assert "split (2)" in told and "label (10)" in told
