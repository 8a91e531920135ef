"""How much memory each engine of `engines.py` holds while it answers; one engine a process.

`python benchmarks/engines_memory.py hnsw|pgvector|lance FOLDER` takes the FOLDER that `engines.py --n 1000000 --work FOLDER` left. Printed are
megabytes of proportional set size after 100 queries: what this process took more than before, and all processes of PostgreSQL. What the
operating system keeps of files is not counted.
"""

import sys
from pathlib import Path

import numpy as np
import psutil
from engines import HNSW

from cbirkit import indexes


def megabytes(processes):
    """Proportional set size of some processes."""
    return sum(one.memory_full_info().pss for one in processes) / 2**20


def main():
    """Open one engine, ask it, print what it holds."""
    name, work = sys.argv[1], Path(sys.argv[2])
    data = np.load(work / "sift_1000000.npz")
    queries = next(data[key] for key in data.files if key.lower().startswith("q"))[:100]
    indexes.Exact("euclidean").fit(np.eye(128)).kneighbors(queries[:2], 1)  # libraries are loaded
    before = megabytes([psutil.Process()])
    if name == "hnsw":
        index = indexes.load(work / "hnsw_1000000", trusted=True).set_params(ef_search=100)
    elif name == "pgvector":
        index = indexes.PgVector(str(work / "pg"), "euclidean", table="sift_1000000", **HNSW)
        index.connect()
    else:
        index = indexes.Lance(str(work / "lance"), "euclidean", table="sift_1000000").connect()
    for query in queries:
        index.kneighbors(query[None], 10)
    server = [one for one in psutil.process_iter(["name"]) if "postgres" in one.info["name"]]
    print(f"{name}: this process {megabytes([psutil.Process()]) - before:.0f} MB more", end="; ")
    print(f"PostgreSQL {megabytes(server):.0f} MB")


if __name__ == "__main__":
    main()
