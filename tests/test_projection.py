"""Projections to the plane: the same for the same seed, fitted once, and measured as naive loops measure them."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.manifold import trustworthiness
from sklearn.metrics import pairwise_distances

from cbirkit.learning import projection

explore = pytest.importorskip(
    "cbirkit.explore", reason="the widgets need cbirkit[lab]", exc_type=ImportError
)


def blobs(n=60, n_dims=8, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, n_dims)) + 8 * np.eye(n_dims)[np.arange(n) % 3]).astype(np.float32)


def test_pca_keeps_the_distances_of_a_plane():
    flat = (
        np.random.default_rng(0).normal(size=(40, 2))
        @ np.linalg.qr(np.random.default_rng(1).normal(size=(9, 9)))[0][:2]
    )
    points = explore.project(flat, "pca")
    assert points.shape == (40, 2) and points.dtype == np.float32
    np.testing.assert_allclose(pairwise_distances(points), pairwise_distances(flat), atol=1e-4)


@pytest.mark.parametrize("method", ["tsne", "umap"])
def test_a_seed_gives_the_same_map_and_clusters_stay_together(method, monkeypatch):
    rows, maps = blobs(), []
    for _ in range(2):
        monkeypatch.setattr(
            projection, "_remembered", type(projection._remembered)()
        )  # fitted anew
        maps.append(explore.project(rows, method, random_state=3))
    np.testing.assert_array_equal(*maps)
    assert np.isfinite(maps[0]).all() and maps[0].dtype == np.float32
    near = projection.nearest(maps[0].astype(np.float64), np.arange(60), 1)[:, 0]
    assert (near % 3 == np.arange(60) % 3).mean() > 0.95


def test_a_map_is_fitted_once_and_again_when_anything_changes(monkeypatch):
    calls = []
    monkeypatch.setitem(
        projection._LAYOUTS, "umap", lambda rows, *how: calls.append(how) or rows[:, :2]
    )
    monkeypatch.setattr(projection, "_remembered", type(projection._remembered)())
    rows = blobs()
    first = explore.project(rows)
    first += 7  # the caller's own
    assert explore.project(rows.copy())[0, 0] == rows[0, 0] and len(calls) == 1
    explore.project(rows + 1), explore.project(rows, random_state=1), explore.project(rows[:50])
    assert len(calls) == 4


def test_overlap_and_trustworthiness_by_naive_loops():
    rng = np.random.default_rng(5)
    rows, points = rng.normal(size=(40, 6)), rng.normal(size=(40, 2))
    quality = explore.map_quality(points, rows, k=5)
    shares = []
    for i in range(40):
        by_row = [j for j in np.argsort(((rows - rows[i]) ** 2).sum(1), kind="stable") if j != i][
            :5
        ]
        on_map = [
            j for j in np.argsort(((points - points[i]) ** 2).sum(1), kind="stable") if j != i
        ][:5]
        shares.append(len(set(by_row) & set(on_map)) / 5)
    assert quality.overlap == pytest.approx(np.mean(shares)) and quality.chance == pytest.approx(
        5 / 39
    )
    assert quality.trustworthiness == pytest.approx(trustworthiness(rows, points, n_neighbors=5))
    assert "neighbour overlap" in str(quality) and "trustworthiness 0." in str(quality)
    faithful = explore.map_quality(points, np.hstack([points, np.zeros((40, 3))]), k=5)
    assert faithful.overlap == 1.0 == faithful.trustworthiness
    assert str(explore.map_quality(points[:3], rows[:3], k=2)).startswith("too few images")


def test_nearest_breaks_ties_by_position_and_leaves_itself_out():
    rows = np.array([[0.0], [1], [1], [-1], [5]])
    assert projection.nearest(rows, np.array([0, 4]), 3).tolist() == [[1, 2, 3], [1, 2, 0]]


@pytest.mark.parametrize(
    ("rows", "method", "says"),
    [
        (blobs(), "mds", "'mds'"),
        (blobs(9), "umap", "needs 10 images, got 9"),
        (np.full((12, 3), np.nan), "pca", "12 of 12 .* not finite"),
        (np.zeros(12), "pca", "n_dims"),
        ([["a"]], "pca", "numbers"),
    ],
)
def test_projections_name_what_is_wrong(rows, method, says):
    with pytest.raises(ValueError, match=says):
        explore.project(rows, method)
    with pytest.raises(ValueError, match="random_state"):
        explore.project(blobs(), "umap", random_state=None)


def test_umap_is_imported_only_when_it_is_fitted():
    code = "import sys; from cbirkit import explore; print('umap' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
