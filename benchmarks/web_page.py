"""A site of ``cbirkit web`` in headless Chromium: its size, time to open and to answer, and whether it finds what Python finds.

    cbirkit web FOLDER --out SITE
    python benchmarks/web_page.py FOLDER QUERIES SITE

QUERIES is a folder of pictures that are not in FOLDER; each is given to the page as a file.
"""

import argparse
import functools
import http.server
import shutil
import threading
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from cbirkit import ImageCollection, Retriever
from cbirkit.compress import OnnxEncoder
from cbirkit.encoders.base import unit

K = 10


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def answers(site, paths, wait):
    """Seconds to open, to the first answer and to each later one, and the ids that the page finds for each file."""
    handler = functools.partial(Quiet, directory=site)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    seconds, found = [], []
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        page = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"]).new_page()
        start = time.perf_counter()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.wait_for_selector("#all button")
        seconds.append(time.perf_counter() - start)
        page.wait_for_timeout(1000 * wait)
        for path in paths:
            page.evaluate("document.getElementById('found').replaceChildren()")
            start = time.perf_counter()
            page.set_input_files("#file", path)
            page.wait_for_selector("#found button")
            seconds.append(time.perf_counter() - start)
            read = "all => all.map((one) => one.dataset.id)"
            found.append(page.eval_on_selector_all("#found button", read))
    server.shutdown()
    return seconds, found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("folder", "queries", "site"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--wait", type=float, default=0, help="seconds between opening and asking")
    arguments = parser.parse_args()
    retriever = Retriever.load(arguments.folder / ".cbirkit" / "retriever", images=False)
    queries, ids = ImageCollection.from_folder(arguments.queries), np.array(retriever.ids)
    paths = [queries.path(name) for name in queries.ids]
    seconds, found = answers(arguments.site, paths, arguments.wait)
    size = sum(path.stat().st_size for path in arguments.site.iterdir())
    print(f"{len(ids):,} images, {size / 1e6:.1f} MB; {len(paths)} queries")
    print(f"open {seconds[0]:.2f} s, first answer {seconds[1]:.2f} s, later {np.median(seconds[2:]):.2f} s (median)")  # fmt: skip
    X = unit(np.asarray(retriever.embeddings, np.float32))
    encoders = {"its encoder": retriever.encoder_, "the site's network": OnnxEncoder(arguments.site / "encoder.onnx")}  # fmt: skip
    for name, encoder in encoders.items():
        near = np.argsort(-(encoder.transform(queries) @ X.T), axis=1, kind="stable")[:, :K]
        same = [len({*ids[row]} & {*one}) for row, one in zip(near, found, strict=True)]
        print(f"of Python's first {K} with {name}: {np.mean(same):.2f} (least {min(same)}, below 9: {np.sum(np.less(same, 9))})")  # fmt: skip


if __name__ == "__main__":
    main()
