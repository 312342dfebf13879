"""Parts of the person are hidden: by one colour, by noise, or by a piece of another crop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from runtime.errors import ReidEdgeError
from training.augment.geometry import mirror
from training.augment.parameters import (
    MEAN_COLOUR,
    check_choice,
    check_colour,
    check_number,
    check_range,
)
from training.augment.rectangle import random_rectangle

# Gives a crop of the training set as (H, W, 3) uint8 RGB, chosen by the generator it is given.
CropSource = Callable[[np.random.Generator], np.ndarray]


def _paint(
    image: np.ndarray, rectangle: tuple[int, int, int, int], colour: tuple[int, int, int]
) -> np.ndarray:
    """A copy of an (H, W, 3) uint8 image with one rectangle ``(left, top, right, bottom)`` filled."""
    left, top, right, bottom = rectangle
    return cv2.rectangle(image.copy(), (left, top), (right - 1, bottom - 1), colour, cv2.FILLED)


@dataclass(frozen=True)
class RandomErasing:
    """Fill a random rectangle (Zhong et al., "Random Erasing Data Augmentation", AAAI 2020).

    Attributes:
        probability: Share of images that lose a rectangle.
        area: Smallest and largest share of the image's area, drawn uniformly.
        aspect: Smallest and largest height / width of the rectangle, drawn uniformly among those
            that fit.
        fill: ``"mean"`` (one colour, ``mean``), ``"noise"`` (each value drawn from 0 to 255) or
            ``"constant"`` (one colour, ``constant``).
        mean: RGB colour of ``"mean"``; ImageNet's by default.
        constant: RGB colour of ``"constant"``; black by default.
    """

    probability: float = 0.5
    area: tuple[float, float] = (0.02, 0.4)
    aspect: tuple[float, float] = (0.3, 1 / 0.3)
    fill: str = "mean"
    mean: tuple[int, int, int] = MEAN_COLOUR
    constant: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        check_number("RandomErasing", "probability", self.probability, 0, 1)
        check_range("RandomErasing", "area", self.area, 0.001, 1)
        check_range("RandomErasing", "aspect", self.aspect, 0.05, 20)
        check_choice("RandomErasing", "fill", self.fill, ("mean", "noise", "constant"))
        check_colour("RandomErasing", "mean", self.mean)
        check_colour("RandomErasing", "constant", self.constant)

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Fill a rectangle of an (H, W, 3) uint8 image or return its copy."""
        if rng.random() >= self.probability:
            return image.copy()
        height, width = image.shape[:2]
        rectangle = random_rectangle(height, width, self.area, self.aspect, rng)
        if self.fill != "noise":
            return _paint(image, rectangle, self.mean if self.fill == "mean" else self.constant)
        left, top, right, bottom = rectangle
        shape = (bottom - top, right - left, 3)
        erased = image.copy()
        # bytes() draws the same uniform values as integers() would, in half the time.
        noise = np.frombuffer(rng.bytes(shape[0] * shape[1] * 3), np.uint8)
        erased[top:bottom, left:right] = noise.reshape(shape)
        return erased


@dataclass(frozen=True)
class Cutout:
    """Fill a square anywhere (DeVries and Taylor, "Improved Regularization of CNNs", 2017).

    The square's centre is uniform over the pixels, so a part of it, at most about three quarters,
    may lie outside.

    Attributes:
        probability: Share of images that lose a square; the paper's is 1.
        side: Side of the square as a share of the image's width.
        fill: ``"mean"`` or ``"zero"`` (black). The paper's zero is meant after normalisation,
            which is ``"mean"`` here.
        mean: RGB colour of ``"mean"``; ImageNet's by default.
    """

    probability: float = 0.5
    side: float = 0.5
    fill: str = "mean"
    mean: tuple[int, int, int] = MEAN_COLOUR

    def __post_init__(self) -> None:
        check_number("Cutout", "probability", self.probability, 0, 1)
        check_number("Cutout", "side", self.side, 0.01, 2)
        check_choice("Cutout", "fill", self.fill, ("mean", "zero"))
        check_colour("Cutout", "mean", self.mean)

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Fill a square of an (H, W, 3) uint8 image or return its copy."""
        if rng.random() >= self.probability:
            return image.copy()
        height, width = image.shape[:2]
        side = max(round(self.side * width), 1)
        top = int(rng.integers(height)) - side // 2
        left = int(rng.integers(width)) - side // 2
        colour = self.mean if self.fill == "mean" else (0, 0, 0)
        return _paint(image, (left, top, left + side, top + side), colour)


@dataclass(frozen=True)
class RandomPatch:
    """Paste a rectangle of another training crop (Zhou et al., "Omni-Scale Feature Learning", 2019).

    Their patches come from a pool of images seen before, which depends on how many workers there
    are. Here each is cut from a crop that ``source`` gives for the image's own random numbers.

    Attributes:
        source: Gives another training crop, chosen by the generator it is handed. Called only for
            images that get a patch. A crop of another size is stretched to the image's.
        probability: Share of images that get a patch.
        area: Smallest and largest share of the image's area, drawn uniformly.
        aspect: Smallest and largest height / width of the patch, drawn uniformly among those that
            fit.
        rotate_probability: Share of patches cut out at an angle.
        rotate_deg: Largest such angle, in degrees; pixels beyond the crop repeat its border.
        flip_probability: Share of patches mirrored.
    """

    source: CropSource = field(repr=False)
    probability: float = 0.5
    area: tuple[float, float] = (0.01, 0.5)
    aspect: tuple[float, float] = (0.1, 10.0)
    rotate_probability: float = 0.5
    rotate_deg: float = 10.0
    flip_probability: float = 0.5

    def __post_init__(self) -> None:
        for name in ("probability", "rotate_probability", "flip_probability"):
            check_number("RandomPatch", name, getattr(self, name), 0, 1)
        check_range("RandomPatch", "area", self.area, 0.001, 1)
        check_range("RandomPatch", "aspect", self.aspect, 0.05, 20)
        check_number("RandomPatch", "rotate_deg", self.rotate_deg, 0, 180)
        if not callable(self.source):
            raise ReidEdgeError(
                "RandomPatch source must be a function that gives a training crop, "
                f"got {self.source!r}."
            )

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Paste a patch into an (H, W, 3) uint8 image or return its copy."""
        if rng.random() >= self.probability:
            return image.copy()
        height, width = image.shape[:2]
        other = self.source(rng)
        if other.shape[:2] != (height, width):
            other = cv2.resize(other, (width, height), interpolation=cv2.INTER_LINEAR)
        left, top, right, bottom = random_rectangle(height, width, self.area, self.aspect, rng)
        patch = self._cut(other, right - left, bottom - top, rng)
        pasted = image.copy()
        pasted[top:bottom, left:right] = patch
        return pasted

    def _cut(
        self, other: np.ndarray, width: int, height: int, rng: np.random.Generator
    ) -> np.ndarray:
        """A (height, width, 3) piece of another crop, at a random place inside it."""
        top = int(rng.integers(other.shape[0] - height + 1))
        left = int(rng.integers(other.shape[1] - width + 1))
        patch = other[top : top + height, left : left + width]
        if rng.random() < self.rotate_probability:
            # Turned around the patch's centre while it is cut, so that no empty corners appear.
            centre = (left + (width - 1) / 2, top + (height - 1) / 2)
            angle_deg = rng.uniform(-self.rotate_deg, self.rotate_deg)
            matrix = cv2.getRotationMatrix2D(centre, angle_deg, 1.0)
            matrix[:, 2] -= (left, top)
            patch = cv2.warpAffine(
                other,
                matrix,
                (width, height),
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
        return mirror(patch) if rng.random() < self.flip_probability else patch
