"""A person detector made of a network: letterbox, network, decoder, non-maximum suppression."""

from __future__ import annotations

from typing import List, Optional, Tuple

import numpy as np

from runtime.contract import InputContract
from runtime.detection import Detections, nms
from runtime.detectors.base import Detector, DetectorSettings, check_frame
from runtime.detectors.kinds import recognise
from runtime.detectors.runner import Runner
from runtime.errors import ReidEdgeError
from runtime.letterbox import Letterbox
from runtime.nv12 import bgr_to_nv12
from runtime.preprocess import preprocess

_GREY = 114


class NetworkDetector(Detector):
    """Any known detection network on any backend.

    ``detect`` is ``prepare``, ``infer`` and ``decode`` one after the other; a pipeline may call and
    time them itself. One thread at a time.

    Attributes:
        kind: The runtime.detectors.kinds.Kind that was recognised or named.
        settings: Which boxes are given on.
    """

    def __init__(
        self,
        runner: Runner,
        kind: Optional[str] = None,
        settings: Optional[DetectorSettings] = None,
    ):
        """Run a grey image through the network to see what it is.

        Args:
            runner: The network.
            kind: Name of its kind; by default recognised from the outputs.
            settings: Which boxes are given on; the defaults if None.

        Raises:
            ReidEdgeError: The outputs are of no known or not of the named kind, or the network has
                no such class.
        """
        self._runner = runner
        self.settings = settings or DetectorSettings()
        size = runner.input_size
        # How pixels are scaled is not known before the kind is; the outputs look the same anyway.
        grey = np.full((*size, 3), _GREY, np.uint8)
        outputs = runner(self._input(grey, InputContract(*size)))
        self.kind = recognise(outputs, size, runner.name, kind)
        self._contract = self.kind.preparation.contract(size)
        classes = self.kind.classes(outputs, size) or 0
        if self.settings.person_class >= classes:
            raise ReidEdgeError(
                "%s knows %d classes, so person_class must be less, got %d."
                % (runner.name, classes, self.settings.person_class)
            )
        self.name = "%s %s" % (self.kind.name, runner.name)
        self._letterbox: Optional[Letterbox] = None
        self._canvas: Optional[np.ndarray] = None

    def detect(self, frame: np.ndarray) -> Detections:
        batch, letterbox = self.prepare(frame)
        return self.decode(self.infer(batch), letterbox)

    def prepare(self, frame: np.ndarray) -> Tuple[np.ndarray, Letterbox]:
        """The runner's input for a frame, and where the frame lies in it."""
        check_frame(frame)
        how, letterbox = self.kind.preparation, self._letterbox
        if letterbox is None or letterbox.frame_size != frame.shape[:2]:
            size = self._runner.input_size
            letterbox = Letterbox.fit(frame.shape[:2], size, how.fit, how.rounding)
            self._letterbox, self._canvas = letterbox, None
        self._canvas = letterbox.apply(frame, how.pad_value, how.resize, self._canvas)
        return self._input(self._canvas, self._contract), letterbox

    def infer(self, batch: np.ndarray) -> List[np.ndarray]:
        """Run the network on what ``prepare`` gave."""
        return self._runner(batch)

    def decode(self, outputs: List[np.ndarray], letterbox: Letterbox) -> Detections:
        """Persons in frame pixels, best first, from the network's outputs.

        Raises:
            ReidEdgeError: Scores or boxes are not finite.
        """
        limits = self.settings
        size = self._runner.input_size
        found = self.kind.decode(outputs, size, limits.score_threshold, limits.person_class)
        candidates = _best(Detections(found.boxes, found.scores), limits.max_candidates)
        kept = candidates[nms(candidates.boxes, candidates.scores, limits.iou_threshold)]
        persons = Detections(letterbox.to_frame(kept.boxes), kept.scores)
        return persons[persons.heights >= limits.min_height_px]

    def close(self) -> None:
        self._runner.close()

    def _input(self, image, contract):
        if self._runner.input_kind == "nv12":
            return bgr_to_nv12(image).reshape(1, -1)
        return preprocess([image], contract)


def _best(found: Detections, count: int) -> Detections:
    """The ``count`` best, in the order given; ties at the limit go to the first."""
    if len(found) <= count:
        return found
    return found[np.sort(np.argsort(-found.scores, kind="stable")[:count])]
