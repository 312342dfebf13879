"""Drawn people in a drawn street, and a network that knows people by their colour.

The street has texture, so that camera motion and scene cuts work as on real frames. Embeddings are like
those of a real network: a common part, a part of the person, and some noise of the crop; about 0.8
between crops of one person and 0.4 between people. A crop that shows two people looks like both.
"""

from typing import Dict, List, Sequence, Tuple

import cv2
import numpy as np

from runtime.detection import Detections
from runtime.lock import TargetLock
from runtime.memory import SceneMean
from runtime.perception import Perception

SIZE = (240, 320)  # height, width of the frames
RATE_HZ = 10.0
DIM = 64
PEOPLE: Dict[str, Tuple[int, int, int]] = {  # name -> blue, green, red
    "red": (40, 40, 200),
    "blue": (200, 60, 40),
    "green": (50, 190, 50),
    "yellow": (40, 200, 210),
    "pink": (190, 60, 200),
    "grey": (90, 90, 90),
}
NAMES = list(PEOPLE)
_COLOURS = np.array([PEOPLE[name] for name in NAMES], np.float64)
_RNG = np.random.RandomState(7)
_COMMON, *_OWN = np.linalg.qr(_RNG.standard_normal((DIM, len(NAMES) + 1)))[0].T
_NOISE = _RNG.standard_normal((3, DIM)) / np.sqrt(DIM)
_CLOTH = np.random.RandomState(8).randint(-30, 31, (400, 200, 1))

Box = Tuple[int, int, int, int]


def street(seed: int = 0, size: Tuple[int, int] = SIZE) -> np.ndarray:
    """A (H, W, 3) uint8 picture with corners to hold on to."""
    coarse = np.random.RandomState(seed).randint(60, 200, (size[0] // 8, size[1] // 8, 3))
    return cv2.resize(coarse.astype(np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)


def draw(background: np.ndarray, people: Dict[str, Box]) -> np.ndarray:
    """A copy of the picture with people in it, the last one in front."""
    picture = background.copy()
    height, width = picture.shape[:2]
    for name, (left, top, right, bottom) in people.items():
        cloth = _CLOTH[: bottom - top, : right - left] + np.array(PEOPLE[name])
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        picture[y0:y1, x0:x1] = np.clip(cloth, 0, 255)[y0 - top : y1 - top, x0 - left : x1 - left]
    return picture


def person(x: int, bottom: int = 200, height: int = 120) -> Box:
    """The box of somebody whose feet are at (x, bottom)."""
    half = round(height * 0.2)
    return x - half, bottom - height, x + half, bottom


def found(boxes: Sequence[Box], score: float = 0.9) -> Detections:
    """What a detector says that sees everybody."""
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(boxes, np.full(len(boxes), score, np.float32))


def colours(crop: np.ndarray) -> np.ndarray:
    """Share of each of ``NAMES`` in the middle of a crop."""
    height, width = crop.shape[:2]
    middle = crop[height // 8 : height - height // 8, width // 8 : width - width // 8]
    pixels = cv2.resize(middle, (8, 16), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    nearest = ((pixels[:, None].astype(float) - _COLOURS) ** 2).sum(axis=2).argmin(axis=1)
    return np.bincount(nearest, minlength=len(NAMES)) / len(nearest)


class ColourNetwork:
    """Crops to embeddings; counts what it was asked for.

    Attributes:
        crops: Names of the colour that each crop shows most.
    """

    def __init__(self) -> None:
        self.crops: List[str] = []

    def __call__(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        rows = []
        for crop in crops:
            shares = colours(crop)
            self.crops.append(NAMES[int(shares.argmax())])
            noise = (crop.reshape(-1, 3).mean(axis=0) % 1 - 0.5) @ _NOISE
            row = 0.65 * _COMMON + 0.75 * (shares @ np.array(_OWN)) / np.linalg.norm(shares)
            rows.append(row + 0.3 * noise)
        found = np.array(rows, np.float32).reshape(-1, DIM)
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def strangers() -> np.ndarray:
    """(K, DIM) embeddings of people of the last two colours."""
    crops = [np.full((16, 8, 3), PEOPLE[name], np.uint8) for name in NAMES[-2:]]
    return ColourNetwork()(crops)


def perception(embed="colour", detect=None) -> Perception:
    """A fresh chain with the colour network, or with another or none."""
    network = ColourNetwork() if isinstance(embed, str) else embed
    return Perception(detect, network, lock=TargetLock(scene=SceneMean(strangers())))
