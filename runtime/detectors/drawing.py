"""A drawn street with people, on which two executions of one detector are compared.

Detectors see the people: YOLOX-nano, NanoDet-m and FastestDet score the four surest at 0.4 to 0.9. So
a comparison on it weighs what matters, which it would not do on noise.
"""

from __future__ import annotations

from typing import Tuple

import cv2
import numpy as np

SIZE = (480, 640)  # height, width
# Place of the feet and height, as shares of the picture.
_PEOPLE = ((0.20, 0.95, 0.80), (0.45, 0.90, 0.60), (0.65, 0.85, 0.45), (0.85, 0.93, 0.70))
_SKIN, _HAIR = (120, 150, 200), (30, 40, 50)


def draw_street(seed: int = 0, size: Tuple[int, int] = SIZE) -> np.ndarray:
    """Four people before a soft background; the same seed gives the same picture.

    Args:
        seed: Of background, clothes and noise.
        size: (height, width) in pixels.

    Returns:
        (height, width, 3) uint8 BGR.
    """
    random = np.random.RandomState(seed)
    height, width = size
    coarse = random.randint(60, 200, (max(height // 32, 2), max(width // 32, 2), 3))
    picture = cv2.resize(coarse.astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    for across, down, tall in _PEOPLE:
        _draw_person(picture, int(width * across), int(height * down), int(height * tall), random)
    blurred = cv2.GaussianBlur(picture, (0, 0), 1.0)
    return np.clip(blurred + random.normal(0, 4, blurred.shape), 0, 255).astype(np.uint8)


def _draw_person(picture, x, feet, tall, random):
    """Legs, arms, body and head; lengths are shares of the height."""
    top, legs = (
        tuple(int(v) for v in random.randint(low, high, 3)) for low, high in ((20, 230), (20, 120))
    )
    hip, shoulder = feet - int(tall * 0.5), feet - int(tall * 0.84)
    half = tall * 0.1
    for side in (-1, 1):
        foot = (x + int(side * half * 0.8), feet - int(tall * 0.02))
        _draw_limb(picture, (x + int(side * half * 0.5), hip), foot, legs, tall * 0.09)
        arm = (x + int(side * half * 1.2), shoulder + int(tall * 0.04))
        _draw_limb(picture, arm, (x + int(side * half * 1.6), hip), top, tall * 0.055)
    axes = (int(half * 1.15), (hip - shoulder) // 2 + int(tall * 0.03))
    cv2.ellipse(picture, (x, (hip + shoulder) // 2), axes, 0, 0, 360, top, -1, cv2.LINE_AA)
    head, radius = (x, feet - int(tall * 0.93)), int(tall * 0.06)
    cv2.circle(picture, head, radius, _SKIN, -1, cv2.LINE_AA)
    cv2.ellipse(picture, head, (radius, radius), 0, 175, 365, _HAIR, -1, cv2.LINE_AA)


def _draw_limb(picture, start, end, color, thick):
    cv2.line(picture, start, end, color, max(int(thick), 2), cv2.LINE_AA)
