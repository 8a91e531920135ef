"""Encoding by several processes: the same embeddings, and nothing lost or doubled, whatever is killed."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from cli_samples import failed, runner
from conftest import ROOT, require_packages
from PIL import Image
from store_samples import counter, n_kept, write_images
from worker_trouble import DEADLY

from cbirkit import ImageCollection, Retriever, encoders, workers
from cbirkit.store import EmbeddingStore, embed

PRELOAD = str(ROOT / "tests" / "worker_trouble.py")
COLOR = encoders.ColorHistogram()
run = pytest.fixture(runner)


def require_dask():
    """Skip where the packages of the extra "scale" are missing; fail if they are demanded, as by CI."""
    require_packages("--workers", "scale", "cryptography", "distributed")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A running cluster of two workers, on loopback; `count()` tells how many images they read since it was asked last."""
    require_dask()
    import dask
    from distributed import LocalCluster

    patch = pytest.MonkeyPatch()
    count = counter(tmp_path_factory.mktemp("count"), patch)
    patch.setenv("PYTHONPATH", os.pathsep.join(map(str, (ROOT, ROOT / "tests"))))
    patch.setenv("CBIRKIT_TEST_PAUSE", "0.01")
    trouble = {
        "distributed.worker.preload": [PRELOAD],
        "distributed.scheduler.allowed-failures": 1,
    }
    settings = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with (
        dask.config.set(trouble),
        workers.settings(),
        LocalCluster(n_workers=2, **settings) as made,
    ):
        made.count = count
        yield made
    patch.undo()


@pytest.fixture
def there(cluster):
    """The address of that cluster."""
    cluster.count()
    return cluster.scheduler_address


@pytest.fixture
def store(tmp_path):
    return EmbeddingStore(tmp_path / "store")


def when(condition, act):
    """A thread that acts once a condition holds."""

    def wait():
        deadline = time.monotonic() + 300
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def spread(folder, store, there, encoder=COLOR):
    """Encode by the workers, then what `embed` says."""
    workers.encode(encoder, folder, store, there, progress=False)
    return embed(encoder, ImageCollection.from_folder(folder), store, progress=False)


def problems(embedded):
    return dict(embedded.problems.to_numpy())


# ---------------------------------------------------------------- what comes out


def test_embeddings_and_problems_are_those_of_one_process(tmp_path, store, there, cluster):
    folder = write_images(tmp_path / "photos", 60, broken=(3, 11))
    shutil.copy(folder / "001.png", folder / "copy.png")
    shutil.copy(folder / "003.png", folder / "broken.png")
    (folder / "words.jpg").write_text("<html>no image")
    expected = embed(COLOR, folder, progress=False)
    found = spread(folder, store, there)
    assert found.embeddings.tobytes() == expected.embeddings.tobytes()
    assert problems(found) == problems(expected) and len(problems(found)) == 4
    assert store.n_encoded == n_kept(store.folder) == cluster.count() == 58
    write_images(folder, 64, broken=(3, 11))  # four more
    assert len(spread(folder, store, there).embeddings) == 63
    assert store.n_encoded == 62 and cluster.count() == 4
    # where there is nothing to do nobody is asked
    workers.encode(COLOR, folder, store, "tcp://127.0.0.1:1")


def test_a_network_to_the_digits_that_the_documentation_promises(tmp_path, store, there):
    pytest.importorskip("torch")
    folder = write_images(tmp_path / "photos", 9)
    deep = encoders.Deep("conv5", weights=None, size=32, random_state=3)
    found = spread(folder, store, there, deep)
    assert store.n_encoded == 9
    np.testing.assert_allclose(
        found.embeddings, deep.transform(ImageCollection.from_folder(folder)), atol=1e-5
    )


def test_what_is_no_file_and_what_changes_meanwhile_is_encoded_here(
    tmp_path, store, there, cluster
):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    images = ImageCollection.from_arrays(pixels)
    workers.encode(COLOR, images, store, there)
    assert cluster.count() == 0 and len(embed(COLOR, images, store).embeddings) == 5


def test_workers_have_one_thread_each(there, cluster):
    from distributed import Client

    def threads():
        import cv2
        from threadpoolctl import threadpool_info

        return {cv2.getNumThreads(), *(one["num_threads"] for one in threadpool_info())}

    with Client(there) as client:
        assert set().union(*client.run(threads).values()) == {1}


# ---------------------------------------------------------------- what is killed


def test_an_image_that_kills_its_worker_is_named_and_left_out(tmp_path, store, there, cluster):
    folder = write_images(tmp_path / "photos", 40)
    Image.new("RGB", (9, 9), DEADLY).save(folder / "deadly.png")
    shutil.copy(folder / "deadly.png", folder / "again.png")
    found = spread(folder, store, there)
    ended = "ended each worker that tried to read it"
    assert problems(found) == {"again.png": ended, "deadly.png": ended}
    assert len(found.embeddings) == n_kept(store.folder) == 40
    # the index knows, too
    assert len(Retriever(COLOR, store=store, progress=False).fit(folder).problems) == 2


def test_workers_killed_in_the_middle_lose_nothing(tmp_path, store, there, cluster):
    folder = write_images(tmp_path / "photos", 150)
    before = []

    def kill(n_killed):
        before.append(n_kept(store.folder))
        for nanny in list(cluster.workers.values())[:n_killed]:
            os.kill(nanny.pid, signal.SIGKILL)

    first = when(lambda: n_kept(store.folder) >= 16, lambda: kill(1))
    second = when(lambda: n_kept(store.folder) >= 64, lambda: kill(2))
    found = spread(folder, store, there)
    first.join(), second.join()
    assert 16 <= before[0] < before[1] < 150 and len(found.problems) == 0
    assert store.n_encoded == n_kept(store.folder) == 150
    assert found.embeddings.tobytes() == embed(COLOR, folder, progress=False).embeddings.tobytes()


# ---------------------------------------------------------------- by the command line, with processes of its own


def command(folder, tmp_path, *more):
    """The command line in a process group of its own."""
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests"))),
        "DASK_DISTRIBUTED__WORKER__PRELOAD": f'["{PRELOAD}"]',
        "CBIRKIT_TEST_COUNT": str(tmp_path / "count.txt"),
    }
    line = [sys.executable, "-m", "cbirkit", "index", folder, "--encoder", "color", *more]
    how = {"stderr": subprocess.PIPE, "text": True, "env": env, "start_new_session": True}
    return subprocess.Popen(list(map(str, line)), **how)


def ended(pids):
    """Whether these processes end within a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not any(map(alive, pids)):
            return True
        time.sleep(0.05)
    return False


def alive(pid):
    import psutil

    try:
        found = psutil.Process(pid)
        return None if found.status() == psutil.STATUS_ZOMBIE else found
    except psutil.NoSuchProcess:
        return None


def doubled(folder):
    """Rows of the store, and how many of them stand for an image that has another one."""
    with sqlite3.connect(folder / "embeddings.sqlite") as connection:
        query = "SELECT count(*), count(*) - count(DISTINCT image) FROM embeddings"
        return connection.execute(query).fetchone()


def test_a_coordinator_that_is_killed_goes_on_where_it_was(tmp_path, there, monkeypatch):
    folder = write_images(tmp_path / "photos", 100)
    kept = folder / ".cbirkit" / "store"
    monkeypatch.setenv("CBIRKIT_TEST_PAUSE", "0.05")
    done = 0
    for how in (signal.SIGINT, signal.SIGKILL):
        process, of_it, least = command(folder, tmp_path, "--workers", 1), [], done + 16

        def kill():
            of_it.extend(one.pid for one in alive(process.pid).children(recursive=True))  # noqa: B023
            os.killpg(process.pid, how) if how == signal.SIGINT else process.kill()  # noqa: B023

        when(lambda: n_kept(kept) >= least, kill).join()  # noqa: B023
        errors = process.communicate(timeout=300)[1]
        done = n_kept(kept)
        assert least <= done < 100 and of_it and ended(of_it), errors
        if how == signal.SIGINT:
            assert process.returncode == 130 and "Traceback" not in errors, errors
            assert errors.splitlines()[-1].startswith("cbirkit: interrupted; what was kept"), errors
    again = command(folder, tmp_path, "--workers", there)
    errors = again.communicate(timeout=300)[1]
    assert again.returncode == 0, errors
    assert f"indexed 100 images of {folder} ({100 - done} encoded now)" in errors
    assert doubled(kept) == (100, 0)


def test_a_cluster_of_its_own_lets_nobody_in():
    """Other users of this machine could run code as this one, else."""
    require_dask()
    import psutil
    from distributed import Client

    listening = lambda: {
        one.laddr for one in psutil.Process().net_connections() if one.status == "LISTEN"
    }
    before = listening()
    with workers.settings(), Client(n_workers=0, **workers._HERE) as client:
        new = listening() - before
        assert new and {where.ip for where in new} == {"127.0.0.1"}
        assert client.scheduler.address in {f"tls://127.0.0.1:{where.port}" for where in new}
        with pytest.raises(OSError):
            Client(client.scheduler.address.replace("tls", "tcp"), timeout=0.5)


def test_two_coordinators_on_one_store(tmp_path, there):
    folder = write_images(tmp_path / "photos", 80)
    both = [command(folder, tmp_path, "--workers", there) for _ in range(2)]
    for process in both:
        errors = process.communicate(timeout=300)[1]
        assert process.returncode == 0 and "indexed 80 images" in errors, errors
    assert doubled(folder / ".cbirkit" / "store") == (80, 0)


# ---------------------------------------------------------------- what cannot work


@pytest.mark.parametrize("typed", ["0", "-1", "abc", "1.5", ""])
def test_numbers_that_are_none(typed, run, tmp_path):
    code, out, err = run("index", write_images(tmp_path / "photos", 2), "--workers", typed)
    assert code == 2 and out == "" and "--workers" in err.splitlines()[-1]


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:1", "abc://x:1", "tcp://no.such.host.invalid:8786"]
)
def test_an_address_where_nobody_is(address, run, tmp_path, monkeypatch):
    require_dask()
    folder = write_images(tmp_path / "photos", 2)
    monkeypatch.setattr(workers, "_TIMEOUT", 1)
    result = run("index", folder, "--encoder", "color", "--workers", address)
    failed(result, "the Dask cluster .* does not answer|unknown address scheme")


def test_without_the_extra_one_sentence_says_what_to_install(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    folder = write_images(tmp_path / "photos", 2)
    result = run("index", folder, "--encoder", "color", "--workers", 2)
    failed(result, r'pip install "cbirkit\[scale\]"')


def test_workers_of_another_version_are_refused(tmp_path, store, there, monkeypatch):
    folder = write_images(tmp_path / "photos", 2)
    real = workers._identity
    monkeypatch.setattr(workers, "_identity", lambda it: real(it) - {*real(it)} | {("torch", "9")})
    with pytest.raises(
        ValueError,
        match="a worker failed: it has .*'cbirkit': .*not .*'torch': '9'.*install",
    ):
        workers.encode(COLOR, folder, store, there)
    assert n_kept(store.folder) == 0


class Foreign(encoders.MeanColor):
    """A class that workers do not make."""


def test_a_class_from_elsewhere_is_not_made_by_workers(tmp_path, store, there):
    with pytest.raises(ValueError, match="a worker failed: .*Foreign.*no estimator of cbirkit"):
        workers.encode(Foreign(), write_images(tmp_path / "photos", 2), store, there)


@pytest.mark.parametrize("n_workers", [0, 1])
def test_a_cluster_that_is_gone_is_told_and_what_was_done_stays(
    n_workers, tmp_path, store, monkeypatch
):
    require_dask()
    import dask
    from distributed import LocalCluster

    monkeypatch.setattr(workers, "_PATIENCE", 1)
    monkeypatch.setattr(workers, "_TIMEOUT", 1)
    folder = write_images(tmp_path / "photos", 300)
    how = {
        "threads_per_worker": 1,
        "dashboard_address": "127.0.0.1:0",
        "silence_logs": 50,
        "processes": False,
    }
    with dask.config.set({"distributed.worker.preload": []}):
        made = LocalCluster(n_workers=n_workers, **how)
    thread = when(lambda: n_kept(store.folder) >= 16 or not n_workers, made.close)
    with pytest.raises(OSError, match="does not answer, or has no workers .*what was done is kept"):
        workers.encode(COLOR, folder, store, made.scheduler_address)
    thread.join()
    assert (16 <= n_kept(store.folder) < 300) if n_workers else n_kept(store.folder) == 0
