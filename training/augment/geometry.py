"""Where the person lies in the crop: mirrored, shifted, or boxed by an imperfect detector."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from calibration.jitter import Jitter, cut_box, jittered_box
from training.augment.parameters import MEAN_COLOUR, check_choice, check_colour, check_number


@dataclass(frozen=True)
class Flip:
    """Mirror left and right.

    Attributes:
        probability: Share of images that are mirrored.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        check_number("Flip", "probability", self.probability, 0, 1)

    def decide(self, rng: np.random.Generator) -> bool:
        """Whether the next image is mirrored; takes one number from ``rng``."""
        return bool(rng.random() < self.probability)

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Mirror an (H, W, 3) uint8 image or return its copy."""
        return mirror(image) if self.decide(rng) else image.copy()


def mirror(image: np.ndarray) -> np.ndarray:
    """An (H, W, 3) uint8 image with its columns in reverse order, as a new array."""
    return cv2.flip(image, 1)


@dataclass(frozen=True)
class PadCrop:
    """Pad all sides and cut the image's own size out again: a random shift of the person.

    The shift is a whole number of pixels along each axis, from -p to p, with p = ``pixels`` scaled
    by height / 256 and rounded, at most half of the width. Pixels shifted in have the fill colour.

    Attributes:
        probability: Share of images that are shifted.
        pixels: Padding of an image 256 pixels high.
        fill: ``"zero"`` (black) or ``"mean"``.
        mean: RGB colour of ``"mean"``; ImageNet's by default.
    """

    probability: float = 1.0
    pixels: int = 10
    fill: str = "zero"
    mean: tuple[int, int, int] = MEAN_COLOUR

    def __post_init__(self) -> None:
        check_number("PadCrop", "probability", self.probability, 0, 1)
        check_number("PadCrop", "pixels", self.pixels, 0, 64)
        check_choice("PadCrop", "fill", self.fill, ("zero", "mean"))
        check_colour("PadCrop", "mean", self.mean)

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Shift an (H, W, 3) uint8 image or return its copy."""
        if rng.random() >= self.probability:
            return image.copy()
        height, width = image.shape[:2]
        padding = min(round(self.pixels * height / 256), width // 2)
        down, right = (int(v) for v in rng.integers(-padding, padding + 1, 2))
        inside = image[
            max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)
        ]
        return cv2.copyMakeBorder(
            inside,
            max(down, 0),
            max(-down, 0),
            max(right, 0),
            max(-right, 0),
            cv2.BORDER_CONSTANT,
            value=self.mean if self.fill == "mean" else (0, 0, 0),
        )


@dataclass(frozen=True)
class DetectorJitter:
    """Box the crop anew as a detector would (calibration.jitter) and stretch it to its size again.

    Attributes:
        probability: Share of images that are boxed anew.
        shift: Largest shift of the box's centre, as a share of width and height; at most 0.35.
        scale: Largest relative change of the box's size.
        truncate_probability: Share of the new boxes that are cut off at one side.
        truncate: Largest share cut off.
    """

    probability: float = 0.5
    shift: float = 0.08
    scale: float = 0.15
    truncate_probability: float = 0.2
    truncate: float = 0.35

    def __post_init__(self) -> None:
        check_number("DetectorJitter", "probability", self.probability, 0, 1)
        # Shifted and cut further, a box could miss the crop: 0.15 of each side always stays inside.
        limits = {"shift": 0.35, "scale": 0.5, "truncate_probability": 1.0, "truncate": 0.5}
        for name, highest in limits.items():
            check_number("DetectorJitter", name, getattr(self, name), 0, highest)

    @property
    def jitter(self) -> Jitter:
        """The same limits as calibration.jitter takes them."""
        return Jitter(self.shift, self.scale, self.truncate_probability, self.truncate)

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Box an (H, W, 3) uint8 image anew or return its copy."""
        if rng.random() >= self.probability:
            return image.copy()
        height, width = image.shape[:2]
        box = cut_box(image, jittered_box(width, height, self.jitter, rng))
        return cv2.resize(box, (width, height), interpolation=cv2.INTER_LINEAR)
