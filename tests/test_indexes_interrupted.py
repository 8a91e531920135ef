"""Saving an index that fails or is killed half way: the index saved before is still there."""

import errno
import os
import subprocess
import sys

import pytest
from index_oracles import make
from test_indexes_folder import ALL, data, same

from cbirkit import indexes
from cbirkit.indexes import HNSW, Exact
from cbirkit.indexes import folder as module


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("fails_at", [1, 2, 3])  # keys, structure, index.json: three renames at least
def test_a_failing_rename_leaves_the_old_index(kind, fails_at, tmp_path, monkeypatch):
    old, new = make(kind).fit(data(kind, seed=1)), make(kind).fit(data(kind, 90, seed=2))
    old.save(tmp_path)
    before = sorted(os.listdir(tmp_path))
    real, calls = os.replace, []

    def replace(*args):
        calls.append(args)
        if len(calls) >= fails_at:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(*args)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(
        PermissionError, match="was not saved to .*: Permission denied; make room or choose another"
    ):
        new.save(tmp_path)
    monkeypatch.undo()
    assert same(indexes.load(tmp_path), old, data(kind)) and sorted(os.listdir(tmp_path)) == before
    assert same(new, make(kind).fit(data(kind, 90, seed=2)), data(kind))
    new.save(tmp_path)
    assert same(indexes.load(tmp_path), new, data(kind))


@pytest.mark.parametrize("kind", [Exact, HNSW])
@pytest.mark.parametrize("after", [0, 500, 4000])
def test_a_full_disk_leaves_the_old_index(kind, after, tmp_path, monkeypatch):
    old = make(kind).fit(data(kind, seed=1))
    old.save(tmp_path)
    before, written = sorted(os.listdir(tmp_path)), []
    real = module._Hashed.write

    def write(self, some):
        written.append(memoryview(some).nbytes)
        if sum(written) > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, some)

    monkeypatch.setattr(module._Hashed, "write", write)
    with pytest.raises(OSError, match="was not saved to .*: No space left on device; make room or") as caught:
        make(kind).fit(data(kind, 90, seed=2)).save(tmp_path)
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert same(indexes.load(tmp_path), old, data(kind)) and sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("kind", ALL)
def test_files_that_may_not_grow_leave_the_old_index(kind, tmp_path):
    # a limit of the operating system: Annoy's own writing meets it too
    resource = pytest.importorskip("resource")
    old, new = make(kind).fit(data(kind, seed=1)), make(kind).fit(data(kind, 3000, seed=2))
    old.save(tmp_path)
    before, limits = sorted(os.listdir(tmp_path)), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(OSError, match="was not saved to"):
            new.save(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert same(indexes.load(tmp_path), old, data(kind)) and sorted(os.listdir(tmp_path)) == before
    assert same(new, make(kind).fit(data(kind, 3000, seed=2)), data(kind))


KILLED = """
import os, sys
import numpy as np
from cbirkit.indexes import Exact
folder, at, late = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "after"
real, calls = os.replace, []
def replace(*args):
    calls.append(args)
    if late:
        real(*args)
    if len(calls) == at:
        os._exit(9)
    if not late:
        real(*args)
os.replace = replace
Exact().fit(np.full((5, 16), 2.0)).save(folder)
"""


@pytest.mark.parametrize(("at", "when", "expected"), [(2, "before", 60), (3, "before", 60), (3, "after", 5)])
def test_a_killed_process_leaves_the_old_index_or_the_new(at, when, expected, tmp_path):
    old = Exact().fit(data(Exact))
    old.save(tmp_path)
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(at), when], check=False)
    assert done.returncode == 9
    assert indexes.load(tmp_path).n_indexed_ == expected
    old.save(tmp_path)  # and what the killed one left is cleaned up
    assert len(os.listdir(tmp_path)) == 3 and same(indexes.load(tmp_path), old, data(Exact))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the administrator may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match="was not saved to"):
            Exact().fit(data(Exact)).save(tmp_path / "new")
    finally:
        tmp_path.chmod(0o700)


def test_a_path_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="was not saved to"):
        Exact().fit(data(Exact)).save(tmp_path / "file" / "index")
