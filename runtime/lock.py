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

What binds the target, strongest first:

1. Two people seen at once are two people: a track seen beside the target is never the target, unless
   the two crossed or the track was gone for a while.
2. Its track, while that is unbroken and crops of it that follow each other look alike.
3. Its appearance, wherever the track may have passed to somebody else: behind a crossing, after a
   gap, and every ``verify_s`` in between.
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
    Look,
    Person,
)
from runtime.memory import BystanderBank, RecentLooks, SceneMean, TargetMemory
from runtime.place import Place

_NEVER_S = -1e9
_FORGET_S = 30.0  # what is known of a track that is gone


@dataclass
class _Hits:
    """Consecutive good checks of one track."""

    count: int = 0
    last_s: float = _NEVER_S


@dataclass
class _Known:
    """What the lock remembers of a track."""

    seen_s: float
    looked_s: float = _NEVER_S
    similarity: float = -1.0
    beside: bool = False  # seen at once with the target


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
    scene: SceneMean = field(default_factory=SceneMean)
    state: str = IDLE

    def __post_init__(self):
        self._track: Optional[int] = None
        self._since_s = 0.0
        self._time_s: Optional[float] = None
        self._started_s: Optional[float] = None
        self._samples: List[Tuple[np.ndarray, Hashable]] = []
        self._foreign = 0  # samples that are not of the person the others are of
        self._known: Dict[int, _Known] = {}
        self._hits: Dict[int, _Hits] = {}
        self._recent = RecentLooks()
        self._place: Optional[Place] = None
        self._place_known = False  # no more after a cut
        self._bad = 0
        self._in_front = False  # of somebody who overlaps the target
        self._hidden_s: Optional[float] = None  # since when the target is behind somebody
        self._uneasy_s: Optional[float] = None  # since when checks of the own track do not convince
        self._doubt = 0  # good checks that are still needed before the track is believed
        self._rivals: Set[int] = set()
        self._learned_s = self._trusted_s = _NEVER_S

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
        """Forget the target and the bystanders; the scene stays what it is."""
        memory = TargetMemory(self.memory.per_bucket, self.memory.per_bucket_enrolled)
        bank = BystanderBank(self.bystanders.people, self.bystanders.per_person)
        time_s = self._time_s
        self.memory, self.bystanders, self.state = memory, bank, IDLE
        self.__post_init__()
        self._time_s = time_s

    # -- one frame -------------------------------------------------------------------------------

    def wanted(self, people: Sequence[Person], time_s: float) -> List[int]:
        """Tracks whose crops should be embedded on this frame, most urgent first."""
        asked = []
        for person in people:
            if self.state == IDLE or not self._shows(person):
                continue
            known = self._known.get(person.track, _Known(time_s))
            waited_s = time_s - known.looked_s
            kind = self._urgency(person, known, waited_s, time_s)
            if kind is not None:
                asked.append((kind, -waited_s, person.track))
        return [track for _, _, track in sorted(asked)]

    def update(
        self,
        people: Sequence[Person],
        time_s: float,
        motion: Optional[np.ndarray] = None,
        cut: bool = False,
    ) -> LockOutput:
        """Judge one frame.

        Args:
            people: Everybody seen, those of ``wanted`` with embeddings as far as there was time.
            time_s: Monotonic time of the frame.
            motion: (2, 3) background motion since the previous frame; None for a still camera.
            cut: Something is missing between the previous frame and this one (runtime.scene_cut), so
                that tracks may have passed from one person to another.

        Raises:
            ReidEdgeError: Time ran backwards, a track appears twice, or an embedding is not finite.
        """
        self._check(people, time_s)
        cut = cut or (self._time_s is not None and time_s - self._time_s > self.settings.gap_s)
        self._time_s = time_s
        if self._started_s is None:
            self._started_s = self._since_s = time_s
        if self._place is not None and motion is not None:
            self._place = self._place.moved(motion)
        if cut and self.state == ENROLLING:
            self.release()
            return LockOutput(IDLE, event="enrolment_failed")
        if cut:
            self._break(time_s)
        looks = self._look(people, time_s)
        by_track = {p.track: p for p in people}
        if self.state == IDLE:
            return LockOutput(IDLE)
        if self.state == ENROLLING:
            return self._enrolling(by_track.get(self._track), time_s)
        if self.state == LOCKED:
            output = self._locked(by_track, looks, time_s)
            if output.box is not None:
                self._place, self._place_known = Place.of(output.box, time_s), True
            return output
        return self._away(by_track, looks, time_s)

    # -- states ----------------------------------------------------------------------------------

    def _enrolling(self, target: Optional[Person], time_s: float) -> LockOutput:
        s = self.settings
        late = time_s - self._started_s > s.enrol_timeout_s or time_s - self._since_s > s.enrol_gap_s
        if late or self._foreign >= s.reject_hits:
            self.release()
            return LockOutput(IDLE, event="enrolment_failed")
        if target is None:
            return LockOutput(ENROLLING)
        if target.embedding is not None and self._shows(target) and self._clear(target):
            self._since_s = time_s
            self._sample(target)
        if len(self._samples) < s.enrol_samples:
            return LockOutput(ENROLLING, target.track, target.box)
        for embedding, bucket in self._samples:
            self.memory.enrol(embedding, bucket)
            self._recent.add(embedding, time_s)
        self._samples = []
        self._lock(target, time_s)
        return LockOutput(LOCKED, target.track, target.box, event="enrolled")

    def _sample(self, target: Person) -> None:
        """Take in one crop of the chosen person, unless the track has changed hands."""
        if self._samples:
            known = self.scene.without(np.stack([embedding for embedding, _ in self._samples]))
            alike = known @ self.scene.without(target.embedding[None])[0]
            if float(alike.max()) < self.settings.enrol_keep:
                self._foreign += 1
                return
        self._samples.append((target.embedding, target.bucket))

    def _locked(self, people: Dict[int, Person], looks, time_s: float) -> LockOutput:
        s, target = self.settings, people.get(self._track)
        if target is not None and not self._hidden(target):
            self._hidden_s = None
        else:
            self._doubt = s.verify_hits
            self._hidden_s = time_s if self._hidden_s is None else self._hidden_s
        # In front of somebody one frame and behind the next: the two have exchanged their tracks.
        flipped = self._hidden_s is not None and self._in_front
        self._in_front = target is not None and target.overlap >= s.contest and not target.behind
        if (
            target is None
            or flipped
            or (self._hidden_s is not None and time_s - self._hidden_s > s.hidden_s)
        ):
            if target is not None:
                self._rivals.update(target.rivals)
            self._bad = 0
            self._enter(OCCLUDED, time_s)
            return LockOutput(OCCLUDED, event="occluded")
        contested = target.overlap >= s.contest
        if contested:
            self._rivals.update(target.rivals)
            if any(rival not in self.bystanders for rival in target.rivals):
                self._doubt = s.verify_hits
        own = looks.get(self._track)
        heir = self._heir(looks, own, time_s)
        if heir is not None:
            self.bystanders.rename(heir, self._track)
            self._lock(people[heir], time_s)
            look = looks[heir]
            return LockOutput(
                LOCKED, heir, people[heir].box, look.similarity, look.margin, "handed_over"
            )
        if own is None:
            if self._hidden_s is not None and self._hits:  # somebody in front looks like it
                self._enter(OCCLUDED, time_s)
                return LockOutput(OCCLUDED, event="occluded")
            self._set_apart(target, people, looks, time_s)
            return LockOutput(LOCKED, target.track, target.box)
        rival_score = max(
            (look.score for track, look in looks.items() if track in self._rivals), default=-1.0
        )
        ahead = own.score - rival_score
        sure = own.similarity >= s.accept and own.margin >= s.margin
        alone = not (contested or self._doubt or self._rivals)
        linked = own.link >= (s.chain if alone else s.link)
        convincing = (sure or linked) and ahead > -s.margin and own.lead > -s.margin
        if convincing:
            self._uneasy_s = None
            self._trust(target, own, ahead >= s.margin, time_s)
            self._set_apart(target, people, looks, time_s)
            return self._said(target, own)
        # Between keep and accept the target looks unusual, which is no fault for a while, as long
        # as it looks more like itself than like anybody else known here.
        if self._uneasy_s is None:
            self._uneasy_s = time_s
        unusual = own.score >= s.keep and own.lead >= s.margin and ahead > -s.margin
        if unusual and time_s - self._uneasy_s <= s.uneasy_s:
            return self._said(target, own)
        self._doubt, self._bad = s.verify_hits, 1
        self._enter(OCCLUDED, time_s)
        return LockOutput(OCCLUDED, None, None, own.similarity, own.margin, "occluded")

    def _away(self, people: Dict[int, Person], looks, time_s: float) -> LockOutput:
        """Occluded, searching or lost."""
        s = self.settings
        best = self._best_candidate(people, looks, time_s)
        if best is not None:
            own_track = best == self._track and self.state == OCCLUDED
            needed = s.verify_hits if own_track else s.relock_hits
            needed *= 2 if self.state == LOST else 1
            hits = self._hits.setdefault(best, _Hits())
            hits.count = hits.count + 1 if time_s - hits.last_s <= s.hit_gap_s else 1
            hits.last_s = time_s
            if hits.count >= needed:
                self.bystanders.forget(best)
                self._lock(people[best], time_s)
                return self._said(people[best], looks[best], "reacquired")
        for track in looks:
            if track != best:
                self._hits.pop(track, None)
        seen = looks[best] if best is not None else None
        gone_s = time_s - self._since_s
        event, said = None, None
        if self.state == OCCLUDED and self._track in looks and self._track != best:
            self._bad += 1
        if self.state == OCCLUDED and self._bad >= s.reject_hits:
            seen, event, said = looks.get(self._track), SEARCHING, "rejected"  # type: ignore[arg-type]
            self._track = None
            for known in self._known.values():
                known.beside = False  # beside whom, if this was not the target?
        elif self.state == OCCLUDED and gone_s > s.occluded_s:
            event = SEARCHING
        elif self.state == SEARCHING and gone_s > s.lost_s:
            event = LOST
        if event is not None:
            self._enter(event, time_s)
        if seen is None:
            return LockOutput(self.state, event=said or event)
        return LockOutput(self.state, None, None, seen.similarity, seen.margin, said or event)

    # -- looking ---------------------------------------------------------------------------------

    def _urgency(
        self, person: Person, known: _Known, waited_s: float, time_s: float
    ) -> Optional[int]:
        """0 for what cannot wait, None for what need not be looked at."""
        s = self.settings
        if person.track == self._track:
            watched = person.overlap > 0 or known.similarity < s.strict + s.margin
            parted = self._rivals and person.overlap < s.contest
            if self.state == LOCKED and not (self._doubt or parted or self._uneasy_s is not None):
                return 0 if waited_s >= (s.watch_s if watched else s.verify_s) else None
            return 0
        if self.state == ENROLLING:
            return None
        if self.state == LOCKED:
            if self._uneasy_s is not None or (self._doubt and person.track in self._rivals):
                return 1
            if person.track in self.bystanders and known.similarity < s.keep:
                return 3 if waited_s >= s.bystander_s else None
            return 2 if waited_s >= 2 * s.verify_s else None  # new, or similar to the target
        if known.beside and time_s - known.seen_s <= s.apart_s and not self._crossed(person.track):
            return None
        if self._hits.get(person.track, _Hits()).count > 0:
            return 0
        if known.similarity < s.keep and not self._crossed(person.track):
            return 2 if waited_s >= 2 * s.verify_s else None
        return 1 if waited_s >= s.verify_s / 2 else None

    def _look(self, people: Sequence[Person], time_s: float) -> Dict[int, Look]:
        """Compare the embedded crops with what is known."""
        s = self.settings
        shown = [p for p in people if p.embedding is not None and self._shows(p)]
        for person in shown:
            self.scene.add(person.track, person.embedding)
        looks = {}
        if shown and len(self.memory):
            stacked = np.stack([p.embedding for p in shown])
            similarity = self.memory.similarity(stacked, self.scene)
            known = self.bystanders.similarity(stacked, self.scene)
            link = self._recent.similarity(stacked, self.scene, time_s - s.link_s)
            looks = {
                p.track: Look(float(similarity[i]), float(known[i]), float(link[i]))
                for i, p in enumerate(shown)
            }
        for person in people:
            track = self._known.setdefault(person.track, _Known(time_s))
            if time_s - track.seen_s > s.apart_s:
                track.beside = False
            track.seen_s = time_s
        for person in shown:
            self._known[person.track].looked_s = time_s
        for number, look in looks.items():
            self._known[number].similarity = look.similarity
        if len(self._known) > 4 * len(people) + 64:
            oldest_s = time_s - _FORGET_S
            self._known = {t: k for t, k in self._known.items() if k.seen_s >= oldest_s}
        return looks

    def _shows(self, person: Person) -> bool:
        """Whether the crop is good enough to decide anything."""
        return person.quality >= self.settings.quality and not self._hidden(person)

    def _hidden(self, person: Person) -> bool:
        s = self.settings
        little = person.overlap >= s.hidden or person.quality < s.quality
        return person.behind and little

    def _clear(self, person: Person) -> bool:
        """Whether the crop is good enough to be learned: whole, and not of two people."""
        s = self.settings
        covered = person.behind and person.overlap >= s.contest
        return person.quality >= s.learn_quality and not covered

    def _crossed(self, track: int) -> bool:
        return track in self._rivals or track == self._track

    # -- judgement -------------------------------------------------------------------------------

    def _best_candidate(self, people, looks: Dict[int, Look], time_s: float) -> Optional[int]:
        """The one track of this frame that is the target beyond doubt, or None."""
        s = self.settings
        ranked = sorted(
            (t for t in looks if self._crossed(t) or not self._known[t].beside),
            key=lambda t: looks[t].score,
            reverse=True,
        )
        if not ranked:
            return None
        best = ranked[0]
        look = looks[best]
        limit = s.strict
        if self._place is not None and time_s - self._place.time_s <= s.near_s:
            if not self._place_known or self._place.reaches(people[best].box, time_s):
                limit = s.accept
            # The own track, back after a moment, has its place in its favour.
            if best == self._track and self.state == OCCLUDED:
                limit = s.keep
        second = looks[ranked[1]].score if len(ranked) > 1 else -1.0
        alike = look.similarity >= limit or (limit < s.strict and look.link >= s.link)
        clear = alike and look.margin >= s.margin and look.score - second >= s.margin
        return best if clear else None

    def _heir(self, looks: Dict[int, Look], own: Optional[Look], time_s: float) -> Optional[int]:
        """The track that has taken over the target, or None.

        Somebody who crossed the target needs ``verify_hits`` better looks, others ``relock_hits``.
        """
        s = self.settings
        candidates = [
            t
            for t in looks
            if t != self._track and (t in self._rivals or not self._known[t].beside)
        ]
        if not candidates or (own is None and self._hidden_s is None):
            return None
        if own is not None and own.link >= s.link and not self._doubt:
            return None
        best = max(candidates, key=lambda t: looks[t].score)
        look = looks[best]
        alike = look.similarity >= s.accept or (best in self._rivals and look.link >= s.link)
        better = alike and look.margin >= s.margin
        if own is None:  # hidden: only who is at its place
            better = better and best in self._rivals
        else:
            better = better and look.score - own.score >= s.margin
        if not better:
            self._hits.clear()
            return None
        count = self._hits.get(best, _Hits()).count + 1
        self._hits = {best: _Hits(count, time_s)}
        needed = s.verify_hits if best in self._rivals else s.relock_hits
        return best if count >= needed else None

    def _trust(self, target: Person, own: Look, apart: bool, time_s: float) -> None:
        """Take in a look of the target that convinced."""
        s = self.settings
        contested = target.overlap >= s.contest
        self._trusted_s = time_s
        if self._clear(target):
            self._recent.add(target.embedding, time_s)
        if self._doubt and (apart or not contested):
            self._doubt -= 1
        if self._doubt:
            return
        if not contested:
            self._rivals.clear()
        certain = own.similarity >= s.accept or own.link >= s.link
        if certain and self._clear(target) and time_s - self._learned_s >= s.learn_s:
            self.memory.learn(target.embedding, target.bucket)
            self._learned_s = time_s

    def _set_apart(self, target: Person, people: Dict[int, Person], looks, time_s: float) -> None:
        """While the target is certain, everybody seen beside it is somebody else."""
        s = self.settings
        if self._doubt or self._uneasy_s is not None or time_s - self._trusted_s > 2 * s.verify_s:
            return
        for track, person in people.items():
            if track == target.track or (target.overlap >= s.contest and track in target.rivals):
                continue
            self._known[track].beside = True
            if track in looks and self._clear(person):
                self.bystanders.add(track, person.embedding)

    def _break(self, time_s: float) -> None:
        """Tracks and places from before mean nothing now; what the target looks like still does."""
        self._known.clear()
        self.bystanders.detach()
        self._track, self._place_known = None, False
        self._rivals.clear()
        self._hits.clear()
        if self.state == LOCKED:
            self._enter(OCCLUDED, time_s)

    # -- transitions -----------------------------------------------------------------------------

    def _lock(self, target: Person, time_s: float) -> None:
        self._track, self._bad, self._doubt, self._uneasy_s = target.track, 0, 0, None
        self._known[target.track].beside = False
        self._hidden_s, self._in_front, self._trusted_s = None, False, time_s
        self._place, self._place_known = Place.of(target.box, time_s), True
        self._hits.clear()
        self._rivals.clear()
        self._enter(LOCKED, time_s)

    def _enter(self, state: str, time_s: float) -> None:
        self.state, self._since_s = state, time_s
        if state in (LOCKED, OCCLUDED):
            self._hits.clear()
        if state != OCCLUDED:
            self._bad = 0

    def _said(self, target: Person, look: Look, event: Optional[str] = None) -> LockOutput:
        return LockOutput(LOCKED, target.track, target.box, look.similarity, look.margin, event)

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
