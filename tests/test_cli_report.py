"""``cbirkit report``: where the page goes, and what it says in words."""

import errno
import os
import re

import pytest
from cli_samples import failed, paint, photos, quick, runner

from cbirkit import _atomic
from cbirkit.cli import choices

folder = pytest.fixture(photos)
run = pytest.fixture(runner)
quick = pytest.fixture(autouse=True)(quick)


def words(path):
    return " ".join(
        re.sub(
            r"<[^>]+>",
            "",
            re.sub(r"<style>.*?</style>", "", path.read_text("utf-8"), flags=re.DOTALL),
        ).split()
    )


def test_each_folder_has_a_page_of_its_own(folder, tmp_path, run, monkeypatch):
    paint(tmp_path / "More photos" / "a.png", 1)
    monkeypatch.chdir(tmp_path)
    assert run("report", "photos", "-q", "--encoder", "color")[1] == "report_photos.html\n"
    assert (
        run("report", "More photos/", "-q", "--encoder", "color")[1] == "report_More_photos.html\n"
    )
    assert "6 images in 2 classes" in words(tmp_path / "report_photos.html")


def test_it_begins_with_the_whole_in_a_few_words(folder, tmp_path, run):
    page = tmp_path / "r.html"
    run("report", folder, "--html", page, "--encoder", "color")
    text = words(page)
    assert re.search(
        r"6 images in 2 classes, [\d.,]+ (kB|bytes) on disk. Every file can be read. ", text
    )
    assert "width40 pixels" in text and "height32 pixels" in text and "file types6 png" in text
    assert "the encoder color (joint histogram of hue, saturation and value)" in text
    (folder / "dog" / "again.png").write_bytes((folder / "dog" / "5.png").read_bytes())
    (folder / "alone.png").write_bytes((folder / "cat" / "0.png").read_bytes())
    (folder / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    run("report", folder, "--html", page, "--encoder", "color")
    text = words(page)
    assert "1 file cannot be read. 2 groups of copies" in text and "1 image without a class" in text
    assert "IMG_1.HEICHEIC is not read; save it as JPEG or PNG" in text


def test_of_a_few_images_none_is_called_unlike_the_others(folder, tmp_path, run):
    page = tmp_path / "r.html"
    run("report", folder, "--html", page, "--encoder", "color")
    assert "Unlike all others" in page.read_text("utf-8")
    for path in list(folder.rglob("*.png"))[2:]:
        path.unlink()
    run("report", folder, "--html", page, "--encoder", "color")
    assert "Unlike all others" not in page.read_text("utf-8")


def test_a_folder_of_one_image(tmp_path, run):
    paint(tmp_path / "one" / "a.png", 1)
    _, _, err = run("report", tmp_path / "one", "--html", tmp_path / "r.html", "--encoder", "color")
    assert "1 image, 0 that cannot be read, 0 groups of copies" in err
    assert " bytes on disk. Every file can be read. No copies." in words(tmp_path / "r.html")


def test_a_place_that_cannot_be_written_is_told_before_the_work(folder, tmp_path, run, monkeypatch):
    monkeypatch.setattr(
        choices, "prepared_encoder", lambda *_, **__: pytest.fail("images were encoded first")
    )
    failed(run("report", folder, "--html", tmp_path / "no" / "r.html"), "--html FILE")
    failed(run("report", folder, "--html", tmp_path), "--html FILE")
    monkeypatch.setattr(choices.os, "access", lambda *_: False)
    failed(run("report", folder, "--html", tmp_path / "r.html"), "--html FILE")


def test_a_full_disk_leaves_the_older_page(folder, tmp_path, run, monkeypatch):
    page = tmp_path / "r.html"
    page.write_text("older")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_atomic.os, "fsync", full)
    failed(run("report", folder, "--html", page, "--encoder", "color"), "disk is full")
    assert page.read_text() == "older" and [p.name for p in tmp_path.iterdir() if p.is_file()] == [
        "r.html"
    ]


def test_there_is_no_index_to_choose(folder, run):
    assert run("report", folder, "--index", "hnsw")[0] == 2
