"""Checks of augmentation parameters: each names the step and the field in its one sentence."""

from __future__ import annotations

import math
from typing import Any

from runtime.contract import IMAGENET_MEAN
from runtime.errors import ReidEdgeError

# The pixel that becomes about zero once the usual contract has normalised it.
MEAN_COLOUR = (
    round(255 * IMAGENET_MEAN[0]),
    round(255 * IMAGENET_MEAN[1]),
    round(255 * IMAGENET_MEAN[2]),
)


def is_number(value: Any) -> bool:
    """Whether ``value`` is a finite int or float, and not a bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def check_number(step: str, name: str, value: Any, lowest: float, highest: float) -> None:
    """Refuse what is not a number from ``lowest`` to ``highest``."""
    if not is_number(value) or not lowest <= value <= highest:
        raise ReidEdgeError(
            f"{step} {name} must be a number from {lowest:g} to {highest:g}, got {value!r}."
        )


def check_range(step: str, name: str, value: Any, lowest: float, highest: float) -> None:
    """Refuse what is not a pair ``(low, high)`` with ``lowest <= low <= high <= highest``."""
    if (
        not isinstance(value, tuple)
        or len(value) != 2
        or not all(map(is_number, value))
        or not lowest <= value[0] <= value[1] <= highest
    ):
        raise ReidEdgeError(
            f"{step} {name} must be two rising numbers from {lowest:g} to {highest:g}, "
            f"got {value!r}."
        )


def check_choice(step: str, name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Refuse what is not one of ``choices``."""
    if value not in choices:
        raise ReidEdgeError(f"{step} {name} must be one of {', '.join(choices)}, got {value!r}.")


def check_colour(step: str, name: str, value: Any) -> None:
    """Refuse what is not a colour: three whole numbers from 0 to 255, RGB."""
    if (
        not isinstance(value, tuple)
        or len(value) != 3
        or not all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= 255 for v in value)
    ):
        raise ReidEdgeError(
            f"{step} {name} must be three whole numbers from 0 to 255 (RGB), got {value!r}."
        )
