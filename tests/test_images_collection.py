"""`ImageCollection`: opening, selecting, splitting, and reporting what is broken."""

import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cbirkit.images import ImageCollection, ImageProblem


def picture(seed, size=(12, 10)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Two classes, one nested file, a broken, an empty and a hidden one, and a text file."""
    for i, name in enumerate(["cat/1.png", "cat/2.png", "dog/deep/3.png", "dog/4.PNG"]):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(i)).save(path)
    (tmp_path / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (tmp_path / "dog" / "empty.png").touch()
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    Image.fromarray(picture(9)).save(tmp_path / ".hidden" / "x.png")
    return tmp_path


def test_folder_with_classes(folder):
    images = ImageCollection.from_folder(folder)
    assert images.ids.tolist() == [
        "cat/1.png",
        "cat/2.png",
        "cat/broken.jpg",
        "dog/4.PNG",
        "dog/deep/3.png",
    ]
    assert images.labels.tolist() == ["cat", "cat", "cat", "dog", "dog"]
    assert images.problems.to_dict("records") == [{"name": "dog/empty.png", "reason": "empty file"}]
    assert np.array_equal(images["dog/deep/3.png"], picture(2))
    assert images.path(0) == folder / "cat/1.png" and images.root == folder


def test_flat_folder_has_no_labels(folder):
    images = ImageCollection.from_folder(folder / "cat")
    assert "label" not in images.table
    with pytest.raises(ValueError, match="no column 'label'.*path"):
        _ = images.labels


def test_verify_names_the_broken_and_keeps_the_good(folder):
    images = ImageCollection.from_folder(folder)
    with pytest.raises(ImageProblem, match="cat/broken.jpg"):
        images[2]
    good = images.verify(progress=False)
    assert len(good) == 4 and "cat/broken.jpg" not in good.ids
    assert good.problems["name"].tolist() == ["dog/empty.png", "cat/broken.jpg"]
    assert all(good.problems["reason"].str.len() > 5)


def test_order_and_digests_are_stable(folder):
    first, again = ImageCollection.from_folder(folder), ImageCollection.from_folder(folder)
    assert first.ids.tolist() == again.ids.tolist()
    assert first.digest(0) == again.digest("cat/1.png") != first.digest(1)
    Image.fromarray(picture(77)).save(folder / "cat/1.png")
    assert first.digest(0) != again.digest(1)


def test_listing_a_folder_opens_no_file_and_looks_into_each_folder_once(tmp_path, monkeypatch):
    source = tmp_path / "source.png"
    Image.fromarray(picture(0)).save(source)
    for part in range(20):
        sub = tmp_path / "all" / f"{part:03d}"
        sub.mkdir(parents=True)
        for i in range(50):
            os.link(source, sub / f"{i:04d}.png")
    calls = []
    scandir, opened = os.scandir, open
    monkeypatch.setattr(os, "scandir", lambda folder: calls.append("scandir") or scandir(folder))
    monkeypatch.setattr(
        "builtins.open", lambda *args, **kwargs: calls.append("open") or opened(*args, **kwargs)
    )
    images = ImageCollection.from_folder(tmp_path / "all")
    assert len(images) == 1000 and images.table["label"].nunique() == 20
    assert calls == ["scandir"] * 21


def test_folders_that_hold_nothing(tmp_path):
    with pytest.raises(ValueError, match="no usable image"):
        ImageCollection.from_folder(tmp_path)
    (tmp_path / "a.png").touch()
    with pytest.raises(ValueError, match="1 refused.*empty file"):
        ImageCollection.from_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        ImageCollection.from_folder(tmp_path / "missing")
    with pytest.raises(NotADirectoryError, match="no such folder"):
        ImageCollection.from_folder(tmp_path / "a.png")


def test_one_image(tmp_path):
    Image.fromarray(picture(0)).save(tmp_path / "a.png")
    images = ImageCollection.from_folder(tmp_path)
    assert len(images) == 1 and images.relevance(by="path").n_positives.tolist() == [0]


def test_files_with_what_is_known_of_them(folder):
    table = pd.DataFrame({"kind": ["a", "b"]})
    paths = [folder / "cat/1.png", folder / "dog/4.PNG"]
    images = ImageCollection.from_files(paths, table, ids=[7, 8])
    assert images.ids.tolist() == ["7", "8"] and images.column("kind").tolist() == ["a", "b"]
    assert np.array_equal(images["7"], picture(0))
    images = ImageCollection.from_files(paths, table, root=folder)
    assert images.ids.tolist() == ["cat/1.png", "dog/4.PNG"]
    with pytest.raises(ValueError, match="duplicate id 'cat/1.png'"):
        ImageCollection.from_files(paths[:1] * 2, root=folder)


def test_arrays_and_generators():
    arrays = ImageCollection.from_arrays(
        [picture(0), picture(1, (5, 6)), np.zeros((4, 4))], labels=["a", "b", "a"]
    )
    assert arrays.ids.tolist() == ["0", "1", "2"] and arrays[2].shape == (4, 4, 3)
    calls = []

    def read(row):
        calls.append(row)
        return picture(row)

    made = ImageCollection.from_function(
        read, pd.DataFrame(index=["x", "y", "z"]), key="g1 seed=0", name="made"
    )
    part = made[["z", "x"]]
    assert calls == [] and np.array_equal(part[0], picture(2)) and calls == [2]
    assert part.digest("z") == made.digest(2) and calls == [2]
    other = ImageCollection.from_function(read, made.table, key="g1 seed=1", name="made")
    assert other.digest(0) != made.digest(0)
    with pytest.raises(ValueError, match="3 images, 3 table rows and 2 ids"):
        ImageCollection.from_arrays([picture(0)] * 3, ids=["a", "b"])
    with pytest.raises(ValueError, match="duplicate id 'a'"):
        ImageCollection.from_arrays([picture(0)] * 2, ids=["a", "a"])
    with pytest.raises(ValueError, match="1 labels for 2 items"):
        ImageCollection.from_arrays([picture(0)] * 2, labels=["a"])


def test_selecting():
    images = ImageCollection.from_arrays([picture(i) for i in range(6)], labels=list("aabbcc"))
    assert images[1:5:2].ids.tolist() == ["1", "3"]
    assert images[images.labels == "b"].ids.tolist() == ["2", "3"]
    assert images[np.array([5, 0])].ids.tolist() == ["5", "0"]
    assert images[["4", "1"]][0].tolist() == picture(4).tolist()
    assert images[-1].tolist() == picture(5).tolist()
    assert images[[]].ids.tolist() == []
    assert images[2:][1:].ids.tolist() == ["3", "4", "5"]
    assert [i.shape for i in images[:2]] == [(12, 10, 3)] * 2
    with pytest.raises(ValueError, match="no image 'q'"):
        images[["1", "q"]]
    with pytest.raises(IndexError, match="out of bounds"):
        images[6]
    with pytest.raises(IndexError, match="boolean index did not match"):
        images[np.array([True])]
    for wrong in ([0.5], True, None, 0.5, np.True_):
        with pytest.raises((TypeError, IndexError)):
            images[wrong]


def test_splits():
    images = ImageCollection.from_arrays([picture(i) for i in range(20)], labels=list("ab") * 10)
    with pytest.raises(ValueError, match="no column 'split'"):
        images.split()
    few, many = images.split(fraction=0.2)
    assert len(few) == 4 and sorted(few.labels) == list("aabb")
    assert set(few.ids) | set(many.ids) == set(images.ids) and not set(few.ids) & set(many.ids)
    assert few.ids.tolist() == images.split(fraction=0.2)[0].ids.tolist()
    assert few.ids.tolist() != images.split(fraction=0.2, random_state=1)[0].ids.tolist()
    one, other = images.split(fraction=0.5, disjoint="label")
    assert len(one) == 10 and not set(one.labels) & set(other.labels)
    named = images.with_columns(split=["query"] * 5 + ["database"] * 15)
    queries, database = named.split()
    assert queries.ids.tolist() == list("01234") and len(database) == 15
    with pytest.raises(ValueError, match="no 'train'; it has: database, query"):
        named.split(parts=("train",))
    with pytest.raises(ValueError, match="train_size"):
        images.split(fraction=1.5)
    with pytest.raises(ValueError, match="empty"):
        ImageCollection.from_arrays([picture(0)]).split(fraction=0.5)


def test_relevance_takes_instance_then_label_and_leaves_the_query_out():
    images = ImageCollection.from_arrays(
        [picture(i) for i in range(4)], labels=["a", "a", "a", None]
    )
    order = np.arange(4)[None].repeat(4, axis=0)
    by_label = images.relevance()
    assert by_label.n_positives.tolist() == [2, 2, 2, 0]
    assert (
        by_label.gains(order)[0].tolist() == [0, 1, 1, 0]
        and by_label.junk(order)[0].tolist() == [True] + [False] * 3
    )
    assert images.relevance(keep_self=True).n_positives.tolist()[:3] == [3, 3, 3]
    objects = images.with_columns(instance=[1, 1, 2, 2])
    assert objects.relevance().n_positives.tolist() == [1, 1, 1, 1]
    assert objects.relevance(by="label").n_positives.tolist() == [2, 2, 2, 0]
    with pytest.raises(ValueError, match="no column 'colour'.*label, instance"):
        objects.relevance(by="colour")


def test_masks(tmp_path):
    Image.fromarray(picture(0)).save(tmp_path / "a.png")
    mask = (np.arange(120).reshape(12, 10) % 3).astype(np.uint8)
    Image.fromarray(mask).save(tmp_path / "m.png")
    table = pd.DataFrame({"mask": ["m.png"]})
    images = ImageCollection.from_files([tmp_path / "a.png"], table, root=tmp_path)
    assert np.array_equal(images.mask(0), mask)
    with pytest.raises(ValueError, match="column 'mask'"):
        ImageCollection.from_arrays([picture(0)]).mask(0)
    made = ImageCollection.from_function(
        picture,
        pd.DataFrame(index=["x"]),
        key="k",
        name="n",
        read_mask=lambda row: np.ones((12, 10), bool),
    )
    assert made.mask("x").all()


def test_hostile_and_unusual_file_names(tmp_path):
    names = ["$x$ [1].png", "Straße ☃.png", "<b>.png", "a'b\"c.png"]
    for i, name in enumerate(names):
        Image.fromarray(picture(i)).save(tmp_path / name)
    with open(os.fsencode(tmp_path) + b"/\xff\xfe.png", "wb") as file:
        Image.fromarray(picture(9)).save(file, "PNG")
    images = ImageCollection.from_folder(tmp_path)
    assert set(names) < set(images.ids) and r"\xff\xfe.png" in images.ids
    assert all("".join(i).encode() and images[i].shape == (12, 10, 3) for i in images.ids)


def test_repr_says_what_is_there(folder):
    text = repr(ImageCollection.from_folder(folder))
    assert "5 images" in text and "label (2)" in text and "1 refused" in text


def write(root, *names):
    """Pictures of these names, each different."""
    for seed, name in enumerate(names):
        path = os.path.join(
            os.fsencode(root), name if isinstance(name, bytes) else os.fsencode(name)
        )
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            Image.fromarray(picture(seed)).save(file, "PNG")


@pytest.mark.parametrize(
    "system",
    ["@eaDir", "#recycle", "#snapshot", "@Recycle", "$RECYCLE.BIN", "RECYCLER", "System Volume Information", "__MACOSX",
     "lost+found", ".@__thumb", ".thumbnails", ".ipynb_checkpoints", ".AppleDouble", "iPod Photo Cache", "Catalog Previews.lrdata",
     "Photos Library.photoslibrary", "@EADIR", "FOUND.012", "~snapshot", "A.lrlibrary", "A.cocatalog", "A.imovielibrary",
     "TheVolumeSettingsFolder", "@database", "CaptureOne"],
)  # fmt: skip
def test_folders_of_the_system_are_no_classes(tmp_path, system):
    write(
        tmp_path,
        "cat/1.png",
        "dog/1.png",
        f"{system}/1.png",
        f"cat/{system}/1.png/small.png",
        "cat/._1.png",
    )
    images = ImageCollection.from_folder(tmp_path)
    assert images.ids.tolist() == ["cat/1.png", "dog/1.png"] and images.labels.tolist() == [
        "cat",
        "dog",
    ]
    named = [] if system.startswith(".") else [system]  # hidden ones go without saying
    assert images.problems["name"].tolist() == named
    write(tmp_path / system, "in/2.png")  # asked for by name, it is read
    assert "in/2.png" in ImageCollection.from_folder(tmp_path / system).ids


def test_links_to_folders_are_followed_and_loops_end(tmp_path):
    write(tmp_path, "store/cat/1.png", "store/dog/deep/1.png", "set/owl/1.png")
    for name in ("cat", "dog"):
        os.symlink(tmp_path / "store" / name, tmp_path / "set" / name)
    for name, target in (
        ("owl/up", ".."),
        ("owl/self", "."),
        ("gone", "nowhere"),
        ("gone.png", "nowhere.png"),
    ):
        os.symlink(target, tmp_path / "set" / name)
    images = ImageCollection.from_folder(tmp_path / "set")
    assert images.ids.tolist() == ["cat/1.png", "dog/deep/1.png", "owl/1.png"]
    assert images.labels.tolist() == ["cat", "dog", "owl"]
    assert images.problems["name"].tolist() == ["gone", "gone.png", "owl/self", "owl/up"]
    assert images.problems["reason"].str.contains("No such file|listed already").all()


@pytest.mark.parametrize("n", [4, 8])
def test_folders_that_link_to_one_another_do_not_multiply(tmp_path, n):
    write(tmp_path, *(f"{i}/x.png" for i in range(n)))
    for i in range(n):
        for j in set(range(n)) - {i}:
            os.symlink(tmp_path / str(j), tmp_path / str(i) / f"to {j}")
    images = ImageCollection.from_folder(tmp_path)
    assert images.ids.tolist() == [f"{i}/x.png" for i in range(n)]
    assert len(images.problems) == n * (n - 1)


def test_names_that_differ_only_in_form_stay_apart(tmp_path):
    write(tmp_path, "é/1.png", "e\u0301/1.png", "e\u0301/2.png", b"z/a\xff.png", r"z/a\xff.png")
    images = ImageCollection.from_folder(tmp_path)
    assert sorted(images.ids) == sorted(
        ["é/1.png", "é/1 (2).png", "é/2.png", r"z/a\xff.png", r"z/a\xff (2).png"]
    )
    assert len({images.digest(i) for i in images.ids}) == 5 and set(images.labels) == {"é", "z"}
    assert np.array_equal(images["e\u0301/2.png"], picture(2))
    assert np.array_equal(images[r"z/a\xff.png"], picture(4))


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (["cat/1.png", "cat/2.png"], {}),
        (["1.png", "cat/2.png"], {}),
        (["1.png", "cat/2.png", "dog/3.png"], {"label": [None, "cat", "dog"]}),
        (["photos/all/cat/1.png", "photos/all/dog/2.png"], {"label": ["cat", "dog"]}),
        (["a/x/1.png", "a/y/1.png", "b/x/1.png"], {"label": ["a", "a", "b"]}),
        (["Train/cat/1.png", "Train/dog/2.png", "val/cat/1.png"], {"label": ["cat", "dog", "cat"], "split": ["Train", "Train", "val"]}),
        (["test/1.png", "train/1.png"], {"split": ["test", "train"]}),
        (["test/1.png", "train/cat/1.png", "train/dog/1.png"], {"label": [None, "cat", "dog"], "split": ["test", "train", "train"]}),
        (["bus/1.png", "train/1.png"], {"label": ["bus", "train"]}),
        (["1.png", "test/1.png", "train/1.png"], {"split": [None, "test", "train"]}),
        (["1.png", "test/cat/1.png", "train/dog/1.png"], {"label": [None, "cat", "dog"], "split": [None, "test", "train"]}),
        (["test/in/all/cat/1.png", "train/in/all/dog/1.png"], {"label": ["cat", "dog"], "split": ["test", "train"]}),
        (["test/cat/1.png", "train/cat/1.png"], {"split": ["test", "train"]}),
    ],
)  # fmt: skip
def test_what_folders_say_of_their_images(tmp_path, names, columns):
    write(tmp_path, *names)
    images = ImageCollection.from_folder(tmp_path)
    assert images.ids.tolist() == names
    assert {name: images.column(name).tolist() for name in set(images.table) - {"path"}} == columns
    assert set(ImageCollection.from_folder(tmp_path, labels=None).table) == {"path"}


def test_names_that_look_alike_are_told(tmp_path, caplog):
    write(tmp_path, "x/1.png", "y/1.png", "X/1.png")
    assert ImageCollection.from_folder(tmp_path).labels.tolist() == ["X", "x", "y"]
    assert "'X', 'x' are taken for different classes" in caplog.text
    with pytest.raises(ValueError, match="no such file"):
        ImageCollection.from_folder(tmp_path, labels="nothing of the kind")
