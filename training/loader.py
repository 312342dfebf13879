"""Training batches: crops decoded, resized, augmented and stacked, in a reproducible order.

What image number ``position`` of epoch ``epoch`` looks like depends on the seed, the epoch and the
position only, so neither the number of workers nor an interruption changes a run.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from runtime.contract import InputContract
from runtime.errors import ReidEdgeError
from runtime.preprocess import read_image, resize_crop
from training.augment import Pipeline, item_rng
from training.progress import Progress

DECODE_THREADS = 4
# Forked workers share the cache; started in another way, each would be sent a copy in every epoch.
START = "fork" if "fork" in multiprocessing.get_all_start_methods() else None

Item = tuple[np.ndarray, int, bool]


class Batch(NamedTuple):
    """One step's images.

    Attributes:
        images: (N, height, width, 3) uint8 in the network's colour order.
        indices: (N,) int64 positions in the training set.
        flipped: (N,) bool, whether each image is mirrored.
    """

    images: Tensor
    indices: Tensor
    flipped: Tensor


@dataclass(frozen=True)
class CropImages:
    """Crops of a training set at network size, decoded on demand or held in memory.

    Attributes:
        paths: Image files.
        contract: Size, interpolation and colour order.
        cache: (M, height, width, 3) uint8, or None.
    """

    paths: Sequence[Path]
    contract: InputContract
    cache: np.ndarray | None = None

    @classmethod
    def open(
        cls, paths: Sequence[Path], contract: InputContract, in_memory: bool, progress: Progress
    ) -> CropImages:
        """Args as the attributes; with ``in_memory`` all images are decoded now.

        Raises:
            ReidEdgeError: An image that cannot be decoded.
        """
        lazily = cls(paths, contract)
        if not in_memory:
            return lazily
        cache = np.empty((len(paths), contract.height, contract.width, 3), np.uint8)
        bar = progress("reading crops", len(paths))
        try:
            with ThreadPoolExecutor(DECODE_THREADS) as pool:
                for i, image in enumerate(pool.map(lazily.read, range(len(paths)))):
                    cache[i] = image
                    bar.update(1)
        finally:
            bar.close()
        return cls(paths, contract, cache)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> np.ndarray:
        """(height, width, 3) uint8 crop in the contract's colour order; not to be written to."""
        if self.cache is not None:
            return self.cache[index]
        return np.ascontiguousarray(resize_crop(read_image(self.paths[index]), self.contract))


class _Augmented(Dataset):
    """Keys (epoch, position, index) to augmented crops."""

    def __init__(self, crops: CropImages, pipeline: Pipeline, seed: int):
        self.crops, self.pipeline, self.seed = crops, pipeline, seed

    def __getitem__(self, key: tuple[int, int, int]) -> Item | ReidEdgeError:
        epoch, position, index = key
        try:
            crop = self.crops.read(index)
        except ReidEdgeError as error:
            return error  # raised in a worker, it would arrive with the worker's traceback
        image, flipped = self.pipeline(crop, item_rng(self.seed, epoch, position))
        return image, index, flipped


def _stack(items: list[Item | ReidEdgeError]) -> Batch | ReidEdgeError:
    for item in items:
        if isinstance(item, ReidEdgeError):
            return item
    images, indices, flipped = zip(*items)
    return Batch(torch.from_numpy(np.stack(images)), torch.tensor(indices), torch.tensor(flipped))


def _quiet_worker(worker: int) -> None:
    # A signal to the whole group must reach the trainer alone: it saves, then ends its workers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(0)  # one worker is one thread
    torch.set_num_threads(1)


class BatchLoader:
    """Makes the batches of any epoch from a sampler's plan.

    Args:
        crops: The images.
        pipeline: Augmentation.
        seed: Of the augmentation.
        workers: Processes; 0 prepares batches in the calling process.
    """

    def __init__(self, crops: CropImages, pipeline: Pipeline, seed: int, workers: int):
        self._dataset = _Augmented(crops, pipeline, seed)
        self._workers = workers

    def batches(
        self, plan: np.ndarray, epoch: int, first_step: int = 0, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        """Batches of one epoch.

        Args:
            plan: (steps, N) int64 indices, as a sampler's ``epoch`` returns.
            epoch: Number of the epoch.
            first_step: Steps to leave out, when a run is resumed within an epoch.
            rank, world_size: Which part of each global batch ``plan`` is; N images per rank.

        Raises:
            ReidEdgeError: An image that cannot be decoded (any more).
        """
        steps, size = plan.shape
        keys = [
            [
                (epoch, (step * world_size + rank) * size + i, int(plan[step, i]))
                for i in range(size)
            ]
            for step in range(first_step, steps)
        ]
        made = DataLoader(
            self._dataset,
            batch_sampler=keys,
            num_workers=self._workers,
            collate_fn=_stack,
            worker_init_fn=_quiet_worker,
            prefetch_factor=4 if self._workers else None,
            multiprocessing_context=START if self._workers else None,
            generator=torch.Generator(),  # else every start would draw from torch's global one
        )
        for batch in made:
            if isinstance(batch, ReidEdgeError):
                raise batch
            yield batch
