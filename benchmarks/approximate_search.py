"""Recall, speed, memory and build time of each index as a collection grows, in one command that goes on where it was stopped.

    python benchmarks/approximate_search.py data/approximate_search.csv --work FOLDER
    python benchmarks/approximate_search.py small.csv --work FOLDER --sizes 10000 --indexes Exact IVF

10,000, 100,000 and 1,000,000 vectors of 128 numbers, as embeddings lie: those of `index_speed.py`, 1,000 overlapping
clusters of unequal sizes (the largest holds about 13 %), each stretched along its own 24 directions, with a little
noise in all 128; queries are further draws, seed 0. The distance is the cosine. `SignBits` keeps one bit a number,
searches by the Hamming distance and orders the best by the vectors.

Each index is built once with its defaults (two threads) and asked with growing values of its knob until recall@10
reaches 0.99 on 300 validation queries. Everything reported is measured on 300 others. "batch" asks all of them at
once, "single" 100 of them one at a time. Queries a second are per second of *processor time* of one thread, the median
of at least three repeats: what a free core does; on a busy one the wall clock says less. Bytes are those of the saved
folder, of which `structure_bytes` is all but the vectors kept for exact distances.

The first setting with a validation recall of 0.95 (`target`) is also timed against the library itself, in turns:
faiss's ``search`` on queries of length 1, for IVFPQ its ``IndexRefine``, for Annoy its loop.

A finished setting is a line of the CSV, replaced as a whole, and not measured again. FOLDER keeps vectors, true
neighbours and built indexes (4 GB for all sizes).
"""

import argparse
import csv
import io
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
from index_speed import clustered, packed_signs, recall
from library_calls import overhead, unit

K = 10
TARGET, ENOUGH = 0.95, 0.99
N_QUERIES, N_SINGLE = 300, 100
_PROBES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_CODES = [
    (0, 16),
    (4, 4),
    (4, 16),
    (16, 4),
    (16, 8),
    (16, 16),
    (16, 32),
    (64, 16),
    (64, 32),
    (64, 64),
    (256, 64),
    (256, 128),
]
STEPS = {  # index: the settings that are tried, in order
    "Exact": [{}],
    "Annoy": [{"search_k": s} for s in (-1, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000)],
    "HNSW": [{"ef_search": e} for e in (16, 32, 64, 128, 256, 512, 1024, 2048)],
    "IVF": [{"nprobe": n} for n in _PROBES],
    "IVFPQ": [{"nprobe": n, "rerank": r} for r, n in _CODES],
    "SignBits": [{"rerank": r} for r in (10, 30, 100, 300, 1000)],
}
COLUMNS = ["n", "index", "setting", "validation_recall", "recall", "batch_qps", "single_qps"]
COLUMNS += ["build_s", "build_cpu_s", "bytes", "structure_bytes", "target"]
COLUMNS += ["ours_batch_us", "library_batch_us", "ours_single_us", "library_single_us"]


class SignBits:
    """Hamming search among signs; the best `rerank` times k are ordered by their vectors."""

    def __init__(self, rerank=10):
        from cbirkit import indexes

        self.rerank, self.bits = rerank, indexes.Hamming()

    def set_params(self, rerank):
        self.rerank = rerank

    def fit(self, X):
        self.vectors = unit(X)
        self.bits.fit(packed_signs(X))
        return self

    def kneighbors(self, X, k, return_distance=True):
        keys = self.bits.kneighbors(packed_signs(X), self.rerank * k, False)  # (n, rerank * k)
        far = 1 - np.stack([self.vectors[some] @ x for some, x in zip(keys, unit(X), strict=True)])
        order = np.argsort(far, axis=1)[:, :k]
        found = np.take_along_axis(keys, order, axis=1)
        return (np.take_along_axis(far, order, axis=1), found) if return_distance else found


def prepare(n, work):
    """Return vectors, validation queries, test queries and the true neighbours of both, made once."""
    from cbirkit import indexes

    paths = [work / f"{name}_{n}.npy" for name in ("vectors", "queries", "truth")]
    if not paths[2].exists():
        X, queries = clustered(n, 2 * N_QUERIES)
        truth = indexes.Exact().fit(X).kneighbors(queries, K, return_distance=False)
        for path, array in zip(paths, (X, queries, truth), strict=True):
            np.save(path, array)
    X, queries, truth = (np.load(path) for path in paths)
    return X, queries[:N_QUERIES], queries[N_QUERIES:], truth[:N_QUERIES], truth[N_QUERIES:]


def built(name, X, work, threads):
    """Return the index, loaded if it was built before, and what there is to say of its building."""
    import faiss

    from cbirkit import indexes

    path, notes = work / f"{name}_{len(X)}", work / f"{name}_{len(X)}.json"
    if notes.exists():
        return indexes.load(path), json.loads(notes.read_text())
    index = SignBits() if name == "SignBits" else getattr(indexes, name)()
    if name == "Annoy":
        index.set_params(n_jobs=threads)
    faiss.omp_set_num_threads(threads)
    start, worked = time.perf_counter(), time.process_time()
    index.fit(X)
    about = {"build_s": time.perf_counter() - start, "build_cpu_s": time.process_time() - worked}
    faiss.omp_set_num_threads(1)
    kept = 0 if name in ("HNSW", "IVF") else X.nbytes
    if name == "SignBits":
        return index, about | {
            "bytes": X.nbytes + X.shape[1] // 8 * len(X),
            "structure_bytes": X.shape[1] // 8 * len(X),
        }
    index.save(path)
    size = path.stat().st_size
    about |= {"bytes": size, "structure_bytes": size - kept}
    notes.write_text(json.dumps(about))
    return index, about


def measure(name, n, rows, options):
    """Measure the settings of one index at one size that are not among `rows` yet, and keep each."""
    done = {row["setting"]: row for row in rows if (row["n"], row["index"]) == (n, name)}
    index = None
    for setting in STEPS[name]:
        row = done.get(told(setting))
        if row is None:
            if index is None:
                X, trial, asked, trial_truth, truth = prepare(n, options.work)
                index, about = built(name, X, options.work, options.build_threads)
            if setting:
                index.set_params(**setting)
            row = {"n": n, "index": name, "setting": told(setting), **about}
            row["validation_recall"] = float(recall(index.kneighbors(trial, K, False), trial_truth))
            row |= speeds(index, asked, truth)
            row["bytes"] = (
                about["structure_bytes"] if setting.get("rerank") == 0 else about["bytes"]
            )
            row["target"] = int(
                row["validation_recall"] >= TARGET and not any(r["target"] for r in done.values())
            )
            if row["target"]:
                row |= overhead(name, index, X, asked, K, N_SINGLE)
            rows.append(row)
            done[row["setting"]] = row
            write(rows, options.csv)
            print(
                {key: round(v, 4) if isinstance(v, float) else v for key, v in row.items()},
                flush=True,
            )
        if row["validation_recall"] >= ENOUGH:
            return


def timed(function, seconds=2.0):
    """Return the result and the median processor time of three repeats, or more while they take few seconds."""
    times = []
    while len(times) < 3 or (sum(times) < seconds and len(times) < 15):
        start = time.process_time()
        result = function()
        times.append(time.process_time() - start)
    return result, float(np.median(times))


def speeds(index, queries, truth):
    """Return recall and queries a second."""
    keys, batch = timed(lambda: index.kneighbors(queries, K, False))
    one = [queries[i : i + 1] for i in range(N_SINGLE)]
    _, single = timed(lambda: [index.kneighbors(q, K, False) for q in one])
    return {
        "recall": float(recall(keys, truth)),
        "batch_qps": len(queries) / batch,
        "single_qps": N_SINGLE / single,
    }


def told(setting):
    """Return a setting in words."""
    return ", ".join(f"{key} {value}" for key, value in setting.items()) or "default"


def read(path):
    """Return the rows of a CSV, numbers as numbers; none where there is no file."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for key in set(COLUMNS) - {"index", "setting"}:
            row[key] = float(row[key]) if row[key] else None
        row |= {key: int(row[key]) for key in ("n", "target", "bytes", "structure_bytes")}
    return rows


def write(rows, path):
    """Replace the CSV in one step, ordered by size and index."""
    from cbirkit._atomic import write_bytes

    order = {name: place for place, name in enumerate(STEPS)}
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in sorted(rows, key=lambda row: (row["n"], order[row["index"]])):
        writer.writerow(
            {
                k: f"{v:.5g}" if isinstance(v, float) and "bytes" not in k else v
                for k, v in row.items()
            }
        )
    write_bytes(path, text.getvalue().encode())


def show(rows):
    """Print Markdown: what reaches the target, and the wrapper beside the library."""
    print(
        "\n| n | index | setting | recall@10 | batch q/s | single q/s | build s (CPU s) | MB | of it structure |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    chosen = [row for row in rows if row["target"]]
    for r in chosen:
        cells = [
            f"{r['n']:,}",
            r["index"],
            r["setting"],
            f"{r['recall']:.3f}",
            f"{r['batch_qps']:,.0f}",
        ]
        cells += [f"{r['single_qps']:,.0f}", f"{r['build_s']:.1f} ({r['build_cpu_s']:.1f})"]
        print(
            "| "
            + " | ".join(cells)
            + f" | {r['bytes'] / 2**20:.1f} | {r['structure_bytes'] / 2**20:.1f} |"
        )
    print(
        "\n| n | index | batch us, ours / library | more | single us, ours / library | more |\n|---|---|---|---|---|---|"
    )
    for r in chosen:
        if r.get("ours_batch_us"):
            cells = [f"{r['n']:,}", r["index"]]
            for kind in ("batch", "single"):
                ours, theirs = r[f"ours_{kind}_us"], r[f"library_{kind}_us"]
                cells += [f"{ours:,.1f} / {theirs:,.1f}", f"{100 * (ours / theirs - 1):+.1f} %"]
            print("| " + " | ".join(cells) + " |")


def parse():
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("csv", type=Path, help="where results go, and are read from")
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for what is made on the way"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--indexes", nargs="+", default=list(STEPS), choices=list(STEPS))
    parser.add_argument("--build-threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    options = parse()
    os.environ["OMP_WAIT_POLICY"] = "passive"  # threads that wait should not count as working
    import faiss
    from threadpoolctl import threadpool_limits

    options.work.mkdir(parents=True, exist_ok=True)
    faiss.omp_set_num_threads(1)
    print(
        f"one thread of {os.cpu_count()} cores; faiss {faiss.__version__}, {platform.machine()}",
        flush=True,
    )
    with threadpool_limits(1):
        rows = read(options.csv)
        for n in options.sizes:
            for name in options.indexes:
                measure(name, n, rows, options)
    show(rows)
