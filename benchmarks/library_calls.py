"""What a search costs by calling the library itself: used by `approximate_search.py`.

    python benchmarks/library_calls.py            # exact search, with and without BLAS, by size of batch

Microseconds of processor time per query of one thread, for 100,000 and 1,000,000 vectors (those of `index_speed.py`).
"""

import time

import numpy as np


def unit(X):
    """Return rows of length 1."""
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def library(name, index, X, k):
    """Return a function of queries of length 1 that calls the library itself with the same structure, or None."""
    import faiss

    if name == "Exact":
        flat = faiss.IndexFlatIP(X.shape[1])
        flat.add(unit(X))
        return lambda q: flat.search(q, k)
    if name == "HNSW":
        params = faiss.SearchParametersHNSW(efSearch=index.ef_search)
        return lambda q: index._structure.search(q, k, params=params)
    if name == "IVF":
        params = faiss.SearchParametersIVF(nprobe=index.nprobe)
        return lambda q: index._structure.search(q, k, params=params)
    if name == "IVFPQ" and index.rerank:
        flat = faiss.IndexFlatL2(X.shape[1])
        flat.add(unit(X))
        both = faiss.IndexRefine(index._structure, flat)
        lists = faiss.SearchParametersIVF(nprobe=index.nprobe)
        params = faiss.IndexRefineSearchParameters(k_factor=index.rerank, base_index_params=lists)
        return lambda q: both.search(q, k, params=params)
    if name == "Annoy":
        trees, search_k = index._structure, index.search_k
        return lambda q: [
            trees.get_nns_by_vector(row, k, search_k, include_distances=True) for row in q
        ]
    return None


def overhead(name, index, X, queries, k, n_single):
    """Return microseconds a query of our index and of the library itself, in turns; the median of each."""
    theirs = library(name, index, X, k)
    if theirs is None:
        return {}
    prepared = unit(queries)
    pairs = [(queries[i : i + 1], prepared[i : i + 1]) for i in range(n_single)]
    ways = {
        "ours_batch_us": (lambda: index.kneighbors(queries, k), len(queries)),
        "library_batch_us": (lambda: theirs(prepared), len(queries)),
        "ours_single_us": (lambda: [index.kneighbors(q, k) for q, _ in pairs], n_single),
        "library_single_us": (lambda: [theirs(q) for _, q in pairs], n_single),
    }
    taken, began = {key: [] for key in ways}, time.perf_counter()
    while len(taken["ours_batch_us"]) < 25 and (
        time.perf_counter() - began < 60 or len(taken["ours_batch_us"]) < 3
    ):
        for key, (way, n) in ways.items():
            start = time.process_time()
            way()
            taken[key].append(1e6 * (time.process_time() - start) / n)
    return {key: float(np.median(values)) for key, values in taken.items()}


def exact_with_and_without_blas(n, k=10, batches=(1, 20, 300)):
    """Print what exact search costs: `Exact`, and faiss with its BLAS threshold as it is and at 1."""
    import faiss
    from index_speed import clustered

    from cbirkit import indexes

    faiss.omp_set_num_threads(1)
    X, queries = (unit(part) for part in clustered(n, max(batches)))
    ours, default = indexes.Exact().fit(X).kneighbors, faiss.cvar.distance_compute_blas_threshold
    theirs = library("Exact", None, X, k)
    for m in batches:
        for name, search, threshold in (
            ("Exact", lambda q: ours(q, k), default),
            (f"faiss, threshold {default}", theirs, default),
            ("faiss, threshold 1", theirs, 1),
        ):
            faiss.cvar.distance_compute_blas_threshold = threshold
            times = []
            for _ in range(3):
                start = time.process_time()
                search(queries[:m])
                times.append(time.process_time() - start)
            print(
                f"{n:>9,} vectors, {m:>3} at once, {name:<24} {1e6 * np.median(times) / m:>8,.0f} us",
                flush=True,
            )
        faiss.cvar.distance_compute_blas_threshold = default


if __name__ == "__main__":
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        for size in (100_000, 1_000_000):
            exact_with_and_without_blas(size)
