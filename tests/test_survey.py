"""The first look at a collection: sizes, copies, near-copies, outliers, broken files; and `cbirkit report`."""

import html.parser
import io
from collections import Counter
from functools import partial

import numpy as np
import pandas as pd
import pytest
from cli_samples import add_textured, failed, paint, photos, runner
from PIL import Image, ImageDraw

from cbirkit import ImageCollection
from cbirkit.encoders import ColorHistogram, TinyImage
from cbirkit.evaluation import check_leaks, survey
from cbirkit.evaluation.survey import KINDS, _Facts, _near, difference_hash

folder = pytest.fixture(photos)
run = pytest.fixture(runner)


def picture(seed, size=64):
    """Coarse random grey, so that its hash has something to hold on to."""
    coarse = np.random.default_rng(seed).integers(0, 255, (9, 9), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size, size)).convert("RGB"))


def collection(*arrays, **keywords):
    return ImageCollection.from_arrays(list(arrays), **keywords)


def test_sizes_labels_and_classes_are_counted():
    found = survey(
        collection(picture(0), picture(1, 32), picture(2), labels=["a", "b", "a"]), progress=False
    )
    assert found.table["width"].tolist() == [64, 32, 64]
    assert found.class_counts().to_dict() == {"a": 2, "b": 1}
    assert survey(collection(picture(0)), progress=False).class_counts().empty


def test_copies_and_near_copies_are_told_apart():
    one = picture(0)
    near = np.clip(
        one.astype(int) + np.random.default_rng(0).integers(-3, 4, one.shape), 0, 255
    ).astype(np.uint8)
    found = survey(collection(one, picture(1), one.copy(), near, picture(2)), progress=False)
    assert found.copies == [["0", "2"]]
    assert found.near_copies == [["0", "3"]]  # one of the copies stands for both


def test_each_image_is_decoded_once_and_progress_is_told(folder):
    images, decoded, told = ImageCollection.from_folder(folder), [], []
    read = images._source.read
    images._source.read = lambda row: (decoded.append(row), read(row))[1]
    survey(images, progress=lambda done, total: told.append((done, total)))
    assert sorted(decoded) == list(range(len(images)))
    assert told[-1] == (len(images), len(images))

    def stop(done, total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        survey(images, progress=stop)


def test_the_bits_of_a_group_are_those_of_its_farthest_two(monkeypatch):
    monkeypatch.setitem(_near.__globals__, "_BITS", 20)
    rng = np.random.default_rng(1)
    one = picture(0).astype(int)
    versions = [
        np.clip(one + rng.integers(-n, n + 1, one.shape), 0, 255).astype(np.uint8)
        for n in (2, 8, 16, 40)
    ]
    found = survey(collection(*versions, picture(7)), progress=False)
    bits = [difference_hash(image) for image in versions]
    most = max(int((a != b).sum()) for a in bits for b in bits)
    assert found.near_copies == [["0", "1", "2", "3"]] and found.near_bits == [most] and most > 0


@pytest.mark.parametrize("n", [300, 1200])
def test_near_equal_frames_are_compared_with_few_others(n, monkeypatch):
    rng, tried = np.random.default_rng(0), []
    monkeypatch.setitem(_near.__globals__, "alike", lambda one, other: tried.append(1) or True)
    still = rng.integers(0, 2, 128).astype(bool)
    hashes = still ^ (rng.random((n, 128)) < 0.01)
    frames = [_Facts(str(i), (1, 1), bits, str(i), None) for i, bits in enumerate(hashes)]
    groups, apart = _near(frames, set())
    assert len(tried) <= 3 * n  # of n * n / 2 pairs
    assert max(apart) <= 6 and len(groups[0]) > n / 2
    assert len({name for group in groups for name in group}) == sum(map(len, groups)) <= n


def test_plain_images_are_left_out_and_hashes_alone_do_not_make_near_copies(monkeypatch):
    plain = np.full((16, 16, 3), 90, np.uint8)
    found = survey(collection(plain, plain + 1, picture(3)), progress=False)
    assert found.copies == [] and found.near_copies == []
    monkeypatch.setitem(_near.__globals__, "_BITS", 127)
    assert survey(collection(*map(picture, range(4))), progress=False).near_copies == []


def thing(seed):
    """A rectangle or an ellipse of random size, place and colour on white."""
    r = np.random.RandomState(seed)
    image = Image.new("RGB", (160, 160), "white")
    x, y, w, h = *r.randint(48, 72, 2), *r.randint(24, 56, 2)
    draw = ImageDraw.Draw(image)
    (draw.ellipse if seed % 2 else draw.rectangle)(
        [x, y, x + w, y + h], fill=tuple(map(int, r.randint(0, 180, 3)))
    )
    return np.asarray(image)


@pytest.mark.parametrize(
    "encoder", [None, ColorHistogram(), TinyImage()], ids=["hash", "colours", "pixels"]
)
def test_things_on_white_are_no_near_copies(encoder):
    things = collection(*map(thing, range(80)))
    assert sum(map(len, survey(things, encoder, progress=False).near_copies)) <= 16
    found = check_leaks(things[:40], things[40:])
    assert len(found) <= 8


def test_smooth_pictures_of_other_colours_are_no_near_copies():
    rng, ramp = np.random.RandomState(0), np.linspace(0, 1, 100)[:, None, None]
    ends = rng.randint(0, 255, (60, 2, 3))
    skies = [
        np.broadcast_to(a * (1 - ramp) + b * ramp, (100, 150, 3)).astype(np.uint8) for a, b in ends
    ]
    found = survey(collection(*skies, skies[0] // 2 * 2), progress=False)
    assert [sorted(group) for group in found.near_copies if "60" in group] == [["0", "60"]]
    assert sum(map(len, found.near_copies)) <= 10


def test_shifted_crops_are_joined_where_an_encoder_proposes_them_and_chains_are_not():
    scenes = [Image.fromarray(picture(seed, 400)) for seed in range(12)]
    crops = [
        np.asarray(scene.crop((x, x // 2, x + 250, x // 2 + 250)))
        for scene in scenes
        for x in (0, 30)
    ]
    images = collection(*crops)
    assert survey(images, progress=False).near_copies == []
    rows = np.repeat(np.eye(12), 2, axis=0)
    pairs = [[str(i), str(i + 1)] for i in range(0, 24, 2)]
    assert survey(images, rows, progress=False).near_copies == pairs
    coarse = np.random.default_rng(0).integers(0, 255, (9, 68), dtype=np.uint8)
    strip = Image.fromarray(coarse).resize((3000, 400)).convert("RGB")
    pan = collection(*(np.asarray(strip.crop((x, 0, x + 400, 400))) for x in range(0, 2600, 40)))
    pan_rows = np.exp(-((np.arange(65)[:, None] - np.arange(65)) ** 2) / 8)
    longest = max(map(len, survey(pan, pan_rows, progress=False).near_copies))
    assert 2 <= longest <= 20  # of 65: the frames that see the same


def test_the_outlier_is_the_row_far_from_all_others():
    rows = np.vstack(
        [np.eye(4)[0] + 0.01 * np.random.default_rng(0).normal(size=(6, 4)), np.eye(4)[3]]
    )
    found = survey(collection(*map(picture, range(7))), rows, n_outliers=2, progress=False)
    assert found.outliers[0] == "6" and len(found.outliers) == 2
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    expected = np.sort(1 - unit @ unit.T, axis=1)[:, 1:4].mean(axis=1)
    np.testing.assert_allclose(found.table["distance"], expected, atol=1e-6)


def test_one_image_alone_is_no_outlier():
    found = survey(collection(picture(0)), np.ones((1, 3)), progress=False)
    assert found.table["distance"].tolist() == [0] and found.near_copies == []


def test_broken_files_are_named_and_rows_stay_with_their_images(folder):
    (folder / "cat" / "00_broken.png").write_bytes(b"\x89PNG nothing")
    images = ImageCollection.from_folder(folder)
    rows = np.ones((len(images), 2))
    rows[images.positions(["dog/5.png"])[0], 1] = -1
    found = survey(images, rows, progress=False)
    assert found.problems["name"].tolist() == ["cat/00_broken.png"]
    assert found.outliers[0] == "dog/5.png" and len(found.table) == 6


@pytest.mark.parametrize(
    ("rows", "words"),
    [(np.ones((3, 2)), "got 3 (test )?embeddings for 2"), (np.full((2, 2), np.nan), "NaN")],
)
def test_bad_embeddings_are_told(rows, words):
    images = collection(picture(0), picture(1))
    with pytest.raises(ValueError, match=words):
        survey(images, rows, progress=False)
    with pytest.raises(ValueError, match=words):
        check_leaks(images, images, encoder=(np.ones((2, 2)), rows))


def test_an_encoder_is_used_in_batches(folder):
    sizes = []

    class Mean:
        def transform(self, images):
            sizes.append(len(images))
            return np.array([np.asarray(image).mean(axis=(0, 1)) + 1 for image in images])

    for seed in range(100, 200):
        paint(folder / f"{seed}.png", seed)
    found = survey(ImageCollection.from_folder(folder), Mean(), progress=False)
    assert len(found.table["distance"]) == 106 and max(sizes) <= 64


class Page(html.parser.HTMLParser):
    """Tags, sources of images and visible text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.sources, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for key, value in attrs if key in ("src", "href")]

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("encoder", ["color+hog", "vlad"])
def test_the_report_is_one_page_that_loads_nothing(folder, tmp_path, run, encoder):
    paint(folder / "dog" / "again.png", 5)  # as dog/5.png
    (folder / "<b>broken.jpg").write_bytes(b"\xff\xd8 no picture")
    add_textured(folder / "cat", 8)
    code, out, err = run("report", folder, "--html", tmp_path / "r.html", "--encoder", encoder)
    assert code == 0 and out.strip().endswith("r.html") and "1 group of copies" in err
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert page.sources and all(source.startswith("data:image") for source in page.sources)
    assert "script" not in page.tags and "b" not in page.tags
    for words in (
        "<b>broken.jpg",
        "again.png",
        "2 classes",
        "1 group of copies",
        "farthest from their neighbours",
    ):
        assert words in page.text


def test_a_folder_without_images_and_a_place_that_cannot_be_written(folder, tmp_path, run):
    (tmp_path / "none").mkdir()
    failed(run("report", tmp_path / "none"), "no usable image")
    failed(
        run("report", folder, "--html", tmp_path / "no" / "r.html", "--encoder", "color"),
        "--html FILE",
    )
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.png").write_bytes(b"\x89PNG nothing")
    failed(
        run("report", broken, "--encoder", "color", "--html", tmp_path / "r.html"),
        "none of|cannot be read",
    )


@pytest.mark.parametrize("progress", [False, lambda done, total: None])
def test_no_bar_is_drawn_where_none_is_wanted(progress, capfd, monkeypatch):
    class Loud:
        def transform(self, images):
            from tqdm.auto import tqdm

            return np.array(
                [image.mean(axis=(0, 1)) for image in tqdm(images, delay=0, mininterval=0)]
            )

    images = collection(*map(picture, range(6)))
    survey(images, Loud(), progress=progress)
    check_leaks(images[:3], images[3:], encoder=Loud(), progress=False)
    assert capfd.readouterr() == ("", "")
    survey(images, Loud())
    assert capfd.readouterr() != ("", "")


# ------------------------------------------------------------------ check_leaks


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
    found = check_leaks(both, both, label=None)
    assert found.attrs["checked"] == list(KINDS[:3])
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
            images.table.index = pd.Index([Name(f"{side}{i}") for i in range(n)], dtype=object)
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
