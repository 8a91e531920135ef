"""Approximate indexes against the exact one.

Thresholds lie below the worst of ten seeds and both metrics by a quarter of what the worst misses, at least by 0.02.
"""

import copy
import functools
import logging
import subprocess
import sys

import numpy as np
import pytest
from index_oracles import make

from cbirkit.indexes import HNSW, IVF, IVFPQ, Annoy, Exact, load

CASES = {  # name: class, parameters, least recall@10 (beside: the worst and the mean measured)
    "annoy": (Annoy, {}, 0.977),  # 0.997, 0.998
    "annoy, few trees": (Annoy, {"n_trees": 5}, 0.57),  # 0.661, 0.696
    "hnsw": (HNSW, {}, 0.979),  # 0.999, 1.000
    "hnsw, hasty": (HNSW, {"ef_search": 10}, 0.926),  # 0.946, 0.956
    "ivf": (IVF, {}, 0.98),  # 1.000, 1.000
    "ivf, one list": (IVF, {"nprobe": 1}, 0.78),  # 0.825, 0.856
    "ivfpq": (IVFPQ, {}, 0.98),  # 1.000, 1.000
    "ivfpq, one list": (IVFPQ, {"nprobe": 1}, 0.776),  # 0.821, 0.858
    "ivfpq, codes only": (IVFPQ, {"rerank": 0}, 0.88),  # 0.904, 0.913
}


def clustered(n, n_queries, d=32, seed=0):
    """Draw from 40 overlapping clusters."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(40, d))
    X = centres[rng.integers(40, size=n + n_queries)] + 0.6 * rng.normal(size=(n + n_queries, d))
    return X[:n].astype(np.float32), X[n:].astype(np.float32)


def recall(found, truth):
    return np.mean([len(set(f) & set(t)) / len(t) for f, t in zip(found, truth, strict=True)])


@functools.cache
def fitted(kind, metric, seed, **params):
    return kind(metric, **params).fit(clustered(4000, 100, seed=seed)[0])


def recall_of(kind, params, metric, seed):
    searching = {"nprobe", "ef_search", "rerank"}  # of one index that is built once
    building = {name: value for name, value in params.items() if name not in searching}
    index = copy.copy(fitted(kind, metric, seed, **building)).set_params(**params)
    Q = clustered(4000, 100, seed=seed)[1]
    return recall(index.kneighbors(Q)[1], fitted(Exact, metric, seed).kneighbors(Q)[1])


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("name", CASES)
def test_recall_against_exact(name, metric):
    kind, params, least = CASES[name]
    make(kind)
    assert recall_of(kind, params, metric, seed=0) >= least


@pytest.mark.parametrize("kind", [Annoy, HNSW, IVF, IVFPQ])
def test_recall_is_not_owed_to_looking_at_all_rows(kind, monkeypatch):
    # the exhaustive way out, for queries that find fewer than k, would hide a broken structure
    X, Q = clustered(2000, 50)
    index = make(kind).fit(X).remove(np.arange(0, 2000, 5))
    truth = Exact().fit(X).remove(np.arange(0, 2000, 5)).kneighbors(Q)[1]

    widths, among = [], kind._among

    def noted(self, queries, rows, k):
        widths.append(rows.shape[1])
        return among(self, queries, rows, k)

    monkeypatch.setattr(kind, "_among", noted)
    assert recall(index.kneighbors(Q)[1], truth) > 0.95
    assert len(index.kneighbors()[1]) == 1600
    assert max(widths, default=0) < 200


@pytest.mark.parametrize("kind", [Annoy, HNSW, IVF, IVFPQ])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_distances_are_those_of_the_exact_index(kind, metric):
    X, Q = clustered(1000, 20)
    distances, keys = make(kind, metric).fit(X).kneighbors(Q)
    exact_distances, exact_keys = Exact(metric).fit(X).kneighbors(Q, 1000)
    for q in range(len(Q)):
        place = np.argsort(exact_keys[q])[keys[q]]
        np.testing.assert_allclose(distances[q], exact_distances[q][place], rtol=1e-5, atol=3e-7)


@pytest.mark.parametrize("kind", [Annoy, HNSW, IVF, IVFPQ])
def test_a_removed_cluster_never_comes_back(kind):
    # the whole neighbourhood of the queries goes, less than makes the index build anew
    rng = np.random.default_rng(0)
    X = np.vstack([rng.normal(size=(200, 16)) * 0.05 + 3, rng.normal(size=(1000, 16))])
    index = make(kind, "euclidean").fit(X).remove(np.arange(200))
    keys = index.kneighbors(X[:20], 10)[1]
    assert keys.min() >= 200
    truth = Exact("euclidean").fit(X[200:]).kneighbors(X[:20], 10)[1] + 200
    assert recall(keys, truth) > 0.5
    assert index.kneighbors(X[:5], 1000)[1].shape == (5, 1000)  # all that are left


@pytest.mark.parametrize("kind", [Annoy, HNSW, IVF, IVFPQ])
def test_recall_holds_when_most_items_came_later(kind):
    X, Q = clustered(3000, 50)
    index = make(kind).fit(X[:100])
    for start in range(100, 3000, 290):
        index.add(X[start : start + 290])
        index.kneighbors(Q[:1], 5)
    assert recall(index.kneighbors(Q)[1], Exact().fit(X).kneighbors(Q)[1]) > 0.85


@pytest.mark.parametrize("kind", [Annoy, HNSW, IVF, IVFPQ])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 17, 255, 256, 257])
@pytest.mark.parametrize("d", [1, 3, 59])
def test_small_collections_and_odd_dimensions_work_by_default(kind, n, d, capfd):
    X = np.random.default_rng(n).normal(size=(n, d)).astype(np.float32)
    index = make(kind, "euclidean").fit(X)
    distances, keys = index.kneighbors(X, n)
    assert (np.sort(keys, axis=1) == np.arange(n)).all()
    assert (keys[:, 0] == np.arange(n)).all() and (distances[:, 0] == 0).all()
    assert capfd.readouterr() == ("", "")  # faiss warns on stderr of few training points


def test_ivfpq_of_codes_only_keeps_no_vectors_and_says_how_far_roughly():
    X, Q = clustered(3000, 50)
    for metric in ("cosine", "euclidean"):
        index = make(IVFPQ, metric, rerank=0).fit(X)
        assert index._vectors is None
        distances = index.kneighbors(Q)[0]
        exact = Exact(metric).fit(X).kneighbors(Q)[0]
        assert (np.diff(distances, axis=1) >= 0).all()
        assert np.abs(distances - exact).mean() < 0.3 * exact.mean()
        own = index.kneighbors(n_neighbors=5)[1]
        assert (own != np.arange(3000)[:, None]).all()
        index.remove(np.arange(0, 3000, 2))
        assert (index.kneighbors(Q, 20)[1] % 2 == 1).all()
        assert index.kneighbors(Q[:2], 1500)[1].shape == (2, 1500)
        assert index.add(X[:2]).tolist() == [3000, 3001] and 3000 in index.kneighbors(X[:1], 10)[1]


@pytest.mark.parametrize("kind", [Annoy, HNSW, IVF, IVFPQ])
def test_building_anew_is_logged_and_happens_once(kind, caplog):
    caplog.set_level(logging.INFO, "cbirkit")
    X, Q = clustered(2400, 5)
    index = make(kind).fit(X[:400])
    assert not caplog.records
    index.add(X[400:])
    if kind is HNSW:
        index.remove(np.arange(1000))
    index.kneighbors(Q)
    index.kneighbors(Q)
    assert ["anew" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("kind", [Annoy, IVF, IVFPQ])
def test_the_same_seed_builds_the_same(kind):
    X, Q = clustered(1000, 20)
    first, again, other = (
        make(kind, random_state=seed).fit(X).kneighbors(Q, 50) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[1] != other[1]).any()


def test_works_beside_packages_that_patch_faiss(tmp_path):
    code = """
import numpy as np, torch, faiss.contrib.torch_utils
from cbirkit.indexes import HNSW, IVF, IVFPQ, load
X = np.random.default_rng(0).normal(size=(500, 8))
for index in (HNSW(), IVF(), IVFPQ()):
    index.fit(X).remove(range(50))
    assert index.kneighbors(X[60:70], 1)[1].ravel().tolist() == list(range(60, 70)), index
    index.kneighbors()
    index.save(type(index).__name__)
    loaded = load(type(index).__name__)
    np.testing.assert_array_equal(loaded.kneighbors(X[:9], 5)[1], index.kneighbors(X[:9], 5)[1])
"""
    # a process of its own, since the patch stays for the life of one
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_ivf_looks_into_the_lists_of_the_nearest_centres(metric):
    X, Q = clustered(1000, 20)
    index = make(IVF, metric, n_lists=32, nprobe=3).fit(X)
    if metric == "cosine":
        X, Q = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (X, Q))

    def gaps(A, B):
        return np.linalg.norm(A[:, None].astype(float) - B[None], axis=2)

    assert index.centres_.shape == (32, X.shape[1])
    list_of = gaps(X, index.centres_).argmin(axis=1)
    probed = np.argsort(gaps(Q, index.centres_), axis=1)[:, :3]
    far = gaps(Q, X)
    for q, lists in enumerate(probed):
        inside = np.flatnonzero(np.isin(list_of, lists))
        wanted = inside[np.argsort(far[q, inside])[:5]]
        np.testing.assert_array_equal(index.kneighbors(Q[q : q + 1], 5)[1][0], wanted)


def _with_copies(case, seed=0):
    """960 items and 3,000 copies of what, shuffled: X and queries that the copies are far from."""
    X, Q = clustered(960, 60, d=64, seed=seed)
    rng = np.random.default_rng(seed)
    copied = {"bursts": X[:60], "zeros": np.zeros((1, 64)), "groups": X[:6], "query": Q[:1]}.get(
        case, X.mean(axis=0, keepdims=True)
    )
    copies = np.repeat(copied, 3000 // len(copied), axis=0)
    copies += {"bursts": 1e-3}.get(case, case if isinstance(case, float) else 0) * rng.normal(
        size=copies.shape
    )
    every = np.concatenate([X, copies]).astype(np.float32)
    return every[rng.permutation(len(every))], Q


def _share_found(index, exact, Q):
    """Share of answers that are as near as the exact ones."""
    return np.mean(index.kneighbors(Q)[0] <= exact.kneighbors(Q)[0][:, -1:] + 1e-5)


@pytest.mark.parametrize(
    "case", ["copies", 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, "groups", "bursts", "query", "zeros"]
)
@pytest.mark.parametrize("kind", [Annoy, HNSW, IVF, IVFPQ])
def test_copies_do_not_hide_the_others(kind, case, tmp_path):
    X, Q = _with_copies(case)
    coarse = {IVFPQ: {"n_codes": 4}}.get(kind, {})  # learned sooner, and harder to find with
    index, exact = make(kind, **coarse).fit(X), Exact().fit(X)
    assert _share_found(index, exact, Q) >= 0.95
    gone = np.union1d(np.arange(0, len(X), 4), np.flatnonzero((X == X[-1]).all(axis=1))[:2])
    assert _share_found(index.remove(gone), exact.remove(gone), Q) >= 0.95
    index.save(tmp_path / "index")
    assert _share_found(load(tmp_path / "index"), exact, Q) >= 0.95


@pytest.mark.parametrize("kind", [Annoy, HNSW])
def test_copies_may_arrive_later_and_be_all_there_is(kind):
    X, Q = clustered(960, 60, d=64)
    copies = np.repeat(X.mean(axis=0, keepdims=True), 3000, axis=0)
    index, exact = make(kind).fit(X), Exact().fit(X)
    index.add(copies[:2000]), exact.add(copies[:2000])
    assert _share_found(index, exact, Q) >= 0.95
    index.add(copies[2000:]), exact.add(copies[2000:])
    assert _share_found(index, exact, Q) >= 0.95
    assert set(make(kind).fit(copies[:20]).kneighbors(Q, n_neighbors=20)[1][0]) == set(range(20))


@pytest.mark.parametrize("spread", [0.02, 0.1, 0.2, 0.3])
@pytest.mark.parametrize(("kind", "params"), [(Annoy, {"search_k": 5000}), (HNSW, {})])
def test_clusters_are_not_taken_for_copies(kind, params, spread):
    # the worst of three seeds: 0.978; with clusters cut up into heads and their copies it was 0.36
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4, 64))[rng.integers(4, size=6060)]
    rows = (rows + spread * rng.normal(size=rows.shape)).astype(np.float32)
    index, exact = make(kind, **params).fit(rows[60:]), Exact().fit(rows[60:])
    assert _share_found(index, exact, rows[:60]) >= 0.93
