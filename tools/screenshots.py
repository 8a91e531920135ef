"""Take the README's pictures of explorers: a real JupyterLab in a headless Chromium, on rendered objects.

`python tools/screenshots.py` writes docs/images/explorer_*.jpg, in about two minutes.
"""

import io
import sys
import tempfile
from pathlib import Path

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


def main():
    """Write one picture an explorer."""
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
