"""Folders and files that are written whole or not at all."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from cbirkit import _atomic, _manifest
from cbirkit.persistence import load_estimator, save_estimator, save_state

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
    assert (folder / "holiday.jpg").read_bytes() == b"mine" and load_estimator(
        folder
    ).n_components == 3
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
    monkeypatch.setattr(
        os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full"))
    )
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


def test_every_bit_of_the_manifest_counts(tmp_path):
    folder = save_estimator(PCA(2), tmp_path / "e")
    path = folder / "manifest.json"
    whole = path.read_bytes()
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 4
        path.write_bytes(bytes(changed))
        try:
            load_estimator(folder)
        except ValueError:
            continue
        assert json.loads(bytes(changed)) == json.loads(whole)  # white space


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is damaged or foreign"),
        (b"[1]", "is damaged or foreign"),
        (b"{}", "is damaged or foreign"),
        (b"\xff\xfe\xed", "is damaged or foreign"),
        (b'{"name": "an app", "files": ["holiday.jpg"]}', "is damaged or foreign"),
        (
            b'{"format": 99}',
            r"it has the format 99, this cbirkit reads format 1 \(update cbirkit\?\)",
        ),
        (b'{"format": 1, "kind": "estimator", "files": {}}', "is damaged or foreign"),
        (_manifest.encode("estimator", ["holiday.jpg"]), "is damaged or foreign"),
        (_manifest.encode("estimator", {"state.json": {"bytes": 1}}), "is damaged or foreign"),
    ],
)
def test_a_manifest_that_is_none_is_neither_read_nor_replaced(text, message, tmp_path):
    folder = save_estimator(PCA(2), tmp_path / "e")
    (folder / "manifest.json").write_bytes(text)
    with pytest.raises(ValueError, match=f"manifest.json' .*{message}"):
        load_estimator(folder)
    with pytest.raises(
        FileExistsError, match=f"is not replaced: .*{message}.*; choose a new folder"
    ):
        save_estimator(PCA(3), folder)
    assert (folder / "manifest.json").read_bytes() == text and (folder / "state.json").exists()


def test_a_wrong_size_is_found_without_hashing(tmp_path, monkeypatch):
    folder = save_estimator(PCA(2), tmp_path / "e")
    with open(folder / "state.json", "ab") as file:
        file.write(b" ")
    monkeypatch.setattr(_manifest.hashlib, "file_digest", None)
    with pytest.raises(
        ValueError, match=r"state.json' is damaged: its size \(\d+ bytes, not \d+\) differs"
    ):
        load_estimator(folder)


def test_a_save_of_another_kind_is_not_replaced(tmp_path):
    folder = save_estimator(PCA(2), tmp_path / "e")
    with pytest.raises(
        FileExistsError, match="holds a saved estimator, which a saved list would replace"
    ):
        save_state([1], folder, kind="list")
    assert load_estimator(folder).n_components == 2


def test_what_a_desktop_leaves_is_no_reason_to_refuse(tmp_path):
    folder = save_estimator(PCA(2), tmp_path / "e")
    (folder / ".DS_Store").write_bytes(b"positions of icons")
    assert load_estimator(save_estimator(PCA(3), folder)).n_components == 3
    assert not (folder / ".DS_Store").exists()


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "e"
    try:
        link.symlink_to(tmp_path / "disk", target_is_directory=True)
    except OSError:
        pytest.skip("links cannot be made here")
    for n in (2, 3, 4):
        save_estimator(PCA(n), f"{link}{os.sep}")
        assert link.is_symlink() and load_estimator(link).n_components == n
    os.rename(tmp_path / "disk", _atomic._backup(tmp_path / "disk"))  # killed between the renames
    assert load_estimator(link).n_components == 4


def test_the_folder_one_works_in_is_not_pulled_away(tmp_path, monkeypatch):
    folder = save_estimator(PCA(2), tmp_path / "e")
    monkeypatch.chdir(folder)
    with pytest.raises(FileExistsError, match="this process works in it"):
        save_estimator(PCA(3), ".")
    assert load_estimator(".").n_components == 2


def test_a_folder_that_is_read_only_is_not_replaced(tmp_path, monkeypatch):
    folder = save_estimator(PCA(2), tmp_path / "e")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder)
    with pytest.raises(PermissionError, match="cannot write .*: no permission to write there"):
        save_estimator(PCA(3), folder)
    assert load_estimator(folder).n_components == 2 and len(list(tmp_path.iterdir())) == 1


def test_a_folder_in_use_is_told(tmp_path, monkeypatch):
    folder = save_estimator(PCA(2), tmp_path / "e")

    def busy(*args):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))  # as a mount point answers

    monkeypatch.setattr(os, "rename", busy)
    monkeypatch.setattr(_atomic.time, "sleep", lambda seconds: None)
    with pytest.raises(OSError, match="in use, or a disk of its own; choose a folder inside it"):
        save_estimator(PCA(3), folder)
    assert load_estimator(folder).n_components == 2 and len(list(tmp_path.iterdir())) == 1


def test_a_save_within_a_save_tells_the_folder_that_was_asked_for(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError) as caught, _atomic.write_folder(tmp_path / "outer") as folder:
        save_estimator(PCA(2), folder / "inner")
    assert str(caught.value).startswith(
        f"cannot write {str(tmp_path / 'outer')!r}: the disk is full; "
    )
    assert caught.value.errno == errno.ENOSPC and list(tmp_path.iterdir()) == []


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
