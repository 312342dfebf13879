"""What every person detector offers, and what can be chosen about it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from runtime.detection import Detections
from runtime.errors import ReidEdgeError


@dataclass(frozen=True)
class DetectorSettings:
    """Which of the found boxes are given on.

    Attributes:
        score_threshold: Boxes must score higher, 0 to 1. Low by default: the tracker uses weak
            detections too, to keep persons it already knows.
        iou_threshold: A box that a better one overlaps by more goes (non-maximum suppression).
        min_height_px: Lower boxes go, in frame pixels; of a person of 30 px little can be told.
        person_class: Index of the class that is a person, 0 in COCO.
        max_candidates: Best boxes that enter non-maximum suppression; bounds its time.

    Raises:
        ReidEdgeError: A value outside its range.
    """

    score_threshold: float = 0.1
    iou_threshold: float = 0.6
    min_height_px: float = 0.0
    person_class: int = 0
    max_candidates: int = 500

    def __post_init__(self) -> None:
        for name in ("score_threshold", "iou_threshold"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ReidEdgeError("Detector setting %s must be 0 to 1, got %r." % (name, value))
        for name, least in (("min_height_px", 0), ("person_class", 0), ("max_candidates", 1)):
            value = getattr(self, name)
            if not value >= least:
                raise ReidEdgeError(
                    "Detector setting %s must be at least %d, got %r." % (name, least, value)
                )


class Detector(ABC):
    """Finds persons in frames.

    Attributes:
        name: Kind, file and backend, for reports.
    """

    name: str

    @abstractmethod
    def detect(self, frame: np.ndarray) -> Detections:
        """Find the persons in one frame; frames may change size.

        Args:
            frame: (H, W, 3) uint8 BGR.

        Raises:
            ReidEdgeError: Not such a frame, or the network returned NaN.
        """

    def close(self) -> None:  # noqa: B027 - not every detector holds something to release
        """Release what the detector holds; it cannot detect afterwards."""

    def __enter__(self) -> Detector:
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.close()


def check_frame(frame: np.ndarray) -> None:
    """Raise ReidEdgeError unless ``frame`` is a non-empty (H, W, 3) uint8 image."""
    shape, dtype = getattr(frame, "shape", None), getattr(frame, "dtype", None)
    if shape is None or len(shape) != 3 or shape[2] != 3 or 0 in shape or dtype != np.uint8:
        raise ReidEdgeError(
            "A frame must be a non-empty (H, W, 3) uint8 BGR image, got %s."
            % (type(frame).__name__ if shape is None else "shape %s dtype %s" % (shape, dtype))
        )
