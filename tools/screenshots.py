"""Take the README's pictures of explorers and of an exercise: a real JupyterLab in a headless Chromium, on rendered objects.

`python tools/screenshots.py` writes docs/images/explorer_*.jpg and exercise.jpg, in about two minutes.
"""

import io
import sys
import tempfile
from pathlib import Path

import nbformat
from course import ROOT
from PIL import Image

sys.path.insert(0, str(ROOT / "tests"))
from browser import Browser, JupyterLab, write_notebook

OUT = ROOT / "docs" / "images"
HEIGHT = 1000  # pixels shown of each
FIRST = """
import numpy as np
from cbirkit import ImageCollection, Retriever, datasets, encoders, explore

def cut_out(objects):
    boxes = objects.column("box")
    pixels = [image[t:b, l:r] for image, (l, t, r, b) in zip(objects, boxes)]
    return ImageCollection.from_arrays(pixels, ids=objects.ids, table=objects.table).split()

def fitted(database):
    return Retriever(encoders.Deep("lite0"), progress=False).fit(database)

world = datasets.load_tabletop()
queries, one_of_each = cut_out(world[world.table["instance"].str.endswith(" 0").to_numpy()])
retriever = fitted(one_of_each)
kinds = ["teapot", "mug", "car", "chair", "cactus", "apple", "globe", "duck", "umbrella", "bed"]
six_of_each = cut_out(world[np.isin(world.labels, kinds)])[1]
some = fitted(six_of_each)
"""
CELLS = {
    "query": 'explore.QueryExplorer(retriever, queries=queries, query="teapot_0_0", k=12)',
    "feedback": 'explore.FeedbackExplorer(some, query="mug_1_3", k=12)',
    "map": "explore.EmbeddingMap(six_of_each, some.embeddings, random_state=0).wait()",
}

WRONG = "return relevant[:k].mean()"  # an answer to the first exercise: right, unless fewer than k results came back


def main():
    """Write one picture an explorer, and one of an exercise."""
    exercise()
    cells = [FIRST, *CELLS.values()]
    with tempfile.TemporaryDirectory() as folder:
        write_notebook(Path(folder) / "notebook.ipynb", cells)
        with JupyterLab(folder) as lab, Browser() as browser:
            page = browser.open(lab, "notebook.ipynb", width=1180, height=3600)
            page.run_all(".cbk-lists .cbk-tile img[src^=blob]", ".cbk-map-frame[data-drawn]")
            page.page.wait_for_timeout(2000)
            prepare(page.page)
            for name, node in zip(CELLS, page.page.locator(".cbk-explorer").all(), strict=False):
                path = OUT / f"explorer_{name}.jpg"
                with Image.open(io.BytesIO(node.screenshot())) as whole:
                    size = whole.width, min(whole.height, HEIGHT)
                    assert size[1] > 400, f"{name} is {size[1]} pixels high"
                    whole.convert("RGB").crop((0, 0, *size)).save(path, quality=85)
                print(path.name, size, path.stat().st_size)
            print(page.errors(), page.complaints())


def exercise():
    """Write the picture of the first exercise of notebook 00: a hint is open, and the check has found what is wrong with an answer."""
    course = nbformat.read(ROOT / "notebooks" / "00_start_here.ipynb", as_version=4)
    at = next(i for i, c in enumerate(course.cells) if "exercise" in c.metadata.get("tags", []))
    text, stub = course.cells[at - 1].source, course.cells[at].source
    with tempfile.TemporaryDirectory() as folder:
        notebook = Path(folder) / "notebook.ipynb"
        write_notebook(
            notebook,
            ["from cbirkit import checks", stub.replace("raise NotImplementedError", WRONG)],
        )
        written = nbformat.read(notebook, as_version=4)
        written.cells.insert(
            1, nbformat.v4.new_markdown_cell(text.replace("<details>", "<details open>", 1))
        )
        nbformat.write(written, notebook)
        with JupyterLab(folder) as lab, Browser() as browser:
            page = browser.open(lab, "notebook.ipynb", width=1060, height=900)
            page.run_all()
            page.page.locator(".jp-Notebook .jp-Cell").first.click()  # away from the exercise
            cells = page.page.locator(".jp-Notebook .jp-Cell")
            top, bottom = (cells.nth(i).bounding_box() for i in (1, 2))
            path = OUT / "exercise.jpg"
            box = {**top, "height": bottom["y"] + bottom["height"] - top["y"]}
            with Image.open(io.BytesIO(page.page.screenshot(clip=box))) as shown:
                shown.convert("RGB").save(path, quality=85)
                print(path.name, shown.size, path.stat().st_size)
            print(page.errors(), page.complaints())


def prepare(page):
    """Mark the mugs among the results and go on to the next round."""
    feedback = page.locator(".cbk-explorer").nth(1)
    tiles = feedback.locator(".cbk-lists .cbk-grid").first.locator(".cbk-tile")
    for number in range(tiles.count()):
        tile = tiles.nth(number)
        for _ in range(1 if "mug" in tile.inner_text() else 2):  # a second click: not relevant
            tile.click()
            page.wait_for_timeout(700)
    feedback.get_by_role("button", name="Next round", exact=True).click()
    page.wait_for_timeout(2500)


if __name__ == "__main__":
    main()
