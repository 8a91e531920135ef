"""Train embeddings with nine losses on equal terms, test them on classes that nobody trained on, and write down the result.

    CBIRKIT_REALDATA=FOLDER OMP_NUM_THREADS=1 python tools/metric_learning_runs.py --work WORK   # goes on where it was stopped

Two sets. Tabletop (`datasets.load_tabletop`), close-ups of the objects at 32 pixels: of the 49 seen categories each seed draws 13 from
which the start learns, 12 to validate with and 24 to train on; the 15 unseen ones are the test, in which other views of the query's own object
are junk. Omniglot (Lake et al. 2015), alphabets apart, from FOLDER/f_handwriting_omniglot_A: Korean trains, Early Aramaic validates, Balinese
is the test, at 32 pixels, too. All losses
start from the same small network (`conv5`), which learned to tell the 13 categories apart, and have the same
64 dimensions, batches of 16 classes x 4 images, steps and rates (the hardest triplets also a run of four times the steps); the epoch is chosen on the validation classes. Each
loss may try five values of its main parameter, on tabletop with seed 0; the one with the best validation MAP@R is
kept, for Omniglot, too, where one loss of each kind is trained. The test classes decide nothing. The values are a rough geometric series,
widened until the best of each loss is neither its smallest nor its largest.

``--only METHOD ...`` runs these alone and takes all other rows from the tables in the output folder, as when `tiny.safetensors` changed:

    CBIRKIT_REALDATA=FOLDER OMP_NUM_THREADS=1 python tools/metric_learning_runs.py --work NEW --only "tiny, frozen"

Notebook 07 reads what this makes: `data/metric_learning.csv`, one row a run; `data/metric_learning_classes.csv`, MAP@R of each
test class; and the network that seed 0 starts from, `data/metric_start.safetensors`, as float16.
"""

import argparse
import functools
import io
import json
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pytorch_metric_learning import losses, miners
from safetensors.numpy import load_file, save

from cbirkit import ImageCollection, datasets, encoders, learning, metrics
from cbirkit._atomic import write_bytes

SETS = ("tabletop", "omniglot")
SIZE = 32  # pixels
N_DIMS, SEEDS = 64, (0, 1, 2)
STEPS, START_STEPS = 240, 400
LONGER = {"triplet, hard, 960 steps": 960}  # is this loss behind because it needs longer?
N_START, N_VALIDATION = 13, 12
AUGMENT = {
    "tabletop": learning.Augmentation(crop=(0.7, 1.0), rotate=15, colour=0.3),
    "omniglot": learning.Augmentation(crop=(0.7, 1.0), rotate=15, flip=0.0, colour=0.0),
}
ALPHABETS = {"train": "Korean", "validation": "Early_Aramaic", "test": "Balinese"}
BASELINES = ("untrained", "start", "tiny, frozen")
COLUMNS = [
    "set",
    "part",
    "seed",
    "method",
    "setting",
    "validation",
    "map_at_r",
    "p_at_1",
    "alignment",
    "uniformity",
    "best_epoch",
    "spread",
    "seconds",
]
DATA = Path(__file__).resolve().parents[1] / "data"

HARDEST = (
    (0.0125, 0.025, 0.05, 0.1, 0.3),
    lambda v, n: (losses.TripletMarginLoss(margin=v), miners.BatchHardMiner()),
)
METHODS = {  # name: values of the main parameter, and (value, number of classes) -> loss and miner
    "contrastive": (
        (0.35, 0.5, 0.7, 1.0, 1.3),
        lambda v, n: (losses.ContrastiveLoss(pos_margin=0, neg_margin=v), None),
    ),
    "triplet, random": (
        (0.025, 0.05, 0.1, 0.3, 0.6),
        lambda v, n: (losses.TripletMarginLoss(margin=v, triplets_per_anchor=3), None),
    ),
    "triplet, semi-hard": (
        (0.025, 0.05, 0.1, 0.3, 0.6),
        lambda v, n: (losses.TripletMarginLoss(margin=v), miners.TripletMarginMiner(v, "semihard")),
    ),
    "triplet, hard": HARDEST,
    "triplet, hard, 960 steps": HARDEST,
    "multi-similarity": (
        (0.2, 0.5, 0.8, 0.9, 0.95),
        lambda v, n: (
            losses.MultiSimilarityLoss(alpha=2, beta=50, base=v),
            miners.MultiSimilarityMiner(0.1),
        ),
    ),
    "proxy-anchor": (
        (2, 4, 8, 16, 32),
        lambda v, n: (losses.ProxyAnchorLoss(n, N_DIMS, margin=0.1, alpha=v), None),
    ),
    "SupCon": (
        (0.025, 0.05, 0.1, 0.2, 0.4),
        lambda v, n: (losses.SupConLoss(temperature=v), None),
    ),
    "ArcFace": (
        (2, 4, 8, 16, 32),
        lambda v, n: (losses.ArcFaceLoss(n, N_DIMS, margin=28.6, scale=v), None),
    ),  # degrees: 0.5, as in the paper
    "normalised softmax": (
        (0.05, 0.1, 0.2, 0.4, 0.8),
        lambda v, n: (losses.NormalizedSoftmaxLoss(n, N_DIMS, temperature=v), None),
    ),
}
TESTED = {
    "tabletop": tuple(METHODS),
    "omniglot": ("contrastive", "triplet, semi-hard", "normalised softmax"),
}


world = functools.cache(datasets.load_tabletop)


@functools.cache
def tabletop():
    """Close-ups of all objects of the tabletop world."""
    return datasets.close_ups(world(), SIZE)


def categories_of(seed):
    """Names of the categories of each part, which have none in common: a dict of arrays."""
    labels, seen = world().labels, world().column("seen_category")
    drawn = np.random.RandomState(seed).permutation(np.unique(labels[seen]))
    parts = np.split(drawn, [N_START, N_START + N_VALIDATION])
    names = dict(zip(("start", "validation", "train"), parts, strict=True))
    return names | {"test": np.unique(labels[~seen])}


def part_of(part, seed):
    """Close-ups of the categories of a part."""
    images = tabletop()
    return images[np.isin(images.labels, categories_of(seed)[part])]


def letters_of(part):
    """The drawings of an alphabet, each of which is an object of its own."""
    folder = Path(os.environ["CBIRKIT_REALDATA"]) / "f_handwriting_omniglot_A"
    images = ImageCollection.from_folder(folder)
    names = np.array([str(i) for i in images.ids])
    letters = images[np.char.startswith(names, f"{ALPHABETS[part]}/")]
    labels = ["/".join(str(i).split("/")[:2]) for i in letters.ids]
    return letters.with_columns(label=labels, instance=[str(i) for i in letters.ids])


@functools.cache
def images_of(which, seed):
    """(train, validation, (queries, database)) of a set."""
    if which == "omniglot":
        train, validation, test = (letters_of(part) for part in ("train", "validation", "test"))
        return train, validation, (test, test)
    # every third view, so that few of an object's own views are among its positives
    validation = part_of("validation", seed)[::3]
    return part_of("train", seed), validation, part_of("test", seed).split()


def learn(encoder, images, method, value, seed, **changes):
    """`learning.learn_metric` with what is the same for all."""
    torch.manual_seed(seed)  # of the proxies
    loss, miner = METHODS[method][1](value, len(set(images.labels)))
    settings = {
        "mode": "full",
        "n_dims": N_DIMS,
        "random_state": seed,
        "device": "cpu",
        "progress": False,
    }
    return learning.learn_metric(
        encoder, images, loss, miner=miner, epochs=10_000, **settings, **changes
    )


def untrained(seed):
    """The small network with random weights."""
    return encoders.Deep("conv5", weights=None, size=SIZE, device="cpu", random_state=seed)


def start_of(seed, work):
    """The network that all losses start from, as float16 keeps it; trained once."""
    kept = work / f"start {seed}.safetensors"
    if not kept.exists():
        rates = {"backbone": 2e-3, "head": 2e-3, "loss": 1e-2}
        made, _ = learn(
            untrained(seed),
            part_of("start", seed),
            "normalised softmax",
            0.1,
            seed,
            steps=START_STEPS,
            learning_rate=rates,
            augment=AUGMENT["tabletop"],
            n_classes=N_START,
        )
        state = made.steps[0][1].state_
        write_bytes(
            kept,
            save(
                {
                    name: v.astype(np.float16) if v.dtype == np.float32 else v
                    for name, v in state.items()
                }
            ),
        )
    halves = load_file(kept)
    return untrained(seed).with_state(
        {name: v.astype(np.float32) if v.dtype == np.float16 else v for name, v in halves.items()}
    )


def baseline(name, seed, work):
    """An encoder that learned nothing here."""
    if name == "tiny, frozen":
        return encoders.Deep("tiny", device="cpu")
    return untrained(seed) if name == "untrained" else start_of(seed, work)


def judged(encoder, queries, database):
    """Numbers of a run, and MAP@R by class; images of the query's own object are left out."""
    X, Y = (encoder.transform(images) for images in (queries, database))
    X, Y = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (X, Y))
    order = np.argsort(-(X @ Y.T), axis=1, kind="stable")  # (n_queries, n_database)
    labels, found = np.asarray(queries.labels), np.asarray(database.labels)
    objects = np.asarray(queries.column("instance")), np.asarray(database.column("instance"))
    counts = objects[1][order] != objects[0][:, None]
    # as many views of each object: the rows stay equally long
    hits = (found[order] == labels[:, None])[counts].reshape(len(X), -1)
    each = metrics.map_at_r(hits)
    numbers = {"map_at_r": each.mean(), "p_at_1": hits[:, 0].mean()}
    numbers |= {"alignment": metrics.alignment(Y, found), "uniformity": metrics.uniformity(Y)}
    by_class = pd.Series(each).groupby(labels).mean().to_dict()
    return {name: float(v) for name, v in numbers.items()}, by_class


def kept_path(work, which, part, seed, method, value):
    """Where a finished run is kept."""
    return work / f"{which} {part} {seed} {method} {value}.json"


def take_over(data, work, only):
    """Keep the rows of all methods but `only` of the tables in `data` as if they had been run here."""
    by_class = (
        pd.read_csv(data / "metric_learning_classes.csv")
        .set_index(["set", "seed", "method"])
        .sort_index()
    )
    values = {method: {float(v): v for v in tried} for method, (tried, _) in METHODS.items()}
    for row in pd.read_csv(data / "metric_learning.csv").to_dict("records"):
        if row["method"] in only:
            continue
        row = {name: None if pd.isna(v) else v for name, v in row.items()}
        row["setting"] = values.get(row["method"], {None: None})[
            row["setting"]
        ]  # 4, not 4.0: it is part of the name
        if row["part"] == "test":
            row["classes"] = (
                by_class.loc[(row["set"], row["seed"], row["method"])]
                .set_index("class")["map_at_r"]
                .to_dict()
            )
        kept = kept_path(
            work, *(row[name] for name in ("set", "part", "seed", "method", "setting"))
        )
        write_bytes(kept, json.dumps(row).encode())


def run_once(which, part, seed, method, value, work):
    """One run, or what an earlier call kept of it: a dict of `COLUMNS`, and ``classes``."""
    kept = kept_path(work, which, part, seed, method, value)
    if not kept.exists():
        began = time.process_time()
        train, validation, test = images_of(which, seed)
        row = {"set": which, "part": part, "seed": seed, "method": method, "setting": value}
        if method in BASELINES:
            encoder = baseline(method, seed, work)
        else:
            encoder, history = learn(
                start_of(seed, work), train, method, value, seed, steps=LONGER.get(method, STEPS), validation=validation,
                augment=AUGMENT[which], checkpoint=work / f"{which} {seed} {method} {value}",
            )  # fmt: skip
            row |= {
                "validation": history.best_score,
                "best_epoch": history.best_epoch,
                "spread": float(history.table["spread"].iloc[-1]),
            }
        if part == "test":
            numbers, row["classes"] = judged(encoder, *test)
            row |= numbers
        row["seconds"] = time.process_time() - began
        write_bytes(kept, json.dumps(row).encode())
        print(
            {
                k: round(v, 3) if isinstance(v, float) else v
                for k, v in row.items()
                if k != "classes"
            },
            flush=True,
        )
    return json.loads(kept.read_text())


def tuned(work):
    """The runs on tabletop that tune, and the value chosen for each loss."""
    runs = [
        run_once("tabletop", "tuning", 0, method, value, work)
        for method, (values, _) in METHODS.items()
        for value in values
    ]
    best = {}
    for row in runs:
        if row["validation"] > best.get(row["method"], {"validation": -1})["validation"]:
            best[row["method"]] = row
    return runs, {method: row["setting"] for method, row in best.items()}


def tested(which, chosen, work):
    """The runs that count, on one set."""
    methods = dict.fromkeys(BASELINES) | {method: chosen[method] for method in TESTED[which]}
    return [
        run_once(which, "test", seed, method, value, work)
        for seed in SEEDS
        for method, value in methods.items()
    ]


def write_csv(path, table):
    """Replace a table in one step."""
    text = io.StringIO()
    table.round(4).to_csv(text, index=False, lineterminator="\n")
    write_bytes(path, text.getvalue().encode())


def run(arguments=None):
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for what is finished so far"
    )
    parser.add_argument("--out", type=Path, default=DATA)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="METHOD",
        choices=[*BASELINES, *METHODS],
        help="others: rows that --out has",
    )
    options = parser.parse_args(arguments)
    if "omniglot" in options.sets and not os.environ.get("CBIRKIT_REALDATA"):
        parser.error(
            "the environment variable CBIRKIT_REALDATA must name the folder that holds f_handwriting_omniglot_A"
        )
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    if options.only:
        take_over(options.out, options.work, options.only)
    rows, chosen = tuned(options.work)
    rows += [row for which in options.sets for row in tested(which, chosen, options.work)]
    classes = [
        {**{k: row[k] for k in ("set", "seed", "method")}, "class": name, "map_at_r": value}
        for row in rows
        for name, value in row.pop("classes", {}).items()
    ]
    write_csv(options.out / "metric_learning_classes.csv", pd.DataFrame(classes))
    write_csv(options.out / "metric_learning.csv", pd.DataFrame(rows).reindex(columns=COLUMNS))
    if (options.work / "start 0.safetensors").exists():
        write_bytes(
            options.out / "metric_start.safetensors",
            (options.work / "start 0.safetensors").read_bytes(),
        )
    print(f"{sum(row['seconds'] for row in rows):.0f} seconds of one core in all")
    return 0


if __name__ == "__main__":
    raise SystemExit(run())
