"""Files that are written whole or not at all."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from cbirkit import _atomic
from cbirkit.persistence import load_estimator, save, save_estimator


@pytest.fixture
def data():
    return np.random.RandomState(0).normal(size=(40, 12)).astype(np.float32)


def test_old_version_survives_a_failure(tmp_path, data, monkeypatch):
    folder = save_estimator(StandardScaler().fit(data), tmp_path / "e")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
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
    path = save_estimator(PCA(2), tmp_path / "e")
    save_estimator(PCA(3), path)
    assert load_estimator(path).n_components == 3
    with pytest.raises(FileExistsError, match="no saved list and is not replaced"):
        save([1], path, kind="list")
    path.write_bytes(path.read_bytes()[:-30])  # a damaged one may go
    assert load_estimator(save_estimator(PCA(2), path)).n_components == 2
    for other in (b"", b"x", b"PK\3\4" + bytes(100), b"holiday"):
        (tmp_path / "file").write_bytes(other)
        with pytest.raises(FileExistsError, match="is not replaced"):
            save_estimator(PCA(4), tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == other
    with pytest.raises(FileExistsError, match="is not replaced"):
        save_estimator(PCA(4), tmp_path)
    with pytest.raises(OSError, match="a file stands where a folder is needed"):
        save_estimator(PCA(4), tmp_path / "file" / "e")


def test_write_bytes_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a" / "b"
    _atomic.write_bytes(path, b"one")
    monkeypatch.setattr(
        os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full"))
    )
    with pytest.raises(OSError, match="cannot write .* the disk is full"):
        _atomic.write_bytes(path, b"two")
    assert path.read_bytes() == b"one" and len(list(path.parent.iterdir())) == 1


def test_leftovers_of_killed_processes_are_swept(tmp_path):
    old, young = tmp_path / ".e.1-aa.partial", tmp_path / ".e.2-bb.partial"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    save_estimator(PCA(2), tmp_path / "e")
    assert not old.exists() and young.exists()


def test_a_link_stays_a_link(tmp_path):
    link = tmp_path / "e"
    try:
        link.symlink_to(tmp_path / "disk")
    except OSError:
        pytest.skip("links cannot be made here")
    for n in (2, 3):
        save_estimator(PCA(n), link)
        assert link.is_symlink() and load_estimator(tmp_path / "disk").n_components == n


def test_an_array_that_does_not_fit_on_the_disk_is_told(tmp_path):
    resource = pytest.importorskip("resource")
    scaler = StandardScaler().fit(np.zeros((2, 5000)))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(
            OSError, match="cannot write .*e': (the disk is full|a file would be larger)"
        ):
            save_estimator(scaler, tmp_path / "e")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
