"""``cbirkit doctor`` and ``cbirkit prefetch``: what they list, get and miss, and how they end."""

import re
import shutil
from types import SimpleNamespace

import fetch_sets
import pytest
from cli_samples import runner
from fetch_server import serving

from cbirkit.cli import choices, setup
from cbirkit.datasets import fetch_sop

run = pytest.fixture(runner)


def test_doctor_lists_what_is_declared_and_ends_with_0(run):
    code, out, err = run("doctor")
    assert code == 0 and err == ""
    assert out.splitlines()[-1].startswith("ready; next: cbirkit report FOLDER")
    for word in (
        "python",
        "cores",
        "memory",
        "gpu",
        "free disk",
        "numpy",
        "scikit-learn",
        "jupyterlab",
    ):
        assert word in out
    assert "pytest" not in out


@pytest.mark.parametrize(
    ("line", "words", "code"),
    [
        ("numpy>=99.1", "not ready: numpy is too old", 1),
        ("no-such-package>=1", "not ready: no-such-package is missing", 1),
        ("cbirkit_broken>=1", "cbirkit_broken is broken: it needs something_else", 1),
        (
            'no-such-package>=1; extra == "lab"',
            'is missing\n  install with: pip install "cbirkit[lab]"',
            0,
        ),
        ('no-such-package>=1; extra == "test"', "ready", 0),
        ("numpy[x]<100,>=1.26", "ready", 0),
    ],
)
def test_doctor_says_what_is_missing_and_how_to_install_it(
    line, words, code, run, monkeypatch, tmp_path
):
    (tmp_path / "cbirkit_broken.py").write_text("import something_else\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(setup.metadata, "requires", lambda name: [line])
    got, out, _ = run("doctor")
    assert got == code and words in out
    quiet = run("doctor", "--quiet")[1]
    assert code == 0 or 'pip install -e ".[lab]"' in quiet  # it is on no index
    assert (quiet == "") == (words == "ready") and "cores" not in quiet


def test_a_torch_that_does_not_load_is_told(run, monkeypatch, tmp_path):
    (tmp_path / "cbirkit_broken.py").write_text(
        "raise ImportError('libcusparse.so.12: cannot open')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(setup, "_LOADED", ["cbirkit_broken"])
    monkeypatch.setattr(
        setup.metadata, "requires", lambda name: ['cbirkit_broken>=1; extra == "lab"']
    )
    for arguments in (["doctor"], ["doctor", "--quiet"]):
        out = run(*arguments)[1]
        assert "cbirkit_broken is broken: libcusparse.so.12" in out
        assert "pip install --force-reinstall cbirkit_broken\n" in out


def test_doctor_names_the_default_encoder_and_what_a_better_one_needs(run, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(choices, "find_spec", lambda module: None if module == "timm" else object())
    out = run("doctor")[1]
    assert "tiny; lite0, which is better on most folders, needs timm: pip install timm" in out


def test_doctor_without_an_installed_package(run, monkeypatch):
    def missing(name):
        raise setup.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(setup.metadata, "requires", missing)
    monkeypatch.setattr(setup.metadata, "metadata", missing)
    code, out, _ = run("doctor")
    assert code == 1 and "cbirkit itself is not installed" in out


@pytest.mark.parametrize(
    ("new", "old"),
    [("1.10", "1.9"), ("2.10.0rc1", "2.10"), ("5.0.0.93", "4.8"), ("1.26.0", "1.26")],
)
def test_versions_compare_as_numbers(new, old):
    assert setup._numbers(new) >= setup._numbers(old)
    assert setup._numbers("1.9") < setup._numbers("1.10") < setup._numbers("2")


# ---------------------------------------------------------------------- prefetch


@pytest.fixture
def server(monkeypatch, tmp_path):
    """Two small sets in place of the real ones; the cache is a new folder; no backbone can be had."""
    monkeypatch.setenv("CBIRKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for server in serving(monkeypatch):
        fetch_sets.serve(monkeypatch, server, "sop", fetch_sets.sop(), 11)
        fetch_sets.serve(monkeypatch, server, "cub200", fetch_sets.cub200(), 12)
        yield server


@pytest.fixture
def networks(monkeypatch):
    """Names asked of `cbirkit.nets.backbones.build`, which knows resnet18 and cannot reach the host of
    resnet50."""
    backbones = pytest.importorskip("cbirkit.nets.backbones")
    asked = []

    def build(name, weights="default", *, random_state=0):
        asked.append((name, weights, random_state))
        if name == "resnet18":
            return SimpleNamespace(identity="torchvision IMAGENET1K_V1")
        if name == "resnet50":
            raise ConnectionError(
                "weights of resnet50 are not here and the host cannot be reached;\n put them by hand"
            )
        raise ValueError(f"no backbone {name!r}")

    monkeypatch.setattr(backbones, "build", build)
    return asked


def test_data_sets_are_got_and_then_are_there(server, run, tmp_path):
    code, out, err = run("prefetch", "sop", "cub200")
    assert code == 0
    assert re.search(r"^sop: now here, 11 images in .*data.sop$", out, re.MULTILINE)
    assert re.search(r"^cub200: now here, 12 images", out, re.MULTILINE)
    assert (
        "terms: no licence stated; product photographs" in err
        and "Stanford_Online_Products.zip" in err
    )
    assert len(fetch_sop(download=False)) == 11
    server.files.clear()
    code, out, _ = run("prefetch", "sop", "sop")
    assert code == 0 and out.count("sop: already here, 11 images") == 1


def test_quiet_prints_only_results(server, run):
    code, out, err = run("prefetch", "-q", "sop")
    assert code == 0 and out.startswith("sop: now here") and err == ""


def test_elsewhere(server, run, tmp_path):
    assert run("prefetch", "sop", "--root", tmp_path / "other")[0] == 0
    assert (tmp_path / "other" / "sop" / "ready").is_dir() and not (tmp_path / "data").exists()


def test_weights_are_got_by_building_the_network(server, networks, run):
    code, out, _ = run("prefetch", "resnet18")
    assert code == 0 and out == "resnet18: weights here (torchvision IMAGENET1K_V1)\n"
    assert networks == [("resnet18", "default", 0)]


def test_what_fails_is_said_and_the_rest_is_got(server, networks, run):
    del server.files["/0/CUB_200_2011.tgz"]
    code, out, err = run("prefetch", "cub200", "resnet50", "no_such", "sop", "resnet18")
    assert code == 1
    assert "sop: now here" in out and "resnet18: weights here" in out and "cub200" not in out
    lines = [line for line in err.splitlines() if line.startswith("cbirkit: ")]
    assert re.search(
        r"cub200: cannot download CUB_200_2011.tgz \(.*404.*by hand from http.*checksum: md5:[0-9a-f]{32}",
        lines[0],
    )
    assert lines[1].endswith(
        "resnet50: weights of resnet50 are not here and the host cannot be reached; put them by hand"
    )
    assert re.search(
        r"no_such: it is no data set \(clothing, .*sop.*\), and as a backbone: no backbone 'no_such'",
        lines[2],
    )
    assert lines[3] == "cbirkit: 3 of 5 could not be got: cub200, resnet50, no_such"
    assert "Traceback" not in err


def test_a_download_that_broke_is_continued_by_the_same_command(server, run):
    body = server.files["/0/CUB_200_2011.tgz"].body
    server.files["/0/CUB_200_2011.tgz"].break_after = [len(body) // 2, *[0] * 9]
    assert run("prefetch", "cub200")[0] == 1
    server.files["/0/CUB_200_2011.tgz"].break_after = []
    server.requests.clear()
    assert run("prefetch", "cub200")[0] == 0
    assert server.requests == [("/0/CUB_200_2011.tgz", f"bytes={len(body) // 2}-")]


def test_interrupted(server, run, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("requests.get", interrupted)
    code, out, err = run("prefetch", "sop")
    assert code == 130 and out == "" and "interrupted" in err


def test_list(server, run, tmp_path):
    run("prefetch", "sop")
    weights = tmp_path / "torch" / "hub" / "checkpoints"
    weights.mkdir(parents=True)
    (weights / "resnet18-f37072fd.pth").write_bytes(bytes(2_000_000))
    code, out, err = run("prefetch", "--list")
    assert code == 0 and err == ""
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert re.search(r"sop +11 .* True +Stanford Online Products", rows["sop"])
    assert re.search(r"ukbench +10200 +1600.00 +1600.00 +False +UKBench", rows["ukbench"])
    assert re.search(r"resnet18-f37072fd.pth +2 MB", rows["resnet18-f37072fd.pth"])
    assert str(tmp_path / "data") in out and f"{weights}; name a backbone" in out


def test_nothing_asked_is_wrong_usage(server, run):
    code, out, err = run("prefetch")
    assert code == 2 and out == "" and "name what to get, or give --list" in err


def test_too_little_disk_is_said_first(server, run, monkeypatch):
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 10**5)
    )
    code, _, err = run("prefetch", "sop")
    assert code == 1 and "Stanford_Online_Products.zip needs about 0 MB" in err
    assert server.requests == []


def test_the_folder_of_weights_is_torchs_own(monkeypatch, tmp_path):
    torch = pytest.importorskip("torch")
    for name, value in (
        ("TORCH_HOME", tmp_path / "a"),
        ("XDG_CACHE_HOME", tmp_path / "b"),
        (None, None),
    ):
        for other in ("TORCH_HOME", "XDG_CACHE_HOME"):
            monkeypatch.delenv(other, raising=False)
        if name:
            monkeypatch.setenv(name, str(value))
        assert str(setup.weights_folder()) == f"{torch.hub.get_dir()}/checkpoints"
