"""Labels from the names of classes alone, against a few labelled images: `data/zero_shot.csv`.

    OMP_NUM_THREADS=1 python tools/zero_shot.py --realdata FOLDER      # two minutes of one core; or set CBIRKIT_REALDATA

Every photograph of three sets gets the class whose sentence, "a photo of a NAME", is nearest to it in the space of the shipped map; once more after
each sentence's mean similarity to the set was subtracted, since some sentences are near to everything. Beside it, the class whose mean of one or five
labelled photographs is nearest, over 50 draws. Intervals at 95 % over classes.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
from text_map import encoded

from cbirkit import text
from cbirkit._atomic import write_bytes
from cbirkit.encoders.base import unit
from cbirkit.evaluation.resample import bootstrap_means, interval

DATA = Path(__file__).resolve().parent.parent / "data"
SETS = {
    "clothing": "a_category_clothing10",
    "flowers": "k_flowers300",
    "UC Merced": "l_ucmerced420",
}
WORDS = {"t-shirt": "t-shirt", "longsleeve": "long-sleeved shirt", "outwear": "coat", "roses": "rose", "sunflowers": "sunflower", "tulips": "tulip"}  # fmt: skip
WORDS |= {"agricultural": "farm field", "baseballdiamond": "baseball diamond", "buildings": "city building", "denseresidential": "dense residential area", "golfcourse": "golf course"}  # fmt: skip
WORDS |= {"mediumresidential": "residential area", "mobilehomepark": "mobile home park", "parkinglot": "parking lot", "sparseresidential": "sparse residential area"}  # fmt: skip
WORDS |= {"storagetanks": "storage tank", "tenniscourt": "tennis court"}
DRAWS = 50


def of_names(X, classes, *, even):
    """Number of the class whose sentence is nearest to each image (n,)."""
    side = text.WordMap()
    sentences = side.encode_text([f"a photo of a {WORDS.get(name, name)}" for name in classes])
    near = sentences @ side.map_images(X).T  # (n_classes, n)
    return (near - even * near.mean(axis=1, keepdims=True)).argmax(axis=0)


def of_examples(X, y, k, rng):
    """The same by the nearest class mean of k labelled images, -1 for these themselves."""
    drawn = np.concatenate([rng.choice(np.flatnonzero(y == c), k, replace=False) for c in range(y.max() + 1)])  # fmt: skip
    means = unit(X[drawn].reshape(-1, k, X.shape[1]).mean(axis=1))
    found = (X @ means.T).argmax(axis=1)
    found[drawn] = -1
    return found


def row(y, answers):
    """Accuracy in percent, mean of the classes, with its interval; answers (n_draws, n), of which -1 do not count."""
    right = np.ma.masked_array(answers == y, answers < 0)
    of_class = np.array([100 * right[:, y == c].mean() for c in range(y.max() + 1)])
    low, high = interval(bootstrap_means(of_class[:, None], np.arange(len(of_class)), 2000, 0)[:, 0])  # fmt: skip
    return {"accuracy": of_class.mean(), "low": low, "high": high, "classes above chance": (of_class > 100 / len(of_class)).sum()}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--realdata", type=Path, default=os.environ.get("CBIRKIT_REALDATA"))
    folder, rows = Path(parser.parse_args().realdata), []
    for name, place in SETS.items():
        table = pd.read_csv(folder / place / "labels.csv")
        classes, y = np.unique(table["class"], return_inverse=True)
        X = unit(encoded([folder / place / file for file in table["file"]]))
        rng = np.random.default_rng(0)
        ways = {"names": [of_names(X, classes, even=False)], "names, evened": [of_names(X, classes, even=True)]}  # fmt: skip
        ways["names, shuffled"] = [rng.permutation(len(classes))[of_names(X, classes, even=True)] for _ in range(DRAWS)]  # fmt: skip
        for k in (1, 5):
            ways[f"{k} labelled"] = [of_examples(X, y, k, rng) for _ in range(DRAWS)]
        for way, answers in ways.items():
            rows.append({"set": name, "classes": len(classes), "images": len(y), "way": way, **row(y, np.array(answers))})  # fmt: skip
    table = pd.DataFrame(rows)
    print(table.round(1).to_string(index=False))
    write_bytes(DATA / "zero_shot.csv", table.round(2).to_csv(index=False).encode())


if __name__ == "__main__":
    main()
