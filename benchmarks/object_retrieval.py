"""Search for a thing against search for a picture: mAP by the size of the thing, overlap of what is found, vectors and milliseconds.

    CBIRKIT_REALDATA=FOLDER OMP_NUM_THREADS=1 python -m benchmarks.object_retrieval data/object_retrieval.csv

Three sets. **tabletop** (seeds 0 to 2): a query is a rendered object with its mask, two instances of each of the 64 categories, drawn by the
seed; searched are the 210 "independent" scenes of three to seven objects; right are those that hold an object of the category. **pasted**: a
query is a photograph of one of 100 things of UKBench (FOLDER/b_instance_ukbench250); searched are 300 other photographs
(FOLDER/i_unlabelled_photos) into each of which another view of one thing was pasted, three sizes of each. **streets**: a query is a masked
car, pedestrian or sign of one of 100 frames of CamVid (FOLDER/d_masks_camvid100); right are the frames of *other* drives that hold such a
thing, those of its own drive are not counted.

Each method is measured at two layers of the network. The even queries choose, for each method and part, the better one (`validation` is their
mAP): rows whose `encoder` is "own" are those, and `layer` says which it was. Everything else is over the odd queries, the same in all rows of
a set, seed and part. On tabletop the seed deals the categories: one half is even, the other odd, and intervals draw categories.
`difference` is to "whole images" of the same encoder ("own": at its own layer), the query's region against one vector
an image, with a paired 95 % bootstrap interval; `chance` is the mAP of a random order. Methods named "scales" ask with the query at four
sizes (1, 0.7, 0.5, 0.35) and keep the nearest. `overlap` is the mean intersection over union of
the region found in each right image with the thing there. A finished set is kept, and not measured again.
"""

import argparse
import io
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from cbirkit import ImageCollection, Ranking, Relevance, compare, datasets, evaluate
from cbirkit._atomic import write_bytes
from cbirkit.datasets.tabletop import scene_relevance
from cbirkit.encoders import Deep
from cbirkit.objects import (
    SLIC,
    Felzenszwalb,
    Region,
    RegionQuery,
    RegionRetriever,
    Segmenter,
    SlidingPyramid,
    connected_regions,
    mask_iou,
)
from cbirkit.objects.region_retriever import nearest_images

# at which a query is asked, where the name of a method says "scales"
SCALES = (1.0, 0.7, 0.5, 0.35)
SIZES = ("small", "medium", "large")
ENCODERS = {
    "middle": {"layer": "blocks.10", "size": 320},
    "last": {"size": 320},
}
# Scenes of 4:3 and square queries: neither is squashed.
ON_TABLETOP = {
    "middle": {"layer": "blocks.12", "size": 320, "resize": "pad"},
    "last": {"size": 320, "resize": "pad"},
}
PROPOSERS = {
    "windows": SlidingPyramid(),
    "SLIC": SLIC(),
    "Felzenszwalb": Felzenszwalb(),
    "network": Segmenter(device="cpu"),
}


class Kept(Deep):
    """A `Deep` that runs each picture once."""

    def feature_maps(self, images):
        maps, key = self.__dict__.setdefault("maps", {}), images[0].tobytes()
        if key not in maps:
            maps[key] = super().feature_maps(images)
        return maps[key]


@dataclass
class Made:
    """A set: what is asked, what is searched, and what is true of it."""

    queries: list
    database: ImageCollection
    # of each image, the regions of its things
    true: list
    # Relevance, by part
    parts: dict
    # truth(query, image): regions of what was asked for
    truth: Callable
    # of each query; None: every query is one
    groups: np.ndarray | None = None


def tabletop(seed):
    """Two instances of each category ask for the scenes that hold the category, in all sizes and in each."""
    objects, scenes = datasets.load_tabletop("objects"), datasets.load_tabletop("scenes")
    database = scenes[scenes.column("split") == "independent"]
    rng, places = np.random.default_rng(seed), {}
    for i in rng.permutation(np.flatnonzero(objects.column("split") == "query")):
        places.setdefault(objects.labels[i], {}).setdefault(objects.column("instance")[i], int(i))
    pairs = [list(one.values())[:2] for _, one in sorted(places.items())]
    # 64 categories in the order of the seed, twice: even rows are of other categories than odd ones
    asked = objects[np.array(rng.permutation(pairs)).T.ravel()]
    queries = [
        RegionQuery(asked[i], asked.mask(i) == 1, name=asked.ids[i]) for i in range(len(asked))
    ]
    masks, held = [database.mask(i) for i in range(len(database))], database.column("categories")

    def truth(query, image):
        place = held[image].index(asked.labels[query]) + 1
        return [Region.from_mask(masks[image] == place)]

    true = [[Region.from_mask(m == number) for number in np.unique(m) if number] for m in masks]
    parts = {size or "all": scene_relevance(asked, database, size=size) for size in (None, *SIZES)}
    return Made(queries, database, true, parts, truth, asked.labels)


def pasted(folder, n=100):
    """Views of things pasted into other photographs, at 1/5, 1/3 and 1/2 of the side."""
    rng, things, grounds = (
        np.random.default_rng(0),
        Path(folder) / "b_instance_ukbench250",
        Path(folder) / "i_unlabelled_photos",
    )
    names = pd.read_csv(grounds / "labels.csv")["file"].to_numpy()
    names = rng.permutation(names[np.char.startswith(names.astype(str), "imagenet")])[: 3 * n]
    table = pd.read_csv(things / "labels.csv")
    files = ImageCollection.from_files([things / one for one in table["file"]], table, root=things)
    images, boxes, owner = [], [], []
    for i in range(3 * n):
        side = round(256 * (1 / 5, 1 / 3, 1 / 2)[i % 3])
        ground = Image.fromarray(
            ImageCollection.from_files([_found(grounds, names[i % len(names)])])[0]
        ).resize((256, 256))
        thing = Image.fromarray(files[4 * (i // 3) + 1 + i % 3]).resize((side, side))
        x, y = rng.integers(0, 256 - side, 2)
        ground.paste(thing, (int(x), int(y)))
        images.append(np.asarray(ground))
        boxes.append(Region.from_box((int(x), int(y), int(x) + side, int(y) + side), (256, 256)))
        owner.append(i // 3)
    database = ImageCollection.from_arrays(images, ids=[f"pasted {i}" for i in range(3 * n)])
    queries = [RegionQuery(files[4 * i], name=f"thing {i}") for i in range(n)]
    owner, size, ids = np.array(owner), np.arange(3 * n) % 3, [query.name for query in queries]
    right = [np.flatnonzero(owner == i) for i in range(n)]
    parts = {"all": Relevance.from_sets(ids, database.ids, right)}
    for number, name in enumerate(SIZES):
        chosen = [[rows[size[rows] == number], rows[size[rows] != number]] for rows in right]
        parts[name] = Relevance.from_sets(ids, database.ids, *map(list, zip(*chosen, strict=True)))
    return Made(
        queries, database, [[box] for box in boxes], parts, lambda query, image: [boxes[image]]
    )


def _found(folder, name):
    return folder / name if (folder / name).is_file() else folder / "images" / name


def streets(folder, least=60):
    """Things in frames of drives."""
    folder = Path(folder) / "d_masks_camvid100"
    table = pd.read_csv(folder / "labels.csv")
    database = ImageCollection.from_files(
        [folder / name for name in table["file"]], ids=table["file"].tolist()
    )
    masks = [np.asarray(Image.open(folder / name)) for name in table["mask"]]
    drive = np.array([Path(name).name[:6] for name in table["file"]])
    held, queries, parts, asked = {}, [], {}, []
    for name, number in (("car", 8), ("pedestrian", 9), ("sign", 6)):
        held[name] = [
            [r for r in connected_regions(m == number, m) if r.area >= least] for m in masks
        ]
        for i, regions in enumerate(held[name]):
            if regions:
                queries.append(
                    RegionQuery(
                        str(database.ids[i]),
                        max(regions, key=lambda r: r.area),
                        name=f"{name} in {database.ids[i]}",
                    )
                )
                asked.append((name, i))
    for part in ("all", *held):
        rows = [
            [i for i, r in enumerate(held[name]) if r and drive[i] != drive[own]]
            if part in ("all", name)
            else []
            for name, own in asked
        ]
        junk = [np.flatnonzero(drive == drive[own]) for _, own in asked]
        parts[part] = Relevance.from_sets(
            [q.name for q in queries],
            database.ids,
            [np.array(r, dtype=np.int64) for r in rows],
            junk,
        )
    true = [[r for name in held for r in held[name][i]] for i in range(len(masks))]
    return Made(queries, database, true, parts, lambda query, image: held[asked[query][0]][image])


def measure(label, seed, made, fitted):
    """Rows of the table, for one set."""
    at = {name: searched(fitted[name], made.queries) for name in fitted}
    costs = {name: {method: one[1] for method, one in found.items()} for name, found in at.items()}
    at = {name: {method: one[0] for method, one in found.items()} for name, found in at.items()}
    reports = np.arange(len(made.queries)) % 2 == 1
    rows = []
    for part, relevance in made.parts.items():
        scores = {
            name: {m: _score(one.ranking.select(~reports), relevance) for m, one in found.items()}
            for name, found in at.items()
        }
        best = {m: max(at, key=lambda name, m=m: scores[name][m]) for m in at["last"]}
        ways = {name: dict.fromkeys(found, name) for name, found in at.items()} | {"own": best}
        for encoder, layers in ways.items():
            found = {method: at[layer][method] for method, layer in layers.items()}
            for row in _scores(part, relevance, found, made, reports):
                method, layer = row["method"], layers[row["method"]]
                told = {"layer": layer, "validation": scores[layer][method]}
                told |= costs[layer][method]
                rows.append({"set": label, "seed": seed, "encoder": encoder} | row | told)
    return rows


def fit(settings, made, cut):
    """A retriever for each way to cut; `cut` keeps the regions of each for the next layer."""
    encoder, n = Kept("tiny", device="cpu", **settings), len(made.database)
    cut |= {"whole images": ([[]] * n, 0.0), "true regions": (made.true, 0.0)}
    fitted, network = {}, None
    for name in ("whole images", *PROPOSERS, "true regions"):
        retriever = RegionRetriever(encoder, PROPOSERS.get(name), progress=False)
        regions, spent = cut.get(name, (None, None))
        fitted[name] = retriever.fit(made.database, regions=regions)
        cut[name] = [r[:-1] for r in retriever.regions_], spent or retriever.seconds_["regions"]
        # later ones find the maps made
        network = retriever.seconds_["network"] if network is None else network
        retriever.ms_ = {"ms_regions": 1000 * cut[name][1] / n, "ms_network": 1000 * network / n}
    return fitted


def searched(fitted, queries):
    """Result and costs of every method at one layer."""
    whole = fitted["whole images"]
    pictures = [whole.embedded(RegionQuery(query.image, name=query.name)) for query in queries]
    whole.query_scales = SCALES
    scaled = [whole.embedded(query) for query in queries]  # embedded once, for all methods
    whole.query_scales = (1.0,)
    plain = [replace(query, vectors=query.vectors[:1]) for query in scaled]
    asked = {name: (retriever, plain) for name, retriever in fitted.items()}
    asked["whole pictures"] = whole, pictures
    for name in [n for n in ("whole images", "Felzenszwalb", "network") if n in fitted]:
        asked[f"{name}, scales"] = fitted[name], scaled
    return {
        name: (retriever.search(wanted, k=len(retriever.ids)), _costs(retriever, wanted))
        for name, (retriever, wanted) in asked.items()
    }


def _score(ranking, relevance):
    return evaluate(ranking, relevance, metrics=["map"], n_bootstrap=0)["map"]


def _costs(retriever, queries, n=50):
    """Vectors an image; milliseconds of a search (without embedding the query) and of cutting an image."""
    asked = [query.vectors for query in queries[:n]]
    began = time.process_time()
    for vectors in asked:
        nearest_images(retriever.index_, [vectors], retriever.owners_)
    search = 1000 * (time.process_time() - began) / len(asked)
    vectors = len(retriever.embeddings_) / len(retriever.ids)
    return {"vectors": vectors, "ms_search": search, **retriever.ms_}


def _scores(part, relevance, found, made, reports):
    groups = None if made.groups is None else made.groups[reports]
    rankings = {name: result.ranking.select(reports) for name, result in found.items()}
    first = next(iter(rankings.values()))
    scored = np.flatnonzero((relevance.n_positives > 0) & reports)
    noise = np.random.default_rng(0).random((len(first), len(first.database_ids)))
    chance = evaluate(
        Ranking.from_distances(noise, first.query_ids, first.database_ids),
        relevance,
        metrics=["map"],
        n_bootstrap=0,
    )
    for name, ranking in rankings.items():
        scores = evaluate(ranking, relevance, metrics=["map"], groups=groups)
        row = {
            "part": part,
            "method": name,
            "n_queries": len(scored),
            "chance": chance["map"],
            **scores.summary.loc["map", ["mean", "low", "high"]],
        }
        if name != "whole images":
            pair = compare(
                {name: ranking, "whole images": rankings["whole images"]},
                relevance,
                groups=groups,
                n_draws=2000,
            ).pairs.iloc[0]
            sign = 1 if pair["a"] == name else -1
            bounds = sorted((sign * pair["low"], sign * pair["high"]))
            row |= {
                "difference": sign * pair["difference"],
                "difference_low": bounds[0],
                "difference_high": bounds[1],
            }
        yield row | {"overlap": _overlap(found[name], relevance, made.truth, scored)}


def _overlap(result, relevance, truth, scored):
    """Mean over right images of the best overlap of the found region with a thing there."""
    gains, out = relevance.gains(result.ranking.indices), []
    for query in scored:
        for rank in np.flatnonzero(gains[query] > 0):
            things = truth(query, int(result.ranking.indices[query, rank]))
            out.append(
                max(
                    (mask_iou(result.regions[query][rank][0], thing) for thing in things),
                    default=np.nan,
                )
            )
    return float(np.nanmean(out))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out")
    parser.add_argument("--sets", nargs="*", default=["tabletop", "pasted", "streets"])
    options, folder = parser.parse_args(), os.environ.get("CBIRKIT_REALDATA", "")
    out = Path(options.out)
    done = pd.read_csv(out) if out.exists() else pd.DataFrame({"set": [], "seed": []})
    for label in options.sets:
        fitted, began = None, time.process_time()
        for seed in range(3 if label == "tabletop" else 1):
            if len(done[(done["set"] == label) & (done["seed"] == seed)]):
                continue
            made = tabletop(seed) if label == "tabletop" else SETS[label](folder)
            if fitted is None:
                cut, encoders = {}, ON_TABLETOP if label == "tabletop" else ENCODERS
                fitted = {layer: fit(settings, made, cut) for layer, settings in encoders.items()}
            rows = measure(label, seed, made, fitted)
            done = pd.concat([done, pd.DataFrame(rows)], ignore_index=True)
            text = io.StringIO()
            done.round(4).to_csv(text, index=False)
            write_bytes(out, text.getvalue().encode())
            print(f"{label} {seed}: {time.process_time() - began:.0f} s of one core", flush=True)


SETS = {"pasted": pasted, "streets": streets}

if __name__ == "__main__":
    main()
