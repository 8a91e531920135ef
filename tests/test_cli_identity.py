"""What is indexed is what is searched: whatever happens to files and folders between `cbirkit index` and `cbirkit search`."""

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from cli_samples import quick, runner
from PIL import Image

from cbirkit import Retriever, store
from cbirkit.cli import searching
from cbirkit.retrieval import database

run = pytest.fixture(runner)
quick = pytest.fixture(autouse=True)(quick)


@pytest.fixture
def folder(tmp_path):
    """Six dark pictures that were there for long, of equal size in bytes; `red.bmp` is beside them."""
    for seed in range(6):
        dark = np.random.default_rng(seed).integers(0, 90, (24, 24, 3), dtype=np.uint8)
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(dark).save(tmp_path / "photos" / f"{seed}.bmp")
    Image.fromarray(np.full((24, 24, 3), (250, 5, 5), np.uint8)).save(tmp_path / "red.bmp")
    return tmp_path / "photos"


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Stamps count at once, as they do of files that were written more than two seconds ago."""
    for module in (store, database):
        monkeypatch.setattr(module, "is_settled", lambda stamp: True)


@pytest.fixture
def digested(monkeypatch):
    """Files whose contents were read to recognise them."""
    from cbirkit.images.collection import FileSource

    real, seen = FileSource.digest, []
    monkeypatch.setattr(FileSource, "digest", lambda self, row: seen.append(row) or real(self, row))
    return seen


def rewrite(path, data):
    path.write_bytes(data)


def keep_times(path, data):
    status = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def unpack_older(path, data):
    path.unlink()
    path.write_bytes(data)
    os.utime(path, (1e9, 1e9))


def date_in_the_future(path, data):
    path.write_bytes(data)
    os.utime(path, (4e9, 4e9))


def rename_over(path, data):
    other = path.with_name("other.tmp")
    other.write_bytes(data)
    shutil.copystat(path, other)
    os.replace(other, path)


def link(path, data):
    target = path.parent.parent / "target.bmp"
    target.write_bytes(data)
    path.unlink()
    path.symlink_to(target)


REPLACED = [rewrite, keep_times, unpack_older, date_in_the_future, rename_over, link]


@pytest.mark.parametrize("replace", REPLACED)
def test_another_picture_under_the_same_name(replace, folder, run):
    red = folder.parent / "red.bmp"
    run("index", folder, "--encoder", "color")
    assert run("search", folder, red, "-k", 2)[2] == ""
    replace(folder / "3.bmp", red.read_bytes())
    _, out, err = run("search", folder, red, "-k", 1, "--json")
    assert (
        json.loads(out)["results"][0]["id"] == "3.bmp" and "0 new images, 0 gone, 1 changed" in err
    )
    assert run("search", folder, red, "-k", 2)[2] == ""


@pytest.mark.parametrize("replace", REPLACED)
def test_a_loaded_retriever_shows_no_other_picture(replace, folder, run, caplog):
    run("index", folder, "--encoder", "color")
    place = folder / ".cbirkit" / "retriever"
    loaded, shown = Retriever.load(place), np.asarray(Image.open(folder / "3.bmp"))
    np.testing.assert_array_equal(loaded.images["3.bmp"], shown)
    assert "WARNING" not in {record.levelname for record in caplog.records}
    replace(folder / "3.bmp", (folder.parent / "red.bmp").read_bytes())
    for one in (loaded, Retriever.load(place)):
        for show in (one.images.thumbnail, one.images.__getitem__, one.images[2:].thumbnail):
            with pytest.raises(
                ValueError, match=r"3\.bmp: changed since it was indexed; index again"
            ):
                show("3.bmp")
        np.testing.assert_array_equal(one.images["2.bmp"], np.asarray(Image.open(folder / "2.bmp")))
        one.search(shown, k=2)
    assert (
        len([record for record in caplog.records if "3.bmp" in record.getMessage()]) == 2
    )  # by the first search, and at load


def test_what_a_retriever_was_just_fitted_on(folder, caplog):
    from cbirkit.encoders import ColorHistogram

    retriever = Retriever(ColorHistogram(), progress=False).fit(folder)
    rewrite(folder / "3.bmp", (folder.parent / "red.bmp").read_bytes())
    retriever.remove("0.bmp").add([np.zeros((8, 8, 3), np.uint8)])
    with pytest.raises(ValueError, match="changed since it was indexed"):
        retriever.images["3.bmp"]
    retriever.search(retriever.images["1.bmp"], k=6)
    retriever.search(retriever.images["1.bmp"], k=6)
    assert [record.getMessage()[:21] for record in caplog.records] == ["1 of the images found"]


@pytest.mark.parametrize(
    "touch",
    [
        lambda p: p.chmod(0o600),
        lambda p: os.utime(p),
        lambda p: shutil.copy2(p, p.with_suffix(".t")),
    ],
)
def test_rights_and_dates_alone_change_nothing(touch, folder, run, digested, monkeypatch):
    """And where the index can be written, contents are compared once."""
    run("index", folder, "--encoder", "color")
    for n in range(3):
        touch(folder / f"{n}.bmp")
        if (copy := folder / f"{n}.t").exists():
            os.replace(copy, folder / f"{n}.bmp")
    digested.clear()
    assert run("search", folder, folder.parent / "red.bmp", "-k", 2)[::2] == (0, "")
    assert len(digested) == 3 + 1  # and the query
    monkeypatch.setattr(searching, "_indexed", lambda *args: pytest.fail("indexed again"))
    assert run("search", folder, folder.parent / "red.bmp", "-k", 2)[::2] == (0, "")
    assert len(digested) == 4 + 1


def test_an_index_that_cannot_be_written_is_used_all_the_same(folder, run, monkeypatch):
    run("index", folder, "--encoder", "color")
    before = {path: path.stat().st_mtime_ns for path in (folder / ".cbirkit").rglob("*")}
    (folder / "0.bmp").chmod(0o600)
    monkeypatch.setattr(
        store.sqlite3,
        "connect",
        lambda *a, **k: (_ for _ in ()).throw(store.sqlite3.OperationalError()),
    )
    assert run("search", folder, folder.parent / "red.bmp", "-k", 2)[::2] == (0, "")
    assert {path: path.stat().st_mtime_ns for path in (folder / ".cbirkit").rglob("*")} == before


def test_a_clock_that_was_ahead(folder, run, monkeypatch):
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 1e7)
    run("index", folder, "--encoder", "color")
    monkeypatch.undo()
    rewrite(folder / "3.bmp", (folder.parent / "red.bmp").read_bytes())
    assert "1 changed" in run("search", folder, folder.parent / "red.bmp", "-k", 2)[2]


@pytest.mark.parametrize("broken", [b"", b"BM too short", b"<!DOCTYPE html><html>", b"\0" * 2000])
def test_what_was_refused_is_looked_at_again_when_it_changes(broken, folder, run):
    late, red = folder / "late.bmp", folder.parent / "red.bmp"
    late.write_bytes(broken)
    run("index", folder, "--encoder", "color")
    late.touch()
    assert run("search", folder, red, "-k", 2)[2] == ""  # still broken
    keep_times(late, red.read_bytes())
    _, out, err = run("search", folder, red, "-k", 1)
    assert "1 new image, 0 gone, 0 changed" in err and out.endswith("late.bmp\n")
    assert run("search", folder, red, "-k", 2)[2] == ""


def test_a_folder_that_moved_with_its_index_and_one_in_its_place(folder, run, monkeypatch, caplog):
    red, other = folder.parent / "red.bmp", folder.parent / "other"
    run("index", folder, "--encoder", "color")
    shutil.move(folder, other)
    folder.mkdir()
    for n in range(6):
        shutil.copy(red, folder / f"{n}.bmp")
    monkeypatch.chdir(folder.parent)
    code, out, err = run("search", "other", "other/0.bmp", "-k", 1, "--json")
    assert (code, err) == (0, "") and Path(json.loads(out)["results"][0]["path"]).parent == other
    kept = Retriever.load("other/.cbirkit/retriever")
    monkeypatch.chdir("/")
    assert kept.images.path(0) == other / "0.bmp" and kept.images["0.bmp"].max() < 90
    shutil.move(
        other / ".cbirkit" / "retriever", folder.parent / "elsewhere"
    )  # only the old place is left, with other pictures
    assert Retriever.load(folder.parent / "elsewhere").images is None and "any more" in caplog.text
    assert Retriever.load(folder.parent / "elsewhere", images=False).images is None


def test_the_digest_cache_is_asked_by_stamp(folder, run, digested):
    run("index", folder, "--encoder", "color")
    digested.clear()
    run("index", folder)
    assert digested == []
    keep_times(folder / "3.bmp", (folder.parent / "red.bmp").read_bytes())
    assert "(1 encoded now)" in run("index", folder)[2] and digested == [3]


def test_another_folder_of_the_same_names_is_not_taken_for_the_indexed_one(folder, run):
    from cbirkit import ImageCollection

    run("index", folder, "--encoder", "color")
    other = folder.parent / "other"
    other.mkdir()
    for n in range(6):
        shutil.copy(folder.parent / "red.bmp", other / f"{n}.bmp")
    images = ImageCollection.from_folder(other)
    loaded = Retriever.load(folder / ".cbirkit" / "retriever", images=images)
    with pytest.raises(ValueError, match="changed since it was indexed"):
        loaded.images["3.bmp"]
