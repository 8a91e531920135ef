"""Fine-tune `tiny` on two real narrow domains, and write down how classes fare that nobody trained on.

    CBIRKIT_REALDATA=FOLDER OMP_NUM_THREADS=1 python tools/fine_tune_real.py --work WORK      # goes on where it was stopped

*Land use*: UC Merced (Yang and Newsam 2010, doi:10.1145/1869790.1869829), FOLDER/l_ucmerced420, 20 aerial photographs of each of 21
classes. Each of three splits tests 7 classes, so that every class is tested once; of the other 14, 9 are learned from and 5 are
for validation. *Letters*: Omniglot (Lake et al. 2015, doi:10.1126/science.aab3050), FOLDER/f_handwriting_omniglot_A, 20 people's
drawings of each character; Korean is learned from, Early Aramaic is for validation, Balinese for the test. All images of the test
are queries, and one another's database. Every way has three rates; validation chooses rate and epoch, and no epoch is allowed, too. What
is forgotten is measured as in `fine_tune_thermal.py`. Notebook 06 reads the table.
"""

import argparse
import os
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fine_tune_thermal import in_full, kept, mean_by_group, pieces_of_photographs
from sklearn.base import clone

from cbirkit import ImageCollection, datasets, encoders, learning
from cbirkit._atomic import write_bytes

FILE = Path(__file__).resolve().parents[1] / "data" / "fine_tune_real.csv"
SETS = {"land use": (112, 36, 3), "letters": (64, 75, 1)}  # pixels, steps, splits
RATES = {"head": (1e-3, 3e-3, 1e-2), "last": (3e-4, 1e-3, 3e-3), "full": (1e-4, 3e-4, 1e-3)}
OTHERS = ("frozen", "frozen, 160 pixels", "HOG")
HALF = "full, half"  # half of the way back: the weights between those before and those after
COLUMNS = ["set", "split", "way", "rate", "epoch", "validation", "domain", "group", "mAP"]


def class_splits(classes, n_test=7, n_validation=5):
    """For each of three splits the classes of training, validation and test; each class is tested once."""
    drawn, found = np.random.RandomState(0).permutation(classes), []
    for split in range(3):
        test = drawn[split * n_test : (split + 1) * n_test]
        others = np.random.RandomState(split).permutation(np.setdiff1d(drawn, test))
        found.append((others[n_validation:], others[:n_validation], test))
    return found


@cache
def parts_of(which, split):
    """The images to learn from, for validation and for the test."""
    if which == "land use":
        images = datasets.load_real("ucmerced").images()
        classes = class_splits(np.unique(images.labels))[split]
        return [images[np.isin(images.labels, some)] for some in classes]
    folder = Path(os.environ["CBIRKIT_REALDATA"]) / "f_handwriting_omniglot_A"
    images, parts = ImageCollection.from_folder(folder), []
    for alphabet in ("Korean", "Early_Aramaic", "Balinese"):
        part = images[[str(name).startswith(alphabet + "/") for name in images.ids]]
        parts.append(part.with_columns(label=[str(name).rpartition("/")[0] for name in part.ids]))
    return parts


def scores_of(encoder, which, split):
    """mAP by domain and group."""
    test = parts_of(which, split)[2]
    scores = {which: mean_by_group(encoder, test, test, test.relevance(), test.labels)}
    return scores | {"photographs": mean_by_group(in_full(encoder), *pieces_of_photographs())}


def run(which, split, way, rate):
    """Validation score, the epoch that has it, and the scores on the tests."""
    pixels, steps, _ = SETS[which]
    base = encoders.Deep("tiny", size=pixels, device="cpu")
    train, validation, _ = parts_of(which, split)
    if way in OTHERS:
        encoder = encoders.HOG(size=64) if way == "HOG" else base
        encoder = clone(base).set_params(size=160) if "160" in way else encoder
        score = learning.retrieval_score(encoder.transform(validation), validation.labels)
        return {
            "validation": score,
            "epoch": 0,
            "curve": [],
            "scores": scores_of(encoder, which, split),
        }
    settings = {
        "unfreeze": 0.5,
        "random_state": split,
        "steps": steps,
        "epochs": 1000,
        "progress": False,
    }
    settings["learning_rate"] = rate if way == "head" else {"backbone": rate, "classifier": 1e-2}
    settings["patience"] = 2  # epochs without a better score
    encoder, history = learning.fine_tune(base, train, mode=way, validation=validation, **settings)
    told = {"validation": history.best_score, "epoch": int(history.best_epoch)}
    if way == "full":
        told["half"] = scores_of(learning.interpolate(base, encoder, 0.5), which, split)
    return told | {
        "curve": history.table["score"].tolist(),
        "scores": scores_of(encoder, which, split),
    }


def main(arguments=None):
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for what is finished")
    options = parser.parse_args(arguments)
    if not os.environ.get("CBIRKIT_REALDATA"):
        parser.error(
            "the environment variable CBIRKIT_REALDATA must name the folder with the images"
        )
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    ways = [(way, 0.0) for way in OTHERS] + [(way, rate) for way in RATES for rate in RATES[way]]
    places = [
        (which, split) for which, (_, _, n_splits) in SETS.items() for split in range(n_splits)
    ]
    runs = [
        {"set": which} | kept(run, options.work, which=which, split=split, way=way, rate=rate)
        for which, split in places
        for way, rate in ways
    ]
    runs += [
        run | {"way": HALF, "scores": run["half"], "seconds": 0} for run in runs if "half" in run
    ]
    rows = [
        {name: run[name] for name in COLUMNS[:6]}
        | {"domain": "target" if domain == run["set"] else domain, "group": group, "mAP": score}
        for run in runs
        for domain, scores in run["scores"].items()
        for group, score in scores.items()
    ]
    text = pd.DataFrame(rows)[COLUMNS].to_csv(index=False, float_format="%.4f", lineterminator="\n")
    write_bytes(FILE, text.encode())
    print(
        f"{len(rows)} rows of {len(runs)} encoders, {sum(run['seconds'] for run in runs):.0f} seconds of one core"
    )


if __name__ == "__main__":
    main()
