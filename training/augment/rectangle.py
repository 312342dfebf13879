"""A random rectangle inside an image."""

from __future__ import annotations

import numpy as np


def random_rectangle(
    height: int,
    width: int,
    area: tuple[float, float],
    aspect: tuple[float, float],
    rng: np.random.Generator,
) -> tuple[int, int, int, int]:
    """A rectangle ``(left, top, right, bottom)`` in pixels: inside the image and never empty.

    Zhong et al. draw area and aspect until a rectangle fits. Here the aspect is drawn among those
    that fit the drawn area, so the area stays uniform and no draw is in vain. If none of
    ``aspect`` fits, the nearest aspect that does is taken.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        area: Smallest and largest share of the image's area; met to within the rounding of both
            sides to whole pixels.
        aspect: Smallest and largest height / width.
        rng: Source of randomness; four numbers are taken.
    """
    pixels = height * width * rng.uniform(*area)
    fitting = np.clip(aspect, pixels / width**2, height**2 / pixels)
    ratio = rng.uniform(*fitting)
    tall = min(max(round((pixels * ratio) ** 0.5), 1), height)
    wide = min(max(round((pixels / ratio) ** 0.5), 1), width)
    top = int(rng.integers(height - tall + 1))
    left = int(rng.integers(width - wide + 1))
    return left, top, left + wide, top + tall
