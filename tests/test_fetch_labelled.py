"""Sets with labels, through our downloader from a local server; where torchvision reads them, too, compared with it."""

import hashlib
import io
import tarfile

import fetch_sets
import numpy as np
import pytest
from fetch_server import jpeg, make_tar, make_zip, serving
from fetch_sets import serve
from PIL import Image

from cbirkit import cli, datasets, evaluate
from cbirkit.datasets.fetch import DownloadFailed

KNOWN = pytest.importorskip("torchvision.datasets")

server = pytest.fixture(serving)


def tiff(seed, folder):
    path = folder / "a.tif"
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(
        path
    )
    return path.read_bytes()


def bodies(folder):
    """{name of the set: {file: body}} with the layout of the real archives."""
    clothing = {
        f"clothing-dataset-small-1/{part}/{kind}/{i}.jpg": jpeg(i)
        for part in ("train", "validation", "test")
        for kind in ("hat", "dress")
        for i in range(2)
    }
    credit = "All images are licensed …\n\ndaisy/1.jpg CC-BY by A. N. Other - https://example.org/1/\nroses/2.jpg CC-BY by B - c - https://example.org/2\n"
    flowers = {
        f"flower_photos/{kind}/{i}.jpg": jpeg(i) for kind in ("daisy", "roses") for i in range(5)
    }
    land = {
        f"UCMerced_LandUse/Images/{kind}/{kind}{i:02d}.tif": tiff(i, folder)
        for kind in ("beach", "river")
        for i in range(5)
    }
    return {
        "clothing": {
            "clothing.zip": make_zip(clothing | {"clothing-dataset-small-1/README.md": b"x"})
        },
        "flowers": {
            "flower_photos.tgz": make_tar(flowers | {"flower_photos/LICENSE.txt": credit.encode()})
        },
        "ucmerced": {
            "UCMerced_LandUse.zip": make_zip(land | {"UCMerced_LandUse/readme.txt": b"x"})
        },
    }


@pytest.fixture
def served(server, monkeypatch, tmp_path):
    for name, files in bodies(tmp_path).items():
        n_images = {"clothing": 12, "flowers": 10, "ucmerced": 10}[name]
        serve(monkeypatch, server, name, files, n_images)
    return server


def test_clothing_has_the_parts_of_its_authors(served, tmp_path):
    images = datasets.fetch_clothing(root=tmp_path / "data", progress=False)
    assert images.ids[0] == "test/dress/0.jpg" and set(images.labels) == {"dress", "hat"}
    queries, database = images.split()
    assert (len(queries), len(database), (images.column("split") == "validation").sum()) == (
        4,
        4,
        4,
    )
    assert all(name.startswith("train/") for name in database.ids) and images[0].shape == (
        18,
        24,
        3,
    )


def test_flowers_keep_their_authors(served, tmp_path):
    images = datasets.fetch_flowers(root=tmp_path / "data", progress=False)
    told = images.table.loc[["daisy/1.jpg", "roses/2.jpg"]]
    assert told["author"].tolist() == ["A. N. Other", "B - c"]
    assert told["page"].tolist() == ["https://example.org/1/", "https://example.org/2"]
    assert images.table["author"].isna().sum() == 8
    assert images.table.groupby("label")["split"].value_counts().tolist() == [4, 1, 4, 1]
    assert images.table.equals(
        datasets.fetch_flowers(root=tmp_path / "data", progress=False, download=False).table
    )


def test_land_use_is_read_from_tiff(served, tmp_path):
    images = datasets.fetch_ucmerced(root=tmp_path / "data", progress=False)
    assert images.ids[0] == "beach/beach00.tif" and len(images) == 10
    assert np.array_equal(
        images[3], np.random.default_rng(3).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    )


def test_photos_stands_for_all_three(served, tmp_path, capsys):
    assert cli.main(["prefetch", "photos", "--root", str(tmp_path / "data"), "--quiet"]) == 0
    said = capsys.readouterr().out
    assert all(f"{name}: now here" in said for name in ("clothing", "flowers", "ucmerced"))
    assert cli.main(["prefetch", "photos", "--root", str(tmp_path / "data"), "--quiet"]) == 0
    assert capsys.readouterr().out.count("already here") == 3


def test_an_archive_that_lacks_images_is_set_aside(server, monkeypatch, tmp_path):
    serve(monkeypatch, server, "flowers", bodies(tmp_path)["flowers"], 11)
    with pytest.raises(DownloadFailed, match="there are 10 images, not 11"):
        datasets.fetch_flowers(root=tmp_path / "data", progress=False)
    assert not (tmp_path / "data" / "flowers" / "ready").exists()
    with pytest.raises(DownloadFailed, match="cbirkit prefetch clothing"):
        datasets.fetch_clothing(root=tmp_path / "data", download=False)


# ---------------------------------------------------------------------- what torchvision knows, too


def test_oxford_pets(server, monkeypatch, tmp_path):
    fetch_sets.serve(monkeypatch, server, "oxford_pets", fetch_sets.pets(), 6)
    images = datasets.fetch_oxford_pets(root=tmp_path, progress=False)
    queries, database = images.split()
    assert list(queries.labels) == ["Abyssinian", "Yorkshire Terrier", "American Bulldog"]
    assert images.relevance(queries, database).n_positives.tolist() == [1, 1, 1]
    for official, part in (("trainval", database), ("test", queries)):
        ready = tmp_path / "oxford_pets" / "ready"
        known = KNOWN.OxfordIIITPet(ready, split=official, target_types="category")
        assert list(map(str, known._images)) == list(part.column("path"))
        assert list(map(str, known._segs)) == list(part.column("mask"))
        assert [known.classes[code] for code in known._labels] == list(part.labels)
        assert [known.bin_classes[code] for code in known._bin_labels] == list(
            part.column("species")
        )
        assert set(part.column("official")) == {official}
    assert images[0].shape == (18, 24, 3) and len(images.verify(progress=False)) == 6
    assert [int(images.mask(i).max()) for i in range(3)] == [1, 2, 3]
    assert not list(tmp_path.rglob("._*")) and not list(tmp_path.rglob("*.tar.gz"))


def test_flowers102(server, monkeypatch, tmp_path):
    bodies = fetch_sets.flowers()  # once: mat files carry the time they were written
    fetch_sets.serve(monkeypatch, server, "flowers102", bodies, 9)
    table = {
        key: (name, hashlib.md5(bodies[name]).hexdigest() if name.endswith(".mat") else md5)
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
    ready = tmp_path / "caltech101" / "ready"
    assert sorted(p.name for p in ready.iterdir()) == ["caltech101", "ready.json"]
    litter = ready / "caltech101" / "101_ObjectCategories" / "BACKGROUND_Google"
    litter.mkdir()  # as an earlier version left it, and as torchvision expects
    (litter / "image_0001.jpg").write_bytes(b"x")
    known = KNOWN.Caltech101(ready)
    assert [known.categories[code] for code in known.y] == list(images.labels)
    assert images.table.equals(datasets.fetch_caltech101(root=tmp_path, progress=False).table)


def test_eurosat(server, monkeypatch, tmp_path):
    fetch_sets.serve(monkeypatch, server, "eurosat", fetch_sets.eurosat(), 21)
    images = datasets.fetch_eurosat(root=tmp_path, progress=False)
    queries, database = images.split()
    counts = queries.table["label"].value_counts().to_dict()
    assert counts == {"AnnualCrop": 2, "Forest": 1, "SeaLake": 1}
    known = KNOWN.EuroSAT(tmp_path / "eurosat" / "ready").samples
    assert [path for path, _ in known] == list(images.column("path"))
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
    retriever = Retriever(encoders.TinyImage(), progress=False).fit(database)
    ranking = retriever.search(queries, k=len(database))
    result = evaluate(ranking, images.relevance(queries, database), metrics=["map"], n_bootstrap=0)
    assert 0 < result["map"] <= 1


# ---------------------------------------------------------------------- CUB-200, SOP


def test_cub200(server, monkeypatch, tmp_path):
    fetch_sets.serve(monkeypatch, server, "cub200", fetch_sets.cub200(), 12)
    images = datasets.fetch_cub200(root=tmp_path, progress=False)
    train, test = images.split(parts=("train", "test"))
    assert (
        set(train.labels) == {"001.Black_footed_Albatross", "002.Laysan_Albatross"}
        and len(train) == len(test) == 6
    )
    assert set(test.column("class_number")) == {3, 4}
    assert (
        test.relevance().n_positives.tolist() == [2] * 6 and (test.relevance().own >= 0).sum() == 6
    )
    assert list(images.column("official")[:3]) == ["train", "test", "test"]
    assert (
        images.ids[4] == "002.Laysan_Albatross/Laysan_Albatross_0001_705.jpg"
        and images.column("height")[4] == 5
    )
    assert len(images.verify(progress=False)) == 12
    ready = tmp_path / "cub200" / "ready"
    assert not (ready / "attributes").exists() and not list(tmp_path.rglob("*.tgz"))


@pytest.mark.parametrize(
    "lost",
    [
        "CUB_200_2011/classes.txt",
        "CUB_200_2011/images/001.Black_footed_Albatross/Black_footed_Albatross_0000_701.jpg",
    ],
)
def test_cub200_that_lacks_something(server, monkeypatch, tmp_path, lost):
    with tarfile.open(fileobj=io.BytesIO(fetch_sets.cub200()["CUB_200_2011.tgz"])) as file:
        files = {m.name: file.extractfile(m).read() for m in file if m.isfile() and m.name != lost}
    fetch_sets.serve(monkeypatch, server, "cub200", {"CUB_200_2011.tgz": make_tar(files)}, 12)
    with pytest.raises(DownloadFailed, match="lacks classes.txt|there are 11 images, not 12"):
        datasets.fetch_cub200(root=tmp_path, progress=False)


def test_sop(server, monkeypatch, tmp_path):
    fetch_sets.serve(monkeypatch, server, "sop", fetch_sets.sop(), 11)
    images = datasets.fetch_sop(root=tmp_path, progress=False)
    train, test = images.split(parts=("train", "test"))
    assert (len(train), len(test)) == (6, 5) and not set(train.column("instance")) & set(
        test.column("instance")
    )
    assert list(test.labels) == ["chair"] * 2 + ["coffee_maker"] * 3
    assert test.relevance().n_positives.tolist() == [1, 1, 2, 2, 2], "by product, not by category"
    assert (
        images.ids[0] == "bicycle_final/11108501_1.JPG" and len(images.verify(progress=False)) == 11
    )


def test_sop_falls_back_to_the_next_address(server, monkeypatch, tmp_path):
    fetch_sets.serve(monkeypatch, server, "sop", fetch_sets.sop(), 11)
    server.files["/0/Stanford_Online_Products.zip"].kind = "text/html"
    assert len(datasets.fetch_sop(root=tmp_path, progress=False)) == 11
    assert [path[1] for path, _ in server.requests] == ["0", "1"]
