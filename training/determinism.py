"""The same bits from the same seed, as far as a device can."""

from __future__ import annotations

import os

import torch
from torch.utils import deterministic


def fix(seed: int, device: torch.device) -> None:
    """Seed torch and choose algorithms whose result does not depend on who comes first.

    Where CUDA has none (max pooling's gradient), torch warns and goes on: such a run still sees the
    same images in the same order, but its weights may differ in rounding.
    """
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    if device.type == "cuda":
        # Read when cuBLAS starts; without, it may share its workspace between streams.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # costs time
        torch.use_deterministic_algorithms(True, warn_only=True)
