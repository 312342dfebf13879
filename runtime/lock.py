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
from typing import Dict, Hashable, List, Optional, Sequence, Set

import numpy as np

from runtime.acquaintance import NEVER_S, Acquaintance, Acquaintances
from runtime.cover import Cover
from runtime.enrolment import Enrolment
from runtime.errors import ReidEdgeError
from runtime.lock_guards import clear, look_of, shows
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


@dataclass
class _Hits:
    """Consecutive good checks of one track."""

    count: int = 0
    last_s: float = NEVER_S


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
        self._fresh = True  # nobody was judged since the target was chosen
        self._enrolment: Optional[Enrolment] = None
        self._known = Acquaintances()
        self._hits: Dict[int, _Hits] = {}
        self._recent = RecentLooks()
        self._place: Optional[Place] = None
        self._place_known = False  # no more after a cut
        self._left = False  # through the edge of the picture, where anybody may come in again
        self._bad = 0
        self._cover = Cover()
        self._uneasy_s: Optional[float] = None  # since when checks of the own track do not convince
        self._doubt = 0  # good checks that are still needed before the track is believed
        self._rivals: Set[int] = set()
        self._learned_s = self._trusted_s = self._proven_s = NEVER_S

    # -- choosing --------------------------------------------------------------------------------

    def enrol(self, track: int) -> None:
        """Start to learn the person of this track; what was known of another target is dropped."""
        self.release()
        self.state, self._track = ENROLLING, track

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
        self.state = SEARCHING

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
            if self.state == IDLE or not shows(person, self.settings):
                continue
            known = self._known.get(person.track, time_s)
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
        if self._fresh:
            self._fresh, self._since_s = False, time_s
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
            return self._enrolling(self._of_target(by_track), time_s)
        if self.state == LOCKED:
            output = self._locked(by_track, looks, time_s)
            if output.box is not None:
                self._place, self._place_known = Place.of(output.box, time_s), True
                self._left = any(p.at_edge for p in people if p.track == output.track)
            return output
        return self._away(by_track, looks, time_s)

    # -- states ----------------------------------------------------------------------------------

    def _enrolling(self, target: Optional[Person], time_s: float) -> LockOutput:
        if self._enrolment is None:
            self._enrolment = Enrolment(time_s)
        if self._enrolment.failed(time_s, self.settings):
            self.release()
            return LockOutput(IDLE, event="enrolment_failed")
        if target is None:
            return LockOutput(ENROLLING)
        if not self._enrolment.take(target, self.scene, time_s, self.settings):
            return LockOutput(ENROLLING, target.track, target.box)
        for embedding, bucket in self._enrolment.samples:
            self.memory.enrol(embedding, bucket)
            self._recent.add(embedding, time_s)
        self._enrolment = None
        self._lock(target, time_s)
        return LockOutput(LOCKED, target.track, target.box, event="enrolled")

    def _locked(self, people: Dict[int, Person], looks, time_s: float) -> LockOutput:
        s, target = self.settings, self._of_target(people)
        own = None if self._track is None else looks.get(self._track)
        vanished = self._cover.lost(target, own, time_s, s)
        if target is None or self._cover.hidden:
            self._doubt = s.verify_hits
        if target is None or vanished:
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
        heir = self._heir(looks, own, time_s)
        if heir is not None:
            self.bystanders.rename(heir, target.track)
            self._lock(people[heir], time_s)
            look = looks[heir]
            return LockOutput(
                LOCKED, heir, people[heir].box, look.similarity, look.margin, "handed_over"
            )
        if own is None:
            if self._cover.hidden and self._hits:  # somebody in front looks like it
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
            self._known.doubt()
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
        self, person: Person, known: Acquaintance, waited_s: float, time_s: float
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
        shown = [p for p in people if p.embedding is not None and shows(p, s)]
        for person in shown:
            self.scene.add(person.track, look_of(person))
        looks = {}
        if shown and len(self.memory):
            stacked = np.stack([look_of(p) for p in shown])
            similarity = self.memory.similarity(stacked, self.scene)
            strange = self.bystanders.similarity(stacked, self.scene)
            link = self._recent.similarity(stacked, self.scene, time_s - s.link_s)
            enrolled = self.memory.enrolled_similarity(stacked, self.scene)
            found = np.stack([similarity, strange, link, enrolled], axis=1).tolist()
            looks = {p.track: Look(*row) for p, row in zip(shown, found)}
        self._known.see(people, time_s, s.apart_s)
        for person in shown:
            known = self._known[person.track]
            known.looked_s = time_s
            if person.track in looks:
                known.looked(person.quality, looks[person.track].similarity)
        return looks

    def _of_target(self, people: Dict[int, Person]) -> Optional[Person]:
        return None if self._track is None else people.get(self._track)

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
            there = self._place.reaches(people[best].box, time_s) and not self._left
            if not self._place_known or there:
                limit = s.accept
            # The own track, back after a moment, has its place in its favour.
            if best == self._track and self.state == OCCLUDED and not self._rivals:
                limit = s.keep
        second = looks[ranked[1]].score if len(ranked) > 1 else -1.0
        # Who is looked at often looks like the target once: all looks must agree.
        alike = min(look.similarity, self._known[best].usual) >= limit
        alike = alike or (limit < s.strict and look.link >= s.link)
        alone = look.margin >= s.margin and look.score - second >= s.margin
        return best if alike and alone else None

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
        if not candidates or (own is None and not self._cover.hidden):
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
        if own.enrolled >= s.strict and not contested:
            self._proven_s = time_s
        if clear(target, s):
            self._recent.add(look_of(target), time_s)
        if self._doubt and (apart or not contested):
            self._doubt -= 1
        if self._doubt:
            return
        if not contested:
            self._rivals.clear()
        certain = own.similarity >= s.accept or own.link >= s.link
        if certain and clear(target, s) and time_s - self._learned_s >= s.learn_s:
            self.memory.learn(look_of(target), target.bucket)
            self._learned_s = time_s

    def _set_apart(self, target: Person, people: Dict[int, Person], looks, time_s: float) -> None:
        """While the target is certain, everybody seen beside it is somebody else."""
        s = self.settings
        if self._doubt or self._uneasy_s is not None or time_s - self._trusted_s > 2 * s.verify_s:
            return
        for track, person in people.items():
            if track == target.track or (target.overlap >= s.contest and track in target.rivals):
                continue
            known = self._known[track]
            known.beside = True
            known.proven |= time_s == self._proven_s  # on this very frame, or the track may differ
            if track in looks and clear(person, s):
                self.bystanders.add(track, look_of(person))

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
        known = self._known[target.track]
        known.beside = known.proven = False
        self._trusted_s = time_s
        self._cover.start(target)
        self._place, self._place_known = Place.of(target.box, time_s), True
        self._left = target.at_edge
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
