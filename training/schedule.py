"""The learning rate over a run, as a pure function of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class LearningRate:
    """Linear warm-up, then cosine or step decay; the value is a share of the peak.

    Cosine: Loshchilov and Hutter, "SGDR", ICLR 2017 (without restarts). Warm-up and steps are
    those of Luo et al., "Bag of Tricks", CVPRW 2019.

    Attributes:
        kind: ``"cosine"`` or ``"step"``.
        epochs: Length of the run.
        warmup_epochs: Length of the linear rise from ``warmup_factor`` to 1.
        warmup_factor: Share of the peak at step 0.
        milestones: Epochs at which the rate is multiplied by ``gamma`` (step).
        gamma: See ``milestones``.
        floor: Share of the peak at the end (cosine).
    """

    kind: str
    epochs: float
    warmup_epochs: float = 0.0
    warmup_factor: float = 0.01
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1
    floor: float = 0.0

    def at(self, epoch: float) -> float:
        """Share of the peak learning rate at a fractional epoch, counted from 0."""
        if epoch < self.warmup_epochs:
            return self.warmup_factor + (1 - self.warmup_factor) * epoch / self.warmup_epochs
        if self.kind == "step":
            return self.gamma ** sum(epoch >= m for m in self.milestones)
        length = max(self.epochs - self.warmup_epochs, 1e-9)
        done = min((epoch - self.warmup_epochs) / length, 1.0)
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done))
