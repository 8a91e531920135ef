"""Clothing, flowers and land from the air: through our downloader, from a local server."""

import numpy as np
import pytest
from fetch_server import jpeg, make_tar, make_zip, serving
from fetch_sets import serve
from PIL import Image

from cbirkit import cli, datasets
from cbirkit.datasets.fetch import DownloadFailed

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
