"""What every test may ask for."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder of real benchmark scenes; tests that need it are skipped where it is not named."""
    named = os.environ.get("HYPERCOVER_DATA")
    if not named:
        pytest.skip("HYPERCOVER_DATA is not set: no real scenes to read")
    folder = Path(named)
    assert folder.is_dir(), f"HYPERCOVER_DATA names {folder}, which is no folder"
    return folder
