"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real inputs beside the checkout (or $REID_EDGE_SHARED); skips when absent."""
    folder = Path(os.environ.get("REID_EDGE_SHARED", ROOT.parent / "shared"))
    if not (folder / "golden").is_dir():
        pytest.skip("real inputs not found: no %s (set REID_EDGE_SHARED to the folder)" % folder)
    return folder
