"""Score maps of a similarity on more pictures than a notebook has time for: writes `data/explain.csv`, ten minutes of one core.

    OMP_NUM_THREADS=1 python tools/explain_runs.py --realdata FOLDER

The network is the frozen ``Deep("lite0")`` at 128 x 128. "validation": mosaics of four tabletop objects of 15 categories, on which the
one setting of each method is chosen, by insertion minus deletion. "mosaic": the other categories, where the network's own first choice is right. "scenes": an
object, and a tabletop scene that holds its category. "COCO": two photographs of one category, with masks, of which only numbers are kept.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from cbirkit import datasets, explain
from cbirkit.encoders import Deep
from cbirkit.images.files import read_image

STEPS = 5
TRIED = {  # method: its one setting, and the values tried on validation pairs
    "occlusion": (explain.occlusion, {"cells": 6}, "window", (0.2, 0.3, 0.4)),
    "RISE": (explain.rise, {"n_masks": 80}, "cells", (4, 6, 8)),
    "integrated gradients": (explain.integrated_gradients, {"steps": 8}, "smooth", (0.03, 0.06, 0.1)),
    "Grad-CAM": (explain.grad_cam, {}, None, (None,)),
}  # fmt: skip


def mosaics(encoder, singles, rng, n):
    """(query, picture, mask of the object, mask of its quarter): pairs of which the network itself prefers the right quarter."""
    kept = []
    where = {name: singles.column(name) for name in ("label", "instance", "split")}
    for label in rng.permutation(np.unique(singles.labels)):
        names = [*rng.choice(np.setdiff1d(singles.labels, [label]), 3, replace=False), label]
        rows = [
            int(
                rng.choice(
                    np.flatnonzero((where["label"] == name) & (where["split"] == "database"))
                )
            )
            for name in names
        ]
        same = (where["instance"] == where["instance"][rows[3]]) & (where["split"] == "query")
        query, thing, place = (
            singles[int(rng.choice(np.flatnonzero(same)))],
            singles.mask(rows[3]) == 1,
            int(rng.integers(4)),
        )
        rows.insert(place, rows.pop())
        quarters = [singles[row] for row in rows]
        scores = explain.similarities(encoder, query, quarters)
        if len(kept) < n and scores[place] >= np.delete(scores, place).max() + 0.1:
            here = [np.full(thing.shape, k == place) for k in range(4)]
            grids = (quarters, [thing & one for one in here], here)
            kept.append(
                (query, *(np.vstack([np.hstack(grid[:2]), np.hstack(grid[2:])]) for grid in grids))
            )
    return kept


def scene_pairs(singles, scenes, rng, n):
    """An object alone, and a scene that holds its category, large or of medium size."""
    found = []
    for label in rng.permutation(np.unique(singles.labels))[:n]:
        held = [
            (i, k)
            for i, things in enumerate(scenes.column("objects"))
            for k, one in enumerate(things, 1)
            if one["category"] == label and one["size"] != "small" and one["visible"] >= 0.5
        ]
        scene, number = held[rng.integers(len(held))]
        found.append(
            (
                singles[int(rng.choice(np.flatnonzero(singles.labels == label)))],
                scenes[scene],
                scenes.mask(scene) == number,
                None,
            )
        )
    return found


def coco_pairs(folder, rng, n):
    """Two photographs that show one category (not people), and its mask in the second: 3 to 50 % of it."""
    told, masks, pairs = json.loads((folder / "annotations.json").read_text()), {}, []
    files = {one["id"]: one for one in told["images"]}
    for one in told["annotations"]:
        if isinstance(one["segmentation"], list) and one["category_id"] != 1:
            size = files[one["image_id"]]["width"], files[one["image_id"]]["height"]
            drawn = masks.setdefault((one["category_id"], one["image_id"]), Image.new("1", size))
            for polygon in one["segmentation"]:
                ImageDraw.Draw(drawn).polygon(polygon, fill=1)
    for category in rng.permutation(sorted({category for category, _ in masks})):
        inside = {image: np.array(mask) for (c, image), mask in masks.items() if c == category}
        large = [image for image, mask in inside.items() if 0.03 < mask.mean() < 0.5]
        if large and len(inside) > 1 and len(pairs) < n:
            second = rng.choice(large)
            first = rng.choice([image for image in inside if image != second])
            query, image = (
                read_image(folder / "images" / files[i]["file_name"]) for i in (first, second)
            )
            pairs.append((query, image, inside[second], None))
    return pairs


def maps_of(encoder, query, image, rng, settings):
    """(method, setting, map) of all methods and of the controls."""
    for name, (method, how, setting, _) in TRIED.items():
        for value in settings[name]:
            more, seed = {} if setting is None else {setting: value}, int(rng.integers(2**31))
            more |= {"random_state": seed} if method is explain.rise else {}
            yield name, value, method(encoder, query, image, **how, **more)
    noise = rng.normal(size=image.shape[:2])
    yield from [("centre prior", None, explain.centre_prior(image)), ("random pixels", None, noise)]
    yield "random blobs", None, gaussian_filter(noise, min(noise.shape) / 10)


def scored(encoder, pair, query, saliency):
    """What is kept of one map."""
    _, image, mask, quarter = pair
    row = {
        "area": mask.mean(),
        "pointing": explain.pointing(saliency, mask),
        "mass": explain.mass_inside(saliency - saliency.mean(), mask),
    }
    if quarter is not None:
        row |= {
            "quarter": explain.pointing(saliency, quarter),
            "mass in quarter": explain.mass_inside(saliency - saliency.mean(), quarter),
        }
    for fill in explain.FILLS:
        for insert, name in ((False, "deletion"), (True, "insertion")):
            row[f"{name} {fill}"] = explain.area_under(
                explain.curve(
                    encoder, query, image, saliency, insert=insert, steps=STEPS, fill=fill
                )
            )
    return row


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--realdata", type=Path, required=True)
parser.add_argument("--out", type=Path, default=Path("data/explain.csv"))
asked = parser.parse_args()
encoder = Deep("lite0", size=128, resize="squash", device="cpu")
singles, scenes = datasets.load_tabletop(), datasets.load_tabletop("scenes")
test, settings, rows = (
    singles.column("seen_category"),
    {name: how[3] for name, how in TRIED.items()},
    [],
)
made = {("validation", 0): lambda rng: mosaics(encoder, singles[~test], rng, 8)}
made |= {
    ("mosaic", seed): lambda rng: mosaics(encoder, singles[test], rng, 12) for seed in (0, 1, 2)
}
made |= {
    ("scenes", 0): lambda rng: scene_pairs(singles, scenes, rng, 20),
    ("COCO", 0): lambda rng: coco_pairs(asked.realdata / "m_coco131", rng, 20),
}
for (pictures, seed), make in made.items():
    rng = np.random.default_rng(seed)
    for number, pair in enumerate(make(rng)):
        query = explain.embedding(encoder, pair[0])
        for method, value, saliency in maps_of(encoder, query, pair[1], rng, settings):
            head = {
                "pictures": pictures,
                "seed": seed,
                "pair": number,
                "method": method,
                "setting": value,
            }
            rows.append(head | scored(encoder, pair, query, saliency))
    table = pd.DataFrame(rows)
    table.to_csv(asked.out, index=False, float_format="%.4f", lineterminator="\n")
    if pictures == "validation":
        table["chosen by"] = table["insertion blur"] - table["deletion blur"]
        best = table.dropna(subset="setting").groupby(["method", "setting"])["chosen by"].mean()
        settings |= {
            name: (TRIED[name][3][int(np.argmax(best[name]))],) for name in best.index.levels[0]
        }
    print(pictures, seed, settings, file=sys.stderr, flush=True)
