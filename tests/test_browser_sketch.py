"""`SketchExplorer` in a real JupyterLab and a real Chromium: drawn on with mouse and finger, taken back, cleared."""

import pytest
from browser import ROOT, running

CELL = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from test_attack_lab import patterned
from cbirkit import Retriever, encoders, explore
retriever = Retriever(encoders.TinyImage(), progress=False).fit(patterned())
sketch = explore.SketchExplorer(retriever, align=lambda rows: 0 * rows + retriever.embeddings[7], k=4)
sketch
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    with running(tmp_path_factory.mktemp("notebooks"), [CELL], ready=[".cbk-paper"]) as page:
        yield page


def status(notebook):
    return notebook.page.locator(".cbk-status").inner_text()


def found(notebook):
    return notebook.page.locator(".cbk-tile").evaluate_all(
        "all => all.map((one) => one.dataset.id + one.innerText)"
    )


def dark(notebook):
    """How many pixels of the paper are black."""
    script = """paper => {
      const { data } = paper.getContext("2d").getImageData(0, 0, paper.width, paper.height);
      return data.filter((value, i) => i % 4 === 0 && value < 128).length;
    }"""
    return notebook.page.locator(".cbk-paper").evaluate(script)


def button(notebook, name):
    return notebook.page.locator(".cbk-pad").get_by_role("button", name=name)


def stroke(notebook, *corners):
    """Draw with the mouse from corner to corner, in fractions of the paper."""
    paper, mouse = notebook.page.locator(".cbk-paper"), notebook.page.mouse
    paper.scroll_into_view_if_needed()
    box = paper.bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    mouse.move(*places[0])
    mouse.down()
    for place in places[1:]:
        mouse.move(*place, steps=5)
    mouse.up()


def touch(notebook, *corners):
    """The same with a finger."""
    session, box = (
        notebook.page.context.new_cdp_session(notebook.page),
        notebook.page.locator(".cbk-paper").bounding_box(),
    )
    kinds = ["touchStart", *["touchMove"] * (len(corners) - 1), "touchEnd"]
    for kind, place in zip(kinds, [*corners, None], strict=True):
        points = (
            []
            if place is None
            else [
                {"x": box["x"] + place[0] * box["width"], "y": box["y"] + place[1] * box["height"]}
            ]
        )
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.detach()


def until_found(notebook, before, what):
    notebook.until(lambda: found(notebook) and found(notebook) != before, what)
    return found(notebook)


def test_the_mouse_draws_and_the_results_change(notebook):
    assert "Draw something" in status(notebook) and found(notebook) == []
    notebook.page.locator(".cbk-controls input").uncheck()
    stroke(notebook, (0.2, 0.2), (0.8, 0.2), (0.8, 0.8))
    first = until_found(notebook, [], "a stroke found nothing")
    lines = dark(notebook)
    assert "Nearest to drawing, not aligned" in status(notebook) and 500 < lines < 10_000
    stroke(notebook, (0.1, 0.5), (0.9, 0.55))
    second = until_found(notebook, first, "a second stroke changed nothing")
    assert dark(notebook) > lines
    button(notebook, "Undo").click()
    third = until_found(notebook, second, "Undo changed nothing")
    assert third == first and dark(notebook) == lines
    notebook.page.locator(".cbk-controls input").check()
    until_found(notebook, third, "the switch changed nothing")
    assert ", aligned" in status(notebook) and found(notebook)[0].startswith("p/7.jpg")
    notebook.page.locator(".cbk-controls input").uncheck()
    until_found(notebook, found(notebook), "the switch changed nothing")


def test_width_keys_and_clear(notebook):
    before, lines = found(notebook), dark(notebook)
    width = notebook.page.get_by_role("slider", name="line")
    width.focus()
    notebook.page.keyboard.press("End")
    stroke(notebook, (0.1, 0.9), (0.9, 0.9))
    after = until_found(notebook, before, "a thick stroke changed nothing")
    assert dark(notebook) - lines > 3000
    notebook.page.keyboard.press("Control+z")
    until_found(notebook, after, "Ctrl+Z changed nothing")
    assert dark(notebook) == lines and notebook.unnamed(".cbk-explorer") == []
    button(notebook, "Clear").click()
    notebook.until(lambda: found(notebook) == [], "Clear left results")
    assert dark(notebook) == 0 and "Draw something" in status(notebook)
    assert button(notebook, "Undo").is_disabled() and button(notebook, "Clear").is_disabled()


def test_a_finger_draws_and_does_not_scroll(notebook):
    place = notebook.page.locator(".cbk-paper").bounding_box()
    touch(notebook, (0.2, 0.2), (0.3, 0.5), (0.4, 0.8))
    until_found(notebook, [], "a finger found nothing")
    assert dark(notebook) > 300 and notebook.page.locator(".cbk-paper").bounding_box() == place
    before = found(notebook)
    touch(notebook, (0.7, 0.7))
    until_found(notebook, before, "a dot changed nothing")


@pytest.mark.parametrize("width", [800, 1600])
def test_it_fits_the_window(notebook, width):
    notebook.page.set_viewport_size({"width": width, "height": 1200})
    notebook.fits(".cbk-explorer")
    box = notebook.page.locator(".cbk-paper").bounding_box()
    assert abs(box["width"] - box["height"]) < 2
