"""What several test modules share."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LONG = (
    "assignments",
    "browser",
    "build_notebooks",
    "realdata",
    "test_notebooks",
    "fine_tune_real",
)  # few tests, many seconds
sys.modules["rfc3987_syntax"] = None  # optional for jsonschema; takes seconds to import


def require_packages(what, extra, *names):
    """Skip the test that calls this where packages of an extra are missing; fail if they are demanded, as by CI."""
    missing = ", ".join(name for name in names if find_spec(name) is None)
    if missing and os.environ.get("CBIRKIT_REQUIRE_BROWSER") == "1":
        pytest.fail(f"CBIRKIT_REQUIRE_BROWSER=1, but not installed: {missing}")
    if missing:
        pytest.skip(f"{what} needs cbirkit[{extra}]; not installed: {missing}")


def pytest_addoption(parser):
    parser.addoption(
        "--notebooks",
        choices=["all", "changed"],
        default="all",
        help="run every notebook, or those whose source differs from the branch's start",
    )


def changed_sources(root):
    """Names of the notebook sources that differ from where the branch left its upstream, or from the last commit; None where git cannot tell."""
    git = ["git", "-C", str(root)]

    def lines(*command):
        done = subprocess.run([*git, *command], capture_output=True, text=True, check=True)
        return done.stdout.split()

    try:
        try:
            start = lines("merge-base", "HEAD", "@{upstream}")[0]
        except subprocess.CalledProcessError:  # no upstream
            start = "HEAD"
        names = lines("diff", "--name-only", start, "--", "notebooks/sources")
        names += lines("ls-files", "--others", "--exclude-standard", "notebooks/sources")
    except (OSError, subprocess.CalledProcessError):
        return None
    return {Path(name).stem for name in names}


def pytest_collection_modifyitems(config, items):
    """With `--notebooks changed`, leave out the tests that run a notebook whose source is as it was."""
    if config.getoption("notebooks") == "all" or (changed := changed_sources(ROOT)) is None:
        return
    out = [
        item
        for item in items
        if item.get_closest_marker("runs_notebook") and item.callspec.params["stem"] not in changed
    ]
    items[:] = [item for item in items if item not in set(out)]
    config.hook.pytest_deselected(items=out)


@pytest.fixture(scope="session")
def realdata():
    """Folder of the real photographs used to check the kit; they are not part of the project."""
    folder = Path(os.environ.get("CBIRKIT_REALDATA", ROOT.parent / "shared" / "realdata"))
    if not folder.is_dir():
        pytest.skip(f"no real photographs: neither CBIRKIT_REALDATA nor {folder} is a folder")
    return folder


@pytest.fixture(scope="session", autouse=True)
def config_of_the_user(tmp_path_factory):
    """Where the key lies that seals indexes: never in the home of whoever runs the tests."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("config"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    """What was printed may hold file names that are no text; between the processes of xdist only text can go."""
    report = (yield).get_result()
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode())
        for title, text in report.sections
    ]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """The tests of a file share what it made, so one process runs them; each notebook counts as a file of its own."""
    from xdist.scheduler import LoadFileScheduling

    class ByNotebook(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file, _, test = nodeid.partition("::")
            return file + test.partition("[")[2] if file.endswith("test_notebooks.py") else file

        def schedule(self):
            super().schedule()  # files of many tests come first, and these would be waited for in the end
            for scope in [name for name in self.workqueue if any(one in name for one in LONG)]:
                self.workqueue.move_to_end(scope, last=False)

    return ByNotebook(config, log) if config.getoption("dist") == "loadfile" else None
