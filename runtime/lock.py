"""The target lock: keeps to one person, or says that it has lost them.

A pure state machine: people seen on a frame in, the target or nothing out. It knows no camera, no
network and no clock, so any robot stack can use it, and every decision can be replayed.

| state | means | the robot may follow |
|---|---|---|
| ``idle`` | nobody was chosen | no |
| ``enrolling`` | the chosen person is being learned | no |
| ``locked`` | the target is seen | yes, the box given |
| ``occluded`` | the target was here a moment ago | no |
| ``searching`` | the target is looked for among everybody | no |
| ``lost`` | searched in vain for ``lost_s``; still looking, and harder to convince | no |

What binds the target is its track while that is unbroken, and its appearance wherever the track may
have passed to somebody else: behind a crossing, after a gap, and every ``verify_s`` in between.
"""

from dataclasses import dataclass, field
from typing import Dict, Hashable, List, Optional, Sequence, Set, Tuple

import numpy as np

from runtime.errors import ReidEdgeError
from runtime.lock_types import (
    ENROLLING,
    IDLE,
    LOCKED,
    LOST,
    OCCLUDED,
    SEARCHING,
    LockOutput,
    LockSettings,
    Person,
)
from runtime.memory import BystanderBank, TargetMemory

NOBODY = -1  # no track has this number


@dataclass
class _Hits:
    """Consecutive good checks of one track."""

    count: int = 0
    last_s: float = 0.0


@dataclass
class TargetLock:
    """Follows one person through the frames it is given.

    lock = TargetLock()
    lock.enrol(track)                                  # chosen by click, by place, or enrol_gallery
    wanted = lock.wanted(people, time_s)               # tracks to embed, most urgent first
    output = lock.update(people_with_embeddings, time_s)
    """

    settings: LockSettings = field(default_factory=LockSettings)
    memory: TargetMemory = field(default_factory=TargetMemory)
    bystanders: BystanderBank = field(default_factory=BystanderBank)
    state: str = IDLE

    def __post_init__(self):
        self._track = NOBODY
        self._since_s = 0.0
        self._time_s: Optional[float] = None
        self._started_s: Optional[float] = None
        self._samples: List[Tuple[np.ndarray, Hashable]] = []
        self._checked_s: Dict[int, float] = {}
        self._hits: Dict[int, _Hits] = {}
        self._bad = 0
        self._uneasy_s: Optional[float] = None  # since when checks of the own track do not convince
        self._doubt = 0  # good checks that are still needed before the track is believed
        self._rivals: Set[int] = set()
        self._learned_s = -1e9

    # -- choosing --------------------------------------------------------------------------------

    def enrol(self, track: int) -> None:
        """Start to learn the person of this track; what was known of another target is dropped."""
        self.release()
        self.state, self._track, self._started_s = ENROLLING, track, None

    def enrol_gallery(self, embeddings: np.ndarray, buckets: Sequence[Hashable] = ()) -> None:
        """Take the target from (N, D) embeddings of photos, and search for it.

        Raises:
            ReidEdgeError: No embeddings, or not finite.
        """
        embeddings = np.atleast_2d(embeddings)
        if not embeddings.size or not np.isfinite(embeddings).all():
            raise ReidEdgeError(
                "A gallery needs at least one finite embedding; give sharp photos of the person."
            )
        self.release()
        for i, embedding in enumerate(embeddings):
            self.memory.enrol(embedding, buckets[i] if buckets else None)
        self.state, self._started_s = SEARCHING, None

    def release(self) -> None:
        """Forget the target and the bystanders."""
        memory = TargetMemory(self.memory.per_bucket, self.memory.per_bucket_enrolled)
        bank = BystanderBank(self.bystanders.people, self.bystanders.per_person)
        self.memory, self.bystanders, self.state = memory, bank, IDLE
        self.__post_init__()

    # -- one frame -------------------------------------------------------------------------------

    def wanted(self, people: Sequence[Person], time_s: float) -> List[int]:
        """Tracks whose crops should be embedded on this frame, most urgent first."""
        if self.state == IDLE:
            return []
        s, urgent = self.settings, []

        def age(track: int) -> float:
            return time_s - self._checked_s.get(track, -1e9)

        for person in people:
            if person.quality < s.quality or (person.behind and person.overlap >= s.hidden):
                continue
            if person.track == self._track:
                needed = (
                    self.state != LOCKED
                    or self._doubt
                    or self._uneasy_s is not None
                    or age(person.track) >= s.verify_s
                )
                if needed:
                    urgent.append((0, person.track))
            elif self.state == ENROLLING:
                continue
            elif self.state == LOCKED:
                if person.track in self._rivals or self._uneasy_s is not None:
                    urgent.append((1, person.track))
                elif not self._doubt and age(person.track) >= s.bystander_s:
                    urgent.append((3, person.track))
            else:
                hopeful = self._hits.get(person.track, _Hits()).count > 0
                if hopeful or age(person.track) >= s.verify_s / 2:
                    urgent.append((1 if hopeful else 2, person.track))
        return [track for _, track in sorted(urgent)]

    def update(self, people: Sequence[Person], time_s: float) -> LockOutput:
        """Judge one frame.

        Args:
            people: Everybody seen, those of ``wanted`` with embeddings as far as there was time.
            time_s: Monotonic time of the frame.

        Raises:
            ReidEdgeError: Time ran backwards, a track appears twice, or an embedding is not finite.
        """
        self._check(people, time_s)
        self._time_s = time_s
        if self._started_s is None:
            self._started_s = self._since_s = time_s
        judged = {p.track: self._judge(p) for p in people if self._decides(p)}
        for track in judged:
            self._checked_s[track] = time_s
        by_track = {p.track: p for p in people}
        if self.state == IDLE:
            return LockOutput(IDLE)
        if self.state == ENROLLING:
            return self._enrolling(by_track.get(self._track), time_s)
        if self.state == LOCKED:
            return self._locked(by_track, judged, time_s)
        return self._away(by_track, judged, time_s)

    # -- states ----------------------------------------------------------------------------------

    def _enrolling(self, target: Optional[Person], time_s: float) -> LockOutput:
        s = self.settings
        if time_s - (self._started_s or 0.0) > s.enrol_timeout_s:
            self.release()
            return LockOutput(IDLE, event="enrolment_failed")
        if target is None:
            if time_s - self._since_s > s.occluded_s:
                self.release()
                return LockOutput(IDLE, event="enrolment_failed")
            return LockOutput(ENROLLING)
        self._since_s = time_s
        if target.embedding is not None and self._decides(target) and target.overlap < s.contest:
            self._samples.append((target.embedding, target.bucket))
        if len(self._samples) < s.enrol_samples:
            return LockOutput(ENROLLING, target.track, target.box)
        stacked = np.stack([e for e, _ in self._samples])
        # The track may have changed hands while it was learned: keep what most samples agree with.
        typical = (stacked @ stacked.T >= s.keep).mean(axis=1) > 0.6
        if typical.sum() < s.enrol_samples * 0.75:
            self.release()
            return LockOutput(IDLE, event="enrolment_failed")
        for (embedding, bucket), fits in zip(self._samples, typical):
            if fits:
                self.memory.enrol(embedding, bucket)
        self._samples = []
        self._lock(target.track, time_s, doubt=0)
        return LockOutput(LOCKED, target.track, target.box, event="enrolled")

    def _locked(self, people, judged, time_s: float) -> LockOutput:
        s, target = self.settings, people.get(self._track)
        if target is None or (target.behind and target.overlap >= s.hidden):
            if target is not None:
                self._contest(target)
            self._enter(OCCLUDED, time_s)
            self._doubt = s.verify_hits
            return LockOutput(OCCLUDED, event="occluded")
        if target.overlap >= s.contest:
            self._contest(target)
        own = judged.get(self._track)
        heir = self._heir(judged, own)
        if heir is not None:
            self.bystanders.forget(heir)
            self._lock(heir, time_s, doubt=0)
            return LockOutput(
                LOCKED, heir, people[heir].box, judged[heir][0], judged[heir][1], "handed_over"
            )
        if own is None:
            return LockOutput(LOCKED, target.track, target.box)
        similarity, margin = own
        convincing = similarity >= s.accept
        if convincing:
            self._uneasy_s = None
        elif self._uneasy_s is None:
            self._uneasy_s = time_s
        uneasy_s = 0.0 if self._uneasy_s is None else time_s - self._uneasy_s
        # Between keep and accept the target looks unusual, which is no fault for a while, as long
        # as it looks more like itself than like anybody else known here.
        bad = similarity < s.keep or margin < (-s.margin if convincing else s.margin)
        if bad or uneasy_s > s.uneasy_s:
            self._bad += 1
            if self._bad >= s.reject_hits or uneasy_s > s.uneasy_s:
                self._track = NOBODY
                self._enter(SEARCHING, time_s)
                return LockOutput(SEARCHING, None, None, own[0], own[1], "rejected")
            return LockOutput(LOCKED, target.track, target.box, *own)
        if convincing:
            self._bad = 0
        sure = convincing and margin >= s.margin
        if target.overlap < s.contest:
            if self._doubt:
                self._doubt -= 1
            if not self._doubt:
                self._rivals.clear()
                if sure:
                    self._learn(target, people, time_s)
        return LockOutput(LOCKED, target.track, target.box, *own)

    def _away(self, people, judged, time_s: float) -> LockOutput:
        """Occluded, searching or lost."""
        s = self.settings
        best = self._best_candidate(judged)
        accepted = set()
        if best is not None:
            own_track = best == self._track and self.state == OCCLUDED
            needed = s.verify_hits if own_track else s.relock_hits
            needed *= 2 if self.state == LOST else 1
            hits = self._hits.setdefault(best, _Hits())
            hits.count = hits.count + 1 if time_s - hits.last_s <= s.hit_gap_s else 1
            hits.last_s = time_s
            accepted.add(best)
            if hits.count >= needed:
                self.bystanders.forget(best)
                self._lock(best, time_s, doubt=0)
                return LockOutput(
                    LOCKED, best, people[best].box, judged[best][0], judged[best][1], "reacquired"
                )
        for track in judged:
            if track not in accepted:
                self._hits.pop(track, None)
        seen = judged.get(best) if best is not None else None
        similarity, margin = seen if seen else (None, None)
        gone_s = time_s - self._since_s
        if self.state == OCCLUDED and gone_s > s.occluded_s:
            self._enter(SEARCHING, time_s)
            return LockOutput(SEARCHING, None, None, similarity, margin, "searching")
        if self.state == SEARCHING and gone_s > s.lost_s:
            self._enter(LOST, time_s)
            return LockOutput(LOST, None, None, similarity, margin, "lost")
        return LockOutput(self.state, None, None, similarity, margin)

    # -- judgement -------------------------------------------------------------------------------

    def _decides(self, person: Person) -> bool:
        s = self.settings
        hidden = person.behind and person.overlap >= s.hidden
        return person.embedding is not None and person.quality >= s.quality and not hidden

    def _judge(self, person: Person) -> Tuple[float, float]:
        """Similarity to the target, and by how much it exceeds that to the nearest bystander."""
        assert person.embedding is not None  # _decides
        similarity = (
            float(self.memory.similarity(person.embedding)[0]) if len(self.memory) else -1.0
        )
        return similarity, similarity - float(self.bystanders.similarity(person.embedding)[0])

    def _best_candidate(self, judged) -> Optional[int]:
        """The one track of this frame that is the target beyond doubt, or None."""
        s = self.settings
        ranked = sorted(judged, key=lambda t: judged[t][0], reverse=True)
        if not ranked:
            return None
        best = ranked[0]
        similarity, margin = judged[best]
        # The own track, back after a moment, has its place in its favour.
        limit = s.keep if best == self._track and self.state == OCCLUDED else s.accept
        second = judged[ranked[1]][0] if len(ranked) > 1 else -1.0
        clear = similarity >= limit and margin >= s.margin and similarity - second >= s.margin
        return best if clear else None

    def _heir(self, judged, own) -> Optional[int]:
        """The track that has taken over the target, or None.

        Somebody who crossed the target needs ``verify_hits`` better looks, others ``relock_hits``.
        """
        s = self.settings
        candidates = [t for t in judged if t != self._track]
        if own is None or own[0] >= s.accept or not candidates:
            self._hits.clear()
            return None
        best = max(candidates, key=lambda t: judged[t][0])
        similarity = judged[best][0]
        better = similarity >= s.accept and similarity - own[0] >= s.margin
        count = self._hits.get(best, _Hits()).count + 1 if better else 0
        self._hits = {best: _Hits(count, self._time_s or 0.0)}
        needed = s.verify_hits if best in self._rivals else s.relock_hits
        return best if count >= needed else None

    def _contest(self, target: Person) -> None:
        self._rivals.update(target.rivals)
        self._doubt = self.settings.verify_hits

    def _learn(self, target: Person, people: Dict[int, Person], time_s: float) -> None:
        """Take in what is certain: the target, and that everybody else here is not the target."""
        s = self.settings
        if target.embedding is not None and time_s - self._learned_s >= s.learn_s:
            self.memory.learn(target.embedding, target.bucket)
            self._learned_s = time_s
        for person in people.values():
            apart = person.track != target.track and person.overlap < s.contest
            if apart and person.embedding is not None and person.quality >= s.quality:
                self.bystanders.add(person.track, person.embedding)

    # -- transitions -----------------------------------------------------------------------------

    def _lock(self, track: int, time_s: float, doubt: int) -> None:
        self._track, self._bad, self._doubt, self._uneasy_s = track, 0, doubt, None
        self._hits.clear()
        self._rivals.clear()
        self._enter(LOCKED, time_s)

    def _enter(self, state: str, time_s: float) -> None:
        self.state, self._since_s = state, time_s
        if state != LOCKED:
            self._hits.clear()
            self._bad = 0
        if state in (SEARCHING, LOST):
            self._rivals.clear()

    def _check(self, people: Sequence[Person], time_s: float) -> None:
        if self._time_s is not None and time_s < self._time_s:
            raise ReidEdgeError(
                "Frames must come in order of time, got %.3f s after %.3f s."
                % (time_s, self._time_s)
            )
        tracks = [p.track for p in people]
        if len(set(tracks)) != len(tracks):
            raise ReidEdgeError("A track may appear once per frame, got tracks %s." % tracks)
        for person in people:
            if person.embedding is not None and not np.isfinite(person.embedding).all():
                raise ReidEdgeError(
                    "The embedding of track %d is not finite; check the network." % person.track
                )
