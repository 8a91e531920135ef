"""Reading single images: formats, modes, orientation, and files that are not what they say."""

import io
import os
import socket
import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cbirkit import Retriever, encoders
from cbirkit.images import ImageCollection, ImageProblem, read_image, read_thumbnail, to_rgb

RNG = np.random.default_rng(0)
PHOTO = np.asarray(
    Image.fromarray(RNG.integers(0, 256, (6, 8, 3), np.uint8)).resize(
        (64, 48), Image.Resampling.BICUBIC
    )
)


def save(tmp_path, name, image, **options):
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm"])
def test_lossless_formats_come_back_exactly(tmp_path, suffix):
    assert np.array_equal(read_image(save(tmp_path, f"a.{suffix}", PHOTO)), PHOTO)


def test_first_frame_of_a_gif(tmp_path):
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    pixels = read_image(save(tmp_path, "a.gif", red, save_all=True, append_images=[blue]))
    assert pixels.shape == (8, 8, 3) and (pixels == [255, 0, 0]).all()


def test_float_tiff_in_unit_range_and_beyond(tmp_path):
    for top in (1, 10):
        path = save(tmp_path, "a.tiff", np.array([[0.0, 0.5, 1.0]], np.float32) * top)
        assert read_image(path)[0, :, 0].tolist() == [0, 128, 255]


def test_transparent_parts_lie_on_white(tmp_path):
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    clear.putpixel((0, 0), (1, 2, 3, 255))
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert (read_image(save(tmp_path, "clear.png", clear))[1:] == 255).all()
    assert (read_image(save(tmp_path, "half.png", half)) == 127).all()
    palette = clear.convert("P")
    assert (
        read_image(save(tmp_path, "p.png", palette, transparency=palette.getpixel((1, 0))))[1:]
        == 255
    ).all()
    grey = Image.new("LA", (4, 4), (40, 255))
    assert (read_image(save(tmp_path, "la.png", grey)) == 40).all()


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "array"])
@pytest.mark.parametrize("levels", [(255, 0), (255, 128), (250, 0), (0, 0), (255, 255)])
def test_different_drawings_on_nothing_stay_different(form, levels, tmp_path):
    def drawing(x):
        pixels = np.zeros((64, 64, 4), np.uint8)
        pixels[20:60, 10:50], pixels[:12, x : x + 12] = (
            (*levels[:1] * 3, 255),
            (*levels[1:] * 3, 255),
        )
        return (
            pixels
            if form == "array"
            else save(tmp_path, f"{x}.{form.lower()}", pixels, lossless=True)
        )

    one, other = (read_image(drawing(x)) for x in (2, 40))
    assert np.abs(one.astype(int) - other).max() > 60
    assert levels != (0, 0) or one.max() == 255  # black drawings stay on white


def test_sources_other_than_paths():
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).save(buffer, "PNG")
    data = buffer.getvalue()
    for source in (data, io.BytesIO(data), Image.fromarray(PHOTO), PHOTO):
        assert np.array_equal(read_image(source), PHOTO)


def test_to_rgb_of_every_kind():
    assert to_rgb(np.array([[True, False]]))[0, :, 0].tolist() == [255, 0]
    assert to_rgb(np.array([[0.0, 1.0]])).max() == 255
    assert to_rgb(np.array([[0, 200]])).shape == (1, 2, 3)
    assert to_rgb(np.array([[65535]], np.uint16)).max() == 255
    assert (
        to_rgb(np.full((1, 1, 4), [9, 9, 9, 0], np.uint8)) == 9
    ).all()  # nothing but transparent
    assert to_rgb(np.zeros((1, 1))).shape == (1, 1, 3)
    for kind in ("u2", "i2", "i4", "u8", "f2", "f4", "f8"):
        values = (np.arange(63).reshape(7, 9) / (63 if kind[0] == "f" else 1)).astype(kind)
        for top in (1, 1000) if kind == "u2" else (1,):
            assert np.array_equal(*(to_rgb((values * top).astype(order + kind)) for order in "<>"))


@pytest.mark.parametrize(
    "array,words",
    [
        (np.zeros((3, 8, 8, 1)), "expected shape"),
        (np.zeros((3, 32, 32)), "channel-first"),
        (np.zeros((0, 4, 3)), "expected shape"),
        (np.full((2, 2), np.nan), "0..1"),
        (np.full((2, 2), 300), "0..255"),
        (np.full((2, 2), -1), "0..255"),
        (np.array([["a", "b"]]), "expected numbers"),
    ],
)
def test_arrays_that_are_no_images(array, words):
    with pytest.raises(ImageProblem, match=words):
        to_rgb(array)


def test_broken_files_are_named_with_the_reason(tmp_path):
    good = save(tmp_path, "good.jpg", PHOTO).read_bytes()
    cases = {
        "truncated.jpg": (good[: len(good) // 2], "truncated"),
        "empty.png": (b"", "empty file"),
        "text.jpg": (b"this is no image", "known format"),
        "header.png": (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "damaged"),
    }
    for name, (data, words) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageProblem, match=words) as caught:
            read_image(tmp_path / name)
        assert name in str(caught.value) and caught.value.name.endswith(name)
    with pytest.raises(ImageProblem, match="No such file"):
        read_image(tmp_path / "missing.jpg")
    with pytest.raises(ImageProblem, match="folder"):
        read_image(tmp_path)


def test_decompression_bombs_are_refused_before_decoding(tmp_path, monkeypatch):
    path = save(tmp_path, "bomb.png", Image.new("1", (20000, 20000)))
    assert path.stat().st_size < 100_000
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with pytest.raises(ImageProblem, match="too large"):
            read_image(path)
        with pytest.raises(ImageProblem, match="too large"):
            read_thumbnail(path, 96)
    with pytest.raises(ImageProblem, match="64 x 48"):
        monkeypatch.setattr("cbirkit.images.files.MAX_PIXELS", 1000)
        read_image(save(tmp_path, "a.png", PHOTO))


def test_fifty_megapixels_are_read(tmp_path):
    path = save(tmp_path, "large.jpg", Image.new("RGB", (8660, 5774), "green"))
    assert read_image(path).shape == (5774, 8660, 3)


def test_postscript_is_not_let_near_a_decoder(tmp_path):
    (tmp_path / "a.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n"
    )
    with pytest.raises(ImageProblem, match="not an image"):
        read_image(tmp_path / "a.png")


def test_thumbnails_are_small_and_look_alike(tmp_path):
    path = save(tmp_path, "a.jpg", Image.fromarray(PHOTO).resize((1024, 768)), quality=95)
    small = read_thumbnail(path, 64)
    assert small.shape == (48, 64, 3)
    assert np.abs(small.astype(int) - PHOTO).mean() < 12


# ------------------------------------------------------------------ what is not read


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
    assert reasons(folder) == {path.name: "not a file, but a FIFO, socket or device"}
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
        with pytest.raises(ValueError, match="not a file"):
            way(path)


def test_a_folder_of_nothing_else_says_so(tmp_path):
    (tmp_path / "1.heic").write_bytes(b"x")
    with pytest.raises(
        ValueError, match="1 refused .the first: 1.heic: HEIC is not read; save it as JPEG"
    ):
        ImageCollection.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\0\0\0\x18ftypheic\0\0", "HEIC or AVIF is not read"),
        (b"\n<!DOCTYPE html><title>404", "a web page, not an image"),
        (b"no picture", "not an image of a known format"),
    ],
)
def test_what_a_file_is_instead(tmp_path, data, words):
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    for source in (path, data):
        with pytest.raises(ImageProblem, match=words):
            read_image(source)
