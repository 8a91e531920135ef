"""Folders and files that are written whole or not at all."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from cbirkit import _atomic
from cbirkit.persistence import load_estimator, save_estimator

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def data():
    return np.random.RandomState(0).normal(size=(40, 12)).astype(np.float32)


def test_old_version_survives_a_failure(tmp_path, data, monkeypatch):
    folder = save_estimator(StandardScaler().fit(data), tmp_path / "e")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="the disk is full; free some space") as caught:
        save_estimator(StandardScaler().fit(data + 1), folder)
    assert caught.value.errno == errno.ENOSPC and str(folder) in str(caught.value)
    monkeypatch.undo()
    np.testing.assert_array_equal(load_estimator(folder).mean_, StandardScaler().fit(data).mean_)
    assert [p.name for p in tmp_path.iterdir()] == ["e"]


@pytest.mark.parametrize(
    ("number", "sentence"), [(errno.EROFS, "read-only"), (errno.EACCES, "no permission to write")]
)
def test_folder_that_cannot_be_written(number, sentence, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match=sentence):
        save_estimator(StandardScaler(), tmp_path / "e")


def test_saving_replaces_an_earlier_save_but_nothing_else(tmp_path):
    folder = save_estimator(PCA(2), tmp_path / "e")
    save_estimator(PCA(3), folder)
    assert load_estimator(folder).n_components == 3
    (folder / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="holds 'holiday.jpg'"):
        save_estimator(PCA(4), folder)
    assert (folder / "holiday.jpg").read_bytes() == b"mine" and load_estimator(folder).n_components == 3
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileExistsError, match="is a file"):
        save_estimator(PCA(4), tmp_path / "file")


def test_kill_between_the_two_renames_is_mended(tmp_path):
    folder = save_estimator(PCA(2), tmp_path / "e")
    os.rename(folder, _atomic._backup(folder))
    assert load_estimator(folder).n_components == 2


def test_write_bytes_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a" / "b"
    _atomic.write_bytes(path, [b"on", b"e"])
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(OSError, match="cannot write .* the disk is full"):
        _atomic.write_bytes(path, b"two")
    assert path.read_bytes() == b"one" and len(list(path.parent.iterdir())) == 1


def test_leftovers_of_killed_processes_are_swept(tmp_path):
    old, young = tmp_path / ".e.1-aa.partial", tmp_path / ".e.2-bb.partial"
    for path in (old, young):
        path.mkdir()
    os.utime(old, (1, 1))
    save_estimator(PCA(2), tmp_path / "e")
    assert not old.exists() and young.exists()
