"""An augmentation policy: sub-policies of operations, one of which is drawn per image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Tuple

import numpy as np

from runtime.errors import ReidEdgeError
from training.augment.operations import OPERATIONS
from training.augment.parameters import check_choice, check_number, check_range

# (operation, probability, (lowest magnitude, highest magnitude))
Change = Tuple[str, float, Tuple[float, float]]
SubPolicy = Tuple[Change, ...]

# Chosen for person crops, not searched: every operation appears, moves stay within a detector's
# error, a person hardly leans, and what falsifies the colours of clothes is rare and mild.
REID_POLICIES: tuple[SubPolicy, ...] = (
    (("shear_x", 0.6, (0.02, 0.12)), ("brightness", 0.6, (0.1, 0.4))),
    (("shear_y", 0.5, (0.02, 0.10)), ("autocontrast", 0.4, (0, 0))),
    (("translate_x", 0.7, (0.02, 0.15)), ("contrast", 0.6, (0.1, 0.4))),
    (("translate_y", 0.7, (0.02, 0.10)), ("sharpness", 0.6, (0.3, 0.9))),
    (("rotate", 0.6, (2, 12)), ("colour", 0.4, (0.1, 0.4))),
    (("rotate", 0.5, (2, 8)), ("equalize", 0.3, (0, 0))),
    (("posterize", 0.5, (4, 7)), ("translate_x", 0.5, (0.02, 0.10))),
    (("solarize", 0.3, (200, 250)), ("shear_x", 0.5, (0.02, 0.08))),
    (("brightness", 0.7, (0.2, 0.5)), ("sharpness", 0.5, (0.3, 0.9))),
    (("contrast", 0.7, (0.2, 0.5)), ("brightness", 0.5, (0.1, 0.3))),
    (("colour", 0.6, (0.1, 0.5)), ("contrast", 0.5, (0.1, 0.3))),
    (("autocontrast", 0.6, (0, 0)), ("posterize", 0.3, (5, 7))),
)


@dataclass(frozen=True)
class AutoPolicy:
    """Draw one sub-policy and go through its operations (after Cubuk et al., CVPR 2019).

    Each operation is applied with its own probability and a magnitude drawn uniformly from its
    range, as in "RandAugment" (Cubuk et al., CVPRW 2020) rather than at a searched one.

    Attributes:
        probability: Share of images a sub-policy is drawn for.
        policies: Sub-policies, equally likely; each a tuple of ``(operation, probability,
            (lowest, highest magnitude))``. Units and limits: ``operations.py``. The default is
            the table ``REID_POLICIES``.
    """

    probability: float = 0.1
    policies: tuple[SubPolicy, ...] = REID_POLICIES

    def __post_init__(self) -> None:
        check_number("AutoPolicy", "probability", self.probability, 0, 1)
        if not _is_filled_tuple(self.policies) or not all(map(_is_filled_tuple, self.policies)):
            raise ReidEdgeError(
                f"AutoPolicy policies must be a list of lists of operations, got {self.policies!r}."
            )
        for policy in self.policies:
            for change in policy:
                _check_change(change)

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Run a sub-policy over an (H, W, 3) uint8 RGB image or return its copy."""
        if rng.random() >= self.probability:
            return image.copy()
        changed = image
        for name, probability, magnitudes in self.policies[int(rng.integers(len(self.policies)))]:
            if rng.random() >= probability:
                continue
            operation = OPERATIONS[name]
            magnitude = rng.uniform(*magnitudes)
            if operation.signed and rng.random() < 0.5:
                magnitude = -magnitude
            changed = operation.apply(changed, magnitude)
        return image.copy() if changed is image else changed


def _is_filled_tuple(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) > 0


def _check_change(change: Any) -> None:
    if not isinstance(change, tuple) or len(change) != 3:
        raise ReidEdgeError(
            "An operation of AutoPolicy policies must be [name, probability, [lowest, highest]], "
            f"got {change!r}."
        )
    name, probability, magnitudes = change
    check_choice("AutoPolicy", "operation", name, tuple(OPERATIONS))
    check_number("AutoPolicy", f"probability of {name}", probability, 0, 1)
    operation = OPERATIONS[name]
    check_range(
        "AutoPolicy", f"magnitude of {name}", magnitudes, operation.lowest, operation.highest
    )
