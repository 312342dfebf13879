"""What a network is fine-tuned on: training images, held-out people, batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from runtime.contract import InputContract
from runtime.errors import ReidEdgeError
from training.augment import Pipeline
from training.data import TrainingSet, limit_identities, open_training_set
from training.image_check import check_images
from training.learner import PixelPreparation
from training.loader import BatchLoader, CropImages
from training.progress import Progress
from training.qat_settings import QatSettings
from training.sampler import PKSampler, UniformSampler

AUGMENT = {"flip": {"probability": 0.5}, "pad_crop": {}, "detector_jitter": {"probability": 0.3}}


def open_images(
    settings: QatSettings, progress: Progress, say: Callable[[str], Any]
) -> TrainingSet:
    """The training images asked for, every one of them readable.

    Args:
        settings: Which.
        progress: Makes progress bars.
        say: Receives a line for each file with a problem, where they are refused.

    Raises:
        ReidEdgeError: As ``open_training_set``; an unreadable image, unless they are to be skipped.
    """
    found = open_training_set(
        settings.data,
        layout=settings.layout,
        include_val=settings.include_val,
        protocol=settings.protocol,
    )
    if settings.identities is not None:
        found = limit_identities(found, settings.identities)
    return check_images(found, progress, say, settings.skip_unreadable)


class Batches:
    """Augmented batches of (pixels, labels), as ``quantization_aware_finetune`` wants them.

    Args:
        found: The images.
        contract: Input of the network.
        settings: Size and kind of the batches, and the seed.

    Attributes:
        steps: Batches of an epoch.
        batch: Images of each.

    Raises:
        ReidEdgeError: More persons per batch than there are.
    """

    def __init__(self, found: TrainingSet, contract: InputContract, settings: QatSettings):
        self._labels = np.array([crop.person for crop in found.crops], np.int64)
        self._prepare = PixelPreparation(contract)
        self._crops = CropImages([crop.path for crop in found.crops], contract)
        self._loader = BatchLoader(self._crops, Pipeline.build(AUGMENT), settings.seed, workers=0)
        self._sampler = _sampler(found, self._labels, settings)
        self.batch = self._sampler.batch
        asked = len(found.crops) if settings.crops is None else settings.crops
        self.steps = min(self._sampler.steps, -(-asked // self.batch))

    def __call__(self, epoch: int) -> _Epoch:
        plan = self._sampler.epoch(epoch)[: self.steps]
        return _Epoch(self._loader.batches(plan, epoch), self.steps, self._prepare, self._labels)

    def calibration(self, count: int, seed: int) -> np.ndarray:
        """(M, 3, H, W) float32: at most ``count`` of the images, drawn by ``seed``, as they are."""
        chosen = np.random.default_rng(seed).permutation(len(self._labels))[:count]
        return self._prepare(
            torch.from_numpy(np.stack([self._crops.read(int(i)) for i in chosen]))
        ).numpy()


class _Epoch:
    """(pixels, labels) of one epoch, with a length, so that the rate can fall smoothly."""

    def __init__(
        self,
        batches: Iterator[Any],
        steps: int,
        prepare: Callable[[Tensor], Tensor],
        labels: np.ndarray,
    ):
        self._batches, self._steps, self._prepare, self._labels = batches, steps, prepare, labels

    def __iter__(self) -> Iterator[tuple[Tensor, np.ndarray]]:
        for batch in self._batches:
            yield self._prepare(batch.images), self._labels[batch.indices.numpy()]

    def __length_hint__(self) -> int:
        return self._steps


def _sampler(
    found: TrainingSet, labels: np.ndarray, settings: QatSettings
) -> PKSampler | UniformSampler:
    if not settings.labels:
        batch = settings.batch or settings.BATCH
        return UniformSampler(len(labels), min(batch, len(labels)), settings.seed)
    persons = settings.persons or min(settings.PERSONS, found.identities)
    if persons > found.identities:
        held = " that are not held out to judge" if settings.evaluation is None else ""
        raise ReidEdgeError(
            f"--persons {persons} needs as many people to train on, but {found.name} has "
            f"{found.identities}{held}; pass --persons {found.identities} or less."
        )
    images = settings.images or settings.IMAGES
    return PKSampler(labels.tolist(), persons=persons, images=images, seed=settings.seed)
