"""`LabelExplorer` in a real JupyterLab and a real Chromium: with keys alone, with the mouse, and on after the kernel was killed."""

import pytest
from browser import ROOT, running

CELL = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from explore_samples import painted
from cbirkit import Retriever, encoders, explore
retriever = Retriever(encoders.MeanColor(), progress=False).fit(painted(60, size=(30, 40)))
named = explore.LabelExplorer(retriever.images, retriever.embeddings, "labels.csv")
named
"""
READY = ".cbk-panel .cbk-tile img[src^=blob]"


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    with running(tmp_path_factory.mktemp("notebooks"), [CELL], ready=READY) as page:
        yield page


def status(notebook):
    return notebook.page.locator(".cbk-status").inner_text()


def written(notebook):
    path = notebook.lab.folder / "labels.csv"
    return [line.split(",") for line in path.read_text().splitlines()[1:]] if path.exists() else []


def shown(notebook):
    return notebook.page.locator(".cbk-panel .cbk-tile").first.get_attribute("data-id")


def colour(image_id):
    return ("blue", "violet", "red")[int(image_id[7:-4]) // 20]


def act_and_wait(notebook, act):
    """Do it, and wait for another picture."""
    before = shown(notebook)
    act()
    notebook.until(lambda: shown(notebook) != before, f"no other picture than {before}")
    return before


def buttons(notebook):
    return notebook.page.locator(".cbk-choices button:visible")


def label(notebook):
    """With keys alone, from wherever the focus is: its digit, or Tab and a new name."""
    keys, name = notebook.page.keyboard, colour(shown(notebook))
    words = [one.split()[1] for one in buttons(notebook).all_inner_texts()]
    if name in words:
        return act_and_wait(notebook, lambda: keys.press(str(words.index(name) + 1)))

    def write():
        keys.press("Tab")
        keys.type(name)
        keys.press("Enter")

    return act_and_wait(notebook, write)


def on_the_picture(notebook):
    return notebook.page.evaluate("document.activeElement.matches('.cbk-panel .cbk-tile')")


def test_keys_alone_name_label_skip_and_take_back(notebook):
    keys = notebook.page.keyboard
    notebook.page.locator(".cbk-panel .cbk-tile").focus()
    given = []
    for _ in range(12):
        given.append(label(notebook))
        notebook.until(lambda: on_the_picture(notebook), "the focus did not come back")
    assert written(notebook) == [[one, colour(one)] for one in given]
    words = ("12 labels of 3 classes in labels.csv", "held-out")
    notebook.until(
        lambda: all(one in status(notebook) for one in words), "the labels were not counted"
    )
    skipped = act_and_wait(notebook, lambda: keys.press(" "))
    notebook.until(lambda: f"{skipped}: skipped" in status(notebook), "the skip was not told")
    assert len(written(notebook)) == 12
    act_and_wait(notebook, lambda: keys.press("u"))
    assert shown(notebook) == skipped
    for key, back in (("Backspace", given[-1]), ("u", given[-2])):
        act_and_wait(notebook, lambda key=key: keys.press(key))
        assert shown(notebook) == back
        pressed = notebook.page.locator(".cbk-choices button[aria-pressed=true]")
        assert pressed.inner_text().split()[1] == colour(back)
    notebook.until(lambda: len(written(notebook)) == 10, "undo left a label in the file")
    keys.press("9")
    notebook.until(lambda: "no class 9 yet" in status(notebook), "an unknown key was not told")
    for _ in range(2):
        label(notebook)
    assert written(notebook) == [[one, colour(one)] for one in given]
    keys.type("dd")  # would delete the cell
    assert len(notebook.prompts()) == 1 and notebook.unnamed(".cbk-explorer") == []
    images = notebook.page.locator(".cbk-explorer img").evaluate_all(
        "all => all.filter((one) => one.src && !one.alt.trim()).length"
    )
    assert images == 0


def test_the_mouse_labels_skips_and_changes_an_old_label(notebook):
    before = len(written(notebook))
    one = act_and_wait(notebook, buttons(notebook).nth(1).click)
    notebook.until(lambda: len(written(notebook)) == before + 1, "a click labelled nothing")
    assert written(notebook)[-1][0] == one
    act_and_wait(notebook, notebook.page.get_by_role("button", name="Skip", exact=True).click)
    act_and_wait(notebook, notebook.page.get_by_role("button", name="Undo", exact=True).click)
    old = notebook.page.locator(".cbk-lists .cbk-grid").last.locator(".cbk-tile").nth(3)
    name = old.get_attribute("data-id")
    act_and_wait(notebook, old.click)
    assert shown(notebook) == name and name not in dict(written(notebook))
    act_and_wait(notebook, buttons(notebook).nth(0).click)
    notebook.until(lambda: name in dict(written(notebook)), "the new label is not in the file")
    field = notebook.page.get_by_placeholder("new name, then Enter")
    field.click()
    field.fill('a, "new" one')
    act_and_wait(notebook, lambda: field.press("Enter"))
    assert buttons(notebook).count() == 4


def test_a_killed_kernel_loses_nothing_and_the_next_goes_on(notebook):
    before = (notebook.lab.folder / "labels.csv").read_text()
    notebook.restart_kernel()
    notebook.run_all(READY)
    n = before.count("\n") - 1
    notebook.until(lambda: f"{n} labels of" in status(notebook), "the labels did not come back")
    notebook.page.locator(".cbk-panel .cbk-tile").focus()
    label(notebook)
    after = (notebook.lab.folder / "labels.csv").read_text()
    assert after.startswith(before) and after.count("\n") == n + 2


@pytest.mark.parametrize("width", [800, 1600])
def test_it_fits_the_window(notebook, width):
    notebook.page.set_viewport_size({"width": width, "height": 1200})
    notebook.fits(".cbk-explorer")
