"""MLPerf Tiny's ResNet-8, in float and in int8, on CIFAR-10 photographs: `data/resnet8_pair.csv`.

    pip install ai-edge-litert numpy pillow            # in an environment of its own
    python tools/resnet8_pair.py --realdata FOLDER     # half a minute of one core

FOLDER holds `p_networks`, with the two files of github.com/mlcommons/tiny @1afd2c98, and `a_cifar10_small`: 100 photographs of CIFAR-10's
test part, 900 of its training part, as JPEGs. Top-1 accuracy; how often both networks name the same class; mAP of the test photographs
as queries among the 900, by the 64 numbers before the last layer, and how many of the ten nearest the int8 network shares. The networks
have met the 900. Intervals are at 95 %: of accuracy and agreement over photographs, of mAP and overlap over the ten classes.
"""

import argparse
import csv
import os
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

DATA = Path(__file__).resolve().parent.parent / "data"
FILES = {"float32": "resnet8_cifar10_float32.tflite", "int8": "resnet8_cifar10_int8.tflite"}
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]  # fmt: skip


def outputs(path, pictures, *, whole):
    """Number of the class (n,) and embedding (n, 64) of each picture."""
    network = Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=True)
    network.allocate_tensors()
    (entry,), (last,) = network.get_input_details(), network.get_output_details()
    before = next(t for t in network.get_tensor_details() if t["name"].endswith("flatten/Reshape"))
    named, vectors = [], []
    for picture in pictures:
        given = (picture.astype(int) - 128).astype(np.int8) if whole else picture.astype(np.float32)
        network.set_tensor(entry["index"], given[None])
        network.invoke()
        named.append(network.get_tensor(last["index"])[0].argmax())
        vectors.append(network.get_tensor(before["index"])[0].astype(np.float32) - before["quantization"][1])  # fmt: skip
    return np.array(named), np.array(vectors)


def ordered(queries, database):
    """Database rows of each query, nearest first, by cosine."""
    queries, database = (X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12) for X in (queries, database))  # fmt: skip
    return np.argsort(-(queries @ database.T), axis=1, kind="stable")


def average_precision(order, queried, stored):
    hits = stored[order] == queried[:, None]
    precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    return (precision * hits).sum(axis=1) / hits.sum(axis=1)


def mean(values, groups):
    """Mean with its interval: groups are drawn."""
    means = np.array([values[groups == g].mean() for g in np.unique(groups)])
    draws = np.random.default_rng(0).choice(means, (5000, len(means))).mean(axis=1)
    return [round(float(n), 4) for n in (means.mean(), *np.percentile(draws, [2.5, 97.5]))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--realdata", type=Path, default=os.environ.get("CBIRKIT_REALDATA"))
    folder = Path(parser.parse_args().realdata)
    with open(folder / "a_cifar10_small" / "labels.csv", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    pictures = [np.asarray(Image.open(folder / "a_cifar10_small" / row["file"]).convert("RGB")) for row in table]  # fmt: skip
    y = np.array([CLASSES.index(row["class"]) for row in table])
    test = np.array([row["split"] == "query" for row in table])
    found = {name: outputs(folder / "p_networks" / file, pictures, whole=name == "int8") for name, file in FILES.items()}  # fmt: skip
    orders = {name: ordered(X[test], X[~test]) for name, (_, X) in found.items()}
    near = [order[:, :10] for order in orders.values()]
    shared = (near[0][:, :, None] == near[1][:, None, :]).any(axis=2).mean(axis=1)
    alone, rows = np.arange(len(y)), []
    for name, (named, _) in found.items():
        size = (folder / "p_networks" / FILES[name]).stat().st_size
        rows.append([name, "bytes", size, size, size])
        rows.append([name, "top-1, test", *mean((named == y)[test], alone[test])])
        rows.append([name, "top-1, training", *mean((named == y)[~test], alone[~test])])
        rows.append([name, "mAP", *mean(average_precision(orders[name], y[test], y[~test]), y[test])])  # fmt: skip
    aps = [average_precision(order, y[test], y[~test]) for order in orders.values()]
    rows.append(["int8 - float32", "mAP", *mean(aps[1] - aps[0], y[test])])
    named = [found[name][0] for name in FILES]
    rows.append(["int8 - float32", "same class", *mean(named[0] == named[1], alone)])
    rows.append(["int8 - float32", "overlap", *mean(shared, y[test])])
    with open(DATA / "resnet8_pair.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([["network", "measure", "value", "low", "high"], *rows])  # fmt: skip
    print(*rows, sep="\n")


if __name__ == "__main__":
    main()
