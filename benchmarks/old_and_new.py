"""Processor time of this checkout beside that of an older one, in turns.

    git worktree add /tmp/old ee31703
    python benchmarks/old_and_new.py /tmp/old evaluate indexes
    python benchmarks/old_and_new.py /tmp/old extraction --photographs FOLDER

Two processes, one a checkout, hold the same data and are asked for the same thing in turns, so that whatever else the machine does
meets both alike; on one core, but for the extraction, which reads in a second thread. The table has the least processor time of
each, in milliseconds, on one thread, and the median of the ratios of neighbours.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

HERE = Path(__file__).resolve()


def evaluate_jobs(options):
    """Evaluations of 500 queries x 20,000 items, top 300, by name."""
    from evaluate_speed import cbirkit_contender, generate

    folder = Path(tempfile.mkdtemp(dir=options.work))
    generate(folder, 500, 20_000, 300)
    return {
        "evaluate": cbirkit_contender(folder),
        "evaluate, without bootstrap": cbirkit_contender(folder, 0),
        "evaluate, scores only": cbirkit_contender(folder, 0, True),
    }


def index_jobs(options):
    """Batches of 300 queries, 100 single ones, saving and loading, for 20,000 x 128."""
    import faiss
    from index_speed import clustered

    from cbirkit import indexes

    faiss.omp_set_num_threads(1)
    X, queries = clustered(20_000, 300)
    jobs = {}
    for name in ("Exact", "HNSW", "IVF", "IVFPQ", "Annoy"):
        index = getattr(indexes, name)().fit(X)
        path = Path(tempfile.mkdtemp(dir=options.work)) / "index"
        index.save(path)
        jobs |= {
            f"{name}, batch of 300": functools.partial(index.kneighbors, queries, 10),
            f"{name}, 100 single": functools.partial(one_by_one, index, queries[:100]),
            f"{name}, save": functools.partial(index.save, path),
            f"{name}, load and one search": functools.partial(load_and_search, path, queries[:1]),
        }
    return jobs


def one_by_one(index, queries):
    for row in range(len(queries)):
        index.kneighbors(queries[row : row + 1], 10)


def load_and_search(path, query):
    from cbirkit import indexes

    indexes.load(path).kneighbors(query, 10)


def extraction_jobs(options):
    """`store.embed` of 100 photographs (24 for lite0) into an empty store, and where all are known."""
    from cbirkit import ImageCollection, encoders
    from cbirkit.store import EmbeddingStore, embed

    images, jobs = ImageCollection.from_folder(options.photographs), {}
    made = (encoders.ColorHistogram(), encoders.Deep("tiny"), encoders.Deep("lite0"))
    for encoder, n in zip(made, (100, 100, 24), strict=True):
        known = EmbeddingStore(tempfile.mkdtemp(dir=options.work))

        def into(store=None, encoder=encoder, some=images[:n]):
            store = store or EmbeddingStore(tempfile.mkdtemp(dir=options.work))
            embed(encoder, some, store, progress=False)

        into(known)
        jobs[f"{encoder!r}, {n} photographs"] = into
        jobs[f"{encoder!r}, all {n} known"] = functools.partial(into, known)
    return jobs


JOBS = {"evaluate": evaluate_jobs, "indexes": index_jobs, "extraction": extraction_jobs}


def serve(options):
    """Tell the names of the jobs; then run each that is asked for and tell its milliseconds."""
    warnings.simplefilter("ignore")
    jobs = JOBS[options.what[0]](options)
    for job in jobs.values():
        job()
    print(json.dumps(list(jobs)), flush=True)
    for line in sys.stdin:
        start = time.process_time()
        jobs[line.strip()]()
        print(1e3 * (time.process_time() - start), flush=True)


class Checkout:
    """A process that serves one checkout."""

    def __init__(self, tree, what, options):
        one = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        command = [sys.executable, str(HERE), str(tree), what, "--serve", "--work", options.work]
        command += ["--photographs", options.photographs] if options.photographs else []
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        env = {**os.environ, **one, "PYTHONPATH": str(tree)}
        self.process = subprocess.Popen(command, env=env, **pipes)
        self.jobs = json.loads(self.process.stdout.readline())

    def milliseconds(self, job):
        print(job, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def compare(what, options):
    """Print a row for each job."""
    both = [Checkout(tree, what, options) for tree in (options.old, HERE.parent.parent)]
    for job in (job for job in both[1].jobs if job in both[0].jobs):
        times, began = ([], []), time.monotonic()
        while len(times[0]) < 6 or time.monotonic() - began < options.seconds:
            order = (0, 1) if len(times[0]) % 2 else (1, 0)
            for which in order:
                times[which].append(both[which].milliseconds(job))
        ratio = statistics.median(new / old for old, new in zip(*times, strict=True))
        old, new = map(min, times)
        cells = (
            f"{old:,.1f} | {new:,.1f} | {100 * (new / old - 1):+.0f} % | {100 * (ratio - 1):+.0f} %"
        )
        print(f"| {job} | {cells} |", flush=True)
    for checkout in both:
        checkout.process.stdin.close()
        checkout.process.wait()


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("old", type=Path, help="the older checkout")
    parser.add_argument("what", nargs="+", choices=JOBS)
    parser.add_argument("--photographs", help="a folder with 100 of them")
    parser.add_argument("--seconds", type=float, default=8, help="a row")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    asked = parse()
    if asked.serve:
        serve(asked)
    else:
        print("| | old, ms | new, ms | least | median ratio |\n|---|---|---|---|---|")
        with tempfile.TemporaryDirectory() as asked.work:
            for group in asked.what:
                if hasattr(os, "sched_setaffinity"):
                    every = range(os.cpu_count())
                    os.sched_setaffinity(0, every if group == "extraction" else every[-1:])
                compare(group, asked)
