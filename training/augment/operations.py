"""The operations of an augmentation policy, with the unit and the limits of their magnitudes.

| operation | magnitude | limits | signed |
|---|---|---|---|
| ``shear_x`` | horizontal shift per pixel of height | 0 to 0.5 | yes |
| ``shear_y`` | vertical shift per pixel of width | 0 to 0.5 | yes |
| ``translate_x`` | share of the width | 0 to 0.5 | yes |
| ``translate_y`` | share of the height | 0 to 0.5 | yes |
| ``rotate`` | degrees | 0 to 45 | yes |
| ``autocontrast`` | none, write 0 | 0 | no |
| ``equalize`` | none, write 0 | 0 | no |
| ``posterize`` | bits kept of each channel, rounded; fewer is stronger | 1 to 8 | no |
| ``solarize`` | pixel values from here on are inverted, rounded; less is stronger | 0 to 256 | no |
| ``sharpness`` | relative change of the distance from the blurred image | 0 to 1 | yes |
| ``brightness`` | relative change of the pixel values | 0 to 1 | yes |
| ``contrast`` | relative change of the distance from the mean luma | 0 to 1 | yes |
| ``colour`` | relative change of the distance from grey | 0 to 1 | yes |

Signed operations go either way with equal chance. Where shearing, shifting or rotating uncovers
pixels, the border is repeated, as for a detector's box in ``calibration.jitter``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from calibration.jitter import cut_box
from training.augment.colour import adjust, mix_channels


class Operation(NamedTuple):
    """One operation.

    Attributes:
        apply: ``apply(image, magnitude)``: (H, W, 3) uint8 RGB to a new array of its shape.
        lowest: Smallest magnitude allowed, before the sign.
        highest: Largest magnitude allowed.
        signed: Whether the magnitude's sign is drawn.
    """

    apply: Callable[[np.ndarray, float], np.ndarray]
    lowest: float
    highest: float
    signed: bool


def _warp(image: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Move pixels by a 2x2 matrix (of x, y) about the image's centre, border repeated."""
    height, width = image.shape[:2]
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix = np.column_stack([turn, centre - turn @ centre])
    return cv2.warpAffine(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def shear_x(image: np.ndarray, magnitude: float) -> np.ndarray:
    """Shift each row by ``magnitude`` times its distance from the middle row."""
    return _warp(image, np.array([[1.0, magnitude], [0.0, 1.0]]))


def shear_y(image: np.ndarray, magnitude: float) -> np.ndarray:
    """Shift each column by ``magnitude`` times its distance from the middle column."""
    return _warp(image, np.array([[1.0, 0.0], [magnitude, 1.0]]))


def rotate(image: np.ndarray, magnitude: float) -> np.ndarray:
    """Turn about the centre by degrees, anticlockwise for the viewer if positive."""
    cosine, sine = np.cos(np.radians(magnitude)), np.sin(np.radians(magnitude))
    return _warp(image, np.array([[cosine, sine], [-sine, cosine]]))


def translate_x(image: np.ndarray, magnitude: float) -> np.ndarray:
    """Shift right by a share of the width, in whole pixels."""
    height, width = image.shape[:2]
    shift = round(magnitude * width)
    return cut_box(image, (-shift, 0, width - shift, height))


def translate_y(image: np.ndarray, magnitude: float) -> np.ndarray:
    """Shift down by a share of the height, in whole pixels."""
    height, width = image.shape[:2]
    shift = round(magnitude * height)
    return cut_box(image, (0, -shift, width, height - shift))


def autocontrast(image: np.ndarray, magnitude: float = 0.0) -> np.ndarray:
    """Stretch each channel so that its smallest value becomes 0 and its largest 255."""
    offset_gain = np.empty((3, 2))
    for channel, plane in enumerate(cv2.split(image)):
        low, high, _, _ = cv2.minMaxLoc(plane)
        gain = 255.0 / (high - low) if high > low else 1.0
        offset_gain[channel] = (-low * gain if high > low else 0.0), gain
    return mix_channels(image, np.column_stack([np.diag(offset_gain[:, 1]), offset_gain[:, 0]]))


def equalize(image: np.ndarray, magnitude: float = 0.0) -> np.ndarray:
    """Make the values of each channel about equally frequent."""
    return cv2.merge([cv2.equalizeHist(plane) for plane in cv2.split(image)])


def posterize(image: np.ndarray, magnitude: float) -> np.ndarray:
    """Keep the ``magnitude`` highest bits of each value."""
    return image & np.uint8(256 - (1 << (8 - round(magnitude))))


def solarize(image: np.ndarray, magnitude: float) -> np.ndarray:
    """Invert the values from ``magnitude`` on."""
    values = np.arange(256, dtype=np.uint8)
    return cv2.LUT(image, np.where(values >= round(magnitude), 255 - values, values))


def sharpness(image: np.ndarray, magnitude: float) -> np.ndarray:
    """Scale the distance from the image blurred by [1 1 1; 1 5 1; 1 1 1] / 13 by 1 + magnitude.

    Within 1 of the exact value: the blur is rounded to whole numbers.
    """
    mean = cv2.blur(image, (3, 3))  # (9 mean + 4 image) / 13 is the blur above
    mixed = -magnitude * 9 / 13
    return cv2.addWeighted(image, 1 - mixed, mean, mixed, 0)


def brightness(image: np.ndarray, magnitude: float) -> np.ndarray:
    """Scale the pixel values by 1 + magnitude."""
    return adjust(image, brightness=1 + magnitude)


def contrast(image: np.ndarray, magnitude: float) -> np.ndarray:
    """Scale the distance from the mean luma by 1 + magnitude."""
    return adjust(image, contrast=1 + magnitude)


def colour(image: np.ndarray, magnitude: float) -> np.ndarray:
    """Scale the distance from grey by 1 + magnitude."""
    return adjust(image, saturation=1 + magnitude)


OPERATIONS = {
    "shear_x": Operation(shear_x, 0, 0.5, True),
    "shear_y": Operation(shear_y, 0, 0.5, True),
    "translate_x": Operation(translate_x, 0, 0.5, True),
    "translate_y": Operation(translate_y, 0, 0.5, True),
    "rotate": Operation(rotate, 0, 45, True),
    "autocontrast": Operation(autocontrast, 0, 0, False),
    "equalize": Operation(equalize, 0, 0, False),
    "posterize": Operation(posterize, 1, 8, False),
    "solarize": Operation(solarize, 0, 256, False),
    "sharpness": Operation(sharpness, 0, 1, True),
    "brightness": Operation(brightness, 0, 1, True),
    "contrast": Operation(contrast, 0, 1, True),
    "colour": Operation(colour, 0, 1, True),
}
