"""What one training run works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from benchmarks.datasets import RetrievalSet
from models.network import ReidNetwork
from training.loader import BatchLoader
from training.recipe import Recipe
from training.run_folder import RunFolder
from training.sampler import PKSampler, UniformSampler
from training.teacher import LiveTeacher


@dataclass
class Task:
    """What is trained on what, and how.

    Attributes:
        recipe: Every setting.
        network: The network, on the device of ``processes``.
        labels: (M,) int64 identity of each training image, contiguous from 0.
        paths: Their files, named when a batch goes wrong.
        sampler: Has ``epoch(n)``: (steps, N) int64 positions in the training set.
        loader: Makes the batches.
        folder: Where the run is kept.
        provenance: Stored in every checkpoint.
        evaluation: Judged on this set, or not at all.
        teacher: (2, M, D) fixed embeddings, or a live teacher, or None.
        judge_start: Judge the network before the first step too, so that the best can be the start.
        fingerprint: Of the training images; a run is resumed on the same only.
    """

    recipe: Recipe
    network: ReidNetwork
    labels: np.ndarray
    paths: Sequence[Path]
    sampler: PKSampler | UniformSampler
    loader: BatchLoader
    folder: RunFolder
    provenance: dict[str, str | int | float]
    evaluation: RetrievalSet | None = None
    teacher: Tensor | LiveTeacher | None = None
    judge_start: bool = False
    fingerprint: str = ""
