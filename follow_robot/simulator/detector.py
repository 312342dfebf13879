"""A person detector for drawn pictures: the truth with a detector's faults, and nothing else of it."""

import zlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

import numpy as np

from follow_robot.simulator.rendering import Picture, Shown
from runtime.detection import Detections, iou
from runtime.detectors.base import Detector
from runtime.errors import ReidEdgeError

_REMEMBERED = 64  # pictures


@dataclass(frozen=True)
class DetectorFaults:
    """What a detector does wrong.

    Attributes:
        edge_sigma: Noise of a box's edges, as a share of the box's height.
        persistence: How much of that noise stays from one picture to the next, 0 to 1.
        miss: Chance of missing somebody who is entirely visible and large.
        seen_share: Visible share of a body at which it is found every second time.
        height_px: Height at which it is found every second time.
        merge_iou: Overlap from which two people may come as one box.
        merge: Chance of that.
        phantoms: Boxes per picture where nobody is.
    """

    edge_sigma: float = 0.015
    persistence: float = 0.6
    miss: float = 0.01
    seen_share: float = 0.2
    height_px: float = 22.0
    merge_iou: float = 0.55
    merge: float = 0.5
    phantoms: float = 0.02

    def __post_init__(self):
        for name in ("edge_sigma", "persistence", "miss", "seen_share", "merge_iou", "merge"):
            if not 0 <= getattr(self, name) <= 1:
                raise ReidEdgeError(
                    "A simulated detector's %s must be 0 to 1, got %r."
                    % (name, getattr(self, name))
                )
        if self.height_px < 0 or self.phantoms < 0:
            raise ReidEdgeError("A simulated detector's height_px and phantoms must be at least 0.")


class SimDetector(Detector):
    """Boxes of the people on drawn pictures, as a network would give them.

    In lock-step it is shown each picture (``look``). In the live application, which hands over pixels
    only, it knows the pictures of its own camera by their pixels (``remember``, then ``detect``).

    Args:
        seed: Same seed, same faults.
        faults: What it does wrong.
    """

    name = "simulated detector"

    def __init__(self, seed: int = 0, faults: Optional[DetectorFaults] = None):
        self.faults = faults or DetectorFaults()
        self._rng = np.random.default_rng((seed, 5))
        self._errors: Dict[str, np.ndarray] = {}
        self._last: Optional[Tuple[Picture, Detections]] = None
        self._known: OrderedDict[Tuple[int, ...], Picture] = OrderedDict()

    def look(self, picture: Picture) -> Detections:
        """What is found on a picture; on the same picture again, the same."""
        if self._last is None or self._last[0] is not picture:
            self._last = picture, self._find(picture)
        return self._last[1]

    def _find(self, picture: Picture) -> Detections:
        height, width = picture.image.shape[:2]
        found = [s for s in picture.people if s.seen_box is not None and self._finds(s)]
        boxes = [self._box(shown) for shown in found]
        scores = [self._score(shown) for shown in found]
        boxes, scores = self._merged(boxes, scores)
        for _ in range(int(self._rng.poisson(self.faults.phantoms))):
            high = self._rng.uniform(0.15, 0.6) * height
            left, top = self._rng.uniform(0, width - high / 3), self._rng.uniform(0, height - high)
            boxes.append(np.array([left, top, left + high / 2.5, top + high]))
            scores.append(float(self._rng.uniform(0.1, 0.45)))
        if not boxes:
            return Detections.empty()
        limit = np.array([width, height] * 2, np.float64)
        cut = np.clip(np.array(boxes), 0, limit)
        real = (cut[:, 2:] - cut[:, :2] >= 2).all(axis=1)
        order = self._rng.permutation(np.flatnonzero(real))  # a network's order says nothing
        return Detections(cut[order], np.array(scores)[order])

    def remember(self, picture: Picture) -> None:
        """Take note of a picture that may be handed to ``detect`` later."""
        self._known[_key(picture.image)] = picture
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def detect(self, frame: np.ndarray) -> Detections:
        """Find the people on a remembered picture.

        Raises:
            ReidEdgeError: It is no picture of the simulated camera.
        """
        picture = self._known.get(_key(frame))
        if picture is None:
            raise ReidEdgeError(
                "The simulated detector knows only pictures of the simulated camera as they are, got "
                "another of shape %s; give a real detector for others." % (frame.shape,)
            )
        return self.look(picture)

    def _finds(self, shown: Shown) -> bool:
        f = self.faults
        clear = _rise(shown.share, f.seen_share, 0.06) * _rise(_height(shown), f.height_px, 4.0)
        return bool(self._rng.random() < (1 - f.miss) * clear)

    def _box(self, shown: Shown) -> np.ndarray:
        f = self.faults
        box = np.array(shown.seen_box, np.float64)
        fresh = self._rng.normal(0, f.edge_sigma, 4)
        before = self._errors.get(shown.name, fresh)
        error = f.persistence * before + np.sqrt(1 - f.persistence**2) * fresh
        self._errors[shown.name] = error
        return box + error * (box[3] - box[1])

    def _score(self, shown: Shown) -> float:
        sure = 0.35 + 0.5 * min(shown.share, 1.0) + 0.12 * min(_height(shown) / 100, 1.0)
        return float(np.clip(sure + self._rng.normal(0, 0.05), 0.05, 0.99))

    def _merged(
        self, boxes: List[np.ndarray], scores: List[float]
    ) -> Tuple[List[np.ndarray], List[float]]:
        """Some pairs that overlap much come as one box around both."""
        if len(boxes) < 2:
            return boxes, scores
        overlaps = np.triu(iou(np.array(boxes), np.array(boxes)), 1)
        gone = set()
        for a, b in zip(*np.nonzero(overlaps >= self.faults.merge_iou)):
            if a in gone or b in gone or self._rng.random() >= self.faults.merge:
                continue
            boxes[a] = np.concatenate(
                [np.minimum(boxes[a], boxes[b])[:2], np.maximum(boxes[a], boxes[b])[2:]]
            )
            gone.add(b)
        kept = [i for i in range(len(boxes)) if i not in gone]
        return [boxes[i] for i in kept], [scores[i] for i in kept]


def _height(shown: Shown) -> float:
    """Pixels of what can be seen."""
    return 0.0 if shown.seen_box is None else shown.seen_box[3] - shown.seen_box[1]


def _rise(value: float, middle: float, width: float) -> float:
    """From 0 to 1 around ``middle``."""
    return float(1 / (1 + np.exp(np.clip(-(value - middle) / width, -50, 50))))


def _key(image: np.ndarray) -> Tuple[int, ...]:
    return (*image.shape, zlib.crc32(image.tobytes()))
