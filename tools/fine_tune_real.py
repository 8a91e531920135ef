"""Fine-tune on a real narrow domain, satellite photographs, and write down how every query fares.

    CBIRKIT_REALDATA=FOLDER python tools/fine_tune_real.py --out data/fine_tune_real.csv

FOLDER holds `f_satellite_rsscn7` with one folder a class: RSSCN7 (Zou et al. 2015, IEEE GRSL, doi:10.1109/LGRS.2015.2475299), 60 images
of each of its 7 classes. Each split draws four classes to learn (three in four images train, the others validate) and three that
nobody trains on: all their images are queries, and one another's database. Every mode tries the same number of rates and trains
the same number of steps; the rate with the best validation score is kept. The source domain is the photo views that ship with
cbirkit. Notebook 06 reads the file that this makes, one row a query.
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
COLUMNS = ["split", "method", "rate", "domain", "query", "ap"]


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
        settings = {"learning_rate": rates, "random_state": seed, "batch_size": BATCH, "steps": STEPS}
        found[rate] = learning.fine_tune(
            base, train, mode=mode, validation=validation, epochs=1000, progress=False, **settings
        )
    best = max(found, key=lambda rate: found[rate][1].best_score)
    return found[best][0], best, {rate: history.best_score for rate, (_, history) in found.items()}


def scored(encoder, queries, database, relevance):
    """Average precision of each query, a Series."""
    ranking = Retriever(encoder, progress=False).fit(database).search(queries, k=None)
    return evaluate(ranking, relevance, metrics=["map"], n_bootstrap=0).per_query["map"]


def methods_of(base, train, validation, seed):
    """Yield (method, encoder, rate) one after another."""
    yield "frozen", base, np.nan
    for mode in RATES:
        encoder, rate, scores = tune(base, mode, train, validation, seed)
        print(f"  {mode}: " + ", ".join(f"{r:g} {s:.3f}" for r, s in scores.items()), flush=True)
        yield mode, encoder, rate
    for alpha in (0.25, 0.5, 0.75):
        yield f"full, alpha {alpha}", learning.interpolate(base, encoder, alpha), rate


def measure(folder, *, n_splits=3, backbone="tiny"):
    """One row a query, method and split: a DataFrame with the columns `COLUMNS`."""
    images = ImageCollection.from_folder(Path(folder) / "f_satellite_rsscn7")
    places = pd.Series(images.labels).groupby(images.labels).cumcount().to_numpy()  # number within the class
    images = images.with_columns(query=[f"{label[1:]} {n}" for label, n in zip(images.labels, places, strict=True)])
    views = datasets.load_photo_views("hard", n_objects=40, n_views=4, n_distractors=200)
    source = (*views.split(), views.relevance(*views.split()))
    base, rows = encoders.Deep(backbone), []
    for split, held_out in enumerate(class_splits(np.unique(images.labels), n_splits)):
        print(f"split {split}: tested on {', '.join(held_out)}", flush=True)
        tested = np.isin(images.labels, held_out)
        test, train, validation = images[tested], images[~tested & (places % 4 > 0)], images[~tested & (places % 4 == 0)]
        for method, encoder, rate in methods_of(base, train, validation, split):
            found = scored(encoder, test, test, test.relevance())
            for query, ap in zip(test.column("query"), found[test.ids], strict=True):
                rows.append((split, method, rate, "satellite", query, round(ap, 4)))
            for query, ap in scored(encoder, *source).items():
                rows.append((split, method, rate, "photographs", query, round(ap, 4)))
            print(f"  {method}: mAP {found.mean():.3f}", flush=True)
    return pd.DataFrame(rows, columns=COLUMNS)


def run(arguments=None):
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("data/fine_tune_real.csv"))
    parser.add_argument("--splits", type=int, default=3)
    options = parser.parse_args(arguments)
    folder = os.environ.get("CBIRKIT_REALDATA")
    if not folder:
        parser.error("the environment variable CBIRKIT_REALDATA must name the folder that holds f_satellite_rsscn7")
    text = io.StringIO()
    measure(folder, n_splits=options.splits).to_csv(text, index=False, lineterminator="\n")
    write_bytes(options.out, text.getvalue().encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(run())
