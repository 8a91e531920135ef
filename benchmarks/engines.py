"""PostgreSQL with pgvector and Lance beside our indexes, on real SIFT descriptors: loading, building, disk, recall, time, and a filter.

    CBIRKIT_REALDATA=FOLDER LANCE_CPU_THREADS=1 python benchmarks/engines.py data/engines.csv --work FOLDER

Descriptors (128 numbers, Euclidean distance) of the photographs in `j_photos_wide` and `i_unlabelled_photos`, at most 150 of one,
until there are n; 200 queries are one descriptor each of 200 photographs that gave none to the database. Each row has a number from
0 to 99, drawn; the filter keeps one of them, 1 %: "before" the search (rows looked up by the column), "during" it (pgvector walks on
until it has 10), or "after" it (among the 1,000 nearest). Recall@10 is against all rows, or
all that fulfil the filter. p50 and p95 are of single queries by the wall clock; `cpu_ms` is the processor time of one, of this process
and of PostgreSQL's, which tells more on a busy machine (`machine_load`: of two cores). `load_s` and `build_s` are processor time, too.

What is in the file is not measured again, and a load that was broken off goes on. With ``--queries-only`` all is asked again, of what FOLDER
holds (files, tables, notes of what building took); give ``--rounds 3`` for steadier latencies.
"""

import argparse
import csv
import functools
import json
import os
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from cbirkit import encoders, indexes

K, N_QUERIES, KEPT = 10, 200, 7
WHERE = ("number", "==", KEPT)
COLUMNS = "n engine setting filter load_s build_s mb index_mb recall p50_ms p95_ms cpu_ms"
HNSW = {"m": 8, "ef_construction": 32, "ef_search": 100}
ROUNDS = [1]
TOLD = ", ".join(f"{name} {value}" for name, value in HNSW.items())


def prepare(n, work):
    """Vectors (n, 128), numbers (n,), queries, true neighbours without and with the filter; made once."""
    path = work / f"sift_{n}.npz"
    if not path.exists():
        folder, rng = Path(os.environ["CBIRKIT_REALDATA"]), np.random.default_rng(0)
        files = [rng.permutation(sorted((folder / "j_photos_wide").rglob("*.jpg")))]
        files.append(rng.permutation(sorted((folder / "i_unlabelled_photos").rglob("*.jpg"))))
        sift = encoders.SIFT(max_keypoints=None, root=False, contrast_threshold=0, n_jobs=1)
        rows, queries, files = [], [], np.concatenate(files)
        while sum(map(len, rows)) < n:
            picture = Image.open(files[len(queries) + len(rows)]).convert("RGB")
            found = rng.permutation(sift.describe(np.asarray(picture))[1])
            if len(queries) < N_QUERIES:
                queries.append(found[:1])
            else:
                rows.append(found[:150])
        data = {"X": np.concatenate(rows)[:n].astype(np.float32), "photos": len(rows)}
        data |= {"numbers": rng.integers(0, 100, n), "Q": np.float32(np.concatenate(queries))}
        kept = np.flatnonzero(data["numbers"] == KEPT)
        exact, inside = (
            indexes.Exact("euclidean").fit(data["X"][some]) for some in (slice(n), kept)
        )
        data["truth"] = exact.kneighbors(data["Q"], K)[1]
        data["inside"] = kept[inside.kneighbors(data["Q"], K)[1]]
        np.savez(path, **data)
    return dict(np.load(path))


def worked(server=None):
    """Processor time so far, of this process and of a server's."""
    return time.process_time() + (sum(server.cpu_times()[:2]) if server else 0)


def asked(search, data, truth="truth", server=None):
    """Recall and times of a function of one query (1, 128) that gives keys."""
    found, times, begun = [], [], worked(server)
    for i in [*range(20), *list(range(N_QUERIES)) * ROUNDS[0]]:  # the first 20 do not count
        start = time.perf_counter()
        found.append(search(data["Q"][i : i + 1]))
        times.append(1000 * (time.perf_counter() - start))
    spent = worked(server) - begun
    hits = [len(np.intersect1d(*pair)) / K for pair in zip(found[20:], data[truth], strict=False)]
    p50, p95 = np.percentile(times[20:], [50, 95])
    about = {"filter": "", "recall": np.mean(hits), "p50_ms": p50, "p95_ms": p95}
    return about | {"cpu_ms": 1000 * spent / len(times), "machine_load": os.getloadavg()[0]}


def searched(index, data, truth="truth", **how):
    """The same, of the search of an index."""
    link = getattr(getattr(index, "_link", None), "info", None)
    server = psutil.Process(link.backend_pid) if link else None
    search = functools.partial(index.kneighbors, n_neighbors=K, return_distance=False, **how)
    return asked(search, data, truth, server)


def inside(index, data, how):
    return searched(index, data, "inside", where=WHERE) | {"filter": how}


def loaded(index, data, work):
    """Seconds of processor time that loading and building take, or took."""
    notes = work / f"{type(index).__name__}_{index.table}.json"
    if notes.exists():
        index.connect()
        return json.loads(notes.read_text())
    times, build = [time.process_time()], index._index

    def timed(columns):
        link = getattr(index._link, "info", None)
        server = psutil.Process(link.backend_pid) if link else None
        times.append(worked(server))
        build(columns)
        times.append(worked(server))

    index._index = timed
    index.fit(data["X"], columns={"number": data["numbers"]}, resume=True)
    about = {"load_s": times[1] - times[0], "build_s": times[2] - times[1]}
    notes.write_text(json.dumps(about))
    return about


def exact(data, work):
    X, numbers, index = data["X"], data["numbers"], indexes.Exact("euclidean").fit(data["X"])
    about = {"mb": X.nbytes / 2**20}
    yield about | searched(index, data)

    def before(query):
        rows = np.flatnonzero(numbers == KEPT)
        return rows[np.argpartition(((X[rows] - query) ** 2).sum(axis=1), K)[:K]]

    yield about | asked(before, data, "inside") | {"filter": "before"}


def hnsw(data, work):
    path, numbers, start = work / f"hnsw_{len(data['X'])}", data["numbers"], worked()
    notes = path.with_suffix(".json")
    if not notes.exists():
        indexes.HNSW("euclidean", **HNSW).fit(data["X"]).save(path)
        notes.write_text(json.dumps({"build_s": worked() - start}))
    index, about = indexes.load(path), json.loads(notes.read_text()) | {"setting": TOLD}
    about["mb"] = path.stat().st_size / 2**20
    about["index_mb"] = about["mb"] - data["X"].nbytes / 2**20
    yield about | searched(index, data)

    def after(query):
        keys = index.kneighbors(query, 1000)[1][0]
        return keys[numbers[keys] == KEPT][:K]

    yield about | asked(after, data, "inside") | {"filter": "after"}


def pgvector(data, work):
    index = indexes.PgVector(str(work / "pg"), "euclidean", table=f"sift_{len(data['X'])}", **HNSW)
    about = loaded(index, data, work) | {"setting": TOLD} | sizes(index)
    yield about | searched(index, data)
    yield about | inside(index, data, "before")
    index._few = 0  # as if there were many: the graph is walked
    yield about | inside(index, data, "during")


def ivfflat(data, work):
    index = indexes.PgVector(str(work / "pg"), "euclidean", table=f"lists_{len(data['X'])}", **HNSW)
    lists = round(len(data["X"]) ** 0.5)
    how = f"CREATE INDEX {{name}} ON {{table}} USING ivfflat ({{vector}} vector_l2_ops) WITH (lists = {lists})"
    index._index = lambda columns: index._run(how, name=f"{index.table}_euclidean")
    about = loaded(index, data, work) | {"setting": f"{lists} lists, 16 probes"} | sizes(index)
    index._run("SET ivfflat.probes = 16")
    index._few = 0
    yield about | searched(index, data)
    index._run("SET ivfflat.iterative_scan = relaxed_order")
    yield about | inside(index, data, "during")


def sizes(index):
    """Megabytes of a table of PostgreSQL with all that belongs to it, and of the index alone."""
    relations = {"mb": index.table, "index_mb": f"{index.table}_euclidean"}
    command = "SELECT pg_total_relation_size(%s)"
    return {one: index._run(command, [two]).fetchone()[0] / 2**20 for one, two in relations.items()}


def lance(data, work):
    index = indexes.Lance(str(work / "lance"), "euclidean", table=f"sift_{len(data['X'])}")
    about, folder = loaded(index, data, work), work / "lance" / f"{index.table}.lance"
    for name, place in (("mb", folder), ("index_mb", folder / "_indices")):
        files = (file for file in place.rglob("*") if file.is_file())
        about[name] = sum(file.stat().st_size for file in files) / 2**20
    about["setting"] = f"n_codes 16, nprobe {index.nprobe}, rerank {index.rerank}"
    yield about | searched(index, data)
    yield about | inside(index, data, "before")


def run(options):
    import faiss

    faiss.omp_set_num_threads(1)
    ROUNDS[0] = options.rounds
    options.work.mkdir(parents=True, exist_ok=True)
    rows = []
    if options.csv.exists():
        with open(options.csv, newline="") as file:
            rows = list(csv.DictReader(file))
    for engine in (exact, hnsw, pgvector, ivfflat, lance):
        old = [
            row
            for row in rows
            if (str(row["n"]), row["engine"]) == (str(options.n), engine.__name__)
        ]
        if old and not options.queries_only:
            continue
        rows = [row for row in rows if row not in old]
        for row in engine(prepare(options.n, options.work), options.work):
            row = {"n": options.n, "engine": engine.__name__} | row
            rows.append({key: f"{v:.4g}" if isinstance(v, float) else v for key, v in row.items()})
            print(rows[-1], flush=True)
        with open(options.csv, "w", newline="") as file:
            writer = csv.DictWriter(file, [*COLUMNS.split(), "machine_load"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("csv", type=Path, help="where results go, and are read from")
    parser.add_argument("--work", type=Path, required=True, help="for what is made on the way")
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--queries-only", action="store_true", help="ask again what is built")
    parser.add_argument("--rounds", type=int, default=1, help="times that each query is asked")
    run(parser.parse_args())
