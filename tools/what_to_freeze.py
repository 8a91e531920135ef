"""What to freeze: no weight moves, the last blocks do, or all do (also from a linear probe on: LP-FT), each at its own rate.

    CBIRKIT_REALDATA=FOLDER OMP_NUM_THREADS=1 python tools/what_to_freeze.py --work WORK   # goes on where it was stopped

Photographs of clothing, which `lite0` has not met: of each of the 10 classes 20 images to learn from, 8 for validation, 40 for the test,
drawn three times. What is trained sees 64 x 64 pixels, 80 steps of 32 images, without augmentation. In the first draw every rate is
tried; in the others each way has the rate with the best validation accuracy there. Within a run the epoch with the best validation
accuracy is kept. Notebook 05 reads the table: accuracy on the test images, class by class.
"""

import argparse
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fine_tune_thermal import kept
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.preprocessing import normalize
from torch.nn.functional import cross_entropy

from cbirkit import datasets, learning
from cbirkit._atomic import write_bytes
from cbirkit.encoders import Deep
from cbirkit.learning.tuning import unfreeze

DATA = Path(__file__).resolve().parents[1] / "data"
N_LABELS, N_VALIDATION, N_TEST, STEPS, FURTHER_DRAWS = 20, 8, 40, 80, (1, 2)
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)  # of the ridge
RATES = {
    "probe": STRENGTHS,
    "probe, 224 pixels": STRENGTHS,
    "last blocks": (3e-4, 1e-3, 3e-3, 1e-2),
    "all": (1e-4, 3e-4, 1e-3, 3e-3),
    "LP-FT": (1e-4, 3e-4, 1e-3, 3e-3),
}
encoder = Deep("lite0", size=64, device="cpu")


@cache
def parts_of(draw):
    """For learning, validation and test: images, pixels (n, 3, 64, 64), class numbers (n,), features at 64 and at 224 pixels."""
    clothing = datasets.load_real("clothing")
    photographs, labels = clothing.images(), clothing.labels
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
        net = {"backbone": encoder.network}
        net["classifier"] = torch.nn.Linear(encoder.n_dims, len(np.unique(targets)))
        if way == "last blocks":
            unfreeze(net["backbone"], pixels[:1], 0.3)
        if way == "LP-FT":
            with torch.inference_mode():
                raw = net["backbone"](pixels).mean(dim=(2, 3)).numpy()
            fit = LogisticRegression(C=0.1, max_iter=3000).fit(raw, targets)
            state = {"weight": torch.tensor(fit.coef_), "bias": torch.tensor(fit.intercept_)}
            net["classifier"].load_state_dict(state)
        net = torch.nn.ModuleDict(net)

        @torch.inference_mode()
        def predict(pixels):
            return torch.cat([scores_of(net, some).argmax(1) for some in pixels.split(64)]).numpy()

        def loss(net, batch):
            return cross_entropy(scores_of(net, batch[0]), batch[1], label_smoothing=0.05)

        how = {"random_state": draw, "progress": False}
        batches = learning.ImageBatches(
            images, targets, preprocessing=encoder.preprocessing, batch_size=32, **how
        )
        how |= {"steps": steps, "epochs": 1000, "batch_norm": "frozen", "device": "cpu"}
        how["learning_rate"] = {"backbone": rate, "classifier": rate if way == "LP-FT" else 1e-2}
        validate = lambda net: (predict(pixels_v) == targets_v).mean()
        told = learning.train(net, batches, loss, validate=validate, **how)
        best, epoch, answers = told.best_score, int(told.best_epoch), predict(pixels_t)
    right = pd.Series(answers == targets_t).groupby(targets_t).mean()
    return {"validation": float(best), "epoch": epoch, "test": right.tolist()}


def finished(work, draw, way, rate):
    return kept(run, work, draw=draw, way=way, rate=rate, steps=STEPS)


def main(arguments=None):
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for what is finished")
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    cases = [(0, way, rate) for way, rates in RATES.items() for rate in rates]
    rows = [finished(options.work, *case) for case in cases]
    sweep = pd.DataFrame(rows).set_index(["way", "rate"])["validation"]
    best = dict(sweep.groupby("way", sort=False).idxmax().to_list())
    rows += [
        finished(options.work, draw, way, best[way]) for draw in FURTHER_DRAWS for way in RATES
    ]
    table = pd.DataFrame(rows)
    seconds = table.pop("seconds").sum()
    table["class"] = table["test"].map(lambda values: range(len(values)))
    table = table.explode(["class", "test"])
    text = table.to_csv(index=False, float_format="%.4f", lineterminator="\n")
    write_bytes(DATA / "what_to_freeze.csv", text.encode())
    print(f"{len(table)} rows, {seconds:.0f} seconds of one core")


if __name__ == "__main__":
    main()
