"""Deep encoders beside hand-made ones on real photographs, and beside the figures measured there before.

    python -m benchmarks.deep_realdata [--realdata DIR] [--only NAME ...] [--csv FILE]

Protocol: cosine distance, exact search; mAP and P@1 with the query left out by id; average pooling of the last feature map, images squashed
to the network's square (160 pixels for tiny, 224 for the others). "met": the network was trained, or its teacher was, on pictures of the
set's source. VLAD's codebook is learned on photographs that are neither queries nor database. "ms CPU" is processor time of one image over
all threads, decoding included. With --csv rows are kept there, and encoders that it has are not run again.
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
NAMES = {
    "SqueezeNet 1.0": "squeezenet1_0",
    "MobileNetV2": "mobilenet_v2",
    "colour": "hsv_hist256_hellinger",
}  # in baselines.json


def tasks(realdata):
    """Name: (collection, its column of classes, mask of the queries, mask of the database, path in baselines.json)."""

    def whole(folder, by, *keys):
        images = open_set(realdata / folder)
        everything = np.ones(len(images), bool)
        return images, by, everything, everything, keys

    pacs, cifar = open_set(realdata / "c_crossdomain_pacs"), open_set(realdata / "a_cifar10_small")
    domain = pacs.column("domain")
    split = cifar.column("split")
    across = {
        f"PACS {name}→photo": (
            pacs,
            "class",
            domain == key,
            domain == "photo",
            ("c_crossdomain_pacs mAP", f"{key}->photo"),
        )
        for name, key in {
            "photo": "photo",
            "art": "art_painting",
            "cartoon": "cartoon",
            "sketch": "sketch",
        }.items()
    }
    return {
        "clothing": whole("a_category_clothing10", "class", "a_category_clothing10"),
        "flowers": whole("k_flowers300", "class"),
        "UC Merced": whole("l_ucmerced420", "class"),
        "RSSCN7": whole("f_satellite_rsscn7", "class", "f_satellite_rsscn7"),
        **across,
        "UKBench": whole("b_instance_ukbench250", "group", "b_instance_ukbench250"),
        "CIFAR-10": (cifar, "class", split == "query", split == "database", ("a_cifar10_small query->database",)),
        "Omniglot": whole("f_handwriting_omniglot_A", "character", "f_handwriting_omniglot_A"),
        "ImageNet groups": whole("a_imagenet_superclass10", "superclass", "a_imagenet_superclass (10 classes, 446 images)"),
    }  # fmt: skip


def encoders(realdata):
    """Name: encoder, not fitted."""
    found = {
        "random weights": Deep("tiny", weights=None),
        "colour": ColorHistogram(),
        "VLAD 64": VLAD(64),
        "tiny": Deep("tiny"),
        "lite0": Deep("lite0"),
    }
    for name, (backbone, file) in CHECKPOINTS.items():
        found[name] = Deep(backbone, realdata / "g_checkpoints" / file, resize="squash")
    return found


def baseline(measured, keys, system):
    """The figure in baselines.json, or NaN."""
    if not keys:
        return np.nan
    for key in keys:
        measured = measured.get(key, {})
    value = measured.get(NAMES.get(system), np.nan)
    return value["mAP"] if isinstance(value, dict) else value


def score(embeddings, images, by, asks, asked):
    """mAP and P@1, percent, with half the 95 % interval of the former."""
    queries, database = images[asks], images[asked]
    distances, indices = (
        Exact("cosine").fit(embeddings[asked]).kneighbors(embeddings[asks], int(asked.sum()))
    )
    ranking = Ranking(queries.ids, database.ids, indices, distances)
    found = evaluate(ranking, images.relevance(queries, database, by=by), metrics=["map", "p@1"])
    half = 50 * (found.summary.loc["map", "high"] - found.summary.loc["map", "low"])
    return {"mAP": 100 * found["map"], "+-": half, "P@1": 100 * found["p@1"]}


def run(realdata, only, kept):
    """Encode every set with every encoder; print a row as it comes, and the tables at the end."""
    measured = json.loads((realdata / "baselines.json").read_text())
    unlabelled = open_set(realdata / "i_unlabelled_photos")
    train = unlabelled.subset(np.isin(unlabelled.column("source"), TRAIN_SOURCES))
    rows = pd.read_csv(kept).to_dict("records") if kept and kept.is_file() else []
    every_task = tasks(realdata)
    for name, encoder in encoders(realdata).items():
        if (only and name not in only) or name in {row["encoder"] for row in rows}:
            continue
        encoder.fit(train)
        encoded = {}
        for task, (images, by, asks, asked, keys) in every_task.items():
            if id(images) not in encoded:
                start = time.process_time()
                encoded[id(images)] = (
                    encoder.transform(images),
                    1000 * (time.process_time() - start) / len(images),
                )
            embeddings, cpu = encoded[id(images)]
            row = {
                "set": task,
                "encoder": name,
                **score(embeddings, images, by, asks, asked),
                "ms CPU": cpu,
            }
            row["met"] = (
                task == "ImageNet groups"
                and isinstance(encoder, Deep)
                and encoder.weights is not None
            )
            rows.append(row | {"baselines.json": baseline(measured, keys, name)})
            print(
                ", ".join(
                    f"{key} {value:.2f}" if isinstance(value, float) else str(value)
                    for key, value in rows[-1].items()
                ),
                flush=True,
            )
        if kept:
            pd.DataFrame(rows).to_csv(kept, index=False)
    summarise(pd.DataFrame(rows))


def summarise(table):
    """Print mAP and P@1 by set and encoder, their means over sets that no network met, the share of lite0's mAP that each keeps."""
    never = table.loc[~table["set"].isin(table.loc[table["met"], "set"]), "set"].unique()
    for column in ("mAP", "+-", "P@1"):
        wide = table.pivot_table(values=column, index="set", columns="encoder", sort=False)
        print(f"\n{column}\n{wide.round(1).to_string()}")
        mean = wide.loc[never].mean()
        if column != "+-":
            print(f"mean of the {len(never)} sets never met\n{mean.round(1).to_string()}")
        if column == "mAP" and "lite0" in wide:
            print(f"of lite0's mean: {(mean / mean['lite0']).round(3).to_dict()}")
    off = (table["mAP"] - table["baselines.json"]).abs()
    print(
        f"\nfurthest from baselines.json: {off.groupby(table['encoder']).max().round(2).to_dict()}"
    )


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "realdata"
    parser.add_argument(
        "--realdata", type=Path, default=Path(os.environ.get("CBIRKIT_REALDATA", beside))
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="encoders of these names")
    parser.add_argument("--csv", type=Path, help="keep the rows in this file")
    arguments = parser.parse_args()
    if not (arguments.realdata / "baselines.json").is_file():
        parser.error(
            f"no real photographs in {arguments.realdata}; pass their folder with --realdata DIR"
        )
    return arguments


if __name__ == "__main__":
    chosen = parse()
    run(chosen.realdata, chosen.only, chosen.csv)
