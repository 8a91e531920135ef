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
