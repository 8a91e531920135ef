"""`ObjectExplorer` without a browser: what it shows, what its controls do, what it refuses."""

import io

import numpy as np
import pandas as pd
import pytest
from explore_samples import HOSTILE, painted
from PIL import Image

from cbirkit import Retriever, encoders
from cbirkit.explore import ObjectExplorer
from cbirkit.explore.object_view import AROUND, OUTLINE, outlined, region_at
from cbirkit.explore.widgets import Cropper
from cbirkit.images import ImageCollection
from cbirkit.objects import Felzenszwalb, Region, RegionQuery, RegionRetriever

COLOURS = {"red": (220, 30, 30), "blue": (30, 40, 220), HOSTILE: (20, 160, 60)}
PLACES = [(6, 8), (34, 30), (8, 36)]


def things(n=6):
    """Two discs of different colours in each picture; what they hold stands in the table."""
    names, made = list(COLOURS), []
    y, x = np.mgrid[:64, :64]
    for i in range(n):
        image = np.random.default_rng(i).integers(180, 196, (64, 64, 3)).astype(np.uint8)
        held = [names[i % 3], names[(i + 1) % 3]]
        for name, (left, top) in zip(held, (PLACES[i % 3], PLACES[(i + 1) % 3]), strict=True):
            image[(x - left - 10) ** 2 + (y - top - 10) ** 2 < 90] = COLOURS[name]
        made.append((image, held))
    table = pd.DataFrame(
        {"classes": [held for _, held in made]}, index=[f"p/{i}.png" for i in range(n)]
    )
    return ImageCollection.from_function(lambda row: made[row][0], table, key="discs", name="discs")


def fitted(images):
    deep = encoders.Deep("conv5", weights=None, size=64, device="cpu")
    return RegionRetriever(deep, Felzenszwalb(max_regions=6), progress=False).fit(images)


@pytest.fixture(scope="module")
def retriever():
    return fitted(things())


@pytest.fixture
def explorer(retriever):
    return ObjectExplorer(retriever, k=4)


def test_what_is_shown_is_what_the_retriever_finds(explorer, retriever):
    assert explorer.query == "p/0.png" and explorer.region.area == 64 * 64
    found = explorer.search(region=(6, 8, 26, 28))
    wanted = retriever.search(RegionQuery("p/0.png", (6, 8, 26, 28)), k=4)
    assert found.ranking.ids.tolist() == wanted.ranking.ids.tolist()
    assert (
        explorer._grid.ids == wanted.ranking.ids[0].tolist() and "p/0.png" not in explorer._grid.ids
    )
    x0, y0, x1, y1 = wanted.region().box
    assert f"region {x1 - x0} x {y1 - y0} px at {x0}, {y0}" in explorer._tiles[0].alt


def test_a_click_takes_the_smallest_region_there(explorer, retriever):
    explorer._cropper.receive({"event": "crop", "box": [16, 18, 0, 0]})
    assert not explorer._status.problem
    assert explorer.region is region_at(retriever.regions_[0][:-1], 16, 18)
    assert 150 < explorer.region.area < 400 and explorer._cropper.view["box"] == [
        explorer.region.box[0], explorer.region.box[1],
        explorer.region.box[2] - explorer.region.box[0], explorer.region.box[3] - explorer.region.box[1],
    ]  # fmt: skip
    with pytest.raises(ValueError, match="drag a box"):
        explorer.click(63, 0)


def test_a_click_on_a_picture_of_ones_own_cuts_it(explorer):
    explorer.search(things()[1])
    explorer.click(44, 40)
    assert explorer.query == "array" and explorer.region.area < 400


def test_a_drag_asks_with_the_box_or_with_what_is_in_it(explorer):
    explorer._cropper.receive({"event": "crop", "box": [2, 4, 30, 30]})
    assert explorer.region.box == (2, 4, 32, 34) and explorer.region.area == 900
    explorer._cut.value = True
    explorer._cropper.receive({"event": "crop", "box": [2, 4, 30, 30]})
    assert 150 < explorer.region.area < 400
    explorer._cropper.receive({"event": "whole"})
    assert explorer.region.area == 64 * 64 and explorer._cropper.view["box"] == []


def test_only_what_holds_something_is_shown(explorer, retriever):
    options = dict(explorer._holds.options)
    assert set(options) == {"anything", *COLOURS}
    explorer._holds.value = "blue"
    held = dict(zip(retriever.ids, retriever.images.column("classes"), strict=True))
    assert explorer._grid.ids and all("blue" in held[name] for name in explorer._grid.ids)
    explorer._k.value = 1
    assert len(explorer._grid.ids) == 1


def test_results_and_thumbnails_become_queries_and_files_are_read(explorer):
    explorer._grid.receive({"event": "pick", "id": explorer._grid.ids[1]})
    chosen = explorer.query
    assert chosen != "p/0.png"
    explorer._picker.grid.receive({"event": "pick", "id": "p/3.png"})
    assert explorer.query == "p/3.png" and explorer._picker.grid.selected == "p/3.png"
    buffer = io.BytesIO()
    Image.fromarray(things()[2][..., 0]).save(buffer, format="PNG")  # grey
    data = buffer.getvalue()
    explorer._cropper.receive(
        {"event": "file", "name": "mine.png", "size": len(data), "part": 0, "parts": 1}, [data]
    )
    assert explorer.query == "mine.png" and not explorer._status.problem


def test_what_is_refused_is_told_and_changes_nothing(explorer):
    explorer.search(region=(6, 8, 26, 28))
    before = explorer.query, explorer.region, explorer.found
    for region, words in (
        ((70, 0, 90, 10), "outside the image"), (np.zeros((64, 64), bool), "empty"), (np.ones((5, 5), bool), "5 x 5"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            explorer.search(region=region)
        assert (explorer.query, explorer.region, explorer.found) == before
    explorer._cropper.receive({"event": "crop", "box": [200, 200, 5, 5]})
    assert explorer._status.problem and explorer.found is before[2]
    explorer._cropper.receive({"event": "crop", "box": [63, 0, 0, 0]})
    assert explorer._status.problem and "no region was found" in explorer._status.text
    data = b"no image"
    explorer._cropper.receive(
        {"event": "file", "name": "x.png", "size": len(data), "part": 0, "parts": 1}, [data]
    )
    assert explorer._status.problem and explorer.found is before[2]


def test_bad_arguments_are_refused(retriever):
    with pytest.raises(TypeError, match="RegionRetriever"):
        ObjectExplorer(Retriever(encoders.ColorHistogram(), progress=False).fit(painted(5)))
    with pytest.raises(TypeError, match="RegionRetriever"):
        ObjectExplorer(None)
    with pytest.raises(ValueError, match="no images"):
        ObjectExplorer(retriever, queries=things()[[]])
    with pytest.raises(ValueError, match="k must"):
        ObjectExplorer(retriever, k=0)
    with pytest.raises(ValueError, match="nobody"):
        ObjectExplorer(retriever, query="nobody")


def test_a_retriever_without_images_is_refused(tmp_path, retriever):
    with pytest.raises(ValueError, match="has no images"):
        ObjectExplorer(RegionRetriever.load(retriever.save(tmp_path / "r")))


def test_outlines_follow_the_region():
    mask = np.zeros((200, 200), bool)
    mask[50:120, 60:150] = True
    picture = outlined(np.full((200, 200, 3), 90, np.uint8), [Region.from_mask(mask)], size=200)
    assert (picture[50, 100] == OUTLINE).all() and (picture[51, 100] == OUTLINE).all()
    assert (picture[49, 100] == AROUND).all() and (picture[52, 100] == AROUND).all()
    assert (picture[80, 100] == 90).all() and (picture[30, 30] == 90).all()
    whole = outlined(
        np.full((200, 200, 3), 90, np.uint8),
        [Region.from_box((0, 0, 200, 200), (200, 200))],
        size=200,
    )
    assert (whole[0, 100] == OUTLINE).all() and (whole[100, 100] == 90).all()
    dot = outlined(
        np.full((500, 500, 3), 90, np.uint8), [Region.from_box((7, 7, 8, 8), (500, 500))], size=100
    )
    assert (dot == OUTLINE).all(axis=2).any()


def test_a_cropper_without_ears_for_points_refuses_a_click():
    told = []
    cropper = Cropper()
    cropper.show(b"", 64, 64)
    cropper.on("problem", told.append)
    cropper.receive({"event": "crop", "box": [5, 5, 0, 0]})
    assert len(told) == 1 and "holds nothing" in told[0]


def test_static_picture_and_what_a_reader_without_kernel_gets(explorer):
    explorer.search(region=(6, 8, 26, 28))
    figure = explorer.static()
    told = figure.axes[0].get_label()
    assert "Query p/0.png" in told and "rank 1: p/" in told and "region" in told
    data, metadata = explorer._repr_mimebundle_()
    assert data["image/png"] and metadata["image/png"]["alt"] == told
