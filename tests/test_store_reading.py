"""How the store reads images, and what it refuses."""

import time
import weakref

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from store_samples import Means, counter, noise, write_images

from cbirkit.images import ImageCollection, ImageProblem
from cbirkit.store import EmbeddingStore, ahead, embed


@pytest.fixture(autouse=True)
def encoded(tmp_path, monkeypatch):
    return counter(tmp_path, monkeypatch)


@pytest.fixture
def folder(tmp_path):
    return write_images(tmp_path / "photos", 20, broken=(3, 11))


@pytest.fixture
def store(tmp_path):
    return EmbeddingStore(tmp_path / "store")


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
        (Means, noise(1), TypeError, r"is the class Means; give an instance: Means\(\)"),
        ("hsv", noise(1), TypeError, r"str is no encoder: it has no transform"),
        (Means(), [], ValueError, "there is no image"),
        (Means(), "photos", TypeError, "use ImageCollection.from_folder"),
        (giving(lambda x: np.zeros((1, 3))), noise(2), ValueError, r"shape \(1, 3\) for 2 images"),
        (giving(lambda x: np.zeros(2)), noise(2), ValueError, r"shape \(2,\) for 2 images"),
        (giving(lambda x: np.zeros((2, 0))), noise(2), ValueError, r"shape \(2, 0\)"),
        (
            giving(lambda x: np.full((2, 3), "a")),
            noise(2),
            ValueError,
            "its transform must give numbers",
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
    with pytest.raises(
        ValueError, match=r"shape \(1, 1\) for 1 images, the first '2'; .* 2 dimensions before"
    ):
        embed(encoder, noise(3), batch_size=2)


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, True, None])
def test_batch_size(batch_size):
    with pytest.raises(ValueError, match="batch_size=.* is not a positive whole number"):
        embed(Means(), noise(2), batch_size=batch_size)


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
        ValueError, match=r"Means\.network_ is a .*WeakSet, which cannot be saved or identified"
    ):
        store.embed(encoder, noise(2))
