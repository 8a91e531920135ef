"""Feedback against sums and classifiers written out here, and rankings worked by hand; profiles that were tampered with."""

import json
import zipfile

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from cbirkit import persistence
from cbirkit.feedback import METHODS, FeedbackSearch, Profile, SimulatedUser, rocchio


@pytest.fixture
def vectors():
    rows = np.random.default_rng(0).normal(size=(40, 6))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def naive_rocchio(query, relevant, nonrelevant, alpha, beta, gamma):
    moved = [alpha * value for value in query]
    for rows, weight in ((relevant, beta), (nonrelevant, -gamma)):
        for row in rows:
            for d, value in enumerate(row):
                moved[d] += weight * value / len(rows)
    return moved


@pytest.mark.parametrize(("n_good", "n_bad"), [(0, 0), (1, 0), (0, 3), (4, 2)])
def test_rocchio_is_the_sum_of_its_formula(vectors, n_good, n_bad):
    good, bad = vectors[1 : 1 + n_good], vectors[10 : 10 + n_bad]
    moved = rocchio(vectors[0], good, bad, alpha=0.9, beta=0.5, gamma=0.3)
    assert moved.shape == (6,) and moved.dtype == np.float32
    assert np.allclose(moved, naive_rocchio(vectors[0], good, bad, 0.9, 0.5, 0.3), atol=1e-6)


def test_rocchio_takes_lists_and_has_the_textbook_weights():
    assert rocchio([1, 0], [], []).tolist() == [1, 0]
    assert np.allclose(rocchio([1, 0], [[0, 1]], [[0, 1]]), [1, 0.6])


@pytest.mark.parametrize(
    ("arguments", "weights", "word"),
    [
        (([1, 0], [[1, 0, 0]], []), {}, "relevant must hold vectors of 2"),
        (([1, 0], [], [1, 0]), {}, "nonrelevant must hold"),
        (([[1, 0]], [], []), {}, "query"),
        (([1, np.nan], [], []), {}, "finite"),
        (([1, 0], [], []), {"gamma": -1}, "gamma"),
    ],
)
def test_rocchio_refuses(arguments, weights, word):
    with pytest.raises(ValueError, match=word):
        rocchio(*arguments, **weights)


@pytest.mark.parametrize("method", METHODS)
def test_without_marks_the_ranking_is_by_the_cosine(vectors, method):
    search = FeedbackSearch(3 * vectors, 5 * vectors[7], method=method)
    assert np.allclose(search.scores(), vectors @ vectors[7], atol=1e-6)
    assert search.ranking()[0] == 7 and len(search.ranking()) == 40
    assert search.boundary() is None
    without = FeedbackSearch(vectors, 7, method=method).ranking()
    assert without.dtype == np.int64 and np.array_equal(without, search.ranking()[1:])


def marked(search, good=(), bad=()):
    for kind, positions in ((True, good), (False, bad)):
        for position in positions:
            search.mark(position, kind)
    return search


def test_rocchio_moves_the_ranking(vectors):
    search = marked(FeedbackSearch(vectors, 0, beta=0.5, gamma=0.4), [3, 4], [8])
    moved = rocchio(vectors[0], vectors[[3, 4]], vectors[[8]], beta=0.5, gamma=0.4)
    expected = vectors @ (moved / np.linalg.norm(moved))
    assert np.allclose(search.scores(), expected, atol=1e-6)
    middle = (expected[[3, 4]].mean() + expected[8]) / 2
    assert search.boundary() == pytest.approx(middle, abs=1e-6)


@pytest.mark.parametrize("method", ["logistic", "svm"])
@pytest.mark.parametrize("good", [[], [3, 4]])
def test_classifiers_are_scikit_learns(vectors, method, good):
    search = marked(FeedbackSearch(vectors, 0, method=method, C=3.0), good, [8, 9, 10])
    rows, classes = vectors[[0, *good, 8, 9, 10]], [1] * (1 + len(good)) + [0] * 3
    kwargs = {"C": 3.0, "class_weight": "balanced"}
    model = SVC(kernel="linear", **kwargs) if method == "svm" else LogisticRegression(**kwargs)
    model.fit(rows, classes)
    plane = model.decision_function(vectors) / np.linalg.norm(model.coef_)
    assert np.allclose(search.scores(), plane, atol=1e-3)
    assert search.boundary() == 0 and search.scores().dtype == np.float32
    assert np.array_equal(search.scores(), search.scores())


@pytest.mark.parametrize("method", ["logistic", "svm"])
def test_without_a_mark_of_the_other_kind_there_is_nothing_to_separate(vectors, method):
    search = marked(FeedbackSearch(vectors, 0, method=method), [3, 4])
    same = marked(FeedbackSearch(vectors, 0), [3, 4])
    assert np.array_equal(search.scores(), same.scores()) and search.boundary() is None


def test_marks_are_set_changed_taken_away_and_undone(vectors):
    search = FeedbackSearch(vectors, 0)
    assert search.undo() is None and search.marked(True).dtype == np.int64
    marked(search, [5, 2], [9])
    search.mark(np.int64(5), np.False_)
    assert search.marked(True).tolist() == [2] and search.marked(False).tolist() == [9, 5]
    search.mark(2, None)
    search.mark(30, None)
    assert search.marks == {9: False, 5: False}
    assert [search.undo() for _ in range(3)] == [30, 2, 5]
    assert search.marked(True).tolist() == [5, 2] and search.marked(False).tolist() == [9]
    assert [search.undo() for _ in range(4)] == [9, 2, 5, None] and search.marks == {}
    assert np.allclose(search.scores(), vectors @ vectors[0], atol=1e-6)


def test_ties_keep_their_order_and_copies_of_the_query_stay():
    search = FeedbackSearch([[1, 0], [1, 0], [0, 1], [1, 0], [0, 0]], 1)
    assert search.ranking().tolist() == [0, 3, 2, 4]
    assert search.to_show(2).tolist() == [0, 3]


def test_what_is_shown_is_unmarked_best_first_and_then_unsure(vectors):
    search = marked(FeedbackSearch(vectors, 0), [3, 4], [8, 9])
    left = [i for i in search.ranking() if i not in (3, 4, 8, 9)]
    assert search.to_show(5).tolist() == left[:5]
    scores, boundary = search.scores(), search.boundary()
    unsure = sorted(left[3:], key=lambda i: abs(scores[i] - boundary))[:2]
    assert search.to_show(5, explore=0.4).tolist() == left[:3] + unsure
    every = search.to_show(100, explore=0.5)
    assert sorted(every) == sorted(left)
    only = sorted(left, key=lambda i: abs(scores[i] - boundary))[:4]
    assert search.to_show(4, explore=1).tolist() == only
    among = np.arange(20, 40)
    assert search.to_show(3, among=among).tolist() == [i for i in left if i >= 20][:3]


def test_without_a_boundary_the_best_are_shown(vectors):
    search = marked(FeedbackSearch(vectors, 0), [3])
    assert np.array_equal(search.to_show(6, explore=1.0), search.to_show(6))


@pytest.mark.parametrize(
    ("kwargs", "word"),
    [
        ({"method": "boosting"}, "method must be one of 'rocchio'"),
        ({"C": 1.0}, "rocchio has no option 'C'; it has alpha"),
        ({"method": "svm", "C": 0}, "C must be a number > 0"),
        ({"weight": -1}, "weight"),
        ({"query": 40}, "0 to 39"),
        ({"query": True}, "0 to 39"),
        ({"query": [1.0, 2.0]}, "query must hold vectors of 6"),
        ({"embeddings": [1.0, 2.0]}, "embeddings must hold vectors"),
        ({"profile": Profile("a", 5)}, "embeddings must hold vectors of 5"),
    ],
)
def test_a_search_refuses(vectors, kwargs, word):
    kwargs = {"embeddings": vectors, "query": 0} | kwargs
    with pytest.raises(ValueError, match=word):
        FeedbackSearch(kwargs.pop("embeddings"), kwargs.pop("query"), **kwargs)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda search: search.mark(40, True), "0 to 39"),
        (lambda search: search.mark(-1, True), "0 to 39"),
        (lambda search: search.mark(True, True), "0 to 39"),
        (lambda search: search.mark(0, True), "query itself"),
        (lambda search: search.mark(1, "yes"), "True, False or None"),
        (lambda search: search.to_show(0), "n must"),
        (lambda search: search.to_show(3, 1.5), "explore"),
    ],
)
def test_a_session_refuses(vectors, call, word):
    search = FeedbackSearch(vectors, 0)
    with pytest.raises((ValueError, TypeError), match=word):
        call(search)
    assert search.marks == {} and search.undo() is None


def test_a_profile_adds_up_what_sessions_have_in_common(vectors):
    profile = Profile("made up", 6)
    assert profile.score(vectors).tolist() == [0.0] * 40
    expected = np.zeros(6)
    for good, bad in (([1, 2], [3]), ([4], [5, 6, 7])):
        profile.update(2 * vectors[good], vectors[bad])
        expected += vectors[good].mean(axis=0) - vectors[bad].mean(axis=0)
    expected /= np.linalg.norm(expected)
    assert profile.n_sessions == 2 and np.allclose(profile.vector, expected, atol=1e-6)
    assert np.allclose(profile.score(5 * vectors), vectors @ expected, atol=1e-6)
    before = profile.vector
    assert profile.update([], vectors[:2]).update(vectors[:2], []).n_sessions == 2
    assert np.array_equal(before, profile.vector)


@pytest.mark.parametrize("method", METHODS)
def test_a_profile_is_added_to_the_scores(vectors, method):
    profile = Profile("made up", 6).update(vectors[:2], vectors[2:5])
    plain = marked(FeedbackSearch(vectors, 0, method=method), [11, 12], [13])
    search = marked(FeedbackSearch(vectors, 0, method=method, profile=profile, weight=0.3), [11, 12], [13])  # fmt: skip
    assert np.allclose(search.scores(), plain.scores() + 0.3 * profile.score(vectors), atol=1e-6)


def test_a_profile_is_saved_and_bound_to_its_encoder(vectors, tmp_path):
    profile = Profile("lite0", 6).update(vectors[:3], vectors[3:6])
    path = profile.save(tmp_path / "me.profile")
    again = Profile.load(path, encoder="lite0", n_dims=6)
    assert np.array_equal(again.vector, profile.vector) and again.n_sessions == 1
    assert np.array_equal(again.update(vectors[:1], vectors[1:2]).vector, profile.update(vectors[:1], vectors[1:2]).vector)  # fmt: skip
    for encoder, n_dims in (("tiny", 6), ("lite0", 7)):
        with pytest.raises(
            ValueError, match="learned with 'lite0' .6 numbers.*start a new profile"
        ):
            Profile.load(path, encoder=encoder, n_dims=n_dims)
    profile.save(path)
    assert [one.name for one in tmp_path.iterdir()] == ["me.profile"]


STATES = [
    {"encoder": "a", "sum": np.array([np.nan, 0], np.float32), "n_sessions": 1},
    {"encoder": "a", "sum": np.zeros((2, 2), np.float32), "n_sessions": 1},
    {"encoder": "a", "sum": "abc", "n_sessions": 1},
    {"encoder": "a", "sum": [1.0, 2.0], "n_sessions": -1},
    {"encoder": "a", "sum": [1.0, 2.0]},
    [1, 2],
]


@pytest.mark.parametrize("state", STATES)
def test_a_profile_that_was_tampered_with_is_refused(state, tmp_path):
    path = persistence.save(state, tmp_path / "p", kind="profile")
    with pytest.raises(ValueError, match="profile in .* cannot be loaded"):
        Profile.load(path, encoder="a", n_dims=2)


def test_other_files_are_no_profiles(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        Profile.load(tmp_path / "none", encoder="a", n_dims=2)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match="no profile"):
        Profile.load(tmp_path / "text", encoder="a", n_dims=2)
    with pytest.raises(FileExistsError, match="not replaced"):
        Profile("a", 2).save(tmp_path / "text")
    with zipfile.ZipFile(Profile("a", 2).save(tmp_path / "p")) as archive:
        assert json.loads(archive.read("state.json"))["encoder"] == "a"


@pytest.mark.parametrize(("encoder", "n_dims"), [("", 3), (None, 3), ("a", 0), ("a", 2.5)])
def test_a_profile_says_of_which_encoder(encoder, n_dims):
    with pytest.raises(ValueError, match="encoder|n_dims"):
        Profile(encoder, n_dims)


def test_a_simulated_user_tires_and_errs_the_same_way_about_an_image():
    taste = np.arange(1000) % 3 == 0
    user = SimulatedUser(taste, noise=0.2, patience=1500, random_state=1)
    first, second = dict(user.judge(range(1000))), user.judge(np.arange(999, -1, -1))
    assert len(second) == 500 and all(first[index] == said for index, said in second)
    assert user.left == 0 and user.judge([1]) == []
    wrong = np.mean([first[index] != taste[index] for index in range(1000)])
    assert 0.15 < wrong < 0.25
    same = SimulatedUser(taste, noise=0.2, random_state=1)
    assert np.array_equal(same.says, user.says) and same.left == 30
    assert np.array_equal(SimulatedUser(taste).says, taste)
    assert np.array_equal(SimulatedUser(taste, noise=1).says, ~taste)


@pytest.mark.parametrize(
    ("taste", "kwargs", "word"),
    [
        ([1, 0, 1], {}, "True or False"),
        ([[True]], {}, "True or False"),
        ([True], {"noise": 1.5}, "noise"),
        ([True], {"patience": -1}, "patience"),
    ],
)
def test_a_simulated_user_refuses(taste, kwargs, word):
    with pytest.raises(ValueError, match=word):
        SimulatedUser(taste, **kwargs)
