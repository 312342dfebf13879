"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORES = os.sched_getaffinity(0)


def pytest_configure(config):
    """Under pytest-xdist, keep each worker to its own share of the cores.

    torch and ONNX Runtime otherwise start a thread per core in every worker, and the threads of
    one worker wait in loops for those the other has pushed aside.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker:
        index, workers = int(worker[2:]), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        share = sorted(CORES)[index::workers]
        if share:
            os.sched_setaffinity(0, share)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real inputs beside the checkout (or $REID_EDGE_SHARED); skips when absent."""
    folder = Path(os.environ.get("REID_EDGE_SHARED", ROOT.parent / "shared"))
    if not (folder / "golden").is_dir():
        pytest.skip("real inputs not found: no %s (set REID_EDGE_SHARED to the folder)" % folder)
    return folder
