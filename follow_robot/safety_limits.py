"""What the car may do at most: limits a user sets, below caps that no configuration can lift."""

import math
from dataclasses import dataclass, fields

from runtime.errors import ReidEdgeError

# No configuration goes beyond these. A small indoor car at a slow walk: 1.5 m/s is about as fast as
# the person it follows.
HARD_CAPS = {
    "speed_mps": 1.5,
    "reverse_mps": 0.5,
    "lateral_mps": 1.0,
    "turn_radps": 3.2,
    "acceleration_mps2": 2.5,
    "braking_mps2": 10.0,
    "turn_acceleration_radps2": 10.0,
    "command_age_s": 0.3,
    "frame_age_s": 0.3,
    "target_age_s": 0.3,
    "obstacle_age_s": 1.0,
}


@dataclass(frozen=True)
class SafetyLimits:
    """Enforced in the last stage before the wire, whatever was asked for.

    Attributes:
        speed_mps: Fastest forwards.
        reverse_mps: Fastest backwards; 0 means that the car never drives backwards.
        lateral_mps: Fastest sideways (holonomic cars).
        turn_radps: Fastest turn.
        acceleration_mps2: Largest increase of speed per second.
        braking_mps2: Largest decrease of speed per second; a stop for safety is at once.
        turn_acceleration_radps2: Largest change of the turn rate per second.
        command_age_s: A command older than this is a stop.
        frame_age_s: A command that answers a frame older than this is a stop.
        target_age_s: A command to move is a stop when the target was last seen longer ago.
        obstacle_slow_m: From this distance ahead the car slows down.
        obstacle_stop_m: At this distance ahead it does not drive forwards.
        obstacle_age_s: With an obstacle sensor, a reading older than this is a stop.
        obstacle_required: Whether the car stops until a sensor has spoken.
        rate_hz: Commands per second on the wire.
        stop_repeats: How often a stop is sent at every end.
    """

    speed_mps: float = 0.5
    reverse_mps: float = 0.0
    lateral_mps: float = 0.3
    turn_radps: float = 1.5
    acceleration_mps2: float = 1.0
    braking_mps2: float = 2.5
    turn_acceleration_radps2: float = 6.0
    command_age_s: float = 0.3
    frame_age_s: float = 0.3
    target_age_s: float = 0.3
    obstacle_slow_m: float = 1.0
    obstacle_stop_m: float = 0.4
    obstacle_age_s: float = 0.5
    obstacle_required: bool = False
    rate_hz: float = 20.0
    stop_repeats: int = 5

    def __post_init__(self):
        for f in fields(self):
            value = getattr(self, f.name)
            if not math.isfinite(value) or value < 0:
                raise ReidEdgeError(
                    "Safety limit %s must be a number of at least 0, got %r." % (f.name, value)
                )
            cap = HARD_CAPS.get(f.name)
            if cap is not None and value > cap:
                raise ReidEdgeError(
                    "Safety limit %s may be at most %g (a hard cap), got %g." % (f.name, cap, value)
                )
        if not 10 <= self.rate_hz <= 100:
            raise ReidEdgeError("rate_hz must be 10 to 100, got %g." % self.rate_hz)
        if self.braking_mps2 < 0.5:
            raise ReidEdgeError(
                "braking_mps2 must be at least 0.5, or the car would coast, got %g."
                % self.braking_mps2
            )
        if not 3 <= self.stop_repeats <= 100:
            raise ReidEdgeError("stop_repeats must be 3 to 100, got %r." % self.stop_repeats)
        if self.obstacle_slow_m < self.obstacle_stop_m:
            raise ReidEdgeError(
                "obstacle_slow_m (%g) must be at least obstacle_stop_m (%g)."
                % (self.obstacle_slow_m, self.obstacle_stop_m)
            )
