"""Light and colour: brightness, contrast, saturation and hue.

The first three are linear in the pixel, so they are one 3x4 matrix and one pass over the image. A
factor of 1 changes nothing, 0 gives black, plain grey or a grey image, and more than 1 exaggerates.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from training.augment.parameters import check_number

# ITU-R BT.601, the weights of cv2.COLOR_RGB2GRAY.
_LUMA = np.array([0.299, 0.587, 0.114])
_NOT_DIAGONAL = np.array([[0, 1e-6, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def mix_channels(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Map each RGB pixel linearly: ``matrix[:, :3] @ pixel + matrix[:, 3]``.

    Args:
        image: (H, W, 3) uint8.
        matrix: (3, 4) float.

    Returns:
        (H, W, 3) uint8, rounded and clipped; within 1 of the exact value.
    """
    # For a diagonal matrix OpenCV takes another way, five times as slow. An entry this small moves
    # no value by more than 0.0003.
    return cv2.transform(image, matrix + _NOT_DIAGONAL)


def adjust(
    image: np.ndarray, brightness: float = 1.0, contrast: float = 1.0, saturation: float = 1.0
) -> np.ndarray:
    """Scale brightness, then contrast about the mean luma, then saturation about each pixel's luma.

    Nothing is clipped in between: what brightness pushes beyond 255, contrast may bring back.

    Args:
        image: (H, W, 3) uint8 RGB.
        brightness: Factor on the pixel values.
        contrast: Factor on the distance from the image's mean luma.
        saturation: Factor on the distance from the pixel's own luma.

    Returns:
        (H, W, 3) uint8, rounded and clipped; within 1 of the exact value.
    """
    matrix = np.empty((3, 4))
    matrix[:, :3] = saturation * np.eye(3) + (1 - saturation) * _LUMA
    matrix[:, :3] *= brightness * contrast
    # Grey stays grey under saturation, so the offset of contrast passes it unchanged.
    matrix[:, 3] = 0.0
    if contrast != 1.0:
        luma = cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0]
        matrix[:, 3] = (1 - contrast) * brightness * luma
    return mix_channels(image, matrix)


def turn_hue(image: np.ndarray, turn: float) -> np.ndarray:
    """Turn every hue by a share of the colour circle.

    Args:
        image: (H, W, 3) uint8 RGB.
        turn: From -0.5 to 0.5; a third turns red into green. Hue has eight bits on the way, so a
            value may be up to 7 off.

    Returns:
        (H, W, 3) uint8, each pixel's largest channel kept.
    """
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    # OpenCV maps the circle to 256 steps on the way there, and back from 255.
    turned = np.rint((np.arange(256) / 256 + turn) % 1.0 * 255).astype(np.uint8)
    cv2.insertChannel(cv2.LUT(cv2.extractChannel(hsv, 0), turned), hsv, 0)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)


@dataclass(frozen=True)
class ColourJitter:
    """Change brightness, contrast, saturation and hue, in this order.

    Factors are drawn uniformly from 1 - x to 1 + x. A person is told apart by the colours of the
    clothes, so saturation and hue are off by default and should stay small.

    Attributes:
        probability: Share of images that are changed.
        brightness: Largest relative change of the pixel values.
        contrast: Largest relative change of the distance from the mean luma.
        saturation: Largest relative change of the distance from grey.
        hue: Largest turn, as a share of the colour circle.
    """

    probability: float = 0.5
    brightness: float = 0.2
    contrast: float = 0.15
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        for name in ("probability", "brightness", "contrast", "saturation"):
            check_number("ColourJitter", name, getattr(self, name), 0, 1)
        check_number("ColourJitter", "hue", self.hue, 0, 0.5)

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change the colours of an (H, W, 3) uint8 RGB image or return its copy."""
        if rng.random() >= self.probability:
            return image.copy()
        factors = (
            1.0 + rng.uniform(-limit, limit)
            for limit in (self.brightness, self.contrast, self.saturation)
        )
        changed = adjust(image, *factors)
        return turn_hue(changed, rng.uniform(-self.hue, self.hue)) if self.hue else changed
