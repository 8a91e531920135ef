"""The store when killed, shared, out of disk or given nonsense."""

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.preprocessing import FunctionTransformer
from store_samples import ROOT, Means, counter, n_kept, noise, write_images

from cbirkit.images import ImageCollection
from cbirkit.store import EmbeddingStore, digests


@pytest.fixture(autouse=True)
def encoded(tmp_path, monkeypatch):
    return counter(tmp_path, monkeypatch)


@pytest.fixture
def folder(tmp_path):
    return write_images(tmp_path / "photos", 20, broken=(3, 11))


@pytest.fixture
def store(tmp_path):
    return EmbeddingStore(tmp_path / "store")


# ---------------------------------------------------------------- other processes

WORKER = """
import sys, time
from functools import partial
from pathlib import Path
import numpy as np
sys.path.insert(0, {tests!r})
from sklearn.preprocessing import FunctionTransformer
from store_samples import Means
from cbirkit.images import ImageCollection
from cbirkit.store import EmbeddingStore
images = ImageCollection.from_folder(sys.argv[1])
result = EmbeddingStore(sys.argv[2]).embed(Means(pause=float(sys.argv[4])), images, batch_size=8)
np.save(sys.argv[3], result.embeddings)
"""


def start(tmp_path, photos, folder, out, pause):
    program = tmp_path / "worker.py"
    program.write_text(WORKER.format(tests=str(Path(__file__).parent)))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        str(program),
        str(photos),
        str(folder),
        str(tmp_path / out),
        str(pause),
    ]
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)


def finish(process):
    _, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors


def embedded(photos, folder, pause=0.0):
    """The same, by this process."""
    images, store = ImageCollection.from_folder(photos), EmbeddingStore(folder)
    return store.embed(Means(pause=pause), images, batch_size=8, progress=False).embeddings


def test_killed_run_goes_on_and_ends_equal(tmp_path, encoded):
    photos = write_images(tmp_path / "photos", 100, broken=(2, 30, 77))
    shutil.copy(photos / "001.png", photos / "050.png")  # a duplicate
    whole = embedded(photos, tmp_path / "whole")
    assert encoded() == 96
    process = start(tmp_path, photos, tmp_path / "store", "resumed.npy", 0.3)
    deadline = time.monotonic() + 600
    while n_kept(tmp_path / "store") < 32 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = n_kept(tmp_path / "store")
    assert 32 <= kept < 96 and not (tmp_path / "resumed.npy").exists()
    encoded()
    finish(start(tmp_path, photos, tmp_path / "store", "resumed.npy", 0.3))
    assert encoded() == 96 - kept
    resumed = np.load(tmp_path / "resumed.npy")
    assert whole.shape == (97, 12) and whole.tobytes() == resumed.tobytes()


def test_two_processes_on_one_store(tmp_path, encoded):
    photos = write_images(tmp_path / "photos", 60)
    processes = [start(tmp_path, photos, tmp_path / "store", f"{i}.npy", 0.02) for i in range(2)]
    for process in processes:
        finish(process)
    expected = Means().transform([np.asarray(Image.open(p)) for p in sorted(photos.iterdir())])
    for i in range(2):
        np.testing.assert_array_equal(np.load(tmp_path / f"{i}.npy"), expected)
    encoded()
    np.testing.assert_array_equal(embedded(photos, tmp_path / "store", pause=0.02), expected)
    assert encoded() == 0
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["embeddings.sqlite"]


# ---------------------------------------------------------------- full disk, read-only, interruption


class Limited(sqlite3.Connection):
    """A connection to a database that may not grow."""

    n_pages = 40

    def execute(self, *arguments):
        super().execute(f"PRAGMA max_page_count = {self.n_pages}")
        return super().execute(*arguments)


def test_full_disk_is_one_sentence_and_loses_nothing(store, encoded, monkeypatch):
    real, images = sqlite3.connect, ImageCollection.from_arrays(noise(400))
    wide = FunctionTransformer(partial(widened, Means()))
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: real(*a, factory=Limited, **k))
    with pytest.raises(
        OSError, match="cannot write .* disk is full; free space, or choose another place"
    ) as caught:
        store.embed(wide, images, batch_size=8)
    assert caught.value.errno and "\n" not in str(caught.value)
    monkeypatch.undo()
    os.environ["CBIRKIT_TEST_COUNT"] = str(store.folder / "count")
    kept = n_kept(store.folder)
    assert kept >= 16 and len(store.embed(wide, images).embeddings) == 400
    assert sum(map(int, (store.folder / "count").read_text().split())) == 400 - kept


def widened(encoder, images):
    return np.tile(encoder.transform(images), 100)


def test_read_only_store_refuses_before_it_encodes_but_can_be_read(store, encoded, monkeypatch):
    images = ImageCollection.from_arrays(noise(5))
    store.embed(Means(), images)
    encoded()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert len(store.embed(Means(), images).embeddings) == 5
    for encoder in (Means(), Means(power=3)):
        with pytest.raises(OSError, match="cannot write .* readonly database; .*another place"):
            store.embed(encoder, ImageCollection.from_arrays(noise(3, seed=1)))
    assert encoded() == 6  # a batch of each


def test_folder_without_permission(store, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(PermissionError, match="Permission denied; .*choose another place"):
        store.embed(Means(), noise(3))


def test_store_that_is_a_file(tmp_path):
    (tmp_path / "x").write_text("x")
    with pytest.raises(OSError, match="cannot write .*choose another place"):
        EmbeddingStore(tmp_path / "x").embed(Means(), noise(2))


def test_interrupted_by_the_user_keeps_what_was_done(tmp_path, encoded):
    store = EmbeddingStore(tmp_path / "store")

    def read(row):
        if row == 20:
            raise KeyboardInterrupt
        return noise(1, seed=row)[0]

    table = pd.DataFrame(index=[f"i{n}" for n in range(30)])
    images = ImageCollection.from_function(read, table, key="noise 1", name="noise")
    with pytest.raises(KeyboardInterrupt):
        store.embed(Means(), images, batch_size=5)
    assert encoded() == 20
    store.embed(Means(), images[:20])
    assert encoded() == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="links and pipes are made otherwise here")
@pytest.mark.parametrize("ending", ["", "-wal", "-journal"])
@pytest.mark.parametrize(
    "put", [getattr(os, "mkfifo", None), lambda path: path.symlink_to("/dev/zero")]
)
def test_pipes_and_devices_in_a_store_do_not_hang(put, ending, store):
    if ending:
        store.embed(Means(), noise(1))
    store.folder.mkdir(exist_ok=True)
    put(Path(f"{store.file}{ending}"))
    with pytest.raises(OSError, match="is a pipe or a device; delete it"):
        store.embed(Means(), noise(3))
    with digests(store.file) as connection:
        assert connection is None
