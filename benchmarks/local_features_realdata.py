"""Local features on UKBench photographs: visual words, VLAD, re-ranking by inliers and query expansion.

    python -m benchmarks.local_features_realdata [--realdata DIR] [--depth 20]

Protocols. ukbench250: each of 1,000 photographs (250 objects, 4 views, 256 pixels) is a query against all; mAP leaves
the query out by id, the UKBench (N-S) score counts it. orig640: the 40 photographs that are there at 640 x 480 are
queries against the 1,000 of ukbench250 with their own 40 small copies replaced by the originals, again self left out for
mAP. Codebooks are learned on photographs of i_unlabelled_photos (sources "imagenet" and "pacs_photo"), neither queries nor
database. Intervals: 95 % bootstrap over objects. Re-ranking verifies the first `depth` results of VLAD-64; expansion
averages verified results (8 inliers or more).
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd

from cbirkit import ImageCollection, Ranking, compare, evaluate, rerank
from cbirkit.encoders import SIFT, VLAD, BagOfWords, ColorHistogram, SparseBagOfWords, TinyImage
from cbirkit.indexes import Exact, InvertedFile

TRAIN_SOURCES = ("imagenet", "pacs_photo")


class Remembered:
    """A detector that returns features found before."""

    def __init__(self, found):
        self.found = found

    def describe_all(self, images, order=None):
        yield from (
            self.found[name] for name in (images.ids if order is None else images.ids[order])
        )


def open_set(folder):
    """The collection of one folder with a labels.csv."""
    table = pd.read_csv(folder / "labels.csv")
    return ImageCollection.from_files([folder / name for name in table["file"]], table, root=folder)


def open_sets(realdata):
    """(queries, database) of both protocols."""
    small = open_set(realdata / "b_instance_ukbench250")
    large = open_set(realdata / "b_instance_ukbench_orig640")
    originals = {Path(name).name: i for i, name in enumerate(large.ids)}
    names = [Path(str(name)).name for name in small.ids]
    chosen = [originals.get(name) for name in names]

    def read(i):
        return small[i] if chosen[i] is None else large[chosen[i]]

    mixed = ImageCollection.from_function(
        read, small.table, key="ukbench250 with originals", name="ukbench mixed"
    )
    asking = mixed[np.array([i is not None for i in chosen])]
    return {"ukbench250": (small, small), "orig640 against 1000": (asking, mixed)}


def train_features(realdata, most):
    """Training photographs and their features."""
    unlabelled = open_set(realdata / "i_unlabelled_photos")
    train = unlabelled.subset(np.isin(unlabelled.column("source"), TRAIN_SOURCES))[
        :: max(1, 1554 // most)
    ]
    return train, rerank.describe_images(train, SIFT(max_keypoints=500))


def first_rankings(queries, database, fitted):
    """Ranking and vectors of each encoder."""
    rankings, vectors = {}, {}
    for name, encoder in fitted.items():
        rows_q, rows_d = encoder.transform(queries), encoder.transform(database)
        index = InvertedFile() if hasattr(rows_d, "tocsr") else Exact()
        distances, found = index.fit(rows_d).kneighbors(rows_q, len(database))
        rankings[name] = Ranking(queries.ids, database.ids, found, distances)
        vectors[name] = rows_q, rows_d
    return rankings, vectors


def measure(queries, database, fitted, features, depth):
    """Table of one protocol."""
    rankings, vectors = first_rankings(queries, database, fitted)
    began = time.perf_counter()
    verified = rerank.verify_ranking(rankings["VLAD 64"], features, n=depth)
    seconds = time.perf_counter() - began
    rankings["VLAD 64 + re-ranking"] = verified.ranking
    rankings["  + verified expansion"] = rerank.query_expansion(
        *vectors["VLAD 64"], verified.ranking, n=4, accepted=verified.accepted(8)
    )
    rankings["VLAD 64 + average expansion"] = rerank.query_expansion(
        *vectors["VLAD 64"], rankings["VLAD 64"], n=3
    )
    truth = queries.relevance(queries, database, by="group")
    full = queries.relevance(queries, database, by="group", keep_self=True)
    groups, rows = queries.column("group"), {}
    for name, ranking in rankings.items():
        line = evaluate(ranking, truth, metrics=["map"], groups=groups).summary.loc["map"]
        score = evaluate(ranking, full, metrics=["ukbench"], n_bootstrap=0)["ukbench"]
        rows[name] = {
            "mAP": 100 * line["mean"],
            "low": 100 * line["low"],
            "high": 100 * line["high"],
            "N-S": score,
        }
    pair = compare(
        {n: rankings[n] for n in ("VLAD 64 + re-ranking", "VLAD 64")},
        truth,
        groups=groups,
        n_draws=2000,
    ).pairs
    print(pd.DataFrame(rows).T.round(2).to_string())
    print(pair[["a", "b", "difference", "low", "high", "p"]].round(3).to_string(index=False))
    print(f"verified {len(verified.verifications)} pairs in {seconds:.0f} s\n", flush=True)


def run():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "realdata"
    parser.add_argument(
        "--realdata", type=Path, default=Path(os.environ.get("CBIRKIT_REALDATA", beside))
    )
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument(
        "--train", type=int, default=777, help="photographs to learn codebooks from"
    )
    parser.add_argument(
        "--words", type=int, nargs="*", default=[100_000], help="sizes of the sampled codebooks"
    )
    arguments = parser.parse_args()
    if not (arguments.realdata / "b_instance_ukbench250").is_dir():
        parser.error(
            f"no real photographs in {arguments.realdata}; pass their folder with --realdata DIR"
        )
    train, remembered = train_features(arguments.realdata, arguments.train)
    sparse = {
        f"sampled words {n:,} + inverted file": (SparseBagOfWords, n) for n in arguments.words
    }
    kinds = {"visual words 1,000": (BagOfWords, 1000), **sparse, "VLAD 64": (VLAD, 64)}
    fitted = {"colour histogram": ColorHistogram(), "tiny image": TinyImage()}
    for name, (kind, n_words) in kinds.items():
        began = time.perf_counter()
        fitted[name] = kind(n_words, Remembered(remembered)).fit(train)
        print(
            f"{name}: fitted on {len(train)} photographs in {time.perf_counter() - began:.0f} s",
            flush=True,
        )
    features = {}
    for name, (queries, database) in open_sets(arguments.realdata).items():
        news = (
            queries if features else database
        )  # the second database differs from the first in its queries
        features = features | rerank.describe_images(news, SIFT(max_keypoints=500))
        for encoder in fitted.values():
            if hasattr(encoder, "detector"):
                encoder.set_params(detector=Remembered(features))
        print(f"\n{name}: {len(queries)} queries, {len(database)} database images")
        measure(queries, database, fitted, features, arguments.depth)


if __name__ == "__main__":
    run()
