"""Build time, queries a second, recall@10 and size of each index, in one run.

    python benchmarks/index_speed.py                      # 100,000 x 128, 1,000 queries, one thread
    python benchmarks/index_speed.py --n 1000000 --threads 2 --skip sklearn

Vectors come from 1,000 overlapping clusters of unequal sizes (the largest holds about 13 % of all, the smallest a few
items), each stretched along its own 24 of the 128 dimensions, with a little noise in all; queries are further draws.
Nearest neighbours mostly share a cluster, but clusters overlap, so that lists, trees and graphs have to look around.
The distance is the cosine; Hamming compares the signs of the 128 dimensions and is scored against the same exact
cosine neighbours, without and with re-ranking of its best 100.

"batch" asks 1,000 queries at once, "single" one at a time (200 of them); each is the best of three. Size is that of
the saved file. The last table compares calling faiss directly, with the same structure and settings.
"""

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np


def clustered(n, n_queries, n_dims=128, n_clusters=1000, seed=0):
    """Return (n, n_dims) vectors and (n_queries, n_dims) queries, float32, from the mixture described above."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, n_clusters + 1)
    centres = rng.normal(size=(n_clusters, n_dims))
    label = rng.choice(n_clusters, size=n + n_queries, p=share / share.sum())
    axes = rng.normal(size=(n_clusters, 24, n_dims)).astype(np.float32) / np.sqrt(24)
    out = np.empty((n + n_queries, n_dims), np.float32)
    for start in range(0, len(out), 2000):
        some = label[start : start + 2000]
        along = rng.normal(size=(len(some), 1, 24)).astype(np.float32)
        out[start : start + 2000] = centres[some] + (along @ axes[some])[:, 0]
    out += 0.3 * rng.normal(size=out.shape).astype(np.float32)
    return out[:n], out[n:]


def best_of(function, repeats=3):
    """Return the result and the shortest wall time of `repeats` calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return result, min(times)


def recall(found, truth):
    """Return the share of the true neighbours (n, k) that are among the found ones (n, m)."""
    return np.mean([len(np.intersect1d(f, t)) / len(t) for f, t in zip(found, truth, strict=True)])


def speeds(search, queries, n_single=200):
    """Return keys of a batch, and queries a second in a batch and one at a time."""
    keys, batch = best_of(lambda: search(queries))
    _, single = best_of(
        lambda: [search(queries[i : i + 1]) for i in range(min(n_single, len(queries)))]
    )
    return keys, len(queries) / batch, min(n_single, len(queries)) / single


def saved_size(index):
    """Return the bytes of the saved index."""
    with tempfile.TemporaryDirectory() as folder:
        index.save(Path(folder) / "index")
        return (Path(folder) / "index").stat().st_size


def packed_signs(X):
    """Return the signs of the dimensions as packed bits (n, n_dims / 8), uint8."""
    return np.packbits(X > 0, axis=1)


def kit_indexes(skip):
    """Return the indexes to measure, by name."""
    from sklearn.neighbors import NearestNeighbors

    from cbirkit import indexes

    chosen = {
        "Exact": indexes.Exact(),
        "sklearn brute": NearestNeighbors(metric="cosine", algorithm="brute"),
        "Annoy, 50 trees": indexes.Annoy(),
        "Annoy, search_k 5000": indexes.Annoy(search_k=5000),
        "HNSW, ef 16": indexes.HNSW(ef_search=16),
        "HNSW, ef 64": indexes.HNSW(),
        "IVFPQ, rerank 16": indexes.IVFPQ(),
        "IVFPQ, rerank 0": indexes.IVFPQ(rerank=0),
    }
    return {name: index for name, index in chosen.items() if not any(word in name for word in skip)}


def measure(X, queries, k, skip):
    """Print the first table; return the fitted indexes and the true neighbours (n_queries, k)."""
    print(
        "| index | build s | batch q/s | single q/s | recall@10 | saved MB |\n|---|---|---|---|---|---|"
    )
    fitted, truth = {}, None
    for name, index in kit_indexes(skip).items():
        try:
            _, build = best_of(lambda index=index: index.fit(X), repeats=1)
        except ImportError as error:
            print(f"| {name} | {error} |")
            continue
        search = lambda q, index=index: index.kneighbors(q, n_neighbors=k, return_distance=False)
        keys, batch, single = speeds(search, queries)
        truth = keys if truth is None else truth
        size = saved_size(index) if hasattr(index, "save") else X.nbytes
        row(name, build, batch, single, recall(keys, truth), size)
        fitted[name] = index
    measure_hamming(X, queries, k, truth)
    return fitted, truth


def measure_hamming(X, queries, k, truth):
    """Print the rows of the Hamming index, alone and re-ranked by the cosine distance."""
    from cbirkit import indexes

    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    index, build = best_of(lambda: indexes.Hamming().fit(packed_signs(X)), repeats=1)

    def plain(q):
        return index.kneighbors(packed_signs(q), n_neighbors=k, return_distance=False)

    def reranked(q):
        keys = index.kneighbors(packed_signs(q), n_neighbors=100, return_distance=False)  # (n, 100)
        near = np.argsort(-np.einsum("nkd,nd->nk", unit[keys], q), axis=1)[:, :k]
        return np.take_along_axis(keys, near, axis=1)

    for name, search, extra in [
        ("Hamming", plain, 0),
        ("Hamming, re-rank 100", reranked, X.nbytes),
    ]:
        keys, batch, single = speeds(search, queries)
        row(name, build, batch, single, recall(keys, truth), saved_size(index) + extra)


def row(name, build, batch, single, share, size):
    """Print one row of the first table."""
    print(
        f"| {name} | {build:.2f} | {batch:,.0f} | {single:,.0f} | {share:.3f} | {size / 2**20:.1f} |",
        flush=True,
    )


def measure_overhead(fitted, X, queries, k):
    """Print what the kit's checks, exact distances and keys cost beside faiss alone."""
    import faiss

    unit, q = (
        X / np.linalg.norm(X, axis=1, keepdims=True),
        queries / np.linalg.norm(queries, axis=1, keepdims=True),
    )
    flat = faiss.IndexFlatIP(X.shape[1])
    flat.add(unit)
    direct = {"Exact": ("IndexFlatIP", flat, None)}
    if "HNSW, ef 64" in fitted:
        ef = faiss.SearchParametersHNSW(efSearch=64)
        direct["HNSW, ef 64"] = ("IndexHNSWFlat", fitted["HNSW, ef 64"]._structure, ef)
    if "IVFPQ, rerank 0" in fitted:
        nprobe = faiss.SearchParametersIVF(nprobe=16)
        direct["IVFPQ, rerank 0"] = ("IndexIVFPQ", fitted["IVFPQ, rerank 0"]._structure, nprobe)
    print(
        "\n| index | beside | batch us/query, ours / faiss | single us, ours / faiss |\n|---|---|---|---|"
    )
    for name, (beside, index, params) in direct.items():
        ours = speeds(lambda q, name=name: fitted[name].kneighbors(q, k, False), queries)[1:]
        theirs = speeds(
            lambda q, index=index, params=params: index.search(q, k, params=params)[1], q
        )[1:]
        cells = [f"{1e6 / o:,.0f} / {1e6 / t:,.0f}" for o, t in zip(ours, theirs, strict=True)]
        print(f"| {name} | {beside} | {cells[0]} | {cells[1]} |", flush=True)


def parse():
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=100_000, help="vectors")
    parser.add_argument("--dims", type=int, default=128)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1, help="of BLAS and of faiss")
    parser.add_argument(
        "--skip", nargs="*", default=[], help="leave out indexes whose name holds a word"
    )
    return parser.parse_args()


if __name__ == "__main__":
    options = parse()
    import faiss
    from threadpoolctl import threadpool_limits

    faiss.omp_set_num_threads(options.threads)
    print(
        f"{options.n:,} x {options.dims}, {options.queries:,} queries, k = 10, {options.threads} thread(s) of "
        f"{os.cpu_count()} cores; faiss {faiss.__version__}, numpy {np.__version__}, {platform.machine()}\n"
    )
    with threadpool_limits(options.threads):
        vectors, asked = clustered(options.n, options.queries, options.dims)
        measure_overhead(measure(vectors, asked, 10, options.skip)[0], vectors, asked, 10)
