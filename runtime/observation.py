"""Pixels to numbers: everything about a frame that decisions are made from, except embeddings."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import Callable, Dict, Iterator, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from runtime.camera_motion import CameraMotion
from runtime.crop_quality import Crops, assess
from runtime.detection import Detections
from runtime.errors import ReidEdgeError
from runtime.scene_cut import SceneCut

_CERTAIN = 0.4  # score from which a box may be what covers somebody


class Observation(NamedTuple):
    """One frame as numbers.

    Attributes:
        time_s: Monotonic time at which the frame was captured.
        frame_size: (height, width) in pixels.
        detections: The people found.
        crops: Quality and overlap of their crops.
        motion: (2, 3) float64, background motion since the frame before.
        cut: Whether something is missing between the frame before and this one.
    """

    time_s: float
    frame_size: Tuple[int, int]
    detections: Detections
    crops: Crops
    motion: np.ndarray
    cut: bool


class Observer:
    """Looks at frames, one after the other.

    Args:
        detect: (H, W, 3) uint8 BGR to Detections; None if each frame comes with its detections.
        motion: Estimates how the camera moved.
    """

    def __init__(
        self,
        detect: Optional[Callable[[np.ndarray], Detections]] = None,
        motion: Optional[CameraMotion] = None,
    ):
        self.detect = detect
        self.motion = motion or CameraMotion()
        self.scene_cut = SceneCut()

    def look(
        self,
        frame: np.ndarray,
        time_s: float,
        detections: Optional[Detections],
        before: np.ndarray,
        took_ms: Dict[str, float],
    ) -> Observation:
        """Observe one frame.

        Args:
            frame: (H, W, 3) uint8 BGR.
            time_s: Monotonic time at which it was captured.
            detections: Of this frame; by default ``detect`` is asked.
            before: (N, 4) where people were on the frame before, left, top, right, bottom.
            took_ms: Gets the milliseconds of the stages "detect", "motion" and "quality".

        Raises:
            ReidEdgeError: Not such a frame, or no detections and no detector.
        """
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            raise ReidEdgeError(
                "A frame must be a non-empty (H, W, 3) uint8 BGR image, got shape %s dtype %s."
                % (frame.shape, frame.dtype)
            )
        if detections is None:
            if self.detect is None:
                raise ReidEdgeError("Give a detector to Perception or detections to each step.")
            with timed(took_ms, "detect"):
                detections = self.detect(frame)
        with timed(took_ms, "motion"):
            grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)  # once for both
            motion = self.motion.update(grey, before)
            cut = self.scene_cut.update(grey, motion, np.vstack([before, detections.boxes]))
        with timed(took_ms, "quality"):
            crops = assess(frame, detections.boxes, detections.scores >= _CERTAIN)
        size = (frame.shape[0], frame.shape[1])
        return Observation(time_s, size, detections, crops, motion, cut)


@contextmanager
def timed(took_ms: Dict[str, float], stage: str) -> Iterator[None]:
    """Add the milliseconds of a block to ``took_ms[stage]``."""
    started = time.perf_counter()
    yield
    took_ms[stage] = took_ms.get(stage, 0.0) + 1e3 * (time.perf_counter() - started)
