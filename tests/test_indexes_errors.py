"""What the indexes say about bad input: one clear sentence each, and nothing is lost."""

import numpy as np
import pytest
from index_oracles import make, vectors
from sklearn.exceptions import NotFittedError

from cbirkit.indexes import HNSW, IVF, IVFPQ, Annoy, Exact, Hamming

ALL = [Exact, Hamming, Annoy, HNSW, IVF, IVFPQ]


def data(kind, n=30, d=8):
    X = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    return np.packbits(X > 0, axis=1) if kind is Hamming else X


@pytest.mark.parametrize("kind", ALL)
def test_too_many_neighbours(kind):
    index = make(kind).fit(data(kind))
    with pytest.raises(ValueError, match=r"^k=50 exceeds the 30 indexed images; use k <= 30$"):
        index.kneighbors(data(kind), 50)
    with pytest.raises(ValueError, match="^k=30 exceeds the 29 other"):
        index.kneighbors(n_neighbors=30)
    assert index.kneighbors(data(kind), 30)[1].shape == (30, 30)
    assert index.kneighbors(n_neighbors=29)[1].shape == (30, 29)
    for k, error in [
        (0, ValueError),
        (-1, ValueError),
        (2.0, TypeError),
        (True, TypeError),
        ("3", TypeError),
    ]:
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
    with pytest.raises(ValueError, match=r"nothing to index: X has shape \(0, \d\)"):
        index.fit(X[:0])
    with pytest.raises(ValueError, match=r"must be 2-D.*X.reshape\(1, -1\)"):
        index.fit(X[0])
    with pytest.raises(ValueError, match="must be 2-D"):
        index.fit(X[:, :0])
    index.fit(X)
    wide = np.hstack([X, X])
    for call in (index.kneighbors, index.add):
        with pytest.raises(
            ValueError, match=f"has {wide.shape[1]} dimensions, the index holds {X.shape[1]}"
        ):
            call(wide)
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
    with pytest.raises(ValueError, match="row 4 of X .* too large"):
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
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"X.toarray\(\)"):
        Exact().fit(sparse.csr_matrix(np.eye(3)))


def test_hamming_takes_only_packed_bits():
    with pytest.raises(TypeError, match="uint8, got float32"):
        Hamming().fit(data(Exact))
    with pytest.raises(TypeError, match="got bool"):
        Hamming().fit(data(Exact) > 0)


@pytest.mark.parametrize("kind", ALL)
def test_removing_unknown_keys_removes_nothing(kind):
    index = make(kind).fit(data(kind)).remove([4])
    with pytest.raises(ValueError, match="no item with key 99 "):
        index.remove(99)
    with pytest.raises(ValueError, match=r"no item with key 4 \(2 of 4 are unknown\)"):
        index.remove([1, 4, 2, 30])
    with pytest.raises(ValueError, match="no item with key -1"):
        index.remove([-1])
    for wrong in ([0.5], ["a"], np.ones(30, bool)):
        with pytest.raises(TypeError, match="keys must be integers"):
            index.remove(wrong)
    assert index.n_indexed_ == 29
    assert index.remove([1, 1, 2]).n_indexed_ == 27


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        (
            Exact,
            {"metric": "manhattan"},
            "metric='manhattan' is not known; use one of cosine, euclidean",
        ),
        (HNSW, {"m": 1}, "m=1 is too small"),
        (HNSW, {"ef_search": 0}, "ef_search=0 is too small"),
        (Annoy, {"n_trees": 0}, "n_trees=0 is too small"),
        (Annoy, {"search_k": -2}, "search_k=-2 is too small"),
        (IVF, {"nprobe": 0}, "nprobe=0 is too small"),
        (IVF, {"n_lists": 31}, "n_lists=31 exceeds the 30 vectors to train on"),
        (IVFPQ, {"nprobe": 0}, "nprobe=0 is too small"),
        (IVFPQ, {"rerank": -1}, "rerank=-1 is too small"),
        (
            IVFPQ,
            {"n_lists": 64},
            "n_lists=64 exceeds the 30",
        ),
    ],
)
def test_parameters_out_of_range(kind, params, message):
    index = make(kind, **params)  # no complaint before fit
    with pytest.raises(ValueError, match=message):
        index.fit(data(kind))
    with pytest.raises(NotFittedError):
        index.kneighbors(data(kind))


@pytest.mark.parametrize(
    ("kind", "name"), [(HNSW, "m"), (Annoy, "n_trees"), (IVF, "nprobe"), (IVFPQ, "n_lists")]
)
def test_parameters_of_the_wrong_type(kind, name):
    with pytest.raises(TypeError, match=f"{name} must be a whole number, got 1.5"):
        make(kind, **{name: 1.5}).fit(data(kind))


def test_ivfpq_without_vectors_cannot_rerank_later():
    index = make(IVFPQ, rerank=0).fit(data(IVFPQ))
    with pytest.raises(ValueError, match="fitted with rerank=0"):
        index.set_params(rerank=4).kneighbors(data(IVFPQ))


@pytest.mark.parametrize("kind", [Annoy, HNSW, IVF, IVFPQ])
def test_values_whose_squares_vanish_are_refused_where_float32_decides(kind):
    X = 1e-30 * vectors()
    with pytest.raises(ValueError, match="too small for float32"):
        make(kind, "euclidean").fit(X)
    near = Exact("euclidean").fit(X).kneighbors(n_neighbors=3)[1]
    np.testing.assert_array_equal(
        near, Exact("euclidean").fit(1e30 * X).kneighbors(n_neighbors=3)[1]
    )
    assert make(kind).fit(X).kneighbors(X[:1], n_neighbors=1)[1] == 0  # scaled to length 1


def test_masked_values_are_refused_and_tensors_taken():
    X = vectors()
    with pytest.raises(ValueError, match="masked"):
        Exact().fit(np.ma.masked_array(X, X > 1))
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(X, requires_grad=True)
    np.testing.assert_array_equal(
        Exact().fit(tensor).kneighbors(tensor)[1], Exact().fit(X).kneighbors(X)[1]
    )
