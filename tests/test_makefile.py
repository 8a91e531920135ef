"""The Makefile: what it says while it installs, and that a stamp means that all is there. pip is played by a script."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT, changed_sources

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
PIP = """#!/bin/sh
echo "$*" >>"$(dirname "$0")/calls"
echo "Collecting torch"
echo "  Downloading torch-2.14-cp311.whl.metadata (30 kB)"
echo "Downloading torch-2.14-cp311.whl (888.1 MB)"
echo "Installing collected packages: a, b, c"
test -z "$FAIL" || { echo "ERROR: [Errno 28] No space left on device" >&2; exit 1; }
"""


@pytest.fixture
def venv(tmp_path):
    (tmp_path / "bin").mkdir()
    for name in ("pip", "python"):
        (tmp_path / "bin" / name).write_text(PIP)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def make(venv, target, **environment):
    command = ["make", "-C", str(ROOT), f"VENV={venv}", f"PYTHON={sys.executable}", target]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    return done.returncode, done.stdout


def test_it_tells_what_it_downloads_and_nothing_else(venv):
    code, out = make(venv, f"{venv}/lab.stamp")
    assert code == 0 and (venv / "lab.stamp").exists()
    assert "about 3 GB" in out and "Downloading torch-2.14-cp311.whl (888.1 MB)" in out
    assert "metadata" not in out and "Collecting" not in out and "a, b, c" not in out
    assert "Collecting torch" in (venv / "install.log").read_text()
    assert "-e .[lab,text,device]" in (venv / "bin" / "calls").read_text()


def test_what_is_there_already_is_not_announced_again(venv):
    (venv / "lib" / "python3.11" / "site-packages" / "torch").mkdir(parents=True)
    _, out = make(venv, f"{venv}/test.stamp")
    assert "still missing of cbirkit[lab,text,device,scale,test]" in out and "3 GB" not in out


def test_a_failure_leaves_no_stamp_and_says_why(venv):
    code, out = make(venv, f"{venv}/lab.stamp", FAIL="1")
    assert code != 0 and not (venv / "lab.stamp").exists()
    assert (
        "ERROR: [Errno 28] No space left on device" in out and "give the\nsame command again" in out
    )


def test_lab_opens_the_first_notebook_with_and_without_a_browser(venv):
    (venv / "lab.stamp").touch()
    os.utime(venv / "lab.stamp", (2e9, 2e9))
    done = subprocess.run(
        ["make", "-n", "-C", str(ROOT), f"VENV={venv}", "lab"],
        capture_output=True,
        text=True,
        check=True,
    )
    opened = re.search(r"default_url=/lab/tree/(\S+)", done.stdout)[1]
    assert (ROOT / opened).is_file() and opened.endswith("00_start_here.ipynb")


def test_changed_sources_are_those_that_differ_from_the_upstream_or_are_new(tmp_path):
    def git(*command):
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *command], check=True)

    sources = tmp_path / "notebooks" / "sources"
    sources.mkdir(parents=True)
    assert changed_sources(tmp_path) is None  # no repository: all are run
    for name in ("00_a", "01_b", "02_c"):
        (sources / f"{name}.py").write_text("# %%\n")
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    assert changed_sources(tmp_path) == set()
    git("checkout", "-q", "-b", "mine", "--track", "main")
    (sources / "01_b.py").write_text("# %%\n1\n")
    git("commit", "-q", "-a", "-m", "second")
    (sources / "02_c.py").write_text("# %%\n2\n")
    (sources / "03_d.py").write_text("# %%\n")
    assert changed_sources(tmp_path) == {"01_b", "02_c", "03_d"}


def test_the_check_of_a_pull_request_runs_every_notebook():
    assert "make test-all" in (ROOT / ".ci" / "run").read_text()
    assert "--notebooks all" in make_dry("test-all") and "--notebooks changed" in make_dry("test")


def make_dry(target):
    command = ["make", "-C", str(ROOT), "-n", target]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
