"""Photographs that are not read are named, with what to do; nothing is left out without a word."""

import os
import socket

import pandas as pd
import pytest
from PIL import Image

from cbirkit import Retriever, encoders
from cbirkit.images import ImageCollection, ImageProblem, read_image, read_thumbnail
from cbirkit.images.files import UNREAD


@pytest.fixture
def folder(tmp_path):
    Image.new("RGB", (20, 10), "red").save(tmp_path / "a.jpg")
    return tmp_path


def reasons(folder):
    return dict(ImageCollection.from_folder(folder).problems.itertuples(index=False, name=None))


def test_formats_that_are_not_read_are_named(folder):
    for name in ("IMG_1.HEIC", "b.avif", "c.NEF", "notes.txt", "clip.mp4", ".hidden.heic"):
        (folder / name).write_bytes(b"x")
    found = reasons(folder)
    assert found == {
        "IMG_1.HEIC": "HEIC is not read; save it as JPEG or PNG",
        "b.avif": "AVIF is not read; save it as JPEG or PNG",
        "c.NEF": "raw camera data is not read; save it as JPEG or PNG",
    }
    assert not {e for e in UNREAD if e != e.lower()}


@pytest.mark.parametrize(
    "name", ["photo", "photo.001", "my.photo", "photo.HEIC", "photo.jpg~", "photo.jpg.part"]
)
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM"])
def test_an_image_is_read_whatever_its_ending(folder, format_name, name):
    Image.new("RGB", (20, 10), "blue").save(folder / name, format=format_name)
    for other, text in {
        "Makefile": "all:\n",
        "a.csv": "P2 is a patient",
        "b.txt": "BMW",
        "c.xml": "<?xml",
        "d.html": "<html",
    }.items():
        (folder / other).write_text(text)
    images = ImageCollection.from_folder(folder)
    assert images.ids.tolist() == ["a.jpg", name] and not len(images.problems)
    assert images[name][5, 5, 2] > 200


@pytest.mark.parametrize(
    "ending", ["jpe", "jfif", "mpo", "apng", "pbm", "pgm", "pnm", "ppm", "dib", "JPG"]
)
def test_rarer_endings_of_formats_that_are_read(folder, ending):
    name = f"b.{ending}"
    Image.new("L", (20, 10), 200).save(
        folder / name,
        format={"dib": "DIB", "apng": "PNG"}.get(ending, "PPM" if ending[0] == "p" else "JPEG"),
    )
    assert ImageCollection.from_folder(folder)[name].shape == (10, 20, 3)


@pytest.mark.parametrize("format_name", ["ICO", "JPEG2000", "SGI", "PCX", "ICNS", "DDS", "EPS"])
def test_other_images_are_named_by_what_is_in_them(folder, format_name):
    Image.new("RGB", (64, 64), "red").save(folder / "x.001", format=format_name)
    assert "is not read; save it as JPEG or PNG" in reasons(folder)["x.001"]


def special(folder, kind):
    path = folder / f"{kind}.jpg"
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        server = socket.socket(socket.AF_UNIX)
        server.bind(os.path.relpath(path))
        server.close()
    else:
        path.symlink_to("/dev/zero")
    return path


@pytest.mark.parametrize("kind", ["FIFO", "socket", "device"])
def test_special_files_are_refused_by_name_on_every_way_in(folder, kind):
    path = special(folder, kind)
    assert reasons(folder) == {path.name: f"a {kind}, not a file"}
    images = ImageCollection.from_files([path], pd.DataFrame({"mask": [str(path)]}), ids=["x"])
    retriever = Retriever(encoders.ColorHistogram(), progress=False).fit(
        ImageCollection.from_folder(folder)
    )
    ways = [
        read_image,
        lambda p: read_image(str(p)),
        lambda p: read_thumbnail(p, 32),
        lambda p: images["x"],
        lambda p: images.digest(0),
    ]
    ways += [
        lambda p: images.thumbnail(0),
        lambda p: images.mask(0),
        lambda p: retriever.search(p, k=1),
        lambda p: retriever.search(str(p), k=1),
    ]
    for way in ways:
        with pytest.raises(ValueError, match=f"a {kind}, not a file"):
            way(path)


def test_a_folder_of_nothing_else_says_so(tmp_path):
    (tmp_path / "1.heic").write_bytes(b"x")
    with pytest.raises(
        ValueError, match="1 refused .the first: 1.heic: HEIC is not read; save it as JPEG"
    ):
        ImageCollection.from_folder(tmp_path)


def test_jfif_is_jpeg(folder):
    (folder / "a.jpg").rename(folder / "a.jfif")
    assert ImageCollection.from_folder(folder)[0].shape == (10, 20, 3)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\0\0\0\x18ftypheic\0\0", "HEIC is not read; save it as JPEG or PNG"),
        (b"\0\0\0\x1cftypavif\0\0", "AVIF is not read"),
        (b"\n<!DOCTYPE html><title>404", "a web page, not an image"),
        (b"<svg xmlns=", "SVG is not read"),
        (b"no picture", "not an image of a known format"),
    ],
)
def test_what_a_file_is_instead(tmp_path, data, words):
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    for source in (path, data):
        with pytest.raises(ImageProblem, match=words):
            read_image(source)
