"""Whether a frame continues the one before, or something is missing in between."""

from typing import Optional, Tuple

import cv2
import numpy as np

from runtime.errors import ReidEdgeError

_SIZE = (80, 60)  # width, height of the pictures that are compared
_LEAST = 0.2  # share of the picture that must be background
_FLAT = 4.0  # variance of grey values below which a picture shows nothing


class SceneCut:
    """Compares each frame with the one before, moved as the background moved.

    A track goes from frame to frame by its place. After a cut, a jump of the stream or a frozen
    camera that place is somebody else's, and what followed a person must look again.

    Behind people, the correlation of neighbouring frames is at least 0.97 in a street seen by a
    walking camera at 14 Hz (MOTChallenge ETH-Sunnyday). Without 5 frames in between it is 0.87 in the
    median and below 0.93 in 97 of 100 places, without 30 frames at most 0.74; of single missing frames
    98 of 100 go unseen. A standing camera sees no cut: the background stays what it is (0.98 without 30
    frames of TUD-Stadtmitte), and only the time between frames can tell. A fast turn that blurs the
    picture may count as a cut, which costs a second look and nothing more.

    Args:
        correlation: Below this a frame does not continue the one before; -1 to 1.
    """

    def __init__(self, correlation: float = 0.93):
        if not -1 <= correlation <= 1:
            raise ReidEdgeError(
                "The correlation of a scene cut must be from -1 to 1, got %r." % correlation
            )
        self.threshold = correlation
        self.correlation = 1.0
        self._before: Optional[np.ndarray] = None
        self._frame_size: Optional[Tuple[int, ...]] = None

    def update(
        self, frame: np.ndarray, motion: np.ndarray, boxes: Optional[np.ndarray] = None
    ) -> bool:
        """True if something is missing between the previous frame and this one.

        Args:
            frame: (H, W) grey or (H, W, 3) BGR, uint8. Another size than before is a cut.
            motion: (2, 3) background motion since the previous frame (runtime.camera_motion).
            boxes: (N, 4) people of this frame and the one before, who move by themselves: left, top,
                right, bottom in pixels.

        Raises:
            ReidEdgeError: Not such a frame.
        """
        if (
            frame.dtype != np.uint8
            or frame.ndim < 2
            or frame.shape[2:] not in ((), (3,))
            or 0 in frame.shape
        ):
            raise ReidEdgeError(
                "A frame must be a non-empty (H, W) or (H, W, 3) uint8 image, got shape %s dtype "
                "%s." % (frame.shape, frame.dtype)
            )
        now = _small(frame)
        before, same_size = self._before, self._frame_size == frame.shape[:2]
        self._before, self._frame_size = now, frame.shape[:2]
        if before is None:
            return False
        if not same_size:
            self.correlation = 0.0
            return True
        scale = np.array(_SIZE) / frame.shape[1::-1]
        moved = np.array(motion, np.float64)
        moved[:, :2] *= scale[:, None] / scale
        moved[:, 2] *= scale
        expected = cv2.warpAffine(before, moved, _SIZE, borderMode=cv2.BORDER_REPLICATE)
        self.correlation = _correlation(now, expected, _background(scale, boxes))
        return self.correlation < self.threshold


def _small(frame: np.ndarray) -> np.ndarray:
    """The grey picture that is compared, float32."""
    grey = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    height, width = grey.shape
    if width >= 4 * _SIZE[0] and not (width % 2 or height % 2):
        # OpenCV averages 2x2 pixels many times faster than any other number.
        grey = cv2.resize(grey, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return cv2.resize(grey, _SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)


def _background(scale: np.ndarray, boxes: Optional[np.ndarray]) -> np.ndarray:
    """(H, W) bool of the small pictures: where nobody is."""
    free = np.ones(_SIZE[::-1], bool)
    if boxes is not None and len(boxes):
        corners = np.clip(boxes, 0, None) * np.tile(scale, 2)
        for left, top, right, bottom in np.ceil(corners).astype(int).tolist():
            free[max(top - 1, 0) : bottom, max(left - 1, 0) : right] = False
    return free


def _correlation(picture: np.ndarray, expected: np.ndarray, free: np.ndarray) -> float:
    """Of the grey values of the background, -1 to 1; 1 where too little of it is left to tell.

    A picture without contrast, such as of a covered lens, continues nothing: 0.
    """
    if free.sum() < _LEAST * free.size:
        return 1.0
    a, b = picture[free], expected[free]
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > _FLAT * len(a) else 0.0
