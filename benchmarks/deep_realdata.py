"""Deep encoders beside hand-made ones on real photographs, and beside the figures measured there before.

    python -m benchmarks.deep_realdata [--realdata DIR] [--only NAME ...]

Protocol: cosine distance, exact search; mAP and P@1 with the query left out by id; average pooling of the last feature map, images squashed
to the network's square (112 pixels for tiny, 224 for the others). The last three sets come from sources of which tiny saw no image when it
was distilled; of the others it saw other images, without labels. VLAD's codebook is learned on photographs that are neither queries nor
database. "ms CPU" is processor time of one image over all threads, decoding included.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.encoders_realdata import TRAIN_SOURCES, open_set
from cbirkit import Ranking, evaluate
from cbirkit.encoders import VLAD, ColorHistogram, Deep
from cbirkit.indexes import Exact

CHECKPOINTS = {
    "SqueezeNet 1.0": ("squeezenet1_0", "squeezenet1_0_deepcompression_torchvision.safetensors"),
    "MobileNetV2": ("tf_mobilenet_v2", "mobilenet_v2_tf2_dequant_torchvision.safetensors"),
}
NAMES = {"SqueezeNet 1.0": "squeezenet1_0", "MobileNetV2": "mobilenet_v2", "colour": "hsv_hist256_hellinger"}  # in baselines.json


def tasks(realdata):
    """Name: (collection, its column of classes, mask of the queries, mask of the database, path in baselines.json, seen by tiny)."""
    def whole(folder, by, keys, seen):
        images = open_set(realdata / folder)
        everything = np.ones(len(images), bool)
        return images, by, everything, everything, keys, seen

    pacs = open_set(realdata / "c_crossdomain_pacs")
    photo, sketch = (pacs.column("domain") == domain for domain in ("photo", "sketch"))
    cifar = open_set(realdata / "a_cifar10_small")
    return {
        "clothing": whole("a_category_clothing10", "class", ("a_category_clothing10",), True),
        "ImageNet groups": whole("a_imagenet_superclass10", "superclass", ("a_imagenet_superclass (10 classes, 446 images)",), True),
        "PACS photo→photo": (pacs, "class", photo, photo, ("c_crossdomain_pacs mAP", "photo->photo"), True),
        "PACS sketch→photo": (pacs, "class", sketch, photo, ("c_crossdomain_pacs mAP", "sketch->photo"), True),
        "satellite": whole("f_satellite_rsscn7", "class", ("f_satellite_rsscn7",), True),
        "UKBench": whole("b_instance_ukbench250", "group", ("b_instance_ukbench250",), False),
        "CIFAR-10": (
            cifar, "class", cifar.column("split") == "query", cifar.column("split") == "database",
            ("a_cifar10_small query->database",), False,
        ),
        "Omniglot": whole("f_handwriting_omniglot_A", "character", ("f_handwriting_omniglot_A",), False),
    }  # fmt: skip


def encoders(realdata):
    """Name: encoder, not fitted."""
    found = {
        "random weights": Deep("tiny", weights=None),
        "colour": ColorHistogram(),
        "VLAD 64": VLAD(64),
        "tiny": Deep("tiny"),
    }
    for name, (backbone, file) in CHECKPOINTS.items():
        found[name] = Deep(backbone, realdata / "g_checkpoints" / file, resize="squash")
    return found


def baseline(measured, keys, system):
    """The figure in baselines.json, or NaN."""
    for key in keys:
        measured = measured[key]
    value = measured.get(NAMES.get(system), np.nan)
    return value["mAP"] if isinstance(value, dict) else value


def score(embeddings, images, by, asks, asked):
    """mAP and P@1, percent, with half the 95 % interval of the former."""
    queries, database = images[asks], images[asked]
    distances, indices = Exact("cosine").fit(embeddings[asked]).kneighbors(embeddings[asks], int(asked.sum()))
    ranking = Ranking(queries.ids, database.ids, indices, distances)
    found = evaluate(ranking, images.relevance(queries, database, by=by), metrics=["map", "p@1"])
    half = 50 * (found.summary.loc["map", "high"] - found.summary.loc["map", "low"])
    return {"mAP": 100 * found["map"], "+-": half, "P@1": 100 * found["p@1"]}


def run(realdata, only):
    """Encode every set with every encoder; print a row as it comes, and the tables at the end."""
    measured = json.loads((realdata / "baselines.json").read_text())
    unlabelled = open_set(realdata / "i_unlabelled_photos")
    train = unlabelled.subset(np.isin(unlabelled.column("source"), TRAIN_SOURCES))
    rows, every_task = [], tasks(realdata)
    for name, encoder in encoders(realdata).items():
        if only and name not in only:
            continue
        encoder.fit(train)
        encoded = {}
        for task, (images, by, asks, asked, keys, seen) in every_task.items():
            if id(images) not in encoded:
                start = time.process_time()
                encoded[id(images)] = encoder.transform(images), 1000 * (time.process_time() - start) / len(images)
            embeddings, cpu = encoded[id(images)]
            row = {"set": task, "encoder": name, **score(embeddings, images, by, asks, asked), "ms CPU": cpu, "seen": seen}
            rows.append(row | {"baselines.json": baseline(measured, keys, name)})
            print(", ".join(f"{key} {value:.2f}" if isinstance(value, float) else str(value) for key, value in rows[-1].items()), flush=True)
    summarise(pd.DataFrame(rows))


def summarise(table):
    """Print mAP and P@1 by set and encoder, the share of MobileNetV2's mAP that tiny keeps, and the distance from baselines.json."""
    order = {"index": "set", "columns": "encoder", "sort": False}
    for column in ("mAP", "P@1"):
        wide = table.pivot_table(values=column, **order)
        print(f"\n{column}\n{wide.round(1).to_string()}\nmean\n{wide.mean().round(1).to_string()}")
        if column == "mAP" and {"tiny", "MobileNetV2"} <= set(wide):
            seen = table.drop_duplicates("set").set_index("set")["seen"].reindex(wide.index)
            kept = wide["tiny"] / wide["MobileNetV2"]
            for what, mask in (("all", seen | True), ("sources seen", seen), ("sources unseen", ~seen)):
                mean = wide[mask].mean()
                print(f"tiny keeps of MobileNetV2, {what}: {mean['tiny'] / mean['MobileNetV2']:.3f} of the mean, {kept[mask].mean():.3f} a set")
    off = (table["mAP"] - table["baselines.json"]).abs()
    print(f"\nfurthest from baselines.json: {off.groupby(table['encoder']).max().round(2).to_dict()}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "realdata"
    parser.add_argument("--realdata", type=Path, default=Path(os.environ.get("CBIRKIT_REALDATA", beside)))
    parser.add_argument("--only", nargs="+", metavar="NAME", help="encoders of these names")
    arguments = parser.parse_args()
    if not (arguments.realdata / "baselines.json").is_file():
        parser.error(f"no real photographs in {arguments.realdata}; pass their folder with --realdata DIR")
    return arguments


if __name__ == "__main__":
    chosen = parse()
    run(chosen.realdata, chosen.only)
