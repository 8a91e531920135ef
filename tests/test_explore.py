"""`QueryExplorer`, driven by the messages that the page would send."""

import io
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from explore_samples import HOSTILE, MeanColour, jpeg, painted, upload
from PIL import Image
from text_samples import NamedColour, plain

from cbirkit import Retriever, encoders
from cbirkit.explore.object_view import OUTLINE
from cbirkit.images import ImageCollection, ImageProblem

explore = pytest.importorskip(
    "cbirkit.explore", reason="the widgets need cbirkit[lab]", exc_type=ImportError
)


@pytest.fixture(scope="module")
def images():
    return painted()


@pytest.fixture
def explorer(images):
    return explore.QueryExplorer(MeanColour().fit(images), k=6)


def status(explorer):
    return explorer._status.text, explorer._status.problem


def test_the_page_gets_pictures_as_bytes_and_text_as_it_stands(explorer):
    tile = explorer._grids[0].tiles[0]
    assert isinstance(tile["image"], bytes) and tile["image"][:3] in (b"\xff\xd8\xff", b"\x89PN")
    assert tile["caption"] == HOSTILE  # the page shows it through textContent: see test_browser
    assert "rank 1" in tile["alt"] and "distance" in tile["alt"] and tile["alt"].endswith("right")


def test_clicks_search_and_back_undoes_them(explorer):
    start = explorer.query
    shown = [list(explorer._grids[0].ids)]
    for _ in range(3):
        explorer._grids[0].receive({"event": "pick", "id": shown[-1][5]})
        assert explorer.query == shown[-1][5]
        shown.append(list(explorer._grids[0].ids))
    assert all(a != b for a, b in pairwise(shown)) and len(explorer.history) == 3
    for ids in shown[-2::-1]:
        explorer._back.click()
        assert explorer._grids[0].ids == ids
    assert explorer.query == start and explorer.history == [] and explorer._back.disabled


def test_what_is_shown_is_what_the_retriever_says(explorer, images):
    ranking = explorer.search("folder/17.jpg")
    expected = MeanColour().fit(images).search("folder/17.jpg", 6)
    assert list(ranking.ids[0]) == list(expected.ids[0]) == explorer._grids[0].ids
    tiles = explorer._grids[0].tiles
    assert [tile["rank"] for tile in tiles] == [1, 2, 3, 4, 5, 6]
    assert [tile["note"] for tile in tiles] == [f"{d:.3f}" for d in expected.distances[0]]
    marks = ["right" if 10 <= int(i[7:-4]) < 20 else "wrong" for i in expected.ids[0]]
    assert [tile["mark"] for tile in tiles] == marks
    assert explorer._picker.grid.selected == "folder/17.jpg" and explorer.ranking is ranking
    assert (
        f"{marks.count('right')} of 9 right ones found" in status(explorer)[0]
        and "ms" in status(explorer)[0]
    )
    assert explorer.timings["MeanColour"] > 0


def test_picking_from_the_page_and_the_same_again(explorer):
    explorer._picker.grid.receive({"event": "pick", "id": "folder/5.jpg"})
    explorer._picker.grid.receive({"event": "pick", "id": "folder/5.jpg"})
    assert explorer.query == "folder/5.jpg" and [q.name for q in explorer.history] == [
        "folder/0.jpg"
    ]


def test_a_region_and_the_whole_again(explorer):
    explorer._cropper.receive({"event": "crop", "box": [4, 4, 100, 8]})
    assert (
        explorer._cropper.view["box"] == [4, 4, 28, 8]
        and "region of 28 x 8 px at 4, 4" in status(explorer)[0]
    )
    assert explorer._grids[0].tiles[0]["mark"] == "junk"  # the picture that the region was cut from
    explorer._cropper.receive({"event": "whole"})
    assert explorer._cropper.view["box"] == [] and len(explorer.history) == 2
    explorer.back()
    assert explorer._cropper.view["box"] == [4, 4, 28, 8]


def test_an_empty_region_changes_nothing_but_the_status(explorer):
    before = explorer._grids[0].ids, explorer.query, list(explorer.history)
    explorer._cropper.receive({"event": "crop", "box": [9, 9, 0, 0]})
    text, problem = status(explorer)
    assert problem and text.startswith("the region 0 x 0 px") and "\n" not in text
    assert before == (explorer._grids[0].ids, explorer.query, list(explorer.history))
    explorer._cropper.receive({"event": "whole"})
    assert not status(explorer)[1]


def test_an_upload_is_searched_cropped_and_gone_back_to(explorer):
    upload(explorer._cropper, jpeg(np.full((40, 60, 3), (250, 80, 5), np.uint8)), name=HOSTILE)
    assert explorer.query == HOSTILE and explorer._grids[0].ids[0] in (
        "folder/29.jpg",
        "folder/28.jpg",
    )
    assert {tile["mark"] for tile in explorer._grids[0].tiles} == {
        ""
    } and explorer._picker.grid.selected == ""
    explorer._cropper.receive({"event": "crop", "box": [0, 0, 5, 5]})
    explorer.back()
    assert (
        explorer.query == HOSTILE
        and explorer._cropper.view["box"] == []
        and explorer._cropper.view["width"] == 60
    )


@pytest.mark.parametrize(
    "data", [b"", b"no image", jpeg()[:150]], ids=["empty", "text", "truncated"]
)
def test_a_broken_upload_is_one_sentence(explorer, data):
    before = explorer._grids[0].ids
    upload(explorer._cropper, data, name="holiday.jpg")
    text, problem = status(explorer)
    assert (
        problem
        and text.startswith("holiday.jpg: ")
        and explorer._grids[0].ids == before
        and not explorer.history
    )


def test_two_side_by_side(images):
    mirrored = ImageCollection.from_arrays(
        [255 - image for image in images], ids=images.ids, table=images.table
    )
    both = {"plain": MeanColour().fit(images), "negative": MeanColour().fit(mirrored)}
    explorer = explore.QueryExplorer(both, k=4)
    assert list(explorer.rankings) == ["plain", "negative"] == list(explorer.timings)
    assert explorer._grids[0].ids != explorer._grids[1].ids
    explorer._grids[1].receive({"event": "pick", "id": explorer._grids[1].ids[0]})
    assert explorer._query.images is mirrored
    explorer._right.value = None
    assert list(explorer.rankings) == ["plain"] and len(explorer._lists.children) == 1
    explorer._left.value, explorer._right.value = "negative", "plain"
    assert list(explorer.rankings) == ["negative", "plain"] and not status(explorer)[1]
    assert len(explorer.static().axes[0].images) == 1 + 4 + 4


def test_queries_of_their_own(images):
    queries, database = images[::3], images[np.arange(30) % 3 > 0]
    explorer = explore.QueryExplorer(
        MeanColour().fit(database), queries=queries, query="folder/27.jpg", k=5
    )
    assert explorer.query == "folder/27.jpg" and explorer.ranking.query_ids[0] == "folder/27.jpg"
    assert [t["mark"] for t in explorer._grids[0].tiles].count("right") == 5
    explorer._grids[0].receive({"event": "pick", "id": explorer._grids[0].ids[0]})
    assert explorer._query.images is database


def test_k_follows_the_slider_and_the_number_of_images(explorer):
    explorer._k.value = 3
    assert len(explorer._grids[0].ids) == 3 == explorer.ranking.k and not explorer.history
    explorer.k = 200
    assert len(explorer._grids[0].ids) == 29
    explorer._cropper.receive({"event": "crop", "box": [0, 0, 3, 3]})
    assert len(explorer._grids[0].ids) == 30
    with pytest.raises(ValueError, match=">= 1"):
        explorer.k = 0


def test_search_from_python(explorer, tmp_path):
    (tmp_path / "x.jpg").write_bytes(jpeg())
    for query in (
        tmp_path / "x.jpg",
        str(tmp_path / "x.jpg"),
        Image.open(tmp_path / "x.jpg"),
        jpeg(),
        np.zeros((9, 9, 3), np.uint8),
    ):
        assert explorer.search(query, box=(0, 0, 4, 4)).k == 6
    explorer.query = "folder/8.jpg"
    assert explorer.query == "folder/8.jpg" and len(explorer.history) == 6
    with pytest.raises(
        ValueError, match="no image has the id 'nowhere.jpg', and there is no such file"
    ):
        explorer.search("nowhere.jpg")
    with pytest.raises(ImageProblem, match="bytes: "):
        explorer.search(b"junk")
    with pytest.raises(ValueError, match="holds nothing"):
        explorer.search("folder/8.jpg", box=(99, 99, 4, 4))
    assert explorer.query == "folder/8.jpg" and len(explorer.history) == 6
    for _ in range(6):
        explorer.back()
    with pytest.raises(ValueError, match="no query to go back to"):
        explorer.back()


def test_a_defect_is_told_and_logged(explorer, caplog):
    explorer._retrievers["MeanColour"].slow = RuntimeError("out of order")
    explorer._picker.grid.receive({"event": "pick", "id": "folder/5.jpg"})
    assert status(explorer) == (
        "this failed with RuntimeError: out of order; the log has the details",
        True,
    )
    assert "Traceback" in caplog.text and explorer.query == "folder/0.jpg"


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: explore.QueryExplorer({}), ValueError, "empty dict"),
        (lambda: explore.QueryExplorer(3), TypeError, "expected a Retriever .* got int"),
        (lambda: explore.QueryExplorer(MeanColour()), ValueError, "'MeanColour' has no images; call fit"),
        (lambda: explore.QueryExplorer(MeanColour().fit(painted(3)), k=0), ValueError, "k must be .* got 0"),
        (lambda: explore.QueryExplorer(MeanColour().fit(painted(3)), by="x"), ValueError, "no column 'x'"),
        (lambda: explore.QueryExplorer(MeanColour().fit(painted(3)), relevance=1), TypeError, "relevance must be of type Relevance"),
        (lambda: explore.QueryExplorer(MeanColour().fit(painted(3)), queries=painted(3)[:0]), ValueError, "no images to pick"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(make, error, says):
    with pytest.raises(error, match=says):
        make()


def test_the_real_retriever(images, tmp_path):
    (tmp_path / "good.jpg").write_bytes(jpeg())
    (tmp_path / "bad.jpg").write_bytes(jpeg()[:200])
    queries = ImageCollection.from_folder(tmp_path)
    retriever = Retriever(encoders.MeanColor()).fit(images)
    explorer = explore.QueryExplorer(retriever, queries=queries, query="good.jpg", k=30)
    assert list(explorer.rankings) == ["MeanColor"] and len(explorer._grids[0].ids) == 30
    explorer.search("folder/3.jpg")
    assert len(explorer._grids[0].ids) == 29 and "folder/3.jpg" not in explorer._grids[0].ids
    explorer._cropper.receive({"event": "crop", "box": [1, 1, 5, 5]})
    assert (
        explorer._grids[0].ids[0] == "folder/3.jpg"
        and explorer._grids[0].tiles[0]["mark"] == "junk"
    )
    explorer._picker.grid.receive({"event": "pick", "id": "bad.jpg"})
    text, problem = status(explorer)
    assert problem and text.startswith("bad.jpg: ") and explorer.query == "folder/3.jpg"
    retriever.remove("folder/4.jpg")
    retriever.add(painted(40)[35:])
    explorer.search("folder/39.jpg")
    assert "folder/4.jpg" not in explorer._grids[0].ids and not status(explorer)[1]
    with pytest.raises(ValueError, match="'MeanColor' has no images; call fit"):
        explore.QueryExplorer(Retriever(encoders.MeanColor()))


def test_one_image_alone():
    explorer = explore.QueryExplorer(MeanColour().fit(painted(1)))
    assert explorer._grids[0].tiles == [] and "no other image" in status(explorer)[0]
    assert explorer.static().axes


def test_the_static_picture_is_the_same_view(explorer):
    figure = explorer.static()
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert len(figure.axes[0].images) == 7 and sum(text.startswith("1: ") for text in texts) == 1
    assert "rank 6: folder/6.jpg" in figure.axes[0].get_label()
    explorer.search("folder/0.jpg", box=(0, 0, 5, 5))
    framed = explorer.static().axes[0].images[0].get_array()
    assert (framed == OUTLINE).all(axis=2).any()  # the region
    buffers = [io.BytesIO(), io.BytesIO()]
    for buffer in buffers:
        explorer.search("folder/20.jpg")
        explorer.static().savefig(buffer, metadata={"Software": None})
    assert (
        buffers[0].getvalue() == buffers[1].getvalue()
    )  # no time taken in it: notebooks stay the same


def test_a_notebook_keeps_a_picture_beside_the_widget(explorer):
    bundle, metadata = explorer._repr_mimebundle_()
    assert {"application/vnd.jupyter.widget-view+json", "image/png", "text/plain"} <= set(bundle)
    assert bundle["image/png"].startswith("iVBORw0KGgo") and len(bundle["image/png"]) < 400_000
    assert "Query folder/0.jpg" in metadata["image/png"]["alt"]
    assert repr(explorer) == "QueryExplorer('MeanColour'; 30 queries, query 'folder/0.jpg', k=6)"


def test_scripts_and_styles_are_whole_in_themselves():
    """Any front end that runs anywidget can show them: nothing is loaded, neither by address nor by a module loader."""
    files = [
        file for kind in ("*.js", "*.css") for file in Path(explore.__file__).parent.glob(kind)
    ]
    assert len(files) > 10
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert "http" not in text.replace("http://www.w3.org/2000/svg", ""), file.name
        foreign = re.findall(
            r"@import|url\(|^import |import\(|require\(|define\(|innerHTML =|\bjQuery\b",
            text,
            re.MULTILINE,
        )
        assert foreign == [], file.name


def reads_of_a_click(n):
    """How many pictures of a collection of n are read to answer a click on one of them."""
    read = []

    def picture(row):
        read.append(row)
        return np.full((24, 32, 3), row % 250, np.uint8)

    retriever = MeanColour()
    table = pd.DataFrame(index=[f"image {i}" for i in range(n)])
    retriever.images = ImageCollection.from_function(picture, table, key="counted", name="many")
    retriever.means = np.random.default_rng(0).random((n, 3)) * 255
    explorer = explore.QueryExplorer(retriever)
    grid = explorer._grids[0]
    read.clear()
    grid.receive({"event": "pick", "id": grid.ids[7]})
    return len(read)


def test_an_answer_reads_as_many_pictures_among_10_000_as_among_100():
    assert 5 <= reads_of_a_click(10_000) <= reads_of_a_click(100) + 2 < 100


# ---------------------------------------------------------------------- words


@pytest.fixture
def by_words():
    ids = ["red one", "green one", "blue one"]
    images = ImageCollection.from_arrays(plain(*(250 * np.eye(3, dtype=int))), ids=ids)
    return explore.QueryExplorer(Retriever(NamedColour(), progress=False).fit(images), k=2)


def test_words_are_searched_for_and_stand_on_a_picture(by_words):
    by_words._words.value = "something green"
    assert by_words.query == "something green" and by_words._grids[0].ids[0] == "green one"
    assert "Nearest to something green" in status(by_words)[0]
    assert by_words._cropper.view["name"] == "something green" and by_words._cropper.view["image"]
    assert by_words.static().axes[0].get_label()
    by_words.back()
    assert by_words.query == "red one"
    by_words.search("blue things")
    assert by_words._grids[0].ids[0] == "blue one"


def test_what_words_cannot_do_is_told(by_words, explorer):
    by_words._words.value = "blue"
    by_words._cropper.receive({"event": "crop", "box": [0, 0, 9, 9]})
    assert status(by_words) == ("words have no region; pick a picture first", True)
    by_words._words.value = "no_such.jpg"
    assert "looks like the name of a file" in status(by_words)[0] and by_words.query == "blue"
    by_words._words.value = " "
    assert by_words.query == "blue"
    deaf = explore.QueryExplorer(Retriever(encoders.MeanColor()).fit(by_words.queries))
    deaf._words.value = "blue"
    assert "knows images only" in status(deaf)[0] and deaf.query == "red one"
    with pytest.raises(ValueError, match="no such file"):
        by_words.search("no_such.jpg")
