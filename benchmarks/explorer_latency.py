"""How long the QueryExplorer takes from a click to the new tiles: search, decoding and sending included.

    python -m benchmarks.explorer_latency FOLDER [--n 10000] [--repeat 25]

The images of FOLDER are repeated until there are `n`; the clicks are the messages that the browser would send.
"""

import argparse
import time

import numpy as np

from cbirkit import ImageCollection, Retriever, datasets, encoders, explore


def many(folder, n):
    """A collection of `n` files: those of the folder, again and again under other ids."""
    images = datasets.from_folder(folder)
    paths = [images.path(i) for i in range(len(images))]
    chosen = [paths[i % len(paths)] for i in range(n)]
    return ImageCollection.from_files(chosen, ids=[f"{i}/{path.name}" for i, path in enumerate(chosen)])


def timed(action, repeat):
    """Median and 90th percentile of the milliseconds that the calls of `action` take."""
    spent = []
    for _ in range(repeat):
        start = time.perf_counter()
        action()
        spent.append(1000 * (time.perf_counter() - start))
    return np.percentile(spent, [50, 90])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=25)
    arguments = parser.parse_args()
    images = many(arguments.folder, arguments.n)
    retriever = Retriever(encoders.ColorHistogram()).fit(images)
    explorer, rng = explore.QueryExplorer(retriever), np.random.default_rng(0)

    def click_a_result():
        grid = explorer._grids[0]
        grid.receive({"event": "pick", "id": grid.ids[int(rng.integers(len(grid.ids)))]})

    def new_query():
        explorer.search(images.ids[int(rng.integers(len(images)))])

    def crop():
        explorer._cropper.receive({"event": "crop", "box": [*rng.integers(5, 40, 2).tolist(), 60, 60]})

    actions = {"a result is clicked": click_a_result, "a query not shown before": new_query, "a part is cropped": crop}
    print(f"{len(images):,} images, k = {explorer.k}")
    for name, action in actions.items():
        median, p90 = timed(action, arguments.repeat)
        print(f"{name}: median {median:.0f} ms, 90th percentile {p90:.0f} ms")


if __name__ == "__main__":
    main()
