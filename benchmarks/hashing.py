"""mAP against bits of each hash on real photographs, and what Hamming search costs beside searching the numbers.

    python -m benchmarks.hashing --realdata DIR [--halves 3] [--keep FOLDER]
    python -m benchmarks.hashing --latency [--n 100000]

Embeddings: MobileNetV2 (1,280 numbers, average pooling, squashed to 224 pixels), L2-normalised and centred on what is learned
from. Clothing, ImageNet groups and UKBench: everything that learns, the mean included, learns from half of the classes
(objects), every image of the other half asks for the rest of its class; `--halves` draws of the half. CIFAR-10: classes are
seen; half of the database images are learned from, the other half is searched, the queries are apart. MobileNetV2 itself was
trained on ImageNet, its ImageNet row is there to compare methods only.

The score is the tie-aware mAP (`expected_map`). Intervals: 95 % bootstrap over images, an image bringing its scores of every half
along, the halves as drawn. PQ and "ITQ asymmetric" keep the query's numbers; the others count bits. `--keep` keeps the
embeddings, so that a second run need not compute them.

`--latency`: random vectors of 1,280 numbers and random codes; the ten nearest, one thread, the shortest of five; 100 queries at once and
one at a time. Where a method gives all distances, picking ten is part of its time.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.encoders_realdata import open_set
from cbirkit import Ranking, Relevance, evaluate
from cbirkit.encoders import (
    ITQ,
    Deep,
    PCAHash,
    ProductQuantiser,
    RandomProjectionHash,
    SpectralHash,
)
from cbirkit.evaluation.resample import bootstrap_means
from cbirkit.indexes import Exact, Hamming
from cbirkit.learning import HashHead

BITS = (16, 32, 64, 128)
METHODS = ("LSH", "PCA", "spectral", "ITQ", "ITQ asymmetric", "PQ", "learned")
SETS = {  # name: folder, column of classes
    "clothing": ("a_category_clothing10", "class"),
    "ImageNet groups": ("a_imagenet_superclass10", "superclass"),
    "UKBench": ("b_instance_ukbench250", "group"),
    "CIFAR-10": ("a_cifar10_small", "class"),
}
WEIGHTS = "mobilenet_v2_tf2_dequant_torchvision.safetensors"


def embedded(name, realdata, keep):
    """Embeddings (n, 1280), labels, ids and, of CIFAR-10, which images ask."""
    folder, by = SETS[name]
    images = open_set(realdata / folder)
    asks = images.column("split") == "query" if name == "CIFAR-10" else None
    path = keep / f"{folder}.npy" if keep else None
    if path and path.exists():
        X = np.load(path)
    else:
        encoder = Deep("tf_mobilenet_v2", realdata / "g_checkpoints" / WEIGHTS, resize="squash")
        X = encoder.fit(images).transform(images)
        if path:
            np.save(path, X)
    return X, np.asarray(images.column(by)), np.asarray(images.ids), asks


def splits(labels, asks, n_halves):
    """Masks (learn, asked, searched), one triple a draw."""
    for draw in range(n_halves):
        rng = np.random.default_rng(draw)
        if asks is None:
            classes = rng.permutation(np.unique(labels))
            learn = np.isin(labels, classes[: len(classes) // 2])
            yield learn, ~learn, ~learn
        else:
            learn = ~asks & (rng.permutation(len(labels)) % 2 == 0)
            yield learn, asks, ~asks & ~learn


def hashes(n_bits):
    """The hashes that give packed bits."""
    return {
        "LSH": RandomProjectionHash(n_bits),
        "PCA": PCAHash(n_bits),
        "spectral": SpectralHash(n_bits),
        "ITQ": ITQ(n_bits),
        "learned": HashHead(n_bits),
    }


def rankings(A, A_labels, Q, B, searched):
    """All rankings by (method, bits); `searched` makes one of an index and its rows, or of a table of distances."""
    out = {
        ("all numbers", 0): searched(Exact(), B, Q),
        ("chance", 0): searched(np.zeros((len(Q), len(B)))),
    }
    for n_bits in BITS:
        for method, hashed in hashes(n_bits).items():
            codes = hashed.fit(A, A_labels).transform(B)
            out[method, n_bits] = searched(Hamming(), codes, hashed.transform(Q))
            if method == "ITQ":
                out["ITQ asymmetric", n_bits] = searched(hashed.distances(Q, codes))
        pq = ProductQuantiser(n_bits // 8).fit(A)
        out["PQ", n_bits] = searched(pq.distances(Q, pq.transform(B)))
    return out


def measure(X, labels, ids, masks):
    """Tie-aware average precision: rows images that ask, columns (method, bits)."""
    learn, asked, stored = masks
    X = X - X[learn].mean(axis=0)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    truth = Relevance.from_labels(ids[asked], ids[stored], labels[asked], labels[stored])

    def searched(index, rows=None, queries=None):
        if rows is None:
            return Ranking.from_distances(index, ids[asked], ids[stored])
        distances, keys = index.fit(rows).kneighbors(queries, len(rows))
        return Ranking(ids[asked], ids[stored], keys, distances)

    found = rankings(X[learn], labels[learn], X[asked], X[stored], searched)
    scores = {
        key: evaluate(one, truth, metrics=["expected_map"], n_bootstrap=0)
        for key, one in found.items()
    }
    return pd.DataFrame({key: score.per_query["expected_map"] for key, score in scores.items()})


def summarise(name, tables):
    """Print the table of one set as Markdown: mean and half the 95 % interval, percent."""
    pooled = pd.concat(tables)
    draws = bootstrap_means(pooled.to_numpy(), pd.factorize(pooled.index)[0], 1000, 0)
    draws, mean = pd.DataFrame(draws, columns=pooled.columns), pooled.mean()
    half = (draws.quantile(0.975) - draws.quantile(0.025)) / 2

    def cell(key):
        return f"{100 * mean[key]:.1f} ± {100 * half[key]:.1f}"

    whole = "all numbers", 0
    print(f"\n{name}: {len(tables)} draws, {pooled.index.nunique()} images asked", end=", ")
    print(f"all numbers {cell(whole)}, chance {100 * mean['chance', 0]:.1f}")
    print("| bits | " + " | ".join(METHODS) + " |")
    for n_bits in BITS:
        print(f"| {n_bits} | " + " | ".join(cell((method, n_bits)) for method in METHODS) + " |")
    print(
        "share of the mAP of all numbers, 64 bits:",
        {m: round(mean[m, 64] / mean[whole], 3) for m in METHODS},
    )
    for better, worse in (
        ("PCA", "LSH"),
        ("ITQ", "LSH"),
        ("learned", "ITQ"),
        ("PQ", "ITQ asymmetric"),
    ):
        for n_bits in BITS:
            gap = draws[better, n_bits] - draws[worse, n_bits]
            low, high = 100 * gap.quantile([0.025, 0.975])
            above = sum(
                table[better, n_bits].mean() > table[worse, n_bits].mean() for table in tables
            )
            print(
                f"{better} over {worse}, {n_bits} bits: [{low:+.1f}, {high:+.1f}], above in {above} of {len(tables)}",
                flush=True,
            )


def milliseconds(search, n_queries, calls=1, repeats=5):
    """Milliseconds a query: the shortest of several repeats of some calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(calls):
            search(n_queries)
        times.append(time.perf_counter() - start)
    return 1000 * min(times) / calls / n_queries


def nearest(distances, k=10):
    """The k nearest of a table of distances, in order."""
    some = np.argpartition(distances, k, axis=1)[:, :k]
    return np.take_along_axis(
        some, np.argsort(np.take_along_axis(distances, some, axis=1), axis=1), axis=1
    )


def ways(n, n_dims=1280):
    """Name: bytes an image, function of the number of queries."""
    import faiss

    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, n_dims), dtype=np.float32)
    codes = {bits: rng.integers(0, 256, (n, bits // 8), dtype=np.uint8) for bits in (64, 128)}
    exact, hamming = Exact().fit(X), {bits: Hamming().fit(code) for bits, code in codes.items()}
    binary = faiss.IndexBinaryFlat(64)
    binary.add(codes[64])
    itq, pq = ITQ(64, n_iter=5).fit(X[:2000]), ProductQuantiser(8).fit(X[:2000])
    return {
        "all 1,280 numbers, `Exact`": (4 * n_dims, lambda m: exact.kneighbors(X[:m], 10)),
        "64 bits, `Hamming`": (8, lambda m: hamming[64].kneighbors(codes[64][:m], 10)),
        "64 bits, faiss's binary index": (8, lambda m: binary.search(codes[64][:m], 10)),
        "128 bits, `Hamming`": (16, lambda m: hamming[128].kneighbors(codes[128][:m], 10)),
        "64 bits, hashing of the query included": (
            8,
            lambda m: hamming[64].kneighbors(itq.transform(X[:m]), 10),
        ),
        "64 bits, asymmetric": (8, lambda m: nearest(itq.distances(X[:m], codes[64]))),
        "8 bytes, PQ tables": (8, lambda m: nearest(pq.distances(X[:m], codes[64]))),
    }


def latency(n):
    """Print bytes and milliseconds of each way to search n images."""
    print(
        f"| {n:,} images | bytes an image | MB a million | ms a query, 100 at once | ms, one at a time |"
    )
    for name, (size, search) in ways(n).items():
        batch, single = milliseconds(search, 100), milliseconds(search, 1, calls=10)
        print(f"| {name} | {size:,} | {size:,} | {batch:.2f} | {single:.2f} |", flush=True)


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--realdata", type=Path, default=os.environ.get("CBIRKIT_REALDATA"))
    parser.add_argument("--halves", type=int, default=3)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--latency", action="store_true")
    parser.add_argument("--n", type=int, default=100_000)
    arguments = parser.parse_args()
    if not arguments.latency and not (arguments.realdata and Path(arguments.realdata).is_dir()):
        parser.error(
            f"no real photographs in {arguments.realdata}; pass their folder with --realdata DIR"
        )
    return arguments


def run(arguments):
    """The measurement that was asked for."""
    if arguments.latency:
        latency(arguments.n)
        return
    for name in arguments.only:
        X, labels, ids, asks = embedded(name, Path(arguments.realdata), arguments.keep)
        summarise(
            name,
            [measure(X, labels, ids, masks) for masks in splits(labels, asks, arguments.halves)],
        )


if __name__ == "__main__":
    run(parse())
