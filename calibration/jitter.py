"""Make tight crops look like a detector's: shifted, looser or tighter, partly cut off.

Only the crop exists, not the frame around it. Where a jittered box reaches beyond the crop, the
border pixels are repeated outwards: like a background, and without inventing body parts as a
reflection would. A truncated box ends inside the person, as when legs leave a robot's low camera or
the image border cuts off a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from runtime.errors import ReidEdgeError


@dataclass(frozen=True)
class Jitter:
    """How far a detector's box may be from the tight one; shares of the crop's width and height.

    Attributes:
        shift: Largest shift of the box's centre, along either axis.
        scale: Largest relative change of the box's size, the same for both sides.
        truncate_probability: Share of crops that are cut off at one side.
        truncate: Largest share cut off; the bottom is cut half of the time, else left or right.
    """

    shift: float = 0.08
    scale: float = 0.15
    truncate_probability: float = 0.2
    truncate: float = 0.35

    def __post_init__(self) -> None:
        for name in ("shift", "scale", "truncate"):
            value = getattr(self, name)
            if not 0.0 <= value <= 0.5:
                raise ReidEdgeError(f"Jitter {name} must be from 0 to 0.5, got {value}.")
        if not 0.0 <= self.truncate_probability <= 1.0:
            raise ReidEdgeError(
                f"Jitter truncate_probability must be from 0 to 1, got {self.truncate_probability}."
            )


def jittered_box(
    width: int, height: int, jitter: Jitter, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """A random box ``(left, top, right, bottom)`` in pixels of a crop; may reach beyond it.

    The box is never empty.
    """
    shift_x, shift_y = rng.uniform(-jitter.shift, jitter.shift, 2)
    scale = 1.0 + rng.uniform(-jitter.scale, jitter.scale)
    left, right = 0.5 + shift_x - scale / 2, 0.5 + shift_x + scale / 2
    top, bottom = 0.5 + shift_y - scale / 2, 0.5 + shift_y + scale / 2
    if rng.random() < jitter.truncate_probability:
        cut = scale * rng.uniform(0.0, jitter.truncate)
        side = rng.choice(("bottom", "left", "right"), p=(0.5, 0.25, 0.25))
        if side == "bottom":
            bottom -= cut
        elif side == "left":
            left += cut
        else:
            right -= cut
    x0, y0 = round(left * width), round(top * height)
    return x0, y0, max(round(right * width), x0 + 1), max(round(bottom * height), y0 + 1)


def cut_box(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """The part of an (H, W, 3) uint8 image inside a box, border pixels repeated beyond its edges.

    Args:
        image: (H, W, 3) uint8, not empty.
        box: ``(left, top, right, bottom)`` in pixels, overlapping the image.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = box
    inside = image[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    return cv2.copyMakeBorder(
        inside,
        max(-top, 0),
        max(bottom - height, 0),
        max(-left, 0),
        max(right - width, 0),
        cv2.BORDER_REPLICATE,
    )


def jitter_crops(
    images: Sequence[np.ndarray], jitter: Jitter, seed: int, first: int = 0
) -> list[np.ndarray]:
    """Jitter each crop by its own random box.

    Args:
        images: (H, W, 3) uint8 crops.
        jitter: How far.
        seed: Crop ``i`` depends on ``seed`` and ``first + i`` only, so batching changes nothing.
        first: Number of the first crop.

    Returns:
        The jittered crops, uint8, sizes near the originals'.
    """
    jittered = []
    for number, image in enumerate(images, first):
        rng = np.random.default_rng((seed, number))
        jittered.append(cut_box(image, jittered_box(image.shape[1], image.shape[0], jitter, rng)))
    return jittered
