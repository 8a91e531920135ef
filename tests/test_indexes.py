"""The protocol of the indexes: keys, additions and removals, the manners of an estimator, bad input."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from index_oracles import make, naive_distance, naive_neighbours, vectors
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import NearestNeighbors

from cbirkit.indexes import HNSW, IVF, IVFPQ, Annoy, Exact, Hamming, as_index

FLOAT = [Exact, Annoy, HNSW, IVF, IVFPQ]
ALL = [*FLOAT, Hamming]


# kneighbors() without queries -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_each_item_leaves_itself_out_and_finds_its_duplicate(kind):
    X = vectors(40, 8, 11)
    X[30] = X[5]
    X = np.packbits(X > 0, axis=1) if kind is Hamming else X
    index = make(kind).fit(X)
    distances, keys = index.kneighbors(n_neighbors=5)
    assert (keys != index.keys_[:, None]).all()
    assert max(distances[5, 0], distances[30, 0]) < 2e-7
    if kind is not Hamming:
        assert keys[5, 0] == 30 and keys[30, 0] == 5
    assert all(len(set(row)) == 5 for row in keys)


@pytest.mark.parametrize("kind", ALL)
def test_many_duplicates_never_return_the_item_itself(kind):
    X = np.ones((60, 8), np.uint8 if kind is Hamming else np.float32)
    index = make(kind).fit(X).remove([0, 10])
    distances, keys = index.kneighbors(n_neighbors=3)
    assert (distances < 2e-7).all() and (keys != index.keys_[:, None]).all()
    assert not np.isin(keys, [0, 10]).any() and all(len(set(row)) == 3 for row in keys)
    if kind in (Exact, Hamming):
        assert keys[0].tolist() == [2, 3, 4] and keys[5].tolist() == [1, 2, 3]


# Keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_keys_are_arrival_numbers_and_never_used_twice(kind):
    X = vectors(30, 8, 12)
    X = np.packbits(X > 0, axis=1) if kind is Hamming else X
    index = make(kind).fit(X[:10])
    assert index.add(X[10:12]).tolist() == [10, 11]
    index.remove([11, 3])
    assert index.add(X[12:14]).tolist() == [12, 13] and index.add(X[:0]).tolist() == []
    assert (
        index.keys_.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 12, 13] and index.n_indexed_ == 12
    )
    index.remove(index.keys_)
    assert index.n_indexed_ == 0 and index.add(X[:3]).tolist() == [14, 15, 16]
    assert set(index.kneighbors(X[:1], 3)[1][0]) == {14, 15, 16}
    assert index.remove([]) is index and index.n_indexed_ == 3


KINDS = [
    (Exact, "cosine"),
    (Exact, "euclidean"),
    (Hamming, "hamming"),
    (IVFPQ, "euclidean"),
    (HNSW, "cosine"),
]
KINDS += [(HNSW, "euclidean"), (IVFPQ, "cosine"), (Annoy, "cosine"), (Annoy, "euclidean")]
KINDS += [(IVF, "cosine"), (IVF, "euclidean")]


@pytest.mark.parametrize(("kind", "metric"), KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_add_and_remove_agree_with_a_dictionary(kind, metric, seed):
    rng = np.random.default_rng(seed)

    def draw(n):
        X = rng.integers(-3, 4, size=(n, 6)).astype(
            np.float32
        )  # a coarse grid: many ties and duplicates
        return np.packbits(X > 0, axis=1) if kind is Hamming else X

    X = draw(40)
    index = make(kind, **({} if kind is Hamming else {"metric": metric})).fit(X)
    items, used, recalls = dict(enumerate(X)), 40, []
    for _ in range(25):
        if rng.random() < 0.5:
            X = draw(rng.integers(1, 30))
            assert index.add(X).tolist() == list(range(used, used + len(X)))
            items.update(enumerate(X, used))
            used += len(X)
        else:
            gone = rng.choice(list(items), size=rng.integers(1, 1 + len(items) // 2), replace=False)
            index.remove(gone)
            for key in gone:
                del items[key]
        recalls.append(check_against(index, items, draw(4), metric, exact=kind in (Exact, Hamming)))
    assert np.mean(recalls) >= 0.97


def check_against(index, items, queries, metric, exact):
    assert index.n_indexed_ == len(items) and index.keys_.tolist() == sorted(items)
    k = min(len(items), 7)
    distances, keys = index.kneighbors(queries, k)
    assert (np.diff(distances, axis=1) >= 0).all()
    hits = 0
    for query, row_d, row_k in zip(queries, distances, keys, strict=True):
        truth = naive_neighbours(items, query, k, metric)
        assert len(set(row_k)) == k and set(row_k) <= set(
            items
        )  # none that was removed, and k of them
        own = [naive_distance(query, items[key], metric) for key in row_k]
        np.testing.assert_allclose(row_d, own, rtol=1e-6, atol=2e-7)
        hits += np.sum(row_d <= truth[-1][0] + 1e-6)
        if exact:
            np.testing.assert_allclose(row_d, [d for d, _ in truth], rtol=1e-6, atol=2e-7)
            if metric != "cosine":
                assert row_k.tolist() == [key for _, key in truth]
    return hits / keys.size


# Queries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_one_query_gets_the_same_as_among_others(kind):
    for d in (1, 5, 16, 33):
        X = vectors(300, 8 * d if kind is Hamming else d)
        X = np.packbits(X > 0, axis=1) if kind is Hamming else X
        index = make(kind).fit(X).remove([4])
        distances, keys = index.kneighbors(X[:60], 6)
        for i in range(60):
            one = index.kneighbors(X[i : i + 1], 6)
            np.testing.assert_array_equal(one[0][0], distances[i])
            np.testing.assert_array_equal(one[1][0], keys[i])


@pytest.mark.parametrize("kind", FLOAT)
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_search_leaves_queries_alone_and_takes_any_layout(kind, metric):
    X = vectors(500, 16)
    index, queries = make(kind, metric).fit(X), X[:20].copy()
    distances, keys = index.kneighbors(queries, 5)
    assert np.array_equal(queries, X[:20])
    wide = queries.astype(float)
    for asked in (
        wide,
        np.asfortranarray(queries),
        np.repeat(queries, 2, axis=0)[::2],
        wide.tolist(),
    ):
        again = index.kneighbors(asked, 5)
        assert np.array_equal(again[0], distances) and np.array_equal(again[1], keys)
        assert np.array_equal(index.kneighbors(asked[3:4], 5)[1], keys[3:4])


@pytest.mark.parametrize("kind", FLOAT)
@pytest.mark.parametrize("n", [1, 3])
def test_odd_queries(kind, n):
    index = make(kind).fit(vectors(500, 16))
    for value in (np.nan, np.inf, 1e30):
        query = np.ones((n, 16), np.float32)
        query[-1, 2] = value
        with pytest.raises(ValueError, match=f"row {n - 1} of X holds"):
            index.kneighbors(query, 5)
    tiny = index.kneighbors(np.full((n, 16), 1e-35, np.float32), 5)
    assert np.array_equal(tiny[1], index.kneighbors(np.ones((n, 16), np.float32), 5)[1])
    assert (index.kneighbors(np.zeros((n, 16), np.float32), 5)[0] == 1).all()


# Manners of an estimator ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_clone_and_parameters(kind):
    index = kind()
    params = index.get_params()
    assert type(clone(index)) is kind and clone(index).get_params() == params
    for name, value in params.items():
        assert getattr(index, name) is value
    assert not hasattr(clone(make(kind).fit(np.ones((3, 8), np.uint8))), "n_indexed_")


def test_fit_keeps_its_own_copy():
    X = vectors(10)
    index = Exact("euclidean").fit(X)
    X[:] = 0
    assert index.kneighbors(vectors(10)[:1], 1)[0][0, 0] == 0


def test_only_keys_and_no_queries():
    index = Exact().fit(vectors(10))
    assert index.kneighbors(vectors(3), 2, return_distance=False).shape == (3, 2)
    distances, keys = index.kneighbors(np.empty((0, 8)), 2)
    assert distances.shape == keys.shape == (0, 2)


def test_importing_the_indexes_loads_no_heavy_library():
    code = "import sys, cbirkit.indexes; print([m for m in ('faiss', 'annoy', 'torch', 'cv2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "annoy", None)
    monkeypatch.setitem(sys.modules, "faiss", None)
    for kind in (Annoy, HNSW, IVF, IVFPQ):
        with pytest.raises(ImportError, match="pip install"):
            kind().fit(vectors())


def test_as_index():
    peer = NearestNeighbors(metric="cosine")
    assert as_index(peer) is peer and isinstance(as_index(), Exact)
    for wrong in ("annoy", Exact):
        with pytest.raises(TypeError, match="not an index"):
            as_index(wrong)


# Bad input --------------------------------------------------------------------------------------------------------


def data(kind, n=30, d=8):
    X = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    return np.packbits(X > 0, axis=1) if kind is Hamming else X


@pytest.mark.parametrize("kind", ALL)
def test_too_many_neighbours(kind):
    index = make(kind).fit(data(kind))
    with pytest.raises(ValueError, match="use k <= 30"):
        index.kneighbors(data(kind), 50)
    with pytest.raises(ValueError, match="use k <= 29"):
        index.kneighbors(n_neighbors=30)
    assert index.kneighbors(data(kind), 30)[1].shape == (30, 30)
    assert index.kneighbors(n_neighbors=29)[1].shape == (30, 29)
    for k, error in [(0, ValueError), (-1, ValueError), (2.0, TypeError), ("3", TypeError)]:
        with pytest.raises(error, match="n_neighbors"):
            index.kneighbors(data(kind), k)


@pytest.mark.parametrize("kind", ALL)
def test_not_fitted_or_emptied(kind):
    X, index = data(kind), make(kind)
    for call in (
        lambda: index.kneighbors(X),
        lambda: index.add(X),
        lambda: index.remove(0),
        lambda: index.save("nowhere"),
        lambda: index.keys_,
    ):
        with pytest.raises(NotFittedError):
            call()
    index.fit(X).remove(np.arange(30))
    with pytest.raises(ValueError, match="exceeds the 0"):
        index.kneighbors(X, 1)
    with pytest.raises(ValueError, match="every item was removed"):
        index.save("nowhere")


@pytest.mark.parametrize("kind", ALL)
def test_wrong_shapes(kind):
    X, index = data(kind), make(kind)
    for wrong, word in ((X[:0], "nothing"), (X[0], "2-D"), (X[:, :0], "2-D")):
        with pytest.raises(ValueError, match=word):
            index.fit(wrong)
    index.fit(X)
    for call in (index.kneighbors, index.add):
        with pytest.raises(ValueError, match="dimensions"):
            call(np.hstack([X, X]))
    assert index.n_indexed_ == 30 and index.add(X[:1]).tolist() == [30]


@pytest.mark.parametrize("kind", [Exact, Annoy, HNSW, IVF, IVFPQ])
def test_values_that_are_no_embeddings(kind):
    X, index = data(kind), make(kind).fit(data(kind))
    for bad in (np.nan, np.inf, -np.inf):
        broken = X.copy()
        broken[17, 3] = bad
        for call in (make(kind).fit, index.add, index.kneighbors):
            with pytest.raises(ValueError, match="row 17 of X holds NaN"):
                call(broken)
    huge = X.astype(float)
    huge[4, 0] = 1e30
    with pytest.raises(ValueError, match="row 4 of X"):
        index.add(huge)
    for wrong in (X.astype(complex), X.astype(str), X.astype(object)):
        with pytest.raises(TypeError, match="real numbers"):
            index.add(wrong)
    with pytest.raises(ValueError, match="inhomogeneous"):
        index.add([[1, 2], [3]])
    assert index.n_indexed_ == 30


def test_row_numbers_are_right_beyond_the_first_block():
    X = np.zeros((20_000, 2), np.float32)
    X[12_345] = np.nan
    with pytest.raises(ValueError, match="row 12345 "):
        Exact().fit(X)


def test_sparse_input():
    with pytest.raises(TypeError, match="sparse"):
        Exact().fit(sp.csr_matrix(np.eye(3)))


def test_hamming_takes_only_packed_bits():
    for wrong in (data(Exact), data(Exact) > 0):
        with pytest.raises(TypeError, match="uint8"):
            Hamming().fit(wrong)


@pytest.mark.parametrize("kind", ALL)
def test_removing_unknown_keys_removes_nothing(kind):
    index = make(kind).fit(data(kind)).remove([4])
    for keys, unknown in ((99, 99), ([1, 4, 2, 30], 4), ([-1], -1)):
        with pytest.raises(ValueError, match=f"key {unknown};"):
            index.remove(keys)
    for wrong in ([0.5], ["a"], np.ones(30, bool)):
        with pytest.raises(TypeError, match="integers"):
            index.remove(wrong)
    assert index.n_indexed_ == 29
    assert index.remove([1, 1, 2]).n_indexed_ == 27


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        (Exact, {"metric": "manhattan"}),
        (HNSW, {"m": 1}),
        (HNSW, {"ef_search": 0}),
        (Annoy, {"n_trees": 0}),
        (Annoy, {"search_k": -2}),
        (IVF, {"nprobe": 0}),
        (IVF, {"n_lists": 31}),
        (IVFPQ, {"rerank": -1}),
        (IVFPQ, {"n_lists": 64}),
    ],
)
def test_parameters_out_of_range(kind, params):
    index = make(kind, **params)  # no complaint before fit
    with pytest.raises(ValueError, match=next(iter(params))):
        index.fit(data(kind))
    with pytest.raises(NotFittedError):
        index.kneighbors(data(kind))


@pytest.mark.parametrize(
    ("kind", "name"), [(HNSW, "m"), (Annoy, "n_trees"), (IVF, "nprobe"), (IVFPQ, "n_lists")]
)
def test_parameters_of_the_wrong_type(kind, name):
    with pytest.raises(TypeError, match=name):
        make(kind, **{name: 1.5}).fit(data(kind))


def test_ivfpq_without_vectors_cannot_rerank_later():
    index = make(IVFPQ, rerank=0).fit(data(IVFPQ))
    with pytest.raises(ValueError, match="rerank=0"):
        index.set_params(rerank=4).kneighbors(data(IVFPQ))


@pytest.mark.parametrize("kind", FLOAT)
def test_values_whose_squares_vanish_are_scaled_to_length_1(kind):
    X = 1e-30 * vectors()
    assert make(kind).fit(X).kneighbors(X[:1], n_neighbors=1)[1] == 0


def test_tensors_are_taken():
    torch, X = pytest.importorskip("torch"), vectors()
    tensor = torch.tensor(X)
    assert np.array_equal(
        Exact().fit(tensor).kneighbors(tensor)[1], Exact().fit(X).kneighbors(X)[1]
    )
