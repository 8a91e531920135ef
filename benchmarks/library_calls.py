"""What a search costs by calling the library itself: used by `approximate_search.py`."""

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
        return lambda q: index._graph.search(q, k, params=params)
    if name == "IVF":
        params = faiss.SearchParametersIVF(nprobe=index.nprobe)
        return lambda q: index._lists.search(q, k, params=params)
    if name == "IVFPQ" and index.rerank:
        flat = faiss.IndexFlatL2(X.shape[1])
        flat.add(unit(X))
        both = faiss.IndexRefine(index._lists, flat)
        lists = faiss.SearchParametersIVF(nprobe=index.nprobe)
        params = faiss.IndexRefineSearchParameters(k_factor=index.rerank, base_index_params=lists)
        return lambda q: both.search(q, k, params=params)
    if name == "Annoy":
        trees, search_k = index._trees, index.search_k
        return lambda q: [trees.get_nns_by_vector(row, k, search_k, include_distances=True) for row in q]
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
