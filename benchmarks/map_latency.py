"""How quickly the EmbeddingMap answers in a real JupyterLab and a headless Chromium without a graphics card.

    python -m benchmarks.map_latency [--sizes 1000 10000 100000] [--repeat 15]

Points are spread evenly, a little shaken, embeddings are 128 random numbers, images are made on the spot. A time is taken in the page, from
the event to the change that the reader sees; for moving and zooming it is the time between two frames.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from browser import Browser, JupyterLab, write_notebook

CELL = """
import time
import numpy as np, pandas as pd
from cbirkit import explore
from cbirkit.images import ImageCollection
rng = np.random.default_rng(0)
n = {n}
table = pd.DataFrame({{"label": [f"class {{i % 10}}" for i in range(n)]}}, index=[f"{{i}}.jpg" for i in range(n)])
made = lambda i: np.random.default_rng(i).integers(0, 255, (12, 12, 3), np.uint8).repeat(10, 0).repeat(10, 1)
images = ImageCollection.from_function(made, table, key="noise", name="made")
embeddings = rng.normal(size=(n, 128)).astype(np.float32)
side = int(np.ceil(np.sqrt(n)))
positions = np.stack(np.divmod(np.arange(n), side), axis=1) + rng.uniform(-0.2, 0.2, (n, 2))
start = time.perf_counter()
seen = explore.EmbeddingMap(images, embeddings, method=positions)
print("made in", round(time.perf_counter() - start, 2), "s")
seen
"""
TOOLS = """
const explorer = document.querySelector(".cbk-explorer"), top = explorer.querySelector(".cbk-map-top");
const frame = explorer.querySelector(".cbk-map-frame"), box = top.getBoundingClientRect();
const at = (x, y) => ({ clientX: box.x + box.width / 2 + x * box.height, clientY: box.y + (0.5 + y) * box.height });
const send = (type, where, more = {}) => top.dispatchEvent(
  new PointerEvent(type, { bubbles: true, button: 0, pointerId: 1, ...where, ...more }));
const next = () => new Promise(requestAnimationFrame);
const changed = (node, what, act) => new Promise((resolve, reject) => {
  const start = performance.now();
  const watch = new MutationObserver(() => { watch.disconnect(); resolve(performance.now() - start); });
  watch.observe(node, what);
  setTimeout(() => { watch.disconnect(); reject(new Error(`no answer: ${explorer.querySelector(".cbk-status").textContent} ${JSON.stringify(frame.dataset)}`)); }, 20000);
  act();
});
const all = { subtree: true, childList: true, attributes: true, attributeFilter: ["data-id"] };
const press = (text) => [...explorer.querySelectorAll("button")].find((b) => b.textContent === text).click();
async function frames(act) {
  const times = [];
  let last = await next();
  for (let i = 0; i < 40; i += 1) {
    act(i);
    const now = await next();
    times.push(now - last);
    last = now;
  }
  return times.slice(3);
}
"""
MEASURES = {
    "picture beside a point": """async ([x, y]) => {
      send("pointerleave", at(x, y));
      await next();
      const tip = explorer.querySelector(".cbk-map-tip");
      return changed(tip, { attributes: true, attributeFilter: ["data-at"] }, () => send("pointermove", at(x, y)));
    }""",
    "click to neighbours": """([x, y]) => changed(explorer.querySelector(".cbk-lists"), all, () => {
      send("pointerdown", at(x, y)); send("pointerup", at(x, y)); })""",
    "lasso to pictures": """([x, y]) => {
      send("pointerdown", at(x, y));
      for (let i = 1; i < 60; i += 1) {
        send("pointermove", at(x + 0.12 * Math.sin(i / 9.5), y + 0.12 * (1 - Math.cos(i / 9.5))));
      }
      return changed(explorer.querySelector(".cbk-lists"), all, () => send("pointerup", at(x, y + 0.001)));
    }""",
}
FRAMES = {
    "moving": """async () => {
      press("Move"); press("Whole map");
      send("pointerdown", at(0, 0));
      const times = await frames((i) => send("pointermove", at(i / 100, i / 200)));
      send("pointerup", at(0.4, 0.2));
      press("Whole map"); press("Lasso");
      return times;
    }""",
    "zooming": """async () => {
      top.focus();
      const times = await frames((i) => top.dispatchEvent(new WheelEvent("wheel",
        { deltaY: i < 20 ? -60 : 60, cancelable: true, bubbles: true, ...at(0.1, 0.1) })));
      press("Whole map");
      return times;
    }""",
    "drawing all anew": """async () => {
      const times = [];
      for (let i = 0; i < 8; i += 1) { press("Whole map"); await next(); await next(); times.push(Number(frame.dataset.drawn)); }
      return times;
    }""",
}


def measure(page, repeat):
    """Milliseconds by name of what is measured: all of them for events, of each frame for movements."""

    def run(script, place=None):
        return page.evaluate(f"given => {{ {TOOLS} return ({script})(given); }}", place)

    found = {name: run(script) for name, script in FRAMES.items()}
    for name, script in MEASURES.items():
        found[name] = []
        for i in range(
            repeat
        ):  # each at another point: a click on the same one again changes nothing
            found[name].append(run(script, [-0.3 + 0.1 * (i % 6), -0.3 + 0.12 * (i // 6 % 5)]))
            page.wait_for_timeout(150)
    return found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--repeat", type=int, default=15)
    arguments = parser.parse_args()
    print("| | " + " | ".join((*FRAMES, *MEASURES)) + " |")
    with tempfile.TemporaryDirectory() as folder, Browser() as browser:
        for n in arguments.sizes:
            write_notebook(Path(folder) / f"{n}.ipynb", [CELL.format(n=n)])
            with JupyterLab(folder) as lab:
                notebook = browser.open(lab, f"{n}.ipynb", width=1280, height=1000)
                notebook.run_all(timeout=300)
                notebook.page.wait_for_selector(".cbk-map-frame[data-drawn]", timeout=60_000)
                notebook.page.locator(".cbk-map-top").scroll_into_view_if_needed()
                notebook.page.wait_for_timeout(4000)
                found = measure(notebook.page, arguments.repeat)
                cells = [
                    f"{np.median(times):.0f} ({np.percentile(times, 90):.0f})"
                    for times in found.values()
                ]
                made = notebook.page.locator(".jp-OutputArea-output pre").first.inner_text()
                print(f"| {n:,} | " + " | ".join(cells) + f" |  {made.strip()}", flush=True)
                if notebook.errors() or notebook.complaints():
                    raise SystemExit(
                        f"the page complained: {notebook.errors()} {notebook.complaints()}"
                    )
                notebook.close()


if __name__ == "__main__":
    main()
