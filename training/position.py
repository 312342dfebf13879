"""Where a run is."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Position:
    """Where a run is: saved with the weights.

    Attributes:
        epoch, step: Next step to do.
        losses: Sums of the epoch's losses so far, in the order of the learner.
        total: Sum of the weighted loss.
        elapsed_s: Time spent training, over all interruptions.
        history: One row per finished epoch.
        best: Best mAP so far.
        best_epoch: Epoch of the best mAP; 0 is the network the run started from.
        start: What ``evaluate`` gave for the network the run started from, where that was asked.
    """

    epoch: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    total: float = 0.0
    elapsed_s: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best: float = -1.0
    best_epoch: int | None = None
    start: dict[str, float] | None = None
