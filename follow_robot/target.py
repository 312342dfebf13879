"""Where the target is, in metres, seen from the car."""

from typing import NamedTuple


class Measurement(NamedTuple):
    """One frame's reading of the target's place, from its box.

    Attributes:
        distance_m: Along the ground from the camera, metres.
        bearing_rad: To the left of straight ahead, radians.
        distance_sigma_m, bearing_sigma_rad: One standard deviation of each.
        how: What it was read from: ``"feet"``, ``"height"``, ``"legs"``, ``"width"``,
            ``"head"``, ``"bound"`` (only a bound is known; never driven at) or a
            combination joined by ``+``.
    """

    distance_m: float
    bearing_rad: float
    distance_sigma_m: float
    bearing_sigma_rad: float
    how: str


class TargetEstimate(NamedTuple):
    """The filtered place of the target.

    Attributes:
        distance_m, bearing_rad: As in Measurement.
        distance_sigma_m, bearing_sigma_rad: One standard deviation of each.
        approach_mps: Speed of the target towards the car along the line of sight, over ground.
        seen_s: Monotonic time of the newest frame on which the target was seen.
        time_s: Monotonic time for which this estimate holds.
    """

    distance_m: float
    bearing_rad: float
    distance_sigma_m: float
    bearing_sigma_rad: float
    approach_mps: float
    seen_s: float
    time_s: float
