"""`LabelFile`: what is written is read back, by it and by `from_folder`; nothing of others is overwritten."""

import numpy as np
import pytest
from PIL import Image

from cbirkit import datasets
from cbirkit.datasets.label_file import LabelFile, checked_label, drawn_by_name

IDS = ["a/1.jpg", "b, c/2.jpg", 'd "e"/3.jpg', "f/4.jpg"]


def test_labels_come_back_in_their_order_and_with_any_sign(tmp_path):
    file = LabelFile(tmp_path / "new folder" / "labels.csv", IDS)
    assert file.labels == {} and not file.path.exists()
    labels = {IDS[2]: "bee, or wasp", IDS[0]: 'the "red" one', IDS[1]: "Käfer; NA"}
    file.write(labels)
    again = LabelFile(file.path, IDS)
    assert again.labels == labels and list(again.labels) == list(labels)
    again.write({IDS[3]: "NA"})
    assert LabelFile(file.path, IDS).labels == {IDS[3]: "NA"}
    assert file.path.read_text() == "path,label\nf/4.jpg,NA\n"


def test_from_folder_reads_it(tmp_path):
    for name in ("x 1.png", "y.png", "z.png"):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / name)
    images = datasets.from_folder(tmp_path)
    LabelFile(tmp_path / "labels.csv", images.ids).write({"z.png": "bee", "x 1.png": "a, b"})
    read = datasets.from_folder(tmp_path, labels="labels.csv")
    assert read.column("label").tolist() == ["a, b", None, "bee"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "path,label\nelsewhere.jpg,bee\n",
        "path,species\na/1.jpg,bee\n",
        "label,path\nbee,a/1.jpg\n",
    ],
)
def test_a_file_of_others_is_left_alone(tmp_path, text):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        LabelFile(path, IDS)
    assert "labels.csv" in str(caught.value) and "\n" not in str(caught.value)
    assert path.read_text() == text


def test_what_others_wrote_meanwhile_is_not_overwritten(tmp_path):
    one = LabelFile(tmp_path / "labels.csv", IDS)
    one.write({IDS[0]: "bee"})
    other = LabelFile(one.path, IDS)
    other.write({IDS[0]: "bee", IDS[1]: "wasp"})
    with pytest.raises(ValueError, match="changed by others"):
        one.write({})
    assert one.labels == {IDS[0]: "bee"} and len(LabelFile(one.path, IDS).labels) == 2
    one.path.unlink()
    with pytest.raises(ValueError, match="changed by others"):
        other.write({})


def test_a_write_that_fails_changes_nothing(tmp_path, monkeypatch):
    file = LabelFile(tmp_path / "labels.csv", IDS)
    file.write({IDS[0]: "bee"})

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        file.write({IDS[0]: "bee", IDS[1]: "wasp"})
    monkeypatch.undo()
    assert file.labels == {IDS[0]: "bee"} == LabelFile(file.path, IDS).labels
    assert [one.name for one in tmp_path.iterdir()] == ["labels.csv"]


@pytest.mark.parametrize("name", ["", "  ", None, 3, "x" * 61, "a\x00b", "a\u202eb"])
def test_what_is_no_label_is_refused(name):
    with pytest.raises(ValueError, match="1 to 60 letters"):
        checked_label(name)


def test_the_share_is_about_right_and_stays_when_images_come():
    ids = [f"{n:04d}.jpg" for n in range(2000)]
    drawn, others = drawn_by_name(ids[:1500], 0.2)
    assert 0.17 < len(drawn) / 1500 < 0.23 and sorted(drawn + others) == ids[:1500]
    more, _ = drawn_by_name(ids[::-1], 0.2)
    assert [one for one in more if one < "1500"] == drawn
    assert drawn_by_name(ids, 0)[0] == [] and sorted(drawn) != drawn
