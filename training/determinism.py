"""The same bits from the same seed, as far as a machine can."""

from __future__ import annotations

import os

import torch


def fix(seed: int, device: torch.device) -> None:
    """Seed torch and choose algorithms that do not depend on the order in which threads come.

    On CUDA an operation that has no such algorithm is still computed, and torch warns of it: a
    run there is better a little irreproducible than refused.
    """
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else cuBLAS picks by timing
        torch.utils.deterministic.fill_uninitialized_memory = False  # costs time, changes nothing
        torch.use_deterministic_algorithms(True, warn_only=True)
