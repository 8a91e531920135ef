"""`FeedbackExplorer` in a real JupyterLab and a real Chromium: marked with the mouse and with keys alone, undone, saved and loaded."""

import pytest
from browser import ROOT, running

CELL = f"""
import sys, tempfile
sys.path.insert(0, {str(ROOT / "tests")!r})
from explore_samples import painted
from cbirkit import Retriever, encoders, explore
retriever = Retriever(encoders.MeanColor(), progress=False).fit(painted(60, size=(30, 40)))
marked = explore.FeedbackExplorer(retriever, query="folder/20.jpg", k=8)
marked._file.value = tempfile.mkdtemp() + "/likes.profile"
marked
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    ready = ".cbk-lists .cbk-tile img[src^=blob]"
    with running(tmp_path_factory.mktemp("notebooks"), [CELL], ready=ready) as page:
        yield page


def status(notebook):
    return notebook.page.locator(".cbk-status").inner_text()


def tiles(notebook, grid=0):
    return notebook.page.locator(".cbk-lists .cbk-grid").nth(grid).locator(".cbk-tile")


def ids(notebook, grid=0):
    return tiles(notebook, grid).evaluate_all("all => all.map((one) => one.dataset.id)")


def marks(notebook, grid=0):
    return tiles(notebook, grid).evaluate_all("all => all.map((one) => one.dataset.mark)")


def focused(notebook):
    return notebook.page.evaluate("document.activeElement.dataset.id")


def button(notebook, name):
    return notebook.page.get_by_role("button", name=name, exact=True)


def until(notebook, words, what):
    notebook.until(lambda: words in status(notebook), what)


def test_the_mouse_marks_goes_on_and_takes_back(notebook):
    first = ids(notebook)
    assert len(first) == 8 and set(marks(notebook)) == {""}
    tiles(notebook).nth(1).click()
    until(notebook, "1 marked relevant, 0 not", "a click marked nothing")
    for clicks, counted in ((1, "1 marked relevant, 0 not"), (2, "1 marked relevant, 1 not")):
        tiles(notebook).nth(4).click()
        until(notebook, f"{1 + (clicks == 1)} marked relevant", "a click marked nothing")
        if clicks == 2:
            until(notebook, counted, "a second click did not turn the mark")
    assert marks(notebook) == ["", "right", "", "", "wrong", "", "", ""] and ids(notebook) == first
    button(notebook, "Next round").click()
    until(notebook, "round 2", "there is no next round")
    assert not set(ids(notebook)) & {first[1], first[4]} and len(ids(notebook)) == 8
    assert ids(notebook, 1) == [first[1], first[4]] and marks(notebook, 1) == ["right", "wrong"]
    button(notebook, "Undo").click()
    until(notebook, "round 1", "Undo did not go back a round")
    notebook.until(lambda: ids(notebook) == first, "the list did not come back")
    for left in (
        "1 marked relevant, 1 not",
        "2 marked relevant, 0 not",
        "1 marked relevant, 0 not",
    ):
        assert left in status(notebook)
        button(notebook, "Undo").click()
        notebook.until(lambda left=left: left not in status(notebook), "Undo took nothing back")
    until(notebook, "0 marked relevant, 0 not", "a mark is left")


def test_keys_alone_mark_go_on_and_take_back(notebook):
    page, keys, first = notebook.page, notebook.page.keyboard, ids(notebook)
    tiles(notebook).first.focus()
    for key, counted in (
        ("y", "1 marked relevant, 0 not"),
        ("ArrowRight", ""),
        ("n", "1 marked relevant, 1 not"),
        ("ArrowRight", ""),
        ("+", "2 marked relevant, 1 not"),
        ("ArrowRight", ""),
        ("Shift+Y", "3 marked relevant, 1 not"),
        ("0", "2 marked relevant, 1 not"),
        ("-", "2 marked relevant, 2 not"),
    ):
        keys.press(key)
        until(notebook, counted, f"{key} did nothing")
    assert focused(notebook) == first[3]
    assert marks(notebook)[:4] == ["right", "wrong", "right", "wrong"]
    keys.press("r")
    until(notebook, "round 2", "R did not go on")
    assert focused(notebook) == ids(notebook)[3] != first[3]  # at the same place
    keys.press("r")
    until(notebook, "mark a picture first", "a round without marks was not refused")
    for _ in range(7):  # six marks and a round
        keys.press("u")
    until(notebook, "round 1 by Rocchio: 0 marked relevant, 0 not", "U did not take all back")
    notebook.until(lambda: ids(notebook) == first, "the list did not come back")
    page.keyboard.type("dd")  # would delete the cell
    assert len(notebook.prompts()) == 1 and notebook.unnamed(".cbk-explorer") == []


def test_method_profile_and_another_query(notebook):
    tiles(notebook).nth(6).click()
    tiles(notebook).nth(7).click()
    until(notebook, "2 marked relevant", "clicks marked nothing")
    button(notebook, "Next round").click()
    until(notebook, "round 2", "there is no next round")
    notebook.page.locator(".cbk-controls select").select_option(label="SVM")
    until(notebook, "round 2 by SVM: 2 marked", "the method did not change")
    button(notebook, "Save profile").click()
    until(notebook, "1 session", "the profile was not saved")
    notebook.page.locator(".cbk-picker .cbk-tile").nth(2).click()
    until(notebook, "folder/2.jpg, round 1 by SVM: 0 marked", "another query is no new session")
    before = ids(notebook)
    handle = notebook.page.locator(".noUi-handle")
    handle.focus()
    for _ in range(8):
        notebook.page.keyboard.press("ArrowRight")
    notebook.until(lambda: ids(notebook) != before, "the profile's weight changed nothing")
    button(notebook, "Load profile").click()
    until(notebook, "Loaded Profile", "the profile was not loaded")
    field = notebook.page.locator(".cbk-controls input[type=text]").last
    field.fill("/nowhere/at all")
    field.press("Tab")
    button(notebook, "Load profile").click()
    until(notebook, "/nowhere/at all", "a missing file was not told")
    assert notebook.page.locator(".cbk-status.cbk-problem").count() == 1


@pytest.mark.parametrize("width", [800, 1600])
def test_it_fits_the_window(notebook, width):
    notebook.page.set_viewport_size({"width": width, "height": 1200})
    notebook.fits(".cbk-explorer")
