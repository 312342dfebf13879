"""What goes into the target lock and what comes out: people, guards, decisions."""

from dataclasses import dataclass
from typing import Hashable, NamedTuple, Optional, Tuple

import numpy as np

from runtime.errors import ReidEdgeError

Box = Tuple[float, float, float, float]
IDLE, ENROLLING, LOCKED = "idle", "enrolling", "locked"
OCCLUDED, SEARCHING, LOST = "occluded", "searching", "lost"
STATES = (IDLE, ENROLLING, LOCKED, OCCLUDED, SEARCHING, LOST)


class Person(NamedTuple):
    """One person seen on one frame.

    Attributes:
        track: Number of the person's track; the tracker never uses it for another track.
        box: Left, top, right, bottom in pixels.
        embedding: (D,) L2-normalised, or None where this crop was not embedded.
        quality: 0..1, how much of a whole, sharp, unobstructed person the crop shows.
        overlap: Share of the box that boxes of other people cover.
        rivals: Tracks whose boxes overlap this one.
        behind: True if the overlapping people stand in front of this one.
        bucket: View and distance, e.g. ``("rear", 1)``.
    """

    track: int
    box: Box
    embedding: Optional[np.ndarray] = None
    quality: float = 1.0
    overlap: float = 0.0
    rivals: Tuple[int, ...] = ()
    behind: bool = False
    bucket: Hashable = None


@dataclass(frozen=True)
class LockSettings:
    """Guards of the transitions.

    Attributes:
        accept: Cosine above which a stranger to the track counts as the target; from
            ``runtime.open_set`` for a stated false-accept rate.
        keep: Cosine above which the target's own unbroken track stays believed.
        margin: How much nearer a person must be to the target than to any bystander, and than
            any other candidate of the frame.
        quality: Smallest crop quality that decides anything.
        enrol_samples: Good crops that make up an enrolment.
        enrol_timeout_s: Enrolment is given up after this.
        verify_s: The target's appearance is checked at least this often.
        verify_hits: Consecutive good checks that clear a crossing or a gap of the own track.
        reject_hits: Consecutive bad checks that end the lock.
        uneasy_s: The lock ends when no check was better than ``accept`` for this long.
        relock_hits: Consecutive good checks that re-lock a new track; twice as many when lost.
        hit_gap_s: Checks farther apart than this are not consecutive.
        contest: Overlap from which somebody may take over the track.
        hidden: Overlap from which a person behind others is not seen.
        occluded_s: How long the target may be gone before it is searched among everybody.
        lost_s: How long it is searched before it is called lost.
        learn_s: Shortest time between two new prototypes.
        bystander_s: Each bystander is embedded at most this often.
    """

    accept: float = 0.68
    keep: float = 0.5
    margin: float = 0.06
    quality: float = 0.4
    enrol_samples: int = 8
    enrol_timeout_s: float = 5.0
    verify_s: float = 0.5
    verify_hits: int = 2
    reject_hits: int = 3
    uneasy_s: float = 1.0
    relock_hits: int = 3
    hit_gap_s: float = 1.0
    contest: float = 0.15
    hidden: float = 0.6
    occluded_s: float = 0.5
    lost_s: float = 10.0
    learn_s: float = 0.3
    bystander_s: float = 2.0

    def __post_init__(self):
        if not -1 <= self.keep <= self.accept <= 1:
            raise ReidEdgeError(
                "The lock needs -1 <= keep <= accept <= 1, got keep %r and accept %r."
                % (self.keep, self.accept)
            )
        for name in ("enrol_samples", "verify_hits", "reject_hits", "relock_hits"):
            if getattr(self, name) < 1:
                raise ReidEdgeError("The lock's %s must be at least 1." % name)


class LockOutput(NamedTuple):
    """What is known behind one frame.

    Attributes:
        state: One of ``STATES``.
        track, box: The target if it is seen and believed, else None.
        similarity: Cosine of the target's crop (or of the best candidate) to the memory, where one
            was embedded.
        margin: How much nearer that is than to the nearest bystander.
        event: ``"enrolled"``, ``"enrolment_failed"``, ``"occluded"``, ``"searching"``,
            ``"reacquired"``, ``"rejected"`` (the track was somebody else), ``"handed_over"`` (the
            target goes on under another track), ``"lost"``, ``"released"``, or None.
    """

    state: str
    track: Optional[int] = None
    box: Optional[Box] = None
    similarity: Optional[float] = None
    margin: Optional[float] = None
    event: Optional[str] = None
