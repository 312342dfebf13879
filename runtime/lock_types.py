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
        at_edge: True if the box reaches the left or right edge of the picture.
    """

    track: int
    box: Box
    embedding: Optional[np.ndarray] = None
    quality: float = 1.0
    overlap: float = 0.0
    rivals: Tuple[int, ...] = ()
    behind: bool = False
    bucket: Hashable = None
    at_edge: bool = False


class Look(NamedTuple):
    """One crop compared with what is known; cosines without what the scene's people share.

    Attributes:
        similarity: To the target's nearest prototype.
        known: To the nearest bystander.
        link: To the newest crops of the target's track; -1 when those are too old.
        enrolled: To the target's nearest enrolled prototype.
    """

    similarity: float
    known: float
    link: float = -1.0
    enrolled: float = -1.0

    @property
    def margin(self) -> float:
        """How much nearer to the target than to any bystander."""
        return self.similarity - self.known

    @property
    def lead(self) -> float:
        """The same, with a link to the target's newest crops counted as likeness."""
        return self.score - self.known

    @property
    def score(self) -> float:
        """How much this looks like the target, one way or the other."""
        return max(self.similarity, self.link)


@dataclass(frozen=True)
class LockSettings:
    """Guards of the transitions. Similarities are cosines as ``Look`` has them.

    Attributes:
        accept: Similarity from which somebody near the place where the target was last seen is
            the target.
        strict: The same for somebody elsewhere, or long after.
        keep: Similarity above which the target's own track stays believed for a while.
        link: Similarity of two crops of one track, at most ``link_s`` apart, from which they
            certainly show one person.
        chain: The same while nobody crossed the track, which then can hardly have changed hands.
        margin: How much nearer a person must be to the target than to any bystander, and than
            any other candidate of the frame.
        quality: Smallest crop quality that decides anything.
        learn_quality: Smallest crop quality that a memory learns from.
        enrol_samples: Good crops that make up an enrolment.
        enrol_timeout_s: Enrolment is given up after this.
        enrol_gap_s: It is given up when there was no good crop for this long, because the track may
            be somebody else's by then.
        enrol_keep: Similarity to the other crops below which one is of somebody else; looser than
            ``keep``, because little is known of the scene yet.
        verify_s: The target's appearance is checked at least this often.
        watch_s: The same while somebody overlaps the target or the last check was not convincing.
        link_s: Time after which the newest crops of the track are too old to compare with.
        verify_hits: Consecutive good checks that clear a crossing or a gap of the own track.
        reject_hits: Consecutive bad checks that end the lock.
        uneasy_s: The lock ends when no check was convincing for this long.
        relock_hits: Consecutive good checks that re-lock a new track; twice as many when lost.
        hit_gap_s: Checks farther apart than this are not consecutive.
        contest: Overlap from which somebody may take over the track.
        hidden: Overlap from which a person behind others is hardly seen.
        hidden_s: How long the track of a hidden target is believed to be the target.
        occluded_s: How long the target may be gone before it is searched among everybody.
        gap_s: Time between two frames after which tracks are no longer trusted.
        near_s: For how long the target is expected near the place where it was last seen.
        lost_s: How long it is searched before it is called lost.
        learn_s: Shortest time between two new prototypes.
        bystander_s: Each bystander is embedded at most this often.
        apart_s: A track seen beside the target is somebody else, until it was gone for this long.
    """

    accept: float = 0.5
    strict: float = 0.6
    keep: float = 0.25
    link: float = 0.6
    chain: float = 0.3
    margin: float = 0.1
    quality: float = 0.4
    learn_quality: float = 0.6
    enrol_samples: int = 8
    enrol_timeout_s: float = 5.0
    enrol_gap_s: float = 0.7
    enrol_keep: float = 0.1
    verify_s: float = 0.3
    watch_s: float = 0.15
    link_s: float = 0.7
    verify_hits: int = 2
    reject_hits: int = 3
    uneasy_s: float = 1.0
    relock_hits: int = 3
    hit_gap_s: float = 1.0
    contest: float = 0.15
    hidden: float = 0.6
    hidden_s: float = 0.4
    occluded_s: float = 0.5
    gap_s: float = 0.5
    near_s: float = 3.0
    lost_s: float = 10.0
    learn_s: float = 0.3
    bystander_s: float = 3.0
    apart_s: float = 0.5

    def __post_init__(self):
        if not -1 <= self.keep <= self.accept <= self.strict <= 1:
            raise ReidEdgeError(
                "The lock needs -1 <= keep <= accept <= strict <= 1, got keep %r, accept %r and "
                "strict %r." % (self.keep, self.accept, self.strict)
            )
        for name in ("enrol_samples", "verify_hits", "reject_hits", "relock_hits"):
            if getattr(self, name) < 1:
                raise ReidEdgeError("The lock's %s must be at least 1." % name)


class LockOutput(NamedTuple):
    """What is known behind one frame.

    Attributes:
        state: One of ``STATES``.
        track, box: The target if it is seen and believed, else None.
        similarity: Of the target's crop (or of the best candidate), where one was embedded.
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
