"""Losses with a memory, in two processes as in one with the joint batch."""

import os
import subprocess
import sys

import torch

from tests.conftest import ROOT
from tests.training.losses import centre_run


def test_centers_follow_the_features_of_all_processes(tmp_path):
    """What one process learns about a person has to reach the other, and to stay."""

    def start(rank):
        given = [str(rank), (tmp_path / "meet").as_uri(), str(tmp_path / f"{rank}.pt")]
        return subprocess.Popen(
            [sys.executable, "-m", centre_run.__name__, *given],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )

    processes = [start(rank) for rank in (0, 1)]
    one = centre_run.train()
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    centers = one["loss.centers"]
    assert centers[0].norm() > 0.1 and centers[1].norm() > 0.1
    assert torch.equal(centers[2], torch.zeros(3))
    for rank in (0, 1):
        two = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, value in one.items():
            assert torch.allclose(two[name], value, atol=1e-6), name
