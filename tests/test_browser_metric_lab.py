"""The Metric Lab in a real JupyterLab and a real Chromium: a click changes a number, and nothing complains."""

import pytest
from browser import running

CELL = """
from cbirkit import explore
lab = explore.MetricLab(preset="hits at 2, 4 and 8", metric="map")
lab
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    with running(tmp_path_factory.mktemp("notebooks"), [CELL], ready=[".cbk-lab-tile"]) as page:
        yield page


def named(notebook, key):
    return notebook.page.locator(f'.cbk-lab tr button[title*="calls it {key};"]')


def value(notebook, key):
    return named(notebook, key).locator("xpath=../../td[1]").inner_text()


def test_clicks_and_keys_change_the_numbers_and_the_line(notebook):
    page = notebook.page
    tiles = page.locator(".cbk-lab-tile")
    line = page.locator(".cbk-status")
    assert (
        value(notebook, "map") == "0.458"
        and line.inner_text() == "AP: (1/2 + 2/4 + 3/8) / 3 = 0.458333"
    )
    tiles.first.click()  # not relevant becomes junk: all ranks move up
    notebook.until(lambda: value(notebook, "map") != "0.458", "a click changed no number")
    assert (
        tiles.first.get_attribute("data-mark") == "junk" and "no rank" in tiles.first.inner_text()
    )
    assert line.inner_text() == "AP: (1/1 + 2/3 + 3/7) / 3 = 0.698413"
    page.keyboard.press("1")
    notebook.until(
        lambda: value(notebook, "first_rank") == "1" and "4/8" in line.inner_text(), "no key"
    )
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.at") == "1"
    page.locator(".cbk-lab-gap").nth(1).click()
    notebook.until(
        lambda: value(notebook, "worst_map") < value(notebook, "best_map"), "no tie was made"
    )
    assert page.locator(".cbk-lab-gap").nth(1).get_attribute("aria-pressed") == "true"


def test_controls_choose_and_nothing_is_left_unnamed(notebook):
    page = notebook.page
    page.locator(".cbk-lab select").select_option("2 found of 20")
    notebook.until(
        lambda: page.locator(".cbk-lab-tile").count() == 10, "the example was not loaded"
    )
    assert value(notebook, "map@10/hits") == "0.750" and value(notebook, "map@10/R") == "0.075"
    named(notebook, "map@10/R").click()
    notebook.until(
        lambda: "/ 20 = 0.075000" in page.locator(".cbk-status").inner_text(), "no explanation"
    )
    page.get_by_label("k", exact=True).fill("3")
    page.keyboard.press("Enter")
    notebook.until(lambda: named(notebook, "p@3").count() == 1, "k did not change")
    assert named(notebook, "map@3/R").get_attribute("aria-pressed") == "true"
    assert notebook.unnamed(".cbk-lab") == []


@pytest.mark.parametrize("width", [800, 1600])
def test_it_fits_the_window(notebook, width):
    notebook.page.set_viewport_size({"width": width, "height": 1200})
    notebook.fits(".cbk-lab")
