"""A small conditional GAN on pictures of objects, and a rare view made to order. Writes `data/generative_objects.*` and `generative_rare_view.safetensors`.

    OMP_NUM_THREADS=1 python tools/generative_objects.py      # its cost is printed

Pictures are close-ups of the tabletop world, 32 x 32 grey pixels, the background white: 12 categories that look different from left and
right. Four objects each train, but for a fifth of their views, which is held out; the other two are new objects. Features are 12 principal
components of other categories. "samples": a GAN per seed, its precision, recall and copying score at some ages.

"rare view": of four categories (each is among them in one of three draws) two pictures show the object turned to the right (azimuth above
20 degrees), of the others all. An embedding (`generative_runs.embed`, equal steps) learns the categories; a fifth of each batch are
pictures of the rare views: the two real ones, left views mirrored, or samples of a GAN with a class for each category and side, which
saw the same pictures. Score: mAP of the new objects' right views among all views of all new objects, those of the query's own
object being junk. The rate of each row was chosen on twelve other categories.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from generative_runs import embed
from sklearn.decomposition import PCA

from cbirkit import datasets, generate
from cbirkit._atomic import write_bytes

DATA, SIDE = Path(__file__).resolve().parents[1] / "data", 32
TEST = ("aeroplane", "car", "chair", "duck", "jug", "locomotive", "mug", "pan", "sailing boat", "sofa", "teapot", "watering can")  # fmt: skip
CHOOSE = ("alarm clock", "bed", "bookcase", "hammer", "hand bell", "key", "padlock", "robot", "rocket", "saw", "table", "teddy bear")  # fmt: skip
AGES, SEEDS, RATES, FEW, PART = (200, 1000, 3000), (0, 1, 2), (1e-3, 3e-3, 1e-2), 2, 0.2


def pictures(names):
    """Grey pixels (n, 1024), category (n,), number of the object (n,), side (n,): 0 left, 1 front, 2 right."""
    world = datasets.load_tabletop()
    close = datasets.close_ups(world[np.isin(world.labels, names)], SIDE)
    grey = np.stack(list(close)) @ np.array([0.299, 0.587, 0.114]) / 255
    shown = np.stack([close.mask(i) > 0 for i in range(len(close))])
    pixels = np.where(shown, grey, 1).reshape(len(close), -1).astype(np.float32)
    classes = np.unique(close.labels, return_inverse=True)[1]
    objects = np.array([int(name.split()[-1]) for name in close.column("instance")])
    return pixels, classes, objects, np.digitize(close.column("azimuth"), (-20, 20))


def samples(seed, x, y, objects, project, out):
    """Rows of the table: how good, varied and new samples of one GAN are, by steps."""
    held = np.random.RandomState(seed).rand(len(x)) < 0.2
    train, held = (objects < 4) & ~held, (objects < 4) & held
    gan, real = generate.GAN(12, random_state=seed), project(x[train])
    rows = {"held-out views": x[held], "new objects": x[objects >= 4]}
    for age in AGES:
        gan.train(x[train], y[train], until=age)
        rows[f"GAN, {age} steps"] = gan.sample(y[train], random_state=seed)
    if not seed:
        gan.save(out / "generative_objects.safetensors")
    for name, some in rows.items():
        few = np.random.RandomState(seed).permutation(some)[: held.sum()]
        row = {"part": "samples", "seed": seed, "row": name}
        row |= {"precision": generate.precision(real, project(few)), "recall": generate.precision(project(few), real)}  # fmt: skip
        row |= {"copying": generate.copying(x[train], x[held], some), "copying, new objects": generate.copying(x[train], x[objects >= 4], some)}  # fmt: skip
        yield row


def rare_sources(draw, x, y, objects, side, keep=None):
    """What each row of the rare view learns from, {name: [(pixels, classes), …]}, and the rare categories; `keep` is a file for the GAN."""
    rare = np.random.RandomState(0).permutation(12)[4 * draw : 4 * draw + 4]
    random, known = np.random.RandomState(draw), objects < 4
    is_rare = known & np.isin(y, rare) & (side == 2)
    two = np.concatenate(
        [random.permutation(np.flatnonzero(is_rare & (y == c)))[:FEW] for c in rare]
    )
    left = np.concatenate([two, np.flatnonzero(known & ~is_rare)])  # what the rows may see
    gan = generate.GAN(36, random_state=draw).train(
        x[left], 3 * y[left] + side[left], until=AGES[1]
    )
    if keep:
        gan.save(keep)
    asked = np.repeat(rare, 25)
    turned = np.flatnonzero(known & np.isin(y, rare) & (side == 0))
    mirrored = x[turned].reshape(-1, SIDE, SIDE)[:, :, ::-1].reshape(-1, SIDE**2).copy()
    real, full = (x[left], y[left]), (x[known], y[known])
    rows = {
        "as it is": [real],
        "oversampled": [real, (x[two], y[two])],
        "mirrored": [real, (mirrored, y[turned])],
    }
    rows["generated"] = [real, (gan.sample(3 * asked + 2, random_state=draw), asked)]
    return rows | {"not rare": [full, (x[is_rare], y[is_rare])]}, rare


def scored(sources, rate, seed, wanted, x, y, objects):
    """Average precision of each wanted picture among those of new objects."""
    parts = [1.0] if len(sources) == 1 else [1 - PART, PART]
    network, new = embed(sources, parts, rate, 0.5, seed, False), objects >= 4
    with torch.no_grad():
        rows = torch.nn.functional.normalize(network(torch.from_numpy(x)).double()).numpy()
    found = []
    for i in wanted:
        others = np.flatnonzero(new & ~((y == y[i]) & (objects == objects[i])))
        hits = y[others][np.argsort(-(rows[others] @ rows[i]), kind="stable")] == y[i]
        found.append((hits.cumsum() / np.arange(1, len(hits) + 1))[hits].mean())
    return np.array(found)


def rare_views(names, rates, seeds, draws=(0, 1, 2), out=None):
    """Rows of the table: mAP of each rare category, by draw, row and rate."""
    x, y, objects, side = pictures(names)
    for draw in draws:
        keep = out and not draw and out / "generative_rare_view.safetensors"
        rows, rare = rare_sources(draw, x, y, objects, side, keep)
        wanted = np.flatnonzero((objects >= 4) & np.isin(y, rare) & (side == 2))
        for name, sources in rows.items():
            for rate in rates if isinstance(rates, tuple) else (rates[name],):
                found = np.mean(
                    [scored(sources, rate, s, wanted, x, y, objects) for s in seeds], axis=0
                )
                for c in rare:
                    head = {"part": "rare view", "seed": draw, "row": name, "rate": rate}
                    yield head | {"category": sorted(names)[c], "map": found[y[wanted] == c].mean()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=DATA)
    out = parser.parse_args().out
    torch.set_num_threads(1)
    tried = pd.DataFrame(rare_views(CHOOSE, RATES, (0,)))
    means = tried.groupby(["row", "rate"])["map"].mean().unstack()
    print(means, f"{time.process_time():.0f} s", flush=True)
    table = list(rare_views(TEST, means.idxmax(axis=1).to_dict(), SEEDS, out=out))
    project = PCA(12, random_state=0).fit(pictures(CHOOSE)[0]).transform
    for seed in SEEDS:
        table += samples(seed, *pictures(TEST)[:3], project, out)
    table = pd.DataFrame(table)
    print(table.groupby(["part", "row"]).mean(numeric_only=True).round(3).to_string())
    write_bytes(out / "generative_objects.csv", table.to_csv(index=False, float_format="%.4f", lineterminator="\n").encode())  # fmt: skip
    print(f"{time.process_time():.0f} seconds of one core in all")
