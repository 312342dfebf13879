"""Fixtures of the benchmarks."""

import pytest

from runtime.backends import open_backend
from runtime.bundle import Bundle
from runtime.embedder import Embedder


@pytest.fixture(scope="session")
def osnet(shared, tmp_path_factory):
    """An fp32 bundle of OSNet x0.25 with its authors' weights, and its embedder on one thread.

    Its golden crops, from which the lock takes what people have in common, are of Market-1501's
    training identities; nothing is tested on those. Skips where there is no torch.
    """
    pytest.importorskip("torch", reason="the bundle is exported on the workstation only")
    from export.cli import main

    folder = tmp_path_factory.mktemp("real") / "osnet_x0_25"
    arguments = ["--target", "cpu", "--precision", "fp32", "--threads", "1", "--out", str(folder)]
    arguments += ["--weights", str(shared / "weights" / "osnet_x0_25_market1501.pth")]
    arguments += ["--calib", str(shared / "data" / "market1501" / "bounding_box_train")]
    assert main(arguments) == 0
    bundle = Bundle.open(folder)
    return bundle, Embedder(bundle, open_backend(bundle, threads=1))
