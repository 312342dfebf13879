"""How the background moved between two frames because the camera moved."""

import time
from typing import NamedTuple, Optional, Tuple

import cv2
import numpy as np

from runtime.errors import ReidEdgeError

_LIKELY_SCALE = 1.25  # no camera comes that much nearer to its background within a frame


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

    Corners (Shi and Tomasi 1994) are followed by pyramidal Lucas-Kanade flow (Bouguet 2001); RANSAC
    fits translation, rotation and scale, so that what moves by itself or stands much nearer than
    the rest is outvoted. All of it runs on a small grey picture.

    camera = CameraMotion()
    motion = camera.update(frame, boxes_of_people_on_the_previous_frame)

    Args:
        width_px: About the width of the picture that is worked on; wider frames are reduced by the
            whole factor that comes nearest. Lower: faster, coarser, and faster turns are followed.
        corners: Corners to follow at most. Fewer: faster, less certain among moving people.
        tolerance_px: Deviation from the motion, in the small picture, from which on a corner does
            not agree with it.
        min_inliers: A motion that fewer corners agree with is not believed.
    """

    def __init__(
        self,
        width_px: int = 320,
        corners: int = 100,
        tolerance_px: float = 1.5,
        min_inliers: int = 12,
    ):
        if width_px < 32 or not 3 <= min_inliers <= corners or not tolerance_px > 0:
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
        self._size: Optional[Tuple[int, int]] = None

    def update(self, frame: np.ndarray, boxes: Optional[np.ndarray] = None) -> np.ndarray:
        """Motion of the background from the previous frame to this one.

        Args:
            frame: (H, W) grey or (H, W, 3) BGR, uint8. Another size than before starts anew.
            boxes: (N, 4) people on the *previous* frame: left, top, right, bottom in its pixels.
                No corners are taken there.

        Returns:
            (2, 3) float64: the point (x, y) of the previous frame is at ``motion @ (x, y, 1)`` in
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
        picture, factor = self._small(frame)
        previous, same_size = self._previous, self._size == frame.shape[:2]
        self._previous, self._size = picture, (frame.shape[0], frame.shape[1])
        motion, points, inliers = None, 0, 0
        if previous is not None and same_size:
            motion, points, inliers = self._fit(previous, picture, factor, boxes)
        took_s = time.perf_counter() - started
        self.report = MotionReport(motion is not None, points, inliers, took_s)
        if motion is None:
            return np.eye(2, 3)
        motion[:, 2] *= factor
        return motion

    def _small(self, frame: np.ndarray) -> Tuple[np.ndarray, int]:
        """The picture that is worked on, and how many frame pixels one of its pixels is wide."""
        grey = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        # A whole factor: OpenCV averages 2x2 pixels many times faster than 2.4x2.4.
        factor = max(1, round(frame.shape[1] / self.width_px))
        if factor == 1:
            return grey.copy(), 1  # the caller may use the frame's memory again
        height, width = (max(1, side // factor) for side in grey.shape)
        whole = grey[: height * factor, : width * factor]
        return cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), factor

    def _fit(
        self,
        previous: np.ndarray,
        picture: np.ndarray,
        factor: int,
        boxes: Optional[np.ndarray],
    ) -> Tuple[Optional[np.ndarray], int, int]:
        """Motion between two small pictures, or None; points followed; points that agree."""
        mask = None
        if boxes is not None and len(boxes):
            mask = np.full(previous.shape, 255, np.uint8)
            for left, top, right, bottom in np.maximum(np.asarray(boxes) / factor, 0).astype(int):
                mask[top : bottom + 1, left : right + 1] = 0
        found = cv2.goodFeaturesToTrack(
            previous, self.corners, qualityLevel=0.01, minDistance=6, mask=mask
        )
        if found is None or len(found) < self.min_inliers:
            return None, 0, 0
        # A window of 11 and 10 steps are a third of the time of OpenCV's 21 and 30, and as good.
        moved, kept, _ = cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload]
            previous,
            picture,
            found,
            None,
            winSize=(11, 11),
            maxLevel=3,
            criteria=(cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 0.03),
        )
        kept = kept.ravel() == 1
        points = int(kept.sum())
        if points < self.min_inliers:
            return None, points, 0
        motion, agree = cv2.estimateAffinePartial2D(
            found[kept],
            moved[kept],
            method=cv2.RANSAC,
            ransacReprojThreshold=self.tolerance_px,
            maxIters=200,
            confidence=0.99,
        )
        if motion is None:
            return None, points, 0
        inliers = int(agree.sum())
        scale = float(np.hypot(motion[0, 0], motion[1, 0]))
        likely = 1 / _LIKELY_SCALE < scale < _LIKELY_SCALE
        return (motion if likely and inliers >= self.min_inliers else None), points, inliers
