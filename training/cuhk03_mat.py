"""CUHK03's MATLAB files: the pixels and the two protocols.

CUHK03 (Li et al., DeepReID, CVPR 2014) comes as one file of pixels, ``cuhk-03.mat``: 1,467 people
seen by five pairs of cameras, once with boxes drawn by hand (``labeled``) and once with a
detector's (``detected``). The file is MATLAB 7.3, which is HDF5 with every axis reversed:

| variable | in MATLAB | in HDF5 |
|---|---|---|
| ``labeled``, ``detected`` | 5x1 cell, one per camera pair | (1, 5) references |
| a camera pair | Mx10 cell; columns 1-5 first camera, 6-10 second | (10, M) references |
| an image | (height, width, 3) uint8 RGB, or empty | (3, width, height) |
| ``testsets`` | 20x1 cell of 100x2 ``(pair, person)`` | (1, 20) references to (2, 100) |

Two protocols are in use, and their numbers must not be compared:

- *new* (Zhong et al., Re-ranking with k-reciprocal Encoding, CVPR 2017): 767 people to train, 700
  to test, in ``cuhk03_new_protocol_config_{labeled,detected}.mat``.
- *classic* (``testsets``): 20 random sets of 100 test people. Everybody else trains, 1,367 people;
  the first paper used the first three camera pairs only, 1,260 besides the test people.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import ReidEdgeError

KINDS = ("labeled", "detected")
RAW_NAME = re.compile(r"(\d)_(\d{3})_([12])_(\d{2})$")
"""Stem of an image's usual name: camera pair, person in it, camera of the pair, column."""

_PROTOCOL_KEYS = ("train_idx", "query_idx", "gallery_idx", "labels", "camId", "filelist")
_PARTS = ("train", "query", "gallery")


@dataclass(frozen=True)
class Entry:
    """One image of a protocol.

    Attributes:
        stem: Its name without suffix, of the form ``RAW_NAME``.
        person: Identity over all camera pairs, from 1.
        camera: 1 or 2, the camera within the pair.
    """

    stem: str
    person: int
    camera: int

    @property
    def market_name(self) -> str:
        """Name without suffix as in the CUHK03-NP release, e.g. ``0003_c1_2``."""
        return f"{self.person:04d}_c{self.camera}_{int(self.stem[-2:])}"


@dataclass(frozen=True)
class Protocol:
    """Which images train, ask and answer.

    Attributes:
        description: Which protocol it is, without folders.
        train, query, gallery: The images, in the file's order.
    """

    description: str
    train: tuple[Entry, ...]
    query: tuple[Entry, ...]
    gallery: tuple[Entry, ...]

    def __post_init__(self) -> None:
        trained = {entry.person for entry in self.train}
        both = trained & {entry.person for entry in (*self.query, *self.gallery)}
        if both:
            raise ReidEdgeError(
                f"{self.description} has {len(both)} people in both training and test, which must "
                "be disjoint; use the original protocol file."
            )
        for part in _PARTS:
            names = [entry.market_name for entry in getattr(self, part)]
            if len(set(names)) < len(names):
                raise ReidEdgeError(
                    f"{self.description} names {len(names) - len(set(names))} images twice in its "
                    f"{part} part; use the original protocol file."
                )


def read_new_protocol(path: str | Path) -> Protocol:
    """Read ``cuhk03_new_protocol_config_{labeled,detected}.mat``.

    Raises:
        ReidEdgeError: SciPy is missing, or the file is, or it is not such a file.
    """
    path = Path(path)
    io = _package("scipy.io", "scipy", path)
    try:
        found = io.loadmat(path)
    except OSError as error:
        raise ReidEdgeError(f"Cannot read {path}: {error.strerror or error}.") from None
    except Exception as error:  # a broken file: whatever SciPy's parser stumbled over
        reason = " ".join(str(error).split())
        raise ReidEdgeError(
            f"{path} is not a MATLAB 5 file ({reason}); expected "
            "cuhk03_new_protocol_config_labeled.mat or _detected.mat."
        ) from None
    missing = [key for key in _PROTOCOL_KEYS if key not in found]
    if missing:
        raise ReidEdgeError(
            f"{path} has no variable {', '.join(missing)}; expected "
            "cuhk03_new_protocol_config_labeled.mat or _detected.mat."
        )
    stems = [Path(str(np.ravel(cell)[0]).strip()).stem for cell in found["filelist"].ravel()]
    persons, cameras = found["labels"].ravel(), found["camId"].ravel()
    wrong = next((stem for stem in stems if not RAW_NAME.match(stem)), None)
    if wrong is not None or not len(stems) == len(persons) == len(cameras):
        raise ReidEdgeError(
            f"{path} must hold one name like 1_001_1_01.png, label and camera per image, got "
            f"{len(stems)} names, {len(persons)} labels, {len(cameras)} cameras"
            + (f" and the name {wrong!r}." if wrong is not None else ".")
        )
    entries = [Entry(s, int(p), int(c)) for s, p, c in zip(stems, persons, cameras)]
    parts = {}
    for part in _PARTS:
        index = found[f"{part}_idx"].ravel().astype(np.int64)
        if not index.size or index.min() < 1 or index.max() > len(entries):
            raise ReidEdgeError(
                f"{path}: {part}_idx must hold numbers from 1 to {len(entries)}; use the original "
                "file."
            )
        parts[part] = tuple(entries[i - 1] for i in index)
    return Protocol(f"CUHK03 new protocol ({path.name})", **parts)


class RawFile:
    """``cuhk-03.mat``, opened for one kind of boxes.

    Args:
        file: The open ``h5py.File``.
        path: Its path, for errors.
        kind: ``"labeled"`` or ``"detected"``.
    """

    def __init__(self, file: Any, path: Path, kind: str):
        self._file, self._path = file, path
        self._cells = [file[ref][()] for ref in self._variable(kind)]

    def image(self, stem: str) -> np.ndarray | None:
        """(height, width, 3) uint8 RGB pixels of one image; None where the cell is empty."""
        pair, person, _, column = map(int, RAW_NAME.match(stem).groups())  # type: ignore[union-attr]
        if pair > len(self._cells) or person > self._cells[pair - 1].shape[1]:
            return None
        node = self._file[self._cells[pair - 1][column - 1, person - 1]]
        if node.ndim != 3:  # MATLAB stores an empty cell as its two dimensions
            return None
        if node.shape[0] != 3 or node.dtype != np.uint8:
            raise ReidEdgeError(
                f"Image {stem} of {self._path} must be stored as (3, width, height) uint8, got "
                f"{node.shape} {node.dtype}; use CUHK03's original cuhk-03.mat."
            )
        try:
            return node[()].transpose(2, 1, 0)
        except OSError as error:
            reason = " ".join(str(error).split())
            raise ReidEdgeError(
                f"Image {stem} of {self._path} is damaged ({reason}); copy the file again."
            ) from None

    def entries(self) -> Iterator[tuple[tuple[int, int], Entry]]:
        """``(pair, person in it)`` and the entry of each image; people numbered through."""
        before = 0
        for pair, cells in enumerate(self._cells, 1):
            columns, people = cells.shape
            for person in range(people):
                for column in range(columns):
                    if self._file[cells[column, person]].ndim == 3:
                        camera = 1 if column < columns // 2 else 2
                        stem = f"{pair}_{person + 1:03d}_{camera}_{column + 1:02d}"
                        yield (pair, person + 1), Entry(stem, before + person + 1, camera)
            before += people

    def classic_protocol(self, split: int) -> Protocol:
        """The classic protocol's split number ``split``, from 0.

        Queries are the first camera's images of the test people, the gallery is all of the second
        camera's. The papers' CMC draws one gallery image per person instead, so it is lower.

        Raises:
            ReidEdgeError: No such split.
        """
        splits = self._variable("testsets")
        if not 0 <= split < len(splits):
            raise ReidEdgeError(
                f"{self._path} has the splits 0 to {len(splits) - 1}, got {split}; choose one of "
                "them."
            )
        tested = {(int(pair), int(person)) for pair, person in self._file[splits[split]][()].T}
        entries = list(self.entries())
        test = [entry for person, entry in entries if person in tested]
        return Protocol(
            f"CUHK03 classic protocol, split {split}",
            train=tuple(entry for person, entry in entries if person not in tested),
            query=tuple(entry for entry in test if entry.camera == 1),
            gallery=tuple(entry for entry in test if entry.camera == 2),
        )

    def _variable(self, name: str) -> np.ndarray:
        if name not in self._file:
            raise ReidEdgeError(
                f"{self._path} has no variable {name}; expected CUHK03's original cuhk-03.mat."
            )
        return self._file[name][()].ravel()


@contextmanager
def open_raw(path: Path, kind: str) -> Iterator[RawFile]:
    """Open ``cuhk-03.mat``.

    Raises:
        ReidEdgeError: h5py is missing, or the file is, or it is not such a file.
    """
    h5py = _package("h5py", "h5py", path)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        reason = " ".join(str(error).split())
        raise ReidEdgeError(
            f"Cannot open {path} as a MATLAB 7.3 file ({reason}); expected CUHK03's original "
            "cuhk-03.mat."
        ) from None
    with file:
        yield RawFile(file, path, kind)


def _package(module: str, package: str, path: Path) -> Any:
    """Import what only CUHK03 needs."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ReidEdgeError(
            f"Reading {path} needs the package {package}, which is not installed; install it with "
            f"`pip install {package}`."
        ) from None
