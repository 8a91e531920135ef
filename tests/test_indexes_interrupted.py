"""Saving an index that fails or is killed half way: the index saved before is still there."""

import errno
import os
import subprocess
import sys

import pytest
from index_oracles import make
from test_indexes_folder import ALL, data, same

from cbirkit import _atomic, indexes
from cbirkit.indexes import HNSW, Annoy, Exact


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(_atomic.time, "sleep", lambda seconds: None)  # between attempts to rename


def fail(monkeypatch, step, at, number):
    """Let every call of ``os.<step>`` from the `at`-th on fail; return the list of the calls."""
    real, calls = getattr(os, step), []

    def failing(*args):
        calls.append(args)
        if len(calls) >= at:
            raise OSError(number, os.strerror(number))
        return real(*args)

    monkeypatch.setattr(os, step, failing)
    return calls


# a save flushes keys, structure, index.json and the manifest; renames the manifest, the old folder and the new one
STEPS = [
    ("mkdir", 1),
    ("replace", 1),
    ("rename", 1),
    ("rename", 2),
    *(("fsync", at) for at in (1, 2, 3, 4)),
]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(("step", "at"), STEPS)
def test_a_failing_step_leaves_the_old_index(kind, step, at, tmp_path, monkeypatch):
    old, new = make(kind).fit(data(kind, seed=1)), make(kind).fit(data(kind, 90, seed=2))
    old.save(tmp_path / "index")
    calls = fail(monkeypatch, step, at, errno.EACCES)
    with pytest.raises(
        PermissionError, match="cannot write .*index': no permission to write there; choose"
    ):
        new.save(tmp_path / "index")
    assert len(calls) >= at
    monkeypatch.undo()
    assert same(indexes.load(tmp_path / "index"), old, data(kind)) and os.listdir(tmp_path) == [
        "index"
    ]
    assert same(new, make(kind).fit(data(kind, 90, seed=2)), data(kind))
    new.save(tmp_path / "index")
    assert same(indexes.load(tmp_path / "index"), new, data(kind)) and os.listdir(tmp_path) == [
        "index"
    ]


@pytest.mark.parametrize("kind", [Exact, HNSW, Annoy])
@pytest.mark.parametrize(
    ("number", "told"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only")]
)
@pytest.mark.parametrize("step", ["mkdir", "fsync", "replace"])
def test_a_full_or_read_only_disk_leaves_the_old_index(
    kind, number, told, step, tmp_path, monkeypatch
):
    old = make(kind).fit(data(kind, seed=1))
    old.save(tmp_path / "index")
    fail(monkeypatch, step, 1, number)
    with pytest.raises(OSError, match=f"cannot write .*index': .*{told}") as caught:
        make(kind).fit(data(kind, 90, seed=2)).save(tmp_path / "index")
    assert caught.value.errno == number
    monkeypatch.undo()
    assert same(indexes.load(tmp_path / "index"), old, data(kind)) and os.listdir(tmp_path) == [
        "index"
    ]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    "most", [100, 500, 3000]
)  # within index.json, the first payload, the structure
def test_files_that_may_not_grow_leave_the_old_index(kind, most, tmp_path):
    # a limit of the operating system: writing stops half way, and Annoy's own writing meets it too
    resource = pytest.importorskip("resource")
    old, new = make(kind).fit(data(kind, seed=1)), make(kind).fit(data(kind, 3000, seed=2))
    old.save(tmp_path / "index")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        with pytest.raises(
            OSError, match="cannot write .*index': (the disk is full|a file would be larger)"
        ):
            new.save(tmp_path / "index")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert same(indexes.load(tmp_path / "index"), old, data(kind)) and os.listdir(tmp_path) == [
        "index"
    ]
    assert same(new, make(kind).fit(data(kind, 3000, seed=2)), data(kind))


KILLED = """
import os, sys
import numpy as np
from cbirkit import indexes
folder, old, new = sys.argv[1], indexes.Exact().fit(np.ones((60, 16))), indexes.Exact().fit(np.full((5, 16), 2.0))

def killed(name, at, calls):
    real = getattr(os, name)
    def step(*args, **kwargs):
        if len(calls) == at:
            os._exit(9)
        calls.append(name)
        return real(*args, **kwargs)
    return step

status, at = 9, 0
while status == 9:
    old.save(folder)
    child = os.fork()
    if not child:
        calls = []
        for name in ("mkdir", "fsync", "replace", "rename", "rmdir", "unlink"):
            setattr(os, name, killed(name, at, calls))
        new.save(folder)
        print(*calls, file=sys.stderr)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(at, status, indexes.load(folder).n_indexed_)
    at += 1
"""


@pytest.mark.skipif(
    not hasattr(os, "fork"), reason="processes are killed in many places, quickly, by forking"
)
def test_a_process_killed_at_any_step_leaves_the_old_index_or_the_new(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "index")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    steps = done.stderr.split()  # of the last one, which nobody killed
    assert len(lines) == len(steps) + 1 and steps.count("rename") == 2 and steps.count("fsync") >= 5
    renamed = len(steps) - steps[::-1].index("rename")
    for at, status, n in lines:
        assert (status, n) == (0 if at == len(steps) else 9, 60 if at < renamed else 5)
    for path in tmp_path.iterdir():
        os.utime(path, (1, 1))  # days later, what the killed ones left is cleaned up
    Exact().fit(data(Exact)).save(tmp_path / "index")
    assert os.listdir(tmp_path) == ["index"] and indexes.load(tmp_path / "index").n_indexed_ == 60


@pytest.mark.skipif(
    os.name == "nt" or os.geteuid() == 0, reason="the administrator may write anywhere"
)
def test_a_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match="no permission to write there"):
            Exact().fit(data(Exact)).save(tmp_path / "new")
        with pytest.raises(PermissionError, match="no permission to write there"):
            Exact().fit(data(Exact)).save(tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_a_path_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write .*: a file stands where a folder is needed"):
        Exact().fit(data(Exact)).save(tmp_path / "file" / "index")
