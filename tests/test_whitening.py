"""Whitening of embeddings, against scikit-learn and against loops over pairs."""

import itertools

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA

from cbirkit.encoders import LearnedWhitening, PCAWhitening


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def spread():
    """Correlated vectors (60, 6) of different variances."""
    random = np.random.default_rng(0)
    return (random.normal(size=(60, 6)) * [5, 3, 2, 1, 0.5, 0.2]) @ random.normal(
        size=(6, 6)
    ) + random.normal(size=6)


@pytest.fixture
def views():
    """30 things seen 4 times (120, 5): how a view varies is much the same for all things."""
    random = np.random.default_rng(1)
    things = random.normal(size=(30, 5))
    noise = random.normal(size=(120, 5)) * [8, 0.3, 0.3, 0.3, 0.3]
    turn = np.linalg.qr(random.normal(size=(5, 5)))[0]
    return (np.repeat(things, 4, axis=0) + noise) @ turn, np.repeat(np.arange(30), 4)


@pytest.mark.parametrize("n_images", [60, 5])  # more and fewer images than dimensions
def test_pca_whitening_is_that_of_scikit_learn(spread, n_images):
    X, n_dims = spread[:n_images], 4
    theirs = PCA(n_dims, whiten=True, svd_solver="full").fit(X).transform(X)
    ours = PCAWhitening(n_dims).fit(X).transform(X)
    assert ours.dtype == np.float32 and ours.shape == (n_images, n_dims)
    np.testing.assert_allclose(np.abs(ours), np.abs(unit(theirs)), atol=1e-4)
    np.testing.assert_allclose(ours @ ours.T, unit(theirs) @ unit(theirs).T, atol=1e-4)


def test_whitened_dimensions_have_variance_one_before_they_are_normalised(spread):
    for power, expected in ((1.0, lambda v: np.ones_like(v)), (0.0, lambda v: v), (0.5, np.sqrt)):
        whitening = PCAWhitening(power=power).fit(spread)
        projected = (spread - whitening.mean_) @ whitening.components_.T
        covariance = np.cov(projected.T, bias=True)
        np.testing.assert_allclose(
            covariance, np.diag(expected(whitening.variances_)), atol=1e-3 * covariance.max()
        )
    assert (np.diff(whitening.variances_) < 0).all()


def test_without_whitening_distances_in_all_dimensions_stay(spread):
    rotated = PCAWhitening(power=0.0).fit(spread).transform(spread)
    centred = unit(spread - spread.mean(axis=0))
    np.testing.assert_allclose(rotated @ rotated.T, centred @ centred.T, atol=1e-4)


def test_it_uses_the_mean_of_the_fit(spread):
    whitening = PCAWhitening(3).fit(spread[:40])
    np.testing.assert_allclose(
        whitening.transform(spread)[40:], whitening.transform(spread[40:]), atol=1e-6
    )
    np.testing.assert_array_equal(whitening.transform(whitening.mean_[None]), np.zeros((1, 3)))


def test_directions_that_do_not_vary_are_left_out(spread):
    flat = np.hstack([spread, spread[:, :2] * 2, np.ones((60, 1))]).astype(np.float32)
    whitening = PCAWhitening().fit(flat)
    assert whitening.components_.shape == (6, 9) and np.abs(whitening.components_).max() < 1e3
    with pytest.raises(ValueError, match="n_dims .of 6 directions.* <= 6, got 7"):
        PCAWhitening(7).fit(flat)
    with pytest.raises(ValueError, match="n_dims .of 4 directions"):
        PCAWhitening(5).fit(spread[:5])
    with pytest.raises(ValueError, match="all 4 embeddings are equal"):
        PCAWhitening().fit(np.ones((4, 3)))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"power": 2}, "power must be"),
        ({"power": True}, "power must be"),
        ({"n_dims": 0}, "n_dims.* must be a whole number >= 1"),
    ],
)
def test_bad_parameters_are_refused(spread, parameters, message):
    with pytest.raises(ValueError, match=message):
        PCAWhitening(**parameters).fit(spread)


def test_other_dimensions_and_unfinished_numbers_are_refused(spread):
    whitening = PCAWhitening(2).fit(spread)
    with pytest.raises(ValueError, match="5 features.* 6"):
        whitening.transform(spread[:, :5])
    with pytest.raises(ValueError, match="NaN"):
        PCAWhitening(2).fit(np.where(spread > 4, np.nan, spread))
    with pytest.raises(ValueError, match="minimum of 2"):
        PCAWhitening().fit(spread[:1])


def by_pairs(X, y, n_dims):
    """Mikolajczyk and Matas by loops: sums over all pairs, a square root by eigenvalues."""
    same, other = np.zeros((X.shape[1],) * 2), np.zeros((X.shape[1],) * 2)
    for i, j in itertools.combinations(range(len(X)), 2):
        difference = X[i] - X[j]
        (same if y[i] == y[j] else other)[:] += np.outer(difference, difference)
    values, vectors = np.linalg.eigh(same)
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    values, vectors = np.linalg.eigh(root @ other @ root)
    return vectors[:, np.argsort(-values)[:n_dims]].T @ root


@pytest.mark.parametrize("n_dims", [5, 2])
def test_learned_whitening_is_that_of_the_pairs(views, n_dims):
    X, y = views
    projection = by_pairs(X, y, n_dims)
    oracle = unit((X - X.mean(axis=0)) @ projection.T)
    ours = LearnedWhitening(n_dims, shrinkage=0).fit(X, y).transform(X)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours @ ours.T, oracle @ oracle.T, atol=1e-3)


def test_learned_whitening_finds_views_of_the_same_thing(views):
    X, y = views
    train, test = y < 15, y >= 15

    def hits(vectors, labels):
        cosines = vectors @ vectors.T
        np.fill_diagonal(cosines, -1)
        return (labels[cosines.argmax(axis=1)] == labels).mean()

    plain = hits(unit(X[test] - X[train].mean(axis=0)), y[test])
    learned = hits(LearnedWhitening().fit(X[train], y[train]).transform(X[test]), y[test])
    assert learned > plain + 0.2


def test_shrinkage(views):
    X, y = views
    few = np.hstack([X, np.random.default_rng(2).normal(size=(120, 200))])
    automatic = LearnedWhitening().fit(few, y)
    assert 0 < automatic.shrinkage_ < 1 and np.isfinite(automatic.transform(few)).all()
    with pytest.raises(
        ValueError, match='shrinkage=0 leaves nothing to divide by; use shrinkage="auto"'
    ):
        LearnedWhitening(shrinkage=0).fit(few, y)
    full = (
        LearnedWhitening(5, shrinkage=1.0).fit(X, y).transform(X)
    )  # then only the axes of all variation remain
    rotated = PCAWhitening(5, power=0.0).fit(X).transform(X)
    np.testing.assert_allclose(full @ full.T, rotated @ rotated.T, atol=1e-3)
    with pytest.raises(ValueError, match="shrinkage.* must be"):
        LearnedWhitening(shrinkage=2).fit(X, y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "y must name the instance"),
        (np.arange(119), r"of 120 images, got the shape \(119,\)"),
        (np.arange(120), "y names 120 instances of 120 images"),
        (np.zeros(120), "y names 1 instances"),
        (np.array([None] + ["a"] * 119, dtype=object), "with 1 missing"),
    ],
)
def test_instances_are_checked(views, y, message):
    with pytest.raises(ValueError, match=message):
        LearnedWhitening().fit(views[0], y)


def test_names_of_instances_do_not_matter(views):
    X, y = views
    names = np.array([f"thing {29 - i}" for i in y], dtype=object)
    a, b = (
        LearnedWhitening(3).fit(X, y).transform(X),
        LearnedWhitening(3).fit(X, names).transform(X),
    )
    np.testing.assert_allclose(a @ a.T, b @ b.T, atol=1e-4)
    assert clone(LearnedWhitening(3, shrinkage=0.1)).get_params() == {"n_dims": 3, "shrinkage": 0.1}


def test_a_large_common_offset_costs_no_digits():
    X = np.random.default_rng(0).normal(size=(60, 5))
    expected = PCAWhitening(3).fit(X).transform(X)
    np.testing.assert_allclose(PCAWhitening(3).fit(X + 1e7).transform(X + 1e7), expected, atol=1e-4)
    with pytest.raises(ValueError, match="are equal"):
        PCAWhitening().fit(np.full((20, 4), 0.1))
