"""Notices a camera that still delivers but no longer looks: frozen, covered or black."""

import math
from dataclasses import dataclass
from typing import NamedTuple, Optional

import numpy as np

from runtime.errors import ReidEdgeError

OK, FROZEN, BLACK = "ok", "frozen", "black"

_SAMPLES = 96  # rows and columns looked at, about
_BLOCKS = 8  # contrast is measured between the means of 8 x 8 fields


@dataclass(frozen=True)
class FrameGuardSettings:
    """When a picture is not believed.

    Attributes:
        frozen_frames: So many frames in a row with the very same pixels as the one before are a
            frozen camera (a sensor's noise never repeats); 0 for video files of still scenes.
        min_contrast: With less contrast the camera is covered or in the dark: standard deviation
            of brightness between fields of the picture, in grey levels of 255; 0 for off.
    """

    frozen_frames: int = 3
    min_contrast: float = 2.0

    def __post_init__(self) -> None:
        if not 0 <= self.frozen_frames <= 100:
            raise ReidEdgeError("frozen_frames must be 0 to 100, got %r." % self.frozen_frames)
        if not 0 <= self.min_contrast <= 100:
            raise ReidEdgeError("min_contrast must be 0 to 100, got %r." % self.min_contrast)


class FrameState(NamedTuple):
    """What a frame is worth.

    Attributes:
        state: ``"ok"``, ``"frozen"`` or ``"black"``.
        last_good_s: Time of the newest frame that showed something new; -inf before the first. A
            repeated picture never moves it, not even before it counts as frozen: commands carry this
            time as their frame's.
    """

    state: str
    last_good_s: float


class FrameGuard:
    """Looks at every frame, in order: a sample of its pixels, well below a millisecond.

    Args:
        settings: When a picture is not believed.
    """

    def __init__(self, settings: Optional[FrameGuardSettings] = None):
        self.settings = settings or FrameGuardSettings()
        self._last: Optional[np.ndarray] = None
        self._repeats = 0
        self._last_good_s = -math.inf

    def update(self, frame: np.ndarray, time_s: float) -> FrameState:
        """Judge one frame.

        Args:
            frame: (H, W, 3) or (H, W) uint8.
            time_s: Monotonic time of its capture.
        """
        sample = _sample(frame)
        if self.settings.min_contrast > 0 and _contrast(sample) < self.settings.min_contrast:
            state = BLACK
        else:
            state = OK
        same = self._last is not None and np.array_equal(sample, self._last)
        self._last = sample
        if self.settings.frozen_frames == 0:
            same = False
        self._repeats = self._repeats + 1 if same else 0
        if state == OK and not same:
            self._last_good_s = time_s
        if state == OK and same and self._repeats >= self.settings.frozen_frames:
            state = FROZEN
        return FrameState(state, self._last_good_s)


def _sample(frame: np.ndarray) -> np.ndarray:
    """A grid of pixels, all channels, as a copy: the camera may reuse its buffer."""
    height, width = frame.shape[:2]
    return frame[:: max(height // _SAMPLES, 1), :: max(width // _SAMPLES, 1)].copy()


def _contrast(sample: np.ndarray) -> float:
    """Standard deviation between the means of fields, which noise hardly reaches."""
    grey = sample if sample.ndim == 2 else sample[..., 1]  # green is most of brightness
    rows, columns = (max(size // _BLOCKS, 1) for size in grey.shape)
    grey = grey[: rows * (grey.shape[0] // rows), : columns * (grey.shape[1] // columns)]
    fields = grey.reshape(grey.shape[0] // rows, rows, grey.shape[1] // columns, columns)
    return float(fields.mean(axis=(1, 3), dtype=np.float32).std())
