"""The interval around a prediction, from errors on families of networks that the model had not seen.

Errors are taken as log(predicted / measured). Figures of one family err alike, so a family counts once:
the variance is the mean over families of their mean square error, and the half width of a 90 % interval
is that of Student's t with one degree of freedom per family, less one, for a new family:

    1.2 * t(0.95, families - 1) * sqrt(variance * (1 + 1 / families))

The factor 1.2 stands for what leaving out a family does not show: which terms the models have was decided
with all figures in view.
"""

from __future__ import annotations

import math
from typing import Dict, List, Sequence, Tuple

from benchmarks.predictor.fit import HeldOut

COVERAGE = 0.9
CHOSEN_IN_VIEW = 1.2


def log_half_width(held_out: Sequence[HeldOut]) -> float:
    """Half the width of the interval, as a natural logarithm."""
    from scipy.stats import t as student

    squares = _family_squares(held_out)
    count = len(squares)
    variance = sum(squares.values()) / count
    quantile = float(student.ppf((1 + COVERAGE) / 2, count - 1))
    return CHOSEN_IN_VIEW * quantile * math.sqrt(variance * (1 + 1 / count))


def covered(held_out: Sequence[HeldOut]) -> List[bool]:
    """For each figure whether an interval from the errors of the other families holds it."""
    widths: Dict[str, float] = {}
    for family in {item.figure.family for item in held_out}:
        others = [item for item in held_out if item.figure.family != family]
        widths[family] = log_half_width(others)
    return [abs(item.log_error) <= widths[item.figure.family] for item in held_out]


def bounds(latency_ms: float, half_width: float) -> Tuple[float, float]:
    """Lower and upper end of the interval in milliseconds."""
    return latency_ms * math.exp(-half_width), latency_ms * math.exp(half_width)


def _family_squares(held_out: Sequence[HeldOut]) -> Dict[str, float]:
    """Family to its weighted mean square error."""
    sums: Dict[str, Tuple[float, float]] = {}
    for item in held_out:
        square, weight = sums.get(item.figure.family, (0.0, 0.0))
        sums[item.figure.family] = (
            square + item.weight * item.log_error**2,
            weight + item.weight,
        )
    return {family: square / weight for family, (square, weight) in sums.items()}
