"""Embeddings on disk: kept, recognised, never stale; how images are read for them, and what is refused."""

import contextlib
import os
import shutil
import sqlite3
import time
import weakref
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler
from store_samples import Means, counter, noise, write_images

from cbirkit.images import ImageCollection, ImageProblem
from cbirkit.store import EmbeddingStore, ahead, digests, embed, split_pipeline


@pytest.fixture(autouse=True)
def encoded(tmp_path, monkeypatch):
    return counter(tmp_path, monkeypatch)


@pytest.fixture
def folder(tmp_path):
    return write_images(tmp_path / "photos", 20, broken=(3, 11))


@pytest.fixture
def store(tmp_path):
    return EmbeddingStore(tmp_path / "store")


def test_same_as_transform_with_and_without_a_store(folder, store, encoded):
    images = ImageCollection.from_folder(folder)
    good = [i for i in range(20) if i not in (3, 11)]
    expected = Means().transform([images[i] for i in good])
    for result in (
        embed(Means(), images),
        store.embed(Means(), images, batch_size=7),
        store.embed(Means(), images),
    ):
        np.testing.assert_array_equal(result.embeddings, expected)
        assert result.embeddings.dtype == np.float32
        assert result.positions.tolist() == good and result.positions.dtype == np.int64
        assert result.problems.name.tolist() == ["003.png", "011.png"]
        assert result.problems.reason.str.len().min() > 5
        assert len(set(result.digests)) == 18
    assert encoded() == 18 * 3  # the reference, without a store, and once for both runs with it


def test_a_folder_is_a_collection(folder):
    embeddings = embed(Means(), ImageCollection.from_folder(folder)).embeddings
    np.testing.assert_array_equal(embed(Means(), folder).embeddings, embeddings)


def test_changed_parameters_never_meet_old_vectors(folder, store, encoded):
    images = ImageCollection.from_folder(folder)
    store.embed(Means(), images)
    other = store.embed(Means(power=2.0), images)
    np.testing.assert_array_equal(other.embeddings, embed(Means(power=2.0), images).embeddings)
    assert encoded() == 3 * 18


def test_changed_files_are_seen_and_moved_ones_recognised(tmp_path, folder, store, encoded):
    store.embed(Means(), ImageCollection.from_folder(folder))
    encoded()
    path = folder / "000.png"
    before = path.stat()
    pixels = np.asarray(Image.open(path)).copy()
    for level in range(256):  # another image of the same size in bytes, with the old time stamp
        pixels[0, 0, 0] = level
        Image.fromarray(pixels).save(tmp_path / "other.png")
        other = (tmp_path / "other.png").read_bytes()
        if len(other) == before.st_size and other != path.read_bytes():
            break
    assert len(other) == before.st_size
    path.write_bytes(other)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = store.embed(Means(), ImageCollection.from_folder(folder))
    assert encoded() == 1
    np.testing.assert_array_equal(after.embeddings[0], Means().transform([pixels])[0])
    encoded()
    shutil.move(folder, tmp_path / "moved")
    again = store.embed(Means(), ImageCollection.from_folder(tmp_path / "moved"))
    assert encoded() == 0
    np.testing.assert_array_equal(again.embeddings, after.embeddings)


def test_digest_cache_spares_reading_and_is_not_trusted_too_early(tmp_path, store, monkeypatch):
    photos = write_images(tmp_path / "photos", 4)
    images = ImageCollection.from_folder(photos)
    asked = []
    real = ImageCollection.digest
    monkeypatch.setattr(
        ImageCollection, "digest", lambda self, which: asked.append(which) or real(self, which)
    )
    store.embed(Means(), images)
    store.embed(Means(), images)
    assert len(asked) == 8  # the files are younger than the clock's tick allows to trust
    monkeypatch.setattr("cbirkit.store.time.time", lambda real=time.time: real() + 10)
    store.embed(Means(), images)
    store.embed(Means(), images)
    assert len(asked) == 12


def test_equal_contents_are_encoded_once(store, encoded):
    arrays = noise(3)
    images = ImageCollection.from_arrays([arrays[0], arrays[1], arrays[0], arrays[2], arrays[0]])
    for run in (embed, store.embed):
        result = run(Means(), images, batch_size=2)
        assert encoded() == 3
        np.testing.assert_array_equal(
            result.embeddings, Means().transform([images[i] for i in range(5)])
        )
        encoded()
        assert result.digests[0] == result.digests[2] == result.digests[4] != result.digests[1]


def test_more_images_cost_only_themselves(store, encoded):
    arrays = noise(9)
    store.embed(Means(), ImageCollection.from_arrays(arrays[:5]))
    encoded()
    result = store.embed(Means(), ImageCollection.from_arrays(arrays[::-1]))
    assert encoded() == 4
    np.testing.assert_array_equal(result.embeddings, Means().transform(arrays[::-1]))


def test_a_damaged_embedding_is_computed_again(folder, store, encoded, caplog):
    images = ImageCollection.from_folder(folder)
    first = store.embed(Means(), images, batch_size=6)
    encoded()
    data = bytearray(store.file.read_bytes())
    data[data.index(first.embeddings[7].tobytes()) + 5] ^= 64
    store.file.write_bytes(data)
    again = EmbeddingStore(store.folder).embed(Means(), images)
    assert encoded() == 1 and "1 embeddings in" in caplog.text and str(store.file) in caplog.text
    np.testing.assert_array_equal(again.embeddings, first.embeddings)
    EmbeddingStore(store.folder).embed(Means(), images)
    assert encoded() == 0


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def holes(file):
    data = bytearray(file.read_bytes())
    data[5000:] = bytes(len(data) - 5000)
    file.write_bytes(data)


def a_folder(file):
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    "damage", [lambda file: file.write_bytes(b"no database" * 200), cut, holes, a_folder]
)
def test_a_damaged_database_is_made_anew(damage, folder, store, encoded, caplog):
    images = ImageCollection.from_folder(folder)
    first = store.embed(Means(), images)
    damage(store.file)
    again = store.embed(Means(), images)
    assert encoded() == 36 and "is damaged" in caplog.text and str(store.file) in caplog.text
    np.testing.assert_array_equal(again.embeddings, first.embeddings)
    assert store.file.with_name("embeddings.sqlite.damaged").exists()
    store.embed(Means(), images)
    assert encoded() == 0


def test_a_database_of_something_else_is_left_alone(store):
    store.folder.mkdir()
    with contextlib.closing(sqlite3.connect(store.file)) as connection, connection:
        connection.execute("CREATE TABLE holiday (a)")
        # which would keep whoever reads it busy for ever
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i path, i stamp, i digest FROM n"
        connection.execute(f"CREATE VIEW files AS {endless}")
    before = store.file.read_bytes()
    with pytest.raises(OSError, match="something else; choose another folder"):
        store.embed(Means(), noise(2))
    with digests(store.file) as connection:
        assert connection is None
    assert store.file.read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE embeddings SET vector = x'0000c07f'",  # NaN
        "UPDATE embeddings SET vector = 'text'",
        "UPDATE embeddings SET crc = NULL",
        "UPDATE embeddings SET vector = zeroblob(3)",
        "UPDATE embeddings SET dtype = 7",
        "UPDATE embeddings SET dtype = '|O'",
        "UPDATE files SET digest = x'ff', stamp = 3",
    ],
)
def test_a_forged_database_does_no_harm(change, folder, store):
    images = ImageCollection.from_folder(folder)
    expected = store.embed(Means(), images).embeddings
    with contextlib.closing(sqlite3.connect(store.file)) as connection, connection:
        connection.create_function(
            "crc", 2, lambda key, vector: zlib.crc32(vector, zlib.crc32(key))
        )
        connection.execute(change)
        if "vector = x" in change or "zeroblob" in change:
            connection.execute("UPDATE embeddings SET crc = crc(image, vector)")
    np.testing.assert_array_equal(store.embed(Means(), images).embeddings, expected)


def test_forged_embeddings_of_another_length_are_one_sentence(store):
    store.embed(Means(), noise(3))
    with contextlib.closing(sqlite3.connect(store.file)) as connection, connection:
        (key,) = connection.execute("SELECT image FROM embeddings LIMIT 1").fetchone()
        row = "<f4", bytes(8), zlib.crc32(bytes(8), zlib.crc32(key)), key
        connection.execute(
            "UPDATE embeddings SET (dtype, vector, crc) = (?, ?, ?) WHERE image = ?", row
        )
    with pytest.raises(ValueError, match="differ in length"):
        store.embed(Means(), noise(3))


def test_packed_bits_stay_bytes(store):
    bits = FunctionTransformer(
        lambda images: np.stack([np.packbits(i[0, :8, 0] > 127) for i in images])
    )
    assert store.embed(bits, noise(3)).embeddings.dtype == np.uint8


def test_last_steps_of_a_pipeline_cost_no_encoding(store, encoded):
    images = ImageCollection.from_arrays(noise(30))
    pipeline = make_pipeline(Means(), PCA(5, whiten=True), Normalizer()).fit(images)
    encoded()
    result = store.embed(pipeline, images, batch_size=7)
    assert encoded() == 30 and result.embeddings.dtype == np.float32
    np.testing.assert_allclose(result.embeddings, pipeline.transform(images), rtol=1e-4, atol=1e-5)
    encoded()
    store.embed(make_pipeline(Means(), PCA(3), Normalizer()).fit(images), images)
    assert encoded() == 30  # fitting the other pipeline


def test_split_pipeline():
    means, pca = Means(), PCA(2)
    assert split_pipeline(means) == (means, None)
    head, tail = split_pipeline(make_pipeline(means, "passthrough", pca, Normalizer()))
    assert head is means and [type(s) for _, s in tail.steps] == [PCA, Normalizer]
    head, tail = split_pipeline(make_pipeline(FeatureUnion([("a", means)]), StandardScaler()))
    assert type(head) is FeatureUnion and len(tail.steps) == 1
    whole = make_pipeline(PCA(2), FunctionTransformer(len))
    assert split_pipeline(whole) == (whole, None)
    scalers = make_pipeline(StandardScaler(), PCA(2))
    assert split_pipeline(scalers) == (scalers, None)


# ---------------------------------------------------------------- how images are read


def test_images_are_read_batch_by_batch_and_let_go():
    alive, most = [], 0

    def read(row):
        nonlocal most
        image = noise(1, seed=row)[0].copy()
        alive.append(weakref.ref(image))
        most = max(most, sum(r() is not None for r in alive))
        return image

    table = pd.DataFrame(index=[str(n) for n in range(120)])
    images = ImageCollection.from_function(read, table, key="noise", name="noise")
    assert len(embed(Means(pause=0.01), images, batch_size=5).embeddings) == 120
    assert 5 < most <= 4 * 5


def test_large_images_make_small_batches(monkeypatch, tmp_path):
    monkeypatch.setattr("cbirkit.store._BATCH_BYTES", 1000)
    embed(Means(), noise(7), batch_size=64)  # 360 bytes each
    assert (tmp_path / "count.txt").read_text().split() == ["3", "3", "1"]


def test_ahead_reads_in_advance_and_stops():
    made, closed = [], []

    def items():
        try:
            for i in range(100):
                made.append(i)
                yield i
        finally:
            closed.append(True)

    stream = ahead(items())
    assert next(stream) == 0
    for _ in range(12_000):  # until the thread has come to read ahead
        if len(made) >= 2:
            break
        time.sleep(0.01)
    assert 2 <= len(made) <= 4
    stream.close()
    assert closed == [True]
    assert list(ahead(iter_of(range(5)))) == [0, 1, 2, 3, 4]


def iter_of(values):
    yield from values


def test_ahead_hands_errors_on():
    def items():
        yield 1
        raise RuntimeError("from the thread")

    stream = ahead(items())
    assert next(stream) == 1
    with pytest.raises(RuntimeError, match="from the thread"):
        next(stream)


# ---------------------------------------------------------------- bad input


def giving(function):
    return FunctionTransformer(function)


@pytest.mark.parametrize(
    ("encoder", "images", "error", "sentence"),
    [
        (Means, noise(1), TypeError, "Means is no encoder; give an instance"),
        ("hsv", noise(1), TypeError, "str is no encoder; give an instance with transform"),
        (Means(), [], ValueError, "there is no image"),
        (Means(), "no-photos", FileNotFoundError, "no such folder"),
        (giving(lambda x: np.zeros((1, 3))), noise(2), ValueError, r"shape \(1, 3\) for 2 images"),
        (giving(lambda x: np.zeros(2)), noise(2), ValueError, r"shape \(2,\) for 2 images"),
        (giving(lambda x: np.zeros((2, 0))), noise(2), ValueError, r"shape \(2, 0\)"),
        (
            giving(lambda x: np.full((2, 3), "a")),
            noise(2),
            ValueError,
            "gave <U1 of .*its transform must give numbers",
        ),
        (
            giving(lambda x: np.array([[1.0], [np.nan]])),
            noise(2),
            ValueError,
            "NaN or infinity for the image '1'",
        ),
        (
            giving(lambda x: np.array([[1e300], [1.0]])),
            noise(2),
            ValueError,
            "NaN or infinity for the image '0'",
        ),
    ],
)
def test_bad_input(encoder, images, error, sentence, store):
    for run in (embed, store.embed):
        with pytest.raises(error, match=sentence) as caught:
            run(encoder, images)
        assert "\n" not in str(caught.value)


def test_dimensions_must_agree_between_batches():
    encoder = giving(lambda images: np.zeros((len(images), len(images))))
    with pytest.raises(ValueError, match="differ in length: .*1, .*2"):
        embed(encoder, noise(3), batch_size=2)


def test_nan_after_the_last_steps_names_the_image():
    images = ImageCollection.from_arrays(noise(4), ids=list("abcd"))
    pipeline = make_pipeline(Means(), StandardScaler()).fit(images)
    pipeline[-1].scale_ = pipeline[-1].scale_ * 0
    with (
        pytest.raises(ValueError, match="StandardScaler gave NaN or infinity for the image 'a'"),
        np.errstate(all="ignore"),
    ):
        embed(pipeline, images)


def test_nothing_but_broken_images(tmp_path, store):
    images = ImageCollection.from_folder(write_images(tmp_path / "bad", 3, broken=(0, 1, 2)))
    with pytest.raises(
        ValueError, match=r"none of the 3 images can be used; the first, '000.png': "
    ) as caught:
        store.embed(Means(), images)
    assert not isinstance(caught.value, ImageProblem)


def test_vanished_file_is_a_problem_not_a_crash(folder, store):
    images = ImageCollection.from_folder(folder)
    (folder / "007.png").unlink()
    result = store.embed(Means(), images)
    assert "007.png" in result.problems.name.tolist() and 7 not in result.positions


def test_file_that_changes_while_it_is_read_is_a_problem(tmp_path, store, monkeypatch):
    photos = write_images(tmp_path / "photos", 3)
    images = ImageCollection.from_folder(photos)
    real = ImageCollection.digest

    def digest(self, which):
        found = real(self, which)
        if which == 1:
            (photos / "001.png").write_bytes((photos / "002.png").read_bytes() + b" ")
        return found

    monkeypatch.setattr(ImageCollection, "digest", digest)
    result = store.embed(Means(), images)
    assert result.problems.values.tolist() == [
        ["001.png", "changed while it was read; run it again"]
    ]


def test_unfingerprintable_encoder_works_without_a_store(store):
    encoder = Means()
    encoder.network_ = weakref.WeakSet()
    assert embed(encoder, noise(2)).embeddings.shape == (2, 12)
    with pytest.raises(
        ValueError, match=r"Means\.network_ holds a .*WeakSet, which cannot be saved or identified"
    ):
        store.embed(encoder, noise(2))
