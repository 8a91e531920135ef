"""`FeedbackExplorer` without a browser: rounds against `rocchio` by hand, marks, undo, profiles in files, what is refused."""

import numpy as np
import pytest
from explore_samples import jpeg, upload

from cbirkit import ImageCollection, Retriever, encoders
from cbirkit.explore import FeedbackExplorer
from cbirkit.feedback import METHODS, FeedbackSearch, Profile


@pytest.fixture(scope="module")
def retriever():
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (60, 1, 1, 3))
    pixels = np.broadcast_to(colours, (60, 12, 12, 3)).astype(np.uint8)
    images = ImageCollection.from_arrays(
        pixels, labels=[f"class {n % 3}" for n in range(60)], ids=[f"p/{n}.png" for n in range(60)]
    )
    return Retriever(encoders.MeanColor(), progress=False).fit(images)


@pytest.fixture
def explorer(retriever):
    return FeedbackExplorer(retriever, query="p/3.png", k=8)


def press(explorer, key, image_id, grid=0):
    explorer._grids[grid].receive({"event": "key", "key": key, "id": image_id})


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def by_hand(retriever, query, marks, k):
    """Ids of a round of Rocchio: best unmarked first."""
    table = {
        i: unit(row.astype(float))
        for i, row in zip(retriever.images.ids, retriever.embeddings, strict=True)
    }
    sides = [[table[i] for i, mark in marks.items() if mark == kind] for kind in (True, False)]
    moved = table[query].copy()
    for side, weight in zip(sides, (0.75, -0.15), strict=True):
        if side:
            moved = moved + weight * sum(side) / len(side)
    scores = {
        i: float(row @ unit(moved)) for i, row in table.items() if i != query and i not in marks
    }
    return sorted(scores, key=lambda i: -scores[i])[:k], scores


def test_the_first_round_is_the_search(explorer, retriever):
    assert explorer.shown == list(retriever.search("p/3.png", 8).ids[0])
    assert explorer.marks == {} and explorer._lists.children[1].tiles == []
    distances = [float(tile["note"]) for tile in explorer._grids[0].tiles]
    assert distances == pytest.approx(retriever.search("p/3.png", 8).distances[0], abs=6e-4)


def test_marks_count_from_the_next_round_on_and_the_list_is_rocchios(explorer, retriever):
    before = explorer.shown
    press(explorer, "y", before[4])
    press(explorer, "+", before[6])
    press(explorer, "n", before[0])
    press(explorer, "-", before[1])
    press(explorer, "y", before[2])
    press(explorer, "0", before[2])
    assert explorer.shown == before
    marks = {before[4]: True, before[6]: True, before[0]: False, before[1]: False}
    assert explorer.marks == marks
    looks = {tile["id"]: tile["mark"] for tile in explorer._grids[0].tiles}
    assert looks[before[4]] == "right" and looks[before[0]] == "wrong" and looks[before[2]] == ""
    press(explorer, "r", before[2])
    wanted, scores = by_hand(retriever, "p/3.png", marks, 8)
    assert explorer.shown == wanted != before and explorer._grids[1].ids == list(marks)
    assert "round 2 by Rocchio: 2 marked relevant, 2 not" in explorer._status.text
    note = float(explorer._grids[0].tiles[0]["note"])
    assert note == pytest.approx(1 - scores[wanted[0]], abs=6e-4)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_shows_what_its_search_does(retriever, method):
    explorer = FeedbackExplorer(retriever, query="p/3.png", method=method, k=6)
    marks = {explorer.shown[1]: True, explorer.shown[3]: False, explorer.shown[5]: True}
    for image_id, mark in marks.items():
        explorer.mark(image_id, mark)
    explorer.next_round()
    search = FeedbackSearch(retriever.embeddings, 3, method=method)
    for image_id, mark in marks.items():
        search.mark(int(retriever.images.positions([image_id])[0]), mark)
    assert explorer.shown == [f"p/{at}.png" for at in search.to_show(6)]
    explorer._method.value = "rocchio"
    assert explorer.shown == by_hand(retriever, "p/3.png", marks, 6)[0]


def test_clicks_go_round(explorer):
    one, grid = explorer.shown[2], explorer._grids[0]
    for mark in (True, False, None, True):
        grid.receive({"event": "pick", "id": one})
        assert explorer.marks.get(one) is mark


def test_undo_takes_back_marks_and_rounds(explorer):
    first, states = explorer.shown, []
    for key, place in (("y", 0), ("n", 1), ("r", 2), ("y", 0), ("r", 0), ("0", 3)):
        states.append((explorer.shown, dict(explorer.marks), explorer._status.text))
        press(explorer, key, explorer.shown[place])
    for state in states[::-1]:
        press(explorer, "u", explorer.shown[0])
        assert (explorer.shown, explorer.marks, explorer._status.text) == state
    assert explorer.shown == first
    press(explorer, "u", first[0])
    assert explorer._status.problem and "no mark to take back" in explorer._status.text


def test_a_round_without_new_marks_is_refused(explorer):
    press(explorer, "r", explorer.shown[0])
    assert explorer._status.problem and "mark a picture first" in explorer._status.text
    explorer.mark(explorer.shown[0], True)
    explorer.next_round()
    with pytest.raises(ValueError, match="mark a picture first"):
        explorer.next_round()


def test_marks_of_earlier_rounds_can_be_changed(explorer, retriever):
    first = explorer.shown
    explorer.mark(first[0], True)
    explorer.mark(first[1], False)
    explorer.next_round()
    press(explorer, "n", first[0], grid=1)
    press(explorer, "0", first[1], grid=1)
    assert explorer.marks == {first[0]: False}
    explorer.next_round()
    assert explorer.shown == by_hand(retriever, "p/3.png", {first[0]: False}, 8)[0]


def test_everything_may_be_marked(retriever):
    explorer = FeedbackExplorer(retriever, k=48)
    while explorer.shown:
        for image_id in explorer.shown:
            explorer.mark(image_id, True)
        explorer.next_round()
    assert len(explorer.marks) == 59 and len(explorer._grids[1].ids) == 59
    assert explorer.static()


def test_uploads_and_regions_are_queries(explorer, retriever):
    upload(explorer._cropper, jpeg(np.full((40, 60, 3), (250, 10, 10), np.uint8)), name="red.jpg")
    assert explorer.query == "red.jpg" and len(explorer.shown) == 8
    red = encoders.MeanColor().fit_transform([np.full((4, 4, 3), (250, 10, 10), np.uint8)])
    nearest = retriever.search_embeddings(red, 8).ids[0]
    assert explorer.shown[0] == nearest[0]
    explorer.mark(explorer.shown[0], True)
    explorer._cropper.receive({"event": "crop", "box": [0, 0, 5, 5]})
    assert explorer.marks == {} and explorer._query.box == (0, 0, 5, 5)
    before = explorer.shown
    upload(explorer._cropper, b"no image", name="holiday.jpg")
    assert explorer._status.problem and explorer._status.text.startswith("holiday.jpg: ")
    assert explorer.shown == before and explorer.query == "red.jpg"


def test_a_session_teaches_the_profile_once(explorer, retriever):
    first, rows = explorer.shown, dict(zip(retriever.images.ids, retriever.embeddings, strict=True))
    explorer.mark(first[3], True)
    explorer.next_round()
    second = explorer.shown
    explorer.mark(second[0], True)
    assert explorer.profile.n_sessions == 0
    explorer.search("p/9.png")
    others = {*first, *second} - {first[3], second[0]}
    wanted = Profile("x", 3).update(
        [rows[first[3]], rows[second[0]]], [rows[i] for i in sorted(others)]
    )
    assert explorer.profile.n_sessions == 1
    assert np.allclose(explorer.profile.vector, wanted.vector, atol=1e-6)
    explorer.search("p/11.png")  # nothing was marked: nothing is learned
    assert explorer.profile.n_sessions == 1
    explorer.mark(explorer.shown[0], False)
    explorer.search("p/12.png")
    assert explorer.profile.n_sessions == 1


def test_the_slider_adds_the_profile(retriever):
    profile = Profile("any", 3).update([[1, 0, 0]], [[0, 0, 1]])
    explorer = FeedbackExplorer(retriever, query="p/3.png", profile=profile, weight=0, k=8)
    assert explorer.shown == list(retriever.search("p/3.png", 8).ids[0])
    explorer._weight.value = 0.8
    rows = unit(retriever.embeddings.astype(float))
    scores = rows @ rows[3] + 0.8 * profile.score(rows)
    scores[3] = -9
    assert explorer.shown == [f"p/{at}.png" for at in np.argsort(-scores, kind="stable")[:8]]


def test_a_profile_is_saved_and_loaded(explorer, retriever, tmp_path):
    explorer.mark(explorer.shown[2], True)
    explorer._file.value = str(tmp_path / "mine.profile")
    buttons = explorer.children[2].children[0].children[1].children
    save, load = buttons[-1].children
    save.click()
    assert "Saved in" in explorer._status.text and "1 session" in explorer._status.text
    assert explorer.profile.n_sessions == 0  # the session goes on
    other = FeedbackExplorer(retriever, query="p/3.png", k=8)
    other.load(tmp_path / "mine.profile")
    assert other.profile.n_sessions == 1 and other.marks == {}
    explorer.search("p/3.png")
    assert np.array_equal(other.profile.vector, explorer.profile.vector)
    assert other.shown == explorer.shown
    load.click()
    assert explorer._status.text.startswith(
        "Loaded Profile of MeanColor(): 3 numbers from 1 session"
    )


def test_foreign_and_damaged_files_are_told_in_one_sentence(explorer, retriever, tmp_path):
    explorer.mark(explorer.shown[0], True)
    explorer.save(tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(data[:-20])
    (tmp_path / "text").write_text("hello")
    Profile("another", 3).save(tmp_path / "other encoder")
    Profile(explorer.profile.encoder, 5).save(tmp_path / "other size")
    retriever.save(tmp_path / "retriever")
    before = explorer.profile, explorer.shown
    for name in ("cut", "text", "other encoder", "other size", "retriever", "nothing"):
        explorer._file.value = str(tmp_path / name)
        explorer._guarded(explorer.load)()
        told = explorer._status.text
        assert explorer._status.problem and "failed with" not in told, told
        assert len(told) < 400 and name in told, told
        assert (explorer.profile, explorer.shown) == before
    explorer._file.value = str(tmp_path / "text")
    explorer._guarded(explorer.save)()
    assert explorer._status.problem and (tmp_path / "text").read_text() == "hello"


def test_labels_are_counted_and_not_used(retriever):
    explorer = FeedbackExplorer(retriever, query="p/3.png", k=8)
    right = sum(int(one[2:-4]) % 3 == 0 for one in explorer.shown)
    assert f"{right} of 8 shown are right" in explorer._status.text
    unlabelled = ImageCollection.from_arrays([*retriever.images], ids=retriever.images.ids)
    plain = Retriever(encoders.MeanColor(), progress=False).fit(unlabelled)
    bare = FeedbackExplorer(plain, query="p/3.png", k=8)
    assert bare.shown == explorer.shown and "right" not in bare._status.text


@pytest.mark.parametrize(
    "message",
    [
        None,
        {"event": "key"},
        {"event": "key", "key": "q"},
        {"event": "key", "key": ["y"]},
        {"event": "x"},
    ],
)
def test_other_messages_mark_nothing(explorer, message):
    explorer._grids[0].receive(message and message | {"id": explorer.shown[0]})
    explorer._grids[0].receive({"event": "key", "key": "y", "id": "p/3.png"})
    assert explorer.marks == {}


def test_bad_arguments_are_refused(retriever):
    for kwargs, words in [
        ({"method": "magic"}, "method"),
        ({"weight": 2}, "weight"),
        ({"k": 0}, "k must"),
        ({"query": "no.png"}, "no image has the id"),
        ({"profile": Profile("x", 5)}, "vectors of 5 numbers"),
    ]:
        with pytest.raises(ValueError, match=words):
            FeedbackExplorer(retriever, **kwargs)
    with pytest.raises(TypeError, match="profile"):
        FeedbackExplorer(retriever, profile=3)
    with pytest.raises(TypeError, match="Retriever"):
        FeedbackExplorer(3)
    explorer = FeedbackExplorer(retriever, query="p/3.png")
    for image_id, mark, words in [
        ("p/3.png", True, "not shown"),
        ("q", True, "not shown"),
        (explorer.shown[0], "y", "relevant"),
    ]:
        with pytest.raises(ValueError, match=words):
            explorer.mark(image_id, mark)
    assert explorer.marks == {}


def test_the_static_picture_holds_the_query_and_both_lists(explorer):
    explorer.mark(explorer.shown[0], True)
    explorer.next_round()
    axes = explorer.static().axes[0]
    assert len(axes.images) == 1 + 8 + 1 and "round 2" in axes.get_label()
    data, metadata = explorer._repr_mimebundle_()
    assert data["image/png"] and metadata["image/png"]["alt"] == axes.get_label()
    assert repr(explorer).startswith("FeedbackExplorer(p/3.png, round 2")
