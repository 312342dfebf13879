"""One person followed through an annotated sequence, and every frame judged.

* right: the box followed has IoU >= 0.5 with the target's, and no larger one with somebody else's.
* wrong: it fits somebody else better, or hardly touches the target (IoU < 0.1), or the target left
  the annotation more than half a second ago.
* loose: it touches the target and fits nobody, or the target has just left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.footage import Footage
from runtime.detection import iou
from runtime.frame_record import FrameRecord
from runtime.lock_types import LOCKED
from runtime.perception import Perception
from runtime.preprocess import read_image

ENROL_FRAMES = 10
RIGHT_IOU, NOTHING_IOU = 0.5, 0.1
LEFT_S = 0.5  # a person who has left the annotation may still be seen for a moment


@dataclass
class Verdict:
    """How one person was followed.

    Attributes:
        person: Of the ground truth.
        enrolled: Whether the person was learned.
        judged: Frames after the first ten.
        visible, right, wrong, loose: Of those; right only where visible.
        embedded, seen: Crops embedded and people seen on all frames.
        reacquired: Re-acquire times in frames.
        after_cut: Frames from the cut to the first right one; None without a cut, or if never.
        wrong_frames: Numbers of the wrong frames.
        states: Judged frames per state of the lock.
    """

    person: int
    enrolled: bool = False
    judged: int = 0
    visible: int = 0
    right: int = 0
    wrong: int = 0
    loose: int = 0
    embedded: int = 0
    seen: int = 0
    reacquired: list[int] = field(default_factory=list)
    after_cut: int | None = None
    wrong_frames: list[int] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)

    @property
    def lock_ratio(self) -> float:
        return self.right / max(self.visible, 1)


def judge(record: FrameRecord, truth: dict[int, np.ndarray], person: int, left_s: float) -> str:
    """``"right"``, ``"wrong"``, ``"loose"`` or ``"none"`` for what is followed on one frame.

    Args:
        record: What the perception said.
        truth: Person -> box of the frame.
        person: The target.
        left_s: Seconds since the target was last annotated, 0 while it is.
    """
    box = record.lock.box
    if record.lock.state != LOCKED or box is None:
        return "none"
    boxes = np.array(list(truth.values()), float).reshape(-1, 4)
    overlaps = dict(zip(truth, iou(np.array([box], float), boxes)[0].tolist()))
    own = overlaps.pop(person, 0.0)
    best = max(overlaps.values(), default=0.0)
    if own >= max(RIGHT_IOU, best):
        return "right"
    if best >= RIGHT_IOU:
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
    cut_row: int | None = None,
) -> Verdict:
    """Choose a person and judge what is followed from then on.

    An enrolment that fails is tried again, as a user would; the frames until then are judged.

    Args:
        footage: The sequence.
        person: Of its ground truth.
        perception: A fresh one.
        frames: The decoded frames; by default they are read one by one.
        real_time: Time runs by the frames' numbers, so that a cut takes its time; else the frame
            behind a cut follows at once.
        cut_row: Row of the first frame behind a cut.
    """
    verdict = Verdict(person)
    shown, gone, last_s = 0, 0, -1e9
    for row, path in enumerate(footage.frames):
        frame = read_image(path) if frames is None else frames[row]
        time_s = (footage.numbers[row] - 1 if real_time else row) / footage.rate_hz
        record = perception.step(frame, time_s, footage.detections[row])
        verdict.embedded += sum(p.embedded for p in record.people)
        verdict.seen += len(record.people)
        verdict.enrolled |= record.lock.event == "enrolled"
        track = _track_of(record, footage, row, person)
        if person in footage.truth[row]:
            last_s = time_s
        shown += track is not None or shown >= ENROL_FRAMES
        if record.lock.state == "idle" and track is not None and not verdict.enrolled:
            perception.lock.enrol(track)
        if shown <= ENROL_FRAMES:
            continue
        said = judge(record, footage.truth[row], person, time_s - last_s)
        verdict.judged += 1
        verdict.states[record.lock.state] = verdict.states.get(record.lock.state, 0) + 1
        verdict.loose += said == "loose"
        if said == "wrong":
            verdict.wrong += 1
            verdict.wrong_frames.append(footage.numbers[row])
        if person in footage.visible[row]:
            verdict.visible += 1
            verdict.right += said == "right"
            gone += said != "right"
        if said == "right":
            if gone:
                verdict.reacquired.append(gone)
            gone = 0
            if cut_row is not None and row >= cut_row and verdict.after_cut is None:
                verdict.after_cut = row - cut_row
    return verdict


def _track_of(record: FrameRecord, footage: Footage, row: int, person: int) -> int | None:
    """The track that shows a visible person and nobody else better."""
    if person not in footage.visible[row] or not record.people:
        return None
    truth = footage.truth[row]
    overlaps = iou(
        np.array([p.box for p in record.people], float), np.array(list(truth.values()), float)
    )
    own = list(truth).index(person)
    best = int(overlaps[:, own].argmax())
    fits = overlaps[best, own] >= RIGHT_IOU and overlaps[best].argmax() == own
    return record.people[best].track if fits else None
