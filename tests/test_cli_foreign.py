"""What `cbirkit` makes of an index that is damaged, that somebody else made, or that is none."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_samples import add_textured, failed, paint, photos, quick, runner

from cbirkit import Retriever, _atomic, indexes, persistence
from cbirkit.cli import choices, pages
from cbirkit.images import ImageCollection

folder = pytest.fixture(photos)
run = pytest.fixture(runner)
quick = pytest.fixture(autouse=True)(quick)
RAW = ("Traceback", "pickle", "Expecting", "EOF", "Errno", "memory-mapped", "NoneType", "object")


# ---------------------------------------------------------------------- damage


def junk(path):
    path.write_bytes(np.random.default_rng(0).bytes(5000))


def cut(path):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def archive(path):
    np.savez(path.open("wb"), a=1)


def objects(path):
    np.save(path.open("wb"), np.array([{}], object), allow_pickle=True)


def other_array(path):
    np.save(path.open("wb"), np.full((3, 2), np.nan))


def in_place_a_folder(path):
    path.unlink()
    path.mkdir()


DAMAGES = [
    lambda path: path.write_bytes(b""),
    cut,
    junk,
    archive,
    objects,
    other_array,
    in_place_a_folder,
    Path.unlink,
]
NAMES = ["empty", "cut", "junk", "npz", "objects", "other", "folder", "gone"]


@pytest.mark.parametrize("damage", DAMAGES, ids=NAMES)
def test_each_damaged_file_of_an_index_is_made_anew(damage, folder, run, tmp_path):
    """Whatever is lost is computed again, and the answer is the same; nothing stays stuck."""
    pytest.importorskip("faiss")
    choice = ("--encoder", "color", "--index", "hnsw")
    query = ("search", folder, "cat/0.png", "-k", 5, "--json", *choice)
    assert run("index", folder, *choice)[0] == 0
    good, whole = json.loads(run(*query)[1])["results"], tmp_path / "whole"
    shutil.copytree(folder / ".cbirkit", whole)
    for name in sorted(
        path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file()
    ):
        shutil.rmtree(folder / ".cbirkit")
        shutil.copytree(whole, folder / ".cbirkit")
        damage(folder / ".cbirkit" / name)
        for arguments in (query, ("index", folder, *choice)):
            code, out, err = run(*arguments)
            if code:  # refused in words of ours
                assert name == "CACHEDIR.TAG", (name, err)
                assert "choose a" in err or "move it away" in err, (name, err)
            elif out:
                assert [row["id"] for row in json.loads(out)["results"]] == [
                    row["id"] for row in good
                ], name
            assert not any(word in err for word in RAW), (name, err)


@pytest.mark.parametrize("damage", [junk, in_place_a_folder], ids=["junk", "folder"])
def test_a_damaged_encoder_learns_anew(damage, folder, run):
    add_textured(folder, 4)
    run("index", folder, "--encoder", "vlad")
    damage(folder / ".cbirkit" / "encoders" / "vlad")
    assert "the encoder in" in (err := run("index", folder)[2]) and "learning vlad" in err
    assert "learning" not in run("index", folder)[2]


def test_a_damaged_embedding_is_not_counted_and_only_it_is_encoded_anew(folder, run):
    run("index", folder, "--encoder", "color")
    kept = folder / ".cbirkit" / "store" / "embeddings.sqlite"
    vector = Retriever.load(folder / ".cbirkit" / "retriever").embeddings[2].tobytes()
    data = bytearray(kept.read_bytes())
    data[data.index(vector) + 2] ^= 1
    kept.write_bytes(data)
    err = run("index", folder)[2]
    assert f"1 embeddings in {kept} are damaged" in err and "(1 encoded now)" in err
    assert "(0 encoded now)" in run("index", folder)[2]


# ---------------------------------------------------------------------- not ours


@pytest.mark.parametrize("command", ["index", "search", "explore"])
@pytest.mark.parametrize(
    "name",
    [
        "settings.json",
        "store/embeddings.sqlite",
        "CACHEDIR.TAG",
        "a/b/c",
    ],
)
def test_what_cbirkit_did_not_write_is_not_touched(command, name, folder, tmp_path, run):
    out = tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("mine")
    more = {
        "search": ["cat/0.png"],
        "explore": ["--no-open", "--notebook", tmp_path / "x.ipynb"],
    }.get(command, [])
    failed(
        run(command, folder, *more, "--out", out),
        "which cbirkit did not put there; choose a new or an empty folder with --out",
    )
    assert [path for path in out.rglob("*") if path.is_file()] == [out / name] and (
        out / name
    ).read_text() == "mine"


def test_an_empty_folder_and_what_desktops_leave_are_taken(folder, tmp_path, run):
    out = tmp_path / "out"
    out.mkdir()
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (out / name).write_text("x")
    assert run("index", folder, "--out", out)[0] == 0
    (out / "mine.txt").write_text("mine")  # later, in a folder that is cbirkit's
    assert run("index", folder, "--out", out)[0] == 0 and (out / "mine.txt").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="links and pipes are made otherwise here")
@pytest.mark.parametrize(
    "part",
    [
        "",
        "store",
        "store/embeddings.sqlite",
        "retriever",
        "encoders",
    ],
)
def test_links_and_pipes_in_a_hidden_folder_lead_nowhere(part, folder, tmp_path, run):
    victim = tmp_path / "victim"
    run("index", folder, "--encoder", "color", "--out", victim)
    before = {path: path.read_bytes() for path in victim.rglob("*") if path.is_file()}
    run("index", folder, "--encoder", "color")
    place = folder / ".cbirkit" / part if part else folder / ".cbirkit"
    for put in (
        lambda path: path.symlink_to(victim / part),
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
    ):
        if place.is_symlink() or not place.is_dir():
            place.unlink(missing_ok=True)
        else:
            shutil.rmtree(place)
        put(place)
        for arguments in (["index", folder], ["search", folder, "cat/0.png"]):
            failed(run(*arguments), "is a link|--out DIR")
    assert {path: path.read_bytes() for path in victim.rglob("*") if path.is_file()} == before


def forged(folder, *, about=None, **files):
    """Change what is saved in an index, as its sender could."""
    place = folder / ".cbirkit" / "retriever"
    state = persistence.load(place, kind="retriever")
    state["files"] |= files
    kept = persistence.about(place, kind="retriever")
    persistence.save(state, place, kind="retriever", about=about or kept)


def test_pictures_are_those_of_the_folder_that_was_named(folder, tmp_path, run):
    private = paint(tmp_path / "private" / "cat" / "0.png", 77)
    for seed in range(1, 6):
        paint(tmp_path / "private" / ("cat" if seed < 3 else "dog") / f"{seed}.png", seed)
    run("index", folder, "--encoder", "color")

    forged(folder, root=str(private.parent.parent), from_here=str(private.parent.parent))
    found = json.loads(
        run("search", folder, "cat/1.png", "-k", 5, "--json", "--html", tmp_path / "x.html")[1]
    )["results"]
    assert {Path(row["path"]).parent.parent for row in found} == {folder}
    shown = Retriever.load(folder / ".cbirkit" / "retriever").images
    with pytest.raises(ValueError, match="changed since it was indexed"):
        shown["cat/0.png"]
    np.testing.assert_array_equal(
        shown["dog/5.png"], ImageCollection.from_folder(folder)["dog/5.png"]
    )


def test_settings_and_index_are_one(folder, run, monkeypatch):
    """Killed at any renaming: never the settings of one index with another."""
    run("index", folder, "--encoder", "color")
    real, calls = os.replace, []
    for stop in range(3):

        def killed(*args, stop=stop):
            calls.append(args)
            if len(calls) > stop:
                raise KeyboardInterrupt
            real(*args)

        calls.clear()
        monkeypatch.setattr(_atomic.os, "replace", killed)
        run("index", folder, "--encoder", "hog")
        monkeypatch.undo()
        kept = choices.kept_settings(folder / ".cbirkit")
        encoder = Retriever.load(folder / ".cbirkit" / "retriever").encoder_
        assert repr(encoder) == repr(choices.make_encoder(kept["encoder"]))


@pytest.mark.parametrize("index", ["hnsw", "ivfpq", "annoy"])
def test_files_of_faiss_and_annoy_from_another_user_are_built_anew_unless_trusted(
    index, folder, run, tmp_path, monkeypatch
):
    pytest.importorskip("annoy" if index == "annoy" else "faiss")
    run("index", folder, "--encoder", "color", "--index", index)
    expected = run("search", folder, "cat/0.png", "-k", 5)
    assert expected[2] == ""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other user"))
    kind, parsed = getattr(indexes, choices.INDEXES[index]), []
    real = kind._parse
    monkeypatch.setattr(
        kind, "_parse", lambda *args, **kwargs: parsed.append(1) or real(*args, **kwargs)
    )
    _, out, err = run("search", folder, "cat/0.png", "-k", 5)
    assert out == expected[1] and "was not saved by you on this machine" in err and not parsed
    assert run("search", folder, "cat/0.png", "-k", 5, "--trust") == expected and parsed


# ---------------------------------------------------------------------- files that come and go, names, cells


def test_a_picture_deleted_before_the_page_is_written(folder, tmp_path, run, monkeypatch):
    real = pages.view_of_survey

    def after_a_deletion(*args):
        (folder / "cat" / "0.png").unlink()
        return real(*args)

    monkeypatch.setattr(pages, "view_of_survey", after_a_deletion)
    assert run("report", folder, "--html", tmp_path / "r.html", "--encoder", "color")[0] == 0
    page = (tmp_path / "r.html").read_text()
    assert "cannot be read</div>" in page and "<img" in page


def test_every_broken_file_is_named(folder, tmp_path, run):
    for n in range(230):
        (folder / f"broken{n:03d}.png").write_bytes(b"\x89PNG no picture")
    code, _, err = run("report", folder, "--html", tmp_path / "r.html", "--encoder", "color")
    assert code == 0, err
    page = (tmp_path / "r.html").read_text()
    assert all(f"broken{n:03d}.png" in page for n in range(230))


@pytest.mark.parametrize("fault", ["full disk", "empty before"])
def test_no_empty_notebook_stays(fault, folder, tmp_path, run, monkeypatch):
    path = tmp_path / "x.ipynb"
    if fault == "empty before":
        path.touch()
    else:
        real = os.fsync
        monkeypatch.setattr(
            _atomic.os,
            "fsync",
            lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")),
        )
        (folder / ".cbirkit").mkdir()
        assert run("explore", folder, "--no-open", "--notebook", path)[0] == 1 and not path.exists()
        monkeypatch.setattr(_atomic.os, "fsync", real)
    assert run("explore", folder, "--no-open", "--notebook", path)[0] == 0
    assert len(json.loads(path.read_text())["cells"]) > 5


@pytest.mark.skipif(os.name != "posix", reason="such names exist on POSIX only")
@pytest.mark.parametrize(
    "name",
    [
        "new\nline.png",
        "quo'te\".png",
        "-dash.png",
        os.fsdecode(b"by\xfftes.png"),
        "l" * 250 + ".png",
    ],
)
def test_unusual_names(name, folder, tmp_path, run):
    strange = folder.parent / name.removesuffix(".png")
    folder.rename(strange)
    paint(strange / name, 50)
    query, page = tmp_path / name, tmp_path / ("x" * 245 + ".html")
    shutil.copy(strange / name, query)
    more = ["--out", tmp_path / "out"] if len(name) > 200 else []
    for image in (["--", strange, name], [strange, query]):
        options = ["-k", 2, "--json", "--html", page, *more]
        code, out, err = (
            run("search", *options, *image) if image[0] == "--" else run("search", *image, *options)
        )
        assert code == 0 and len(json.loads(out)["results"]) == 2, err
    for command in ("report", "explore"):
        where = (
            ["--html", page]
            if command == "report"
            else ["--no-open", "--notebook", tmp_path / "n.ipynb"]
        )
        code, out, err = run(command, *where, *more, "--", strange)
        assert code == 0, err


def test_what_is_wrong_with_the_query_is_told_before_the_work(folder, tmp_path, run, monkeypatch):
    monkeypatch.setattr(
        "cbirkit.cli.searching._indexed", lambda *args: pytest.fail("indexed first")
    )
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    failed(run("search", folder, tmp_path / "broken.jpg", "-k", 99), "broken.jpg")
    failed(run("search", folder, tmp_path / "nowhere.jpg", "-k", 99), "nowhere.jpg")
