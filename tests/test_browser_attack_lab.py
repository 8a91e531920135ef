"""The Attack Lab in a real JupyterLab and a real Chromium: clicks and sliders change the lists, and nothing complains."""

import time

import pytest
from browser import ROOT, Browser, JupyterLab, require_browser, write_notebook

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
    require_browser()
    folder = tmp_path_factory.mktemp("notebooks")
    write_notebook(folder / "lab.ipynb", [CELL])
    with JupyterLab(folder) as lab, Browser() as browser:
        page = browser.open(lab, "lab.ipynb", width=1400, height=1200)
        page.run_all(timeout=90)
        page.page.wait_for_selector(".cbk-lists .cbk-tile img[src^=blob]", timeout=20_000)
        yield page
        assert page.errors() == [] and page.complaints() == []
        assert page.foreign_requests(lab) == []


def grid(notebook, which):
    return notebook.page.locator(".cbk-lists .cbk-grid").nth(which)


def status(notebook):
    return notebook.page.locator(".cbk-status").inner_text()


def until(notebook, ready, what):
    end = time.monotonic() + 15
    while not ready():
        assert time.monotonic() < end, f"{what}; status: {status(notebook)}"
        notebook.page.wait_for_timeout(30)


def test_three_pictures_and_two_lists(notebook):
    assert [grid(notebook, i).locator(".cbk-tile").count() for i in range(3)] == [3, 4, 4]
    assert "p/0.jpg" in status(notebook) and "4 of 255" in status(notebook)
    names = notebook.page.locator(".cbk-explorer :is(button, select, input)").evaluate_all(
        """nodes => nodes.filter(n => n.offsetParent && !(n.getAttribute("aria-label") || n.textContent.trim()
        || n.title || n.placeholder || n.labels?.length)).map(n => n.outerHTML.slice(0, 120))"""
    )
    assert names == []


def test_a_click_picks_another_query_and_a_result_becomes_the_target(notebook):
    notebook.page.locator(".cbk-picker .cbk-tile").nth(6).click()
    until(notebook, lambda: "p/6.jpg" in status(notebook), "no other query")
    tile = grid(notebook, 1).locator(".cbk-tile").nth(3)
    target = tile.get_attribute("data-id")
    tile.click()
    until(notebook, lambda: f"the target first ({target})" in status(notebook), "no target was chosen")
    chosen = notebook.page.locator(".cbk-controls select").nth(1)  # network, then aim
    shown = chosen.evaluate("node => node.selectedOptions[0].textContent")
    assert shown.replace("\N{NO-BREAK SPACE}", " ") == "the target first"


def test_the_keyboard_moves_epsilon(notebook):
    handle = notebook.page.locator(".cbk-controls .noUi-handle").first
    handle.focus()
    before = status(notebook)
    notebook.page.keyboard.press("ArrowRight")
    until(notebook, lambda: "5/255" in status(notebook) and status(notebook) != before, "epsilon did not change")


@pytest.mark.parametrize("width", [800, 1600])
def test_it_fits_the_window(notebook, width):
    notebook.page.set_viewport_size({"width": width, "height": 1200})
    notebook.page.wait_for_timeout(300)
    scroll, client = notebook.page.locator(".cbk-explorer").evaluate("node => [node.scrollWidth, node.clientWidth]")
    assert scroll <= client + 1
