"""What ``reid-train qat`` was asked for, checked before any work starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from runtime.errors import ReidEdgeError


@dataclass(frozen=True)
class QatSettings:
    """Options of one run; names and meanings as in ``reid-train qat --help``.

    ``evaluation`` is ``--eval``.
    """

    PERSONS: ClassVar[int] = 8  # or all, where there are fewer
    IMAGES: ClassVar[int] = 4
    BATCH: ClassVar[int] = 32  # or all, where there are fewer

    weights: Path
    data: Path
    out: Path
    layout: str | None = None
    protocol: Path | None = None
    include_val: bool = False
    identities: int | None = None
    skip_unreadable: bool = False
    labels: bool = False
    evaluation: Path | None = None
    persons: int | None = None
    images: int | None = None
    batch: int | None = None
    epochs: int = 3
    crops: int | None = None
    learning_rate: float = 1e-4
    target: str = "xavier"
    seed: int = 0
    device: str | None = None
    threads: int | None = None

    def __post_init__(self):
        if not self.labels and (self.persons is not None or self.images is not None):
            raise ReidEdgeError(
                "--persons and --images make up batches with labels; add --labels, or set the size "
                "with --batch."
            )
        if self.labels and self.batch is not None:
            raise ReidEdgeError(
                "With --labels a batch is --persons times --images; leave out --batch."
            )
        for name, least, why in (
            ("persons", 2, "a triplet needs two people"),
            ("images", 2, "a triplet needs two images of one of them"),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ReidEdgeError(f"--{name} must be at least {least}, got {value}: {why}.")
