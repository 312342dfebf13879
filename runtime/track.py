"""One followed person, as the tracker tells it, and the table of all of them inside the tracker."""

from typing import NamedTuple, Optional, Tuple

import numpy as np

TENTATIVE, CONFIRMED, LOST = "tentative", "confirmed", "lost"


class Track(NamedTuple):
    """One person as known after a frame.

    | state | meaning | becomes |
    |---|---|---|
    | tentative | seen, but the evidence is too weak (yet, or again), or most of it is out of view | confirmed at enough evidence; lost if it was confirmed before and is not seen; else dropped |
    | confirmed | a person, seen on this frame or at most ``coast_s`` before | lost when not seen for longer; tentative when its evidence falls below 0 or it leaves the view |
    | lost | was confirmed, not seen for more than ``coast_s`` | confirmed or tentative when found again; forgotten after ``memory_s`` |

    Attributes:
        id: Positive number, never used for another track of this tracker.
        box: (4,) float32: left, top, right, bottom in pixels; the filtered position, predicted
            where ``detection`` is None. Cut to the frame where the frame's size is known and some
            of the box lies inside.
        score: Of the last detection, 0 to 1.
        state: One of the three.
        age_frames: Frames since the track began, that one included.
        unseen_s: Seconds since it was last seen, 0 if it is on this frame.
        detection: Row of the frame's detections that continued it, None if none did.
        velocity: Of the centre against the background, pixels per second, right and down.
        embedding: (D,) float32 running mean of its embeddings, of unit length, or None.
    """

    id: int
    box: np.ndarray
    score: float
    state: str
    age_frames: int
    unseen_s: float
    detection: Optional[int]
    velocity: Tuple[float, float]
    embedding: Optional[np.ndarray]


class TrackTable:
    """The tracker's N tracks as arrays, one row each, by ascending id.

    Attributes:
        mean, cov: Kalman states (runtime.kalman).
        id: (N,) integers.
        evidence: (N,) that it is a person (TrackerSettings.confirm_evidence).
        established: (N,) bool: it was confirmed once.
        seen_s: (N,) time of the last detection.
        born: (N,) number of the frame on which it began.
        score: (N,) of the last detection.
        detection: (N,) row of this frame's detections, -1 for none.
        embedding: (N, D) float32, NaN rows have none; None before the first embedding of all.
    """

    _COLUMNS = ("mean", "cov", "id", "evidence", "established", "seen_s", "born", "score")

    def __init__(self):
        self.mean, self.cov = np.empty((0, 2, 4)), np.empty((0, 3, 4))
        self.id = self.born = np.empty(0, np.int64)
        self.evidence = self.seen_s = self.score = np.empty(0)
        self.established = np.empty(0, bool)
        self.detection = np.empty(0, np.intp)
        self.embedding: Optional[np.ndarray] = None

    def __len__(self) -> int:
        return len(self.id)

    def keep(self, mask: np.ndarray) -> None:
        """Drop the rows where ``mask`` (N,) is False."""
        if mask.all():
            return
        for name in self._COLUMNS + ("detection",):
            setattr(self, name, getattr(self, name)[mask])
        if self.embedding is not None:
            self.embedding = self.embedding[mask]

    def add(self, detection: np.ndarray, embedding: Optional[np.ndarray], **columns) -> None:
        """Append rows: each array of the table for the new ones; ids above all others."""
        for name in self._COLUMNS:
            setattr(self, name, np.concatenate([getattr(self, name), columns[name]]))
        self.detection = np.concatenate([self.detection, detection])
        if self.embedding is not None:
            if embedding is None:
                embedding = np.full((len(detection), self.embedding.shape[1]), np.nan, np.float32)
            self.embedding = np.concatenate([self.embedding, embedding])
