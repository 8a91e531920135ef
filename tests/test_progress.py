"""Progress bars: none where none is wanted, by whatever library; and one that ends early says that all is done."""

import io
import threading
import zipfile

import numpy as np
import pytest
from cli_samples import add_textured, photos, runner
from retrieval_samples import Means, collection, noise
from tqdm.auto import tqdm

from cbirkit import Retriever, encoders
from cbirkit._optional import bars
from cbirkit.datasets.fetch import unpack as unpacking
from cbirkit.encoders import codebooks
from cbirkit.images import ImageCollection
from cbirkit.store import embed

folder = pytest.fixture(photos)
run = pytest.fixture(runner)


class Chatty(Means):
    """An encoder of a library that draws bars of its own, when it learns and when it is used."""

    def fit(self, images, y=None):
        self.learned_ = len(list(tqdm(images)))
        return self

    def __sklearn_is_fitted__(self):
        return hasattr(self, "learned_")

    def transform(self, images):
        return super().transform(list(tqdm(images)))


@pytest.mark.parametrize("progress", [True, False])
def test_libraries_are_silent_too(progress, capsys):
    retriever = Retriever(Chatty(), progress=progress).fit(collection())
    retriever.add(collection(2, prefix="n")).search(collection(2, prefix="q"), k=2)
    embed(Chatty().fit([]) if progress else retriever.encoder_, noise(3), progress=progress)
    assert bool(capsys.readouterr().err) is progress


def test_quiet_commands_draw_nothing(folder, run, monkeypatch):
    add_textured(folder, 4)
    monkeypatch.setattr(
        codebooks, "tqdm", lambda *args, **kwargs: tqdm(*args, **{**kwargs, "delay": 0})
    )
    assert "local descriptors" in run("index", folder, "--encoder", "bow")[2]
    for encoder in ("vlad", "color+vlad"):
        assert run("index", folder, "--quiet", "--encoder", encoder) == (0, "", "")


def test_bars_come_back(capsys):
    """Also where blocks of two threads end in the order in which they began."""
    first, second = threading.Event(), threading.Event()

    def other():
        with bars(False):
            first.set()
            second.wait(60)

    thread = threading.Thread(target=other)
    with bars(False):
        thread.start()
        first.wait(60)
        assert tqdm([]).disable
    assert tqdm([]).disable
    second.set()
    thread.join()
    with bars(True):
        assert not tqdm([]).disable
    with pytest.raises(KeyError), bars(False):
        raise KeyError
    assert not tqdm([]).disable


@pytest.fixture
def ended(monkeypatch):
    """(done, total) of each bar when it was closed."""
    real, seen = tqdm.close, []
    monkeypatch.setattr(tqdm, "close", lambda bar: seen.append((bar.n, bar.total)) or real(bar))
    return seen


def test_a_full_budget_of_descriptors_ends_at_all(ended):
    textured = [
        np.kron(np.random.RandomState(n).randint(0, 256, (16, 16, 3)), np.ones((8, 8, 1))).astype(
            np.uint8
        )
        for n in range(9)
    ]
    encoders.BagOfWords(n_words=4, max_descriptors=60).fit(ImageCollection.from_arrays(textured))
    assert (9, 9) in ended and all(n == total for n, total in ended)


def test_the_end_of_an_archive_is_the_end(ended, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for n in range(20):
            file.writestr(f"in/{n}.txt", "one")
    (tmp_path / "a.zip").write_bytes(buffer.getvalue())
    unpacking.unpack(tmp_path / "a.zip", tmp_path / "out")
    assert ended and all(n == total for n, total in ended)
