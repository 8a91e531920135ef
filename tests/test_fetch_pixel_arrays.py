"""CIFAR-10 and STL-10 through our downloader, compared with torchvision's own reading; facts that are torchvision's."""

import hashlib
import inspect
import pickle
import tarfile

import fetch_sets
import numpy as np
import pytest
from fetch_server import make_tar, serving

from cbirkit import datasets
from cbirkit.datasets.fetch import DownloadFailed, pixel_arrays, registry

torchvision = pytest.importorskip("torchvision")
KNOWN = torchvision.datasets


server = pytest.fixture(serving)


def md5_of(data):
    return hashlib.md5(data).hexdigest()


def believe(monkeypatch, reader, inner):
    """Make a reader of torchvision's take the small files for the real ones."""
    for part in ("train_list", "test_list"):
        known = [[name, md5_of(inner[name])] for name, _ in getattr(reader, part)]
        monkeypatch.setattr(reader, part, known)


def test_addresses_and_checksums_are_torchvisions():
    def facts(name):
        items = registry.DATA_SETS[name].downloads
        return [(i.name, i.urls[0], i.checksum.removeprefix("md5:")) for i in items]

    for name, known in (("cifar10", KNOWN.CIFAR10), ("stl10", KNOWN.STL10)):
        assert facts(name) == [(known.filename, known.url, known.tgz_md5)]
    assert [fact[1:] for fact in facts("oxford_pets")] == list(KNOWN.OxfordIIITPet._RESOURCES)
    prefix, flowers = KNOWN.Flowers102._download_url_prefix, KNOWN.Flowers102._file_dict.values()
    assert facts("flowers102") == [(name, prefix + name, md5) for name, md5 in flowers]
    for name, known in (("caltech101", KNOWN.Caltech101), ("eurosat", KNOWN.EuroSAT)):
        source = inspect.getsource(known.download)
        assert all(f'"{text}"' in source for _, *texts in facts(name) for text in texts)


# ---------------------------------------------------------------------- CIFAR-10


@pytest.fixture
def small_cifar10(server, monkeypatch):
    archive, inner, pixels, labels = fetch_sets.cifar10()
    fetch_sets.serve(
        monkeypatch, server, "cifar10", {"cifar-10-python.tar.gz": archive}, len(labels)
    )
    believe(monkeypatch, KNOWN.CIFAR10, inner)
    meta = {**KNOWN.CIFAR10.meta, "md5": md5_of(inner["batches.meta"])}
    monkeypatch.setattr(KNOWN.CIFAR10, "meta", meta)
    return archive, pixels, labels


def test_cifar10_is_what_torchvision_reads(small_cifar10, server, tmp_path):
    archive, pixels, labels = small_cifar10
    images = datasets.fetch_cifar10(root=tmp_path / "data", progress=False)
    (tmp_path / "c.tgz").write_bytes(archive)
    with tarfile.open(tmp_path / "c.tgz") as file:
        file.extractall(tmp_path / "torchvision", filter="data")
    parts = [KNOWN.CIFAR10(tmp_path / "torchvision", train=train) for train in (True, False)]
    assert len(images) == sum(map(len, parts)) == len(labels)
    names = [part.classes[code] for part in parts for code in part.targets]
    assert list(images.labels) == names
    for row, (image, _) in enumerate(pair for part in parts for pair in part):
        assert np.array_equal(images[row], np.asarray(image)) and np.array_equal(
            images[row], pixels[row]
        )
    assert images[0].dtype == np.uint8 and images[0].flags.writeable
    assert images.ids[0] == "train/00000" and images.ids[-1] == "test/00039"
    assert not list((tmp_path / "data").rglob("*batch*")), "the pickles are not kept"
    assert not list((tmp_path / "data").rglob("*.tar.gz"))
    assert len(server.requests) == 1
    again = datasets.fetch_cifar10(root=tmp_path / "data", download=False, progress=False)
    assert again.digest(3) == images.digest(3) != images.digest(4) and len(server.requests) == 1
    copy = pickle.loads(pickle.dumps(images._source.function))  # as a worker process gets it
    assert np.array_equal(copy(5), pixels[5]) and copy.args == images._source.function.args


def test_cifar10_protocols(small_cifar10, tmp_path):
    def fetch(**options):
        return datasets.fetch_cifar10(root=tmp_path, progress=False, **options)

    # 240 images of 2 classes: 1/250 of all.
    counts = {"59k": (4, 236, 20), "54k": (4, 216, 20), "official": (40, 200, 200)}
    for protocol, (n_queries, n_database, n_train) in counts.items():
        images = fetch(protocol=protocol)
        queries, database = images.split()
        found = len(queries), len(database), images.table["train"].sum()
        assert found == (n_queries, n_database, n_train)
        assert not (images.table["train"] & (images.table["split"] == "query")).any()
        assert queries.table["label"].value_counts().nunique() == 1
        relevance = images.relevance(queries, database)
        assert relevance.n_positives.tolist() == [n_database // 2] * n_queries
    assert (fetch(protocol="54k").table["split"] == "train").sum() == 20
    assert set(fetch(protocol="official").split()[0].column("official")) == {"test"}
    base = fetch().table
    assert base.equals(fetch().table) and not base.equals(fetch(random_state=1).table)
    assert base["train"].equals(fetch(protocol="54k").table["train"])
    with pytest.raises(ValueError, match="protocol must be one of 59k, 54k, official, got '50k'"):
        fetch(protocol="50k")


def test_the_real_numbers_of_the_cifar10_protocols():
    labels = np.repeat(np.arange(10), 6000)
    official = np.where(np.arange(60_000) % 6 == 0, "test", "train")
    for protocol, counts in {
        "59k": (1000, 59_000, 5000),
        "54k": (1000, 54_000, 5000),
        "official": (10_000, 50_000, 50_000),
    }.items():
        split, train = pixel_arrays._split_cifar10(labels, official, protocol, 0)
        assert ((split == "query").sum(), (split == "database").sum(), train.sum()) == counts
        assert all((labels[split == "query"] == c).sum() == counts[0] // 10 for c in range(10))
        assert all((labels[train] == c).sum() == counts[2] // 10 for c in range(10))


def test_cifar10_never_runs_what_a_batch_names(server, monkeypatch, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "evil"), "w"))

    batch = pickle.dumps({"data": Evil(), "labels": []}, protocol=2)
    archive = make_tar({"cifar-10-batches-py/data_batch_1": batch})
    fetch_sets.serve(monkeypatch, server, "cifar10", {"cifar-10-python.tar.gz": archive}, 1)
    with pytest.raises(DownloadFailed, match="it names"):
        datasets.fetch_cifar10(root=tmp_path / "data", progress=False)
    assert not (tmp_path / "evil").exists()


# ---------------------------------------------------------------------- STL-10


def test_stl10_is_what_torchvision_reads(server, monkeypatch, tmp_path):
    archive, inner = fetch_sets.stl10()
    fetch_sets.serve(monkeypatch, server, "stl10", {"stl10_binary.tar.gz": archive}, 13)
    believe(monkeypatch, KNOWN.STL10, inner)
    images = datasets.fetch_stl10(root=tmp_path / "data", progress=False)
    (tmp_path / "c.tgz").write_bytes(archive)
    with tarfile.open(tmp_path / "c.tgz") as file:
        file.extractall(tmp_path / "torchvision", filter="data")
    queries, database = images.split()
    for part, mine in (("train", database), ("test", queries)):
        truth = KNOWN.STL10(tmp_path / "torchvision", split=part)
        assert len(truth) == len(mine) and list(mine.labels) == [
            truth.classes[code] for code in truth.labels
        ]
        for row, (image, _) in enumerate(truth):
            assert np.array_equal(mine[row], np.asarray(image))
    more = datasets.fetch_stl10(unlabelled=True, root=tmp_path / "data", progress=False)
    (third,) = more.split(parts=("unlabelled",))
    truth = KNOWN.STL10(tmp_path / "torchvision", split="unlabeled")
    assert len(images) == 10 and len(more) == 13 and list(third.labels) == [None] * 3
    assert all(np.array_equal(third[row], np.asarray(truth[row][0])) for row in range(3))
    assert third.relevance().n_positives.tolist() == [0, 0, 0]
    with pytest.raises(IndexError):
        more._source.read(13)
