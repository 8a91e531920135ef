"""`LayoutExplorer` in a real JupyterLab and a real Chromium: used with the mouse and with keys alone."""

import pytest
from browser import ROOT, running

CELL = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
import numpy as np
from cbirkit import ImageCollection, explore
box = lambda name, x, y: {{"category": name, "box": [x - 4, y - 4, x + 4, y + 4]}}
objects = [[box("mug", 12, 20), box("book", 52, 20)], [box("book", 12, 20), box("mug", 52, 20)], [box("mug", 32, 36)], []]
pixels = np.random.default_rng(0).integers(0, 256, (4, 40, 64, 3)).astype(np.uint8)
layout = explore.LayoutExplorer(ImageCollection.from_arrays(pixels, ids=["left", "right", "low", "none"]), objects, k=4)
layout
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    with running(tmp_path_factory.mktemp("notebooks"), [CELL], ready=[".cbk-labels"]) as page:
        yield page


def status(notebook):
    return notebook.page.locator(".cbk-status").inner_text()


def found(notebook):
    return notebook.page.locator(".cbk-tile").evaluate_all(
        "all => all.map((one) => one.dataset.id)"
    )


def labels(notebook):
    return notebook.page.locator(".cbk-labels button")


def button(notebook, name):
    return notebook.page.locator(".cbk-pad").get_by_role("button", name=name, exact=True)


def corner(notebook, x, y):
    """A place on the canvas, in pixels of the page."""
    area = notebook.page.locator(".cbk-labels")
    area.scroll_into_view_if_needed()
    at = area.bounding_box()
    return at["x"] + x * at["width"], at["y"] + y * at["height"]


def until(notebook, words, what):
    notebook.until(lambda: words in status(notebook), what)


def test_the_mouse_places_moves_and_clears(notebook):
    page, mouse = notebook.page, notebook.page.mouse
    assert "Choose a name" in status(notebook) and found(notebook) == []
    page.locator(".cbk-pad select").select_option("mug")
    mouse.click(*corner(notebook, 0.19, 0.5))
    until(notebook, "mug: best left", "a click found nothing")
    page.locator(".cbk-pad select").select_option("book")
    mouse.click(*corner(notebook, 0.81, 0.5))
    until(notebook, "mug, book: best left with 2.00 of 2", "a second click changed nothing")
    assert found(notebook)[0] == "left" and labels(notebook).count() == 2
    for start, end in ((0.19, 0.81), (0.81, 0.19)):  # the first of two at a place lies below
        mouse.move(*corner(notebook, start, 0.5))
        mouse.down()
        mouse.move(*corner(notebook, end, 0.3), steps=5)
        mouse.move(*corner(notebook, end, 0.45 if end > 0.5 else 0.5), steps=5)
        mouse.up()
    until(notebook, "best right", "dragging changed nothing")
    assert labels(notebook).count() == 2  # a drag places no other
    button(notebook, "Clear").click()
    notebook.until(lambda: found(notebook) == [], "Clear left results")
    assert labels(notebook).count() == 0 and button(notebook, "Clear").is_disabled()


def test_keys_alone_place_move_and_remove(notebook):
    page, keys = notebook.page, notebook.page.keyboard
    select = page.locator(".cbk-pad select")
    select.focus()
    keys.press("End")
    assert select.input_value() == "mug"
    keys.press("Tab")
    keys.press("Enter")
    until(notebook, "mug: best", "Place found nothing")
    assert page.evaluate("document.activeElement.textContent") == "mug"
    before = labels(notebook).first.get_attribute("aria-label")
    assert before == "mug, 50 % from the left, 50 % from the top"
    for _ in range(3):
        keys.press("Shift+ArrowRight")
    until(notebook, "best right", "arrow keys changed nothing")
    keys.press("ArrowLeft")
    notebook.until(
        lambda: labels(notebook).first.get_attribute("aria-label").startswith("mug, 78 %"),
        "an arrow key moved nothing",
    )
    assert page.evaluate("document.activeElement.textContent") == "mug"
    for _ in range(4):
        keys.press("Shift+ArrowDown")
    for _ in range(3):
        keys.press("Shift+ArrowLeft")
    until(notebook, "best low", "arrow keys changed nothing")
    assert labels(notebook).count() == 1
    keys.press("Delete")
    notebook.until(lambda: found(notebook) == [], "Delete left results")
    assert labels(notebook).count() == 0 and "Choose a name" in status(notebook)
    assert page.evaluate("document.activeElement.tagName") == "SELECT"
    assert notebook.unnamed(".cbk-explorer") == []


def test_the_switch_shifts_the_layout(notebook):
    notebook.page.locator(".cbk-pad select").select_option("mug")
    notebook.page.mouse.click(*corner(notebook, 0.4, 0.05))
    until(notebook, "mug: best", "a click found nothing")
    notebook.page.locator(".cbk-controls input").check()
    until(notebook, "with 1.00 of 1", "the switch changed nothing")
    notebook.page.locator(".cbk-controls input").uncheck()
    notebook.until(lambda: "with 1.00" not in status(notebook), "the switch changed nothing")


@pytest.mark.parametrize("width", [800, 1600])
def test_it_fits_the_window(notebook, width):
    notebook.page.set_viewport_size({"width": width, "height": 1200})
    notebook.fits(".cbk-explorer")
    box = notebook.page.locator(".cbk-labels").bounding_box()
    assert abs(box["width"] / box["height"] - 64 / 40) < 0.05
