"""How quickly the CollectionExplorer answers in a real JupyterLab and a headless Chromium, and how long the survey takes.

    python -m benchmarks.collection_latency FOLDER [--sizes 1000 10000 100000] [--repeat 15]

The photographs of FOLDER are decoded again and again under other ids, each time shifted, so that no two are the same. A time is taken in the
page, from the event to the change that the reader sees: while images are still being looked at ("busy"), and afterwards.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from browser import Browser, JupyterLab, write_notebook

SETUP = """
import time
import numpy as np, pandas as pd
from cbirkit import datasets, explore
from cbirkit.explore import collection_explorer
from cbirkit.images import ImageCollection, read_image
n, spent, survey = {n}, [], collection_explorer.survey
def timed(images, embeddings, progress, **how):
    start = time.perf_counter()
    def told(done, total):
        if done == total:
            spent.append(time.perf_counter() - start)
        progress(done, total)
    found = survey(images, embeddings, progress=told, **how)
    spent.append(time.perf_counter() - start - spent[0])
    return found
collection_explorer.survey = timed
photos = datasets.from_folder({folder!r})
paths = [photos.path(i) for i in range(len(photos))]
table = pd.DataFrame({{"label": [f"class {{i % 100}}" for i in range(n)]}}, index=[f"{{i}}.jpg" for i in range(n)])
made = lambda i: np.roll(read_image(paths[i % len(paths)]), 9 * (i // len(paths)), axis=(0, 1))
images = ImageCollection.from_function(made, table, key="shifted", name="shifted")
start = time.perf_counter()
seen = explore.CollectionExplorer(images)
print(round(time.perf_counter() - start, 2))
seen
"""
WAIT = """
seen.wait()
print(*(round(seconds, 2) for seconds in spent))
"""
TOOLS = """
const explorer = document.querySelector(".cbk-explorer");
const changed = (node, act) => new Promise((resolve, reject) => {
  const start = performance.now();
  const watch = new MutationObserver(() => { watch.disconnect(); resolve(performance.now() - start); });
  watch.observe(node, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-id"] });
  setTimeout(() => { watch.disconnect(); reject(new Error(`no answer: ${explorer.querySelector(".cbk-status").textContent}`)); }, 60000);
  act();
});
const sheet = explorer.querySelector(".cbk-sheet .cbk-tiles");
const choose = (which, i) => {
  const menu = explorer.querySelectorAll(".cbk-row select")[which];
  menu.selectedIndex = i;
  menu.dispatchEvent(new Event("change", { bubbles: true }));
};
"""
MEASURES = {
    "page turned": """() => changed(sheet, () => [...explorer.querySelectorAll(".jupyter-button")]
      .find((button) => button.textContent.trim() === "Next").click())""",
    "picture larger": """(i) => changed(explorer.querySelector(".cbk-detail"), () => sheet.children[i % 48].click())""",
    "filter": """(i) => changed(sheet, () => choose(1, 1 + i))""",
}


def measure(page, repeat):
    """Milliseconds (repeat,) of each of `MEASURES`."""

    def run(script, i):
        return page.evaluate(f"given => {{ {TOOLS} return ({script})(given); }}", i)

    page.locator(".cbk-row select").first.select_option("label")
    page.wait_for_timeout(1000)
    found = {}
    for name, script in MEASURES.items():
        found[name] = []
        for i in range(repeat):
            found[name].append(run(script, i))
            page.wait_for_timeout(100)
    page.locator(".cbk-row select").nth(1).select_option("any value")
    page.wait_for_timeout(1000)
    return found


def told(found):
    return [f"{np.median(times):.0f} ({np.percentile(times, 90):.0f})" for times in found.values()]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--repeat", type=int, default=15)
    arguments = parser.parse_args()
    print(
        "| images | opens, s | "
        + " | ".join([*MEASURES, *(f"{name}, busy" for name in MEASURES)])
        + " | read, s | compared, s |"
    )
    with tempfile.TemporaryDirectory() as folder, Browser() as browser:
        for n in arguments.sizes:
            setup = SETUP.format(n=n, folder=str(Path(arguments.folder).resolve()))
            write_notebook(Path(folder) / f"{n}.ipynb", [setup, WAIT])
            with JupyterLab(folder) as lab:
                notebook = browser.open(lab, f"{n}.ipynb", width=1400, height=1200)
                print(row(notebook, n, arguments.repeat), flush=True)
                if notebook.errors() or notebook.complaints():
                    raise SystemExit(
                        f"the page complained: {notebook.errors()} {notebook.complaints()}"
                    )
                notebook.close()


def row(notebook, n, repeat):
    """One line of the table."""
    page = notebook.page
    output = page.locator(".jp-OutputArea-output pre")
    page.locator(".jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".cbk-sheet .cbk-tile img[src^=blob]", timeout=120_000)
    opened = output.first.inner_text().strip()
    page.wait_for_timeout(1000)
    looking = page.locator(".cbk-choices button[data-value=copies]").inner_text() == "copies (…)"
    busy = told(measure(page, repeat)) if looking else ["ready"] * len(MEASURES)
    page.locator(".jp-CodeCell .cm-content").last.click()
    page.keyboard.press("Control+Enter")
    notebook.until(
        lambda: output.count() == 2 and output.last.inner_text().strip(),
        "the survey did not end",
        seconds=1800,
    )
    page.wait_for_timeout(2000)
    read, compared = output.last.inner_text().split()
    return " | ".join(
        [
            f"| {n:,}",
            opened,
            *told(measure(page, repeat)),
            *busy,
            f"{read} ({n / float(read):.0f} a second)",
            f"{compared} |",
        ]
    )


if __name__ == "__main__":
    main()
