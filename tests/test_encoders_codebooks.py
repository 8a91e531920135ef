"""Bags of words, VLAD and Fisher vectors by explicit loops; codebooks; what has no key points; how well they retrieve."""

import math

import cv2
import numpy as np
import pandas as pd
import pytest

from cbirkit.encoders import SIFT, VLAD, BagOfWords, FisherVector, TinyImage
from cbirkit.encoders.codebooks import gather_descriptors, learn_codebook, nearest_words
from cbirkit.images import ImageCollection
from cbirkit.persistence import fingerprint, load_estimator, save_estimator


def checkers(seed, shape=(96, 128), square=16):
    rng = np.random.default_rng(seed)
    squares = rng.integers(0, 256, (shape[0] // square, shape[1] // square))
    return np.kron(squares, np.ones((square, square))).astype(np.uint8)


IMAGES = [checkers(seed) for seed in range(6)]
ENCODERS = [BagOfWords(10), VLAD(3), FisherVector(2, n_dims=4)]
EACH = pytest.mark.parametrize("encoder", ENCODERS, ids=repr)


def nearest_by_loop(descriptor, codebook):
    distances = [
        sum((float(a) - float(b)) ** 2 for a, b in zip(descriptor, word, strict=True))
        for word in codebook
    ]
    return distances.index(min(distances))


def unit(values):
    length = math.sqrt(sum(value * value for value in values))
    return [value / length if length else 0.0 for value in values]


@pytest.mark.parametrize("idf", [True, False])
@pytest.mark.parametrize("power", [1.0, 0.5])
def test_bag_of_words_is_the_loop(idf, power):
    encoder = BagOfWords(15, idf=idf, power=power).fit(IMAGES)
    words = [
        [nearest_by_loop(d, encoder.codebook_) for d in SIFT().describe(image)[1]]
        for image in IMAGES
    ]
    weights = [1.0] * 15
    if idf:
        weights = [
            1 + math.log(7 / (1 + sum(word in image for image in words))) for word in range(15)
        ]
        assert max(weights) > 1.2, "the data cannot show the weights"
    np.testing.assert_allclose(encoder.idf_, weights, rtol=1e-6)
    for image, result in zip(words, encoder.transform(IMAGES), strict=True):
        frequencies = [(image.count(word) / len(image)) ** power for word in range(15)]
        expected = unit(
            [frequency * weight for frequency, weight in zip(frequencies, weights, strict=True)]
        )
        np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize("intra", [True, False])
@pytest.mark.parametrize("power", [1.0, 0.5])
@pytest.mark.parametrize("root", [True, False])
def test_vlad_is_the_loop(intra, power, root):
    encoder = VLAD(5, SIFT(root=root), intra=intra, power=power).fit(IMAGES)
    for image, result in zip(IMAGES, encoder.transform(IMAGES), strict=True):
        blocks = [[0.0] * 128 for _ in range(5)]
        for descriptor in SIFT(root=root).describe(image)[1].tolist():
            word = nearest_by_loop(descriptor, encoder.codebook_)
            for i in range(128):
                blocks[word][i] += descriptor[i] - float(encoder.codebook_[word, i])
        blocks = [
            [math.copysign(abs(value) ** power, value) for value in block] for block in blocks
        ]
        if intra:
            blocks = [unit(block) for block in blocks]
        np.testing.assert_allclose(
            result, unit([value for block in blocks for value in block]), atol=2e-5
        )


def fisher_by_loop(descriptors, encoder):
    """Perronnin et al. 2010, equations 16 to 18, one Gaussian and one descriptor at a time."""
    mixture, parts = encoder.mixture_, ([], [], [])
    reduced = encoder.pca_.transform(descriptors).astype(np.float64)
    responsibilities = mixture.predict_proba(reduced)
    for k, (weight, mean, variance) in enumerate(
        zip(mixture.weights_, mixture.means_, mixture.covariances_, strict=True)
    ):
        sums = [0.0, np.zeros_like(mean), np.zeros_like(mean)]
        for x, share in zip(reduced, responsibilities[:, k], strict=True):
            z = (x - mean) / np.sqrt(variance)
            sums[0] += share - weight
            sums[1] += share * z
            # scikit-image's sign: the gradient is downhill
            sums[2] += share * (1 - z**2) / np.sqrt(2)
        for part, total in zip(parts, sums, strict=True):
            part.append(np.atleast_1d(total) / (len(reduced) * np.sqrt(weight)))
    vector = np.concatenate([np.concatenate(part) for part in parts])
    vector = np.sign(vector) * np.sqrt(np.abs(vector))
    return vector / np.linalg.norm(vector)


def test_fisher_vector_is_the_loop():
    encoder = FisherVector(3, n_dims=5).fit(IMAGES)
    found = encoder.transform(IMAGES)
    assert found.shape == (6, 3 * 11) and found.dtype == np.float32
    for row, (_, descriptors) in zip(found, SIFT().describe_all(IMAGES), strict=True):
        np.testing.assert_allclose(row, fisher_by_loop(descriptors, encoder), atol=2e-4)


@EACH
def test_image_without_key_points_is_a_zero_vector(encoder):
    embeddings = encoder.fit(IMAGES).transform(
        [np.zeros((50, 50, 3), np.uint8), IMAGES[0], np.ones((1, 1, 3), np.uint8)]
    )
    assert not embeddings[0].any() and not embeddings[2].any()
    assert np.linalg.norm(embeddings[1]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("make", [BagOfWords, VLAD])
def test_fit_is_repeatable_and_follows_random_state(make):
    first, second = (make(6, random_state=3).fit(IMAGES).codebook_ for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, make(6, random_state=4).fit(IMAGES).codebook_)
    threads = (
        make(6, SIFT(n_jobs=1), random_state=3).fit(ImageCollection.from_arrays(IMAGES)).codebook_
    )
    np.testing.assert_array_equal(first, threads)


@pytest.mark.parametrize("make", [BagOfWords, VLAD, FisherVector])
def test_fewer_descriptors_than_words(make):
    with pytest.raises(ValueError, match=r"n_words=5000 .* of 6 images; .*n_words <= \d+"):
        make(5000).fit(IMAGES)
    with pytest.raises(ValueError, match="got 0 of 3 images; .*contrast_threshold"):
        make(2).fit([np.zeros((30, 30), np.uint8)] * 3)
    with pytest.raises(ValueError, match="got 0 of 0 images"):
        make(2).fit([])


def test_fisher_vector_of_more_dimensions_than_descriptors_have():
    with pytest.raises(ValueError, match="n_components=129"):
        FisherVector(2, n_dims=129).fit(IMAGES)


@pytest.mark.parametrize("make", [BagOfWords, VLAD])
def test_as_many_words_as_descriptors(make):
    n_descriptors = sum(len(SIFT().describe(image)[1]) for image in IMAGES[:2])
    embeddings = make(n_descriptors).fit(IMAGES[:2]).transform(IMAGES)
    assert np.isfinite(embeddings).all()
    if (
        make is VLAD
    ):  # each descriptor is its own word: no residual, and rounding noise is not blown up
        assert not embeddings[:2].any() and embeddings[2:].any(axis=1).all()


def test_repeated_descriptors_make_a_codebook():
    same = np.repeat(np.eye(3, 128, dtype=np.float32), 10, axis=0)
    codebook = learn_codebook(same, 8, 0)
    assert codebook.shape == (8, 128) and np.isfinite(codebook).all()


def test_one_image_to_fit_on_gives_no_zero_weights():
    encoder = BagOfWords(5).fit(IMAGES[:1])
    np.testing.assert_allclose(encoder.idf_, np.ones(5))
    assert encoder.transform(IMAGES[:1]).any()


@EACH
def test_saved_and_loaded_without_pickle(encoder, tmp_path):
    encoder.fit(IMAGES)
    loaded = load_estimator(save_estimator(encoder, tmp_path / "encoder"))
    np.testing.assert_array_equal(loaded.transform(IMAGES), encoder.transform(IMAGES))
    assert fingerprint(loaded) == fingerprint(encoder)


def test_threads_are_no_part_of_the_fingerprint_and_parameters_are():
    prints = [fingerprint(VLAD(3, SIFT(n_jobs=n_jobs)).fit(IMAGES)) for n_jobs in (1, 2)]
    assert prints[0] == prints[1]
    assert fingerprint(VLAD(3, SIFT(n_jobs=1), power=0.5).fit(IMAGES)) != prints[0]


def test_words_of_the_codebook_are_the_means_of_their_descriptors():
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [10, 0], [0, 10]])
    points = np.repeat(centres, 50, axis=0) + rng.normal(0, 0.1, (150, 2))
    codebook = learn_codebook(points.astype(np.float32), 3, 1)
    found = codebook[np.argsort(codebook @ [1, 2])]
    expected = [points[50 * i : 50 * i + 50].mean(axis=0) for i in range(3)]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_gather_is_bounded_random_and_stops_early(monkeypatch):
    n_all = [len(SIFT().describe(image)[1]) for image in IMAGES]
    everything = gather_descriptors(IMAGES, SIFT(), 10**6, np.random.RandomState(0))
    assert sorted(map(len, everything)) == sorted(n_all)
    limit = max(n_all) + 5
    firsts = set()
    for seed in range(8):
        some = gather_descriptors(IMAGES, SIFT(), limit, np.random.RandomState(seed))
        assert sum(map(len, some)) == limit
        firsts.add(some[0].tobytes())
    assert len(firsts) > 2  # which image comes first is drawn
    in_order = gather_descriptors(iter(IMAGES), SIFT(), limit, np.random.RandomState(0))
    np.testing.assert_array_equal(in_order[0], SIFT().describe(IMAGES[0])[1])
    assert sum(map(len, in_order)) == limit


def test_a_fit_does_not_read_more_images_than_it_needs():
    read = []

    def image(row):
        read.append(row)
        return np.dstack([checkers(row)] * 3)

    table = pd.DataFrame(index=[f"{row:03d}" for row in range(300)])
    collection = ImageCollection.from_function(image, table, key="checkers", name="checkers")
    VLAD(4, SIFT(n_jobs=1), max_descriptors=200).fit(collection)
    assert 0 < len(read) < 30


def test_nearest_words_in_blocks(monkeypatch):
    rng = np.random.default_rng(1)
    descriptors, codebook = rng.normal(size=(50, 4)), rng.normal(size=(7, 4))
    expected = [nearest_by_loop(descriptor, codebook) for descriptor in descriptors]
    np.testing.assert_array_equal(nearest_words(descriptors, codebook), expected)
    monkeypatch.setattr("cbirkit.encoders.codebooks._BLOCK_BYTES", 60)  # two descriptors at a time
    np.testing.assert_array_equal(nearest_words(descriptors, codebook), expected)
    assert nearest_words(np.zeros((0, 4)), codebook).shape == (0,)
    with pytest.raises(ValueError, match="3 dimensions and the codebook 4"):
        nearest_words(np.zeros((2, 3)), codebook)


def test_wrong_detector():
    with pytest.raises(TypeError, match="pass SIFT()"):
        VLAD(4, TinyImage()).fit(IMAGES)


@pytest.mark.parametrize("encoder", [BagOfWords(150), VLAD(16), FisherVector(8, n_dims=32)])
def test_turned_views_are_found(encoder):
    """Views turned by a quarter: SIFT must find their object, raw pixels must not."""
    sharp = [checkers(100 + seed, (128, 128)) for seed in range(12)]
    objects = [cv2.GaussianBlur(image, (0, 0), 1.5) for image in sharp]
    turned = [np.rot90(image) for image in objects]

    def found(encoder):
        scores = encoder.transform(turned) @ encoder.transform(objects).T
        return (scores.argmax(axis=1) == np.arange(12)).mean()

    encoder.fit([checkers(seed, (128, 128)) for seed in range(40)])
    assert found(encoder) >= 0.9 and found(TinyImage()) <= 0.5


def test_real_photographs(realdata):
    """Ten objects in four real views, codebooks from street scenes; chance is 3 in 39."""
    detector = SIFT(300, max_side=320)
    photographs = ImageCollection.from_folder(
        realdata / "b_instance_ukbench_orig640", labels="labels.csv"
    )
    train = ImageCollection.from_folder(realdata / "d_masks_camvid100" / "images")
    trials = (
        (BagOfWords(300, detector, max_descriptors=10_000), 0.7),
        (VLAD(16, detector, max_descriptors=10_000), 0.9),
    )
    for encoder, least in trials:
        embeddings = encoder.fit(train).transform(photographs)
        similarity = embeddings @ embeddings.T
        np.fill_diagonal(similarity, -np.inf)
        groups = photographs.column("group")
        assert (groups[similarity.argmax(axis=1)] == groups).mean() >= least
