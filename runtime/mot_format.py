"""MOTChallenge text: one box per line, as ground truth, detections or result of a tracker.

``frame, id, left, top, width, height, confidence, ...``: frames count from 1, lengths are pixels,
detections have id -1. What follows the confidence differs between editions of the challenge; ground
truth with nine fields has a class and a visibility there (from 2016 on), with ten a position.
"""

import math
from pathlib import Path
from typing import Iterable, List, NamedTuple, Optional, Sequence, Union

import numpy as np

from runtime.errors import ReidEdgeError
from runtime.track import Track

_MIN_FIELDS = 7


class MotRows(NamedTuple):
    """N lines of a file, by ascending frame, otherwise in the file's order.

    Attributes:
        frame: (N,) int64, from 1.
        id: (N,) int64, -1 for detections.
        boxes: (N, 4) float64: left, top, right, bottom.
        confidence: (N,) float64: a score, or 0 in ground truth for what does not count.
        category: (N,) int64 class of 2016's ground truth, where 1 is a pedestrian; None for files
            without classes.
    """

    frame: np.ndarray
    id: np.ndarray
    boxes: np.ndarray
    confidence: np.ndarray
    category: Optional[np.ndarray]

    def at(self, frame: int) -> "MotRows":
        """The lines of one frame."""
        first, last = np.searchsorted(self.frame, (frame, frame + 1))
        return self.select(slice(first, last))

    def select(self, rows) -> "MotRows":
        """The lines at ``rows``: indices, a slice or a boolean mask."""
        category = None if self.category is None else self.category[rows]
        return MotRows(
            self.frame[rows], self.id[rows], self.boxes[rows], self.confidence[rows], category
        )


def read_mot(path: Union[str, Path]) -> MotRows:
    """Read a file of this format; empty lines are skipped, and a file may be empty.

    Raises:
        ReidEdgeError: The file cannot be read; a line has too few fields, something that is not a
            finite number, a frame below 1 or a box without width or height. The message has the
            line's number.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ReidEdgeError("Cannot read MOT file %s: %s." % (path, reason)) from None
    rows: List[List[float]] = []
    fields = set()
    for number, line in enumerate(lines, 1):
        if line.strip():
            row = _parse(line, "%s:%d" % (path, number))
            fields.add(len(row))
            rows.append(row[:8] if len(row) > _MIN_FIELDS else row + [-1.0])
    table = np.array(rows, np.float64).reshape(-1, _MIN_FIELDS + 1)
    table = table[np.argsort(table[:, 0], kind="stable")]
    boxes = np.concatenate([table[:, 2:4], table[:, 2:4] + table[:, 4:6]], axis=1)
    category = table[:, 7].astype(np.int64) if fields == {9} else None
    return MotRows(
        table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), boxes, table[:, 6], category
    )


def mot_lines(frame: int, tracks: Iterable[Track]) -> str:
    """Tracks of one frame (from 1) as lines of a tracker's result, each ended by a newline."""
    return "".join(mot_line(frame, track.id, track.box.tolist(), track.score) for track in tracks)


def mot_line(frame: int, track_id: int, box: Sequence[float], score: float) -> str:
    """One line of a tracker's result, or of detections with id -1, ended by a newline."""
    left, top, right, bottom = box
    numbers = (left, top, right - left, bottom - top)
    return "%d,%d,%.2f,%.2f,%.2f,%.2f,%.4f,-1,-1,-1\n" % (frame, track_id, *numbers, score)


def _parse(line: str, where: str) -> List[float]:
    try:
        row = [float(text) for text in line.split(",")]
    except ValueError:
        row = []
    if len(row) < _MIN_FIELDS or not all(math.isfinite(value) for value in row):
        raise ReidEdgeError(
            "%s must be at least %d finite numbers with commas between them (frame, id, left, top, "
            "width, height, confidence), got %r." % (where, _MIN_FIELDS, line[:80])
        )
    if row[0] < 1 or row[0] % 1 or row[1] % 1 or row[4] <= 0 or row[5] <= 0:
        raise ReidEdgeError(
            "%s must have a whole frame number from 1, a whole id and a box with width and height, "
            "got %r." % (where, line[:80])
        )
    return row
