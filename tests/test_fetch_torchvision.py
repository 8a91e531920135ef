"""Sets whose addresses, checksums and reading are torchvision's: through our downloader, compared with
torchvision's own reading."""

import hashlib
import inspect
import pickle
import tarfile

import fetch_sets
import numpy as np
import pytest
from fetch_server import make_tar, serving

from cbirkit import datasets, evaluate
from cbirkit.datasets.fetch import DownloadFailed, pixel_arrays, registry

torchvision = pytest.importorskip("torchvision")
KNOWN = torchvision.datasets


server = pytest.fixture(serving)


def md5_of(data):
    return hashlib.md5(data).hexdigest()


# ---------------------------------------------------------------------- the facts are torchvision's


def test_addresses_and_checksums_are_torchvisions():
    def facts(data_set):
        return [
            (item.name, item.urls[0], item.checksum.removeprefix("md5:"))
            for item in data_set.downloads
        ]

    for data_set, known in (
        (registry.DATA_SETS["cifar10"], KNOWN.CIFAR10),
        (registry.DATA_SETS["stl10"], KNOWN.STL10),
    ):
        assert facts(data_set) == [(known.filename, known.url, known.tgz_md5)]
    assert [fact[1:] for fact in facts(registry.DATA_SETS["oxford_pets"])] == list(
        KNOWN.OxfordIIITPet._RESOURCES
    )
    flowers = KNOWN.Flowers102
    expected = [
        (name, flowers._download_url_prefix + name, md5)
        for name, md5 in flowers._file_dict.values()
    ]
    assert facts(registry.DATA_SETS["flowers102"]) == expected
    for data_set, known in (
        (registry.DATA_SETS["caltech101"], KNOWN.Caltech101),
        (registry.DATA_SETS["eurosat"], KNOWN.EuroSAT),
    ):
        source = inspect.getsource(known.download)
        assert all(f'"{text}"' in source for _, *texts in facts(data_set) for text in texts)


# ---------------------------------------------------------------------- CIFAR-10


@pytest.fixture
def small_cifar10(server, monkeypatch):
    archive, inner, pixels, labels = fetch_sets.cifar10()
    fetch_sets.serve(
        monkeypatch, server, "cifar10", {"cifar-10-python.tar.gz": archive}, len(labels)
    )
    for part in ("train_list", "test_list"):
        monkeypatch.setattr(
            KNOWN.CIFAR10,
            part,
            [[name, md5_of(inner[name])] for name, _ in getattr(KNOWN.CIFAR10, part)],
        )
    monkeypatch.setattr(
        KNOWN.CIFAR10, "meta", {**KNOWN.CIFAR10.meta, "md5": md5_of(inner["batches.meta"])}
    )
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

    counts = {
        "59k": (4, 236, 20),
        "54k": (4, 216, 20),
        "official": (40, 200, 200),
    }  # 240 images of 2 classes: 1/250 of all
    for protocol, (n_queries, n_database, n_train) in counts.items():
        images = fetch(protocol=protocol)
        queries, database = images.split()
        assert (len(queries), len(database), images.table["train"].sum()) == (
            n_queries,
            n_database,
            n_train,
        )
        assert not (images.table["train"] & (images.table["split"] == "query")).any()
        assert queries.table["label"].value_counts().nunique() == 1
        assert (
            images.relevance(queries, database).n_positives.tolist()
            == [n_database // 2] * n_queries
        )
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
    for part in ("train_list", "test_list"):
        monkeypatch.setattr(
            KNOWN.STL10,
            part,
            [[name, md5_of(inner[name])] for name, _ in getattr(KNOWN.STL10, part)],
        )
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


# ---------------------------------------------------------------------- photographs in folders


def test_oxford_pets(server, monkeypatch, tmp_path):
    fetch_sets.serve(monkeypatch, server, "oxford_pets", fetch_sets.pets(), 6)
    images = datasets.fetch_oxford_pets(root=tmp_path, progress=False)
    queries, database = images.split()
    assert list(database.ids) == [
        "Abyssinian_1.jpg",
        "american_bulldog_10.jpg",
        "yorkshire_terrier_3.jpg",
    ]
    assert list(queries.labels) == ["Abyssinian", "Yorkshire Terrier", "American Bulldog"]
    assert list(queries.column("species")) == ["Cat", "Dog", "Dog"]
    assert images.relevance(queries, database).n_positives.tolist() == [1, 1, 1]
    assert set(database.column("official")) == {"trainval"} and set(queries.column("official")) == {
        "test"
    }
    assert images[0].shape == (18, 24, 3) and len(images.verify(progress=False)) == 6
    assert [int(images.mask(i).max()) for i in range(3)] == [1, 2, 3]
    assert not list(tmp_path.rglob("._*")) and not list(tmp_path.rglob("*.tar.gz"))


def test_flowers102(server, monkeypatch, tmp_path):
    bodies = fetch_sets.flowers()  # once: mat files carry the time they were written
    fetch_sets.serve(monkeypatch, server, "flowers102", bodies, 9)
    table = {
        key: (name, md5_of(bodies[name]) if name.endswith(".mat") else md5)
        for key, (name, md5) in KNOWN.Flowers102._file_dict.items()
    }
    monkeypatch.setattr(KNOWN.Flowers102, "_file_dict", table)
    images = datasets.fetch_flowers102(root=tmp_path, progress=False)
    queries, database = images.split()
    assert list(database.ids) == [f"image_{i:05d}.jpg" for i in (1, 3, 2, 4)]
    assert list(database.column("official")) == ["train", "train", "val", "val"]
    assert list(database.labels) == ["pink primrose", "hard-leaved pocket orchid"] * 2
    assert list(queries.labels[-1:]) == ["blackberry lily"] and len(queries) == 5
    assert len(images.verify(progress=False)) == 9


def test_caltech101(server, monkeypatch, tmp_path):
    fetch_sets.serve(monkeypatch, server, "caltech101", fetch_sets.caltech(), 166)
    images = datasets.fetch_caltech101(root=tmp_path, progress=False)
    counts = images.table.groupby(["label", "split"]).size().to_dict()
    assert counts == {
        ("accordion", "database"): 30, ("accordion", "query"): 20, ("accordion", "unused"): 5,
        ("inline_skate", "database"): 30, ("inline_skate", "query"): 1,
        ("wrench", "database"): 30, ("wrench", "query"): 20, ("wrench", "unused"): 30,
    }  # fmt: skip
    assert "accordion/image_0001.jpg" in images.ids and len(images.verify(progress=False)) == 166
    assert images.table.equals(datasets.fetch_caltech101(root=tmp_path, progress=False).table)
    other = datasets.fetch_caltech101(root=tmp_path, progress=False, random_state=1)
    assert list(other.ids) == list(images.ids) and not other.table.equals(images.table)
    assert sorted(p.name for p in (tmp_path / "caltech101" / "ready").iterdir()) == [
        "caltech101",
        "ready.json",
    ]


def test_eurosat(server, monkeypatch, tmp_path):
    fetch_sets.serve(monkeypatch, server, "eurosat", fetch_sets.eurosat(), 21)
    images = datasets.fetch_eurosat(root=tmp_path, progress=False)
    queries, database = images.split()
    assert queries.table["label"].value_counts().to_dict() == {
        "AnnualCrop": 2,
        "Forest": 1,
        "SeaLake": 1,
    }
    assert len(database) == 17 and "Forest/Forest_6.jpg" in images.ids
    assert images.table.equals(datasets.fetch_eurosat(root=tmp_path, progress=False).table)


def test_a_set_with_too_few_images_is_refused(server, monkeypatch, tmp_path):
    fetch_sets.serve(monkeypatch, server, "eurosat", fetch_sets.eurosat(), 22)
    with pytest.raises(
        DownloadFailed, match=r"EuroSAT \(RGB\) is refused: there are 21 images, not 22"
    ):
        datasets.fetch_eurosat(root=tmp_path, progress=False)
    assert not (tmp_path / "eurosat" / "ready").exists()
    assert not list((tmp_path / "eurosat").glob("*.partial"))


def test_a_fetched_set_is_evaluated_as_any_other(server, monkeypatch, tmp_path):
    from cbirkit import Retriever, encoders

    fetch_sets.serve(monkeypatch, server, "eurosat", fetch_sets.eurosat(), 21)
    images = datasets.fetch_eurosat(root=tmp_path, progress=False)
    queries, database = images.split()
    ranking = (
        Retriever(encoders.TinyImage(), progress=False)
        .fit(database)
        .search(queries, k=len(database))
    )
    result = evaluate(ranking, images.relevance(queries, database), metrics=["map"], n_bootstrap=0)
    assert 0 < result["map"] <= 1
