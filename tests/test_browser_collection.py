"""The collection explorer in a real JupyterLab and a real Chromium: what a reader clicks and what the keyboard does."""

import pytest
from browser import ROOT, running
from collection_samples import NAMED, write_photos
from explore_samples import HOSTILE

CELL = """
import sys
sys.path.insert(0, {tests!r})
from collection_samples import rows_for
from cbirkit import datasets, explore
images = datasets.from_folder({folder!r})
seen = explore.CollectionExplorer(images, rows_for(images), page_size=12).wait()
seen
"""
SHEET = ".cbk-sheet .cbk-tile"


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    photos = tmp_path_factory.mktemp("photos")
    write_photos(photos)
    cell = CELL.format(tests=str(ROOT / "tests"), folder=str(photos))
    with running(
        tmp_path_factory.mktemp("notebooks"), [cell], ready=f"{SHEET} img[src^=blob]"
    ) as notebook:
        yield notebook


@pytest.fixture
def notebook(opened):
    """The open notebook, with all images on the contact sheet."""
    choose(opened, "contact sheet")
    show_all = opened.page.get_by_role("button", name="Show all")
    if show_all.is_enabled():
        show_all.click()
    opened.until(
        lambda: shown(opened)[1:3] != [] and "of 33 images" in heading(opened),
        "not all images came back",
    )
    opened.page.get_by_label("page", exact=True).fill("1")
    opened.page.keyboard.press("Enter")
    opened.until(lambda: "1 to 12" in heading(opened), "the first page did not come back")
    return opened


def choose(notebook, view):
    button = notebook.page.locator(".cbk-choices button").filter(has_text=view).first
    if view == "copies":
        button = notebook.page.locator(".cbk-choices button[data-value=copies]")
    button.click()
    notebook.until(
        lambda: button.get_attribute("aria-pressed") == "true", f"the view {view} was not shown"
    )


def heading(notebook):
    return notebook.page.locator(".cbk-sheet .cbk-head").inner_text()


def shown(notebook, selector=SHEET):
    return notebook.page.locator(selector).evaluate_all(
        "tiles => tiles.map(tile => tile.dataset.id)"
    )


def status(notebook):
    return notebook.page.locator(".cbk-status").inner_text()


def test_pages_are_turned_by_mouse_and_by_keyboard(notebook):
    page, first = notebook.page, shown(notebook)
    assert len(first) == 12
    page.get_by_role("button", name="Next").click()
    notebook.until(lambda: "13 to 24 of 33" in heading(notebook), "the mouse turned no page")
    assert not set(shown(notebook)) & set(first)
    page.get_by_role("button", name="Next").focus()
    page.keyboard.press("Enter")
    notebook.until(lambda: "25 to 33 of 33" in heading(notebook), "the keyboard turned no page")
    assert page.get_by_role("button", name="Next").is_disabled() and len(shown(notebook)) == 9
    page.get_by_label("page", exact=True).focus()
    page.keyboard.press("ArrowDown")
    notebook.until(
        lambda: "13 to 24 of 33" in heading(notebook), "the field for the page does not count"
    )
    page.get_by_role("button", name="Previous").click()
    notebook.until(lambda: shown(notebook) == first, "there is no way back")


def test_keys_stay_in_the_explorer(notebook):
    page, cells = notebook.page, len(notebook.prompts())
    for place in (".cbk-choices button", SHEET, ".cbk-table button"):
        choose(notebook, "classes" if "table" in place else "contact sheet")
        page.locator(place).first.focus()
        page.keyboard.type("dd")  # on the notebook it would delete the cell
    assert len(notebook.prompts()) == cells


def test_a_click_shows_the_picture_and_what_is_known(notebook):
    page = notebook.page
    tile = page.locator(SHEET).nth(3)
    tile.click()
    notebook.until(
        lambda: status(notebook).startswith(tile.get_attribute("data-id")), "nothing was told"
    )
    facts = page.locator(".cbk-facts tr").all_inner_texts()
    assert any("60 × 30 pixels" in row for row in facts) and any(HOSTILE in row for row in facts)
    assert (
        page.locator(".cbk-detail img")
        .get_attribute("alt")
        .startswith(tile.get_attribute("data-id"))
    )
    assert tile.get_attribute("aria-current") == "true"
    tile.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    other = page.locator(SHEET).nth(4).get_attribute("data-id")
    notebook.until(lambda: status(notebook).startswith(other), "Enter on the next tile did nothing")


def test_menus_filter_the_contact_sheet(notebook):
    page = notebook.page
    page.locator(".cbk-row select").first.select_option("label")
    values = page.locator(".cbk-row select").nth(1)
    notebook.until(values.is_visible, "the values were not offered")
    assert any("onerror" in text for text in values.locator("option").all_text_contents())
    values.select_option(label="dog (12)")
    notebook.until(lambda: "12 images, label dog" in heading(notebook), "the menu filters nothing")
    assert all(name.startswith("dog/") for name in shown(notebook))
    page.get_by_placeholder("part of a name").fill("larger")
    page.keyboard.press("Enter")
    notebook.until(lambda: shown(notebook) == ["dog/larger.png"], "the field filters nothing")
    page.get_by_role("button", name="Show all").click()
    notebook.until(lambda: "of 33 images" in heading(notebook), "Show all shows not all")
    page.locator(".cbk-row select").last.select_option("by pixels, descending")
    notebook.until(lambda: shown(notebook)[0] == "dog/larger.png", "the order stayed")
    page.locator(".cbk-row select").last.select_option("as given")


def test_copies_stand_side_by_side_in_a_frame(notebook):
    page = notebook.page
    choose(notebook, "copies")
    notebook.until(lambda: page.locator(".cbk-group .cbk-tile").count() == 2, "there is no group")
    one, other = (tile.bounding_box() for tile in page.locator(".cbk-group .cbk-tile").all())
    assert one["y"] == other["y"] and one["x"] + one["width"] <= other["x"]
    words = page.locator(".cbk-group .cbk-head").inner_text()
    assert "Group 1 of 1: 2 images, the same bytes" in words and "labels differ: cat, dog" in words
    assert (
        page.locator(".cbk-group").evaluate("node => getComputedStyle(node).borderLeftStyle")
        == "solid"
    )
    choose(notebook, "near-copies")
    notebook.until(
        lambda: "the largest is dog/larger.png" in page.locator(".cbk-group").inner_text(),
        "no near-copies",
    )
    page.locator(".cbk-group .cbk-tile").first.click()
    notebook.until(lambda: "looks like" in status(notebook), "a click in a group does nothing")


def test_broken_files_are_listed_as_text(notebook):
    choose(notebook, "broken files")
    rows = notebook.page.locator(".cbk-tables tbody tr")
    notebook.until(lambda: rows.count() == 2, "the broken files are not listed")
    texts = rows.all_inner_texts()
    assert any(NAMED in text for text in texts) and any(
        "nothing.jpg" in text and "empty file" in text for text in texts
    )
    assert notebook.page.locator(".cbk-tables thead th").all_inner_texts() == ["file", "reason"]
    assert notebook.page.locator("img[src=x]").count() == 0


def test_a_class_is_picked_with_the_keyboard(notebook):
    page = notebook.page
    choose(notebook, "classes")
    notebook.until(
        lambda: page.locator(".cbk-tables tbody tr").count() == 3, "the classes are not listed"
    )
    assert page.locator(".cbk-tables tbody tr").first.inner_text().split("\t")[:2] == ["dog", "12"]
    wide = page.locator(".cbk-bar span").evaluate_all(
        "bars => bars.map(bar => bar.getBoundingClientRect().width)"
    )
    assert wide[0] > wide[1] > wide[2] > 0
    page.locator(".cbk-tables tbody button").first.focus()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.textContent") == "cat"
    page.keyboard.press("Enter")
    notebook.until(lambda: "11 images, label cat" in heading(notebook), "the class was not shown")
    assert all(name.startswith("cat/") for name in shown(notebook))


def test_outliers_and_sizes(notebook):
    page = notebook.page
    choose(notebook, "outliers")
    notebook.until(lambda: shown(notebook)[:1] == ["dog/10.png"], "the outlier does not come first")
    assert page.locator(f"{SHEET} .cbk-rank").first.inner_text() == "1"
    choose(notebook, "sizes")
    notebook.until(
        lambda: page.locator(".cbk-tables .cbk-table").count() == 3, "the sizes are not listed"
    )
    page.locator(".cbk-tables tbody button").filter(has_text="160 × 120").click()
    notebook.until(lambda: shown(notebook) == ["dog/larger.png"], "the size was not shown")


def test_every_control_and_picture_has_a_name(notebook):
    for view in ("contact sheet", "near-copies", "classes", "sizes", "broken files"):
        choose(notebook, view)
        notebook.until(
            lambda: notebook.unnamed(".cbk-explorer") == [],
            f"something has no name in the view {view}",
        )


@pytest.mark.parametrize("width", [800, 1600])
def test_it_fits_the_window(notebook, width):
    notebook.page.set_viewport_size({"width": width, "height": 1200})
    notebook.page.locator(SHEET).first.click()
    for view in ("contact sheet", "near-copies", "broken files", "classes", "sizes"):
        choose(notebook, view)
        notebook.fits(".cbk-explorer")
    beside = (
        notebook.page.locator(".cbk-detail").bounding_box(),
        notebook.page.locator(".cbk-lists").bounding_box(),
    )
    assert (beside[0]["x"] < beside[1]["x"]) == (width == 1600)
