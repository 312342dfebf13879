"""How to fine-tune for quantization, checked before any work starts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from calibration.methods import METHODS
from export.quantize import POLICIES
from runtime.errors import ReidEdgeError


@dataclass(frozen=True)
class QatOptions:
    """How to fine-tune.

    Attributes:
        target: "xavier" or "cpu": whose placement is trained for.
        method: Calibration method of the first ranges, or "auto": the one that judges best.
        epochs: Times ``batches`` is asked for an epoch.
        learning_rate: Adam's peak step for weights and biases, relative to each tensor's RMS.
        scale_rate: Adam's peak step for the logarithms of the activation scales.
        objective_rate: Adam's peak step for parameters of the objective (a classifier's).
        distill_weight: Weight of the distillation term beside an objective.
        keep_float: Names of graph nodes to leave in float besides those the target leaves. None:
            those an export for the target would leave on this machine (training/qat_placement.py).
        seed: Of torch's generator, for an objective that draws from it.
        device: Where to train, as torch names it.
        threads: CPU threads of the calibration runs.
    """

    target: str = "xavier"
    method: str = "auto"
    epochs: int = 3
    learning_rate: float = 1e-4
    scale_rate: float = 1e-3
    objective_rate: float = 3e-4
    distill_weight: float = 1.0
    keep_float: frozenset[str] | None = None
    seed: int = 0
    device: str = "cpu"
    threads: int | None = None

    def __post_init__(self):
        if self.target == "x3":
            raise ReidEdgeError(
                f"The target of quantization-aware training must be one of {', '.join(POLICIES)}, "
                "got 'x3': the X3's toolchain finds its ranges itself and takes none; export the "
                "float network with reid-export --target x3."
            )
        for name, allowed in (("target", tuple(POLICIES)), ("method", ("auto", *METHODS))):
            if getattr(self, name) not in allowed:
                raise ReidEdgeError(
                    "The %s of quantization-aware training must be one of %s, got %r."
                    % (name, ", ".join(allowed), getattr(self, name))
                )
        if self.epochs < 1:
            raise ReidEdgeError(
                "Quantization-aware training needs at least 1 epoch, got %d." % self.epochs
            )
        if self.seed < 0:
            raise ReidEdgeError(f"The seed must not be negative, got {self.seed}.")
        for name in ("learning_rate", "scale_rate", "objective_rate", "distill_weight"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ReidEdgeError(
                    "The %s of quantization-aware training must be 0 or more, got %r."
                    % (name.replace("_", " "), value)
                )
