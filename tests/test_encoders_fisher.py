"""Fisher vectors by explicit loops; bad parameters; saving; and how they retrieve."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from cbirkit import Retriever, datasets, evaluate
from cbirkit.encoders import SIFT, FisherVector
from cbirkit.persistence import fingerprint, load_estimator, save_estimator

RNG = np.random.default_rng(0)
IMAGES = [
    np.kron(RNG.integers(0, 256, (8, 8)), np.ones((16, 16))).astype(np.uint8) for _ in range(6)
]


def naive(descriptors, encoder):
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
            sums[2] += (
                share * (1 - z**2) / np.sqrt(2)
            )  # scikit-image's sign: the gradient is downhill
        for part, total in zip(parts, sums, strict=True):
            part.append(np.atleast_1d(total) / (len(reduced) * np.sqrt(weight)))
    vector = np.concatenate([np.concatenate(part) for part in parts])
    vector = np.sign(vector) * np.sqrt(np.abs(vector))
    return vector / np.linalg.norm(vector)


def test_agrees_with_explicit_loops():
    encoder = FisherVector(3, n_dims=5).fit(IMAGES)
    found = encoder.transform(IMAGES)
    assert found.shape == (6, 3 * 11) and found.dtype == np.float32
    for row, (_, descriptors) in zip(found, SIFT().describe_all(IMAGES), strict=True):
        np.testing.assert_allclose(row, naive(descriptors, encoder), atol=2e-4)


def test_no_key_points_give_zeros_and_one_gives_a_vector():
    encoder = FisherVector(2, SIFT(max_keypoints=1), n_dims=4).fit(IMAGES)
    assert not encoder.transform([np.full((32, 32, 3), 90, np.uint8)]).any()
    np.testing.assert_allclose(np.linalg.norm(encoder.transform(IMAGES[:1])), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        (FisherVector(0), "n_words"),
        (FisherVector(2, n_dims=0), "n_dims"),
        (FisherVector(2, n_dims=129), "n_components=129"),
        (FisherVector(100_000, n_dims=4), "pass more images"),
    ],
)
def test_bad_parameters_get_a_sentence(encoder, words):
    with pytest.raises(ValueError, match=words):
        encoder.fit(IMAGES)


def test_estimator_manners(tmp_path):
    encoder = FisherVector(2, n_dims=4)
    with pytest.raises(NotFittedError):
        encoder.transform(IMAGES)
    encoder.fit(IMAGES)
    again = clone(encoder).fit(IMAGES)
    np.testing.assert_array_equal(encoder.transform(IMAGES), again.transform(IMAGES))
    save_estimator(encoder, tmp_path / "saved")
    loaded = load_estimator(tmp_path / "saved")
    np.testing.assert_array_equal(encoder.transform(IMAGES), loaded.transform(IMAGES))
    assert (
        fingerprint(encoder)
        == fingerprint(loaded)
        != fingerprint(clone(encoder).set_params(random_state=1).fit(IMAGES))
    )


def test_finds_most_medium_views():
    views = datasets.load_photo_views("medium", n_objects=20, n_views=4, n_distractors=20)
    queries, database = views.split()
    others = datasets.load_photo_views(
        "medium", n_objects=20, n_views=3, n_distractors=2, random_state=5
    )
    retriever = Retriever(FisherVector(16, n_dims=32), progress=False).fit(
        database, encoder_images=others
    )
    found = evaluate(
        retriever.search(queries, k=None),
        views.relevance(queries, database),
        metrics=["map"],
        n_bootstrap=0,
    )
    assert found["map"] > 0.8
