"""The command line: what it prints and writes, its pages, and what it says when something is wrong."""

import errno
import html.parser
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli_samples import add_textured, failed, paint, photos, quick, runner
from conftest import ROOT
from PIL import Image

from cbirkit import _atomic
from cbirkit.cli import choices
from cbirkit.cli.choices import printable

HOSTILE = [
    "<img src=x onerror=alert(1)>.jpg",
    "$x$.png",
    "with space & ' quotes\".jpg",
    "naïve 日本.png",
]

folder = pytest.fixture(photos)
run = pytest.fixture(runner)
quick = pytest.fixture(autouse=True)(quick)


# ---------------------------------------------------------------------- index


def test_index_keeps_everything_below_the_folder_and_encodes_only_what_is_new(folder, run):
    code, out, err = run("index", folder)
    assert code == 0 and out == "" and "indexed 6 images" in err and "(6 encoded now)" in err
    names = {p.name for p in (folder / ".cbirkit").iterdir()}
    assert names == {"CACHEDIR.TAG", "retriever", "store"}
    assert "(0 encoded now)" in run("index", folder)[2]
    paint(folder / "new.png", 99)
    assert "indexed 7 images" in (err := run("index", folder)[2]) and "(1 encoded now)" in err


def test_index_elsewhere_leaves_the_folder_alone(folder, tmp_path, run):
    assert run("index", folder, "--out", tmp_path / "deep" / "kept")[0] == 0
    assert (
        not (folder / ".cbirkit").exists() and (tmp_path / "deep" / "kept" / "retriever").is_file()
    )
    assert run("search", folder, "cat/0.png", "--out", tmp_path / "deep" / "kept", "-q")[2] == ""


def test_index_names_broken_files_and_goes_on(folder, run):
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (folder / "empty.png").write_bytes(b"")
    code, _, err = run("index", folder)
    assert (
        code == 0
        and "2 files cannot be used" in err
        and "indexed 6 images" in err
        and ".problems" not in err
    )
    assert "broken.jpg: " in err and "empty.png: " in err
    assert (
        "up to date" not in run("search", folder, "cat/0.png")[2]
    )  # broken files are not new ones


@pytest.mark.parametrize("encoder", list(choices.ENCODERS))
def test_every_encoder_and_its_code_in_the_notebook_are_the_same(encoder):
    from sklearn.pipeline import make_union

    from cbirkit import encoders

    written = eval(choices.encoder_code(encoder), {"encoders": encoders, "make_union": make_union})
    assert repr(written) == repr(choices.make_encoder(encoder))


def test_the_encoder_and_index_chosen_once_are_used_again(folder, run):
    assert run("index", folder, "--encoder", "tiny-image", "--index", "hnsw")[0] == 0
    found = json.loads(run("search", folder, "cat/0.png", "--json")[1])
    assert (found["encoder"], found["index"]) == ("tiny-image", "hnsw")
    _, out, err = run("search", folder, "cat/0.png", "--json", "--encoder", "color")
    assert json.loads(out)["encoder"] == "color" and "indexing anew" in err


def test_what_an_encoder_learns_is_learnt_once(folder, run):
    add_textured(folder, 4)
    assert "learning vlad from 10 images" in run("index", folder, "--encoder", "vlad")[2]
    assert "learning" not in run("report", folder, "--html", folder.parent / "r.html")[2]
    paint(folder / "later.png", 50)
    code, _, err = run("index", folder)
    assert (
        code == 0 and "learning" not in err and "(1 encoded now)" in err and "encoder vlad" in err
    )


def test_an_encoder_that_cannot_learn_from_a_folder_names_one_that_can(folder, run):
    failed(
        run("index", folder, "--encoder", "vlad"),
        "vlad cannot learn .* use --encoder color+hog".replace("+", "[+]"),
    )


def test_quiet_says_nothing(folder, run, monkeypatch):
    assert run("index", folder, "--quiet") == (0, "", "")


# ---------------------------------------------------------------------- search


def test_search_prints_a_table_nearest_first_without_the_query_itself(folder, run):
    Image.open(folder / "cat" / "0.png").save(folder / "dog" / "copy of cat 0.bmp")
    code, out, err = run("search", folder, "cat/0.png", "-k", 3)
    assert code == 0 and "indexing first" in err
    lines = out.splitlines()
    assert lines[0].split() == ["rank", "distance", "label", "name"] and len(lines) == 4
    assert lines[1].split()[:3] == ["1", "0.0000", "dog"] and lines[1].endswith(
        "dog/copy of cat 0.bmp"
    )
    assert not any(line.endswith("cat/0.png") for line in lines)
    distances = [float(line.split()[1]) for line in lines[1:]]
    assert distances == sorted(distances)
    assert (
        run("search", folder, folder / "cat" / "0.png", "-k", 3, "-q")[1] == out
    )  # by path as by name


def test_search_by_a_file_from_elsewhere_finds_the_same_picture(folder, tmp_path, run):
    other = tmp_path / "elsewhere.png"
    other.write_bytes((folder / "dog" / "4.png").read_bytes())
    found = json.loads(run("search", folder, other, "-k", 1, "--json", "-q")[1])
    assert found["results"][0]["id"] == "dog/4.png" and found["results"][0][
        "distance"
    ] == pytest.approx(0, abs=1e-6)
    assert found["results"][0]["label"] == "dog" and Path(found["results"][0]["path"]).is_file()


def test_search_notices_that_images_came_and_went(folder, run):
    run("index", folder)
    paint(folder / "cat" / "extra.png", 0)
    (folder / "dog" / "5.png").unlink()
    code, out, err = run("search", folder, "cat/0.png")
    assert code == 0 and "1 new image, 1 gone, 0 changed: bringing the index up to date" in err
    assert "cat/extra.png" in out and "dog/5.png" not in out
    assert "new" not in run("search", folder, "cat/0.png", "-k", 2)[2]


def test_search_notices_that_a_file_was_replaced(folder, run):
    run("index", folder)
    assert run("search", folder, "cat/0.png", "-k", 2)[2] == ""
    (folder / "dog" / "5.png").write_bytes((folder / "cat" / "0.png").read_bytes())
    code, out, err = run("search", folder, "cat/0.png", "-k", 1)
    assert code == 0 and "0 new images, 0 gone, 1 changed" in err and "dog/5.png" in out
    assert out.splitlines()[1].split()[:2] == ["1", "0.0000"]
    assert run("search", folder, "cat/0.png", "-k", 1)[2] == ""


def test_search_for_more_than_there_are_gives_all(folder, run):
    code, out, err = run("search", folder, "cat/0.png", "-k", 50)
    assert (
        code == 0
        and len(out.splitlines()) == 6
        and "5 other images to find, fewer than the 50" in err
    )


def test_a_folder_of_one_image(tmp_path, run):
    paint(tmp_path / "one" / "only.png", 1)
    code, out, err = run("search", tmp_path / "one", "only.png")
    assert (
        code == 0
        and out == ""
        and "indexed 1 image of" in err
        and err.endswith("no other image to find\n")
    )
    assert json.loads(run("search", tmp_path / "one", "only.png", "--json")[1])["results"] == []


def test_a_damaged_index_is_made_anew(folder, run):
    run("index", folder)
    kept = folder / ".cbirkit" / "retriever"
    data = bytearray(kept.read_bytes())
    data[len(data) // 2] ^= 1
    kept.write_bytes(data)
    code, out, err = run("search", folder, "cat/0.png")
    assert code == 0 and "indexing anew" in err and len(out.splitlines()) == 6


class Page(html.parser.HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def test_hostile_names_are_searched_printed_and_escaped(tmp_path, run):
    for seed, name in enumerate(HOSTILE):
        paint(tmp_path / "in" / name, seed)
    page = tmp_path / "found <b>.html"
    for name in HOSTILE:
        code, out, _ = run("search", tmp_path / "in", name, "--html", page)
        assert code == 0
        assert all(other in out for other in HOSTILE if other != name)
        seen = Page(page.read_text("utf-8"))
        pictures = [attributes for tag, attributes in seen.tags if tag == "img"]
        assert len(pictures) == 4 and all(set(p) == {"alt", "src"} for p in pictures)
        assert all(p["src"].startswith("data:image") for p in pictures)
        assert all(other in seen.text for other in HOSTILE)
        assert not {"script", "link", "iframe", "b"} & {tag for tag, _ in seen.tags}
        assert "http:" not in page.read_text("utf-8") and "https:" not in page.read_text("utf-8")


@pytest.mark.skipif(sys.platform != "linux", reason="such file names exist on Linux only")
def test_names_that_are_no_text_and_that_steer_terminals(tmp_path, run):
    paint(tmp_path / "in" / "a.png", 0)
    paint(tmp_path / "in" / "b.png", 1)
    broken = os.fsdecode(b"\xff\xfe.png")
    (tmp_path / "in" / "a.png").rename(tmp_path / "in" / broken)
    (tmp_path / "in" / "b.png").rename(tmp_path / "in" / "\x1b[31mred.png")
    paint(tmp_path / "in" / "c.png", 2)
    code, out, err = run("search", tmp_path / "in", "c.png", "--html", tmp_path / "o.html")
    assert code == 0 and "\x1b" not in out + err
    assert "\\x1b[31mred.png" in out and "ff\\" in out
    assert "\\x1b[31mred.png" in (tmp_path / "o.html").read_text("utf-8")
    found = json.loads(run("search", tmp_path / "in", "c.png", "--json")[1])["results"]
    assert {Path(row["path"]).name for row in found} == {broken, "\x1b[31mred.png"}
    assert run("explore", tmp_path / "in", "--no-open", "--notebook", tmp_path / "x.ipynb")[0] == 0


def test_printable_keeps_text_and_escapes_the_rest():
    assert printable("naïve 日本 $x$") == "naïve 日本 $x$"
    assert printable("a\nb\u202e\U000e0001") == "a\\nb\\u202e\\U000e0001"


# ---------------------------------------------------------------------- the installed command


def shell(*command, **options):
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, **options
    )


def test_the_installed_command(folder, tmp_path):
    command = Path(sys.executable).with_name("cbirkit")
    if not command.exists():
        pytest.skip(f"cbirkit is not installed beside {sys.executable}")
    paint(folder / "日本.png", 7)
    done = shell(
        command,
        "search",
        folder,
        "cat/0.png",
        "--encoder",
        "color",
        env=dict(os.environ, PYTHONIOENCODING="ascii"),
    )
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 7 and "\\u65e5" in done.stdout
    failing = shell(command, "index", tmp_path / "no", cwd=ROOT)
    assert (
        failing.returncode == 1
        and failing.stderr.count("\n") == 1
        and "Traceback" not in failing.stderr
    )


def test_the_command_line_itself_loads_nothing_heavy():
    lines = "import sys, cbirkit.cli as c; c.build_parser(); print({'numpy', 'torch', 'cv2'} & {*sys.modules})"
    assert shell(sys.executable, "-c", lines, cwd=ROOT).stdout.strip() == "set()"


def test_a_report_needs_no_widgets():
    lines = "import sys; sys.modules['ipywidgets'] = sys.modules['anywidget'] = None; import cbirkit.cli.pages; print(1)"
    assert shell(sys.executable, "-c", lines, cwd=ROOT).stdout.strip() == "1"


# ---------------------------------------------------------------------- labels


@pytest.mark.parametrize("inside", [True, False])
def test_labels_of_a_file(folder, run, tmp_path, inside):
    place = folder / "my.csv" if inside else tmp_path / "my.csv"
    place.write_text("file,kind\n" + "".join(f"{i}.png,0{i % 2}\n" for i in range(5)))
    given = ("--labels", place)
    err = run("index", folder)[2]
    assert ("my.csv is not used; for its labels" in err) == inside
    assert ("--labels my.csv" in err) == inside
    assert run("index", folder, *given)[0] == 0

    def labels(*more):
        found = json.loads(run("search", folder, "dog/4.png", "--json", *more)[1])["results"]
        return {one["id"]: one["label"] for one in found}

    named = {
        "cat/0.png": "00",
        "cat/1.png": "01",
        "cat/2.png": "00",
        "dog/3.png": "01",
        "dog/5.png": None,
    }
    assert labels(*given) == named
    kept = (
        named if inside else {name: name.split("/")[0] for name in named}
    )  # a file elsewhere is named again
    assert labels() == kept
    paint(folder / "cat" / "new.png", 9)
    assert labels() == kept | {"cat/new.png": None if inside else "cat"}
    assert (
        run("report", folder, *given, "--encoder", "color", "--html", tmp_path / "r.html")[0] == 0
    )
    assert "2 classes" in (tmp_path / "r.html").read_text()
    assert run("explore", folder, *given, "--no-open", "--notebook", tmp_path / "n.ipynb")[0] == 0
    shown = repr("my.csv" if inside else str(place))
    assert f"labels={shown})" in (tmp_path / "n.ipynb").read_text()
    failed(run("index", folder, "--labels", "none.csv"), "there is no such file")
    failed(run("report", folder, "--labels", f"{place}:sort"), "no column 'sort'")


def test_a_folder_called_tilde_is_not_the_home_folder(tmp_path, run, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    paint(tmp_path / "~" / "a" / "e\u0301.png", 0)
    paint(tmp_path / "~" / "b" / "2.png", 1)
    paint(tmp_path / "home" / "mine.png", 2)
    for command in ("index", "report"):
        assert run(command, "./~", "--encoder", "color")[0] == 0
    assert (tmp_path / "~" / ".cbirkit").is_dir() and not (tmp_path / "home" / ".cbirkit").exists()
    for name in ("a/é.png", "a/e\u0301.png"):
        assert [
            one["id"] for one in json.loads(run("search", "./~", name, "--json")[1])["results"]
        ] == ["b/2.png"]
    assert "1 image" in run("index", "~", "--encoder", "color")[2]


# ---------------------------------------------------------------------- failures


def test_failures_are_one_sentence(folder, tmp_path, run):
    (tmp_path / "empty").mkdir()
    failed(run("index", tmp_path / "nowhere"), "nowhere")
    failed(run("index", tmp_path / "empty"), "no usable image")
    failed(run("index", folder / "cat" / "0.png"), "0.png")
    failed(run("search", folder, "nobody.png"), "no image nobody.png: it is neither a file nor")
    failed(
        run("search", folder, "cat/0.png", "--html", tmp_path / "no" / "where.html"),
        "cannot write .*--html FILE",
    )
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    failed(run("search", folder, tmp_path / "broken.jpg"), "broken.jpg")
    failed(
        run("explore", folder, "--no-open", "--notebook", tmp_path / "no" / "x.ipynb"),
        "cannot write .*--notebook",
    )


def test_a_folder_with_broken_images_only(tmp_path, run):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_bytes(b"\x89PNG no picture")
    failed(run("index", tmp_path / "bad"), "x.png")
    failed(run("index", tmp_path / "bad", "--encoder", "vlad"), "vlad cannot learn")


def test_a_folder_that_cannot_be_written_says_use_out(folder, tmp_path, run, monkeypatch):
    (folder / ".cbirkit").write_text("in the way")
    failed(run("index", folder), "keep the index elsewhere with --out DIR")
    (folder / ".cbirkit").unlink()

    def refuse(number):
        def mkdir(self, *args, **kwargs):
            raise OSError(number, os.strerror(number), str(self))

        monkeypatch.setattr(Path, "mkdir", mkdir)

    refuse(errno.EROFS)
    failed(run("search", folder, "cat/0.png"), "Read-only file system.*--out DIR")
    refuse(errno.ENOSPC)
    failed(run("index", folder), "No space left on device.*what was done is kept")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)
def test_a_read_only_folder(folder, run):
    folder.chmod(0o500)
    try:
        failed(run("index", folder), "--out DIR")
    finally:
        folder.chmod(0o700)


def test_wrong_usage_is_exit_code_2(folder, run):
    wrong = [[], ["nonsense"], ["index"], ["search", folder], ["search", folder, "x", "-k", "two"]]
    for arguments in [*wrong, ["index", folder, "--encoder", "magic"]]:
        code, out, err = run(*arguments)
        assert code == 2 and out == "" and "usage: cbirkit" in err
    assert "must be a whole number of at least 1, got '0'" in run("search", folder, "x", "-k", 0)[2]


@pytest.mark.parametrize("command", [[], ["doctor"], ["index"], ["search"], ["explore"]])
def test_help_has_examples_and_exit_codes(command, run):
    code, out, _ = run(*command, "--help")
    assert code == 0 and "exit codes: 0 done, 1 failed" in out
    assert not command or f"examples:\n  cbirkit {command[0]}" in out


def test_ctrl_c_ends_with_130(folder, run, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(choices, "prepared_encoder", stop)
    code, _, err = run("index", folder)
    assert code == 130 and "interrupted; what was kept" in err and "Traceback" not in err
    code, _, err = run("report", folder, "--html", folder.parent / "r.html")
    assert code == 130 and "interrupted" in err


def test_a_missing_package_is_one_sentence(folder, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "annoy", None)
    failed(run("index", folder, "--index", "annoy"), "pip install annoy")


def test_a_library_that_does_not_load_leads_to_the_doctor(folder, run, monkeypatch):
    def broken(*args, **kwargs):
        raise ImportError("libcusparse.so.12: cannot open shared object file")

    monkeypatch.setattr(choices, "prepared_encoder", broken)
    failed(run("index", folder), "libcusparse.so.12: .* run `cbirkit doctor`")


# ---------------------------------------------------------------------- report


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
    assert "6 images can be read" in words(tmp_path / "report_photos.html")


def test_it_begins_with_the_whole_in_a_few_words(folder, tmp_path, run):
    page = tmp_path / "r.html"
    run("report", folder, "--html", page, "--encoder", "color")
    text = words(page)
    assert re.search(r"6 images can be read, 0 files cannot.* \d+ kB on disk", text)
    assert "2 classes" in text and "40 × 326" in text and "Every file can be read" in text
    assert "the encoder color (joint histogram of hue, saturation and value)" in text
    (folder / "dog" / "again.png").write_bytes((folder / "dog" / "5.png").read_bytes())
    (folder / "alone.png").write_bytes((folder / "cat" / "0.png").read_bytes())
    (folder / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    run("report", folder, "--html", page, "--encoder", "color")
    text = words(page)
    assert "1 file cannot; 2 groups of copies" in text and "1 images have no label" in text
    assert "IMG_1.HEICHEIC is not read; save it as JPEG or PNG" in text and "Group 2 of 2" in text


def test_of_a_few_images_none_is_called_unlike_the_others(folder, tmp_path, run):
    page = tmp_path / "r.html"
    run("report", folder, "--html", page, "--encoder", "color")
    assert ">Outliers<" in page.read_text("utf-8")
    for path in list(folder.rglob("*.png"))[2:]:
        path.unlink()
    run("report", folder, "--html", page, "--encoder", "color")
    assert "0 outliers" in page.read_text("utf-8")


def test_the_page_of_a_folder_of_one_image(tmp_path, run):
    paint(tmp_path / "one" / "a.png", 1)
    _, _, err = run("report", tmp_path / "one", "--html", tmp_path / "r.html", "--encoder", "color")
    assert "1 image can be read" in err
    assert "No two files hold the same bytes" in words(tmp_path / "r.html")


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
    failed(run("report", folder, "--html", page, "--encoder", "color"), "No space left")
    assert page.read_text() == "older" and [p.name for p in tmp_path.iterdir() if p.is_file()] == [
        "r.html"
    ]


def test_there_is_no_index_to_choose(folder, run):
    assert run("report", folder, "--index", "hnsw")[0] == 2
