"""Fine-tune `tiny` for a simulated thermal camera: each way at its own rate, until validation stops improving, three seeds.

    OMP_NUM_THREADS=1 python tools/fine_tune_thermal.py --work WORK      # goes on where it was stopped

The images are close-ups of the tabletop's objects, 64 pixels. Of the 49 seen categories 12 choose rates and epochs, 37 are learned
from, 16 images of each; the 15 unseen ones are queries and database. Seed 0 tries all rates; seeds 1 and 2 draw other categories,
other images and other batches, at the rates that were chosen (the whole network at 0.001, too; in colour at the two best). Every run has 90 steps of 32
images and keeps its best epoch. What is forgotten is measured on views of photographs, at the network's own 160 pixels. Notebook 06
reads the table: mean average precision of each category, or of the pieces of each photograph.
"""

import argparse
import json
import time
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from cbirkit import ImageCollection, Retriever, datasets, encoders, evaluate, learning
from cbirkit._atomic import write_bytes

FILE = Path(__file__).resolve().parents[1] / "data" / "fine_tune_thermal.csv"
STEPS, SEEDS = 90, (0, 1, 2)
RATES = {
    "head": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    "last": (1e-4, 3e-4, 1e-3, 3e-3),
    "full": (1e-4, 3e-4, 1e-3),
    "full, colour": (1e-4, 3e-4, 1e-3),  # the same views, taken by an ordinary camera
}
SURFACES = ("brick", "coins", "grass", "gravel", "text")  # grey, and much the same everywhere
base = encoders.Deep("tiny", size=64, device="cpu")


def thermal(image, mask, random):
    """What a thermal camera sees of (64, 64, 3) uint8, whose objects have the numbers 1, 2, … in the mask (64, 64)."""
    warmth = np.append(0, random.uniform(30, 140, 9))[mask]  # (64, 64)
    heat = 0.4 * cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) + warmth
    for _ in range(random.integers(3)):  # hot spots
        distance = np.hypot(*(np.indices((64, 64)) - random.uniform(0, 64, (2, 1, 1))))
        heat += random.uniform(60, 140) * np.exp(-((distance / random.uniform(4, 11)) ** 2))
    heat = cv2.GaussianBlur(heat, None, 1.5) + random.normal(0, 4, (64, 64))
    return np.repeat(np.clip(heat, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def camera(images, kind, seed=0):
    """Close-ups of the objects, by the thermal camera or in colour."""
    random, close = np.random.default_rng(seed), datasets.close_ups(images, 64)
    if kind == "colour":
        return close
    taken = [thermal(image, close.mask(row), random) for row, image in enumerate(close)]
    return ImageCollection.from_arrays(taken, ids=list(images.ids), table=images.table)


@cache
def pieces_of_photographs():
    """The test of what is forgotten, views of pieces of ten photographs: queries, database, relevance, photograph of each query."""
    views = datasets.load_photo_views("hard", n_objects=45, n_views=4, n_distractors=20)
    views = views[~np.isin(views.column("source"), SURFACES)]
    views = ImageCollection.from_arrays(list(views), ids=list(views.ids), table=views.table)
    queries, database = views.split()
    return queries, database, queries.relevance(queries, database), queries.column("source")


@cache
def world():
    """The rendered objects."""
    return datasets.load_tabletop()


@cache
def parts_of(seed):
    """Images to learn from by the thermal camera and in colour, further images of the same objects, and those for validation."""
    seen = world()[world().column("seen_category")]
    drawn = np.random.RandomState(seed).permutation(np.unique(seen.labels))
    to_learn = seen[np.isin(seen.labels, drawn[12:]) & seen.column("seen_instance")]
    order = np.random.RandomState(seed).permutation(len(to_learn))
    place = pd.Series(to_learn.labels[order]).groupby(to_learn.labels[order]).cumcount()
    some = np.isin(np.arange(len(to_learn)), order[place < 16])
    others = to_learn[~some & np.isin(to_learn.labels, drawn[12:27])]
    checked = seen[np.isin(seen.labels, drawn[:12])][::3]
    learned = {kind: camera(to_learn[some], kind, 100 + seed) for kind in ("thermal", "colour")}
    return (
        learned,
        [camera(part, "thermal", seed) for part in others.split()],
        camera(checked, "thermal", seed),
    )


@cache
def tests_of(seed):
    """By domain: queries, database, relevance and the group of each query."""
    unseen = world()[~world().column("seen_category")]
    halves = unseen.split()[0], unseen.split()[1][::2]
    found = {kind: [camera(part, kind) for part in halves] for kind in ("thermal", "colour")}
    found["trained classes"] = parts_of(seed)[1]
    found = {
        d: (*p, p[0].relevance(*p, by="label", junk="instance"), p[0].labels)
        for d, p in found.items()
    }
    return found


def in_full(encoder):
    """The same weights for photographs, at the size that the network was made for."""
    if hasattr(encoder, "steps"):
        return make_pipeline(clone(encoder[0]).set_params(size=None), encoder[-1])
    return clone(encoder).set_params(size=None) if isinstance(encoder, encoders.Deep) else encoder


def mean_by_group(encoder, queries, database, truth, groups):
    """mAP of each group of queries: a dict."""
    ranking = Retriever(encoder, progress=False).fit(database).search(queries, k=None)
    found = evaluate(ranking, truth, metrics=["map"], groups=groups, n_bootstrap=0)
    return found.per_query["map"].groupby(groups).mean().to_dict()


def scores_of(encoder, seed):
    """mAP by domain and group."""
    found = {domain: mean_by_group(encoder, *test) for domain, test in tests_of(seed).items()}
    return found | {"photographs": mean_by_group(in_full(encoder), *pieces_of_photographs())}


def tuned(seed, way, rate):
    """An encoder and the history of its training."""
    learned, _, validation = parts_of(seed)
    mode = way if way in ("head", "last") else "full"
    settings = {"unfreeze": 0.5, "random_state": seed, "steps": STEPS, "epochs": 1000}
    settings["learning_rate"] = rate if mode == "head" else {"backbone": rate, "classifier": 1e-2}
    settings |= {"validation": validation, "progress": False}
    images = learned["colour" if "colour" in way else "thermal"]
    return learning.fine_tune(base, images, mode=mode, **settings)


def run(seed, way, rate):
    """Validation score, the epoch that has it, and the scores on the tests."""
    if way in ("HOG", "frozen"):
        encoder, validation = base if way == "frozen" else encoders.HOG(), parts_of(seed)[2]
        score = learning.retrieval_score(encoder.transform(validation), validation.labels)
        return {"validation": score, "epoch": 0, "curve": [], "scores": scores_of(encoder, seed)}
    encoder, history = tuned(seed, way, rate)
    told = {"validation": history.best_score, "epoch": int(history.best_epoch)}
    if way == "full":
        told["half"] = scores_of(learning.interpolate(base, encoder, 0.5), seed)
    return told | {"curve": history.table["score"].tolist(), "scores": scores_of(encoder, seed)}


def kept(run, work, **given):
    """The result of one run, or what an earlier call wrote down."""
    file = work / (" ".join(str(value) for value in given.values()) + ".json")
    if not file.exists():
        began = time.process_time()
        found = given | run(**given) | {"seconds": time.process_time() - began}
        write_bytes(file, json.dumps(found).encode())
        told = f"validation {found['validation']:.3f}, epoch {found['epoch']}"
        print(given, f"{told}, {found['seconds']:.0f} s", flush=True)
    return json.loads(file.read_text())


def main(arguments=None):
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for what is finished")
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    runs = [
        kept(run, options.work, seed=seed, way=way, rate=0.0)
        for seed in SEEDS
        for way in ("frozen", "HOG")
    ]
    swept = [
        kept(run, options.work, seed=0, way=way, rate=rate)
        for way, rates in RATES.items()
        for rate in rates
    ]
    best = {
        way: max((r for r in swept if r["way"] == way), key=lambda r: r["validation"])["rate"]
        for way in RATES
    }
    further = []
    for seed in SEEDS[1:]:
        further += [(way, best[way], seed) for way in ("head", "last")]
        # the two rates that are level on validation
        further += [("full, colour", rate, seed) for rate in (3e-4, 1e-3)]
        further += [("full", rate, seed) for rate in sorted({best["full"], 1e-3})]
    runs += swept + [
        kept(run, options.work, seed=seed, way=way, rate=rate) for way, rate, seed in further
    ]
    runs += [
        run | {"way": "full, half", "scores": run["half"], "seconds": 0}
        for run in runs
        if "half" in run
    ]
    rows = [
        {name: run[name] for name in ("seed", "way", "rate", "epoch", "validation")}
        | {"domain": domain, "group": group, "mAP": score}
        for run in runs
        for domain, scores in run["scores"].items()
        for group, score in scores.items()
    ]
    text = pd.DataFrame(rows).to_csv(index=False, float_format="%.4f", lineterminator="\n")
    write_bytes(FILE, text.encode())
    print(
        f"{len(rows)} rows of {len(runs)} encoders, {sum(run['seconds'] for run in runs):.0f} seconds of one core"
    )


if __name__ == "__main__":
    main()
