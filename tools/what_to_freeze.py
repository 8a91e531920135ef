"""What to freeze: a probe, the last blocks, all weights, LP-FT and a network from scratch, each at its own rate.

    CBIRKIT_REALDATA=FOLDER OMP_NUM_THREADS=1 python tools/what_to_freeze.py --work WORK   # goes on where it was stopped

Photographs of clothing, which `lite0` has not met. A draw names 20 images of each of the 10 classes to learn from, 8 for validation, 40
for the test. All that is trained sees 64 x 64 pixels, in batches of 32, without augmentation. Draw 0 tries all rates;
validation chooses, and draw 1 uses that rate. Within a run the epoch with the best validation accuracy is kept. Two ways also run for
twice the steps, to see whether they had ended. Notebook 05 reads the table: accuracy on the test images, class by class.
"""

import argparse
import json
import time
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.preprocessing import normalize
from torch.nn.functional import cross_entropy

from cbirkit import datasets, learning
from cbirkit._atomic import write_bytes
from cbirkit.encoders import Deep
from cbirkit.learning.tuning import unfreeze
from cbirkit.nets.conv5 import Conv5

DATA = Path(__file__).resolve().parents[1] / "data"
DRAWS, N_LABELS, N_VALIDATION, N_TEST = 2, 20, 8, 40
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)  # of the ridge
RATES = {
    "probe": STRENGTHS,
    "probe, 224 pixels": STRENGTHS,
    "last blocks": (3e-4, 1e-3, 3e-3, 1e-2),
    "all": (3e-4, 1e-3, 3e-3, 1e-2),
    "LP-FT": (3e-4, 1e-3, 3e-3),
    "scratch": (1e-3, 3e-3, 1e-2),
}
STEPS, TWICE = dict.fromkeys(RATES, 80) | {"scratch": 320}, ("all", "scratch")
encoder = Deep("lite0", size=64, device="cpu")


@cache
def parts_of(draw):
    """For learning, validation and test: images, pixels (n, 3, 64, 64), class numbers (n,), features at 64 and at 224 pixels."""
    photographs, labels = (
        datasets.load_real("clothing").images(),
        datasets.load_real("clothing").labels,
    )
    random, parts, found = np.random.RandomState(draw), ([], [], []), []
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        held = rows[N_LABELS : N_LABELS + N_VALIDATION]
        for part, some in zip(parts, (rows[:N_LABELS], held, rows[-N_TEST:]), strict=True):
            part.extend(some)
    numbers, large = np.unique(labels, return_inverse=True)[1], Deep("lite0", device="cpu")
    for part in map(np.array, parts):
        images = photographs[part]
        features = [normalize(e.transform(images).astype(float)) for e in (encoder, large)]
        found.append((images, encoder.preprocessing(list(images)), numbers[part], *features))
    return found


def scores_of(net, pixels):
    return net["classifier"](net["backbone"](pixels).mean(dim=(2, 3)))


def network_of(way, pixels, features, targets, validation):
    """A network {backbone, classifier} as a way starts with it."""
    small, n_classes = way == "scratch", len(np.unique(targets))
    backbone = Conv5() if small else encoder.network
    classifier = torch.nn.Linear(Conv5.n_dims if small else features.shape[1], n_classes)
    if way == "last blocks":
        unfreeze(backbone, pixels[:1], 0.3)
    if way == "LP-FT":  # of raw features, as the network gives them
        raw = [pooled(backbone, some) for some in (pixels, validation[0])]
        fits = [LogisticRegression(C=c, max_iter=3000).fit(raw[0], targets) for c in (0.01, 0.1, 1)]
        fit = max(fits, key=lambda fit: fit.score(raw[1], validation[1]))
        state = {"weight": torch.tensor(fit.coef_), "bias": torch.tensor(fit.intercept_)}
        classifier.load_state_dict(state)
    return torch.nn.ModuleDict({"backbone": backbone, "classifier": classifier}).float()


@torch.inference_mode()
def pooled(backbone, pixels):
    return torch.cat([backbone(some).mean(dim=(2, 3)) for some in pixels.split(64)]).numpy()


def run(draw, way, rate, steps):
    """One way at one rate: validation accuracy, its epoch, and the test accuracy of each class."""
    known, validation, test = parts_of(draw)
    (images, pixels, targets, *X), (_, pixels_v, targets_v, *V) = known, validation
    _, pixels_t, targets_t, *T = test
    if way.startswith("probe"):
        size = int(way.endswith("224 pixels"))
        fit = RidgeClassifier(rate).fit(X[size], targets)
        best, epoch, answers = fit.score(V[size], targets_v), 0, fit.predict(T[size])
    else:
        torch.manual_seed(draw)
        net = network_of(way, pixels, X[0], targets, (pixels_v, targets_v))

        @torch.inference_mode()
        def predict(pixels):
            return torch.cat([scores_of(net, some).argmax(1) for some in pixels.split(64)]).numpy()

        def loss(net, batch):
            return cross_entropy(scores_of(net, batch[0]), batch[1], label_smoothing=0.05)

        how = {"preprocessing": encoder.preprocessing, "batch_size": 32, "random_state": draw}
        batches = learning.ImageBatches(images, targets, progress=False, **how)
        fresh = {
            "backbone": rate,
            "classifier": max(rate, 1e-2),
        }  # a new classifier starts from nothing
        settings = {
            "learning_rate": fresh if way in ("all", "last blocks") else rate,
            "random_state": draw,
        }
        settings["batch_norm"] = "update" if way == "scratch" else "frozen"
        told = learning.train(
            net,
            batches,
            loss,
            steps=steps,
            epochs=1000,
            progress=False,
            device="cpu",
            **settings,
            validate=lambda net: (predict(pixels_v) == targets_v).mean(),
        )
        best, epoch, answers = told.best_score, int(told.best_epoch), predict(pixels_t)
    right = pd.Series(answers == targets_t).groupby(targets_t).mean()
    return {"validation": float(best), "epoch": epoch, "test": right.tolist()}


def kept(work, **given):
    """The result of one run, or what an earlier call wrote down."""
    file = work / (" ".join(str(value) for value in given.values()) + ".json")
    if not file.exists():
        began = time.process_time()
        found = given | run(**given) | {"seconds": time.process_time() - began}
        write_bytes(file, json.dumps(found).encode())
        told = {
            "test": round(np.mean(found["test"]), 3),
            "validation": round(found["validation"], 3),
        }
        print(given, told, f"epoch {found['epoch']}, {found['seconds']:.0f} s", flush=True)
    return json.loads(file.read_text())


def main(arguments=None):
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for what is finished")
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    rows, chosen = [], {}
    for way, rates in RATES.items():
        tried = [kept(options.work, draw=0, way=way, rate=r, steps=STEPS[way]) for r in rates]
        chosen[way] = max(tried, key=lambda row: row["validation"])["rate"]
        case = {"way": way, "rate": chosen[way], "steps": STEPS[way]}
        rows += tried + [kept(options.work, draw=draw, **case) for draw in range(1, DRAWS)]
    longer = [{"way": way, "rate": chosen[way], "steps": 2 * STEPS[way]} for way in TWICE]
    rows += [kept(options.work, draw=0, **case) for case in longer]
    table = pd.DataFrame(rows)
    seconds = table.pop("seconds").sum()
    table["class"] = table["test"].map(lambda values: range(len(values)))
    table = table.explode(["class", "test"])
    text = table.to_csv(index=False, float_format="%.4f", lineterminator="\n")
    write_bytes(DATA / "what_to_freeze.csv", text.encode())
    print(f"{len(table)} rows, {seconds:.0f} seconds of one core")


if __name__ == "__main__":
    main()
