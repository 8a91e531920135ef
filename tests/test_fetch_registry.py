"""From files to a ready folder: once, whole or not at all; the benchmark type; images read as stored; the
list of what there is."""

import dataclasses
import os
import pickle
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
from conftest import ROOT
from fetch_server import jpeg, make_tar, make_zip, md5, serving
from PIL import Image

from cbirkit import datasets
from cbirkit.datasets import fetch
from cbirkit.datasets.fetch import Benchmark, DownloadFailed, registry
from cbirkit.datasets.fetch.download import Download
from cbirkit.datasets.fetch.readers import StoredFiles, read_pickle
from cbirkit.datasets.fetch.registry import DataSet, make, prepare
from cbirkit.images import ImageCollection, read_image

MD5 = "md5:" + 32 * "0"
ARCHIVE = make_tar({"a.jpg": jpeg(0), "b.jpg": jpeg(1)})


server = pytest.fixture(serving)


def serve(monkeypatch, server, body=ARCHIVE, checksum="known"):
    """Enter the set "toy", whose only file has this body."""
    checksum = md5(body) if checksum == "known" else checksum
    download = Download("toy.tgz", (server.add("toy.tgz", body),), 0.1, checksum)
    toy = DataSet("toy", "Toy", 2, (download,), 0.1, page="http://page", terms="none")
    monkeypatch.setitem(registry.DATA_SETS, "toy", toy)


@pytest.fixture
def toy(monkeypatch, server):
    serve(monkeypatch, server)


def is_ready(root):
    return (root / "toy" / "ready" / "ready.json").is_file()


def litter(folder):
    return [p.name for p in folder.rglob("*") if p.name.endswith((".partial", ".part", ".tgz"))]


def test_made_once(toy, server, tmp_path):
    assert not is_ready(tmp_path)
    ready = prepare("toy", root=tmp_path, progress=False)
    assert ready == tmp_path / "toy" / "ready" and is_ready(tmp_path)
    assert sorted(p.name for p in ready.iterdir()) == ["a.jpg", "b.jpg", "ready.json"]
    assert litter(tmp_path) == []

    def never(*_):
        raise AssertionError("made again")

    assert prepare("toy", never, root=tmp_path, download=False) == ready
    assert len(server.requests) == 1


def test_from_a_file_put_there_by_hand(toy, server, tmp_path):
    server.files.clear()
    with pytest.raises(DownloadFailed, match="put it into the folder") as caught:
        prepare("toy", root=tmp_path, progress=False)
    assert repr(str(tmp_path / "toy")) in str(caught.value)
    (tmp_path / "toy" / "toy.tgz").write_bytes(ARCHIVE)
    assert (prepare("toy", root=tmp_path, download=False, progress=False) / "a.jpg").is_file()


def test_offline_names_the_command(toy, server, tmp_path):
    with pytest.raises(DownloadFailed, match="`cbirkit prefetch toy` while online.*by hand"):
        prepare("toy", root=tmp_path, download=False)
    assert server.requests == [] and not (tmp_path / "toy").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError])
def test_interrupted_while_unpacking_nothing_is_half_there_and_the_archive_is_used_again(
    toy, server, tmp_path, error
):
    def interrupted(*arguments):
        make(*arguments)
        raise error

    with pytest.raises(error):
        prepare("toy", interrupted, root=tmp_path, progress=False)
    assert not is_ready(tmp_path) and litter(tmp_path) == ["toy.tgz"]
    prepare("toy", root=tmp_path, progress=False)
    assert is_ready(tmp_path) and len(server.requests) == 1


KILLED = """
import os, sys
from cbirkit.datasets.fetch.download import Download
from cbirkit.datasets.fetch.registry import DATA_SETS, DataSet, make, prepare
url, checksum, root = sys.argv[1:]
DATA_SETS["toy"] = DataSet("toy", "Toy", 2, (Download("toy.tgz", (url,), 0.1, checksum),), 0.1, "", "")
def killed(*arguments):
    make(*arguments)
    os._exit(9)
prepare("toy", killed, root=root, progress=False)
"""


def test_a_process_killed_while_unpacking_leaves_nothing_that_counts(toy, server, tmp_path):
    (download,) = registry.DATA_SETS["toy"].downloads
    command = [sys.executable, "-c", KILLED, *download.urls, download.checksum, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, check=False)
    assert done.returncode == 9 and not is_ready(tmp_path)
    assert len(list((tmp_path / "toy").glob(".ready.*.partial"))) == 1
    for name in ("tmp1234", "toy.tgz.part", "toy.tgz.part.json"):  # of a killed download
        (tmp_path / "toy" / name).touch()
    prepare("toy", root=tmp_path, progress=False)
    assert is_ready(tmp_path) and litter(tmp_path) == [] and len(server.requests) == 1
    assert sorted(p.name for p in (tmp_path / "toy").iterdir()) == [".lock", "ready"]


def test_an_archive_that_is_none_without_a_published_checksum_is_set_aside(
    server, monkeypatch, tmp_path
):
    serve(monkeypatch, server, b"no archive at all", checksum=None)
    with pytest.raises(DownloadFailed, match="Toy is refused: .*damaged.*rejected"):
        prepare("toy", root=tmp_path, progress=False)
    server.add("toy.tgz", ARCHIVE)
    prepare("toy", root=tmp_path, progress=False)  # not compared with the rejected one
    assert is_ready(tmp_path)


def test_a_hostile_archive_is_refused(server, monkeypatch, tmp_path):
    serve(monkeypatch, server, make_zip({"../../evil.txt": b"x"}), checksum=None)
    with pytest.raises(DownloadFailed, match="Toy is refused: .*leads out of its folder"):
        prepare("toy", root=tmp_path / "data", progress=False)
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_known_archive_with_other_contents_hints_at_an_old_cbirkit(server, monkeypatch, tmp_path):
    serve(monkeypatch, server, make_tar({"a.jpg": jpeg(0)}))
    with pytest.raises(DownloadFailed, match="there are 1 images, not 2; is there a newer cbirkit"):
        prepare("toy", root=tmp_path, progress=False)


def test_half_a_folder_is_made_anew(toy, tmp_path):
    ready = tmp_path / "toy" / "ready"
    ready.mkdir(parents=True)
    (ready / "old.txt").write_text("without its mark it is not whole")
    prepare("toy", root=tmp_path, progress=False)
    assert is_ready(tmp_path) and not (ready / "old.txt").exists()


def test_two_at_once(toy, tmp_path):
    inside, go_on = threading.Event(), threading.Event()

    def slow(*arguments):
        inside.set()
        go_on.wait(120)
        make(*arguments)

    options = {"root": tmp_path, "progress": False}
    first = threading.Thread(target=prepare, args=("toy", slow), kwargs=options)
    first.start()
    assert inside.wait(120)
    with pytest.raises(OSError, match="another process is downloading into"):
        prepare("toy", **options)
    go_on.set()
    first.join()
    assert is_ready(tmp_path)


# ---------------------------------------------------------------------- pickles


def test_plain_pickles(tmp_path):
    path = tmp_path / "a.pkl"
    value = {"a": [1, -2.5, "x", None, True, (1, 2)], "b": {"c": b"bytes"}}
    for protocol in range(3, 6):
        path.write_bytes(pickle.dumps(value, protocol))
        assert read_pickle(path) == value


@pytest.mark.parametrize("value", [np.float64(1), {1, 2}.__class__, os.system, Benchmark])
@pytest.mark.parametrize("arrays", [True, False])
def test_what_names_something_is_refused(tmp_path, value, arrays):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"x": value}, 2))
    with pytest.raises(ValueError, match="a.pkl is not read"):
        read_pickle(path, arrays=arrays)


@pytest.mark.parametrize(
    "data",
    [b"", b"junk", pickle.dumps([1])[:-1], b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.", b"N."],
)
def test_damaged_pickles(tmp_path, data):
    path = tmp_path / "a.pkl"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="a.pkl"):
        read_pickle(path)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x05Nr\xff\xff\xff\x1f.",  # LONG_BINPUT of number 2**29
        b"\x80\x05\x96" + (2**32).to_bytes(8, "little") + b".",  # BYTEARRAY8
        b"\x80\x04\x8e" + (2**32).to_bytes(8, "little") + b".",  # BINBYTES8
        b"Np999999999\n.",  # PUT
    ],
)
@pytest.mark.parametrize("arrays", [True, False])
def test_ten_bytes_do_not_take_gigabytes(data, arrays, tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(data)
    resource = pytest.importorskip("resource")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="a.pkl"):
        read_pickle(path, arrays=arrays)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 200_000


def test_a_huge_pickle_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "a.pkl"
    with path.open("wb") as file:
        file.truncate(2**26 + 1)
    with pytest.raises(ValueError, match="more than expected"):
        read_pickle(path)


# ---------------------------------------------------------------------- as stored


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_pixels_as_stored(tmp_path, orientation):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(0, (40, 30), orientation))
    with Image.open(path) as image:
        stored = np.asarray(image.convert("RGB"))
    assert np.array_equal(read_image(path, upright=False), stored)
    assert np.array_equal(read_image(path.read_bytes(), upright=False), stored)
    assert np.array_equal(read_image(path), stored) == (orientation == 1)
    images = ImageCollection(StoredFiles([path], tmp_path), _table(["a"]))
    assert np.array_equal(images[0], stored) and images.thumbnail(0, 20).shape == (15, 20, 3)
    assert images.path(0) == path


def _table(ids):
    import pandas as pd

    return pd.DataFrame(index=pd.Index(ids, dtype=object))


def test_digests_tell_boxes_and_turns_apart(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(0))
    options = [
        {},
        {"boxes": [(0, 0, 5, 5)]},
        {"boxes": [(0, 0, 5, 6)]},
        {"turns": [90]},
        {"turns": [180]},
    ]
    digests = {StoredFiles([path], tmp_path, **option).digest(0) for option in options}
    assert len(digests) == len(options)


def test_a_benchmark_cannot_be_changed():
    images = ImageCollection.from_arrays(np.zeros((2, 4, 4)), ids=["q", "a"])
    benchmark = Benchmark("toy", images[:1], images[1:], {"x": {"q": ["a"]}}, {"x": {}}, "x")
    with pytest.raises(dataclasses.FrozenInstanceError):
        benchmark.protocol = "y"
    assert benchmark.relevance().n_positives.tolist() == [1]


# ---------------------------------------------------------------------- the list


def readme_row(data_set):
    """The line of data/README.md that says what is known of a set."""
    files = []
    for item in data_set.downloads:
        size = f"{item.megabytes:,} MB" if item.megabytes >= 1 else "< 1 MB"
        checksum = f"`{item.checksum}`" if item.checksum else "first use"
        files.append(f"{item.name}, {size}: {', '.join(f'<{u}>' for u in item.urls)}; {checksum}")
    function = registry._FETCH[data_set.name].func.__name__
    cells = [f"`{data_set.name}`", f"`{function}`", f"{data_set.n_images:,}", "<br>".join(files)]
    return "| " + " | ".join([*cells, data_set.terms, f"<{data_set.page}>"]) + " |"


def test_every_set_is_listed_documented_and_says_where_it_comes_from(tmp_path, monkeypatch):
    monkeypatch.setenv("CBIRKIT_DATA", str(tmp_path))
    listed, known = datasets.fetchable(), registry.DATA_SETS
    assert list(listed.index) == list(known) and not listed["here"].any()
    assert set(registry._FETCH) == set(known)
    readme = (ROOT / "data" / "README.md").read_text("utf-8").splitlines()
    for name, data_set in known.items():
        row = readme_row(data_set)
        assert row in readme, f"put this line into data/README.md:\n{row}"
        assert listed.loc[name, "folder"] == str(tmp_path / name)
        for item in data_set.downloads:
            assert all(url.startswith(("https://", "http://")) for url in item.urls)
            assert re.fullmatch("md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", item.checksum or MD5)
    functions = {call.func for call in registry._FETCH.values()}
    named = {getattr(datasets, name) for name in dir(datasets) if name.startswith("fetch_")}
    assert functions == named
    for function in functions:
        words = ("root : ", "download : ", "progress : ", "Returns", "References")
        assert all(word in function.__doc__ for word in words)
        assert re.search("split|protocol", function.__doc__, re.IGNORECASE)


def test_by_name(tmp_path):
    with pytest.raises(ValueError, match="no data set 'mnist'; there are: clothing, "):
        fetch.fetch_by_name("mnist")
    with pytest.raises(DownloadFailed, match="cbirkit prefetch sop"):
        fetch.fetch_by_name("sop", root=tmp_path, download=False)
