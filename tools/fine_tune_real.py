"""Fine-tune on a real narrow domain, satellite photographs, and write down how every query fares.

    CBIRKIT_REALDATA=FOLDER python tools/fine_tune_real.py --out data/fine_tune_real.csv

FOLDER holds `f_satellite_rsscn7` with one folder a class: RSSCN7 (Zou et al. 2015, IEEE GRSL, doi:10.1109/LGRS.2015.2475299), 60 images
of each of its 7 classes. Each split draws four classes to learn (three in four images train, the others validate) and three that
nobody trains on: all their images are queries, and one another's database. Every mode tries the same number of rates and trains
the same number of steps; the rate with the best validation score is kept. The source domain is the photo views that ship with
cbirkit. Notebook 06 reads the file that this makes: one row a query, its average precision before and after each way.
"""

import argparse
import io
import os
from pathlib import Path

import numpy as np
import pandas as pd

from cbirkit import ImageCollection, Retriever, datasets, encoders, evaluate, learning
from cbirkit._atomic import write_bytes

RATES = {"head": (3e-4, 1e-3, 3e-3), "last": (1e-4, 3e-4, 1e-3), "full": (1e-4, 3e-4, 1e-3)}
STEPS, BATCH = 60, 32
WISE = "full, alpha 0.5"
COLUMNS = [
    "split",
    "domain",
    "query",
    "frozen",
    *RATES,
    WISE,
    *(f"rate of {mode}" for mode in RATES),
]


def class_splits(classes, n_splits=3, n_test=3):
    """Lists of test classes: dealt out of shuffled packs, so that each class is tested about equally often."""
    random = np.random.RandomState(0)
    dealt = []
    while len(dealt) < n_splits * n_test:
        pack = random.permutation(classes).tolist()
        last = dealt[len(dealt) - len(dealt) % n_test :]
        dealt += [c for c in pack if c not in last] + [c for c in pack if c in last]
    return [sorted(dealt[n * n_test : (n + 1) * n_test]) for n in range(n_splits)]


def tune(base, mode, train, validation, seed):
    """The encoder of the rate with the best validation score, that rate, and the scores of all rates."""
    found = {}
    for rate in RATES[mode]:
        rates = rate if mode == "head" else {"backbone": rate, "classifier": 1e-2}
        settings = {
            "learning_rate": rates,
            "random_state": seed,
            "batch_size": BATCH,
            "steps": STEPS,
        }
        found[rate] = learning.fine_tune(
            base, train, mode=mode, validation=validation, epochs=1000, progress=False, **settings
        )
    best = max(found, key=lambda rate: found[rate][1].best_score)
    return found[best][0], best, {rate: history.best_score for rate, (_, history) in found.items()}


def scored(encoder, queries, database, relevance):
    """Average precision of each query, a Series."""
    ranking = Retriever(encoder, progress=False).fit(database).search(queries, k=None)
    return evaluate(ranking, relevance, metrics=["map"], n_bootstrap=0).per_query["map"]


def tuned_ways(base, train, validation, seed):
    """The encoders by method, and the chosen rates by mode."""
    encoders_by, rates = {"frozen": base}, {}
    for mode in RATES:
        encoders_by[mode], rates[mode], scores = tune(base, mode, train, validation, seed)
        print(f"  {mode}: " + ", ".join(f"{r:g} {s:.3f}" for r, s in scores.items()), flush=True)
    encoders_by[WISE] = learning.interpolate(base, encoders_by["full"], 0.5)
    return encoders_by, {f"rate of {mode}": rate for mode, rate in rates.items()}


def measure(folder, *, n_splits=3, backbone="tiny"):
    """One row a query and split: a DataFrame with the columns `COLUMNS`."""
    images = ImageCollection.from_folder(Path(folder) / "f_satellite_rsscn7")
    places = (
        pd.Series(images.labels).groupby(images.labels).cumcount().to_numpy()
    )  # number within the class
    views = datasets.load_photo_views("hard", n_objects=40, n_views=4, n_distractors=200)
    source = (*views.split(), views.relevance(*views.split()))
    base, parts = encoders.Deep(backbone), []
    for split, held_out in enumerate(class_splits(np.unique(images.labels), n_splits)):
        print(f"split {split}: tested on {', '.join(held_out)}", flush=True)
        tested = np.isin(images.labels, held_out)
        train, validation = images[~tested & (places % 4 > 0)], images[~tested & (places % 4 == 0)]
        ways, rates = tuned_ways(base, train, validation, split)
        for domain, those, relevance in (
            ("satellite", (images[tested], images[tested]), images[tested].relevance()),
            ("photographs", source[:2], source[2]),
        ):
            found = pd.DataFrame(
                {way: scored(encoder, *those, relevance) for way, encoder in ways.items()}
            )
            print(
                f"  {domain}: " + ", ".join(f"{way} {ap:.3f}" for way, ap in found.mean().items()),
                flush=True,
            )
            names = (
                found.index if domain == "photographs" else _names(images[tested], places[tested])
            )
            parts.append(found.assign(split=split, domain=domain, query=np.asarray(names), **rates))
    return pd.concat(parts, ignore_index=True)[COLUMNS].round(4)


def _names(images, places):
    """ "Grass 12": class and number, no file name."""
    return [f"{label[1:]} {place}" for label, place in zip(images.labels, places, strict=True)]


def run(arguments=None):
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("data/fine_tune_real.csv"))
    parser.add_argument("--splits", type=int, default=3)
    options = parser.parse_args(arguments)
    folder = os.environ.get("CBIRKIT_REALDATA")
    if not folder:
        parser.error(
            "the environment variable CBIRKIT_REALDATA must name the folder that holds f_satellite_rsscn7"
        )
    text = io.StringIO()
    measure(folder, n_splits=options.splits).to_csv(text, index=False, lineterminator="\n")
    write_bytes(options.out, text.getvalue().encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(run())
