"""The parts that explorers are made of, driven by the messages that the page would send."""

import io

import numpy as np
import pytest
from explore_samples import HOSTILE, jpeg, painted, upload
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cbirkit.images import ImageCollection
from cbirkit.ranking import Relevance

explore = pytest.importorskip(
    "cbirkit.explore", reason="the widgets need cbirkit[lab]", exc_type=ImportError
)
from cbirkit.explore import widgets
from cbirkit.explore.picker import ImagePicker
from cbirkit.explore.queries import Judge, ThumbnailCache
from cbirkit.explore.widgets import MAX_BYTES, checked_box
from cbirkit.plots import Table, Tile


@pytest.fixture(scope="module")
def images():
    return painted()


# ---------------------------------------------------------------------- thumbnails


def test_thumbnails_are_made_once_and_the_oldest_forgotten(images):
    cache = ThumbnailCache(max_images=4)
    first = cache.get(images, images.ids[:2], 96)
    assert cache.get(images, images.ids[:2], 96)[0] is first[0]
    assert all(cache.get(images, images.ids[2:20], 96)) and cache._get.cache_info().currsize == 4
    again = cache.get(images, images.ids[:1], 96)[0]
    assert again == first[0] and again is not first[0]


def test_thumbnail_pixels_and_formats():
    pixels = np.random.default_rng(0).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    big = np.full((300, 200, 3), 200, np.uint8)
    collection = ImageCollection.from_arrays([pixels, big])
    small, large = (
        Image.open(io.BytesIO(b)) for b in ThumbnailCache().get(collection, ["0", "1"], 100)
    )
    assert small.format == "PNG" and np.array_equal(np.asarray(small), pixels)
    assert large.format == "JPEG" and large.size == (67, 100)


def test_a_broken_image_gives_no_bytes(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(jpeg()[:200])
    (tmp_path / "good.jpg").write_bytes(jpeg())
    collection = ImageCollection.from_folder(tmp_path)
    bad, good = ThumbnailCache().get(collection, ["bad.jpg", "good.jpg"], 32)
    assert bad == b"" and good


# ---------------------------------------------------------------------- grid and cropper


@pytest.mark.parametrize(
    "message",
    [None, 3, [], {}, {"event": "pick"}, {"event": "pick", "id": "z"}, {"event": "pick", "id": ["a"]}, {"event": "x", "id": "a"}],
)  # fmt: skip
def test_a_grid_ignores_messages_that_pick_nothing(message):
    grid = widgets.TileGrid()
    grid.show([Tile("a", b"")])
    picked = []
    grid.on("pick", picked.append)
    grid.receive(message)
    assert picked == []
    grid.receive({"event": "pick", "id": "a"})
    assert picked == ["a"]


@given(st.lists(st.integers(-50, 150), min_size=4, max_size=4))
def test_a_box_is_cut_to_the_picture(box):
    x, y, w, h = box
    inside = np.zeros((60, 80), bool)  # naive: which pixels does it cover?
    for row in range(60):
        for column in range(80) if y <= row < y + h else ():
            inside[row, column] = x <= column < x + w
    if not inside.any():
        with pytest.raises(ValueError, match="holds nothing of the picture"):
            checked_box(box, 80, 60)
        return
    left, top, width, height = checked_box(box, 80, 60)
    assert inside.sum() == width * height and inside[top : top + height, left : left + width].all()


@pytest.mark.parametrize(
    "box",
    [None, "1234", [1, 2, 3], [1, 2, 3, None], [1, 2, 3, "4"], [1, 2, 3, 4.5], [0, 0, True, 9], [0, 0, float("inf"), 1], [[1], 2, 3, 4]],
)  # fmt: skip
def test_a_box_that_is_none_is_refused(box):
    with pytest.raises(ValueError, match="four whole numbers"):
        checked_box(box, 80, 60)


def test_a_file_comes_together_from_its_parts():
    cropper, files = widgets.Cropper(), []
    cropper.on("file", lambda name, data: files.append((name, data)))
    upload(cropper, bytes(range(100)))
    upload(cropper, b"", name="empty.jpg")
    assert files == [("mine.jpg", bytes(range(100))), ("empty.jpg", b"")]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"part": 1}, "parts of a.jpg were lost"),
        ({"size": MAX_BYTES + 1}, "uploads end at 64 MiB"),
        ({"size": 4}, "arrived with 3 of its 4 bytes"),
        ({"size": "3"}, "not understood"),
        ({"parts": None}, "not understood"),
        ({"part": -1}, "not understood"),
    ],
)
def test_a_bad_upload_is_told(change, says):
    cropper, problems, files = widgets.Cropper(), [], []
    cropper.on("problem", problems.append)
    cropper.on("file", lambda *file: files.append(file))
    cropper.receive(
        {"event": "file", "name": "a.jpg", "size": 3, "part": 0, "parts": 1} | change, [b"abc"]
    )
    assert len(problems) == 1 and says in problems[0] and not files


# ---------------------------------------------------------------------- queries and judging


def test_the_size_in_the_head_is_that_of_the_upright_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "turned.jpg").write_bytes(jpeg(exif=exif))
    query = explore.Query("turned.jpg", ImageCollection.from_folder(tmp_path))
    assert query.size() == (40, 60) and query.picture().shape == (60, 40, 3)
    assert explore.Query("x", source=jpeg(exif=exif)).size() == (40, 60)


def test_a_region_is_that_part_of_the_picture(images):
    whole = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    query = explore.Query("mine", source=whole).cut((5, 2, 10, 100))
    assert np.array_equal(query.pixels(), whole[2:20, 5:15])
    assert query.cut(None).pixels().shape == whole.shape


def test_an_id_stands_for_its_own_collection_only(images):
    query = explore.Query("folder/3.jpg", images)
    assert query.for_retriever(images) == "folder/3.jpg"
    assert list(query.for_retriever(painted()).ids) == ["folder/3.jpg"]
    assert query.cut((0, 0, 4, 4)).for_retriever(images).shape == (4, 4, 3)


def test_verdicts_by_label_instance_and_relevance(images):
    judge = Judge()
    query = explore.Query("folder/1.jpg", images)
    ids = ["folder/2.jpg", "folder/15.jpg", "folder/1.jpg"]
    assert judge.verdicts(query, images, ids) == (["right", "wrong", "junk"], 9)
    pairs = images.with_columns(instance=np.arange(30) // 2)
    assert judge.verdicts(explore.Query("folder/1.jpg", pairs), pairs, ids) == (
        ["wrong", "wrong", "junk"],
        1,
    )
    assert Judge("label").verdicts(explore.Query("folder/1.jpg", pairs), pairs, ids)[0] == [
        "right",
        "wrong",
        "junk",
    ]
    sets = Relevance.from_sets(
        ["folder/1.jpg"], images.ids[::-1], [["folder/15.jpg"]], junk=[["folder/2.jpg"]]
    )
    assert Judge(relevance=sets).verdicts(query, images, ids) == (["junk", "right", "junk"], 1)
    other = explore.Query("folder/9.jpg", images)
    assert Judge(relevance=sets).verdicts(other, images, ids) == (["", "", ""], None)


def test_nothing_is_judged_where_nothing_is_known(images):
    bare = ImageCollection.from_arrays(list(images)[:3])
    partly = bare.with_columns(label=np.array(["a", None, "a"], dtype=object))
    assert Judge().verdicts(explore.Query("1", bare), bare, ["0", "2"]) == (["", ""], None)
    assert Judge().verdicts(explore.Query("1", partly), partly, ["0", "2"]) == (["", ""], None)
    assert Judge().verdicts(explore.Query("0", partly), partly, ["1", "2"]) == (
        ["wrong", "right"],
        1,
    )
    assert Judge().verdicts(explore.Query("up", source=jpeg()), partly, ["1"]) == ([""], None)
    assert Judge().caption(partly, "1") == "1" and Judge().caption(partly, "0") == "a"
    nameless = ImageCollection.from_arrays(
        [np.zeros((4, 4))] * 2, ids=["coffee_1/0", "cat/tom.jpg"]
    )
    assert [Judge().caption(nameless, i) for i in nameless.ids] == ["coffee_1/0", "tom.jpg"]


# ---------------------------------------------------------------------- picker


def test_pages_filter_and_shuffle(images):
    picker = ImagePicker(images, ThumbnailCache(), print, column="label", page_size=8)
    assert picker.grid.ids == list(images.ids[:8]) and picker.pager._of.value == "of 4"
    picker.pager._page.value = 4
    assert picker.grid.ids == list(images.ids[24:]) and picker.pager._next.disabled
    row = picker._filters
    row._value.value, row._name.value = 3, "25"
    assert picker.grid.ids == ["folder/25.jpg"]
    row._value.value, row._name.value = 0, "GROUP 1"
    assert picker.grid.ids == list(images.ids[10:18])
    row._name.value = "[no pattern("
    assert picker.grid.ids == [] and picker._where.value == "none"
    row._name.value = ""
    picker.shuffle()
    assert picker.grid.ids != list(images.ids[:8])


def test_the_label_menu_filters(images):
    picker = ImagePicker(images, ThumbnailCache(), print, column="label")
    menu = picker._filters._value
    names = [f"{HOSTILE} (10)", "group 1 (10)", "group 2 (10)"]
    assert [words for words, _ in menu.options] == ["any value", *names]
    menu.value = 2
    assert picker.grid.ids == list(images.ids[10:20])
    picker._filters._name.value = "15"
    assert picker.grid.ids == ["folder/15.jpg"]


def test_tables_and_rows_of_buttons_refuse_strange_messages():
    table, told = widgets.TextTable(), []
    table.on("pick", told.append)
    table.show(Table((), [("a", "1"), ("b", "0")], filters=[{"x": 1}, None]))
    for row in (1, True, None, "0", [0]):
        table.receive({"event": "pick", "row": row})
    table.receive("pick")
    table.receive({"event": "pick", "row": 0})
    table.show(Table((), [("a", "1")]))
    table.receive({"event": "pick", "row": 0})
    assert told == [0]
