"""The parts of the explorers in a page without Jupyter: what VS Code's view, or any other that runs anywidget, can count on."""

import io
from base64 import b64encode

import numpy as np
import pytest
from browser import Browser, require_browser
from PIL import Image

from cbirkit import explore
from cbirkit.explore import widgets
from cbirkit.explore.widgets import MapCanvas
from cbirkit.plots import Tile

# A stand-in for anywidget: the traits of one widget, and a list of what it sends.
HOST = """async ({ script, style, traits }) => {
  document.head.append(Object.assign(document.createElement("style"), { textContent: style }));
  const revive = (value) => {
    if (Array.isArray(value)) return value.map(revive);
    if (value?.bytes !== undefined) return new DataView(Uint8Array.from(atob(value.bytes), (c) => c.charCodeAt(0)).buffer);
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, revive(v)]));
    return value;
  };
  const values = revive(traits), nothing = () => {};
  window.sent = [];
  const model = { get: (name) => values[name], set: nothing, save_changes: nothing, on: nothing, off: nothing, send: (message) => sent.push(message) };
  const { default: widget } = await import(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  const el = document.body.appendChild(document.createElement("div"));
  await widget.render({ model, el });
}"""
DARK = "body { background: #1f1f1f; --vscode-foreground: #ccc; --vscode-editor-background: #1f1f1f; --vscode-editorWidget-background: #252526 }"


def picture():
    buffer = io.BytesIO()
    Image.fromarray(np.full((60, 80, 3), 90, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def made(kind):
    if kind == "TileGrid":
        grid = widgets.TileGrid(heading="Found")
        grid.show(Tile(f"{i}.png", picture(), mark="right") for i in range(3))
        return grid
    if kind == "Cropper":
        cropper = widgets.Cropper()
        cropper.show(picture(), 80, 60, name="a.png", box=(10, 10, 20, 20))
        return cropper
    if kind == "MapCanvas":
        canvas = MapCanvas(lambda at: (b"", str(at)))
        canvas.draw(np.array([[0.0, 0], [1, 0], [0, 1]]), title="Map", summary="three points")
        return canvas
    if kind == "StatusLine":
        line = widgets.StatusLine()
        line.say("All is well")
        return line
    return explore.MetricLab()._list


def plain(value):
    """A trait as JSON; bytes stand in it as base64."""
    if isinstance(value, bytes):
        return {"bytes": b64encode(value).decode("ascii")}
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


@pytest.fixture(scope="module")
def browser():
    require_browser()
    with Browser() as browser:
        yield browser


@pytest.mark.parametrize(
    ("kind", "clicked", "event"),
    [
        ("TileGrid", ".cbk-tile >> nth=1", "pick"),
        ("Cropper", "text=Whole picture", "whole"),
        ("MapCanvas", "text=Select what is shown", "select"),
        ("RankedList", ".cbk-lab-tile >> nth=0", "cycle"),
        ("StatusLine", "text=All is well", None),
    ],
)
def test_it_draws_and_answers(browser, kind, clicked, event):
    widget, page, complaints = made(kind), browser.bare_page(), []
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_content(f"<!doctype html><style>{DARK}</style><body class='vscode-dark'></body>")
    names = [
        name
        for name in widget.trait_names(sync=True)
        if not name.startswith("_") and name not in ("layout", "tooltip", "tabbable")
    ]
    page.evaluate(
        HOST,
        {
            "script": widget._esm,
            "style": widget._css,
            "traits": {name: plain(getattr(widget, name)) for name in names},
        },
    )
    page.locator(clicked).click()
    # A map of three points asks for their pictures, too.
    asked = [one["event"] for one in page.evaluate("sent") if one["event"] != "hover"]
    assert asked == ([event] if event else [])
    assert (
        page.locator(".cbk").evaluate("node => getComputedStyle(node).color")
        == "rgb(204, 204, 204)"
        and complaints == []
    )
    page.context.close()
