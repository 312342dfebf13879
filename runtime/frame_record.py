"""What is known behind one frame: everybody seen, the lock's decision, and the time it took."""

from dataclasses import dataclass, field
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from runtime.lock_types import Box, LockOutput
from runtime.observation import Observation

STAGES = ("detect", "motion", "quality", "embed", "track", "lock")


class Seen(NamedTuple):
    """One person on one frame.

    Attributes:
        track: Number of the track.
        box: Left, top, right, bottom in pixels, smoothed by the tracker.
        score: Of the detector, 0..1.
        state: ``"tentative"`` or ``"confirmed"``.
        quality, overlap: Of the crop (runtime.crop_quality).
        view, distance: Guessed bucket (runtime.view).
        embedded: Whether the ReID network looked at it on this frame.
    """

    track: int
    box: Box
    score: float
    state: str
    quality: float
    overlap: float
    view: str
    distance: int
    embedded: bool


@dataclass(frozen=True)
class FrameRecord:
    """What is known behind one frame.

    Attributes:
        index: Number of the frame, from 0.
        time_s: Monotonic time of the frame.
        frame_size: (height, width) in pixels.
        people: Everybody seen.
        lock: The lock's decision.
        motion: (2, 3) background motion since the frame before, as six numbers row by row.
        took_ms: Milliseconds per stage of ``STAGES``.
        observation: What the decision was made from, to record and replay it.
        rows: Detections that were embedded on this frame.
        embeddings: (len(rows), D) float32, or None.
    """

    index: int
    time_s: float
    frame_size: Tuple[int, int]
    people: List[Seen]
    lock: LockOutput
    motion: List[float]
    took_ms: Dict[str, float] = field(default_factory=dict)
    observation: Optional[Observation] = field(default=None, repr=False, compare=False)
    rows: Tuple[int, ...] = ()
    embeddings: Optional[np.ndarray] = field(default=None, repr=False, compare=False)

    def to_dict(self) -> Dict[str, Any]:
        """For JSON: numbers, strings, lists and dictionaries only."""
        people = []
        for person in self.people:
            entry: Dict[str, Any] = dict(person._asdict())
            entry.update(
                box=_rounded(person.box),
                score=round(person.score, 3),
                quality=round(person.quality, 3),
                overlap=round(person.overlap, 3),
            )
            people.append(entry)
        lock: Dict[str, Any] = dict(self.lock._asdict())
        lock["box"] = None if self.lock.box is None else _rounded(self.lock.box)
        return {
            "index": self.index,
            "time_s": round(self.time_s, 4),
            "frame_size": list(self.frame_size),
            "people": people,
            "lock": lock,
            "motion": [round(v, 5) for v in self.motion],
            "took_ms": {stage: round(ms, 3) for stage, ms in self.took_ms.items()},
        }


def _rounded(box: Sequence[float]) -> List[float]:
    return [round(float(v), 2) for v in box]
