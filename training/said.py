"""What a run says of itself: a line per epoch, and the sentence it stops with."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

JUDGED = logging.INFO + 5  # level of lines with an accuracy, which are shown beside a progress bar
_FIGURES = {"mAP": "mAP", "rank1": "Rank-1"}


def epoch_line(row: Mapping[str, float], epochs: int) -> str:
    """A row of the history for people who read a log."""
    judged = f", {accuracy_of(row)}" if "mAP" in row else ""
    return (
        f"epoch {row['epoch']}/{epochs}: loss {row['total_loss']:.4f}{judged}, "
        f"{row['elapsed_s']:.0f} s"
    )


def accuracy_of(row: Mapping[str, float]) -> str:
    """``mAP 73.70, Rank-1 87.20``."""
    return ", ".join(f"{label} {row[key]:.2f}" for key, label in _FIGURES.items() if key in row)


def not_finite(
    where: str,
    losses: Mapping[str, float],
    batch: Sequence[Path],
    folder: Path,
    last: Path | None,
    learning_rate: float,
) -> str:
    """Why a run stops at a loss or gradient that is not finite, and how to go on.

    Args:
        where: Epoch and step.
        losses: By name, unweighted.
        batch: Its images.
        folder: Of the run.
        last: The last good network, where one was written.
        learning_rate: The recipe's.
    """
    names = [f"{path.parent.name}/{path.name}" for path in batch]  # as folders name the person
    values = ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
    kept = f"{last} is the last good network" if last else "no checkpoint was written yet"
    start = f"--init {last} " if last else ""
    return (
        f"The loss or its gradient is not finite in {where} ({values}), batch of {len(names)} "
        f"images: {', '.join(names)}; {kept}. Resuming would meet the same batch again: start anew "
        f"with {start}--out {folder}_2 and a lower learning rate, "
        f"--set optimizer.learning_rate={learning_rate / 3:.2g}, or with "
        "--set optimizer.clip_norm=5."
    )
