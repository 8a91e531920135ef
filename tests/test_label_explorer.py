"""`LabelExplorer` without a browser: keys, buttons, the file, what is held out, the curve against a loop, what is refused."""

import numpy as np
import pytest
from explore_samples import HOSTILE
from scipy.stats import norm

from cbirkit import ImageCollection, datasets
from cbirkit.explore import LabelExplorer
from cbirkit.labelling import probabilities

CLASSES = ["bee", "fly", "wasp"]


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return ImageCollection.from_arrays(
        rng.integers(0, 256, (90, 12, 12, 3)).astype(np.uint8),
        ids=[f"p/{n}.jpg" for n in range(90)],
    )


def truth(image_id):
    return CLASSES[int(image_id[2:-4]) % 3]


def rows(spread=0.6):
    rng = np.random.default_rng(1)
    return (np.eye(3)[np.arange(90) % 3] + spread * rng.standard_normal((90, 3))).astype(np.float32)


@pytest.fixture
def explorer(images, tmp_path):
    return LabelExplorer(images, rows(), tmp_path / "labels.csv")


def press(explorer, key):
    explorer._now.receive({"event": "key", "key": key, "id": explorer.shown})


def give(explorer, name):
    """As a reader does: by its digit, or by a new name."""
    if name in explorer._classes:
        press(explorer, str(explorer._classes.index(name) + 1))
    else:
        explorer._names.receive({"event": "add", "text": f" {name} "})


def label_all(explorer, n):
    for _ in range(n):
        give(explorer, truth(explorer.shown))


def written(explorer):
    return explorer._file.path.read_text().splitlines()


def test_names_are_typed_then_given_by_digits_and_saved_at_once(explorer):
    assert "0 labels" in explorer._status.text and not explorer._file.path.exists()
    first = explorer.shown
    give(explorer, "bee")
    assert explorer.labels == {first: "bee"} and written(explorer) == ["path,label", f"{first},bee"]
    assert explorer._names.options == [("1 bee (1)", "bee")] and explorer.shown != first
    press(explorer, "1")
    give(explorer, "fly")
    assert list(explorer.labels.values()) == ["bee", "bee", "fly"] and len(written(explorer)) == 4
    assert [words for words, _ in explorer._names.options] == ["1 bee (2)", "2 fly (1)"]
    explorer._names.receive({"event": "choose", "value": "fly"})
    assert list(explorer.labels.values())[-1] == "fly"
    assert "4 labels of 2 classes in labels.csv" in explorer._status.text
    assert "an hour" in explorer._status.text and len(explorer.seconds) == 4


@pytest.mark.parametrize("key", ["u", "backspace"])
def test_undo_shows_the_picture_again_with_its_label_pressed(explorer, key):
    label_all(explorer, 7)
    shown = list(explorer.labels)
    for n in (6, 5, 4):
        press(explorer, key)
        assert explorer.shown == shown[n] and explorer._names.value == truth(shown[n])
        assert list(explorer.labels) == shown[:n] and len(written(explorer)) == n + 1
    label_all(explorer, 3)
    assert list(explorer.labels) == shown
    for _ in range(7):
        press(explorer, key)
    assert explorer.labels == {}
    press(explorer, key)
    assert explorer._status.problem and "no label to take back" in explorer._status.text


def test_a_name_that_nothing_has_any_more_goes(explorer):
    give(explorer, "bee")
    give(explorer, "beee")
    press(explorer, "u")
    assert "beee" in explorer._classes  # it may have been right
    give(explorer, "bee")
    assert explorer._classes == ["bee"]


def test_names_given_at_first_stay(images, tmp_path):
    explorer = LabelExplorer(images, rows(), tmp_path / "a.csv", classes=CLASSES)
    press(explorer, "3")
    press(explorer, "1")
    assert list(explorer.labels.values()) == ["wasp", "bee"] and explorer._classes == CLASSES


def test_skipped_pictures_are_not_in_the_file_and_come_back_by_undo(explorer):
    label_all(explorer, 2)
    skipped = explorer.shown
    press(explorer, " ")
    assert (
        skipped not in explorer.labels and explorer.shown != skipped and len(written(explorer)) == 3
    )
    label_all(explorer, 20)
    assert skipped not in explorer.labels
    for _ in range(21):
        press(explorer, "u")
    assert explorer.shown == skipped and len(explorer.labels) == 2


def test_a_label_given_long_ago_is_changed_by_a_click(explorer):
    label_all(explorer, 8)
    third = list(explorer.labels)[2]
    explorer._last.receive({"event": "pick", "id": third})
    assert explorer.shown == third and third not in explorer.labels
    give(explorer, "other")
    assert explorer.labels[third] == "other" and len(explorer.labels) == 8


def test_a_key_for_a_picture_that_has_gone_labels_nothing(explorer):
    label_all(explorer, 3)
    before, gone = explorer.labels.copy(), explorer.shown
    label_all(explorer, 1)
    assert len(explorer.labels) == len(before) + 1
    with pytest.raises(ValueError, match="press it again"):
        explorer._press("1", gone)


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"event": "key", "key": "9"}, "no class 9 yet"),
        ({"event": "key", "key": "x"}, ""),
        ({"event": "key"}, ""),
        ({"event": "pick"}, ""),
        (None, ""),
    ],
)
def test_other_keys_and_messages_label_nothing(explorer, message, says):
    label_all(explorer, 1)
    explorer._now.receive(message and message | {"id": explorer.shown})
    assert len(explorer.labels) == 1 and says in explorer._status.text


@pytest.mark.parametrize("text", ["", "   ", "x" * 61, None, 3, "a\x00b"])
def test_what_is_no_name_is_refused(explorer, text):
    explorer._names.receive({"event": "add", "text": text})
    if isinstance(text, str):
        assert explorer._status.problem and "letters" in explorer._status.text
    assert explorer.labels == {} and "skipped" not in explorer._status.text


def test_hostile_names_are_text_and_come_back(explorer, images):
    give(explorer, HOSTILE)
    again = LabelExplorer(images, rows(), explorer._file.path)
    assert list(again.labels.values()) == [HOSTILE]
    assert HOSTILE.split(">")[0] in again.static().axes[0].get_label()


def test_a_new_explorer_goes_on_where_the_file_ends(explorer, images):
    explorer._strategy.value = "random"
    label_all(explorer, 43)
    again = LabelExplorer(images, rows(), explorer._file.path)
    assert again.labels == explorer.labels and list(again.labels) == list(explorer.labels)
    assert again._classes == explorer._classes and again.curve[-1][0] == 35
    assert set(again._held) == set(explorer._held)
    label_all(again, 3)
    assert len(written(explorer)) == 47
    press(explorer, "1")  # the first one still stands on the page
    assert explorer._status.problem and "changed by others" in explorer._status.text
    assert len(written(again)) == 47


def test_it_goes_on_with_a_file_that_was_made_without_it(images, tmp_path):
    path, held = tmp_path / "labels.csv", LabelExplorer(images, rows(), tmp_path / "no.csv")._held
    others = [image_id for image_id in images.ids if image_id not in held]
    path.write_text("path,label\n" + "".join(f"{i},{truth(i)}\n" for i in others[:60]))
    assert LabelExplorer(images, rows(), path).shown in held  # far too few of them have a label


def test_all_are_labelled_once_and_from_folder_would_read_it(images, tmp_path):
    explorer = LabelExplorer(images[:36], rows()[:36], tmp_path / "labels.csv")
    label_all(explorer, 36)
    assert explorer.shown is None and explorer._now.tiles == [] and len(written(explorer)) == 37
    assert all(name == truth(one) for one, name in explorer.labels.items())
    explorer._names.receive({"event": "choose", "value": "bee"})
    assert "no picture is left" in explorer._status.text
    explorer.undo()
    assert explorer.shown and len(explorer.labels) == 35


def test_every_fifth_label_or_so_is_held_out(explorer):
    explorer._strategy.value = "random"  # which learns nothing
    for n in (20, 40, 60):
        label_all(explorer, 20)
        held = sum(one in explorer._held for one in explorer.labels)
        assert abs(held - n / 5) <= 1 and 10 < len(explorer._held) < 27


def test_the_curve_agrees_with_a_loop(explorer):
    """At each point: learn from what was not held out by then, guess every held-out picture that is labelled now."""
    label_all(explorer, 33)
    given, embeddings = (
        list(explorer.labels.items()),
        dict(zip(explorer.images.ids, rows(), strict=True)),
    )
    tested = [one for one in given if one[0] in explorer._held]
    wanted = []
    for n in range(4, 33, 5):
        learn = [one for one in given[:n] if one[0] not in explorer._held]
        names = sorted({name for _, name in learn})
        right = 0
        for one, name in tested:
            known = [embeddings[i] for i, _ in learn], [label for _, label in learn]
            p = probabilities(*known, [embeddings[one]])[0]
            right += names[int(p.argmax())] == name
        wanted.append((len(learn), right / len(tested)))
    assert explorer.curve == wanted and wanted[-1][1] >= 0.5
    text = explorer._plot.tiles[0]["title"]
    assert f"on {len(tested)} held-out pictures, learned from {wanted[-1][0]} labels" in text
    z, p, n = norm.ppf(0.975), wanted[-1][1], len(tested)  # Wilson 1927
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    assert f"accuracy {p:.2f} ({middle - half:.2f} to {middle + half:.2f})" in text


def test_nothing_is_measured_without_held_out_pictures(images, tmp_path):
    explorer = LabelExplorer(images, rows(), tmp_path / "a.csv", held_out=0)
    label_all(explorer, 12)
    assert (
        explorer.curve == []
        and explorer._plot.tiles == []
        and "accuracy" not in explorer._status.text
    )


@pytest.mark.parametrize("strategy", ["margin", "typiclust", "random"])
def test_each_strategy_proposes_what_propose_does(images, tmp_path, strategy):
    from cbirkit.labelling import propose

    explorer = LabelExplorer(images, rows(), tmp_path / "a.csv", strategy=strategy)
    label_all(explorer, 19)  # the twentieth is on the page, and the next ones are known
    waiting, *proposed = explorer._queue
    known = {i: name for i, name in explorer.labels.items() if i not in explorer._held}
    ids = [*known, *(i for i in explorer._others if i not in known and i != waiting)]
    table, how = rows()[images.positions(ids)], {"strategy": strategy, "random_state": 19}
    wanted = propose(table, range(len(known)), list(known.values()), 4, **how)
    assert [one for one in proposed if one not in explorer._held] == [ids[i] for i in wanted]


def test_the_strategy_changes_with_the_next_batch(explorer):
    label_all(explorer, 2)
    queue = list(explorer._queue)
    explorer._strategy.value = "random"
    assert explorer._queue == queue
    label_all(explorer, 3)
    assert len(explorer._queue) == 5 and not set(queue) & set(explorer._queue)


def test_labels_of_the_collection_and_of_its_folders_are_not_looked_at(tmp_path):
    from PIL import Image

    for n in range(12):
        (tmp_path / "pictures" / CLASSES[n % 3]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), n, np.uint8)).save(
            tmp_path / "pictures" / CLASSES[n % 3] / f"{n}.png"
        )
    found = datasets.from_folder(tmp_path / "pictures")
    explorer = LabelExplorer(found, np.eye(12), tmp_path / "mine.csv")
    assert explorer._names.options == []
    explorer.label("mine")
    read = datasets.from_folder(tmp_path / "pictures", labels=str(tmp_path / "mine.csv"))
    assert sorted(one for one in read.column("label") if one) == ["mine"]


def test_bad_arguments_are_refused(images, tmp_path):
    file = tmp_path / "a.csv"
    for kwargs, words in [
        ({"strategy": "entropy"}, "strategy"),
        ({"held_out": 0.9}, "held_out"),
        ({"classes": [""]}, "letters"),
    ]:
        with pytest.raises(ValueError, match=words):
            LabelExplorer(images, rows(), file, **kwargs)
    with pytest.raises(TypeError, match="images"):
        LabelExplorer(3, rows(), file)
    with pytest.raises(ValueError, match="embeddings"):
        LabelExplorer(images, rows()[:5], file)
    file.write_text("name,age\nAnn,3\n")
    with pytest.raises(ValueError, match="choose another file"):
        LabelExplorer(images, rows(), file)
    assert file.read_text() == "name,age\nAnn,3\n"


def test_the_static_picture_holds_the_curve_and_the_last_labels(explorer):
    label_all(explorer, 25)
    axes = explorer.static().axes[0]
    assert len(axes.images) == 1 + 1 + 12 and "accuracy" in axes.get_label()
    data, metadata = explorer._repr_mimebundle_()
    assert data["image/png"] and metadata["image/png"]["alt"] == axes.get_label()
