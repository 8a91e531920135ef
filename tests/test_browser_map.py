"""The embedding map in a real JupyterLab and a real Chromium: hover, click, lasso, keys, and the explorer beside it."""

import pytest
from browser import ROOT, running

SETUP = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
import numpy as np
from ipywidgets import VBox
from explore_samples import painted
from cbirkit import Retriever, encoders, explore
images = painted(60, size=(120, 160))
retriever = Retriever(encoders.MeanColor()).fit(images)
embeddings = retriever.encoder.transform(images)
positions = np.stack([np.arange(60) % 10, np.arange(60) // 10], axis=1)
seen = explore.EmbeddingMap(images, embeddings, method=positions, metric="euclidean", k=4)
seen
"""
LINKED = """
explorer = explore.QueryExplorer(retriever, k=5)
linked = explore.EmbeddingMap(images, embeddings, method=positions).link(explorer)
VBox([linked, explorer])
"""
# Where point i is drawn, in pixels of the window: 10 x 6 points, the whole map in view, y upward.
PLACE = """(node, i) => {
  const box = node.getBoundingClientRect();
  const home = Math.min(box.width / 2 - 24, (box.height / 2 - 24) / (2.5 / 4.5));
  return [box.x + box.width / 2 + ((i % 10 - 4.5) / 4.5) * home,
    box.y + box.height / 2 - ((Math.floor(i / 10) - 2.5) / 4.5) * home];
}"""


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    cells, ready = [SETUP, LINKED], [".cbk-map-frame[data-drawn]"]
    with running(tmp_path_factory.mktemp("notebooks"), cells, ready=ready, height=1300) as notebook:
        yield notebook


@pytest.fixture
def notebook(opened):
    """The open notebook, its first map whole and in view; whatever a test does, nothing may break or complain."""
    opened.page.mouse.move(2, 2)
    press(opened, 0, "Whole map")
    press(opened, 0, "Lasso")
    yield opened
    assert opened.errors() == [] and opened.dialogs == [] and opened.complaints() == []


def the_map(notebook, which):
    """One of the two explorers of the notebook that are maps, without what is linked to it."""
    return notebook.page.locator(".cbk-explorer:has(> .cbk-map)").nth(which)


def press(notebook, which, text):
    the_map(notebook, which).get_by_role("button", name=text, exact=True).click()
    notebook.page.wait_for_timeout(60)


def place(notebook, i, which=0):
    top = the_map(notebook, which).locator(".cbk-map-top")
    top.scroll_into_view_if_needed()
    return top.evaluate(PLACE, i)


def shown(notebook, which=0, grid=0):
    tiles = the_map(notebook, which).locator(".cbk-lists .cbk-grid").nth(grid).locator(".cbk-tile")
    return tiles.evaluate_all("tiles => tiles.map(tile => tile.dataset.id)")


def status(notebook, which=0):
    return the_map(notebook, which).locator("> .cbk-status").inner_text()


def drag(notebook, stops):
    notebook.page.mouse.move(*stops[0])
    notebook.page.mouse.down()
    for stop in stops[1:]:
        notebook.page.mouse.move(*stop, steps=5)
    notebook.page.mouse.up()


def around(notebook, left, right, low, high):
    """Corners of a rectangle around the points of some columns and rows."""
    (x0, y0), (x1, y1) = place(notebook, 10 * low + left), place(notebook, 10 * high + right)
    return [(x0 - 12, y0 + 12), (x1 + 12, y0 + 12), (x1 + 12, y1 - 12), (x0 - 12, y1 - 12)]


def test_resting_on_a_point_shows_its_image(notebook):
    tip = the_map(notebook, 0).locator(".cbk-map-tip")
    assert tip.is_hidden()
    notebook.page.mouse.move(*place(notebook, 23))
    notebook.until(tip.is_visible, "nothing appeared beside the point")
    assert tip.inner_text().startswith("folder/23.jpg\ngroup 2")
    pixels = """async image => {
      await image.decode();
      const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
      canvas.getContext("2d").drawImage(image, 0, 0, 1, 1);
      return [...canvas.getContext("2d").getImageData(0, 0, 1, 1).data];
    }"""
    red, green, blue, _ = tip.locator("img").evaluate(pixels)
    assert (
        abs(red - 99) < 6 and abs(green - 80) < 6 and abs(blue - 156) < 6
    )  # the image of that point, no other
    notebook.page.mouse.move(*place(notebook, 5))  # its label is hostile text
    notebook.until(
        lambda: "<img src=x" in tip.inner_text(), "the text of the other point did not appear"
    )
    assert notebook.page.locator("img[src=x]").count() == 0
    notebook.page.mouse.move(2, 2)
    notebook.until(tip.is_hidden, "the picture stayed")


def test_a_click_joins_a_point_to_its_neighbours(notebook):
    notebook.page.mouse.click(*place(notebook, 35))
    notebook.until(
        lambda: "Nearest to folder/35.jpg" in status(notebook), "a click asked for nothing"
    )
    assert sorted(shown(notebook)) == [f"folder/{i}.jpg" for i in (33, 34, 36, 37)]
    the_map(notebook, 0).locator(".cbk-lists .cbk-tile").first.click()  # on along the path
    notebook.until(
        lambda: "Nearest to folder/35.jpg" not in status(notebook),
        "a click on a neighbour did nothing",
    )


def test_lasso_box_and_legend_select(notebook):
    stops = around(notebook, 2, 4, 1, 3)
    drag(notebook, [*stops, stops[0]])
    notebook.until(
        lambda: status(notebook).startswith("9 images selected"), "the lasso selected nothing"
    )
    chosen = [f"folder/{10 * row + column}.jpg" for row in (1, 2, 3) for column in (2, 3, 4)]
    assert shown(notebook, grid=-1) == chosen
    press(notebook, 0, "Box")
    corners = around(notebook, 0, 1, 0, 0)
    notebook.page.keyboard.down("Shift")  # adds
    drag(notebook, [corners[0], corners[2]])
    notebook.page.keyboard.up("Shift")
    notebook.until(
        lambda: status(notebook).startswith("11 images selected"), "the box added nothing"
    )
    the_map(notebook, 0).locator(".cbk-map-group").nth(2).click()
    notebook.until(
        lambda: status(notebook).startswith("10 images selected"), "the legend selected nothing"
    )
    press(notebook, 0, "Clear")
    notebook.until(lambda: status(notebook).startswith("0 images selected"), "the selection stayed")


def test_it_moves_and_zooms(notebook):
    top = the_map(notebook, 0).locator(".cbk-map-top")
    press(notebook, 0, "Move")
    x, y = place(notebook, 35)
    drag(notebook, [(x, y), (x + 150, y + 20)])
    press(notebook, 0, "Lasso")
    notebook.page.mouse.click(x + 150, y + 20)
    notebook.until(
        lambda: "Nearest to folder/35.jpg" in status(notebook),
        "the point is not where it was moved to",
    )
    top.focus()
    notebook.page.keyboard.press("0")
    x, y = place(notebook, 21)
    notebook.page.mouse.move(x, y)
    for _ in range(5):
        notebook.page.mouse.wheel(0, -100)
    notebook.page.wait_for_timeout(250)
    notebook.page.mouse.click(x, y)  # what is under the mouse stays there
    notebook.until(
        lambda: "Nearest to folder/21.jpg" in status(notebook), "the wheel lost the point"
    )
    press(notebook, 0, "Select what is shown")
    notebook.until(lambda: "images selected" in status(notebook), "nothing was selected")
    assert 0 < int(status(notebook).split()[0]) < 60


def test_the_keyboard_reaches_every_point(notebook):
    the_map(notebook, 0).locator(".cbk-map-top").focus()
    notebook.page.keyboard.press("Escape")
    said = the_map(notebook, 0).locator(".cbk-map-said")
    notebook.page.keyboard.press("ArrowRight")  # from nowhere to the point in the middle
    notebook.until(lambda: said.text_content().startswith("folder/"), "the point was not told")
    first = said.text_content()
    notebook.page.keyboard.press("ArrowRight")
    notebook.until(lambda: said.text_content() != first, "the arrow went nowhere")
    here = said.text_content().split()[0]
    notebook.page.keyboard.press("Enter")
    notebook.until(lambda: f"Nearest to {here}" in status(notebook), "Enter picked nothing")
    notebook.page.keyboard.press("Space")
    notebook.until(
        lambda: status(notebook).startswith("1 images selected"), "Space selected nothing"
    )
    assert shown(notebook, grid=-1) == [here]
    assert notebook.unnamed(".cbk-explorer") == []


def test_colours_change_with_the_menu(notebook):
    menu = the_map(notebook, 0).locator("select").first
    menu.select_option("error")
    notebook.until(lambda: "Coloured by error" in status(notebook), "the colours stayed")
    legend = the_map(notebook, 0).locator(".cbk-map-group").all_inner_texts()
    assert [text.split(" (")[0].strip() for text in legend] == [
        "nearest is right",
        "nearest is wrong",
    ]
    menu.select_option("label")
    notebook.until(
        lambda: the_map(notebook, 0).locator(".cbk-map-group").count() == 6, "the colours stayed"
    )


def test_the_explorer_follows_the_map_and_the_map_the_explorer(notebook):
    explorer = notebook.page.locator(".cbk-explorer:has(> .cbk-picker)")
    notebook.page.mouse.click(*place(notebook, 44, 1))
    ids = "tiles => tiles.map(tile => tile.dataset.id)"
    near = explorer.locator(".cbk-lists .cbk-tile")
    notebook.until(
        lambda: "folder/44.jpg" in explorer.locator("> .cbk-status").inner_text(),
        "the explorer did not follow",
    )
    assert len(near.evaluate_all(ids)) == 5 and "folder/44.jpg" not in near.evaluate_all(ids)
    assert "The explorer asks for folder/44.jpg; 5 of its 5 results are marked." in status(
        notebook, 1
    )
    result = near.evaluate_all(ids)[3]
    near.nth(3).click()
    notebook.until(
        lambda: f"The explorer asks for {result}" in status(notebook, 1), "the map did not follow"
    )


@pytest.mark.parametrize("width", [800, 1600])
def test_it_fits_the_window(notebook, width):
    notebook.page.set_viewport_size({"width": width, "height": 1300})
    notebook.fits(".cbk-explorer:has(> .cbk-map)")
    notebook.page.mouse.move(*place(notebook, 59))
    notebook.until(
        the_map(notebook, 0).locator(".cbk-map-tip").is_visible,
        "no picture after the window changed",
    )


def test_near_by_pictures_stand_for_points(notebook):
    covered = """node => {
      const { data } = node.getContext("2d").getImageData(0, 0, node.width, node.height);
      return data.filter((value, i) => i % 4 === 3 && value > 200).length;
    }"""
    glass = the_map(notebook, 0).locator(".cbk-map-top")
    marks = glass.evaluate(covered)  # of the query that an earlier test left
    for _ in range(4):
        press(notebook, 0, "+")
    notebook.until(lambda: glass.evaluate(covered) > marks + 5000, "there are only points")
    press(notebook, 0, "Whole map")
    notebook.until(lambda: glass.evaluate(covered) < marks + 500, "the pictures stayed")
