"""Whether a frame continues the one before, or something is missing in between."""

from typing import Optional, Tuple

import cv2
import numpy as np

_SIZE = (80, 60)  # width, height of the pictures that are compared


class SceneCut:
    """Compares each frame with the one before, moved as the background moved.

    A track goes from frame to frame by its place. After a cut, a jump of the stream or a frozen
    camera that place is somebody else's, and what followed a person must look again.

    The correlation of neighbouring frames is at least 0.92 in a street seen by a walking camera at
    14 Hz and 0.97 by a standing one at 25 Hz (MOTChallenge ETH-Sunnyday, TUD-Stadtmitte); without 30
    frames in between it is at most 0.6 and 0.87. A fast turn that blurs the picture may count as a
    cut, which costs a second look and nothing more.

    Args:
        correlation: Below this a frame does not continue the one before.
    """

    def __init__(self, correlation: float = 0.9):
        self.threshold = correlation
        self.correlation = 1.0
        self._before: Optional[np.ndarray] = None
        self._frame_size: Optional[Tuple[int, ...]] = None

    def update(self, frame: np.ndarray, motion: np.ndarray) -> bool:
        """True if something is missing between the previous frame and this one.

        Args:
            frame: (H, W) grey or (H, W, 3) BGR, uint8. Another size than before is a cut.
            motion: (2, 3) background motion since the previous frame (runtime.camera_motion).
        """
        small = cv2.resize(frame, _SIZE, interpolation=cv2.INTER_AREA)
        if small.ndim == 3:
            small = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
        now = small.astype(np.float32)
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
        # A picture without contrast, such as a covered lens, says nothing and continues nothing.
        self.correlation = float(cv2.matchTemplate(now, expected, cv2.TM_CCOEFF_NORMED)[0, 0])
        return not self.correlation >= self.threshold
