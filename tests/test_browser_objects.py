"""The Object Explorer in a real JupyterLab and a real Chromium: clicks and drags change the results, and nothing complains."""

import pytest
from browser import ROOT, running

CELL = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from test_object_explorer import fitted, things
from cbirkit import explore
lab = explore.ObjectExplorer(fitted(things()), k=4)
lab
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    ready = [".cbk-lists .cbk-tile img[src^=blob]", ".cbk-frame img[src^=blob]"]
    with running(tmp_path_factory.mktemp("notebooks"), [CELL], ready=ready) as page:
        yield page


def status(notebook):
    return notebook.page.locator(".cbk-status").inner_text()


def frame(notebook):
    picture = notebook.page.locator(".cbk-frame img")
    picture.scroll_into_view_if_needed()
    return picture.bounding_box()


def at(notebook, x, y):
    """Where pixel (x, y) of the picture of 64 pixels a side lies on the page."""
    area = frame(notebook)
    return area["x"] + (x + 0.5) / 64 * area["width"], area["y"] + (y + 0.5) / 64 * area["height"]


def test_a_click_marks_the_thing_under_it(notebook):
    assert "the whole picture of p/0.png" in status(notebook)
    notebook.page.mouse.click(*at(notebook, 16, 18))
    notebook.until(lambda: "a region of" in status(notebook), "the click found nothing")
    assert notebook.page.locator(".cbk-rubber").is_visible()
    assert notebook.page.locator(".cbk-lists .cbk-tile").count() == 4
    alt = notebook.page.locator(".cbk-lists .cbk-tile img").first.get_attribute("alt")
    assert "region" in alt and "px at" in alt


def test_a_drag_asks_with_a_box(notebook):
    notebook.page.mouse.move(*at(notebook, 30, 26))
    notebook.page.mouse.down()
    notebook.page.mouse.move(*at(notebook, 45, 40), steps=4)
    notebook.page.mouse.move(*at(notebook, 60, 54), steps=4)
    notebook.page.mouse.up()
    notebook.until(
        lambda: "at 30, 26" in status(notebook) or "at 31, 27" in status(notebook),
        "no box was asked with",
    )


def test_another_query_and_the_way_back_to_the_whole(notebook):
    notebook.page.locator(".cbk-picker .cbk-tile").nth(2).click()
    notebook.until(lambda: "the whole picture of p/2.png" in status(notebook), "no other query")
    notebook.page.mouse.click(*at(notebook, 50, 10))
    notebook.until(
        lambda: "no region was found" in status(notebook), "a click beside all things was not told"
    )


def test_controls_have_names(notebook):
    assert notebook.unnamed(".cbk-explorer") == []


@pytest.mark.parametrize("width", [800, 1600])
def test_it_fits_the_window(notebook, width):
    notebook.page.set_viewport_size({"width": width, "height": 1200})
    notebook.fits(".cbk-explorer")
