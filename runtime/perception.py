"""One frame in, one record out: detect, track, embed, lock. No threads and no files here."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from runtime.bundle import Bundle
from runtime.camera_motion import CameraMotion
from runtime.crop_quality import Crops, assess, cut
from runtime.detection import Detections, iou
from runtime.embed_schedule import EmbedSchedule
from runtime.embedder import Embedder
from runtime.errors import ReidEdgeError
from runtime.lock import TargetLock
from runtime.lock_types import LockOutput, LockSettings, Person
from runtime.memory import SceneMean
from runtime.preprocess import l2_normalize
from runtime.scene_cut import SceneCut
from runtime.tracker import Track, Tracker
from runtime.view import Views

STAGES = ("detect", "motion", "quality", "embed", "track", "lock")
_CERTAIN = 0.4  # score from which a box may be what covers somebody
_LAG = 0.7  # IoU with the detection below which a smoothed box is behind its person
_SAME_BOX = 0.3  # IoU from which a box is taken for the same person as on the frame before


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
    box: Tuple[float, float, float, float]
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
    """

    index: int
    time_s: float
    frame_size: Tuple[int, int]
    people: List[Seen]
    lock: LockOutput
    motion: List[float]
    took_ms: Dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> Dict[str, Any]:
        """For JSON: numbers, strings, lists and dictionaries only."""
        return {
            "index": self.index,
            "time_s": round(self.time_s, 4),
            "frame_size": list(self.frame_size),
            "people": [
                {**p._asdict(), "box": _rounded(p.box), "score": round(p.score, 3)}
                for p in (
                    q._replace(quality=round(q.quality, 3), overlap=round(q.overlap, 3))
                    for q in self.people
                )
            ],
            "lock": {**self.lock._asdict(), "box": _rounded(self.lock.box)},
            "motion": [round(v, 5) for v in self.motion],
            "took_ms": {stage: round(ms, 3) for stage, ms in self.took_ms.items()},
        }


class Perception:
    """The chain from a frame to the target.

    perception = Perception(detector.detect, embedder.embed)
    record = perception.step(frame, time_s)
    perception.choose_box((x0, y0, x1, y1))      # somebody on the last frame
    record = perception.step(frame, time_s)

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
        embed: Optional[Callable[[Sequence[np.ndarray]], np.ndarray]] = None,
        tracker: Optional[Tracker] = None,
        lock: Optional[TargetLock] = None,
        schedule: Optional[EmbedSchedule] = None,
        views: Optional[Views] = None,
        motion: Optional[CameraMotion] = None,
    ):
        self.detect, self.embed = detect, embed
        self.tracker = tracker or Tracker()
        self.lock = lock or TargetLock()
        self.schedule = schedule or EmbedSchedule()
        self.views = views or Views()
        self.motion = motion or CameraMotion()
        self.scene_cut = SceneCut()
        self.last: Optional[FrameRecord] = None
        self._tracks: List[Track] = []
        self._index = 0
        self._took_ms: Dict[str, float] = {}

    @classmethod
    def with_bundle(
        cls,
        bundle: Bundle,
        detect: Optional[Callable[[np.ndarray], Detections]] = None,
        embed: Optional[Callable[[Sequence[np.ndarray]], np.ndarray]] = None,
        settings: Optional[LockSettings] = None,
    ) -> Perception:
        """The chain with the ReID network of a bundle.

        Args:
            bundle: Gives the network, and what people in general look like to it.
            detect: As above.
            embed: Instead of the bundle's network on the backend that suits this machine.
            settings: Of the lock.

        Raises:
            ReidEdgeError: The bundle cannot be run here, or brings no golden embeddings.
        """
        lock = TargetLock(settings or LockSettings(), scene=SceneMean(strangers(bundle)))
        return cls(detect, embed or Embedder(bundle).embed, lock=lock)

    # -- choosing the target ---------------------------------------------------------------------

    def choose_box(self, box: Sequence[float]) -> int:
        """Enrol the person of the last frame whose box overlaps ``box`` most; returns the track.

        Raises:
            ReidEdgeError: No frame or no ReID network yet, the box lies outside the frame or on
                nobody.
        """
        people, (height, width) = self._choice()
        left, top, right, bottom = (float(v) for v in box)
        if not (left < right and top < bottom and left < width and top < height) or (
            right <= 0 or bottom <= 0
        ):
            raise ReidEdgeError(
                "The box of the target must lie in the frame of %d x %d pixels as left, top, right, "
                "bottom, got %s." % (width, height, [left, top, right, bottom])
            )
        overlaps = iou(np.array([[left, top, right, bottom]]), np.array([p.box for p in people]))[0]
        best = int(overlaps.argmax())
        if overlaps[best] < _SAME_BOX:
            raise ReidEdgeError(
                "Nobody is seen at %s; people are at %s."
                % ([left, top, right, bottom], [_rounded(p.box) for p in people])
            )
        self.lock.enrol(people[best].track)
        return people[best].track

    def choose_front(self) -> int:
        """Enrol whoever stands in front of the camera: tall, and near the middle of the frame.

        Raises:
            ReidEdgeError: No frame, no ReID network, or nobody seen yet.
        """
        people, (_, width) = self._choice()

        def in_front(person: Seen) -> float:
            left, top, right, bottom = person.box
            aside = abs((left + right) / 2 - width / 2) / (width / 2)
            return (bottom - top) * max(1 - aside, 0) * person.quality

        best = max(people, key=in_front)
        self.lock.enrol(best.track)
        return best.track

    def choose_gallery(self, photos: Sequence[np.ndarray]) -> None:
        """Search for the person of these photos, each (H, W, 3) uint8 BGR, cut to the person.

        Raises:
            ReidEdgeError: No ReID network, or no photos.
        """
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
        self._took_ms = dict.fromkeys(STAGES, 0.0)
        if detections is None:
            if self.detect is None:
                raise ReidEdgeError("Give a detector to Perception or detections to each step.")
            with self._timed("detect"):
                detections = self.detect(frame)
        with self._timed("motion"):
            before = np.array([t.box for t in self._tracks]).reshape(-1, 4)
            motion = self.motion.update(frame, before)
            cut = self.scene_cut.update(frame, motion, np.vstack([before, detections.boxes]))
        with self._timed("quality"):
            crops = assess(frame, detections.boxes, detections.scores >= _CERTAIN)
        embeddings = self._embed(frame, detections, crops, motion, time_s)
        with self._timed("track"):
            self._tracks = self.tracker.update(
                detections, embeddings, motion, time_s, frame.shape[:2]
            )
        with self._timed("lock"):
            seen = [t for t in self._tracks if t.detection is not None]
            people = self._people(
                seen, detections, crops, embeddings, motion, frame.shape[:2], time_s
            )
            decision = self.lock.update(people, time_s, motion, cut)
        self.last = FrameRecord(
            self._index,
            time_s,
            (frame.shape[0], frame.shape[1]),
            [_seen(track, person) for track, person in zip(seen, people)],
            decision,
            [float(v) for v in np.ravel(motion)],
            self._took_ms,
        )
        self._index += 1
        return self.last

    def _embed(self, frame, detections, crops: Crops, motion, time_s) -> Optional[np.ndarray]:
        """(N, D) embeddings of the detections, NaN where none was wanted."""
        if self.embed is None or not len(detections):
            return None
        with self._timed("lock"):
            people, returning = self._guess(detections, crops, motion)
            rows = self.schedule.choose(people, self.lock.wanted(people, time_s), time_s, returning)
        if not rows:
            return None
        with self._timed("embed"):
            found = self.embed(cut(frame, detections.boxes[rows]))
        embeddings = np.full((len(detections), found.shape[1]), np.nan, np.float32)
        embeddings[rows] = found
        return embeddings

    def _guess(self, detections, crops: Crops, motion) -> Tuple[List[Person], List[int]]:
        """The detections as people with the track they probably continue, else a number below 0.

        Also those numbers, if a lost track might be among them.
        """
        tracks = [t for t in self._tracks if t.state != "lost"]
        names = [-1 - row for row in range(len(detections))]
        if tracks:
            boxes = np.array([t.box for t in tracks], np.float64)
            centres = (boxes[:, :2] + boxes[:, 2:]) / 2
            shift = centres @ motion[:, :2].T + motion[:, 2] - centres
            overlaps = iou(detections.boxes.astype(np.float64), boxes + np.tile(shift, 2))
            for row, column in enumerate(overlaps.argmax(axis=1)):
                if (
                    overlaps[row, column] >= _SAME_BOX
                    and overlaps[:, column].argmax() == row  # each track once
                ):
                    names[row] = tracks[column].id
        lost = len(tracks) < len(self._tracks)
        people = [
            Person(
                name,
                box,
                None,
                float(crops.quality[row]),
                float(crops.overlap[row]),
                tuple(names[rival] for rival in crops.rivals[row]),
                bool(crops.behind[row]),
            )
            for row, (name, box) in enumerate(zip(names, detections.boxes.tolist()))
        ]
        return people, [name for name in names if name < 0] if lost else []

    def _people(
        self, seen, detections, crops: Crops, embeddings, motion, size, time_s
    ) -> List[Person]:
        track_of = {t.detection: t.id for t in seen}
        boxes = _boxes(seen, detections, size)
        buckets = self.views.update([t.id for t in seen], boxes, motion, size, time_s)
        people = []
        for track, box, bucket in zip(seen, boxes.tolist(), buckets):
            row = track.detection
            embedding = None
            if embeddings is not None and np.isfinite(embeddings[row, 0]):
                embedding = embeddings[row]
                self.schedule.embedded(track.id, float(crops.quality[row]), time_s)
            people.append(
                Person(
                    track.id,
                    tuple(box),
                    embedding,
                    float(crops.quality[row]),
                    float(crops.overlap[row]),
                    tuple(track_of[rival] for rival in crops.rivals[row] if rival in track_of),
                    bool(crops.behind[row]),
                    bucket,
                )
            )
        return people

    # -- parts -----------------------------------------------------------------------------------

    def _choice(self) -> Tuple[List[Seen], Tuple[int, int]]:
        self._network()
        if self.last is None:
            raise ReidEdgeError("Nobody can be chosen before the first frame.")
        if not self.last.people:
            raise ReidEdgeError(
                "Nobody can be chosen: no person is seen on frame %d." % self.last.index
            )
        return self.last.people, self.last.frame_size

    def _network(self) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
        if self.embed is None:
            raise ReidEdgeError("A target can only be locked with a ReID network; give a bundle.")
        return self.embed

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._took_ms[stage] += 1e3 * (time.perf_counter() - started)


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


def _boxes(seen: Sequence[Track], detections: Detections, size: Tuple[int, int]) -> np.ndarray:
    """(N, 4) smoothed boxes of tracks, or what was detected where smoothing lags behind.

    Cut to the frame of ``size`` (height, width), because a detector extrapolates.
    """
    smooth = np.array([t.box for t in seen], np.float64).reshape(-1, 4)
    found = detections.boxes[[t.detection for t in seen]].astype(np.float64).reshape(-1, 4)
    limit = np.array([size[1], size[0]] * 2, np.float64)
    smooth, found = np.clip(smooth, 0, limit), np.clip(found, 0, limit)
    lags = np.array([iou(a[None], b[None])[0, 0] < _LAG for a, b in zip(smooth, found)], bool)
    return np.where(lags[:, None], found, smooth)


def _seen(track: Track, person: Person) -> Seen:
    view, distance = person.bucket  # type: ignore[misc]
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


def _rounded(box) -> Optional[List[float]]:
    return None if box is None else [round(float(v), 2) for v in box]
