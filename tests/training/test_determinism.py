"""Which algorithms torch may choose from."""

import os

import pytest
import torch
from torch.utils import deterministic

from training import determinism


@pytest.fixture
def restored(monkeypatch):
    """Leave torch as it was."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    filled = deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)
    deterministic.fill_uninitialized_memory = filled


def test_cuda_takes_deterministic_algorithms_where_there_are_some(restored):
    """A missing one must not end a run, so torch is to warn only."""
    determinism.fix(3, torch.device("cuda", 0))
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert not deterministic.fill_uninitialized_memory
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark


def test_the_cpu_needs_the_seed_only(restored):
    determinism.fix(3, torch.device("cpu"))
    first = torch.rand(4)
    determinism.fix(3, torch.device("cpu"))
    assert torch.equal(torch.rand(4), first)
    assert not torch.are_deterministic_algorithms_enabled()
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
