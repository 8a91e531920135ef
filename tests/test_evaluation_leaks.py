"""`check_leaks`."""

import io
from collections import Counter
from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cbirkit import ImageCollection
from cbirkit.evaluation import check_leaks, difference_hash
from cbirkit.evaluation.survey import KINDS


def scenes(n, seed=0):
    """Smooth random pictures, uint8 (96, 128, 3), all different."""
    rng = np.random.RandomState(seed)
    small = rng.randint(0, 255, (n, 6, 8, 3), dtype=np.uint8)
    return [
        np.asarray(Image.fromarray(picture).resize((128, 96), Image.Resampling.BICUBIC))
        for picture in small
    ]


def saved_again(picture, quality=40):
    buffer = io.BytesIO()
    Image.fromarray(picture).resize((100, 75)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


class Tiny:
    """An encoder: the picture at 8 x 8, mean taken off."""

    def transform(self, images):
        small = [
            np.asarray(Image.fromarray(image).resize((8, 8)), dtype=np.float32).ravel()
            for image in images
        ]
        return np.stack(small) - np.mean(small, axis=1, keepdims=True)


def test_nothing_shared_gives_no_rows():
    pictures = scenes(40)
    train = ImageCollection.from_arrays(
        pictures[:20], labels=["a"] * 20, ids=[f"t{i}" for i in range(20)]
    )
    test = ImageCollection.from_arrays(
        pictures[20:], labels=["b"] * 20, ids=[f"u{i}" for i in range(20)]
    )
    found = check_leaks(train, test, encoder=Tiny())
    assert len(found) == 0 and list(found.columns) == ["kind", "train", "test", "distance"]
    assert found.attrs["checked"] == list(KINDS)


def test_every_kind_is_found():
    pictures = scenes(6)
    train = ImageCollection.from_arrays(
        pictures, labels=["a", "a", "b", "b", "c", None], ids=list("uvwxyz")
    )
    tests = [scenes(1, seed=9)[0], pictures[1], saved_again(pictures[2]), pictures[5]]
    test = ImageCollection.from_arrays(
        tests, labels=["d", "a", None, None], ids=["u", "copy", "jpeg", "z"]
    )
    found = check_leaks(train, test, encoder=Tiny())
    listed = {kind: rows[["train", "test"]].values.tolist() for kind, rows in found.groupby("kind")}
    assert listed == {
        "id": [["z", "z"]],  # u is another picture
        "content": [["v", "copy"], ["z", "z"]],
        "near-duplicate (hash)": [["w", "jpeg"]],
        "near-duplicate (embedding)": [["w", "jpeg"]],
        "class": [["a", "a"]],
    }
    by_arrays = check_leaks(train, test, encoder=(Tiny().transform(train), Tiny().transform(test)))
    assert by_arrays.equals(found)


def test_what_is_not_asked_for_is_not_checked():
    pictures = scenes(2)
    both = ImageCollection.from_arrays(pictures, labels=["a", "b"], ids=["x", "y"])
    found = check_leaks(both, both, max_hash_distance=-1, label=None)
    assert found.attrs["checked"] == ["id", "content"]
    assert found.kind.tolist() == ["id", "id", "content", "content"]


def test_files_copied_under_another_name(tmp_path):
    for name, picture in zip(
        ["train/a.png", "train/b.png", "test/c.png", "test/d.png"], scenes(4), strict=True
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / name)
    (tmp_path / "test/copied.png").write_bytes((tmp_path / "train/b.png").read_bytes())
    (tmp_path / "test/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"no image")
    train, test = (ImageCollection.from_folder(tmp_path / part) for part in ("train", "test"))
    found = check_leaks(train, test)
    assert found.values.tolist() == [["content", "b.png", "copied.png", 0.0]]


def test_broken_images_are_left_out_and_logged(tmp_path, caplog):
    Image.fromarray(scenes(1)[0]).save(tmp_path / "good.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "good.png").read_bytes()[:200])
    images = ImageCollection.from_folder(tmp_path)
    check_leaks(images, images)
    assert "broken.png" in caplog.text


def test_difference_hash():
    picture = scenes(1)[0]
    bits = difference_hash(picture)
    assert bits.shape == (128,) and bits.dtype == bool
    assert (bits != difference_hash(saved_again(picture))).sum() <= 4
    assert (bits != difference_hash(scenes(1, seed=1)[0])).sum() > 30
    assert difference_hash(np.full((20, 20, 3), 77, dtype=np.uint8)) is None
    assert difference_hash(picture[:1, :1]) is None


def test_plain_images_are_not_called_duplicates():
    plain = [np.full((32, 32, 3), value, dtype=np.uint8) for value in (10, 200)]
    train, test = (
        ImageCollection.from_arrays([image], ids=[name])
        for image, name in zip(plain, "ab", strict=True)
    )
    assert len(check_leaks(train, test)) == 0


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ((np.zeros((3, 2)), np.zeros((2, 2))), "one row for each of 2"),
        ((np.zeros((2, 2)), np.full((2, 2), np.nan)), "NaN"),
        ((np.zeros((2, 2)), np.zeros((2, 3))), "2 and 3 dimensions"),
        ((np.zeros((2, 2)),), "tuple of 1"),
    ],
)
def test_bad_embeddings(encoder, message):
    images = ImageCollection.from_arrays(scenes(2))
    with pytest.raises(ValueError, match=message):
        check_leaks(images, images, encoder=encoder)


def test_real_photographs(realdata):
    """Four views of an object are no duplicates; the same file saved smaller is one."""
    folder = realdata / "b_instance_ukbench250"
    if not folder.is_dir():
        pytest.skip("no UKBench photographs")
    images = ImageCollection.from_folder(folder)[:200]
    train, test = images[np.arange(200) % 4 != 0], images[np.arange(200) % 4 == 0]
    views = check_leaks(train, test, label=None)
    names = [f"copy of {i}" for i in train.ids[:40]]
    copies = ImageCollection.from_arrays([saved_again(image) for image in train[:40]], ids=names)
    found = check_leaks(train, copies, label=None)
    near = found[found.kind == "near-duplicate (hash)"]
    right = ("copy of " + near.train == near.test).sum()
    assert right >= 36 and (views.kind == "content").sum() == 0
    assert (views.kind == "near-duplicate (hash)").sum() <= 10


def test_the_work_grows_with_the_images_not_their_square(monkeypatch):
    def work(n):
        """Comparisons of ids and reads of contents and pictures."""
        done = Counter()

        class Name(str):
            __eq__ = str.__eq__

            def __hash__(self):
                done["ids"] += 1
                return str.__hash__(self)

        pixels = np.random.RandomState(0).randint(0, 255, (2 * n, 12, 12, 3), dtype=np.uint8)
        train, test = (ImageCollection.from_arrays(some) for some in (pixels[:n], pixels[n:]))
        for images, side in ((train, "a"), (test, "b")):
            images.table.index = pd.Index([Name(f"{side}{i}") for i in range(n)])
            for name in ("digest", "thumbnail"):
                read = getattr(type(images), name)
                counted = lambda *args, name=name, read=read: done.update([name]) or read(*args)
                monkeypatch.setattr(images, name, partial(counted, images))
        check_leaks(train, test, encoder=(pixels[:n].reshape(n, -1), pixels[n:].reshape(n, -1)))
        return done

    few, many = work(50), work(200)
    assert (
        few["digest"] == 100
        and few["ids"] >= 100
        and all(many[name] <= 6 * few[name] + 20 for name in many)
    )
