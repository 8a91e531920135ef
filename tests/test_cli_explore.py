"""``cbirkit explore``: the notebook it writes, and how it is opened."""

import json
import os
import re
import sys

import pytest
from cli_samples import add_textured, failed, paint, photos, runner

from cbirkit.cli import lab
from cbirkit.cli.choices import printable

SHOWN = ("CollectionExplorer(", "QueryExplorer({'lite0': retriever})", "EmbeddingMap(")
folder = pytest.fixture(photos)
run = pytest.fixture(runner)


def test_explore_writes_a_notebook_that_runs(folder, tmp_path, run, monkeypatch, capsys):
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.chdir(tmp_path)
    code, out, err = run("explore", folder, "--no-open")
    assert code == 0 and out == "explore_photos.ipynb\n" and "wrote" in err
    notebook = nbformat.read(tmp_path / "explore_photos.ipynb", as_version=4)
    nbformat.validate(notebook)
    codes = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert notebook.cells[0].source.startswith("# Explore photos\n")
    assert ["explore." + name in code for code, name in zip(codes[-3:], SHOWN, strict=True)] == [
        True
    ] * 3
    names = {}
    (folder / "photo of the sea without an ending").write_bytes(b"\xff\xd8\xff")
    (folder / "half.jpg").write_bytes(b"\xff\xd8\xff")
    for source in codes:
        exec(source, names)  # noqa: S102
    assert len(names["images"]) == 8 and len(names["retriever"].ids) == 6 == len(
        names["explorer"].queries
    )
    assert (
        "photo of the sea without an ending a JPEG file" in capsys.readouterr().out
    )  # not cut off
    (folder / "photo of the sea without an ending").unlink()
    (folder / "half.jpg").unlink()
    for source in codes[:-3]:
        exec(source, names)  # noqa: S102
    assert capsys.readouterr().out.endswith("every file could be used\n")
    assert (folder / ".cbirkit" / "store").is_dir()


def test_explore_refuses_an_index_that_the_notebook_could_not_write(folder, tmp_path, run):
    (folder / ".cbirkit").write_text("in the way")
    failed(run("explore", folder, "--no-open", "--notebook", tmp_path / "x.ipynb"), "--out DIR")
    assert not (tmp_path / "x.ipynb").exists()
    out = tmp_path / "kept"
    assert (
        run("explore", folder, "--no-open", "--notebook", tmp_path / "x.ipynb", "--out", out)[0]
        == 0
    )
    assert str(out / "store") in (tmp_path / "x.ipynb").read_text()


def test_explore_keeps_a_notebook_that_is_there(folder, tmp_path, run):
    mine = tmp_path / "mine.ipynb"
    mine.write_text("edited")
    code, _, err = run("explore", folder, "--no-open", "--notebook", mine)
    assert code == 0 and mine.read_text() == "edited" and "was kept" in err


@pytest.mark.parametrize(
    "name", ["quo\"te's", "back\\slash" if os.name != "nt" else "x", "日本 $x$", "new\nline"]
)
def test_explore_writes_any_folder_name_as_a_string(name, tmp_path, run, monkeypatch):
    paint(tmp_path / name / "a.png", 0)
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("explore", tmp_path / name, "--no-open", "--encoder", "color")
    notebook = json.loads((tmp_path / out.rstrip("\n")).read_text("utf-8"))
    source = "".join(notebook["cells"][2]["source"]).split("\n")[0]
    names = {}
    exec(source.replace("ImageCollection.from_folder", "str"), names)  # noqa: S102
    assert code == 0 and names["images"] == str(tmp_path / name)
    title = "".join(notebook["cells"][0]["source"]).split("\n")[0].removeprefix("# Explore ")
    assert re.sub(r"\\(\W|_)", r"\1", title) == printable(name) and "$" not in title.replace(
        "\\$", ""
    )


def test_explore_loads_what_an_encoder_learnt(folder, tmp_path, run):
    add_textured(folder, 4)
    code, _, err = run(
        "explore",
        folder,
        "--no-open",
        "--encoder",
        "color+vlad",
        "--notebook",
        tmp_path / "x.ipynb",
    )
    assert code == 0 and "learning color+vlad" in err
    text = (tmp_path / "x.ipynb").read_text()
    assert "load_estimator(" in text and (folder / ".cbirkit" / "encoders" / "color+vlad").exists()


def test_explore_opens_jupyterlab_or_says_how_to_get_it(folder, tmp_path, run, monkeypatch):
    started = []

    class Process:
        def __init__(self, command):
            started.append(command)
            self.waits, self.returncode = 0, 0

        def poll(self):
            return 0 if self.waits else None

        def wait(self):
            self.waits += 1
            raise KeyboardInterrupt  # JupyterLab asks by itself whether to end

    monkeypatch.setattr(lab.subprocess, "Popen", Process)
    monkeypatch.setattr(lab.importlib.util, "find_spec", lambda name: object())
    assert run("explore", folder, "--notebook", tmp_path / "x.ipynb")[0] == 0
    assert started == [[sys.executable, "-m", "jupyterlab", str(tmp_path / "x.ipynb")]]
    monkeypatch.setattr(lab.importlib.util, "find_spec", lambda name: None)
    code, _, err = run("explore", folder, "--notebook", tmp_path / "y.ipynb")
    assert code == 0 and 'pip install "cbirkit[lab]"' in err and len(started) == 1
