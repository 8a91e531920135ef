"""Train a small network on photographs without labels, and write down how it finds photographs of sets that it never met.

    CBIRKIT_REALDATA=FOLDER OMP_NUM_THREADS=1 python tools/self_supervised_runs.py --work WORK   # goes on where it was stopped

SimCLR on FOLDER/j_photos_wide, but for the sources of the sets that are tested on and of ImageNet: `conv5`, from random weights. Flowers
and UC Merced are the tests (`datasets.load_real`); clothing and satellite, other sets, have chosen rate, temperature and the size of the
pictures at test. Notebook 08 reads what this makes in `data/`: `self_supervised.csv`, mAP of each class after each run, the runs that
leave out one augmentation each among them; the trained network as float16; and its vectors of the two test sets.
"""

import argparse
import io
import json
import os
import time
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.numpy import save
from torch.nn.functional import avg_pool2d

from cbirkit import ImageCollection, datasets, encoders, learning, metrics
from cbirkit._atomic import write_bytes

LEFT_OUT = ("coco", "flowers", "imagenette")
TESTS, CHOOSE = ("flowers", "ucmerced"), ("clothing", "satellite")
# pixels of the pictures that crops are taken from, and of those at test; crops have 48
SIDE, SEEN = 96, 64
EVERYTHING = {"crop": (0.2, 1.0), "flip": 0.5, "colour": 0.4, "tint": 0.3, "grey": 0.2}
NOTHING = {"crop": None, "flip": 0.0, "colour": 0.0, "tint": 0.0, "grey": 0.0}
COLOURS = ("colour", "tint", "grey")
LEAVING = {"nothing": (), **{name: (name,) for name in EVERYTHING}, "all colour changes": COLOURS}
TRIED, BATCH = {"temperature": (0.1, 0.2, 0.5), "rate": (3e-3, 1e-3, 1e-2)}, 96
STEPS, SHORT, SEEDS = 1000, 120, (0, 1, 2)
COLUMNS = ["run", "seed", "steps", "temperature", "rate", "loss", "found", "spread", "seconds"]
DATA = Path(__file__).resolve().parents[1] / "data"


class Views:
    """Two changed copies of each picture, at half its size."""

    views = 2

    def __init__(self, without=()):
        kept = EVERYTHING | {name: NOTHING[name] for name in without}
        self.change = learning.Augmentation(**kept, views=2)

    def __call__(self, pixels, generator=None):
        return avg_pool2d(self.change(pixels, generator), 2)

    def __repr__(self):
        return f"Views({self.change})"


def fresh(seed):
    """The small network with random weights, at the size that crops are taken from."""
    return encoders.Deep("conv5", weights=None, size=SIDE, device="cpu", random_state=seed)


@cache
def photographs(work):
    """What is learned from, SIDE x SIDE, kept in `work`."""
    kept = work / "photographs.npy"
    if not kept.exists():
        folder = Path(os.environ["CBIRKIT_REALDATA"]) / "j_photos_wide"
        told = pd.read_csv(folder / "MANIFEST.csv")
        files = [folder / name for name in told.loc[~told["source"].isin(LEFT_OUT), "file"]]
        resized = fresh(0).preprocessing.resized
        np.save(kept, np.stack([resized(image) for image in ImageCollection.from_files(files)]))
    return ImageCollection.from_arrays(list(np.load(kept)))


@cache
def judged(name):
    """The photographs of a set, in memory."""
    return ImageCollection.from_arrays(list(datasets.load_real(name).images()))


def by_class_of(name, vectors):
    """mAP of the queries of each class, every image a query against all others: a dict."""
    features = datasets.load_real(name)
    ranking = features.ranking(vectors)
    gains = features.relevance().gains(ranking.indices)
    each = pd.Series(metrics.average_precision(gains > 0)).groupby(features.labels).mean()
    return each.round(4).to_dict()


def trained(left_out, seed, steps, temperature, rate, work):
    """The network after one run, or what an earlier call kept of it, and a dict of `COLUMNS`."""
    name = f"without {left_out} {seed} {steps} {temperature} {rate}"
    kept = work / f"{name}.safetensors"
    if not kept.exists():
        began = time.process_time()
        encoder, history = learning.learn_contrastive(
            fresh(seed), photographs(work), steps=steps, augment=Views(LEAVING[left_out]), batch_size=BATCH, temperature=temperature,
            learning_rate=rate, random_state=seed, device="cpu", progress=False, checkpoint=work / f"{name}.pt",
        )  # fmt: skip
        told = {"run": f"without {left_out}", "seed": seed, "steps": steps}
        told |= {"temperature": temperature, "rate": rate, "seconds": time.process_time() - began}
        told |= history.table[["loss", "found", "spread"]].iloc[-1].to_dict()
        state = {key: half(value) for key, value in encoder.network.state_dict().items()}
        write_bytes(work / f"{name}.json", json.dumps(told).encode())
        write_bytes(kept, save(state))
        print(told, flush=True)
    encoder = encoders.Deep("conv5", weights=str(kept), size=SEEN, device="cpu")
    return encoder, json.loads((work / f"{name}.json").read_text())


def half(tensor):
    """A tensor as float16, counters as they are."""
    value = tensor.cpu().numpy()
    return value.astype(np.float16) if value.dtype == np.float32 else value


def rows_of(encoder, told, sets=TESTS):
    """Rows of the table: mAP of each class of each set."""
    found = {name: by_class_of(name, encoder.transform(judged(name))) for name in sets}
    return [
        told | {"set": name, "class": label, "map": value}
        for name, values in found.items()
        for label, value in values.items()
    ]


def statistics_only(seed, work, n_batches=40):
    """Random weights whose batch normalisation has seen batches of the photographs."""
    encoder = fresh(seed)
    network, settings = encoder.network.train(), {"augment": Views(), "progress": False}
    settings |= {"preprocessing": encoder.preprocessing, "batch_size": BATCH, "random_state": seed}
    images = photographs(work)
    batches = learning.ImageBatches(images, range(len(images)), **settings)
    with torch.no_grad():
        for views, _ in islice(batches.epoch(0), n_batches):
            network(views)
    return encoder.with_state(network.state_dict())


def baselines(work):
    """Rows of what learned nothing here."""
    found = {"colour histogram": encoders.ColorHistogram()}
    found |= {f"lite0, {size} pixels": lite0(size) for size in (SEEN, 224)}
    rows = [row for name, encoder in found.items() for row in rows_of(encoder, {"run": name})]
    for seed in SEEDS:
        encoder = fresh(seed).set_params(size=SEEN)
        rows += rows_of(encoder, {"run": "random weights", "seed": seed, "steps": 0})
        encoder = statistics_only(seed, work).set_params(size=SEEN)
        rows += rows_of(encoder, {"run": "batch norm only", "seed": seed, "steps": 0})
    return rows


def lite0(size):
    """The network that learned ImageNet with its labels, on pictures of a size."""
    return encoders.Deep("lite0", size=size, resize="squash", device="cpu")


def vectors(encoders_by_name):
    """Embeddings of the two test sets, as float16 around their mean."""
    found = {}
    for set_name in TESTS:
        for name, encoder in encoders_by_name.items():
            X = encoder.transform(judged(set_name))
            centre = X.mean(axis=0)
            found[f"{set_name} {name}"] = (X - centre).astype(np.float16)
            found[f"{set_name} {name} centre"] = centre
    return found


def chosen(work):
    """Temperature and rate that are best on `CHOOSE` after `SHORT` steps, one after the other, seed 0; and the rows of all that were tried."""
    best, tried = {name: values[0] for name, values in TRIED.items()}, {}
    for name, values in TRIED.items():
        means = {}
        for value in values:
            key = tuple((best | {name: value}).values())
            if key not in tried:
                tried[key] = rows_of(*trained("nothing", 0, SHORT, *key, work), CHOOSE)
            means[value] = pd.DataFrame(tried[key]).groupby("set")["map"].mean().mean()
        best[name] = max(means, key=means.get)
    return tuple(best.values()), [row for rows in tried.values() for row in rows]


def run(arguments=None):
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for what is finished")
    parser.add_argument("--out", type=Path, default=DATA)
    options = parser.parse_args(arguments)
    work = options.work
    torch.set_num_threads(1)
    work.mkdir(parents=True, exist_ok=True)
    best, rows = chosen(work)
    long = [trained("nothing", seed, STEPS, *best, work) for seed in SEEDS]
    runs = [trained(name, seed, SHORT, *best, work) for seed in SEEDS for name in LEAVING]
    rows += baselines(work)
    rows += [
        row
        for encoder, told in long
        for row in rows_of(encoder, told | {"run": "SimCLR"}, TESTS + CHOOSE)
    ]
    rows += [row for one in runs for row in rows_of(*one)]
    table = pd.DataFrame(rows)[[*COLUMNS, "set", "class", "map"]].round(4)
    text = io.StringIO()
    table.to_csv(text, index=False, lineterminator="\n")
    write_bytes(options.out / "self_supervised.csv", text.getvalue().encode())
    weights = work / f"without nothing 0 {STEPS} {best[0]} {best[1]}.safetensors"
    write_bytes(options.out / "self_supervised.safetensors", weights.read_bytes())
    both = {"SimCLR": long[0][0], "random weights": fresh(0).set_params(size=SEEN)}
    write_bytes(options.out / "self_supervised_vectors.safetensors", save(vectors(both)))
    seconds = table.groupby(COLUMNS[:5])["seconds"].first().sum()
    print(f"{seconds:.0f} seconds of one core in training")


if __name__ == "__main__":
    run()
