"""Every encoder on two sets of real photographs, beside the baselines measured there before.

    python -m benchmarks.encoders_realdata [--realdata DIR] [--only NAME ...]

Protocol: every image is a query against all images of its set, cosine distance, exact search. mAP and P@1 leave the query out by
id; the UKBench score counts it. Codebooks and PCA are learned on 1,554 photographs (sources "imagenet" and "pacs_photo" of
i_unlabelled_photos) that are neither queries nor database. Images/s is `transform` after fitting, decoding included;
"ms CPU" is the processor time of one image over all threads, which a busy machine disturbs less.
Defaults were chosen on other pictures: warped Flickr photographs, ImageNet super-classes, satellite images.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer

from cbirkit import ImageCollection, Ranking, evaluate
from cbirkit.encoders import HOG, LBP, VLAD, BagOfWords, ColorHistogram, MeanColor, TinyImage
from cbirkit.indexes import Exact

SETS = {"b_instance_ukbench250": "group", "a_category_clothing10": "class"}
TRAIN_SOURCES = ("imagenet", "pacs_photo")
ENCODERS = {
    "MeanColor": MeanColor(),
    "ColorHistogram hsv": ColorHistogram(),
    "  the same in 8 bits": None,  # set below: it needs a function
    "ColorHistogram lab": ColorHistogram("lab"),
    "ColorHistogram rgb": ColorHistogram("rgb"),
    "TinyImage": TinyImage(),
    "HOG": HOG(),
    "LBP": LBP(),
    "BagOfWords 1000": BagOfWords(1000),
    "BagOfWords 5000 power .5": BagOfWords(5000, power=0.5),
    "VLAD 64": VLAD(64),
    "VLAD 256": VLAD(256),
    "VLAD 64 + PCA 128": make_pipeline(VLAD(64), PCA(128, random_state=0), Normalizer()),
}


def histogram_8_bits(images):
    """The 16 x 4 x 4 HSV histogram of baselines.json: Pillow's conversion, which rounds H, S and V to 8 bits."""
    rows = []
    for image in images:
        hsv = np.asarray(Image.fromarray(image).convert("HSV")).reshape(-1, 3).astype(np.int64)
        cells = hsv * (16, 4, 4) // 256  # (n, 3)
        rows.append(np.bincount(cells @ (16, 4, 1), minlength=256) / len(cells))
    return np.sqrt(np.array(rows, dtype=np.float32))


ENCODERS["  the same in 8 bits"] = FunctionTransformer(histogram_8_bits)


def open_set(folder):
    """The collection of one folder with a labels.csv."""
    table = pd.read_csv(folder / "labels.csv")
    return ImageCollection.from_files([folder / name for name in table["file"]], table, root=folder)


def measure(encoder, images, by):
    """Encode, search and score one set; a dict of numbers."""
    start, start_cpu = time.perf_counter(), time.process_time()
    embeddings = encoder.transform(images)
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    distances, indices = Exact("cosine").fit(embeddings).kneighbors(embeddings, len(images))
    ranking = Ranking(images.ids, images.ids, indices, distances)
    found = evaluate(ranking, images.relevance(by=by), metrics=["map", "p@1"])
    row = {
        "mAP": 100 * found["map"],
        "+-": 50 * (found.summary.loc["map", "high"] - found.summary.loc["map", "low"]),
        "P@1": 100 * found["p@1"],
    }
    if by == "group":
        row["N-S"] = evaluate(
            ranking, images.relevance(by=by, keep_self=True), metrics="ukbench", n_bootstrap=0
        )["ukbench"]
    row |= {
        "dims": embeddings.shape[1],
        "zero": int((~embeddings.any(axis=1)).sum()),
        "images/s": len(images) / seconds,
    }
    return row | {"ms CPU": 1000 * cpu / len(images)}


def baselines(realdata, name):
    """Rows of the earlier measurements."""
    measured = json.loads((realdata / "baselines.json").read_text())[name]
    keys = {"mAP": "mAP", "P@1": "P@1", "N-S score (0-4, self included)": "N-S"}
    return {
        f"baselines.json: {system}": {
            keys[key]: value for key, value in scores.items() if key in keys
        }
        for system, scores in measured.items()
    }


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "realdata"
    parser.add_argument(
        "--realdata", type=Path, default=Path(os.environ.get("CBIRKIT_REALDATA", beside))
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="encoders whose name starts so")
    arguments = parser.parse_args()
    if not (arguments.realdata / "baselines.json").is_file():
        parser.error(
            f"no real photographs in {arguments.realdata}; pass their folder with --realdata DIR"
        )
    return arguments


def run(arguments):
    """Fit every encoder once, score it on each set, and print each row as it comes."""
    unlabelled = open_set(arguments.realdata / "i_unlabelled_photos")
    train = unlabelled.subset(np.isin(unlabelled.column("source"), TRAIN_SOURCES))
    tables = {name: {} for name in SETS}
    for label, encoder in ENCODERS.items():
        if arguments.only and not label.strip().startswith(tuple(arguments.only)):
            continue
        start = time.perf_counter()
        encoder.fit(train)
        fit_seconds = time.perf_counter() - start
        for name, by in SETS.items():
            row = measure(encoder, open_set(arguments.realdata / name), by) | {"fit s": fit_seconds}
            tables[name][label] = row
            print(
                f"{name}  {label.strip()}: {', '.join(f'{key} {value:.4g}' for key, value in row.items())}",
                flush=True,
            )
    for name, rows in tables.items():
        print(f"\n{name}\n{as_text(rows | baselines(arguments.realdata, name))}")
    print(
        f"\n+-: half the 95 % bootstrap interval over queries; zero: images without an embedding; {os.cpu_count()} cores"
    )


def as_text(rows):
    """Lay out rows {label: {column: number}} as a table."""
    table = pd.DataFrame.from_dict(rows, orient="index")
    digits = {
        "mAP": 2,
        "+-": 2,
        "P@1": 1,
        "N-S": 3,
        "dims": 0,
        "zero": 0,
        "images/s": 0,
        "ms CPU": 1,
        "fit s": 1,
    }
    formatters = {key: f"{{:.{n}f}}".format for key, n in digits.items() if key in table}
    return table.to_string(na_rep="", formatters=formatters)


if __name__ == "__main__":
    run(parse())
