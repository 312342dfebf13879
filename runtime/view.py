"""From which side a person is seen, and from how far: guesses from how the box moves.

No network looks at the person. People mostly walk forwards, so where somebody walks says which side
the camera sees. Motion is taken relative to the camera, which follows the target:

| the box | means | view |
|---|---|---|
| grows faster than ``oncoming`` | comes nearer, or stands while the camera drives up to it | front |
| moves sideways faster than ``crossing`` against the background, and faster than in depth | walks across | side |
| neither | keeps its distance from a camera that follows, or walks away | rear |

On MOTChallenge's ETH-Sunnyday (annotated boxes) the two people whom the camera follows are rear on all
200 frames, those who come towards it are front on 88 of 100, the others of these rear.

Wrong for who stands still and for who walks backwards; the memory only uses it to keep prototypes of
different views apart, so a wrong guess costs variety, not correctness.

Speeds are in heights of the person per second (a walk is 0.6 to 0.9), from the box alone: a person of
height h pixels at distance d appears under h = f H / d, so growth of 1/s at h pixels is f / h heights
per second. The focal length f is taken as the frame's width, a lens of 53 degrees; half or double that
moves the thresholds accordingly.
"""

import math
from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

import numpy as np

from runtime.errors import ReidEdgeError

REAR, FRONT, SIDE = "rear", "front", "side"
Bucket = Tuple[str, int]


@dataclass
class _Motion:
    """Smoothed motion of one track: centre and log height at ``time_s``, and their rates."""

    time_s: float
    x: float
    y: float
    log_height: float
    lateral: float = 0.0
    growth: float = 0.0


class Views:
    """Buckets of view and distance for the tracks of a camera.

    Args:
        smoothing_s: Time constant of the speeds; shorter follows turns sooner and jitters more.
        oncoming: Closing speed above which a person is seen from the front, in heights per second.
        crossing: Sideways speed above which a person is seen from the side, in heights per second.
        forget_s: A track not seen for this long starts anew.
    """

    def __init__(
        self,
        smoothing_s: float = 0.7,
        oncoming: float = 0.5,
        crossing: float = 0.3,
        forget_s: float = 2.0,
    ):
        settings = (smoothing_s, oncoming, crossing, forget_s)
        if not all(value > 0 for value in settings):
            raise ReidEdgeError(
                "View estimation needs smoothing_s, oncoming, crossing and forget_s above 0, got %s, "
                "%s, %s and %s." % settings
            )
        self.smoothing_s, self.forget_s = smoothing_s, forget_s
        self.oncoming, self.crossing = oncoming, crossing
        self._tracks: Dict[int, _Motion] = {}

    def update(
        self,
        tracks: Sequence[int],
        boxes: np.ndarray,
        motion: np.ndarray,
        frame_size: Tuple[int, int],
        time_s: float,
    ) -> List[Bucket]:
        """One bucket per track, such as ``("rear", 1)``.

        Args:
            tracks: Numbers of N tracks seen on this frame.
            boxes: (N, 4) their boxes: left, top, right, bottom in pixels.
            motion: (2, 3) background motion since the previous frame (runtime.camera_motion).
            frame_size: (height, width) in pixels.
            time_s: Monotonic time of the frame.

        Raises:
            ReidEdgeError: Not one box per track.
        """
        boxes = np.asarray(boxes, float).reshape(-1, 4)
        if len(boxes) != len(tracks):
            raise ReidEdgeError(
                "View estimation needs one box per track, got %d boxes of %d tracks."
                % (len(boxes), len(tracks))
            )
        (a, b, shift_x), (c, d, shift_y) = np.asarray(motion, float).tolist()
        for known in self._tracks.values():  # to where a thing that does not move is now
            known.x, known.y = (
                a * known.x + b * known.y + shift_x,
                c * known.x + d * known.y + shift_y,
            )
        buckets = []
        for track, box in zip(tracks, boxes.tolist()):
            height = max(box[3] - box[1], 1.0)
            now = _Motion(time_s, (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, math.log(height))
            before = self._tracks.get(track)
            if before is not None:
                self._continue(before, now, height)
            self._tracks[track] = now
            buckets.append((self._view(now, height, frame_size[1]), distance(height, frame_size)))
        if len(self._tracks) > len(buckets):
            oldest_s = time_s - self.forget_s
            self._tracks = {t: m for t, m in self._tracks.items() if m.time_s >= oldest_s}
        return buckets

    def _continue(self, before: _Motion, now: _Motion, height: float) -> None:
        """Give ``now`` the speeds of its track, unless that was gone for too long."""
        passed_s = now.time_s - before.time_s
        if passed_s > self.forget_s:
            return
        now.lateral, now.growth = before.lateral, before.growth
        if passed_s <= 0:  # the same moment again says nothing about speed
            return
        weight = 1 - math.exp(-passed_s / self.smoothing_s)
        now.lateral += weight * ((now.x - before.x) / height / passed_s - before.lateral)
        now.growth += weight * ((now.log_height - before.log_height) / passed_s - before.growth)

    def _view(self, motion: _Motion, height: float, frame_width: int) -> str:
        closing = motion.growth * frame_width / height
        if closing > self.oncoming and closing >= abs(motion.lateral):
            return FRONT
        if abs(motion.lateral) > self.crossing and abs(motion.lateral) > abs(closing):
            return SIDE
        return REAR


def distance(height_px: float, frame_size: Tuple[int, int]) -> int:
    """Bucket of distance, from the share of the frame's height that the person fills.

    0 from 0.7 on, 1 from 0.35, 2 from 0.175, and so on: each bucket is twice as far away.
    """
    share = max(height_px, 1.0) / frame_size[0]
    return max(0, math.ceil(math.log2(0.7 / share)))
