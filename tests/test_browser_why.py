"""`WhyExplorer` in a real JupyterLab and a real Chromium: two tiles are clicked, maps come, and nothing complains."""

import pytest
from browser import ROOT, running

CELL = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from test_attack_lab import patterned
from cbirkit import Retriever, encoders, explore
deep = encoders.Deep("conv5", weights=None, size=24, resize="squash", device="cpu")
why = explore.WhyExplorer(Retriever(deep, progress=False).fit(patterned()), k=4)
why
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    ready = [".cbk-lists .cbk-tile img[src^=blob]"]
    with running(tmp_path_factory.mktemp("notebooks"), [CELL], ready=ready) as page:
        yield page


def grid(notebook, number):
    """Tiles of the maps, or of the neighbours."""
    return notebook.page.locator(".cbk-lists .cbk-grid").nth(number).locator(".cbk-tile")


def status(notebook):
    return notebook.page.locator(".cbk-status").inner_text()


def test_a_clicked_neighbour_and_a_clicked_query_are_explained(notebook):
    assert grid(notebook, 0).count() == 7 and grid(notebook, 1).count() == 4
    notes = grid(notebook, 0).locator(".cbk-note").all_inner_texts()
    assert notes[:2] == ["query", "image"] and all("loses" in note for note in notes[2:])
    chosen, before = grid(notebook, 1).last.get_attribute("data-id"), status(notebook)
    grid(notebook, 1).last.click()
    notebook.until(lambda: status(notebook) != before, "a clicked neighbour was not explained")
    assert chosen in status(notebook)
    assert grid(notebook, 0).nth(1).get_attribute("data-id") == chosen
    query = notebook.page.locator(".cbk-picker .cbk-tile").nth(5)
    name = query.get_attribute("data-id")
    query.click()
    notebook.until(lambda: status(notebook).startswith(name), "a clicked query was not explained")
    assert grid(notebook, 0).first.get_attribute("data-id") == name


def test_the_keyboard_and_the_menu_do_what_the_mouse_does(notebook):
    page, before = notebook.page, status(notebook)
    grid(notebook, 1).first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    notebook.until(lambda: status(notebook) != before, "Enter explained nothing")
    before = status(notebook)
    page.locator(".cbk-controls select").select_option("grey")
    notebook.until(lambda: status(notebook) != before, "another fill changed nothing")
    assert notebook.unnamed(".cbk-explorer") == []


@pytest.mark.parametrize("width", [800, 1600])
def test_it_fits_the_window(notebook, width):
    notebook.page.set_viewport_size({"width": width, "height": 1200})
    notebook.fits(".cbk-explorer")
