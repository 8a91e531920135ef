"""Does it help retrieval to train on generated pictures? Writes `data/generative.csv` and the generator `data/generative.safetensors`.

    OMP_NUM_THREADS=1 python tools/generative_runs.py --work WORK     # goes on where it was stopped; its cost is printed

The pictures are scikit-learn's 1,797 digits of 8 x 8 pixels. Their file holds 14 runs of consecutive digits, of probably one writer
each (boundaries: the scikit-learn course of Inria). Runs 0 and 1 validate and are nobody's test; of the others each seed draws seven to
train and five to test. A fifth of the digits of the training runs is held out, for tests of copying.

An embedding (two layers, normalised softmax, 400 steps of 64 pictures in every case) learns from k labels per class, k = 5, 10 or all, of
real pictures, of generated ones, or of both, each with and without augmentation (crop, rotation). **The generator saw the same k labels
and nothing else**; "leak" is one that saw all labels, used at k = 5. "rare": three classes have four pictures each, all others all of
theirs; "oversampled more" and "generated added" fill half of each batch with pictures of the three, real or generated ones. Scores are
mAP by class on the test runs, in which other digits of a query's run are junk. The learning rate of each row and the part of generated
pictures in its batches were chosen with seed 0 on the validation runs; so was the strength of augmentation, for the real pictures alone:
the rows beside them have the same.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pytorch_metric_learning.losses import NormalizedSoftmaxLoss
from sklearn.decomposition import PCA

from cbirkit import datasets, generate, learning
from cbirkit._atomic import write_bytes

STARTS = (130, 256, 386, 516, 646, 776, 915, 1029, 1157, 1287, 1415, 1545, 1667)
GAN_STEPS, STEPS, BATCH = 1500, 400, 64
SETTINGS = {"rate": (1e-3, 3e-3, 1e-2), "strength": (0.25, 0.5, 1.0), "part": (0.25, 0.5, 0.75)}
MORE = {"rate": (3e-4,), "strength": (2.0,)}  # tried in the rare case, too
KS, RARE = (5, 10, 1000), 4
DATA = Path(__file__).resolve().parents[1] / "data"

digits = datasets.load_digits(scale=1)
pixels = np.stack([image[..., 0] for image in digits]).reshape(-1, 64).astype(np.float32) / 255
labels = digits.labels.astype(int)
run_of = np.searchsorted(STARTS, np.arange(len(labels)), side="right")


def parts_of(seed):
    """Positions of the digits to train on, held out, to validate with, to test on."""
    random = np.random.RandomState(seed)
    drawn = 2 + random.permutation(12)
    train, out = np.isin(run_of, drawn[:7]), random.rand(len(labels)) < 0.2
    parts = (train & ~out, train & out, run_of < 2, np.isin(run_of, drawn[7:]))
    return [np.flatnonzero(part) for part in parts]


def labelled(train, seed, k, rare=()):
    """k positions per class, of rare classes four."""
    order, few = np.random.RandomState(100 + seed).permutation(train), {c: RARE for c in rare}
    return np.concatenate([order[labels[order] == c][: few.get(c, k)] for c in range(10)])


def made_by(chosen, seed, work, name):
    """2,000 pictures, 200 per class, by a generator that saw these real ones; trained once."""
    gan = generate.GAN(10, random_state=seed)
    gan.train(pixels[chosen], labels[chosen], GAN_STEPS, checkpoint=work / f"{name} {seed}.pt")
    gan.save(work / f"{name} {seed}.safetensors")
    classes = np.repeat(np.arange(10), 200)
    return gan.sample(classes, random_state=seed), classes


def quality(k, seed, chosen, made):
    """A row of the table that tells of a generator: as many samples as there are held-out digits."""
    _, out, validation, _ = parts_of(seed)
    project = PCA(12, random_state=0).fit(pixels[validation]).transform
    some = np.random.RandomState(seed).permutation(made)[: len(out)]
    real, fake, held = project(pixels[chosen]), project(some), project(pixels[out])
    row = {"seed": seed, "trained on": "generator", "k": k}
    row |= {"recall": generate.precision(fake, held), "precision": generate.precision(real, fake)}
    row |= {"precision of held out": generate.precision(real, held)}
    return row | {"copying": generate.copying(pixels[chosen], pixels[out], some)}


def embed(sources, parts, rate, strength, seed, balanced):
    """Train an embedding on batches that are drawn from several sources of (pixels, classes), a part from each."""
    change = learning.Augmentation(
        crop=(1 - 0.3 * strength, 1), rotate=15 * strength, flip=0.0, colour=0.0
    )
    torch.manual_seed(seed)
    network = torch.nn.Sequential(
        torch.nn.Linear(sources[0][0].shape[1], 128),
        torch.nn.BatchNorm1d(128),
        torch.nn.ReLU(),
        torch.nn.Linear(128, 64),
    )
    n_classes = max(int(y.max()) for _, y in sources) + 1
    loss = NormalizedSoftmaxLoss(n_classes, 64, temperature=0.1)
    adam = torch.optim.Adam([*network.parameters(), *loss.parameters()], rate, fused=True)
    sources = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in sources]
    weights = [
        1 / torch.bincount(y, minlength=10)[y] if balanced else torch.ones(len(y))
        for _, y in sources
    ]
    for _ in range(STEPS):
        rows = [
            torch.multinomial(w, round(BATCH * part), replacement=True)
            for w, part in zip(weights, parts, strict=True)
        ]
        x, y = (
            torch.cat([source[n][r] for source, r in zip(sources, rows, strict=True)])
            for n in (0, 1)
        )
        side = math.isqrt(x.shape[1])
        x = change(x.view(-1, 1, side, side)).flatten(1) if strength else x
        adam.zero_grad()
        loss(network(x), y).backward()
        adam.step()
    return network.eval()


def precisions(rows, where):
    """Average precision of each query among the digits of other runs."""
    rows = torch.nn.functional.normalize(rows.double()).numpy()
    found = []
    for query, at in zip(rows, where, strict=True):
        others = where[run_of[where] != run_of[at]]
        order = np.argsort(-(rows[run_of[where] != run_of[at]] @ query), kind="stable")
        hits = labels[others][order] == labels[at]
        found.append((hits.cumsum() / np.arange(1, len(hits) + 1))[hits].mean())
    return np.array(found)


def rare_of(seed):
    """Three classes."""
    return np.random.RandomState(200 + seed).permutation(10)[:3]


def rows_of(seed, work):
    """(name, k, sources, augmented, whether classes are drawn equally often) of every training of one seed, and quality of generators."""
    train, made = parts_of(seed)[0], {}
    for k in KS:
        chosen = labelled(train, seed, k)
        real, made[k] = (pixels[chosen], labels[chosen]), made_by(chosen, seed, work, str(k))
        yield quality(k, seed, chosen, made[k][0])
        for more in (False, True):
            yield "real", k, [real], more, True
            yield "generated", k, [made[k]], more, True
            yield "both", k, [real, made[k]], more, True
    few = labelled(train, seed, KS[0])
    yield "both, leak", KS[0], [(pixels[few], labels[few]), made[KS[-1]]], True, True
    chosen = labelled(train, seed, KS[-1], rare_of(seed))
    real, fake = (pixels[chosen], labels[chosen]), made_by(chosen, seed, work, "rare")
    of_rare = [
        tuple(part[np.isin(some[1], rare_of(seed))] for part in some) for some in (real, fake)
    ]
    yield "rare: as it is", 0, [real], False, False
    for more in (False, True):
        yield "rare: oversampled", 0, [real], more, True
        yield "rare: oversampled more", 0, [real, of_rare[0]], more, True
        yield "rare: generated added", 0, [real, of_rare[1]], more, True


def scored(row, seed, where, rate, strength, part):
    """Average precisions of one training."""
    parts = [1.0] if len(row[2]) == 1 else [1 - part, part]
    network = embed(row[2], parts, rate, strength, seed, row[4])
    with torch.no_grad():
        return precisions(network(torch.from_numpy(pixels[where])), where)


def tuned(row, seed, chosen):
    """Settings of a row by mAP on the validation runs; the strength of augmentation is that which suits the real pictures alone."""
    best, where = {"rate": 3e-3, "strength": 0.5 * row[3], "part": 0.5}, parts_of(seed)[2]
    alone = chosen.get(("rare: oversampled" if row[1] == 0 else "real", row[1], row[3]))
    if alone is not None:
        best["strength"] = alone["strength"]
    # in the rare case "part" stays 0.5, so that these classes are as frequent with real as with generated pictures
    is_rare = row[1] == 0
    names = ["rate", *["strength"] * (row[3] and alone is None)]
    names += ["part"] * (len(row[2]) > 1 and not is_rare)
    for name in names:
        values = SETTINGS[name] + (MORE[name] if is_rare else ())
        tried = [best | {name: value} for value in values]
        found = [scored(row, seed, where, **one) for one in tried]
        best = tried[int(np.argmax([one.mean() for one in found]))]
    return best


def run(work):
    """All trainings; one row a generator, or a training and test run."""
    chosen, table = {}, []
    for seed in (0, 1, 2):
        test, rare = parts_of(seed)[3], rare_of(seed)
        for row in rows_of(seed, work):
            if isinstance(row, dict):
                table.append(row)
                print(row, flush=True)
                continue
            key = (row[0], row[1], row[3])
            if seed == 0:
                chosen[key] = tuned(row, seed, chosen)
            found, kinds = scored(row, seed, test, **chosen[key]), np.isin(labels[test], rare)
            for block in np.unique(run_of[test]):
                mine = run_of[test] == block
                head = {
                    "seed": seed,
                    "trained on": row[0],
                    "k": row[1],
                    "augmented": row[3],
                    "run": block,
                }
                means = {"map": found[mine].mean(), "map rare": found[mine & kinds].mean()}
                table.append(
                    head | chosen[key] | means | {"map other": found[mine & ~kinds].mean()}
                )
            seconds = f"{time.process_time():.0f} s"
            print(seed, key, chosen[key], round(found.mean(), 3), seconds, flush=True)
    return pd.DataFrame(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for what is finished so far"
    )
    parser.add_argument("--out", type=Path, default=DATA)
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = run(options.work).to_csv(index=False, float_format="%.4f", lineterminator="\n")
    write_bytes(options.out / "generative.csv", table.encode())
    kept = (options.work / f"{KS[-1]} 0.safetensors").read_bytes()
    write_bytes(options.out / "generative.safetensors", kept)
    print(f"{time.process_time():.0f} seconds of one core in all")
