"""Matching, verification, re-ranking and query expansion: oracles, hand-worked cases, bad input."""

import numpy as np
import pytest

from cbirkit import ImageCollection, Ranking, rerank
from cbirkit.datasets import load_photo_views, reference_views
from cbirkit.encoders import SIFT
from cbirkit.rerank.verification import _implausible, transfer_errors

RNG = np.random.default_rng(0)
TURN = np.array([[0.8, -0.6, 20.0], [0.6, 0.8, -5.0], [1e-3, 5e-4, 1.0]])


def pair(n=40, n_wrong=0, homography=TURN, seed=0):
    """Two images' features under a known homography, the first `n_wrong` matches wrong."""
    rng = np.random.default_rng(seed)
    points, descriptors = rng.uniform(0, 120, (n, 2)), rng.normal(size=(n, 16))
    moved = np.c_[points, np.ones(n)] @ homography.T
    target = moved[:, :2] / moved[:, 2:]
    target[:n_wrong] += rng.uniform(30, 60, (n_wrong, 2))
    return (points, descriptors), (target, descriptors)


@pytest.mark.parametrize("ratio", [None, 0.7, 0.9])
@pytest.mark.parametrize("mutual", [True, False])
def test_matches_agree_with_a_naive_loop(ratio, mutual):
    a, b = RNG.normal(size=(17, 4)), RNG.normal(size=(23, 4))
    expected = []
    for i, x in enumerate(a):
        distances = [np.sqrt(((x - y) ** 2).sum()) for y in b]
        j = int(np.argmin(distances))
        first, second = sorted(distances)[:2]
        if ratio is not None and not first < ratio * second:
            continue
        if mutual and np.argmin([((z - b[j]) ** 2).sum() for z in a]) != i:
            continue
        expected.append([i, j])
    assert rerank.match_descriptors(a, b, ratio=ratio, mutual=mutual).tolist() == expected


def test_matching_without_or_with_one_descriptor():
    none, one, many = np.zeros((0, 128)), np.ones((1, 128)), RNG.normal(size=(5, 128))
    assert (
        rerank.match_descriptors(none, many).shape
        == rerank.match_descriptors(many, none).shape
        == (0, 2)
    )
    assert rerank.match_descriptors(many, one).shape == (1, 2)  # no second nearest: only mutual


@pytest.mark.parametrize(
    ("a", "b", "ratio", "words"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), 0.8, "one detector"),
        (np.ones((2, 3)), np.ones((2, 3)), 1.5, "ratio"),
        (np.ones((2, 3)), np.full((2, 3), np.nan), 0.8, "finite"),
        (np.ones(3), np.ones((2, 3)), 0.8, "one row a key point"),
    ],
)
def test_bad_descriptors_are_refused(a, b, ratio, words):
    with pytest.raises(ValueError, match=words):
        rerank.match_descriptors(a, b, ratio=ratio)


def test_ransac_finds_the_homography_among_wrong_matches():
    found = rerank.verify(*pair(60, n_wrong=30), threshold=2)
    assert np.allclose(found.homography, TURN, atol=1e-2)
    assert found.n_inliers == 30 and not found.inliers[:30].any() and found.reason == ""


def test_verification_is_the_same_every_time():
    runs = [rerank.verify(*pair(30, n_wrong=18, seed=3)) for _ in range(5)]
    assert all(np.array_equal(run.homography, runs[0].homography) for run in runs)
    assert all(np.array_equal(run.inliers, runs[0].inliers) for run in runs)


def test_every_inlier_lands_within_the_threshold():
    a, b = pair(50, n_wrong=20, seed=5)
    noisy = b[0] + np.random.default_rng(1).normal(0, 1, b[0].shape)
    found = rerank.verify(a, (noisy, b[1]), threshold=3)
    errors = transfer_errors(
        found.homography, a[0][found.matches[:, 0]], noisy[found.matches[:, 1]]
    )
    assert (errors[found.inliers] <= 3).all() and found.n_inliers >= 25


@pytest.mark.parametrize("n", [0, 1, 3])
def test_too_few_key_points_give_a_reason(n):
    a, b = pair(20)
    found = rerank.verify((a[0][:n], a[1][:n]), b)
    assert found.homography is None and found.n_inliers == 0
    assert ("no key points" if n == 0 else f"{n} matches") in found.reason


def test_matches_on_one_line_give_a_reason():
    (points, descriptors), _ = pair(20)
    line = np.c_[points[:, 0], 2 * points[:, 0] + 3]
    found = rerank.verify((line, descriptors), (line + 7, descriptors))
    assert found.homography is None and "one line" in found.reason


def test_mirror_images_are_not_a_view():
    (points, descriptors), _ = pair(30)
    found = rerank.verify((points, descriptors), (points * [-1, 1] + [120, 0], descriptors))
    assert found.homography is None and not found.inliers.any() and found.reason


@pytest.mark.parametrize(
    ("homography", "words"),
    [
        (np.diag([-1.0, 1, 1]), "mirror"),
        (np.diag([40.0, 40, 1]), "scales"),
        (np.array([[1.0, 0, 0], [0, 1, 0], [-0.02, 0, 1]]), "folds"),
        (np.eye(3), ""),
    ],
)
def test_implausible_fits_are_told_apart(homography, words):
    points = RNG.uniform(0, 120, (20, 2))
    assert words in _implausible(homography, points, points)
    assert bool(_implausible(homography, points, points)) == bool(words)


def test_bad_features_are_refused():
    a, b = pair(10)
    with pytest.raises(TypeError, match="describe"):
        rerank.verify(a[0], b)
    with pytest.raises(ValueError, match="one for each"):
        rerank.verify((a[0][:5], a[1]), b)
    with pytest.raises(ValueError, match="threshold"):
        rerank.verify(a, b, threshold=0)


def test_a_hard_view_is_recovered_within_pixels():
    views = load_photo_views("hard", n_objects=12, n_views=3, n_distractors=0, random_state=0)
    references = rerank.describe_images(reference_views(views))
    features = rerank.describe_images(views)
    errors = []
    for name, region, true in zip(
        views.ids, views.column("region"), views.column("homography"), strict=True
    ):
        found = rerank.verify(references[region], features[name])
        if found.n_inliers >= 12:
            corners = (
                np.array([[0, 0, 1], [128, 0, 1], [128, 128, 1], [0, 128, 1.0]])
                @ np.linalg.inv(true).T
            )
            target = np.array([[0, 0], [128, 0], [128, 128], [0, 128.0]])
            errors.append(
                transfer_errors(found.homography, corners[:, :2] / corners[:, 2:], target).mean()
            )
    assert len(errors) >= 12 and np.median(errors) < 2.5


def test_a_photograph_of_fifty_megapixels_is_described_small():
    small = RNG.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    image = np.repeat(np.repeat(small, 102, axis=0), 102, axis=1)  # 6120 x 8160
    assert image[..., 0].size > 49e6
    keypoints, descriptors = SIFT(max_keypoints=200).describe(image)
    assert len(keypoints) == len(descriptors) == 200 and keypoints[:, 0].max() > 640
    assert rerank.verify((keypoints, descriptors), (keypoints, descriptors)).n_inliers > 150


def scene():
    good, same = pair(30, seed=1)
    other = pair(30, seed=9)[0]
    nothing = np.zeros((0, 4)), np.zeros((0, 16))
    return {"q": good, "same": same, "other": other, "empty": nothing}


def test_verified_results_come_first_and_the_rest_stay():
    ranking = Ranking(
        ["q"], ["other", "empty", "same", "far"], [[0, 1, 2, 3]], [[0.1, 0.2, 0.3, 0.9]]
    )
    found = rerank.verify_ranking(ranking, scene(), n=3)
    assert found.ranking.ids.tolist() == [["same", "other", "empty", "far"]]
    assert found.inliers.tolist() == [[30, 0, 0]]
    assert np.allclose(found.ranking.distances, [[2 / 3 - 30, 0, 1 / 3, 1.6]])
    assert found.accepted(8).tolist() == [[True, False, False, False]]
    assert set(found.verifications) == {("q", "other"), ("q", "empty"), ("q", "same")}


def test_padding_stays_at_the_end_and_threads_change_nothing():
    ranking = Ranking(["q"], ["other", "same"], [[0, 1, -1]], [[0.1, 0.2, np.inf]])
    one, two = (rerank.verify_ranking(ranking, scene(), n_jobs=jobs) for jobs in (1, 2))
    assert one.ranking.indices.tolist() == two.ranking.indices.tolist() == [[1, 0, -1]]


def test_missing_features_are_named():
    ranking = Ranking(["q"], ["unknown"], [[0]], [[0.1]])
    with pytest.raises(ValueError, match="'unknown'"):
        rerank.verify_ranking(ranking, scene())
    with pytest.raises(ValueError, match="n == 0"):
        rerank.verify_ranking(ranking, scene(), n=0)


def test_describe_images_keeps_images_without_key_points():
    images = ImageCollection.from_arrays([np.zeros((40, 40, 3), np.uint8)], ids=["flat"])
    assert rerank.describe_images(images)["flat"][0].shape == (0, 4)
    with pytest.raises(TypeError, match="ImageCollection"):
        rerank.describe_images([np.zeros((4, 4, 3), np.uint8)])


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_expansion_agrees_with_a_naive_loop(alpha):
    queries, database = unit(RNG.normal(size=(4, 6))), unit(RNG.normal(size=(9, 6)))
    ranking = Ranking.from_distances(1 - queries @ database.T)
    accepted = RNG.random(ranking.indices.shape) < 0.6
    for mask in (None, accepted):
        expected = []
        for row, q in enumerate(queries):
            total, used = q.copy(), 0
            for rank, i in enumerate(ranking.indices[row]):
                if used < 3 and (mask is None or mask[row, rank]):
                    total += max(0, q @ database[i]) ** alpha * database[i]
                    used += 1
            expected.append(unit(total))
        found = rerank.expand_queries(queries, database, ranking, n=3, alpha=alpha, accepted=mask)
        assert np.allclose(found, expected, atol=1e-5)


def test_a_query_without_accepted_results_stays():
    queries, database = unit(RNG.normal(size=(2, 5))), unit(RNG.normal(size=(7, 5)))
    ranking = Ranking.from_distances(1 - queries @ database.T)
    again = rerank.query_expansion(
        queries, database, ranking, accepted=np.zeros(ranking.indices.shape, bool)
    )
    assert np.array_equal(again.indices, ranking.indices)


def test_a_query_that_was_left_out_stays_out():
    vectors = unit(RNG.normal(size=(8, 5)))
    ranking = Ranking.from_distances(
        1 - vectors @ vectors.T, database_ids=list("abcdefgh"), exclude_self=True
    )
    again = rerank.query_expansion(vectors, vectors, ranking, n=2)
    assert again.k == 7 and not any(
        q in row for q, row in zip(again.query_ids, again.ids, strict=True)
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n": 0}, "n == 0"),
        ({"alpha": -1}, "alpha"),
        ({"accepted": np.ones((1, 1), bool)}, "one flag a result"),
        ({"database": np.ones((3, 5))}, "encode both alike"),
        ({"queries": np.full((2, 4), np.nan)}, "NaN"),
    ],
)
def test_bad_expansion_is_refused(change, words):
    arguments = {"queries": np.eye(2, 4), "database": np.ones((3, 4))} | change
    ranking = Ranking(["a", "b"], ["x", "y", "z"], [[0, 1], [1, 2]], [[0.1, 0.2]] * 2)
    queries, database = arguments.pop("queries"), arguments.pop("database")
    with pytest.raises(ValueError, match=words):
        rerank.expand_queries(queries, database, ranking, **arguments)


def diffused(database, queries, *, k, alpha, gamma, n_start):
    """Scores by loops and a dense solve."""
    n, x, q = len(database), unit(database), unit(queries)
    cosines = x @ x.T
    near = [
        sorted((i for i in range(n) if i != j), key=lambda i: -cosines[j, i])[:k] for j in range(n)
    ]
    A = np.zeros((n, n))
    for i in range(n):
        for j in near[i]:
            if i in near[j]:
                A[i, j] = max(0, cosines[i, j]) ** gamma
    degrees = A.sum(axis=1)
    S = np.array(
        [
            [A[i, j] / np.sqrt(degrees[i] * degrees[j]) if A[i, j] else 0 for j in range(n)]
            for i in range(n)
        ]
    )
    y = np.zeros((len(q), n))
    for row, one in enumerate(q @ x.T):
        for i in np.argsort(-one)[:n_start]:
            y[row, i] = max(0, one[i]) ** gamma
    return np.linalg.solve(np.eye(n) - alpha * S, y.T).T


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("k", [1, 3, 30])
def test_diffusion_agrees_with_a_dense_solve_on_and_offline(alpha, k):
    database, queries = RNG.normal(size=(25, 6)) + 0.5, RNG.normal(size=(4, 6))
    settings = {"alpha": alpha, "gamma": 2.0, "n_start": 5}
    expected = diffused(database, queries, k=k, **settings)
    walk = rerank.Diffusion(k, **settings).fit(database)
    assert np.allclose(walk.scores(queries), expected, atol=1e-5)
    assert np.allclose(walk.precompute().scores(queries), expected, atol=1e-5)
    assert not hasattr(walk.fit(database[:9]), "inverse_")
    assert (abs(walk.affinity_ - walk.affinity_.T)).max() < 1e-12
    assert walk.affinity_.diagonal().sum() == 0


def test_diffusion_ranks_what_is_reached_first_and_the_rest_by_cosine():
    angles = np.deg2rad([0, 10, 20, 30, -25, -24, 90])
    database = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ranking = Ranking.from_distances(1 - database[:1] @ database.T, ["q"], list("abcdefg"))
    assert "".join(ranking.ids[0]) == "abcfedg"
    walk = rerank.Diffusion(2, alpha=0.9, n_start=1).fit(database)
    again = walk.rerank([[1, 0]], ranking)
    assert "".join(again.ids[0]) == "abcdfeg"
    assert again.k == 7 and again.protocol == "diffusion, k=2, alpha=0.9"
    assert walk.rerank([[1, 0]], ranking.top(3)).ids.tolist() == [["a", "b", "c"]]


def test_diffusion_leaves_a_query_out_that_was_left_out_and_does_not_start_there():
    vectors = unit(RNG.normal(size=(8, 5)))
    ranking = Ranking.from_distances(
        1 - vectors @ vectors.T, database_ids=list("abcdefgh"), exclude_self=True
    )
    walk = rerank.Diffusion(3, n_start=2).fit(vectors)
    again = walk.rerank(vectors, ranking)
    assert again.k == 7 and (again.indices >= 0).all()
    assert not (again.indices == np.arange(8)[:, None]).any()
    others = walk.scores(vectors, own=np.arange(8))
    assert not np.allclose(others, walk.scores(vectors))


def test_diffusion_meets_zeros_copies_and_one_neighbour():
    database = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], dtype=float)
    scores = rerank.Diffusion(1, n_start=2).fit(database).scores([[1, 0], [0, 0], [0, -1]])
    assert np.isfinite(scores).all() and (scores[1] == 0).all()
    assert (scores[0, :2] > 0).all() and (scores[0, 2:] == 0).all()


@pytest.mark.parametrize(
    ("settings", "database", "queries", "words"),
    [
        ({"n_neighbors": 0}, np.eye(3), np.eye(3), "n_neighbors"),
        ({"n_start": 0}, np.eye(3), np.eye(3), "n_start"),
        ({"alpha": 1.0}, np.eye(3), np.eye(3), "alpha"),
        ({"gamma": -1}, np.eye(3), np.eye(3), "gamma"),
        ({}, np.eye(3) * np.nan, np.eye(3), "NaN"),
        ({}, np.ones((1, 3)), np.eye(3), "minimum of 2"),
        ({}, np.eye(3), np.eye(3)[:, :2], "dimensions"),
        ({}, np.eye(3), np.eye(3)[:2], "vectors of its ids"),
    ],
)
def test_bad_diffusion_is_refused(settings, database, queries, words):
    ranking = Ranking.from_distances(np.zeros((3, 3)))
    with pytest.raises(ValueError, match=words):
        rerank.Diffusion(**settings).fit(database).rerank(queries, ranking)
