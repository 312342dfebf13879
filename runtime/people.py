"""The people of one frame as the lock sees them: before tracking by a guess, behind it for certain."""

from typing import List, Optional, Sequence, Tuple

import numpy as np

from runtime.detection import Detections, iou
from runtime.lock_types import Person
from runtime.observation import Observation
from runtime.track import LOST, Track
from runtime.view import Bucket

_LAG = 0.7  # IoU with the detection below which a smoothed box is behind its person
_EDGE_PX = 2.0  # a box this near to the edge of the picture reaches it
_SAME_BOX = 0.3  # IoU from which a box is taken for the same person as on the frame before


def guess(
    seen: Observation, tracks: Sequence[Track], high_score: float
) -> Tuple[List[Person], List[int]]:
    """The detections as people with the tracks they probably continue, one per row.

    Args:
        seen: The frame.
        tracks: All of the frame before.
        high_score: A weaker detection only continues a track where it is; its look would serve
            nobody, so its quality is 0 if it continues none.

    Returns:
        The people, with numbers below 0 for those who continue no track; and which of these may be
        an earlier track come back: none if no track is lost.
    """
    boxes, crops = seen.detections.boxes, seen.crops
    there = [t for t in tracks if t.state != LOST]
    names = _continued(boxes, there, seen.motion)
    scores = seen.detections.scores.tolist()
    useful = [name >= 0 or score >= high_score for name, score in zip(names, scores)]
    people = [
        Person(
            name,
            box,
            None,
            float(crops.quality[row]) if useful[row] else 0.0,
            float(crops.overlap[row]),
            tuple(names[rival] for rival in crops.rivals[row]),
            bool(crops.behind[row]),
        )
        for row, (name, box) in enumerate(zip(names, boxes.tolist()))
    ]
    new = [name for name, worth in zip(names, useful) if name < 0 and worth]
    return people, new if len(there) < len(tracks) else []


def _continued(boxes: np.ndarray, tracks: Sequence[Track], motion: np.ndarray) -> List[int]:
    """For each of (N, 4) boxes the track it overlaps most, each track once, else a number below 0."""
    names = [-1 - row for row in range(len(boxes))]
    if not tracks:
        return names
    before = np.array([t.box for t in tracks], np.float64)
    centres = (before[:, :2] + before[:, 2:]) / 2
    shift = centres @ motion[:, :2].T + motion[:, 2] - centres
    overlaps = iou(boxes.astype(np.float64), before + np.tile(shift, 2))
    for row, column in enumerate(overlaps.argmax(axis=1)):
        if overlaps[row, column] >= _SAME_BOX and overlaps[:, column].argmax() == row:
            names[row] = tracks[column].id
    return names


def tracked(
    seen: Observation,
    tracks: Sequence[Track],
    boxes: np.ndarray,
    buckets: Sequence[Bucket],
    embeddings: Optional[np.ndarray],
) -> List[Person]:
    """The people whose tracks are seen on this frame.

    Args:
        seen: The frame.
        tracks: N tracks, each with its detection.
        boxes: (N, 4) where they are.
        buckets: View and distance of each.
        embeddings: (M, D) of the detections, NaN rows where there is none; None for none at all.
    """
    crops = seen.crops
    track_of = {t.detection: t.id for t in tracks}
    people = []
    for track, box, bucket in zip(tracks, boxes.tolist(), buckets):
        row = track.detection
        assert row is not None
        embedded = embeddings is not None and np.isfinite(embeddings[row, 0])
        people.append(
            Person(
                track.id,
                tuple(box),
                embeddings[row] if embeddings is not None and embedded else None,
                float(crops.quality[row]),
                float(crops.overlap[row]),
                tuple(track_of[rival] for rival in crops.rivals[row] if rival in track_of),
                bool(crops.behind[row]),
                bucket,
                box[0] <= _EDGE_PX or box[2] >= seen.frame_size[1] - _EDGE_PX,
            )
        )
    return people


def boxes_of(
    tracks: Sequence[Track], detections: Detections, frame_size: Tuple[int, int]
) -> np.ndarray:
    """(N, 4) smoothed boxes of tracks with detections, or what was detected where smoothing lags.

    Cut to the frame of ``frame_size`` (height, width), because a detector extrapolates.
    """
    smooth = np.array([t.box for t in tracks], np.float64).reshape(-1, 4)
    rows = np.array([t.detection for t in tracks], np.intp)
    found = detections.boxes[rows].astype(np.float64).reshape(-1, 4)
    limit = np.array([frame_size[1], frame_size[0]] * 2, np.float64)
    smooth, found = np.clip(smooth, 0, limit), np.clip(found, 0, limit)
    lags = np.diagonal(iou(smooth, found)) < _LAG
    return np.where(lags[:, None], found, smooth)
