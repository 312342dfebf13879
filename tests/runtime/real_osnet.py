"""The OSNet x0.25 of the shared folder as a function on crops, for tests of what is claimed of it."""

from functools import lru_cache
from pathlib import Path
from typing import Callable, Sequence

import numpy as np
import pytest

from runtime.backends.onnxruntime import OnnxRuntimeBackend
from runtime.preprocess import l2_normalize, preprocess


@lru_cache(maxsize=1)
def _backend(weights: Path):
    checkpoint, trace = (
        pytest.importorskip(name) for name in ("models.checkpoint", "export.trace")
    )
    loaded = checkpoint.load_network(weights)
    model = trace.trace(loaded.for_export(), loaded.input)
    backend = OnnxRuntimeBackend(model.SerializeToString(), loaded.input.shape, threads=1)
    return backend, loaded.input


def real_osnet(shared: Path) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
    """Crops, each (H, W, 3) uint8 BGR, to (N, 512) float32 of unit length; skips without torch."""
    pytest.importorskip("torch", reason="the network is traced on the workstation only")
    backend, contract = _backend(shared / "weights" / "osnet_x0_25_market1501.pth")

    def embed(crops: Sequence[np.ndarray]) -> np.ndarray:
        batches = [crops[i : i + 32] for i in range(0, len(crops), 32)]
        return l2_normalize(np.concatenate([backend.run(preprocess(b, contract)) for b in batches]))

    return embed
