"""Sequences composed of crops of people and a background.

Crops are pasted, the nearest person last, and the boxes of who can be seen are given as detections. The
people of a sequence are crops of one camera, taken one after the other, so that they walk.
"""

from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import cv2
import numpy as np

from runtime.detection import Detections

SIZE = (480, 640)  # height, width of the frames
SEEN = 0.3  # share of a person that must be visible to be detected

Box = Tuple[int, int, int, int]


@dataclass(frozen=True)
class Somebody:
    """A person of the data set: crops of one camera in the order of time, (H, W, 3) BGR."""

    identity: int
    camera: int
    crops: Tuple[np.ndarray, ...]


@dataclass
class Actor:
    """Somebody on a way through the picture.

    Attributes:
        who: The person.
        way: Frame -> (centre x, lower edge y, height) in pixels, or None where absent.
    """

    who: Somebody
    way: Callable[[int], Optional[Tuple[float, float, float]]]

    def box(self, frame: int) -> Optional[Box]:
        place = self.way(frame)
        if place is None:
            return None
        x, bottom, height = place
        width = height / 2  # the shape of the data set's crops
        left, top = round(x - width / 2), round(bottom - height)
        return left, top, left + round(width), top + round(height)

    def look(self, frame: int, size: Tuple[int, int]) -> np.ndarray:
        """The crop of a frame, resized; a walker changes its look three times a second."""
        crops = self.who.crops
        step, cycle = frame // 3, max(2 * len(crops) - 2, 1)
        place = step % cycle
        crop = crops[place if place < len(crops) else cycle - place]
        return cv2.resize(crop, size, interpolation=cv2.INTER_LINEAR)


@dataclass
class Scenario:
    """A composed sequence; the first actor is the target."""

    kind: str
    seed: int
    actors: List[Actor]
    background: np.ndarray
    frames: int
    gain: Callable[[int], np.ndarray] = field(default=lambda frame: np.ones(3))

    def frame(self, number: int) -> Tuple[np.ndarray, Detections, Dict[int, Box]]:
        """Picture, detections, and actor -> true box inside the picture of who is in it at all."""
        rng = np.random.default_rng((self.seed, number))
        picture = self.background.copy()
        owner = np.full(SIZE, -1, np.int8)
        truth: Dict[int, Box] = {}
        boxes = {
            i: box for i, actor in enumerate(self.actors) for box in (actor.box(number),) if box
        }
        for i in sorted(boxes, key=lambda i: boxes[i][3]):  # nearest last
            left, top, right, bottom = boxes[i]
            x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, SIZE[1]), min(bottom, SIZE[0])
            if x1 <= x0 or y1 <= y0:
                continue
            look = self.actors[i].look(number, (right - left, bottom - top))
            picture[y0:y1, x0:x1] = look[y0 - top : y1 - top, x0 - left : x1 - left]
            owner[y0:y1, x0:x1] = i
            truth[i] = (x0, y0, x1, y1)
        gain = self.gain(number)
        if (gain != 1).any():
            picture = np.clip(picture * gain, 0, 255).astype(np.uint8)
        found, scores = [], []
        for i in truth:
            left, top, right, bottom = boxes[i]
            shown = float((owner == i).sum()) / ((right - left) * (bottom - top))
            if shown >= SEEN:
                off = rng.normal(0, 0.01 * (bottom - top), 4)
                found.append(np.array([left, top, right, bottom]) + np.rint(off))
                scores.append(0.4 + 0.5 * shown)
        if not found:
            return picture, Detections.empty(), truth
        return picture, Detections(np.array(found), np.array(scores)), truth


def stand(x: float, bottom: float, height: float, sway: float = 0.0):
    """On the spot, swaying by a share of the height."""
    return lambda n: (x + sway * height * np.sin(n / 4), bottom, height)


def walk(points: Sequence[Tuple[float, float]], bottom: float, height: float):
    """Through (frame, x) points, starting and stopping within 0.6 s; absent before and after."""
    frames, xs = zip(*points)

    def way(number: int):
        if not frames[0] <= number <= frames[-1]:
            return None
        return float(np.interp(number + np.arange(-3, 4), frames, xs).mean()), bottom, height

    return way
