"""``python -m benchmarks.lock``: does the target lock keep to the right person?

Every person of a MOTChallenge sequence who is visible long enough is chosen in turn, on the first ten
frames, and the rest of the sequence is judged:

* right: the lock's box has IoU >= 0.5 with the target's.
* wrong: it fits another annotated person better than the target, or the target hardly at all
  (IoU < 0.1), unless the target left the annotation less than half a second ago.
* visible: the target is annotated, and people in front cover less than half of it.

Lock ratio is right frames of visible frames, wrong-lock ratio is wrong frames of all judged frames, a
re-acquire time is how many visible frames the target went unfollowed before it was followed again.
"""

from __future__ import annotations

import argparse
import configparser
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from runtime.bundle import Bundle
from runtime.crop_quality import assess
from runtime.detection import Detections, iou
from runtime.embedder import Embedder
from runtime.errors import ReidEdgeError
from runtime.lock import TargetLock
from runtime.lock_types import LOCKED, LockOutput, LockSettings, Person
from runtime.perception import FrameRecord, Perception
from runtime.preprocess import read_image

ENROL_FRAMES = 10
RIGHT_IOU, NOTHING_IOU = 0.5, 0.1
LEFT_S = 0.5  # a person who has left the annotation may still be seen for a moment
HIDDEN = 0.5  # covered share from which the target is not visible


@dataclass
class Footage:
    """A MOTChallenge sequence.

    Attributes:
        name: Of the folder.
        frames: Image files, in order.
        rate_hz: Frames per second.
        truth: Per frame person -> box (left, top, right, bottom).
        visible: Per frame the persons who can be seen and count.
        detections: Per frame.
        numbers: Frame numbers in the original, from 1.
    """

    name: str
    frames: list[Path]
    rate_hz: float
    truth: list[dict[int, np.ndarray]]
    visible: list[set[int]]
    detections: list[Detections]
    numbers: list[int]

    def without(self, start: int, count: int) -> Footage:
        """The same without ``count`` frames from row ``start``."""

        def keep(rows: list) -> list:
            return rows[:start] + rows[start + count :]

        return Footage(
            self.name,
            keep(self.frames),
            self.rate_hz,
            keep(self.truth),
            keep(self.visible),
            keep(self.detections),
            keep(self.numbers),
        )


def read_footage(folder: Path, detections: Path | None = None) -> Footage:
    """Read a sequence: ``seqinfo.ini``, ``img1/``, ``gt/gt.txt`` and detections.

    Args:
        folder: Of the sequence.
        detections: MOTChallenge text; by default ``det/det.txt``.

    Raises:
        ReidEdgeError: Something of it is missing.
    """
    info = configparser.ConfigParser()
    if not info.read(folder / "seqinfo.ini"):
        raise ReidEdgeError("%s is no MOTChallenge sequence: it has no seqinfo.ini." % folder)
    facts = info["Sequence"]
    length, size = int(facts["seqLength"]), (int(facts["imHeight"]), int(facts["imWidth"]))
    frames = [
        folder / facts["imDir"] / ("%06d%s" % (n + 1, facts["imExt"])) for n in range(length)
    ]
    truth: list[dict[int, np.ndarray]] = [{} for _ in frames]
    counts: list[set[int]] = [set() for _ in frames]
    for row in _rows(folder / "gt" / "gt.txt"):
        frame, person = int(row[0]) - 1, int(row[1])
        if 0 <= frame < length:
            truth[frame][person] = np.concatenate([row[2:4], row[2:4] + row[4:6]])
            if row[6] > 0:
                counts[frame].add(person)
    found: list[list[np.ndarray]] = [[] for _ in frames]
    for row in _rows(detections or folder / "det" / "det.txt"):
        if 0 <= int(row[0]) - 1 < length:
            found[int(row[0]) - 1].append(row)
    blank = np.zeros((*size, 3), np.uint8)
    return Footage(
        folder.name,
        frames,
        float(facts["frameRate"]),
        truth,
        [_visible(blank, boxes) & counted for boxes, counted in zip(truth, counts)],
        [_detections(rows) for rows in found],
        list(range(1, length + 1)),
    )


def _rows(path: Path) -> np.ndarray:
    try:
        return np.loadtxt(path, delimiter=",", ndmin=2)
    except (OSError, ValueError) as error:
        raise ReidEdgeError("Cannot read %s as MOTChallenge text: %s." % (path, error)) from None


def _detections(rows: list[np.ndarray]) -> Detections:
    if not rows:
        return Detections.empty()
    table = np.array(rows, np.float32)
    return Detections(np.hstack([table[:, 2:4], table[:, 2:4] + table[:, 4:6]]), table[:, 6])


def _visible(frame: np.ndarray, boxes: dict[int, np.ndarray]) -> set[int]:
    crops = assess(frame, np.array(list(boxes.values())).reshape(-1, 4))
    hidden = crops.behind & (crops.overlap > HIDDEN)
    return {person for person, gone in zip(boxes, hidden) if not gone}


class CachedEmbedder:
    """An embedder that computes each crop once, for runs that repeat the same frames."""

    def __init__(self, embed: Callable[[Sequence[np.ndarray]], np.ndarray]):
        self._embed = embed
        self._cache: dict[bytes, np.ndarray] = {}

    def __call__(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """As the embedder itself."""
        keys = [
            hashlib.blake2b(crop.tobytes() + repr(crop.shape).encode(), digest_size=16).digest()
            for crop in crops
        ]
        new = {key: crop for key, crop in zip(keys, crops) if key not in self._cache}
        if new:
            self._cache.update(zip(new, self._embed(list(new.values()))))
        return np.stack([self._cache[key] for key in keys])


class TrackOnly(TargetLock):
    """Follows a track as long as it lasts and never finds it again: the lock without a network."""

    def wanted(self, people: Sequence[Person], time_s: float) -> list[int]:
        return []

    def update(self, people: Sequence[Person], time_s: float) -> LockOutput:
        for person in people:
            if person.track == self._track:
                return LockOutput(LOCKED, person.track, person.box)
        return LockOutput("idle" if self._track is None else "searching")


@dataclass
class Verdict:
    """How one person was followed.

    Attributes:
        person: Of the ground truth.
        judged: Frames after the enrolment.
        visible, right, wrong: Of those, frames of that kind; right counts visible frames only.
        loose: Locked on the target with a box that fits badly.
        enrolled: Whether the enrolment came to an end.
        reacquired: Visible frames that each loss lasted until the target was followed again.
        after_cut: Frames from the cut to the first right one, None without a cut or if it never was.
        wrong_frames: Original numbers of the wrong frames.
        states: Frames per state of the lock.
    """

    person: int
    judged: int = 0
    visible: int = 0
    right: int = 0
    wrong: int = 0
    loose: int = 0
    enrolled: bool = False
    reacquired: list[int] = field(default_factory=list)
    after_cut: int | None = None
    wrong_frames: list[int] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)


def judge(
    record: FrameRecord, truth: dict[int, np.ndarray], person: int, left_s: float
) -> str:
    """``"right"``, ``"wrong"``, ``"loose"`` or ``"none"`` for the lock's box on one frame.

    Args:
        record: What the perception said.
        truth: person -> box of the frame.
        person: The target.
        left_s: Seconds since the target was last annotated, 0 while it is.
    """
    box = record.lock.box
    if box is None:
        return "none"
    names = list(truth)
    overlaps = dict(zip(names, iou(np.array([box]), np.array(list(truth.values())).reshape(-1, 4))[0]))
    own = overlaps.pop(person, 0.0)
    if own >= RIGHT_IOU:
        return "right"
    if max(overlaps.values(), default=0.0) >= RIGHT_IOU:
        return "wrong"
    if person in truth:
        return "loose" if own >= NOTHING_IOU else "wrong"
    return "loose" if left_s < LEFT_S else "wrong"


def follow(
    footage: Footage,
    person: int,
    perception: Perception,
    frames: Sequence[np.ndarray] | None = None,
    real_time: bool = False,
    cut_at: int | None = None,
) -> Verdict:
    """Choose ``person`` on its first frames and judge the rest.

    Args:
        footage: The sequence.
        person: Of its ground truth.
        perception: Fresh.
        frames: The decoded frames; by default they are read one by one.
        real_time: Time runs by the original frame numbers, so that a cut takes its time; else a cut
            is a jump from one frame to the next.
        cut_at: Row of the first frame behind a cut.
    """
    verdict = Verdict(person)
    present = [row for row, boxes in enumerate(footage.truth) if person in boxes]
    since, gone, last_s = 0, 0, -1e9
    for row, path in enumerate(footage.frames):
        frame = read_image(path) if frames is None else frames[row]
        number = footage.numbers[row] - 1 if real_time else row
        time_s = number / footage.rate_hz
        record = perception.step(frame, time_s, footage.detections[row])
        verdict.enrolled |= record.lock.event == "enrolled" or isinstance(
            perception.lock, TrackOnly
        )
        truth = footage.truth[row]
        if person in truth:
            since, last_s = since + 1, time_s
        if row < present[0]:
            continue
        if since <= ENROL_FRAMES and not verdict.enrolled:
            if record.lock.state == "idle" and person in truth:
                _choose(perception, record, truth[person])
            continue
        if since <= ENROL_FRAMES:
            continue
        verdict.judged += 1
        said = judge(record, truth, person, time_s - last_s)
        state = record.lock.state
        verdict.states[state] = verdict.states.get(state, 0) + 1
        verdict.loose += said == "loose"
        if said == "wrong":
            verdict.wrong += 1
            verdict.wrong_frames.append(footage.numbers[row])
        if person in footage.visible[row]:
            verdict.visible += 1
            verdict.right += said == "right"
            if said != "right":
                gone += 1
        if said == "right":
            if gone:
                verdict.reacquired.append(gone)
            gone = 0
            if cut_at is not None and row >= cut_at and verdict.after_cut is None:
                verdict.after_cut = row - cut_at
    return verdict


def _choose(perception: Perception, record: FrameRecord, box: np.ndarray) -> None:
    """As a user would: by a box that is drawn around the person, if it is found there."""
    if not record.people:
        return
    overlaps = iou(box[None], np.array([p.box for p in record.people]))[0]
    best = int(overlaps.argmax())
    if overlaps[best] >= RIGHT_IOU:
        perception.lock.enrol(record.people[best].track)
