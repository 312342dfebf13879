"""One frame in, one record out: detect, track, embed, lock. No threads and no files here."""

from __future__ import annotations

from typing import Callable, Dict, List, Optional, Sequence, cast

import numpy as np

from runtime.bundle import Bundle
from runtime.camera_motion import CameraMotion
from runtime.crop_quality import cut
from runtime.detection import Detections
from runtime.embed_schedule import EmbedSchedule
from runtime.embedder import Embedder
from runtime.errors import ReidEdgeError
from runtime.frame_record import STAGES, FrameRecord, Seen
from runtime.lock import TargetLock
from runtime.lock_types import LockSettings, Person
from runtime.memory import SceneMean
from runtime.observation import Observation, Observer, timed
from runtime.people import boxes_of, guess, tracked
from runtime.preprocess import l2_normalize
from runtime.target_choice import at_box, at_point, in_front
from runtime.tracker import Track, Tracker
from runtime.view import Bucket, Views

Embed = Callable[[Sequence[np.ndarray]], np.ndarray]
EmbedRows = Callable[[List[int]], np.ndarray]


class Perception:
    """The chain from a frame to the target.

    perception = Perception(detector.detect, embedder.embed)
    record = perception.step(frame, time_s)
    perception.choose_box((x0, y0, x1, y1))      # somebody on the last frame
    record = perception.step(frame, time_s)

    A step first turns pixels into numbers (``observe``) and then decides on these alone (``decide``),
    so a recorded run can be decided again without its pictures.

    Embeddings are computed before tracking, so that the tracker can use them; whose crop is which
    track is until then a guess from the boxes of the frame before, which decides only whom to embed.

    Args:
        detect: (H, W, 3) uint8 BGR to Detections; None if each ``step`` is given its detections.
        embed: N crops to (N, D) L2-normalised float32; None tracks without appearance, and then
            nobody can be locked.
        tracker, lock, schedule, views, motion: Parts with settings of their own.
    """

    def __init__(
        self,
        detect: Optional[Callable[[np.ndarray], Detections]] = None,
        embed: Optional[Embed] = None,
        tracker: Optional[Tracker] = None,
        lock: Optional[TargetLock] = None,
        schedule: Optional[EmbedSchedule] = None,
        views: Optional[Views] = None,
        motion: Optional[CameraMotion] = None,
    ):
        self.observer = Observer(detect, motion)
        self.embed = embed
        self.tracker = tracker or Tracker()
        self.lock = lock or TargetLock()
        self.schedule = schedule or EmbedSchedule()
        self.views = views or Views()
        self.last: Optional[FrameRecord] = None
        self._tracks: List[Track] = []
        self._index = 0
        self._took_ms: Dict[str, float] = dict.fromkeys(STAGES, 0.0)

    @classmethod
    def with_bundle(
        cls,
        bundle: Bundle,
        detect: Optional[Callable[[np.ndarray], Detections]] = None,
        embed: Optional[Embed] = None,
        settings: Optional[LockSettings] = None,
        tracker: Optional[Tracker] = None,
    ) -> Perception:
        """The chain with the ReID network of a bundle.

        Args:
            bundle: Gives the network, and what people in general look like to it.
            detect: As above.
            embed: Instead of the bundle's network on the backend that suits this machine.
            settings: Of the lock.
            tracker: With settings of its own.

        Raises:
            ReidEdgeError: The bundle cannot be run here, or brings no golden embeddings.
        """
        lock = TargetLock(settings or LockSettings(), scene=SceneMean(strangers(bundle)))
        return cls(detect, embed or Embedder(bundle).embed, tracker, lock)

    # -- choosing the target ---------------------------------------------------------------------

    def choose_box(self, box: Sequence[float]) -> int:
        """Enrol the person of the last frame whose box overlaps ``box`` most; returns the track.

        Raises:
            ReidEdgeError: No frame or no ReID network yet, the box lies outside the frame or on
                nobody.
        """
        return self._enrol(at_box(self.last, box))

    def choose_point(self, x: float, y: float) -> int:
        """Enrol the person of the last frame at a pixel; returns the track.

        Raises:
            ReidEdgeError: No frame or no ReID network yet, or nobody there.
        """
        return self._enrol(at_point(self.last, x, y))

    def choose_front(self) -> int:
        """Enrol whoever stands in front of the camera: tall, and near the middle of the frame.

        Raises:
            ReidEdgeError: No frame, no ReID network, or nobody seen yet.
        """
        return self._enrol(in_front(self.last))

    def choose_gallery(self, photos: Sequence[np.ndarray]) -> None:
        """Search for the person of these photos, each (H, W, 3) uint8 BGR, cut to the person.

        Raises:
            ReidEdgeError: No ReID network, or no photos.
        """
        if not len(photos):
            raise ReidEdgeError("A gallery needs at least one photo of the person, got none.")
        self.lock.enrol_gallery(self._network()(photos))

    # -- one frame -------------------------------------------------------------------------------

    def step(
        self, frame: np.ndarray, time_s: float, detections: Optional[Detections] = None
    ) -> FrameRecord:
        """Process one frame.

        Args:
            frame: (H, W, 3) uint8 BGR. A change of size is taken for another camera view: the
                background's motion is unknown then.
            time_s: Monotonic time at which it was captured.
            detections: Of this frame; by default ``detect`` is asked.

        Raises:
            ReidEdgeError: No detections and no detector, or time ran backwards.
        """
        observation = self.observe(frame, time_s, detections)
        return self.decide(observation, self.embed_rows(frame, observation))

    def observe(
        self, frame: np.ndarray, time_s: float, detections: Optional[Detections] = None
    ) -> Observation:
        """The first half of a step; arguments and errors as there."""
        self._took_ms = dict.fromkeys(STAGES, 0.0)
        before = np.array([t.box for t in self._tracks]).reshape(-1, 4)
        return self.observer.look(frame, time_s, detections, before, self._took_ms)

    def embed_rows(self, frame: np.ndarray, seen: Observation) -> Optional[EmbedRows]:
        """What embeds detections of this frame by their rows; None without a ReID network."""
        if self.embed is None:
            return None
        network, boxes = self.embed, seen.detections.boxes
        return lambda rows: network(cut(frame, boxes[rows]))

    def decide(self, seen: Observation, embed: Optional[EmbedRows]) -> FrameRecord:
        """The second half of a step: a pure function of what was observed so far.

        Args:
            seen: One frame as numbers.
            embed: Rows of the detections to their (len(rows), D) L2-normalised float32 embeddings;
                None for no ReID network.

        Raises:
            ReidEdgeError: Time ran backwards, or an embedding is not finite.
        """
        took_ms, self._took_ms = self._took_ms, dict.fromkeys(STAGES, 0.0)
        rows, found, embeddings = self._embed(seen, embed, took_ms)
        with timed(took_ms, "track"):
            self._tracks = self.tracker.update(
                seen.detections, embeddings, seen.motion, seen.time_s, seen.frame_size
            )
        with timed(took_ms, "lock"):
            tracks = [t for t in self._tracks if t.detection is not None]
            people = self._people(tracks, seen, embeddings)
            decision = self.lock.update(people, seen.time_s, seen.motion, seen.cut)
        self.last = FrameRecord(
            self._index,
            seen.time_s,
            seen.frame_size,
            [_seen(track, person) for track, person in zip(tracks, people)],
            decision,
            [float(v) for v in np.ravel(seen.motion)],
            took_ms,
            seen,
            tuple(rows),
            found,
        )
        self._index += 1
        return self.last

    def _embed(self, seen: Observation, embed: Optional[EmbedRows], took_ms: Dict[str, float]):
        """Rows embedded, their embeddings, and (N, D) of all detections with NaN elsewhere."""
        if embed is None or not len(seen.detections):
            return (), None, None
        with timed(took_ms, "lock"):
            people, returning = guess(seen, self._tracks, self.tracker.settings.high_score)
            wanted = self.lock.wanted(people, seen.time_s)
            rows = self.schedule.choose(people, wanted, seen.time_s, returning)
        if not rows:
            return (), None, None
        with timed(took_ms, "embed"):
            found = embed(rows)
        if not np.isfinite(found).all():
            raise ReidEdgeError(
                "The ReID network gave embeddings that are not finite; export its bundle again."
            )
        embeddings = np.full((len(seen.detections), found.shape[1]), np.nan, np.float32)
        embeddings[rows] = found
        return rows, found, embeddings

    def _people(
        self, tracks: Sequence[Track], seen: Observation, embeddings: Optional[np.ndarray]
    ) -> List[Person]:
        boxes = boxes_of(tracks, seen.detections, seen.frame_size)
        buckets = self.views.update(
            [t.id for t in tracks], boxes, seen.motion, seen.frame_size, seen.time_s
        )
        people = tracked(seen, tracks, boxes, buckets, embeddings)
        for person in people:
            if person.embedding is not None:
                self.schedule.embedded(person.track, person.quality, seen.time_s)
        return people

    # -- parts -----------------------------------------------------------------------------------

    def _enrol(self, track: int) -> int:
        self._network()
        self.lock.enrol(track)
        return track

    def _network(self) -> Embed:
        if self.embed is None:
            raise ReidEdgeError("A target can only be locked with a ReID network; give a bundle.")
        return self.embed


def strangers(bundle: Bundle) -> np.ndarray:
    """(K, D) L2-normalised embeddings of people who are nobody here: the bundle's golden ones.

    Raises:
        ReidEdgeError: The bundle has none.
    """
    if not bundle.has("golden"):
        raise ReidEdgeError(
            "Bundle %s has no golden embeddings, which the lock needs to know what people have in "
            "common; export it again." % bundle.path
        )
    with np.load(str(bundle.find("golden"))) as golden:
        return l2_normalize(golden["embedding_" + bundle.manifest.precision])


def _seen(track: Track, person: Person) -> Seen:
    view, distance = cast(Bucket, person.bucket)
    return Seen(
        person.track,
        person.box,
        float(track.score),
        track.state,
        person.quality,
        person.overlap,
        view,
        distance,
        person.embedding is not None,
    )
