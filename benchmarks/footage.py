"""A video with annotated people, in MOTChallenge's layout, and what of it can be seen."""

from __future__ import annotations

import configparser
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from runtime.crop_quality import assess
from runtime.detection import Detections
from runtime.errors import ReidEdgeError

HIDDEN = 0.5  # covered share from which a person is not visible


@dataclass(frozen=True)
class Footage:
    """A MOTChallenge sequence; the lists have one entry per frame.

    Attributes:
        name: Of the folder.
        frames: Image files, in order.
        rate_hz: Frames per second.
        truth: Person -> box (left, top, right, bottom) in pixels, of everybody annotated.
        visible: Persons who count and whom people in front cover by less than half.
        detections: People found by a detector.
        numbers: Frame numbers, from 1.
    """

    name: str
    frames: list[Path]
    rate_hz: float
    truth: list[dict[int, np.ndarray]]
    visible: list[set[int]]
    detections: list[Detections]
    numbers: list[int]

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def people(self) -> list[int]:
        """Everybody annotated, in order."""
        return sorted({person for boxes in self.truth for person in boxes})

    def visible_rows(self, person: int) -> list[int]:
        """Rows of the frames on which a person can be seen."""
        return [row for row, people in enumerate(self.visible) if person in people]

    def without(self, start: int, count: int) -> Footage:
        """The same without ``count`` frames from row ``start``."""
        parts = ("frames", "truth", "visible", "detections", "numbers")
        kept = {p: getattr(self, p)[:start] + getattr(self, p)[start + count :] for p in parts}
        return replace(self, **kept)


def read_footage(folder: Path, detections: Path | None = None) -> Footage:
    """Read a sequence: ``seqinfo.ini``, the image folder, ``gt/gt.txt`` and detections.

    Args:
        folder: Of the sequence.
        detections: MOTChallenge text; by default ``det/det.txt``.

    Raises:
        ReidEdgeError: Something of it is missing or not in that form.
    """
    info = configparser.ConfigParser()
    try:
        info.read(folder / "seqinfo.ini")
        facts = info["Sequence"]
        length, rate_hz = int(facts["seqLength"]), float(facts["frameRate"])
        size = int(facts["imHeight"]), int(facts["imWidth"])
        names = folder / facts["imDir"], facts["imExt"]
    except (KeyError, ValueError, configparser.Error) as error:
        raise ReidEdgeError(
            "%s is no MOTChallenge sequence: seqinfo.ini is missing or lacks %s." % (folder, error)
        ) from None
    truth: list[dict[int, np.ndarray]] = [{} for _ in range(length)]
    counted: list[set[int]] = [set() for _ in range(length)]
    for row in _rows(folder / "gt" / "gt.txt", length):
        frame, person = int(row[0]) - 1, int(row[1])
        truth[frame][person] = np.concatenate([row[2:4], row[2:4] + row[4:6]])
        if row[6] > 0:  # 0 marks who is to be ignored
            counted[frame].add(person)
    found: list[list[np.ndarray]] = [[] for _ in range(length)]
    for row in _rows(detections or folder / "det" / "det.txt", length):
        found[int(row[0]) - 1].append(row)
    return Footage(
        folder.name,
        [names[0] / ("%06d%s" % (number + 1, names[1])) for number in range(length)],
        rate_hz,
        truth,
        [_visible(size, boxes) & those for boxes, those in zip(truth, counted)],
        [_detections(rows) for rows in found],
        list(range(1, length + 1)),
    )


def _rows(path: Path, length: int) -> np.ndarray:
    try:
        table = np.loadtxt(path, delimiter=",", ndmin=2)
    except (OSError, ValueError) as error:
        raise ReidEdgeError("Cannot read %s as MOTChallenge text: %s." % (path, error)) from None
    if table.shape[1] < 7 or not np.isfinite(table[:, :7]).all():
        raise ReidEdgeError(
            "%s must have lines of frame, id, left, top, width, height, score; got %d columns."
            % (path, table.shape[1])
        )
    return table[(table[:, 0] >= 1) & (table[:, 0] <= length)]


def _detections(rows: list[np.ndarray]) -> Detections:
    if not rows:
        return Detections.empty()
    table = np.array(rows, np.float32)
    return Detections(np.hstack([table[:, 2:4], table[:, 2:4] + table[:, 4:6]]), table[:, 6])


def _visible(size: tuple[int, int], boxes: dict[int, np.ndarray]) -> set[int]:
    blank = np.zeros((*size, 3), np.uint8)
    crops = assess(blank, np.array(list(boxes.values())).reshape(-1, 4))
    hidden = crops.behind & (crops.overlap > HIDDEN)
    return {person for person, gone in zip(boxes, hidden) if not gone}
