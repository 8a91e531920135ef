"""Photographs that are not read are named, with what to do; nothing is left out without a word."""

import pytest
from PIL import Image

from cbirkit.images import ImageCollection, ImageProblem, read_image
from cbirkit.images.unread import UNREAD


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
    ("format_name", "ending"),
    [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("TIFF", "tif"), ("GIF", "gif")],
)
def test_an_image_without_an_ending_is_named(folder, format_name, ending):
    Image.new("RGB", (20, 10), "blue").save(folder / "photo", format=format_name)
    (folder / "Makefile").write_text("all:\n")
    assert reasons(folder) == {"photo": f"an image without an ending; call it photo.{ending}"}


def test_a_folder_of_nothing_else_says_so(tmp_path):
    (tmp_path / "1.heic").write_bytes(b"x")
    with pytest.raises(ValueError, match="1 refused .the first: 1.heic: HEIC is not read; save it as JPEG"):
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
