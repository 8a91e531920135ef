"""Search for a thing against search for a picture: mAP by the size of the thing, overlap of what is found, vectors and milliseconds.

    CBIRKIT_REALDATA=FOLDER OMP_NUM_THREADS=1 python -m benchmarks.object_retrieval data/object_retrieval.csv

Three sets. **scenes** (seeds 0 to 2): a query is a thing among clutter, with its mask; searched are 128 scenes of two to four things; right
are those that hold the very thing. All classes are unseen ones. **pasted**: a query is a photograph of one of 100 things of UKBench
(FOLDER/b_instance_ukbench250); searched are 300 other photographs (FOLDER/i_unlabelled_photos) into each of which another view of
one thing was pasted, three sizes of each. **streets**: a query is a masked car, pedestrian or sign of one of 100 frames of CamVid
(FOLDER/d_masks_camvid100); right are the frames of *other* drives that hold such a thing, those of its own drive are not counted.

Each method is measured at two layers of the network. The even queries choose, for each method and part, the better one (`validation` is their
mAP): rows whose `encoder` is "own" are those, and `layer` says which it was. Everything else is over the odd queries, the same in all rows of
a set, seed and part. `difference` is to "whole images" of the same encoder ("own": at its own layer), the query's region against one vector
an image, with a paired 95 % bootstrap interval; `chance` is the mAP of a random order. Methods named "scales" ask with the query at four
sizes (1, 0.7, 0.5, 0.35) and keep the nearest. `overlap` is the mean intersection over union of
the region found in each right image with the thing there. A finished set is kept, and not measured again.
"""

import argparse
import io
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.base import clone

from cbirkit import ImageCollection, Ranking, Relevance, compare, datasets, evaluate
from cbirkit._atomic import write_bytes
from cbirkit.datasets.scenes import object_relevance
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

SCALES = (
    1.0,
    0.7,
    0.5,
    0.35,
)  # at which a query is asked, where the name of a method says "scales"
SIZES = ("small", "medium", "large")
ENCODERS = {"middle": {"layer": "blocks.10", "size": 320}, "last": {"size": 320}}
PROPOSERS = {
    "windows": SlidingPyramid(),
    "SLIC": SLIC(),
    "Felzenszwalb": Felzenszwalb(),
    "network": Segmenter(device="cpu"),
}


class Kept:
    """An encoder that runs each picture once."""

    def __init__(self, encoder):
        self.encoder, self.preprocessing, self.maps = encoder, encoder.preprocessing, {}

    def __sklearn_clone__(self):
        return Kept(clone(self.encoder))

    def set_params(self, **params):
        self.encoder.set_params(**params)
        self.preprocessing = self.encoder.preprocessing
        return self

    def feature_maps(self, images):
        key = images[0].tobytes()
        if key not in self.maps:
            self.maps[key] = self.encoder.feature_maps(images)
        return self.maps[key]


def scenes(seed, n_instances=8):
    """Queries, database, regions that are true, what is right in each part, and where it lies."""
    choose = {
        "classes": "unseen",
        "n_instances": n_instances,
        "n_views": 1,
        "size": 128,
        "random_state": seed,
    }
    database, asked = (
        datasets.load_scenes("multi", **choose),
        datasets.load_scenes("clutter", **choose),
    )
    queries = [
        RegionQuery(asked[i], asked.mask(i) > 0, name=str(asked.ids[i])) for i in range(len(asked))
    ]
    masks = [database.mask(i) for i in range(len(database))]
    there = [dict(zip(names, range(1, 9), strict=False)) for names in database.column("instances")]
    wanted = asked.column("instances")

    def truth(query, image):
        mask = masks[image] == there[image][wanted[query][0]]
        return [Region.from_mask(mask)] if mask.any() else []

    true = [
        [Region.from_mask(mask == number) for number in np.unique(mask) if number] for mask in masks
    ]
    parts = {
        size: object_relevance(asked, database, by="instances", size=size)
        for size in (None, *SIZES)
    }
    return (
        queries,
        database,
        true,
        {size or "all": relevance for size, relevance in parts.items()},
        truth,
    )


def pasted(folder, n=100):
    """As `scenes`: views of things pasted into other photographs, at 1/5, 1/3 and 1/2 of the side."""
    rng, things, grounds = (
        np.random.default_rng(0),
        Path(folder) / "b_instance_ukbench250",
        Path(folder) / "i_unlabelled_photos",
    )
    names = pd.read_csv(grounds / "labels.csv")["file"].to_numpy()
    names = rng.permutation(names[np.char.startswith(names.astype(str), "imagenet")])[: 3 * n]
    files = ImageCollection.from_table(things / "labels.csv", path="file")
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
    return queries, database, [[box] for box in boxes], parts, lambda query, image: [boxes[image]]


def _found(folder, name):
    return folder / name if (folder / name).is_file() else folder / "images" / name


def streets(folder, least=60):
    """As `scenes`: things in frames of drives."""
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
    return queries, database, true, parts, lambda query, image: held[asked[query][0]][image]


def measure(label, seed, made):
    """Rows of the table, for one set."""
    queries, _, _, parts, truth = made
    at = {name: searched(label, encoder, made) for name, encoder in ENCODERS.items()}
    reports = np.arange(len(queries)) % 2 == 1
    rows = []
    for part, relevance in parts.items():
        scores = {
            name: {
                method: _score(one.ranking.select(~reports), relevance)
                for method, one in found.items()
            }
            for name, (found, _) in at.items()
        }
        best = {
            method: max(at, key=lambda name, m=method: scores[name][m]) for method in at["last"][0]
        }
        ways = {name: {method: name for method in found} for name, (found, _) in at.items()} | {
            "own": best
        }
        for encoder, layers in ways.items():
            found = {method: at[layer][0][method] for method, layer in layers.items()}
            for row in _scores(part, relevance, found, truth, reports):
                layer = layers[row["method"]]
                told = {
                    "layer": layer,
                    "validation": scores[layer][row["method"]],
                    **at[layer][1][row["method"]],
                }
                rows.append({"set": label, "seed": seed, "encoder": encoder} | row | told)
    return rows


def searched(label, layer, made):
    """Results and costs of every method at one layer."""
    queries, database, true, _, _ = made
    encoder, n = Kept(Deep("tiny", device="cpu", **layer)), len(database)
    ways = {"whole images": [[]] * n} | dict.fromkeys(PROPOSERS) | {"true regions": true}
    ways = {name: way for name, way in ways.items() if name != "network" or label == "scenes"}
    found, costs, network = {}, {}, 0.0
    for name, given in ways.items():
        retriever = RegionRetriever(encoder, PROPOSERS.get(name), progress=False).fit(
            database, regions=given
        )
        network = (
            network or 1000 * retriever.seconds_["network"] / n
        )  # later ones find the maps made
        found[name] = retriever.search(queries, k=n)
        costs[name] = _costs(retriever, queries) | {"ms_network": network}
        if name == "whole images":
            whole = [RegionQuery(query.image, name=query.name) for query in queries]
            found["whole pictures"], costs["whole pictures"] = (
                retriever.search(whole, k=n),
                costs[name],
            )
        if name in ("whole images", "Felzenszwalb", "network"):
            retriever.query_scales = SCALES
            found[f"{name}, scales"] = retriever.search(queries, k=n)
            costs[f"{name}, scales"] = _costs(retriever, queries) | {"ms_network": network}
    return found, costs


def _score(ranking, relevance):
    return evaluate(ranking, relevance, metrics=["map"], n_bootstrap=0)["map"]


def _costs(retriever, queries, n=50):
    """Vectors an image; milliseconds of a search (the query's own embedding left out) and of cutting an image."""
    asked = [retriever.embed(query) for query in queries[:n]]
    began = time.process_time()
    for vectors in asked:
        nearest_images(retriever.index_, vectors, retriever.owners_)
    search = 1000 * (time.process_time() - began) / len(asked)
    n_images = len(retriever.ids)
    cutting = 1000 * retriever.seconds_["regions"] / n_images
    return {
        "vectors": len(retriever.embeddings_) / n_images,
        "ms_search": search,
        "ms_regions": cutting,
    }


def _scores(part, relevance, found, truth, reports):
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
        scores = evaluate(ranking, relevance, metrics=["map"], n_bootstrap=1000)
        row = {
            "part": part,
            "method": name,
            "n_queries": len(scored),
            "chance": chance["map"],
            **scores.summary.loc["map", ["mean", "low", "high"]],
        }
        if name != "whole images":
            pair = compare(
                {name: ranking, "whole images": rankings["whole images"]}, relevance, n_draws=2000
            ).pairs.iloc[0]
            sign = 1 if pair["a"] == name else -1
            bounds = sorted((sign * pair["low"], sign * pair["high"]))
            row |= {
                "difference": sign * pair["difference"],
                "difference_low": bounds[0],
                "difference_high": bounds[1],
            }
        yield row | {"overlap": _overlap(found[name], relevance, truth, scored)}


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
    parser.add_argument(
        "--sets", nargs="*", default=["scenes 0", "scenes 1", "scenes 2", "pasted", "streets"]
    )
    options, folder = parser.parse_args(), os.environ.get("CBIRKIT_REALDATA", "")
    done = (
        pd.read_csv(options.out)
        if Path(options.out).exists()
        else pd.DataFrame({"set": [], "seed": []})
    )
    for wanted in options.sets:
        label, _, seed = wanted.partition(" ")
        seed, began = int(seed or 0), time.process_time()
        if len(done[(done["set"] == label) & (done["seed"] == seed)]):
            continue
        made = (
            scenes(seed)
            if label == "scenes"
            else {"pasted": pasted, "streets": streets}[label](folder)
        )
        rows = measure(label, seed, made)
        done = pd.concat([done, pd.DataFrame(rows)], ignore_index=True)
        text = io.StringIO()
        done.round(4).to_csv(text, index=False)
        write_bytes(Path(options.out), text.getvalue().encode())
        print(f"{wanted}: {time.process_time() - began:.0f} s of one core", flush=True)


if __name__ == "__main__":
    main()
