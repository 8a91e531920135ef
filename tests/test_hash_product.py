"""Product quantisation, against loops and against faiss."""

import numpy as np
import pytest
from retrieval_samples import Means, collection
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from cbirkit import Retriever
from cbirkit.encoders import ProductQuantiser
from cbirkit.persistence import load_estimator, save_estimator

faiss = pytest.importorskip("faiss")


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(400, 12)).astype(np.float32)


def piece(row, number, width):
    """One piece of a row filled up with zeros, by its numbers."""
    return [row[i] if i < len(row) else 0.0 for i in range(number * width, (number + 1) * width)]


@pytest.mark.parametrize(
    ("n_codes", "width"), [(4, 3), (5, 3), (12, 1), (1, 12)]
)  # 5 pieces of 3: filled up with zeros
def test_codes_and_distances_by_loops(X, n_codes, width):
    quantiser = ProductQuantiser(n_codes).fit(X)
    codes = quantiser.transform(X)
    assert codes.shape == (400, n_codes) and codes.dtype == np.uint8
    assert (
        quantiser.centroids_.shape == (n_codes, 256, width)
        and quantiser.centroids_.dtype == np.float32
    )
    for row, code in list(zip(X, codes, strict=True))[:40]:
        for number in range(n_codes):
            gaps = np.square(quantiser.centroids_[number] - piece(row, number, width)).sum(axis=1)
            assert gaps[code[number]] <= gaps.min() + 1e-5
    decoded, got = quantiser.decode(codes), quantiser.distances(X[:6] * 1.2, codes)
    assert decoded.shape == (400, 12) and got.shape == (6, 400) and got.dtype == np.float32
    for q in range(6):
        for d in range(0, 400, 7):
            parts = [quantiser.centroids_[n][codes[d, n]] for n in range(n_codes)]
            np.testing.assert_array_equal(np.concatenate(parts)[:12], decoded[d])
            asked = np.concatenate([piece(X[q] * 1.2, n, width) for n in range(n_codes)])
            assert got[q, d] == pytest.approx(
                np.linalg.norm(asked - np.concatenate(parts)), abs=1e-4
            )


def test_it_is_the_quantiser_of_faiss(X):
    ours = ProductQuantiser(4, random_state=7).fit(X)
    index = faiss.IndexPQ(12, 4, 8)
    index.pq.cp.seed = int(np.random.RandomState(7).randint(2**31 - 1))
    index.pq.cp.min_points_per_centroid = 1
    index.train(X)
    np.testing.assert_allclose(
        faiss.vector_to_array(index.pq.centroids), ours.centroids_.ravel(), atol=1e-5
    )
    index.add(X)
    squared, found = index.search(X[:9], 400)
    mine = ours.distances(X[:9], ours.transform(X))
    np.testing.assert_allclose(np.take_along_axis(mine, found, axis=1) ** 2, squared, atol=1e-4)


@pytest.mark.parametrize("n_codes", [1, 3, 4])
def test_four_bits_pack_two_pieces_into_a_byte(X, n_codes):
    quantiser = ProductQuantiser(n_codes, n_bits=4).fit(X)
    codes = quantiser.transform(X)
    assert codes.shape == (400, (n_codes + 1) // 2) and quantiser.centroids_.shape[1] == 16
    width = quantiser.centroids_.shape[2]
    for row, code, decoded in list(zip(X, codes, quantiser.decode(codes), strict=True))[:40]:
        for number in range(n_codes):
            gaps = np.square(quantiser.centroids_[number] - piece(row, number, width)).sum(axis=1)
            chosen = code[number // 2] >> 4 if number % 2 else code[number // 2] & 15
            assert gaps[chosen] <= gaps.min() + 1e-5
            np.testing.assert_array_equal(
                decoded[number * width : (number + 1) * width],
                quantiser.centroids_[number, chosen][: 12 - number * width],
            )
    far = np.linalg.norm(X[:6, None] - quantiser.decode(codes), axis=2)
    np.testing.assert_allclose(quantiser.distances(X[:6], codes), far, atol=1e-4)
    with pytest.raises(ValueError, match="n_bits must be one of"):
        ProductQuantiser(4, n_bits=5).fit(X)


def test_too_few_embeddings_are_told(X, caplog):
    ProductQuantiser(4, n_bits=4).fit(np.tile(X, (2, 1)))  # 800 for 16
    assert not caplog.records
    ProductQuantiser(4, n_bits=4).fit(X)
    ProductQuantiser(4).fit(X)
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        "400 embeddings for 16 centroids",
        "400 embeddings for 256 centroids",
    ]


def test_more_bytes_come_nearer(X):
    errors = []
    for n_codes in (1, 2, 4, 12):
        quantiser = ProductQuantiser(n_codes).fit(X[:300])
        errors.append(np.square(quantiser.decode(quantiser.transform(X[300:])) - X[300:]).mean())
    assert (np.diff(errors) < -0.02).all() and errors[-1] < 0.01


def test_few_images_and_constant_dimensions(X):
    few = ProductQuantiser(4).fit(X[:5])
    np.testing.assert_allclose(few.decode(few.transform(X[:5])), X[:5], atol=1e-3)
    one = ProductQuantiser(4).fit(X[:1])
    np.testing.assert_allclose(
        one.decode(one.transform(X[1:4])), np.repeat(X[:1], 3, axis=0), atol=1e-2
    )
    flat = np.hstack([X[:, :6], np.ones((400, 6), np.float32)])
    quantiser = ProductQuantiser(4).fit(flat)
    np.testing.assert_allclose(quantiser.decode(quantiser.transform(flat))[:, 6:], 1, atol=1e-2)


def test_blocks_of_codes(X, monkeypatch):
    quantiser = ProductQuantiser(4).fit(X)
    codes = quantiser.transform(X)
    whole = quantiser.distances(X[:3], codes)
    monkeypatch.setattr("cbirkit.encoders.hashes._BLOCK", 33)
    np.testing.assert_array_equal(quantiser.distances(X[:3], codes), whole)
    assert quantiser.distances(X[:3], codes[:0]).shape == (3, 0)


def test_wrong_inputs_are_named(X):
    quantiser = ProductQuantiser(4).fit(X)
    with pytest.raises(ValueError, match="11 features.* 12"):
        quantiser.transform(X[:, :11])
    with pytest.raises(ValueError, match="NaN"):
        quantiser.distances(X * np.nan, quantiser.transform(X))
    with pytest.raises(TypeError, match="codes are uint8, got float32"):
        quantiser.distances(X, X[:, :4])
    with pytest.raises(ValueError, match=r"codes have the shape \(400, 3\); give \(n_codes, 4\)"):
        quantiser.decode(quantiser.transform(X)[:, :3])
    with pytest.raises(ValueError, match="n_codes=13 exceeds the 12 dimensions"):
        ProductQuantiser(13).fit(X)
    for n_codes in (0, 2.0, True):
        with pytest.raises(ValueError, match="n_codes must be a whole number >= 1"):
            ProductQuantiser(n_codes).fit(X)


def test_clone_save_and_retriever(X, tmp_path):
    quantiser = clone(ProductQuantiser(4, random_state=3)).fit(X)
    assert quantiser.get_params() == {"n_codes": 4, "n_bits": 8, "random_state": 3}
    np.testing.assert_array_equal(clone(quantiser).fit(X).transform(X), quantiser.transform(X))
    loaded = load_estimator(save_estimator(quantiser, tmp_path / "q"))
    np.testing.assert_array_equal(loaded.transform(X), quantiser.transform(X))
    np.testing.assert_array_equal(
        loaded.distances(X, loaded.transform(X)), quantiser.distances(X, quantiser.transform(X))
    )
    images = collection(20)
    retriever = Retriever(make_pipeline(Means(), ProductQuantiser(3)), progress=False).fit(images)
    assert retriever.embeddings.dtype == np.uint8 and retriever.embeddings.shape == (20, 3)
    retriever.save(tmp_path / "r")
    again = Retriever.load(tmp_path / "r", images, trusted=[Means])
    vectors = Means().transform(list(images))
    near = again.encoder_.steps[-1][1].distances(vectors, again.embeddings)
    assert (near.argmin(axis=1) == np.arange(20)).mean() > 0.9
