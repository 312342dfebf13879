"""Choose calibration crops, seeded, without duplicates or unreadable files, and say what was done.

| method | choice |
|---|---|
| ``random`` | uniformly |
| ``identity`` | in turn over identities; of each the camera used least so far |
| ``coverage`` | k-center in the embedding space, among twice as many ``identity`` crops |

Crops are examined in the order of preference until enough are found, so the effort depends on how
many are wanted and not on the size of the data set.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calibration.coverage import k_center
from calibration.duplicates import DuplicateFilter
from calibration.layouts import UNKNOWN, Crop
from runtime.errors import ReidEdgeError
from runtime.preprocess import read_image

SELECTIONS = ("random", "identity", "coverage")
POOL_FACTOR = 2
_EMBED_BATCH = 32


@dataclass(frozen=True)
class Selection:
    """The chosen crops and how they were found.

    Attributes:
        crops: The choice, in order of preference.
        root: Folder the crops' paths are recorded relative to.
        method: One of SELECTIONS.
        seed: Seed of every random choice.
        requested: How many crops were wanted; there may be fewer.
        found: How many crops there were to choose from.
        examined: How many of these were opened.
        unreadable: Files that no image could be read from, relative to the root.
        exact_duplicates, near_duplicates: Crops passed over because one like them was taken.
        sha256: Digest (hex) of the chosen files' contents, in order.
    """

    crops: tuple[Crop, ...]
    root: Path
    method: str
    seed: int
    requested: int
    found: int
    examined: int
    unreadable: tuple[str, ...]
    exact_duplicates: int
    near_duplicates: int
    sha256: str

    def record(self) -> dict[str, Any]:
        """What the calibration table keeps: JSON values only, no absolute path.

        Persons and cameras are counted as far as they are known.
        """
        return {
            "method": self.method,
            "seed": self.seed,
            "requested": self.requested,
            "chosen": len(self.crops),
            "found": self.found,
            "examined": self.examined,
            "unreadable": list(self.unreadable),
            "exact_duplicates": self.exact_duplicates,
            "near_duplicates": self.near_duplicates,
            "persons": len({crop.person_id for crop in self.crops} - {UNKNOWN}),
            "cameras": len({crop.camera_id for crop in self.crops} - {UNKNOWN}),
            "sha256": self.sha256,
            "files": [_relative(crop, self.root) for crop in self.crops],
        }


def select_crops(
    crops: Sequence[Crop],
    count: int,
    *,
    root: str | Path,
    method: str = "coverage",
    seed: int = 0,
    embed: Callable[[list[np.ndarray]], np.ndarray] | None = None,
) -> Selection:
    """Choose up to ``count`` crops.

    Args:
        crops: Candidates, e.g. from ``layouts.training_crops``.
        count: How many to choose.
        root: Folder that all candidates lie in.
        method: One of SELECTIONS.
        seed: The same seed, candidates and network give the same choice.
        embed: For ``coverage``: up to 32 crops, each (H, W, 3) uint8 BGR, to (n, D) embeddings.

    Raises:
        ReidEdgeError: Unknown method, no ``embed`` for coverage, count below 1, a candidate outside
            the root, or no candidate can be read.
    """
    root = Path(root)
    if method not in SELECTIONS:
        raise ReidEdgeError(f"Selection must be one of {', '.join(SELECTIONS)}, got {method!r}.")
    if method == "coverage" and embed is None:
        raise ReidEdgeError("Selection by coverage needs the network's embeddings; pass embed.")
    if count < 1:
        raise ReidEdgeError(f"The number of calibration crops must be at least 1, got {count}.")
    for crop in crops:
        _relative(crop, root)
    rng = np.random.default_rng(seed)
    order = _shuffled(crops, rng) if method == "random" else _by_identity(crops, rng)
    pool = _Pool(order, count * POOL_FACTOR if method == "coverage" else count)
    if not pool.taken:
        raise ReidEdgeError(
            f"None of the {len(crops)} calibration crops under {root} can be read as an image; "
            "check the folder."
        )
    taken = pool.taken
    if embed is not None and method == "coverage" and len(taken) > count:
        embeddings = _embedded([crop for crop, _ in taken], embed)
        persons = np.array([crop.person_id for crop, _ in taken])
        cameras = np.array([crop.camera_id for crop, _ in taken])
        taken = [taken[i] for i in k_center(embeddings, count, persons, cameras, rng)]
    return Selection(
        crops=tuple(crop for crop, _ in taken),
        root=root,
        method=method,
        seed=seed,
        requested=count,
        found=len(crops),
        examined=pool.examined,
        unreadable=tuple(_relative(crop, root) for crop in pool.unreadable),
        exact_duplicates=pool.duplicates.exact,
        near_duplicates=pool.duplicates.near,
        sha256=hashlib.sha256(json.dumps([digest for _, digest in taken]).encode()).hexdigest(),
    )


class _Pool:
    """The first ``size`` readable, distinct crops of an order, each with its file's SHA-256."""

    def __init__(self, order: Iterator[Crop], size: int):
        self.taken: list[tuple[Crop, str]] = []
        self.unreadable: list[Crop] = []
        self.examined = 0
        self.duplicates = DuplicateFilter()
        for crop in order:
            self.examined += 1
            try:
                image = read_image(crop.path)
            except ReidEdgeError:
                self.unreadable.append(crop)
                continue
            digest = self.duplicates.admit(crop.path.read_bytes(), image)
            if digest is not None:
                self.taken.append((crop, digest))
                if len(self.taken) == size:
                    return


def _shuffled(crops: Sequence[Crop], rng: np.random.Generator) -> Iterator[Crop]:
    return (crops[i] for i in rng.permutation(len(crops)))


def _by_identity(crops: Sequence[Crop], rng: np.random.Generator) -> Iterator[Crop]:
    """Rounds over the identities, in each one crop of every identity that has any left."""
    left: dict[int, dict[int, list[Crop]]] = defaultdict(lambda: defaultdict(list))
    for crop in _shuffled(crops, rng):
        left[crop.person_id][crop.camera_id].append(crop)
    used: Counter[int] = Counter()
    while left:
        for person in list(left):
            cameras = left[person]
            camera = min(cameras, key=lambda c: used[c])  # ties: shuffled order
            used[camera] += 1
            yield cameras[camera].pop()
            if not cameras[camera]:
                del cameras[camera]
            if not cameras:
                del left[person]


def _embedded(crops: Sequence[Crop], embed: Callable[[list[np.ndarray]], np.ndarray]) -> np.ndarray:
    parts = []
    for start in range(0, len(crops), _EMBED_BATCH):
        images = [read_image(crop.path) for crop in crops[start : start + _EMBED_BATCH]]
        parts.append(np.asarray(embed(images), np.float32))
    return np.concatenate(parts)


def _relative(crop: Crop, root: Path) -> str:
    try:
        return crop.path.relative_to(root).as_posix()
    except ValueError:
        raise ReidEdgeError(f"Crop {crop.path} is outside the calibration folder {root}.") from None
