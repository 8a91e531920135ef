"""The command line when something is wrong: one sentence, the right exit code, no traceback."""

import errno
import os
import sys
from pathlib import Path

import pytest
from cli_samples import failed, photos, quick, runner

from cbirkit.cli import choices, searching

folder = pytest.fixture(photos)
run = pytest.fixture(runner)
quick = pytest.fixture(autouse=True)(quick)


def test_failures_are_one_sentence(folder, tmp_path, run):
    (tmp_path / "empty").mkdir()
    failed(run("index", tmp_path / "nowhere"), "nowhere")
    failed(run("index", tmp_path / "empty"), "no usable image in")
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
    failed(run("index", tmp_path / "bad", "--encoder", "vlad"), "none of the images can be read")


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

    monkeypatch.setattr(searching, "_fitted", stop)
    code, _, err = run("index", folder)
    assert code == 130 and "interrupted; what was kept" in err and "Traceback" not in err
    monkeypatch.setattr(choices, "prepared_encoder", stop)
    code, _, err = run("report", folder, "--html", folder.parent / "r.html")
    assert code == 130 and "interrupted" in err


def test_a_missing_package_is_one_sentence(folder, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "annoy", None)
    failed(run("index", folder, "--index", "annoy"), "pip install annoy")


def test_a_library_that_does_not_load_leads_to_the_doctor(folder, run, monkeypatch):
    def broken(*args, **kwargs):
        raise ImportError("libcusparse.so.12: cannot open shared object file")

    monkeypatch.setattr(searching, "_fitted", broken)
    failed(run("index", folder), "libcusparse.so.12: .* run `cbirkit doctor`")
