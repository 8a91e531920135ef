"""The Attack Lab in a real JupyterLab and a real Chromium: clicks and sliders change the lists, and nothing complains."""

import pytest
from browser import ROOT, running

CELL = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from test_attack_lab import patterned
from cbirkit import Retriever, encoders, explore
deep = encoders.Deep("conv5", weights=None, size=24, device="cpu")
lab = explore.AttackLab(Retriever(deep, progress=False).fit(patterned()), steps=5, k=4)
lab
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    ready = [".cbk-lists .cbk-tile img[src^=blob]"]
    with running(tmp_path_factory.mktemp("notebooks"), [CELL], ready=ready) as page:
        yield page


def grid(notebook, which):
    return notebook.page.locator(".cbk-lists .cbk-grid").nth(which)


def status(notebook):
    return notebook.page.locator(".cbk-status").inner_text()


def test_three_pictures_and_two_lists(notebook):
    assert [grid(notebook, i).locator(".cbk-tile").count() for i in range(3)] == [3, 4, 4]
    assert "p/0.jpg" in status(notebook) and "4 of 255" in status(notebook)
    assert notebook.unnamed(".cbk-explorer") == []


def test_a_click_picks_another_query_and_a_result_becomes_the_target(notebook):
    notebook.page.locator(".cbk-picker .cbk-tile").nth(6).click()
    notebook.until(lambda: "p/6.jpg" in status(notebook), "no other query")
    tile = grid(notebook, 1).locator(".cbk-tile").nth(3)
    target = tile.get_attribute("data-id")
    tile.click()
    notebook.until(
        lambda: f"the target first ({target})" in status(notebook), "no target was chosen"
    )
    chosen = notebook.page.locator(".cbk-controls select").nth(1)  # network, then aim
    shown = chosen.evaluate("node => node.selectedOptions[0].textContent")
    assert shown.replace("\N{NO-BREAK SPACE}", " ") == "the target first"


def test_the_keyboard_moves_epsilon(notebook):
    handle = notebook.page.locator(".cbk-controls .noUi-handle").first
    handle.focus()
    before = status(notebook)
    notebook.page.keyboard.press("ArrowRight")
    notebook.until(
        lambda: "5/255" in status(notebook) and status(notebook) != before, "epsilon did not change"
    )


@pytest.mark.parametrize("width", [800, 1600])
def test_it_fits_the_window(notebook, width):
    notebook.page.set_viewport_size({"width": width, "height": 1200})
    notebook.fits(".cbk-explorer")
