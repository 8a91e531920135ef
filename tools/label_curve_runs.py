"""Train the small network of notebook 08 from scratch on a few labels per class: the control for embeddings that were learned without labels.

    CBIRKIT_REALDATA=FOLDER OMP_NUM_THREADS=1 python tools/label_curve_runs.py --work WORK   # goes on where it was stopped

`conv5` from random weights with a linear classifier on top, cross-entropy on k photographs per class, all of the network trained. Notebook 08
reads `data/self_supervised_labels.csv`: accuracy on the test half of each class of flowers and UC Merced, three draws of the labels, which are
the first three of notebook 08 with SEED 0. Clothing and satellite choose the learning rate, whether colours are changed, and the number
of steps, at 10 labels per class. Notebook 05 reads `data/self_supervised_ten.csv`: at 10 labels the accuracy of each class,
beside that of a probe on `lite0`, frozen, at 64 and at 224 pixels, with the same photographs to learn from and the same test.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from self_supervised_runs import CHOOSE, DATA, SEEN, SIDE, TESTS, fresh, judged
from sklearn.linear_model import RidgeClassifierCV
from sklearn.preprocessing import normalize
from torch.nn import functional as F

from cbirkit import datasets, encoders, learning
from cbirkit._atomic import write_bytes

KS = {"flowers": (1, 2, 5, 10, 20), "ucmerced": (1, 2, 5, 10)}
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
STEPS, COLOURS, DRAWS, BATCH = (150, 300), (0.0, 0.4), (0, 1, 2), 32


def halves(labels, k, draw):
    """Positions to learn from, k per class, and to test on: half of each class, as in the notebook."""
    random = np.random.RandomState(draw)
    parts = [random.permutation(np.flatnonzero(labels == name)) for name in np.unique(labels)]
    learn = [rows[: min(k, len(rows) // 2)] for rows in parts]
    return np.concatenate(learn), np.concatenate([rows[len(rows) // 2 :] for rows in parts])


def pixels_of(images, size):
    """Photographs as a tensor (n, 3, size, size), from 0 to 1."""
    resized = fresh(0).set_params(size=size).preprocessing.resized
    pixels = np.stack([resized(image) for image in images])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255


def accuracy(name, k, draw, rate, steps, colour):
    """Fraction of the test half that the network names rightly, in all and by class."""
    images, labels = judged(name), datasets.load_real(name).labels
    learn, test = halves(labels, k, draw)
    classes, targets = np.unique(labels, return_inverse=True)
    targets, learn_from = torch.from_numpy(targets), pixels_of(images[learn], SIDE)
    torch.manual_seed(draw)
    encoder = fresh(draw)
    network, head = encoder.network.train(), torch.nn.Linear(96, len(classes))
    prepared = encoder.preprocessing
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (prepared.mean, prepared.std))
    change = learning.Augmentation(crop=(0.35, 1.0), flip=0.5, colour=colour)
    adam = torch.optim.AdamW([*network.parameters(), *head.parameters()], rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, rate, total_steps=steps)

    def scores(pixels):
        return head(network((pixels - mean) / std).mean(dim=(2, 3)))

    for _ in range(steps):
        rows = torch.randint(len(learn), (BATCH,))
        views = F.avg_pool2d(change(learn_from[rows]), 2)
        loss = F.cross_entropy(scores(views), targets[learn][rows])
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
    network.eval()
    with torch.no_grad():
        found = torch.cat([scores(part) for part in pixels_of(images[test], SEEN).split(100)])
    right = (found.argmax(dim=1) == targets[test]).numpy()
    return {"accuracy": float(right.mean()), "by_class": means_of(right, labels[test])}


def means_of(right, labels):
    """Fraction that is right of each class: a dict."""
    return pd.Series(right).groupby(labels).mean().to_dict()


def probed(name, size):
    """The same of a probe on `lite0`, frozen, 10 labels per class: a dict by draw. Leaving one out chooses the strength, as in notebook 05."""
    features, by_draw = datasets.load_real(name), {}
    if size == 224:
        X = features.embeddings("lite0")
    else:
        X = encoders.Deep("lite0", size=size, device="cpu").transform(judged(name))
    X, labels = normalize(X.astype(float)), features.labels
    for draw in DRAWS:
        learn, test = halves(labels, 10, draw)
        spread = np.linalg.norm(X[learn] - X[learn].mean(axis=0), axis=1).mean()
        ridge = RidgeClassifierCV(np.logspace(-3, 1, 5)).fit(X[learn] / spread, labels[learn])
        by_draw[draw] = means_of(ridge.predict(X[test] / spread) == labels[test], labels[test])
    return by_draw


def by_class_at_ten(rows):
    """The second table, of the runs from scratch and the probes."""
    found = {
        ("scratch", row["name"], row["draw"]): row["by_class"] for row in rows if row["k"] == 10
    }
    for size in (SEEN, 224):
        for name in TESTS:
            for draw, scores in probed(name, size).items():
                found[f"probe, {size} pixels", name, draw] = scores
    return pd.DataFrame(
        [(*key, label, score) for key, scores in found.items() for label, score in scores.items()],
        columns=["way", "set", "draw", "class", "accuracy"],
    )


def kept(work, **given):
    """The accuracy of one run, or what an earlier call wrote down."""
    file = work / (" ".join(str(value) for value in given.values()) + ".json")
    if not file.exists():
        began = time.process_time()
        found = accuracy(**given) | {"seconds": time.process_time() - began}
        write_bytes(file, json.dumps(given | found).encode())
        print(given | {"accuracy": found["accuracy"]}, flush=True)
    return json.loads(file.read_text())


def chosen(work):
    """The settings that name clothing and satellite best on average, one after the other."""
    best = {"rate": 3e-3, "steps": STEPS[0], "colour": COLOURS[0]}
    for name, values in (("rate", RATES), ("colour", COLOURS), ("steps", STEPS)):
        tried = []
        for value in values:
            given = best | {name: value}
            rows = [kept(work, name=c, k=10, draw=0, **given) for c in CHOOSE]
            tried.append(np.mean([row["accuracy"] for row in rows]))
        best[name] = values[int(np.argmax(tried))]
    return best


def run(arguments=None):
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for what is finished")
    parser.add_argument("--out", type=Path, default=DATA)
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    best = chosen(options.work)
    cases = [(name, k, draw) for name in TESTS for k in KS[name] for draw in DRAWS]
    rows = [kept(options.work, name=n, k=k, draw=draw, **best) for n, k, draw in cases]
    table = pd.DataFrame(rows).rename(columns={"name": "set"}).drop(columns=["seconds", "by_class"])
    for name, told in {"labels": table, "ten": by_class_at_ten(rows)}.items():
        text = told.to_csv(index=False, float_format="%.4f", lineterminator="\n")
        write_bytes(options.out / f"self_supervised_{name}.csv", text.encode())
    seconds = sum(json.loads(file.read_text())["seconds"] for file in options.work.glob("*.json"))
    print(f"{seconds:.0f} seconds of one core in training")


if __name__ == "__main__":
    run()
