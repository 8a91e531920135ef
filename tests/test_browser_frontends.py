"""All explorers in JupyterLab and in Notebook 7: clicks, keys, names, two views of one explorer, a kernel that restarts."""

from importlib.util import find_spec

import nbformat
import pytest
from browser import ROOT, running
from page_looks import faults

SETUP = f"""
import sys, tempfile
sys.path.insert(0, {str(ROOT / "tests")!r})
import numpy as np
from explore_samples import painted
from test_attack_lab import patterned
from test_object_explorer import fitted, things
from cbirkit import Retriever, encoders, explore
images = painted(45, size=(120, 160))
retriever = Retriever(encoders.MeanColor()).fit(images)
deep = encoders.Deep("conv5", weights=None, size=24, device="cpu")
squashed = encoders.Deep("conv5", weights=None, size=24, resize="squash", device="cpu")
positions = np.stack([np.arange(45) % 9, np.arange(45) // 9], axis=1)  # image 22 is in the middle
"""
CELLS = {
    "QueryExplorer": "query = explore.QueryExplorer(retriever, k=6)\nquery",
    "MetricLab": "metric = explore.MetricLab()\nmetric",
    "AttackLab": "attack = explore.AttackLab(Retriever(deep, progress=False).fit(patterned()), steps=3, k=4)\nattack",
    "ObjectExplorer": "objects = explore.ObjectExplorer(fitted(things()), k=4)\nobjects",
    "EmbeddingMap": "seen = explore.EmbeddingMap(images, retriever.embeddings, method=positions, k=4)\nseen",
    "CollectionExplorer": "looked = explore.CollectionExplorer(images, page_size=12).wait()\nlooked",
    "WhyExplorer": "why = explore.WhyExplorer(Retriever(squashed, progress=False).fit(patterned()), k=4)\nwhy",
    "FeedbackExplorer": "marked = explore.FeedbackExplorer(retriever, k=6)\nmarked",
    "LabelExplorer": "file = tempfile.mkdtemp() + '/labels.csv'\n"
    "named = explore.LabelExplorer(images, retriever.embeddings, file, classes=['red', 'blue'])\nnamed",
}
AGAIN = "display(query, metric, attack, objects, seen, looked, why, marked, named)"
EXPLORERS = tuple(CELLS)
CLICKED = {
    "QueryExplorer": ".cbk-lists .cbk-tile:last-child",
    "MetricLab": ".cbk-lab-tile",
    "AttackLab": ".cbk-picker .cbk-tile:nth-child(3)",
    "ObjectExplorer": ".cbk-picker .cbk-tile:nth-child(3)",
    "EmbeddingMap": ".cbk-map-top",  # a click in its middle
    "CollectionExplorer": ".cbk-sheet .cbk-tile:nth-child(3)",
    "WhyExplorer": ".cbk-picker .cbk-tile:nth-child(3)",
    "FeedbackExplorer": ".cbk-lists .cbk-tile:nth-child(3)",
    "LabelExplorer": ".cbk-choices button",
}
KEYS = {  # where Tab leads, and what is pressed there
    "QueryExplorer": (".cbk-lists .cbk-tile", ("ArrowRight", "Enter")),
    "MetricLab": (".cbk-lab-tile", ("ArrowRight", "Enter")),
    "AttackLab": (".noUi-handle", ("ArrowRight",)),
    "ObjectExplorer": (".cbk-frame", ("ArrowRight", "Enter")),
    "EmbeddingMap": (".cbk-map-top", ("ArrowLeft", "ArrowLeft", "Enter")),
    "CollectionExplorer": (".cbk-sheet .cbk-tile", ("ArrowRight", "Enter")),
    "WhyExplorer": (".cbk-picker .cbk-tile", ("ArrowRight", "Enter")),
    "FeedbackExplorer": (".cbk-lists .cbk-tile", ("ArrowRight", "n")),
    "LabelExplorer": (".cbk-panel .cbk-tile", ("2",)),
}
READY = (
    ".cbk-lists .cbk-tile img[src^=blob]",
    ".cbk-lab-tile",
    ".cbk-frame img[src^=blob]",
    ".cbk-map-frame[data-drawn]",
    ".cbk-collection .cbk-tile",
)
RING = "getComputedStyle(document.activeElement).outlineStyle"
FOCUS = "document.activeElement.outerHTML.slice(0, 150)"
GONE = "The kernel behind this view has ended or was restarted: run the cell again."


@pytest.fixture(scope="module", params=["lab", "notebook"])
def opened(request, tmp_path_factory):
    if request.param == "notebook" and find_spec("notebook") is None:
        pytest.skip("no browser test: Notebook 7 is not installed")
    cells = [SETUP, *CELLS.values(), AGAIN]
    with running(
        tmp_path_factory.mktemp("notebooks"), cells, ready=READY, front_end=request.param
    ) as notebook:
        yield notebook


@pytest.fixture
def notebook(opened):
    """The open notebook; whatever a test does, nothing may break or complain."""
    yield opened
    assert opened.errors() == [] and opened.dialogs == [] and opened.complaints() == []


def view(notebook, explorer, *, again=False):
    """One explorer of the page: that of its cell, or the same once more, from the last cell."""
    roots = notebook.page.locator(":is(.cbk-explorer, .cbk-lab)")
    return roots.nth(EXPLORERS.index(explorer) + len(EXPLORERS) * again)


def said(root):
    return root.locator(".cbk-status").inner_text()


def act_and_wait(notebook, root, act):
    before = said(root)
    act()
    notebook.until(lambda: said(root) != before, f"nothing came of it: {before}")
    return said(root)


@pytest.mark.parametrize("explorer", EXPLORERS)
def test_it_answers_a_click_in_all_its_views(notebook, explorer):
    root, other = view(notebook, explorer), view(notebook, explorer, again=True)
    assert said(other) == said(root)
    words = act_and_wait(notebook, root, root.locator(CLICKED[explorer]).first.click)
    notebook.until(lambda: said(other) == words, "the second view fell behind")
    if explorer != "EmbeddingMap":  # there a click on the same point changes nothing
        first = other.locator(CLICKED[explorer].replace(":nth-child(3)", "")).first
        act_and_wait(notebook, root, first.click)


@pytest.mark.parametrize("explorer", EXPLORERS)
def test_the_keyboard_alone_is_enough(notebook, explorer):
    page, root = notebook.page, view(notebook, explorer)
    target, keys = KEYS[explorer]
    root.locator(":is(button, select, input, [tabindex='0']):visible").first.focus()
    (
        page.keyboard.press("Tab"),
        page.keyboard.press("Shift+Tab"),
    )  # rings are for the keyboard, not for scripts
    for _ in range(20):  # stops: a grid of pictures is one
        assert page.evaluate(RING) != "none", (
            f"nothing shows that {page.evaluate(FOCUS)} has the focus"
        )
        if page.evaluate("selector => document.activeElement.matches(selector)", target):
            break
        page.keyboard.press("Tab")
    else:
        pytest.fail(f"Tab does not lead to {target}")
    act_and_wait(notebook, root, lambda: [page.keyboard.press(key) for key in keys])
    page.keyboard.type("dd")  # would delete the cell
    assert len(notebook.prompts()) == len(CELLS) + 2


def test_the_mouse_selects_on_the_map_and_crops_the_query(notebook):
    root = view(notebook, "EmbeddingMap")
    round_it = [(-20, 0), (0, -20), (20, 0), (0, 20), (-20, 0)]
    for mode, stops in (("Lasso", round_it), ("Box", [(-20, -20), (20, 20)])):
        root.get_by_role("button", name="Clear").click()
        notebook.until(lambda: said(root).startswith("0 images selected"), "the selection stayed")
        root.get_by_role("button", name=mode).click()
        drag(notebook, root.locator(".cbk-map-top"), stops)
        notebook.until(
            lambda: said(root).startswith("1 images selected"), "the drag selected nothing"
        )
        assert root.locator(".cbk-lists .cbk-tile").last.get_attribute("data-id") == "folder/22.jpg"
    root = view(notebook, "QueryExplorer")
    drag(notebook, root.locator(".cbk-frame img"), [(-20, -20), (20, 20)])
    notebook.until(
        lambda: "region of" in said(root), "the drag over the query searched for nothing"
    )


def test_a_click_or_a_drag_marks_a_thing(notebook):
    root = view(notebook, "ObjectExplorer")
    root.locator(".cbk-picker .cbk-tile").first.click()
    notebook.until(lambda: "the whole picture of p/0.png" in said(root), "no other query")
    picture = root.locator(".cbk-frame img")
    area = picture.bounding_box()  # of 64 pixels a side
    picture.click(position={"x": 16.5 / 64 * area["width"], "y": 18.5 / 64 * area["height"]})
    notebook.until(lambda: "a region of" in said(root), "the click found nothing")
    assert root.locator(".cbk-rubber").is_visible()
    assert "px at" in root.locator(".cbk-lists img").first.get_attribute("alt")
    act_and_wait(notebook, root, lambda: drag(notebook, picture, [(-10, -10), (60, 60)]))
    picture.click(position={"x": area["width"] - 3, "y": 3})
    notebook.until(lambda: "no region was found" in said(root), "a click beside all was not told")


def test_a_result_becomes_the_target_of_the_attack(notebook):
    root = view(notebook, "AttackLab")
    grids = root.locator(".cbk-lists .cbk-grid")
    assert [grids.nth(i).locator(".cbk-tile").count() for i in range(3)] == [3, 4, 4]
    tile = grids.nth(1).locator(".cbk-tile").last
    target = tile.get_attribute("data-id")
    act_and_wait(notebook, root, tile.click)
    assert f"the target first ({target})" in said(root)
    chosen = root.locator(".cbk-controls select").nth(1)  # network, then aim
    words = chosen.evaluate("node => node.selectedOptions[0].textContent")
    assert words.replace("\N{NO-BREAK SPACE}", " ") == "the target first"


def drag(notebook, locator, stops):
    """Drag through places given from the middle of what is located, in pixels."""
    x, y = middle(locator)
    places = [(x + right, y + down) for right, down in stops]
    notebook.page.mouse.move(*places[0])
    notebook.page.mouse.down()
    for place in places[1:]:
        notebook.page.mouse.move(*place, steps=4)
    notebook.page.mouse.up()


def test_everything_has_a_name(notebook):
    notebook.page.mouse.move(
        *middle(view(notebook, "EmbeddingMap").locator(".cbk-map-top"))
    )  # shows a picture
    notebook.page.wait_for_selector(".cbk-map-tip img[src^=blob]")
    assert notebook.unnamed(".cbk-explorer, .cbk-lab") == []
    nameless = "images => images.filter(image => image.src && !image.alt.trim()).map(image => image.outerHTML)"
    assert notebook.page.locator(":is(.cbk-explorer, .cbk-lab) img").evaluate_all(nameless) == []


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
@pytest.mark.parametrize("width", [800, 1600])
def test_texts_are_whole_and_clear_and_targets_large_enough(notebook, width, theme):
    notebook.page.set_viewport_size(
        {"width": 1400, "height": 1200}
    )  # the menus have no room at 800 px
    notebook.use_theme(theme)
    notebook.page.set_viewport_size({"width": width, "height": 1200})
    notebook.fits(".cbk-explorer")
    notebook.until(
        lambda: faults(notebook.page) == {},
        "texts are cut or faint, or targets small: see page_looks.faults",
    )
    notebook.page.set_viewport_size({"width": 1400, "height": 1200})


def middle(locator):
    locator.scroll_into_view_if_needed()
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_restarted_kernel_breaks_nothing(notebook):
    places = ":is(.cbk-explorer, .cbk-lab) :is(.cbk-tile, .cbk-frame, .widget-slider, .cbk-map-top)"
    offsets = """nodes => nodes.map(node => {
      const box = node.getBoundingClientRect(), root = node.closest(".cbk-explorer, .cbk-lab").getBoundingClientRect();
      return [box.x - root.x, box.width].map(Math.round);
    })"""
    before = notebook.page.locator(places).evaluate_all(offsets)
    notebook.restart_kernel()
    query = view(notebook, "QueryExplorer")
    notebook.until(
        lambda: said(query) == GONE, "the explorer does not say that its kernel has gone"
    )
    assert notebook.page.locator(places).evaluate_all(offsets) == before
    query.get_by_role("button", name="Next").click()
    for explorer in EXPLORERS:
        root = view(notebook, explorer)
        root.locator(CLICKED[explorer]).first.click()
        notebook.until(
            lambda root=root: said(root) == GONE,
            f"{explorer} does not say that its kernel has gone",
        )
    notebook.run_all(*READY)
    for explorer in EXPLORERS:
        root = view(notebook, explorer)
        act_and_wait(notebook, root, root.locator(CLICKED[explorer]).first.click)


def test_a_page_loaded_again_finds_its_kernel(notebook):
    view(notebook, "QueryExplorer").locator(".cbk-lists .cbk-tile").first.focus()
    notebook.save()
    notebook.reload()
    root = view(notebook, "QueryExplorer")
    root.locator(".cbk-lists .cbk-tile img[src^=blob]").first.wait_for()
    act_and_wait(notebook, root, root.locator(CLICKED["QueryExplorer"]).first.click)


def saved(notebook):
    """What its file holds after it was saved."""
    notebook.save()
    return nbformat.read(notebook.lab.folder / "notebook.ipynb", as_version=4)


def test_without_a_kernel_the_pictures_are_shown(opened):
    """A notebook that somebody else saved is not trusted, and Jupyter shows its pictures in place of its widgets."""
    theirs = saved(opened)
    stored = [
        out for cell in theirs.cells for out in cell.outputs if "image/png" in out.get("data", {})
    ]
    assert len(stored) == 2 * len(CELLS) and all(out.metadata["image/png"]["alt"] for out in stored)
    theirs.cells[0].source += "# from somebody else"
    nbformat.write(theirs, opened.lab.folder / "theirs.ipynb")
    theirs = opened.browser.open(opened.lab, "theirs.ipynb", front_end=opened.front_end)
    pictures = theirs.page.locator(".jp-OutputArea-output.jp-RenderedImage img")
    theirs.until(lambda: pictures.count() == 2 * len(CELLS), "the pictures are not shown")
    assert all(pictures.evaluate_all("images => images.map(image => image.naturalWidth > 300)"))
    assert theirs.complaints() == []
    theirs.close()


def test_a_stored_view_says_that_it_has_no_kernel(opened):
    """Jupyter can be told to store the state of widgets in the notebook."""
    opened.choose("Settings", "Save Widget State Automatically")
    view(opened, "QueryExplorer").locator(".cbk-lists .cbk-tile").first.focus()
    opened.until(lambda: "widgets" in saved(opened).metadata, "the state was not stored")
    before = len(opened.lab.ask("/api/kernels"))
    opened.choose("Kernel", "Shut Down Kernel")
    opened.until(lambda: len(opened.lab.ask("/api/kernels")) < before, "the kernel did not end")
    stored = opened.browser.open(opened.lab, "notebook.ipynb", front_end=opened.front_end)
    root = view(stored, "QueryExplorer")
    root.locator(".cbk-lists .cbk-tile img[src^=blob]").first.wait_for(timeout=120_000)
    stored.until(
        lambda: said(root) == GONE, "the stored explorer does not say that it has no kernel"
    )
    root = view(stored, "MetricLab")
    root.locator(".cbk-lab-tile").first.click()
    assert said(root) == GONE and stored.complaints() == []
    stored.close()
