"""Hash encoders and product quantisation, against loops and against faiss."""

import numpy as np
import pytest
from retrieval_samples import Means, collection
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from cbirkit import Ranking, Relevance, Retriever, evaluate
from cbirkit.encoders import ITQ, PCAHash, ProductQuantiser, RandomProjectionHash, SpectralHash
from cbirkit.indexes import Hamming
from cbirkit.metrics import average_precision
from cbirkit.persistence import fingerprint, load_estimator, save_estimator
from cbirkit.store import split_pipeline

faiss = pytest.importorskip("faiss")

HASHES = [RandomProjectionHash(16), PCAHash(16), ITQ(16), SpectralHash(16)]


def named(hashes):
    return pytest.mark.parametrize("hashed", hashes, ids=lambda h: type(h).__name__)


@pytest.fixture
def X():
    """Correlated vectors (80, 24) of very different variances, far from 0."""
    random = np.random.default_rng(0)
    return (
        (random.normal(size=(80, 24)) * np.geomspace(5, 0.2, 24)) @ random.normal(size=(24, 24)) + 7
    ).astype(np.float32)


def differing(one, other):
    """Bits that differ, by a loop over single bits."""
    return sum(
        (int(a) >> bit) & 1 != (int(b) >> bit) & 1
        for a, b in zip(one, other, strict=True)
        for bit in range(8)
    )


@named(HASHES)
def test_codes_are_the_signs_bit_by_bit_in_the_order_of_unpackbits(hashed, X):
    hashed = clone(hashed).fit(X)
    numbers, codes = hashed.project(X), hashed.transform(X)
    assert numbers.shape == (80, 16) and numbers.dtype == np.float32
    assert codes.shape == (80, 2) and codes.dtype == np.uint8
    for row, code in zip(numbers, codes, strict=True):
        for bit, number in enumerate(row):
            assert (int(code[bit // 8]) >> (7 - bit % 8)) & 1 == (number > 0)
    np.testing.assert_array_equal(np.unpackbits(codes, axis=1), numbers > 0)


@named(HASHES)
def test_the_hamming_index_counts_the_bits_that_differ(hashed, X):
    codes = clone(hashed).fit(X).transform(X)
    distances, keys = Hamming().fit(codes[:60]).kneighbors(codes[60:], n_neighbors=60)
    for query, near, found in zip(codes[60:], distances, keys, strict=True):
        loop = [differing(query, code) for code in codes[:60]]
        assert [loop[key] for key in found] == near.tolist() == sorted(loop)


@named(HASHES)
def test_what_is_hashed_depends_on_its_own_row_and_on_the_fit_only(hashed, X):
    hashed = clone(hashed).fit(X[:60])
    np.testing.assert_allclose(hashed.project(X)[60:], hashed.project(X[60:]), atol=1e-4)
    one, other = hashed.transform(X), clone(hashed).fit(X[:60]).transform(X)
    np.testing.assert_array_equal(one, other)
    assert (one != clone(hashed).fit(X[20:]).transform(X)).any()


@named(HASHES)
def test_asymmetric_distances_are_those_of_a_loop(hashed, X):
    hashed = clone(hashed).fit(X)
    queries, codes = X[:5] * 1.1, hashed.transform(X)
    got = hashed.distances(queries, codes)
    assert got.shape == (5, 80) and got.dtype == np.float32
    numbers, bits = hashed.project(queries), np.unpackbits(codes, axis=1)
    for q in range(5):
        for d in range(80):
            pairs = zip(numbers[q], bits[d], strict=True)
            loop = sum(abs(float(z)) for z, b in pairs if (z > 0) != b)
            scale = float(np.abs(numbers[q]).sum())
            assert got[q, d] == pytest.approx(loop, rel=1e-3, abs=1e-3 * scale)
    own = hashed.distances(X, codes)
    assert (np.diag(own) <= 1e-4 * np.abs(hashed.project(X)).sum(axis=1)).all()


def test_asymmetric_distances_are_hamming_distances_where_all_numbers_are_one(X, monkeypatch):
    hashed = PCAHash(16).fit(X)
    codes = hashed.transform(X)
    monkeypatch.setattr(
        PCAHash, "_project", lambda self, X: np.unpackbits(codes, axis=1) * np.float32(2) - 1
    )
    loop = [[differing(a, b) for b in codes] for a in codes]
    np.testing.assert_allclose(hashed.distances(X, codes), loop, atol=1e-5)


def test_asymmetric_distances_in_blocks(X, monkeypatch):
    hashed = ITQ(16).fit(X)
    codes = hashed.transform(X)
    whole = hashed.distances(X, codes)
    monkeypatch.setattr("cbirkit.encoders.hashes._BLOCK", 7)
    np.testing.assert_allclose(hashed.distances(X, codes), whole, atol=1e-3)
    assert hashed.distances(X, codes[:0]).shape == (80, 0)


@pytest.mark.parametrize("n_bits", [16, 64])  # fewer and more bits than dimensions
def test_random_projections_are_those_of_faiss(X, n_bits):
    hashed = RandomProjectionHash(n_bits, random_state=3).fit(X)
    theirs = faiss.IndexLSH(24, n_bits, True, False)
    theirs.train(X)
    faiss.copy_array_to_vector(hashed.components_.ravel(), theirs.rrot.A)
    theirs.add(X - hashed.mean_)
    far, found = theirs.search(X[:9] - hashed.mean_, 80)
    codes = hashed.transform(X)
    for query in range(9):
        ours = [differing(codes[query], codes[key]) for key in found[query]]
        # a number next to 0 may be rounded to either side
        assert np.abs(np.array(ours) - far[query]).max() <= 1
        assert (ours == far[query]).mean() > 0.9


def test_random_bits_differ_as_often_as_the_angle_says():
    random = np.random.default_rng(0)
    X = random.normal(size=(12, 30))
    hashed = RandomProjectionHash(8192).fit(np.vstack([X, -X]))  # the mean is 0
    bits = np.unpackbits(hashed.transform(X), axis=1)
    share = (bits[:, None] != bits[None]).mean(axis=2)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    angle = np.arccos(np.clip(unit @ unit.T, -1, 1))
    np.testing.assert_allclose(share, angle / np.pi, atol=0.025)  # four standard errors


def test_centring_spreads_embeddings_that_lie_in_one_corner(X):
    codes = RandomProjectionHash(64).fit(np.abs(X) + 100).transform(np.abs(X) + 100)
    assert np.abs(np.unpackbits(codes, axis=1).mean(axis=0) - 0.5).mean() < 0.2


def test_pca_bits_are_the_signs_of_scikit_learns_components(X):
    from sklearn.decomposition import PCA

    theirs = PCA(16, svd_solver="full").fit(X).transform(X)
    ours = PCAHash(16).fit(X).project(X)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-2)
    # a direction may be turned round as a whole
    agree = (np.sign(ours) == np.sign(theirs)).mean(axis=0)
    assert np.maximum(agree, 1 - agree).min() > 0.97


def bit_error(numbers):
    """Mean squared difference of a bit (-1 or 1) and its number, in units of the mean square of the numbers."""
    numbers = numbers / np.sqrt(np.square(numbers, dtype=np.float64).mean())
    return np.square(np.where(numbers > 0, 1, -1) - numbers).mean()


def test_the_rotation_of_itq(X):
    hashed = ITQ(16, n_iter=40).fit(X)
    np.testing.assert_allclose(hashed.components_ @ hashed.components_.T, np.eye(16), atol=1e-5)
    principal = PCAHash(16).fit(X).components_
    np.testing.assert_allclose(
        hashed.components_ @ principal.T @ principal, hashed.components_, atol=1e-4
    )
    assert (np.diff(hashed.errors_) <= 1e-12).all()
    # of one step further than the last of errors_, and before the first
    after, before = (bit_error(h.project(X)) for h in (hashed, PCAHash(16).fit(X)))
    assert after <= hashed.errors_[-1] + 1e-6 < hashed.errors_[0] * 0.95 and after < before


def test_itq_by_a_loop_that_turns_until_nothing_changes(X):
    """Procrustes by Newton's iteration for the polar factor, in place of a singular value decomposition."""
    hashed = PCAHash(16).fit(X)
    V = hashed.project(X).astype(np.float64)
    rotation = np.linalg.qr(np.random.RandomState(5).normal(size=(16, 16)))[0]
    for _ in range(3):
        polar = V.T @ np.where(V @ rotation > 0, 1.0, -1.0)
        for _ in range(100):
            polar = (polar + np.linalg.inv(polar).T) / 2
        rotation = polar
    ours = ITQ(16, n_iter=3, random_state=5).fit(X).project(X)
    np.testing.assert_allclose(ours, V @ rotation, atol=1e-2)


def test_itq_comes_nearer_to_its_bits_than_that_of_faiss(X):
    V = PCAHash(16).fit(X).project(X)
    theirs = faiss.ITQMatrix(16)
    theirs.train(V)
    error = [bit_error(n) for n in (ITQ(16).fit(X).project(X), theirs.apply(V), V)]
    # measured: .28, .35, .44; the error of theirs goes up and down
    assert error[0] < 1.02 * error[1] and error[0] < 0.9 * error[2]


def test_waves_of_spectral_hashing_by_loops(X):
    hashed = SpectralHash(40).fit(X)  # more bits than dimensions
    V = (X - X.mean(axis=0)).astype(np.float64) @ PCAHash(24).fit(X).components_.T
    low, width = V.min(axis=0), V.max(axis=0) - V.min(axis=0)
    waves = sorted((m / width[j], j, m) for j in range(24) for m in range(1, 41))[:40]
    assert [(j, m) for _, j, m in waves] == list(
        zip(hashed.directions_.tolist(), hashed.modes_.tolist(), strict=True)
    )
    oracle = np.array(
        [
            [np.sin(np.pi / 2 + m * np.pi * (v[j] - low[j]) / width[j]) for _, j, m in waves]
            for v in V
        ]
    )
    np.testing.assert_allclose(hashed.project(X), oracle, atol=2e-3)


def test_few_images_for_the_bits(X):
    for hashed in (PCAHash(16), ITQ(16)):
        with pytest.raises(ValueError, match="n_bits=16 exceeds the 9 directions"):
            hashed.fit(X[:10])
    for hashed in (RandomProjectionHash(16), SpectralHash(16)):
        assert hashed.fit(X[:10]).transform(X).shape == (80, 2)
    assert SpectralHash(64).fit(X[:2]).transform(X[:2]).shape == (2, 8)
    # it is its own mean
    assert RandomProjectionHash(8).fit(X[:1]).transform(X[:1]).tolist() == [[0]]
    with pytest.raises(ValueError, match="minimum of 2"):
        PCAHash(8).fit(X[:1])


@named(HASHES)
def test_constant_dimensions_change_nothing(hashed, X):
    wider = np.hstack([X, np.full((80, 3), 2.0, np.float32)])
    codes = [clone(hashed).fit(some).transform(some) for some in (X, wider)]
    if isinstance(hashed, RandomProjectionHash):  # draws more directions
        assert np.isfinite(clone(hashed).fit(wider).project(wider)).all()
    else:
        assert (np.unpackbits(codes[0] ^ codes[1]).mean()) < 0.01
    if not isinstance(hashed, RandomProjectionHash):
        with pytest.raises(
            ValueError, match="all 5 embeddings are equal, there is nothing to hash"
        ):
            clone(hashed).fit(np.ones((5, 20)))


@named(HASHES)
def test_wrong_inputs_are_named(hashed, X):
    fitted = clone(hashed).fit(X)
    with pytest.raises(ValueError, match="23 features.* 24"):
        fitted.transform(X[:, :23])
    with pytest.raises(ValueError, match="2D array"):
        fitted.transform(X[0])
    with pytest.raises(ValueError, match="NaN"):
        fitted.transform(np.full((2, 24), np.nan))
    with pytest.raises(ValueError, match="NaN"):
        clone(hashed).fit(np.where(X > 30, np.nan, X) * np.nan)
    for codes in (np.zeros((3, 2), np.int64), np.zeros((3, 3), np.uint8), np.zeros(2, np.uint8)):
        with pytest.raises(ValueError, match="codes must be uint8"):
            fitted.distances(X, codes)
    for n_bits in (12, 0, -8, 16.0, True, "64"):
        with pytest.raises(ValueError, match="n_bits must be a"):
            clone(hashed).set_params(n_bits=n_bits).fit(X)


def test_itq_refuses_no_iterations(X):
    with pytest.raises(ValueError, match="n_iter must be a whole number >= 1"):
        ITQ(8, n_iter=0).fit(X)


@named(HASHES)
def test_a_retriever_fits_searches_saves_and_loads(hashed, tmp_path):
    hashed = clone(hashed).set_params(n_bits=8)  # the vectors of these images vary in 12 directions
    encoder = make_pipeline(Means(), clone(hashed))
    head, tail = split_pipeline(encoder)
    assert isinstance(head, Means) and type(tail.steps[-1][1]) is type(hashed)
    images = collection(40)
    retriever = Retriever(encoder, Hamming(), progress=False).fit(images)
    assert retriever.embeddings.dtype == np.uint8 and retriever.embeddings.shape == (40, 1)
    found = retriever.search(images, k=5)
    codes = (
        clone(hashed)
        .fit(Means().transform(list(images)))
        .transform(Means().transform(list(images)))
    )
    np.testing.assert_array_equal(retriever.embeddings, codes)
    for row, (near, keys) in enumerate(zip(found.distances, found.indices, strict=True)):
        loop = sorted(
            (differing(codes[row], code), key) for key, code in enumerate(codes) if key != row
        )[:5]
        assert loop == list(zip(near.tolist(), keys.tolist(), strict=True))
    retriever.save(tmp_path / "r")
    loaded = Retriever.load(tmp_path / "r", images, trusted=[Means])
    again = loaded.search(images, k=5)
    np.testing.assert_array_equal(again.indices, found.indices)
    assert loaded.search(images[0], k=1).distances.tolist() == [[0.0]]


@named(HASHES)
def test_saving_keeps_every_number(hashed, X, tmp_path):
    fitted = clone(hashed).fit(X)
    loaded = load_estimator(save_estimator(fitted, tmp_path / "h"))
    np.testing.assert_array_equal(loaded.project(X), fitted.project(X))
    assert fingerprint(loaded) == fingerprint(fitted) != fingerprint(clone(hashed).fit(X[1:]))


def test_tie_aware_scores_of_a_hamming_ranking_are_the_mean_over_shuffles():
    random = np.random.default_rng(0)
    labels = random.permutation(100) % 4
    X = random.normal(size=(4, 12))[labels] + random.normal(size=(100, 12))
    codes = RandomProjectionHash(8).fit(X).transform(X)  # 8 bits: nearly everything ties
    distances, keys = Hamming().fit(codes[20:]).kneighbors(codes[:20], n_neighbors=80)
    names = [str(n) for n in range(100)]
    ranking = Ranking(names[:20], names[20:], keys, distances)
    relevance = Relevance.from_labels(names[:20], names[20:], labels[:20], labels[20:])
    scores = evaluate(
        ranking, relevance, metrics=["expected_map", "worst_map", "best_map", "map"], n_bootstrap=0
    )
    right = labels[20:][keys] == labels[:20, None]
    drawn = []
    for _ in range(1000):
        order = np.lexsort((random.random(keys.shape), distances), axis=-1)
        drawn.append(average_precision(np.take_along_axis(right, order, axis=1)))
    drawn = np.array(drawn)  # (1000, 20)
    expected = scores.per_query["expected_map"].to_numpy()
    assert abs(drawn.mean() - scores["expected_map"]) < 1e-3
    assert np.abs(drawn.mean(axis=0) - expected).max() < 4 * drawn.std(axis=0).max() / np.sqrt(1000)
    worst, best = (scores.per_query[name].to_numpy() for name in ("worst_map", "best_map"))
    assert (worst - 1e-12 <= drawn.min(axis=0)).all() and (drawn.max(axis=0) <= best + 1e-12).all()
    assert scores["worst_map"] + 0.05 < scores["expected_map"] < scores["best_map"] - 0.05
    assert scores["worst_map"] <= scores["map"] <= scores["best_map"]


# ---------------------------------------------------------------------- product quantisation


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(400, 12)).astype(np.float32)


def piece(row, number, width):
    """One piece of a row filled up with zeros, by its numbers."""
    return [row[i] if i < len(row) else 0.0 for i in range(number * width, (number + 1) * width)]


@pytest.mark.parametrize(
    ("n_codes", "width"), [(4, 3), (5, 3), (12, 1), (1, 12)]
)  # 5 pieces of 3: filled up with zeros
def test_codes_and_distances_by_loops(rows, n_codes, width):
    quantiser = ProductQuantiser(n_codes).fit(rows)
    codes = quantiser.transform(rows)
    assert codes.shape == (400, n_codes) and codes.dtype == np.uint8
    assert quantiser.centroids_.shape == (n_codes, 256, width)
    for row, code in zip(rows[:40], codes, strict=False):
        for number in range(n_codes):
            gaps = np.square(quantiser.centroids_[number] - piece(row, number, width)).sum(axis=1)
            assert gaps[code[number]] <= gaps.min() + 1e-5
    decoded, got = quantiser.decode(codes), quantiser.distances(rows[:6] * 1.2, codes)
    assert decoded.shape == (400, 12) and got.shape == (6, 400) and got.dtype == np.float32
    for q in range(6):
        for d in range(0, 400, 7):
            parts = [quantiser.centroids_[n][codes[d, n]] for n in range(n_codes)]
            np.testing.assert_array_equal(np.concatenate(parts)[:12], decoded[d])
            asked = np.concatenate([piece(rows[q] * 1.2, n, width) for n in range(n_codes)])
            assert got[q, d] == pytest.approx(
                np.linalg.norm(asked - np.concatenate(parts)), abs=1e-4
            )


def test_it_is_the_quantiser_of_faiss(rows):
    ours = ProductQuantiser(4, random_state=7).fit(rows)
    index = faiss.IndexPQ(12, 4, 8)
    index.pq.cp.seed = int(np.random.RandomState(7).randint(2**31 - 1))
    index.pq.cp.min_points_per_centroid = 1
    index.train(rows)
    np.testing.assert_allclose(
        faiss.vector_to_array(index.pq.centroids), ours.centroids_.ravel(), atol=1e-5
    )
    index.add(rows)
    squared, found = index.search(rows[:9], 400)
    mine = ours.distances(rows[:9], ours.transform(rows))
    np.testing.assert_allclose(np.take_along_axis(mine, found, axis=1) ** 2, squared, atol=1e-4)


@pytest.mark.parametrize("n_codes", [1, 3, 4])
def test_four_bits_pack_two_pieces_into_a_byte(rows, n_codes):
    quantiser = ProductQuantiser(n_codes, n_bits=4).fit(rows)
    codes = quantiser.transform(rows)
    assert codes.shape == (400, (n_codes + 1) // 2) and quantiser.centroids_.shape[1] == 16
    width = quantiser.centroids_.shape[2]
    for row, code, decoded in list(zip(rows, codes, quantiser.decode(codes), strict=True))[:40]:
        for number in range(n_codes):
            gaps = np.square(quantiser.centroids_[number] - piece(row, number, width)).sum(axis=1)
            chosen = code[number // 2] >> 4 if number % 2 else code[number // 2] & 15
            assert gaps[chosen] <= gaps.min() + 1e-5
            np.testing.assert_array_equal(
                decoded[number * width : (number + 1) * width],
                quantiser.centroids_[number, chosen][: 12 - number * width],
            )
    far = np.linalg.norm(rows[:6, None] - quantiser.decode(codes), axis=2)
    np.testing.assert_allclose(quantiser.distances(rows[:6], codes), far, atol=1e-4)
    with pytest.raises(ValueError, match="n_bits must be one of"):
        ProductQuantiser(4, n_bits=5).fit(rows)


def test_too_few_embeddings_are_told(rows, caplog):
    ProductQuantiser(4, n_bits=4).fit(np.tile(rows, (2, 1)))  # 800 for 16
    assert not caplog.records
    ProductQuantiser(4, n_bits=4).fit(rows)
    ProductQuantiser(4).fit(rows)
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        "400 embeddings for 16 centroids",
        "400 embeddings for 256 centroids",
    ]


def test_more_bytes_come_nearer(rows):
    errors = []
    for n_codes in (1, 2, 4, 12):
        quantiser = ProductQuantiser(n_codes).fit(rows[:300])
        errors.append(
            np.square(quantiser.decode(quantiser.transform(rows[300:])) - rows[300:]).mean()
        )
    assert (np.diff(errors) < -0.02).all() and errors[-1] < 0.01


def test_quantised_few_images_and_constant_dimensions(rows):
    few = ProductQuantiser(4).fit(rows[:5])
    np.testing.assert_allclose(few.decode(few.transform(rows[:5])), rows[:5], atol=1e-3)
    one = ProductQuantiser(4).fit(rows[:1])
    np.testing.assert_allclose(
        one.decode(one.transform(rows[1:4])), np.repeat(rows[:1], 3, axis=0), atol=1e-2
    )
    flat = np.hstack([rows[:, :6], np.ones((400, 6), np.float32)])
    quantiser = ProductQuantiser(4).fit(flat)
    np.testing.assert_allclose(quantiser.decode(quantiser.transform(flat))[:, 6:], 1, atol=1e-2)


def test_quantised_distances_in_blocks(rows, monkeypatch):
    quantiser = ProductQuantiser(4).fit(rows)
    codes = quantiser.transform(rows)
    whole = quantiser.distances(rows[:3], codes)
    monkeypatch.setattr("cbirkit.encoders.hashes._BLOCK", 33)
    np.testing.assert_array_equal(quantiser.distances(rows[:3], codes), whole)
    assert quantiser.distances(rows[:3], codes[:0]).shape == (3, 0)


def test_wrong_inputs_of_a_quantiser_are_named(rows):
    quantiser = ProductQuantiser(4).fit(rows)
    with pytest.raises(ValueError, match="11 features.* 12"):
        quantiser.transform(rows[:, :11])
    with pytest.raises(ValueError, match="NaN"):
        quantiser.distances(rows * np.nan, quantiser.transform(rows))
    for codes in (rows[:, :4], quantiser.transform(rows)[:, :3]):
        with pytest.raises(ValueError, match="codes must be uint8"):
            quantiser.decode(codes)
    for n_codes in (0, 2.0, True, 13):
        with pytest.raises(ValueError, match="n_codes must be a whole number >= 1 and <= 12"):
            ProductQuantiser(n_codes).fit(rows)


def test_a_quantiser_is_cloned_saved_and_used(rows, tmp_path):
    quantiser = clone(ProductQuantiser(4, random_state=3)).fit(rows)
    assert quantiser.get_params() == {"n_codes": 4, "n_bits": 8, "random_state": 3}
    np.testing.assert_array_equal(
        clone(quantiser).fit(rows).transform(rows), quantiser.transform(rows)
    )
    loaded = load_estimator(save_estimator(quantiser, tmp_path / "q"))
    np.testing.assert_array_equal(loaded.transform(rows), quantiser.transform(rows))
    np.testing.assert_array_equal(
        loaded.distances(rows, loaded.transform(rows)),
        quantiser.distances(rows, quantiser.transform(rows)),
    )
    images = collection(20)
    retriever = Retriever(make_pipeline(Means(), ProductQuantiser(3)), progress=False).fit(images)
    assert retriever.embeddings.dtype == np.uint8 and retriever.embeddings.shape == (20, 3)
    retriever.save(tmp_path / "r")
    again = Retriever.load(tmp_path / "r", images, trusted=[Means])
    vectors = Means().transform(list(images))
    near = again.encoder_.steps[-1][1].distances(vectors, again.embeddings)
    assert (near.argmin(axis=1) == np.arange(20)).mean() > 0.9
