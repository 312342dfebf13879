"""Detections of successive frames to tracks: who is who from frame to frame.

Two-stage association by detector score (ByteTrack, Zhang et al. 2022) of boxes predicted by Kalman
filters in pixels that camera motion was taken out of (BoT-SORT, Aharon et al. 2022), with
appearance where embeddings are given. Two things differ from both. Whether a track is a person is
decided by accumulated evidence instead of a number of frames: log-odds of its scores, clamped as in
occupancy maps (OctoMap, Hornung et al. 2013), where a detection that overlaps a known person speaks
only for the part that this person does not explain. And boxes of people who cover each other count
as less precise, so that the velocity from before an occlusion carries over it.
"""

import math
from typing import List, Optional, Tuple

import numpy as np

from runtime import kalman
from runtime.association import (
    appearance_distance,
    assign,
    largest_with_others,
    linear_sum_assignment,
)
from runtime.detection import Detections, iou
from runtime.errors import ReidEdgeError
from runtime.track import CONFIRMED, LOST, TENTATIVE, Track, TrackTable
from runtime.tracker_settings import TrackerSettings

__all__ = ["Track", "Tracker", "TrackerSettings"]

_MIN_SIDE_PX = 1.0  # boxes thinner than a pixel are nobody
_CERTAIN = 1e-3  # scores of exactly 0 or 1 have no log-odds
_TIME_DIGITS = 1e-6  # sums of frame times are not exact


class Tracker:
    """Follows people over frames. No network, no image and no file is touched here.

    tracker = Tracker()
    tracks = tracker.update(detections, embeddings, motion, time_s, frame.shape[:2])
    people = [t for t in tracks if t.state == "confirmed"]

    The result does not depend on the order of the detections.

    Raises:
        ReidEdgeError: scipy is missing.
    """

    def __init__(self, settings: Optional[TrackerSettings] = None):
        linear_sum_assignment()  # what is missing is said before a robot drives, not at the first crossing
        self.settings = settings or TrackerSettings()
        self._table = TrackTable()
        self._time_s: Optional[float] = None
        self._frame = 0
        self._next_id = 1

    def update(
        self,
        detections: Detections,
        embeddings: Optional[np.ndarray],
        motion: Optional[np.ndarray],
        time_s: float,
        frame_size: Optional[Tuple[int, int]] = None,
    ) -> List[Track]:
        """Continue, start, lose and forget tracks by one frame.

        Args:
            detections: Of the frame. Those narrower or lower than a pixel are ignored.
            embeddings: (N, D) float32, L2-normalised, a NaN row for each detection without; None if
                no detection has one.
            motion: (2, 3) affine map of the background from the previous frame to this one, in
                pixels (runtime.camera_motion); None if the camera stood still.
            time_s: When the frame was taken; any clock that never runs backwards.
            frame_size: (height, width) in pixels. Without it the view has no edge.

        Returns:
            All tracks that are not forgotten, by ascending id.

        Raises:
            ReidEdgeError: A time before the last one; embeddings or motion of another shape, or not
                finite.
        """
        dt_s = self._step(time_s)
        motion = _checked_motion(motion)
        embeddings = self._checked_embeddings(embeddings, len(detections))
        table, settings = self._table, self.settings
        table.keep(time_s - table.seen_s <= settings.memory_s + dt_s)
        if motion is not None:
            kalman.move_camera(table.mean, table.cov, motion)
        kalman.predict(table.mean, table.cov, dt_s, settings.noise)
        boxes = _inside(detections.boxes.astype(np.float64), frame_size)
        scores = detections.scores.astype(np.float64)
        usable = scores >= settings.low_score
        usable &= (boxes[:, 2:] - boxes[:, :2] >= _MIN_SIDE_PX).all(axis=1)
        predicted = _inside(kalman.corners(table.mean), frame_size)
        overlap = iou(np.concatenate([predicted, boxes]), boxes)  # one call: it is the dearest
        free = self._associate(overlap[: len(table)], boxes, scores, usable, embeddings, time_s)
        known = table.detection[table.established & (table.detection >= 0)]
        overlaps = largest_with_others(overlap[len(table) :], known)
        self._continue(boxes, scores, overlaps, embeddings, time_s, dt_s, frame_size)
        table.keep(
            np.where(
                table.established,
                time_s - table.seen_s <= settings.memory_s + _TIME_DIGITS,
                table.evidence >= settings.reject_evidence,
            )
        )
        self._start(boxes, scores, overlaps, embeddings, time_s, free)
        return self._tracks(time_s, frame_size)

    # -- association -----------------------------------------------------------------------------

    def _associate(self, overlap, boxes, scores, usable, embeddings, time_s) -> np.ndarray:
        """Give each track its detection; (N,) bool, the usable detections that are left over."""
        table, s = self._table, self.settings
        table.detection = np.full(len(table), -1, np.intp)
        if not len(table) or not usable.any():
            return usable
        seen_before = table.seen_s >= self._previous_s - s.coast_s - _TIME_DIGITS
        lost = ~seen_before[:, None]
        allowed = overlap >= np.where(lost, s.min_iou_lost, s.min_iou)
        cost = 1 - overlap
        distance = appearance_distance(table.embedding, embeddings)
        if distance is not None and s.appearance_weight:
            known = ~np.isnan(distance)
            distance = np.where(known, distance, s.same_distance)
            cost += s.appearance_weight * (distance - s.same_distance)
            alike = known & lost & (distance <= s.same_distance)
            if alike.any():
                allowed |= alike & self._within_reach(boxes)
        if lost.any():
            allowed &= ~lost | self._of_like_height(boxes)
        high = scores >= s.high_score
        near = overlap >= s.min_iou_low
        recent = time_s - table.seen_s <= s.recent_s + _TIME_DIGITS
        candidate = ~table.established
        free = usable.copy()
        for tracks, pairs in (
            (table.established, allowed & high),
            (table.established & recent, near & ~high),
            (candidate, np.where(high, allowed, near)),
        ):
            open_ = tracks & (table.detection < 0)
            rows, columns = assign(cost, pairs & open_[:, None] & free)
            table.detection[rows] = columns
            free[columns] = False
        return free

    def _within_reach(self, boxes) -> np.ndarray:
        """(T, N) bool: detections that are not too far from where each track should be."""
        table, s = self._table, self.settings
        off = kalman.centre_size(boxes)[None, :, :2] - table.mean[:, 0, None, :2]
        measured = table.mean[:, 0, 3:] * s.noise.measured[0]
        variance = table.cov[:, 0, :2] + measured**2
        return np.all(off**2 <= s.reach**2 * variance[:, None], axis=2)

    def _of_like_height(self, boxes) -> np.ndarray:
        """(T, N) bool: detections about as high as each track should be."""
        ratio = (boxes[:, 3] - boxes[:, 1])[None] / self._table.mean[:, 0, 3:]
        limit = self.settings.max_height_ratio
        return (ratio <= limit) & (ratio >= 1 / limit)

    # -- the tracks' lives -----------------------------------------------------------------------

    def _continue(self, boxes, scores, overlaps, embeddings, time_s, dt_s, frame_size) -> None:
        table, s = self._table, self.settings
        rows = np.flatnonzero(table.detection >= 0)
        found = table.detection[rows]
        gained = self._evidence(scores[found], overlaps[found])
        gained *= 1 - np.exp((table.seen_s[rows] - time_s) / s.correlation_s)
        missed = (1 - math.exp(-dt_s / s.correlation_s)) * self._evidence(s.low_score, 0.0)
        table.evidence = np.where(
            table.established | (table.detection >= 0), table.evidence, table.evidence + missed
        )
        table.evidence[rows] = np.minimum(table.evidence[rows] + gained, s.confirm_evidence)
        table.established |= table.evidence >= s.confirm_evidence
        table.seen_s[rows] = time_s
        table.score[rows] = scores[found]
        deviation = kalman.measurement_deviation(
            table.mean[rows, 0, 3], scores[found], overlaps[found], s.noise
        )
        whole = self._completed(boxes[found], table.mean[rows, 0, 2:], frame_size)
        kalman.correct(table.mean, table.cov, rows, whole, deviation)
        if embeddings is not None:
            self._remember(rows, embeddings[found], scores[found])

    def _start(self, boxes, scores, overlaps, embeddings, time_s, free) -> None:
        s = self.settings
        size = boxes[:, 2:] - boxes[:, :2]
        new = np.flatnonzero(
            free & (scores >= s.new_score) & (size[:, 0] <= s.max_aspect * size[:, 1])
        )
        if not len(new):
            return
        # Ids by place, not by row: the detections' order means nothing.
        new = new[np.lexsort((*boxes[new].T, -scores[new]))]
        deviation = kalman.measurement_deviation(size[new, 1], scores[new], overlaps[new], s.noise)
        mean, cov = kalman.start(boxes[new], deviation, s.noise)
        evidence = np.minimum(self._evidence(scores[new], overlaps[new]), s.confirm_evidence)
        self._table.add(
            detection=new,
            embedding=None if embeddings is None else embeddings[new],
            mean=mean,
            cov=cov,
            id=self._next_id + np.arange(len(new)),
            evidence=evidence,
            established=evidence >= s.confirm_evidence,
            seen_s=np.full(len(new), time_s),
            born=np.full(len(new), self._frame),
            score=scores[new],
        )
        self._next_id += len(new)

    def _evidence(self, scores, overlaps):
        """Log-odds of scores against ``high_score``; what speaks for a person only as far as no
        other person's box explains it."""
        s = np.clip(scores, _CERTAIN, 1 - _CERTAIN)
        neutral = self.settings.high_score
        odds = np.log(s / (1 - s)) - math.log(neutral / (1 - neutral))
        return np.where(odds > 0, odds * (1 - overlaps), odds)

    def _completed(self, boxes, sizes, frame_size) -> np.ndarray:
        """Boxes with edges that the frame cuts off put where the predicted size says."""
        if frame_size is None:
            return boxes
        limit = np.array([frame_size[1], frame_size[0]], np.float64)
        first, last = boxes[:, :2], boxes[:, 2:]
        margin = self.settings.edge_px
        return np.concatenate(
            [
                np.where(first <= margin, np.minimum(first, last - sizes), first),
                np.where(last >= limit - margin, np.maximum(last, first + sizes), last),
            ],
            axis=1,
        )

    def _remember(self, rows, embeddings, scores) -> None:
        """Blend embeddings of good detections into the tracks' means."""
        table, share = self._table, self.settings.embedding_memory
        good = (scores >= self.settings.high_score) & np.isfinite(embeddings[:, 0])
        rows, new = rows[good], embeddings[good]
        assert table.embedding is not None  # made when the first embeddings were checked
        old = table.embedding[rows]
        mixed = np.where(np.isnan(old), new, share * old + (1 - share) * new)
        norm = np.linalg.norm(mixed, axis=1, keepdims=True)
        table.embedding[rows] = mixed / np.maximum(norm, np.finfo(np.float32).tiny)

    def _tracks(self, time_s, frame_size) -> List[Track]:
        table, s = self._table, self.settings
        whole = kalman.corners(table.mean)
        boxes = _inside(whole, frame_size)
        inside = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        visible = inside / np.prod(whole[:, 2:] - whole[:, :2], axis=1)
        boxes = np.where((inside > 0)[:, None], boxes, whole).astype(np.float32)
        unseen_s = time_s - table.seen_s
        lost = unseen_s > s.coast_s + _TIME_DIGITS
        sure = table.established & (table.evidence >= 0) & (visible >= s.min_visible)
        states = np.where(sure, CONFIRMED, TENTATIVE)
        states[lost & table.established] = LOST
        if table.embedding is None:
            embeddings = [None] * len(table)
        else:
            has = np.isfinite(table.embedding[:, 0]).tolist()
            embeddings = [row if h else None for row, h in zip(table.embedding.copy(), has)]
        rows = zip(
            table.id.tolist(),
            boxes,
            table.score.tolist(),
            states.tolist(),
            (self._frame - table.born + 1).tolist(),
            unseen_s.tolist(),
            [row if row >= 0 else None for row in table.detection.tolist()],
            map(tuple, table.mean[:, 1, :2].tolist()),
            embeddings,
        )
        return [Track(*row) for row in rows]

    # -- inputs ----------------------------------------------------------------------------------

    def _step(self, time_s: float) -> float:
        """Advance the clock; seconds since the frame before."""
        if not math.isfinite(time_s):
            raise ReidEdgeError("The time of a frame must be a finite number, got %s." % time_s)
        if self._time_s is not None and time_s < self._time_s:
            raise ReidEdgeError(
                "Frames must come in the order of their times, got %.6f s after %.6f s; use a new "
                "Tracker for a new video." % (time_s, self._time_s)
            )
        self._previous_s = time_s if self._time_s is None else self._time_s
        self._time_s = time_s
        self._frame += 1
        return time_s - self._previous_s

    def _checked_embeddings(self, embeddings, count: int) -> Optional[np.ndarray]:
        if embeddings is None:
            return None
        embeddings = np.asarray(embeddings, np.float32)
        known = self._table.embedding
        if embeddings.ndim != 2 or len(embeddings) != count or not embeddings.shape[1]:
            raise ReidEdgeError(
                "Embeddings must be (%d, D), one row per detection, got shape %s."
                % (count, embeddings.shape)
            )
        if known is not None and known.shape[1] != embeddings.shape[1]:
            raise ReidEdgeError(
                "Embeddings had %d numbers and now have %d; use a new Tracker for another network."
                % (known.shape[1], embeddings.shape[1])
            )
        missing = np.isnan(embeddings)
        if np.isinf(embeddings).any() or (missing.any(axis=1) != missing.all(axis=1)).any():
            raise ReidEdgeError(
                "An embedding must be finite, or NaN throughout where a detection has none; check "
                "the network's output."
            )
        if known is None:
            self._table.embedding = np.full(
                (len(self._table), embeddings.shape[1]), np.nan, np.float32
            )
        return embeddings


def _checked_motion(motion) -> Optional[np.ndarray]:
    if motion is None:
        return None
    motion = np.asarray(motion, np.float64)
    if motion.shape != (2, 3) or not np.isfinite(motion).all():
        raise ReidEdgeError(
            "Camera motion must be a finite (2, 3) affine map, got %s." % motion.tolist()
        )
    return motion


def _inside(boxes: np.ndarray, frame_size) -> np.ndarray:
    """Boxes cut to the frame; those outside get no area."""
    if frame_size is None:
        return boxes
    height, width = frame_size
    return np.clip(boxes, 0, np.array([width, height, width, height], np.float64))
