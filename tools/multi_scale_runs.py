"""Search across zooms and sizes with larger inputs, on COCO and on tabletop scenes, and write down how each way of using scales fares.

    CBIRKIT_REALDATA=FOLDER OMP_NUM_THREADS=1 python tools/multi_scale_runs.py data/multi_scale.csv --cache CACHE

FOLDER holds `m_coco131`. Each set is split into two halves of its categories, three times; a method's setting (layer, sizes) is the best on the
one half and reported on the other, and the other way round. "coco" searches objects shown at one zoom for objects at another, and
tells by how many steps of zoom lie between; "photographs" searches the same objects in COCO's whole photographs, "scenes" single objects in
tabletop scenes, and both tell by the size of the object there: in a photograph the mask area of the largest object of the category, in pixels of the
original, with COCO's bounds; photographs that hold it in another size, or as a crowd, and the query's own are junk. Intervals draw categories;
differences are to "one size". Vectors are kept in CACHE, one file a set and size; a run that was stopped goes on. Notebook 04 reads the table.
"""

import argparse
import dataclasses
import io
import itertools
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image

from cbirkit import datasets
from cbirkit._atomic import write_bytes
from cbirkit.encoders import Deep
from cbirkit.evaluation.resample import bootstrap_means, interval
from cbirkit.metrics import average_precision
from cbirkit.nets import pooling

ZOOMS = (0.9, 0.57, 0.36, 0.225)  # the longer side of the object, as a fraction of the frame
SIDE = 128
LAYERS = ("blocks.5", "blocks.6", "bn2")
COCO_SIZES = {  # mask area in pixels of the original photograph, more than and up to: COCO's bounds
    "all sizes": (0, np.inf),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, np.inf),
}


def cut(picture, left, top, side):
    """A square window of a picture, as a frame of SIDE pixels."""
    how = cv2.INTER_AREA if side > SIDE else cv2.INTER_LINEAR
    return cv2.resize(
        picture[top : top + side, left : left + side], (SIDE, SIDE), interpolation=how
    )


def coco_objects():
    """Folder, {image: its file}, the table of all objects, and the table of those that are asked for."""
    folder = Path(os.environ["CBIRKIT_REALDATA"]) / "m_coco131"
    told = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    files, every = {one["id"]: one for one in told["images"]}, pd.DataFrame(told["annotations"])
    ratio = {i: one["original_width"] / one["width"] for i, one in files.items()}
    every["area"] *= every["image_id"].map(ratio) ** 2
    table = every[every["iscrowd"] == 0].copy()
    table["side"] = table["bbox"].map(lambda box: max(box[2:]))
    short = table["image_id"].map(lambda i: min(files[i]["width"], files[i]["height"]))
    table = table[(table["side"] >= 20) & (table["side"] / ZOOMS[2] <= short)]
    table = table.sort_values("side", ascending=False).drop_duplicates(["category_id", "image_id"])
    table = table[table.groupby("category_id")["image_id"].transform("size") > 1]
    return folder, files, every, table[table.groupby("category_id").cumcount() < 8]


def photograph(folder, file):
    return np.asarray(Image.open(folder / "images" / file["file_name"]).convert("RGB"))


def coco():
    """The largest object of each category in each photograph, at the three nearer zooms, cut out of the photograph as it is."""
    folder, files, _, table = coco_objects()
    frames = []
    for one in table.itertuples():
        picture = photograph(folder, files[one.image_id])
        x, y, w, h = one.bbox
        sides = [round(one.side / zoom) for zoom in ZOOMS[:3]]
        places = [
            [
                int(np.clip(m - s / 2, 0, n - s))
                for m, n in ((x + w / 2, picture.shape[1]), (y + h / 2, picture.shape[0]))
            ]
            for s in sides
        ]
        frames.append(
            [cut(picture, *place, side) for place, side in zip(places, sides, strict=True)]
        )
    labels, image = table["category_id"].to_numpy(), table["image_id"].to_numpy()
    return (
        frames,
        frames,
        labels,
        {"": labels[:, None] == labels[None]},
        {"": image[:, None] == image[None]},
    )


def photographs():
    """The objects of `coco` at the second zoom; whole photographs; relevant is one that holds the category, in all sizes or one."""
    folder, files, every, table = coco_objects()
    labels, own = table["category_id"].to_numpy(), table["image_id"].to_numpy()[:, None]
    stored = np.unique(every["image_id"])
    largest = every[every["iscrowd"] == 0].groupby(["category_id", "image_id"])["area"].max()
    area = largest.unstack().reindex(index=labels, columns=stored).to_numpy()  # NaN: not held
    crowd = every[every["iscrowd"] == 1].groupby(["category_id", "image_id"]).size()
    crowd = crowd.unstack().reindex(index=labels, columns=stored).to_numpy() > 0
    held, mine = (area > 0) | crowd, own == stored
    right, junk = {}, {}
    for size, (low, high) in COCO_SIZES.items():
        right[size] = (area > low) & (area <= high) & ~mine
        junk[size] = (held & ~right[size]) | mine
    frames = [[row[1]] for row in coco()[0]]
    return frames, [[photograph(folder, files[i])] for i in stored], labels, right, junk


def scenes():
    """Single objects at the second zoom; scenes; relevant is a scene that holds the category, in all sizes or one."""
    objects, all_scenes = datasets.load_tabletop(), datasets.load_tabletop("scenes")
    number = np.array([int(name.split()[-1]) for name in objects.column("instance")])
    asked = objects[(number < 2) & (objects.column("view") == 0)]
    stored = all_scenes[all_scenes.column("split") == "independent"]
    order = np.tile(np.arange(len(stored)), (len(asked), 1))
    right, junk = {}, {}
    for size in (None, "small", "medium", "large"):
        truth = datasets.scene_relevance(asked, stored, size=size)
        right[size or "all sizes"] = truth.gains(order) > 0
        held = np.array(
            [[label in held for held in stored.column("categories")] for label in asked.labels]
        )
        junk[size or "all sizes"] = held & ~right[size or "all sizes"]
    return (
        datasets.zoomed(asked, ZOOMS[1:2], SIDE),
        [[one] for one in stored],
        asked.labels,
        right,
        junk,
    )


def encode(frames, size):
    """{(layer, pooling): (n, n_zooms, d)} of frames at one input size (the longer side)."""
    deep = Deep("lite0", device="cpu")
    network, flat = deep.network.eval(), [frame for row in frames for frame in row]
    kept, found = {}, {}
    for name in LAYERS:
        network.get_submodule(name).register_forward_hook(
            lambda module, given, made, name=name: kept.__setitem__(name, made)
        )
    with torch.inference_mode():
        for (h, w), alike in itertools.groupby(flat, key=lambda frame: frame.shape[:2]):
            sides = round(size * h / max(h, w)), round(size * w / max(h, w))
            step, batch = dataclasses.replace(deep.preprocessing, size=sides), [*alike]
            for start in range(0, len(batch), 32):
                network(step(batch[start : start + 32]))
                for name, how in itertools.product(LAYERS, ("average", "rmac")):
                    rows = pooling.POOLINGS[how](kept[name]).numpy()
                    found.setdefault((name, how), []).append(rows)
    return {
        key: unit(np.concatenate(rows)).reshape(len(frames), -1, rows[0].shape[1])
        for key, rows in found.items()
    }


def unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def settings(sizes):
    """(method, setting, parts of each query vector, parts of each database vector); a part is (layer, pooling, size)."""
    several = [c for n in (2, 3) for c in itertools.combinations(sizes, n)]
    for layer, how in itertools.product(LAYERS, ("average", "rmac")):
        word = "R-MAC, " if how == "rmac" else ""
        for size in sizes:
            one = [(layer, how, size)]
            yield (word or "one size, ")[:-2], f"{layer} {size}", [one], [one]
        for some in several:
            parts, name = (
                [(layer, how, size) for size in some],
                f"{layer} {'+'.join(map(str, some))}",
            )
            yield word + "sum of sizes", name, [parts], [parts]
            for size in some:
                yield (
                    word + "asked at several sizes",
                    f"{name} in {size}",
                    [[p] for p in parts],
                    [[(layer, how, size)]],
                )
    for size, some in itertools.product(sizes, (LAYERS, LAYERS[1:])):
        parts = [(layer, "average", size) for layer in some]
        yield "several layers", f"{'+'.join(some)} {size}", [parts], [parts]


def vector(vectors, parts):
    """Sum of vectors of equal length, else one behind the other: (n, n_zooms, d)."""
    rows = [vectors[size][layer, how] for layer, how, size in parts]
    return unit(
        sum(rows) if len({row.shape[-1] for row in rows}) == 1 else np.concatenate(rows, axis=-1)
    )


def scores(similar, right, junk):
    """Average precision of each query, NaN where nothing is right; junk comes last and does not count."""
    similar = np.where(junk, -np.inf, similar)
    order = np.argsort(-similar, axis=1, kind="stable")
    ranked = np.take_along_axis(right & ~junk, order, axis=1)
    found = np.full(len(similar), np.nan)
    asked = ranked.any(axis=1)
    found[asked] = average_precision(ranked[asked])
    return found


def by_part(similarity, zooms, right, junk):
    """{part: (n_queries,)}: by the steps between the zooms, or by the size of what is searched for."""
    if zooms == (1, 1):
        return {part: scores(similarity(0, 0), right[part], junk[part]) for part in right}
    cells = {(a, b): scores(similarity(a, b), right[""], junk[""]) for a, b in np.ndindex(*zooms)}
    found = {
        f"{d} steps": np.mean([v for (a, b), v in cells.items() if abs(a - b) == d], axis=0)
        for d in range(zooms[0])
    }
    ends = {"close in close": (0, 0), "close in far": (0, -1), "far in far": (-1, -1)}
    found |= {part: cells[a % zooms[0], b % zooms[0]] for part, (a, b) in ends.items()}
    return {"all zooms": np.mean([*cells.values()], axis=0)} | found


def measured(name, load, sizes, cache):
    """Rows of one set."""
    queries, database, labels, right, junk = load()
    vectors = [{}, {}]
    roles = enumerate((queries,) if queries is database else (queries, database))
    for (number, frames), size in itertools.product(roles, sizes):
        file = cache / f"{name} {number} {size}.npz"
        if not file.exists():
            np.savez(file, **{" ".join(key): rows for key, rows in encode(frames, size).items()})
        with np.load(file) as kept:
            vectors[number][size] = {tuple(key.split(" ")): kept[key] for key in kept.files}
    vectors[1] = vectors[1] or vectors[0]
    zooms, found = (len(queries[0]), len(database[0])), {}
    noise = [np.random.RandomState(n).rand(len(queries), len(database)) for n in range(20)]
    chance = [by_part(lambda a, b, one=one: one, zooms, right, junk) for one in noise]
    for method, setting, asked, stored in settings(sizes):
        q, d = [vector(vectors[0], p) for p in asked], [vector(vectors[1], p) for p in stored]
        similarity = lambda a, b, q=q, d=d: np.max([x[:, a] @ d[0][:, b].T for x in q], axis=0)
        found.setdefault(method, {})[setting] = by_part(similarity, zooms, right, junk)
    for seed in (0, 1, 2):
        names = np.random.RandomState(seed).permutation(np.unique(labels))
        halves = [np.isin(labels, names[n::2]) for n in (0, 1)]
        parts, best, chosen = list(chance[0]), {}, {}
        for method, tried in found.items():
            table = {setting: tried[setting][parts[0]] for setting in tried}
            picks = [
                max(table, key=lambda s, half=half: np.nanmean(table[s][half]))
                for half in halves[::-1]
            ]
            chosen[method] = " | ".join(picks)
            best[method] = {
                part: np.where(halves[0], *(tried[s][part] for s in picks)) for part in parts
            }
        for method, part in itertools.product(best, parts):
            mine, base = best[method][part], best["one size"][part]
            asked = np.isfinite(mine)
            codes = np.unique(labels[asked], return_inverse=True)[1]
            both = np.stack([mine, mine - base], axis=1)[asked]
            ends = interval(bootstrap_means(both, codes, 2000, 0)).T.ravel()
            level = np.mean([np.nanmean(one[part]) for one in chance])
            row = (
                name,
                seed,
                part,
                method,
                chosen[method],
                asked.sum(),
                both[:, 0].mean(),
                *ends[:2],
            )
            yield *row, both[:, 1].mean(), *ends[2:], level


SETS = {
    "coco": (coco, (91, 128, 181, 256)),
    "photographs": (photographs, (91, 128, 181, 256)),
    "scenes": (scenes, (91, 128, 181, 256)),
}
COLUMNS = ["set", "seed", "part", "method", "setting", "queries", "mAP", "low", "high"]
COLUMNS += ["difference", "difference_low", "difference_high", "chance"]


def run(arguments=None):
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    options = parser.parse_args(arguments)
    options.cache.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    rows = [row for name in options.sets for row in measured(name, *SETS[name], options.cache)]
    text = io.StringIO()
    pd.DataFrame(rows, columns=COLUMNS).to_csv(
        text, index=False, float_format="%.4f", lineterminator="\n"
    )
    write_bytes(options.out, text.getvalue().encode())


if __name__ == "__main__":
    run()
