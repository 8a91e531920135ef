"""The inverted file against exact search, its changes and folders; the sparse bag of words against the dense one."""

import numpy as np
import pytest
import scipy.sparse as sp

from cbirkit import indexes
from cbirkit.encoders import BagOfWords, SparseBagOfWords
from cbirkit.indexes import Exact, InvertedFile
from cbirkit.persistence import load_estimator, save_estimator


def sparse(n, seed=0, n_words=300):
    return sp.random(n, n_words, 0.05, random_state=seed, format="csr", dtype=np.float32)


def images(n=6, seed=0):
    rng = np.random.default_rng(seed)
    return [
        np.kron(rng.integers(0, 256, (8, 8)), np.ones((16, 16))).astype(np.uint8) for _ in range(n)
    ]


@pytest.mark.parametrize("n_scores", [1, 2**21])
def test_it_finds_what_exact_search_finds(n_scores, monkeypatch):
    monkeypatch.setattr("cbirkit.indexes.exact._N_SCORES", n_scores)
    database, queries = sparse(120), sparse(9, seed=1)
    found = InvertedFile().fit(database).kneighbors(queries, 120)
    expected = Exact().fit(database.toarray()).kneighbors(queries.toarray(), 120)
    assert np.allclose(found[0], expected[0], atol=1e-6)
    shared = expected[0] < 1 - 1e-5  # where no word is shared, Exact rounds to 1 from either side
    assert shared.sum() > 300 and (found[1] == expected[1])[shared].all()


def test_worked_by_hand():
    index = InvertedFile().fit(sp.csr_matrix([[3.0, 4, 0], [0, 0, 2], [0, 5, 0]]))
    distances, keys = index.kneighbors(sp.csr_matrix([[0.0, 1, 0]]), 3)
    assert keys.tolist() == [[2, 0, 1]] and np.allclose(distances, [[0, 0.2, 1]])
    assert index.n_postings_ == 4


def test_items_that_share_no_word_come_in_order_of_their_keys():
    index = InvertedFile().fit(np.eye(5))
    assert index.kneighbors(sp.csr_matrix((1, 5)), 4)[1].tolist() == [[0, 1, 2, 3]]


def test_adding_removing_and_leaving_out():
    database = sparse(30)
    index = InvertedFile().fit(database[:20])
    assert index.add(database[20:]).tolist() == list(range(20, 30))
    index.remove([3, 25])
    assert index.n_indexed_ == 28
    keys = index.kneighbors(database, 28)[1]
    assert not np.isin(keys, [3, 25]).any()
    alone = index.kneighbors(n_neighbors=5)[1]
    assert alone.shape == (28, 5) and not (alone == index.keys_[:, None]).any()


def test_saving_and_loading(tmp_path):
    database, queries = sparse(30), sparse(4, seed=2)
    index = InvertedFile().fit(database).remove([1])
    index.save(tmp_path / "index")
    again = indexes.load(tmp_path / "index")
    assert isinstance(again, InvertedFile)
    for one, other in zip(
        index.kneighbors(queries, 29), again.kneighbors(queries, 29), strict=True
    ):
        assert np.array_equal(one, other)
    assert again.add(database[:1]).tolist() == [30]


def test_bad_input_is_refused():
    index = InvertedFile().fit(sparse(5))
    bad = sparse(3)
    bad.data[0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        index.add(bad)
    with pytest.raises(ValueError, match="300"):
        index.kneighbors(sp.csr_matrix((1, 7)), 2)
    with pytest.raises(ValueError, match="k=9"):
        index.kneighbors(sparse(1), 9)


def test_sparse_bags_equal_dense_bags():
    kinds = {"n_words": 25, "random_state": 0}
    dense = BagOfWords(**kinds).fit(images()).transform(images(seed=1))
    bags = (
        SparseBagOfWords(**kinds, codebook="kmeans", assignment="exact")
        .fit(images())
        .transform(images(seed=1))
    )
    assert sp.issparse(bags) and np.allclose(bags.toarray(), dense, atol=1e-5)


def test_the_graph_finds_nearly_every_nearest_word():
    bags = SparseBagOfWords(200, random_state=0).fit(images(12))
    rng = np.random.default_rng(0)
    sample = bags.codebook_[rng.integers(0, 200, 400)] + rng.normal(0, 0.02, (400, 128)).astype(
        np.float32
    )
    graph = bags.assign(sample)
    assert (graph == bags.set_params(assignment="exact").assign(sample)).mean() > 0.9


def test_saved_and_loaded_bags_encode_alike(tmp_path):
    bags = SparseBagOfWords(60).fit(images())
    before = bags.transform(images(seed=3))
    save_estimator(bags, tmp_path / "bags")
    after = load_estimator(tmp_path / "bags").transform(images(seed=3))
    assert abs(before - after).max() < 1e-6


def test_images_without_key_points_are_empty_rows():
    bags = SparseBagOfWords(30).fit(images())
    flat = np.zeros((64, 64, 3), np.uint8)
    assert bags.transform([flat, *images(1)])[0].nnz == 0
    with pytest.raises(ValueError, match="at least one image"):
        bags.transform([])


@pytest.mark.parametrize("codebook", ["sample", "kmeans"])
def test_a_codebook_larger_than_the_descriptors_is_refused(codebook):
    with pytest.raises(ValueError, match="at least 100000 descriptors"):
        SparseBagOfWords(100_000, codebook=codebook).fit(images(1))
    with pytest.raises(ValueError, match="got 0 of 1 images"):
        SparseBagOfWords(10, codebook=codebook).fit([np.zeros((64, 64, 3), np.uint8)])
