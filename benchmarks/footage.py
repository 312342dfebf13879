"""A video with annotated people, in MOTChallenge's layout, and what of it can be seen."""

from __future__ import annotations

import configparser
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.tracking import Sequence
from runtime.crop_quality import cover
from runtime.detection import Detections
from runtime.errors import ReidEdgeError
from runtime.mot_format import MotRows, read_mot

HIDDEN = 0.5  # a person is not visible of whom people in front cover more than this share
_PEDESTRIAN = 1
_PEOPLE = (_PEDESTRIAN, 2, 7)  # classes of 2016: also people on vehicles, and who sits or lies


@dataclass(frozen=True)
class Footage:
    """A MOTChallenge sequence; the lists have one entry per frame.

    Attributes:
        name: Of the sequence.
        frames: Image files, in order.
        rate_hz: Frames per second.
        truth: Person -> box (left, top, right, bottom) in pixels, of everybody annotated.
        visible: Persons who count, who are in the frame and whom people in front cover at most by half.
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
        """The same without ``count`` frames from row ``start``.

        Raises:
            ReidEdgeError: There are no such frames.
        """
        if start < 0 or count < 0 or start + count > len(self):
            raise ReidEdgeError(
                "Cannot leave out %d frames from row %d: %s has %d frames."
                % (count, start, self.name, len(self))
            )
        parts = ("frames", "truth", "visible", "detections", "numbers")
        kept = {p: getattr(self, p)[:start] + getattr(self, p)[start + count :] for p in parts}
        return replace(self, **kept)


def read_footage(folder: Path, detections: Path | None = None) -> Footage:
    """Read a sequence: ``seqinfo.ini``, the image folder, ``gt/gt.txt`` and detections.

    Lines of frames behind ``seqLength`` are left out, and of ground truth with classes (from 2016 on)
    everything that is nobody.

    Args:
        folder: Of the sequence.
        detections: MOTChallenge text; by default the one file in ``det/`` whose scores are from 0 to 1.

    Raises:
        ReidEdgeError: Something of it is missing or not in that form, or a person is annotated
            twice on a frame.
    """
    try:
        sequence = Sequence.open(folder)
    except (configparser.Error, UnicodeDecodeError) as error:
        reason = str(error).replace("\n", " ")
        raise ReidEdgeError("Cannot read %s/seqinfo.ini: %s." % (folder, reason)) from None
    length, rate_hz = sequence.frames, sequence.frame_rate
    if length < 1 or not 0 < rate_hz < math.inf:
        raise ReidEdgeError(
            "%s/seqinfo.ini must have a seqLength of at least 1 and a frameRate above 0, got %d and "
            "%g." % (folder, length, rate_hz)
        )
    _, found = sequence.detections(detections)
    truth: list[dict[int, np.ndarray]] = []
    visible: list[set[int]] = []
    annotated = _people(read_mot(folder / "gt" / "gt.txt"))
    for number in range(1, length + 1):
        rows = annotated.at(number)
        people = rows.id.tolist()
        if len(set(people)) != len(people):
            raise ReidEdgeError(
                "%s/gt/gt.txt must have each person once per frame, got %s on frame %d."
                % (folder, people, number)
            )
        truth.append(dict(zip(people, rows.boxes)))
        shown = _visible(rows.boxes, sequence.frame_size) & _counted(rows)
        visible.append({person for person, there in zip(people, shown) if there})
    numbers = list(range(1, length + 1))
    return Footage(
        sequence.name,
        [sequence.images / ("%06d%s" % (number, sequence.suffix)) for number in numbers],
        rate_hz,
        truth,
        visible,
        [_detections(found.at(number)) for number in numbers],
        numbers,
    )


def _people(rows: MotRows) -> MotRows:
    return rows if rows.category is None else rows.select(np.isin(rows.category, _PEOPLE))


def _counted(rows: MotRows) -> np.ndarray:
    """(N,) bool: a confidence of 0 marks who is to be ignored, as any class but pedestrians is."""
    counted = rows.confidence > 0
    return counted if rows.category is None else counted & (rows.category == _PEDESTRIAN)


def _detections(rows: MotRows) -> Detections:
    return Detections(rows.boxes.astype(np.float32), rows.confidence.astype(np.float32))


def _visible(boxes: np.ndarray, frame_size: tuple[int, int]) -> np.ndarray:
    """(N,) bool: some of the box is in the frame, and people in front cover at most half of that."""
    height, width = frame_size
    left, top, right, bottom = boxes.T
    inside = (left < width) & (top < height) & (right > 0) & (bottom > 0)
    return inside & (cover(boxes, frame_size).covered <= HIDDEN)
