"""Seconds and peak memory of evaluating 2,000 queries x 100,000 database items, top 1,000.

cbirkit beside pytorch-metric-learning and torchmetrics, in one run on the same rankings:

    python benchmarks/evaluate_speed.py
    python benchmarks/evaluate_speed.py --queries 200 --database 5000 --k 100 --repeat 1

The rankings are found once, by exact search in generated, clustered vectors (about 200 positives a query).
Each contender runs in a process of its own. The clock starts when rankings and labels are in memory as the
contender's own type (numpy arrays or torch tensors) and its packages are imported; the best of the repeats
counts. Peak memory is that of the whole process, imports and input included; "input" is its peak before the
clock starts.

What each does within the clock:

- cbirkit: checks the ranking (range, order, uniqueness, 102,000 ids), builds the relevance from labels, marks
  the hits, four metrics for each query in a table, 1,000 bootstrap draws. "without bootstrap": all but the
  draws. "scores only": ranking and relevance are there, checked, before the clock starts.
- pytorch-metric-learning: AccuracyCalculator with a search function that hands over the ranking; the same
  four metrics, means only. It counts positives from the labels, but makes no checks, no table of queries, no
  intervals: it lies between "without bootstrap" and "scores only".
- torchmetrics: RetrievalMAP, RetrievalPrecision (top 1) and RetrievalRPrecision of the flattened ranking,
  with the hits marked before the clock starts. It has no MAP@R and cannot know positives outside the first k.

Where numbers differ by definition: torchmetrics takes for R the hits in the ranking.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

METRICS = ["p@1", "r_precision", "map", "map@r"]


def peak_mb():
    """Largest resident memory of this process so far, MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def generate(folder, n_queries, n_database, k):
    """Clustered vectors, labels, and the exact first k of each query; block by block."""
    rng = np.random.default_rng(0)
    n_classes = max(2, n_database // 200)
    centres = rng.standard_normal((n_classes, 32), dtype=np.float32)
    labels = rng.integers(0, n_classes, n_database)
    query_labels = rng.integers(0, n_classes, n_queries)
    database = centres[labels] + 1.2 * rng.standard_normal((n_database, 32), dtype=np.float32)
    queries = centres[query_labels] + 1.2 * rng.standard_normal((n_queries, 32), dtype=np.float32)
    indices = np.empty((n_queries, k), dtype=np.int64)
    distances = np.empty((n_queries, k), dtype=np.float32)
    norms = (database**2).sum(axis=1)
    for start in range(0, n_queries, 100):
        block = norms - 2 * queries[start : start + 100] @ database.T
        near = np.argpartition(block, k - 1, axis=1)[:, :k]
        found = np.take_along_axis(block, near, axis=1)
        order = np.argsort(found, axis=1, kind="stable")
        indices[start : start + 100] = np.take_along_axis(near, order, axis=1)
        distances[start : start + 100] = np.take_along_axis(found, order, axis=1)
    for name, array in [
        ("indices", indices),
        ("distances", distances),
        ("labels", labels),
        ("queries", query_labels),
    ]:
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def load(folder):
    names = ("indices", "distances", "labels", "queries")
    return [np.load(folder / f"{name}.npy", allow_pickle=False) for name in names]


def cbirkit_contender(folder, n_bootstrap=1000, checked=False):
    from cbirkit import Ranking, Relevance, evaluate

    indices, distances, labels, query_labels = load(folder)
    database_ids = [f"image {i}.jpg" for i in range(len(labels))]
    query_ids = [f"query {i}.jpg" for i in range(len(query_labels))]

    def build():
        ranking = Ranking(query_ids, database_ids, indices, distances)
        return ranking, Relevance.from_labels(query_ids, database_ids, query_labels, labels)

    built = build() if checked else None

    def run():
        result = evaluate(*(built or build()), metrics=METRICS, n_bootstrap=n_bootstrap)
        return {name: result[name] for name in METRICS}

    return run


def metric_learning_contender(folder):
    import torch
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    indices, distances, labels, query_labels = (torch.from_numpy(array) for array in load(folder))
    names = {
        "precision_at_1": "p@1",
        "r_precision": "r_precision",
        "mean_average_precision": "map",
        "mean_average_precision_at_r": "map@r",
    }
    calculator = AccuracyCalculator(
        include=tuple(names),
        k=indices.shape[1],
        knn_func=lambda *_: (distances, indices),
        device=torch.device("cpu"),
    )
    query, reference = (
        torch.zeros(len(query_labels), 1),
        torch.zeros(len(labels), 1),
    )  # vectors it does not look at

    def run():
        found = calculator.get_accuracy(
            query, query_labels, reference, labels, ref_includes_query=False
        )
        return {ours: float(found[theirs]) for theirs, ours in names.items()}

    return run


def torchmetrics_contender(folder):
    import torch
    from torchmetrics.retrieval import RetrievalMAP, RetrievalPrecision, RetrievalRPrecision

    indices, _, labels, query_labels = load(folder)
    n, k = indices.shape
    target = torch.from_numpy(labels[indices] == query_labels[:, None]).reshape(-1)
    scores = torch.arange(k, 0, -1, dtype=torch.float32).repeat(
        n
    )  # it wants scores above 0, larger is nearer
    rows = torch.arange(n).repeat_interleave(k)

    def run():
        metrics = {
            "p@1": RetrievalPrecision(top_k=1),
            "r_precision": RetrievalRPrecision(),
            "map": RetrievalMAP(),
        }
        found = {}
        for name, metric in metrics.items():
            metric.update(scores, target, indexes=rows)
            found[name] = float(metric.compute())
        return found

    return run


CONTENDERS = {
    "cbirkit": cbirkit_contender,
    "cbirkit without bootstrap": lambda folder: cbirkit_contender(folder, 0),
    "cbirkit, scores only": lambda folder: cbirkit_contender(folder, 0, checked=True),
    "pytorch-metric-learning": metric_learning_contender,
    "torchmetrics": torchmetrics_contender,
}


def measure(name, folder, repeat):
    """Run one contender; what the child process prints."""
    import warnings

    warnings.simplefilter(
        "ignore"
    )  # both say that a ranking of the first k does not hold every positive
    run = CONTENDERS[name](folder)
    before, seconds = peak_mb(), []
    for _ in range(repeat):
        start = time.perf_counter()
        found = run()
        seconds.append(time.perf_counter() - start)
    return {"seconds": min(seconds), "peak_mb": peak_mb(), "input_mb": before, "found": found}


def child(*arguments):
    command = [sys.executable, str(Path(__file__).resolve()), *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--database", type=int, default=100_000)
    parser.add_argument("--k", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--generate", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--contender", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def report(rows, args):
    sizes = f"{args.queries:,} queries x {args.database:,} database items, top {args.k:,}"
    print(f"{sizes}; best of {args.repeat}\n")
    titles = "".join(f"{m:>13}" for m in METRICS)
    print(
        f"{'':26}{'seconds':>9}{'/ cbirkit':>11}{'/ scores only':>15}{'peak MB':>9}{'input MB':>10}{titles}"
    )
    whole, scores = rows["cbirkit"]["seconds"], rows["cbirkit, scores only"]["seconds"]
    for name, row in rows.items():
        found = "".join(
            f"{row['found'][m]:13.4f}" if m in row["found"] else f"{'-':>13}" for m in METRICS
        )
        times = (
            f"{row['seconds']:9.3f}{row['seconds'] / whole:11.1f}{row['seconds'] / scores:15.1f}"
        )
        print(f"{name:26}{times}{row['peak_mb']:9.0f}{row['input_mb']:10.0f}{found}")


def main():
    args = parse()
    if args.generate:
        generate(args.generate, args.queries, args.database, args.k)
        return
    if args.contender:
        print(json.dumps(measure(args.contender[0], Path(args.contender[1]), args.repeat)))
        return
    sizes = [
        "--queries",
        args.queries,
        "--database",
        args.database,
        "--k",
        args.k,
        "--repeat",
        args.repeat,
    ]
    with tempfile.TemporaryDirectory() as folder:
        child(
            "--generate", folder, *sizes
        )  # in a process of its own: peaks are inherited by children
        rows = {
            name: json.loads(child("--contender", name, folder, *sizes).splitlines()[-1])
            for name in CONTENDERS
        }
    report(rows, args)
    if args.json:
        args.json.write_text(
            json.dumps({"sizes": vars(args) | {"json": None}, "rows": rows}, indent=1, default=str)
        )


if __name__ == "__main__":
    main()
