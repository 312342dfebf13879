"""How the picture moved between two frames because the camera moved."""

import time
from typing import NamedTuple, Optional, Tuple

import cv2
import numpy as np

from runtime.errors import ReidEdgeError

_IDENTITY = np.eye(2, 3)


class MotionReport(NamedTuple):
    """How the last motion was found.

    Attributes:
        reliable: False where the motion is the identity because it could not be measured: the
            first frame, another frame size, or too few points that agree.
        points: Points followed from the previous frame.
        inliers: Those that agree with the motion.
        took_s: Wall-clock seconds of the update.
    """

    reliable: bool
    points: int
    inliers: int
    took_s: float


class CameraMotion:
    """Follows corners of the background from frame to frame and fits a similarity to them.

    Corners (Shi and Tomasi 1994) are followed by pyramidal Lucas-Kanade flow; RANSAC fits
    translation, rotation and scale, so that what moves by itself, or stands nearer than the rest,
    is outvoted. Both run on a small grey picture.

    camera = CameraMotion()
    motion = camera.update(frame, boxes)   # boxes: persons of the previous frame, if known

    Args:
        width_px: Width of the picture that is worked on; frames that are wider are reduced.
        corners: Corners to follow at most.
        tolerance_px: Deviation from the motion, on the small picture, at which a corner disagrees.
        min_inliers: Motions that fewer corners agree with are not believed.
    """

    def __init__(
        self,
        width_px: int = 320,
        corners: int = 200,
        tolerance_px: float = 1.5,
        min_inliers: int = 12,
    ):
        if width_px < 32 or corners < min_inliers or min_inliers < 3 or tolerance_px <= 0:
            raise ReidEdgeError(
                "Camera motion needs width_px >= 32, corners >= min_inliers >= 3 and tolerance_px "
                "> 0, got %s, %s, %s and %s." % (width_px, corners, min_inliers, tolerance_px)
            )
        self.width_px = width_px
        self.corners = corners
        self.tolerance_px = tolerance_px
        self.min_inliers = min_inliers
        self.report = MotionReport(False, 0, 0, 0.0)
        self._previous: Optional[np.ndarray] = None
        self._frame_size: Optional[Tuple[int, ...]] = None

    def update(self, frame: np.ndarray, boxes: Optional[np.ndarray] = None) -> np.ndarray:
        """Motion of the background from the previous frame to this one.

        Args:
            frame: (H, W) grey or (H, W, 3) BGR, uint8. Another size than before starts anew.
            boxes: (N, 4) persons on the *previous* frame, left, top, right, bottom in pixels of
                the frame; no corners are taken there.

        Returns:
            (2, 3) float64: a point (x, y) of the previous frame is at ``motion @ (x, y, 1)`` in
            this one, in pixels of the frame. The identity where ``report.reliable`` is False.

        Raises:
            ReidEdgeError: Not an image.
        """
        started = time.perf_counter()
        if frame.dtype != np.uint8 or frame.ndim not in (2, 3) or 0 in frame.shape:
            raise ReidEdgeError(
                "A frame must be a non-empty (H, W) or (H, W, 3) uint8 image, got shape %s dtype "
                "%s." % (frame.shape, frame.dtype)
            )
        picture, scale = self._small(frame)
        previous, same_size = self._previous, self._frame_size == frame.shape[:2]
        self._previous, self._frame_size = picture, frame.shape[:2]
        motion, points, inliers = None, 0, 0
        if previous is not None and same_size:
            motion, points, inliers = self._fit(previous, picture, scale, boxes)
        self.report = MotionReport(
            motion is not None, points, inliers, time.perf_counter() - started
        )
        if motion is None:
            return _IDENTITY.copy()
        motion[:, 2] *= scale
        return motion

    def _small(self, frame: np.ndarray) -> Tuple[np.ndarray, float]:
        """The picture that is worked on, and how many frame pixels one of its pixels is wide."""
        scale = max(1.0, frame.shape[1] / self.width_px)
        size = (round(frame.shape[1] / scale), max(1, round(frame.shape[0] / scale)))
        small = frame if scale == 1 else cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        return small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), scale

    def _fit(self, previous, picture, scale, boxes):
        mask = None
        if boxes is not None and len(boxes):
            mask = np.full(previous.shape, 255, np.uint8)
            for left, top, right, bottom in np.maximum(np.asarray(boxes) / scale, 0).astype(int):
                mask[top : bottom + 1, left : right + 1] = 0
        corners = cv2.goodFeaturesToTrack(
            previous, self.corners, qualityLevel=0.01, minDistance=6, mask=mask, blockSize=3
        )
        if corners is None or len(corners) < self.min_inliers:
            return None, 0, 0
        moved, found, _ = cv2.calcOpticalFlowPyrLK(
            previous, picture, corners, None, winSize=(15, 15), maxLevel=3
        )
        found = found.ravel() == 1
        if found.sum() < self.min_inliers:
            return None, int(found.sum()), 0
        motion, agree = cv2.estimateAffinePartial2D(
            corners[found],
            moved[found],
            method=cv2.RANSAC,
            ransacReprojThreshold=self.tolerance_px,
            maxIters=200,
            confidence=0.99,
        )
        inliers = 0 if agree is None else int(agree.sum())
        if motion is None or inliers < self.min_inliers:
            return None, int(found.sum()), inliers
        return motion, int(found.sum()), inliers
