"""The explorer in a real JupyterLab and a real Chromium: what a reader clicks, and what the browser says of it."""

import shutil

import pytest
from browser import ROOT, Browser, JupyterLab, require_browser, write_notebook

START = ROOT / "notebooks" / "00_start_here.ipynb"
SETUP = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from explore_samples import HOSTILE, painted
from cbirkit import Retriever, encoders, explore, indexes
images = painted(60, size=(120, 160))
cosine = Retriever(encoders.MeanColor()).fit(images)
euclidean = Retriever(encoders.MeanColor(), indexes.Exact("euclidean")).fit(images)
explorer = explore.QueryExplorer({{"cosine": cosine, HOSTILE: euclidean}}, k=6)
explorer
"""
WORDS = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
import numpy as np
from text_samples import NamedColour, plain
from cbirkit import ImageCollection, Retriever, explore
images = ImageCollection.from_arrays(plain((250, 0, 0), (0, 250, 0)), ids=["first", "second"])
explore.QueryExplorer(Retriever(NamedColour(), progress=False).fit(images), k=1)
"""


@pytest.fixture(scope="module")
def browser():
    require_browser()
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebooks")
    write_notebook(folder / "explorer.ipynb", [SETUP, "print(explorer.query)"])
    write_notebook(folder / "words.ipynb", [WORDS])
    with JupyterLab(folder) as lab:
        yield lab


@pytest.fixture(scope="module")
def opened(browser, lab):
    notebook = browser.open(lab, "explorer.ipynb", width=1400, height=1100)
    notebook.run_all(".cbk-lists .cbk-tile img[src^=blob]")
    yield notebook
    notebook.close()


@pytest.fixture
def notebook(opened):
    """The open notebook; whatever a test does, nothing may break, complain or leave the machine."""
    opened.page.wait_for_timeout(100)
    yield opened
    assert opened.errors() == [] and opened.dialogs == []
    assert opened.complaints() == []


def ranked(notebook, side=0):
    return notebook.page.locator(".cbk-lists .cbk-grid").nth(side).locator(".cbk-tile")


def shown(notebook, side=0):
    return ranked(notebook, side).evaluate_all("tiles => tiles.map(tile => tile.dataset.id)")


def pictures(notebook):
    """A digest of each picture shown on the left, for a button may change without its picture."""
    script = """async images => {
      const digest = async image => {
        await image.decode();
        const bytes = await crypto.subtle.digest("SHA-1", await (await fetch(image.src)).arrayBuffer());
        return Array.from(new Uint8Array(bytes)).join();
      };
      return Promise.all(images.map(digest));
    }"""
    return notebook.page.locator(".cbk-lists .cbk-grid").first.locator("img").evaluate_all(script)


def status(notebook):
    return notebook.page.locator(".cbk-status").inner_text()


def click_and_wait(notebook, locator):
    before, said = shown(notebook), status(notebook)
    locator.click()
    changed = lambda: shown(notebook) != before and status(notebook) != said
    notebook.until(changed, "the click changed nothing")
    return before


def test_tiles_show_rank_distance_label_and_verdict(notebook):
    first = ranked(notebook).first
    assert first.locator(".cbk-rank").inner_text() == "1"
    assert float(first.locator(".cbk-note").inner_text()) >= 0
    assert first.get_attribute("data-mark") == "right" and first.locator(".cbk-mark").is_visible()
    assert "ms" in notebook.page.locator(".cbk-lists .cbk-summary").first.inner_text()
    assert len(shown(notebook, 0)) == len(shown(notebook, 1)) == 6


def test_a_clicked_result_becomes_the_query_and_back_undoes_it(notebook):
    query, images = shown(notebook)[-1], pictures(notebook)
    before = click_and_wait(notebook, ranked(notebook).last)
    assert query in status(notebook) and pictures(notebook) != images
    assert notebook.page.locator(".cbk-cropper .cbk-name").inner_text() == query
    notebook.page.get_by_role("button", name="Back").click()
    notebook.until(lambda: shown(notebook) == before, "back did not go back")
    assert pictures(notebook) == images


def test_a_query_is_picked_from_another_page_by_label(notebook):
    picker = notebook.page.locator(".cbk-picker")
    first = picker.locator(".cbk-tile").first.get_attribute("data-id")
    picker.get_by_role("button", name="Next").click()
    notebook.until(
        lambda: picker.locator(".cbk-tile").first.get_attribute("data-id") != first, "no next page"
    )
    picker.locator("select").select_option(label="group 3 (10)")
    notebook.until(lambda: picker.locator(".cbk-tile").count() == 10, "the filter does not filter")
    click_and_wait(notebook, picker.locator(".cbk-tile").nth(4))
    assert "folder/34.jpg" in status(notebook)
    assert picker.locator(".cbk-selected").get_attribute("data-id") == "folder/34.jpg"
    picker.locator("select").select_option(index=0)


def drag(notebook, start, end):
    area = notebook.page.locator(".cbk-frame img").bounding_box()
    mouse = notebook.page.mouse
    mouse.move(area["x"] + start[0] * area["width"], area["y"] + start[1] * area["height"])
    mouse.down()
    mouse.move(area["x"] + end[0] * area["width"], area["y"] + end[1] * area["height"], steps=4)
    mouse.up()


def test_a_region_is_cropped_with_the_mouse_and_an_empty_one_refused(notebook):
    notebook.page.locator(".cbk-frame").scroll_into_view_if_needed()
    drag(notebook, (0.25, 0.25), (0.75, 0.5))
    notebook.until(
        lambda: "region of 80 x 30 px at 40, 30" in status(notebook), "no region was searched"
    )
    assert notebook.page.locator(".cbk-rubber").is_visible()
    drag(notebook, (0.5, 0.5), (0.5, 0.5))
    notebook.until(
        lambda: "the region 0 x 0 px" in status(notebook), "an empty region was not refused"
    )
    assert notebook.page.locator(".cbk-status.cbk-problem").count() == 1
    notebook.page.get_by_role("button", name="Whole picture").click()
    notebook.until(lambda: "region" not in status(notebook), "the whole picture did not come back")
    assert not notebook.page.locator(".cbk-rubber").is_visible()


def test_everything_is_reached_with_the_keyboard(notebook):
    page = notebook.page
    cells = len(notebook.prompts())
    page.locator(".cbk-frame").focus()
    for key in (
        "ArrowRight",
        "Shift+ArrowDown",
        "ArrowDown",
        "Enter",
    ):  # the first one makes a region
        page.keyboard.press(key)
    notebook.until(
        lambda: "region of 80 x 62 px at 40, 32" in status(notebook), "no region by keyboard"
    )
    page.keyboard.press("Escape")
    notebook.until(lambda: "region" not in status(notebook), "Escape did not clear the region")
    ranked(notebook).first.focus()
    for key in ("ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    third, before = shown(notebook)[2], shown(notebook)
    assert page.evaluate("document.activeElement.dataset.id") == third
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    notebook.until(
        lambda: shown(notebook) != before and third in status(notebook),
        "Enter on a tile did nothing",
    )
    page.keyboard.type("dd")  # on the notebook it would delete the cell
    page.get_by_role("button", name="Back").focus()
    page.keyboard.type("dd")
    assert len(notebook.prompts()) == cells
    page.keyboard.press("Enter")
    notebook.until(lambda: shown(notebook) == before, "Enter on the back button did nothing")


def test_numbers_give_a_region_too(notebook):
    page = notebook.page
    page.locator(".cbk-numbers summary").click()
    for label, value in (("left", 10), ("top", 20), ("width", 30), ("height", 40)):
        page.locator(".cbk-numbers").get_by_label(label).fill(str(value))
    page.get_by_role("button", name="Search region").click()
    notebook.until(
        lambda: "region of 30 x 40 px at 10, 20" in status(notebook), "no region by numbers"
    )


def test_files_are_uploaded_and_broken_ones_told(notebook, tmp_path):
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 255, (1200, 1600, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png")  # 6 MB: arrives in parts
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    chooser = notebook.page.locator(".cbk-buttons input[type=file]")
    chooser.set_input_files(tmp_path / "large.png")
    notebook.until(lambda: "Nearest to large.png" in status(notebook), "the upload did not arrive")
    assert "right" not in status(notebook)  # nothing is known of it
    before = shown(notebook)
    chooser.set_input_files(tmp_path / "broken.jpg")
    notebook.until(
        lambda: status(notebook).startswith("broken.jpg: "), "a broken file was not told"
    )
    assert shown(notebook) == before


def test_hostile_labels_and_names_are_only_text(notebook):
    page = notebook.page
    page.locator(".cbk-picker .cbk-tile").first.click()
    notebook.until(lambda: "folder/0.jpg" in status(notebook), "the first picture was not picked")
    caption = ranked(notebook).first.locator(".cbk-caption")
    assert caption.text_content().startswith("<img src=x onerror=alert(1)>")
    assert page.locator(".cbk-lists .cbk-heading").nth(1).text_content().startswith("<img src=x")
    option = page.locator(".cbk-picker option").nth(1).text_content()
    assert option.replace("\N{NO-BREAK SPACE}", " ").startswith("<img src=x")
    assert page.locator("img[src=x]").count() == 0 and notebook.dialogs == []


def test_every_picture_and_control_has_a_name(notebook):
    assert notebook.unnamed(".cbk-explorer") == []
    assert notebook.page.locator(".cbk-status").get_attribute("aria-live") == "polite"


@pytest.mark.parametrize(("width", "columns"), [(800, 1), (1600, 2)])
def test_it_fits_the_window(notebook, width, columns):
    notebook.page.set_viewport_size({"width": width, "height": 1100})
    notebook.fits(".cbk-explorer")
    grids = notebook.page.locator(".cbk-lists .cbk-grid")
    notebook.until(
        lambda: len({round(grid.bounding_box()["x"]) for grid in grids.all()}) == columns,
        "wrong columns",
    )


def test_nothing_was_asked_of_another_machine(notebook, lab):
    assert len(notebook.requests) > 20 and notebook.foreign_requests(lab) == []


def test_the_cell_can_run_again_after_a_restart(notebook):
    page = notebook.page
    notebook.restart_kernel(run_all=True)
    notebook.until(lambda: page.locator(".cbk-explorer").count() == 0, "the kernel did not restart")
    page.wait_for_selector(".cbk-lists .cbk-tile img[src^=blob]", timeout=120_000)
    click_and_wait(notebook, ranked(notebook).last)


def test_start_here_opens_runs_and_its_explorer_answers(browser, lab):
    if not START.is_file():
        pytest.skip("notebooks/00_start_here.ipynb is not built yet; run make notebooks")
    shutil.copy(START, lab.folder / START.name)
    notebook = browser.open(lab, START.name, width=1400, height=1100)
    notebook.run_all()
    assert notebook.errors() == []
    explorer = notebook.page.locator(".cbk-explorer").first
    explorer.scroll_into_view_if_needed()
    tiles = explorer.locator(".cbk-lists .cbk-grid").first.locator(".cbk-tile")
    ids = "tiles => tiles.map(tile => tile.dataset.id)"
    before = tiles.evaluate_all(ids)
    tiles.last.click()
    notebook.until(
        lambda: tiles.evaluate_all(ids) != before,
        "a click on a result of notebook 00 changed nothing",
    )
    assert notebook.complaints() == [] and notebook.foreign_requests(lab) == []
    notebook.close()


def test_words_are_typed_and_searched_for(browser, lab):
    page = browser.open(lab, "words.ipynb")
    page.run_all(".cbk-tile img")
    field = page.page.get_by_placeholder("or say what you look for")
    for words, found in (("something green", "second"), ("red", "first")):
        field.fill(words)
        field.press("Enter")
        page.until(lambda w=words: w in status(page), f"{words} was not searched for")
        assert shown(page) == [found]
        assert page.page.locator(".cbk-cropper .cbk-name").inner_text() == words
    field.fill("no.jpg")
    field.press("Enter")
    page.until(lambda: "name of a file" in status(page), "a file's name was not refused")
    assert page.unnamed(".cbk-explorer") == []
    assert page.complaints() == [] and page.foreign_requests(lab) == []
    page.close()
