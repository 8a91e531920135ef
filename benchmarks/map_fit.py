"""How long PCA, t-SNE and UMAP take to lay a collection out, and how far their maps can be believed.

    python -m benchmarks.map_fit [--sizes 1000 10000 100000] [--methods pca umap tsne]

Embeddings are made: 128 dimensions, 100 groups with directions of their own, each spread over 8 dimensions and a little over all. With a seed, UMAP runs
on one thread; the first fit of a process also compiles, so two small maps are made before the clock starts.
"""

import argparse
import resource
import time

import numpy as np

from cbirkit.learning.projection import map_quality, project

_N_GROUPS, _N_DIMS, _SPREAD, _NOISE = 100, 128, 0.35, 0.05


def embeddings(n, seed=0):
    """Unit rows (n, 128) float32 in 100 groups."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(_N_GROUPS, _N_DIMS)) / np.sqrt(_N_DIMS)
    bases = rng.normal(size=(_N_GROUPS, 8, _N_DIMS)) / np.sqrt(_N_DIMS)
    groups = rng.integers(_N_GROUPS, size=n)
    rows = centres[groups] + _NOISE * rng.normal(size=(n, _N_DIMS))
    for group in range(_N_GROUPS):
        mine = groups == group
        rows[mine] += _SPREAD * rng.normal(size=(mine.sum(), 8)) @ bases[group]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--methods", nargs="+", default=["pca", "umap", "tsne"])
    options = parser.parse_args()
    for method in options.methods:
        for n in (300, 5000):  # beyond 4,096 images UMAP looks for neighbours in another way
            project(embeddings(n, seed=1), method)
    print(
        "images | method | seconds | processor seconds | largest memory, MB | trustworthiness | overlap | at random"
    )
    for n in options.sizes:
        rows = embeddings(n)
        for method in options.methods:
            began, worked = time.perf_counter(), time.process_time()
            points = project(rows, method)
            took, work = time.perf_counter() - began, time.process_time() - worked
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            told = map_quality(points, rows)
            print(
                f"{n:,} | {method} | {took:.1f} | {work:.1f} | {memory:.0f} | {told.trustworthiness:.3f} | {told.overlap:.3f} | {told.chance:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
