"""OpenCV's HOG people detector: needs no model file, is slow and sees only upright, larger people."""

from __future__ import annotations

from typing import Optional

import cv2
import numpy as np

from runtime.detection import Detections, nms
from runtime.detectors.base import Detector, DetectorSettings, check_frame
from runtime.letterbox import Letterbox

_WINDOW = (128, 64)  # height, width of what the classifier sees; the person fills its middle
_MARGIN_X, _MARGIN_Y = 16 / 64, 16 / 128  # share of the window around the person, each side
_STRIDE_PX = 8
_SCALE_STEP = 1.05
# The classifier gives a distance from its decision border. A logistic curve of it, fitted to which
# boxes of 95 frames of ETH-Sunnyday and TUD-Stadtmitte (MOTChallenge 2015) are annotated persons,
# makes it a probability, so that thresholds mean the same as with a network: 0 is 0.28, 1 is 0.77.
_SLOPE, _OFFSET = 2.12, -0.92


class HogDetector(Detector):
    """Histograms of oriented gradients and a linear SVM (Dalal and Triggs 2005).

    Finds upright persons of at least 96 px; about 0.1 s for a frame of 640 x 480 on one desktop
    core.
    """

    def __init__(self, settings: Optional[DetectorSettings] = None, width_px: int = 640):
        """Load OpenCV's classifier.

        Args:
            settings: Which boxes are given on; ``person_class`` does not apply.
            width_px: Wider frames are reduced to this width; then persons must be larger.
        """
        self.settings = settings or DetectorSettings()
        self.width_px = width_px
        self.name = "hog opencv-cpu"
        self._hog = cv2.HOGDescriptor()
        # The one name that every OpenCV from 3 to 4 has; newer stubs leave it out.
        classifier = cv2.HOGDescriptor_getDefaultPeopleDetector()  # type: ignore[attr-defined]
        self._hog.setSVMDetector(classifier)

    def detect(self, frame: np.ndarray) -> Detections:
        check_frame(frame)
        height, width = frame.shape[:2]
        factor = min(1.0, self.width_px / width)
        size = (max(round(height * factor), 1), max(round(width * factor), 1))
        if size[0] < _WINDOW[0] or size[1] < _WINDOW[1]:
            return Detections.empty()  # not one window fits
        reduced = Letterbox.fit(frame.shape[:2], size, "stretch")
        windows, margins = self._hog.detectMultiScale(
            reduced.apply(frame, resize="area"),
            hitThreshold=0.0,
            winStride=(_STRIDE_PX, _STRIDE_PX),
            padding=(_STRIDE_PX, _STRIDE_PX),
            scale=_SCALE_STEP,
            groupThreshold=0,  # no grouping: it averages boxes and gives up their scores
        )
        if not len(windows):
            return Detections.empty()
        left, top, wide, high = np.asarray(windows, np.float32).T
        boxes = np.stack(
            [
                left + wide * _MARGIN_X,
                top + high * _MARGIN_Y,
                left + wide * (1 - _MARGIN_X),
                top + high * (1 - _MARGIN_Y),
            ],
            axis=1,
        )
        scores = 1 / (1 + np.exp(-(_SLOPE * np.ravel(margins) + _OFFSET)))
        limits = self.settings
        found = Detections(reduced.to_frame(boxes), scores.astype(np.float32))
        found = found[found.scores > limits.score_threshold]
        found = found[np.argsort(-found.scores, kind="stable")[: limits.max_candidates]]
        persons = found[nms(found.boxes, found.scores, limits.iou_threshold)]
        return persons[persons.heights >= limits.min_height_px]
