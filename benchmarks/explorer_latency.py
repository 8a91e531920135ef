"""How long the explorers take from a click to the change a reader sees, in a real JupyterLab and a headless Chromium.

    python -m benchmarks.explorer_latency [--sizes 1000 10000 100000] [--repeat 15] [--only QueryExplorer]

A time is taken in the page; "kernel" is the processor time of the kernel's part of it, which a busy machine hardly changes. The images of the
QueryExplorer are hard links of 50 photographs of 128 px, their embeddings those of `TinyImage` with a little noise.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from browser import ROOT, Browser, JupyterLab, write_notebook

# What every notebook begins with, and how the processor time of each event is kept.
BEGIN = f"""
import os, sys, time
from pathlib import Path
sys.path.insert(0, {str(ROOT / "tests")!r})
import numpy as np
from cbirkit import Retriever, datasets, encoders, explore, indexes
def timed(explorer, name="_guard"):
    inner = getattr(explorer, name)
    def outer(*args):
        start = time.process_time()
        inner(*args)
        with open("spent.txt", "a") as file:
            print(1000 * (time.process_time() - start), file=file)
    setattr(explorer, name, outer)
    return explorer
"""
QUERY = """
from PIL import Image
views = datasets.load_photo_views()
folder = Path("photos")
folder.mkdir()
for i in range(50):
    Image.fromarray(views[views.ids[i * 7]]).save(f"{{i}}.jpg", quality=85)
for i in range({n}):
    (folder / f"{{i % 50}}").mkdir(exist_ok=True)
    os.link(f"{{i % 50}}.jpg", folder / f"{{i % 50}}" / f"{{i}}.jpg")
images = datasets.from_folder(folder)
class Shaken(encoders.TinyImage):
    '''A little noise, so that links to one photograph are not ties.'''
    def transform(self, X):
        rows = super().transform(X)
        return (rows + np.random.default_rng().normal(0, 0.01, rows.shape)).astype(np.float32)
retriever = Retriever(Shaken(), indexes.Exact(), progress=False).fit(images)
timed(explore.QueryExplorer(retriever))
"""
CELLS = {
    "MetricLab": "timed(explore.MetricLab([1, 0, 0, 1] * 5, k=10))",
    "AttackLab": """
from test_attack_lab import patterned
deep = encoders.Deep("tiny", device="cpu")
timed(explore.AttackLab(Retriever(deep, progress=False).fit(patterned({n}, size=(64, 64))), steps=10, k=6))
""",
    "ObjectExplorer": """
from test_object_explorer import fitted, things
timed(explore.ObjectExplorer(fitted(things({n})), k=8))
""",
}
TOOLS = """
const explorer = document.querySelector(":is(.cbk-explorer, .cbk-lab)"), all = (s) => explorer.querySelectorAll(s);
const changed = (selector, act) => new Promise((resolve, reject) => {
  const start = performance.now();
  const watch = new MutationObserver(() => { watch.disconnect(); resolve(performance.now() - start); });
  watch.observe(explorer.querySelector(selector), { subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ["data-id"] });
  setTimeout(() => { watch.disconnect(); reject(new Error(`no answer: ${explorer.querySelector(".cbk-status")?.textContent}`)); }, 60000);
  act();
});
const drag = (node, from, to) => {
  const box = node.getBoundingClientRect();
  const at = ([x, y]) => ({ bubbles: true, button: 0, pointerId: 1, clientX: box.x + x * box.width, clientY: box.y + y * box.height });
  const take = node.setPointerCapture;
  node.setPointerCapture = () => {};
  ["pointerdown", "pointermove", "pointerup"].forEach((type, i) => node.dispatchEvent(new PointerEvent(type, at(i ? to : from))));
  node.setPointerCapture = take;
};
const press = (text) => [...all("button")].find((button) => button.textContent === text).click();
"""
PICK = """(i) => changed(".cbk-lists", () => all(".cbk-picker .cbk-tile:not(.cbk-selected)")[i % 20].click())"""
CROP = """(i) => changed(".cbk-status", () => drag(explorer.querySelector(".cbk-frame"), [0.1, 0.1], [0.5 + 0.02 * (i % 20), 0.6]))"""
ACTIONS = {
    "QueryExplorer": {
        "a result clicked": """(i) => changed(".cbk-lists", () => all(".cbk-lists .cbk-tile")[5 + i % 5].click())""",
        "a query picked": PICK,
        "a region cropped": CROP,
        "next page": """(i) => changed(".cbk-picker .cbk-tiles", () => press("Next"))""",
        "a name typed": """(i) => changed(".cbk-picker .cbk-tiles", () => {
          const field = explorer.querySelector(".cbk-picker input[type=text]");
          field.value = `${i % 2 ? 3 : 7}.jpg`;
          field.dispatchEvent(new Event("input", { bubbles: true }));
          field.dispatchEvent(new Event("change", { bubbles: true }));
        })""",
    },
    "MetricLab": {
        "a result judged": """(i) => changed(".cbk-lab-groups", () => all(".cbk-lab-tile")[i % 4].click())"""
    },
    "AttackLab": {"a query picked": PICK},
    "ObjectExplorer": {"a query picked": PICK, "a box drawn": CROP},
}
SIZES = {"MetricLab": [20], "AttackLab": [1_000, 10_000], "ObjectExplorer": [100, 1_000]}


def measure(page, actions, folder, repeat):
    """By action: milliseconds in the page, and of the kernel's processor time where the event was counted."""
    found, log = {}, Path(folder) / "spent.txt"
    for name, script in actions.items():
        log.write_text("")
        times = []
        for i in range(
            repeat
        ):  # each at another place: a click on the same one again changes nothing
            times.append(page.evaluate(f"i => {{ {TOOLS} return ({script})(i); }}", i))
            page.wait_for_timeout(300)
        found[name] = times, [float(line) for line in log.read_text().split()]
    return found


def told(values):
    return f"{np.median(values):.0f} ({np.percentile(values, 90):.0f})" if values else "-"


def try_out(browser, explorer, n, repeat):
    cell = QUERY if explorer == "QueryExplorer" else CELLS[explorer]
    with tempfile.TemporaryDirectory() as folder:
        write_notebook(Path(folder) / "notebook.ipynb", [BEGIN, cell.format(n=n)])
        with JupyterLab(folder) as lab:
            notebook = browser.open(lab, "notebook.ipynb", width=1280, height=1000)
            notebook.run_all(":is(.cbk-lists .cbk-tile img[src^=blob], .cbk-lab-tile)", timeout=500)
            notebook.page.wait_for_timeout(2000)
            for name, (page, kernel) in measure(
                notebook.page, ACTIONS[explorer], folder, repeat
            ).items():
                print(f"| {explorer}, {name} | {n:,} | {told(page)} | {told(kernel)} |", flush=True)
            if notebook.errors() or notebook.complaints():
                raise SystemExit(
                    f"the page complained: {notebook.errors()} {notebook.complaints()}"
                )
            notebook.close()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=[1_000, 10_000, 100_000],
        help="of the QueryExplorer",
    )
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--only", choices=ACTIONS)
    arguments = parser.parse_args()
    print("| what | images | click to change, ms: median (90 %) | kernel, ms |\n|---|---|---|---|")
    with Browser() as browser:
        for explorer in [arguments.only] if arguments.only else ACTIONS:
            for n in SIZES.get(explorer, arguments.sizes):
                try_out(browser, explorer, n, arguments.repeat)


if __name__ == "__main__":
    main()
