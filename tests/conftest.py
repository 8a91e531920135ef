"""What several test modules share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


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
