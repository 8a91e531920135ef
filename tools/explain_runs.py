"""Score maps of a similarity on more pictures than a notebook has time for: writes `data/explain.csv`, a quarter of an hour of one core.

    OMP_NUM_THREADS=1 python tools/explain_runs.py --realdata FOLDER

The network is the frozen ``Deep("lite0")`` at 128 x 128. "validation": mosaics of four tabletop objects of 15 categories, with every setting and
both fills; the settings that are used below are chosen there by insertion minus deletion, with the blurred fill. "mosaic": the other categories, where the
network's own first choice is right. "scenes": an object, and a tabletop scene that holds its category. "COCO": two photographs of one category, with
masks, of which only numbers are kept. What is in the file is not made again: delete it to begin anew.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from cbirkit import datasets, explain
from cbirkit.encoders import Deep
from cbirkit.images.files import read_image

STEPS = 5
TRIED = {  # method: the settings tried on validation pairs
    "occlusion": [{"window": w, "cells": c} for w in (0.2, 0.3, 0.4) for c in (6, 9)],
    "RISE": [{"n_masks": 80, "cells": c} for c in (4, 6, 8)],
    "integrated gradients": [{"steps": 8, "smooth": s} for s in (0.03, 0.06, 0.1)],
    "Grad-CAM": [{}],
}
MADE_BY = {
    "occlusion": explain.occlusion,
    "RISE": explain.rise,
    "integrated gradients": explain.integrated_gradients,
    "Grad-CAM": explain.grad_cam,
}


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


def maps_of(encoder, query, image, rng, settings, fill):
    """(method, setting, map) of all methods; of the controls and of Grad-CAM, which has no fill, with the first fill only."""
    for name, method in MADE_BY.items():
        for setting in settings[name]:
            seed = int(rng.integers(2**31))
            more = {"random_state": seed} if name == "RISE" else {}
            more |= {} if name == "Grad-CAM" else {"fill": fill}
            if more or fill == explain.FILLS[0]:
                told = ", ".join(f"{key} {value}" for key, value in setting.items())
                yield name, told, method(encoder, query, image, **setting, **more)
    if fill == explain.FILLS[0]:
        noise = rng.normal(size=image.shape[:2])
        yield from [("centre prior", "", explain.centre_prior(image)), ("random pixels", "", noise)]
        yield "random blobs", "", gaussian_filter(noise, min(noise.shape) / 10)


def best(table, name, fill):
    """The setting of a method that validation chooses, alone in a list."""
    if len(TRIED[name]) == 1:
        return TRIED[name]
    mine = table[
        (table["method"] == name) & (table["fill"] == fill) & (table["pictures"] == "validation")
    ]
    gain = (mine[f"insertion {fill}"] - mine[f"deletion {fill}"]).groupby(mine["pair"])
    per_setting = np.array([values.to_numpy() for _, values in gain])  # (pairs, settings)
    return [TRIED[name][int(per_setting.mean(axis=0).argmax())]]


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
test = singles.column("seen_category")
blur = explain.FILLS[0]
parts = [("validation", 0, fill) for fill in explain.FILLS]
parts += [*(("mosaic", seed, blur) for seed in (0, 1, 2)), ("scenes", 0, blur), ("COCO", 0, blur)]
make = {
    "validation": lambda rng: mosaics(encoder, singles[~test], rng, 8),
    "mosaic": lambda rng: mosaics(encoder, singles[test], rng, 12),
    "scenes": lambda rng: scene_pairs(singles, scenes, rng, 20),
    "COCO": lambda rng: coco_pairs(asked.realdata / "m_coco131", rng, 20),
}
table = pd.read_csv(asked.out) if asked.out.exists() else None
for part in parts:
    pictures, seed, fill = part
    if table is not None and (table[["pictures", "seed", "fill"]] == list(part)).all(axis=1).any():
        continue
    settings = TRIED if pictures == "validation" else {n: best(table, n, fill) for n in TRIED}
    rng, rows, begun = np.random.default_rng(seed), [], time.perf_counter()
    for number, pair in enumerate(make[pictures](rng)):
        query = explain.embedding(encoder, pair[0])
        for method, setting, saliency in maps_of(encoder, query, pair[1], rng, settings, fill):
            row = dict(zip(("pictures", "seed", "fill"), part, strict=True))
            row |= {"pair": number, "method": method, "setting": setting}
            rows.append(row | scored(encoder, pair, query, saliency))
    whole = pd.concat([table, pd.DataFrame(rows)])
    whole.to_csv(asked.out, index=False, float_format="%.4f", lineterminator="\n")
    table = pd.read_csv(asked.out)
    print(*part, f"{time.perf_counter() - begun:.0f} s", settings, file=sys.stderr, flush=True)
